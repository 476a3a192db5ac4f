"""What the colour of an agent can tell: each quantity, its unit, and how it is read off a frame."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.analysis.water import HydrogenBonds
from mldsim.errors import InputError
from mldsim.frames import Frame, Topology
from mldsim.gui.viewport.molecules import Molecules

Array = NDArray[np.float64]

METRES_PER_SECOND = 1e5
"""An angstrom per femtosecond."""


class Colouring(enum.Enum):
    """What the colour of an agent tells."""

    ELEMENT = "element"
    MOLECULE = "molecule"
    SPEED = "speed"
    LOSS = "loss"
    GRADIENT = "gradient"
    DOUBT = "doubt"
    HYDROGEN_BONDS = "hydrogen bonds"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that every agent has.

    Attributes
    ----------
    title : str
        Over its colour scale.
    unit : str
    by_species : bool
        Whether only agents of one species can be compared.
    values : callable (frame) -> (n_agents,) float64
        Not a number where there is none: such agents are drawn grey.
    """

    title: str
    unit: str
    by_species: bool
    values: Callable[[Frame], Array]

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})"


def _speed(frame: Frame) -> Array:
    return np.asarray(METRES_PER_SECOND * np.sqrt(np.einsum("ij,ij->i", frame.velocities, frame.velocities)))


def _gradient(frame: Frame) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", frame.forces, frame.forces)))


def _doubt(frame: Frame) -> Array:
    return np.full(len(frame.positions), np.nan) if frame.doubts is None else frame.doubts


QUANTITIES: dict[Colouring, Quantity] = {
    Colouring.SPEED: Quantity("Speed", "m/s", by_species=False, values=_speed),
    Colouring.LOSS: Quantity("Loss", "eV", by_species=True, values=lambda frame: frame.losses),
    Colouring.GRADIENT: Quantity("Gradient", "eV/Å", by_species=False, values=_gradient),
    Colouring.DOUBT: Quantity("Doubt", "eV/Å", by_species=False, values=_doubt),
}
"""The colourings by a number on a scale; the others sort agents into kinds."""

MOST_BONDS = 5
"""Hydrogen bonds of a molecule that have a colour of their own; more have that of so many."""


class BondCount:
    """The hydrogen bonds of a system, found anew often enough to be seen, and seldom enough to be cheap.

    Parameters
    ----------
    topology : Topology
    molecules : Molecules
    clock : callable
        Seconds, monotonic.
    """

    SHARE = 0.1
    """Of the time of the window's thread."""

    def __init__(
        self, topology: Topology, molecules: Molecules, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._finder = HydrogenBonds(topology)
        self._molecules = molecules
        self._clock = clock
        self._next = -np.inf
        self._seen: Frame | None = None
        self._pairs = np.empty((0, 2), np.intp)
        self._tells = True

    def pairs(self, frame: Frame) -> NDArray[np.intp]:
        """The hydrogen and the accepting oxygen of every bond, (n_bonds, 2); of this frame or of one just before."""
        begun = self._clock()
        if frame is self._seen or begun < self._next:
            return self._pairs
        self._seen = frame
        try:
            self._pairs, self._tells = self._finder.pairs(frame), True
        except InputError:  # the box is too small to tell
            self._pairs, self._tells = np.empty((0, 2), np.intp), False
        now = self._clock()
        self._next = now + (now - begun) * (1.0 / self.SHARE - 1.0)
        return self._pairs

    def of_molecules(self, frame: Frame) -> Array:
        """How many bonds each agent's molecule takes part in, (n_agents,) float64; NaN where one cannot tell."""
        molecule = self._molecules.molecule
        ends = molecule[self.pairs(frame).ravel()]
        if not self._tells:
            return np.full(len(molecule), np.nan)
        return np.bincount(ends, minlength=len(self._molecules.reference))[molecule].astype(float)
