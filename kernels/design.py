"""Rows of the regression: how the force on each agent depends on each coefficient of the losses.

A loss is linear in its coefficients, and so is a force:

    F_jd = sum_p D[jd, p] theta_p + wall,    D[jd, p] = - d( feature_p ) / dq_jd

where the features of one species are its rank-0 invariants s_m and, for each rank l, the products A^l_m . A^l_n
(n >= m; the diagonal ones halved, so that theta is the triangle of W in L = w.s + 1/2 A W A). Order 3 adds the
invariants of three fields of `kernels.cubic`; their channels are given, so that the loss stays linear in theta. So
are those parts that are not local, products of two agents' numbers and a function of their distance (`kernels.mutual`).
Each agent's rows are gathered by one thread, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from mldsim.kernels import cubic, mutual, pair, waves

_of_pair = pair.functions(njit(nogil=True, fastmath=pair.FAST, error_model="numpy"))
separation, hermite, hermite_slopes = _of_pair.separation, _of_pair.hermite, _of_pair.hermite_slopes
harmonics, harmonic_slopes = _of_pair.harmonics, _of_pair.harmonic_slopes


def n_features(n_fields: int, order: int, max_rank: int, n_channels: int = 0) -> int:
    """Number of coefficients of one species: w, the triangles of W, the cubic ones."""
    quadratic = (max_rank + 1) * n_fields * (n_fields + 1) // 2 * (order >= 2)
    return n_fields + quadratic + len(cubic.features(n_channels, max_rank))


def feature_index(n_fields: int, max_rank: int) -> np.ndarray:
    """Column of the product of fields m and n of rank l, (max_rank + 1, n_fields, n_fields) int64."""
    index = np.zeros((max_rank + 1, n_fields, n_fields), np.int64)
    upper = np.triu_indices(n_fields)
    size = len(upper[0])
    for rank in range(max_rank + 1):
        index[rank][upper] = n_fields + rank * size + np.arange(size)
        index[rank].T[upper] = index[rank][upper]
    return index


@njit(nogil=True, cache=True, error_model="numpy")
def _pair(local, shift, i, entry, species, cutoff, start, per_row, table, rank, phi, dphi, value, slope):  # type: ignore[no-untyped-def]
    """Geometry and radial functions of one pair: (r, inverse r, unit vector, neighbour), or r = 0 beyond the cutoff."""
    dx, dy, dz, j = separation(local, shift, i, entry)
    r2 = dx * dx + dy * dy + dz * dz
    if not r2 < cutoff * cutoff:
        return 0.0, 0.0, 0.0, 0.0, 0.0, j
    r = math.sqrt(r2)
    t = max((r - start) * per_row, 0.0)
    row = int(t)
    t -= row
    h0, s0, h1, s1 = hermite(t, 1.0)
    dh0, ds0, ds1 = hermite_slopes(t, 1.0)
    near = table[species[i], species[j], row]
    far = table[species[i], species[j], row + 1]
    for k in range(phi.size):
        phi[k] = h0 * near[0, k] + s0 * near[1, k] + h1 * far[0, k] + s1 * far[1, k]
        dphi[k] = (dh0 * (near[0, k] - far[0, k]) + ds0 * near[1, k] + ds1 * far[1, k]) * per_row
    harmonics(dx / r, dy / r, dz / r, rank, value)
    harmonic_slopes(dx / r, dy / r, dz / r, rank, slope)
    return r, 1.0 / r, dx / r, dy / r, dz / r, j


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def fields(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, rank, shortest, result
):  # fmt: skip
    """Fields ``result[i, lm, b * n_radial + k]`` and ``shortest[i, b]``, the distance to the nearest agent of b."""
    n_radial = table.shape[4]
    n_lm = (rank + 1) * (rank + 1)
    for i in prange(local.shape[0]):
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        value, slope = np.empty(n_lm), np.empty((3, n_lm))
        result[i] = 0.0
        shortest[i] = np.inf
        for q in range(count[i]):
            r, _, _, _, _, j = _pair(
                local, shift, i, entries[i, q], species, cutoff, start, per_row, table, rank, phi, dphi, value, slope
            )
            if r == 0.0:
                continue
            b = species[j]
            shortest[i, b] = min(shortest[i, b], r)
            for m in range(n_lm):
                for k in range(n_radial):
                    result[i, m, b * n_radial + k] += value[m] * phi[k]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_products(change, first, field, rank, products):  # type: ignore[no-untyped-def]
    """``products[d, l, first + p, n] -= sum_m change[d, lm, p] * field[lm, n]``: products of a change and a field."""
    for d in range(3):
        for lower in range(rank + 1):
            for m in range(lower * lower, (lower + 1) * (lower + 1)):
                for p in range(change.shape[2]):
                    c = change[d, m, p]
                    for n in range(field.shape[1]):
                        products[d, lower, first + p, n] -= c * field[m, n]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def rows(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, rank, quadratic, index, n_columns,
    wall_radius, wall_stiffness, reciprocal, fields, design, wall,
):  # fmt: skip
    """Fill ``design[3 i + d, species * n_columns + p]`` and ``wall[3 i + d]``, the force of the wall.

    `fields` as made by the function of that name; `index` as made by `feature_index`; `quadratic` is True from
    order 2 on; `reciprocal` is True when agents descend the sum of all losses.
    """
    n_radial = table.shape[4]
    n_species = table.shape[0]
    n_fields = n_species * n_radial
    n_lm = (rank + 1) * (rank + 1)
    for i in prange(local.shape[0]):
        a = species[i]
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        value, slope = np.empty(n_lm), np.empty((3, n_lm))
        own = np.zeros((3, n_lm, n_fields))  # dA_i / dq_i
        pair = np.empty((3, n_lm, n_radial))  # its part from one neighbour
        linear = np.zeros((n_species, 3, n_fields))
        products = np.zeros((n_species, 3, rank + 1, n_fields, n_fields))
        for d in range(3):
            wall[3 * i + d] = 0.0
        for q in range(count[i]):
            r, inverse, ux, uy, uz, j = _pair(
                local, shift, i, entries[i, q], species, cutoff, start, per_row, table, rank, phi, dphi, value, slope
            )
            if r == 0.0:
                continue
            b = species[j]
            unit = (ux, uy, uz)
            overlap = max(wall_radius[a, b] - r, 0.0)
            for d in range(3):
                wall[3 * i + d] += 2.0 * wall_stiffness * overlap * unit[d]
                for m in range(n_lm):
                    for k in range(n_radial):
                        pair[d, m, k] = dphi[k] * value[m] * unit[d] + phi[k] * inverse * slope[d, m]
                        own[d, m, b * n_radial + k] += pair[d, m, k]
            if reciprocal:
                # The losses of the neighbours change too: seen from j the field of rank l has the sign (-1)^l.
                for d in range(3):
                    for k in range(n_radial):
                        linear[b, d, a * n_radial + k] -= pair[d, 0, k]
                    for lower in range(1, rank + 1, 2):
                        for m in range(lower * lower, (lower + 1) * (lower + 1)):
                            for k in range(n_radial):
                                pair[d, m, k] = -pair[d, m, k]
                if quadratic:
                    _add_products(pair, a * n_radial, fields[j], rank, products[b])
        for d in range(3):
            for p in range(n_fields):
                linear[a, d, p] -= own[d, 0, p]
        if quadratic:
            _add_products(own, 0, fields[i], rank, products[a])
        for b in range(n_species):
            for d in range(3):
                row = design[3 * i + d, b * n_columns : (b + 1) * n_columns]
                row[:n_fields] = linear[b, d]
                if quadratic:
                    for lower in range(rank + 1):
                        for p in range(n_fields):
                            row[index[lower, p, p]] = products[b, d, lower, p, p]
                            for n in range(p + 1, n_fields):
                                row[index[lower, p, n]] = products[b, d, lower, p, n] + products[b, d, lower, n, p]


CHUNK = 16
"""Features whose columns one thread fills: whatever the number of threads, so that it does not show in the result."""


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def components(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, rank, channels, offsets, neighbor, value,
    slope,
):  # fmt: skip
    """The components of the cubic part (see `kernels.cubic`) and how they change with an agent's position.

    Fills ``value[i, lm * n_channels + c]``, ``slope[i, q, lm * n_channels + c, d]``, the part of d value[i] / d q_i
    that is owed to neighbour ``neighbor[i, q]``, which is -1 beyond the cutoff; `channels` and `offsets` as in
    `mldsim.loss.Cubic`.
    """
    n_radial = table.shape[4]
    n_channels = channels.shape[2]
    n_lm = (rank + 1) * (rank + 1)
    for i in prange(local.shape[0]):
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        y, dy = np.empty(n_lm), np.empty((3, n_lm))
        value[i] = 0.0
        for c in range(n_channels):
            value[i, c] = -offsets[species[i], c]
        for q in range(count[i]):
            r, inverse, ux, uy, uz, j = _pair(
                local, shift, i, entries[i, q], species, cutoff, start, per_row, table, rank, phi, dphi, y, dy
            )
            neighbor[i, q] = -1 if r == 0.0 else j
            if r == 0.0:
                continue
            unit = (ux, uy, uz)
            for lower in range(rank + 1):
                for c in range(n_channels):
                    psi, dpsi = 0.0, 0.0
                    for k in range(n_radial):
                        p = channels[species[i], lower, c, species[j] * n_radial + k]
                        psi += p * phi[k]
                        dpsi += p * dphi[k]
                    for m in range(lower * lower, (lower + 1) * (lower + 1)):
                        value[i, m * n_channels + c] += psi * y[m]
                        for d in range(3):
                            slope[i, q, m * n_channels + c, d] = dpsi * y[m] * unit[d] + psi * inverse * dy[d, m]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def saturate(species, count, neighbor, tightness, value, slope):  # type: ignore[no-untyped-def]
    """Saturate in place what `components` has made, values and slopes; `tightness` as in `kernels.cubic`."""
    n_ranks = tightness.shape[1]
    n_channels = value.shape[1] // (n_ranks * n_ranks)
    for i in prange(value.shape[0]):
        for rank in range(n_ranks):
            t = tightness[species[i], rank]
            first, end = rank * rank * n_channels, (rank + 1) * (rank + 1) * n_channels
            for c in range(first, first + n_channels):
                square = 0.0
                for v in range(c, end, n_channels):
                    square += value[i, v] ** 2
                s = 1.0 / np.sqrt(1.0 + square * t)
                for v in range(c, end, n_channels):
                    value[i, v] *= s
                for q in range(count[i]):
                    if neighbor[i, q] < 0:
                        continue
                    for d in range(3):
                        along = 0.0
                        for v in range(c, end, n_channels):
                            along += value[i, v] * slope[i, q, v, d]
                        for v in range(c, end, n_channels):
                            slope[i, q, v, d] = s * (slope[i, q, v, d] - t * along * value[i, v])


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def cubic_rows(  # type: ignore[no-untyped-def]
    species, count, neighbor, value, slope, first, factors, weights, slots, first_slot, of_slot, reciprocal,
    n_columns, first_column, design,
):  # fmt: skip
    """Fill the columns of the cubic part, ``design[3 i + d, species * n_columns + first_column + feature]``.

    `neighbor`, `value`, `slope` as made by `components` and saturated; the next six as in `kernels.cubic.Monomials`.
    """
    n_features = first.size - 1
    n_species = design.shape[1] // n_columns
    for chunk in prange((n_features + CHUNK - 1) // CHUNK):
        begin = chunk * CHUNK
        end = min(begin + CHUNK, n_features)
        base = first_slot[begin]
        gradient = np.empty(first_slot[end] - base)  # of the chunk's features by their components
        total = np.empty((value.shape[1], 3))
        for b in range(n_species):
            at = b * n_columns + first_column
            design[:, at + begin : at + end] = 0.0
        for i in range(value.shape[0]):
            at = species[i] * n_columns + first_column
            gradient[:] = 0.0
            for t in range(first[begin], first[end]):
                x, y, z = value[i, factors[t, 0]], value[i, factors[t, 1]], value[i, factors[t, 2]]
                gradient[slots[t, 0] - base] += weights[t] * y * z
                gradient[slots[t, 1] - base] += weights[t] * x * z
                gradient[slots[t, 2] - base] += weights[t] * x * y
            total[:] = 0.0
            for q in range(count[i]):
                j = neighbor[i, q]
                if j < 0:
                    continue
                total += slope[i, q]
                if reciprocal:
                    for f in range(begin, end):
                        fx, fy, fz = 0.0, 0.0, 0.0
                        for s in range(first_slot[f], first_slot[f + 1]):
                            g = gradient[s - base]
                            fx += g * slope[i, q, of_slot[s], 0]
                            fy += g * slope[i, q, of_slot[s], 1]
                            fz += g * slope[i, q, of_slot[s], 2]
                        design[3 * j, at + f] += fx
                        design[3 * j + 1, at + f] += fy
                        design[3 * j + 2, at + f] += fz
            for f in range(begin, end):
                for s in range(first_slot[f], first_slot[f + 1]):
                    for d in range(3):
                        design[3 * i + d, at + f] -= gradient[s - base] * total[of_slot[s], d]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def _curvature(  # type: ignore[no-untyped-def]
    species, value, tightness, first, factors, weights, coefficients, gradient, curvature
):
    """First and second derivatives of each agent's cubic part by its components before their saturation.

    With g, H the derivatives by the saturated p, and the indices those of one channel,

        d2L/dv dv = J H J - s^2 t [ g p + p g + g.p (1 - 3 t p p) ],    J = s (1 - t p p).
    """
    n_ranks = tightness.shape[1]
    n_components = value.shape[1]
    n_channels = n_components // (n_ranks * n_ranks)
    for i in prange(value.shape[0]):
        p = np.empty(n_components)
        shrink = np.empty(n_ranks * n_channels)
        for rank in range(n_ranks):
            begin, end = rank * rank * n_channels, (rank + 1) * (rank + 1) * n_channels
            for c in range(n_channels):
                square = 0.0
                for v in range(begin + c, end, n_channels):
                    square += value[i, v] ** 2
                s = 1.0 / np.sqrt(1.0 + square * tightness[species[i], rank])
                shrink[rank * n_channels + c] = s
                for v in range(begin + c, end, n_channels):
                    p[v] = s * value[i, v]
        gradient[i] = 0.0
        curvature[i] = 0.0
        for f in range(first.size - 1):
            theta = coefficients[species[i], f]
            for t in range(first[f], first[f + 1]):
                x, y, z = factors[t]
                w = weights[t] * theta
                px, py, pz = w * p[x], w * p[y], w * p[z]
                gradient[i, x] += p[y] * pz
                gradient[i, y] += p[z] * px
                gradient[i, z] += p[x] * py
                curvature[i, x, y] += pz
                curvature[i, y, x] += pz
                curvature[i, y, z] += px
                curvature[i, z, y] += px
                curvature[i, z, x] += py
                curvature[i, x, z] += py
        for channel in range(n_ranks * n_channels):
            rank, c = channel // n_channels, channel % n_channels
            t, s = tightness[species[i], rank], shrink[channel]
            begin, end = rank * rank * n_channels + c, (rank + 1) * (rank + 1) * n_channels
            for other in range(n_components):
                along = 0.0
                for v in range(begin, end, n_channels):
                    along += p[v] * curvature[i, v, other]
                for v in range(begin, end, n_channels):
                    curvature[i, v, other] = s * (curvature[i, v, other] - t * along * p[v])
            for other in range(n_components):
                along = 0.0
                for v in range(begin, end, n_channels):
                    along += p[v] * curvature[i, other, v]
                for v in range(begin, end, n_channels):
                    curvature[i, other, v] = s * (curvature[i, other, v] - t * along * p[v])
        for channel in range(n_ranks * n_channels):
            rank, c = channel // n_channels, channel % n_channels
            t, s = tightness[species[i], rank], shrink[channel]
            begin, end = rank * rank * n_channels + c, (rank + 1) * (rank + 1) * n_channels
            along = 0.0
            for v in range(begin, end, n_channels):
                along += p[v] * gradient[i, v]
            for v in range(begin, end, n_channels):
                for u in range(begin, end, n_channels):
                    bend = gradient[i, u] * p[v] + p[u] * gradient[i, v] - 3.0 * t * along * p[u] * p[v]
                    curvature[i, u, v] -= s * s * t * (bend + (along if u == v else 0.0))
            for v in range(begin, end, n_channels):
                gradient[i, v] = s * (gradient[i, v] - t * along * p[v])


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def channel_rows(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, rank, fields, means, neighbor, value, slope,
    tightness, first, factors, weights, coefficients, reciprocal, design,
):  # fmt: skip
    """How the forces change with the channels themselves, at given coefficients of the cubic part.

    Fills ``design[3 i + d, ((a * (rank + 1) + l) * n_channels + c) * n_fields + n]``, the derivative of the force by
    P^l_cn of species a (see `kernels.cubic`) when the offsets follow it, o = P s with the mean invariants `means`.
    `fields` as made by the function of that name; `neighbor`, `value`, `slope` as made by `components`.
    """
    n_agents, n_components = value.shape
    n_radial = table.shape[4]
    n_fields = fields.shape[2]
    n_lm = (rank + 1) * (rank + 1)
    n_channels = n_components // n_lm
    gradient = np.empty((n_agents, n_components))
    curvature = np.empty((n_agents, n_components, n_components))
    _curvature(species, value, tightness, first, factors, weights, coefficients, gradient, curvature)
    design[:] = 0.0
    for chunk in prange((rank + 1) * n_channels):
        lower, c = chunk // n_channels, chunk % n_channels
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        y, dy = np.empty(n_lm), np.empty((3, n_lm))
        by_component = np.empty((n_fields, n_components))
        change = np.empty((3, n_fields))
        total = np.empty((3, n_fields))
        for i in range(n_agents):
            a = species[i]
            at = ((a * (rank + 1) + lower) * n_channels + c) * n_fields
            by_component[:] = 0.0
            for m in range(lower * lower, (lower + 1) * (lower + 1)):
                for n in range(n_fields):
                    amount = fields[i, m, n] - (means[a, n] if lower == 0 else 0.0)
                    for v in range(n_components):
                        by_component[n, v] += amount * curvature[i, m * n_channels + c, v]
            total[:] = 0.0
            for q in range(count[i]):
                j = neighbor[i, q]
                if j < 0:
                    continue
                _, inverse, ux, uy, uz, _ = _pair(
                    local, shift, i, entries[i, q], species, cutoff, start, per_row, table, rank, phi, dphi, y, dy
                )
                unit = (ux, uy, uz)
                for n in range(n_fields):
                    fx, fy, fz = 0.0, 0.0, 0.0
                    for v in range(n_components):
                        h = by_component[n, v]
                        fx += h * slope[i, q, v, 0]
                        fy += h * slope[i, q, v, 1]
                        fz += h * slope[i, q, v, 2]
                    change[0, n], change[1, n], change[2, n] = fx, fy, fz
                for d in range(3):
                    along, across = 0.0, 0.0
                    for m in range(lower * lower, (lower + 1) * (lower + 1)):
                        along += gradient[i, m * n_channels + c] * y[m] * unit[d]
                        across += gradient[i, m * n_channels + c] * dy[d, m] * inverse
                    for k in range(n_radial):
                        change[d, species[j] * n_radial + k] += along * dphi[k] + across * phi[k]
                total += change
                if reciprocal:
                    for d in range(3):
                        for n in range(n_fields):
                            design[3 * j + d, at + n] += change[d, n]
            for d in range(3):
                for n in range(n_fields):
                    design[3 * i + d, at + n] -= total[d, n]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def hop_fields(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, numbers, fields
):  # fmt: skip
    """Fill ``fields[i, b, k, d]``: sums over the neighbours j of b of phi_k(r_ij) numbers[j, d]."""
    n_radial = table.shape[4]
    for i in prange(local.shape[0]):
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        y, dy = np.empty(1), np.empty((3, 1))
        fields[i] = 0.0
        for q in range(count[i]):
            r, _, _, _, _, j = _pair(
                local, shift, i, entries[i, q], species, cutoff, start, per_row, table, 0, phi, dphi, y, dy
            )
            if r == 0.0:
                continue
            for k in range(n_radial):
                for d in range(numbers.shape[1]):
                    fields[i, species[j], k, d] += phi[k] * numbers[j, d]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def hop_rows(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, numbers, n_columns, first_column, design
):  # fmt: skip
    """Fill the columns of the hops (`kernels.mutual.columns`) with the forces at constant numbers."""
    n_species, n_radial, n_channels = table.shape[0], table.shape[4], numbers.shape[1]
    n_pairs = n_channels * (n_channels + 1) // 2
    for i in prange(local.shape[0]):
        a = species[i]
        phi, dphi = np.empty(n_radial), np.empty(n_radial)
        y, dy = np.empty(1), np.empty((3, 1))
        for b in range(n_species):
            begin = b * n_columns + first_column
            design[3 * i : 3 * i + 3, begin : begin + n_species * n_radial * n_pairs] = 0.0
        for q in range(count[i]):
            r, _, ux, uy, uz, j = _pair(
                local, shift, i, entries[i, q], species, cutoff, start, per_row, table, 0, phi, dphi, y, dy
            )
            if r == 0.0:
                continue
            b = species[j]
            unit = (ux, uy, uz)
            mine = a * n_columns + first_column + b * n_radial * n_pairs
            its = b * n_columns + first_column + a * n_radial * n_pairs
            for k in range(n_radial):
                for c in range(n_channels):
                    for d in range(c, n_channels):
                        first, second = numbers[i, c] * numbers[j, d] * dphi[k], numbers[j, c] * numbers[i, d] * dphi[k]
                        for axis in range(3):
                            design[3 * i + axis, mine] -= first * unit[axis]
                            design[3 * i + axis, its] -= second * unit[axis]
                        mine += 1
                        its += 1


def long_range(
    positions: np.ndarray,
    species: np.ndarray,
    box: np.ndarray,
    widths: np.ndarray,
    reach: float,
    charges: np.ndarray,
    n_columns: int,
    first_column: int,
    design: np.ndarray,
) -> np.ndarray:
    """Fill the columns of the waves with the forces at constant numbers.

    Parameters
    ----------
    positions, species, box : as everywhere
    widths, reach
        As in `mldsim.loss.Waves`.
    charges : (n_agents,) float64
        The leading channel of each agent.
    n_columns, first_column, design
        As in `cubic_rows`.

    Returns
    -------
    (n_agents, n_species, n_widths, 2) float64
        The fields X (`kernels.waves`).
    """
    n_species = design.shape[1] // n_columns
    numbers = np.stack([np.ones(len(species)), charges], axis=1)
    found = waves.half_space(box, reach)
    wave_vectors = 2.0 * np.pi * found.n / box
    weights = 2.0 / box.prod() * waves.transforms(found.k, widths, reach)
    phase = np.exp(1j * positions @ wave_vectors.T)
    of_species = (species[:, None] == np.arange(n_species)).astype(float)
    structure = np.einsum("ik,ib,iv->kbv", phase, of_species, numbers, optimize=True)
    weighted = np.einsum("kw,kbv->kbwv", weights, structure).reshape(len(found.k), -1)
    shape = (len(species), n_species, len(widths), waves.NUMBERS)
    fields = (phase.conj() @ weighted).real.reshape(shape)
    fields -= np.einsum("ib,w,iv->ibwv", of_species, waves.at_own_place(widths, reach), numbers)
    change = [((phase.conj() * k) @ weighted).imag.reshape(shape) for k in wave_vectors.T]
    for a in range(n_species):
        for number, (b, w, c, d) in enumerate(mutual.columns(n_species, len(widths), waves.NUMBERS)):
            column = a * n_columns + first_column + number
            for axis in range(3):
                of_a = numbers[:, c] * change[axis][:, b, w, d] * of_species[:, a]
                of_b = numbers[:, d] * change[axis][:, a, w, c] * of_species[:, b]
                design[axis::3, column] = -of_a - of_b
    return np.asarray(fields)


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def number_rows(species, count, neighbor, slope, column, fields, design):  # type: ignore[no-untyped-def]
    """Add the forces that invariants of `kernels.mutual` make by way of the agents' numbers.

    `neighbor` and `slope` as made by `components` and saturated; number c of an agent of a is in the columns
    ``column[a, c, n]`` of the design, with the slope ``fields[i, c, n]``.
    """
    for axis in prange(3):
        total = np.empty(column.shape[1])
        for i in range(species.size):
            a = species[i]
            total[:] = 0.0
            for q in range(count[i]):
                j = neighbor[i, q]
                if j < 0:
                    continue
                for c in range(column.shape[1]):
                    change = slope[i, q, c, axis]
                    total[c] += change
                    for n in range(column.shape[2]):
                        design[3 * j + axis, column[a, c, n]] += change * fields[i, c, n]
            for c in range(column.shape[1]):
                for n in range(column.shape[2]):
                    design[3 * i + axis, column[a, c, n]] -= total[c] * fields[i, c, n]
