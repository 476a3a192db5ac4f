"""Extended XYZ: one frame after another, the cell and the energy in the comment line. ASE parses it.

Units are ASE's: angstrom, eV, eV/angstrom. Forces may be called forces or force, energies energy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.readers.cell import given_cell, orthorhombic
from mldsim.readers.frames import SingleFrame, gather

_FORCES = ("forces", "force")
_ENERGIES = ("energy", "free_energy", "Energy", "potential_energy")
_STEPS = ("step", "Step", "i")
_PROVENANCE = ("method", "theory", "ensemble", "temperature")


def read(path: Path, *, cell: Sequence[float] | None = None) -> list[LabelledFrames]:
    """Read an extended XYZ file; frames of different composition become systems of their own.

    Parameters
    ----------
    path : Path
    cell : sequence of float, angstrom, optional
        Edges of the box; taken before the file's Lattice.

    Raises
    ------
    InputError
        When a frame cannot be parsed, has no forces or no orthorhombic cell; with the number of the frame from 0.
    """
    provenance = {"name": path.stem, "source": str(path)}
    return gather(_frames(path, cell, provenance), provenance)


def _frames(path: Path, cell: Sequence[float] | None, provenance: dict[str, str]) -> Iterator[SingleFrame]:
    from ase.io import iread

    frames = iread(path, index=":", format="extxyz")
    number = 0
    while True:
        try:
            atoms = next(frames, None)
        # ASE raises whatever its parsing stumbles over.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}, frame {number}: it cannot be read as extended XYZ ({reason}).") from error
        if atoms is None:
            break
        yield _frame(atoms, f"{path}, frame {number}", cell)
        if number == 0:
            provenance.update({key: str(atoms.info[key]) for key in _PROVENANCE if key in atoms.info})
        number += 1
    if number == 0:
        raise InputError(f"{path} holds no frame.")


def _frame(atoms: Any, where: str, cell: Sequence[float] | None) -> SingleFrame:
    # ASE moves what it takes for results of a calculation out of the arrays.
    results: dict[str, Any] = atoms.calc.results if atoms.calc is not None else {}
    forces = _first(_FORCES, results, atoms.arrays)
    if forces is None:
        raise InputError(f"{where} has no forces: a column forces:R:3 in Properties is needed.")
    forces = np.asarray(forces)
    if forces.shape != (len(atoms), 3) or forces.dtype.kind not in "fiu":
        raise InputError(f"{where}: the forces are not three numbers for each atom.")
    for name, values in (("positions", atoms.positions), ("forces", forces)):
        if not np.isfinite(values).all():
            raise InputError(f"{where}: the {name} hold a value that is not a finite number.")
    if cell is None and not atoms.cell.rank == 3:
        raise InputError(f"{where} has no Lattice; give the cell with --cell in angstrom.")
    energy = _first(_ENERGIES, results, atoms.info)
    step = _first(_STEPS, atoms.info)
    velocities = None
    if atoms.has("momenta"):
        from ase import units as ase_units

        velocities = atoms.get_velocities() * ase_units.fs
    symbols = tuple(atoms.get_chemical_symbols())
    if "X" in symbols:
        raise InputError(f"{where}: atom {symbols.index('X')} has no known element.")
    return SingleFrame(
        symbols=symbols,
        positions=atoms.positions,
        forces=forces.astype(np.float64),
        box=orthorhombic(atoms.cell.array, f"{where}: the Lattice") if cell is None else given_cell(cell),
        energy=float(energy) if isinstance(energy, int | float | np.number) else None,
        velocities=velocities,
        step=int(step) if isinstance(step, int | np.integer) and not isinstance(step, bool) else None,
    )


def _first(names: Sequence[str], *places: dict[str, Any]) -> Any:
    return next((place[name] for place in places for name in names if name in place), None)
