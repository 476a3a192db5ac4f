"""Forces from outside: the spring by which a hand pulls a molecule.

The spring holds the centre of mass x of a molecule at an anchor a that is at rest relative to the centre of mass X of
the whole box, so that momentum is conserved and nothing drifts away:

    U = 1/2 k D^2  for D <= D_0,   k D_0 (D - D_0 / 2)  beyond,   D = |x - X - a|.

Beyond D_0 = F_max / k it pulls with F_max, however far away the hand is. The force on the molecule is shared out by
mass, so that it accelerates as a whole and no bond is strained; all agents together take the opposite force, by mass
too. Both are the exact gradient of U, so that K + L + U is conserved while the anchor rests; moving it is
work of the hand, which the simulation books.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STIFFNESS = 0.4
"""eV/angstrom^2; a molecule on it swings once in about 430 fs, slower than it does among its neighbours."""

STRONGEST = 1.0
"""eV/angstrom; of the size of the forces between neighbouring molecules."""


@dataclass(frozen=True, slots=True)
class Spring:
    """A spring at a molecule.

    Attributes
    ----------
    agent : int
        The agent that was grabbed.
    molecule : (n,) int64
        All agents of its molecule.
    anchor : (3,) float64, angstrom
        Where its centre of mass is pulled to, from the centre of mass of all.
    masses : (n_agents,) float64, amu
        Of all agents.
    stiffness : float, eV/angstrom^2
    strongest : float, eV/angstrom
    """

    agent: int
    molecule: NDArray[np.int64]
    anchor: Array
    masses: Array
    stiffness: float = STIFFNESS
    strongest: float = STRONGEST

    def stretch(self, positions: Array) -> Array:
        """From the anchor to the molecule, (3,) angstrom; positions (n_agents, 3), unwrapped."""
        own = self.masses[self.molecule]
        place = own @ positions[self.molecule] / own.sum()
        return np.asarray(place - self.centre(positions) - self.anchor)

    def centre(self, positions: Array) -> Array:
        """The centre of mass of all agents, (3,) angstrom."""
        # Not a scalar product: that wakes the threads of BLAS.
        return np.asarray(np.einsum("i,ij->j", self.masses, positions) / self.masses.sum())

    def energy(self, positions: Array) -> float:
        """U, eV."""
        length = float(np.linalg.norm(self.stretch(positions)))
        longest = self.strongest / self.stiffness
        if length <= longest:
            return 0.5 * self.stiffness * length**2
        return self.strongest * (length - 0.5 * longest)

    def pull(self, positions: Array) -> Array:
        """The force on the molecule as a whole, (3,) eV/angstrom."""
        stretch = self.stretch(positions)
        length = float(np.linalg.norm(stretch))
        return np.asarray(-stretch * min(self.stiffness, self.strongest / max(length, 1e-12)))

    def forces(self, positions: Array) -> Array:
        """The force on every agent, (n_agents, 3) eV/angstrom."""
        pull, masses = self.pull(positions), self.masses
        forces = np.asarray((-masses / masses.sum())[:, None] * pull)
        own = masses[self.molecule]
        forces[self.molecule] += (own / own.sum())[:, None] * pull
        return forces
