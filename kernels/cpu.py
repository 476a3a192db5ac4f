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
from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange

from mldsim.kernels import pair
from mldsim.kernels.pair import FAST

_inlined = njit(nogil=True, fastmath=FAST, error_model="numpy")
separation = _inlined(pair.separation)
hermite = _inlined(pair.hermite)
hermite_slopes = _inlined(pair.hermite_slopes)
harmonics = _inlined(pair.harmonics)
harmonic_slopes = _inlined(pair.harmonic_slopes)


@cache
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
                    y = value[m]
                    field = fields[b, m]
                    for k in range(n_radial):
                        field[k] += y * phi[k]
            for b in range(n_species):
                for k in range(n_radial):
                    loss += linear[a, b, k] * fields[b, 0, k]
            for m in range(n_lm):
                rank = ranks[m]
                for b in range(n_species):
                    slope = gradient[i, b, m]
                    for k in range(n_radial):
                        slope[k] = real(0.0)
                    for c in range(n_species):
                        for n in range(n_radial):
                            amount = fields[c, m, n]
                            weight = quadratic[a, rank, c, n, b]
                            for k in range(n_radial):
                                slope[k] += weight[k] * amount
                    field = fields[b, m]
                    for k in range(n_radial):
                        loss += real(0.5) * field[k] * slope[k]
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
            sign = np.empty(n_lm, local.dtype)
            for m in range(n_lm):
                # (-1)^l: seen from the other end, the separation points the other way.
                sign[m] = both * (real(-1.0) if ranks[m] % 2 else real(1.0))
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
                near = table[a, b, row]
                far = table[a, b, row + 1]
                mine = gradient[i, b]
                theirs = gradient[j, a]
                # Nothing is stored in this loop, so that its n_radial rounds become lanes of a vector register.
                for k in range(n_radial):
                    along, x, y, z = real(0.0), real(0.0), real(0.0), real(0.0)
                    for m in range(n_lm):
                        g = mine[m, k] + sign[m] * theirs[m, k]
                        along += g * value[m]
                        x += g * slope[0, m]
                        y += g * slope[1, m]
                        z += g * slope[2, m]
                    phi = (h0 * near[0, k] + s0 * near[1, k] + h1 * far[0, k] + s1 * far[1, k]) * inverse
                    dphi = (dh0 * (near[0, k] - far[0, k]) + ds0 * near[1, k] + ds1 * far[1, k]) * per_row * along
                    fx -= dphi * ux + phi * x
                    fy -= dphi * uy + phi * y
                    fz -= dphi * uz + phi * z
            result[i, 0] = fx
            result[i, 1] = fy
            result[i, 2] = fz

    return gradients, forces
