"""What the cards of the shipped models promise, in runs short enough for every change; long ones: docs/models.md."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest

from mldsim.accuracy import force_errors
from mldsim.analysis.rdf import RadialDistribution
from mldsim.loss import Scope, load_model, shipped_models
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.readers import open_frames
from mldsim.simulation import Simulation, build_simulation

Start = Callable[..., Simulation]

DATA = Path(str(resources.files("mldsim.assets.data")))


def quiet(text: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def start(device: DeviceKind) -> Start:
    def build(model: str, *, precision: Precision = Precision.SINGLE, seed: int = 1, **parameters) -> Simulation:
        setup = Setup(model=model, seed=seed, device=device, precision=precision)
        return build_simulation(setup, Parameters(**parameters), quiet)

    return build


def test_the_default_is_there_and_every_model_has_its_card():
    assert shipped_models()[0] == "water"
    for name in shipped_models():
        model = load_model(name)
        assert model.name == name
        for key in ("purpose", "theory", "data", "holdout", "stability", "limits", "errors"):
            assert model.card[key], f"{name} says nothing of its {key}"


@pytest.mark.parametrize(
    ("name", "limit"),
    [("water", 32.0), ("water-fast", 50.0), ("water-best", 22.0), ("water-paper", 265.0), ("water-own", 230.0)],
)
def test_force_errors_on_frames_that_were_never_fitted(name, limit):
    """Hot, dense and light water among them."""
    model = load_model(name)
    systems = [system.take(slice(None, None, 4)) for system in open_frames(DATA / "cnnp_holdout.h5")]
    found = 1e3 * force_errors(model, systems).rmse
    assert found < limit
    assert found == pytest.approx(model.card["errors"]["holdout"]["force_rmse_meV_A"], rel=0.1)


def conserved_drift(start: Start, precision: Precision, picoseconds: float) -> float:
    """Slope of the conserved quantity without a thermostat at 0.5 fs, meV/atom/ps."""
    simulation = start("water", precision=precision, thermostat=ThermostatKind.NONE)
    simulation.advance(200)
    times, energies = [], []
    for _ in range(round(picoseconds * 2000 / 20)):
        simulation.advance(20)
        row = simulation.thermo()
        times.append(row.time * 1e-3)
        energies.append(row.conserved)
    assert simulation.state.momentum() == pytest.approx(
        np.zeros(3), abs=1e-9 if precision is Precision.DOUBLE else 1e-2
    )
    return float(np.polyfit(times, energies, 1)[0]) * 1e3 / 192


@pytest.mark.slow
def test_energy_is_conserved_without_a_thermostat(start):
    assert abs(conserved_drift(start, Precision.DOUBLE, 5.0)) < 0.01


def test_energy_is_conserved_in_single_precision_too(start):
    assert abs(conserved_drift(start, Precision.SINGLE, 2.0)) < 0.05


@pytest.mark.slow
def test_water_has_the_temperature_and_the_structure_of_its_teacher(start):
    """Three picoseconds; the goals of the long run (0.04, 0.02, 0.02) with room for the noise of a short one."""
    simulation = start("water")
    simulation.advance(1000)
    topology = simulation.topology
    analysis = RadialDistribution(topology.symbols, topology.species, 6.2)
    temperatures = []
    for _ in range(120):
        simulation.advance(50)
        temperatures.append(simulation.thermo().temperature)
        analysis.add(simulation.frame())
    assert np.mean(temperatures) == pytest.approx(300.0, abs=6.0)
    # The canonical distribution has a standard deviation of T sqrt(2 / f) = 17.7 K.
    assert np.std(temperatures) == pytest.approx(17.7, rel=0.35)
    with h5py.File(DATA / "water64_300K_rdf.h5") as file:
        for (pair, begin), limit in zip([("O-O", 2.0), ("O-H", 1.25), ("H-H", 1.9)], (0.08, 0.04, 0.04), strict=True):
            found, r = analysis.result()[pair].g, file["r"][:]
            window = (r > begin) & (r < 6.2)
            assert np.abs(found - file[pair]["g"][: len(found)])[window].mean() < limit, pair


def test_the_paper_form_holds_its_temperature_although_it_heats_itself(start):
    simulation = start("water-paper")
    assert simulation.model.scope is Scope.OWN
    simulation.advance(500)
    temperatures, powers = [], []
    for _ in range(60):
        simulation.advance(25)
        row = simulation.thermo()
        temperatures.append(row.temperature)
        powers.append(row.nonreciprocal_power)
        assert np.isnan(row.conserved)
    assert np.mean(temperatures) == pytest.approx(300.0, abs=20.0)
    # The heat that the thermostat carries off is what the non-reciprocal forces bring.
    assert np.mean(powers) > 0.0
    assert simulation.thermo().heat < 0.0


def test_own_scope_without_a_curl_hardly_heats(start):
    powers = {}
    for name in ("water-paper", "water-own"):
        simulation = start(name)
        simulation.advance(500)
        found = []
        for _ in range(200):
            simulation.advance(25)
            found.append(simulation.thermo().nonreciprocal_power)
        powers[name] = np.mean(found)
    assert simulation.model.scope is Scope.OWN
    assert abs(powers["water-own"]) < 0.25 * powers["water-paper"]


def test_the_models_that_are_run_know_their_doubt():
    for name in ("water", "water-fast", "water-best"):
        committee = load_model(name).committee
        assert committee is not None, name
        assert committee.witness is not None, name


def test_the_power_of_nonreciprocal_forces_is_the_rate_of_the_energy(start):
    simulation = start("water-paper", precision=Precision.DOUBLE, thermostat=ThermostatKind.NONE, timestep=0.1)
    simulation.advance(50)
    rows = [simulation.thermo()]
    for _ in range(100):
        simulation.advance(1)
        rows.append(simulation.thermo())
    power = np.array([row.nonreciprocal_power for row in rows])
    work = float(((power[1:] + power[:-1]) / 2).sum() * 0.1)
    assert rows[-1].total - rows[0].total == pytest.approx(work, rel=0.02)


def test_the_same_seed_gives_the_same_run_and_another_gives_another(start):
    def positions(seed: int) -> np.ndarray:
        simulation = start("water", seed=seed, thermostat=ThermostatKind.LANGEVIN)
        simulation.advance(30)
        return simulation.state.positions

    assert (positions(1) == positions(1)).all()
    assert not np.allclose(positions(1), positions(2))
