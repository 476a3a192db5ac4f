"""The radial functions phi_k(r) of a loss model, one set for each pair of species.

Shapes are chosen as Gaussians that resolve where the pairs of water live: a dense group over the covalent bond and the
first shell, a coarser one out to the cutoff. Each is then represented in the ``ChebPow`` family of LAMMPS's PACE
(`kernels.radial`), by least squares; that representation, not the Gaussian, is the definition of phi_k, so that a
model can be written as a PACE file without any loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.kernels.radial import chebpow, tabulate
from mldsim.species import pair_name

EXPONENT = 3.0
"""The smallest exponent whose functions leave the cutoff with two continuous derivatives."""

TABLE_START = 0.4
"""angstrom; closer pairs are far beyond every guard."""


@dataclass(frozen=True)
class RadialBasis:
    """phi_k^{ab}(r) = sum_n coefficients[a, b, k, n] g_n(r).

    Attributes
    ----------
    cutoff : float, angstrom
    exponent : float
        p of the ChebPow family.
    coefficients : (n_species, n_species, n_radial, size) float64
        Symmetric in the first two axes.
    """

    cutoff: float
    exponent: float
    coefficients: NDArray[np.float64]

    @property
    def n_radial(self) -> int:
        return int(self.coefficients.shape[2])

    def __call__(self, a: int, b: int, r: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """phi_k(r) and its derivative (1/angstrom) for a pair of species, each (n, n_radial) float64."""
        g, dg = chebpow(r, self.cutoff, self.exponent, self.coefficients.shape[3])
        return g @ self.coefficients[a, b].T, dg @ self.coefficients[a, b].T

    def table(self, rows: int) -> NDArray[np.float64]:
        """Hermite table of all phi_k, see `kernels.radial.tabulate`."""
        return tabulate(self.coefficients, self.cutoff, self.exponent, TABLE_START, rows)


LAST_CENTER = 0.6
"""angstrom below the cutoff; a Gaussian nearer to it is squeezed flat by the family's cubic end and adds nothing."""

# Where the pairs of water live, angstrom: share of the functions in the inner group, its span, and where the outer
# group begins.
_SPANS = {"O-O": (1 / 2, 2.2, 3.4, 3.7), "O-H": (1 / 2, 0.75, 1.3, 1.5), "H-H": (1 / 3, 1.25, 1.85, 2.05)}
_SPAN_OF_OTHERS = (1 / 2, 1.0, 2.5, 2.8)


def gaussian_centers(pair: str, n_radial: int, cutoff: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and widths of the Gaussians of one pair, each (n_radial,) float64, angstrom; a width is a spacing."""
    share, first, last, outer = _SPANS.get(pair, _SPAN_OF_OTHERS)
    end = cutoff - LAST_CENTER
    n_inner = max(2, round(n_radial * share - 1e-9))
    # A short cutoff leaves the outer group little room: it is never denser than the inner one.
    while n_inner < n_radial - 1 and (end - outer) * (n_inner - 1) < (last - first) * (n_radial - n_inner - 1):
        n_inner += 1
    centers = np.concatenate([np.linspace(first, last, n_inner), np.linspace(outer, end, n_radial - n_inner)])
    spacing = np.diff(centers)
    # The width is the spacing to the next centre of the same group.
    widths = np.concatenate([spacing, spacing[-1:]])
    widths[n_inner - 1] = widths[n_inner - 2]
    return centers, widths


def check_basis(n_radial: int, cutoff: float) -> None:
    """Refuse what `water_basis` cannot make.

    Raises
    ------
    InputError
        If there are too few functions, or too many, or the cutoff leaves them no room.
    """
    if not 3 <= n_radial <= 32:
        raise InputError(f"--radial must lie between 3 and 32 functions per pair; {n_radial} was given.")
    if not 4.2 <= cutoff <= 12.0:
        raise InputError(f"--cutoff must lie between 4.2 and 12 angstrom; {cutoff:g} was given.")


def water_basis(symbols: tuple[str, ...], n_radial: int, cutoff: float) -> RadialBasis:
    """The radial functions for a new model.

    Parameters
    ----------
    symbols : tuple of str
    n_radial : int
        K, functions per pair of species; at least 3.
    cutoff : float, angstrom

    Raises
    ------
    InputError
        See `check_basis`.
    """
    check_basis(n_radial, cutoff)
    n = len(symbols)
    size = max(32, 4 * n_radial)  # enough to hold every shape: tests/kernels/test_radial.py
    coefficients = np.zeros((n, n, n_radial, size))
    r = np.linspace(0.5, cutoff, 600)
    g, _ = chebpow(r, cutoff, EXPONENT, size)
    # A little Tikhonov keeps the coefficients small where the g_n are nearly dependent.
    normal = g.T @ g + 1e-8 * len(r) * np.eye(size)
    for a in range(n):
        for b in range(a, n):
            centers, widths = gaussian_centers(pair_name(symbols[a], symbols[b]), n_radial, cutoff)
            shape = np.exp(-0.5 * ((r[:, None] - centers) / widths) ** 2)
            shape *= 0.5 * (1.0 + np.cos(np.pi * r / cutoff))[:, None]
            coefficients[a, b] = coefficients[b, a] = np.linalg.solve(normal, g.T @ shape).T
    return RadialBasis(cutoff, EXPONENT, coefficients)
