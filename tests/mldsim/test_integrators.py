import math

import numpy as np
import pytest

from mldsim import units
from mldsim.evaluator import Evaluation
from mldsim.integrators import Descent, Verlet, largest_force
from mldsim.state import State
from mldsim.thermostats import Langevin, NoThermostat

FREE = NoThermostat(300.0, 50.0)


def make_state(n, mass=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return State(
        positions=rng.standard_normal((n, 3)),
        velocities=0.01 * rng.standard_normal((n, 3)),
        species=np.zeros(n, np.int32),
        symbols=("H",),
        masses=np.full(n, mass),
        box=np.full(3, 20.0),
        bonds=np.empty((0, 2), np.int32),
        rng=rng,
    )


def springs(stiffness):
    """Every agent on its own spring to the origin."""
    return lambda q: Evaluation(0.5 * stiffness * (q**2).sum(axis=1), -stiffness * q, math.inf)


def chain(q):
    """Springs between neighbours in the list: reciprocal forces."""
    stretch = np.diff(q, axis=0)
    forces = np.zeros_like(q)
    forces[:-1] += 3.0 * stretch
    forces[1:] -= 3.0 * stretch
    energies = np.zeros(len(q))
    energies[:-1] = 1.5 * (stretch**2).sum(axis=1)
    return Evaluation(energies, forces, math.inf)


def run(state, evaluate, steps, dt, thermostat=FREE):
    verlet, evaluation = Verlet(state.masses), evaluate(state.positions)
    total = [state.kinetic_energy() + evaluation.losses.sum()]
    for _ in range(steps):
        evaluation = verlet.step(state, evaluation, evaluate, thermostat, dt)
        total.append(state.kinetic_energy() + evaluation.losses.sum())
    return np.array(total)


def test_harmonic_oscillator_has_the_exact_frequency_of_verlet():
    # Verlet's recursion q(t + dt) = (2 - (w dt)^2) q(t) - q(t - dt) is solved by cos(w' t) with
    # cos(w' dt) = 1 - (w dt)^2 / 2.
    stiffness, mass, dt, steps = 50.0, 1.008, 0.5, 1000
    state = make_state(1, mass)
    state.positions[:], state.velocities[:] = [[0.1, 0.0, 0.0]], 0.0
    run(state, springs(stiffness), steps, dt)
    w = math.sqrt(stiffness / (units.MASS * mass))
    angle = math.acos(1.0 - 0.5 * (w * dt) ** 2)
    assert state.positions[0, 0] == pytest.approx(0.1 * math.cos(steps * angle), abs=1e-11)
    assert 2 * math.pi / w == pytest.approx(9.1, abs=0.1)  # fs: the period that `parameters` names for O-H
    assert (state.step, state.time) == (steps, steps * dt)


def test_energy_error_falls_with_the_square_of_the_time_step():
    errors = []
    for dt in (0.2, 0.1):
        state = make_state(5, seed=3)
        total = run(state, springs(5.0), round(60 / dt), dt)
        errors.append(np.ptp(total))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


def test_dynamics_runs_backwards():
    state = make_state(10, seed=1)
    start = state.copy()
    run(state, chain, 300, 0.5)
    assert np.abs(state.positions - start.positions).max() > 0.1
    state.velocities *= -1.0
    run(state, chain, 300, 0.5)
    np.testing.assert_allclose(state.positions, start.positions, atol=1e-11)
    np.testing.assert_allclose(-state.velocities, start.velocities, atol=1e-11)


def test_reciprocal_forces_conserve_momentum():
    state = make_state(10, seed=2)
    before = state.momentum()
    run(state, chain, 500, 0.5)
    np.testing.assert_allclose(state.momentum(), before, atol=1e-13)


def test_langevin_samples_positions_exactly_and_velocities_low_by_the_known_amount():
    # BAOAB's stationary state of a harmonic oscillator, for any stable step: <q^2> = kT/k and
    # <v^2> = kT/m (1 - (w dt)^2 / 4).
    n, stiffness, dt, target = 1500, 10.0, 2.0, 300.0
    mass = stiffness * dt**2 / units.MASS  # w dt = 1
    state = make_state(n, mass, seed=5)
    thermostat = Langevin(state.masses, target, 4.0)
    verlet, evaluate = Verlet(state.masses), springs(stiffness)
    evaluation = evaluate(state.positions)
    potential, kinetic = [], []
    for step in range(1200):
        evaluation = verlet.step(state, evaluation, evaluate, thermostat, dt)
        if step >= 200 and step % 10 == 0:  # five coupling times apart: independent
            potential.append(evaluation.losses.sum())
            kinetic.append(state.kinetic_energy())
    half_kT = 0.5 * units.BOLTZMANN * target
    error = math.sqrt(2.0 / (3 * n * len(kinetic)))  # relative, of a mean of squared normal numbers
    assert np.mean(potential) / (3 * n * half_kT) == pytest.approx(1.0, abs=4 * error)
    assert np.mean(kinetic) / (3 * n * half_kT) == pytest.approx(0.75, abs=4 * error)


def test_descent_finds_the_minimum_of_stiff_and_soft_springs():
    stiffness = np.array([50.0, 5.0, 0.5])[:, None]
    state = make_state(3)
    state.positions[:] = 0.3
    descent, evaluate = Descent(common=True), springs_of(stiffness)
    evaluation = evaluate(state.positions)
    losses = [evaluation.losses.sum()]
    for _ in range(150):
        evaluation = descent.step(state, evaluation, evaluate)
        losses.append(evaluation.losses.sum())
    assert largest_force(evaluation) < 1e-3
    assert losses[-1] < 1e-5
    assert state.time == 0.0  # descent has no time


def springs_of(stiffness):
    return lambda q: Evaluation(0.5 * (stiffness * q**2).sum(axis=1), -stiffness * q, math.inf)


def test_descent_never_moves_an_agent_far():
    state = make_state(2)
    state.positions[:] = [[1.0, 0, 0], [0, 1e-4, 0]]
    descent, evaluate = Descent(common=True), springs(1e6)
    before = state.positions.copy()
    descent.step(state, evaluate(state.positions), evaluate)
    moved = np.linalg.norm(state.positions - before, axis=1)
    assert moved.max() <= Descent.LONGEST_MOVE * (1 + 1e-12)


def test_descent_takes_back_what_raises_the_common_loss():
    def cliff(q):
        inside = 1.0 * (np.abs(q) < 0.9).any(axis=1)
        return Evaluation(inside + 0.0, -q, math.inf)

    state = make_state(1)
    state.positions[:] = [[0.9001, 0.9001, 0.9001]]
    before, start = state.positions.copy(), cliff(state.positions)
    after = Descent(common=True).step(state, start, cliff)
    np.testing.assert_array_equal(state.positions, before)
    assert after is start


def test_descent_of_own_losses_comes_to_rest_though_forces_swirl():
    def swirl(q):  # a spring and a force across it: no common loss has this gradient
        return Evaluation(2.5 * (q**2).sum(axis=1), -5.0 * q + 3.0 * np.cross(q, [0.0, 0.0, 1.0]), math.inf)

    state = make_state(4, seed=7)
    descent, evaluation = Descent(common=False), swirl(state.positions)
    for _ in range(300):
        evaluation = descent.step(state, evaluation, swirl)
    assert largest_force(evaluation) < 1e-3
