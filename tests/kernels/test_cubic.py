"""The cubic part: couplings that no rotation changes, kernels that agree with the oracle, rows that give the forces."""

import numpy as np
import pytest

from mldsim.kernels import cubic, design, reference
from mldsim.loss import Scope
from mldsim.parameters import Precision
from mldsim.regression import DesignMatrix, FitSettings

from .conftest import CUBIC, N_RADIAL, random_model, some_water
from .test_forces import evaluator, oracle


@pytest.mark.parametrize("ranks", cubic.triples(3), ids=str)
def test_couplings_are_invariants_of_three_directions(ranks):
    """They do not notice rotations and mirrors, are 1 for equal directions, and are what Cartesian tensors give."""
    from mldsim.kernels import pair

    harmonics = pair.functions(lambda function: function).harmonics

    def invariant(directions):
        values = np.empty((3, 16))
        for u, value in zip(directions, values, strict=True):
            harmonics(*u, 3, value)
        of = (value[rank * rank : (rank + 1) ** 2] for rank, value in zip(ranks, values, strict=True))
        return np.einsum("abc,a,b,c->", cubic.gaunt(ranks), *of)

    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert invariant(directions @ turn) == pytest.approx(invariant(directions), abs=1e-12)
    assert invariant(-directions) == pytest.approx(invariant(directions), abs=1e-12)
    assert invariant(directions[[0, 0, 0]]) == pytest.approx(1.0)

    x, y, z = reference.CONTRACTIONS[ranks]

    def contracted(directions):
        tensors = (reference.tensors(rank, u) for rank, u in zip(ranks, directions, strict=True))
        return np.einsum(f"{x},{y},{z}->", *tensors)

    assert invariant(directions) == pytest.approx(contracted(directions) / contracted(directions[[0, 0, 0]]), abs=1e-12)


@pytest.mark.parametrize(("max_rank", "numbers"), [(0, (4, 20)), (1, (10, 60)), (2, (26, 160)), (3, (46, 304))])
def test_every_invariant_is_a_column_once(max_rank, numbers):
    """C(R + 2, 3) for three equal ranks, R C(R + 1, 2) for two, R^3 for none."""
    assert (len(cubic.features(2, max_rank)), len(cubic.features(4, max_rank))) == numbers
    rows = cubic.features(4, max_rank)
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)


@pytest.mark.parametrize("max_rank", [0, 2, 3])
def test_tensors_hold_each_coefficient_once(max_rank):
    theta = np.random.default_rng(1).normal(size=(2, len(cubic.features(3, max_rank))))
    found = cubic.tensors(theta, 3, max_rank)
    assert found.sum(axis=(1, 2, 3, 4)) == pytest.approx(theta.sum(axis=1))
    for number, ranks in enumerate(cubic.triples(max_rank)):
        if ranks[0] == ranks[1]:
            assert (found[:, number] == found[:, number].swapaxes(1, 2)).all()
        if ranks[1] == ranks[2]:
            assert (found[:, number] == found[:, number].swapaxes(2, 3)).all()


@pytest.mark.parametrize("rank", [0, 3])
def test_the_oracle_descends_the_gradient_of_the_cubic_part(rank, scope):
    model = random_model(rank, scope, n_channels=2)
    positions, species, box = some_water(3, 5.6)
    _, forces = oracle(model, positions, species, box)
    step = 1e-4
    for agent, axis in [(0, 0), (1, 1), (5, 2)]:
        ends = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[agent, axis] += sign * step
            losses, _ = oracle(model, moved, species, box)
            ends.append(losses.sum() if scope is Scope.SHARED else losses[agent])
        assert forces[agent, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=2e-5)


@pytest.mark.parametrize(("rank", "n_channels"), CUBIC)
def test_kernels_agree_with_the_oracle(rank, n_channels, scope):
    model = random_model(rank, scope, n_channels=n_channels)
    positions, species, box = some_water(8, 7.0)
    losses, forces = oracle(model, positions, species, box)
    found = evaluator(model, species, box)(positions)
    assert np.abs(found.losses - losses).max() < 1e-9 * np.abs(losses).max()
    assert np.abs(found.forces - forces).max() < 1e-7 * np.abs(forces).max()  # of the Hermite table
    single = evaluator(model, species, box, Precision.SINGLE)(positions)
    assert np.abs(single.losses - losses).max() < 2e-5 * np.abs(losses).max()
    assert np.abs(single.forces - forces).max() < 5e-5 * np.abs(forces).max()


def test_the_cubic_part_turns_with_the_agents():
    """A free cluster in a large box, turned and mirrored: forces follow, losses do not notice."""
    model = random_model(2, Scope.SHARED, n_channels=3)
    positions, species, _ = some_water(6, 6.0)
    positions = positions % 6.0 + 20.0
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    evaluate = evaluator(model, species, np.full(3, 60.0))
    before = evaluate(positions)
    after = evaluate((positions - 23.0) @ turn.T + 30.0)
    assert after.losses == pytest.approx(before.losses, abs=1e-9)
    assert after.forces == pytest.approx(before.forces @ turn.T, abs=1e-7)


@pytest.mark.parametrize(("rank", "n_channels"), CUBIC)
def test_rows_times_coefficients_are_the_forces(rank, n_channels, scope):
    model = random_model(rank, scope, n_channels=n_channels)
    positions, species, box = some_water(8, 7.0)
    settings = FitSettings(scope=scope, order=3, max_rank=rank, n_radial=N_RADIAL, cutoff=4.5, n_channels=n_channels)
    matrix = DesignMatrix(model.symbols, settings, model.radial, model.wall, model.cubic)
    rows, wall, _, _ = matrix.rows(positions, species, box)
    upper = np.triu_indices(model.linear.shape[1])
    theta = np.concatenate(
        [
            np.concatenate([w, *(of_rank[upper] for of_rank in quadratic), third])
            for w, quadratic, third in zip(model.linear, model.quadratic, model.cubic.coefficients, strict=True)
        ]
    )
    forces = evaluator(model, species, box)(positions).forces
    assert (rows @ theta + wall).reshape(-1, 3) == pytest.approx(forces, abs=1e-8 * np.abs(forces).max())
    same = model.with_coefficients(theta.reshape(2, -1))
    assert (same.cubic.coefficients == model.cubic.coefficients).all()


def test_rows_do_not_depend_on_the_number_of_threads():
    import numba

    model = random_model(2, Scope.SHARED, n_channels=3)
    positions, species, box = some_water(8, 7.0)
    settings = FitSettings(order=3, n_radial=N_RADIAL, cutoff=4.5, n_channels=3)
    matrix = DesignMatrix(model.symbols, settings, model.radial, model.wall, model.cubic)
    threads = numba.get_num_threads()
    found = []
    try:
        for n in {1, threads}:
            numba.set_num_threads(n)
            found.append(matrix.rows(positions, species, box)[0])
    finally:
        numba.set_num_threads(threads)
    assert all((rows == found[0]).all() for rows in found)
    assert design.n_features(2 * N_RADIAL, 3, 2, 3) == matrix.columns
