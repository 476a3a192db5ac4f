"""What the loss of one agent is made of: its terms, its neighbours' shares, its invariants. For one agent at a time, in
plain NumPy, so that a view may ask for it beside a running simulation.

The linear and the quadratic part are sums over neighbours and over pairs of neighbours,

    w . s = sum_j w . phi_j,     1/2 A^l : W^l : A^l = 1/2 sum_jk phi_j W^l phi_k P_l(cos theta_jk),

so that a neighbour's share is its own row of these sums: a pair belongs half to each. The cubic part is no such sum
once its channels saturate; what a neighbour adds to it is counted while all neighbours are faded in together,

    share_j = int_0^1 dC(t A)/dA . A_j dt,

which adds up to C(A) - C(0) whatever C is (Aumann and Shapley, Values of Non-Atomic Games, 1974), and is the half of
each pair for a quadratic form. C(0), the cubic part without any neighbour, belongs to nobody. Hops are sums over
neighbours again; the long-range part is one over all agents and their images, and belongs to nobody either.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.kernels import cubic, mutual, reference, waves
from mldsim.loss import LossModel, Scope, Waves

Array = NDArray[np.float64]

_NODES = 64
"""Of Gauss's quadrature over the fading in: exact to 1e-9 eV for the channels of `water`, which saturate on the way (32
leave 2e-7 eV); two would do without saturation."""


@dataclass(frozen=True, slots=True)
class Dissection:
    """The loss of one agent, taken apart.

    Attributes
    ----------
    loss : float, eV
    terms : tuple of (name, eV)
        ``linear``, ``quadratic, rank 0`` and so on, ``cubic``, ``hops``, ``long range``, ``wall``; they add up to the
        loss.
    neighbours : (n,) int64
        Agents within the cutoff, nearest first; one agent may be there in several images.
    distances : (n,) float64, angstrom
    shares : (n,) float64, eV
        Of each neighbour; with `alone` they add up to the loss.
    alone : float, eV
        What the loss is without any neighbour, and its long-range part.
    invariants : (n_species, n_radial) float64
        s_bk, by species of the neighbours.
    fitted : (n_species, n_radial, 2) float64
        Smallest and largest value that the fit has seen of each.
    """

    loss: float
    terms: tuple[tuple[str, float], ...]
    neighbours: NDArray[np.int64]
    distances: Array
    shares: Array
    alone: float
    invariants: Array
    fitted: Array


def dissect(model: LossModel, species: NDArray[np.int32], positions: Array, box: Array, agent: int) -> Dissection:
    """Take the loss of one agent apart.

    Parameters
    ----------
    model : LossModel
    species : (n_agents,) int32
        Index into ``model.symbols``.
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
        No edge shorter than the cutoff.
    agent : int
    """
    a = int(species[agent])
    neighbours, separation, r = _neighbours(positions, box, model.cutoff, agent)
    b = species[neighbours]
    u = separation / r[:, None]
    n_species, n_radial = len(model.symbols), model.radial.n_radial
    by_species = np.zeros((len(r), n_species, n_radial))
    for kind in np.unique(b):
        mine = b == kind
        by_species[mine, kind] = model.radial(a, int(kind), r[mine])[0]
    invariants = by_species.sum(axis=0)
    phi = by_species.reshape(len(r), n_species * n_radial)

    by_neighbour = phi @ model.linear[a]
    terms = [("linear", by_neighbour)]
    if model.order >= 2:
        cosine = u @ u.T
        for rank, weights in enumerate(model.quadratic[a]):
            pairs = 0.5 * (phi @ weights @ phi.T) * reference.legendre(rank, cosine)[0]
            terms.append((f"quadratic, rank {rank}", pairs.sum(axis=1)))
    alone = 0.0
    if model.cubic is not None:
        alone, shares = _cubic_shares(model, a, u, phi)
        terms.append(("cubic", shares))
    if model.cubic is not None and model.hops is not None:
        strengths = mutual.strengths(model.hops.coefficients, n_radial, model.cubic.n_channels)[a]
        mine = _numbers(model, species, positions, box, agent)
        its = {j: _numbers(model, species, positions, box, j) for j in set(neighbours.tolist())}
        seen = np.array([its[j] for j in neighbours.tolist()]).reshape(len(neighbours), len(mine))
        by_pair = phi.reshape(len(r), n_species, n_radial)[np.arange(len(r)), b]
        terms.append(("hops", 0.5 * np.einsum("jk,jkcd,c,jd->j", by_pair, strengths[b], mine, seen)))
    of_nobody = {"cubic": alone}
    if model.waves is not None:
        of_nobody["long range"] = _long_range(model, model.waves, species, positions, box, agent)
        terms.append(("long range", np.zeros(len(r))))
    overlap = np.clip(model.wall.radius[a, b] - r, 0.0, None)
    share = 0.5 if model.scope is Scope.SHARED else 1.0
    terms.append(("wall", share * model.wall.stiffness * overlap**2))

    sums = tuple((name, float(part.sum()) + of_nobody.get(name, 0.0)) for name, part in terms)
    return Dissection(
        loss=sum(value for _, value in sums),
        terms=sums,
        neighbours=neighbours,
        distances=r,
        shares=np.sum([part for _, part in terms], axis=0),
        alone=sum(of_nobody.values()),
        invariants=invariants,
        fitted=model.ranges.invariants[a].reshape(n_species, n_radial, 2),
    )


def _neighbours(positions: Array, box: Array, cutoff: float, agent: int) -> tuple[NDArray[np.int64], Array, Array]:
    """Agents within the cutoff, nearest first; q_i - q_j of that image; its length."""
    separation = positions[agent] - positions
    separation -= box * np.round(separation / box)
    steps = [(-1, 0, 1) if edge < 2.0 * cutoff else (0,) for edge in box]
    images = np.array(list(itertools.product(*steps))) * box
    every = (separation[:, None] + images).reshape(-1, 3)
    index = np.repeat(np.arange(len(positions)), len(images))
    square = np.einsum("ij,ij->i", every, every)
    near = np.flatnonzero((square < cutoff**2) & (square > 0.0))
    near = near[np.argsort(square[near], kind="stable")]
    return index[near], every[near], np.sqrt(square[near])


def _numbers(model: LossModel, species: NDArray[np.int32], positions: Array, box: Array, agent: int) -> Array:
    """The saturated channels of rank 0 of one agent, (n_channels,)."""
    part = model.cubic
    assert part is not None
    a = int(species[agent])
    neighbours, _, r = _neighbours(positions, box, model.cutoff, agent)
    invariants = np.zeros((len(model.symbols), model.radial.n_radial))
    for kind in range(len(model.symbols)):
        invariants[kind] = model.radial(a, kind, r[species[neighbours] == kind])[0].sum(axis=0)
    v = part.channels[a, 0] @ invariants.ravel() - part.offsets[a]
    return np.asarray(v / np.sqrt(1.0 + (v / part.saturation[a]) ** 2))


_VECTORS = 256
"""Wave vectors that are summed at a time."""


def _long_range(
    model: LossModel, part: Waves, species: NDArray[np.int32], positions: Array, box: Array, agent: int
) -> float:
    """The long-range part of the loss of one agent, eV."""
    n_species, a = len(model.symbols), int(species[agent])
    leading = [_numbers(model, species, positions, box, j)[0] for j in range(len(positions))]
    numbers = np.stack([np.ones(len(positions)), leading], axis=1)
    of_species = species[:, None] == np.arange(n_species)
    charges = (of_species[:, :, None] * numbers[:, None, :]).reshape(len(positions), -1)
    strengths = mutual.strengths(part.coefficients, len(part.widths), waves.NUMBERS)[a]
    found = waves.half_space(box, part.reach)
    weights = 2.0 / box.prod() * waves.transforms(found.k, part.widths, part.reach)
    loss = 0.0
    for first in range(0, len(found.k), _VECTORS):
        some = slice(first, first + _VECTORS)
        phase = np.exp(1j * (positions - positions[agent]) @ (2.0 * np.pi * found.n[some] / box).T)
        structure = (phase.T @ charges).real.reshape(-1, n_species, waves.NUMBERS)
        potential = np.einsum("kw,kbv->bwv", weights[some], structure)
        loss += 0.5 * float(np.einsum("bwuv,u,bwv->", strengths, numbers[agent], potential))
    own = waves.at_own_place(part.widths, part.reach)
    return loss - 0.5 * float(np.einsum("w,wuv,u,v->", own, strengths[a], numbers[agent], numbers[agent]))


def _cubic_shares(model: LossModel, a: int, u: Array, phi: Array) -> tuple[float, Array]:
    """The cubic part without any neighbour, and what each neighbour adds to it, (n,), eV."""
    part = model.cubic
    assert part is not None
    features = cubic.features(part.n_channels, model.max_rank)
    psi = part.channels[a] @ phi.T
    added = [
        psi[rank].T.reshape(len(u), part.n_channels, *(1,) * rank) * reference.tensors(rank, u)[:, None]
        for rank in range(model.max_rank + 1)
    ]
    whole = [field.sum(axis=0) for field in added]
    offset = part.offsets[a]

    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    fading = np.concatenate([[0.0], 0.5 * (1.0 + nodes)])
    fields = [fading.reshape(-1, *(1,) * field.ndim) * field for field in whole]
    fields[0] = fields[0] - offset
    losses, slopes = cubic_part(fields, float(part.saturation[a]), features, part.coefficients[a])
    shares = np.zeros(len(u))
    for slope, field in zip(slopes, added, strict=True):
        mean = np.einsum("n,n...->...", 0.5 * weights, slope[1:])
        shares += field.reshape(len(u), mean.size) @ mean.ravel()
    return float(losses[0]), shares


def cubic_part(
    fields: list[Array], saturation: float, features: NDArray[np.int64], theta: Array
) -> tuple[Array, list[Array]]:
    """The cubic part of the losses of n agents of one species, and its slopes.

    Parameters
    ----------
    fields : list of (n, n_channels, 3, ...) float64
        What the channels of each rank see, in Cartesian tensors.
    saturation : float
    features : (n_features, 4) int64
        See `kernels.cubic.features`.
    theta : (n_features,) float64, eV

    Returns
    -------
    losses : (n,) float64, eV
    slopes : list of arrays
        By the fields, shaped like them.
    """
    pole = np.array([0.0, 0.0, 1.0])
    n, n_channels = fields[0].shape
    units = [float((reference.tensors(rank, pole) ** 2).sum()) for rank in range(len(fields))]
    tight, roots, seen = [], [], []
    for rank, field in enumerate(fields):
        t = 1.0 / (units[rank] * (2 * rank + 1) * saturation**2)
        square = (field.reshape(n, n_channels, -1) ** 2).sum(axis=2)
        root = np.sqrt(1.0 + t * square).reshape(n, n_channels, *(1,) * rank)
        tight.append(t)
        roots.append(root)
        seen.append(field / root)
    losses, slopes = np.zeros(n), [np.zeros_like(field) for field in fields]
    possible = sorted(ranks for ranks in reference.CONTRACTIONS if max(ranks) < len(fields))
    for number, ranks in enumerate(possible):
        mine = features[:, 0] == number
        axes = reference.CONTRACTIONS[ranks]
        unit = np.einsum(f"{axes[0]},{axes[1]},{axes[2]}->", *(reference.tensors(rank, pole) for rank in ranks))
        weight = theta[mine] / unit
        channels = [features[mine, place] for place in (1, 2, 3)]
        factors = [seen[rank][:, channel] for rank, channel in zip(ranks, channels, strict=True)]
        for place in range(3):
            (first, x), (second, y) = ((factors[other], axes[other]) for other in range(3) if other != place)
            slope = np.einsum(f"f,nf{x},nf{y}->nf{axes[place]}", weight, first, second)
            to_channel = (np.arange(n_channels)[:, None] == channels[place]).astype(np.float64)
            slopes[ranks[place]] += np.einsum("cf,nf...->nc...", to_channel, slope)
            if place == 0:
                losses += (slope * factors[0]).reshape(n, -1).sum(axis=1)
    for rank, slope in enumerate(slopes):
        along = (slope * seen[rank]).reshape(n, n_channels, -1).sum(axis=2).reshape(n, n_channels, *(1,) * rank)
        slopes[rank] = (slope - tight[rank] * along * seen[rank]) / roots[rank]
    return losses, slopes
