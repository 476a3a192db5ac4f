"""The cubic part of a loss: invariants of three fields, each seen through a few channels.

    v^l_c = sum_n P^l_cn A^l_n - o_c                                  channels; the offset o is of rank 0 only
    p^l_c = v^l_c / sqrt(1 + v^l_c . v^l_c t_l)                       saturated; t_l = 1 / ((2 l + 1) c^2)
    I^{l1 l2 l3}_cab = sum_{m1 m2 m3} G_{m1 m2 m3} p^{l1}_{c m1} p^{l2}_{a m2} p^{l3}_{b m3}
    L^(3) = sum theta_cab I_cab

over the triples of ranks whose product holds an invariant that a mirror does not change: l1 <= l2 <= l3 <= l1 + l2 and
an even sum. G are Gaunt's integrals of three spherical harmonics, scaled so that the invariant of three equal unit
vectors is 1. Triples (0, l, l) are then p0 p.p; (1, 1, 2) is 3/2 v.T.w and (2, 2, 2) 9/2 tr(TTT) in Cartesian tensors,
as `kernels.reference` writes them. These are the invariants of third order of ACE (Drautz, Phys. Rev. B 99, 014104
(2019)) in a reduced basis.

Without the saturation a cubic loss is bounded below in no direction, and an agent that is pushed far enough falls down
it. With it each |p|^2 stays below 1 / t_l, so that the whole part is bounded; c is the saturation in standard
deviations of the channels, whose components `mldsim.channels` scales to a variance of one. Derivatives need no more
than p and s = 1 / sqrt(1 + v . v t): dp = s (dv - t p (p . dv)), and so for gradients: dL/dv = s (g - t p (p . g)).

A channel and its m stand in one row of numbers, ``lm * n_channels + c``, called a component below.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mldsim.kernels import pair

WIDE = 8
"""Length of the kernels' axes of channels, filled up with zeros, and the most channels there can be."""

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def tightness(saturation: Array, max_rank: int) -> Array:
    """t_l of every species: (n_species, max_rank + 1) for saturations c (n_species,)."""
    return np.asarray(1.0 / ((2.0 * np.arange(max_rank + 1) + 1.0) * np.asarray(saturation)[:, None] ** 2))


def triples(max_rank: int) -> list[tuple[int, int, int]]:
    """Ranks (l1, l2, l3) whose product holds an invariant."""
    every = itertools.combinations_with_replacement(range(max_rank + 1), 3)
    return [(i, j, k) for i, j, k in every if k <= i + j and (i + j + k) % 2 == 0]


@cache
def gaunt(ranks: tuple[int, int, int]) -> Array:
    """Couplings G of three ranks, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1): integrals of three harmonics, 1 for equal directions.

    The quadrature, Gauss's in cos(theta) and even in phi, is exact for the degree of nine that three ranks of 3 have.
    """
    cosine, weight = np.polynomial.legendre.leggauss(8)
    angle = np.arange(16) * (np.pi / 8)
    sine = np.sqrt(1.0 - cosine**2)
    values = np.empty((len(cosine), len(angle), 16))
    harmonics = pair.functions(lambda function: function).harmonics
    for i, j in np.ndindex(values.shape[:2]):
        harmonics(sine[i] * np.cos(angle[j]), sine[i] * np.sin(angle[j]), cosine[i], 3, values[i, j])
    pole = np.empty(16)
    harmonics(0.0, 0.0, 1.0, 3, pole)
    of = [slice(rank * rank, (rank + 1) * (rank + 1)) for rank in ranks]
    coupling = np.einsum("i,ija,ijb,ijc->abc", weight, *(values[..., part] for part in of))
    coupling /= np.einsum("abc,a,b,c->", coupling, *(pole[part] for part in of))
    coupling[np.abs(coupling) < 1e-12] = 0.0
    return np.asarray(coupling)


@cache
def couplings(max_rank: int) -> tuple[Integers, Array]:
    """All that couple: (n, 4) the number of the triple and three lm, sorted by triple and first lm; (n,) their G."""
    found = [
        (number, i * i + m1, j * j + m2, k * k + m3, gaunt((i, j, k))[m1, m2, m3])
        for number, (i, j, k) in enumerate(triples(max_rank))
        for m1, m2, m3 in zip(*np.nonzero(gaunt((i, j, k))), strict=True)
    ]
    return np.array([entry[:4] for entry in found], np.int64), np.array([entry[4] for entry in found])


@cache
def features(n_channels: int, max_rank: int) -> Integers:
    """The columns of a cubic part: triple and channels (c, a, b) of every invariant, (n_features, 4) int64."""
    found = []
    for number, (i, j, k) in enumerate(triples(max_rank)):
        for c, a, b in itertools.product(range(n_channels), repeat=3):
            if (i != j or c <= a) and (j != k or a <= b):
                found.append((number, c, a, b))
    return np.array(found, np.int64).reshape(-1, 4)


