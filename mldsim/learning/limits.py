"""When doubt is too much: compared with the doubt that the model shows on the data that it was given.

A model is unsure of its own training frames too; what it cannot know is told by agents that are much less covered than
those. Hydrogen and oxygen differ in the size of their forces, so each element has a limit of its own. Frames that were
learned do not count: they were picked for being hard, and with them limits would rise from round to round (measured:
from 170 to 357 meV/angstrom for oxygen in two rounds that added 49 frames to 60).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import InputError
from mldsim.loss import LossModel

PERCENTILE = 99.0
"""Of the doubts of all agents of an element in the data."""

FRAMES_LOOKED_AT = 200
"""Frames of the data that are looked at, evenly spread: with 32 molecules each the percentile of oxygen rests on 64
agents beyond it."""


class AgentDoubt(Protocol):
    """Expected force error of each agent; `mldsim.doubt.Doubt` is the one."""

    def __call__(self, positions: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Positions (n_agents, 3) float64, angstrom; doubts (n_agents,) float64, eV/angstrom."""
        ...


MakeDoubt = Callable[[LossModel, NDArray[np.int32], NDArray[np.float64]], AgentDoubt]
"""(model, species (n_agents,), box (3,) angstrom) -> doubt of the agents of that box."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Above which doubt an agent is outside what the model knows.

    Attributes
    ----------
    symbols : tuple of str
        In the order of the model's species.
    doubts : tuple of float, eV/angstrom
        One for each of them; infinite for an element that the data lack.
    share : float
        Of the frames of the data looked at, how many hold an agent above its limit.
    """

    symbols: tuple[str, ...]
    doubts: tuple[float, ...]
    share: float

    def excess(self, doubts: NDArray[np.float64], species: NDArray[np.int32]) -> NDArray[np.float64]:
        """Doubt of each agent in units of its limit, (n_agents,) float64; what is not a number is infinite."""
        ratio = doubts / np.array(self.doubts)[species]
        return np.where(np.isnan(ratio), np.inf, ratio)


def species_of(symbols: Sequence[str], model: LossModel) -> NDArray[np.int32]:
    """Index of each agent's element among those of the model, (n_agents,) int32.

    Raises
    ------
    InputError
        When the model does not know one.
    """
    unknown = sorted(set(symbols) - set(model.symbols))
    if unknown:
        raise InputError(f"The model '{model.name}' knows {', '.join(model.symbols)}, not {', '.join(unknown)}.")
    return np.array([model.symbols.index(symbol) for symbol in symbols], np.int32)


def doubts_of(
    model: LossModel, systems: Sequence[LabelledFrames], make_doubt: MakeDoubt, progress: Progress | None = None
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float64]]]:
    """Species and doubts (n_agents,) of every frame, in order."""
    total = sum(system.n_frames for system in systems)
    done = 0
    for system in systems:
        species = species_of(system.symbols, model)
        made: tuple[bytes, AgentDoubt] | None = None
        for positions, box in zip(system.positions, system.boxes, strict=True):
            if made is None or made[0] != box.tobytes():
                made = box.tobytes(), make_doubt(model, species, box)
            yield species, made[1](positions)
            done += 1
            if progress is not None:
                progress(done / total, f"frame {done} of {total}")


def measure_limits(
    model: LossModel,
    systems: Sequence[LabelledFrames],
    make_doubt: MakeDoubt,
    factor: float,
    fixed: float | None = None,
    progress: Progress | None = None,
) -> Limits:
    """Look at the data.

    Parameters
    ----------
    model : LossModel
    systems : sequence of LabelledFrames
        The data.
    make_doubt : callable
    factor : float
        Of the percentile.
    fixed : float, optional, eV/angstrom
        The limit of all elements, in the place of the percentile.
    progress : callable, optional
    """
    looked = list(doubts_of(model, evenly(systems, FRAMES_LOOKED_AT), make_doubt, progress))
    limits: list[float] = []
    for a in range(len(model.symbols)):
        seen = np.concatenate([doubts[species == a] for species, doubts in looked])
        usual = float(np.percentile(seen, PERCENTILE)) if len(seen) else np.inf
        limits.append(factor * usual if fixed is None else fixed)
    measured = Limits(model.symbols, tuple(limits), 0.0)
    above = [bool(measured.excess(doubts, species).max() > 1.0) for species, doubts in looked]
    return Limits(model.symbols, tuple(limits), float(np.mean(above)))


def evenly(systems: Sequence[LabelledFrames], at_most: int) -> list[LabelledFrames]:
    """So many frames of all systems, evenly spread; each system gives its share."""
    total = sum(system.n_frames for system in systems)
    if total <= at_most:
        return list(systems)
    kept = np.unique(np.linspace(0, total - 1, at_most).round().astype(np.intp))
    parts: list[LabelledFrames] = []
    start = 0
    for system in systems:
        mine = kept[(kept >= start) & (kept < start + system.n_frames)] - start
        start += system.n_frames
        if len(mine):
            parts.append(system.take(mine))
    return parts
