"""Frames that runs came upon, and their file: extended XYZ, with the doubt of every agent as a column.

OVITO and ASE show them; `mldsim label` takes them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import CLOSEST_CONTACT
from mldsim.errors import InputError
from mldsim.files import whole_file
from mldsim.labelling import Configurations


class Why(enum.Enum):
    """Why a frame was kept; the value stands in the file."""

    STOP = "before a stop"
    CONTACT = "contact"
    DOUBT = "doubt"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A frame of a run.

    Attributes
    ----------
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
    doubts : (n_agents,) float64, eV/angstrom
    excess : float
        Largest doubt of an agent in units of its limit.
    time : float, fs
        Of the run.
    why : Why
    """

    positions: NDArray[np.float64]
    box: NDArray[np.float64]
    doubts: NDArray[np.float64]
    excess: float
    time: float
    why: Why


def can_be_labelled(found: Found) -> bool:
    """Whether all nuclei are apart; a teacher asked about fused ones answers nonsense, or not at all."""
    from scipy.spatial import cKDTree

    if not (np.isfinite(found.positions).all() and np.isfinite(found.doubts).all()):
        return False
    points = np.mod(found.positions, found.box)
    points[points >= found.box] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
    return bool(cKDTree(points, boxsize=found.box).query(points, k=2)[0][:, 1].min() >= CLOSEST_CONTACT)


def write_found(path: Path, symbols: Sequence[str], frames: Iterable[Found]) -> None:
    """Write the file, whole or not at all.

    Raises
    ------
    WorkFailed
        When it cannot be written.
    """
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for frame in frames:
            a, b, c = frame.box
            file.write(
                f'{len(symbols)}\nLattice="{a:.10f} 0 0 0 {b:.10f} 0 0 0 {c:.10f}" pbc="T T T" '
                f"Properties=species:S:1:pos:R:3:doubt:R:1 time={frame.time:.10g} excess={frame.excess:.10g} "
                f'why="{frame.why.value}"\n'
            )
            columns = np.column_stack([frame.positions, frame.doubts]).tolist()
            file.writelines(
                f"{symbol:<2} {x:.10f} {y:.10f} {z:.10f} {doubt:.6f}\n"
                for symbol, (x, y, z, doubt) in zip(symbols, columns, strict=True)
            )


def read_found(path: Path) -> tuple[tuple[str, ...], list[Found]]:
    """Symbols and frames of a file that `write_found` wrote.

    Raises
    ------
    InputError
        When it is not such a file.
    """
    from ase.io import read

    if path.is_file() and path.stat().st_size == 0:
        return (), []
    try:
        listed = read(path, index=":", format="extxyz")
        frames = [
            Found(
                positions=np.array(atoms.positions, np.float64),
                box=np.array(atoms.cell.lengths(), np.float64),
                doubts=np.array(atoms.arrays["doubt"], np.float64),
                excess=float(atoms.info["excess"]),
                time=float(atoms.info["time"]),
                why=Why(atoms.info["why"]),
            )
            for atoms in listed
        ]
        symbols = {tuple(atoms.symbols) for atoms in listed}
        if len(symbols) != 1 or not all(can_be_labelled(frame) and (frame.box > 0).all() for frame in frames):
            raise ValueError("its frames differ, or hold numbers that are none")
    # ASE raises whatever its parsing stumbles over.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is not a file of frames that runs came upon ({reason}); begin in another folder."
        ) from error
    return symbols.pop(), frames


def configurations(symbols: tuple[str, ...], frames: Sequence[Found], source: Path) -> list[Configurations]:
    """What a labeller takes; frames of one box together, because an engine reads another box in anew."""
    order = sorted(range(len(frames)), key=lambda n: tuple(frames[n].box))
    chosen = [frames[n] for n in order]
    if not chosen:
        return []
    return [
        Configurations(
            symbols=symbols,
            positions=np.array([frame.positions for frame in chosen]),
            boxes=np.array([frame.box for frame in chosen]),
            source=str(source),
            steps=None,
            numbers=np.array(order),
        )
    ]
