"""What a running simulation shows: frames, thermo rows, and the two places where readers find them.

The simulation never waits for a reader and a reader never waits for the simulation: frames go into a mailbox that
keeps only the newest, thermo rows into a table that keeps a bounded number of them, and frames at even intervals, for
averages, into a queue that says so when it was full.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

THERMO_COLUMNS: dict[str, tuple[str, str]] = {
    "time": ("Time", "fs"),
    "temperature": ("Temperature", "K"),
    "target": ("Target temperature", "K"),
    "kinetic": ("Kinetic energy", "eV"),
    "loss": ("Total loss", "eV"),
    "total": ("Kinetic energy + loss", "eV"),
    "conserved": ("Conserved quantity", "eV"),
    "heat": ("Heat given by the thermostat", "eV"),
    "nonreciprocal_power": ("Power of the non-reciprocal forces", "eV/fs"),
    "oxygen_loss": ("Mean loss of oxygen", "eV"),
    "hydrogen_loss": ("Mean loss of hydrogen", "eV"),
}
"""Every column of the thermo table: its label and unit. `conserved` is NaN where no conserved quantity exists (own
scope), `nonreciprocal_power` is zero where forces are reciprocal (shared scope), a mean loss is NaN where there is no
agent of the species."""


@dataclass(frozen=True, slots=True)
class ThermoRow:
    """Instantaneous observables; one field per entry of `THERMO_COLUMNS`."""

    time: float
    temperature: float
    target: float
    kinetic: float
    loss: float
    total: float
    conserved: float
    heat: float
    nonreciprocal_power: float
    oxygen_loss: float = math.nan
    hydrogen_loss: float = math.nan


@dataclass(frozen=True, slots=True)
class Pull:
    """A molecule that is pulled by a spring.

    Attributes
    ----------
    agent : int
        The agent that was grabbed.
    target : (3,) float64, angstrom
        Where the centre of mass of its molecule is pulled to, unwrapped.
    force : (3,) float64, eV/angstrom
        On the molecule as a whole.
    """

    agent: int
    target: NDArray[np.float64]
    force: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beside:
    """The frame of a simulation that runs beside this one, and the name of its model."""

    name: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Frame:
    """A snapshot for views and files. The arrays are copies that nobody changes any more.

    Attributes
    ----------
    step, time : int, float (fs)
    box : (3,) float64, angstrom
    positions : (n_agents, 3) float64, angstrom, unwrapped
    velocities : (n_agents, 3) float64, angstrom/fs
    forces : (n_agents, 3) float64, eV/angstrom
    losses : (n_agents,) float64, eV
    thermo : ThermoRow
    doubts : (n_agents,) float64, eV/angstrom, or None
        Of the frame that was judged last, when doubt is watched.
    pull : Pull or None
        The force from outside, which is not among `forces`.
    beside : Beside or None
        Of two simulations from one start, the other.
    """

    step: int
    time: float
    box: NDArray[np.float64]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    forces: NDArray[np.float64]
    losses: NDArray[np.float64]
    thermo: ThermoRow
    doubts: NDArray[np.float64] | None = None
    pull: Pull | None = None
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """What does not change from frame to frame.

    Attributes
    ----------
    symbols : tuple of str
        Species of the model, in its order.
    species : (n_agents,) int32, index into `symbols`
    masses : (n_agents,) float64, amu
    bonds : (n_bonds, 2) int32
    """

    symbols: tuple[str, ...]
    species: NDArray[np.int32]
    masses: NDArray[np.float64]
    bonds: NDArray[np.int32]

    @property
    def n_agents(self) -> int:
        return len(self.species)


class Mailbox:
    """Keeps the newest frame only; a slow reader misses frames, never delays them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frame: Frame | None = None

    def put(self, frame: Frame) -> None:
        with self._lock:
            self._frame = frame

    def take(self) -> Frame | None:
        """The newest frame that was not taken yet, or None."""
        with self._lock:
            frame, self._frame = self._frame, None
        return frame


