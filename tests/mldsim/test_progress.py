"""Progress: seldom enough for a log file, never on standard output, and no reason to fail."""

import io
import sys

import pytest

from mldsim import progress
from mldsim.progress import progress_bar, tell


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_file_gets_a_line_for_each_tenth(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Fitting") as report:
        for step in range(1, 1001):
            clock.now += 0.1
            report(step / 1000, f"frame {step} of 1000")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 10
    assert lines[0] == "Fitting: 10 % frame 100 of 1000, 90 s left"
    assert lines[-1] == "Fitting: 100 % frame 1000 of 1000"


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Reading") as report:
        for step in range(1, 101):
            clock.now += 0.005
            report(step / 100)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_the_title_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Reading") as report:
        report(0.5, "water[bold].xyz")
        report(1.0, "water[bold].xyz")
    assert "Reading" in terminal.getvalue()
    assert "water[bold].xyz" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_an_exception_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), progress_bar("Fitting"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("gone", [None, "closed", "broken"])
def test_a_terminal_that_is_gone_stops_nothing(
    gone: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream = Broken() if gone == "broken" else io.StringIO() if gone else None
    monkeypatch.setattr(sys, "stderr", stream)
    if gone == "closed":
        assert stream is not None
        stream.close()
    tell("hello")
    if gone != "closed":
        with progress_bar("Fitting") as report:
            report(1.0)
    assert capsys.readouterr().out == ""
