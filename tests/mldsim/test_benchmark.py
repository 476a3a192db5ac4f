"""Sides by turns: what is timed, whose memory it is, and what happens when one fails or the user has seen enough."""

import os
import time
from dataclasses import dataclass

import pytest

from mldsim import benchmark
from mldsim.benchmark import InThisProcess, Remote, Result, Round, by_turns, peak_memory, timed
from mldsim.errors import InputError, LeftPhysics


@dataclass
class Sleeper(InThisProcess):
    """Sleeps, and says so; a box of `refused` molecules it cannot build, after `lasts` steps it stops."""

    refused: int = 0
    lasts: int = 10**9
    ballast: int = 0
    taken: int = 0
    memory: bytes = b""

    def prepare(self, molecules: int) -> tuple[int, str]:
        if molecules == self.refused:
            raise InputError("This box is too small.")
        self.memory = bytes(bytearray(b"x") * (self.ballast * molecules))
        return 3 * molecules, f"process {os.getpid()}, {os.environ['OMP_NUM_THREADS']} threads"

    def advance(self, steps: int) -> None:
        self.taken += steps
        if self.taken > self.lasts:
            raise LeftPhysics("A bond broke.")
        time.sleep(0.001 * steps)


class Crashing(InThisProcess):
    """Its process ends."""

    def prepare(self, molecules: int) -> tuple[int, str]:
        os._exit(7)

    def advance(self, steps: int) -> None: ...


def no_report(fraction: float, what: str = "") -> None:
    assert 0.0 <= fraction <= 1.0


def test_time_of_the_wall_and_of_the_processor_are_two() -> None:
    one = timed(Sleeper(), 100)
    assert one.steps == 100
    assert one.seconds >= 0.1
    assert one.processor_seconds < 0.5 * one.seconds


def test_every_side_has_a_process_and_threads_of_its_own() -> None:
    with Remote("a", Sleeper(), 1) as one, Remote("b", Sleeper(), 3) as other:
        first, second = by_turns([one, other], 64, 2, 0.02, no_report)
    assert first.device.endswith(" 1 threads")
    assert second.device.endswith(" 3 threads")
    assert len({first.device.split(",")[0], second.device.split(",")[0], f"process {os.getpid()}"}) == 3
    assert [first.agents, len(first.rounds), first.failed] == [192, 2, None]
    assert all(one.steps >= 1 for one in first.rounds)


def test_memory_is_that_of_the_box_and_not_of_the_parent() -> None:
    ballast = bytearray(os.urandom(1)) * 200_000_000  # of this process
    with Remote("a", Sleeper(ballast=60_000), 1) as side:
        (small,) = by_turns([side], 64, 1, 0.01, no_report)
        (large,) = by_turns([side], 640, 1, 0.01, no_report)
    if peak_memory() is None:
        pytest.skip("this system does not tell")
    assert small.memory_per_agent is None
    assert small.peak_memory is not None
    assert large.memory_per_agent is not None
    assert small.peak_memory < len(ballast)
    assert large.memory_per_agent > 20_000 * 0.9  # sixty thousand bytes for each molecule


def test_a_side_that_fails_is_told_and_the_others_go_on() -> None:
    with (
        Remote("good", Sleeper(), 1) as good,
        Remote("short", Sleeper(refused=65), 1) as short,
        Remote("broken", Sleeper(lasts=600), 1) as broken,
        Remote("crashing", Crashing(), 1) as crashing,
    ):
        found = by_turns([good, short, broken, crashing], 65, 3, 0.2, no_report)
    assert [len(one.rounds) == 3 for one in found] == [True, False, False, False]
    assert [type(one.failed).__name__ for one in found] == ["NoneType", "InputError", "WorkFailed", "WorkFailed"]
    assert [str(one.failed) for one in found[1:3]] == ["short: This box is too small.", "broken: A bond broke."]
    assert "crashing ended with exit status 7" in str(found[3].failed)


class Slow(Sleeper):
    """A step takes a minute."""

    def advance(self, steps: int) -> None:
        time.sleep(60.0 * steps)


def test_a_user_who_has_seen_enough_keeps_what_was_measured() -> None:
    turns: list[str] = []

    def report(fraction: float, what: str = "") -> None:
        turns.append(what)

    with Remote("a", Sleeper(), 1) as one, Remote("b", Sleeper(), 1) as other:
        found = by_turns([one, other], 64, 3, 0.01, report, lambda: len(turns) == 6)  # when b begins its second round
    assert [len(one.rounds) for one in found] == [2, 1]
    assert [str(one.failed) for one in found] == ["Interrupted."] * 2


def test_a_step_that_takes_long_is_not_waited_for() -> None:
    began = time.monotonic()
    with Remote("a", Slow(), 1) as side:
        (found,) = by_turns([side], 64, 1, 0.01, no_report, lambda: time.monotonic() > began + 1.0)
    assert str(found.failed) == "Interrupted."
    assert time.monotonic() < began + 40.0


def test_numbers_are_medians_over_rounds() -> None:
    found = Result("a", 64, 192, "CPU", 300_000_000, 5000.0, [Round(10, seconds, 0.1) for seconds in (0.1, 0.2, 1.0)])
    told = found.to_json()
    assert told["steps_per_s"] == pytest.approx(50.0)
    assert told["steps_per_s_range"] == pytest.approx([10.0, 100.0])
    assert told["atom_steps_per_s"] == pytest.approx(50.0 * 192)
    assert told["ps_per_s"] == pytest.approx(50.0 * 0.5e-3)
    assert told["ns_per_day"] == pytest.approx(50.0 * 0.5e-6 * 86400)
    assert told["processor_us_per_atom_step"] == pytest.approx(0.01e6 / 192)
    assert [told["peak_memory_MB"], told["memory_kB_per_agent"]] == pytest.approx([300.0, 5.0])


def test_the_machine_has_a_name() -> None:
    assert benchmark.processor()
