"""The recorder: nothing is lost, nothing piles up, errors come to light, no thread stays."""

import threading

import numpy as np
import pytest

from mldsim.errors import WorkFailed
from mldsim.frames import Frame, ThermoRow
from mldsim.trajectory.recorder import Recorder

LONG = 20.0


def frame(step: int) -> Frame:
    x = np.zeros((1, 3))
    return Frame(step, float(step), np.ones(3), x, x, x, np.zeros(1), ThermoRow(*[0.0] * 9))


class Sink:
    """Takes frames, one per permit when it is slow."""

    def __init__(self, slow: bool = False, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.steps: list[int] = []
        self.closed = 0
        self.flushed = threading.Event()
        self.permits = threading.Semaphore(0) if slow else None
        self.fail_at, self.error = fail_at, error or WorkFailed("The disk is full.")

    def write(self, frame: Frame) -> None:
        if self.permits is not None:
            assert self.permits.acquire(timeout=LONG)
        if frame.step == self.fail_at:
            raise self.error
        self.steps.append(frame.step)

    def flush(self) -> None:
        self.flushed.set()

    def close(self) -> None:
        self.closed += 1


def test_every_frame_is_written_in_order_and_the_sink_closed() -> None:
    sink = Sink()
    recorder = Recorder(sink, capacity=3)
    for step in range(200):
        assert recorder.put(frame(step))
    recorder.close()
    assert sink.steps == list(range(200))
    assert recorder.written == 200
    assert recorder.queued == 0
    assert recorder.done
    assert sink.closed == 1
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.put(frame(200))


def test_a_slow_disk_makes_the_giver_wait_and_loses_nothing() -> None:
    sink = Sink(slow=True)
    assert sink.permits is not None
    recorder = Recorder(sink, capacity=2)
    step = 0
    while recorder.put(frame(step), timeout=0.05):  # one is in the sink's hands, two wait
        step += 1
        assert step <= 3
    assert not recorder.put(frame(step), timeout=0.0)
    sink.permits.release()
    assert recorder.put(frame(step), timeout=LONG)
    sink.permits.release(10)
    recorder.close()
    assert sink.steps == list(range(step + 1))


def test_finish_returns_at_once_and_the_rest_is_still_written() -> None:
    sink = Sink(slow=True)
    assert sink.permits is not None
    recorder = Recorder(sink, capacity=2)
    for step in range(2):
        recorder.put(frame(step))
    recorder.finish()
    assert not recorder.done
    with pytest.raises(WorkFailed, match="did not take the last"):
        recorder.close(timeout=0.01)
    sink.permits.release(2)
    recorder.close()
    assert sink.steps == [0, 1]


def test_an_error_reaches_who_gives_frames() -> None:
    sink = Sink(fail_at=1)
    recorder = Recorder(sink, capacity=1)

    def give_without_end() -> None:
        for step in range(1000):
            recorder.put(frame(step))

    with pytest.raises(WorkFailed, match="The disk is full"):
        give_without_end()
    with pytest.raises(WorkFailed, match="The disk is full"):
        recorder.close()
    assert sink.steps == [0]
    assert sink.closed == 1
    assert recorder.error is not None


def test_a_giver_that_waits_is_woken_by_the_error() -> None:
    sink = Sink(slow=True, fail_at=0)
    assert sink.permits is not None
    recorder = Recorder(sink, capacity=1)
    for step in range(2):
        recorder.put(frame(step))
    threading.Timer(0.05, sink.permits.release).start()
    with pytest.raises(WorkFailed, match="The disk is full"):
        recorder.put(frame(2))


def test_an_unforeseen_error_is_told_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(Sink(fail_at=0, error=ZeroDivisionError("oops")))
    recorder.put(frame(0))
    with pytest.raises(WorkFailed, match=r"internal error \(ZeroDivisionError: oops\)"):
        recorder.close()
    assert "Traceback" in caplog.text


def test_a_pause_brings_what_was_recorded_to_the_disk() -> None:
    sink = Sink()
    recorder = Recorder(sink)
    recorder.put(frame(0))
    assert sink.flushed.wait(LONG)
    recorder.close()
