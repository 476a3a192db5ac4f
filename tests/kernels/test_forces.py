"""The kernels' contract: they agree with the oracle, and the oracle with the gradient of the loss."""

import dataclasses

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.kernels import reference
from mldsim.kernels.cubic import features
from mldsim.kernels.mutual import strengths
from mldsim.loss import LossModel, Scope
from mldsim.parameters import DeviceKind, Precision

from .conftest import random_model, some_water


def oracle(model: LossModel, positions, species, box):
    cubic = model.cubic
    third = None
    if cubic is not None:
        columns = features(cubic.n_channels, model.max_rank)
        third = cubic.channels, cubic.offsets, cubic.saturation, columns, cubic.coefficients
    return reference.descend(
        positions, species, box, model.cutoff, model.radial.exponent, model.radial.coefficients, model.linear,
        model.quadratic, model.wall.radius, model.wall.stiffness, model.scope is Scope.SHARED,
        third, not_local(model),
    )  # fmt: skip


def not_local(model: LossModel) -> reference.NotLocal:
    hops, waves = model.hops, model.waves
    return reference.NotLocal(
        None if hops is None else strengths(hops.coefficients, model.radial.n_radial, model.cubic.n_channels),
        *(() if waves is None else (strengths(waves.coefficients, len(waves.widths), 2), waves.widths, waves.reach)),
    )


def evaluator(model, species, box, precision=Precision.DOUBLE):
    return Evaluator(model, species, box, device=DeviceKind.CPU, precision=precision)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_oracle_descends_the_gradient(rank, scope):
    model = random_model(rank, scope)
    positions, species, box = some_water(4, 5.6)
    _, forces = oracle(model, positions, species, box)
    step = 1e-4
    for agent, axis in [(0, 0), (1, 1), (5, 2), (9, 0), (11, 1)]:
        ends = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[agent, axis] += sign * step
            losses, _ = oracle(model, moved, species, box)
            ends.append(losses.sum() if scope is Scope.SHARED else losses[agent])
        assert forces[agent, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=2e-5)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize(("edge", "n"), [(4.6, 3), (7.0, 8), (14.2, 40)], ids=["cutoff", "two cutoffs", "cells"])
def test_kernels_agree_with_the_oracle(rank, scope, edge, n):
    model = random_model(rank, scope)
    positions, species, box = some_water(n, edge)
    losses, forces = oracle(model, positions, species, box)
    found = evaluator(model, species, box)(positions)
    scale = np.abs(forces).max()
    assert np.abs(found.losses - losses).max() < 1e-9 * np.abs(losses).max()
    assert np.abs(found.forces - forces).max() < 1e-7 * scale  # of the Hermite table
    single = evaluator(model, species, box, Precision.SINGLE)(positions)
    assert np.abs(single.losses - losses).max() < 2e-5 * np.abs(losses).max()
    assert np.abs(single.forces - forces).max() < 5e-5 * scale