@dataclass(frozen=True, slots=True, eq=False)
class SampleSeries:
    """What samples have in common that may be averaged together; anything else is another series.

    Attributes
    ----------
    topology : Topology
    interval : float, fs
        Between two samples.
    target : float, K
        NaN where a schedule moves it.
    thermostatted : bool
    """

    topology: Topology
    interval: float
    target: float
    thermostatted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A frame of a series; `follows` when it is one interval after the sample before."""

    series: SampleSeries
    frame: Frame
    follows: bool


class Samples:
    """Frames at even intervals, for whoever averages over them; nothing is kept until somebody wants it.

    Parameters
    ----------
    capacity : int
        Bytes of frames that wait at most. When they are not taken in time further ones are lost, and the next one does
        not follow.
    """

    def __init__(self, capacity: int = 48_000_000) -> None:
        self._capacity = capacity
        self._samples: deque[Sample] = deque()
        self._came = threading.Condition()
        self._bytes = 0
        self._broken = True
        self._lost = 0
        self.wanted = False

    @property
    def lost(self) -> int:
        """Frames that were not taken in time."""
        return self._lost

    def break_off(self) -> None:
        """The next frame does not follow the last."""
        self._broken = True

    def put(self, series: SampleSeries, frame: Frame) -> None:
        """Give the next frame, one interval after the last unless `break_off` was called."""
        size = _bytes(frame)
        with self._came:
            if self._samples and self._bytes + size > self._capacity:
                self._lost += 1
                self._broken = True
                return
            self._samples.append(Sample(series, frame, not self._broken))
            self._bytes += size
            self._broken = False
            self._came.notify()

    def take(self, timeout: float) -> Sample | None:
        """The oldest sample; waits up to `timeout` seconds for one."""
        with self._came:
            if not self._samples:
                self._came.wait(timeout)
            if not self._samples:
                return None
            sample = self._samples.popleft()
            self._bytes -= _bytes(sample.frame)
            return sample


def _bytes(frame: Frame) -> int:
    return frame.positions.nbytes + frame.velocities.nbytes + frame.forces.nbytes + frame.losses.nbytes


@dataclass
class ThermoTable:
    """A table of thermo rows in bounded memory.

    When it is full, every second row of the older half is dropped, so that a long run keeps its whole length at a
    coarser grain and its recent past in full.
    """

    capacity: int = 20_000
    _columns: NDArray[np.float64] = field(init=False)
    _count: int = field(default=0, init=False)
    _version: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._columns = np.empty((len(THERMO_COLUMNS), self.capacity))

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[np.float64]]) -> ThermoTable:
        """A table that is full: all columns by name, each (n_rows,) float64."""
        table = cls(max(len(columns["time"]), 1))
        table._count = len(columns["time"])
        table._columns[:, : table._count] = [columns[name] for name in THERMO_COLUMNS]
        table._version = 1
        return table

    def append(self, row: ThermoRow) -> None:
        with self._lock:
            if self._count == self.capacity:
                half = self.capacity // 2
                kept = np.concatenate([self._columns[:, :half:2], self._columns[:, half:]], axis=1)
                self._count = kept.shape[1]
                self._columns[:, : self._count] = kept
            self._columns[:, self._count] = [getattr(row, name) for name in THERMO_COLUMNS]
            self._count += 1
            self._version += 1

    def restore(self, columns: Mapping[str, NDArray[np.float64]], before: float) -> None:
        """Take rows of an earlier table of `columns`, up to a time, fs, in the place of what is there."""
        count = int(np.searchsorted(columns["time"], before)) if columns else 0
        with self._lock:
            rows = [columns[name][max(0, count - self.capacity // 2) : count] for name in THERMO_COLUMNS if columns]
            self._count = len(rows[0]) if rows else 0
            if rows:
                self._columns[:, : self._count] = rows
            self._version += 1

    def forget_after(self, time: float) -> None:
        """The run goes on from `time`, fs, where it was before."""
        with self._lock:
            self._count = int(np.searchsorted(self._columns[0, : self._count], time, side="right"))
            self._version += 1

    def clear(self) -> None:
        with self._lock:
            self._count = 0
            self._version += 1

    @property
    def version(self) -> int:
        """Changes whenever the table changes: a plot that saw this version need not be drawn again."""
        return self._version

    @property
    def latest(self) -> float:
        """Time of the last row, fs; NaN where there is none."""
        with self._lock:
            return float(self._columns[0, self._count - 1]) if self._count else math.nan

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """A copy of all columns by name, each (n_rows,) float64, in the units of `THERMO_COLUMNS`."""
        with self._lock:
            columns = self._columns[:, : self._count].copy()
        return dict(zip(THERMO_COLUMNS, columns, strict=True))
