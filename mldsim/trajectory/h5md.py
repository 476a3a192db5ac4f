"""Trajectories in H5MD 1.1 (de Buyl, Colberg, Höfling 2014, doi:10.1016/j.cpc.2014.01.018; nongnu.org/h5md).

Layout of a file that this module writes::

    h5md/{author,creator,modules/units}
    particles/trajectory/box/edges                 Angstrom, one row per frame
    particles/trajectory/position                  Angstrom, unwrapped; an image is the position itself
    particles/trajectory/velocity                  Angstrom fs-1
    particles/trajectory/force                     kJ mol-1 Angstrom-1 (MDAnalysis refuses eV Angstrom-1)
    particles/trajectory/loss                      eV, one per agent
    particles/trajectory/{species,id,mass}         static; species are atomic numbers
    observables/<thermo column>                    one value per frame
    connectivity/bonds                             pairs of agents
    parameters/mldsim/{symbols,box,metadata}       the model's order of species, the box at the start, JSON

One `step` and one `time` dataset are hard-linked into every element.

How it survives. Frames are collected in memory and appended about once per second; in between the file is closed, so
that any HDF5 program can open a recording while it grows, and a killed writer leaves nothing half done. An append
lasts about 10 ms; a kill within it leaves HDF5's "open for write" flag, which `read_h5md` clears, and because the
append is done in SWMR mode all frames before it are intact. HDF5 ends the whole process when a write fails halfway
(seen with 2.0: segmentation fault on a full disk), so the space of an append is reserved before HDF5 is let near it.

Chunks are not compressed: on frames of 32 and 64 water molecules gzip-1 with shuffle saved 13 to 20 %, cost five times
the time, and gave the savings back because every append rewrites the last, half-full chunk at a new place.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import struct
import sys
import time as clock
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim import __version__, units
from mldsim.errors import InputError, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.parameters import Precision
from mldsim.species import atomic_mass, atomic_number, symbol_of

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LIBVER = ("v110", "v110")  # "latest" cannot be read by HDF5 1.10
_GROUP = "particles/trajectory"  # MDAnalysis looks for this name when it is given no topology
_CHUNK_BYTES = 256 * 1024
_SCALARS_PER_CHUNK = 1024
_BUFFER_BYTES = 16 * 1024 * 1024
_METADATA_SLACK = 256 * 1024
_OBSERVABLES = tuple(name for name in THERMO_COLUMNS if name != "time")

_LENGTH = {"Angstrom": 1.0, "angstrom": 1.0, "A": 1.0, "nm": 10.0, "pm": 0.01}
_TIME = {"fs": 1.0, "ps": 1e3, "ns": 1e6}
_VELOCITY = {"Angstrom fs-1": 1.0, "Angstrom ps-1": 1e-3, "nm ps-1": 1e-2, "nm fs-1": 10.0}
_FORCE = {
    "kJ mol-1 Angstrom-1": 1 / units.KJ_MOL,
    "kJ mol-1 nm-1": 0.1 / units.KJ_MOL,
    "eV Angstrom-1": 1.0,
}
_ENERGY = {"eV": 1.0, "kJ mol-1": 1 / units.KJ_MOL}


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
        return 10 * self._n_agents * self._dtype.itemsize + 8 * (len(_OBSERVABLES) + 5)

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
            with _extended(self.path, self._reservation()):
                self._append(columns)
        except OSError as error:
            self._closed = True
            self._frames.clear()
            why = "the disk is full" if error.errno == errno.ENOSPC else _reason(error)
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
        return total + chunks * _SCALARS_PER_CHUNK * 8 * (len(_OBSERVABLES) + 5)

    def _append(self, columns: dict[str, NDArray[Any]]) -> None:
        # Without HDF5's lock, so that a program that has the file open for reading does not end the recording.
        with h5py.File(self.path, "r+", libver=_LIBVER, locking=False) as file:
            file.swmr_mode = True
            end = self._written + len(self._frames)
            # Readers count frames by the positions: these come last, when all that belongs to them is in the file.
            for name in columns:
                if name == f"{_GROUP}/position/value":
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
        f"{_GROUP}/position/step": np.array([frame.step for frame in frames]),
        f"{_GROUP}/position/time": np.array([frame.time for frame in frames]),
        f"{_GROUP}/box/edges/value": np.array([frame.box for frame in frames]),
    }
    for name in _OBSERVABLES:
        columns[f"observables/{name}/value"] = np.array([getattr(frame.thermo, name) for frame in frames])
    columns[f"{_GROUP}/loss/value"] = np.array([frame.losses for frame in frames])
    columns[f"{_GROUP}/force/value"] = np.array([frame.forces for frame in frames]) * units.KJ_MOL
    columns[f"{_GROUP}/velocity/value"] = np.array([frame.velocities for frame in frames])
    columns[f"{_GROUP}/position/value"] = np.array([frame.positions for frame in frames])
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
    with h5py.File(memory, "w", libver=_LIBVER) as file:
        h5md = file.create_group("h5md")
        h5md.attrs["version"] = np.array([1, 1], dtype=np.int32)
        h5md.create_group("author").attrs["name"] = np.bytes_(author.encode())
        creator = h5md.create_group("creator")
        creator.attrs["name"] = np.bytes_(b"mldsim")
        creator.attrs["version"] = np.bytes_(__version__.encode())
        h5md.create_group("modules/units").attrs["version"] = np.array([1, 0], dtype=np.int32)

        group = file.create_group(_GROUP)
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
        for name in _OBSERVABLES:
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
            why = "the disk is full" if error.errno == errno.ENOSPC else _reason(error)
            raise WorkFailed(f"{path} could not be written: {why}.") from error
        raise InputError(f"{path} cannot be written: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


@contextlib.contextmanager
def _extended(path: Path, more: int) -> Iterator[None]:
    """Reserve `more` bytes at the end of a file, which HDF5 cuts off again as far as they are not needed.

    A lock is held meanwhile: it tells `repair` that the writer lives.
    """
    with path.open("r+b") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            _lock(file, exclusive=False)
        size = file.seek(0, os.SEEK_END)
        try:
            _reserve(file, size, more)
        except OSError:
            file.truncate(size)
            raise
        yield


def _lock(file: IO[bytes], *, exclusive: bool) -> None:
    """Lock a file until it is closed; OSError when another program's lock is in the way.

    Shared on POSIX, so that readers, whom HDF5 gives shared locks, are not in the way of the writer. Windows knows
    only exclusive locks: there a byte far beyond the end is locked, which nobody reads.
    """
    if sys.platform == "win32":
        file.seek(1 << 60)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _reserve(file: IO[bytes], size: int, more: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), size, more)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    block = bytes(min(more, 1 << 20))
    for start in range(0, more, len(block)):
        file.write(block[: more - start])
    file.flush()


# --- what a killed writer leaves ------------------------------------------------------------------------------------

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = struct.Struct("<8sBBBBQQQQI")
"""Superblock version 3 (HDF5 file format specification 3.0, II.A): signature, version, sizes of offsets and lengths,
consistency flags, base address, superblock extension, end of file, root group, checksum."""


def repair(path: Path | str) -> bool:
    """Mend a file whose writer was killed: clear HDF5's flag, cut all series to the shortest.

    Returns
    -------
    bool
        True when there was something to mend.

    Raises
    ------
    InputError
        If this is not a file that `H5MDWriter` began, or it cannot be changed.
    WorkFailed
        If the file is still being written.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            fields = _superblock(file)
        if fields is None:
            raise InputError(f"{path} is not a trajectory that mldsim wrote; it cannot be repaired.")
        flagged = bool(fields[4])
        if flagged:
            with path.open("r+b") as file:
                _lock(file, exclusive=True)
                fields = _superblock(file)  # once more: a living writer may have been just done
                if fields is not None and fields[4]:
                    _clear_flags(file, fields)
        return _cut(path) or flagged
    except BlockingIOError:
        raise WorkFailed(f"{path} is in use by another program; it is not repaired.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be repaired: {_reason(error)}.") from error


