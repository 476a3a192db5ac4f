"""Which agents form a molecule, and how molecules are drawn whole in a periodic box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.frames import Topology
from mldsim.molecules import molecules_of


@dataclass(frozen=True, slots=True)
class Molecules:
    """The connected components of the bonds; an agent without a bond is a molecule of its own.

    Attributes
    ----------
    molecule : (n_agents,) int64
        The molecule that each agent belongs to.
    reference : (n_molecules,) int64
        The heaviest agent of each molecule, the first of them where several are: where it is, the molecule is.
    """

    molecule: NDArray[np.int64]
    reference: NDArray[np.int64]

    @classmethod
    def of(cls, topology: Topology) -> Molecules:
        """Find the molecules of a topology."""
        molecule = molecules_of(topology.n_agents, topology.bonds).astype(np.int64)
        # Sorted by molecule, within it heaviest first, then by index: the first of each molecule is its reference.
        order = np.lexsort((np.arange(len(molecule)), -topology.masses, molecule))
        starts = np.flatnonzero(np.diff(molecule[order], prepend=-1))
        return cls(molecule, order[starts])

    def into_box(
        self,
        positions: NDArray[np.float64],
        box: NDArray[np.float64],
        out: NDArray[np.float32] | None = None,
        middle: int | None = None,
    ) -> NDArray[np.float32]:
        """Positions relative to the centre of the box, every molecule whole and its reference in [-box/2, box/2).

        Parameters
        ----------
        positions : (n_agents, 3) float64, angstrom
            Unwrapped.
        box : (3,) float64, angstrom
        out : (n_agents, 3) float32, optional
            Where the result goes. Shifted and centred in float64 first, so that an agent that wandered far
            keeps its digits.
        middle : int, optional
            The molecule that is to be in the centre of the box, however it moves.

        Returns
        -------
        (n_agents, 3) float32, angstrom
        """
        if middle is not None:
            positions = positions - (positions[self.reference[middle]] - 0.5 * box)
        if out is None:
            out = np.empty(positions.shape, dtype=np.float32)
        shift = positions.take(self.reference, axis=0)
        for axis, edge in enumerate(box):  # NumPy is slow along an axis of three
            cell = shift[:, axis]
            np.floor(cell / edge, out=cell)
            cell += 0.5
            cell *= -edge
        placed = shift.take(self.molecule, axis=0)
        placed += positions
        out[:] = placed
        return out
