"""Which agents belong to one molecule, found from the distances of one configuration.

Needed once per system: for the net force on each molecule in a fit, and for the topology of a starting structure.
During a run bonds are topology, not distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mldsim.errors import InputError
from mldsim.species import atomic_number

TOLERANCE = 1.25
"""Agents are bonded up to this multiple of the sum of their covalent radii: 1.21 angstrom for O-H, beyond what thermal
and quantum fluctuations reach in water and well below a hydrogen bond (about 1.7)."""

HYDROGEN_REACH = 1.4
"""angstrom. Hydrogen belongs to its nearest heavy agent up to here: an O-H bond stretched in a hot or distorted frame
stays a bond."""


def find_bonds(symbols: Sequence[str], positions: ArrayLike, box: ArrayLike) -> NDArray[np.int32]:
    """Bonded pairs of agents under periodic images.

    Hydrogen takes its nearest heavy agent and no other; hydrogens bond to each other only where no heavy agent is in
    reach. Heavy agents bond within `TOLERANCE` times the sum of their covalent radii.

    Parameters
    ----------
    symbols : sequence of str
    positions : (n_agents, 3) float64, angstrom
        Wrapped or not, molecules in any order.
    box : (3,) float64, angstrom
        Edges, each longer than twice the longest bond.

    Returns
    -------
    (n_bonds, 2) int32
        The smaller index first, sorted.

    Raises
    ------
    InputError
        When an element is unknown or the box is too small to tell an agent from its image.
    """
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    edges = np.asarray(box, dtype=np.float64)
    points = np.mod(np.asarray(positions, dtype=np.float64), edges)
    points[points >= edges] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
    numbers = np.array([atomic_number(symbol) for symbol in symbols])
    radii = np.asarray(covalent_radii)[numbers]
    reach = max(HYDROGEN_REACH, 2.0 * TOLERANCE * float(radii.max(initial=0.0)))
    if edges.min() <= 2.0 * HYDROGEN_REACH:
        raise InputError(
            f"A box edge of {edges.min():g} angstrom is too short to tell molecules from their periodic images."
        )
    pairs = cKDTree(points, boxsize=edges).query_pairs(min(reach, 0.499 * edges.min()), output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]
    separation = points[first] - points[second]
    separation -= edges * np.round(separation / edges)
    distance = np.sqrt(np.einsum("ij,ij->i", separation, separation))
    is_H = numbers == 1

    heavy = ~is_H[first] & ~is_H[second] & (distance < TOLERANCE * (radii[first] + radii[second]))
    bonds = [pairs[heavy]]

    mixed = (is_H[first] != is_H[second]) & (
        distance < np.maximum(HYDROGEN_REACH, TOLERANCE * (radii[first] + radii[second]))
    )
    hydrogen = np.where(is_H[first], first, second)[mixed]
    partner = np.where(is_H[first], second, first)[mixed]
    nearest_first = np.lexsort((distance[mixed], hydrogen))
    taken, where = np.unique(hydrogen[nearest_first], return_index=True)
    bonds.append(np.column_stack((taken, partner[nearest_first][where])))

    free = is_H.copy()
    free[taken] = False
    bonds.append(pairs[free[first] & free[second] & (distance < TOLERANCE * (radii[first] + radii[second]))])

    found = np.sort(np.concatenate(bonds), axis=1)
    return np.ascontiguousarray(found[np.lexsort((found[:, 1], found[:, 0]))], dtype=np.int32)


def find_molecules(symbols: Sequence[str], positions: ArrayLike, box: ArrayLike) -> NDArray[np.int32]:
    """The molecule that each agent belongs to.

    Parameters
    ----------
    symbols, positions, box
        As for `find_bonds`.

    Returns
    -------
    (n_agents,) int32
        Index of the molecule, from 0, in the order of each molecule's first agent.
    """
    return molecules_of(len(symbols), find_bonds(symbols, positions, box))


def molecules_of(n_agents: int, bonds: NDArray[np.int32]) -> NDArray[np.int32]:
    """Molecules as the connected components of a bond graph.

    Parameters
    ----------
    n_agents : int
    bonds : (n_bonds, 2) int32

    Returns
    -------
    (n_agents,) int32
        Index of the molecule, from 0, in the order of each molecule's first agent.
    """
    label = np.arange(n_agents)
    first, second = np.asarray(bonds).reshape(-1, 2).T
    while True:
        # Each agent takes the lowest label among its partners', then that label's own: halves the way in each round.
        lowest = np.minimum(label[first], label[second])
        lower = label.copy()
        np.minimum.at(lower, first, lowest)
        np.minimum.at(lower, second, lowest)
        lower = lower[lower]
        if (lower == label).all():
            return np.unique(label, return_inverse=True)[1].astype(np.int32)
        label = lower


def made_whole(
    positions: NDArray[np.float64], box: NDArray[np.float64], bonds: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Bring every agent to the image that its bond reaches, going out from each molecule's first agent.

    Parameters
    ----------
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
    bonds : (n_bonds, 2) int32
    """
    whole = np.array(positions, np.float64)
    placed = np.zeros(len(whole), bool)
    placed[np.unique(molecules_of(len(whole), bonds), return_index=True)[1]] = True
    both_ways = np.concatenate([bonds, bonds[:, ::-1]])
    while True:
        ready = both_ways[placed[both_ways[:, 0]] & ~placed[both_ways[:, 1]]]
        if not len(ready):
            return whole
        _, once = np.unique(ready[:, 1], return_index=True)
        here, there = ready[once].T
        whole[there] -= box * np.round((whole[there] - whole[here]) / box)
        placed[there] = True


def water_bonds(symbols: Sequence[str], positions: ArrayLike, box: ArrayLike) -> NDArray[np.int32]:
    """The two O-H bonds of every water molecule.

    Parameters
    ----------
    symbols, positions, box
        As for `find_bonds`; every agent must be part of an intact H2O.

    Returns
    -------
    (2 n_molecules, 2) int32
        Oxygen first, sorted.

    Raises
    ------
    InputError
        When the agents are not all water molecules.
    """
    bonds = find_bonds(symbols, positions, box)
    is_O = np.array([symbol == "O" for symbol in symbols])
    oxygen_first = np.where(is_O[bonds[:, :1]], bonds, bonds[:, ::-1])
    hydrogens = np.bincount(oxygen_first[:, 0], minlength=len(symbols))
    intact = (
        set(symbols) == {"O", "H"}
        and len(bonds) == 2 * int(is_O.sum()) == len(symbols) - int(is_O.sum())
        and bool((hydrogens[is_O] == 2).all())
    )
    if not intact:
        raise InputError(
            "The agents are not all intact water molecules: every oxygen needs exactly two hydrogens within "
            f"{HYDROGEN_REACH:g} angstrom, and nothing else may be there."
        )
    return np.ascontiguousarray(oxygen_first[np.lexsort((oxygen_first[:, 1], oxygen_first[:, 0]))], dtype=np.int32)
