"""Writing H5MD; the layout and its reasons stand in `mldsim.trajectory.h5md`."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import time as clock
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim import __version__, units
from mldsim.errors import InputError, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, Topology
from mldsim.parameters import Precision
from mldsim.species import atomic_number
from mldsim.trajectory.hdf5_file import extended, reason

LIBVER = ("v110", "v110")  # "latest" cannot be read by HDF5 1.10
GROUP = "particles/trajectory"  # MDAnalysis looks for this name when it is given no topology
_CHUNK_BYTES = 256 * 1024
_SCALARS_PER_CHUNK = 1024
_BUFFER_BYTES = 16 * 1024 * 1024
_METADATA_SLACK = 256 * 1024
OBSERVABLES = tuple(name for name in THERMO_COLUMNS if name != "time")


class H5MDWriter:
    """Appends frames to a new H5MD file.

    Parameters
    ----------
    path : Path
        The new file.
    topology : Topology
    box : (3,) float64, angstrom
        At the start; each frame brings its own.
    metadata : mapping, optional
        Anything that JSON can say: setup, parameters, the model's card.
    author : str
    force : bool
        Replace a file that exists.
    precision : Precision
        Of positions, velocities, forces and losses in the file.
    flush_interval : float
        Seconds after which collected frames are appended at the next `write`.

    Raises
    ------
    InputError
        If the file exists and `force` is not set, or cannot be created there.
    """

    def __init__(
        self,
        path: Path | str,
        topology: Topology,
        box: NDArray[np.float64],
        *,
        metadata: Mapping[str, object] | None = None,
        author: str = "N/A",
        force: bool = False,
        precision: Precision = Precision.SINGLE,
        flush_interval: float = 1.0,
    ) -> None:
        self.path = Path(path)
        self._n_agents = topology.n_agents
        self._dtype = np.dtype(precision.value)
        self._flush_interval = flush_interval
        self._frames: list[Frame] = []
        self._last_step: int | None = None
        self._written = 0
        self._closed = False
        self._last_flush = clock.monotonic()
        image = _empty_file(topology, np.asarray(box, dtype=float), metadata or {}, author, self._dtype)
        _create(self.path, image, force)

    @property
    def frames_written(self) -> int:
        """Frames that are in the file; later ones wait in memory for the next flush."""
        return self._written

    def write(self, frame: Frame) -> None:
        """Take a frame; about once per second those collected are appended to the file.

        Raises
        ------
        WorkFailed
            If the disk is full or the file cannot be extended. Frames appended before stay valid.
        ValueError
            If the frame has another number of agents, or its step does not come after the last one's.
        """
        if self._closed:
            raise ValueError("The trajectory file is closed.")
        if frame.positions.shape != (self._n_agents, 3):
            raise ValueError(f"A frame of {len(frame.positions)} agents in a file of {self._n_agents}.")
        if self._last_step is not None and frame.step <= self._last_step:
            raise ValueError(f"Step {frame.step} does not come after step {self._last_step}.")
        self._last_step = frame.step
        self._frames.append(frame)
        full = len(self._frames) * self._frame_bytes >= _BUFFER_BYTES
        if full or clock.monotonic() - self._last_flush >= self._flush_interval:
            self.flush()

    @property
    def _frame_bytes(self) -> int:
        return 10 * self._n_agents * self._dtype.itemsize + 8 * (len(OBSERVABLES) + 5)

    def flush(self) -> None:
        """Append what was collected and leave a file that any HDF5 program can open.

        Raises
        ------
        WorkFailed
            As `write`.
        """
        self._last_flush = clock.monotonic()
        if not self._frames or self._closed:
            return
        columns = _columns(self._frames)
        try:
            with extended(self.path, self._reservation()):
                self._append(columns)
        except OSError as error:
            self._closed = True
            self._frames.clear()
            why = "the disk is full" if error.errno == errno.ENOSPC else reason(error)
            raise WorkFailed(
                f"{self.path} could not be extended ({why}); the {self._written} frames written so far are valid."
            ) from error
        self._written += len(self._frames)
        self._frames.clear()

    def _reservation(self) -> int:
        """Bytes by which the collected frames can make the file grow at most."""
        more = len(self._frames)
        total = _METADATA_SLACK
        for per_frame, count in ((3, 3), (1, 1)):
            frames = _frames_per_chunk(per_frame * self._n_agents * self._dtype.itemsize)
            chunks = -(-(self._written + more) // frames) - -(-self._written // frames)
            total += count * chunks * frames * per_frame * self._n_agents * self._dtype.itemsize
        chunks = -(-(self._written + more) // _SCALARS_PER_CHUNK) - -(-self._written // _SCALARS_PER_CHUNK)
        return total + chunks * _SCALARS_PER_CHUNK * 8 * (len(OBSERVABLES) + 5)

    def _append(self, columns: dict[str, NDArray[Any]]) -> None:
        # Without HDF5's lock, so that a program that has the file open for reading does not end the recording.
        with h5py.File(self.path, "r+", libver=LIBVER, locking=False) as file:
            file.swmr_mode = True
            end = self._written + len(self._frames)
            # Readers count frames by the positions: these come last, when all that belongs to them is in the file.
            for name in columns:
                if name == f"{GROUP}/position/value":
                    file.flush()
                dataset = file[name]
                dataset.resize(end, axis=0)
                dataset[self._written : end] = columns[name]

    def close(self) -> None:
        """Append what is left. Safe to call twice."""
        try:
            self.flush()
        finally:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _columns(frames: list[Frame]) -> dict[str, NDArray[Any]]:
    """What is appended, by dataset, in the order in which it is appended."""
    columns: dict[str, NDArray[Any]] = {
        f"{GROUP}/position/step": np.array([frame.step for frame in frames]),
        f"{GROUP}/position/time": np.array([frame.time for frame in frames]),
        f"{GROUP}/box/edges/value": np.array([frame.box for frame in frames]),
    }
    for name in OBSERVABLES:
        columns[f"observables/{name}/value"] = np.array([getattr(frame.thermo, name) for frame in frames])
    columns[f"{GROUP}/loss/value"] = np.array([frame.losses for frame in frames])
    columns[f"{GROUP}/force/value"] = np.array([frame.forces for frame in frames]) * units.KJ_MOL
    columns[f"{GROUP}/velocity/value"] = np.array([frame.velocities for frame in frames])
    columns[f"{GROUP}/position/value"] = np.array([frame.positions for frame in frames])
    return columns


def _frames_per_chunk(frame_bytes: int) -> int:
    return max(1, -(-_CHUNK_BYTES // max(1, frame_bytes)))


def _empty_file(
    topology: Topology,
    box: NDArray[np.float64],
    metadata: Mapping[str, object],
    author: str,
    dtype: np.dtype[Any],
) -> bytes:
    """A file without frames, made in memory: HDF5 cannot fail on a disk that it does not see."""
    n_agents = topology.n_agents
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=LIBVER) as file:
        h5md = file.create_group("h5md")
        h5md.attrs["version"] = np.array([1, 1], dtype=np.int32)
        h5md.create_group("author").attrs["name"] = np.bytes_(author.encode())
        creator = h5md.create_group("creator")
        creator.attrs["name"] = np.bytes_(b"mldsim")
        creator.attrs["version"] = np.bytes_(__version__.encode())
        h5md.create_group("modules/units").attrs["version"] = np.array([1, 0], dtype=np.int32)

        group = file.create_group(GROUP)
        position = group.create_group("position")
        step, time = (
            position.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(_SCALARS_PER_CHUNK,), dtype=kind)
            for name, kind in (("step", np.int64), ("time", np.float64))
        )
        time.attrs["unit"] = "fs"

        def element(parent: Any, name: str, shape: tuple[int, ...], kind: Any, unit: str) -> None:
            home = parent.require_group(name)
            if "step" not in home:
                home["step"] = step
                home["time"] = time
            bytes_per_frame = int(np.prod(shape)) * np.dtype(kind).itemsize
            frames = _frames_per_chunk(bytes_per_frame) if shape and shape[0] == n_agents else _SCALARS_PER_CHUNK
            values = home.create_dataset(
                "value", shape=(0, *shape), maxshape=(None, *shape), chunks=(frames, *shape), dtype=kind
            )
            values.attrs["unit"] = unit

        box_group = group.create_group("box")
        box_group.attrs["dimension"] = 3
        box_group.attrs["boundary"] = np.array([b"periodic"] * 3)
        element(box_group, "edges", (3,), np.float64, "Angstrom")
        element(group, "position", (n_agents, 3), dtype, "Angstrom")
        element(group, "velocity", (n_agents, 3), dtype, "Angstrom fs-1")
        element(group, "force", (n_agents, 3), dtype, "kJ mol-1 Angstrom-1")
        element(group, "loss", (n_agents,), dtype, "eV")
        numbers = np.array([atomic_number(symbol) for symbol in topology.symbols], dtype=np.int32)
        group["species"] = numbers[topology.species]
        group["id"] = np.arange(n_agents, dtype=np.int32)
        group["mass"] = topology.masses
        group["mass"].attrs["unit"] = "u"

        observables = file.create_group("observables")
        for name in OBSERVABLES:
            element(observables, name, (), np.float64, THERMO_COLUMNS[name][1].replace("/", " ").replace("fs", "fs-1"))

        bonds = file.create_group("connectivity").create_dataset("bonds", data=topology.bonds.reshape(-1, 2))
        bonds.attrs["particles_group"] = group.ref
        own = file.create_group("parameters/mldsim")
        own["symbols"] = list(topology.symbols)
        own["box"] = box
        own["box"].attrs["unit"] = "Angstrom"
        own["metadata"] = json.dumps(metadata, ensure_ascii=False)
    return memory.getvalue()


def _create(path: Path, image: bytes, force: bool) -> None:
    """Put a new file in its place; with `force` an old one is replaced in one move."""
    target = path.with_name(f".{path.name}.{os.getpid()}.tmp") if force else path
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file.")
        with target.open("wb" if force else "xb") as file:
            file.write(image)
        if force:
            target.replace(path)
    except FileExistsError:
        raise InputError(f"{path} exists already; choose another name or allow it to be overwritten.") from None
    except FileNotFoundError:
        raise InputError(f"{path} cannot be written: the folder {path.parent} does not exist.") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO):
            why = "the disk is full" if error.errno == errno.ENOSPC else reason(error)
            raise WorkFailed(f"{path} could not be written: {why}.") from error
        raise InputError(f"{path} cannot be written: {reason(error)}.") from error
