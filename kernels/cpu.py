"""Losses and forces on the CPU: Numba, parallel over agents, without the interpreter's lock.

Two passes over the Verlet list:

    gradients   A^l_{bk} = sum_j phi_k(r_ij) Y^l(u_ij),   L = w . s + 1/2 A W A,   G = dL/dA = w + W A
    forces      F_i = - sum_j [ G_i (+ (-1)^l G_j) ] . d( phi_k Y^l )/dq_i

The term in brackets is the whole difference between the scopes: without G_j each agent descends its own loss, with it
all descend the common one. No agent writes into another's row, so the result does not depend on the number of threads.

Y^l are the real spherical harmonics in Racah's normalisation: sum_m Y_lm(u) Y_lm(v) = P_l(u . v).
The number of radial functions and the highest rank are constants of the compiled code; the arithmetic type is that of
the arrays (float32 or float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange

# `reassoc`, `nsz`, `contract` and `arcp` let sums run in vector registers and keep NaN checks honest.
FAST = {"reassoc", "nsz", "contract", "arcp"}


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def separation(local, shift, i, entry):  # type: ignore[no-untyped-def]
    """q_i - q_j for one entry of the Verlet list, and j."""
    j = entry >> 5
    code = entry & 31
    return (
        local[i, 0] - local[j, 0] - shift[code, 0],
        local[i, 1] - local[j, 1] - shift[code, 1],
        local[i, 2] - local[j, 2] - shift[code, 2],
        j,
    )


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def hermite(t, one):  # type: ignore[no-untyped-def]
    """Cubic Hermite polynomials: weights of (value, slope) at the near end and at the far end; 0 <= t <= 1."""
    two, three = one + one, one + one + one
    t2 = t * t
    t3 = t2 * t
    h1 = three * t2 - two * t3
    return one - h1, t3 - two * t2 + t, h1, t3 - t2


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def hermite_slopes(t, one):  # type: ignore[no-untyped-def]
    """Derivatives of the four polynomials; that of the far value is minus that of the near value."""
    two, three = one + one, one + one + one
    t2 = t * t
    return two * three * (t2 - t), three * t2 - two * two * t + one, three * t2 - two * t


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def harmonics(x, y, z, rank, value):  # type: ignore[no-untyped-def]
    """Y_lm of a unit vector up to `rank`, written to ``value[(rank + 1)^2]``."""
    real = value.dtype.type
    value[0] = real(1.0)
    if rank >= 1:
        value[1] = x
        value[2] = y
        value[3] = z
    if rank >= 2:
        s = real(math.sqrt(3.0))
        value[4] = s * x * y
        value[5] = s * y * z
        value[6] = s * z * x
        value[7] = real(0.5) * s * (x * x - y * y)
        value[8] = real(1.5) * z * z - real(0.5)
    if rank >= 3:
        a = real(math.sqrt(5.0 / 8.0))
        b = real(math.sqrt(15.0))
        c = real(math.sqrt(3.0 / 8.0))
        z5 = real(5.0) * z * z
        x3 = real(3.0) * x * x
        y3 = real(3.0) * y * y
        value[9] = a * y * (x3 - y * y)
        value[10] = b * x * y * z
        value[11] = c * y * (z5 - real(1.0))
        value[12] = real(0.5) * z * (z5 - real(3.0))
        value[13] = c * x * (z5 - real(1.0))
        value[14] = real(0.5) * b * z * (x * x - y * y)
        value[15] = a * x * (x * x - y3)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def harmonic_slopes(x, y, z, rank, slope):  # type: ignore[no-untyped-def]
    """Gradient of each Y_lm on the unit sphere, written to ``slope[3, (rank + 1)^2]``.

    The gradient of the polynomial in `harmonics`, less its part along the unit vector.
    """
    real = slope.dtype.type
    zero = real(0.0)
    slope[0, 0], slope[1, 0], slope[2, 0] = zero, zero, zero
    if rank >= 1:
        slope[0, 1], slope[1, 1], slope[2, 1] = real(1.0), zero, zero
        slope[0, 2], slope[1, 2], slope[2, 2] = zero, real(1.0), zero
        slope[0, 3], slope[1, 3], slope[2, 3] = zero, zero, real(1.0)
    if rank >= 2:
        s = real(math.sqrt(3.0))
        slope[0, 4], slope[1, 4], slope[2, 4] = s * y, s * x, zero
        slope[0, 5], slope[1, 5], slope[2, 5] = zero, s * z, s * y
        slope[0, 6], slope[1, 6], slope[2, 6] = s * z, zero, s * x
        slope[0, 7], slope[1, 7], slope[2, 7] = s * x, -s * y, zero
        slope[0, 8], slope[1, 8], slope[2, 8] = zero, zero, real(3.0) * z
    if rank >= 3:
        a3 = real(3.0 * math.sqrt(5.0 / 8.0))
        b = real(math.sqrt(15.0))
        c = real(math.sqrt(3.0 / 8.0))
        two, half = real(2.0), real(0.5)
        xx, yy = x * x, y * y
        cz5 = c * (real(5.0) * z * z - real(1.0))
        slope[0, 9], slope[1, 9], slope[2, 9] = two * a3 * x * y, a3 * (xx - yy), zero
        slope[0, 10], slope[1, 10], slope[2, 10] = b * y * z, b * x * z, b * x * y
        slope[0, 11], slope[1, 11], slope[2, 11] = zero, cz5, real(10.0) * c * y * z
        slope[0, 12], slope[1, 12], slope[2, 12] = zero, zero, half * (real(15.0) * z * z - real(3.0))
        slope[0, 13], slope[1, 13], slope[2, 13] = cz5, zero, real(10.0) * c * x * z
        slope[0, 14], slope[1, 14], slope[2, 14] = b * x * z, -b * y * z, half * b * (xx - yy)
        slope[0, 15], slope[1, 15], slope[2, 15] = a3 * (xx - yy), -two * a3 * x * y, zero
    for m in range(1, (rank + 1) * (rank + 1)):
        along = slope[0, m] * x + slope[1, m] * y + slope[2, m] * z
        slope[0, m] -= along * x
        slope[1, m] -= along * y
        slope[2, m] -= along * z


@lru_cache(maxsize=None)
def compiled(n_radial: int, max_rank: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two passes for this many radial functions and ranks; they compile on their first call and are cached.

    Returns
    -------
    gradients(local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
              wall_energy, losses, gradient, closest)
        Fills ``losses[i]``, ``gradient[i, b, lm, k]`` = dL_i/dA_i and ``closest[i]``, the smallest r_ij / wall radius.
    forces(local, species, shift, count, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
           reciprocal, result)
        Fills ``result[i, 3]``, the force on each agent.

    Arrays: local (n, 3), positions relative to the list's origin; shift (27, 3), box vectors of the images; table as
    `kernels.radial.tabulate` makes it, 1/per_row angstrom per row; wall_energy the stiffness times the share of the
    pair's wall that one agent owns, wall_force twice the stiffness.
    """
    n_lm = (max_rank + 1) ** 2
    ranks = tuple(rank for rank in range(max_rank + 1) for _ in range(2 * rank + 1))

    @njit(nogil=True, cache=True, fastmath=FAST, parallel=True, error_model="numpy")
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest,
    ):  # fmt: skip
        n_species = table.shape[0]
        real = local.dtype.type
        for i in prange(local.shape[0]):
            a = species[i]
            fields = np.zeros((n_species, n_lm, n_radial), local.dtype)
            phi = np.empty(n_radial, local.dtype)
            value = np.empty(n_lm, local.dtype)
            loss = real(0.0)
            nearest = real(1e9)
            for q in range(count[i]):
                dx, dy, dz, j = separation(local, shift, i, entries[i, q])
                r2 = dx * dx + dy * dy + dz * dz
                if not r2 < cutoff * cutoff:  # also true of NaN
                    continue
                r = math.sqrt(r2)
                b = species[j]
                radius = wall_radius[a, b]
                if r < radius:
                    loss += wall_energy * (radius - r) * (radius - r)
                nearest = min(nearest, r / radius)
                t = max((r - start) * per_row, real(0.0))
                row = int(t)
                t -= real(row)
                h0, s0, h1, s1 = hermite(t, real(1.0))
                near = table[a, b, row]
                far = table[a, b, row + 1]
                for k in range(n_radial):
                    phi[k] = h0 * near[0, k] + s0 * near[1, k] + h1 * far[0, k] + s1 * far[1, k]
                inverse = real(1.0) / r
                harmonics(dx * inverse, dy * inverse, dz * inverse, max_rank, value)
                for m in range(n_lm):
                    for k in range(n_radial):
                        fields[b, m, k] += value[m] * phi[k]
            for b in range(n_species):
                for k in range(n_radial):
                    loss += linear[a, b, k] * fields[b, 0, k]
            for m in range(n_lm):
                rank = ranks[m]
                for b in range(n_species):
                    for k in range(n_radial):
                        gradient[i, b, m, k] = real(0.0)
                for c in range(n_species):
                    for n in range(n_radial):
                        field = fields[c, m, n]
                        for b in range(n_species):
                            for k in range(n_radial):
                                gradient[i, b, m, k] += quadratic[a, rank, c, n, b, k] * field
                for b in range(n_species):
                    for k in range(n_radial):
                        loss += real(0.5) * fields[b, m, k] * gradient[i, b, m, k]
            for b in range(n_species):
                for k in range(n_radial):
                    gradient[i, b, 0, k] += linear[a, b, k]
            losses[i] = loss
            closest[i] = nearest

    @njit(nogil=True, cache=True, fastmath=FAST, parallel=True, error_model="numpy")
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
        reciprocal, result,
    ):  # fmt: skip
        real = local.dtype.type
        both = real(1.0) if reciprocal else real(0.0)
        for i in prange(local.shape[0]):
            a = species[i]
            value = np.empty(n_lm, local.dtype)
            slope = np.empty((3, n_lm), local.dtype)
            along = np.empty(n_radial, local.dtype)
            across = np.empty((3, n_radial), local.dtype)
            force = np.zeros((3, n_radial), local.dtype)
            fx, fy, fz = real(0.0), real(0.0), real(0.0)
            for q in range(count[i]):
                dx, dy, dz, j = separation(local, shift, i, entries[i, q])
                r2 = dx * dx + dy * dy + dz * dz
                if not r2 < cutoff * cutoff:  # also true of NaN
                    continue
                r = math.sqrt(r2)
                inverse = real(1.0) / r
                ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
                b = species[j]
                overlap = wall_radius[a, b] - r
                if overlap > real(0.0):
                    fx += wall_force * overlap * ux
                    fy += wall_force * overlap * uy
                    fz += wall_force * overlap * uz
                t = max((r - start) * per_row, real(0.0))
                row = int(t)
                t -= real(row)
                h0, s0, h1, s1 = hermite(t, real(1.0))
                dh0, ds0, ds1 = hermite_slopes(t, real(1.0))
                harmonics(ux, uy, uz, max_rank, value)
                harmonic_slopes(ux, uy, uz, max_rank, slope)
                for k in range(n_radial):
                    along[k] = real(0.0)
                    across[0, k] = real(0.0)
                    across[1, k] = real(0.0)
                    across[2, k] = real(0.0)
                for m in range(n_lm):
                    # (-1)^l: seen from the other end, the separation points the other way.
                    sign = both * (real(-1.0) if ranks[m] % 2 else real(1.0))
                    for k in range(n_radial):
                        g = gradient[i, b, m, k] + sign * gradient[j, a, m, k]
                        along[k] += g * value[m]
                        across[0, k] += g * slope[0, m]
                        across[1, k] += g * slope[1, m]
                        across[2, k] += g * slope[2, m]
                near = table[a, b, row]
                far = table[a, b, row + 1]
                for k in range(n_radial):
                    phi = (h0 * near[0, k] + s0 * near[1, k] + h1 * far[0, k] + s1 * far[1, k]) * inverse
                    dphi = (dh0 * (near[0, k] - far[0, k]) + ds0 * near[1, k] + ds1 * far[1, k]) * per_row * along[k]
                    force[0, k] -= dphi * ux + phi * across[0, k]
                    force[1, k] -= dphi * uy + phi * across[1, k]
                    force[2, k] -= dphi * uz + phi * across[2, k]
            for k in range(n_radial):
                fx += force[0, k]
                fy += force[1, k]
                fz += force[2, k]
            result[i, 0] = fx
            result[i, 1] = fy
            result[i, 2] = fz

    return gradients, forces
