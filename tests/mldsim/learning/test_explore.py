"""One run, and what is kept of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mldsim.learning.choose import LOST
from mldsim.learning.explore import APART, at_density, explore
from mldsim.learning.frames import Why, can_be_labelled
from mldsim.learning.limits import Limits
from mldsim.loss import load_model, save_model
from mldsim.water import water_box

from .conftest import SHORT, Laboratory

LIMITS = Limits(("O", "H"), (0.1, 0.1), 0.0)


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.json"
    save_model(load_model("water"), path)
    return path


def constant(value: float):
    return lambda model, species, box: lambda positions: np.full(len(positions), value)


def during(first: int, last: int, value: float):
    """Doubt of one hydrogen that warns from one look to another, most in the middle."""

    def make(model, species, box):
        looks = 0

        def doubts(positions):
            nonlocal looks
            looks += 1
            found = np.full(len(positions), 0.05)
            if first <= looks <= last:
                found[4] = value - 1e-3 * abs(looks - (first + last) / 2)
            return found

        return doubts

    return make


def test_a_run_inside_gives_samples_at_random_times_only(water: Path) -> None:
    (plan,) = replace(SHORT, temperatures=(300.0,)).plans(1)
    looks: list[int] = []
    found = explore(water, plan, SHORT, LIMITS, constant(0.05), progress=looks.append)
    assert (found.starts, found.looks, found.warned, found.doubtful, found.stopped) == (1, 12, 0, [], None)
    assert found.time == pytest.approx(60.0)
    assert found.mean_doubt == pytest.approx(0.05)
    assert looks == list(range(1, 13))
    assert len(found.samples) == SHORT.samples_per_run == 1
    assert all(frame.why is Why.SAMPLE for frame in found.samples)
    again = explore(water, plan, SHORT, LIMITS, constant(0.05))
    np.testing.assert_array_equal([f.positions for f in found.samples], [f.positions for f in again.samples])


def test_no_frame_beside_a_held_out_one_is_fitted(water: Path) -> None:
    """They would look alike, and the error on the held-out ones would flatter."""
    settings = replace(SHORT, time=300.0)
    found = explore(water, settings.plans(1)[0], settings, LIMITS, constant(0.15))
    assert found.warned == found.looks == 60
    (sample,) = found.samples
    assert found.doubtful
    assert min(abs(frame.time - sample.time) for frame in found.doubtful) >= APART


def test_doubt_gives_its_most_doubtful_frame(water: Path) -> None:
    settings = replace(SHORT, holdout=0.0)
    found = explore(water, settings.plans(1)[0], settings, LIMITS, during(6, 10, 0.2))
    assert found.warned == 5
    (frame,) = found.doubtful
    assert frame.why is Why.DOUBT
    assert frame.time == pytest.approx(8 * 5.0)
    assert frame.excess == pytest.approx(2.0)
    assert int(frame.doubts.argmax()) == 4
    assert found.largest_doubt == pytest.approx(0.2)


def test_a_model_that_is_lost_is_not_followed_but_begins_anew(water: Path) -> None:
    settings = replace(SHORT, holdout=0.0)
    found = explore(water, settings.plans(1)[0], settings, LIMITS, during(6, 10, 1.1 * LOST * 0.1))
    assert (found.starts, found.looks) == (2, 12)
    assert "agent H 4" in found.stopped
    first, second = found.doubtful
    assert first.time == second.time == pytest.approx(30.0)
    assert not np.allclose(first.positions, second.positions, atol=0.1)  # another seed


def test_the_frame_before_a_guard_stopped_the_run_is_kept(water: Path) -> None:
    """Steps of 2 fs do not resolve the O-H bond: it breaks (README)."""
    settings = replace(SHORT, timestep=2.0, every=2.0, time=400.0, temperatures=(600.0,), holdout=0.0)
    found = explore(water, settings.plans(1)[0], settings, LIMITS, constant(0.05))
    assert found.stopped is not None
    assert found.starts > 1
    assert found.doubtful[0].why is Why.STOP
    assert {frame.why for frame in found.doubtful} <= {Why.STOP, Why.CONTACT}  # doubt is constant
    assert all(can_be_labelled(frame) for frame in found.doubtful)
    # Still physics, before what the guard saw: bonds may be stretched or squeezed, none is broken.
    first = found.doubtful[0].positions.reshape(-1, 3, 3)
    assert np.linalg.norm(first[:, 1:] - first[:, :1], axis=-1).max() < 1.8


def test_a_contact_inside_the_wall_warns(tmp_path: Path) -> None:
    """A wall that reaches into the liquid is met by every run."""
    model = load_model("water")
    oxygen = model.symbols.index("O")
    radius = model.wall.radius.copy()
    radius[oxygen, oxygen] = 2.7
    save_model(replace(model, wall=replace(model.wall, radius=radius)), tmp_path / "model.json")
    found = explore(tmp_path / "model.json", SHORT.plans(1)[0], SHORT, LIMITS, constant(0.05))
    assert found.warned > 0
    assert {frame.why for frame in found.doubtful} <= {Why.CONTACT, Why.STOP}


def test_targets_rise_from_the_coolest_to_the_runs_own(water: Path) -> None:
    settings = replace(SHORT, temperatures=(100.0, 900.0), time=400.0, doubt_limit=None)
    temperatures = []

    def make(model, species, box):
        before = None

        def doubts(positions):
            nonlocal before
            if before is not None:
                temperatures.append(float(((positions - before) ** 2).mean()))
            before = positions.copy()
            return np.zeros(len(positions))

        return doubts

    explore(water, settings.plans(1)[1], settings, LIMITS, make)
    assert np.mean(temperatures[-20:]) > 2 * np.mean(temperatures[:8])


def test_a_start_that_cannot_be_made_is_a_run_that_stopped(tmp_path: Path) -> None:
    model = load_model("water")
    spoilt = replace(model, linear=np.full_like(model.linear, 1e19))
    save_model(spoilt, tmp_path / "model.json")
    found = explore(tmp_path / "model.json", SHORT.plans(1)[0], SHORT, LIMITS, constant(0.0))
    assert found.looks == 0
    assert found.stopped


def test_runs_start_from_the_smallest_system_of_the_data(water: Path, laboratory: Laboratory) -> None:
    (small,) = laboratory.data()
    large = replace(small, symbols=small.symbols * 2, positions=np.tile(small.positions, (1, 2, 1)),
                    forces=np.tile(small.forces, (1, 2, 1)))  # fmt: skip
    settings = replace(SHORT, molecules=None, densities=(0.9,), every=0.5, time=1.0)
    starts = []
    for plan in (settings.plans(1)[0], settings.plans(2)[0], settings.plans(3)[0]):
        found = explore(water, plan, settings, LIMITS, constant(0.0), data=[large, small])
        assert found.symbols == small.symbols
        np.testing.assert_allclose(found.samples[0].box, small.boxes[0] * np.cbrt(1.0 / 0.9), rtol=1e-4)
        starts.append(found.samples[0].positions)
        # Inside molecules nothing has moved within a femtosecond.
        bonds = np.linalg.norm(np.diff(starts[-1].reshape(-1, 3, 3)[:, :2], axis=1), axis=-1).ravel()
        known = np.linalg.norm(np.diff(small.positions.reshape(4, -1, 3, 3)[:, :, :2], axis=2), axis=-1)[..., 0]
        assert np.abs(known - bonds).max(axis=1).min() < 0.05
    assert not np.allclose(starts[0], starts[1], atol=0.1) or not np.allclose(starts[0], starts[2], atol=0.1)


def test_a_given_structure_is_brought_to_each_density(water: Path, tmp_path: Path) -> None:
    import ase
    from ase.io import write

    model = load_model("water")
    box = water_box(8, 1.0, 300.0, 3, ("O", "H"), model.masses)
    write(tmp_path / "start.xyz", ase.Atoms(["O", "H", "H"] * 8, box.positions, cell=box.box, pbc=True))
    settings = replace(SHORT, molecules=None, start=tmp_path / "start.xyz", densities=(0.9,))
    found = explore(water, settings.plans(1)[0], settings, LIMITS, constant(0.0))
    assert found.stopped is None
    np.testing.assert_allclose(found.samples[0].box, box.box * np.cbrt(1.0 / 0.9), rtol=1e-4)


def test_molecules_move_as_rigid_bodies() -> None:
    model = load_model("water")
    box = water_box(8, 1.0, 300.0, 3, ("O", "H"), model.masses)
    moved = at_density(box, 0.8)
    assert moved.density_g_cm3 == pytest.approx(0.8)
    molecules, before = moved.positions.reshape(-1, 3, 3), box.positions.reshape(-1, 3, 3)
    np.testing.assert_allclose(molecules - molecules[:, :1], before - before[:, :1], atol=1e-12)
    assert np.ptp(molecules[:, 0]) > np.ptp(before[:, 0])
