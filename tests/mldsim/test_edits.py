"""A loss that is changed by hand: what is left of it, what is refused, and what a running simulation makes of it."""

from dataclasses import replace

import numpy as np
import pytest

from mldsim.edits import FITTED, LARGEST_SCALE, LossEdit, terms
from mldsim.errors import InputError
from mldsim.evaluator import Evaluation
from mldsim.loss import FittedRanges, Scope, load_model, save_model
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.simulation import Simulation
from mldsim.water import water_box

from .test_dissection import of_reference, with_hops_and_waves


@pytest.fixture(scope="module")
def water():
    return load_model("water")


@pytest.fixture(scope="module")
def distant(teacher):
    """A small model with every part that there is."""
    return with_hops_and_waves(teacher)


@pytest.fixture(scope="module")
def small(teacher):
    return water_box(8, 0.997, 300.0, 1, teacher.symbols, teacher.masses)


def test_no_change_is_the_model_itself(water):
    assert FITTED.of(water) is water
    assert not FITTED
    assert LossEdit(scales=(("O", 1.0),)) == FITTED


def test_equal_changes_are_equal_in_whatever_order_they_were_made():
    one = LossEdit(("cubic", "linear"), (("H", 0.5), ("O", 2.0)))
    assert one == LossEdit(("linear", "cubic", "linear"), (("O", 2.0), ("H", 0.5)))
    assert one.words() == "cubic, linear off, loss of H × 0.5, loss of O × 2"


def test_what_can_be_switched_off_are_the_terms_of_the_model(water, distant):
    assert terms(load_model("water-paper")) == ("linear", "quadratic, rank 0")
    assert terms(water) == ("linear", *(f"quadratic, rank {rank}" for rank in range(3)), "cubic")
    assert terms(distant)[-2:] == ("hops", "long range")


def test_terms_add_up_to_the_loss(distant, small):
    """Each term alone; the wall, which stays, is in all of them."""
    names = terms(distant)
    wall = of_reference(LossEdit(off=names).of(distant), small)
    alone = [of_reference(LossEdit(off=tuple(set(names) - {name})).of(distant), small) - wall for name in names]
    assert sum(alone) + wall == pytest.approx(of_reference(distant, small), abs=1e-9)
    assert all(np.abs(losses).max() > 1e-4 for losses in alone)


def test_scaled_losses_add_up_to_the_sum_of_the_scaled(distant, small):
    """Of what neighbours share half and half, agents of one species may show a part of the other's."""
    factors = {"O": 0.5, "H": 2.0}
    losses = of_reference(distant, small)
    wall = of_reference(LossEdit(off=terms(distant)).of(distant), small)
    scaled = of_reference(LossEdit(scales=tuple(factors.items())).of(distant), small)
    wanted = (losses - wall) * np.array([factors[s] for s in distant.symbols])[small.species]
    assert (scaled - wall).sum() == pytest.approx(wanted.sum(), rel=1e-9)
    local = LossEdit(off=("hops", "long range"))
    alone = of_reference(local.of(distant), small) - wall
    both = of_reference(replace(local, scales=tuple(factors.items())).of(distant), small) - wall
    assert both == pytest.approx(alone * np.array([0.5, 2.0])[small.species], abs=1e-9)


def test_nothing_that_kernels_are_compiled_for_changes(distant):
    edited = LossEdit(terms(distant), (("O", 0.0),)).of(distant)
    for name in ("linear", "quadratic"):
        assert getattr(edited, name).shape == getattr(distant, name).shape
    assert edited.cubic.channels.shape == distant.cubic.channels.shape
    assert edited.hops.coefficients.shape == distant.hops.coefficients.shape
    assert edited.waves.coefficients.shape == distant.waves.coefficients.shape


def test_the_model_says_that_it_was_changed_and_knows_no_doubt(water):
    edited = LossEdit(off=("cubic",)).of(water)
    assert edited.name == "water (edited)"
    assert "cubic off" in edited.card["edited"]
    assert edited.committee is None


