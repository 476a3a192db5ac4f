"""Pair potentials without a cutoff, summed over all periodic images in reciprocal space.

    f_w(r) -> 1/V sum_k F_w(k) exp(i k.r),   F_w(k) = 4 pi / k^2 exp(-k^2 / 4 a_w^2) (1 - k^2/k_c^2)^3,   0 < k < k_c

is the smooth part of Ewald's sum for charges that are smeared to a width 1/a, ended smoothly at k_c. With the structure
factors S_bv(k) = sum_{j in b} x_jv exp(i k.r_j) of the numbers x = (1, leading channel) of the agents of b (see
`kernels.mutual`), the fields of long range and the force of the pairs are

    X^b_wv(i) = 1/V sum_k F_w(k) Re[exp(-i k.r_i) S_bv(k)] - [b is i's own species] f_w(0) x_iv
    F_i       = -sum_k k Im[exp(-i k.r_i) D_i(k)],   D_i = 1/V sum_bwuv F_w T_abwuv x_iu S_bv

f_w(0) = 1/(2 pi)^3 int F_w d^3k, the potential of an agent at its own place, is taken off: no agent has a loss from
itself, only from its images. It belongs to the agent and not to the box, so a box and the same box repeated have the
same losses. What is constant in space (k = 0) is left out.

The work is the number of agents times that of wave vectors, V k_c^3 / (12 pi^2) of a half space: it grows with the
square of the number of agents. Agents stand side by side in the lanes, sorted by species and filled up to whole lanes
("slots"); exp(i k.r) is a product of three tabulated powers. One thread sums a wave vector over all agents and then
an agent over all wave vectors, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mldsim.kernels import pair
from mldsim.kernels.caching import found_again, njit, prange
from mldsim.kernels.lanes import at, put, total, vectors

SIDE = 16
"""Agents side by side; a species begins at a multiple of it."""

NUMBERS = 2
"""Numbers of an agent: 1 and its leading channel."""

Array = NDArray[np.float64]
Integers = NDArray[np.int32]


def transforms(k: Array, widths: Array, reach: float) -> Array:
    """F_w at wave numbers k (n,), for a (n_widths,) and k_c: (n, n_widths) float64, angstrom^2; zero from k_c on."""
    square = np.asarray(k, np.float64)[:, None] ** 2
    inside = np.clip(1.0 - square / reach**2, 0.0, None)
    return np.asarray(4.0 * np.pi / square * np.exp(-square / (4.0 * widths**2)) * inside**3)


def at_own_place(widths: Array, reach: float) -> Array:
    """f_w(0), (n_widths,) float64, 1/angstrom."""
    node, weight = np.polynomial.legendre.leggauss(64)
    k = 0.5 * reach * (node + 1.0)
    return np.asarray((0.5 * reach * weight * k**2) @ transforms(k, widths, reach) / (2.0 * np.pi**2))


class Vectors(NamedTuple):
    """Wave vectors k = 2 pi n / L of one half of the space.

    Attributes
    ----------
    n : (n_vectors, 3) int32
        n_x >= 0; sorted by n_x and n_y.
    first : (n_rows + 1,) int32
        Those of one n_x and n_y are first[row] to first[row + 1].
    k : (n_vectors,) float64, 1/angstrom
        Their lengths.
    """

    n: Integers
    first: Integers
    k: Array


def half_space(box: Array, reach: float) -> Vectors:
    """All wave vectors shorter than `reach` that a box (3,) has, without their opposites and zero."""
    unit = 2.0 * np.pi / box
    most = np.floor(reach / unit).astype(int)
    found = []
    for x in range(most[0] + 1):
        y, z = np.meshgrid(*(np.arange(-m, m + 1) for m in most[1:]), indexing="ij")
        square = (x * unit[0]) ** 2 + (y * unit[1]) ** 2 + (z * unit[2]) ** 2
        half = (x > 0) | (y > 0) | ((y == 0) & (z > 0))
        mine = half & (square < reach**2)
        found.append(np.stack([np.full(mine.sum(), x), y[mine], z[mine]], axis=1))
    n = np.concatenate(found).astype(np.int32)
    starts = np.flatnonzero(np.any(np.diff(n[:, :2], axis=0, prepend=-1), axis=1))
    k = np.sqrt(((n * unit) ** 2).sum(axis=1))
    return Vectors(n, np.append(starts, len(n)).astype(np.int32), k)


def couplings(strengths: Array, own: Array, weights: Array) -> tuple[Array, Array]:
    """What makes potentials of structure factors, and what is taken off for the own place.

    Parameters
    ----------
    strengths : (n_species, n_species, n_widths, 2, 2) float64
        See `kernels.mutual.strengths`.
    own : (n_widths,) float64
        See `at_own_place`.
    weights : (n_vectors, n_widths) float64
        2 F_w / V, for a half space.

    Returns
    -------
    coupling : (n_vectors, n_species, 2, n_species, 2) float64
        D_au(k) = sum_bv coupling S_bv(k).
    taken : (n_species, 2, 2) float64
        Off the potential u of an agent of a: sum_v taken_auv x_v.
    """
    coupling = np.einsum("kw,abwuv->kaubv", weights, strengths)
    taken = np.einsum("w,aawuv->auv", own, strengths)
    return coupling, taken


def slots(species: NDArray[np.int32], n_species: int) -> tuple[Integers, Integers]:
    """Agents by species: the agent in each slot, -1 where there is none, and the first slot of each species."""
    count = np.bincount(species, minlength=n_species)
    first = np.concatenate([[0], np.cumsum(-(-count // SIDE) * SIDE)]).astype(np.int32)
    agents = np.full(first[-1], -1, np.int32)
    for a in range(n_species):
        agents[first[a] : first[a] + count[a]] = np.flatnonzero(species == a)
    return agents, first


_inlined = njit(nogil=True, fastmath=pair.FAST, error_model="numpy")


@cache
def compiled() -> Callable[..., Any]:
    """The long-range pass; it compiles on its first call and is cached.

    Returns
    -------
    add_waves(local, species, per_length, numbers, slots, vectors, coupling, taken, scratch, losses, slopes, distant)
        Adds to ``losses[i]`` and ``slopes[i, 0]``, the slope by the leading channel ``numbers[i, 0]``, and fills
        ``distant[i, 3]``, the force at constant numbers.

    Arrays: local (n, 3), positions relative to any image; per_length (3,), 2 pi / L; slots and vectors as the
    functions of this module make them, the first two of `Vectors`; coupling and taken likewise; scratch as `room`
    makes it.
    """
    zero, load, store, _ = vectors(SIDE)

    @_inlined
    def tabulate(begin, local, per_length, numbers, agents, phases, charges):  # type: ignore[no-untyped-def]
        """Powers of exp(2 pi i x / L) of the agents in one row of lanes; zero where there is none."""
        real = local.dtype.type
        powers, n_slots = phases.shape[1], phases.shape[3]
        base = np.empty(6 * SIDE, local.dtype)
        there = np.empty(SIDE, local.dtype)
        for q in range(SIDE):
            i = agents[begin + q]
            there[q] = real(i >= 0)
            charges[begin + q] = numbers[i, 0] if i >= 0 else real(0.0)
            for d in range(3):
                angle = local[i, d] * per_length[d] if i >= 0 else real(0.0)
                base[2 * d * SIDE + q] = math.cos(angle)
                base[(2 * d + 1) * SIDE + q] = math.sin(angle)
        for d in range(3):
            cosine, sine = load(base, 2 * d * SIDE), load(base, (2 * d + 1) * SIDE)
            c, s = load(there, 0), zero(base)
            for n in range(powers):
                here = (d * powers + n) * 2 * n_slots + begin
                store(phases, here, c)
                store(phases, here + n_slots, s)
                c, s = c * cosine - s * sine, c * sine + s * cosine

    @_inlined
    def sum_up(row, n, first, begins, phases, charges, coupling, potentials):  # type: ignore[no-untyped-def]
        """Structure factors of one row of wave vectors, and the potentials that they make."""
        real = phases.dtype.type
        powers, n_slots = phases.shape[1], phases.shape[3]
        n_species = coupling.shape[1]
        cosine, sine = np.empty(n_slots, phases.dtype), np.empty(n_slots, phases.dtype)
        structure = np.empty(4 * n_species, phases.dtype)
        x = n[first[row], 0] * 2 * n_slots
        y = (powers + abs(n[first[row], 1])) * 2 * n_slots
        sign = real(1.0) if n[first[row], 1] >= 0 else real(-1.0)
        for q in range(0, n_slots, SIDE):
            cx, sx = load(phases, x + q), load(phases, x + n_slots + q)
            cy, sy = load(phases, y + q), load(phases, y + n_slots + q) * sign
            store(cosine, q, cx * cy - sx * sy)
            store(sine, q, cx * sy + sx * cy)
        for k in range(first[row], first[row + 1]):
            z = (2 * powers + abs(n[k, 2])) * 2 * n_slots
            sign = real(1.0) if n[k, 2] >= 0 else real(-1.0)
            for a in range(n_species):
                c0, s0, c1, s1 = zero(phases), zero(phases), zero(phases), zero(phases)
                for q in range(begins[a], begins[a + 1], SIDE):
                    cxy, sxy = load(cosine, q), load(sine, q)
                    cz, sz = load(phases, z + q), load(phases, z + n_slots + q) * sign
                    c, s = cxy * cz - sxy * sz, cxy * sz + sxy * cz
                    charge = load(charges, q)
                    c0 += c
                    s0 += s
                    c1 += c * charge
                    s1 += s * charge
                put(structure, 4 * a, total(c0))
                put(structure, 4 * a + 1, total(s0))
                put(structure, 4 * a + 2, total(c1))
                put(structure, 4 * a + 3, total(s1))
            for a in range(n_species):
                for u in range(NUMBERS):
                    re, im = real(0.0), real(0.0)
                    for b in range(n_species):
                        for v in range(NUMBERS):
                            weight = coupling[k, a, u, b, v]
                            re += weight * structure[4 * b + 2 * v]
                            im += weight * structure[4 * b + 2 * v + 1]
                    potentials[a, k, 2 * u] = re
                    potentials[a, k, 2 * u + 1] = im

    @_inlined
    def give(  # type: ignore[no-untyped-def]
        begin, a, per_length, n, first, agents, phases, charges, taken, potentials, losses, slopes, distant
    ):
        """Losses, slopes and forces of the agents in one row of lanes, all of species a."""
        real = phases.dtype.type
        powers, n_slots, n_vectors = phases.shape[1], phases.shape[3], n.shape[0]
        charge = load(charges, begin)
        first_potential, second_potential = zero(phases), zero(phases)
        fx, fy, fz = zero(phases), zero(phases), zero(phases)
        for row in range(first.shape[0] - 1):
            x = n[first[row], 0] * 2 * n_slots + begin
            y = (powers + abs(n[first[row], 1])) * 2 * n_slots + begin
            sign = real(1.0) if n[first[row], 1] >= 0 else real(-1.0)
            cx, sx = load(phases, x), load(phases, x + n_slots)
            cy, sy = load(phases, y), load(phases, y + n_slots) * sign
            cxy, sxy = cx * cy - sx * sy, cx * sy + sx * cy
            across = zero(phases)
            for k in range(first[row], first[row + 1]):
                z = (2 * powers + abs(n[k, 2])) * 2 * n_slots + begin
                sign = real(1.0) if n[k, 2] >= 0 else real(-1.0)
                cz, sz = load(phases, z), load(phases, z + n_slots) * sign
                c, s = cxy * cz - sxy * sz, cxy * sz + sxy * cz
                here = (a * n_vectors + k) * 4
                re0, im0 = at(potentials, here), at(potentials, here + 1)
                re1, im1 = at(potentials, here + 2), at(potentials, here + 3)
                first_potential += c * re0 + s * im0
                second_potential += c * re1 + s * im1
                turned = c * im0 - s * re0 + (c * im1 - s * re1) * charge
                across += turned
                fz -= turned * real(n[k, 2])
            fx -= across * real(n[first[row], 0])
            fy -= across * real(n[first[row], 1])
        own0 = charge * real(taken[a, 0, 1]) + real(taken[a, 0, 0])
        own1 = charge * real(taken[a, 1, 1]) + real(taken[a, 1, 0])
        second_potential -= own1
        result = np.empty(5 * SIDE, phases.dtype)
        store(result, 0, (first_potential - own0 + second_potential * charge) * real(0.5))
        store(result, SIDE, second_potential)
        store(result, 2 * SIDE, fx * per_length[0])
        store(result, 3 * SIDE, fy * per_length[1])
        store(result, 4 * SIDE, fz * per_length[2])
        for q in range(SIDE):
            i = agents[begin + q]
            if i >= 0:
                losses[i] += result[q]
                slopes[i, 0] += result[SIDE + q]
                for d in range(3):
                    distant[i, d] = result[(2 + d) * SIDE + q]

    @njit(nogil=True, cache=True, parallel=True, error_model="numpy")
    def add_waves(  # type: ignore[no-untyped-def]
        local, species, per_length, numbers, slots, vectors, coupling, taken, scratch, losses, slopes, distant
    ):
        agents, begins = slots
        n, first = vectors
        phases, charges, potentials = scratch
        groups = agents.shape[0] // SIDE
        for group in prange(groups):
            tabulate(group * SIDE, local, per_length, numbers, agents, phases, charges)
        for row in prange(first.shape[0] - 1):
            sum_up(row, n, first, begins, phases, charges, coupling, potentials)
        for group in prange(groups):
            begin = group * SIDE
            give(
                begin, species[agents[begin]], per_length, n, first, agents, phases, charges, taken, potentials,
                losses, slopes, distant,
            )  # fmt: skip

    return found_again(add_waves)


def room(found: Vectors, n_slots: int, n_species: int, real: Any) -> tuple[NDArray[Any], ...]:
    """Scratch of `add_waves`: phases, charges and potentials."""
    powers = int(np.abs(found.n).max(initial=0)) + 1
    phases = np.empty((3, powers, 2, n_slots), real)
    return phases, np.empty(n_slots, real), np.empty((n_species, len(found.n), 4), real)
