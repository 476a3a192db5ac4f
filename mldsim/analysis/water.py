"""How water molecules arrange themselves: hydrogen bonds and tetrahedral order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mldsim.analysis.periodic import nearest, wrapped
from mldsim.analysis.statistics import BlockMean, Histogram, Number
from mldsim.errors import InputError
from mldsim.frames import Frame, Topology

LONGEST_OO = 3.5
"""angstrom, between the oxygens of a hydrogen bond."""

WIDEST_ANGLE = 30.0
"""degrees, between O-H and O...O at the donor."""


def members(topology: Topology, symbol: str) -> NDArray[np.intp]:
    """Agents of one species."""
    return np.flatnonzero(np.array([name == symbol for name in topology.symbols])[topology.species])


class HydrogenBonds:
    """Hydrogen bonds per molecule, by geometry: r_OO < 3.5 angstrom and H-O...O below 30 degrees.

    The criterion of Luzar & Chandler 1996 (doi:10.1103/PhysRevLett.76.928). Each bond belongs to two molecules, so
    that a perfect network has four per molecule.

    Parameters
    ----------
    topology : Topology
        With O-H bonds.
    """

    def __init__(self, topology: Topology) -> None:
        self._oxygens = members(topology, "O")
        is_oxygen = np.isin(topology.bonds, self._oxygens)
        is_hydrogen = np.isin(topology.bonds, members(topology, "H"))
        covalent = topology.bonds[is_oxygen.any(axis=1) & is_hydrogen.any(axis=1)]
        oxygen_first = np.where(np.isin(covalent[:, :1], self._oxygens), covalent, covalent[:, ::-1])
        self._donors = np.searchsorted(self._oxygens, oxygen_first[:, 0])
        self._hydrogens = oxygen_first[:, 1]
        self._mean = BlockMean()

    def pairs(self, frame: Frame) -> NDArray[np.intp]:
        """The hydrogen and the accepting oxygen of every hydrogen bond of one frame, (n_bonds, 2) intp.

        Raises
        ------
        InputError
            If the box is too small to tell an oxygen from its images.
        """
        box = frame.box
        if (box < 2.0 * LONGEST_OO).any():
            raise InputError(f"Hydrogen bonds need a box of at least {2.0 * LONGEST_OO:g} Å.")
        oxygens = frame.positions[self._oxygens]
        pairs = cKDTree(wrapped(oxygens, box), boxsize=box).query_pairs(LONGEST_OO, output_type="ndarray")
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        # Every hydrogen against every oxygen near its own.
        starts = np.searchsorted(both[:, 0], self._donors, side="left")
        counts = np.searchsorted(both[:, 0], self._donors, side="right") - starts
        bond = np.repeat(np.arange(len(self._donors)), counts)
        entry = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts, counts)
        donor = oxygens[self._donors[bond]]
        to_hydrogen = nearest(frame.positions[self._hydrogens[bond]] - donor, box)
        to_acceptor = nearest(oxygens[both[entry, 1]] - donor, box)
        cosine = np.einsum("ij,ij->i", to_hydrogen, to_acceptor)
        cosine /= np.linalg.norm(to_hydrogen, axis=1) * np.linalg.norm(to_acceptor, axis=1)
        bonded = cosine > np.cos(np.radians(WIDEST_ANGLE))
        return np.stack([self._hydrogens[bond[bonded]], self._oxygens[both[entry[bonded], 1]]], axis=1)

    def add(self, frame: Frame) -> float:
        """Count the bonds of one frame; returns how many a molecule takes part in. Raises as `pairs`."""
        per_molecule = 2.0 * len(self.pairs(frame)) / max(len(self._oxygens), 1)
        self._mean.add(per_molecule)
        return per_molecule

    def result(self) -> Number:
        """Mean number of hydrogen bonds that a molecule takes part in."""
        return self._mean.number()


class TetrahedralOrder:
    """Orientational order q of each oxygen among its four nearest ones.

    q = 1 - 3/8 sum_{j<k} (cos psi_jk + 1/3)^2, 1 in a perfect tetrahedron and 0 on average in an ideal gas (Errington
    & Debenedetti 2001, doi:10.1038/35053024, eq. 1; its normalisation).

    Parameters
    ----------
    topology : Topology
        With at least five oxygens.
    n_bins : int
    """

    def __init__(self, topology: Topology, *, n_bins: int = 75) -> None:
        self._oxygens = members(topology, "O")
        if len(self._oxygens) < 5:
            raise InputError("Tetrahedral order needs at least five oxygens.")
        self._histogram = Histogram(-0.5, 1.0 + 1e-9, n_bins)

    def add(self, frame: Frame) -> None:
        """Take the order of every oxygen of one frame."""
        inside = wrapped(frame.positions[self._oxygens], frame.box)
        _, near = cKDTree(inside, boxsize=frame.box).query(inside, k=5)
        arms = nearest(inside[near[:, 1:]] - inside[:, None], frame.box)
        arms /= np.linalg.norm(arms, axis=2, keepdims=True)
        first, second = np.triu_indices(4, 1)
        cosine = np.einsum("ijk,ijk->ij", arms[:, first], arms[:, second])
        self._histogram.add(1.0 - 0.375 * ((cosine + 1.0 / 3.0) ** 2).sum(axis=1))

    def result(self) -> Histogram:
        """Distribution of q over oxygens and frames."""
        return self._histogram
