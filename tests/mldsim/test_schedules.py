"""Temperature schedules, and the simulation that follows one."""

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.parameters import DeviceKind, Parameters, Setup, ThermostatKind
from mldsim.plain import from_text, to_text
from mldsim.schedules import Leg, Schedule, parse_leg
from mldsim.simulation import build_simulation

UP_AND_DOWN = (Leg(400.0, 50.0), Leg(400.0, 20.0), Leg(300.0, 10.0))


def test_legs_are_straight_lines_and_the_last_temperature_stays():
    schedule = Schedule(UP_AND_DOWN, begin=100.0)
    times = [0.0, 100.0, 125.0, 150.0, 160.0, 170.0, 175.0, 180.0, 1e9]
    assert [schedule.target(time, 350.0) for time in times] == [350, 350, 375, 400, 400, 400, 350, 300, 300]


def test_a_schedule_that_repeats_begins_again_from_its_last_temperature():
    schedule = Schedule(UP_AND_DOWN, repeats=True)
    assert schedule.target(25.0, 350.0) == 375.0
    assert [schedule.target(80.0 * n, 350.0) for n in (1, 2, 30)] == [300.0] * 3
    assert schedule.target(80.0 * 7 + 25.0, 350.0) == pytest.approx(350.0)


def test_a_leg_is_read_as_it_is_written():
    assert parse_leg("400K:50ps") == Leg(400.0, 50e3)
    assert parse_leg(" 350 : 20 fs") == Leg(350.0, 20.0)
    assert str(Schedule(UP_AND_DOWN)) == "400K:50fs 400K:20fs 300K:10fs"
    assert [parse_leg(text) for text in str(Schedule(UP_AND_DOWN)).split()] == list(UP_AND_DOWN)


@pytest.mark.parametrize("text", ["", "400", "hot:1ps", "400K:", "400K:1 m", "400K:0ps", "400K:-1ps", "nan:1ps"])
def test_what_is_no_leg_is_refused(text):
    with pytest.raises(InputError):
        Parameters(schedule=Schedule((parse_leg(text),)))


def test_targets_have_the_range_of_the_thermostat():
    with pytest.raises(InputError, match="between 1 and 2000 K; 2500 was given"):
        Parameters(schedule=Schedule((Leg(2500.0, 1.0),)))
    with pytest.raises(InputError, match="1 to 100 legs"):
        Schedule(())


def test_parameters_with_a_schedule_are_text_and_back():
    parameters = Parameters(thermostat=ThermostatKind.CSVR, schedule=Schedule(UP_AND_DOWN, 12.5, True))
    assert from_text(Parameters, to_text(parameters), "here") == parameters
    with pytest.raises(InputError, match=r"here: the field schedule\.legs is wrong"):
        from_text(Parameters, '{"schedule": {"legs": 3}}', "here")


@pytest.mark.parametrize("kind", list(ThermostatKind))
def test_a_run_follows_its_schedule_and_books_what_that_takes(kind):
    """The conserved quantity is as quiet as with a target that rests."""
    schedule = Schedule((Leg(600.0, 40.0), Leg(200.0, 40.0)))
    spreads = []
    for wanted in (None, schedule):
        setup = Setup(model="water-fast", molecules=8, device=DeviceKind.CPU)
        simulation = build_simulation(
            setup, Parameters(thermostat=kind, schedule=wanted, timestep=0.25), lambda _text: None
        )
        rows = []
        for _ in range(40):
            rows.append(simulation.thermo())
            simulation.advance(10)
        spreads.append(np.std([row.conserved for row in rows]))
    targets = [row.target for row in rows]
    assert targets == pytest.approx([schedule.target(row.time, 300.0) for row in rows])
    assert max(targets) > 590.0
    assert simulation.thermo().target == 200.0
    assert spreads[1] < 3.0 * spreads[0] + 1e-4
    simulation.reset()
    assert simulation.thermo().target == 300.0
