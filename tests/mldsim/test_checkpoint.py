"""Checkpoints: going on is the same as not having stopped, and a file is believed only field by field."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from mldsim.checkpoint import Plan, is_checkpoint, load_checkpoint, save_checkpoint
from mldsim.edits import LossEdit
from mldsim.errors import InputError, WorkFailed
from mldsim.loss import exact_text, load_model, parse_model
from mldsim.parameters import DeviceKind, Parameters, Setup, ThermostatKind
from mldsim.schedules import Leg, Schedule
from mldsim.simulation import Simulation, build_simulation


def make(model="water-fast", molecules=8, **parameters):
    setup = Setup(model=model, molecules=molecules, device=DeviceKind.CPU)
    return build_simulation(setup, Parameters(**parameters), lambda _text: None)


def same(a, b):
    return (
        np.array_equal(a.positions, b.positions)
        and np.array_equal(a.velocities, b.velocities)
        and np.array_equal(a.forces, b.forces)
        and (a.step, a.time) == (b.step, b.time)
        and repr(a.thermo) == repr(b.thermo)  # not a number is not equal to itself
    )


@pytest.mark.parametrize("model", ["water-fast", "water-paper"])
@pytest.mark.parametrize("kind", list(ThermostatKind))
def test_going_on_is_the_same_as_not_having_stopped_bitwise(model, kind, tmp_path):
    simulation = make(model, thermostat=kind, schedule=Schedule((Leg(350.0, 40.0), Leg(300.0, 20.0)), repeats=True))
    start = simulation.frame()
    simulation.advance(70)  # neighbours were looked up some time ago
    simulation.set_parameters(simulation.parameters.with_changes(coupling_time=70.0))
    simulation.new_velocities()
    simulation.advance(33)
    save_checkpoint(simulation.checkpoint(), tmp_path / "c.h5")
    resumed = Simulation.resumed(load_checkpoint(tmp_path / "c.h5"))
    assert same(resumed.frame(), simulation.frame())
    for each in (simulation, resumed):
        each.advance(150)
    assert same(resumed.frame(), simulation.frame())
    assert (resumed.setup, resumed.parameters) == (simulation.setup, simulation.parameters)
    for each in (simulation, resumed):
        each.reset()
    assert same(resumed.frame(), simulation.frame())
    assert np.array_equal(resumed.frame().positions, start.positions)


def test_a_checkpoint_changes_nothing_in_the_run(tmp_path):
    watched, witness = make(thermostat=ThermostatKind.LANGEVIN), make(thermostat=ThermostatKind.LANGEVIN)
    for _ in range(3):
        watched.advance(20)
        save_checkpoint(watched.checkpoint(), tmp_path / "c.h5", force=True)
    witness.advance(60)
    assert same(watched.frame(), witness.frame())


def test_a_model_travels_with_all_its_digits_and_needs_no_file(tmp_path):
    simulation = make()
    model = replace(simulation.model, linear=simulation.model.linear * (1.0 + 1e-15))
    checkpoint = replace(simulation.checkpoint(), model=model, setup=Setup(model=str(tmp_path / "gone.json")))
    save_checkpoint(checkpoint, tmp_path / "c.h5")
    assert np.array_equal(load_checkpoint(tmp_path / "c.h5").model.linear, model.linear)


@pytest.mark.parametrize("name", ["water", "water-paper"])
def test_the_exact_text_of_a_model_is_the_model(name):
    model = load_model(name)
    again = parse_model(exact_text(model), "here")
    assert np.array_equal(again.quadratic, model.quadratic)
    assert exact_text(again) == exact_text(model)


def test_a_hand_that_pulls_has_let_go_and_its_energy_is_booked():
    simulation = make(thermostat=ThermostatKind.NONE)
    simulation.pull(0, simulation.state.positions[0] + 3.0)
    simulation.advance(10)
    resumed = Simulation.resumed(simulation.checkpoint())
    assert resumed.thermo().conserved == pytest.approx(simulation.thermo().conserved, abs=1e-9)
    assert resumed.frame().pull is None


def test_the_plan_is_kept_and_an_older_checkpoint_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "c.h5"
    checkpoint = replace(make().checkpoint(), plan=Plan(1000.0, 5.0))
    save_checkpoint(checkpoint, path)
    assert load_checkpoint(path).plan == Plan(1000.0, 5.0)
    with pytest.raises(InputError, match="exists"):
        save_checkpoint(checkpoint, path)
    save_checkpoint(checkpoint, path, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["c.h5"]
    with pytest.raises(InputError, match="does not exist"):
        save_checkpoint(checkpoint, tmp_path / "nowhere" / "c.h5")


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    checkpoint = make().checkpoint()
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(WorkFailed, match="the disk is full"):
        save_checkpoint(checkpoint, path, force=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.h5"]


def put(group, name, values):
    del group[name]
    group[name] = values


SPOILT = {
    "no schema": (lambda f: f.attrs.pop("schema"), "does not say which schema"),
    "a later schema": (lambda f: f.attrs.modify("schema", 99), "update mldsim"),
    "another format": (lambda f: f.attrs.modify("format", "other"), "not a checkpoint"),
    "no setup": (lambda f: f.pop("setup"), "the field 'setup' is missing"),
    "setup of another kind": (lambda f: put(f, "setup", np.arange(3)), "'setup' is missing or no text"),
    "setup that is no JSON": (lambda f: put(f, "setup", np.frombuffer(b"{", np.uint8)), "setup: invalid JSON"),
    "setup out of range": (
        lambda f: put(f, "setup", np.frombuffer(b'{"molecules": 1}', np.uint8)),
        "Molecules must lie between",
    ),
    "no such thermostat": (
        lambda f: put(f, "parameters", np.frombuffer(b'{"thermostat": "stove"}', np.uint8)),
        "the field thermostat is wrong",
    ),
    "a model that is none": (lambda f: put(f, "model", np.frombuffer(b"[]", np.uint8)), "not a loss model"),
    "positions missing": (lambda f: f["state"].pop("positions"), "'state/positions' is missing"),
    "positions too few": (lambda f: put(f["state"], "positions", np.zeros((3, 3))), "wrong shape"),
    "positions not finite": (lambda f: f["state/positions"].write_direct(np.full((24, 3), np.nan)), "not finite"),
    "positions of text": (lambda f: put(f["state"], "positions", "here"), "right kind"),
    "box negative": (lambda f: put(f["state"], "box", [9.0, 9.0, -9.0]), "not positive"),
    "unknown species": (lambda f: put(f["state"], "species", np.full(24, 7)), "species"),
    "bonds beyond": (lambda f: put(f["state"], "bonds", [[0, 99]]), "not there"),
    "no time": (lambda f: f["state"].attrs.pop("time"), "'state/time'"),
    "step negative": (lambda f: f["state"].attrs.modify("step", -1), "'state/step'"),
    "another generator": (
        lambda f: put(f["state"], "generator", np.frombuffer(b'{"bit_generator": "MT19937"}', np.uint8)),
        "random numbers",
    ),
    "start missing": (lambda f: f.pop("start"), "'start' is missing"),
    "a huge array": (
        lambda f: put(f["state"], "thermostat", np.zeros(5000)),
        "wrong shape",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "c.h5"
    save_checkpoint(make().checkpoint(), path)
    return path.read_bytes()


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_is_refused_in_one_sentence(case, good, tmp_path):
    path = tmp_path / "c.h5"
    path.write_bytes(good)
    spoil, told = SPOILT[case]
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=told) as refused:
        load_checkpoint(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_thermostat_that_remembers_too_little_is_refused(good, tmp_path):
    path = tmp_path / "c.h5"
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        put(file["state"], "thermostat", np.zeros(2))
    with pytest.raises(InputError, match="thermostat"):
        Simulation.resumed(load_checkpoint(path))


def test_what_is_no_checkpoint_is_told_so(good, tmp_path):
    for name, content in (("text", b"hello"), ("empty", b""), ("cut", good[:2000])):
        (tmp_path / name).write_bytes(content)
        assert not is_checkpoint(tmp_path / name)
        with pytest.raises(InputError):
            load_checkpoint(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(tmp_path / "nowhere")
    (tmp_path / "c.h5").write_bytes(good)
    assert is_checkpoint(tmp_path / "c.h5")


def test_a_loss_that_was_changed_is_changed_again_and_can_go_back(tmp_path):
    edit = LossEdit(off=("quadratic, rank 2",), scales=(("O", 0.97),))
    simulation = make(loss=edit)
    simulation.advance(20)
    save_checkpoint(simulation.checkpoint(), tmp_path / "c.h5")
    resumed = Simulation.resumed(load_checkpoint(tmp_path / "c.h5"))
    assert resumed.parameters.loss == edit
    for each in (simulation, resumed):
        each.advance(30)
        each.set_parameters(each.parameters.with_changes(loss=LossEdit()))
    assert same(resumed.frame(), simulation.frame())


def test_molecules_that_were_taken_out_are_back_after_a_reset(tmp_path):
    simulation = make(molecules=10)
    simulation.remove_molecule(0)
    simulation.advance(10)
    save_checkpoint(simulation.checkpoint(), tmp_path / "c.h5")
    resumed = Simulation.resumed(load_checkpoint(tmp_path / "c.h5"))
    for each in (simulation, resumed):
        each.advance(20)
    assert same(resumed.frame(), simulation.frame())
    resumed.reset()
    assert (simulation.state.n_agents, resumed.state.n_agents) == (27, 30)
