"""n2p2 and RuNNer: ``input.data``, one block from ``begin`` to ``end`` per configuration.

The format has no units; both programs' published data sets are in bohr and hartree, which is the default here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mldsim import units
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.readers.cell import given_cell, orthorhombic
from mldsim.readers.frames import SingleFrame, gather

LENGTH_UNITS = {"bohr": units.BOHR, "angstrom": 1.0}
"""angstrom"""

ENERGY_UNITS = {"hartree": units.HARTREE, "ev": 1.0}
"""eV"""

_ATOM_WORDS = 10
"""``atom x y z symbol charge energy fx fy fz``"""


def read(
    path: Path,
    *,
    length_unit: str = "bohr",
    energy_unit: str = "hartree",
    cell: Sequence[float] | None = None,
) -> list[LabelledFrames]:
    """Read an input.data file; configurations of different composition become systems of their own.

    Parameters
    ----------
    path : Path
    length_unit : str
        ``bohr`` or ``angstrom``.
    energy_unit : str
        ``hartree`` or ``eV``; forces are in energy per length.
    cell : sequence of float, angstrom, optional
        Edges of the box; taken before the file's lattice.

    Raises
    ------
    InputError
        When a line is malformed, a configuration is incomplete or has no orthorhombic lattice; with the line.
    """
    length = LENGTH_UNITS.get(length_unit.lower())
    energy = ENERGY_UNITS.get(energy_unit.lower())
    if length is None or energy is None:
        raise InputError(
            f"Units of length are bohr and angstrom, of energy hartree and eV; not '{length_unit}' and '{energy_unit}'."
        )
    provenance = {"source": str(path), "units_of_file": f"{length_unit}, {energy_unit}"}
    systems = gather(_frames(path, length, energy, cell), provenance)
    if not systems:
        raise InputError(f"{path} holds no configuration between 'begin' and 'end'.")
    return systems


def _frames(path: Path, length: float, energy: float, cell: Sequence[float] | None) -> Iterator[SingleFrame]:
    begun = 0
    number = 0
    lattice: list[list[float]] = []
    atoms: list[list[float]] = []
    symbols: list[str] = []
    total: float | None = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            where = f"{path}, line {number}"
            key = words[0]
            if (key == "begin") == bool(begun):
                raise InputError(
                    f"{where}: 'begin' inside the configuration that began in line {begun}."
                    if begun
                    else f"{where}: '{key}' stands before 'begin'."
                )
            try:
                if key == "begin":
                    begun, lattice, atoms, symbols, total = number, [], [], [], None
                elif key == "lattice":
                    lattice.append([float(word) for word in words[1:4]])
                elif key == "atom":
                    if len(words) < _ATOM_WORDS:
                        raise InputError(f"{where}: an atom needs x y z symbol charge energy fx fy fz.")
                    atoms.append([float(word) for word in (*words[1:4], *words[7:10])])
                    symbols.append(words[4])
                elif key == "energy":
                    total = float(words[1])
                elif key == "end":
                    where = f"{path}, configuration at line {begun}"
                    if not atoms:
                        raise InputError(f"{where} has no atoms.")
                    values = np.array(atoms)
                    if not np.isfinite(values).all():
                        raise InputError(f"{where} holds a value that is not a finite number.")
                    if cell is not None:
                        box = given_cell(cell)
                    elif np.shape(lattice) == (3, 3):
                        box = orthorhombic(np.array(lattice) * length, f"{where}: the lattice")
                    else:
                        raise InputError(f"{where} has no lattice of three vectors; give the cell with --cell.")
                    yield SingleFrame(
                        symbols=tuple(symbols),
                        positions=values[:, :3] * length,
                        forces=values[:, 3:] * (energy / length),
                        box=box,
                        energy=None if total is None else total * energy,
                    )
                    begun = 0
                elif key not in ("comment", "charge"):
                    raise InputError(f"{where}: '{key}' is not known in input.data.")
            except (ValueError, IndexError):
                raise InputError(f"{where}: '{line.strip()}' does not hold the numbers it should.") from None
    if begun:
        raise InputError(
            f"{path}: the configuration that began in line {begun} has no 'end'; the file seems cut short."
        )
