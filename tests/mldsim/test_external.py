"""A hand in the box: the spring is conservative, momentum stays zero, and the books tell what the hand did."""

import math

import numpy as np
import pytest

from mldsim.errors import InputError, LeftPhysics
from mldsim.external import STRONGEST, Spring
from mldsim.loss import Scope
from mldsim.parameters import ThermostatKind

from .test_simulation import make_simulation


def spring_of(simulation, agent=4):
    state = simulation.state
    molecule = np.array([agent // 3 * 3 + k for k in range(3)])
    return Spring(agent, molecule, np.array([0.7, -0.4, 0.2]), state.masses)


def momentum(simulation):
    state = simulation.state
    return np.abs(state.masses @ state.velocities).max()


@pytest.mark.parametrize("reach", [0.2, 30.0])
def test_the_force_is_the_gradient_of_the_energy_and_adds_up_to_nothing(reach):
    simulation = make_simulation()
    spring = spring_of(simulation)
    positions = simulation.state.positions.copy()
    positions[spring.molecule] += reach * np.array([0.6, 0.5, -0.3])
    forces = spring.forces(positions)
    assert np.abs(forces.sum(axis=0)).max() < 1e-12
    assert np.linalg.norm(spring.pull(positions)) <= STRONGEST + 1e-12
    for agent, axis in ((3, 0), (5, 2), (12, 1)):
        step = np.zeros_like(positions)
        step[agent, axis] = 1e-5
        slope = (spring.energy(positions + step) - spring.energy(positions - step)) / 2e-5
        assert forces[agent, axis] == pytest.approx(-slope, abs=1e-8)


def test_no_bond_is_strained_by_it():
    spring = spring_of(make_simulation())
    forces = spring.forces(make_simulation().state.positions)
    accelerations = forces[spring.molecule] / spring.masses[spring.molecule, None]
    np.testing.assert_allclose(accelerations, accelerations[[0, 0, 0]], atol=1e-12)


def test_a_molecule_that_is_pulled_arrives_and_energy_is_conserved_meanwhile():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    before = simulation.thermo().conserved
    state = simulation.state
    start = state.masses[3:6] @ state.positions[3:6] / state.masses[3:6].sum()
    target = start + np.array([0.8, 0.0, 0.0])
    simulation.pull(3, target)
    assert simulation.thermo().conserved == pytest.approx(before, abs=1e-9)  # grabbing is booked
    scale = simulation.thermo().kinetic
    conserved, nearest = [], math.inf
    for _ in range(60):
        simulation.advance(10)
        conserved.append(simulation.thermo().conserved)
        place = state.masses[3:6] @ state.positions[3:6] / state.masses[3:6].sum()
        nearest = min(nearest, float(np.linalg.norm(place - target)))
        assert momentum(simulation) < 1e-9
    assert nearest < 0.4
    assert np.ptp(conserved) < 0.02 * scale
    frame = simulation.frame()
    assert frame.pull.agent == 3
    np.testing.assert_allclose(frame.pull.target, target, atol=1e-6)
    # The force from outside is not among the forces of the losses.
    np.testing.assert_allclose(frame.forces, simulation._forces(state.positions).forces)
    simulation.release()
    assert simulation.frame().pull is None
    assert simulation.thermo().conserved == pytest.approx(conserved[-1], abs=1e-9)


def test_a_hand_that_moves_does_work_and_it_is_booked():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    place = simulation.state.positions[3].copy()
    before = simulation.thermo()
    for step in range(20):
        simulation.pull(3, place + np.array([0.05 * step, 0.0, 0.0]))
        simulation.advance(5)
    after = simulation.thermo()
    assert after.conserved == pytest.approx(before.conserved, abs=0.02 * before.kinetic)
    assert after.total != pytest.approx(before.total, abs=1e-4)


def test_without_a_hand_the_run_is_bitwise_what_it_was():
    one, other = make_simulation(), make_simulation()
    other.pull(3, other.state.positions[3])
    other.release()
    one.advance(20)
    other.advance(20)
    np.testing.assert_array_equal(one.state.positions, other.state.positions)


def test_own_scope_can_be_pulled_too():
    simulation = make_simulation(scope=Scope.OWN)
    simulation.pull(3, simulation.state.positions[3] + 1.0)
    simulation.advance(50)
    assert math.isnan(simulation.thermo().conserved)


def test_a_guard_that_trips_lets_go_and_goes_back():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    simulation.advance(120)
    simulation.pull(3, simulation.state.positions[3] + [2.0, 0.0, 0.0])
    before = simulation.thermo().conserved
    simulation._forces.sabotage = lambda result: type(result)(result.losses, result.forces, 0.1)
    simulation._contact_trouble = lambda *_: "Agents came too close"
    with pytest.raises(LeftPhysics):
        simulation.advance(1)
    assert simulation.frame().pull is None
    assert simulation.thermo().conserved == pytest.approx(before, abs=0.05)


def test_a_region_is_heated_and_cooled_without_a_push():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    before = simulation.thermo()
    agents = np.arange(9)
    simulation.heat(agents, 2.0)
    hot = simulation.thermo()
    assert hot.kinetic > before.kinetic
    assert hot.conserved == pytest.approx(before.conserved, abs=1e-9)
    assert momentum(simulation) < 1e-9
    simulation.heat(agents, 0.5)
    assert simulation.thermo().kinetic == pytest.approx(before.kinetic, rel=1e-9)


def test_a_kick_moves_a_molecule_and_the_rest_takes_the_recoil():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    velocities = simulation.state.velocities.copy()
    simulation.kick(4, np.array([0.01, 0.0, 0.0]))
    change = simulation.state.velocities - velocities
    np.testing.assert_allclose(change[3:6], change[[3, 3, 3]])
    assert change[3, 0] > 0.008
    assert change[0, 0] < 0.0
    assert momentum(simulation) < 1e-9


def test_what_cannot_be_done_is_said():
    simulation = make_simulation()
    for refused in (
        lambda: simulation.pull(10_000, np.zeros(3)),
        lambda: simulation.pull(0, np.array([np.nan, 0.0, 0.0])),
        lambda: simulation.heat(np.array([], np.int64), 2.0),
        lambda: simulation.heat(np.array([0]), -1.0),
        lambda: simulation.kick(0, np.array([5.0, 0.0, 0.0])),
    ):
        with pytest.raises(InputError):
            refused()