def _superblock(file: IO[bytes]) -> tuple[Any, ...] | None:
    head = file.read(_SUPERBLOCK.size)
    if len(head) < _SUPERBLOCK.size:
        return None
    fields = _SUPERBLOCK.unpack(head)
    return fields if fields[:4] == (_SIGNATURE, 3, 8, 8) else None


def _clear_flags(file: IO[bytes], fields: tuple[Any, ...]) -> None:
    # Blocks allocated just before the kill may lie beyond the end that the superblock remembers.
    end = max(fields[7], file.seek(0, os.SEEK_END))
    mended = _SUPERBLOCK.pack(*fields[:4], 0, *fields[5:7], end, fields[8], 0)[:-4]
    file.seek(0)
    file.write(mended + struct.pack("<I", _lookup3(mended)))
    if end > fields[7]:
        file.truncate(end)


def _cut(path: Path) -> bool:
    """Cut all series of a file to the shortest; True when one was longer."""
    with h5py.File(path, "r") as file:
        lengths = {name: len(file[name]) for name in _series(file)}
    shortest = min(lengths.values(), default=0)
    longer = [name for name, length in lengths.items() if length > shortest]
    if longer:
        with h5py.File(path, "r+", libver=_LIBVER) as file:
            for name in longer:
                file[name].resize(shortest, axis=0)
    return bool(longer)


