"""Frames to label: positions and boxes from anything that holds structures, with forces or without."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import BOND_TO_HYDROGEN, CLOSEST_CONTACT
from mldsim.errors import InputError
from mldsim.readers import load_frames
from mldsim.readers.cell import given_cell, orthorhombic

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True, eq=False)
class Configurations:
    """Frames of one system without labels: the same agents in the same order; boxes may differ.

    Attributes
    ----------
    symbols : tuple of str
    positions : (n_frames, n_agents, 3) float64, angstrom
    boxes : (n_frames, 3) float64, angstrom
    source : str
        The file they come from.
    steps : (n_frames,) int64, or None
        Rising steps of the run they were taken from; None when they are no time series.
    numbers : (n_frames,) int64
        Which frames of the source these are, from 0.
    """

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    boxes: NDArray[np.float64]
    source: str
    steps: NDArray[np.int64] | None
    numbers: NDArray[np.int64]

    @property
    def n_frames(self) -> int:
        return len(self.positions)

    def take(self, indices: NDArray[np.intp]) -> Configurations:
        """The frames of these indices, in this order."""
        return replace(
            self,
            positions=self.positions[indices],
            boxes=self.boxes[indices],
            steps=None if self.steps is None else self.steps[indices],
            numbers=self.numbers[indices],
        )


def read_configurations(
    path: str | Path,
    *,
    cell: Sequence[float] | None = None,
    length_unit: str | None = None,
    energy_unit: str | None = None,
) -> list[Configurations]:
    """Read frames, one `Configurations` per system.

    Parameters
    ----------
    path : path
        An H5MD trajectory, XYZ with or without forces, or anything that `mldsim.readers.open_frames` reads.
    cell : sequence of float, angstrom, optional
        Edges of the box where the file has none.
    length_unit, energy_unit : str, optional
        Of an n2p2 file.

    Raises
    ------
    InputError
        When nothing fits, the box is not orthorhombic or not known, or positions cannot be those of a molecule.
    """
    path = Path(path)
    try:
        if _is_h5md(path):
            if cell is not None:
                raise InputError(f"{path} states its box; a cell cannot be given for a trajectory.")
            found = [_from_h5md(path)]
        elif _is_bare_xyz(path):
            found = _from_xyz(path, cell)
        else:
            frames = load_frames(path, cell=cell, length_unit=length_unit, energy_unit=energy_unit)
            found = [
                _configurations(f.symbols, f.positions, f.boxes, f.source, None if f.steps is None else f.steps)
                for f in frames
            ]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    for system in found:
        _check_geometry(system)
    return found


def thinned(systems: Sequence[Configurations], *, every: int = 1, at_most: int | None = None) -> list[Configurations]:
    """Fewer frames: of each system every so many, and of all that is left so many, evenly spread.

    Raises
    ------
    InputError
        When a number is below one.
    """
    if every < 1 or (at_most is not None and at_most < 1):
        raise InputError("Frames can be thinned to every 1st, 2nd, ... of them, and to 1 or more in all.")
    systems = [system.take(np.arange(0, system.n_frames, every)) for system in systems]
    total = sum(system.n_frames for system in systems)
    if at_most is None or at_most >= total:
        return list(systems)
    kept = np.unique(np.linspace(0, total - 1, at_most).round().astype(np.intp))
    starts = np.cumsum([0, *(system.n_frames for system in systems)])
    parts = [
        system.take(kept[(kept >= start) & (kept < end)] - start)
        for system, (start, end) in zip(systems, pairwise(starts), strict=True)
    ]
    return [part for part in parts if part.n_frames]


def fingerprint(systems: Sequence[Configurations]) -> str:
    """SHA-256 of what is to be labelled: elements, positions and boxes in their order."""
    digest = hashlib.sha256()
    for system in systems:
        digest.update(f"{system.n_frames} {' '.join(system.symbols)}\n".encode())
        for array in (system.positions, system.boxes):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def _configurations(
    symbols: tuple[str, ...],
    positions: NDArray[np.float64],
    boxes: NDArray[np.float64],
    source: str,
    steps: NDArray[np.int64] | None,
) -> Configurations:
    rising = steps is not None and bool((np.diff(steps) > 0).all())
    return Configurations(symbols, positions, boxes, source, steps if rising else None, np.arange(len(positions)))


def _is_h5md(path: Path) -> bool:
    import h5py

    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            return False
    try:
        with h5py.File(path, "r") as file:
            return "h5md" in file and "positions" not in file
    except (OSError, RuntimeError):
        return True  # left open by a killed writer: the reader of trajectories mends it or says what is wrong


def _is_bare_xyz(path: Path) -> bool:
    """XYZ that is no CP2K project with forces; extended XYZ with forces is read here as well."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        lines = file.read(2**16).decode("utf-8", "replace").splitlines()
    if not lines or not lines[0].strip().isdecimal():
        return False
    project = re.fullmatch(r"(.+)-pos-(\d+)\.xyz", path.name)
    return not (project and path.with_name(f"{project[1]}-frc-{project[2]}.xyz").is_file())


