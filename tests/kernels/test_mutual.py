"""The parts that are not local: kernels that agree with the oracle, symmetries, sums over images, rows of the fit."""

import dataclasses

import numpy as np
import pytest

from mldsim.kernels import mutual, waves
from mldsim.loss import Scope, Waves
from mldsim.parameters import Precision
from mldsim.regression import DesignMatrix, FitSettings

from .conftest import N_RADIAL, random_model, some_water
from .test_forces import evaluator, oracle

PARTS = [("hops",), ("waves",), ("hops", "waves")]


def some_model(parts, **changes):
    return random_model(1, Scope.SHARED, n_channels=2, **dict.fromkeys(parts, True), **changes)


@pytest.fixture(params=PARTS, ids="-".join)
def model(request):
    return some_model(request.param)


def test_every_product_of_two_numbers_is_a_column_once():
    """R (R + 1) / 2 products for each pair of species and function; each number meets all numbers of both species."""
    assert len(mutual.columns(2, 5, 3)) == 2 * 5 * 6
    rng = np.random.default_rng(0)
    theta, fields = rng.normal(size=(2, 2 * 5 * 6)), rng.normal(size=(2, 5, 3))
    strengths = mutual.strengths(theta, 5, 3)
    assert strengths == pytest.approx(strengths.transpose(1, 0, 2, 4, 3))
    column, partner = mutual.touched(2, 5, 3)
    for a in range(2):
        of_columns = (theta.ravel()[column[a]] * fields[*np.moveaxis(partner[a], -1, 0)]).sum(axis=1)
        assert of_columns == pytest.approx(np.einsum("bfcd,bfd->c", strengths[a], fields))


def test_the_oracle_descends_the_gradient(model):
    positions, species, box = some_water(3, 5.6)
    _, forces = oracle(model, positions, species, box)
    step = 1e-4
    for agent, axis in [(0, 0), (1, 1), (5, 2)]:
        ends = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[agent, axis] += sign * step
            ends.append(oracle(model, moved, species, box)[0].sum())
        assert forces[agent, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=2e-5)


@pytest.mark.parametrize(("edge", "n"), [(4.6, 3), (7.0, 8)], ids=["cutoff", "two cutoffs"])
def test_kernels_agree_with_the_oracle(model, edge, n):
    positions, species, box = some_water(n, edge)
    losses, forces = oracle(model, positions, species, box)
    without = oracle(dataclasses.replace(model, hops=None, waves=None), positions, species, box)[1]
    assert np.abs(forces - without).max() > 1e-3 * np.abs(forces).max(), "the case is worth nothing"
    found = evaluator(model, species, box)(positions)
    assert np.abs(found.losses - losses).max() < 1e-9 * np.abs(losses).max()
    assert np.abs(found.forces - forces).max() < 1e-7 * np.abs(forces).max()  # of the Hermite table
    assert np.abs(found.forces.sum(axis=0)).max() < 1e-10 * np.abs(forces).max()
    single = evaluator(model, species, box, Precision.SINGLE)(positions)
    assert np.abs(single.losses - losses).max() < 2e-5 * np.abs(losses).max()
    assert np.abs(single.forces - forces).max() < 5e-5 * np.abs(forces).max()


def test_forces_are_the_exact_gradient_of_the_tabulated_loss():
    model = some_model(("hops", "waves"))
    positions, species, box = some_water(8, 7.0)
    evaluate = evaluator(model, species, box)
    forces = evaluate(positions).forces
    direction = np.random.default_rng(2).normal(size=positions.shape)
    slopes = [
        (evaluate(positions + h * direction).losses.sum() - evaluate(positions - h * direction).losses.sum()) / (2 * h)
        for h in (1e-4, 2e-4)
    ]
    assert -(forces * direction).sum() == pytest.approx((4 * slopes[0] - slopes[1]) / 3, rel=1e-7)