def _series(file: Any) -> list[str]:
    names = [f"{_GROUP}/position/step", f"{_GROUP}/position/time", f"{_GROUP}/box/edges/value"]
    names += [f"{_GROUP}/{name}/value" for name in ("position", "velocity", "force", "loss")]
    names += [f"observables/{name}/value" for name in _OBSERVABLES]
    return [name for name in names if name in file and isinstance(file[name], h5py.Dataset) and file[name].shape]


def _lookup3(data: bytes) -> int:
    """Bob Jenkins' hash (burtleburtle.net/bob/c/lookup3.c, hashlittle) with seed 0: HDF5's checksum of metadata."""
    mask = 0xFFFFFFFF

    def rotated(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    blocks = max(1, -(-len(data) // 12))
    words: tuple[int, ...] = struct.unpack(f"<{3 * blocks}I", data.ljust(12 * blocks, b"\0"))
    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & mask, (b + words[i + 1]) & mask, (c + words[i + 2]) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 4), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 6), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 8), (b + a) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 16), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 19), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 4), (b + a) & mask
    if not data:
        return c
    a, b, c = (a + words[-3]) & mask, (b + words[-2]) & mask, (c + words[-1]) & mask
    c = ((c ^ b) - rotated(b, 14)) & mask
    a = ((a ^ c) - rotated(c, 11)) & mask
    b = ((b ^ a) - rotated(a, 25)) & mask
    c = ((c ^ b) - rotated(b, 16)) & mask
    a = ((a ^ c) - rotated(c, 4)) & mask
    b = ((b ^ a) - rotated(a, 14)) & mask
    return ((c ^ b) - rotated(b, 24)) & mask


# --- reading --------------------------------------------------------------------------------------------------------


