"""HDF5 data sets: the product's own (`mldsim.dataset` describes them) and single systems at the root of a file.

The second layout is the same without the group: positions, forces, atomic_numbers, box, optional energy, velocities and
step at the root, provenance in the file's attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import FORMAT, SCHEMA, UNITS, LabelledFrames
from mldsim.errors import InputError
from mldsim.readers.cell import orthorhombic
from mldsim.species import symbol_of

_OTHER_SPELLINGS = {
    "angstrom": {"angstrom", "a", "å", "ang"},
    "ev angstrom-1": {"ev angstrom-1", "ev/angstrom", "ev/a", "ev/å", "ev/ang", "ev angstrom^-1"},
    "angstrom fs-1": {"angstrom fs-1", "angstrom/fs", "a/fs", "å/fs", "ang/fs", "angstrom fs^-1"},
    "ev": {"ev"},
}


_NOT_PROVENANCE = ("format", "schema", "weight")


def read(path: Path) -> list[LabelledFrames]:
    """Read the systems of an HDF5 data set.

    Raises
    ------
    InputError
        When the file is no data set, is of a newer schema, lacks a field or holds one of the wrong shape or unit.
    """
    try:
        with h5py.File(path, "r") as file:
            if "format" in file.attrs:
                _check_schema(path, file)
            groups = [file[name] for name in file if isinstance(file.get(name), h5py.Group)]
            if isinstance(file.get("positions"), h5py.Dataset):
                return [_read_system(path, file)]
            if "h5md" in file:
                raise InputError(
                    f"{path} is an H5MD trajectory, not labelled frames: it records what a model did, and a loss is "
                    "inferred from what the teacher (CP2K, ...) computed."
                )
            systems = [_read_system(path, group) for group in groups if "positions" in group]
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} cannot be read as HDF5 ({str(error).splitlines()[0]}).") from error
    if not systems:
        raise InputError(f"{path} is HDF5 but holds no labelled frames: no dataset 'positions' was found in it.")
    return systems


def _check_schema(path: Path, file: h5py.File) -> None:
    kind, schema = file.attrs["format"], file.attrs.get("schema", SCHEMA)
    if kind != FORMAT:
        raise InputError(f"{path} is of the format '{kind}', not labelled frames ('{FORMAT}').")
    if not np.issubdtype(np.asarray(schema).dtype, np.integer) or not 1 <= int(schema) <= SCHEMA:
        raise InputError(
            f"{path} has the data set schema {schema}; this version reads up to {SCHEMA}: install a newer mldsim."
        )


def _read_system(path: Path, group: h5py.Group) -> LabelledFrames:
    where = f"{path}{'' if group.name == '/' else ' ' + str(group.name)}"
    for needed, why in (
        ("forces", "a loss is inferred from forces"),
        ("atomic_numbers", "agents need a species"),
        ("box", "neighbours are found over periodic images"),
    ):
        if not isinstance(group.get(needed), h5py.Dataset):
            raise InputError(f"{where}: there is no dataset '{needed}': {why}.")
    positions, forces = _numbers(where, group, "positions"), _numbers(where, group, "forces")
    if positions.ndim != 3 or positions.shape[-1] != 3:
        raise InputError(f"{where}: positions have the shape {positions.shape} instead of (frames, agents, 3).")
    numbers = _numbers(where, group, "atomic_numbers")
    if numbers.shape != positions.shape[1:2] or numbers.dtype.kind not in "iu":
        raise InputError(
            f"{where}: atomic_numbers must be {positions.shape[1]} whole numbers, one for each agent of the positions; "
            f"their shape is {numbers.shape}."
        )
    try:
        symbols = tuple(symbol_of(int(number)) for number in numbers)
    except InputError as error:
        raise InputError(f"{where}: atomic_numbers: {error}") from None
    box = _numbers(where, group, "box")
    # Three frames with a box each look like a matrix, but no edge is zero; a matrix without zeros is not orthorhombic.
    of_frames = box.shape == (len(positions), 3) and bool((box > 0).all())
    if not of_frames and box.shape[-2:] == (3, 3) and box.shape[:-2] in ((), (len(positions),)):
        box = orthorhombic(box, f"{where}: box")
    optional = {
        name: _numbers(where, group, name) if name in group else None for name in ("energy", "velocities", "step")
    }
    provenance = {str(key): _text(value) for key, value in group.attrs.items() if key not in _NOT_PROVENANCE}
    if group.name != "/":
        provenance["name"] = str(group.name).strip("/")
    # Where the labels came from first stays on record; messages name the file at hand.
    if provenance.get("source") not in (None, str(path)):
        provenance.setdefault("origin", provenance["source"])
    provenance["source"] = str(path)
    return LabelledFrames(
        symbols=symbols,
        positions=positions,
        forces=forces,
        boxes=box,
        energies=optional["energy"],
        velocities=optional["velocities"],
        steps=optional["step"],
        provenance=provenance,
        weight=_weight(where, group),
    )


def _weight(where: str, group: h5py.Group) -> float:
    weight = np.asarray(group.attrs.get("weight", 1.0))
    if weight.shape != () or weight.dtype.kind not in "fiu":
        raise InputError(f"{where}: the attribute 'weight' must be a number, by which the frames count in a fit.")
    return float(weight)


def _numbers(where: str, group: h5py.Group, name: str) -> NDArray[Any]:
    """One dataset as an array of numbers in the expected unit."""
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        raise InputError(f"{where}: '{name}' does not hold numbers.")
    unit = dataset.attrs.get("unit", dataset.attrs.get("units"))
    if name in UNITS and unit is not None:
        expected = UNITS[name]
        if _text(unit).strip().lower() not in _OTHER_SPELLINGS[expected.lower()]:
            raise InputError(f"{where}: '{name}' is given in '{_text(unit)}'; {expected} is needed.")
    return np.asarray(dataset[()])


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