def test_own_scope_is_refused_while_parts_are_not_local(distant, small):
    with pytest.raises(InputError, match="switch hops and long range off first"):
        LossEdit(scope=Scope.OWN).of(distant)
    local = LossEdit(("hops", "long range"), scope=Scope.OWN).of(distant)
    wanted = of_reference(replace(distant, hops=None, waves=None, scope=Scope.OWN), small)
    assert of_reference(local, small) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("edit", "what"),
    [(LossEdit(off=("hops",)), "no term 'hops'"), (LossEdit(scales=(("C", 0.5),)), "no loss of C")],
)
def test_what_the_model_lacks_is_refused(water, edit, what):
    with pytest.raises(InputError, match=what):
        edit.of(water)


@pytest.mark.parametrize("factor", [-0.1, LARGEST_SCALE + 0.1, np.nan])
def test_a_scale_out_of_range_is_refused(factor):
    with pytest.raises(InputError, match="can be multiplied by"):
        LossEdit(scales=(("O", factor),))


# --- while it runs


class Oracle:
    """Forces by the reference kernel: nothing is compiled."""

    device_name, device_reason = "oracle", "for tests"

    def __init__(self, model, state):
        self._model, self._state = model, state

    def __call__(self, positions):
        losses, forces = of_reference(self._model, replace(self._state, positions=positions), forces=True)
        return Evaluation(losses, forces, 1.0)

    def shared_forces(self):
        shared = replace(self._model, scope=Scope.SHARED)
        return of_reference(shared, self._state, forces=True)[1]


@pytest.fixture
def simulation(teacher, small):
    parameters = Parameters(thermostat=ThermostatKind.NONE)
    return Simulation(small, teacher, parameters, Setup("teacher"), make_forces=Oracle)


def edit(simulation, change):
    return simulation.set_parameters(replace(simulation.parameters, loss=change))


def test_the_books_go_on_where_they_were(simulation):
    before = simulation.thermo()
    positions = simulation.state.positions.copy()
    edit(simulation, LossEdit(scales=(("O", 0.9),)))
    after = simulation.thermo()
    assert abs(after.loss - before.loss) > 0.01
    assert after.conserved == pytest.approx(before.conserved, abs=1e-9)
    assert np.array_equal(simulation.state.positions, positions)
    assert simulation.model_name == "teacher (edited)"
    assert "edited" in simulation.model_card
    with pytest.raises(InputError, match="go back to the fitted loss"):
        simulation.judge()
    edit(simulation, FITTED)
    assert simulation.thermo().loss == pytest.approx(before.loss, abs=1e-9)
    assert simulation.model_name == "teacher"


def test_own_scope_has_no_conserved_quantity_and_shared_has_one_again(simulation):
    edit(simulation, LossEdit(scope=Scope.OWN))
    assert np.isnan(simulation.thermo().conserved)
    edit(simulation, FITTED)
    assert np.isfinite(simulation.thermo().conserved)


def test_what_is_refused_changes_nothing(simulation):
    before = simulation.parameters
    with pytest.raises(InputError, match="no term 'cubic'"):
        simulation.set_parameters(replace(before, temperature=350.0, loss=LossEdit(off=("cubic",))))
    assert simulation.parameters == before
    assert simulation.model_name == "teacher"


def test_another_model_is_taken_as_it_was_fitted(simulation, teacher, tmp_path):
    ranges = FittedRanges({"O-O": (2.3, 4.5), "O-H": (0.8, 4.5), "H-H": (1.2, 4.5)}, np.zeros((2, 8, 2)))
    save_model(replace(teacher, name="other", ranges=ranges), tmp_path / "other.json")
    edit(simulation, LossEdit(off=("linear",)))
    simulation.set_model(tmp_path / "other.json")
    assert simulation.parameters.loss == FITTED
    assert simulation.model_name == "other"


def test_a_start_again_keeps_what_was_changed(simulation):
    change = LossEdit(scales=(("O", 0.9),))
    edit(simulation, change)
    simulation.reset()
    assert simulation.parameters.loss == change
    assert simulation.model_name == "teacher (edited)"
