"""The engine without threads, driven by a toy water: harmonic bonds and a soft repulsion, all pairs in NumPy."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mldsim.delivery import Delivery
from mldsim.errors import DeviceLost, InputError, LeftPhysics, WorkFailed
from mldsim.evaluator import Evaluation
from mldsim.loss import FittedRanges, LossModel, Scope, Wall, save_model
from mldsim.parameters import DeviceKind, Parameters, Setup, ThermostatKind
from mldsim.radial import RadialBasis
from mldsim.simulation import CLOSEST_CONTACT, RELAXED_LOSS, SNAPSHOT_EVERY, Simulation, build_simulation
from mldsim.stepper import HostStepper
from mldsim.water import read_structure, water_box

OH, MASSES = ("O", "H"), np.array([15.999, 1.008])
RADIUS = np.array([[2.25, 0.8], [0.8, 1.2]])
KINDS = list(ThermostatKind)


class ToyForces:
    """Bonds and H-H within a molecule are springs; agents of different molecules repel below 2.6, 1.7, 1.8 angstrom.

    In own scope hydrogens are pushed sideways as well, which no loss explains.
    """

    device_name = "toy"
    device_reason = "for tests"
    listed = None

    def __init__(self, model, state):
        self.scope, self.box, self.species = model.scope, state.box, state.species
        n = state.n_agents
        self.i, self.j = np.triu_indices(n, 1)
        mine, other = self.species[self.i], self.species[self.j]
        inside = self.i // 3 == self.j // 3
        hydrogens = (mine != model.symbols.index("O")).astype(int) + (other != model.symbols.index("O"))
        self.length = np.where(inside, np.array([0.0, 0.97, 1.53])[hydrogens], np.array([2.6, 1.7, 1.8])[hydrogens])
        self.stiffness = np.where(inside, np.where(hydrogens == 1, 40.0, 10.0), 5.0)
        self.inside = inside
        self.wall = model.wall.radius[mine, other]
        self.scale = 1.0
        self.sabotage = None

    def __call__(self, positions):
        d = positions[self.i] - positions[self.j]
        d -= self.box * np.round(d / self.box)
        r = np.sqrt((d**2).sum(axis=1))
        stretch = r - self.length
        stretch[~self.inside] = np.minimum(stretch[~self.inside], 0.0)
        energy = 0.5 * self.scale * self.stiffness * stretch**2
        pull = (-self.scale * self.stiffness * stretch / r)[:, None] * d
        n = len(positions)
        forces = np.stack(
            [np.bincount(self.i, pull[:, k], n) - np.bincount(self.j, pull[:, k], n) for k in range(3)], axis=1
        )
        losses = 0.5 * (np.bincount(self.i, energy, n) + np.bincount(self.j, energy, n))
        self.common = forces.copy()
        if self.scope is Scope.OWN:
            forces[:, 0] += 0.3 * (np.arange(n) % 3 > 0)
        result = Evaluation(losses, forces, float((r / self.wall).min()))
        return self.sabotage(result) if self.sabotage else result

    def shared_forces(self):
        return self.common


def make_model(scope=Scope.SHARED, symbols=OH, name="toy"):
    order = [OH.index(s) if s in OH else 0 for s in symbols]
    n = len(symbols)
    return LossModel(
        name=name,
        symbols=symbols,
        masses=MASSES[order],
        scope=scope,
        order=1,
        max_rank=0,
        radial=RadialBasis(5.0, 3.0, np.ones((n, n, 1, 1))),
        wall=Wall(30.0, RADIUS[np.ix_(order, order)]),
        linear=np.zeros((n, n)),
        quadratic=np.zeros((n, 1, n, n)),
        ranges=FittedRanges({"O-O": (2.3, 5.0), "O-H": (0.8, 5.0), "H-H": (1.2, 5.0)}, np.zeros((n, n, 2))),
    )


def make_simulation(n=10, scope=Scope.SHARED, seed=1, **parameters):
    model = make_model(scope)
    state = water_box(n, 0.997, 300.0, seed, OH, MASSES)
    wanted = Parameters(**({"thermostat": ThermostatKind.NONE} | parameters))
    return Simulation(state, model, wanted, Setup(molecules=n, seed=seed), make_forces=ToyForces)


def same(a, b):
    return (
        np.array_equal(a.positions, b.positions)
        and np.array_equal(a.velocities, b.velocities)
        and np.array_equal(a.forces, b.forces)
        and (a.step, a.time) == (b.step, b.time)
    )


# -- running


@pytest.mark.parametrize("kind", KINDS)
def test_reset_gives_the_same_run_again_bitwise(kind):
    simulation = make_simulation(thermostat=kind)
    start = simulation.frame()
    simulation.advance(30)
    end = simulation.frame()
    assert not same(start, end)
    simulation.reset()
    assert same(simulation.frame(), start)
    assert simulation.frame().thermo == start.thermo
    simulation.advance(10)
    simulation.advance(20)  # in other portions
    assert same(simulation.frame(), end)
    assert simulation.frame().thermo == end.thermo


def test_the_seed_decides_the_run():
    runs = []
    for seed in (1, 1, 2):
        simulation = make_simulation(seed=seed, thermostat=ThermostatKind.LANGEVIN)
        simulation.advance(10)
        runs.append(simulation.frame())
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_energy_and_momentum_are_conserved_without_a_thermostat():
    simulation = make_simulation(timestep=0.1)
    before = simulation.thermo()
    simulation.advance(300)
    after = simulation.thermo()
    assert abs(after.kinetic - before.kinetic) > 0.02  # energy has changed its form
    assert after.total == pytest.approx(before.total, abs=2e-4)
    assert after.conserved == after.total
    assert after.nonreciprocal_power == 0.0
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)
    assert simulation.state.time == pytest.approx(30.0)


def test_mean_losses_of_the_species_add_up_to_the_total():
    frame = make_simulation().frame()
    row, species = frame.thermo, make_simulation().topology.species
    n_oxygen = int((species == 0).sum())
    assert row.oxygen_loss == pytest.approx(frame.losses[species == 0].mean())
    assert n_oxygen * row.oxygen_loss + (len(species) - n_oxygen) * row.hydrogen_loss == pytest.approx(row.loss)


def test_frames_are_copies():
    simulation = make_simulation()
    frame = simulation.frame()
    kept = frame.positions.copy(), frame.velocities.copy(), frame.forces.copy(), frame.losses.copy(), frame.box.copy()
    simulation.advance(5)
    for array, copy in zip(
        (frame.positions, frame.velocities, frame.forces, frame.losses, frame.box), kept, strict=True
    ):
        np.testing.assert_array_equal(array, copy)
    assert frame.thermo.time == frame.time == 0.0


def test_topology_is_that_of_water():
    topology = make_simulation(n=8).topology
    assert topology.n_agents == 24
    assert topology.bonds.shape == (16, 2)
    assert topology.symbols == OH


# -- parameters while it runs


@pytest.mark.parametrize("kind", KINDS)
def test_conserved_quantity_goes_on_through_every_change(kind):
    simulation = make_simulation(timestep=0.2)
    start = simulation.thermo().conserved
    simulation.set_parameters(Parameters(thermostat=kind, timestep=0.2, coupling_time=20.0, temperature=400.0))
    simulation.advance(100)
    heat = simulation.thermo().heat
    applied = simulation.set_parameters(simulation.parameters.with_changes(temperature=200.0, coupling_time=5.0))
    assert applied == simulation.parameters
    assert simulation.thermo().heat == heat
    simulation.advance(50)
    simulation.new_velocities()
    simulation.set_parameters(simulation.parameters.with_changes(thermostat=ThermostatKind.LANGEVIN))
    simulation.advance(50)
    simulation.set_parameters(simulation.parameters.with_changes(thermostat=ThermostatKind.NOSE_HOOVER))
    simulation.advance(20)
    simulation.quench(5)
    assert simulation.thermo().conserved == pytest.approx(start, abs=0.02)
    assert simulation.thermo().target == 200.0


def test_heat_is_what_changes_the_energy_of_the_agents():
    simulation = make_simulation(timestep=0.1, thermostat=ThermostatKind.CSVR, temperature=600.0, coupling_time=20.0)
    before = simulation.thermo()
    simulation.advance(200)
    after = simulation.thermo()
    assert after.heat > 0.1
    assert after.total - before.total == pytest.approx(after.heat, abs=5e-3)


def test_leaving_the_langevin_thermostat_takes_its_drift_away():
    simulation = make_simulation(thermostat=ThermostatKind.LANGEVIN, coupling_time=10.0)
    assert simulation.degrees_of_freedom == 90
    simulation.advance(50)
    assert np.abs(simulation.state.momentum()).max() > 1e-3
    simulation.set_parameters(simulation.parameters.with_changes(thermostat=ThermostatKind.CSVR))
    assert simulation.degrees_of_freedom == 87
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)


def test_time_step_may_change_while_running():
    simulation = make_simulation()
    simulation.advance(10)
    simulation.set_parameters(simulation.parameters.with_changes(timestep=0.25))
    simulation.advance(4)
    assert simulation.state.time == pytest.approx(6.0)
    assert simulation.state.step == 14


@pytest.mark.parametrize("kind", KINDS)
def test_new_velocities_have_the_target_temperature_and_no_momentum(kind):
    simulation = make_simulation(thermostat=kind, temperature=420.0)
    simulation.advance(5)
    simulation.new_velocities()
    assert simulation.thermo().temperature == pytest.approx(420.0)
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)


# -- own scope


def test_own_scope_has_no_conserved_quantity_and_no_drift():
    simulation = make_simulation(scope=Scope.OWN, thermostat=ThermostatKind.NOSE_HOOVER)
    simulation.advance(50)
    assert math.isnan(simulation.thermo().conserved)
    assert simulation.degrees_of_freedom == 87
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)
    simulation.set_parameters(simulation.parameters.with_changes(thermostat=ThermostatKind.LANGEVIN))
    simulation.advance(50)
    assert simulation.degrees_of_freedom == 87
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)


def test_power_of_the_non_reciprocal_forces_is_the_rate_of_heating():
    simulation = make_simulation(scope=Scope.OWN, timestep=0.02)
    simulation.advance(100)
    rows = []
    for _ in range(50):
        rows.append(simulation.thermo())
        simulation.advance(1)
    rows.append(simulation.thermo())
    powers = np.array([row.nonreciprocal_power for row in rows])
    work = 0.02 * (0.5 * powers[0] + powers[1:-1].sum() + 0.5 * powers[-1])
    assert abs(work) > 1e-3
    assert rows[-1].total - rows[0].total == pytest.approx(work, rel=0.02)


# -- guards


def spoil(simulation, sabotage):
    simulation._forces.sabotage = sabotage


def stopped(simulation, match):
    with pytest.raises(LeftPhysics, match=match) as caught:
        simulation.advance(10_000)
    return str(caught.value)


def test_not_a_number_stops_the_run_and_an_earlier_state_is_kept():
    simulation = make_simulation(thermostat=ThermostatKind.NOSE_HOOVER)
    simulation.advance(3 * SNAPSHOT_EVERY + 20)
    reached = simulation.state.time

    def poison(result):
        simulation._forces.sabotage = None
        return replace(result, forces=np.full_like(result.forces, np.nan))

    spoil(simulation, poison)
    message = stopped(simulation, "no longer a finite number")
    assert "last good state" in message
    assert message.count(".") >= 1
    assert "\n" not in message
    frame = simulation.frame()
    assert reached - 2 * SNAPSHOT_EVERY * 0.5 - 1 <= frame.time <= reached - SNAPSHOT_EVERY * 0.5
    for array in (frame.positions, frame.velocities, frame.forces, frame.losses):
        assert np.isfinite(array).all()
    # It is a state of the undisturbed run.
    witness = make_simulation(thermostat=ThermostatKind.NOSE_HOOVER)
    witness.advance(frame.step)
    np.testing.assert_array_equal(witness.state.positions, frame.positions)
    np.testing.assert_array_equal(witness.state.velocities, frame.velocities)
    assert witness.thermo().conserved == pytest.approx(frame.thermo.conserved)
    simulation.advance(10)


def test_a_run_away_temperature_stops_the_run():
    simulation = make_simulation()

    def blow(result):
        return replace(result, forces=result.forces * 1.5 + 20.0 * np.sign(simulation.state.velocities))

    spoil(simulation, blow)
    assert "K, above the limit of 1500 K" in stopped(simulation, "temperature rose")
    assert simulation.thermo().temperature < 1500.0


def test_a_contact_inside_the_wall_stops_the_run_and_names_the_agents():
    simulation = make_simulation()
    state = simulation.state
    # Throw the hydrogens of two molecules together along the line between them.
    spoil(simulation, lambda result: replace(result, forces=np.zeros_like(result.forces)))
    simulation.advance(1)
    state.velocities[:] = 0.0
    pairs = [(i, j) for i in range(1, 30) for j in range(i + 1, 30) if i // 3 != j // 3 and i % 3 and j % 3]

    def separation(i, j):
        d = state.positions[i] - state.positions[j]
        return d - state.box * np.round(d / state.box)

    i, j = min(pairs, key=lambda pair: np.linalg.norm(separation(*pair)))
    direction = separation(i, j) / np.linalg.norm(separation(i, j))
    state.velocities[i], state.velocities[j] = -0.03 * direction, 0.03 * direction
    message = stopped(simulation, f"Agents H {i} and H {j} came as close as 0.[0-9]+ Å")
    assert "last good state" in message
    assert simulation.evaluation.closest >= CLOSEST_CONTACT


def test_a_bond_that_breaks_stops_the_run():
    simulation = make_simulation()
    spoil(simulation, lambda result: replace(result, forces=np.zeros_like(result.forces), closest=1.0))
    simulation.advance(1)
    state = simulation.state
    state.velocities[:] = 0.0
    state.velocities[4] = 0.02 * (state.positions[4] - state.positions[3])
    stopped(simulation, "bond between agents O 3 and H 4 stretched to 1.8")


def test_a_hot_system_may_be_cooled_without_tripping_the_guard():
    simulation = make_simulation(temperature=2000.0, thermostat=ThermostatKind.CSVR, coupling_time=5.0, timestep=0.2)
    simulation.new_velocities()
    simulation.set_parameters(simulation.parameters.with_changes(temperature=10.0, coupling_time=50.0))
    simulation.advance(100)
    assert simulation.thermo().temperature < 1500.0


def test_a_start_inside_the_walls_is_refused():
    state = water_box(8, 0.997, 300.0, 1, OH, MASSES)
    state.positions[4] = state.positions[1] + [0.3, 0.0, 0.0]
    with pytest.raises(InputError, match=r"Agents H 1 and H 4 came as close as 0\.30 Å"):
        Simulation(state, make_model(), Parameters(), Setup(molecules=8), make_forces=ToyForces)


# -- a device that fails


class Failing(HostStepper):
    """Steps as on a GPU that is lost after some: what it holds cannot be had any more."""

    def __init__(self, run, forces, model, good_for):
        super().__init__(run, forces, model)
        self.good_for = good_for
        self.lost = False

    def use(self):
        if self.good_for <= 0:
            if not self.lost:
                self._run.state.positions[:] = self._run.state.velocities[:] = np.nan
            self.lost = True
            raise DeviceLost("The GPU failed (CudaAPIError: it fell off the bus).")

    def advance(self, steps, dt, trouble):
        self.good_for -= steps
        self.use()
        return super().advance(steps, dt, trouble)

    def fetch(self):
        self.use()

    def observe(self):
        self.use()
        return super().observe()

    def copy(self, *, evaluated=True):
        self.use()
        copied = super().copy(evaluated=evaluated)

        @cache  # what has arrived is there
        def wait():
            self.use()
            return copied.wait()

        return Delivery(wait, lambda: False)


def on_a_gpu(good_for, **parameters):
    def make_stepper(run, forces, model):
        return Failing(run, forces, model, good_for)

    wanted = Parameters(thermostat=ThermostatKind.LANGEVIN, **parameters)
    state = water_box(10, 0.997, 300.0, 1, OH, MASSES)
    return Simulation(
        state, make_model(), wanted, Setup(molecules=10), make_forces=ToyForces, make_stepper=make_stepper
    )


@pytest.mark.parametrize("good_for", [30, SNAPSHOT_EVERY + 30, 2 * SNAPSHOT_EVERY])
def test_a_run_outlives_its_gpu(good_for):
    simulation, witness = on_a_gpu(good_for), make_simulation(thermostat=ThermostatKind.LANGEVIN)
    for _ in range(12):
        simulation.advance(10)
        witness.advance(10)
    assert simulation.state.step == 120
    assert same(simulation.frame(), witness.frame())
    assert simulation.thermo() == witness.thermo()
    said = "The GPU failed (CudaAPIError: it fell off the bus). The run goes on on the CPU, from "
    assert simulation.device_reason.startswith(said)
    assert simulation.setup.device is DeviceKind.CPU


@pytest.mark.parametrize("ask", [lambda s: s.frame(), lambda s: s.thermo(), lambda s: s.new_velocities()])
def test_a_gpu_may_fail_while_it_is_asked(ask):
    simulation, witness = on_a_gpu(1000), make_simulation(thermostat=ThermostatKind.LANGEVIN)
    simulation.advance(70)
    witness.advance(70)
    simulation._stepper.good_for = 0
    ask(simulation)
    ask(witness)
    assert "fell off the bus" in simulation.device_reason
    simulation.advance(10)
    witness.advance(10)
    assert same(simulation.frame(), witness.frame())


def test_a_frame_is_of_the_moment_at_which_it_was_asked_for():
    simulation, witness = on_a_gpu(1000), make_simulation(thermostat=ThermostatKind.LANGEVIN)
    for each in (simulation, witness):
        each.advance(20)
    sent, then = simulation.send_frame(), witness.frame()
    simulation.advance(30)
    assert same(sent.wait(), then)
    assert sent.wait().thermo == then.thermo


def test_a_frame_is_made_again_where_its_gpu_fails_at_once():
    simulation, witness = on_a_gpu(1000), make_simulation(thermostat=ThermostatKind.LANGEVIN)
    for each in (simulation, witness):
        each.advance(70)
    sent = simulation.send_frame()
    simulation._stepper.good_for = 0
    assert same(sent.wait(), witness.frame())
    assert simulation.setup.device is DeviceKind.CPU


def test_a_frame_of_a_moment_that_is_gone_is_lost_with_its_gpu():
    simulation, witness = on_a_gpu(100), make_simulation(thermostat=ThermostatKind.LANGEVIN)
    for each in (simulation, witness):
        each.advance(70)
    sent = simulation.send_frame()
    for each in (simulation, witness):
        each.advance(50)
    with pytest.raises(DeviceLost, match="fell off the bus"):
        sent.wait()
    assert same(simulation.frame(), witness.frame())


# -- quench


def test_quench_comes_to_rest_at_lower_loss_while_time_stands_still():
    simulation = make_simulation(thermostat=ThermostatKind.NOSE_HOOVER)
    simulation.advance(20)
    before = simulation.thermo()
    converged = False
    for _ in range(40):
        converged = simulation.quench(25)
        if converged:
            break
    after = simulation.thermo()
    assert converged
    assert np.linalg.norm(simulation.evaluation.forces, axis=1).max() < 0.01
    assert after.loss < before.loss
    assert after.temperature == 0.0
    assert after.time == before.time
    assert simulation.quench(10)  # it stays there
    simulation.advance(50)  # and the thermostat can heat it again
    assert simulation.thermo().temperature < 1000.0


def test_quench_of_own_losses_lowers_the_forces():
    simulation = make_simulation(scope=Scope.OWN)
    before = np.linalg.norm(simulation.evaluation.forces - simulation.evaluation.forces.mean(axis=0), axis=1).max()
    simulation.quench(200)
    forces = simulation.evaluation.forces
    assert np.linalg.norm(forces - forces.mean(axis=0), axis=1).max() < 0.5 * before


# -- models


def test_another_model_takes_over_in_its_own_order_of_species(tmp_path):
    simulation = make_simulation()
    simulation.advance(10)
    start = simulation.thermo()
    positions = simulation.frame().positions
    path = tmp_path / "turned.json"
    save_model(make_model(symbols=("H", "O"), name="turned"), path)
    simulation.set_model(path)
    assert simulation.model_name == "turned"
    assert simulation.setup.model == str(path)
    topology = simulation.topology
    assert [topology.symbols[k] for k in topology.species[:3]] == ["O", "H", "H"]
    np.testing.assert_array_equal(simulation.frame().positions, positions)
    assert simulation.thermo().conserved == pytest.approx(start.conserved)
    simulation.advance(5)
    simulation.reset()
    assert simulation.model_name == "turned"
    assert simulation.state.step == 0


def test_a_model_of_own_scope_may_take_over_and_give_back(tmp_path):
    simulation = make_simulation(thermostat=ThermostatKind.LANGEVIN)
    own, shared = tmp_path / "own.json", tmp_path / "shared.json"
    save_model(make_model(Scope.OWN), own)
    save_model(make_model(), shared)
    simulation.advance(10)
    simulation.set_model(own)
    assert simulation.degrees_of_freedom == 87
    assert math.isnan(simulation.thermo().conserved)
    simulation.advance(10)
    np.testing.assert_allclose(simulation.state.momentum(), 0.0, atol=1e-12)
    simulation.set_model(shared)
    assert simulation.degrees_of_freedom == 90
    assert math.isfinite(simulation.thermo().conserved)


def test_a_model_that_does_not_fit_is_refused_and_the_old_one_goes_on(tmp_path):
    simulation, witness = make_simulation(), make_simulation()
    path = tmp_path / "oxygen.json"
    model = make_model(symbols=("O",), name="oxygen")
    save_model(replace(model, ranges=FittedRanges({"O-O": (2.3, 5.0)}, model.ranges.invariants)), path)
    with pytest.raises(InputError, match="'oxygen' knows O, but the simulation holds H as well"):
        simulation.set_model(path)
    with pytest.raises(InputError, match="no loss model"):
        simulation.set_model(tmp_path / "missing.json")
    wide = make_model(name="wide")
    save_model(replace(wide, wall=Wall(30.0, np.full((2, 2), 3.5))), tmp_path / "wide.json")
    with pytest.raises(InputError, match="'wide' does not fit the present state: Agents"):
        simulation.set_model(tmp_path / "wide.json")
    assert simulation.model_name == "toy"
    simulation.advance(20)
    witness.advance(20)
    assert same(simulation.frame(), witness.frame())


# -- building


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "toy.json"
    save_model(make_model(), path)
    return str(path)


def test_a_built_simulation_says_what_it_does_and_is_reproducible(model_file):
    said = []
    setup = Setup(model=model_file, molecules=12, seed=7)
    simulation = build_simulation(setup, Parameters(temperature=350.0), said.append, make_forces=ToyForces)
    assert said == [
        "Reading model",
        "Building 12 molecules of water",
        "Compiling kernels (only at the first start)",
        "Relaxing 12 molecules",
    ]
    assert simulation.topology.n_agents == 36
    assert simulation.thermo().temperature == pytest.approx(350.0)
    assert simulation.setup == setup
    assert np.linalg.norm(simulation.evaluation.forces, axis=1).max() <= 5.0
    other = build_simulation(setup, Parameters(temperature=350.0), said.append, make_forces=ToyForces)
    simulation.advance(10)
    other.advance(10)
    assert same(simulation.frame(), other.frame())


def test_a_strained_box_is_relaxed_before_it_is_shown(model_file):
    setup = Setup(model=model_file, molecules=12, density=1.6)
    simulation = build_simulation(setup, Parameters(), lambda _: None, make_forces=ToyForces)
    raw = water_box(12, 1.6, 300.0, setup.seed, OH, MASSES)
    strained = ToyForces(make_model(), raw)(raw.positions)
    assert strained.closest < 1.0
    assert np.linalg.norm(simulation.evaluation.forces, axis=1).max() <= 5.0
    assert simulation.evaluation.closest >= 1.0


@pytest.mark.parametrize("n", [8, 20, 27])
def test_the_seam_holds_no_more_loss_than_the_liquid(n, model_file):
    simulation = build_simulation(
        Setup(model=model_file, molecules=n), Parameters(), lambda _: None, make_forces=ToyForces
    )
    liquid = water_box(64, 0.997, 300.0, 1, OH, MASSES)
    reference = ToyForces(make_model(), liquid)(liquid.positions).losses.mean()
    assert simulation.evaluation.losses.mean() <= reference + RELAXED_LOSS


def test_whole_repeats_of_the_liquid_are_not_moved(model_file):
    simulation = build_simulation(Setup(model=model_file), Parameters(), lambda _: None, make_forces=ToyForces)
    expected = water_box(64, 0.997, 300.0, 1, OH, MASSES)
    np.testing.assert_array_equal(simulation.state.positions, expected.positions)


def test_a_good_structure_is_started_from_as_it_is(model_file, tmp_path):
    start = water_box(8, 0.8, 300.0, 3, OH, MASSES)
    rows = [
        f"{OH[k]} {x:.10f} {y:.10f} {z:.10f}"
        for k, (x, y, z) in zip(start.species, start.positions.tolist(), strict=True)
    ]
    a, b, c = start.box
    path = tmp_path / "start.xyz"
    path.write_text(f'24\nLattice="{a} 0 0 0 {b} 0 0 0 {c}" Properties=species:S:1:pos:R:3\n' + "\n".join(rows) + "\n")
    setup = Setup(model=model_file, start=path)
    simulation = build_simulation(setup, Parameters(), lambda _: None, make_forces=ToyForces)
    expected = read_structure(path, OH, MASSES, setup.seed, 300.0)
    np.testing.assert_array_equal(simulation.state.positions, expected.positions)
    np.testing.assert_array_equal(simulation.state.velocities, expected.velocities)


def test_a_start_that_cannot_be_relaxed_fails_in_one_sentence(model_file):
    class Hopeless(ToyForces):
        def __call__(self, positions):
            return replace(super().__call__(positions), closest=0.1)

    with pytest.raises(WorkFailed, match="could not be relaxed"):
        build_simulation(Setup(model=model_file, molecules=8), Parameters(), lambda _: None, make_forces=Hopeless)


def test_a_box_smaller_than_the_cutoff_is_refused(model_file):
    with pytest.raises(InputError, match="smaller than the cutoff"):
        build_simulation(Setup(model=model_file, molecules=8, density=2.0), Parameters(), lambda _: None)


def test_from_an_earlier_frame_the_same_run_follows_where_nothing_is_random():
    simulation = make_simulation(thermostat=ThermostatKind.NONE)
    simulation.advance(40)
    past = simulation.frame()
    simulation.advance(60)
    there = simulation.frame()
    simulation.go_to(past)
    back = simulation.frame()
    assert (back.step, back.time) == (past.step, past.time)
    assert back.thermo.conserved == pytest.approx(there.thermo.conserved)
    simulation.advance(60)
    np.testing.assert_allclose(simulation.frame().positions, there.positions, atol=1e-12)


def test_a_frame_of_another_system_is_no_place_to_go_to():
    simulation = make_simulation()
    frame = simulation.frame()
    for wrong in (
        replace(frame, positions=frame.positions[:-3]),
        replace(frame, box=1.1 * frame.box),
        replace(frame, velocities=np.full_like(frame.velocities, np.nan)),
    ):
        with pytest.raises(InputError, match="start a simulation from it instead"):
            simulation.go_to(wrong)
    np.testing.assert_array_equal(simulation.frame().positions, frame.positions)
