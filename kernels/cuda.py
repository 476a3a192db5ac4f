"""Losses and forces on an NVIDIA GPU: Numba-CUDA, one block of threads per agent.

The same two passes, signatures and layouts as `kernels.cpu`, and the same arithmetic of a pair (`kernels.pair`).

    gradients   the threads of a block take one neighbour each and leave phi_k and Y^l in shared memory; then each
                sums its own components A^l_{bk} over them, and each multiplies its own rows of W
    add_cubic   each thread takes whole components of the channels, then whole fields
    forces      each thread takes whole neighbours, from G to the force; the block adds up

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


@cache
def kernels(n_species: int, n_radial: int, max_rank: int, real: Any) -> tuple[Any, Any]:
    """The two CUDA kernels; `real` is ``np.float32`` or ``np.float64``.

    Raises
    ------
    ValueError
        If the fields of one agent do not fit into the memory of a block.
    """
    n_lm = (max_rank + 1) ** 2
    n_fields = n_species * n_lm * n_radial
    needed = (THREADS * (n_radial + n_lm + 2) + n_fields) * np.dtype(real).itemsize + 4 * THREADS
    if needed > SHARED_BYTES:
        raise ValueError(
            f"A model of {n_species} species, {n_radial} radial functions and ranks up to {max_rank} needs {needed} "
            f"bytes of a GPU's shared memory and {SHARED_BYTES} are there; use the CPU."
        )

    @cuda.jit(fastmath=FAST)
    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, linear, quadratic, wall_radius,
        wall_energy, losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        i = cuda.blockIdx.x
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

    @cuda.jit(fastmath=FAST)
    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, count, entries, cutoff, start, per_row, table, gradient, wall_radius, wall_force, both,
        result,
    ):  # fmt: skip
        i = cuda.blockIdx.x
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
                        g = gradient[i, b, m, k] + sign * gradient[j, a, m, k]
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
            result[i, 0] = partial[0, 0]
            result[i, 1] = partial[1, 0]
            result[i, 2] = partial[2, 0]

    return gradients, forces


@cache
def compiled(n_radial: int, max_rank: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two passes for this many radial functions and ranks, as `kernels.cpu.compiled`, for arrays made by `put`."""

    def gradients(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy,
        losses, gradient, closest, kept_fields,
    ):  # fmt: skip
        kernel, _ = kernels(table.shape[0], n_radial, max_rank, local.dtype.type)
        kernel[local.shape[0], THREADS](
            local, species, shift, *pairs, cutoff, start, per_row, table, linear, quadratic, wall_radius,
            wall_energy, losses, gradient, closest, kept_fields,
        )  # fmt: skip

    def forces(  # type: ignore[no-untyped-def]
        local, species, shift, pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force, reciprocal,
        result,
    ):  # fmt: skip
        real = local.dtype.type
        _, kernel = kernels(table.shape[0], n_radial, max_rank, real)
        kernel[local.shape[0], THREADS](
            local, species, shift, *pairs, cutoff, start, per_row, table, gradient, wall_radius, wall_force,
            real(reciprocal), result,
        )  # fmt: skip

    return gradients, forces


@cache
def cubic_kernel(n_species: int, n_radial: int, max_rank: int, n_channels: int, real: Any) -> Any:
    """The CUDA kernel of the cubic part: a thread for each component, then for each field."""
    n_lm = (max_rank + 1) ** 2
    n_ranks, n_components = max_rank + 1, n_lm * n_channels
    n_fields = n_species * n_lm * n_radial
    _, first, form, first_pair, pairs, couplings = cubic.slopes(max_rank)
    weights = couplings.astype(real)

    @cuda.jit(fastmath=FAST)
    def add_cubic(species, fields, channels, offsets, tightness, tensors, losses, gradient):  # type: ignore[no-untyped-def]
        i = cuda.blockIdx.x
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
def compiled_cubic(n_radial: int, max_rank: int, n_channels: int) -> Callable[..., Any]:
    """The pass of the cubic part, as `kernels.cpu.compiled_cubic`, for arrays made by `put`."""

    def add_cubic(species, fields, seen, channels, offsets, tightness, tensors, losses, gradient):  # type: ignore[no-untyped-def]  # noqa: ARG001 (`channels` in the order of the CPU)
        kernel = cubic_kernel(channels.shape[3], n_radial, max_rank, n_channels, fields.dtype.type)
        kernel[fields.shape[0], THREADS](species, fields, channels, offsets, tightness, tensors, losses, gradient)

    return add_cubic


def lanes(n_radial: int) -> int:
    """Length of the arrays' axis of radial functions: nothing is filled up here."""
    return n_radial


def neighbors(
    count: np.ndarray,
    entries: np.ndarray,
    species: np.ndarray,  # noqa: ARG001
    n_species: int,  # noqa: ARG001
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
