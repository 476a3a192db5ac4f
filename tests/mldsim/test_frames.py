"""The mailbox and the thermo table: bounded, and never in each other's way."""

import numpy as np
import pytest

from mldsim.frames import THERMO_COLUMNS, Frame, Mailbox, ThermoRow, ThermoTable


def row(time: float) -> ThermoRow:
    return ThermoRow(**(dict.fromkeys(THERMO_COLUMNS, 0.0) | {"time": time, "temperature": 300.0 + time}))


def frame(step: int) -> Frame:
    x = np.zeros((1, 3))
    return Frame(step, float(step), np.ones(3), x, x, x, np.zeros(1), row(float(step)))


def test_mailbox_keeps_the_newest_and_gives_it_once() -> None:
    mailbox = Mailbox()
    assert mailbox.take() is None
    for step in range(3):
        mailbox.put(frame(step))
    taken = mailbox.take()
    assert taken is not None
    assert taken.step == 2
    assert mailbox.take() is None


def test_table_gives_what_was_appended() -> None:
    table = ThermoTable()
    for time in range(5):
        table.append(row(time))
    columns = table.columns()
    assert list(columns) == list(THERMO_COLUMNS)
    np.testing.assert_array_equal(columns["time"], range(5))
    np.testing.assert_array_equal(columns["temperature"], [300, 301, 302, 303, 304])


@pytest.mark.parametrize("capacity", [16, 17])
def test_a_long_run_keeps_both_ends_in_bounded_memory(capacity: int) -> None:
    table = ThermoTable(capacity)
    for time in range(1000):
        table.append(row(time))
        times = table.columns()["time"]
        assert len(times) <= capacity
        assert times[0] == 0
        assert times[-1] == time
    assert (np.diff(times) > 0).all()
    recent = times[-capacity // 4 :]
    np.testing.assert_array_equal(np.diff(recent), 1)


def test_what_was_given_out_does_not_change() -> None:
    table = ThermoTable(4)
    table.append(row(0))
    before = table.columns()["time"]
    for time in range(1, 10):
        table.append(row(time))
    np.testing.assert_array_equal(before, [0])


def test_version_tells_of_every_change() -> None:
    table = ThermoTable()
    seen = {table.version}
    table.append(row(0))
    seen.add(table.version)
    table.forget_after(0.0)
    seen.add(table.version)
    table.clear()
    seen.add(table.version)
    assert len(seen) == 4
    assert len(table.columns()["time"]) == 0


def test_a_run_that_went_back_forgets_its_future() -> None:
    table = ThermoTable()
    for time in range(10):
        table.append(row(time))
    table.forget_after(6.0)
    np.testing.assert_array_equal(table.columns()["time"], range(7))
