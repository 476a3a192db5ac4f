"""Molecules that a hand takes out of a box or puts into it: the states that come of it, before anything moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.molecules import molecules_of
from mldsim.state import State
from mldsim.units import BOLTZMANN, MASS
from mldsim.water import CLEAR

Array = NDArray[np.float64]

OH_LENGTH, HOH_ANGLE = 0.98, np.deg2rad(105.0)
"""angstrom; of a molecule in the liquid, whose relaxation follows."""

LEAST_CLEARANCE = 0.9
"""Of a place, in units of the distances of `water.CLEAR`: the freest of liquid water at 1 g/cm^3 has 1.35."""

GRID = 0.6
"""angstrom, between places that are tried."""

MOST_PLACES, TURNS = 30_000, 200


def without_molecule(state: State, agent: int) -> State:
    """A copy without the molecule of an agent; the others keep their order.

    Raises
    ------
    InputError
        If it is the last one.
    """
    molecule = molecules_of(state.n_agents, state.bonds)
    kept = molecule != molecule[agent]
    if not kept.any():
        raise InputError("The last molecule cannot be taken out.")
    number = np.cumsum(kept) - 1
    bonds = state.bonds[kept[state.bonds].all(axis=1)] if len(state.bonds) else state.bonds
    return _changed(
        state,
        positions=state.positions[kept],
        velocities=state.velocities[kept],
        species=state.species[kept],
        masses=state.masses[kept],
        bonds=number[bonds].astype(np.int32).reshape(-1, 2),
    )


def with_water(state: State, near: Array | None, temperature: float, masses: Array) -> State:
    """A copy with one molecule of water more, as the last agents: where there is room, with thermal velocities.

    Parameters
    ----------
    state : State
    near : (3,) float64, angstrom, or None
        The free place nearest to it is taken; else the freest of all.
    temperature : float, K
    masses : (n_species,) float64, amu

    Raises
    ------
    InputError
        If the model does not know O and H, or there is no room.
    """
    if not {"O", "H"} <= set(state.symbols):
        raise InputError("A molecule of water needs a model that knows O and H.")
    oxygen, hydrogen = state.symbols.index("O"), state.symbols.index("H")
    copied = _changed(state)
    rng = copied.rng
    place = _free_place(state, oxygen, near, rng)
    half = 0.5 * HOH_ANGLE
    arms = OH_LENGTH * np.array([[np.sin(half), np.cos(half), 0.0], [-np.sin(half), np.cos(half), 0.0]])
    turned = place + np.einsum("hd,tdc->thc", arms, _rotations(rng, TURNS))
    clearance = _clearance(state, oxygen, turned.reshape(-1, 3), CLEAR[1:]).reshape(TURNS, 2).min(axis=1)
    added = np.concatenate([place[None], turned[int(clearance.argmax())]])
    species = np.array([oxygen, hydrogen, hydrogen], np.int32)
    heavy = np.asarray(masses, np.float64)[species]
    thermal = rng.normal(size=(3, 3)) * np.sqrt(BOLTZMANN * temperature / (MASS * heavy))[:, None]
    n = state.n_agents
    return _changed(
        copied,
        positions=np.concatenate([state.positions, added]),
        velocities=np.concatenate([state.velocities, thermal]),
        species=np.concatenate([state.species, species]).astype(np.int32),
        masses=np.concatenate([state.masses, heavy]),
        bonds=np.concatenate([state.bonds.reshape(-1, 2), [[n, n + 1], [n, n + 2]]]).astype(np.int32),
    )


def _changed(state: State, **changes: Any) -> State:
    return replace(state.copy(), **changes)


def _free_place(state: State, oxygen: int, near: Array | None, rng: np.random.Generator) -> Array:
    step = max(GRID, float(np.cbrt(state.volume / MOST_PLACES)))
    axes = [np.arange(0.0, edge, step) for edge in state.box]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places += rng.random(3) * step
    clearance = _clearance(state, oxygen, places, CLEAR[:2])
    best = int(clearance.argmax())
    if clearance[best] < LEAST_CLEARANCE:
        raise InputError("There is no room for another molecule of water; take a lower density.")
    if near is None:
        return np.asarray(places[best])
    free = np.flatnonzero(clearance >= min(1.0, 0.95 * clearance[best]))
    apart = places[free] - near
    apart -= state.box * np.round(apart / state.box)
    nearest = places[free[int((apart**2).sum(axis=1).argmin())]]
    # In the image that is seen beside what was picked.
    return np.asarray(nearest + state.box * np.round((near - nearest) / state.box))


def _clearance(state: State, oxygen: int, places: Array, clear: tuple[float, ...]) -> Array:
    """Distance to the nearest oxygen and to the nearest other agent, the smaller in units of `clear`."""
    from scipy.spatial import cKDTree

    def inside(points: Array) -> Array:
        points = np.mod(points, state.box)
        points[points >= state.box] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
        return points

    found = np.full(len(places), np.inf)
    for members, distance in zip((state.species == oxygen, state.species != oxygen), clear, strict=True):
        if members.any():
            tree = cKDTree(inside(state.positions[members]), boxsize=state.box)
            found = np.minimum(found, tree.query(inside(places))[0] / distance)
    return np.asarray(found)


def _rotations(rng: np.random.Generator, n: int) -> Array:
    """Random rotations, (n, 3, 3), evenly spread (Shoemake, Graphics Gems III, 1992)."""
    w, x, y, z = rng.normal(size=(n, 4)).T
    length = np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / length, x / length, y / length, z / length
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)
