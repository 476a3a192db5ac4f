"""Reading extended XYZ (github.com/libAtoms/extxyz) as a trajectory: frame by frame, from where each begins.

Opening walks once through the file and remembers where frames begin and what their comment lines say; rows are read
when a frame is asked for. Units are those of `mldsim.trajectory.extxyz` and of ASE: angstrom, fs, eV.
"""

from __future__ import annotations

import math
import re
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.molecules import find_bonds
from mldsim.progress import Report, unheard
from mldsim.readers.cell import orthorhombic
from mldsim.species import atomic_mass, atomic_number, symbol_of

Array = NDArray[np.float64]

_FIELD = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|\{[^}]*\}|\S+)")
_STEPS = ("step", "Step", "i")
_FORCES = ("forces", "force")
_OWN = {"velo", "loss", "forces"}
"""Columns that together only `mldsim.trajectory.extxyz` writes."""
_REPORT_EVERY = 200


class ExtxyzTrajectory:
    """Frames of an extended XYZ file, read one at a time. Made by `read_extxyz`; a `FrameSource`.

    Attributes
    ----------
    path : Path
    topology : Topology
        Bonds are found from the distances in the first frame.
    box : (3,) float64, angstrom
        Of the first frame.
    steps : (n_frames,) int64
    times : (n_frames,) float64, fs
        NaN where the file tells none.
    unwrapped : bool
        Whether positions go on where an agent crosses the edge of the box.
    notes : tuple of str
        Sentences about what is amiss but can be read.
    """

    def __init__(self, path: Path, index: _Index) -> None:
        self.path = path
        self._index = index
        self.notes = index.notes
        self._file: IO[bytes] = path.open("rb")
        self.steps, self.times = index.steps, index.times
        self.topology = index.topology
        self.box = index.box
        self.unwrapped = index.own

    @property
    def n_frames(self) -> int:
        return len(self._index.begins) - 1

    @property
    def creator(self) -> str:
        return "mldsim" if self._index.own else ""

    def again(self) -> ExtxyzTrajectory:
        """The same file, for another thread."""
        return ExtxyzTrajectory(self.path, self._index)

    def thermo(self) -> dict[str, Array]:
        """The thermo series by column, each (n_frames,) float64, as far as the file tells them."""
        return {"time": self.times} | self._index.thermo

    def frame(self, index: int) -> Frame:
        """Frame `index`. What the file does not hold is NaN.

        Raises
        ------
        InputError
            If there is no such frame, or it is damaged.
        """
        if not 0 <= index < self.n_frames:
            raise InputError(f"{self.path} holds {self.n_frames} frames; there is no frame {index}.")
        begins = self._index.begins
        try:
            self._file.seek(int(begins[index]))
            text = self._file.read(int(begins[index + 1] - begins[index]))
        except OSError as error:
            raise InputError(f"Frame {index} of {self.path} cannot be read: {error.strerror or error}.") from error
        rows = _Rows.of(text, f"{self.path}, frame {index}")
        if rows.symbols != self._index.symbols:
            raise InputError(f"{self.path}, frame {index}: its agents are not those of the first frame.")
        unknown = np.full((self.topology.n_agents, 3), np.nan)
        thermo = dict.fromkeys(THERMO_COLUMNS, math.nan) | {
            name: float(values[index]) for name, values in self._index.thermo.items()
        }
        time = float(self.times[index])
        return Frame(
            int(self.steps[index]), time, rows.box, rows.positions,
            unknown if rows.velocities is None else rows.velocities,
            unknown if rows.forces is None else rows.forces,
            unknown[:, 0] if rows.losses is None else rows.losses,
            ThermoRow(**(thermo | {"time": time})),
        )  # fmt: skip

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Rows:
    """What one frame says."""

    def __init__(self, symbols: tuple[str, ...], positions: Array, box: Array, columns: dict[str, Any]) -> None:
        self.symbols, self.positions, self.box = symbols, positions, box
        self.forces = next((columns[name] for name in _FORCES if name in columns), None)
        self.losses = columns["loss"][:, 0] if "loss" in columns else None
        self.velocities: Array | None = columns.get("velo")
        self.own = set(columns) >= _OWN
        if self.velocities is None and "momenta" in columns:
            from ase import units as ase_units

            masses = np.array([atomic_mass(symbol) for symbol in symbols])
            self.velocities = columns["momenta"] / masses[:, None] * ase_units.fs

    @classmethod
    def of(cls, text: bytes, where: str) -> _Rows:
        """Read the text of a frame.

        Raises
        ------
        InputError
            What is wrong with it.
        """
        lines = text.decode("utf-8", "replace").splitlines()
        said = _fields(lines[1]) if len(lines) > 1 else {}
        wanted = _properties(said.get("Properties", "species:S:1:pos:R:3"), where)
        width = max(last for _, last, _ in wanted.values())
        n = len(lines) - 2
        words = [line.split() for line in lines[2:]]
        short = next((row for row, line in enumerate(words) if len(line) < width), None)
        if n < 1 or short is not None:
            raise InputError(f"{where}: the row of agent {short or 0} is cut short; it needs {width} columns.")
        columns: dict[str, Any] = {}
        symbols: tuple[str, ...] = ()
        for name, (first, last, kind) in wanted.items():
            if name in ("species", "Z"):
                symbols = _symbols([line[first] for line in words], name, where)
            elif kind == "R" and name in ("pos", "velo", "momenta", "loss", *_FORCES):
                try:
                    columns[name] = np.array([line[first:last] for line in words], np.float64)
                except ValueError:
                    raise InputError(f"{where}: a value of '{name}' is not a number.") from None
                if columns[name].shape[1] != (1 if name == "loss" else 3):
                    raise InputError(f"{where}: '{name}' has {columns[name].shape[1]} values for each agent.")
        if not symbols or "pos" not in columns:
            raise InputError(f"{where}: it says neither which elements its agents are nor where they are.")
        positions = columns.pop("pos")
        if not np.isfinite(positions).all():
            raise InputError(f"{where} holds a position that is not a finite number.")
        return cls(symbols, positions, _box(said.get("Lattice", said.get("lattice", "")), where), columns)


