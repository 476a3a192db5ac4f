"""Frames read one by one, gathered into systems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """One labelled configuration, as a reader found it; fields and units as in `LabelledFrames`."""

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    forces: NDArray[np.float64]
    box: NDArray[np.float64]
    energy: float | None = None
    velocities: NDArray[np.float64] | None = None
    step: int | None = None


def gather(frames: Iterable[SingleFrame], provenance: dict[str, str]) -> list[LabelledFrames]:
    """Systems in the order of their first frames; frames of one system share their list of symbols.

    A property that some frames of a system lack is left out for that system; steps are kept only where they rise from
    frame to frame, as in a time series.
    """
    systems: dict[tuple[str, ...], list[SingleFrame]] = {}
    for frame in frames:
        systems.setdefault(frame.symbols, []).append(frame)
    gathered = []
    for symbols, members in systems.items():
        energies = [frame.energy for frame in members if frame.energy is not None]
        velocities = [frame.velocities for frame in members if frame.velocities is not None]
        steps = [frame.step for frame in members if frame.step is not None]
        rising = len(steps) == len(members) and all(b > a for a, b in pairwise(steps))
        gathered.append(
            LabelledFrames(
                symbols=symbols,
                positions=np.array([frame.positions for frame in members]),
                forces=np.array([frame.forces for frame in members]),
                boxes=np.array([frame.box for frame in members]),
                energies=np.array(energies) if len(energies) == len(members) else None,
                velocities=np.array(velocities) if len(velocities) == len(members) else None,
                steps=np.array(steps, dtype=np.int64) if rising else None,
                provenance=provenance,
            )
        )
    return gathered
