"""Normal equations: what is solved, scored and drawn from sums is what the rows themselves give."""

import numpy as np
import pytest

from mldsim import equations as module
from mldsim.equations import Collector, NormalEquations, weighted_sum
from mldsim.errors import WorkFailed


def test_ridge_regression_is_the_textbook_one():
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(40, 5)) * [1, 10, 0.1, 3, 1], rng.normal(size=40)
    equations = NormalEquations(5)
    equations.add(rows[:25], targets[:25])
    equations.add(rows[25:], targets[25:])
    scale = np.linalg.norm(rows, axis=0)
    scaled = rows / scale
    expected = np.linalg.solve(scaled.T @ scaled + 0.01 * np.eye(5), scaled.T @ targets) / scale
    assert equations.solve(0.01) == pytest.approx(expected)


def test_weights_multiply_the_rows():
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(6, 3)), rng.normal(size=6)
    weighted, scaled = NormalEquations(3), NormalEquations(3)
    weighted.add(rows, targets, weight=2.0)
    scaled.add(2.0 * rows, 2.0 * targets)
    assert weighted.solve(0.0) == pytest.approx(scaled.solve(0.0))
    collector, waited = Collector(3), NormalEquations(3)
    collector.add(waited, rows[:2], targets[:2], weight=2.0)
    collector.add(waited, rows[2:], targets[2:], weight=3.0)
    collector.finish()
    taken = NormalEquations(3)
    taken.add(rows, targets, weight=2.0)
    taken.add(rows[2:], targets[2:], weight=3.0)
    taken.remove(rows[2:], targets[2:], weight=2.0)
    assert waited.solve(0.0) == pytest.approx(taken.solve(0.0))
    assert waited.count == taken.count == 2 * 4 + 4 * 9


def test_rows_that_are_taken_off_leave_no_trace(rng):
    rows, targets = rng.normal(size=(30, 6)), rng.normal(size=30)
    some, all_of_them = NormalEquations(6), NormalEquations(6)
    some.add(rows[:20], targets[:20])
    all_of_them.add(rows, targets)
    all_of_them.remove(rows[20:], targets[20:])
    assert all_of_them.solve(0.0) == pytest.approx(some.solve(0.0))
    assert all_of_them.square == pytest.approx(some.square)
    assert all_of_them.count == 20


def test_rows_may_wait_to_be_added(rng, monkeypatch):
    """Those of one set of equations and of another in turn, some filled in place, some longer than the waiting room."""
    monkeypatch.setattr(module, "COLLECTED", 10)
    collector = Collector(3)
    waited, added = ([NormalEquations(3) for _ in range(2)] for _ in range(2))
    for number, n_rows in ((0, 4), (0, 4), (0, 4), (1, 3), (1, 25), (0, 7)):
        rows, targets = rng.normal(size=(n_rows, 3)), rng.normal(size=n_rows)
        added[number].add(rows, targets)
        if n_rows == 4:
            room = collector.room(waited[number], n_rows)
            room[:] = rows
            rows = room
        collector.add(waited[number], rows, targets)
    collector.finish()
    for one, other in zip(waited, added, strict=True):
        assert one.packed == pytest.approx(other.packed)
        assert one.vector == pytest.approx(other.vector)
        assert one.square == pytest.approx(other.square)
        assert one.count == other.count


def test_equations_take_more_columns_of_the_same_rows(rng):
    rows, targets = rng.normal(size=(12, 5)), rng.normal(size=12)
    first, whole = NormalEquations(3), NormalEquations(5)
    first.add(rows[:, :3], targets)
    whole.add(rows, targets)
    more = rows[:, 3:]
    found = first.extended(more.T @ rows, more.T @ targets)
    assert found.solve(1e-6) == pytest.approx(whole.solve(1e-6))
    assert found.packed == pytest.approx(whole.packed)
    assert (found.size, found.count) == (whole.size, whole.count)


def test_errors_follow_from_the_sums_alone(rng):
    rows, targets = rng.normal(size=(30, 6)), rng.normal(size=30)
    equations = NormalEquations(6)
    equations.add(rows, targets)
    coefficients = rng.normal(size=(6, 3))
    expected = ((rows @ coefficients - targets[:, None]) ** 2).sum(axis=0)
    assert equations.squared_errors(coefficients) == pytest.approx(expected)


def test_a_weighted_sum_is_that_of_weighted_rows(rng):
    rows, targets = rng.normal(size=(30, 5)), rng.normal(size=30)
    first, second, both = NormalEquations(5), NormalEquations(5), NormalEquations(5)
    first.add(rows[:10], targets[:10])
    second.add(rows[10:], targets[10:])
    both.add(np.concatenate([rows[:10], 3 * rows[10:]]), np.concatenate([targets[:10], 3 * targets[10:]]))
    total = weighted_sum(5, [(first, 1.0), (second, 3.0), (both, 0.0)])
    assert total.matrix() == pytest.approx(both.matrix())
    assert total.solve(0.0) == pytest.approx(both.solve(0.0))


def test_draws_have_the_covariance_of_the_coefficients(rng):
    rows = rng.normal(size=(50, 4)) * [1, 10, 0.1, 3]
    equations = NormalEquations(4)
    equations.add(rows, np.zeros(50))
    draws = equations.factor(0.0).draws(20_000, rng)
    leverage = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(rows.T @ rows), rows)
    assert np.mean((rows @ draws) ** 2, axis=1) == pytest.approx(leverage, rel=0.05)


def test_a_column_without_rows_keeps_a_coefficient_of_zero(rng):
    rows = rng.normal(size=(30, 4))
    rows[:, 2] = 0.0
    equations = NormalEquations(4)
    equations.add(rows, rng.normal(size=30))
    solution = equations.solve(0.0)
    assert solution[2] == 0.0
    assert solution[[0, 1, 3]].all()
    assert not equations.factor(0.0).draws(3, rng)[2].any()


def test_rows_that_determine_nothing_are_told():
    with pytest.raises(WorkFailed, match="determine nothing"):
        NormalEquations(3).solve(0.0)
    equations = NormalEquations(3)
    equations.add(np.ones((2, 3)), np.ones(2))
    with pytest.raises(WorkFailed, match="do not determine all coefficients"):
        equations.solve(0.0)
