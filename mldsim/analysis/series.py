"""Frames of one system in time, from whatever file holds them, as the analyses take them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.loss import LossModel
from mldsim.molecules import find_bonds
from mldsim.readers import load_frames
from mldsim.species import symbol_of
from mldsim.trajectory.h5md import Trajectory, read_h5md

Array = NDArray[np.float64]

EVEN = 1e-3
"""Intervals between frames that differ by less than this fraction are one interval."""


class Series(Protocol):
    """Frames of one system, read one at a time."""

    @property
    def source(self) -> str:
        """The file, as messages call it."""
        ...

    @property
    def topology(self) -> Topology:
        """In the species of the model."""
        ...

    @property
    def interval(self) -> float | None:
        """Between two frames, fs; None where they are not evenly spaced, or nobody says how."""
        ...

    @property
    def has_velocities(self) -> bool: ...

    @property
    def moving(self) -> Sequence[Series]:
        """Where velocities follow each other most closely: itself where its frames have them, or stretches of frames
        that may lack positions; empty where there are none."""
        ...

    @property
    def provenance(self) -> Mapping[str, str]:
        """Method, theory, ensemble and whatever the file told."""
        ...

    def __len__(self) -> int: ...

    def frame(self, index: int) -> Frame:
        """One frame; what is not known of it is NaN."""
        ...


@dataclass(frozen=True)
class ArraySeries:
    """A `Series` that is held in memory: positions (n_frames, n_agents, 3), boxes (n_frames, 3), velocities or None.

    `stretches` are velocities that were kept more often than positions, each a series without gaps.
    """

    source: str
    topology: Topology
    interval: float | None
    provenance: Mapping[str, str]
    positions: Array
    boxes: Array
    velocities: Array | None
    stretches: Sequence[ArraySeries] = ()

    @property
    def has_velocities(self) -> bool:
        return self.velocities is not None

    @property
    def moving(self) -> Sequence[Series]:
        return self.stretches or ((self,) if self.has_velocities else ())

    def __len__(self) -> int:
        return len(self.positions)

    def frame(self, index: int) -> Frame:
        """One frame, without forces and losses."""
        positions = np.asarray(self.positions[index], np.float64)
        unknown = np.full(positions.shape, np.nan)
        velocities = unknown if self.velocities is None else np.asarray(self.velocities[index], np.float64)
        time = index * (self.interval or 1.0)
        thermo = ThermoRow(time, *[float("nan")] * 8)
        return Frame(index, time, self.boxes[index], positions, velocities, unknown, unknown[:, 0], thermo)


@dataclass(frozen=True)
class TrajectorySeries:
    """A `Series` in an H5MD file that is open.

    Agents are the model's species, whatever order the file has them in.
    """

    source: str
    topology: Topology
    interval: float | None
    provenance: Mapping[str, str]
    has_velocities: bool
    trajectory: Trajectory
    first: int

    @property
    def moving(self) -> Sequence[Series]:
        return (self,) if self.has_velocities else ()

    def __len__(self) -> int:
        return len(self.trajectory) - self.first

    def frame(self, index: int) -> Frame:
        return self.trajectory.frame(self.first + index)


def open_trajectory(path: Path, model: LossModel, files: ExitStack, *, skip: float = 0.0) -> TrajectorySeries:
    """A run in an H5MD file, without its first `skip` fs; the file is closed with `files`.

    Raises
    ------
    InputError
        If it cannot be read, has no frame after `skip`, or holds a species that the model does not know.
    """
    trajectory = files.enter_context(read_h5md(path))
    told = trajectory.topology
    symbols = [told.symbols[kind] for kind in told.species]
    times = trajectory.times
    first = int(np.searchsorted(times - times[0], skip - 1e-6)) if skip > 0.0 and len(times) else 0
    if first >= len(trajectory):
        raise InputError(f"{path} holds no frame after the first {units.format_time(skip)}.")
    one = trajectory.frame(first)
    bonds = told.bonds if len(told.bonds) else find_bonds(symbols, one.positions, one.box)
    return TrajectorySeries(
        str(path),
        _topology(str(path), symbols, bonds, model),
        _interval(times[first:]),
        _texts(trajectory.metadata),
        bool(np.isfinite(one.velocities).all()),
        trajectory,
        first,
    )


def open_reference(
    paths: Sequence[Path], model: LossModel, files: ExitStack
) -> tuple[Series | None, list[LabelledFrames]]:
    """What there is to compare with in some files: the longest series of frames, and all labelled frames.

    A file may be a data set or any other source of labelled frames, an H5MD trajectory, or HDF5 with positions, box and
    atomic_numbers, with or without time and velocities, but without forces. There, velocities may have times of their
    own, velocity_time.

    Raises
    ------
    InputError
        If a file cannot be read or holds a species that the model does not know.
    """
    series: list[Series] = []
    labelled: list[LabelledFrames] = []
    for path in paths:
        kind = _kind(path)
        if kind == "h5md":
            series.append(open_trajectory(path, model, files))
        elif kind == "positions":
            series.append(_read_positions(path, model))
        else:
            systems = load_frames(path)
            labelled += systems
            series += [_of_labelled(system, model) for system in systems if system.n_frames > 1]
    return max(series, key=len, default=None), labelled


def _kind(path: Path) -> str:
    if not path.is_file() or not h5py.is_hdf5(path):
        return "labelled"
    try:
        with h5py.File(path, "r") as file:
            if "h5md" in file:
                return "h5md"
            return "positions" if "positions" in file and "forces" not in file else "labelled"
    except OSError:
        return "h5md"  # left open by a killed writer; the reader of trajectories mends it


def _topology(source: str, names: Sequence[str], bonds: NDArray[np.int32], model: LossModel) -> Topology:
    unknown = sorted(set(names) - set(model.symbols))
    if unknown:
        raise InputError(
            f"{source} holds {', '.join(unknown)}, but the model '{model.name}' knows only {', '.join(model.symbols)}."
        )
    species = np.array([model.symbols.index(name) for name in names], np.int32)
    return Topology(model.symbols, species, model.masses[species], bonds)


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {str(key): value if isinstance(value, str) else str(value) for key, value in values.items()}


def _interval(times: Array) -> float | None:
    """The time between two frames, or None where it is not always the same."""
    if len(times) < 2 or not np.isfinite(times).all():
        return None
    gaps = np.diff(times)
    mean = float(gaps.mean())
    return mean if mean > 0.0 and np.abs(gaps - mean).max() <= EVEN * mean else None


def _first_number(text: str) -> float | None:
    found = re.match(r"\s*(\d+(?:\.\d+)?)", text)
    return float(found[1]) if found else None


def stated_temperature(provenance: Mapping[str, str]) -> float | None:
    """The temperature that a file says it was made at, K."""
    for key in ("temperature", "temperature_K", "ensemble"):
        found = re.search(r"(\d+(?:\.\d+)?)\s*K\b", provenance.get(key, ""))
        if found:
            return float(found[1])
    return None


def measured_temperature(series: Series) -> float | None:
    """From the velocities of about 100 frames, K; without velocities None."""
    if not series.moving:
        return None
    freedoms = 3 * series.topology.n_agents - 3
    masses = series.topology.masses
    kinetic = []
    for part in series.moving:
        for index in np.unique(np.linspace(0, len(part) - 1, math.ceil(100 / len(series.moving))).astype(int)):
            velocities = part.frame(int(index)).velocities
            kinetic.append(0.5 * units.MASS * float(np.einsum("i,ij,ij->", masses, velocities, velocities)))
    return 2.0 * float(np.mean(kinetic)) / (units.BOLTZMANN * freedoms)


def _of_labelled(system: LabelledFrames, model: LossModel) -> ArraySeries:
    told = system.provenance
    timestep = _first_number(told.get("timestep_fs", told.get("timestep", "")))
    interval = None
    if system.steps is not None and timestep is not None:
        interval = _interval(timestep * system.steps.astype(np.float64))
    bonds = find_bonds(system.symbols, system.positions[0], system.boxes[0])
    topology = _topology(system.source, system.symbols, bonds, model)
    return ArraySeries(
        f"{system.source}{' ' + told['name'] if 'name' in told else ''}",
        topology,
        interval,
        told,
        system.positions,
        system.boxes,
        system.velocities,
    )


def _read_positions(path: Path, model: LossModel) -> ArraySeries:
    """HDF5 with positions but without forces, in angstrom, fs and angstrom/fs."""
    with h5py.File(path, "r") as file:

        def numbers(name: str) -> NDArray[np.float64] | None:
            dataset = file.get(name)
            if dataset is None:
                return None
            if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
                raise InputError(f"{path}: '{name}' does not hold numbers.")
            values = np.asarray(dataset[()], np.float64)
            if not np.isfinite(values).all():
                raise InputError(f"{path}: '{name}' holds a value that is not a finite number.")
            return values

        positions, kinds, box, time, velocities, velocity_time = (
            numbers(name) for name in ("positions", "atomic_numbers", "box", "time", "velocities", "velocity_time")
        )
        provenance = {str(k): v.decode() if isinstance(v, bytes) else str(v) for k, v in file.attrs.items()}
    if positions is None or kinds is None or box is None:
        raise InputError(f"{path}: positions need 'atomic_numbers' and 'box' beside them.")
    if positions.ndim != 3 or positions.shape[1:] != (len(kinds), 3) or not len(positions):
        raise InputError(
            f"{path}: positions have the shape {positions.shape}; (frames, {len(kinds)}, 3) is needed for its agents."
        )
    n_frames = len(positions)
    boxes = np.broadcast_to(box, (n_frames, 3)) if box.shape in ((3,), (n_frames, 3)) else None
    if boxes is None or not (boxes > 0.0).all():
        raise InputError(f"{path}: 'box' must hold three positive edges, or three for each frame.")
    n_fast = n_frames if velocity_time is None else len(velocity_time)
    for name, values, shape in (
        ("time", time, (n_frames,)),
        ("velocity_time", velocity_time, (n_fast,)),
        ("velocities", velocities, (n_fast, *positions.shape[1:])),
    ):
        if values is not None and values.shape != shape:
            raise InputError(f"{path}: '{name}' has the shape {values.shape}; {shape} is needed.")
    names = [symbol_of(int(kind)) for kind in kinds]
    topology = _topology(str(path), names, find_bonds(names, positions[0], boxes[0]), model)
    interval = None if time is None else _interval(time)
    stretches: list[ArraySeries] = []
    if velocities is not None and velocity_time is not None:
        for part in _without_gaps(velocity_time):
            unknown = np.broadcast_to(np.nan, velocities[part].shape)
            its_boxes = np.broadcast_to(np.nan, (len(unknown), 3))
            its_interval = _interval(velocity_time[part])
            stretches.append(
                ArraySeries(str(path), topology, its_interval, provenance, unknown, its_boxes, velocities[part])
            )
        velocities = None
    return ArraySeries(
        str(path), topology, interval, provenance, positions, np.array(boxes), velocities, tuple(stretches)
    )


def _without_gaps(times: Array) -> list[slice]:
    """Parts of a series of times between which more time passed than the least between two of them."""
    gaps = np.diff(times)
    if not len(gaps) or gaps.min() <= 0.0:
        return [slice(0, len(times))]
    borders = [0, *(np.flatnonzero(gaps > (1.0 + EVEN) * gaps.min()) + 1).tolist(), len(times)]
    return [slice(first, last) for first, last in itertools.pairwise(borders)]


def without_source_folder(series: Series) -> str:
    """The name of its file, for what is given away: the folders of its maker are nobody's business."""
    return Path(series.source).name
