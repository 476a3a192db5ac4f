"""Radial distribution functions g_ab(r)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mldsim.errors import InputError


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
        Standard error of the mean over contiguous blocks of frames; NaN before there are two.
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
    block : int
        Frames per block, for the error.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        species: NDArray[np.int32],
        reach: float,
        *,
        bin_width: float = 0.05,
        block: int = 100,
    ) -> None:
        n_bins = int(reach / bin_width + 1e-9)
        if n_bins < 1:
            raise InputError("A radial distribution needs a reach of at least one bin.")
        self._edges = np.arange(n_bins + 1) * bin_width
        self._block = block
        self._members = {symbol: np.flatnonzero(species == i) for i, symbol in enumerate(symbols)}
        self.pairs = [(a, b) for i, a in enumerate(symbols) for b in symbols[i:]]
        self._blocks: dict[tuple[str, str], list[NDArray[np.float64]]] = {pair: [] for pair in self.pairs}
        self._sums = {pair: np.zeros(n_bins) for pair in self.pairs}
        self._frames_in_block = 0

    def add(self, positions: NDArray[np.float64], box: NDArray[np.float64]) -> None:
        """Count the pairs of one frame; positions (n_agents, 3) and box (3,), angstrom.

        Raises
        ------
        InputError
            If the box is smaller than twice the reach.
        """
        reach = self._edges[-1]
        if (box < 2.0 * reach).any():
            raise InputError(f"The box is smaller than twice the reach of {reach:g} Å of the radial distribution.")
        inside = positions - box * np.floor(positions / box)
        inside[inside >= box] = 0.0  # rounding may put a coordinate on the far edge
        trees = {symbol: cKDTree(inside[index], boxsize=box) for symbol, index in self._members.items()}
        volume = float(np.prod(box))
        for a, b in self.pairs:
            n_a, n_b = len(self._members[a]), len(self._members[b])
            n_pairs = n_a * (n_a - 1) if a == b else n_a * n_b
            # An agent is at distance zero from itself; unlike agents never are.
            within = trees[a].count_neighbors(trees[b], self._edges) - (n_a if a == b else 0)
            shells = 4.0 / 3.0 * np.pi * np.diff(self._edges**3)
            self._sums[a, b] += np.diff(within) * volume / (max(n_pairs, 1) * shells)
        self._frames_in_block += 1
        if self._frames_in_block == self._block:
            for pair, total in self._sums.items():
                self._blocks[pair].append(total / self._block)
                total[:] = 0.0
            self._frames_in_block = 0

    def result(self) -> dict[str, PairDistribution]:
        """All distributions so far, by names such as ``O-H``."""
        r = 0.5 * (self._edges[1:] + self._edges[:-1])
        found = {}
        for (a, b), blocks in self._blocks.items():
            n_frames = len(blocks) * self._block + self._frames_in_block
            total = sum(blocks, np.zeros(len(r))) * self._block + self._sums[a, b]
            error = np.full(len(r), np.nan)
            if len(blocks) > 1:
                error = np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
            found[f"{a}-{b}"] = PairDistribution(r, total / max(n_frames, 1), error)
        return found
