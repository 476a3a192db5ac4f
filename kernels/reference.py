"""The oracle: losses and forces in plain NumPy float64, slow and obvious.

Every other kernel must agree with this one. It is written differently on purpose: it needs no spherical harmonics,
because by the addition theorem the inner products of the fields are sums over pairs of neighbours,

    A^l_m . A^l_n = sum_{j, k} phi_m(r_ij) phi_n(r_ik) P_l(u_ij . u_ik),

with Legendre polynomials P_l; the cubic part, which couples three fields, is written in Cartesian tensors. It needs no
neighbour list either: it looks at every agent in every image. Long-range sums go over all wave vectors, one agent
after the other.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

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


def tensors(rank: int, u: Array) -> Array:
    """Symmetric traceless tensors of unit vectors (..., 3): 1, u, uu - 1/3, uuu - (3 symmetric terms 1u)/5."""
    one = np.eye(3)
    uu = np.einsum("...i,...j->...ij", u, u)
    if rank == 0:
        return np.ones(u.shape[:-1])
    if rank == 1:
        return u
    if rank == 2:
        return np.asarray(uu - one / 3.0)
    traces = sum(np.einsum(f"ij,...k->...{order}", one, u) for order in ("ijk", "ikj", "kij"))
    return np.asarray(np.einsum("...i,...jk->...ijk", u, uu) - traces / 5.0)


def tensor_slopes(rank: int, u: Array, r: Array) -> Array:
    """Derivatives of the tensors of u = q / r by q_d: (n, 3, 3, ...) for u (n, 3) and r (n,)."""
    du = (np.eye(3) - np.einsum("ni,nj->nij", u, u)) / r[:, None, None]
    if rank == 0:
        return np.zeros((len(u), 3))
    if rank == 1:
        return np.asarray(du)
    if rank == 2:
        return np.asarray(np.einsum("ndi,nj->ndij", du, u) + np.einsum("ndj,ni->ndij", du, u))
    products = sum(
        np.einsum(f"nd{x},n{y},n{z}->ndijk", du, u, u)
        for x, y, z in (("i", "j", "k"), ("j", "i", "k"), ("k", "i", "j"))
    )
    traces = sum(np.einsum(f"ij,ndk->nd{order}", np.eye(3), du) for order in ("ijk", "ikj", "kij"))
    return np.asarray(products - traces / 5.0)


CONTRACTIONS = {
    (0, 0, 0): ("", "", ""),
    (0, 1, 1): ("", "i", "i"),
    (0, 2, 2): ("", "ij", "ij"),
    (0, 3, 3): ("", "ijk", "ijk"),
    (1, 1, 2): ("i", "j", "ij"),
    (1, 2, 3): ("i", "jk", "ijk"),
    (2, 2, 2): ("ij", "jk", "ki"),
    (2, 3, 3): ("ij", "ikl", "jkl"),
}
"""Indices of the three tensors of each invariant."""


def cubic_part(
    u: Array,
    r: Array,
    psi: Array,
    dpsi: Array,
    offset: Array,
    saturation: float,
    features: NDArray[np.int64],
    coefficients: Array,
) -> tuple[float, Array]:
    """Cubic part of the loss of one agent, and how it changes with its position by way of each of its neighbours.

    Parameters
    ----------
    u, r : (n, 3), (n,)
        Directions and distances of the neighbours.
    psi, dpsi : (max_rank + 1, n_channels, n)
        Radial functions of the channels of each rank, and derivatives.
    offset : (n_channels,)
        Of rank 0.
    saturation : float
        c: the length of a channel of rank l saturates at c sqrt(2 l + 1).
    features : (n_features, 4)
        See `kernels.cubic.features`.
    coefficients : (n_features,), eV

    Returns
    -------
    loss : float, eV
    gradient : (n, 3), eV/angstrom
    """
    channels, slopes = [], []
    for rank in range(len(psi)):
        shape, change = tensors(rank, u), tensor_slopes(rank, u, r)
        channels.append(np.einsum("cn,n...->c...", psi[rank], shape))
        along = np.einsum("cn,nd,n...->cnd...", dpsi[rank], u, shape)
        slopes.append(along + np.einsum("cn,nd...->cnd...", psi[rank], change))
    channels[0] = channels[0] - offset
    pole = np.array([0.0, 0.0, 1.0])
    for rank, (v, slope) in enumerate(zip(channels, slopes, strict=True)):
        # In Cartesian tensors, whose squares are those of Racah's harmonics times that of a unit vector.
        unit = (tensors(rank, pole) ** 2).sum() * (2 * rank + 1) * saturation**2
        inner = tuple(range(1, v.ndim))
        root = np.sqrt(1.0 + (v**2).sum(axis=inner) / unit)
        width = 3**rank
        changed = np.einsum("cx,cndx->cnd", v.reshape(len(v), width), slope.reshape(*slope.shape[:3], width))
        channels[rank] = np.einsum("c,c...->c...", 1.0 / root, v)
        slopes[rank] = np.einsum("c,cnd...->cnd...", 1.0 / root, slope)
        slopes[rank] -= np.einsum("c,cnd,c...->cnd...", 1.0 / (unit * root**3), changed, v)
    loss, gradient = 0.0, np.zeros_like(u)
    ranks = [found for found in CONTRACTIONS if max(found) < len(psi)]
    for number, triple in enumerate(sorted(ranks)):
        mine = features[:, 0] == number
        x, y, z = CONTRACTIONS[triple]
        unit = np.einsum(f"{x},{y},{z}->", *(tensors(rank, pole) for rank in triple))
        theta = coefficients[mine] / unit
        fields = [channels[rank][features[mine, place]] for place, rank in enumerate(triple, start=1)]
        changes = [slopes[rank][features[mine, place]] for place, rank in enumerate(triple, start=1)]
        loss += np.einsum(f"f,f{x},f{y},f{z}->", theta, *fields)
        gradient += np.einsum(f"f,fnd{x},f{y},f{z}->nd", theta, changes[0], fields[1], fields[2], optimize=True)
        gradient += np.einsum(f"f,f{x},fnd{y},f{z}->nd", theta, fields[0], changes[1], fields[2], optimize=True)
        gradient += np.einsum(f"f,f{x},f{y},fnd{z}->nd", theta, fields[0], fields[1], changes[2], optimize=True)
    return loss, gradient


class NotLocal(NamedTuple):
    """Hops and waves, see `kernels.mutual` and `kernels.waves`.

    Attributes
    ----------
    hops : (n_species, n_species, n_radial, n_channels, n_channels), eV, optional
        Strengths T.
    waves : (n_species, n_species, n_widths, 2, 2), eV angstrom, optional
    widths : (n_widths,), 1/angstrom
    reach : float, 1/angstrom
        The longest wave vector.
    """

    hops: Array | None = None
    waves: Array | None = None
    widths: Array = np.empty(0)
    reach: float = 0.0


def not_local_part(
    neighbors: list[tuple[Integers, Array, Array, Array, Array]],
    positions: Array,
    species: Integers,
    box: Array,
    cubic: tuple[Array, Array, Array, NDArray[np.int64], Array],
    part: NotLocal,
) -> tuple[Array, Array]:
    """Losses and forces of the common loss that hops and waves make.

    Parameters
    ----------
    neighbors : list of (j, u, r, phi, dphi)
        Of each agent: indices, directions, distances, and radial functions (n, n_species * n_radial), zero but for the
        species of the neighbour, with derivatives.
    positions, species, box, cubic
        As in `descend`.
    part : NotLocal
    """
    n_agents, n_species = len(positions), len(cubic[0])
    losses, forces = np.zeros(n_agents), np.zeros((n_agents, 3))
    numbers, slopes = [], []
    for i, (_, u, _, phi, dphi) in enumerate(neighbors):
        a = species[i]
        v = cubic[0][a, 0] @ phi.sum(axis=0) - cubic[1][a]
        root = np.sqrt(1.0 + (v / cubic[2][a]) ** 2)
        numbers.append(v / root)
        slopes.append(np.einsum("jc,c,jd->jcd", dphi @ cubic[0][a, 0].T, root**-3.0, u))  # dp/dv = root^-3
    by_number = np.zeros((n_agents, len(numbers[0])))
    if part.hops is not None:
        for i, (j, u, _, phi, dphi) in enumerate(neighbors):
            shape = (len(j), n_species, phi.shape[1] // n_species)
            near = phi.reshape(shape)[np.arange(len(j)), species[j]]
            change = dphi.reshape(shape)[np.arange(len(j)), species[j]]
            for other, f, df, direction in zip(j, near, change, u, strict=True):
                strength = part.hops[species[i], species[other]]
                losses[i] += 0.5 * numbers[i] @ np.tensordot(f, strength, 1) @ numbers[other]
                along = 0.5 * numbers[i] @ np.tensordot(df, strength, 1) @ numbers[other]
                forces[i] -= along * direction
                forces[other] += along * direction
                by_number[i] += 0.5 * np.tensordot(f, strength, 1) @ numbers[other]
                by_number[other] += 0.5 * numbers[i] @ np.tensordot(f, strength, 1)
    if part.waves is not None:
        charges = np.stack([np.ones(n_agents), np.array(numbers)[:, 0]], axis=1)
        most = np.ceil(part.reach * box / (2.0 * np.pi)).astype(int)
        k = np.array(list(itertools.product(*(range(-m, m + 1) for m in most)))) * 2.0 * np.pi / box
        length = np.linalg.norm(k, axis=1)
        k, length = k[(length > 0) & (length < part.reach)], length[(length > 0) & (length < part.reach)]

        def transform(q: Array) -> Array:
            shape = np.exp(-(q[:, None] ** 2) / (4.0 * part.widths**2)) * (1.0 - (q[:, None] / part.reach) ** 2) ** 3
            return np.asarray(4.0 * np.pi * shape / q[:, None] ** 2)

        fine = (np.arange(20_000) + 0.5) * part.reach / 20_000
        own = (transform(fine) * fine[:, None] ** 2).sum(axis=0) * part.reach / 20_000 / (2.0 * np.pi**2)
        weight = transform(length) / np.prod(box)
        phase = np.exp(1j * positions @ k.T)
        for i, other in itertools.product(range(n_agents), repeat=2):
            strength = np.einsum("wuv,u,v->w", part.waves[species[i], species[other]], charges[i], charges[other])
            wave = phase[i].conj() * phase[other]
            between = wave.real @ weight - (own if i == other else 0.0)
            losses[i] += 0.5 * between @ strength
            if i != other:  # both orders of a pair are met
                forces[i] -= np.einsum("k,kd,kw,w->d", (-1j * wave).real, k, weight, strength)
            by_strength = np.einsum("w,wuv,v->u", between, part.waves[species[i], species[other]], charges[other])
            by_number[i, 0] += by_strength[1]
    for i, (j, _, _, _, _) in enumerate(neighbors):
        change = np.einsum("c,jcd->jd", by_number[i], slopes[i])
        forces[i] -= change.sum(axis=0)
        np.add.at(forces, j, change)
    return losses, forces


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
    cubic: tuple[Array, Array, Array, NDArray[np.int64], Array] | None = None,
    not_local: NotLocal | None = None,
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
    cubic : (channels, offsets, saturation, features, coefficients), optional
        Arrays of `mldsim.loss.Cubic`, and `kernels.cubic.features`.
    not_local : NotLocal, optional
        With a cubic part and for the sum of all losses only.

    Returns
    -------
    losses : (n_agents,), eV
    forces : (n_agents, 3), eV/angstrom
    """
    n_agents, n_species, n_radial = len(positions), radial.shape[0], radial.shape[2]
    share = 0.5 if reciprocal else 1.0
    losses, forces = np.zeros(n_agents), np.zeros((n_agents, 3))
    neighbors = []
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
        phi, dphi = (part.reshape(len(j), n_species * n_radial) for part in (phi, dphi))
        neighbors.append((j, u, r, phi, dphi))

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

        if cubic is not None:
            channels, offsets, saturation, features, coefficients = cubic
            psi, dpsi = channels[a] @ phi.T, channels[a] @ dphi.T
            loss, slope = cubic_part(u, r, psi, dpsi, offsets[a], saturation[a], features, coefficients[a])
            losses[i] += loss
            gradient += slope

        overlap = np.clip(wall_radius[a, b] - r, 0.0, None)
        losses[i] += share * wall_stiffness * (overlap**2).sum()
        gradient -= share * 2.0 * wall_stiffness * overlap[:, None] * u

        forces[i] -= gradient.sum(axis=0)
        if reciprocal:
            np.add.at(forces, j, gradient)
    if cubic is not None and not_local is not None:
        more, push = not_local_part(neighbors, positions, species, box, cubic, not_local)
        losses, forces = losses + more, forces + push
    return losses, forces
