"""Losses and forces on the CPU: Numba, parallel over agents, without the interpreter's lock.

Two passes over the Verlet list:

    gradients   A^l_{bk} = sum_j phi_k(r_ij) Y^l(u_ij),   L = w . s + 1/2 A W A,   G = dL/dA = w + W A
    forces      F_i = - sum_j [ G_i (+ (-1)^l G_j) ] . d( phi_k Y^l )/dq_i

and between them, for a loss of order 3, one over the agents that adds its cubic part to L and G (`kernels.cubic`), and
for one that is not local (`kernels.mutual`) those of its hops and waves, which need all agents' channels.

The term in brackets is the whole difference between the scopes: without G_j each agent descends its own loss, with it
all descend the common one. No agent writes into another's row, so the result does not depend on the number of threads.

Y^l are the real spherical harmonics in Racah's normalisation: sum_m Y_lm(u) Y_lm(v) = P_l(u . v).

Both passes vectorise twice (`kernels.lanes`): what belongs to a pair (distance, table row, harmonics) with `SIDE`
neighbours in the lanes, and what belongs to a radial function with the functions in the lanes. Between the two, the
numbers of `BATCH` neighbours of one species lie in a scratch of fixed layout, one row per quantity, so that one address
serves for all of them.
The number of radial functions and the highest rank are constants of the compiled code; the arithmetic type is that of
the arrays (float32 or float64).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mldsim.kernels import cubic, pair
from mldsim.kernels.caching import found_again
from mldsim.kernels.cubic import WIDE
from mldsim.kernels.lanes import at, larger, least, put, root, rows, smaller, total, vectors, whole

SIDE = 16
"""Neighbours handled side by side."""

BATCH = 64
"""Neighbours in the scratch; a multiple of SIDE."""

GROUP = 24
"""Agents that share one scratch and go to one thread."""

_inlined = njit(nogil=True, fastmath=pair.FAST, error_model="numpy")
_of_pair = pair.functions(_inlined)
hermite, hermite_slopes = _of_pair.hermite, _of_pair.hermite_slopes
quadrupole, quadrupole_slopes = _of_pair.quadrupole, _of_pair.quadrupole_slopes
octupole, octupole_slopes = _of_pair.octupole, _of_pair.octupole_slopes
_zero, _load, _store, _store_each = vectors(SIDE)


def lanes(n_radial: int) -> int:
    """Length of the arrays' axis of radial functions: a multiple of eight, the rest filled with zeros."""
    return -(-n_radial // 8) * 8


def neighbors(
    count: NDArray[np.int32], entries: NDArray[np.int32], species: NDArray[np.int32], n_species: int
) -> tuple[NDArray[np.int32], ...]:
    """The Verlet list as the two passes want it.

    Returns
    -------
    ends : (n, n_species) int32
        The neighbours of species b are the entries from ``ends[i, b - 1]`` to ``ends[i, b]``.
    entries : as given, each row sorted by species
    inside, found : like entries and ends
        Filled by `gradients` with the neighbours that are within the cutoff now, for `forces`.
    """
    ends = np.empty((len(count), n_species), np.int32)
    ordered = np.empty_like(entries)
    _by_species(count, entries, species, ends, ordered)
    return ends, ordered, np.empty_like(entries), np.empty_like(ends)


@njit(nogil=True, cache=True, parallel=True)
def _by_species(count, entries, species, ends, ordered):  # type: ignore[no-untyped-def]
    capacity = entries.shape[1]
    for i in prange(entries.shape[0]):
        place = np.int64(0)
        for b in range(ends.shape[1]):
            for q in range(count[i]):  # no row is full, so that the last write stays in it
                entry = at(entries, i * capacity + q)
                put(ordered, i * capacity + place, entry)
                place += np.int64(at(species, entry >> 5) == b)  # the next one overwrites it unless it is of species b
            ends[i, b] = place


@_inlined
def _separate(local, shift, i, entry, x, y, z, q):  # type: ignore[no-untyped-def]
    """Write q_i - q_j to place q and return its square; see `kernels.pair.separation`."""
    j = 3 * (entry >> 5)
    code = 3 * (entry & 31)
    dx = at(local, 3 * i) - at(local, j) - at(shift, code)
    dy = at(local, 3 * i + 1) - at(local, j + 1) - at(shift, code + 1)
    dz = at(local, 3 * i + 2) - at(local, j + 2) - at(shift, code + 2)
    put(x, q, dx)
    put(y, q, dy)
    put(z, q, dz)
    return dx * dx + dy * dy + dz * dz


@_inlined
def _fill_up(x, y, z, n):  # type: ignore[no-untyped-def]
    """Place neighbours far outside behind the last one, so that all SIDE lanes hold numbers."""
    _store(x, n, _zero(x) + 1e4)
    _store(y, n, _zero(y))
    _store(z, n, _zero(z))


def _nonzero_slopes(max_rank: int) -> tuple[tuple[bool, ...], ...]:
    """Which Y_lm change along x, along y, along z."""
    somewhere = (float, 0.3, 0.5, 0.7)
    slopes = [np.zeros((3, 1)), np.eye(3), np.array(pair.quadrupole_slopes(*somewhere))]  # type: ignore[no-untyped-call]
    slopes.append(np.array(pair.octupole_slopes(*somewhere)))  # type: ignore[no-untyped-call]
    return tuple(tuple(bool(s) for s in axis) for axis in np.hstack(slopes[: max_rank + 1]))


@cache
def _product(n_radial: int, n_lm: int, rank: int) -> Callable[..., Any]:
    """The compiled product W A of one rank."""
    padded = lanes(n_radial)
    width = 16 if padded % 16 == 0 else 8
    size = 2 * rank + 1
    first = rank * rank
    zero, load, _, _ = vectors(width)
    zeros, add, add_to = rows(width, size)

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
    """The two passes for this many radial functions and ranks; they compile on their first call and are cached.

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

    Arrays: local (n, 3), positions relative to the list's origin; shift (27, 3), box vectors of the images; pairs as
    `neighbors` makes them; table as `kernels.radial.tabulate` makes it, 1/per_row angstrom per row; wall_energy the
    stiffness times the share of the pair's wall that one agent owns, wall_force twice the stiffness. All are
    contiguous; the axis of the radial functions k is `lanes` long in table, linear, gradient, and the last axis of
    quadratic.
    """
    n_lm = (max_rank + 1) ** 2
    padded = lanes(n_radial)
    width = 16 if padded % 16 == 0 else 8
    zero, load, store, _ = vectors(width)
    zeros, add, add_to = rows(width, n_lm)
    # Ranks that the model lacks stand for nothing; the highest one in their place costs no compilation.
    product_0, product_1, product_2, product_3 = (_product(n_radial, n_lm, min(rank, max_rank)) for rank in range(4))

    # Rows of the scratch of `gradients`: four weights of the table's entries, and the harmonics.
    harmonic = 4 * BATCH

    @_inlined
    def some_gradients(  # type: ignore[no-untyped-def]
        begin, end,
        local, species, shift, ends, entries, inside, found, cutoff, start, per_row, table, linear, quadratic,
        wall_radius, wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        n_species, n_rows, capacity = table.shape[0], table.shape[2], entries.shape[1]
        real = local.dtype.type
        one, none = real(1.0), real(0.0)
        x = np.empty(capacity + SIDE, local.dtype)
        y = np.empty(capacity + SIDE, local.dtype)
        z = np.empty(capacity + SIDE, local.dtype)
        row = np.empty(BATCH, np.int32)
        work = np.empty((4 + n_lm) * BATCH, local.dtype)
        fields = np.empty(n_species * n_lm * padded, local.dtype)
        for q in range(BATCH):
            work[harmonic + q] = one
        for i in range(begin, end):
            a = species[i]
            fields[:] = none
            gradient[i] = none
            wall = _zero(work)
            nearest = _zero(work) + real(1e9)
            first = 0
            kept = 0
            for b in range(n_species):
                n = 0
                for q in range(first, ends[i, b]):
                    entry = at(entries, i * capacity + q)
                    r2 = _separate(local, shift, i, entry, x, y, z, n)
                    put(inside, i * capacity + kept + n, entry)
                    n += r2 < cutoff * cutoff  # the next one overwrites it unless it is within; false for NaN
                first = ends[i, b]
                kept += n
                found[i, b] = kept
                _fill_up(x, y, z, n)
                radius = wall_radius[a, b]
                for batch in range(0, n, BATCH):
                    size = min(n - batch, BATCH)
                    for q in range(0, size, SIDE):
                        dx, dy, dz = _load(x, batch + q), _load(y, batch + q), _load(z, batch + q)
                        r = root(dx * dx + dy * dy + dz * dz)
                        overlap = larger(radius - r, none)
                        wall += overlap * overlap
                        nearest = smaller(nearest, r * (one / radius))
                        t = larger((r - start) * per_row, none)
                        _store(row, q, t)
                        _store_each(work, q, BATCH, hermite(t - whole(t), one))
                        ux, uy, uz = dx / r, dy / r, dz / r
                        if max_rank >= 1:
                            _store_each(work, harmonic + 1 * BATCH + q, BATCH, (ux, uy, uz))
                        if max_rank >= 2:
                            _store_each(work, harmonic + 4 * BATCH + q, BATCH, quadrupole(real, ux, uy, uz))
                        if max_rank >= 3:
                            _store_each(work, harmonic + 9 * BATCH + q, BATCH, octupole(real, ux, uy, uz))
                    for column in range(0, padded, width):
                        of_pair = (a * n_species + b) * n_rows * 2 * padded + column
                        sums = zeros(work)
                        for q in range(size):
                            near = of_pair + at(row, q) * (2 * padded)
                            phi = (
                                at(work, q) * load(table, near)
                                + at(work, BATCH + q) * load(table, near + padded)
                                + at(work, 2 * BATCH + q) * load(table, near + 2 * padded)
                                + at(work, 3 * BATCH + q) * load(table, near + 3 * padded)
                            )
                            sums = add(sums, phi, work, harmonic + q, BATCH)
                        add_to(fields, b * n_lm * padded + column, padded, sums)
            loss = wall_energy * total(wall)
            of_agent = i * n_species * n_lm * padded
            if kept_fields.size:
                for here in range(0, n_species * n_lm * padded, width):
                    store(kept_fields, of_agent + here, load(fields, here))
            of_rank = n_species * n_radial * n_species * padded
            weights = a * (max_rank + 1) * of_rank
            loss += product_0(quadratic, weights, n_species, fields, gradient, of_agent)
            if max_rank >= 1:
                loss += product_1(quadratic, weights + of_rank, n_species, fields, gradient, of_agent)
            if max_rank >= 2:
                loss += product_2(quadratic, weights + 2 * of_rank, n_species, fields, gradient, of_agent)
            if max_rank >= 3:
                loss += product_3(quadratic, weights + 3 * of_rank, n_species, fields, gradient, of_agent)
            of_invariants = zero(work)
            for b in range(n_species):
                for column in range(0, padded, width):
                    weight = load(linear, (a * n_species + b) * padded + column)
                    here = b * n_lm * padded + column
                    of_invariants += weight * load(fields, here)
                    store(gradient, of_agent + here, load(gradient, of_agent + here) + weight)
            losses[i] = loss + total(of_invariants)
            closest[i] = least(nearest)

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy,
        losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        n_agents = local.shape[0]
        ends, entries, inside, found = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            some_gradients(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                local, species, shift, ends, entries, inside, found, cutoff, start, per_row, table, linear, quadratic,
                wall_radius, wall_energy, losses, gradient, closest, kept_fields,
            )  # fmt: skip

    # Rows of the scratch of `forces`: weights of the table's entries for phi/r (4) and for phi' (3), the unit vector,
    # the harmonics, and their slopes along x, y and z.
    derivative, unit = 4 * BATCH, 7 * BATCH
    value = 10 * BATCH
    slope_x, slope_y, slope_z = (value + n * n_lm * BATCH for n in (1, 2, 3))
    along_x, along_y, along_z = _nonzero_slopes(max_rank)

    @_inlined
    def some_forces(  # type: ignore[no-untyped-def]
        begin, end,
        local, species, shift, inside, found, start, per_row, table, gradient, wall_radius, wall_force,
        reciprocal, numbers, pulls, distant, result,
    ):  # fmt: skip
        n_species, n_rows, capacity = table.shape[0], table.shape[2], inside.shape[1]
        real = local.dtype.type
        one, none = real(1.0), real(0.0)
        x = np.empty(capacity + SIDE, local.dtype)
        y = np.empty(capacity + SIDE, local.dtype)
        z = np.empty(capacity + SIDE, local.dtype)
        row = np.empty(BATCH, np.int32)
        work = np.empty((10 + 4 * n_lm) * BATCH, local.dtype)
        for q in range(BATCH):
            work[value + q] = one
        for i in range(begin, end):
            a = species[i]
            wall_x, wall_y, wall_z = _zero(work), _zero(work), _zero(work)
            fx, fy, fz = zero(work), zero(work), zero(work)
            first = 0
            for b in range(n_species):
                n = found[i, b] - first
                mine = i * capacity + first
                first = found[i, b]
                for q in range(n):
                    _separate(local, shift, i, at(inside, mine + q), x, y, z, q)
                _fill_up(x, y, z, n)
                for batch in range(0, n, BATCH):
                    size = min(n - batch, BATCH)
                    for q in range(0, size, SIDE):
                        dx, dy, dz = _load(x, batch + q), _load(y, batch + q), _load(z, batch + q)
                        r = root(dx * dx + dy * dy + dz * dz)
                        inverse = one / r
                        ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
                        push = wall_force * larger(wall_radius[a, b] - r, none)
                        wall_x += push * ux
                        wall_y += push * uy
                        wall_z += push * uz
                        t = larger((r - start) * per_row, none)
                        _store(row, q, t)
                        t = t - whole(t)
                        h0, s0, h1, s1 = hermite(t, one)
                        dh0, ds0, ds1 = hermite_slopes(t, one)
                        _store_each(work, q, BATCH, (h0 * inverse, s0 * inverse, h1 * inverse, s1 * inverse))
                        _store_each(work, derivative + q, BATCH, (dh0 * per_row, ds0 * per_row, ds1 * per_row))
                        _store_each(work, unit + q, BATCH, (ux, uy, uz))
                        if max_rank >= 1:
                            _store_each(work, value + BATCH + q, BATCH, (ux, uy, uz))
                        if max_rank >= 2:
                            _store_each(work, value + 4 * BATCH + q, BATCH, quadrupole(real, ux, uy, uz))
                            by_x, by_y, by_z = quadrupole_slopes(real, ux, uy, uz)
                            _store_each(work, slope_x + 4 * BATCH + q, BATCH, by_x)
                            _store_each(work, slope_y + 4 * BATCH + q, BATCH, by_y)
                            _store_each(work, slope_z + 4 * BATCH + q, BATCH, by_z)
                        if max_rank >= 3:
                            _store_each(work, value + 9 * BATCH + q, BATCH, octupole(real, ux, uy, uz))
                            to_x, to_y, to_z = octupole_slopes(real, ux, uy, uz)
                            _store_each(work, slope_x + 9 * BATCH + q, BATCH, to_x)
                            _store_each(work, slope_y + 9 * BATCH + q, BATCH, to_y)
                            _store_each(work, slope_z + 9 * BATCH + q, BATCH, to_z)
                    for column in range(0, padded, width):
                        of_pair = (a * n_species + b) * n_rows * 2 * padded + column
                        my_gradient = (i * n_species + b) * n_lm * padded + column
                        my_pulls = (i * n_species + b) * n_hops * padded + column
                        for q in range(size):
                            near = of_pair + at(row, q) * (2 * padded)
                            h0, s0 = load(table, near), load(table, near + padded)
                            h1, s1 = load(table, near + 2 * padded), load(table, near + 3 * padded)
                            phi = (
                                at(work, q) * h0
                                + at(work, BATCH + q) * s0
                                + at(work, 2 * BATCH + q) * h1
                                + at(work, 3 * BATCH + q) * s1
                            )  # phi_k / r
                            dphi = (
                                at(work, derivative + q) * (h0 - h1)
                                + at(work, derivative + BATCH + q) * s0
                                + at(work, derivative + 2 * BATCH + q) * s1
                            )
                            j = at(inside, mine + batch + q) >> 5
                            its_gradient = (j * n_species + a) * n_lm * padded + column
                            gx, gy, gz = zero(work), zero(work), zero(work)
                            along, outward = zero(work), zero(work)
                            for rank in range(max_rank + 1):
                                of_rank = zero(work)
                                for m in range(rank * rank, (rank + 1) * (rank + 1)):
                                    g = load(gradient, my_gradient + m * padded)
                                    if reciprocal:
                                        # (-1)^l: seen from the other end, the separation points the other way.
                                        if rank % 2:
                                            g -= load(gradient, its_gradient + m * padded)
                                        else:
                                            g += load(gradient, its_gradient + m * padded)
                                    if n_hops and rank == 0:
                                        for c in range(n_hops):
                                            g += load(pulls, my_pulls + c * padded) * at(numbers, j * WIDE + c)
                                    of_rank += g * at(work, value + m * BATCH + q)
                                    if rank == 1:
                                        if m == 1:
                                            gx += g
                                        elif m == 2:
                                            gy += g
                                        else:
                                            gz += g
                                    else:
                                        if along_x[m]:
                                            gx += g * at(work, slope_x + m * BATCH + q)
                                        if along_y[m]:
                                            gy += g * at(work, slope_y + m * BATCH + q)
                                        if along_z[m]:
                                            gz += g * at(work, slope_z + m * BATCH + q)
                                along += of_rank
                                outward += of_rank * real(rank)
                            # d(phi Y)/dq = phi' Y u + phi/r (grad Y - l Y u)
                            radial = dphi * along - phi * outward
                            fx -= radial * at(work, unit + q) + phi * gx
                            fy -= radial * at(work, unit + BATCH + q) + phi * gy
                            fz -= radial * at(work, unit + 2 * BATCH + q) + phi * gz
            result[i, 0] = total(fx) + total(wall_x)
            result[i, 1] = total(fy) + total(wall_y)
            result[i, 2] = total(fz) + total(wall_z)
            if distant.size:
                for d in range(3):
                    result[i, d] += distant[i, d]

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force, reciprocal,  # noqa: ARG001 (`gradients` has looked)
        numbers, pulls, distant, result,
    ):  # fmt: skip
        n_agents = local.shape[0]
        _, _, inside, found = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            some_forces(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                local, species, shift, inside, found, start, per_row, table, gradient, wall_radius, wall_force,
                reciprocal, numbers, pulls, distant, result,
            )  # fmt: skip

    return found_again(gradients, n_radial, max_rank), found_again(forces, n_radial, max_rank, n_hops)


@cache
def _of_rank(n_radial: int, n_lm: int, rank: int) -> tuple[Callable[..., Any], ...]:
    """From the fields of one rank to its channels, saturated; from slopes by these to slopes by what they were before
    saturation; and from there to slopes by fields."""
    padded = lanes(n_radial)
    width = 16 if padded % 16 == 0 else 8
    size = 2 * rank + 1
    first = rank * rank
    load, load_wide = vectors(width).load, vectors(WIDE).load
    zeros, add, add_to = rows(width, size)
    zeros_wide, add_wide, add_to_wide = rows(WIDE, size)
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
    zeros, add, _ = rows(WIDE, n_channels)
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
                by_channel = zero(p)
                for t in range(first[lm], first[lm + 1]):
                    sums = zeros(p)
                    for number in range(first_pair[t], first_pair[t + 1]):
                        other = load(p, with_pair[number] * WIDE) * real(weights[number])
                        sums = add(sums, other, p, of_pair[number] * WIDE, 1)
                    store_each(gram, 0, WIDE, sums)
                    here = (a * n_forms + form[t]) * n_channels * n_channels * WIDE
                    for c in range(n_channels):
                        for d in range(n_channels):
                            by_channel += at(gram, c * WIDE + d) * load(tensors, here)
                            here += WIDE
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
    width = 16 if padded % 16 == 0 else 8
    zero, load, store, _ = vectors(width)
    zero_wide, load_wide, store_wide, _ = vectors(WIDE)
    zeros, add, add_to = rows(width, n_channels)

    @_inlined
    def hops_of_some(  # type: ignore[no-untyped-def]
        begin, end,
        local, species, shift, inside, found, start, per_row, table, numbers, by_number, by_function, losses, slopes,
        pulls,
    ):  # fmt: skip
        n_species, n_rows, capacity = table.shape[0], table.shape[2], inside.shape[1]
        real = local.dtype.type
        one, none = real(1.0), real(0.0)
        x = np.empty(capacity + SIDE, local.dtype)
        y = np.empty(capacity + SIDE, local.dtype)
        z = np.empty(capacity + SIDE, local.dtype)
        row = np.empty(BATCH, np.int32)
        work = np.empty(4 * BATCH, local.dtype)
        fields = np.empty(n_species * n_channels * padded, local.dtype)
        for i in range(begin, end):
            a = species[i]
            fields[:] = none
            first = 0
            for b in range(n_species):
                n = found[i, b] - first
                mine = i * capacity + first
                first = found[i, b]
                for q in range(n):
                    _separate(local, shift, i, at(inside, mine + q), x, y, z, q)
                _fill_up(x, y, z, n)
                for batch in range(0, n, BATCH):
                    size = min(n - batch, BATCH)
                    for q in range(0, size, SIDE):
                        dx, dy, dz = _load(x, batch + q), _load(y, batch + q), _load(z, batch + q)
                        t = larger((root(dx * dx + dy * dy + dz * dz) - start) * per_row, none)
                        _store(row, q, t)
                        _store_each(work, q, BATCH, hermite(t - whole(t), one))
                    for column in range(0, padded, width):
                        of_pair = (a * n_species + b) * n_rows * 2 * padded + column
                        sums = zeros(work)
                        for q in range(size):
                            near = of_pair + at(row, q) * (2 * padded)
                            phi = (
                                at(work, q) * load(table, near)
                                + at(work, BATCH + q) * load(table, near + padded)
                                + at(work, 2 * BATCH + q) * load(table, near + 2 * padded)
                                + at(work, 3 * BATCH + q) * load(table, near + 3 * padded)
                            )
                            sums = add(sums, phi, numbers, (at(inside, mine + batch + q) >> 5) * WIDE, 1)
                        add_to(fields, b * n_channels * padded + column, padded, sums)
            slope = zero_wide(work)
            for b in range(n_species):
                for d in range(n_channels):
                    here = (b * n_channels + d) * padded
                    weights = ((a * n_species + b) * n_channels + d) * n_radial * WIDE
                    for k in range(n_radial):
                        slope += load_wide(by_number, weights + k * WIDE) * at(fields, here + k)
                    weights = ((a * n_species + b) * n_channels + d) * n_channels * padded
                    for column in range(0, padded, width):
                        pull = zero(work)
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
        _, _, inside, found = pairs
        for group in prange((n_agents + GROUP - 1) // GROUP):
            hops_of_some(
                group * GROUP, min(n_agents, (group + 1) * GROUP),
                local, species, shift, inside, found, start, per_row, table, numbers, by_number, by_function, losses,
                slopes, pulls,
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
