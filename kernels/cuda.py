"""Losses and forces on an NVIDIA GPU: Numba-CUDA, one warp of 32 threads per agent.

The same two passes as `kernels.cpu` over the same sorted list, and the same arithmetic of a pair (`kernels.pair`).

    gradients   each thread takes one neighbour and leaves phi_k and Y^l in shared memory; then each sums its own
                components A^l_{bk} over the neighbours of one species after the other, and multiplies its own rows of W
    add_cubic   each thread takes whole components of the channels, then whole fields
    add_hops    as gradients, with the neighbours' channels in the place of Y^l
    add_waves   a block for each wave vector, its threads over the agents; then a block for each agent, its threads over
                the wave vectors
    forces      each thread takes whole neighbours, from G to the force; the block adds up

The work for one agent is a function of the block that does it. Kernels of one pass each give every agent a block;
`kernels.cuda_step` calls the same functions in whole steps.

All sums have a fixed order and nothing is added atomically, so that equal input gives equal bits.
The numbers of species, radial functions and ranks, and the arithmetic type, are constants of the compiled code.

Arrays on the device are Numba's own: they also exist in Numba's simulator (NUMBA_ENABLE_CUDASIM=1), where these
kernels are tested on machines without a GPU. CuPy's serve `kernels.cuda_outbox`.

Importing this module imports Numba's CUDA target; ask `kernels.backend` first whether there is a device.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda, types

from mldsim.kernels import cubic, pair, radial
from mldsim.kernels.caching import draw_file_names, found_again
from mldsim.kernels.cuda_registers import INLINED, at, four, least, put_at, total
from mldsim.kernels.neighbors import by_species
from mldsim.kernels.waves import NUMBERS

# Eight molecules do not fill a GPU. That is no fault of the program to warn about.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

THREADS = 32
"""Threads per block: one warp, which waits for nobody. A power of two, and no fewer than radial functions."""

ROW = THREADS + 4
"""Length of rows of numbers of one thread each: fours begin at whole places, and those of different rows lie in
different banks of shared memory."""

NOBODY = 31
"""What stands in the place of the image (`kernels.neighbors`) in an entry that only fills a list up."""

SHARED_BYTES = 48 * 1024
"""Shared memory that a block may use on every GPU."""

# On the GPU this fuses products with sums, and takes float32 quotients and roots to two units in the last place; sums
# keep their order, and comparisons with NaN stay honest.
FAST = True

COMPILER = ""
"""Version of Numba's CUDA target, where that is a package of its own; Numba itself looks after its own version."""
with contextlib.suppress(metadata.PackageNotFoundError):
    COMPILER = metadata.version("numba-cuda")
with contextlib.suppress(ImportError):
    draw_file_names(importlib.import_module("numba.cuda.core.caching"))

_on_device = cuda.jit(device=True, fastmath=FAST, **INLINED)


def kernel_for(*made_for: Any, **options: Any) -> Callable[[Callable[..., None]], Any]:
    """Decorator of CUDA kernels: what was compiled for a GPU is found again at the next start.

    Parameters
    ----------
    made_for : int or type
        All numbers and types that distinguish it from others that the same source makes.
    options
        Of ``numba.cuda.jit``.
    """

    def made(function: Callable[..., None]) -> Any:
        numbers = (number if isinstance(number, int) else np.dtype(number).name for number in made_for)
        return found_again(cuda.jit(fastmath=FAST, cache=True, **options)(function), *numbers, COMPILER)

    return made


_quadrupole, _quadrupole_slopes = _on_device(pair.quadrupole), _on_device(pair.quadrupole_slopes)
_octupole, _octupole_slopes = _on_device(pair.octupole), _on_device(pair.octupole_slopes)


@_on_device
def separation(local, shift, x, y, z, entry):  # type: ignore[no-untyped-def]
    """From a neighbour to the agent at (x, y, z), for one entry of its list; and the row of the neighbour."""
    j = entry >> 5
    px, py, pz, _ = four(local, 4 * j)
    sx, sy, sz, _ = four(shift, 4 * (entry & 31))
    return x - px - sx, y - py - sy, z - pz - sz, j


@cache
def kind_of(n_species: int) -> Any:
    """The function that tells the species of the neighbour in place q of row i of a sorted list."""

    @_on_device
    def kind(ends, i, q):  # type: ignore[no-untyped-def]
        found = 0
        for b in range(n_species - 1):
            found += int(q >= ends[i, b])
        return found

    return kind


@_on_device
def row_of_table(r, start, per_row):  # type: ignore[no-untyped-def]
    """Row of the table of radial functions, and the way through it, 0 to 1."""
    t = max((r - start) * per_row, start - start)
    row = int(t)
    return row, t - type(t)(row)


class Shape(NamedTuple):
    """How the threads of a block share out the fields of an agent in the first pass.

    A thread sums for one k, and for every `groups`-th component; or for a part of the neighbours, where there are more
    threads than components.
    """

    groups: int
    parts: int
    slots: int
    n_phi: int
    n_values: int
    n_summed: int