def test_invariance_under_translation_relabelling_and_images(model):
    positions, species, box = some_water(8, 7.0)
    evaluate = evaluator(model, species, box)
    before = evaluate(positions)
    moved = evaluate(positions + np.array([1.234, -5.6, 99.9]))
    assert moved.losses == pytest.approx(before.losses, abs=1e-9)
    assert moved.forces == pytest.approx(before.forces, abs=1e-8)
    images = np.random.default_rng(3).integers(-3, 4, size=positions.shape) * box
    assert evaluate(positions + images).forces == pytest.approx(before.forces, abs=1e-8)
    order = np.random.default_rng(4).permutation(len(species))
    renamed = evaluator(model, species[order], box)(positions[order])
    assert renamed.losses == pytest.approx(before.losses[order], abs=1e-10)
    assert renamed.forces == pytest.approx(before.forces[order], abs=1e-9)


def test_hops_turn_with_the_agents():
    """A free cluster in a large box, turned and mirrored: forces follow, losses do not notice."""
    model = some_model(("hops",))
    positions, species, _ = some_water(6, 6.0)
    positions = positions % 6.0 + 20.0
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    evaluate = evaluator(model, species, np.full(3, 60.0))
    before = evaluate(positions)
    after = evaluate((positions - 23.0) @ turn.T + 30.0)
    assert after.losses == pytest.approx(before.losses, abs=1e-9)
    assert after.forces == pytest.approx(before.forces @ turn.T, abs=1e-7)


