"""Reading H5MD, our own and that of others as far as it says enough, and mending what a killed writer left."""

from __future__ import annotations

import contextlib
import json
import time as clock
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.errors import InputError, WorkFailed
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.species import atomic_mass, symbol_of
from mldsim.trajectory.h5md_writer import GROUP, LIBVER, OBSERVABLES
from mldsim.trajectory.hdf5_file import Superblock, Unflagged, clear_flags, read_superblock, reason

_LENGTH = {"Angstrom": 1.0, "angstrom": 1.0, "A": 1.0, "nm": 10.0, "pm": 0.01}
_TIME = {"fs": 1.0, "ps": 1e3, "ns": 1e6}
_VELOCITY = {"Angstrom fs-1": 1.0, "Angstrom ps-1": 1e-3, "nm ps-1": 1e-2, "nm fs-1": 10.0}
_FORCE = {
    "kJ mol-1 Angstrom-1": 1 / units.KJ_MOL,
    "kJ mol-1 nm-1": 0.1 / units.KJ_MOL,
    "eV Angstrom-1": 1.0,
}
_ENERGY = {"eV": 1.0, "kJ mol-1": 1 / units.KJ_MOL}


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

    @property
    def unwrapped(self) -> bool:
        """Whether positions go on where an agent crosses the edge of the box; of other programs one cannot know."""
        return self.creator.startswith("mldsim")

    @property
    def notes(self) -> tuple[str, ...]:
        """What is amiss is mended or refused when the file is opened."""
        return ()

    def again(self) -> Trajectory:
        """The same file, for another thread."""
        return read_h5md(self.path)

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
                  for name in OBSERVABLES}  # fmt: skip
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
        for name in OBSERVABLES:
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
        block = read_superblock(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}.") from error
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file.")
    file = _opened(path, block)
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


def _opened(path: Path, block: Superblock | None) -> Any:
    if block is not None and block.open_for_write:
        # Nearly always an append that is over in a moment; else a kill, or a long append.
        for _ in range(10):
            clock.sleep(0.02)
            block = read_superblock(path)
            if block is None or not block.open_for_write:
                break
        else:
            with contextlib.suppress(InputError, WorkFailed):
                repair(path)
            block = read_superblock(path)
    try:
        if block is not None and block.open_for_write:
            return h5py.File(Unflagged(path, block), "r")
        return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:  # h5py knows no type of its own for a damaged superblock
        raise InputError(f"{path} cannot be opened: it is damaged, cut short, or still being written.") from error


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
        block = read_superblock(path)
        if block is None:
            raise InputError(f"{path} is not a trajectory that mldsim wrote; it cannot be repaired.")
        if block.open_for_swmr:
            # Other programs do not hold a lock while they write in this mode: theirs are left alone.
            with Unflagged(path, block) as stream, h5py.File(stream, "r") as file:
                creator = file.get("h5md/creator")
                if creator is None or creator.attrs.get("name") != b"mldsim":
                    raise InputError(f"{path} was written by another program; it is not repaired.")
        if block.open_for_write:
            clear_flags(path)
        return _cut(path) or block.open_for_write
    except BlockingIOError:
        raise WorkFailed(f"{path} is in use by another program; it is not repaired.") from None
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be repaired: {reason(error)}.") from error


def _cut(path: Path) -> bool:
    """Cut all series of a file to the shortest; True when one was longer."""
    with h5py.File(path, "r") as file:
        lengths = {name: len(file[name]) for name in _series(file)}
    shortest = min(lengths.values(), default=0)
    longer = [name for name, length in lengths.items() if length > shortest]
    if longer:
        with h5py.File(path, "r+", libver=LIBVER) as file:
            for name in longer:
                file[name].resize(shortest, axis=0)
    return bool(longer)


def _series(file: Any) -> list[str]:
    names = [f"{GROUP}/position/step", f"{GROUP}/position/time", f"{GROUP}/box/edges/value"]
    names += [f"{GROUP}/{name}/value" for name in ("position", "velocity", "force", "loss")]
    names += [f"observables/{name}/value" for name in OBSERVABLES]
    return [name for name in names if name in file and isinstance(file[name], h5py.Dataset) and file[name].shape]
