"""Readers of labelled frames, one module a format; `open_frames` finds the one that fits.

To add a format: a module with ``read(path, ...) -> list[LabelledFrames]`` in internal units, and a line in `_reader_of`
that recognises its files by their content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from mldsim.dataset import LabelledFrames, check_units
from mldsim.errors import InputError

READABLE = (
    "a data set (HDF5), a CP2K project (its -pos-1.xyz, with -frc-1.xyz beside it), extended XYZ with forces, "
    "a DeePMD folder (type.raw, set.*) or an n2p2 input.data"
)
"""What can be read, for messages and help."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_Reader = Callable[[], list[LabelledFrames]]


def open_frames(
    path: str | Path,
    *,
    cell: Sequence[float] | None = None,
    length_unit: str | None = None,
    energy_unit: str | None = None,
) -> list[LabelledFrames]:
    """Read labelled frames from whatever a path is: its content decides, not its name.

    Parameters
    ----------
    path : path
        A file or folder of one of the formats in `READABLE`.
    cell : sequence of float, angstrom, optional
        Edges of the box, one for a cube or three, where the files do not state them or are to be overruled.
    length_unit, energy_unit : str, optional
        Units of an n2p2 file: ``bohr`` (default) or ``angstrom``, ``hartree`` (default) or ``eV``.

    Returns
    -------
    list of LabelledFrames
        One per system, in internal units, checked to be plausible in them.

    Raises
    ------
    InputError
        When the path does not exist, nothing fits, or the content is wrong.
    """
    path = Path(path)
    try:
        systems = _reader_of(path, cell, length_unit, energy_unit)()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError:
        raise InputError(f"{path} holds more frames than fit into the memory of this machine.") from None
    for system in systems:
        check_units(system)
    return systems


def _reader_of(path: Path, cell: Sequence[float] | None, length_unit: str | None, energy_unit: str | None) -> _Reader:
    from mldsim.readers import cp2k, deepmd, extxyz, hdf5, n2p2

    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if path.is_dir():
        if deepmd.systems_in(path):
            return partial(deepmd.read, path, cell=cell)
        if cp2k.projects_in(path):
            return partial(cp2k.read, path, cell=cell)
        raise InputError(f"The folder {path} holds nothing that can be read: {READABLE}.")

    with path.open("rb") as file:
        start = file.read(2**16)
    if not start:
        raise InputError(f"{path} is empty.")
    if start.startswith(_HDF5_SIGNATURE):
        if cell is not None:
            raise InputError(f"{path} states its box; a cell cannot be given for an HDF5 data set.")
        return partial(hdf5.read, path)
    if path.suffix == ".npy" or path.name in ("type.raw", "type_map.raw"):
        raise InputError(f"{path} is a part of a DeePMD system; give the folder that holds its type.raw.")

    lines = [line.strip() for line in start.decode("utf-8", "replace").splitlines()]
    content = [line for line in lines if line and not line.startswith(("#", "!"))]
    first = content[0] if content else ""
    second = lines[1] if len(lines) > 1 else ""
    if first.isdecimal() and re.match(r"i\s*=\s*\d", second):
        return partial(cp2k.read, path, cell=cell)
    if first.isdecimal() and re.search(r"\b(Lattice|Properties)\s*=", second, re.IGNORECASE):
        return partial(extxyz.read, path, cell=cell)
    if first.isdecimal():
        raise InputError(
            f"{path} is plain XYZ: it has neither the forces and the Lattice of extended XYZ nor the 'i = ' of CP2K."
        )
    if first.split()[:1] == ["begin"]:
        units = {"length_unit": length_unit, "energy_unit": energy_unit}
        given = {name: unit for name, unit in units.items() if unit is not None}
        return partial(n2p2.read, path, cell=cell, **given)
    if first.startswith(("&", "@")) or cp2k.looks_like_output(path):
        return partial(cp2k.read, path, cell=cell)
    if path.suffix in (".h5", ".hdf5", ".h5md"):
        raise InputError(f"{path} is not HDF5, whatever its name says, or it is damaged.")
    raise InputError(f"{path} holds no labelled frames in a format that can be read: {READABLE}.")


def load_frames(
    paths: str | Path | Iterable[str | Path],
    *,
    cell: Sequence[float] | None = None,
    length_unit: str | None = None,
    energy_unit: str | None = None,
) -> list[LabelledFrames]:
    """Read everything that `mldsim.readers.open_frames` can read; the systems of all paths, in order.

    Parameters
    ----------
    paths : path or several
        Data sets, CP2K projects, extended XYZ files, DeePMD folders, n2p2 files.
    cell, length_unit, energy_unit
        See `mldsim.readers.open_frames`.

    Raises
    ------
    InputError
        When a path cannot be read, or none is given.
    """
    several = [paths] if isinstance(paths, str | Path) else list(paths)
    if not several:
        raise InputError("No data was given: name at least one file or folder with labelled frames.")
    return [
        system
        for path in several
        for system in open_frames(path, cell=cell, length_unit=length_unit, energy_unit=energy_unit)
    ]
