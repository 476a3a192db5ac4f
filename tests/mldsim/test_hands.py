"""Molecules that are taken out and put in while it runs: who is left, where the new one stands, what the books say."""

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.hands import _rotations, with_water, without_molecule
from mldsim.parameters import ThermostatKind
from mldsim.units import BOLTZMANN, MASS
from mldsim.water import water_box

from .test_simulation import MASSES, OH, make_simulation, same


@pytest.fixture
def state():
    return water_box(30, 0.9, 300.0, 1, OH, MASSES)


def distances(state, agents, others):
    apart = state.positions[agents][:, None] - state.positions[others][None]
    apart -= state.box * np.round(apart / state.box)
    return np.sqrt((apart**2).sum(axis=2))


def test_the_others_stay_as_they_were(state):
    left = without_molecule(state, 7)
    kept = np.delete(np.arange(90), [6, 7, 8])
    assert np.array_equal(left.positions, state.positions[kept])
    assert np.array_equal(left.velocities, state.velocities[kept])
    assert np.array_equal(kept[left.bonds], [bond for bond in state.bonds if bond[0] != 6])
    assert state.n_agents == 90


def test_the_last_molecule_stays():
    state = water_box(8, 0.9, 300.0, 1, OH, MASSES)
    for _ in range(7):
        state = without_molecule(state, 0)
    with pytest.raises(InputError, match="last molecule"):
        without_molecule(state, 0)


def test_a_new_molecule_is_whole_and_near_no_other(state):
    more = with_water(state, None, 300.0, MASSES)
    assert more.n_agents == 93
    assert np.array_equal(more.positions[:90], state.positions)
    assert more.bonds[-2:].tolist() == [[90, 91], [90, 92]]
    assert distances(more, [90], [91, 92]) == pytest.approx(0.98)
    assert 1.3 < distances(more, [91], [92])[0, 0] < 1.7
    oxygens = np.arange(0, 90, 3)
    assert distances(more, [90], oxygens).min() > 0.75 * 2.6


def test_it_is_put_near_the_place_that_is_pointed_at(state):
    state = without_molecule(without_molecule(state, 60), 30)
    for near in (state.positions[3], state.positions[3] + 2.0 * state.box):
        more = with_water(state, near, 300.0, MASSES)
        assert np.linalg.norm(more.positions[-3] - near) < 0.5 * state.box[0]


def test_velocities_are_thermal():
    state = water_box(8, 0.5, 300.0, 1, OH, MASSES)
    added = [with_water(_reseeded(state, seed), None, 300.0, MASSES) for seed in range(200)]
    kinetic = np.mean([0.5 * (one.masses[-3:, None] * one.velocities[-3:] ** 2).sum() for one in added])
    assert MASS * kinetic / (4.5 * BOLTZMANN) == pytest.approx(300.0, rel=0.1)


def _reseeded(state, seed):
    state = state.copy()
    state.rng = np.random.default_rng(seed)
    return state


def test_where_there_is_no_room_it_says_so():
    state = water_box(64, 1.9, 300.0, 1, OH, MASSES)
    state.box *= 0.8
    state.positions *= 0.8
    with pytest.raises(InputError, match="no room"):
        with_water(state, None, 300.0, MASSES)


def test_rotations_are_rotations(rng):
    found = _rotations(rng, 500)
    assert found @ found.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(3), (500, 3, 3)))
    assert np.linalg.det(found) == pytest.approx(1.0)
    assert np.abs(found.mean(axis=0)).max() < 0.1


# --- while it runs


def test_the_books_go_on_and_the_molecule_is_gone():
    simulation = make_simulation(12)
    simulation.advance(5)
    before = simulation.thermo().conserved
    simulation.remove_molecule(4)
    assert simulation.topology.n_agents == 33
    assert simulation.thermo().conserved == pytest.approx(before, abs=1e-9)
    simulation.advance(20)
    assert simulation.thermo().conserved == pytest.approx(before, abs=0.02)
    assert len(simulation.frame().positions) == 33


def test_a_molecule_joins_and_moves_with_the_others():
    simulation = make_simulation(12)
    simulation.remove_molecule(20)
    before = simulation.thermo().conserved
    simulation.add_molecule(np.zeros(3))
    assert simulation.topology.n_agents == 36
    assert simulation.thermo().conserved == pytest.approx(before, abs=1e-9)
    assert np.abs(simulation.state.momentum()).max() < 1e-9
    place = simulation.state.positions[-1].copy()
    simulation.advance(20)
    assert not np.array_equal(simulation.state.positions[-1], place)


@pytest.mark.parametrize("kind", [ThermostatKind.NONE, ThermostatKind.NOSE_HOOVER])
def test_a_touch_is_taken_back_with_its_time_and_its_books(kind):
    simulation = make_simulation(12, thermostat=kind)
    simulation.advance(5)
    start, books = simulation.frame(), simulation.thermo()
    simulation.remove_molecule(0)
    simulation.advance(5)
    simulation.heat(np.arange(6), 2.0)
    simulation.take_back()
    assert simulation.topology.n_agents == 33
    simulation.take_back()
    assert same(simulation.frame(), start)
    assert simulation.thermo().conserved == pytest.approx(books.conserved, abs=1e-9)
    assert simulation.thermo().heat == pytest.approx(books.heat, abs=1e-9)
    simulation.advance(5)
    with pytest.raises(InputError, match="nothing to take back"):
        simulation.take_back()


def test_a_reset_brings_all_agents_back():
    simulation = make_simulation(12)
    start = simulation.frame()
    simulation.remove_molecule(0)
    simulation.advance(3)
    simulation.reset()
    assert same(simulation.frame(), start)
    simulation.advance(120)  # past the snapshots of the guard