def _from_h5md(path: Path) -> Configurations:
    from mldsim.trajectory.h5md import read_h5md

    with read_h5md(path) as trajectory:
        if not len(trajectory):
            raise InputError(f"{path} holds no frame yet.")
        frames = list(trajectory)
        topology = trajectory.topology
    return _configurations(
        tuple(topology.symbols[kind] for kind in topology.species),
        np.array([frame.positions for frame in frames], dtype=np.float64),
        np.array([frame.box for frame in frames], dtype=np.float64),
        str(path),
        np.array([frame.step for frame in frames], dtype=np.int64),
    )


def _from_xyz(path: Path, cell: Sequence[float] | None) -> list[Configurations]:
    from ase.io import iread

    systems: dict[tuple[str, ...], list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]] = {}
    frames = iread(path, index=":", format="extxyz")
    number = 0
    while True:
        where = f"{path}, frame {number}"
        try:
            atoms = next(frames, None)
        except Exception as error:  # ASE raises whatever its parsing stumbles over
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{where}: it cannot be read as XYZ ({reason}).") from error
        if atoms is None:
            break
        if cell is None and atoms.cell.rank != 3:
            raise InputError(f"{where} has no Lattice; give the cell with --cell in angstrom.")
        symbols = tuple(atoms.symbols)
        if "X" in symbols:
            raise InputError(f"{where}: atom {symbols.index('X')} has no known element.")
        if not np.isfinite(atoms.positions).all():
            raise InputError(f"{where}: the positions hold a value that is not a finite number.")
        box = orthorhombic(atoms.cell.array, f"{where}: the Lattice") if cell is None else given_cell(cell)
        systems.setdefault(symbols, []).append((number, np.array(atoms.positions, dtype=np.float64), box))
        number += 1
    if not systems:
        raise InputError(f"{path} holds no frame.")
    return [
        Configurations(
            symbols=symbols,
            positions=np.array([positions for _, positions, _ in members]),
            boxes=np.array([box for _, _, box in members]),
            source=str(path),
            steps=None,
            numbers=np.array([which for which, _, _ in members]),
        )
        for symbols, members in systems.items()
    ]


def _check_geometry(system: Configurations) -> None:
    """A teacher asked about fused nuclei answers nonsense, or not at all."""
    from scipy.spatial import cKDTree

    if len(system.symbols) < 2:
        raise InputError(f"{system.source} holds single atoms; two or more are needed for forces.")
    hydrogens = np.array([symbol == "H" for symbol in system.symbols])
    bonds: list[NDArray[np.float64]] = []
    for number, positions, box in zip(system.numbers, system.positions, system.boxes, strict=True):
        wrapped = np.mod(positions, box)
        wrapped[wrapped >= box] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
        nearest = cKDTree(wrapped, boxsize=box).query(wrapped, k=2)[0][:, 1]
        bonds.append(nearest[hydrogens])
        if nearest.min() < CLOSEST_CONTACT:
            raise InputError(
                f"{system.source}, frame {number}: two agents are only {nearest.min():.3g} angstrom apart; no engine "
                "can label that, or positions or box are in another unit than angstrom."
            )
    shortest, longest = BOND_TO_HYDROGEN
    if hydrogens.any() and set(system.symbols) <= {"H", "C", "N", "O"}:
        bond = float(np.median(np.concatenate(bonds)))
        if not shortest <= bond <= longest:
            raise InputError(
                f"{system.source}: the nearest neighbour of a hydrogen is typically {bond:.3g} angstrom away, where "
                f"{shortest:g} to {longest:g} are possible; positions or box are in another unit than angstrom."
            )
