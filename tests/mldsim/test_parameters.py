"""What a user can set: ranges, defaults, and refusals that name them."""

import dataclasses
import math
import re

import pytest

from mldsim.errors import InputError
from mldsim.parameters import FIELDS, Parameters, Setup, ThermostatKind, check


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_explains_itself(name: str) -> None:
    field = FIELDS[name]
    assert field.label
    assert field.physics.endswith(".")
    assert field.minimum <= field.default <= field.maximum
    assert math.isfinite(field.minimum)
    assert math.isfinite(field.maximum)
    check(name, field.default)
    check(name, field.minimum)
    check(name, field.maximum)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e300])
def test_no_field_takes_what_is_no_quantity(name: str, value: float) -> None:
    with pytest.raises(InputError):
        check(name, value)


@pytest.mark.parametrize("name", FIELDS)
def test_a_refusal_names_field_range_and_value(name: str) -> None:
    field = FIELDS[name]
    value = field.maximum * 2
    with pytest.raises(InputError) as refusal:
        check(name, value)
    sentence = str(refusal.value)
    assert field.label in sentence
    assert field.unit in sentence
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", sentence.replace("cm³", ""))]
    assert numbers == [field.minimum, field.maximum, value]


def test_defaults_are_those_of_the_fields() -> None:
    for values in (Parameters(), Setup()):
        for item in dataclasses.fields(values):
            if item.name in FIELDS:
                assert getattr(values, item.name) == FIELDS[item.name].default


@pytest.mark.parametrize(
    "values", [{"temperature": 0.0}, {"timestep": -0.5}, {"timestep": 0.0}, {"coupling_time": 0.0}]
)
def test_parameters_are_checked_when_made_and_when_changed(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Parameters(**values)
    with pytest.raises(InputError):
        Parameters().with_changes(**values)


@pytest.mark.parametrize("values", [{"density": 0.0}, {"density": -1.0}, {"molecules": 0}, {"seed": -1}])
def test_setups_are_checked(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Setup(**values)


def test_a_change_leaves_the_rest_and_the_original() -> None:
    before = Parameters()
    after = before.with_changes(temperature=350.0, thermostat=ThermostatKind.CSVR)
    assert (after.temperature, after.thermostat, after.timestep) == (350.0, ThermostatKind.CSVR, before.timestep)
    assert before == Parameters()