def _fields(comment: str) -> dict[str, str]:
    """What a comment line says, by name."""
    found: list[tuple[str, str]] = _FIELD.findall(comment)
    return dict(found)


def _properties(text: str, where: str) -> dict[str, tuple[int, int, str]]:
    """Name -> its first column, the one behind its last, its kind."""
    parts = text.strip("\"'").split(":")
    found: dict[str, tuple[int, int, str]] = {}
    first = 0
    try:
        for name, kind, count in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            found[name] = (first, first + int(count), kind)
            first += int(count)
    except ValueError:
        raise InputError(f"{where}: its Properties cannot be understood.") from None
    return found


def _symbols(words: list[str], name: str, where: str) -> tuple[str, ...]:
    try:
        if name == "Z":
            return tuple(symbol_of(int(word)) for word in words)
        for word in set(words):
            atomic_number(word)
    except (InputError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
    return tuple(words)


def _box(text: str, where: str) -> Array:
    try:
        cell = np.array(text.strip("\"'{}").replace(",", " ").split(), np.float64).reshape(3, 3)
    except ValueError:
        raise InputError(f"{where} has no Lattice of nine numbers; a periodic box is needed.") from None
    return orthorhombic(cell, f"{where}: the Lattice")


class _Index:
    """Where frames begin, and what their comment lines say."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        begins: list[int] = []
        rows: list[list[float]] = []
        cut = False
        size = path.stat().st_size
        end = n_agents = 0
        with path.open("rb") as file:
            while head := file.readline():
                if not head.strip():  # an empty line at the end
                    end += len(head)
                    continue
                if not head.strip().isdigit() or int(head) < 1:
                    raise InputError(
                        f"{path}, frame {len(begins)}: it should begin with the number of its agents, but the line "
                        f"says '{head[:40].decode('utf-8', 'replace').strip()}'."
                    )
                comment = file.readline()
                lines = list(islice(file, int(head)))
                if len(lines) < int(head) or _cut_short(lines):
                    cut = True
                    break
                if begins and int(head) != n_agents:
                    raise InputError(
                        f"{path}, frame {len(begins)}: it has {int(head)} agents, the frames before it {n_agents}; "
                        "a trajectory has the same agents throughout."
                    )
                n_agents = int(head)
                begins.append(end)
                rows.append(_said(comment))
                end += len(head) + len(comment) + sum(map(len, lines))
                if len(begins) % _REPORT_EVERY == 0:
                    report(end / max(size, 1))
        if not begins:
            raise InputError(f"{path} holds no whole frame.")
        self.begins = np.array([*begins, end], np.int64)
        said = np.array(rows)
        numbers = said[:, 1]
        self.steps = np.where(np.isfinite(numbers), numbers, np.arange(len(rows))).astype(np.int64)
        self.times: Array = said[:, 0]
        self.thermo = {
            name: said[:, column] for column, name in enumerate(_COLUMNS, start=2) if np.isfinite(said[:, column]).any()
        }
        self.notes: tuple[str, ...] = ()
        if cut:
            self.notes = (f"The last frame of {path.name} is cut short and left out.",)
        self._take_first(begins[0], int(self.begins[1]))

    def _take_first(self, begin: int, end: int) -> None:
        with self._path.open("rb") as file:
            file.seek(begin)
            first = _Rows.of(file.read(end - begin), f"{self._path}, frame 0")
        self.symbols, self.box, self.own = first.symbols, first.box, first.own
        kinds = tuple(dict.fromkeys(first.symbols))
        species = np.array([kinds.index(symbol) for symbol in first.symbols], np.int32)
        masses = np.array([atomic_mass(symbol) for symbol in kinds])[species]
        self.topology = Topology(kinds, species, masses, find_bonds(first.symbols, first.positions, first.box))


_COLUMNS = tuple(name for name in THERMO_COLUMNS if name != "time")


def _said(comment: bytes) -> list[float]:
    """Time, step and the thermo columns of a comment line; NaN where it says nothing."""
    said = _fields(comment.decode("utf-8", "replace"))
    step = next((said[name] for name in _STEPS if name in said), "")
    own = ("total_loss" if name == "loss" else name for name in _COLUMNS)
    return [
        _number(said.get("time", said.get("Time", ""))),
        _number(step),
        *(_number(said.get(name, "")) for name in own),
    ]


def _number(text: str) -> float:
    try:
        return float(text.strip("\"'"))
    except ValueError:
        return math.nan


def _cut_short(lines: list[bytes]) -> bool:
    """Whether the last row ends before its time: only a file that was cut off ends without an end of line."""
    return not lines[-1].endswith(b"\n") and len(lines[-1].split()) < len(lines[0].split())


def read_extxyz(path: Path | str, report: Report = unheard) -> ExtxyzTrajectory:
    """Open an extended XYZ file as a trajectory; a long one takes some seconds for each gigabyte.

    Parameters
    ----------
    path : Path or str
    report : callable
        Told the fraction that was walked through; may raise Cancelled.

    Raises
    ------
    InputError
        If there is no such file, or it is not extended XYZ with one orthorhombic box and the same agents in all frames.
    """
    path = Path(path)
    try:
        return ExtxyzTrajectory(path, _Index(path, report))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
