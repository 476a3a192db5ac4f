"""Doubt of a running simulation, at an interval of simulated time.

A judgement takes as many evaluations of forces as a model has members in its committee and more. They are spread over
the steps that follow, so that neither the view nor the answer to a command waits for a whole one; all of it happens
in the runner's thread, because kernels that use several threads may not be entered from two.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.doubt import Judgement
from mldsim.errors import InputError
from mldsim.frames import Frame, Topology
from mldsim.messages import DoubtSettings, Engine, Judge
from mldsim.trajectory.history import History
from mldsim.units import format_time

Array = NDArray[np.float64]

MOST_FRAMES, MOST_BYTES = 200, 64_000_000
"""Doubtful frames that are kept; when they are more, every second one is dropped."""

QUIET = 10
"""Judgements below the limit after which another warning is worth a sentence."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The doubt of one frame.

    Attributes
    ----------
    frame : Frame
    judgement : Judgement
    worst : int
        The most doubtful agent.
    warning : str
        One sentence, when this is the first of a row above the limit.
    """

    frame: Frame
    judgement: Judgement
    worst: int
    warning: str = ""

    @property
    def largest(self) -> float:
        """eV/angstrom"""
        return float(self.judgement.doubts[self.worst])


class DoubtTable:
    """Mean and largest doubt over time in bounded memory; the largest of what is merged stays."""

    COLUMNS = ("time", "mean", "largest")

    def __init__(self, capacity: int = 4000) -> None:
        self._rows = np.empty((capacity, 3))
        self._count = 0
        self._version = 0
        self._lock = threading.Lock()

    def append(self, time: float, mean: float, largest: float) -> None:
        """fs and eV/angstrom."""
        with self._lock:
            if self._count == len(self._rows):
                half = self._count // 2 // 2 * 2
                pairs, recent = self._rows[:half].reshape(-1, 2, 3), self._rows[half:].copy()
                merged = np.stack([pairs[:, 1, 0], pairs[:, :, 1].mean(axis=1), pairs[:, :, 2].max(axis=1)], axis=1)
                self._rows[: len(merged)] = merged
                self._rows[len(merged) : len(merged) + len(recent)] = recent
                self._count = len(merged) + len(recent)
            self._rows[self._count] = time, mean, largest
            self._count += 1
            self._version += 1

    def forget_after(self, time: float) -> None:
        """The run goes on from `time`, fs, where it was before."""
        with self._lock:
            self._count = int(np.searchsorted(self._rows[: self._count, 0], time, side="right"))
            self._version += 1

    def clear(self) -> None:
        self.forget_after(-math.inf)

    @property
    def version(self) -> int:
        """Changes with the table."""
        return self._version

    def columns(self) -> dict[str, Array]:
        """A copy of all columns by name, each (n_rows,) float64."""
        with self._lock:
            rows = self._rows[: self._count].copy()
        return {name: rows[:, i] for i, name in enumerate(self.COLUMNS)}


class DoubtWatch:
    """What a runner knows of doubt; belongs to its thread, but for `table`.

    Attributes
    ----------
    table : DoubtTable
    history : History
        Doubtful frames.
    doubts : (n_agents,) float64, or None
        Of the last frame that was judged.
    refused : str
        Why the present model cannot be doubted; empty while it can.
    """

    def __init__(self) -> None:
        self.table = DoubtTable()
        self.history = History(MOST_FRAMES, MOST_BYTES)
        self.doubts: Array | None = None
        self.refused = ""
        self.settings: DoubtSettings | None = None
        self._judge: Judge | None = None
        self._parts: Generator[None, None, Judgement] | None = None
        self._frame: Frame | None = None
        self._next: float = -math.inf
        self._calm = QUIET

    def set(self, settings: DoubtSettings | None) -> None:
        """Watch, or stop watching."""
        self.settings = settings
        self.refused = ""
        self._calm = QUIET
        if settings is None:
            self._judge = None
            self._drop()
            self.doubts = None
        elif self._frame is None:
            self._next = -math.inf

    def forget(self, *, system: bool) -> None:
        """There is another model; with `system`, another run as well."""
        self._judge = None
        self.refused = ""
        self.doubts = None
        self._drop()
        if system:
            self.table.clear()
            self.history.clear()

    def forget_after(self, time: float) -> None:
        """The run goes on from here, where it was before; doubtful frames on the way to its end are worth most."""
        self.table.forget_after(time)
        self._drop()

    def frames(self) -> list[Frame]:
        """The doubtful frames in the order of their steps, each step once."""
        by_step = {frame.step: frame for frame in self.history.frames()}
        return [by_step[step] for step in sorted(by_step)]

    @property
    def judging(self) -> bool:
        """Whether a judgement is under way."""
        return self._parts is not None

    def attend(self, engine: Engine, step: int, time: float, *, standing: bool) -> None:
        """Begin a judgement when one is due: at its time, and once wherever the run is `standing`."""
        if self.settings is None or self.refused or self.judging:
            return
        if standing and self._frame is not None and self._frame.step == step:
            return
        if time < self._next and not standing:
            return
        try:
            if self._judge is None:
                self._judge = engine.judge()
        except InputError as error:
            self.refused = str(error)
            return
        self._frame = engine.frame()
        self._parts = self._judge.gradually(self._frame.positions)
        self._next = self._frame.time + self.settings.interval

    def parts_due(self, steps: int, timestep: float) -> int:
        """How many parts go with so many steps, for a judgement to be done when the next one is due."""
        if self._judge is None or self.settings is None:
            return 0
        return math.ceil((self._judge.n_parts + 1) * steps * timestep / self.settings.interval)

    def go_on(self, parts: int, topology: Topology) -> Judged | None:
        """Do so many parts; the judgement when it is complete."""
        for _ in range(parts):
            if self._parts is None or self._frame is None:
                return None
            try:
                next(self._parts)
            except StopIteration as end:
                self._parts = None
                return self._conclude(self._frame, end.value, topology)
        return None

    def _conclude(self, frame: Frame, judgement: Judgement, topology: Topology) -> Judged:
        doubts = self.doubts = judgement.doubts
        worst = int(np.argmax(np.where(np.isfinite(doubts), doubts, np.inf)))
        self.table.append(frame.time, float(doubts.mean()), float(doubts[worst]))
        settings = self.settings
        assert settings is not None
        if doubts[worst] <= settings.limit:
            self._calm += 1
            return Judged(frame, judgement, worst)
        if self.history.tick():
            self.history.append(frame)
        warning = ""
        if self._calm >= QUIET or settings.pause:
            above = int(np.count_nonzero(~(doubts <= settings.limit)))
            name = f"{topology.symbols[topology.species[worst]]} {worst}"
            subject = f"The force on {name} is" if above == 1 else f"The forces on {name} and {above - 1} more are"
            warning = (
                f"{subject} in doubt at {format_time(frame.time)}: an error of {doubts[worst]:.2g} eV/Å is to be "
                f"expected, because {judgement.reason(worst)}."
            )
        self._calm = 0
        return Judged(frame, judgement, worst, warning)

    def _drop(self) -> None:
        self._parts = self._frame = None
        self._next = -math.inf
