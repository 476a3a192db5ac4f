"""Temperature schedules: the target of the thermostat as a function of simulated time.

A schedule is a row of legs. Each goes in a straight line from where the one before has ended to its own temperature; a
leg to the temperature that is there already holds it. After the last leg the target stays, or the legs begin again.

The work of changing the target is booked by the simulation, as that of any change of the target.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mldsim import units
from mldsim.errors import InputError

MOST_LEGS = 100


@dataclass(frozen=True, slots=True)
class Leg:
    """A straight line to a temperature.

    Attributes
    ----------
    temperature : float, K
        Where it ends.
    duration : float, fs
    """

    temperature: float
    duration: float

    def __post_init__(self) -> None:
        if not 0.0 < self.duration < math.inf:
            raise InputError(f"A leg of a schedule takes a positive, finite time; {self.duration:g} fs was given.")

    def __str__(self) -> str:
        return f"{self.temperature:.6g}K:{units.format_time(self.duration).replace(' ', '')}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Legs, one after the other.

    Attributes
    ----------
    legs : tuple of Leg
    begin : float, fs
        When the first one begins.
    repeats : bool
        Whether the first one follows the last one again.

    Raises
    ------
    InputError
        Without a leg, with more than `MOST_LEGS`, or when the begin is no time.
    """

    legs: tuple[Leg, ...]
    begin: float = 0.0
    repeats: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.legs) <= MOST_LEGS:
            raise InputError(f"A schedule has 1 to {MOST_LEGS} legs; {len(self.legs)} were given.")
        if not math.isfinite(self.begin):
            raise InputError("A schedule begins at a finite time.")

    @property
    def duration(self) -> float:
        """Of all legs together, fs."""
        return sum(leg.duration for leg in self.legs)

    def target(self, time: float, initial: float) -> float:
        """The target at a time, K.

        Parameters
        ----------
        time : float, fs
        initial : float, K
            Where the first leg starts from, and what is held before it.
        """
        after = time - self.begin
        if after <= 0.0:
            return initial
        if after >= self.duration:
            initial = self.legs[-1].temperature
            if not self.repeats:
                return initial
            after = math.fmod(after, self.duration)
        for leg in self.legs:
            if after < leg.duration:
                return initial + (leg.temperature - initial) * after / leg.duration
            after -= leg.duration
            initial = leg.temperature
        return initial

    def corners(self, initial: float) -> tuple[list[float], list[float]]:
        """The corners of its curve: times since it began, fs, and temperatures, K; two rounds of one that repeats."""
        times, temperatures = [0.0], [initial]
        for _ in range(2 if self.repeats else 1):
            for leg in self.legs:
                times.append(times[-1] + leg.duration)
                temperatures.append(leg.temperature)
        return times, temperatures

    def __str__(self) -> str:
        return " ".join(map(str, self.legs)) + (", again and again" if self.repeats else "")


def parse_leg(text: str) -> Leg:
    """Read a leg such as ``400K:50ps``: to 400 K within 50 ps; the K may be left out.

    Raises
    ------
    InputError
        One sentence that says what a leg looks like.
    """
    match = re.fullmatch(r"\s*([0-9.eE+]+)\s*K?\s*:\s*(\S.*)", text)
    try:
        if match is None:
            raise ValueError
        temperature = float(match[1])
    except ValueError:
        raise InputError(
            f"'{text}' is not a leg of a schedule: write a temperature and a time, such as 400K:50ps."
        ) from None
    return Leg(temperature, units.parse_time(match[2]))