TURNS = [[[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]]


@pytest.mark.parametrize("turn", TURNS, ids=["quarter", "third", "mirror"])
def test_waves_turn_as_the_cube_does(turn):
    """Images stand on a cubic lattice, so that no other rotations are left."""
    model = some_model(("hops", "waves"))
    positions, species, _ = some_water(8, 7.0)
    evaluate = evaluator(model, species, np.full(3, 7.5))
    before, after = evaluate(positions), evaluate(positions @ np.array(turn, float).T)
    assert after.losses == pytest.approx(before.losses, abs=1e-9)
    assert after.forces == pytest.approx(before.forces @ np.array(turn, float).T, abs=1e-8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_and_the_same_box_twice_have_the_same_losses(axis):
    model = some_model(("hops", "waves"))
    positions, species, box = some_water(5, 6.0)
    once = evaluator(model, species, box)(positions)
    shift, larger = np.zeros(3), box.copy()
    shift[axis], larger[axis] = box[axis], 2 * box[axis]
    twice = evaluator(model, np.tile(species, 2), larger)(np.concatenate([positions, positions + shift]))
    assert twice.losses == pytest.approx(np.tile(once.losses, 2), abs=1e-9)
    assert twice.forces == pytest.approx(np.tile(once.forces, (2, 1)), abs=1e-8)


def test_a_lone_agent_has_no_loss_from_itself():
    """Only from its images: that of a cubic lattice of charges in a background, -2.837297 / L, and what the
    background meets of a charge that is smeared."""
    model, edge, width, reach = some_model(("waves",)), 20.0, 0.7, 2.1
    coefficients = np.zeros((2, len(mutual.columns(2, 1, 2))))
    coefficients[0, 0] = 3.0  # between 1 and 1, of the first species
    nothing = dataclasses.replace(model.cubic, coefficients=0.0 * model.cubic.coefficients)
    alone = dataclasses.replace(model, cubic=nothing, waves=Waves(np.array([width]), reach, coefficients))
    found = evaluator(alone, np.int32([0]), np.full(3, edge))(np.zeros((1, 3)))
    lattice = -2.837297 / edge + 4 * np.pi * (1 / (4 * width**2) + 3 / reach**2) / edge**3
    assert found.losses[0] == pytest.approx(3.0 * lattice, rel=1e-3)
    assert found.forces == pytest.approx(np.zeros((1, 3)), abs=1e-12)


def test_a_wave_beyond_the_longest_is_not_there():
    k = np.array([0.3, 1.0, 1.9999, 2.0, 2.5])
    found = waves.transforms(k, np.array([0.4, 1.0]), 2.0)
    assert (found[:2] > 0).all()
    assert found[2] == pytest.approx(np.zeros(2), abs=1e-9)
    assert (found[3:] == 0).all()
    # Without anything ending it, the potential of a Gaussian charge at its own place: 2 a / sqrt(pi).
    own = waves.at_own_place(np.array([0.1]), 40.0)
    assert own == pytest.approx(2 * 0.1 / np.sqrt(np.pi), rel=1e-3)


def matrix_of(model, monkeypatch) -> tuple[DesignMatrix, np.ndarray]:
    """The columns of a model, and its coefficients in their order."""
    if model.waves is not None:
        monkeypatch.setattr("mldsim.regression.WAVE_WIDTHS", tuple(model.waves.widths))
        monkeypatch.setattr("mldsim.regression.LONGEST_WAVE_VECTOR", model.waves.reach)
    settings = FitSettings(
        order=3, max_rank=1, n_radial=N_RADIAL, cutoff=4.5, n_channels=2, hops=model.hops is not None,
        long_range=model.waves is not None,
    )  # fmt: skip
    upper = np.triu_indices(model.linear.shape[1])
    theta = np.concatenate(
        [
            np.concatenate(
                [
                    model.linear[a], *(of_rank[upper] for of_rank in model.quadratic[a]), model.cubic.coefficients[a],
                    *(part.coefficients[a] for part in (model.hops, model.waves) if part is not None),
                ]
            )
            for a in range(2)
        ]
    )  # fmt: skip
    return DesignMatrix(model.symbols, settings, model.radial, model.wall, model.cubic), theta


@pytest.mark.parametrize(("edge", "n"), [(4.6, 3), (7.0, 8)], ids=["cutoff", "two cutoffs"])
def test_rows_times_coefficients_are_the_forces(model, edge, n, monkeypatch):
    positions, species, box = some_water(n, edge)
    matrix, theta = matrix_of(model, monkeypatch)
    assert matrix.size == model.n_parameters == len(theta)
    rows, wall, _, _ = matrix.rows(positions, species, box)
    forces = evaluator(model, species, box)(positions).forces
    assert (rows @ theta + wall).reshape(-1, 3) == pytest.approx(forces, abs=1e-8 * np.abs(forces).max())
    same = model.with_coefficients(theta.reshape(2, -1))
    for name in ("cubic", "hops", "waves"):
        if getattr(model, name) is not None:
            assert (getattr(same, name).coefficients == getattr(model, name).coefficients).all()


def test_nothing_depends_on_the_number_of_threads(monkeypatch):
    import numba

    model = some_model(("hops", "waves"))
    positions, species, box = some_water(27, 12.0)
    few, few_species, small = some_water(8, 7.0)
    matrix, _ = matrix_of(model, monkeypatch)
    threads = numba.get_num_threads()
    found, rows = [], []
    try:
        for n in {1, threads}:
            numba.set_num_threads(n)
            found.append(evaluator(model, species, box, Precision.SINGLE)(positions))
            rows.append(matrix.rows(few, few_species, small)[0])
    finally:
        numba.set_num_threads(threads)
    assert all((one.forces == found[0].forces).all() and (one.losses == found[0].losses).all() for one in found)
    assert all((one == rows[0]).all() for one in rows)


def test_energy_is_conserved():
    """Halving the time step quarters the error of the energy, so that what is left is not of the forces."""
    model = some_model(("hops", "waves"))
    start, species, box = some_water(8, 7.0)
    masses = np.where(species == 0, 15.999, 1.008)[:, None] * 103.6427  # eV fs^2/angstrom^2
    evaluate = evaluator(model, species, box)

    def error(step: float) -> float:
        positions, velocities = start.copy(), np.zeros_like(start)
        found, energies = evaluate(positions), []
        for _ in range(round(4.0 / step)):
            velocities += 0.5 * step * found.forces / masses
            positions += step * velocities
            found = evaluate(positions)
            velocities += 0.5 * step * found.forces / masses
            energies.append(0.5 * (masses * velocities**2).sum() + found.losses.sum())
        return float(np.abs(np.array(energies) - evaluate(start).losses.sum()).max())

    assert error(0.05) < 0.3 * error(0.1)


def test_a_box_that_no_wave_fits_into():
    """What an agent would have from itself is taken off there too."""
    model = some_model(("waves",))
    short = dataclasses.replace(model, waves=Waves(np.array([0.5]), 0.5, model.waves.coefficients[:, :6]))
    positions, species, box = some_water(3, 4.6)
    assert len(waves.half_space(box, 0.5).k) == 0
    found = evaluator(short, species, box)(positions)
    losses, forces = oracle(short, positions, species, box)
    assert found.losses == pytest.approx(losses, abs=1e-9)
    assert found.forces == pytest.approx(forces, abs=1e-7 * np.abs(forces).max())
