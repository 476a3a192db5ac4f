"""Trajectories as something to watch: frames by number, whatever they are kept in, ready to be shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.frames import THERMO_COLUMNS, Frame, Topology
from mldsim.molecules import find_bonds, made_whole
from mldsim.progress import Report, unheard
from mldsim.recognise import FileKind, is_hdf5, kind_of
from mldsim.trajectory.extxyz_reader import read_extxyz
from mldsim.trajectory.h5md import read_h5md
from mldsim.trajectory.history import frame_bytes

Array = NDArray[np.float64]

CACHE_BYTES = 64_000_000
"""Of frames that were read and may be asked for again; at least two are kept."""

_NOMINAL = 1.0
"""fs between two frames of a file that tells no times."""


class FrameSource(Protocol):
    """Frames by number: `Trajectory` (H5MD), `ExtxyzTrajectory`, `Remembered`."""

    @property
    def topology(self) -> Topology: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def times(self) -> Array:
        """(n_frames,) float64, fs; NaN where nothing is known."""
        ...

    @property
    def unwrapped(self) -> bool:
        """Whether positions go on where an agent crosses the edge of the box."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is amiss but can be read."""
        ...

    def frame(self, index: int, /) -> Frame:
        """A frame; raises InputError when it is damaged."""
        ...

    def thermo(self) -> dict[str, Array]:
        """Columns of `THERMO_COLUMNS` as far as they are known, each (n_frames,) float64."""
        ...

    def again(self) -> FrameSource:
        """The same frames, for another thread."""
        ...

    def close(self) -> None: ...


class Remembered:
    """Frames in memory.

    Parameters
    ----------
    topology : Topology
    frames : sequence of Frame
        At least one.
    """

    unwrapped = True
    notes: tuple[str, ...] = ()

    def __init__(self, topology: Topology, frames: Sequence[Frame]) -> None:
        self.topology = topology
        self._frames = frames
        self.times = np.array([frame.time for frame in frames])

    @property
    def n_frames(self) -> int:
        return len(self._frames)

    def frame(self, index: int) -> Frame:
        return self._frames[index]

    def thermo(self) -> dict[str, Array]:
        return {name: np.array([getattr(frame.thermo, name) for frame in self._frames]) for name in THERMO_COLUMNS}

    def again(self) -> Remembered:
        return self

    def close(self) -> None:
        """Nothing is open."""


class Footage:
    """Frames of a source as views want them: with bonds, molecules whole, species in the model's order, times in order.

    Parameters
    ----------
    source : FrameSource
        Belongs to the footage from now on, which closes it.
    order : sequence of str
        Species of the model that is to be compared with, in its order.

    Attributes
    ----------
    topology : Topology
    times : (n_frames,) float64, fs
        Never falling. Frame numbers times 1 fs where the source tells none.
    timed : bool
        Whether the times are the source's.
    notes : tuple of str

    Raises
    ------
    InputError
        If the source holds no frame, or the first cannot be read.
    """

    def __init__(self, source: FrameSource, order: Sequence[str] = ()) -> None:
        if source.n_frames < 1:
            raise InputError("The trajectory holds no frame.")
        self._source = source
        self._order = order
        first = source.frame(0)
        self.topology = _reordered(source.topology, order)
        self._mend = not source.unwrapped
        if not len(self.topology.bonds):
            self.topology = replace(self.topology, bonds=_bonds(self.topology, first))
        times = source.times
        self.timed = bool(np.isfinite(times).all() and (np.diff(times) >= 0.0).all() and np.ptp(times) > 0.0)
        self.timed = self.timed or (source.n_frames == 1 and bool(np.isfinite(times).all()))
        self.times = times if self.timed else _NOMINAL * np.arange(source.n_frames)
        self.notes = source.notes
        if not self.timed:
            self.notes += ("The file tells no rising times, so its frames are counted as 1 fs apart.",)
        self._cache: OrderedDict[int, Frame] = OrderedDict()
        self._most = max(2, CACHE_BYTES // max(frame_bytes(first), 1))

    @property
    def n_frames(self) -> int:
        return self._source.n_frames

    @property
    def unwrapped(self) -> bool:
        """Whether displacements over several frames mean something."""
        return self._source.unwrapped

    @property
    def interval(self) -> float:
        """Time between two frames, fs; the median."""
        return float(np.median(np.diff(self.times))) if self.n_frames > 1 else _NOMINAL

    def at(self, time: float) -> int:
        """The last frame that is not later than a time, fs."""
        return int(np.clip(np.searchsorted(self.times, time, side="right") - 1, 0, self.n_frames - 1))

    def frame(self, index: int) -> Frame:
        """A frame; raises InputError when it is damaged."""
        known = self._cache.get(index)
        if known is not None:
            self._cache.move_to_end(index)
            return known
        frame = self._source.frame(index)
        time = float(self.times[index])
        if time != frame.time:
            frame = replace(frame, time=time, thermo=replace(frame.thermo, time=time))
        if self._mend:
            frame = replace(frame, positions=made_whole(frame.positions, frame.box, self.topology.bonds))
        self._cache[index] = frame
        while len(self._cache) > self._most:
            self._cache.popitem(last=False)
        return frame

    def thermo(self) -> dict[str, Array]:
        """All columns of `THERMO_COLUMNS`, each (n_frames,) float64; NaN where nothing is known."""
        unknown = np.full(self.n_frames, np.nan)
        return dict.fromkeys(THERMO_COLUMNS, unknown) | self._source.thermo() | {"time": self.times}

    def again(self) -> Footage:
        """The same frames, for another thread."""
        return Footage(self._source.again(), self._order)

    def close(self) -> None:
        self._source.close()


def _reordered(topology: Topology, order: Sequence[str]) -> Topology:
    """The same agents with their species in another order, where that order names them all."""
    if not set(topology.symbols) <= set(order):
        return topology
    index = np.array([order.index(symbol) for symbol in topology.symbols], np.int32)
    return replace(topology, symbols=tuple(order), species=index[topology.species])


def _bonds(topology: Topology, first: Frame) -> NDArray[np.int32]:
    symbols = [topology.symbols[kind] for kind in topology.species]
    try:
        return find_bonds(symbols, first.positions, first.box)
    except InputError:  # a box too small to tell
        return np.empty((0, 2), np.int32)


def open_trajectory(path: Path, order: Sequence[str] = (), report: Report = unheard) -> Footage:
    """Open a trajectory file to watch it: H5MD or extended XYZ.

    Parameters
    ----------
    path : Path
    order : sequence of str
        As for `Footage`.
    report : callable
        Told how much of a long text file was walked through.

    Raises
    ------
    InputError
        If there is no such file, or it is no trajectory that can be read.
    """
    kind = kind_of(path)
    if kind is not FileKind.TRAJECTORY and (kind is not FileKind.STRUCTURE or is_hdf5(path)):
        raise InputError(f"{path} is not a trajectory but {kind.value}.")
    source: FrameSource = read_h5md(path) if is_hdf5(path) else read_extxyz(path, report)
    try:
        return Footage(source, order)
    except InputError as error:
        source.close()
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
