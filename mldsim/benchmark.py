"""How fast this machine moves agents: simulations by turns, each in a process of its own.

A *side* moves a box of water by one means: a loss model here (`ModelSide`), another program in benchmarks/peers.py.
Each lives in a process of its own, so that its threads and its memory belong to it (`Remote`), and one parent lets them
move by turns, round by round (`by_turns`): what else the machine does meanwhile then falls on all of them alike.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from mldsim.errors import Cancelled, InputError, MldsimError, WorkFailed
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup
from mldsim.progress import Report

TIMESTEP = Parameters().timestep
"""fs, of every side."""

SMALLEST = 64
"""Molecules of the box that every side moves first: kernels are compiled and memory is counted from there."""

WARM = 0.2
"""Seconds. Before it is timed, a box takes 1, 2, 4, ... steps more until these take so long."""

ANSWER_WITHIN = 0.2
"""Seconds between two looks at whether to stop."""

_Answer = TypeVar("_Answer")


class Side(Protocol):
    """One means to move a box of water, at 300 K and in steps of `TIMESTEP`.

    It is sent to the process in which it works, so it holds only settings before `prepare`.
    """

    def prepare(self, molecules: int) -> tuple[int, str]:
        """Build the box; the number of its agents, and what computes, in words."""
        ...

    def advance(self, steps: int) -> None:
        """Take so many time steps."""
        ...

    def processor_seconds(self) -> float:
        """Processor time that it has used so far, of all its threads."""
        ...

    def peak_memory(self) -> int | None:
        """Largest resident set that it had so far, bytes; None where the system does not tell."""
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """Steps that were timed together; seconds of the wall clock and of the processors."""

    steps: int
    seconds: float
    processor_seconds: float


def timed(side: Side, steps: int) -> Round:
    """Let a side take some steps."""
    processor, began = side.processor_seconds(), time.perf_counter()
    side.advance(steps)
    seconds = time.perf_counter() - began
    return Round(steps, seconds, side.processor_seconds() - processor)


class InThisProcess:
    """What a side measures where all its work is done by the process that it lives in."""

    def processor_seconds(self) -> float:
        return time.process_time()

    def peak_memory(self) -> int | None:
        return peak_memory()


class ModelSide(InThisProcess):
    """A loss model, with the thermostat of every simulation of mldsim that nobody has changed.

    Parameters
    ----------
    model : str
        Shipped name or file.
    device, precision
        As of `Setup`.
    """

    def __init__(
        self, model: str, device: DeviceKind = DeviceKind.CPU, precision: Precision = Precision.SINGLE
    ) -> None:
        self.model, self.device, self.precision = model, device, precision

    def prepare(self, molecules: int) -> tuple[int, str]:
        from mldsim.simulation import build_simulation  # takes a second, and the parent does not need it

        setup = Setup(model=self.model, molecules=molecules, device=self.device, precision=self.precision)
        self.simulation = build_simulation(setup, Parameters(), lambda _: None)
        return self.simulation.topology.n_agents, self.simulation.device

    def advance(self, steps: int) -> None:
        self.simulation.advance(steps)


@dataclass
class Result:
    """What was measured of one side in one box.

    Attributes
    ----------
    name : str
    molecules, agents : int
    device : str
        What computed, in words.
    peak_memory : int or None
        Largest resident set of the process up to the end of this box, bytes.
    memory_per_agent : float or None
        By how much it grew from the box of `SMALLEST`, bytes for each agent more.
    rounds : list of Round
    failed : MldsimError or None
        Why it ended early.
    """

    name: str
    molecules: int
    agents: int = 0
    device: str = ""
    peak_memory: int | None = None
    memory_per_agent: float | None = None
    rounds: list[Round] = field(default_factory=list)
    failed: MldsimError | None = None

    def to_json(self) -> dict[str, Any]:
        """Numbers as the command `bench` tells them: medians over the rounds, and their extremes."""
        speeds = [one.steps / one.seconds for one in self.rounds] or [float("nan")]
        speed = median(speeds)
        return {
            "name": self.name,
            "molecules": self.molecules,
            "agents": self.agents,
            "device": self.device,
            "steps_per_s": speed,
            "steps_per_s_range": [min(speeds), max(speeds)],
            "atom_steps_per_s": speed * self.agents,
            "ns_per_day": speed * TIMESTEP * 86400e-6,
            "ps_per_s": speed * TIMESTEP * 1e-3,
            "processor_us_per_atom_step": median(1e6 * one.processor_seconds / one.steps for one in self.rounds)
            / self.agents,
            "peak_memory_MB": None if self.peak_memory is None else self.peak_memory / 1e6,
            "memory_kB_per_agent": None if self.memory_per_agent is None else self.memory_per_agent / 1e3,
            "rounds": [[one.steps, one.seconds, one.processor_seconds] for one in self.rounds],
        }


def _warmed_up(side: Side, molecules: int) -> tuple[int, str, float]:
    """Build a box and move it until it is warm: its agents, what computes, and seconds for a step."""
    agents, device = side.prepare(molecules)
    side.advance(1)  # compiles, and finds memory
    steps = 1
    while True:
        last = timed(side, steps)
        if last.seconds >= WARM:
            return agents, device, last.seconds / steps
        steps *= 2


def _peak_memory(side: Side) -> int | None:
    return side.peak_memory()


class Remote:
    """A side in a process of its own. A context manager: the process is gone when the block is left.

    Parameters
    ----------
    name : str
    side : Side
    threads : int, optional
        That it may use; default: what the environment says, or all.
    """

    def __init__(self, name: str, side: Side, threads: int | None = None) -> None:
        self.name = name
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit threads and memory
        self._connection, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, side), daemon=True, name=f"bench {name}")
        with _threads_of_children(threads):
            self._process.start()
        other.close()
        self._smallest: tuple[int, int | None] | None = None

    def call(
        self, function: Callable[..., _Answer], *arguments: object, stop_asked: Callable[[], bool] = lambda: False
    ) -> _Answer:
        """What a function says whose first argument is the side.

        Raises
        ------
        MldsimError
            What it raised, or that the process ended.
        Cancelled
            When the user asked to stop meanwhile.
        """
        try:
            self._connection.send((function, arguments))
            while not self._connection.poll(ANSWER_WITHIN):
                if stop_asked():
                    raise Cancelled("Interrupted.")
            failed, answer = self._connection.recv()
        except (EOFError, OSError):
            if stop_asked():  # the signal was for all processes of the terminal
                raise Cancelled("Interrupted.") from None
            self._process.join(1.0)
            code = self._process.exitcode or 0
            ended = f"by signal {-code}, as for want of memory" if code < 0 else f"with exit status {code}"
            raise WorkFailed(f"The process of {self.name} ended {ended}.") from None
        if failed is not None:
            raise failed(f"{self.name}: {answer}")
        return answer  # type: ignore[no-any-return]

    def warm_up(self, molecules: int, stop_asked: Callable[[], bool]) -> tuple[int, str, float]:
        """As `_warmed_up`; the first time the smallest box comes before."""
        if self._smallest is None:
            agents, *_ = found = self.call(_warmed_up, min(SMALLEST, molecules), stop_asked=stop_asked)
            self._smallest = agents, self.call(_peak_memory)
            if molecules <= SMALLEST:
                return found
        return self.call(_warmed_up, molecules, stop_asked=stop_asked)

    def memory(self, agents: int) -> tuple[int | None, float | None]:
        """Largest resident set so far, bytes, and its growth from the smallest box for each agent more."""
        peak = self.call(_peak_memory)
        if peak is None or self._smallest is None or self._smallest[1] is None or agents <= self._smallest[0]:
            return peak, None
        return peak, (peak - self._smallest[1]) / (agents - self._smallest[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


@contextmanager
def _threads_of_children(threads: int | None) -> Iterator[None]:
    """Tell a process that starts inside the block how many threads to use; libraries read it as soon as they load."""
    names = [f"{library}_NUM_THREADS" for library in ("NUMBA", "OMP", "OPENBLAS", "MKL")] if threads else []
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, side: Side) -> None:
    """The process of a side: answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    with suppress(EOFError, OSError):
        while True:
            function, arguments = connection.recv()
            answer: tuple[type[MldsimError] | None, Any]
            try:
                answer = (None, function(side, *arguments))
            except MldsimError as error:
                answer = (InputError if isinstance(error, InputError) else WorkFailed, str(error))
            connection.send(answer)


