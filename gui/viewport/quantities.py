"""What the colour of an agent can tell: each quantity, its unit, and how it is read off a frame."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.frames import Frame

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
