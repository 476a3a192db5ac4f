"""Readers of labelled frames; `open_frames` finds the one that fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mldsim.dataset import LabelledFrames, check_units


def open_frames(
    path: str | Path,
    *,
    cell: Sequence[float] | None = None,
    length_unit: str | None = None,
    energy_unit: str | None = None,
) -> list[LabelledFrames]:
    """Read labelled frames."""
    from mldsim.readers import hdf5

    systems = hdf5.read(Path(path))
    for system in systems:
        check_units(system)
    return systems
