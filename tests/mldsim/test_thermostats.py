import math

import numpy as np
import pytest
from scipy import stats

from mldsim import units
from mldsim.evaluator import Evaluation
from mldsim.integrators import Verlet
from mldsim.observables import draw_velocities, temperature
from mldsim.parameters import ThermostatKind
from mldsim.state import State
from mldsim.thermostats import CSVR, NoseHooverChain, NoThermostat, degrees_of_freedom, make_thermostat

KINDS = list(ThermostatKind)
HEATED = [ThermostatKind.NOSE_HOOVER, ThermostatKind.LANGEVIN, ThermostatKind.CSVR]


def make_state(n, seed=0, target=300.0):
    masses = np.resize([16.0, 1.0, 1.0], n)
    state = State(
        positions=np.zeros((n, 3)),
        velocities=np.zeros((n, 3)),
        species=np.zeros(n, np.int32),
        symbols=("H",),
        masses=masses,
        box=np.full(3, 20.0),
        bonds=np.empty((0, 2), np.int32),
        rng=np.random.default_rng(seed),
    )
    draw_velocities(state, target, 3 * n)
    return state


def coupled_springs(n, seed=0):
    """Springs of many stiffnesses between all agents and to the origin: the modes exchange no energy by themselves, so
    only a thermostat that works on its own makes the kinetic energy canonical."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((3 * n, 3 * n))
    matrix = 2.0 * np.eye(3 * n) + a @ a.T / (3 * n)

    def evaluate(q):
        gradient = matrix @ q.ravel()
        losses = 0.5 * (q.ravel() * gradient).reshape(n, 3).sum(axis=1)
        return Evaluation(losses, -gradient.reshape(n, 3), math.inf)

    return evaluate


def series(state, evaluate, thermostat, steps, dt):
    """Kinetic energy and conserved quantity at full steps."""
    verlet, evaluation = Verlet(state.masses), evaluate(state.positions)
    kinetic, conserved = np.empty(steps), np.empty(steps)
    for i in range(steps):
        evaluation = verlet.step(state, evaluation, evaluate, thermostat, dt)
        kinetic[i] = state.kinetic_energy()
        conserved[i] = kinetic[i] + evaluation.losses.sum() + thermostat.energy
    return kinetic, conserved


def nothing(q):
    return Evaluation(np.zeros(len(q)), np.zeros_like(q), math.inf)


@pytest.mark.parametrize(("g", "tau", "stride"), [(1, 2.0, 5), (6, 2.0, 5), (60, 2.0, 5), (60, 0.1, 1)])
def test_csvr_draws_kinetic_energies_from_the_canonical_distribution(g, tau, stride):
    # Without forces K changes by the thermostat only; five coupling times apart the draws are independent.
    state = make_state(2, seed=1)
    thermostat = CSVR(g, 400.0, tau)
    kinetic, _ = series(state, nothing, thermostat, 1500 * stride, 2.0)
    gamma = stats.gamma(0.5 * g, scale=units.BOLTZMANN * 400.0)
    assert stats.kstest(kinetic[50::stride], gamma.cdf).pvalue > 0.01


def test_csvr_relaxes_the_mean_kinetic_energy_exponentially():
    # d<K>/dt = -(<K> - g kT/2) / tau, exactly, for any time step.
    n, tau, dt = 100, 20.0, 5.0
    means = np.zeros(8)
    for seed in range(40):
        state = make_state(n, seed, target=1000.0)
        means += series(state, nothing, CSVR(3 * n, 300.0, tau), 8, dt)[0] / 40
    expected = 300.0 + 700.0 * np.exp(-dt * np.arange(1, 9) / tau)
    np.testing.assert_allclose([temperature(k, 3 * n) for k in means], expected, rtol=0.03)


@pytest.mark.parametrize("kind", HEATED)
def test_kinetic_energy_has_canonical_mean_and_variance(kind):
    n, target = 8, 300.0
    g = 3 * n
    state = make_state(n, seed=2, target=100.0)
    thermostat = make_thermostat(kind, state.masses, g, target, 10.0)
    kinetic, _ = series(state, coupled_springs(n), thermostat, 8000, 1.0)
    kinetic = kinetic[2000:]
    kT = units.BOLTZMANN * target
    blocks = kinetic.reshape(24, -1)  # 250 fs each, 25 coupling times: independent
    error = blocks.mean(axis=1).std(ddof=1) / math.sqrt(len(blocks))
    assert error < 0.03 * 0.5 * g * kT
    # Langevin's reading is low by (w dt)^2 / 4; the stiffest light mode here has (w dt)^2 = 0.06.
    assert kinetic.mean() == pytest.approx(0.5 * g * kT, abs=4 * error + 0.005 * g * kT)
    spread = (blocks - kinetic.mean()) ** 2
    variance_error = spread.mean(axis=1).std(ddof=1) / math.sqrt(len(blocks))
    assert kinetic.var() == pytest.approx(0.5 * g * kT**2, abs=4 * variance_error)
    assert variance_error < 0.12 * 0.5 * g * kT**2


@pytest.mark.parametrize("kind", KINDS)
def test_conserved_quantity_varies_with_the_square_of_the_time_step(kind):
    errors = []
    for dt in (1.0, 0.5):
        state = make_state(6, seed=4)
        thermostat = make_thermostat(kind, state.masses, 18, 600.0, 20.0)
        _, conserved = series(state, coupled_springs(6), thermostat, round(300 / dt), dt)
        errors.append(np.std(conserved))
    assert errors[0] < 0.02  # eV, while half an eV of heat goes through
    assert errors[0] / errors[1] > 2.5  # 4, but for the noise of two different random walks


@pytest.mark.parametrize("kind", KINDS)
def test_heat_is_the_energy_that_the_agents_were_given(kind):
    state = make_state(10, seed=3, target=100.0)
    thermostat = make_thermostat(kind, state.masses, 30, 500.0, 10.0)
    before = state.kinetic_energy()
    series(state, nothing, thermostat, 100, 0.5)
    assert thermostat.heat == pytest.approx(state.kinetic_energy() - before, abs=1e-12)
    assert (thermostat.heat != 0.0) == (kind is not ThermostatKind.NONE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_goes_on_bitwise(kind):
    evaluate = coupled_springs(5)
    state = make_state(5, seed=6)
    thermostat = make_thermostat(kind, state.masses, 15, 300.0, 10.0)
    series(state, evaluate, thermostat, 20, 0.5)
    twin = state.copy()
    other = make_thermostat(kind, state.masses, 15, 300.0, 10.0)
    other.variables = thermostat.variables
    series(state, evaluate, thermostat, 50, 0.5)
    series(twin, evaluate, other, 50, 0.5)
    np.testing.assert_array_equal(state.positions, twin.positions)
    np.testing.assert_array_equal(state.velocities, twin.velocities)
    assert thermostat.variables == other.variables


@pytest.mark.parametrize("kind", [ThermostatKind.NONE, ThermostatKind.NOSE_HOOVER, ThermostatKind.CSVR])
def test_scaling_thermostats_keep_zero_momentum(kind):
    state = make_state(10, seed=8)
    series(state, nothing, make_thermostat(kind, state.masses, 27, 800.0, 5.0), 200, 0.5)
    np.testing.assert_allclose(state.momentum(), 0.0, atol=1e-13)


@pytest.mark.parametrize("kind", HEATED)
@pytest.mark.parametrize(("before", "after"), [(2000.0, 1.0), (1.0, 2000.0)])
def test_target_may_jump_from_end_to_end_of_its_range(kind, before, after):
    state = make_state(8, seed=9, target=before)
    thermostat = make_thermostat(kind, state.masses, 24, before, 20.0)
    evaluate = coupled_springs(8)
    series(state, evaluate, thermostat, 200, 0.5)
    thermostat.temperature = after
    kinetic, conserved = series(state, evaluate, thermostat, 3000, 0.5)
    assert temperature(kinetic.max(), 24) < 3.0 * 2000.0
    assert temperature(kinetic[1500:].mean(), 24) == pytest.approx(after, rel=0.3)
    assert abs(conserved[-50:].mean() - conserved[:50].mean()) < 0.05


@pytest.mark.parametrize("kind", HEATED)
@pytest.mark.parametrize("tau", [1.0, 10_000.0])
def test_coupling_time_may_be_at_either_end_of_its_range(kind, tau):
    state = make_state(8, seed=9)
    thermostat = make_thermostat(kind, state.masses, 24, 300.0, tau)
    kinetic, _ = series(state, coupled_springs(8), thermostat, 500, 2.0)
    assert np.isfinite(kinetic).all()
    assert temperature(kinetic.max(), 24) < 1200.0


def test_nose_hoover_is_reversible_in_time():
    evaluate = coupled_springs(5)
    state = make_state(5, seed=11)
    state.positions[:] = 0.05
    start = state.copy()
    thermostat = NoseHooverChain(15, 300.0, 20.0)
    series(state, evaluate, thermostat, 100, 0.5)
    state.velocities *= -1.0
    heat, *chain = thermostat.variables
    rates, angles = chain[:3], chain[3:]
    thermostat.variables = (heat, *(-x for x in rates), *angles)
    series(state, evaluate, thermostat, 100, 0.5)
    np.testing.assert_allclose(state.positions, start.positions, atol=1e-10)
    np.testing.assert_allclose(-state.velocities, start.velocities, atol=1e-10)
    assert thermostat.heat == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_agents_at_rest_are_no_error(kind):
    state = make_state(4)
    state.velocities[:] = 0.0
    series(state, nothing, make_thermostat(kind, state.masses, 9, 300.0, 10.0), 20, 0.5)
    assert np.isfinite(state.velocities).all()


def test_no_thermostat_gives_nothing():
    assert NoThermostat(300.0, 50.0).energy == 0.0


def test_degrees_of_freedom_leave_out_a_momentum_that_stays_zero():
    langevin, csvr = ThermostatKind.LANGEVIN, ThermostatKind.CSVR
    assert degrees_of_freedom(csvr, 10, drift_removed=False) == 27
    assert degrees_of_freedom(langevin, 10, drift_removed=False) == 30
    assert degrees_of_freedom(langevin, 10, drift_removed=True) == 27


def test_plain_nose_hoover_keeps_the_target_under_steady_heating():
    """Own scope: forces that are not reciprocal heat the agents all the time; here each step adds 0.25 % (5/ps)."""
    means = {}
    for driven in (True, False):
        state = make_state(64)
        thermostat = make_thermostat(
            ThermostatKind.NOSE_HOOVER, state.masses, 192, 300.0, coupling_time=50.0, driven=driven
        )
        found = []
        for step in range(20_000):
            thermostat.outer(state, 0.5)
            state.velocities *= math.sqrt(1.0025)
            if step >= 5_000:
                found.append(temperature(state.kinetic_energy(), 192))
        means[driven] = np.mean(found)
    assert means[True] == pytest.approx(300.0, rel=0.01)
    assert means[False] > 310.0  # why the chain is left out there
