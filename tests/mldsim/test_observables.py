import numpy as np
import pytest

from mldsim import units
from mldsim.observables import draw_velocities, nonreciprocal_power, remove_drift, temperature
from mldsim.state import State


def make_state(n, seed=0):
    masses = np.resize([16.0, 1.0, 1.0], n)
    return State(
        positions=np.zeros((n, 3)),
        velocities=np.random.default_rng(seed).standard_normal((n, 3)),
        species=np.zeros(n, np.int32),
        symbols=("H",),
        masses=masses,
        box=np.full(3, 20.0),
        bonds=np.empty((0, 2), np.int32),
        rng=np.random.default_rng(seed),
    )


def test_temperature_of_equipartition():
    assert temperature(1.5 * units.BOLTZMANN * 300.0, 3) == pytest.approx(300.0)


def test_speed_of_water_at_room_temperature():
    # Root mean square speed of H2O at 300 K, sqrt(3 k T / m) = 645 m/s = 0.00645 angstrom/fs.
    state = make_state(2)
    state.masses[:] = 18.015
    state.velocities[:] = [[0.00645, 0, 0], [-0.00645, 0, 0]]
    assert temperature(state.kinetic_energy(), 6) == pytest.approx(300.0, rel=5e-3)


def test_drawn_velocities_have_the_temperature_and_no_momentum():
    state = make_state(30)
    draw_velocities(state, 350.0, 87)
    assert temperature(state.kinetic_energy(), 87) == pytest.approx(350.0)
    np.testing.assert_allclose(state.momentum(), 0.0, atol=1e-14)


def test_drawn_velocities_share_the_energy_equally_among_light_and_heavy():
    state = make_state(30_000)
    draw_velocities(state, 300.0, 3 * 30_000 - 3)
    half_kT = 0.5 * units.BOLTZMANN * 300.0
    for mass, count in ((16.0, 10_000), (1.0, 20_000)):
        mine = state.masses == mass
        per_component = 0.5 * units.MASS * mass * (state.velocities[mine] ** 2).mean()
        assert per_component == pytest.approx(half_kT, rel=4 * np.sqrt(2 / (3 * count)))


def test_removing_the_drift_keeps_relative_velocities():
    state = make_state(10)
    before = state.velocities[1] - state.velocities[0]
    remove_drift(state)
    np.testing.assert_allclose(state.momentum(), 0.0, atol=1e-13)
    np.testing.assert_allclose(state.velocities[1] - state.velocities[0], before)


def test_power_of_the_non_reciprocal_part():
    velocities = np.array([[1.0, 0, 0], [0, 2.0, 0]])
    shared = np.ones((2, 3))
    extra = np.array([[0.5, 7, 7], [7, -0.1, 7]])
    assert nonreciprocal_power(velocities, shared + extra, shared) == pytest.approx(0.5 - 0.2)
    assert nonreciprocal_power(velocities, shared, shared) == 0.0
