"""The state of a simulation: everything that is needed to go on from here, bitwise."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.kernels import motion

_NO_KEY = (-1, -1)


@dataclass(slots=True)
class State:
    """Agents at one moment.

    Attributes
    ----------
    positions : (n_agents, 3) float64, angstrom
        Unwrapped: an agent that crosses the box edge keeps going, so molecules stay whole and displacements
        are displacements.
    velocities : (n_agents, 3) float64, angstrom/fs
    species : (n_agents,) int32
        Index into `symbols`.
    symbols : tuple of str
        Chemical symbols, in the order of the loss model.
    masses : (n_agents,) float64, amu
    box : (3,) float64, angstrom
        Edges of the periodic, orthorhombic box, which begins at the origin.
    bonds : (n_bonds, 2) int32
        Topology, fixed at the start: pairs of agents that belong to one molecule.
    time : float, fs
    step : int
    rng : numpy.random.Generator
        Draws what a run begins with: velocities. Its seed is that of the noise, too.
    draws : int
        How often noise has been drawn; with `key` it decides the noise that comes next (`kernels.noise`), so that a
        restart goes on bitwise.
    key : tuple of int
        Two numbers of 32 bits; the seed of `rng` gives them where nothing else is said.
    """

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    species: NDArray[np.int32]
    symbols: tuple[str, ...]
    masses: NDArray[np.float64]
    box: NDArray[np.float64]
    bonds: NDArray[np.int32]
    time: float = 0.0
    step: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    draws: int = 0
    key: tuple[int, int] = _NO_KEY

    def __post_init__(self) -> None:
        if self.key == _NO_KEY:
            first, second = self.rng.bit_generator.seed_seq.generate_state(2, np.uint32).tolist()
            self.key = first, second

    def next_draw(self) -> int:
        """The number of a draw that nobody has made."""
        self.draws += 1
        return self.draws

    @property
    def n_agents(self) -> int:
        return len(self.positions)

    @property
    def volume(self) -> float:
        """angstrom^3"""
        return float(np.prod(self.box))

    @property
    def density_g_cm3(self) -> float:
        return float(self.masses.sum()) / self.volume * units.AMU_PER_A3_IN_G_CM3

    def kinetic_energy(self) -> float:
        """K = 1/2 sum m v^2, eV."""
        return units.MASS * float(motion.kinetic(self.velocities, self.masses))

    def momentum(self) -> NDArray[np.float64]:
        """P = sum m v, (3,) float64, amu angstrom/fs."""
        return np.asarray(motion.momentum(self.velocities, self.masses))

    def copy(self) -> State:
        return copy.deepcopy(self)
