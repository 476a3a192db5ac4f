"""The parts of a loss that are not local: pair potentials whose strength depends on the surroundings of both agents.

    L_i = 1/2 sum_b sum_f sum_cd T_abfcd x_ic X^b_fd(i),    X^b_fd(i) = sum_{j in b} f(r_ij) x_jd

with functions f of the distance, numbers x_c that each agent has by its surroundings, and strengths T_abfcd = T_bafdc.
They are of two kinds.

    hops    f are the radial functions, x the saturated channels of rank 0 (`kernels.cubic`). An agent's loss depends on
            invariants of its neighbours' invariants: what is two cutoffs away matters.
    waves   f are long-ranged and summed over all images in reciprocal space (`kernels.waves`); x are 1 and the leading
            channel: charges that follow the surroundings.

A pair's loss is shared half and half, so that these parts are for agents that descend the sum of all losses. One pass
gives X; the slopes by the numbers, sum T X, are brought back to the fields through the channels (`give_back` of
`kernels.cpu`), and what is left is a force along each pair, with the numbers as they are.

The coefficients of species a are those of its own numbers c with the numbers d >= c of species b: each product of two
agents' numbers then is a column once, but for c = d and a != b, where it is one of both species.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def columns(n_species: int, n_functions: int, n_numbers: int) -> Integers:
    """The columns of one species: b, f, c and d of every coefficient, (n_columns, 4) int64."""
    pairs = list(itertools.combinations_with_replacement(range(n_numbers), 2))
    found = [(b, f, c, d) for b in range(n_species) for f in range(n_functions) for c, d in pairs]
    return np.array(found, np.int64).reshape(-1, 4)


def strengths(coefficients: Array, n_functions: int, n_numbers: int) -> Array:
    """T of coefficients (n_species, n_columns): (n_species, n_species, n_functions, n_numbers, n_numbers)."""
    n = len(coefficients)
    b, f, c, d = columns(n, n_functions, n_numbers).T
    found = np.zeros((n, n, n_functions, n_numbers, n_numbers))
    found[:, b, f, c, d] = coefficients
    return found + found.transpose(1, 0, 2, 4, 3)


@cache
def touched(n_species: int, n_functions: int, n_numbers: int) -> tuple[Integers, Integers]:
    """The columns, of all species one after the other, that a number of an agent is in, and what it is multiplied by.

    Returns
    -------
    column : (n_species, n_numbers, n) int64
    partner : (n_species, n_numbers, n, 3) int64
        (b, f, d): the slope of the column's invariant by number c of an agent of a is X^b_fd. An invariant of the
        products of a number with itself is there twice.
    """
    of_species = columns(n_species, n_functions, n_numbers)
    found: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for a in range(n_species):
        for number, (b, f, c, d) in enumerate(of_species.tolist()):
            here = a * len(of_species) + number
            found.setdefault((a, c), []).append((here, b, f, d))
            found.setdefault((b, d), []).append((here, a, f, c))
    listed = np.array([[found[a, c] for c in range(n_numbers)] for a in range(n_species)], np.int64)
    return np.ascontiguousarray(listed[..., 0]), np.ascontiguousarray(listed[..., 1:])
