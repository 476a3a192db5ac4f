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
from typing import NamedTuple

import numpy as np

from mldsim.kernels import cubic, lanes, mutual, pair, waves
from mldsim.kernels.caching import njit, prange
from mldsim.kernels.lanes import at

_of_pair = pair.functions(njit(nogil=True, fastmath=pair.FAST, error_model="numpy"))
separation, hermite, hermite_slopes = _of_pair.separation, _of_pair.hermite, _of_pair.hermite_slopes
harmonics, harmonic_slopes = _of_pair.harmonics, _of_pair.harmonic_slopes

LANES, TILE = 8, 6
"""Of products of matrices: numbers in a vector, and vectors that are summed at once."""

GROUP = 8
"""Agents that one thread takes at a time, with scratch for one."""

_, _load, _store, _ = lanes.vectors(LANES)
_tile = lanes.rows(LANES, TILE)
_zeros, _add, _add_to = _tile.zeros, _tile.add, _tile.add_to


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


def whole(n_radial: int) -> int:
    """Length of an axis of radial functions that is filled up with zeros to whole vectors."""
    return -(-n_radial // LANES) * LANES


class Pairs(NamedTuple):
    """What every pair within the cutoff brings to the rows, computed once per frame.

    Attributes
    ----------
    ends : (n_agents, n_species) int64
        The neighbours of species b of agent i are those from ends[i, b - 1], or 0, to ends[i, b].
    owner : (n_agents, width) int64
        The neighbour itself.
    distance : (n_agents, width) float64, angstrom
    unit : (n_agents, width, 3) float64
        From the neighbour to the agent.
    radial : (n_agents, width, 2, whole(n_radial)) float64
        The radial functions and their slopes, and zeros.
    angular : (n_agents, width, 4, n_lm) float64
        The harmonics, and how they change with the agent's x, y and z.
    """

    ends: np.ndarray
    owner: np.ndarray
    distance: np.ndarray
    unit: np.ndarray
    radial: np.ndarray
    angular: np.ndarray


def shapes_of_pairs(
    n_agents: int, width: int, n_species: int, n_radial: int, max_rank: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of `Pairs`, for at most `width` neighbours of an agent."""
    return {
        "ends": (n_agents, n_species),
        "owner": (n_agents, width),
        "distance": (n_agents, width),
        "unit": (n_agents, width, 3),
        "radial": (n_agents, width, 2, whole(n_radial)),
        "angular": (n_agents, width, 4, (max_rank + 1) ** 2),
    }


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def find_pairs(  # type: ignore[no-untyped-def]
    local, species, shift, count, entries, cutoff, start, per_row, table, rank, pairs
):  # fmt: skip
    """Fill `pairs`: of the list's entries those within the cutoff; the last axis of `table` is `whole` long."""
    ends, owner, distance, unit, radial, angular = pairs
    n_species, n_rows, padded, capacity = table.shape[0], table.shape[2], table.shape[4], owner.shape[1]
    n_lm = (rank + 1) * (rank + 1)
    for i in prange(local.shape[0]):
        value, slope = np.empty(n_lm), np.empty((3, n_lm))
        a = species[i]
        n = 0
        for b in range(n_species):
            for place in range(count[i]):
                entry = entries[i, place]
                if species[entry >> 5] != b:
                    continue
                dx, dy, dz, j = separation(local, shift, i, entry)
                r2 = dx * dx + dy * dy + dz * dz
                if not r2 < cutoff * cutoff:
                    continue
                r = math.sqrt(r2)
                inverse = 1.0 / r
                ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
                owner[i, n] = j
                distance[i, n] = r
                unit[i, n, 0], unit[i, n, 1], unit[i, n, 2] = ux, uy, uz
                t = max((r - start) * per_row, 0.0)
                row = int(t)
                t -= row
                h0, s0, h1, s1 = hermite(t, 1.0)
                dh0, ds0, ds1 = hermite_slopes(t, 1.0)
                dh0, ds0, ds1 = per_row * dh0, per_row * ds0, per_row * ds1
                near_row = ((a * n_species + b) * n_rows + row) * 2 * padded
                here = (i * capacity + n) * 2 * padded
                for k in range(0, padded, LANES):
                    near, near_slope = _load(table, near_row + k), _load(table, near_row + padded + k)
                    far, far_slope = _load(table, near_row + 2 * padded + k), _load(table, near_row + 3 * padded + k)
                    _store(radial, here + k, near * h0 + near_slope * s0 + far * h1 + far_slope * s1)
                    _store(radial, here + padded + k, (near - far) * dh0 + near_slope * ds0 + far_slope * ds1)
                harmonics(ux, uy, uz, rank, value)
                harmonic_slopes(ux, uy, uz, rank, slope)
                for m in range(n_lm):
                    angular[i, n, 0, m] = value[m]
                for d in range(3):
                    for m in range(n_lm):
                        angular[i, n, 1 + d, m] = slope[d, m] * inverse
                n += 1
            ends[i, b] = n


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def fields(pairs, shortest, result):  # type: ignore[no-untyped-def]
    """Fields ``result[i, lm, b * n_radial + k]`` and ``shortest[i, b]``, the distance to the nearest agent of b."""
    ends, _, distance, _, radial, angular = pairs
    n_agents, n_lm, n_fields = result.shape
    capacity, padded, n_species = radial.shape[1], radial.shape[3], ends.shape[1]
    n_radial = n_fields // n_species
    for i in prange(n_agents):
        sums = np.zeros(n_lm * n_fields + LANES)  # the zeros behind the functions are added to what comes next
        first = 0
        for b in range(n_species):
            nearest = np.inf
            for q in range(first, ends[i, b]):
                nearest = min(nearest, distance[i, q])
                of_pair = (i * capacity + q) * 2 * padded
                for m in range(n_lm):
                    y = angular[i, q, 0, m]
                    for k in range(0, padded, LANES):
                        here = m * n_fields + b * n_radial + k
                        _store(sums, here, _load(sums, here) + _load(radial, of_pair + k) * y)
            shortest[i, b] = nearest
            first = ends[i, b]
        for m in range(n_lm):
            for p in range(n_fields):
                result[i, m, p] = sums[m * n_fields + p]


@njit(nogil=True, cache=True, error_model="numpy")
def _add_products(slopes, n_slopes, owner, first, n, fields, rank, result):  # type: ignore[no-untyped-def]
    """``result[l, p, n] += sum_qm slopes[q, m, p] * fields[owner[first + q], m, n]`` over q < n and the m of rank l.

    A product of matrices, tile by tile in registers; the last axes are whole numbers of tiles, that of `slopes`
    is `n_slopes` long.
    """
    n_lm, width = fields.shape[1], fields.shape[2]
    for lower in range(rank + 1):
        for p in range(0, n_slopes, TILE):
            for column in range(0, width, LANES):
                sums = _zeros(fields)
                for q in range(n):
                    of_field = at(owner, first + q) * n_lm * width + column
                    of_slope = q * n_lm * n_slopes + p
                    for m in range(lower * lower, (lower + 1) * (lower + 1)):
                        sums = _add(sums, _load(fields, of_field + m * width), slopes, of_slope + m * n_slopes, 1)
                _add_to(result, (lower * n_slopes + p) * width + column, width, sums)


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def rows(  # type: ignore[no-untyped-def]
    species, pairs, rank, quadratic, index, n_columns, wall_radius, wall_stiffness, reciprocal, fields, design, wall
):  # fmt: skip
    """Fill ``design[3 i + d, species * n_columns + p]`` and ``wall[3 i + d]``, the force of the wall.

    `fields` as made by the function of that name; `index` as made by `feature_index`; `quadratic` is True from
    order 2 on; `reciprocal` is True when agents descend the sum of all losses.
    """
    ends, owner, distance, unit, radial, angular = pairs
    n_agents, n_lm, n_fields = fields.shape
    capacity, padded, n_species = owner.shape[1], radial.shape[3], ends.shape[1]
    n_radial = n_fields // n_species
    width = (n_fields + LANES - 1) // LANES * LANES
    n_own = (3 * n_fields + TILE - 1) // TILE * TILE
    n_pair = (3 * n_radial + TILE - 1) // TILE * TILE
    wide = np.zeros((n_agents, n_lm, width))
    wide[:, :, :n_fields] = fields
    for group in prange((n_agents + GROUP - 1) // GROUP):
        # dA_i / dq_i, and its parts from the neighbours of one species: [m, d, field] and [q, m, d, k]. They have no
        # room for the zeros behind the radial functions, which run over into what is written, or added, next.
        own = np.zeros(n_lm * n_own + LANES)
        pair = np.zeros(capacity * n_lm * n_pair + LANES)
        theirs = np.zeros((rank + 1, n_pair, width))
        every = np.zeros((n_species, rank + 1, n_own, width))
        linear = np.zeros((n_species, 3, n_fields))
        this = np.empty(1, np.int64)
        for i in range(group * GROUP, min(n_agents, (group + 1) * GROUP)):
            a = species[i]
            own[:] = 0.0
            linear[:] = 0.0
            every[:] = 0.0
            wall[3 * i : 3 * i + 3] = 0.0
            first = 0
            for b in range(n_species):
                n = ends[i, b] - first
                for q in range(n):
                    of_pair = (i * capacity + first + q) * 2 * padded
                    overlap = max(wall_radius[a, b] - distance[i, first + q], 0.0)
                    for d in range(3):
                        wall[3 * i + d] += 2.0 * wall_stiffness * overlap * unit[i, first + q, d]
                    for m in range(n_lm):
                        y = angular[i, first + q, 0, m]
                        for d in range(3):
                            along, across = y * unit[i, first + q, d], angular[i, first + q, 1 + d, m]
                            of_slope, of_sum = (q * n_lm + m) * n_pair + d * n_radial, m * n_own + d * n_fields
                            for k in range(0, padded, LANES):
                                phi, dphi = _load(radial, of_pair + k), _load(radial, of_pair + padded + k)
                                change = phi * across + dphi * along
                                _store(pair, of_slope + k, change)
                                here = of_sum + b * n_radial + k
                                _store(own, here, _load(own, here) + change)
                if reciprocal:
                    # The losses of the neighbours change too: seen from j the field of rank l has the sign (-1)^l.
                    for d in range(3):
                        for k in range(n_radial):
                            linear[b, d, a * n_radial + k] -= own[d * n_fields + b * n_radial + k]
                    if quadratic:
                        theirs[:] = 0.0
                        _add_products(pair, n_pair, owner, i * capacity + first, n, wide, rank, theirs)
                        for lower in range(rank + 1):
                            sign = -1.0 if lower % 2 else 1.0
                            for d in range(3):
                                for k in range(n_radial):
                                    p, here = d * n_fields + a * n_radial + k, d * n_radial + k
                                    for m in range(n_fields):
                                        every[b, lower, p, m] += sign * theirs[lower, here, m]
                first = ends[i, b]
            for d in range(3):
                for p in range(n_fields):
                    linear[a, d, p] -= own[d * n_fields + p]
            if quadratic:
                this[0] = i
                _add_products(own, n_own, this, 0, 1, wide, rank, every[a])
            for b in range(n_species):
                for d in range(3):
                    for p in range(n_fields):
                        design[3 * i + d, b * n_columns + p] = linear[b, d, p]
                    if not quadratic:
                        continue
                    for lower in range(rank + 1):
                        for p in range(n_fields):
                            column = b * n_columns + index[lower, p, p]
                            here = d * n_fields
                            design[3 * i + d, column] = -every[b, lower, here + p, p]
                            for m in range(1, n_fields - p):
                                design[3 * i + d, column + m] = (
                                    -every[b, lower, here + p, p + m] - every[b, lower, here + p + m, p]
                                )


CHUNK, CHUNKS = 16, 8
"""Features whose columns are filled at once, and how many threads can share them: whatever the number of threads, so
that it does not show in the result."""


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def components(species, pairs, channels, offsets, value, slope):  # type: ignore[no-untyped-def]
    """The components of the cubic part (see `kernels.cubic`) and how they change with an agent's position.

    Fills ``value[i, lm * n_channels + c]`` and ``slope[i, lm * n_channels + c, d * n + q]``, the part of
    d value[i] / d q_i that is owed to neighbour q of the n within the cutoff; `channels` and `offsets` as in
    `mldsim.loss.Cubic`.
    """
    ends, _, _, unit, radial, angular = pairs
    n_channels, n_species = channels.shape[2], ends.shape[1]
    n_radial = channels.shape[3] // n_species
    for i in prange(ends.shape[0]):
        a = species[i]
        n = ends[i, n_species - 1]
        value[i] = 0.0
        for c in range(n_channels):
            value[i, c] = -offsets[a, c]
        first = 0
        for b in range(n_species):
            for q in range(first, ends[i, b]):
                for lower in range(channels.shape[1]):
                    for c in range(n_channels):
                        psi, dpsi = 0.0, 0.0
                        for k in range(n_radial):
                            p = channels[a, lower, c, b * n_radial + k]
                            psi += p * radial[i, q, 0, k]
                            dpsi += p * radial[i, q, 1, k]
                        for m in range(lower * lower, (lower + 1) * (lower + 1)):
                            y = angular[i, q, 0, m]
                            value[i, m * n_channels + c] += psi * y
                            for d in range(3):
                                slope[i, m * n_channels + c, d * n + q] = (
                                    dpsi * y * unit[i, q, d] + psi * angular[i, q, 1 + d, m]
                                )
            first = ends[i, b]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def saturate(species, pairs, tightness, value, slope, saturated, its_slope):  # type: ignore[no-untyped-def]
    """What `components` has made, values and slopes, saturated; `tightness` as in `kernels.cubic`."""
    ends, _, _, _, _, _ = pairs
    n_ranks = tightness.shape[1]
    n_channels = value.shape[1] // (n_ranks * n_ranks)
    for i in prange(value.shape[0]):
        n = 3 * ends[i, ends.shape[1] - 1]
        along = np.empty(n)
        for rank in range(n_ranks):
            t = tightness[species[i], rank]
            first, end = rank * rank * n_channels, (rank + 1) * (rank + 1) * n_channels
            for c in range(first, first + n_channels):
                square = 0.0
                for v in range(c, end, n_channels):
                    square += value[i, v] ** 2
                s = 1.0 / np.sqrt(1.0 + square * t)
                along[:] = 0.0
                for v in range(c, end, n_channels):
                    p = s * value[i, v]
                    saturated[i, v] = p
                    for x in range(n):
                        along[x] += p * slope[i, v, x]
                for v in range(c, end, n_channels):
                    pull = t * saturated[i, v]
                    for x in range(n):
                        its_slope[i, v, x] = s * (slope[i, v, x] - pull * along[x])


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def cubic_rows(  # type: ignore[no-untyped-def]
    species, pairs, value, slope, first, factors, weights, slots, first_slot, of_slot, reciprocal, n_columns,
    first_column, design,
):  # fmt: skip
    """Fill the columns of the cubic part, ``design[3 i + d, species * n_columns + first_column + feature]``.

    `value`, `slope` as made by `components` and saturated; the next six as in `kernels.cubic.Monomials`.
    """
    ends, owner, _, _, _, _ = pairs
    n_features = first.size - 1
    n_species = ends.shape[1]
    n_chunks = (n_features + CHUNK - 1) // CHUNK
    most = 0  # slots of a chunk
    for chunk in range(n_chunks):
        most = max(most, first_slot[min((chunk + 1) * CHUNK, n_features)] - first_slot[chunk * CHUNK])
    for b in range(n_species):
        design[:, b * n_columns + first_column : b * n_columns + first_column + n_features] = 0.0
    for portion in prange(CHUNKS):
        gradient = np.empty(most)  # of the chunk's features by their components
        change = np.empty((CHUNK, slope.shape[2]))
        for i in range(value.shape[0]):
            at_a = species[i] * n_columns + first_column
            n = ends[i, n_species - 1]
            for chunk in range(portion, n_chunks, CHUNKS):
                begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, n_features)
                base = first_slot[begin]
                gradient[:] = 0.0
                for t in range(first[begin], first[end]):
                    x, y, z = value[i, factors[t, 0]], value[i, factors[t, 1]], value[i, factors[t, 2]]
                    gradient[slots[t, 0] - base] += weights[t] * y * z
                    gradient[slots[t, 1] - base] += weights[t] * x * z
                    gradient[slots[t, 2] - base] += weights[t] * x * y
                for f in range(begin, end):
                    of_feature = change[f - begin]
                    of_feature[: 3 * n] = 0.0
                    for s in range(first_slot[f], first_slot[f + 1]):
                        g = gradient[s - base]
                        of_slope = slope[i, of_slot[s]]
                        for x in range(3 * n):
                            of_feature[x] += g * of_slope[x]
                    for d in range(3):
                        total = 0.0
                        for q in range(n):
                            total += of_feature[d * n + q]
                        design[3 * i + d, at_a + f] -= total
                if reciprocal:
                    for q in range(n):
                        for d in range(3):
                            row = design[3 * owner[i, q] + d]
                            for f in range(begin, end):
                                row[at_a + f] += change[f - begin, d * n + q]


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
def _bent(pairs, curvature, slope, result):  # type: ignore[no-untyped-def]
    """``result[i, w, x] = sum_v curvature[i, w, v] slope[i, v, x]``: how the gradients change with the positions."""
    ends, _, _, _, _, _ = pairs
    n_components = slope.shape[1]
    for i in prange(slope.shape[0]):
        n = 3 * ends[i, ends.shape[1] - 1]
        for w in range(n_components):
            for x in range(n):
                result[i, w, x] = 0.0
            for v in range(n_components):
                h = curvature[i, w, v]
                for x in range(n):
                    result[i, w, x] += h * slope[i, v, x]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def channel_rows(  # type: ignore[no-untyped-def]
    species, pairs, rank, fields, means, value, slope, tightness, first, factors, weights, coefficients, reciprocal,
    bent, design,
):  # fmt: skip
    """How the forces change with the channels themselves, at given coefficients of the cubic part.

    Fills ``design[3 i + d, ((a * (rank + 1) + l) * n_channels + c) * n_fields + n]``, the derivative of the force by
    P^l_cn of species a (see `kernels.cubic`) when the offsets follow it, o = P s with the mean invariants `means`.
    `fields` as made by the function of that name; `value`, `slope` as made by `components`; `bent` is space
    of the shape of `slope`.
    """
    ends, owner, _, unit, radial, angular = pairs
    n_agents, n_components = value.shape
    n_fields = fields.shape[2]
    n_radial = n_fields // ends.shape[1]
    n_channels = n_components // ((rank + 1) * (rank + 1))
    gradient = np.empty((n_agents, n_components))
    curvature = np.empty((n_agents, n_components, n_components))
    _curvature(species, value, tightness, first, factors, weights, coefficients, gradient, curvature)
    _bent(pairs, curvature, slope, bent)
    design[:] = 0.0
    for chunk in prange((rank + 1) * n_channels):
        lower, c = chunk // n_channels, chunk % n_channels
        lowest, end = lower * lower, (lower + 1) * (lower + 1)
        amount = np.empty((2 * rank + 1, n_fields))
        change = np.empty(n_fields)
        total = np.empty((3, n_fields))
        for i in range(n_agents):
            a = species[i]
            n = ends[i, ends.shape[1] - 1]
            begin = ((a * (rank + 1) + lower) * n_channels + c) * n_fields
            for m in range(lowest, end):
                for p in range(n_fields):
                    amount[m - lowest, p] = fields[i, m, p] - (means[a, p] if lower == 0 else 0.0)
            total[:] = 0.0
            for q in range(n):
                j = owner[i, q]
                of_species = species[j] * n_radial
                for d in range(3):
                    change[:] = 0.0
                    along, across = 0.0, 0.0
                    for m in range(lowest, end):
                        h = bent[i, m * n_channels + c, d * n + q]
                        for p in range(n_fields):
                            change[p] += h * amount[m - lowest, p]
                        g = gradient[i, m * n_channels + c]
                        along += g * angular[i, q, 0, m]
                        across += g * angular[i, q, 1 + d, m]
                    along *= unit[i, q, d]
                    for k in range(n_radial):
                        change[of_species + k] += along * radial[i, q, 1, k] + across * radial[i, q, 0, k]
                    for p in range(n_fields):
                        total[d, p] += change[p]
                    if reciprocal:
                        for p in range(n_fields):
                            design[3 * j + d, begin + p] += change[p]
            for d in range(3):
                for p in range(n_fields):
                    design[3 * i + d, begin + p] -= total[d, p]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def hop_fields(pairs, numbers, fields):  # type: ignore[no-untyped-def]
    """Fill ``fields[i, b, k, d]``: sums over the neighbours j of b of phi_k(r_ij) numbers[j, d]."""
    ends, owner, _, _, radial, _ = pairs
    for i in prange(ends.shape[0]):
        fields[i] = 0.0
        first = 0
        for b in range(ends.shape[1]):
            for q in range(first, ends[i, b]):
                for k in range(fields.shape[2]):
                    for d in range(numbers.shape[1]):
                        fields[i, b, k, d] += radial[i, q, 0, k] * numbers[owner[i, q], d]
            first = ends[i, b]


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def hop_rows(species, pairs, n_radial, numbers, n_columns, first_column, design):  # type: ignore[no-untyped-def]
    """Fill the columns of the hops (`kernels.mutual.columns`) with the forces at constant numbers."""
    ends, owner, _, unit, radial, _ = pairs
    n_species, n_channels = ends.shape[1], numbers.shape[1]
    n_pairs = n_channels * (n_channels + 1) // 2
    for i in prange(ends.shape[0]):
        a = species[i]
        for b in range(n_species):
            begin = b * n_columns + first_column
            design[3 * i : 3 * i + 3, begin : begin + n_species * n_radial * n_pairs] = 0.0
        for q in range(ends[i, n_species - 1]):
            j = owner[i, q]
            b = species[j]
            mine = a * n_columns + first_column + b * n_radial * n_pairs
            its = b * n_columns + first_column + a * n_radial * n_pairs
            for k in range(n_radial):
                slope = radial[i, q, 1, k]
                for c in range(n_channels):
                    for d in range(c, n_channels):
                        first, second = numbers[i, c] * numbers[j, d] * slope, numbers[j, c] * numbers[i, d] * slope
                        for axis in range(3):
                            design[3 * i + axis, mine] -= first * unit[i, q, axis]
                            design[3 * i + axis, its] -= second * unit[i, q, axis]
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
def number_rows(species, pairs, slope, column, fields, design):  # type: ignore[no-untyped-def]
    """Add the forces that invariants of `kernels.mutual` make by way of the agents' numbers.

    `slope` as made by `components` and saturated; number c of an agent of a is in the columns ``column[a, c, n]`` of
    the design, with the slope ``fields[i, c, n]``.
    """
    ends, owner, _, _, _, _ = pairs
    for axis in prange(3):
        for i in range(species.size):
            a = species[i]
            n = ends[i, ends.shape[1] - 1]
            for c in range(column.shape[1]):
                total = 0.0
                for q in range(n):
                    change = slope[i, c, axis * n + q]
                    total += change
                    row = design[3 * owner[i, q] + axis]
                    for p in range(column.shape[2]):
                        row[column[a, c, p]] += change * fields[i, c, p]
                for p in range(column.shape[2]):
                    design[3 * i + axis, column[a, c, p]] -= total * fields[i, c, p]
