"""A command of the command line in a process of its own, with its progress, result and refusal.

Numba's parallel kernels must not be entered by two threads at once, so long work beside a running simulation is another
process. Killing it loses nothing: commands write whole files or none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from mldsim.progress import FOR_PROGRAMS

NICENESS = 10
"""A simulation that runs beside it goes first."""

PATIENCE = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job stands.

    Attributes
    ----------
    running : bool
    title, what : str
        What is being done: ``Fitting``, ``frame 30 of 600``.
    fraction : float
        Of that, 0 to 1.
    left : float, seconds, or None
        That it will still take, where one can tell.
    said : tuple of str
        Lines it told on the way.
    result : mapping or None
        What ``--json`` prints, when it is done.
    error : str
        Why there is none; empty while it runs and where there is one.
    """

    running: bool = True
    title: str = "Starting"
    what: str = ""
    fraction: float = 0.0
    left: float | None = None
    said: tuple[str, ...] = ()
    result: dict[str, Any] | None = None
    error: str = ""


@dataclass(slots=True)
class _Heard:
    title: str = "Starting"
    what: str = ""
    fraction: float = 0.0
    left: float | None = None
    said: list[str] = field(default_factory=list)
    last_output: str = ""


class Job:
    """Runs ``mldsim COMMAND ... --json`` and listens to it.

    Parameters
    ----------
    arguments : sequence of str
        Command and options, without ``--json``.
    program : sequence of str, optional
        Called in the place of this Python's mldsim.
    """

    def __init__(self, arguments: Sequence[str], *, program: Sequence[str] = (sys.executable, "-m", "mldsim")) -> None:
        self._heard = _Heard()
        self._cancelled = False
        self._process = subprocess.Popen(
            [*program, *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, FOR_PROGRAMS: "json", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",
        )
        if os.name == "posix":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=listen, args=(stream,), name="mldsim-job", daemon=True)
            for listen, stream in ((self._take_output, self._process.stdout), (self._take_told, self._process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def status(self) -> JobStatus:
        """Where it stands now; never waits."""
        heard = self._heard
        running = self._process.poll() is None or any(thread.is_alive() for thread in self._threads)
        result, error = None, ""
        if not running:
            result, error = self._ended()
        return JobStatus(
            running, heard.title, heard.what, heard.fraction, heard.left, tuple(heard.said), result, error
        )  # fmt: skip

    def cancel(self) -> None:
        """Ask it to end; returns at once."""
        self._cancelled = True
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGINT)
            else:
                self._process.terminate()

    def close(self) -> None:
        """End it, with force where it does not listen; safe to call twice."""
        if self._process.poll() is None:
            self.cancel()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                if os.name == "posix":
                    with suppress(OSError):
                        os.killpg(self._process.pid, signal.SIGKILL)
                self._process.kill()
                self._process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait(self, timeout: float) -> JobStatus:
        """Wait for its end, at most so many seconds."""
        end = time.monotonic() + timeout
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return self.status()

    # --- inside ---

    def _ended(self) -> tuple[dict[str, Any] | None, str]:
        if self._cancelled:
            return None, "Cancelled."
        if self._process.returncode == 0:
            with suppress(ValueError):
                found = json.loads(self._heard.last_output)
                if isinstance(found, dict):
                    return found, ""
        said = self._heard.said
        if said and said[-1].startswith("mldsim: "):
            return None, said[-1].removeprefix("mldsim: ")
        return None, f"The process ended without a result (exit code {self._process.returncode})."

    def _take_output(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if line.startswith("{"):
                    self._heard.last_output = line
                elif line.strip():
                    self._heard.said.append(line.strip())

    def _take_told(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if not self._take_step(line) and line.strip():
                    self._heard.said.append(line.strip())

    def _take_step(self, line: str) -> bool:
        if not line.startswith("{"):
            return False
        try:
            step = json.loads(line)
            title, what, left = str(step["title"]), str(step["what"]), step["left_s"]
            fraction = min(max(float(step["fraction"]), 0.0), 1.0)
        except (ValueError, KeyError, TypeError):
            return False
        heard = self._heard
        heard.title, heard.what, heard.fraction = title, what, fraction
        heard.left = float(left) if isinstance(left, int | float) else None
        return True
