"""What there is to say of picked agents, as plain values: no Qt here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.analysis import geometry
from mldsim.analysis.periodic import nearest
from mldsim.frames import Frame, Topology
from mldsim.gui.viewport.quantities import METRES_PER_SECOND

Array = NDArray[np.float64]

UNKNOWN = "not known"
"""In the place of a number that a trajectory does not tell."""

MOST_PICKED = 4
"""A dihedral has four."""


def pick(picked: tuple[int, ...], agent: int | None, *, add: bool) -> tuple[int, ...]:
    """What is picked after a click on an agent, or on none.

    A click picks one agent alone, or none. Where it adds, it takes an agent off that is there already, and what was
    picked first goes when there are too many.
    """
    if not add:
        return () if agent is None else (agent,)
    if agent is None:
        return picked
    if agent in picked:
        return tuple(other for other in picked if other != agent)
    return (*picked, agent)[-MOST_PICKED:]


def name_of(topology: Topology, agent: int) -> str:
    """Species and number of an agent: ``O 12``."""
    return f"{topology.symbols[topology.species[agent]]} {agent}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A number that can be read off every frame.

    Attributes
    ----------
    title : str
        Of what: ``Speed of O 12``.
    quantity : str
        Which: ``Speed``.
    unit : str
    read : callable (frame) -> float
        In this unit.
    """

    title: str
    quantity: str
    unit: str
    read: Callable[[Frame], float]

    def text(self, frame: Frame) -> str:
        """Its value now, with the unit."""
        value = self.read(frame)
        if math.isnan(value):
            return UNKNOWN
        return f"{written(value)}{'' if self.unit == '°' else ' '}{self.unit}"


def written(value: float) -> str:
    """Four digits and a real minus sign: numbers that are read while they change."""
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:.{digits}f}".replace("-", "−")


def readings(topology: Topology, agent: int) -> tuple[Reading, ...]:
    """The numbers of one agent."""
    who, mass = name_of(topology, agent), float(topology.masses[agent])

    def speed(frame: Frame) -> float:
        return METRES_PER_SECOND * float(np.linalg.norm(frame.velocities[agent]))

    def kinetic(frame: Frame) -> float:
        velocity = frame.velocities[agent]
        return 500.0 * units.MASS * mass * float(velocity @ velocity)

    def gradient(frame: Frame) -> float:
        return float(np.linalg.norm(frame.forces[agent]))

    return (
        Reading(f"Loss of {who}", "Loss", "eV", lambda frame: float(frame.losses[agent])),
        Reading(f"Gradient at {who}", "Gradient", "eV/Å", gradient),
        Reading(f"Speed of {who}", "Speed", "m/s", speed),
        Reading(f"Kinetic energy of {who}", "Kinetic energy", "meV", kinetic),
    )


def figure(topology: Topology, picked: tuple[int, ...]) -> Reading | None:
    """What two, three or four agents form: a distance, an angle at the second, a dihedral; None for fewer."""
    if not 2 <= len(picked) <= MOST_PICKED:
        return None
    measure, quantity, unit = {
        2: (geometry.distance, "Distance", "Å"),
        3: (geometry.angle, "Angle", "°"),
        4: (geometry.dihedral, "Dihedral", "°"),
    }[len(picked)]
    title = f"{quantity} {' – '.join(name_of(topology, agent) for agent in picked)}"
    agents = list(picked)
    return Reading(title, quantity, unit, lambda frame: measure(frame.positions[agents], frame.box))


def region(molecule: NDArray[np.int64], frame: Frame, agent: int, radius: float) -> tuple[int, ...]:
    """All agents of the molecules that have one within `radius`, angstrom, of an agent.

    Parameters
    ----------
    molecule : (n_agents,) int64
        The molecule that each agent belongs to.
    """
    apart = nearest(frame.positions - frame.positions[agent], frame.box)
    near = np.unique(molecule[np.einsum("ij,ij->i", apart, apart) <= radius**2])
    return tuple(np.flatnonzero(np.isin(molecule, near)).tolist())


def place_text(frame: Frame, agent: int) -> str:
    """Where an agent is in the box."""
    inside = np.mod(frame.positions[agent], frame.box)
    return "  ".join(f"{value:.2f}" for value in inside) + " Å"


def velocity_text(frame: Frame, agent: int) -> str:
    """Components of its velocity."""
    parts = METRES_PER_SECOND * frame.velocities[agent]
    if np.isnan(parts).any():
        return UNKNOWN
    return "  ".join(f"{value:.0f}".replace("-", "−") for value in parts) + " m/s"


@dataclass(slots=True)
class Series:
    """Values over time in bounded memory: when it is full, every second value of its older half goes.

    Attributes
    ----------
    capacity : int
    """

    capacity: int = 20_000
    _rows: Array = field(init=False)
    _count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._rows = np.empty((self.capacity, 2))

    def append(self, time: float, value: float) -> None:
        """Take a value at a time, fs; where time went back, what was later is forgotten."""
        while self._count and self._rows[self._count - 1, 0] >= time:
            self._count = int(np.searchsorted(self._rows[: self._count, 0], time))
        if self._count == self.capacity:
            half = self.capacity // 2
            kept = np.concatenate([self._rows[:half:2], self._rows[half:]])
            self._count = len(kept)
            self._rows[: self._count] = kept
        self._rows[self._count] = time, value
        self._count += 1

    def columns(self) -> tuple[Array, Array]:
        """Times, fs, and values: copies."""
        rows = self._rows[: self._count].copy()
        return rows[:, 0], rows[:, 1]
