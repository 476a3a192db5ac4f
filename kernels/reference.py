"""The oracle: losses and forces in plain NumPy float64, slow and obvious.

Every other kernel must agree with this one. It is written differently on purpose: it needs no spherical harmonics,
because by the addition theorem the inner products of the fields are sums over pairs of neighbours,

    A^l_m . A^l_n = sum_{j, k} phi_m(r_ij) phi_n(r_ik) P_l(u_ij . u_ik),

with Legendre polynomials P_l. It needs no neighbour list either: it looks at every agent in every image.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from mldsim.kernels.radial import chebpow

Array = NDArray[np.float64]
Integers = NDArray[np.int32]


def legendre(rank: int, c: Array) -> tuple[Array, Array]:
    """P_l(c) and its derivative for l = `rank` in 0 .. 3."""
    one = np.ones_like(c)
    return [
        (one, 0.0 * c),
        (c, one),
        (1.5 * c**2 - 0.5, 3.0 * c),
        (2.5 * c**3 - 1.5 * c, 7.5 * c**2 - 1.5),
    ][rank]


def neighbors_of(i: int, positions: Array, box: Array, cutoff: float) -> tuple[Integers, Array]:
    """All agents, in all periodic images, within the cutoff of agent i.

    Returns
    -------
    index : (n,) int32
    separation : (n, 3) float64, angstrom
        q_i - q_j of that image.
    """
    reach = np.ceil(cutoff / box).astype(int) + 1
    wrapped = positions - box * np.floor(positions / box)
    images = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    separation = wrapped[i] - (wrapped[:, None, :] + images[None, :, :] * box)
    distance = np.linalg.norm(separation, axis=-1)
    j, image = np.nonzero((distance < cutoff) & (distance > 0.0))
    return j.astype(np.int32), separation[j, image]


def descend(
    positions: Array,
    species: Integers,
    box: Array,
    cutoff: float,
    exponent: float,
    radial: Array,
    linear: Array,
    quadratic: Array,
    wall_radius: Array,
    wall_stiffness: float,
    reciprocal: bool,
) -> tuple[Array, Array]:
    """Losses and forces of all agents.

    Parameters
    ----------
    positions : (n_agents, 3), angstrom
    species : (n_agents,)
    box : (3,), angstrom
    cutoff, exponent : float
        Of the radial functions, see `kernels.radial`.
    radial : (n_species, n_species, n_radial, size)
        phi_k of each pair of species as combinations of the g_n.
    linear : (n_species, n_species * n_radial), eV
        w: the loss is w . s + 1/2 sum_l A^l : W^l : A^l + wall.
    quadratic : (n_species, max_rank + 1, n_species * n_radial, n_species * n_radial), eV
        W, symmetric in its last two axes.
    wall_radius : (n_species, n_species), angstrom
    wall_stiffness : float, eV/angstrom^2
        The wall is stiffness * (radius - r)^2 for each pair closer than its radius.
    reciprocal : bool
        True: each agent descends the sum of all losses (a pair's wall is shared half and half).
        False: each descends its own.

    Returns
    -------
    losses : (n_agents,), eV
    forces : (n_agents, 3), eV/angstrom
    """
    n_agents, n_species, n_radial = len(positions), radial.shape[0], radial.shape[2]
    share = 0.5 if reciprocal else 1.0
    losses, forces = np.zeros(n_agents), np.zeros((n_agents, 3))
    for i in range(n_agents):
        a = species[i]
        j, separation = neighbors_of(i, positions, box, cutoff)
        r = np.linalg.norm(separation, axis=1)
        u = separation / r[:, None]
        b = species[j]
        g, dg = chebpow(r, cutoff, exponent, radial.shape[3])
        phi, dphi = np.zeros((2, len(j), n_species, n_radial))
        here = np.arange(len(j))
        phi[here, b] = np.einsum("jkn,jn->jk", radial[a, b], g)
        dphi[here, b] = np.einsum("jkn,jn->jk", radial[a, b], dg)
        phi, dphi = phi.reshape(len(j), -1), dphi.reshape(len(j), -1)

        losses[i] = (phi @ linear[a]).sum()
        gradient = (dphi @ linear[a])[:, None] * u
        cosine = u @ u.T
        for rank, weights in enumerate(quadratic[a]):
            p, dp = legendre(rank, cosine)
            losses[i] += 0.5 * (phi @ weights @ phi.T * p).sum()
            along = (dphi @ weights @ phi.T * p).sum(axis=1)
            across = phi @ weights @ phi.T * dp
            gradient += along[:, None] * u
            gradient += (across @ u - (across * cosine).sum(axis=1)[:, None] * u) / r[:, None]

        overlap = np.clip(wall_radius[a, b] - r, 0.0, None)
        losses[i] += share * wall_stiffness * (overlap**2).sum()
        gradient -= share * 2.0 * wall_stiffness * overlap[:, None] * u

        forces[i] -= gradient.sum(axis=0)
        if reciprocal:
            np.add.at(forces, j, gradient)
    return losses, forces
