"""One CP2K process that computes frame after frame, spoken to through CP2K's shell (``cp2k --shell``).

The shell takes commands on standard input and answers ``* READY``; ASE uses the same interface. It takes positions in
full precision and tells the result of a frame as soon as it is there. The other way, an MD of the kind REFTRAJ, rounds
positions, and the names of its keywords differ between versions of CP2K.

What was met on the way (CP2K 2023.1, Open MPI 4):

* Waiting OpenMP threads that spin made one GFN1-xTB frame last 35 s instead of 0.5 s on a machine with other work:
  they are told to sleep.
* Open MPI starts a daemon for a program that runs by itself, and the daemon outlives a killed CP2K: it is told not to.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.errors import WorkFailed

PROGRAMS = ("cp2k.psmp", "cp2k.ssmp", "cp2k.popt", "cp2k")
"""What CP2K is called, in the order in which it is looked for."""

FORCE = units.HARTREE / units.BOHR
"""One hartree/bohr in eV/angstrom."""

_INSTALL = "install it (Debian: apt-get install cp2k) or name the program with --cp2k"

# Ends the program with the process that started it, even when that is killed: prctl(PR_SET_PDEATHSIG, SIGKILL) before
# the program takes the place of this Python. In between the starter may have died already.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Cp2kFailed(WorkFailed):
    """CP2K ended or refused; the text is its own message, without a full stop."""


class NotConverged(Cp2kFailed):
    """CP2K ended because a wave function did not converge, as newer versions do; older ones warn and go on."""


_NOT_CONVERGED = "SCF run NOT converged"


def find_program(given: str | Path | None = None) -> Path:
    """Where CP2K is.

    Parameters
    ----------
    given : path, optional
        The program, or its name on PATH.

    Raises
    ------
    WorkFailed
        When it is not there; says how to install it.
    """
    if given is not None:
        found = shutil.which(str(given))
        if found is None:
            raise WorkFailed(f"{given} is not a program that can be run; give the path of CP2K's program to --cp2k.")
        return Path(found).absolute()
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return Path(found).absolute()
    raise WorkFailed(f"CP2K is not installed: none of {', '.join(PROGRAMS)} is on the PATH; {_INSTALL}.")


def find_data(program: Path, given: str | Path | None = None) -> Path:
    """CP2K's data folder: the one given, that of CP2K_DATA_DIR, or the one installed with the program.

    Raises
    ------
    WorkFailed
        When there is none.
    """
    for folder, told in ((given, "--cp2k-data"), (os.environ.get("CP2K_DATA_DIR") or None, "CP2K_DATA_DIR")):
        if folder is not None:
            if not Path(folder).is_dir():
                raise WorkFailed(f"{told} names the folder {folder}, which does not exist; give CP2K's data folder.")
            return Path(folder).absolute()
    prefix = program.resolve().parent.parent
    for candidate in (prefix / "share" / "cp2k", prefix / "share" / "cp2k" / "data", prefix.parent / "data"):
        for folder in (candidate / "data", candidate):
            if (folder / "GTH_POTENTIALS").is_file():
                return folder
    raise WorkFailed(
        f"CP2K's data folder was not found beside {program}: name it with CP2K_DATA_DIR or --cp2k-data "
        "(Debian: apt-get install cp2k brings it)."
    )


def version_of(program: Path) -> str:
    """What the program says it is, such as ``CP2K version 2023.1``.

    Raises
    ------
    WorkFailed
        When it cannot be run or is not CP2K.
    """
    try:
        answer = subprocess.run(
            [str(program), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(1, None),
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkFailed(f"{program} --version cannot be run ({error}); {_INSTALL}.") from None
    found = re.search(r"CP2K version[^\n]*", answer.stdout)
    if found is None:
        raise WorkFailed(f"{program} does not say that it is CP2K (--version); {_INSTALL}.")
    return found[0].strip()


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _environment(threads: int | None, data: Path | None) -> dict[str, str]:
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("OMPI_MCA_ess_singleton_isolated", "1")
    if data is not None:
        environment["CP2K_DATA_DIR"] = str(data)
    return environment


class Cp2kShell:
    """A running CP2K. A context manager: the process is gone when the block is left, however it is left.

    Parameters
    ----------
    program, data : Path
        CP2K and its data folder.
    folder : Path
        Where its input and output lie; it is not removed.
    threads : int or None
        Of OpenMP; None leaves it to OMP_NUM_THREADS.
    """

    def __init__(self, program: Path, data: Path, folder: Path, threads: int | None) -> None:
        self._folder = folder
        self._output = folder / "cp2k.out"
        self._read_to = 0
        self._said: list[str] = []
        command = [str(program), "--shell"]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        with (folder / "cp2k.err").open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=_environment(threads, data),
                start_new_session=True,  # Ctrl-C is for us: we end CP2K when our own files are in order
            )
        try:
            self._answer()
            self._ask("UNITS_AU")
        except BaseException:
            self.kill()
            raise
        self._loaded = False

    def load(self, text: str) -> None:
        """Read an input file; the frames that follow have its atoms and its box.

        Raises
        ------
        Cp2kFailed
        """
        if self._loaded:
            self._ask("DESTROY")
        self._loaded = False
        self._output.unlink(missing_ok=True)
        self._read_to = 0
        (self._folder / "cp2k.inp").write_text(text, encoding="utf-8")
        answer = self._ask(f"LOAD cp2k.inp {self._output.name}")
        if not answer or not answer[-1].strip().isdecimal():
            raise Cp2kFailed(self._message(f"CP2K did not take its input: {' '.join(answer).strip()}"))
        self._loaded = True

    def evaluate(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]] | None:
        """Energy and forces of one frame, or None when its wave function did not converge and CP2K goes on.

        Parameters
        ----------
        positions : (n_agents, 3) float64, angstrom

        Returns
        -------
        energy : float, eV
        forces : (n_agents, 3) float64, eV/angstrom

        Raises
        ------
        NotConverged
            When CP2K ended over it; a new process is needed for the next frame.
        Cp2kFailed
        """
        numbers = "\n".join(f"{value:.15e}" for value in (positions / units.BOHR).ravel())
        self._ask(f"SET_POS\n{positions.size}\n{numbers}\n*END")
        self._ask("EVAL_EF")
        if _NOT_CONVERGED in self._news():
            return None
        try:
            energy = float(self._ask("GET_E")[-1])
            count, *values = " ".join(self._ask("GET_F")).removesuffix("* END").split()
            forces = np.array(values, dtype=np.float64)
            if int(count) != positions.size or forces.size != positions.size:
                raise ValueError
        except (ValueError, IndexError):
            raise Cp2kFailed("CP2K answered with something that is not an energy and forces") from None
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise Cp2kFailed("CP2K found an energy or a force that is not a finite number")
        return energy * units.HARTREE, forces.reshape(positions.shape) * FORCE

    def kill(self) -> None:
        """End the process now. What it computed is with us already."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # a command that was never read
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def _ask(self, command: str) -> list[str]:
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone; its last words are read below
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> list[str]:
        """Lines up to ``* READY``."""
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            if line.strip() == "* READY":
                error = next((text for text in lines if text.strip().startswith("* ERROR")), None)
                if error is not None:
                    raise Cp2kFailed(self._message(error.strip(" *\n")))
                return lines
            lines.append(line.rstrip("\n"))
        self._said = lines
        code = self._process.wait()
        ended = f"was ended by signal {-code}, as for want of memory" if code < 0 else f"ended with exit code {code}"
        message = self._message(f"CP2K {ended} and left no message")
        raise (NotConverged if _NOT_CONVERGED in message else Cp2kFailed)(message)

    def _news(self) -> str:
        """What was written into the output file since the last look."""
        try:
            with self._output.open(encoding="utf-8", errors="replace") as file:
                file.seek(self._read_to)
                text = file.read()
                self._read_to = file.tell()
        except OSError:
            return ""
        return text

    def _message(self, otherwise: str) -> str:
        """CP2K's own message, from its output file or from what it said."""
        found = abort_message(self._news()) or abort_message("\n".join(self._said))
        return f"CP2K says: {found}" if found else otherwise.rstrip(". ")


_ART_WIDTH = 9
"""Columns of the man who pulls the lever; the message stands beside him."""


def abort_message(output: str) -> str:
    """The text in CP2K's box that is marked [ABORT], and where in CP2K it was raised; empty when there is none."""
    lines = output.splitlines()
    marks = [number for number, line in enumerate(lines) if "[ABORT]" in line]
    if not marks:
        return ""
    first = last = marks[-1]
    while first > 0 and not _is_rule(lines[first]):
        first -= 1
    while last < len(lines) and not _is_rule(lines[last]):
        last += 1
    inside = [line.strip()[1:-1] for line in lines[first + 1 : last] if line.strip().startswith("*")]
    words = " ".join(line[_ART_WIDTH:].strip() for line in inside).split()
    where = f" ({words.pop()})" if words and re.fullmatch(r"\S+\.F:\d+", words[-1]) else ""
    return " ".join(words).rstrip(".") + where


def _is_rule(line: str) -> bool:
    return re.fullmatch(r"\*{20,}", line.strip()) is not None
