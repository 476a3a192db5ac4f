"""Losses and forces on an NVIDIA GPU: Numba-CUDA, one block of threads per agent.

The same two passes, signatures and layouts as `kernels.cpu`, and the same arithmetic of a pair (`kernels.pair`).

    gradients   the threads of a block take one neighbour each and leave phi_k and Y^l in shared memory; then each
                sums its own components A^l_{bk} over them, and each multiplies its own rows of W
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
kernels are tested on machines without a GPU. CuPy arrays can be passed as well; nothing here needs CuPy.

Importing this module imports Numba's CUDA target; ask `kernels.backend` first whether there is a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import config, cuda, types

from mldsim.kernels import cubic, pair
from mldsim.kernels.waves import NUMBERS

# Eight molecules do not fill a GPU. That is no fault of the program to warn about.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

THREADS = 64
"""Threads per block, a power of two: about as many as an agent of water has neighbours within 5 angstrom."""

SHARED_BYTES = 48 * 1024
"""Shared memory that a block may use on every GPU."""

# On the GPU this fuses products with sums, and takes float32 quotients and roots to two units in the last place; sums
# keep their order, and comparisons with NaN stay honest.
FAST = True

_on_device = cuda.jit(device=True, fastmath=FAST)
_of_pair = pair.functions(_on_device)
separation, hermite, hermite_slopes = _of_pair.separation, _of_pair.hermite, _of_pair.hermite_slopes
harmonics, harmonic_slopes = _of_pair.harmonics, _of_pair.harmonic_slopes


@_on_device
def block_sum(partial, thread):  # type: ignore[no-untyped-def]
    """Sum of ``partial[d, :]`` over the threads of the block, left in ``partial[d, 0]`` for thread 0."""
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            for d in range(partial.shape[0]):
                partial[d, thread] += partial[d, thread + half]
        half //= 2


@_on_device
def block_min(partial, thread):  # type: ignore[no-untyped-def]
    """Minimum of ``partial`` over the threads of the block, left in ``partial[0]`` for thread 0."""
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            partial[thread] = min(partial[thread], partial[thread + half])
        half //= 2


def _check_shared(n_species: int, n_radial: int, what: str, numbers: int, real: Any) -> None:
    needed = numbers * np.dtype(real).itemsize + 8 * THREADS
    if needed > SHARED_BYTES:
        raise ValueError(
            f"A model of {n_species} species, {n_radial} radial functions and {what} needs {needed} "
            f"bytes of a GPU's shared memory and {SHARED_BYTES} are there; use the CPU."
        )


@cache
def gradients_of_one(n_species: int, n_radial: int, max_rank: int, real: Any) -> Any:
    """The first pass for agent i, by one block; `real` is ``np.float32`` or ``np.float64``.

    Raises
    ------
    ValueError
        If the fields of one agent do not fit into the memory of a block.
    """
    n_lm = (max_rank + 1) ** 2
    n_fields = n_species * n_lm * n_radial
    numbers_kept = THREADS * (n_radial + n_lm + 2) + n_fields
    _check_shared(n_species, n_radial, f"ranks up to {max_rank}", numbers_kept, real)

    @_on_device
    def gradients(  # type: ignore[no-untyped-def]
        i, local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        phi = cuda.shared.array((THREADS, n_radial), real)
        value = cuda.shared.array((THREADS, n_lm), real)
        kind = cuda.shared.array(THREADS, np.int32)
        fields = cuda.shared.array((n_species, n_lm, n_radial), real)
        partial = cuda.shared.array((1, THREADS), real)
        shortest = cuda.shared.array(THREADS, real)
        a = species[i]
        loss = real(0.0)
        nearest = real(1e9)
        for f in range(thread, n_fields, THREADS):
            fields[f // (n_lm * n_radial), f // n_radial % n_lm, f % n_radial] = real(0.0)

        for first in range(0, count[i], THREADS):
            cuda.syncthreads()
            kind[thread] = -1
            if first + thread < count[i]:
                dx, dy, dz, j = separation(local, shift, i, entries[i, first + thread])
                r2 = dx * dx + dy * dy + dz * dz
                if r2 < cutoff * cutoff:
                    r = real(math.sqrt(r2))
                    b = species[j]
                    kind[thread] = b
                    radius = wall_radius[a, b]
                    if r < radius:
                        loss += wall_energy * (radius - r) * (radius - r)
                    nearest = min(nearest, r / radius)
                    t = max((r - start) * per_row, real(0.0))
                    row = int(t)
                    h0, s0, h1, s1 = hermite(t - real(row), real(1.0))
                    for k in range(n_radial):
                        phi[thread, k] = (
                            h0 * table[a, b, row, 0, k]
                            + s0 * table[a, b, row, 1, k]
                            + h1 * table[a, b, row + 1, 0, k]
                            + s1 * table[a, b, row + 1, 1, k]
                        )
                    inverse = real(1.0) / r
                    harmonics(dx * inverse, dy * inverse, dz * inverse, max_rank, value[thread])
            cuda.syncthreads()
            staged = min(THREADS, count[i] - first)
            for f in range(thread, n_fields, THREADS):
                b = f // (n_lm * n_radial)
                m = f // n_radial % n_lm
                k = f % n_radial
                total = fields[b, m, k]
                for p in range(staged):
                    if kind[p] == b:
                        total += value[p, m] * phi[p, k]
                fields[b, m, k] = total
        cuda.syncthreads()

        for f in range(thread, n_fields, THREADS):
            b = f // (n_lm * n_radial)
            m = f // n_radial % n_lm
            k = f % n_radial
            rank = int(m > 0) + int(m > 3) + int(m > 8)
            g = real(0.0)
            for c in range(n_species):
                for n in range(n_radial):
                    g += quadratic[a, rank, c, n, b, k] * fields[c, m, n]
            loss += real(0.5) * fields[b, m, k] * g
            if m == 0:
                loss += linear[a, b, k] * fields[b, 0, k]
                g += linear[a, b, k]
            gradient[i, b, m, k] = g
            if kept_fields.shape[0]:
                kept_fields[i, b, m, k] = fields[b, m, k]

        partial[0, thread] = loss
        shortest[thread] = nearest
        block_sum(partial, thread)
        block_min(shortest, thread)
        if thread == 0:
            losses[i] = partial[0, 0]
            closest[i] = shortest[0]

    return gradients


@cache
def force_on_one(n_radial: int, max_rank: int, n_hops: int, alone: bool, real: Any) -> Any:
    """The second pass for agent i, by one block.

    `n_hops` as in `kernels.cpu.compiled`; `alone` where no gradient of a neighbour counts (own scope), so that none is
    read and `both` does not matter.
    """
    n_lm = (max_rank + 1) ** 2

    @_on_device
    def forces(  # type: ignore[no-untyped-def]
        i, local, species, shift, count, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
        both, numbers, pulls, distant, result,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        partial = cuda.shared.array((3, THREADS), real)
        phi = cuda.local.array(n_radial, real)
        dphi = cuda.local.array(n_radial, real)
        value = cuda.local.array(n_lm, real)
        slope = cuda.local.array((3, n_lm), real)
        a = species[i]
        fx, fy, fz = real(0.0), real(0.0), real(0.0)
        for q in range(thread, count[i], THREADS):
            dx, dy, dz, j = separation(local, shift, i, entries[i, q])
            r2 = dx * dx + dy * dy + dz * dz
            if not r2 < cutoff * cutoff:  # also true of NaN
                continue
            r = real(math.sqrt(r2))
            inverse = real(1.0) / r
            ux, uy, uz = dx * inverse, dy * inverse, dz * inverse
            b = species[j]
            t = max((r - start) * per_row, real(0.0))
            row = int(t)
            t -= real(row)
            h0, s0, h1, s1 = hermite(t, real(1.0))
            dh0, ds0, ds1 = hermite_slopes(t, real(1.0))
            for k in range(n_radial):
                near, near_slope = table[a, b, row, 0, k], table[a, b, row, 1, k]
                far, far_slope = table[a, b, row + 1, 0, k], table[a, b, row + 1, 1, k]
                phi[k] = (h0 * near + s0 * near_slope + h1 * far + s1 * far_slope) * inverse
                dphi[k] = (dh0 * (near - far) + ds0 * near_slope + ds1 * far_slope) * per_row
            harmonics(ux, uy, uz, max_rank, value)
            harmonic_slopes(ux, uy, uz, max_rank, slope)
            along = real(0.0)
            for rank in range(max_rank + 1):
                # (-1)^l: seen from the other end, the separation points the other way.
                sign = -both if rank % 2 else both
                for m in range(rank * rank, (rank + 1) * (rank + 1)):
                    radial = real(0.0)
                    across = real(0.0)
                    for k in range(n_radial):
                        g = gradient[i, b, m, k]
                        if not alone:
                            g += sign * gradient[j, a, m, k]
                        if n_hops and m == 0:
                            for c in range(n_hops):
                                g += pulls[i, b, c, k] * numbers[j, c]
                        radial += g * dphi[k]
                        across += g * phi[k]
                    along += radial * value[m]
                    fx -= across * slope[0, m]
                    fy -= across * slope[1, m]
                    fz -= across * slope[2, m]
            overlap = wall_radius[a, b] - r
            if overlap > real(0.0):
                along -= wall_force * overlap
            fx -= along * ux
            fy -= along * uy
            fz -= along * uz
        partial[0, thread] = fx
        partial[1, thread] = fy
        partial[2, thread] = fz
        block_sum(partial, thread)
        if thread == 0:
            for d in range(3):
                result[i, d] = partial[d, 0] + distant[i, d] if distant.shape[0] else partial[d, 0]

    return forces


@cache
def kernels(n_species: int, n_radial: int, max_rank: int, n_hops: int, real: Any) -> tuple[Any, Any]:
    """The two CUDA kernels, a block for each agent.

    Raises
    ------
    ValueError
        If the fields of one agent do not fit into the memory of a block.
    """
    gradients_of = gradients_of_one(n_species, n_radial, max_rank, real)
    force_on = force_on_one(n_radial, max_rank, n_hops, False, real)

    @cuda.jit(fastmath=FAST)
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        gradients_of(
            cuda.blockIdx.x, local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic,
            wall_radius, wall_energy, losses, gradient, closest, kept_fields,
        )  # fmt: skip

    @cuda.jit(fastmath=FAST)
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force, both,
        numbers, pulls, distant, result,
    ):  # fmt: skip
        force_on(
            cuda.blockIdx.x, local, species, shift, count, entries, cutoff, start, per_row, table, gradient,
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
    """The cubic part of agent i, by one block: a thread for each component, then for each field."""
    n_lm = (max_rank + 1) ** 2
    n_ranks, n_components = max_rank + 1, n_lm * n_channels
    n_fields = n_species * n_lm * n_radial
    _, first, form, first_pair, pairs, couplings = cubic.slopes(max_rank)
    weights = couplings.astype(real)

    @_on_device
    def add_cubic(  # type: ignore[no-untyped-def]
        i, species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
    ):
        thread = cuda.threadIdx.x
        p = cuda.shared.array((n_lm, n_channels), real)
        s = cuda.shared.array((n_ranks, n_channels), real)
        slope = cuda.shared.array((n_lm, n_channels), real)
        partial = cuda.shared.array((1, THREADS), real)
        first_ = cuda.const.array_like(first)
        form_ = cuda.const.array_like(form)
        first_pair_ = cuda.const.array_like(first_pair)
        pairs_ = cuda.const.array_like(pairs)
        weights_ = cuda.const.array_like(weights)
        a = species[i]
        for component in range(thread, n_components, THREADS):
            m, c = component // n_channels, component % n_channels
            rank = int(m > 0) + int(m > 3) + int(m > 8)
            seen = -offsets[a, c] if m == 0 else real(0.0)
            for b in range(n_species):
                for k in range(n_radial):
                    seen += channels[a, rank, c, b, k] * fields[i, b, m, k]
            p[m, c] = seen
        cuda.syncthreads()
        for channel in range(thread, (max_rank + 1) * n_channels, THREADS):
            rank, c = channel // n_channels, channel % n_channels
            square = real(0.0)
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                square += p[m, c] * p[m, c]
            s[rank, c] = real(1.0) / real(math.sqrt(real(1.0) + square * tightness[a, rank]))
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                p[m, c] *= s[rank, c]
        cuda.syncthreads()
        if numbers.shape[0]:
            for c in range(thread, n_channels, THREADS):
                numbers[i, c] = p[0, c]
                slopes[i, c] = real(0.0)
        loss = real(0.0)
        for component in range(thread, n_components, THREADS):
            m, c = component // n_channels, component % n_channels
            total = real(0.0)
            for t in range(first_[m], first_[m + 1]):
                for number in range(first_pair_[t], first_pair_[t + 1]):
                    of_pair = real(0.0)
                    for d in range(n_channels):
                        for e in range(n_channels):
                            both = p[pairs_[number, 0], d] * p[pairs_[number, 1], e]
                            of_pair += both * tensors[a, form_[t], d, e, c]
                    total += weights_[number] * of_pair
            slope[m, c] = total
            loss += total * p[m, c]
        partial[0, thread] = loss
        block_sum(partial, thread)
        if thread == 0:
            losses[i] += partial[0, 0] * real(1.0 / 3.0)  # Euler: the part is homogeneous of degree 3 in p
        for channel in range(thread, (max_rank + 1) * n_channels, THREADS):
            rank, c = channel // n_channels, channel % n_channels
            along = real(0.0)
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                along += p[m, c] * slope[m, c]
            along *= tightness[a, rank]
            for m in range(rank * rank, (rank + 1) * (rank + 1)):
                slope[m, c] = (slope[m, c] - along * p[m, c]) * s[rank, c]
        cuda.syncthreads()
        for f in range(thread, n_fields, THREADS):
            b = f // (n_lm * n_radial)
            m = f // n_radial % n_lm
            k = f % n_radial
            rank = int(m > 0) + int(m > 3) + int(m > 8)
            g = gradient[i, b, m, k]
            for c in range(n_channels):
                g += channels[a, rank, c, b, k] * slope[m, c]
            gradient[i, b, m, k] = g

    return add_cubic


@cache
def cubic_kernel(n_species: int, n_radial: int, max_rank: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel of the cubic part, a block for each agent."""
    cubic_of = cubic_of_one(n_species, n_radial, max_rank, n_channels, real)

    @cuda.jit(fastmath=FAST)
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
    """The hops of agent i, by one block.

    Raises
    ------
    ValueError
        If what one agent sees does not fit into the memory of a block.
    """
    n_fields = n_species * n_channels * n_radial
    numbers_kept = THREADS * (n_radial + n_channels) + n_fields
    _check_shared(n_species, n_radial, f"hops of {n_channels} channels", numbers_kept, real)

    @_on_device
    def add_hops(  # type: ignore[no-untyped-def]
        i, local, species, shift, count, entries, cutoff, start, per_row, table, numbers, by_number, by_function,
        losses, slopes, pulls,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        phi = cuda.shared.array((THREADS, n_radial), real)
        kind = cuda.shared.array(THREADS, np.int32)
        other = cuda.shared.array(THREADS, np.int32)
        fields = cuda.shared.array((n_species, n_channels, n_radial), real)
        partial = cuda.shared.array((n_channels, THREADS), real)
        a = species[i]
        for f in range(thread, n_fields, THREADS):
            fields[f // (n_channels * n_radial), f // n_radial % n_channels, f % n_radial] = real(0.0)
        for first in range(0, count[i], THREADS):
            cuda.syncthreads()
            kind[thread] = -1
            if first + thread < count[i]:
                dx, dy, dz, j = separation(local, shift, i, entries[i, first + thread])
                r2 = dx * dx + dy * dy + dz * dz
                if r2 < cutoff * cutoff:
                    b = species[j]
                    kind[thread] = b
                    other[thread] = j
                    t = max((real(math.sqrt(r2)) - start) * per_row, real(0.0))
                    row = int(t)
                    h0, s0, h1, s1 = hermite(t - real(row), real(1.0))
                    for k in range(n_radial):
                        phi[thread, k] = (
                            h0 * table[a, b, row, 0, k]
                            + s0 * table[a, b, row, 1, k]
                            + h1 * table[a, b, row + 1, 0, k]
                            + s1 * table[a, b, row + 1, 1, k]
                        )
            cuda.syncthreads()
            staged = min(THREADS, count[i] - first)
            for f in range(thread, n_fields, THREADS):
                b = f // (n_channels * n_radial)
                d = f // n_radial % n_channels
                k = f % n_radial
                total = fields[b, d, k]
                for p in range(staged):
                    if kind[p] == b:
                        total += numbers[other[p], d] * phi[p, k]
                fields[b, d, k] = total
        cuda.syncthreads()
        for c in range(n_channels):
            slope = real(0.0)
            for f in range(thread, n_fields, THREADS):
                b = f // (n_channels * n_radial)
                d = f // n_radial % n_channels
                k = f % n_radial
                slope += by_number[a, b, d, k, c] * fields[b, d, k]
            partial[c, thread] = slope
        for f in range(thread, n_fields, THREADS):
            b = f // (n_channels * n_radial)
            d = f // n_radial % n_channels
            k = f % n_radial
            pull = real(0.0)
            for c in range(n_channels):
                pull += by_function[a, b, d, c, k] * numbers[i, c]
            pulls[i, b, d, k] = pull
        block_sum(partial, thread)
        if thread == 0:
            loss = real(0.0)
            for c in range(n_channels):
                loss += partial[c, 0] * numbers[i, c]
                slopes[i, c] += partial[c, 0]
            losses[i] += real(0.5) * loss

    return add_hops


@cache
def hop_kernel(n_species: int, n_radial: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel of the hops, a block for each agent; raises as `hops_of_one`."""
    hops_of = hops_of_one(n_species, n_radial, n_channels, real)

    @cuda.jit(fastmath=FAST)
    def add_hops(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, numbers, by_number, by_function, losses,
        slopes, pulls,
    ):  # fmt: skip
        hops_of(
            cuda.blockIdx.x, local, species, shift, count, entries, cutoff, start, per_row, table, numbers, by_number,
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

    @cuda.jit(fastmath=FAST)
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
        partial = cuda.shared.array((4, THREADS), real)
        structure = cuda.shared.array((n_species, 4), real)
        for a in range(n_species):
            for part in range(4):
                partial[part, thread] = real(0.0)
            for q in range(begins[a] + thread, begins[a + 1], THREADS):
                c, s = wave(phases, n, k, q)
                partial[0, thread] += c
                partial[1, thread] += s
                partial[2, thread] += c * charges[q]
                partial[3, thread] += s * charges[q]
            block_sum(partial, thread)
            if thread == 0:
                for part in range(4):
                    structure[a, part] = partial[part, 0]
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
        partial = cuda.shared.array((5, THREADS), real)
        for part in range(5):
            partial[part, thread] = real(0.0)
        a = species[i]
        charge = charges[q]
        for k in range(thread, n.shape[0], THREADS):
            c, s = wave(phases, n, k, q)
            re0, im0 = potentials[a, k, 0], potentials[a, k, 1]
            re1, im1 = potentials[a, k, 2], potentials[a, k, 3]
            turned = c * im0 - s * re0 + (c * im1 - s * re1) * charge
            partial[0, thread] += c * re0 + s * im0
            partial[1, thread] += c * re1 + s * im1
            for d in range(3):
                partial[2 + d, thread] -= turned * real(n[k, d])
        block_sum(partial, thread)
        if thread == 0:
            second = partial[1, 0] - taken[a, 1, 0] - charge * taken[a, 1, 1]
            first = partial[0, 0] - taken[a, 0, 0] - charge * taken[a, 0, 1]
            losses[i] += (first + second * charge) * real(0.5)
            slopes[i, 0] += second
            for d in range(3):
                distant[i, d] = partial[2 + d, 0] * per_length[d]

    return tabulate, sum_up, give


@cache
def wave_kernels(n_species: int, real: Any) -> tuple[Any, Any, Any]:
    """The CUDA kernels of the long-range part: a thread for each slot, a block for each wave vector, for each slot."""
    tabulate_one, sum_up_one, give_one = waves_of_one(n_species, real)

    @cuda.jit(fastmath=FAST)
    def tabulate(local, per_length, numbers, agents, phases, charges):  # type: ignore[no-untyped-def]
        q = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if q < agents.shape[0]:
            tabulate_one(q, local, per_length, numbers, agents, phases, charges)

    @cuda.jit(fastmath=FAST)
    def sum_up(n, begins, phases, charges, coupling, potentials):  # type: ignore[no-untyped-def]
        sum_up_one(cuda.blockIdx.x, n, begins, phases, charges, coupling, potentials)

    @cuda.jit(fastmath=FAST)
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
    """Length of the arrays' axis of radial functions: nothing is filled up here."""
    return n_radial


def neighbors(
    count: np.ndarray,
    entries: np.ndarray,
    species: np.ndarray,  # noqa: ARG001
    n_species: int,  # noqa: ARG001
    real: Any,  # noqa: ARG001
) -> tuple[Any, ...]:
    """The Verlet list as the two passes want it: count and entries, on the device."""
    return put(count), put(entries)


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