def by_turns(
    sides: Sequence[Remote],
    molecules: int,
    rounds: int,
    seconds: float,
    report: Report,
    stop_asked: Callable[[], bool] = lambda: False,
) -> list[Result]:
    """Build the box of each side, then let all move by turns.

    A side that fails is told in its result and left out of what follows; when the user asks to stop, so are all.

    Parameters
    ----------
    sides : sequence of Remote
    molecules : int
        At least as many as in the call before, so that the peak of memory belongs to this box.
    rounds : int
    seconds : float
        That a round should take; a side takes at least one step.
    report : callable
        Told the progress.
    stop_asked : callable
        Whether the user wants to stop.
    """
    results = [Result(side.name, molecules) for side in sides]
    steps = [1] * len(sides)
    done, turns = 0, (rounds + 1) * len(sides)
    for number in range(rounds + 1):
        for place, (side, result) in enumerate(zip(sides, results, strict=True)):
            report(done / turns, f"{side.name}, {molecules} H2O")
            done += 1
            if result.failed is not None:
                continue
            try:
                if stop_asked():
                    raise Cancelled("Interrupted.")
                if number == 0:
                    result.agents, result.device, each = side.warm_up(molecules, stop_asked)
                    steps[place] = max(1, round(seconds / each))
                else:
                    result.rounds.append(side.call(timed, steps[place], stop_asked=stop_asked))
                    if number == rounds:
                        result.peak_memory, result.memory_per_agent = side.memory(result.agents)
            except Cancelled as error:
                for one in results:
                    one.failed = one.failed or error
                return results
            except MldsimError as error:
                result.failed = error
    report(1.0)
    return results


def peak_memory(process: int | str = "self") -> int | None:
    """Largest resident set that a process had, bytes; None where the system does not tell.

    Linux tells it of the running program alone; what `getrusage` says began with the program that started this one.
    """
    with suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        if found:
            return 1024 * int(found[1])
    if process != "self" or sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processor() -> str:
    """What the processor calls itself."""
    with suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1]
    return platform.processor() or platform.machine() or "unknown"


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
