"""DeePMD-kit folders: ``type.raw``, ``type_map.raw`` and ``set.*/{coord,force,box,energy}.npy``, in angstrom and eV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.readers.cell import given_cell, orthorhombic


def systems_in(folder: Path) -> list[Path]:
    """The systems of a folder: itself, or those up to two levels below, sorted by name."""
    if (folder / "type.raw").is_file():
        return [folder]
    return sorted(file.parent for pattern in ("*/type.raw", "*/*/type.raw") for file in folder.glob(pattern))


def read(folder: Path, *, cell: Sequence[float] | None = None) -> list[LabelledFrames]:
    """Read a system, or every system below a folder.

    Parameters
    ----------
    folder : Path
    cell : sequence of float, angstrom, optional
        Edges of the box; taken before box.npy.

    Raises
    ------
    InputError
        When a file is missing or of the wrong shape.
    """
    systems = systems_in(folder)
    if not systems:
        raise InputError(f"{folder} holds no DeePMD system: no type.raw was found in it or up to two levels below.")
    return [_read_system(system, cell) for system in systems]


def _read_system(folder: Path, cell: Sequence[float] | None) -> LabelledFrames:
    symbols = _symbols(folder)
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise InputError(f"{folder} has no set.* folders; raw files are turned into sets by DeePMD's raw_to_set.sh.")
    if any((path / "real_atom_types.npy").exists() for path in sets):
        raise InputError(f"{folder} is in DeePMD's mixed-type format; only one composition per folder is read.")
    if cell is None and (folder / "nopbc").exists():
        raise InputError(f"{folder} says nopbc: it has no periodic box, and one is needed.")
    positions = np.concatenate([_vectors(path / "coord.npy", len(symbols)) for path in sets])
    forces = np.concatenate([_vectors(path / "force.npy", len(symbols)) for path in sets])
    boxes = given_cell(cell) if cell is not None else np.concatenate([_boxes(path / "box.npy") for path in sets])
    has_energy = [(path / "energy.npy").is_file() for path in sets]
    energies = np.concatenate([_array(path / "energy.npy").ravel() for path in sets]) if all(has_energy) else None
    return LabelledFrames(
        symbols=symbols,
        positions=positions,
        forces=forces,
        boxes=boxes,
        energies=energies,
        provenance={"source": str(folder), "name": folder.name},
    )


def _symbols(folder: Path) -> tuple[str, ...]:
    type_file, map_file = folder / "type.raw", folder / "type_map.raw"
    if not map_file.is_file():
        raise InputError(
            f"{map_file} is not there, so the species are not known: write the symbols of type 0, 1, ... "
            "into it, one per line."
        )
    names = map_file.read_text(encoding="utf-8", errors="replace").split()
    try:
        types = [int(word) for word in type_file.read_text(encoding="utf-8", errors="replace").split()]
    except ValueError:
        raise InputError(f"{type_file} does not hold whole numbers.") from None
    if not types or not 0 <= min(types) <= max(types) < len(names):
        raise InputError(f"{type_file} must hold types from 0 to {len(names) - 1}, as many as {map_file.name} names.")
    return tuple(names[number] for number in types)


def _vectors(path: Path, n_agents: int) -> NDArray[Any]:
    array = _array(path)
    if array.ndim < 2 or array[0].size != 3 * n_agents:
        raise InputError(
            f"{path} has the shape {array.shape}; (frames, {3 * n_agents}) is needed for {n_agents} atoms."
        )
    return array.reshape(len(array), n_agents, 3)


def _boxes(path: Path) -> NDArray[np.float64]:
    array = _array(path)
    if array.ndim < 2 or array[0].size != 9:
        raise InputError(f"{path} has the shape {array.shape}; (frames, 9) is needed.")
    return orthorhombic(array.reshape(-1, 3, 3), f"{path}: the box")


def _array(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise InputError(f"{path} is not there; coordinates, forces and boxes are needed in every set.")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array ({str(error).splitlines()[0]}).") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.size == 0:
        raise InputError(f"{path} does not hold numbers.")
    return array
