"""What a loss is in the surroundings that its agents have now: pair curves and responses, read off one frame.

The response of agent i to an invariant is dL_i/ds = w + W^0 s_i, and by the cubic part P^0 dC/dv^0 at the fields of all
ranks that it has (parts that are not local are left out). One more neighbour of species b at the distance r, in any
direction, changes the loss to first order by

    u_ab(r) = sum_k (dL/ds_bk) phi_k^ab(r),

because the fields of higher rank of a neighbour vanish in the mean over its directions. It has a mean and a spread over
agents of species a. A few agents of each species are enough: plain NumPy, no kernels,
so that any thread may look.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mldsim.dissection import cubic_part
from mldsim.frames import Frame, Topology
from mldsim.kernels import cubic, reference
from mldsim.loss import LossModel
from mldsim.species import pair_name

Array = NDArray[np.float64]

CENTRES = 50
"""Agents of each species that are looked at: the mean of a response is then known to a seventh of its spread."""

MOST_DISTANCES = 400_000
"""From all centres; of large systems fewer centres are taken."""

POINTS = 200
BIN_WIDTH = 0.05
"""angstrom, of the histogram of distances."""


@dataclass(frozen=True)
class Surroundings:
    """Responses of a model's losses to the surroundings of one frame; species axes: whose loss, which neighbours.

    Attributes
    ----------
    symbols : tuple of str
    r : (n_r,) float64, angstrom
    linear : (n_species, n_species, n_r) float64, eV
        One more neighbour by the linear part alone.
    mean, spread : (n_species, n_species, n_r) float64, eV
        The same in the present surroundings, over agents; NaN for a species that is not there.
    bins : (n_bins,) float64, angstrom
    visited : (n_species, n_species, n_bins) float64
        Neighbours of an agent in each bin of distance.
    fitted : (n_species, n_species, 2) float64, angstrom
        Shortest and longest distance that the fit has seen.
    peaks : (n_species, n_species, n_radial) float64, angstrom
        Where the radial function of each invariant is largest.
    effect, effect_spread : (n_species, n_species, n_radial) float64, eV
        Mean of the response, and its spread, times the spread of the invariant.
    """

    symbols: tuple[str, ...]
    r: Array
    linear: Array
    mean: Array
    spread: Array
    bins: Array
    visited: Array
    fitted: Array
    peaks: Array
    effect: Array
    effect_spread: Array


def surroundings(model: LossModel, topology: Topology, frame: Frame) -> Surroundings:
    """Look at a loss where its agents are.

    Parameters
    ----------
    model : LossModel
        Its symbols are those of the topology.
    topology : Topology
    frame : Frame
    """
    n, k = len(model.symbols), model.radial.n_radial
    r = np.linspace(0.7, model.cutoff, POINTS)
    functions = np.array([[model.radial(a, b, r)[0] for b in range(n)] for a in range(n)])
    edges = np.arange(0.0, model.cutoff + BIN_WIDTH, BIN_WIDTH)
    linear = np.einsum("abk,abrk->abr", model.linear.reshape(n, n, k), functions)
    mean, spread = np.full(linear.shape, np.nan), np.full(linear.shape, np.nan)
    visited = np.zeros((n, n, len(edges) - 1))
    effect, effect_spread = np.full((n, n, k), np.nan), np.full((n, n, k), np.nan)
    for a in range(n):
        members = np.flatnonzero(topology.species == a)
        if not len(members):
            continue
        most = max(1, min(CENTRES, MOST_DISTANCES // topology.n_agents))
        centres = members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(int)]
        centre, neighbour, separation = _neighbours(frame, centres, model.cutoff)
        distance = np.sqrt((separation**2).sum(axis=1))
        invariants = np.zeros((len(centres), n, k))
        for b in range(n):
            mine = topology.species[neighbour] == b
            values = model.radial(a, b, distance[mine])[0]
            np.add.at(invariants[:, b], centre[mine], values)
            visited[a, b] = np.histogram(distance[mine], edges)[0] / len(centres)
        flat = invariants.reshape(len(centres), -1)
        response = model.linear[a] + flat @ model.quadratic[a, 0]
        if model.cubic is not None:
            response += _of_cubic(model, a, len(centres), centre, topology.species[neighbour], separation, distance)
        response = response.reshape(len(centres), n, k)
        curves = np.einsum("ibk,brk->ibr", response, functions[a])
        mean[a], spread[a] = curves.mean(axis=0), curves.std(axis=0)
        effect[a] = response.mean(axis=0) * invariants.std(axis=0)
        effect_spread[a] = response.std(axis=0) * invariants.std(axis=0)
    ranges = model.ranges.distances
    whole = (0.0, model.cutoff)
    fitted = np.array([[ranges.get(pair_name(a, b), whole) for b in model.symbols] for a in model.symbols])
    bins = 0.5 * (edges[1:] + edges[:-1])
    peaks = r[functions.argmax(axis=2)]
    return Surroundings(
        model.symbols, r, linear, mean, spread, bins, visited, fitted, peaks, effect, effect_spread
    )  # fmt: skip


def _of_cubic(
    model: LossModel,
    a: int,
    n_centres: int,
    centre: NDArray[np.intp],
    species: NDArray[np.int32],
    separation: Array,
    distance: Array,
) -> Array:
    """What the cubic part adds to the responses of agents of species a, (n_centres, n_species * n_radial), eV."""
    part, k = model.cubic, model.radial.n_radial
    assert part is not None
    psi = np.empty((len(centre), model.max_rank + 1, part.n_channels))
    for b in range(len(model.symbols)):
        mine = species == b
        channels = part.channels[a, :, :, b * k : (b + 1) * k]
        psi[mine] = np.einsum("jk,lck->jlc", model.radial(a, b, distance[mine])[0], channels)
    fields: list[Array] = []
    for rank in range(model.max_rank + 1):
        tensors = reference.tensors(rank, separation / distance[:, None])
        by_pair = np.einsum("jc,j...->jc...", psi[:, rank], tensors).reshape(len(centre), part.n_channels * 3**rank)
        sums = [np.bincount(centre, component, n_centres) for component in by_pair.T]
        fields.append(np.array(sums, np.float64).T.reshape(n_centres, part.n_channels, *(3,) * rank))
    fields[0] -= part.offsets[a]
    features = cubic.features(part.n_channels, model.max_rank)
    _, slopes = cubic_part(fields, float(part.saturation[a]), features, part.coefficients[a])
    return np.asarray(slopes[0] @ part.channels[a, 0])


def _neighbours(
    frame: Frame, centres: NDArray[np.intp], cutoff: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """All neighbours within the cutoff, periodic images too: index of the centre, agent, q_centre - q_agent."""
    box = frame.box
    separation = frame.positions[centres, None, :] - frame.positions[None, :, :]
    separation -= box * np.round(separation / box)
    images = [(-1, 0, 1) if edge < 2.0 * cutoff else (0,) for edge in box]
    found = []
    for shift in product(*images):
        shifted = separation + np.array(shift) * box
        squares = (shifted**2).sum(axis=2)
        centre, neighbour = np.nonzero((squares < cutoff**2) & (squares > 1e-6))
        found.append((centre, neighbour, shifted[centre, neighbour]))
    centre, neighbour, separation = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return centre, neighbour, separation
