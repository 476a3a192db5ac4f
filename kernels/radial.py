"""Radial functions g_n(r): LAMMPS-PACE's ``ChebPow`` family, and tables of their combinations.

    g_n(r) = (1 - T_n(x)) / 2,   x = 1 - 2 (1 - r/r_c)^p,   n = 1 .. size

with Chebyshev polynomials T_n. All g_n vanish at the cutoff r_c; with p = 3 their first two derivatives vanish there
too, so no separate cutoff function is needed. A model's phi_k are linear combinations of the g_n, which is what a
PACE file can hold exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def chebpow(r: Array, cutoff: float, exponent: float, size: int) -> tuple[Array, Array]:
    """Values and derivatives of g_1 .. g_size.

    Parameters
    ----------
    r : (n,) float64, angstrom
    cutoff : float, angstrom
    exponent : float
        p; at least 3 for two continuous derivatives at the cutoff.
    size : int

    Returns
    -------
    g : (n, size) float64
    dg : (n, size) float64, 1/angstrom
        Both are zero beyond the cutoff.
    """
    inside = np.clip(1.0 - np.asarray(r, np.float64) / cutoff, 0.0, None)
    x = 1.0 - 2.0 * inside**exponent
    dx = 2.0 * exponent / cutoff * inside ** (exponent - 1.0)
    polynomial = np.empty((size + 1, x.size))
    derivative = np.empty_like(polynomial)
    polynomial[0], derivative[0] = 1.0, 0.0
    polynomial[1], derivative[1] = x, 1.0
    for n in range(2, size + 1):
        polynomial[n] = 2.0 * x * polynomial[n - 1] - polynomial[n - 2]
        derivative[n] = 2.0 * polynomial[n - 1] + 2.0 * x * derivative[n - 1] - derivative[n - 2]
    return (0.5 - 0.5 * polynomial[1:]).T.copy(), (-0.5 * derivative[1:] * dx).T.copy()


def tabulate(coefficients: Array, cutoff: float, exponent: float, start: float, rows: int) -> Array:
    """Tables for cubic Hermite interpolation of phi_k and its derivative.

    The interpolant's own derivative is what the kernels use as phi'_k, so that forces are the exact gradient of the
    tabulated loss; its error falls with the fourth power of the row spacing.

    Parameters
    ----------
    coefficients : (n_species, n_species, n_radial, size) float64
    cutoff, start : float, angstrom
        The table spans [start, cutoff]; below `start` the kernels continue it linearly.
    rows : int

    Returns
    -------
    (n_species, n_species, rows + 1, 2, n_radial) float64
        phi_k and h * phi'_k at r = start + i * h, h = (cutoff - start) / (rows - 1). The last row repeats the one
        before it, so that r = cutoff needs no special case.
    """
    r = np.linspace(start, cutoff, rows)
    g, dg = chebpow(r, cutoff, exponent, coefficients.shape[-1])
    table = np.empty((*coefficients.shape[:2], rows + 1, 2, coefficients.shape[2]))
    table[:, :, :rows, 0] = np.einsum("abkn,rn->abrk", coefficients, g)
    table[:, :, :rows, 1] = np.einsum("abkn,rn->abrk", coefficients, dg) * ((cutoff - start) / (rows - 1))
    table[:, :, rows] = table[:, :, rows - 1]
    return table


def polynomials(table: NDArray[Any]) -> NDArray[Any]:
    """The radial functions as the passes take them: powers of the way through a row.

    Parameters
    ----------
    table : (n_species, n_species, rows + 1, 2, n) float
        Values and slopes at the ends of the rows, see `kernels.radial.tabulate`.

    Returns
    -------
    (n_species, n_species, rows, 4, n) float
        phi_k(start + (i + t) h) = sum_p found[.., i, p, k] t^p for 0 <= t <= 1: Hermite's cubic polynomials.
    """
    wide = table.astype(np.float64)
    (h0, s0), (h1, s1) = (np.moveaxis(ends, 3, 0) for ends in (wide[:, :, :-1], wide[:, :, 1:]))
    powers = h0, s0, 3.0 * (h1 - h0) - 2.0 * s0 - s1, 2.0 * (h0 - h1) + s0 + s1
    return np.ascontiguousarray(np.stack(powers, axis=3), table.dtype)
