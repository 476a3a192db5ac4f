"""Radial distribution functions g_ab(r)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mldsim.analysis.periodic import nearest, wrapped
from mldsim.analysis.statistics import BlockMean, Number
from mldsim.errors import InputError
from mldsim.frames import Frame

FEW = 400
"""Agents."""


@dataclass(frozen=True)
class PairDistribution:
    """One radial distribution function.

    Attributes
    ----------
    r : (n_bins,) float64, angstrom
        Middle of each bin.
    g : (n_bins,) float64
        Density of b around a, relative to the mean density; 1 for agents that know nothing of each other.
    error : (n_bins,) float64
        Standard error of the mean from contiguous blocks of frames; NaN before there are enough of them.
    """

    r: NDArray[np.float64]
    g: NDArray[np.float64]
    error: NDArray[np.float64]


class RadialDistribution:
    """g(r) of all pairs of species, accumulated frame by frame.

    Every pair of agents is counted once, bonds within molecules included, and compared with the number of pairs that
    an ideal gas of the same N has: N (N - 1) / 2 of like species, N_a N_b of unlike ones.

    Parameters
    ----------
    symbols : tuple of str
    species : (n_agents,) int32
        Index into `symbols`.
    reach : float, angstrom
        At most half the shortest edge of the box.
    bin_width : float, angstrom
    """

    def __init__(
        self, symbols: tuple[str, ...], species: NDArray[np.int32], reach: float, *, bin_width: float = 0.05
    ) -> None:
        n_bins = int(reach / bin_width + 1e-9)
        if n_bins < 1:
            raise InputError("A radial distribution needs a reach of at least one bin.")
        self._edges = np.arange(n_bins + 1) * bin_width
        self._species = np.asarray(species)
        count = np.bincount(self._species, minlength=len(symbols))
        self.pairs = [(a, b) for i, a in enumerate(symbols) for b in symbols[i:]]
        first, second = np.triu_indices(len(symbols))
        self._row = np.zeros((len(symbols), len(symbols)), np.intp)
        self._row[first, second] = self._row[second, first] = np.arange(len(first))
        like = first == second
        n_pairs = np.where(like, count[first] * (count[first] - 1) // 2, count[first] * count[second])
        self._pairs_in_all = np.maximum(n_pairs, 1)[:, None]
        self._sum = BlockMean((len(self.pairs), n_bins))
        # Of few agents all pairs are looked at faster than a tree is built.
        self._all = np.triu_indices(len(self._species), 1) if len(self._species) <= FEW else None

    def add(self, frame: Frame) -> None:
        """Count the pairs of one frame.

        Raises
        ------
        InputError
            If the box is smaller than twice the reach.
        """
        reach, box = self._edges[-1], frame.box
        if (box < 2.0 * reach).any():
            raise InputError(f"The box is smaller than twice the reach of {reach:g} Å of the radial distribution.")
        inside = wrapped(frame.positions, box)
        if self._all is not None:
            i, j = self._all
        else:
            i, j = cKDTree(inside, boxsize=box).query_pairs(reach, output_type="ndarray").T
        arms = nearest(inside[i] - inside[j], box)
        distance = np.sqrt(np.einsum("ij,ij->i", arms, arms))
        n_bins = len(self._edges) - 1
        place = (distance / self._edges[1]).astype(np.intp)
        within = place < n_bins
        place += n_bins * self._row[self._species[i], self._species[j]]
        place = place[within]
        counts = np.bincount(place, minlength=n_bins * len(self.pairs)).reshape(-1, n_bins)
        ideal = 4.0 / 3.0 * np.pi * np.diff(self._edges**3) / float(np.prod(box))
        self._sum.add(counts / (self._pairs_in_all * ideal))

    def result(self) -> dict[str, PairDistribution]:
        """All distributions so far, by names such as ``O-H``."""
        r = 0.5 * (self._edges[1:] + self._edges[:-1])
        total = self._sum.curve(r)
        return {
            f"{a}-{b}": PairDistribution(r, total.y[row], total.error[row]) for row, (a, b) in enumerate(self.pairs)
        }

    def number(self, pair: str, function: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> Number:
        """A number read off one distribution, as a function of r and g(r), with its block error."""
        row = [f"{a}-{b}" for a, b in self.pairs].index(pair)
        r = 0.5 * (self._edges[1:] + self._edges[:-1])
        return self._sum.number(lambda g: function(r, g[row]))


def first_peak(r: NDArray[np.float64], g: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Place and height of the highest point between two distances.

    They are those of the parabola that fits five bins around the highest one best: the highest of three alone would be
    as much noise as place.

    Parameters
    ----------
    r, g : (n_bins,) float64
        On an even grid.
    low, high : float, angstrom

    Returns
    -------
    place : float, angstrom
    height : float
        Both NaN where there are no bins between the distances.
    """
    window = np.flatnonzero((r > low) & (r < high))
    if not len(window):
        return float("nan"), float("nan")
    top = int(window[np.argmax(g[window])])
    if not 2 <= top < len(r) - 2:
        return float(r[top]), float(g[top])
    offset = r[top - 2 : top + 3] - r[top]
    curvature, slope, height = np.polyfit(offset, g[top - 2 : top + 3], 2)
    if curvature >= 0.0 or abs(slope) > -2.0 * curvature * offset[-1]:  # no peak within these bins
        return float(r[top]), float(g[top])
    return float(r[top] - 0.5 * slope / curvature), float(height - 0.25 * slope**2 / curvature)
