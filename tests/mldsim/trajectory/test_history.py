"""The frames kept in memory: the whole run, at a grain that memory allows."""

import numpy as np

from mldsim.frames import Frame, ThermoRow
from mldsim.trajectory.history import History, frame_bytes


def frame(step: int, n: int = 2) -> Frame:
    x = np.zeros((n, 3))
    return Frame(step, float(step), np.ones(3), x, x, x, np.zeros(n), ThermoRow(*[0.0] * 9))


def steps_after(history: History, intervals: int, n: int = 2) -> list[int]:
    for step in range(intervals):
        if history.tick():
            history.append(frame(step, n))
    return [kept.step for kept in history.frames()]


def test_everything_is_kept_while_there_is_room() -> None:
    assert steps_after(History(max_frames=100), 50) == list(range(50))


def test_a_long_run_is_kept_whole_at_even_intervals() -> None:
    history = History(max_frames=10)
    steps = steps_after(history, 1000)
    assert 5 <= len(steps) <= 10
    assert steps[0] == 0
    assert len(set(np.diff(steps))) == 1
    assert 1000 - steps[-1] <= np.diff(steps)[0]


def test_large_frames_are_bounded_by_bytes() -> None:
    limit = 6 * frame_bytes(frame(0, 100))
    history = History(max_bytes=limit)
    steps_after(history, 500, n=100)
    assert sum(frame_bytes(kept) for kept in history.frames()) <= limit


def test_a_run_that_went_back_forgets_its_future() -> None:
    history = History()
    steps_after(history, 10)
    history.forget_after(6)
    assert [kept.step for kept in history.frames()] == list(range(7))
    history.clear()
    assert len(history) == 0
