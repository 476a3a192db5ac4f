"""Two simulations by turns: one start, one clock, one hand; and what happens when one of them leaves physics."""

from dataclasses import replace

import numpy as np
import pytest

from mldsim.edits import FITTED, LossEdit
from mldsim.errors import InputError, LeftPhysics
from mldsim.loss import Scope, save_model
from mldsim.pair import KEPT_EVERY, Pair
from mldsim.parameters import ThermostatKind

from .test_simulation import make_model, make_simulation, same


@pytest.fixture
def path(tmp_path):
    save_model(make_model(name="other"), tmp_path / "other.json")
    return str(tmp_path / "other.json")


@pytest.fixture
def pair(path):
    simulation = make_simulation(10)
    simulation.advance(7)
    return Pair(simulation, path, FITTED)


def test_both_start_from_the_same_place(pair):
    frame = pair.frame()
    other = frame.beside.frame
    assert frame.beside.name == "other"
    assert np.array_equal(frame.positions, other.positions)
    assert np.array_equal(frame.velocities, other.velocities)
    assert (frame.step, frame.time) == (other.step, other.time) == (7, 3.5)


def test_the_same_loss_gives_the_same_run_and_another_scope_does_not(pair, path):
    pair.advance(30)
    frame = pair.frame()
    assert same(frame, frame.beside.frame)
    own = Pair(pair.first, path, LossEdit(scope=Scope.OWN))
    own.advance(30)
    frame = own.frame()
    assert frame.step == frame.beside.frame.step == 67
    assert not np.array_equal(frame.positions, frame.beside.frame.positions)
    assert np.isnan(frame.beside.frame.thermo.conserved)


def test_the_first_runs_as_it_would_alone(path):
    alone, first = make_simulation(10), make_simulation(10)
    pair = Pair(first, path, LossEdit(scope=Scope.OWN))
    alone.advance(2 * KEPT_EVERY + 10)
    pair.advance(2 * KEPT_EVERY + 10)
    assert same(pair.alone().frame(), alone.frame())


def test_parameters_and_hands_act_on_both(pair):
    pair.set_parameters(replace(pair.parameters, temperature=400.0, thermostat=ThermostatKind.CSVR))
    assert pair.second.parameters.temperature == 400.0
    pair.heat(np.arange(6), 2.0)
    pair.kick(3, np.array([0.01, 0.0, 0.0]))
    frame = pair.frame()
    assert frame.velocities == pytest.approx(frame.beside.frame.velocities, abs=1e-12)
    pair.new_velocities()
    frame = pair.frame()
    assert np.array_equal(frame.velocities, frame.beside.frame.velocities)
    assert pair.first.parameters.loss == pair.second.parameters.loss == FITTED


def test_an_edit_is_of_the_first_alone(path):
    pair = Pair(make_simulation(10), path, LossEdit(scope=Scope.OWN))
    pair.set_parameters(replace(pair.parameters, loss=LossEdit(scales=(("O", 0.5),))))
    assert pair.model_name == "toy (edited)"
    assert pair.second.parameters.loss == LossEdit(scope=Scope.OWN)


def test_when_one_leaves_physics_both_go_back_to_one_time(pair):
    pair.advance(3 * KEPT_EVERY)
    pair.second._forces.scale = -3.0
    with pytest.raises(LeftPhysics, match=r"^other: .*; both are back at"):
        pair.advance(5 * KEPT_EVERY)
    frame = pair.frame()
    assert frame.step == frame.beside.frame.step
    assert 7 <= frame.step < 7 + 8 * KEPT_EVERY
    assert same(frame, frame.beside.frame)


def test_a_reset_brings_both_to_the_start(pair):
    pair.advance(20)
    pair.reset()
    frame = pair.frame()
    assert frame.step == frame.beside.frame.step == 0
    assert np.array_equal(frame.positions, frame.beside.frame.positions)


def test_an_earlier_frame_brings_both_back(pair):
    early = pair.frame()
    pair.advance(20)
    pair.go_to(early)
    assert pair.frame().step == pair.frame().beside.frame.step == 7
    with pytest.raises(InputError, match="of one simulation alone"):
        pair.go_to(replace(early, beside=None))


def test_agents_stay_the_same(pair):
    for change in (pair.take_back, pair.add_molecule, lambda: pair.remove_molecule(0)):
        with pytest.raises(InputError, match="end the comparison first"):
            change()


def test_what_cannot_run_beside_is_refused(pair, tmp_path):
    with pytest.raises(InputError, match="no loss model"):
        pair.with_beside(str(tmp_path / "nothing.json"), FITTED)
