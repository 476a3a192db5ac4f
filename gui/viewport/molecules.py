"""Which agents form a molecule, and how molecules are drawn whole in a periodic box."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mldsim.frames import Topology
from mldsim.molecules import molecules_of


@dataclass(slots=True)
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
    _edges: list[float] = field(default_factory=list, init=False, repr=False)
    _boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)), init=False, repr=False)

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
        boxes = self._box_of_each(box)
        shift = positions.take(self.reference, axis=0)
        shift /= boxes
        np.floor(shift, out=shift)
        shift += 0.5
        shift *= boxes
        placed = shift.take(self.molecule, axis=0)
        np.subtract(positions, placed, out=placed)
        for axis in (0, 1, 2):
            out[:, axis] = placed[:, axis]
        return out

    def _box_of_each(self, box: NDArray[np.float64]) -> NDArray[np.float64]:
        """The box once for each molecule, (n_molecules, 3): NumPy is slow along an axis of three."""
        edges = box.tolist()
        if edges != self._edges:
            self._edges, self._boxes = edges, np.tile(box, (len(self.reference), 1))
        return self._boxes
