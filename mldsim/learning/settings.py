"""What a learning loop is told: where its runs go, how much is labelled, and when it may stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mldsim.errors import InputError
from mldsim.parameters import check

STRICT = {"strict": True, "extra": "forbid", "allow_inf_nan": False}
"""How pydantic reads what stands in a journal: no text in the place of a number, nothing unknown."""

MOST_RUNS = 200
"""Runs of a round: temperatures times densities."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run of a round.

    Attributes
    ----------
    number : int
        From 1, coolest first.
    temperature : float, K
    density : float, g/cm^3
    seed : int
        Of its start, its velocities, its thermostat and its samples.
    """

    number: int
    temperature: float
    density: float
    seed: int

    def __str__(self) -> str:
        return f"{self.temperature:g} K, {self.density:g} g/cm³"


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """A loop's settings. The same settings on the same model and data give the same loop.

    Attributes
    ----------
    temperatures : tuple of float, K
        Where the runs of a round go.
    densities : tuple of float, g/cm^3
        Each at each temperature.
    molecules : int or None
        Of water in a box to start from, in the place of a frame of the data.
    start : Path or None
        A structure to start from, in the place of a frame of the data.
    time, timestep, every : float, fs
        Length of a run, its time step, and the time between two looks at the doubt.
    rounds : int
        At most so many.
    frames : int
        Labelled in a round at most, samples included.
    holdout : float
        Share of `frames` that is drawn at random from the runs, whatever the doubt, and never fitted. Runs that are
        stopped give fewer.
    doubt_factor : float
        Doubt warns above so many times the 99th percentile that the model shows on the agents of the data, element by
        element.
    doubt_limit : float or None, eV/angstrom
        Doubt warns above this instead.
    inside : float
        The runs are inside what is known when none was stopped and at most this share of the looks warned.
    seed : int
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    temperatures: tuple[float, ...] = (300.0, 400.0, 500.0)
    densities: tuple[float, ...] = (0.9, 1.0, 1.1)
    molecules: int | None = None
    start: Path | None = None
    time: float = 5000.0
    timestep: float = 0.5
    every: float = 10.0
    rounds: int = 5
    frames: int = 50
    holdout: float = 0.2
    doubt_factor: float = 3.0
    doubt_limit: float | None = None
    inside: float = 0.01
    seed: int = 1

    def __post_init__(self) -> None:
        for option, values, name in (
            ("--temperatures", self.temperatures, "temperature"),
            ("--densities", self.densities, "density"),
        ):
            if not values or len(set(values)) != len(values):
                raise InputError(f"{option} needs one or more numbers, each once.")
            for value in values:
                check(name, value)
        for name, number in (("molecules", self.molecules), ("timestep", self.timestep), ("seed", self.seed)):
            if number is not None:
                check(name, number)
        if self.molecules is not None and self.start is not None:
            raise InputError("--start and --molecules are two ways to start; give one of them, or none.")
        if len(self.temperatures) * len(self.densities) > MOST_RUNS:
            raise InputError(
                f"{len(self.temperatures)} temperatures at {len(self.densities)} densities are more than {MOST_RUNS} "
                "runs a round; give fewer."
            )
        if not self.timestep <= self.every <= self.time < math.inf:
            raise InputError(
                f"--every of {self.every:g} fs must be at least one time step ({self.timestep:g} fs) and at most the "
                f"--time of a run ({self.time:g} fs)."
            )
        for option, count in (("--rounds", self.rounds), ("--frames", self.frames)):
            if count < 1:
                raise InputError(f"{option} must be at least 1; {count} was given.")
        if not 0.0 <= self.holdout < 1.0:
            raise InputError(f"--holdout must be at least 0 and less than 1; {self.holdout:g} was given.")
        if not 1.0 <= self.doubt_factor < math.inf:
            raise InputError(f"--doubt-factor must be a number from 1; {self.doubt_factor:g} was given.")
        if self.doubt_limit is not None and not 0.0 < self.doubt_limit < math.inf:
            raise InputError(f"--doubt-limit must be a positive number; {1e3 * self.doubt_limit:g} was given.")
        if not 0.0 <= self.inside < 1.0:
            raise InputError(f"--inside must be a share from 0 to below 1; {self.inside:g} was given.")

    @property
    def looks(self) -> int:
        """Of a run that is not stopped."""
        return max(1, round(self.time / self.every))

    @property
    def steps_per_look(self) -> int:
        return max(1, round(self.every / self.timestep))

    @property
    def samples(self) -> int:
        """Held-out frames of a round."""
        return min(round(self.holdout * self.frames), self.frames - 1)

    @property
    def samples_per_run(self) -> int:
        """Of a run that is not stopped: enough that all runs together give `samples`."""
        runs = len(self.temperatures) * len(self.densities)
        return -(-self.samples // runs)

    def plans(self, number: int) -> list[RunPlan]:
        """The runs of the round of this number, from 1; every run of every round has another seed."""
        states = [(t, d) for t in sorted(self.temperatures) for d in sorted(self.densities)]
        return [
            RunPlan(which, t, d, int(np.random.SeedSequence((self.seed, number, which)).generate_state(1)[0] >> 1))
            for which, (t, d) in enumerate(states, start=1)
        ]
