import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import mldsim.dataset as dataset
from mldsim.dataset import LabelledFrames, divide, save_frames, split
from mldsim.errors import InputError, WorkFailed
from mldsim.readers import load_frames

MOLECULE = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def make(n_frames=5, *, seed=0, single=False, **changes):
    rng = np.random.default_rng(seed)
    positions = MOLECULE + rng.normal(0.0, 0.02, (n_frames, 3, 3))
    forces = rng.normal(0.0, 0.8, (n_frames, 3, 3))
    if single:
        positions, forces = positions.astype(np.float32), forces.astype(np.float32)
    fields = {
        "symbols": ("O", "H", "H"),
        "positions": positions,
        "forces": forces,
        "boxes": np.array([5.0, 6.0, 7.0]),
        "provenance": {"source": "made by a test"},
    }
    return LabelledFrames(**(fields | changes))


def test_arrays_become_float64_and_the_box_is_repeated():
    frames = make(single=True)
    assert frames.positions.dtype == frames.forces.dtype == np.float64
    assert frames.boxes.shape == (5, 3)
    assert (frames.n_frames, frames.n_agents, len(frames)) == (5, 3, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces": np.zeros((4, 3, 3))}, r"forces have the shape \(4, 3, 3\)"),
        ({"positions": np.zeros((5, 4, 3))}, "positions have the shape"),
        ({"positions": np.zeros((0, 3, 3))}, "at least one frame"),
        ({"positions": [[[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]}, "not a regular array"),
        ({"symbols": ("O", "H", "Zz")}, "'Zz' is not the symbol"),
        ({"boxes": np.array([5.0, -1.0, 5.0])}, "every edge must be positive"),
        ({"boxes": np.ones((4, 3))}, "boxes have the shape"),
        ({"boxes": np.array([5.0, np.inf, 5.0])}, "not a finite number"),
        ({"energies": np.ones(4)}, "energies have the shape"),
        ({"energies": np.array([1.0, 2.0, np.nan, 4.0, 5.0])}, "not a finite number in frame 2"),
        ({"velocities": np.ones((5, 2, 3))}, "velocities have the shape"),
        ({"steps": np.arange(4)}, "one per frame"),
    ],
)
def test_wrong_fields_are_refused_with_their_source(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make(**changes)
    assert "made by a test" in str(caught.value)


def test_take_and_chunks():
    frames = make(7, energies=np.arange(7.0), steps=np.arange(7) * 10, velocities=np.ones((7, 3, 3)))
    taken = frames.take([5, 1])
    np.testing.assert_array_equal(taken.steps, [50, 10])
    np.testing.assert_array_equal(taken.energies, [5.0, 1.0])
    np.testing.assert_array_equal(taken.forces, frames.forces[[5, 1]])
    assert taken.provenance == frames.provenance
    chunks = list(frames.chunks(3))
    assert [chunk.n_frames for chunk in chunks] == [3, 3, 1]
    assert all(np.shares_memory(chunk.positions, frames.positions) for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate([chunk.forces for chunk in chunks]), frames.forces)


def assert_same(a, b):
    assert a.symbols == b.symbols
    for name in ("positions", "forces", "boxes", "energies", "velocities", "steps"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_array_equal(x, y)


def test_round_trip_of_several_systems(tmp_path):
    full = make(
        energies=np.linspace(-3, 3, 5) / 7,
        velocities=np.random.default_rng(1).normal(size=(5, 3, 3)) * 0.01,
        steps=np.arange(5) * 4 + 100,
        boxes=np.linspace(5.0, 5.5, 15).reshape(5, 3),
        provenance={"name": "hot", "method": "CP2K METHOD NNP", "ensemble": "NVT"},
    )
    bare = make(2, seed=3)
    told = []
    save_frames(tmp_path / "data.h5", [full, bare], progress=lambda done, text: told.append((done, text)))
    first, second = load_frames(tmp_path / "data.h5")
    assert_same(first, full)
    assert_same(second, bare)
    assert first.provenance["method"] == "CP2K METHOD NNP"
    assert first.provenance["name"] == "hot"
    assert first.provenance["source"] == str(tmp_path / "data.h5")
    assert second.provenance["origin"] == "made by a test"
    assert told[-1] == (1.0, "frame 7 of 7")
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4])
def test_a_box_of_each_frame_is_no_matrix(tmp_path, n_frames):
    """Three frames with three edges each have the shape of a cell."""
    boxes = np.arange(5.0, 5.0 + 3 * n_frames).reshape(n_frames, 3)
    save_frames(tmp_path / "a.h5", [make(n_frames, boxes=boxes)])
    np.testing.assert_array_equal(load_frames(tmp_path / "a.h5")[0].boxes, boxes)


def test_single_precision_is_stored_where_it_is_exact(tmp_path):
    save_frames(tmp_path / "data.h5", [make(provenance={"name": "double"}), make(single=True)])
    with h5py.File(tmp_path / "data.h5") as file:
        assert file["double/positions"].dtype == np.float64
        assert file["system_001/positions"].dtype == np.float32
        assert file["system_001/forces"].attrs["unit"] == "eV angstrom-1"
        assert file.attrs["format"] == "mldsim-dataset"
        assert file.attrs["schema"] == 1


def test_more_frames_than_one_block(tmp_path):
    frames = make(9000)
    save_frames(tmp_path / "data.h5", [frames])
    assert_same(load_frames([tmp_path / "data.h5"])[0], frames)


@pytest.mark.parametrize(("weight", "message"), [("much", "must be a number"), (-1.0, "must be a positive number")])
def test_a_weight_in_a_file_is_checked(tmp_path, weight, message):
    path = tmp_path / "d.h5"
    save_frames(path, [make(weight=0.5)])
    assert load_frames(path)[0].take([0]).weight == 0.5
    with h5py.File(path, "r+") as file:
        next(iter(file.values())).attrs["weight"] = weight
    with pytest.raises(InputError, match=message):
        load_frames(path)


def test_an_existing_file_is_kept_without_force(tmp_path):
    path = tmp_path / "data.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        save_frames(path, [make()])
    assert path.read_text() == "precious"
    save_frames(path, [make()], force=True)
    assert load_frames(path)[0].n_frames == 5


@pytest.mark.parametrize(
    ("place", "systems", "message"),
    [
        ("missing/data.h5", True, "does not exist"),
        (".", True, "is a folder"),
        ("data.h5", False, "no frames"),
    ],
)
def test_wrong_places_to_write(tmp_path, place, systems, message):
    with pytest.raises(InputError, match=message):
        save_frames(tmp_path / place, [make()] if systems else [], force=True)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(WorkFailed, match="could not be written"):
            save_frames(tmp_path / "data.h5", [make()])
    finally:
        tmp_path.chmod(0o700)


FULL_DISK = """
import resource, sys
import numpy as np
from mldsim.dataset import LabelledFrames, save_frames
from mldsim.errors import WorkFailed
values = np.random.default_rng(0).normal(size=(4000, 3, 3))
frames = LabelledFrames(("O", "H", "H"), values, values, np.full(3, 5.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_frames(sys.argv[1], [frames], force=True)
except WorkFailed as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_write_that_fails_half_way_leaves_what_was_there(tmp_path):
    """A limit on the size of files stands in for a full disk: HDF5 sees a failing write all the same."""
    path = tmp_path / "data.h5"
    path.write_text("precious")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "data.h5 could not be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupt(done, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_frames(tmp_path / "data.h5", [make()], progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_load():
    with pytest.raises(InputError, match="No data was given"):
        load_frames([])


def test_holdout_is_the_end_of_a_time_series():
    shuffled = np.array([40, 0, 20, 90, 10, 30, 80, 50, 70, 60])
    train, holdout = split([make(10, steps=shuffled)], 0.3, seed=1)
    assert sorted(holdout[0].steps) == [70, 80, 90]
    assert sorted(train[0].steps) == [0, 10, 20, 30, 40, 50, 60]


def test_the_numbers_of_divided_frames_are_those_of_the_split():
    steps = np.array([40, 0, 20, 90, 10, 30, 80, 50, 70, 60])
    systems = [make(10, steps=steps), make(8, seed=1), *(make(1, seed=seed) for seed in range(2, 7))]
    parts = divide(systems, 0.4, seed=3)
    for side, frames in enumerate(split(systems, 0.4, seed=3)):
        numbers = [part[side] for part in parts if len(part[side])]
        whole = [system for system, part in zip(systems, parts, strict=True) if len(part[side])]
        assert len(frames) == len(numbers)
        for some, system, chosen in zip(frames, whole, numbers, strict=True):
            np.testing.assert_array_equal(some.positions, system.positions[chosen])
    for system, (fitted, held) in zip(systems, parts, strict=True):
        assert sorted([*fitted, *held]) == list(range(system.n_frames))


def test_holdout_of_independent_frames_is_drawn_from_the_seed():
    systems = [make(40, energies=np.arange(40.0))]
    train, holdout = split(systems, 0.25, seed=7)
    drawn = holdout[0].energies
    assert len(drawn) == 10
    assert not set(drawn) & set(train[0].energies)
    assert set(drawn) | set(train[0].energies) == set(range(40))
    assert drawn.max() - drawn.min() > 10  # not one block
    np.testing.assert_array_equal(split(systems, 0.25, seed=7)[1][0].energies, drawn)
    assert set(split(systems, 0.25, seed=8)[1][0].energies) != set(drawn)


def test_holdout_of_systems_of_one_frame():
    systems = [make(1, seed=k) for k in range(10)]
    train, holdout = split(systems, 0.2, seed=3)
    assert (len(train), len(holdout)) == (8, 2)
    both, out = split([make(2, steps=np.arange(2))], 0.1)
    assert (both[0].n_frames, out[0].n_frames) == (1, 1)


def test_holdout_fractions():
    systems = [make(4)]
    train, holdout = split(systems, 0.0)
    assert train == systems
    assert holdout == []
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="held-out share"):
            split(systems, wrong)
    with pytest.raises(InputError, match="too few frames"):
        split([make(1)], 0.1)


class TestShippedData:
    """What is promised of the files in assets/data."""

    folder = Path(dataset.__file__).parents[1] / "assets" / "data"

    def test_holdout_follows_the_fit_with_a_gap(self):
        fit = {frames.provenance["name"]: frames for frames in load_frames(self.folder / "cnnp_fit.h5")}
        holdout = {frames.provenance["name"]: frames for frames in load_frames(self.folder / "cnnp_holdout.h5")}
        assert fit.keys() == holdout.keys()
        assert len(fit) == 7
        for name, frames in fit.items():
            timestep = float(frames.provenance["timestep"].split()[0])
            assert (holdout[name].steps.min() - frames.steps.max()) * timestep >= 50.0
            assert "surrogate of revPBE0-D3" in frames.provenance["theory"]

    def test_start_has_velocities_of_its_temperature(self):
        from mldsim import units

        (frames,) = load_frames(self.folder / "water64_start.h5")
        assert (frames.n_frames, frames.n_agents) == (8, 192)
        masses = np.array([{"O": 15.999, "H": 1.008}[symbol] for symbol in frames.symbols])
        kinetic = 0.5 * units.MASS * np.einsum("i,fij,fij->f", masses, frames.velocities, frames.velocities)
        temperatures = kinetic / (1.5 * 191 * units.BOLTZMANN)
        assert temperatures.mean() == pytest.approx(300.0, abs=25.0)

    def test_radial_distributions_are_those_of_the_reference_trajectory(self):
        """The thinned trajectory and the g(r) of every frame agree within statistics; water has 64 x 2 bonds."""
        with h5py.File(self.folder / "water64_300K_reference.h5") as file:
            positions = file["positions"][::10].astype(float)
            box = file["box"][()]
            numbers = file["atomic_numbers"][()]
        with h5py.File(self.folder / "water64_300K_rdf.h5") as file:
            r, g, error = file["r"][()], file["O-O/g"][()], file["O-O/error"][()]
            bonded = file["O-H/g"][()]
        oxygens = positions[:, numbers == 8]
        first, second = np.triu_indices(64, 1)
        separation = oxygens[:, first] - oxygens[:, second]
        separation -= box * np.round(separation / box)
        distances = np.linalg.norm(separation, axis=-1).ravel()
        edges = np.append(r - 0.025, r[-1] + 0.025)
        shells = 4 / 3 * np.pi * np.diff(edges**3)
        thinned = np.histogram(distances, edges)[0] / (len(positions) * len(first) * shells / box.prod())
        assert np.abs(thinned - g)[r > 2.4].mean() < 0.05
        assert error[r > 2.4].mean() < 0.03
        assert r[g.argmax()] == pytest.approx(2.79, abs=0.05)
        inside = r < 1.3
        assert (bonded * shells)[inside].sum() * 128 / box.prod() == pytest.approx(2.0, abs=1e-6)

    def test_all_of_it_is_small(self):
        assert sum(file.stat().st_size for file in self.folder.glob("*.h5")) < 11e6