def tensors(coefficients: Array, n_channels: int, max_rank: int) -> Array:
    """Coefficients (..., n_features) of the invariants as tensors T_cab (..., n_triples, n_channels, n_channels,
    n_channels), spread evenly over the orders of channels that give the same invariant: L^(3) = sum_cab T_cab I_cab.
    """
    ranks = triples(max_rank)
    shape = (*coefficients.shape[:-1], len(ranks), n_channels, n_channels, n_channels)
    result = np.zeros(shape)
    for column, (number, *channels) in enumerate(features(n_channels, max_rank)):
        same = {
            tuple(channels[p] for p in order)
            for order in itertools.permutations(range(3))
            if tuple(ranks[number][p] for p in order) == ranks[number]
        }
        for c, a, b in same:
            result[..., number, c, a, b] = coefficients[..., column] / len(same)
    return result


class Monomials(NamedTuple):
    """Every invariant as a sum of products of three components, and which of its components it depends on.

    Attributes
    ----------
    first : (n_features + 1,) int64
        Feature f is the sum of the monomials first[f] to first[f + 1].
    factors : (n, 3) int64
        Their components.
    weights : (n,) float64
    slots : (n, 3) int64
        The slot of each factor: a pair of a feature and one of its components.
    first_slot : (n_features + 1,) int64
        Feature f depends on the slots first_slot[f] to first_slot[f + 1].
    components : (n_slots,) int64
        The component of each slot.
    """

    first: Integers
    factors: Integers
    weights: Array
    slots: Integers
    first_slot: Integers
    components: Integers


@cache
def monomials(n_channels: int, max_rank: int) -> Monomials:
    """The invariants of `features` in terms of components."""
    entries, values = couplings(max_rank)
    first, factors, weights, slots, first_slot, components = [0], [], [], [], [0], []
    for number, *channels in features(n_channels, max_rank):
        here = [
            ([int(lm) * n_channels + int(c) for lm, c in zip(lms, channels, strict=True)], value)
            for (triple, *lms), value in zip(entries, values, strict=True)
            if triple == number
        ]
        present = sorted({component for factor, _ in here for component in factor})
        place = {component: first_slot[-1] + n for n, component in enumerate(present)}
        for factor, value in here:
            factors.append(factor)
            weights.append(value)
            slots.append([place[component] for component in factor])
        components.extend(present)
        first.append(len(weights))
        first_slot.append(len(components))
    lists = (np.array(found, np.int64) for found in (first, factors, slots, first_slot, components))
    first_, factors_, slots_, first_slot_, components_ = lists
    return Monomials(first_, factors_, np.array(weights), slots_, first_slot_, components_)


class Slopes(NamedTuple):
    """How the invariants change with each component: d L^(3) / d p_lm,c = sum_ab D_abc sum G p_a p_b.

    The sums go over the forms D that end in the rank of lm: one for every triple and every rank of it.

    Attributes
    ----------
    forms : tuple of (triple, order, factor)
        D is the tensor of this triple, its axes in this order, times this factor: axes of equal rank count together.
    first : (n_lm + 1,) int64
        The component lm is the sum over first[lm] to first[lm + 1] of the next two.
    form : (n,) int64
    first_pair : (n + 1,) int64
        Each of them sums over the pairs first_pair[t] to first_pair[t + 1].
    pairs : (n_pairs, 2) int64
        lm of p_a and of p_b.
    weights : (n_pairs,) float64
        G.
    """

    forms: tuple[tuple[int, tuple[int, int, int], float], ...]
    first: Integers
    form: Integers
    first_pair: Integers
    pairs: Integers
    weights: Array


@cache
def slopes(max_rank: int) -> Slopes:
    """The derivatives of `features` by their components."""
    entries, values = couplings(max_rank)
    forms, ends = [], []
    for number, ranks in enumerate(triples(max_rank)):
        for rank in sorted(set(ranks)):
            slot = ranks.index(rank)
            others = [place for place in range(3) if place != slot]
            forms.append((number, (others[0], others[1], slot), float(ranks.count(rank))))
            ends.append(rank)
    first, form, first_pair, pairs, weights = [0], [], [0], [], []
    for lm in range((max_rank + 1) ** 2):
        for here, (number, order, _) in enumerate(forms):
            if ends[here] * ends[here] <= lm < (ends[here] + 1) ** 2:
                for (triple, *lms), value in zip(entries, values, strict=True):
                    if triple == number and lms[order[2]] == lm:
                        pairs.append((lms[order[0]], lms[order[1]]))
                        weights.append(value)
                form.append(here)
                first_pair.append(len(weights))
        first.append(len(form))
    return Slopes(
        tuple(forms), np.array(first, np.int64), np.array(form, np.int64), np.array(first_pair, np.int64),
        np.array(pairs, np.int64), np.array(weights),
    )  # fmt: skip


def slope_tensors(coefficients: Array, n_channels: int, max_rank: int) -> Array:
    """D of every form, (..., n_forms, n_channels, n_channels, n_channels), from coefficients (..., n_features)."""
    found = tensors(coefficients, n_channels, max_rank)
    lead = tuple(range(coefficients.ndim - 1))
    return np.stack(
        [
            factor * found[..., number, :, :, :].transpose(*lead, *(len(lead) + place for place in order))
            for number, order, factor in slopes(max_rank).forms
        ],
        axis=len(lead),
    )