@pytest.mark.parametrize("rank", [0, 2, 3])
def test_tabulated_forces_are_the_exact_gradient_of_the_tabulated_loss(rank):
    """What energy conservation rests on: not the size of the table's error but its consistency."""
    model = random_model(rank, Scope.SHARED)
    positions, species, box = some_water(8, 7.0)
    evaluate = evaluator(model, species, box)
    forces = evaluate(positions).forces
    direction = np.random.default_rng(2).normal(size=positions.shape)
    # Richardson: central differences of two steps, so that the error is of fourth order.
    slopes = [
        (evaluate(positions + h * direction).losses.sum() - evaluate(positions - h * direction).losses.sum()) / (2 * h)
        for h in (1e-4, 2e-4)
    ]
    assert -(forces * direction).sum() == pytest.approx((4 * slopes[0] - slopes[1]) / 3, rel=1e-7)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_invariance_under_translation_relabelling_and_images(rank, scope):
    model = random_model(rank, scope)
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


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [False, True], ids=["rotation", "rotation and mirror"])
def test_forces_turn_with_the_agents(rank, scope, mirror):
    """A free cluster in a large box may be turned by any angle; forces follow, losses do not notice."""
    model = random_model(rank, scope)
    positions, species, _ = some_water(6, 6.0)
    positions = positions % 6.0 + 20.0
    box = np.full(3, 60.0)
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    if (np.linalg.det(turn) < 0) is not mirror:
        turn[:, 0] *= -1
    evaluate = evaluator(model, species, box)
    before = evaluate(positions)
    after = evaluate((positions - 23.0) @ turn.T + 30.0)
    assert after.losses == pytest.approx(before.losses, abs=1e-9)
    assert after.forces == pytest.approx(before.forces @ turn.T, abs=1e-7)


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_shared_forces_are_reciprocal_and_own_ones_are_not(precision):
    positions, species, box = some_water(8, 7.0)
    tolerance = 1e-10 if precision is Precision.DOUBLE else 1e-4
    shared = evaluator(random_model(2, Scope.SHARED), species, box, precision)(positions).forces
    assert np.abs(shared.sum(axis=0)).max() < tolerance * np.abs(shared).max()
    own = evaluator(random_model(2, Scope.OWN), species, box, precision)(positions).forces
    assert np.abs(own.sum(axis=0)).max() > 0.01 * np.abs(own).max()


def test_own_evaluator_knows_the_forces_of_the_common_loss():
    positions, species, box = some_water(8, 7.0)
    own = random_model(2, Scope.OWN)
    evaluate = evaluator(own, species, box)
    evaluate(positions)
    shared = dataclasses.replace(own, scope=Scope.SHARED)
    assert evaluate.shared_forces() == pytest.approx(evaluator(shared, species, box)(positions).forces, abs=1e-9)


def test_the_list_is_renewed_before_an_agent_can_cross_the_skin():
    model = random_model(1, Scope.SHARED)
    positions, species, box = some_water(27, 12.0)
    evaluate = evaluator(model, species, box)
    rng = np.random.default_rng(6)
    for _ in range(12):
        positions += rng.normal(size=positions.shape) * 0.08
        fresh = evaluator(model, species, box)(positions)
        assert evaluate(positions).forces == pytest.approx(fresh.forces, abs=1e-9)


def test_the_result_does_not_depend_on_the_number_of_threads():
    import numba

    model = random_model(2, Scope.SHARED)
    positions, species, box = some_water(27, 12.0)
    threads = numba.get_num_threads()
    found = []
    try:
        for n in {1, threads}:
            numba.set_num_threads(n)
            found.append(evaluator(model, species, box, Precision.SINGLE)(positions))
    finally:
        numba.set_num_threads(threads)
    assert all((one.forces == found[0].forces).all() for one in found)


def test_closest_contact_is_in_units_of_the_wall():
    model = random_model(0, Scope.SHARED)
    box = np.full(3, 20.0)
    positions = np.array([[1.0, 1, 1], [19.5, 1, 1], [9.0, 9, 9]])  # O and H, 1.5 apart across the edge; wall at 1.0
    found = evaluator(model, np.int32([0, 1, 1]), box)(positions)
    assert found.closest == pytest.approx(1.5)


def test_not_a_number_stays_visible():
    model = random_model(1, Scope.SHARED)
    positions, species, box = some_water(3, 7.0)
    evaluate = evaluator(model, species, box)
    evaluate(positions)
    positions[0, 0] = np.nan
    found = evaluate(positions)
    assert np.isnan(found.forces).all()
    assert np.isnan(found.closest)


def test_a_box_smaller_than_the_cutoff_is_refused():
    model = random_model(0, Scope.SHARED)
    with pytest.raises(InputError, match=r"smaller than the cutoff .*4\.5 Å"):
        evaluator(model, np.int32([0]), np.array([10.0, 4.4, 10.0]))
    with pytest.raises(InputError, match="positive lengths"):
        evaluator(model, np.int32([0]), np.array([10.0, np.nan, 10.0]))