class Trajectory:
    """Frames of an H5MD file, read one at a time. Made by `read_h5md`.

    Attributes
    ----------
    path : Path
    topology : Topology
    box : (3,) float64, angstrom
        At the start.
    steps : (n_frames,) int64
    times : (n_frames,) float64, fs
        NaN where the file holds none.
    metadata : dict
        What the writer was told: setup, parameters, model; empty in files of other programs.
    creator : str
        Program and version.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        groups = file.get("particles")
        if not isinstance(groups, h5py.Group) or len(groups) == 0:
            raise self._wrong("it has no group of particles")
        self._group = groups["trajectory"] if "trajectory" in groups else groups[next(iter(groups))]
        self._positions = self._values("position", per_agent=3)
        if self._positions is None:
            raise self._wrong("it holds no positions")
        self._length = self._factor(self._positions, _LENGTH)
        self._velocities = self._values("velocity", per_agent=3)
        self._velocity = self._factor(self._velocities, _VELOCITY)
        self._forces = self._values("force", per_agent=3)
        self._force = self._factor(self._forces, _FORCE)
        self._losses = self._values("loss", per_agent=1)
        self._loss = self._factor(self._losses, _ENERGY)
        series = [s for s in (self._positions, self._velocities, self._forces, self._losses) if s is not None]
        self._n_frames = min(len(values) for values in series)
        self.steps, self.times = self._clock()
        self._n_frames = min(self._n_frames, len(self.steps))
        self._boxes = self._edges()
        self.topology = self._read_topology()
        self.box = self._boxes[0] if len(self._boxes) else np.asarray(file["parameters/mldsim/box"][()], dtype=float)
        self.metadata = self._read_metadata()
        self._observables = self._read_observables()

    def _wrong(self, what: str) -> InputError:
        return InputError(f"{self.path} is not a trajectory that can be read: {what}.")

    @property
    def n_frames(self) -> int:
        return self._n_frames

    @property
    def n_agents(self) -> int:
        return int(self._positions.shape[1])

    @property
    def creator(self) -> str:
        group = self._file.get("h5md/creator")
        names = [] if group is None else [group.attrs.get("name", b""), group.attrs.get("version", b"")]
        return " ".join(n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in names).strip()

    def __len__(self) -> int:
        return self._n_frames

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(i) for i in range(self._n_frames))

    def frame(self, index: int) -> Frame:
        """Frame `index`, counted from the end when negative. What the file does not hold is NaN.

        Raises
        ------
        InputError
            If there is no such frame, or its positions are not finite.
        """
        if not -self._n_frames <= index < self._n_frames:
            raise InputError(f"{self.path} holds {self._n_frames} frames; there is no frame {index}.")
        i = index % self._n_frames
        try:
            positions = np.asarray(self._positions[i], dtype=float) * self._length
            velocities = self._per_agent(self._velocities, i, (self.n_agents, 3)) * self._velocity
            forces = self._per_agent(self._forces, i, (self.n_agents, 3)) * self._force
            losses = self._per_agent(self._losses, i, (self.n_agents,)) * self._loss
        except OSError as error:
            raise InputError(f"Frame {i} of {self.path} cannot be read: the file is damaged.") from error
        if not np.isfinite(positions).all():
            raise InputError(f"Frame {i} of {self.path} holds a position that is not a finite number.")
        box = self._boxes[i] if len(self._boxes) > 1 else self.box
        time = float(self.times[i])
        values = {name: float(self._observables[name][i]) if name in self._observables else np.nan
                  for name in _OBSERVABLES}  # fmt: skip
        return Frame(
            int(self.steps[i]), time, box, positions, velocities, forces, losses, ThermoRow(time=time, **values)
        )

    @staticmethod
    def _per_agent(values: Any, i: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.full(shape, np.nan) if values is None else np.asarray(values[i], dtype=float)

    def thermo(self) -> dict[str, NDArray[np.float64]]:
        """The thermo series by column, each (n_frames,) float64, in the units of `THERMO_COLUMNS`."""
        return {"time": self.times} | self._observables

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _values(self, name: str, per_agent: int) -> Any:
        element = self._group.get(name)
        values = element.get("value") if isinstance(element, h5py.Group) else None
        if values is None:
            return None
        ok = (
            isinstance(values, h5py.Dataset)
            and values.dtype.kind == "f"
            and values.ndim == (3 if per_agent == 3 else 2)
            and (per_agent == 1 or values.shape[2] == 3)
            and (name == "position" or values.shape[1] == self._positions.shape[1])
        )
        if not ok:
            raise self._wrong(f"the array of the {name} has the wrong shape or type")
        return values

    def _factor(self, values: Any, factors: dict[str, float]) -> float:
        """What a stored number is multiplied with to be in internal units."""
        if values is None:
            return 1.0
        unit = values.attrs.get("unit", "")
        unit = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
        if unit not in factors:
            known = ", ".join(factors)
            raise self._wrong(f"the unit '{unit}' of {values.name} is not one of {known}")
        return factors[unit]

    def _clock(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        element, n = self._group["position"], self._n_frames
        step, time = element.get("step"), element.get("time")
        if not isinstance(step, h5py.Dataset) or step.dtype.kind not in "iu" or step.ndim > 1:
            raise self._wrong("the positions have no steps")
        series = [np.full(n, np.nan) if s is None else self._expanded(s, n) for s in (step, time)]
        factor = self._factor(time, _TIME)
        n = min(len(s) for s in series)
        return series[0][:n].astype(np.int64), series[1][:n].astype(float) * factor

    @staticmethod
    def _expanded(series: Any, n: int) -> NDArray[Any]:
        """H5MD allows one increment in the place of a series."""
        if series.ndim:
            return np.asarray(series[:n])
        return np.asarray(series.attrs.get("offset", 0) + series[()] * np.arange(n))

    def _edges(self) -> NDArray[np.float64]:
        """(n_frames, 3), or (1, 3) where the box is fixed; angstrom."""
        edges = self._group.get("box/edges")
        values = edges.get("value") if isinstance(edges, h5py.Group) else edges
        if not isinstance(values, h5py.Dataset) or values.dtype.kind not in "fiu":
            raise self._wrong("it has no box")
        boxes = np.asarray(values[()], dtype=float)
        factor = self._factor(values, _LENGTH) if "unit" in values.attrs else self._length
        if values is edges:
            boxes = boxes[None]
        if boxes.ndim == 3 and boxes.shape[1:] == (3, 3):
            diagonal = np.einsum("tii->ti", boxes)
            if np.abs(boxes).sum() > np.abs(diagonal).sum() * (1 + 1e-12):
                raise self._wrong("its box is not orthorhombic")
            boxes = diagonal
        if boxes.ndim != 2 or boxes.shape[1] != 3 or (values is not edges and len(boxes) < self._n_frames):
            raise self._wrong("its box has the wrong shape")
        boxes = boxes if values is edges else boxes[: self._n_frames]
        if not (np.isfinite(boxes).all() and (boxes > 0).all()):
            raise self._wrong("an edge of its box is not a positive number")
        return boxes * factor

    def _read_topology(self) -> Topology:
        species = self._group.get("species")
        if not isinstance(species, h5py.Dataset) or species.shape != (self.n_agents,) or species.dtype.kind not in "iu":
            raise self._wrong("it does not say which element each particle is ('species', atomic numbers)")
        names = h5py.check_enum_dtype(species.dtype)
        by_value = {value: name for name, value in names.items()} if names else {}
        numbers = np.asarray(species[()])
        distinct = list(dict.fromkeys(numbers.tolist()))
        symbols = [by_value[k] if k in by_value else symbol_of(k) for k in distinct]
        own = self._file.get("parameters/mldsim/symbols")
        order = symbols
        if isinstance(own, h5py.Dataset):
            order = [str(s) for s in own.asstr()[()]]
            if not set(symbols) <= set(order):
                raise self._wrong("its list of species does not fit its particles")
        index = dict(zip(distinct, (order.index(symbol) for symbol in symbols), strict=True))
        kinds = np.array([index[k] for k in numbers.tolist()], dtype=np.int32)
        mass = self._group.get("mass")
        if mass is None:
            masses = np.array([atomic_mass(symbol) for symbol in order])[kinds]
        else:
            masses = np.asarray(mass[()], dtype=float) if isinstance(mass, h5py.Dataset) else np.empty(0)
            if masses.shape != (self.n_agents,) or not (np.isfinite(masses).all() and (masses > 0).all()):
                raise self._wrong("its masses are not one positive number per particle")
        return Topology(tuple(order), kinds, masses, self._read_bonds())

    def _read_bonds(self) -> NDArray[np.int32]:
        bonds = self._file.get("connectivity/bonds")
        if not isinstance(bonds, h5py.Dataset):
            return np.empty((0, 2), dtype=np.int32)
        pairs = np.asarray(bonds[()])
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise self._wrong("its bonds are not pairs of particles")
        if pairs.size and not (pairs.min() >= 0 and pairs.max() < self.n_agents):
            raise self._wrong("one of its bonds names a particle that does not exist")
        return pairs.astype(np.int32)

    def _read_metadata(self) -> dict[str, Any]:
        text = self._file.get("parameters/mldsim/metadata")
        if not isinstance(text, h5py.Dataset) or h5py.check_string_dtype(text.dtype) is None or text.shape != ():
            return {}
        try:
            metadata = json.loads(text.asstr()[()])
        except ValueError as error:
            raise self._wrong("its metadata are not JSON") from error
        return metadata if isinstance(metadata, dict) else {}

    def _read_observables(self) -> dict[str, NDArray[np.float64]]:
        found = {}
        for name in _OBSERVABLES:
            values = self._file.get(f"observables/{name}/value")
            if isinstance(values, h5py.Dataset) and values.ndim == 1 and len(values) >= self._n_frames:
                found[name] = np.asarray(values[: self._n_frames], dtype=float)
        return found


def read_h5md(path: Path | str) -> Trajectory:
    """Open a trajectory. What a killed writer left is mended first, as far as the file may be changed.

    Raises
    ------
    InputError
        If there is no such file, it is not H5MD, or something in it cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a trajectory file.")
    try:
        with path.open("rb") as stream:
            fields = _superblock(stream)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}.") from error
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file.")
    file = _opened(path, flagged=fields is not None and bool(fields[4]))
    try:
        if "h5md" not in file:
            raise InputError(f"{path} is an HDF5 file, but not an H5MD trajectory.")
        return Trajectory(path, file)
    except (KeyError, OSError, TypeError, AttributeError, ValueError) as error:
        file.close()
        raise InputError(f"{path} is not a trajectory that can be read: it is damaged or not H5MD.") from error
    except BaseException:
        file.close()
        raise


def _opened(path: Path, flagged: bool) -> Any:
    if flagged:
        with contextlib.suppress(InputError, WorkFailed):
            repair(path)
    for attempt in itertools.count():
        try:
            return h5py.File(path, "r")
        except (OSError, RuntimeError) as error:  # h5py knows no type of its own for a damaged superblock
            # Being appended to just now, or killed in an append and not ours to change: SWMR reads both.
            with contextlib.suppress(OSError, RuntimeError):
                return h5py.File(path, "r", swmr=True)
            if attempt == 5:
                raise InputError(f"{path} cannot be opened: it is damaged or still being written.") from error
            clock.sleep(0.02)
    raise AssertionError
