"""Means of a correlated series and their errors, in memory that does not grow with the series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST_BLOCKS = 5
"""An error is told from so many blocks on; from five to nine its own standard error is 35 to 25 %."""


@dataclass(frozen=True, slots=True)
class Number:
    """A value and its standard error, in the same unit; the error is NaN where it is not known."""

    value: float
    error: float = float("nan")


@dataclass(frozen=True, slots=True)
class Curve:
    """A function on a grid.

    Attributes
    ----------
    x : (n,) float64
    y : (n,) float64
    error : (n,) float64
        Standard error of y; NaN where it is not known.
    """

    x: Array
    y: Array
    error: Array

    @classmethod
    def plain(cls, x: Array, y: Array) -> Curve:
        """A function whose standard errors are not known, or that has none."""
        return cls(x, y, np.broadcast_to(np.nan, len(x)))


class BlockMean:
    """Mean of samples that follow each other in time, and its error from contiguous blocks.

    Neighbouring frames look alike, so the scatter of frames says too little. Means over blocks longer than the memory
    of the system are independent, and their scatter gives the error: s / sqrt(n_blocks) (Flyvbjerg & Petersen 1989,
    doi:10.1063/1.457480). There are at most ten blocks: when the tenth is full, neighbours are merged and blocks are
    twice as long from then on. Memory is that of ten samples, and blocks last at least a tenth of the run. With fewer
    than `FEWEST_BLOCKS` blocks errors are NaN.

    Parameters
    ----------
    shape : tuple of int
        Of one sample.
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self._full: list[Array] = []
        self._length = 1
        self._open = np.zeros(shape)
        self._in_open = 0

    def add(self, sample: ArrayLike) -> None:
        """Take the next sample of the series."""
        self._open = self._open + np.asarray(sample, np.float64)
        self._in_open += 1
        if self._in_open == self._length:
            self._full.append(self._open)
            self._open, self._in_open = np.zeros_like(self._open), 0
            if len(self._full) == 2 * FEWEST_BLOCKS:
                self._full = [a + b for a, b in zip(self._full[::2], self._full[1::2], strict=True)]
                self._length *= 2

    @property
    def count(self) -> int:
        """Samples so far."""
        return len(self._full) * self._length + self._in_open

    @property
    def mean(self) -> Array:
        """Of all samples; NaN before the first."""
        if not self.count:
            return np.full_like(self._open, np.nan)
        return np.asarray(sum(self._full, self._open) / self.count)

    def number(self, function: Callable[[Array], float] = float) -> Number:
        """Value of a function of the mean; its error is from the values of the same function of each block's mean."""
        return Number(float(function(self.mean)), float(self._error(function)))

    def curve(self, x: Array, function: Callable[[Array], Array] = np.asarray) -> Curve:
        """The same for a function with values on a grid."""
        y = np.asarray(function(self.mean))
        return Curve(x, y, np.broadcast_to(self._error(function), y.shape))

    def _error(self, function: Callable[[Array], Any]) -> Array:
        if len(self._full) < FEWEST_BLOCKS:
            return np.asarray(np.nan)
        values = [function(block / self._length) for block in self._full]
        return np.asarray(np.std(values, axis=0, ddof=1) / np.sqrt(len(values)))


class Histogram:
    """Probability density of values, with block errors; values outside the range are left out, but told.

    Parameters
    ----------
    low, high : float
        Range, in the unit of the values.
    n_bins : int
    """

    def __init__(self, low: float, high: float, n_bins: int) -> None:
        self._edges = np.linspace(low, high, n_bins + 1)
        self._density = BlockMean((n_bins,))
        self._moments = BlockMean((3,))

    def add(self, values: ArrayLike) -> None:
        """Count the values of one frame."""
        values = np.asarray(values, np.float64)
        counts = np.histogram(values, self._edges)[0]
        self._density.add(counts / (values.size * np.diff(self._edges)))
        self._moments.add([values.mean(), (values**2).mean(), 1.0 - counts.sum() / values.size])

    def density(self) -> Curve:
        """Per unit of the values; integrates to 1 where nothing was outside."""
        return self._density.curve(0.5 * (self._edges[1:] + self._edges[:-1]))

    def mean(self) -> Number:
        return self._moments.number(lambda m: float(m[0]))

    def deviation(self) -> Number:
        """Standard deviation of the values themselves."""
        return self._moments.number(lambda m: float(np.sqrt(max(m[1] - m[0] ** 2, 0.0))))

    def outside(self) -> float:
        """Fraction of values that were out of range."""
        return float(self._moments.mean[2])
