"""Each pass does what its formula says, on one thread and on many alike, and hides nothing that is not a number."""

import numba
import numpy as np
import pytest

from mldsim.kernels import motion, noise

MANY = 2 * motion.PORTION + 100


def agents(n, seed=0):
    """Positions, velocities, forces, masses."""
    rng = np.random.default_rng(seed)
    return *rng.normal(size=(3, n, 3)), rng.uniform(1.0, 16.0, n)


@pytest.fixture(params=["alone", "shared"], autouse=True)
def _threads(request, monkeypatch):
    monkeypatch.setattr(motion, "SHARED_FROM", 0 if request.param == "shared" else MANY + 1)


@pytest.mark.parametrize("n", [3, MANY])
def test_kicks_drifts_and_sums(n):
    q, v, f, m = agents(n)
    assert motion.kinetic(v, m) == pytest.approx(0.5 * (m[:, None] * v**2).sum(), rel=1e-12)
    np.testing.assert_allclose(motion.momentum(v, m), m @ v, rtol=1e-9)
    wanted = v + 0.3 * f / m[:, None]
    motion.kick(v, f, 1.0 / m, 0.3)
    np.testing.assert_allclose(v, wanted, rtol=1e-12)
    wanted = q + 0.3 * v
    motion.drift(q, v, 0.3)
    np.testing.assert_allclose(q, wanted, rtol=1e-12)
    normal = np.array([noise.three_normals(5, 6, 7, i) for i in range(n)])
    wanted = 0.9 * v + 0.1 * np.sqrt(m)[:, None] * normal
    motion.mix(v, np.sqrt(m), 0.9, 0.1, 5, 6, 7)
    np.testing.assert_allclose(v, wanted, atol=1e-12)
    wanted = 1.5 * v + [1.0, 2.0, 3.0]
    motion.scale(v, 1.5)
    motion.shift(v, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(v, wanted, rtol=1e-12)


@pytest.mark.parametrize("n", [4, MANY])
def test_the_longest_pair(n):
    q, *_ = agents(n)
    pairs = np.random.default_rng(1).integers(0, n, (n, 2)).astype(np.int32)
    lengths = ((q[pairs[:, 0]] - q[pairs[:, 1]]) ** 2).sum(axis=1)
    row, square = motion.longest(q, pairs)
    assert row == np.argmax(lengths)
    assert square == pytest.approx(lengths.max())
    for lost in (n - 1, n // 2):
        q[pairs[lost, 0]] = np.nan
        row, square = motion.longest(q, pairs)
        assert np.isnan(square)
        assert np.isnan(q[pairs[row]]).any()


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("n", [5, MANY])
def test_places_go_to_the_kernels_in_their_order_and_results_come_back_in_that_of_the_agents(n, real):
    q, origin, moved, _ = agents(n)
    order = np.random.default_rng(1).permutation(n)
    local = np.empty((n, 3), real)
    home = q[order] - origin + 0.1 * moved
    farthest = motion.place(q, order, origin, home, local)
    assert farthest == pytest.approx(0.01 * (moved**2).sum(axis=1).max())
    np.testing.assert_allclose(local, q[order] - origin, rtol=1e-5 if real is np.float32 else 1e-12)

    losses, forces, closest = local[:, 0].copy(), -local, np.abs(local[:, 1])
    agent_losses, agent_forces = np.empty(n), np.empty((n, 3))
    assert motion.collect(order, losses, forces, closest, agent_losses, agent_forces) == closest.min()
    np.testing.assert_array_equal(agent_losses[order], losses)
    np.testing.assert_array_equal(agent_forces[order], forces)


@pytest.mark.parametrize("where", [0, motion.PORTION, MANY - 1])
@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_what_is_not_a_finite_number_is_never_hidden(where, what):
    q, v, f, m = agents(MANY)
    order = np.arange(MANY)
    v[where, 1] = what
    assert not np.isfinite(motion.kinetic(v, m))
    home = q.copy()
    q[where, 2] = what
    assert not np.isfinite(motion.place(q, order, np.zeros_like(q), home, np.empty_like(q)))
    closest = np.ones(MANY)
    closest[where] = np.nan
    assert np.isnan(motion.collect(order, m, f, closest, np.empty(MANY), np.empty_like(f)))


def test_sums_are_the_same_bits_on_any_number_of_threads(monkeypatch):
    _, v, f, m = agents(MANY)
    found = []
    for shared_from, threads in ((MANY + 1, 1), (0, 1), (0, 2)):
        monkeypatch.setattr(motion, "SHARED_FROM", shared_from)
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, before))
        kicked = v.copy()
        motion.kick(kicked, f, 1.0 / m, 0.5)
        found.append((motion.kinetic(kicked, m), *motion.momentum(kicked, m)))
        numba.set_num_threads(before)
    assert found[0] == found[1] == found[2]
