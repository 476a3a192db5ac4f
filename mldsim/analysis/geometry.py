"""Shapes of molecules: bond lengths and angles, along the bonds of the topology."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mldsim.analysis.periodic import nearest
from mldsim.analysis.statistics import Histogram
from mldsim.frames import Frame, Topology
from mldsim.species import atomic_number


class BondLengths:
    """Distribution of the length of the bonds of each kind, angstrom.

    Parameters
    ----------
    topology : Topology
    low, high : float, angstrom
        Range of the histograms.
    bin_width : float, angstrom
    """

    def __init__(self, topology: Topology, *, low: float = 0.6, high: float = 1.8, bin_width: float = 0.01) -> None:
        kinds: dict[str, list[NDArray[np.int32]]] = {}
        for bond in topology.bonds:
            names = [topology.symbols[topology.species[agent]] for agent in bond]
            kinds.setdefault("-".join(sorted(names, key=lambda s: (-atomic_number(s), s))), []).append(bond)
        self._bonds = {name: np.array(bonds) for name, bonds in kinds.items()}
        self._histograms = {name: Histogram(low, high, round((high - low) / bin_width)) for name in kinds}

    def add(self, frame: Frame) -> None:
        """Measure the bonds of one frame."""
        for name, bonds in self._bonds.items():
            arms = nearest(frame.positions[bonds[:, 1]] - frame.positions[bonds[:, 0]], frame.box)
            self._histograms[name].add(np.linalg.norm(arms, axis=1))

    def result(self) -> dict[str, Histogram]:
        """Histograms by names such as ``O-H``."""
        return dict(self._histograms)


class Angles:
    """Distribution of the angle between two bonds of the same agent, of each kind, degrees.

    Parameters
    ----------
    topology : Topology
    bin_width : float, degrees
    """

    def __init__(self, topology: Topology, *, bin_width: float = 1.0) -> None:
        partners: dict[int, list[int]] = {}
        for a, b in topology.bonds.tolist():
            partners.setdefault(a, []).append(b)
            partners.setdefault(b, []).append(a)
        names = [topology.symbols[kind] for kind in topology.species]
        kinds: dict[str, list[tuple[int, int, int]]] = {}
        for centre, others in partners.items():
            for a, b in combinations(others, 2):
                first, last = sorted((names[a], names[b]))
                kinds.setdefault(f"{first}-{names[centre]}-{last}", []).append((a, centre, b))
        self._triples = {name: np.array(triples) for name, triples in kinds.items()}
        self._histograms = {name: Histogram(0.0, 180.0, round(180.0 / bin_width)) for name in kinds}

    def add(self, frame: Frame) -> None:
        """Measure the angles of one frame."""
        for name, triples in self._triples.items():
            a, centre, b = (frame.positions[triples[:, column]] for column in range(3))
            one, two = nearest(a - centre, frame.box), nearest(b - centre, frame.box)
            cosine = np.einsum("ij,ij->i", one, two) / (np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1))
            self._histograms[name].add(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))

    def result(self) -> dict[str, Histogram]:
        """Histograms by names such as ``H-O-H``."""
        return dict(self._histograms)


def distance(points: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    """Between two points, (2, 3), by the nearest periodic image; angstrom."""
    return math.hypot(*nearest(points[1] - points[0], box))


def angle(points: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    """At the second of three points, (3, 3), by nearest images; degrees."""
    one, two = nearest(points[[0, 2]] - points[1], box)
    one, two = one / math.hypot(*one), two / math.hypot(*two)
    return math.degrees(2.0 * math.atan2(math.hypot(*(one - two)), math.hypot(*(one + two))))


def dihedral(points: NDArray[np.float64], box: NDArray[np.float64]) -> float:
    """From the plane of the first three to that of the last three of four points, (4, 3); degrees, -180 to 180.

    Looking along the second to the third point, clockwise is positive (IUPAC).
    """
    first, axis, last = nearest(np.diff(points, axis=0), box)
    one, two = np.cross(first, axis), np.cross(axis, last)
    return float(np.degrees(np.arctan2(np.linalg.norm(axis) * (first @ two), one @ two)))