def shape_of_gradients(n_species: int, n_radial: int, max_rank: int) -> Shape:
    """The same, and how many numbers of shared memory its three arrays have."""
    n_lm, wide = (max_rank + 1) ** 2, lanes(n_radial)
    groups = max(THREADS // wide, 1)
    parts, slots = max(groups // n_lm, 1), -(-n_lm // groups)
    return Shape(
        groups, parts, slots, ROW * wide, ROW * max(n_lm, slots * groups), parts * n_species * n_lm * wide
    )  # fmt: skip


def shared_numbers(n_species: int, n_radial: int, max_rank: int, n_channels: int = 0, *, hops: bool = False) -> int:
    """Numbers of shared memory that all passes of a form have together."""
    n_lm, wide = (max_rank + 1) ** 2, lanes(n_radial)
    shape = shape_of_gradients(n_species, n_radial, max_rank)
    # Two of the second pass: `cuda_step` may look at forces of both scopes.
    found = shape.n_phi + shape.n_values + shape.n_summed + 2 * n_species * n_lm * wide
    if n_channels:
        rows = len(cubic.slopes(max_rank).form) * n_channels
        found += (2 * n_lm + rows) * cubic.WIDE + (max_rank + 1) * n_channels
    if hops:
        found += ROW * (n_radial + n_channels) + n_species * n_channels * n_radial
    return found


def check_shared(
    n_species: int, n_radial: int, max_rank: int, n_channels: int, real: Any, *, hops: bool = False
) -> None:
    """Refuse what does not fit into the memory of a block.

    Raises
    ------
    ValueError
        In one sentence for the user.
    """
    needed = shared_numbers(n_species, n_radial, max_rank, n_channels, hops=hops) * np.dtype(real).itemsize
    if needed > SHARED_BYTES:
        channels = f", {n_channels} channels" if n_channels else ""
        raise ValueError(
            f"A model of {n_species} species, {n_radial} radial functions, ranks up to {max_rank}{channels} needs "
            f"{needed} bytes of a GPU's shared memory and {SHARED_BYTES} are there; use the CPU."
        )


@cache
def gradients_of_one(n_species: int, n_radial: int, max_rank: int, real: Any) -> Any:
    """The first pass for agent i, by one block; `real` is ``np.float32`` or ``np.float64``."""
    n_lm, wide = (max_rank + 1) ** 2, lanes(n_radial)
    of_species = n_lm * wide
    n_fields = n_species * of_species
    groups, parts, slots, n_phi, n_values, n_summed = shape_of_gradients(n_species, n_radial, max_rank)
    zero, half, one = real(0.0), real(0.5), real(1.0)
    kind = kind_of(n_species)

    @_on_device
    def gradients(  # type: ignore[no-untyped-def]
        i, local, species, shift, ends, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        phi = cuda.shared.array(n_phi, real, alignment=16)
        value = cuda.shared.array(n_values, real, alignment=16)
        fields = cuda.shared.array(n_summed, real, alignment=16)
        sums = cuda.local.array(slots, real)
        g = cuda.local.array(n_species, real)
        a = species[i]
        x, y, z, _ = four(local, 4 * i)
        k_mine, group = thread % wide, thread // wide
        m_mine, part = group % min(groups, n_lm), group // n_lm if n_lm < groups else 0
        sums_up = group < groups and part < parts
        loss, nearest = zero, real(1e9)
        for f in range(thread, n_summed, THREADS):
            fields[f] = zero

        count = ends[i, n_species - 1]
        for first in range(0, count, THREADS):
            cuda.syncthreads()
            inside = False
            entry = entries[i, first + thread] if first + thread < count else NOBODY
            if entry & 31 != NOBODY:
                dx, dy, dz, _ = separation(local, shift, x, y, z, entry)
                r2 = dx * dx + dy * dy + dz * dz
                inside = r2 < cutoff * cutoff
                if inside:
                    r = real(math.sqrt(r2))
                    b = kind(ends, i, first + thread)
                    radius = wall_radius[a, b]
                    if r < radius:
                        loss += wall_energy * (radius - r) * (radius - r)
                    nearest = min(nearest, r / radius)
                    row, t = row_of_table(r, start, per_row)
                    place = ((a * n_species + b) * table.shape[2] + row) * (4 * wide)
                    for k in range(wide):
                        c0, c1, c2, c3 = four(table, place + 4 * k)
                        put_at(phi, thread + k * ROW, c0 + t * (c1 + t * (c2 + t * c3)))
                    put_at(value, thread, one)
                    inverse = one / r
                    dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
                    if max_rank >= 1:
                        put_at(value, thread + ROW, dx)
                        put_at(value, thread + 2 * ROW, dy)
                        put_at(value, thread + 3 * ROW, dz)
                    if max_rank >= 2:
                        v = _quadrupole(real, dx, dy, dz)
                        for m in range(5):
                            put_at(value, thread + (4 + m) * ROW, v[m])
                    if max_rank >= 3:
                        w = _octupole(real, dx, dy, dz)
                        for m in range(7):
                            put_at(value, thread + (9 + m) * ROW, w[m])
            if not inside:
                for k in range(wide):
                    put_at(phi, thread + k * ROW, zero)
                for m in range(n_lm):
                    put_at(value, thread + m * ROW, zero)
            cuda.syncthreads()
            if sums_up:
                begin = 0
                for b in range(n_species):
                    end = min(ends[i, b] - first, THREADS)
                    for s in range(slots):
                        sums[s] = zero
                    for p in range(begin + 4 * part, end, 4 * parts):
                        w0, w1, w2, w3 = four(phi, k_mine * ROW + p)
                        for s in range(slots):
                            y0, y1, y2, y3 = four(value, m_mine * ROW + p + s * groups * ROW)
                            sums[s] += w0 * y0 + w1 * y1 + w2 * y2 + w3 * y3
                    for s in range(slots):
                        m = m_mine + s * groups
                        if m < n_lm:
                            place = part * n_fields + b * of_species + m * wide + k_mine
                            put_at(fields, place, at(fields, place) + sums[s])
                    begin = max(end, begin)
        cuda.syncthreads()
        if parts > 1:
            for f in range(thread, n_fields, THREADS):
                for n in range(1, parts):
                    fields[f] += fields[n * n_fields + f]
            cuda.syncthreads()

        if group < min(groups, n_lm):
            for s in range(slots):
                m = m_mine + s * groups
                if m < n_lm:
                    rank = int(m > 0) + int(m > 3) + int(m > 8)
                    place = (a * (max_rank + 1) + rank) * (n_species * n_radial * n_species * wide) + k_mine
                    for b in range(n_species):
                        g[b] = zero
                    for c in range(n_species):
                        for n in range(n_radial):
                            field = at(fields, m * wide + c * of_species + n)
                            for b in range(n_species):
                                g[b] += field * at(quadratic, place + ((c * n_radial + n) * n_species + b) * wide)
                    for b in range(n_species):
                        f = b * of_species + m * wide + k_mine
                        field = at(fields, f)
                        loss += half * field * g[b]
                        if m == 0:
                            own = at(linear, (a * n_species + b) * wide + k_mine)
                            loss += own * field
                            g[b] += own
                        put_at(gradient, i * n_fields + f, g[b])
                        if kept_fields.shape[0]:
                            put_at(kept_fields, i * n_fields + f, field)

        loss, nearest = total(loss), least(nearest)
        if thread == 0:
            losses[i] = loss
            closest[i] = nearest

    return gradients


@cache
def force_on_one(n_species: int, n_radial: int, max_rank: int, n_hops: int, alone: bool, real: Any) -> Any:
    """The second pass for agent i, by one block.

    `n_hops` as in `kernels.cpu.compiled`; `alone` where no gradient of a neighbour counts (own scope), so that none is
    read and `both` does not matter.
    """
    n_lm, wide = (max_rank + 1) ** 2, lanes(n_radial)
    of_species = n_lm * wide
    n_fields = n_species * of_species
    zero, one, two, three = real(0.0), real(1.0), real(2.0), real(3.0)
    kind = kind_of(n_species)

    @_on_device
    def products(mine, place, theirs, there, sign, phi, dphi):  # type: ignore[no-untyped-def]
        """sum_k g_k phi'_k and sum_k g_k phi_k / r for one component; g is G of both agents, (-1)^l of the other's."""
        radial, across = zero, zero
        for k in range(0, wide, 4):
            g0, g1, g2, g3 = four(mine, place + k)
            if not alone:
                h0, h1, h2, h3 = four(theirs, there + k)
                g0, g1, g2, g3 = g0 + sign * h0, g1 + sign * h1, g2 + sign * h2, g3 + sign * h3
            radial += g0 * dphi[k] + g1 * dphi[k + 1] + g2 * dphi[k + 2] + g3 * dphi[k + 3]
            across += g0 * phi[k] + g1 * phi[k + 1] + g2 * phi[k + 2] + g3 * phi[k + 3]
        return radial, across

    @_on_device
    def added(so_far, m, value, slope, mine, place, theirs, there, sign, phi, dphi):  # type: ignore[no-untyped-def]
        """What component m pulls along the pair, and x, y and z of what it pulls across, added to what others do."""
        radial, across = products(mine, place + m * wide, theirs, there + m * wide, sign, phi, dphi)
        return (
            so_far[0] + radial * value, so_far[1] + across * slope[0], so_far[2] + across * slope[1],
            so_far[3] + across * slope[2],
        )  # fmt: skip

    @_on_device
    def forces(  # type: ignore[no-untyped-def]
        i, local, species, shift, ends, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
        both, numbers, pulls, distant, result,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        mine = cuda.shared.array(n_fields, real, alignment=16)
        phi = cuda.local.array(wide, real)
        dphi = cuda.local.array(wide, real)
        a = species[i]
        x, y, z, _ = four(local, 4 * i)
        for f in range(thread, n_fields, THREADS):
            mine[f] = at(gradient, i * n_fields + f)
        cuda.syncthreads()
        fx, fy, fz = zero, zero, zero
        for q in range(thread, ends[i, n_species - 1], THREADS):
            entry = entries[i, q]
            if entry & 31 == NOBODY:
                continue
            dx, dy, dz, j = separation(local, shift, x, y, z, entry)
            r2 = dx * dx + dy * dy + dz * dz
            if not r2 < cutoff * cutoff:  # also true of NaN
                continue
            r = real(math.sqrt(r2))
            inverse = one / r
            ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
            b = kind(ends, i, q)
            row, t = row_of_table(r, start, per_row)
            place = ((a * n_species + b) * table.shape[2] + row) * (4 * wide)
            for k in range(wide):
                c0, c1, c2, c3 = four(table, place + 4 * k)
                phi[k] = (c0 + t * (c1 + t * (c2 + t * c3))) * inverse
                dphi[k] = (c1 + t * (two * c2 + t * (three * c3))) * per_row
            place, there = b * of_species, (j * n_species + a) * of_species
            # (-1)^l: seen from the other end, the separation points the other way.
            even = (mine, place, gradient, there, both, phi, dphi)
            odd = (mine, place, gradient, there, -both, phi, dphi)
            sums = added((zero, zero, zero, zero), 0, one, (zero, zero, zero), *even)
            if max_rank >= 1:
                sums = added(sums, 1, ux, (one, zero, zero), *odd)
                sums = added(sums, 2, uy, (zero, one, zero), *odd)
                sums = added(sums, 3, uz, (zero, zero, one), *odd)
            if max_rank >= 2:
                v = _quadrupole(real, ux, uy, uz)
                sx, sy, sz = _quadrupole_slopes(real, ux, uy, uz)
                sums = added(sums, 4, v[0], (sx[0], sy[0], sz[0]), *even)
                sums = added(sums, 5, v[1], (sx[1], sy[1], sz[1]), *even)
                sums = added(sums, 6, v[2], (sx[2], sy[2], sz[2]), *even)
                sums = added(sums, 7, v[3], (sx[3], sy[3], sz[3]), *even)
                sums = added(sums, 8, v[4], (sx[4], sy[4], sz[4]), *even)
            if max_rank >= 3:
                w = _octupole(real, ux, uy, uz)
                wx, wy, wz = _octupole_slopes(real, ux, uy, uz)
                sums = added(sums, 9, w[0], (wx[0], wy[0], wz[0]), *odd)
                sums = added(sums, 10, w[1], (wx[1], wy[1], wz[1]), *odd)
                sums = added(sums, 11, w[2], (wx[2], wy[2], wz[2]), *odd)
                sums = added(sums, 12, w[3], (wx[3], wy[3], wz[3]), *odd)
                sums = added(sums, 13, w[4], (wx[4], wy[4], wz[4]), *odd)
                sums = added(sums, 14, w[5], (wx[5], wy[5], wz[5]), *odd)
                sums = added(sums, 15, w[6], (wx[6], wy[6], wz[6]), *odd)
            along, vx, vy, vz = sums
            if n_hops:
                for k in range(n_radial):
                    pull = zero
                    for c in range(n_hops):
                        pull += pulls[i, b, c, k] * numbers[j, c]
                    along += pull * dphi[k]
            # Of the polynomials' slopes, what points along the pair is no slope on the sphere.
            along -= vx * ux + vy * uy + vz * uz
            overlap = wall_radius[a, b] - r
            if overlap > zero:
                along -= wall_force * overlap
            fx -= vx + along * ux
            fy -= vy + along * uy
            fz -= vz + along * uz
        fx, fy, fz = total(fx), total(fy), total(fz)
        if thread == 0:
            if distant.shape[0]:
                fx, fy, fz = fx + distant[i, 0], fy + distant[i, 1], fz + distant[i, 2]
            result[i, 0], result[i, 1], result[i, 2] = fx, fy, fz

    return forces


@cache
def kernels(n_species: int, n_radial: int, max_rank: int, n_hops: int, real: Any) -> tuple[Any, Any]:
    """The two CUDA kernels, a block for each agent.

    Raises
    ------
    ValueError
        If the fields of one agent do not fit into the memory of a block.
    """
    check_shared(n_species, n_radial, max_rank, 0, real)
    gradients_of = gradients_of_one(n_species, n_radial, max_rank, real)
    force_on = force_on_one(n_species, n_radial, max_rank, n_hops, False, real)

    @kernel_for(n_species, n_radial, max_rank, real)
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, ends, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        gradients_of(
            cuda.blockIdx.x, local, species, shift, ends, entries, cutoff, start, per_row, table, linear, quadratic,
            wall_radius, wall_energy, losses, gradient, closest, kept_fields,
        )  # fmt: skip

    @kernel_for(n_species, n_radial, max_rank, n_hops, real)
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, ends, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force, both,
        numbers, pulls, distant, result,
    ):  # fmt: skip
        force_on(
            cuda.blockIdx.x, local, species, shift, ends, entries, cutoff, start, per_row, table, gradient,
            wall_radius, wall_force, both, numbers, pulls, distant, result,
        )  # fmt: skip

    return gradients, forces


@cache
def compiled(n_radial: int, max_rank: int, n_hops: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two passes for this many radial functions and ranks, as `kernels.cpu.compiled`, for arrays made by `put`."""

    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy,
        losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        kernel, _ = kernels(table.shape[0], n_radial, max_rank, n_hops, local.dtype.type)
        kernel[local.shape[0], THREADS](
            local, species, shift, *pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius,
            wall_energy, losses, gradient, closest, kept_fields,
        )  # fmt: skip

    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force, reciprocal,
        numbers, pulls, distant, result,
    ):  # fmt: skip
        real = local.dtype.type
        _, kernel = kernels(table.shape[0], n_radial, max_rank, n_hops, real)
        kernel[local.shape[0], THREADS](
            local, species, shift, *pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
            real(reciprocal), numbers, pulls, distant, result,
        )  # fmt: skip

    return gradients, forces


@cache
def cubic_of_one(n_species: int, n_radial: int, max_rank: int, n_channels: int, real: Any) -> Any:
    """The cubic part of agent i, by one block: a thread for each component, each row of a tensor, each field."""
    n_lm, wide = (max_rank + 1) ** 2, lanes(n_radial)
    n_ranks, n_components = max_rank + 1, n_lm * n_channels
    of_species = n_lm * wide
    n_fields = n_species * of_species
    _, first, form, first_pair, pairs, couplings = cubic.slopes(max_rank)
    weights = couplings.astype(real)
    n_forms, n_rows = len(cubic.slopes(max_rank).forms), len(form) * n_channels
    n_numbers = n_lm * cubic.WIDE
    n_products = n_rows * cubic.WIDE
    groups = shape_of_gradients(n_species, n_radial, max_rank).groups
    wide_channels, last_quad = cubic.WIDE, (n_channels - 1) // 4 * 4
    zero, one = real(0.0), real(1.0)

    @_on_device
    def add_cubic(  # type: ignore[no-untyped-def]
        i, species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
    ):
        thread = cuda.threadIdx.x
        p = cuda.shared.array(n_numbers, real, alignment=16)
        slope = cuda.shared.array(n_numbers, real, alignment=16)
        products = cuda.shared.array(n_products, real, alignment=16)
        s = cuda.shared.array((n_ranks, n_channels), real)
        sums = cuda.local.array(wide_channels, real)
        both = cuda.local.array(wide_channels, real)
        first_ = cuda.const.array_like(first)
        form_ = cuda.const.array_like(form)
        first_pair_ = cuda.const.array_like(first_pair)
        pairs_ = cuda.const.array_like(pairs)
        weights_ = cuda.const.array_like(weights)
        a = species[i]
        for number in range(thread, n_numbers, THREADS):
            p[number] = zero
        cuda.syncthreads()
        for component in range(thread, n_components, THREADS):
            m, c = component // n_channels, component % n_channels
            rank = int(m > 0) + int(m > 3) + int(m > 8)
            seen = -offsets[a, c] if m == 0 else zero
            for b in range(n_species):
                place = (((a * n_ranks + rank) * n_channels + c) * n_species + b) * wide
                field = i * n_fields + b * of_species + m * wide
                for k in range(0, wide, 4):
                    w0, w1, w2, w3 = four(channels, place + k)
                    f0, f1, f2, f3 = four(fields, field + k)
                    seen += w0 * f0 + w1 * f1 + w2 * f2 + w3 * f3
            p[m * wide_channels + c] = seen
        cuda.syncthreads()
        for channel in range(thread, n_ranks * n_channels, THREADS):
            rank, c = channel // n_channels, channel % n_channels
            square = zero
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                square += p[m * wide_channels + c] * p[m * wide_channels + c]
            s[rank, c] = one / real(math.sqrt(one + square * tightness[a, rank]))
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                p[m * wide_channels + c] *= s[rank, c]
        cuda.syncthreads()
        if numbers.shape[0]:
            for c in range(thread, n_channels, THREADS):
                numbers[i, c] = p[c]
                slopes[i, c] = zero
        # A row is a term t of `cubic.slopes` and the channel d of its first factor; what it adds to the slope by
        # channel c is sum_e D_dec sum G p_d p_e.
        for row in range(thread, n_rows, THREADS):
            t, d = row // n_channels, row % n_channels
            for e in range(wide_channels):
                both[e] = zero
                sums[e] = zero
            for number in range(first_pair_[t], first_pair_[t + 1]):
                weight = weights_[number] * at(p, pairs_[number, 0] * wide_channels + d)
                other = pairs_[number, 1] * wide_channels
                for e in range(0, last_quad + 1, 4):
                    p0, p1, p2, p3 = four(p, other + e)
                    both[e] += weight * p0
                    both[e + 1] += weight * p1
                    both[e + 2] += weight * p2
                    both[e + 3] += weight * p3
            place = ((a * n_forms + form_[t]) * n_channels + d) * (n_channels * wide_channels)
            for e in range(n_channels):
                for c in range(0, last_quad + 1, 4):
                    t0, t1, t2, t3 = four(tensors, place + e * wide_channels + c)
                    sums[c] += both[e] * t0
                    sums[c + 1] += both[e] * t1
                    sums[c + 2] += both[e] * t2
                    sums[c + 3] += both[e] * t3
            for c in range(n_channels):
                put_at(products, row * wide_channels + c, sums[c])
        cuda.syncthreads()
        loss = zero
        for component in range(thread, n_components, THREADS):
            m, c = component // n_channels, component % n_channels
            pull = zero
            for row in range(first_[m] * n_channels, first_[m + 1] * n_channels):
                pull += at(products, row * wide_channels + c)
            slope[m * wide_channels + c] = pull
            loss += pull * p[m * wide_channels + c]
        loss = total(loss)
        if thread == 0:
            losses[i] += loss * real(1.0 / 3.0)  # Euler: the part is homogeneous of degree 3 in p
        cuda.syncthreads()
        for channel in range(thread, n_ranks * n_channels, THREADS):
            rank, c = channel // n_channels, channel % n_channels
            along = zero
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                along += p[m * wide_channels + c] * slope[m * wide_channels + c]
            along *= tightness[a, rank]
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                place = m * wide_channels + c
                slope[place] = (slope[place] - along * p[place]) * s[rank, c]
        cuda.syncthreads()
        k, group = thread % wide, thread // wide
        if group < groups:
            for m in range(group, n_lm, groups):
                rank = int(m > 0) + int(m > 3) + int(m > 8)
                for b in range(n_species):
                    place = i * n_fields + b * of_species + m * wide + k
                    weight = (((a * n_ranks + rank) * n_channels) * n_species + b) * wide + k
                    g = at(gradient, place)
                    for c in range(n_channels):
                        g += at(channels, weight + c * (n_species * wide)) * at(slope, m * wide_channels + c)
                    put_at(gradient, place, g)

    return add_cubic


@cache
def cubic_kernel(n_species: int, n_radial: int, max_rank: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel of the cubic part, a block for each agent."""
    cubic_of = cubic_of_one(n_species, n_radial, max_rank, n_channels, real)

    @kernel_for(n_species, n_radial, max_rank, n_channels, real)
    def add_cubic(  # type: ignore[no-untyped-def]
        species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
    ):
        cubic_of(
            cuda.blockIdx.x, species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
        )

    return add_cubic


@cache
def compiled_cubic(n_radial: int, max_rank: int, n_channels: int) -> Callable[..., Any]:
    """The pass of the cubic part, as `kernels.cpu.compiled_cubic`, for arrays made by `put`."""

    def add_cubic(  # type: ignore[no-untyped-def]
        species, fields, seen, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes,  # noqa: ARG001 (`channels` in the order of the CPU)
    ):  # fmt: skip
        kernel = cubic_kernel(channels.shape[3], n_radial, max_rank, n_channels, fields.dtype.type)
        kernel[fields.shape[0], THREADS](
            species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
        )

    return add_cubic


@cache
def hops_of_one(n_species: int, n_radial: int, n_channels: int, real: Any) -> Any:
    """The hops of agent i, by one block."""
    n_fields, wide = n_species * n_channels * n_radial, lanes(n_radial)
    zero = real(0.0)
    kind = kind_of(n_species)

    @_on_device
    def add_hops(  # type: ignore[no-untyped-def]
        i, local, species, shift, ends, entries, cutoff, start, per_row, table, numbers, by_number, by_function,
        losses, slopes, pulls,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        phi = cuda.shared.array((n_radial, ROW), real)
        other = cuda.shared.array((n_channels, ROW), real)
        fields = cuda.shared.array((n_species, n_channels, n_radial), real)
        a = species[i]
        x, y, z, _ = four(local, 4 * i)
        for f in range(thread, n_fields, THREADS):
            fields[f // (n_channels * n_radial), f // n_radial % n_channels, f % n_radial] = zero
        count = ends[i, n_species - 1]
        for first in range(0, count, THREADS):
            cuda.syncthreads()
            for k in range(n_radial):
                phi[k, thread] = zero
            for c in range(n_channels):
                other[c, thread] = zero
            entry = entries[i, first + thread] if first + thread < count else NOBODY
            if entry & 31 != NOBODY:
                dx, dy, dz, j = separation(local, shift, x, y, z, entry)
                r2 = dx * dx + dy * dy + dz * dz
                if r2 < cutoff * cutoff:
                    row, t = row_of_table(real(math.sqrt(r2)), start, per_row)
                    b = kind(ends, i, first + thread)
                    place = ((a * n_species + b) * table.shape[2] + row) * (4 * wide)
                    for k in range(n_radial):
                        c0, c1, c2, c3 = four(table, place + 4 * k)
                        phi[k, thread] = c0 + t * (c1 + t * (c2 + t * c3))
                    for c in range(n_channels):
                        other[c, thread] = numbers[j, c]
            cuda.syncthreads()
            for f in range(thread, n_fields, THREADS):
                b = f // (n_channels * n_radial)
                d = f // n_radial % n_channels
                k = f % n_radial
                begin = max(ends[i, b - 1] - first, 0) if b > 0 else 0
                sum_of_species = zero
                for p in range(begin, min(ends[i, b] - first, THREADS)):
                    sum_of_species += other[d, p] * phi[k, p]
                fields[b, d, k] += sum_of_species
        cuda.syncthreads()
        loss = zero
        for c in range(n_channels):
            slope = zero
            for f in range(thread, n_fields, THREADS):
                b = f // (n_channels * n_radial)
                d = f // n_radial % n_channels
                k = f % n_radial
                slope += by_number[a, b, d, k, c] * fields[b, d, k]
            slope = total(slope)
            loss += slope * numbers[i, c]
            if thread == 0:
                slopes[i, c] += slope
        if thread == 0:
            losses[i] += real(0.5) * loss
        for f in range(thread, n_fields, THREADS):
            b = f // (n_channels * n_radial)
            d = f // n_radial % n_channels
            k = f % n_radial
            pull = zero
            for c in range(n_channels):
                pull += by_function[a, b, d, c, k] * numbers[i, c]
            pulls[i, b, d, k] = pull

    return add_hops


@cache
def hop_kernel(n_species: int, n_radial: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel of the hops, a block for each agent."""
    hops_of = hops_of_one(n_species, n_radial, n_channels, real)

    @kernel_for(n_species, n_radial, n_channels, real)
    def add_hops(  # type: ignore[no-untyped-def]
        local, species, shift, ends, entries, cutoff, start, per_row, table, numbers, by_number, by_function, losses,
        slopes, pulls,
    ):  # fmt: skip
        hops_of(
            cuda.blockIdx.x, local, species, shift, ends, entries, cutoff, start, per_row, table, numbers, by_number,
            by_function, losses, slopes, pulls,
        )  # fmt: skip

    return add_hops


@cache
def compiled_hops(n_radial: int, n_channels: int) -> Callable[..., Any]:
    """The pass of the hops, as `kernels.cpu.compiled_hops`, for arrays made by `put`."""

    def add_hops(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, numbers, by_number, by_function, losses, slopes,
        pulls,
    ):  # fmt: skip
        kernel = hop_kernel(table.shape[0], n_radial, n_channels, local.dtype.type)
        kernel[local.shape[0], THREADS](
            local, species, shift, *pairs, cutoff, start, per_row, table, numbers, by_number, by_function, losses,
            slopes, pulls,
        )  # fmt: skip

    return add_hops


@cache
def give_back_of_one(n_species: int, n_radial: int, n_channels: int, real: Any) -> Any:
    """Slopes of agent i by the channels of rank 0, brought back to its fields by one block."""

    @_on_device
    def give_back(i, species, channels, tightness, numbers, slopes, gradient):  # type: ignore[no-untyped-def]
        a = species[i]
        for f in range(cuda.threadIdx.x, n_species * n_radial, THREADS):
            b, k = f // n_radial, f % n_radial
            g = gradient[i, b, 0, k]
            for c in range(n_channels):
                square = max(real(1.0) - numbers[i, c] * numbers[i, c] * tightness[a, 0], real(0.0))
                g += channels[a, 0, c, b, k] * slopes[i, c] * square * real(math.sqrt(square))
            gradient[i, b, 0, k] = g

    return give_back


@cache
def give_back_kernel(n_species: int, n_radial: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel that brings slopes by the channels of rank 0 back to the fields, a block for each agent."""
    give_back_of = give_back_of_one(n_species, n_radial, n_channels, real)

    @kernel_for(n_species, n_radial, n_channels, real)
    def give_back(species, channels, tightness, numbers, slopes, gradient):  # type: ignore[no-untyped-def]
        give_back_of(cuda.blockIdx.x, species, channels, tightness, numbers, slopes, gradient)

    return give_back


@cache
def compiled_give_back(n_radial: int, max_rank: int, n_channels: int) -> Callable[..., Any]:  # noqa: ARG001 (as on the CPU)
    """The pass from slopes by channels to slopes by fields, as `kernels.cpu.compiled_give_back`."""

    def give_back(species, channels, tightness, numbers, slopes, gradient):  # type: ignore[no-untyped-def]
        kernel = give_back_kernel(channels.shape[3], n_radial, n_channels, gradient.dtype.type)
        kernel[gradient.shape[0], THREADS](species, channels, tightness, numbers, slopes, gradient)

    return give_back


@cache
def waves_of_one(n_species: int, real: Any) -> tuple[Any, Any, Any]:
    """The long-range part; `kernels.waves` says what is computed.

    Of the agent in slot q, by one thread; of wave vector k, by one block; of the agent in slot q, by one block.
    """

    @_on_device
    def tabulate(q, local, per_length, numbers, agents, phases, charges):  # type: ignore[no-untyped-def]
        i = agents[q]
        charges[q] = numbers[i, 0] if i >= 0 else real(0.0)
        for d in range(3):
            angle = local[i, d] * per_length[d] if i >= 0 else real(0.0)
            cosine, sine = real(math.cos(angle)), real(math.sin(angle))
            c, s = real(i >= 0), real(0.0)
            for n in range(phases.shape[1]):
                phases[d, n, 0, q] = c
                phases[d, n, 1, q] = s
                c, s = c * cosine - s * sine, c * sine + s * cosine

    @_on_device
    def wave(phases, n, k, q):  # type: ignore[no-untyped-def]
        """cos and sin of k.r for the agent in slot q."""
        nx, ny, nz = n[k, 0], n[k, 1], n[k, 2]
        cx, sx = phases[0, nx, 0, q], phases[0, nx, 1, q]
        cy, sy = phases[1, abs(ny), 0, q], phases[1, abs(ny), 1, q]
        cz, sz = phases[2, abs(nz), 0, q], phases[2, abs(nz), 1, q]
        if ny < 0:
            sy = -sy
        if nz < 0:
            sz = -sz
        c, s = cx * cy - sx * sy, cx * sy + sx * cy
        return c * cz - s * sz, c * sz + s * cz

    @_on_device
    def sum_up(k, n, begins, phases, charges, coupling, potentials):  # type: ignore[no-untyped-def]
        thread = cuda.threadIdx.x
        structure = cuda.shared.array((n_species, 4), real)
        for a in range(n_species):
            re, im, charged_re, charged_im = real(0.0), real(0.0), real(0.0), real(0.0)
            for q in range(begins[a] + thread, begins[a + 1], THREADS):
                c, s = wave(phases, n, k, q)
                re, im = re + c, im + s
                charged_re, charged_im = charged_re + c * charges[q], charged_im + s * charges[q]
            re, im, charged_re, charged_im = total(re), total(im), total(charged_re), total(charged_im)
            if thread == 0:
                structure[a, 0], structure[a, 1] = re, im
                structure[a, 2], structure[a, 3] = charged_re, charged_im
        cuda.syncthreads()
        for number in range(thread, n_species * NUMBERS, THREADS):
            a, u = number // NUMBERS, number % NUMBERS
            re, im = real(0.0), real(0.0)
            for b in range(n_species):
                for v in range(NUMBERS):
                    re += coupling[k, a, u, b, v] * structure[b, 2 * v]
                    im += coupling[k, a, u, b, v] * structure[b, 2 * v + 1]
            potentials[a, k, 2 * u] = re
            potentials[a, k, 2 * u + 1] = im

    @_on_device
    def give(  # type: ignore[no-untyped-def]
        q, species, per_length, n, agents, phases, charges, taken, potentials, losses, slopes, distant
    ):
        thread = cuda.threadIdx.x
        i = agents[q]
        if i < 0:  # for the whole block
            return
        first, second = real(0.0), real(0.0)
        fx, fy, fz = real(0.0), real(0.0), real(0.0)
        a = species[i]
        charge = charges[q]
        for k in range(thread, n.shape[0], THREADS):
            c, s = wave(phases, n, k, q)
            re0, im0 = potentials[a, k, 0], potentials[a, k, 1]
            re1, im1 = potentials[a, k, 2], potentials[a, k, 3]
            turned = c * im0 - s * re0 + (c * im1 - s * re1) * charge
            first += c * re0 + s * im0
            second += c * re1 + s * im1
            fx -= turned * real(n[k, 0])
            fy -= turned * real(n[k, 1])
            fz -= turned * real(n[k, 2])
        first, second = total(first), total(second)
        fx, fy, fz = total(fx), total(fy), total(fz)
        if thread == 0:
            second -= taken[a, 1, 0] + charge * taken[a, 1, 1]
            first -= taken[a, 0, 0] + charge * taken[a, 0, 1]
            losses[i] += (first + second * charge) * real(0.5)
            slopes[i, 0] += second
            distant[i, 0], distant[i, 1] = fx * per_length[0], fy * per_length[1]
            distant[i, 2] = fz * per_length[2]

    return tabulate, sum_up, give


@cache
def wave_kernels(n_species: int, real: Any) -> tuple[Any, Any, Any]:
    """The CUDA kernels of the long-range part: a thread for each slot, a block for each wave vector, for each slot."""
    tabulate_one, sum_up_one, give_one = waves_of_one(n_species, real)

    @kernel_for(n_species, real)
    def tabulate(local, per_length, numbers, agents, phases, charges):  # type: ignore[no-untyped-def]
        q = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if q < agents.shape[0]:
            tabulate_one(q, local, per_length, numbers, agents, phases, charges)

    @kernel_for(n_species, real)
    def sum_up(n, begins, phases, charges, coupling, potentials):  # type: ignore[no-untyped-def]
        sum_up_one(cuda.blockIdx.x, n, begins, phases, charges, coupling, potentials)

    @kernel_for(n_species, real)
    def give(  # type: ignore[no-untyped-def]
        species, per_length, n, agents, phases, charges, taken, potentials, losses, slopes, distant
    ):
        give_one(
            cuda.blockIdx.x, species, per_length, n, agents, phases, charges, taken, potentials, losses, slopes,
            distant,
        )  # fmt: skip

    return tabulate, sum_up, give


@cache
def compiled_waves() -> Callable[..., Any]:
    """The long-range pass, as `kernels.waves.compiled`, for arrays made by `put`."""

    def add_waves(  # type: ignore[no-untyped-def]
        local, species, per_length, numbers, slots, vectors, coupling, taken, scratch, losses, slopes, distant
    ):
        agents, begins = slots
        n, _ = vectors
        phases, charges, potentials = scratch
        tabulate, sum_up, give = wave_kernels(taken.shape[0], local.dtype.type)
        tabulate[-(-agents.shape[0] // THREADS), THREADS](local, per_length, numbers, agents, phases, charges)
        if n.shape[0]:
            sum_up[n.shape[0], THREADS](n, begins, phases, charges, coupling, potentials)
        give[agents.shape[0], THREADS](
            species, per_length, n, agents, phases, charges, taken, potentials, losses, slopes, distant
        )

    return add_waves


def lanes(n_radial: int) -> int:
    """Length of the arrays' axis of radial functions: four are loaded at once."""
    return -(-n_radial // 4) * 4


def table(values: np.ndarray) -> np.ndarray:
    """The radial functions as the passes take them, from a table of `kernels.radial.tabulate`: the four powers of one
    function beside each other, (n_species, n_species, rows, n_radial, 4)."""
    return np.ascontiguousarray(radial.polynomials(values).swapaxes(3, 4))


def neighbors(
    count: np.ndarray, entries: np.ndarray, species: np.ndarray, n_species: int, real: Any  # noqa: ARG001
) -> tuple[Any, ...]:  # fmt: skip
    """The Verlet list as the two passes want it, sorted by species: ends and entries, on the device."""
    capacity = int(count.max(initial=0)) + 4 * n_species
    ends, ordered = by_species(count, entries, species, n_species, capacity, 4, NOBODY)
    return put(ends), put(ordered)


def put(array: np.ndarray) -> Any:
    """Copy of a host array on the device."""
    return cuda.to_device(np.ascontiguousarray(array))


def get(array: Any) -> np.ndarray:
    """Copy of a device array on the host; waits for the kernels that write it."""
    return np.asarray(array.copy_to_host())


def _double(array):  # type: ignore[no-untyped-def]
    i = cuda.threadIdx.x
    array[i] = array[i] + array[i]


def compile_test_kernel() -> None:
    """Compile a few lines for the GPU that is there; raises whatever Numba raises where its CUDA toolkit is missing."""
    cuda.compile_ptx(_double, (types.float32[::1],), cc=cuda.get_current_device().compute_capability)


def run_test_kernel() -> None:
    """Run them.

    Raises
    ------
    RuntimeError
        If the result is wrong; Numba raises errors of its own if they do not run.
    """
    array = put(np.arange(THREADS, dtype=np.float32))
    cuda.jit(_double)[1, THREADS](array)
    if not np.array_equal(get(array), 2 * np.arange(THREADS)):
        raise RuntimeError("it computed wrong numbers")
