"""Losses and forces on the CPU: Numba, parallel over agents, without the interpreter's lock.

Passes over the Verlet list:

    gradients   A^l_{bk} = sum_j phi_k(r_ij) Y^l(u_ij),   L = w . s + 1/2 A W A,   G = dL/dA = w + W A
    forces      d_ij = G_i . d( phi_k Y^l )/dq_i,         F_i = - sum_j d_ij (+ sum_j d_ji)

and between them, for a loss of order 3, one over the agents that adds its cubic part to L and G (`kernels.cubic`), and
for one that is not local (`kernels.mutual`) those of its hops and waves, which need all agents' channels.

The term in brackets is the whole difference between the scopes: without the push d_ji, by which the neighbour descends
its loss at the agent's expense, each agent descends its own loss; with it all descend the common one. Pushes are
written by the agent whose loss makes them and collected by the agent whom they move, so that no agent writes into
another's row, and the result does not depend on the number of threads.

Y^l are the real spherical harmonics in Racah's normalisation: sum_m Y_lm(u) Y_lm(v) = P_l(u . v).

The passes vectorise twice (`kernels.lanes`): what belongs to a pair (distance, row of the table, harmonics) with `SIDE`
neighbours in the lanes, and what belongs to a radial function with the functions in the lanes. What is found out about
a pair once, by `gradients`, is kept for the others in a stream: blocks of SIDE neighbours, one row per quantity.
The number of radial functions and the highest rank are constants of the compiled code; the arithmetic type is that of
the arrays (float32 or float64).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray

from mldsim.kernels import cubic, pair
from mldsim.kernels.caching import found_again, njit, prange
from mldsim.kernels.cubic import WIDE
from mldsim.kernels.lanes import (
    across,
    at,
    below,
    counted,
    equal,
    larger,
    least,
    lowest,
    put,
    root,
    row_of,
    rows,
    smaller,
    total,
    turn,
    turn_at,
    vectors,
    whole,
)  # fmt: skip
from mldsim.kernels.neighbors import HERE as _HERE
from mldsim.kernels.neighbors import by_species

SIDE = 8
"""Neighbours handled side by side."""

GROUP = 24
"""Agents that share one scratch and go to one thread."""

_BLOCK = 5 * SIDE
"""Numbers that are kept of SIDE neighbours: SIDE each of the unit vector's x, y and z, of the spacing of the table's
rows over the distance, and of the place between two rows."""

_inlined = njit(nogil=True, fastmath=pair.FAST, error_model="numpy")
_of_pair = pair.functions(_inlined)
quadrupole = _of_pair.quadrupole
octupole, octupole_slopes = _of_pair.octupole, _of_pair.octupole_slopes
_zero, _load, _store, _store_each = vectors(SIDE)
_zero_row, _load_row, _store_row, _ = vectors(4)


@_inlined
def _in_block(q, n_rows):  # type: ignore[no-untyped-def]
    """Flat place of neighbour q in blocks of `n_rows` rows of SIDE."""
    return (q & -SIDE) * n_rows + (q & (SIDE - 1))


@_inlined
def _in_stream(row, q):  # type: ignore[no-untyped-def]
    """Flat place in the stream of neighbour q of the agent whose entries begin at `row`."""
    return row * (_BLOCK // SIDE) + _in_block(q, _BLOCK // SIDE)


def _width(padded: int) -> int:
    """Radial functions handled side by side: what a register holds in float32, as far as there are so many."""
    return 16 if padded % 16 == 0 and get_host_cpu_features().get("avx512f") else 8


def lanes(n_radial: int) -> int:
    """Length of the arrays' axis of radial functions: a multiple of eight, the rest filled with zeros."""
    return -(-n_radial // 8) * 8


def neighbors(
    count: NDArray[np.int32], entries: NDArray[np.int32], species: NDArray[np.int32], n_species: int, real: Any
) -> tuple[NDArray[Any], ...]:
    """The Verlet list as the passes want it, and room for what they find out about the pairs, numbers of type `real`.

    Returns
    -------
    ends : (n, n_species) int32
        The neighbours of species b are the entries from ``ends[i, b - 1]`` to ``ends[i, b]``.
    entries : (n, capacity) int32
        As given, each row sorted by species and filled up with the agent itself.
    reverse : (n, capacity) int32
        The flat place in `entries` of the same pair as the neighbour sees it.
    found : like ends
    inside : (n, capacity + SIDE) int32
        Filled by `gradients` with the places in the row of the neighbours that are within the cutoff now, sorted as
        these; ``found`` are their ends.
    rows, stream : (n, capacity) int32, (n, capacity / SIDE, _BLOCK)
        Filled by `gradients` with the row of the table and the geometry of these.
    walled : (n,) int32
        Filled by `gradients`: whether a neighbour is inside the wall.
    pushes : (n, capacity, 4)
        Scratch of `forces`.
    """
    n, capacity = len(count), -(-(int(count.max(initial=0)) + 1) // SIDE) * SIDE
    ends, ordered = by_species(count, entries, species, n_species, capacity)
    found = np.empty_like(ends)
    reverse, rows = (np.empty((n, capacity), np.int32) for _ in range(2))
    _find_reverse(ordered, species, ends, reverse)
    inside = np.empty((n, capacity + SIDE), np.int32)
    stream = np.empty((n, capacity // SIDE, _BLOCK), real)
    return (
        ends, ordered, reverse, found, inside, rows, stream, np.empty(n, np.int32), np.zeros((n, capacity, 4), real),
    )  # fmt: skip


@njit(nogil=True, cache=True, parallel=True)
def _find_reverse(entries, species, ends, reverse):  # type: ignore[no-untyped-def]
    capacity = entries.shape[1]
    last = ends.shape[1] - 1
    for i in prange(entries.shape[0]):
        a = species[i]
        for q in range(ends[i, last]):
            entry = at(entries, i * capacity + q)
            j = np.int64(entry >> 5)
            wanted = 32 * i + 2 * _HERE - (entry & 31)  # opposite images
            first = j * capacity + ((ends[j, a - 1] // SIDE) * SIDE if a > 0 else 0)
            end = j * capacity + ends[j, a]
            bits = np.int64(0)
            while bits == 0 and first < end:
                for block in range(min(8, (end - first + SIDE - 1) // SIDE)):
                    bits |= equal(entries, first + block * SIDE, wanted) << (block * SIDE)
                first += 8 * SIDE
            # Rounding may put a pair at the very reach of the list into one row only; it is never within the cutoff.
            put(reverse, i * capacity + q, first - 8 * SIDE + lowest(bits) if bits else i * capacity + q)


def _nonzero_slopes() -> tuple[tuple[bool, ...], ...]:
    """Which Y_3m change along x, along y, along z."""
    slopes = pair.octupole_slopes(float, 0.3, 0.5, 0.7)  # type: ignore[no-untyped-call]
    return tuple(tuple(bool(s) for s in axis) for axis in slopes)


@cache
def _interpolation(width: int) -> Callable[..., Any]:
    load = vectors(width).load

    @_inlined
    def of_row(table, near, padded, t):  # type: ignore[no-untyped-def]
        """phi_k and its derivative by t at the place t in a row of the table, by Horner's rule."""
        third = load(table, near + 3 * padded)
        value = load(table, near + 2 * padded) + third * t
        slope = value + third * t
        value = load(table, near + padded) + value * t
        return load(table, near) + value * t, value + slope * t

    compiled_of_row: Callable[..., Any] = of_row
    return compiled_of_row


@cache
def _product(n_radial: int, n_lm: int, rank: int) -> Callable[..., Any]:
    """The compiled product W A of one rank."""
    padded = lanes(n_radial)
    width = _width(padded)
    size = 2 * rank + 1
    first = rank * rank
    zero, load, _, _ = vectors(width)
    of_m = rows(width, size)
    zeros, add, add_to = of_m.zeros, of_m.add, of_m.add_to

    @_inlined
    def product(quadratic, row, n_species, fields, gradient, of_agent):  # type: ignore[no-untyped-def]
        """Add W A to the agent's gradient; returns A W A / 2."""
        real = fields.dtype.type
        loss = zero(fields)
        for b in range(n_species):
            for column in range(0, padded, width):
                sums = zeros(fields)
                for c in range(n_species):
                    for n in range(n_radial):
                        weight = load(quadratic, row + ((c * n_radial + n) * n_species + b) * padded + column)
                        sums = add(sums, weight, fields, (c * n_lm + first) * padded + n, padded)
                here = (b * n_lm + first) * padded + column
                for m in range(size):
                    loss += load(fields, here + m * padded) * sums[m]
                add_to(gradient, of_agent + here, padded, sums)
        return real(0.5) * total(loss)

    compiled_product: Callable[..., Any] = product
    return compiled_product


@cache
def compiled(n_radial: int, max_rank: int, n_hops: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The passes for this many radial functions and ranks; they compile on their first call and are cached.

    `n_hops` is the number of channels that hops couple, 0 for a loss without them.

    Returns
    -------
    gradients(local, species, shift, pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy,
              losses, gradient, closest, kept_fields)
        Fills ``losses[i]``, ``gradient[i, b, lm, k]`` = dL_i/dA_i and ``closest[i]``, the smallest r_ij / wall radius;
        and ``kept_fields[i, b, lm, k]`` for `compiled_cubic`, unless that array is empty.
    forces(local, species, shift, pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force, reciprocal,
           numbers, pulls, distant, result)
        Fills ``result[i, 3]``, the force on each agent, at the positions of the last call of `gradients`; with the
        numbers and pulls of `compiled_hops`, and the distant forces of `kernels.waves`, unless that array is empty.

    Arrays: local (n, 4), positions relative to the list's origin; shift (27, 4), box vectors of the images, both with a
    fourth column that means nothing; pairs as `neighbors` makes them; table as `polynomials` makes it, 1/per_row
    angstrom per row; wall_energy the stiffness times the share of the pair's wall that one agent owns, wall_force twice
    the stiffness. All are contiguous; the axis of the radial functions k is `lanes` long in table, linear, gradient,
    and the last axis of quadratic.
    """
    n_lm = (max_rank + 1) ** 2
    padded = lanes(n_radial)
    width = _width(padded)
    zero, load, store, _ = vectors(width)
    of_lm = rows(width, n_lm)
    zeros, add, put_rows = of_lm.zeros, of_lm.add, of_lm.put_rows
    # Ranks that the model lacks stand for nothing; the highest one in their place costs no compilation.
    product_0, product_1, product_2, product_3 = (_product(n_radial, n_lm, min(rank, max_rank)) for rank in range(4))

    turned = 1 + 3 * (max_rank >= 1) + 6 * (max_rank >= 2) + 7 * (max_rank >= 3)  # rows of `turn_gradient`
    along_x, along_y, along_z = _nonzero_slopes()
    _of_row = _interpolation(width)

    @_inlined
    def some_gradients(  # type: ignore[no-untyped-def]
        begin, end,
        local, species, shift, ends, entries, found, inside, rows_, stream, walled, cutoff, start, per_row, table,
        linear, quadratic, wall_radius, wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        n_species, n_rows, capacity, width_inside = table.shape[0], table.shape[2], entries.shape[1], inside.shape[1]
        real = local.dtype.type
        one, none = real(1.0), real(0.0)
        spacing = one / per_row
        places = np.empty(4 * (capacity + 1), local.dtype)
        places[4 * capacity] = real(1e4)  # far outside
        places[4 * capacity + 1 :] = none
        radii = np.ones(capacity + SIDE, local.dtype)
        harmonics = np.ones(capacity * n_lm, local.dtype)
        fields = np.empty(n_species * n_lm * padded, local.dtype)
        for i in range(begin, end):
            a = species[i]
            # Neighbours within the cutoff.
            here = _load_row(local, 4 * i)
            last = np.int64(ends[i, n_species - 1])
            kept = np.int64(0)
            b = 0
            for q in range(0, last, SIDE):
                for s in range(q, q + SIDE):
                    entry = np.int64(at(entries, i * capacity + s))
                    there = _load_row(local, 4 * (entry >> 5))
                    _store_row(places, 4 * s, here - there - _load_row(shift, 4 * (entry & 31)))
                x, y, z = turn(places, q)
                bits = below(x * x + y * y + z * z, cutoff * cutoff)
                if q + SIDE > last:
                    bits &= (1 << (last - q)) - 1
                while b < n_species and ends[i, b] <= q + SIDE:
                    found[i, b] = kept + counted(bits & ((1 << (ends[i, b] - q)) - 1))
                    b += 1
                for s in range(SIDE):
                    put(inside, i * width_inside + kept + counted(bits & ((1 << s) - 1)), q + s)
                kept += counted(bits)
            while b < n_species:
                found[i, b] = kept
                b += 1
            for s in range(SIDE):
                put(inside, i * width_inside + kept + s, capacity)
            # Their geometry.
            first = 0
            for b in range(n_species):
                for q in range(first, found[i, b], SIDE):
                    _store(radii, q, _zero(radii) + wall_radius[a, b])
                first = found[i, b]
            wall = _zero(radii)
            nearest = _zero(radii) - real(1e-9)
            for q in range(0, kept, SIDE):
                dx, dy, dz = turn_at(places, inside, i * width_inside + q)
                r = root(dx * dx + dy * dy + dz * dz)
                inverse = one / r
                ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
                radius = _load(radii, q)
                overlap = larger(radius - r, none)
                wall += overlap * overlap
                nearest = smaller(nearest, radius * inverse * (-one))
                t = larger((r - start) * per_row, none)
                _store(rows_, i * capacity + q, t)
                block = (i * capacity + q) * (_BLOCK // SIDE)
                _store_each(stream, block, SIDE, (ux, uy, uz, inverse * spacing, t - whole(t)))
                block = q * n_lm
                if max_rank >= 1:
                    _store_each(harmonics, block + 1 * SIDE, SIDE, (ux, uy, uz))
                if max_rank >= 2:
                    _store_each(harmonics, block + 4 * SIDE, SIDE, quadrupole(real, ux, uy, uz))
                if max_rank >= 3:
                    _store_each(harmonics, block + 9 * SIDE, SIDE, octupole(real, ux, uy, uz))
            in_wall = total(wall)
            walled[i] = in_wall > none
            closest[i] = -one / least(nearest)
            # Fields.
            first = 0
            for b in range(n_species):
                for column in range(0, padded, width):
                    of_pair = (a * n_species + b) * n_rows * 4 * padded + column
                    sums = zeros(fields)
                    for q in range(first, found[i, b]):
                        near = of_pair + at(rows_, i * capacity + q) * (4 * padded)
                        block = _in_stream(i * capacity, q)
                        phi, _ = _of_row(table, near, padded, at(stream, block + 4 * SIDE))
                        sums = add(sums, phi, harmonics, _in_block(q, n_lm), SIDE)
                    put_rows(fields, b * n_lm * padded + column, padded, sums)
                first = found[i, b]
            of_agent = i * n_species * n_lm * padded
            if kept_fields.size:
                for place in range(0, n_species * n_lm * padded, width):
                    store(kept_fields, of_agent + place, load(fields, place))
            # The loss and its gradient.
            of_invariants = zero(fields)
            for b in range(n_species):
                for column in range(0, padded, width):
                    weight = load(linear, (a * n_species + b) * padded + column)
                    place = b * n_lm * padded + column
                    of_invariants += weight * load(fields, place)
                    store(gradient, of_agent + place, weight)
                    for m in range(1, n_lm):
                        store(gradient, of_agent + place + m * padded, zero(fields))
            loss = wall_energy * in_wall + total(of_invariants)
            of_rank = n_species * n_radial * n_species * padded
            weights = a * (max_rank + 1) * of_rank
            loss += product_0(quadratic, weights, n_species, fields, gradient, of_agent)
            if max_rank >= 1:
                loss += product_1(quadratic, weights + of_rank, n_species, fields, gradient, of_agent)
            if max_rank >= 2:
                loss += product_2(quadratic, weights + 2 * of_rank, n_species, fields, gradient, of_agent)
            if max_rank >= 3:
                loss += product_3(quadratic, weights + 3 * of_rank, n_species, fields, gradient, of_agent)
            losses[i] = loss

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy,
        losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        n_agents = local.shape[0]
        ends, entries, _, found, inside, rows_, stream, walled, _ = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            some_gradients(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                local, species, shift, ends, entries, found, inside, rows_, stream, walled, cutoff, start, per_row,
                table, linear, quadratic, wall_radius, wall_energy, losses, gradient, closest, kept_fields,
            )  # fmt: skip

    @_inlined
    def turn_gradient(gradient, of_species, made):  # type: ignore[no-untyped-def]
        """G of one species as the rows that `some_pushes` wants: of rank 0 and 1 as they are; of rank 2 the Cartesian
        tensor T, xx, yy, zz, xy, yz, zx, of which u.T.u / 2 = sum_m G_m Y_2m(u); of rank 3 as they are."""
        real = gradient.dtype.type
        for column in range(0, padded, width):
            here = of_species + column
            for m in range(min(n_lm, 4)):
                store(made, m * padded + column, load(gradient, here + m * padded))
            if max_rank >= 2:
                three = real(math.sqrt(3.0))
                xy, yz = load(gradient, here + 4 * padded) * three, load(gradient, here + 5 * padded) * three
                zx, square = load(gradient, here + 6 * padded) * three, load(gradient, here + 7 * padded) * three
                axial = load(gradient, here + 8 * padded)
                store(made, 4 * padded + column, square - axial)
                store(made, 5 * padded + column, zero(made) - square - axial)
                store(made, 6 * padded + column, axial * real(2.0))
                store(made, 7 * padded + column, xy)
                store(made, 8 * padded + column, yz)
                store(made, 9 * padded + column, zx)
            for m in range(9, n_lm):
                store(made, (m + 1) * padded + column, load(gradient, here + m * padded))

    @_inlined
    def some_pushes(  # type: ignore[no-untyped-def]
        begin, end,
        species, entries, found, inside, rows_, stream, walled, per_row, table, gradient, wall_radius, wall_force,
        reciprocal, numbers, pulls, distant, pushes, result,
    ):  # fmt: skip
        n_species, n_rows, capacity, width_inside = table.shape[0], table.shape[2], entries.shape[1], inside.shape[1]
        real = stream.dtype.type
        none, half, third = real(0.0), real(0.5), real(1.0 / 3.0)
        spacing = real(1.0) / per_row
        made = np.empty(turned * padded, stream.dtype)
        slopes = np.empty(21 * capacity if max_rank >= 3 else 0, stream.dtype)
        sums = np.empty(4, stream.dtype)
        for i in range(begin, end):
            a = species[i]
            if max_rank >= 3:
                for q in range(0, found[i, n_species - 1], SIDE):
                    block = (i * capacity + q) * (_BLOCK // SIDE)
                    ux, uy, uz = _load(stream, block), _load(stream, block + SIDE), _load(stream, block + 2 * SIDE)
                    by_x, by_y, by_z = octupole_slopes(real, ux, uy, uz)
                    _store_each(slopes, 21 * q, SIDE, by_x)
                    _store_each(slopes, 21 * q + 7 * SIDE, SIDE, by_y)
                    _store_each(slopes, 21 * q + 14 * SIDE, SIDE, by_z)
            mine = _zero_row(stream)
            first = 0
            for b in range(n_species):
                turn_gradient(gradient, (i * n_species + b) * n_lm * padded, made)
                of_pair = (a * n_species + b) * n_rows * 4 * padded
                my_pulls = (i * n_species + b) * n_hops * padded
                for q in range(first, found[i, b]):
                    near = of_pair + at(rows_, i * capacity + q) * (4 * padded)
                    block = _in_stream(i * capacity, q)
                    ux, uy, uz = at(stream, block), at(stream, block + SIDE), at(stream, block + 2 * SIDE)
                    inverse, t = at(stream, block + 3 * SIDE), at(stream, block + 4 * SIDE)
                    place = at(inside, i * width_inside + q)
                    px, py, pz = zero(made), zero(made), zero(made)
                    for column in range(0, padded, width):
                        phi, dphi = _of_row(table, near + column, padded, t)
                        value = load(made, column)
                        if n_hops:
                            j = at(entries, i * capacity + place) >> 5
                            for c in range(n_hops):  # half from either end of the pair
                                value += load(pulls, my_pulls + c * padded + column) * (
                                    half * at(numbers, j * WIDE + c)
                                )
                        if max_rank == 0:
                            px += dphi * value
                        else:
                            wx, wy = load(made, 1 * padded + column), load(made, 2 * padded + column)
                            wz = load(made, 3 * padded + column)
                            along = wx * ux + wy * uy + wz * uz
                            outward = along
                            if max_rank == 1:
                                value += along
                            if max_rank >= 2:
                                xy, yz = load(made, 7 * padded + column), load(made, 8 * padded + column)
                                zx = load(made, 9 * padded + column)
                                wx += load(made, 4 * padded + column) * ux + xy * uy + zx * uz
                                wy += xy * ux + load(made, 5 * padded + column) * uy + yz * uz
                                wz += zx * ux + yz * uy + load(made, 6 * padded + column) * uz
                                outward = wx * ux + wy * uy + wz * uz  # sum_l l Y_l
                                value += (along + outward) * half
                            if max_rank >= 3:
                                vx, vy, vz = zero(made), zero(made), zero(made)
                                for m in range(7):
                                    g = load(made, (10 + m) * padded + column)
                                    slope = _in_block(q, 21) + m * SIDE
                                    if along_x[m]:
                                        vx += g * at(slopes, slope)
                                    if along_y[m]:
                                        vy += g * at(slopes, slope + 7 * SIDE)
                                    if along_z[m]:
                                        vz += g * at(slopes, slope + 14 * SIDE)
                                third_rank = vx * ux + vy * uy + vz * uz
                                value += third_rank * third
                                outward += third_rank
                                wx += vx
                                wy += vy
                                wz += vz
                            # d(phi Y)/dq = phi' Y u + phi/r (grad Y - l Y u), over the number of rows per length
                            phi *= inverse
                            radial = dphi * value - phi * outward
                            px += radial * ux + phi * wx
                            py += radial * uy + phi * wy
                            pz += radial * uz + phi * wz
                    if max_rank == 0:
                        push = total(px)
                        d = row_of(mine, push * ux, push * uy, push * uz)
                    else:
                        d = across(px, py, pz)
                    mine += d
                    if reciprocal:
                        _store_row(pushes, 4 * (i * capacity + place), d)
                first = found[i, b]
            _store_row(sums, 0, mine * (-per_row))
            for d in range(3):
                result[i, d] = sums[d]
                if distant.size:
                    result[i, d] += distant[i, d]
            if walled[i]:
                first = 0
                for b in range(n_species):
                    for q in range(first, found[i, b]):
                        block = _in_stream(i * capacity, q)
                        push = wall_force * max(wall_radius[a, b] - spacing / at(stream, block + 3 * SIDE), none)
                        for d in range(3):
                            result[i, d] += push * at(stream, block + d * SIDE)
                    first = found[i, b]

    @_inlined
    def pushed_back(begin, end, n_species, reverse, found, inside, per_row, pushes, result):  # type: ignore[no-untyped-def]
        """Add to the forces of some agents what their neighbours' losses push them."""
        capacity, width_inside = reverse.shape[1], inside.shape[1]
        sums = np.empty(4, pushes.dtype)
        for i in range(begin, end):
            back = _zero_row(pushes)
            for q in range(found[i, n_species - 1]):
                place = np.int64(at(reverse, i * capacity + at(inside, i * width_inside + q)))
                back += _load_row(pushes, 4 * place)
            _store_row(sums, 0, back * per_row)
            for d in range(3):
                result[i, d] += sums[d]

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force, reciprocal,  # noqa: ARG001 (`gradients` has looked)
        numbers, pulls, distant, result,
    ):  # fmt: skip
        n_agents = local.shape[0]
        _, entries, reverse, found, inside, rows_, stream, walled, pushes = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            some_pushes(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                species, entries, found, inside, rows_, stream, walled, per_row, table, gradient, wall_radius,
                wall_force, reciprocal, numbers, pulls, distant, pushes, result,
            )  # fmt: skip
        if reciprocal:
            for group in prange((n_agents + GROUP - 1) // GROUP):
                pushed_back(
                    group * GROUP, min(n_agents, (group + 1) * GROUP),
                    table.shape[0], reverse, found, inside, per_row, pushes, result,
                )  # fmt: skip

    return found_again(gradients, n_radial, max_rank), found_again(forces, n_radial, max_rank, n_hops)


@cache
def _of_rank(n_radial: int, n_lm: int, rank: int) -> tuple[Callable[..., Any], ...]:
    """From the fields of one rank to its channels, saturated; from slopes by these to slopes by what they were before
    saturation; and from there to slopes by fields."""
    padded = lanes(n_radial)
    width = _width(padded)
    size = 2 * rank + 1
    first = rank * rank
    load, load_wide = vectors(width).load, vectors(WIDE).load
    of_m = rows(width, size)
    zeros, add, add_to = of_m.zeros, of_m.add, of_m.add_to
    wide = rows(WIDE, size)
    zeros_wide, add_wide, add_to_wide = wide.zeros, wide.add, wide.add_to
    store_wide = vectors(WIDE).store

    @_inlined
    def see(seen, row, n_species, fields, of_agent, tight, p, s):  # type: ignore[no-untyped-def]
        sums = zeros_wide(p)
        for b in range(n_species):
            for k in range(n_radial):
                weight = load_wide(seen, row + (b * n_radial + k) * WIDE)
                sums = add_wide(sums, weight, fields, of_agent + (b * n_lm + first) * padded + k, padded)
        add_to_wide(p, first * WIDE, WIDE, sums)
        square = load_wide(p, first * WIDE) * load_wide(p, first * WIDE)
        for m in range(first + 1, first + size):
            square += load_wide(p, m * WIDE) * load_wide(p, m * WIDE)
        shrink = fields.dtype.type(1.0) / root(square * tight + fields.dtype.type(1.0))
        store_wide(s, rank * WIDE, shrink)
        for m in range(first, first + size):
            store_wide(p, m * WIDE, load_wide(p, m * WIDE) * shrink)

    @_inlined
    def loosen(p, s, tight, slope):  # type: ignore[no-untyped-def]
        along = load_wide(p, first * WIDE) * load_wide(slope, first * WIDE)
        for m in range(first + 1, first + size):
            along += load_wide(p, m * WIDE) * load_wide(slope, m * WIDE)
        along *= tight
        shrink = load_wide(s, rank * WIDE)
        for m in range(first, first + size):
            store_wide(slope, m * WIDE, (load_wide(slope, m * WIDE) - along * load_wide(p, m * WIDE)) * shrink)

    @_inlined
    def give_back(channels, row, n_species, n_channels, slope, gradient, of_agent):  # type: ignore[no-untyped-def]
        for b in range(n_species):
            for column in range(0, padded, width):
                sums = zeros(slope)
                for c in range(n_channels):
                    weight = load(channels, row + (c * n_species + b) * padded + column)
                    sums = add(sums, weight, slope, first * WIDE + c, WIDE)
                add_to(gradient, of_agent + (b * n_lm + first) * padded + column, padded, sums)

    return see, loosen, give_back


@cache
def compiled_cubic(n_radial: int, max_rank: int, n_channels: int) -> Callable[..., Any]:
    """The pass that adds the cubic part of the loss; it compiles on its first call and is cached.

    Returns
    -------
    add_cubic(species, fields, seen, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes)
        Adds to ``losses[i]`` and ``gradient[i, b, lm, k]`` what the cubic part makes of ``fields[i, b, lm, k]``; and
        fills, unless they are empty, ``numbers[i, WIDE]`` with the saturated channels of rank 0, and ``slopes``, which
        is like it, with zeros.

    Arrays: ``channels[a, l, c, b, k]``, with the axis of radial functions `lanes` long; ``seen[a, l, b, k, c]``, the
    same numbers, and ``offsets[a, c]`` and ``tensors[a, form, c1, c2, c]`` (`kernels.cubic.slope_tensors`), with an
    axis of channels that is WIDE long; ``tightness[a, l]`` (`kernels.cubic.tightness`).
    """
    n_lm = (max_rank + 1) ** 2
    padded = lanes(n_radial)
    zero, load, store, store_each = vectors(WIDE)
    of_channel = rows(WIDE, n_channels)
    zeros, add, add_each, together = of_channel.zeros, of_channel.add, of_channel.add_each, of_channel.together
    _, first, form, first_pair, pairs, weights = cubic.slopes(max_rank)
    of_pair, with_pair = pairs[:, 0].copy(), pairs[:, 1].copy()
    n_forms = len(cubic.slopes(max_rank).forms)
    see_0, loosen_0, give_0 = _of_rank(n_radial, n_lm, 0)
    see_1, loosen_1, give_1 = _of_rank(n_radial, n_lm, min(1, max_rank))
    see_2, loosen_2, give_2 = _of_rank(n_radial, n_lm, min(2, max_rank))
    see_3, loosen_3, give_3 = _of_rank(n_radial, n_lm, min(3, max_rank))

    @_inlined
    def cubic_of_some(  # type: ignore[no-untyped-def]
        begin, end,
        species, fields, seen, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes,
    ):  # fmt: skip
        n_species = channels.shape[3]
        real = fields.dtype.type
        p = np.empty(n_lm * WIDE, fields.dtype)
        s = np.empty((max_rank + 1) * WIDE, fields.dtype)
        slope = np.empty(n_lm * WIDE, fields.dtype)
        gram = np.empty(n_channels * WIDE, fields.dtype)
        for i in range(begin, end):
            a = species[i]
            of_agent = i * n_species * n_lm * padded
            p[:] = real(0.0)
            store(p, 0, zero(p) - load(offsets, a * WIDE))
            of_rank = n_species * n_radial * WIDE
            row = a * (max_rank + 1) * of_rank
            see_0(seen, row, n_species, fields, of_agent, tightness[a, 0], p, s)
            if max_rank >= 1:
                see_1(seen, row + of_rank, n_species, fields, of_agent, tightness[a, 1], p, s)
            if max_rank >= 2:
                see_2(seen, row + 2 * of_rank, n_species, fields, of_agent, tightness[a, 2], p, s)
            if max_rank >= 3:
                see_3(seen, row + 3 * of_rank, n_species, fields, of_agent, tightness[a, 3], p, s)
            if numbers.size:
                store(numbers, i * WIDE, load(p, 0))
                store(slopes, i * WIDE, zero(p))
            loss = zero(p)
            for lm in range(n_lm):
                parts = zeros(p)
                for t in range(first[lm], first[lm + 1]):
                    sums = zeros(p)
                    for number in range(first_pair[t], first_pair[t + 1]):
                        other = load(p, with_pair[number] * WIDE) * real(weights[number])
                        sums = add(sums, other, p, of_pair[number] * WIDE, 1)
                    store_each(gram, 0, WIDE, sums)
                    here = (a * n_forms + form[t]) * n_channels * n_channels * WIDE
                    for c in range(n_channels):
                        parts = add_each(parts, gram, c * WIDE, tensors, here, WIDE)
                        here += n_channels * WIDE
                by_channel = together(parts)
                store(slope, lm * WIDE, by_channel)
                loss += by_channel * load(p, lm * WIDE)
            losses[i] += total(loss) * real(1.0 / 3.0)  # Euler: the part is homogeneous of degree 3 in p
            loosen_0(p, s, tightness[a, 0], slope)
            if max_rank >= 1:
                loosen_1(p, s, tightness[a, 1], slope)
            if max_rank >= 2:
                loosen_2(p, s, tightness[a, 2], slope)
            if max_rank >= 3:
                loosen_3(p, s, tightness[a, 3], slope)
            of_rank = n_channels * n_species * padded
            row = a * (max_rank + 1) * of_rank
            give_0(channels, row, n_species, n_channels, slope, gradient, of_agent)
            if max_rank >= 1:
                give_1(channels, row + of_rank, n_species, n_channels, slope, gradient, of_agent)
            if max_rank >= 2:
                give_2(channels, row + 2 * of_rank, n_species, n_channels, slope, gradient, of_agent)
            if max_rank >= 3:
                give_3(channels, row + 3 * of_rank, n_species, n_channels, slope, gradient, of_agent)

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def add_cubic(  # type: ignore[no-untyped-def]
        species, fields, seen, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
    ):
        n_agents = fields.shape[0]
        for group in prange((n_agents + GROUP - 1) // GROUP):
            cubic_of_some(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                species, fields, seen, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes,
            )  # fmt: skip

    return found_again(add_cubic, n_radial, max_rank, n_channels)


@cache
def compiled_hops(n_radial: int, n_channels: int) -> Callable[..., Any]:
    """The pass of the hops (`kernels.mutual`); it compiles on its first call and is cached.

    Returns
    -------
    add_hops(local, species, shift, pairs, cutoff, start, per_row, table, numbers, by_number, by_function, losses,
             slopes, pulls)
        Adds to ``losses[i]`` and ``slopes[i, c]``, the slope by the number ``numbers[i, c]``, and fills
        ``pulls[i, b, d, k]``: times number d of a neighbour of b, the slope of the losses by their radial function k.

    Arrays: ``by_number[a, b, d, k, c]`` and ``by_function[a, b, d, c, k]`` are the strengths T_abkcd, the first with an
    axis c that is WIDE long, the second with an axis k that is `lanes` long; the others as in `compiled`, at the
    positions of the last call of `gradients`.
    """
    padded = lanes(n_radial)
    width = _width(padded)
    zero, load, store, _ = vectors(width)
    zero_wide, load_wide, store_wide, _ = vectors(WIDE)
    _of_row = _interpolation(width)
    of_channel = rows(width, n_channels)
    zeros, add, put_rows = of_channel.zeros, of_channel.add, of_channel.put_rows

    @_inlined
    def hops_of_some(  # type: ignore[no-untyped-def]
        begin, end,
        species, entries, found, inside, rows_, stream, table, numbers, by_number, by_function, losses, slopes, pulls,
    ):  # fmt: skip
        n_species, n_rows, capacity, width_inside = table.shape[0], table.shape[2], entries.shape[1], inside.shape[1]
        real = stream.dtype.type
        fields = np.empty(n_species * n_channels * padded, stream.dtype)
        for i in range(begin, end):
            a = species[i]
            first = 0
            for b in range(n_species):
                for column in range(0, padded, width):
                    of_pair = (a * n_species + b) * n_rows * 4 * padded + column
                    sums = zeros(fields)
                    for q in range(first, found[i, b]):
                        near = of_pair + at(rows_, i * capacity + q) * (4 * padded)
                        block = _in_stream(i * capacity, q)
                        phi, _ = _of_row(table, near, padded, at(stream, block + 4 * SIDE))
                        j = at(entries, i * capacity + at(inside, i * width_inside + q)) >> 5
                        sums = add(sums, phi, numbers, j * WIDE, 1)
                    put_rows(fields, b * n_channels * padded + column, padded, sums)
                first = found[i, b]
            slope = zero_wide(fields)
            for b in range(n_species):
                for d in range(n_channels):
                    here = (b * n_channels + d) * padded
                    weights = ((a * n_species + b) * n_channels + d) * n_radial * WIDE
                    for k in range(n_radial):
                        slope += load_wide(by_number, weights + k * WIDE) * at(fields, here + k)
                    weights = ((a * n_species + b) * n_channels + d) * n_channels * padded
                    for column in range(0, padded, width):
                        pull = zero(fields)
                        for c in range(n_channels):
                            weight = load(by_function, weights + c * padded + column)
                            pull += weight * at(numbers, i * WIDE + c)
                        store(pulls, i * n_species * n_channels * padded + here + column, pull)
            losses[i] += real(0.5) * total(slope * load_wide(numbers, i * WIDE))
            store_wide(slopes, i * WIDE, load_wide(slopes, i * WIDE) + slope)

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def add_hops(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, numbers, by_number, by_function, losses, slopes,  # noqa: ARG001 (`gradients` has looked)
        pulls,
    ):  # fmt: skip
        n_agents = local.shape[0]
        _, entries, _, found, inside, rows_, stream, _, _ = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            hops_of_some(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                species, entries, found, inside, rows_, stream, table, numbers, by_number, by_function, losses, slopes,
                pulls,
            )  # fmt: skip

    return found_again(add_hops, n_radial, n_channels)


@cache
def compiled_give_back(n_radial: int, max_rank: int, n_channels: int) -> Callable[..., Any]:
    """The pass that brings slopes by the channels of rank 0 back to the fields; it compiles on its first call.

    Returns
    -------
    give_back(species, channels, tightness, numbers, slopes, gradient)
        Adds to ``gradient[i, b, 0, k]`` what ``slopes[i, c]`` by the saturated channels ``numbers[i, c]`` make.

    Arrays as in `compiled_cubic`.
    """
    n_lm = (max_rank + 1) ** 2
    padded = lanes(n_radial)
    _, load, store, _ = vectors(WIDE)
    _, _, give = _of_rank(n_radial, n_lm, 0)

    @_inlined
    def give_back_some(begin, end, species, channels, tightness, numbers, slopes, gradient):  # type: ignore[no-untyped-def]
        n_species = channels.shape[3]
        slope = np.empty(WIDE, gradient.dtype)
        for i in range(begin, end):
            a = species[i]
            p = load(numbers, i * WIDE)
            # dp/dv = s (1 - t p p) = s^3, for s^2 = 1 / (1 + t v v) = 1 - t p p; rounding must not make it negative.
            square = larger(p * p * (-tightness[a, 0]) + gradient.dtype.type(1.0), gradient.dtype.type(0.0))
            store(slope, 0, load(slopes, i * WIDE) * square * root(square))
            row = a * (max_rank + 1) * n_channels * n_species * padded
            give(channels, row, n_species, n_channels, slope, gradient, i * n_species * n_lm * padded)

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def give_back(species, channels, tightness, numbers, slopes, gradient):  # type: ignore[no-untyped-def]
        n_agents = gradient.shape[0]
        for group in prange((n_agents + GROUP - 1) // GROUP):
            give_back_some(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                species, channels, tightness, numbers, slopes, gradient,
            )  # fmt: skip

    return found_again(give_back, n_radial, max_rank, n_channels)
