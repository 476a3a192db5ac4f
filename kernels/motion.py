"""What a time step does to all agents besides their forces: kicks, drifts, sums, guards. One pass each, in place.

A pass goes over portions of `PORTION` agents. Few agents are passed over by the calling thread, which takes a
microsecond or two, less than waking another thread does; from `SHARED_FROM` agents on, threads share the portions.
Sums are taken portion by portion in either case, so that no result depends on the number of threads.

Arrays are float64 where nothing else is said; what is not a number stays so in every result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from mldsim.kernels.caching import njit, prange
from mldsim.kernels.noise import three_normals

SHARED_FROM = 16384
"""Agents. A pass over so many takes some 20 microseconds on one core."""

PORTION = 4096
"""Agents; 300 kB of positions, velocities and forces, which a core keeps in its own cache."""


def _pass(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a pass for one thread and for many; its first argument has a row per agent, which decides between them.

    Numba files compiled code under a function's name and source, whatever the options: the two need two names.
    """
    assert isinstance(function, FunctionType)
    twin = FunctionType(function.__code__, function.__globals__, function.__name__)
    twin.__qualname__ = f"{function.__qualname__}_shared"
    alone = njit(nogil=True, cache=True, error_model="numpy")(function)
    shared = njit(nogil=True, cache=True, error_model="numpy", parallel=True)(twin)

    def run(*arguments: Any) -> Any:
        return (alone if len(arguments[0]) < SHARED_FROM else shared)(*arguments)

    run.__doc__ = function.__doc__
    return run


@njit(nogil=True, cache=True)
def _portions(n_agents):  # type: ignore[no-untyped-def]
    return (n_agents + PORTION - 1) // PORTION


@_pass
def kinetic(velocities, masses):  # type: ignore[no-untyped-def]
    """1/2 sum m v^2 of velocities (n_agents, 3) and masses (n_agents,), in the product of their units."""
    n_agents = len(velocities)
    parts = np.zeros(_portions(n_agents))
    for p in prange(len(parts)):
        part = 0.0
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            x, y, z = velocities[i, 0], velocities[i, 1], velocities[i, 2]
            part += masses[i] * (x * x + y * y + z * z)
        parts[p] = 0.5 * part
    total = 0.0
    for p in range(len(parts)):
        total += parts[p]
    return total


@_pass
def momentum(velocities, masses):  # type: ignore[no-untyped-def]
    """Sum of m v, (3,), of velocities (n_agents, 3) and masses (n_agents,), in the product of their units."""
    n_agents = len(velocities)
    parts = np.zeros((_portions(n_agents), 3))
    for p in prange(len(parts)):
        x, y, z = 0.0, 0.0, 0.0
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            x += masses[i] * velocities[i, 0]
            y += masses[i] * velocities[i, 1]
            z += masses[i] * velocities[i, 2]
        parts[p, 0], parts[p, 1], parts[p, 2] = x, y, z
    total = np.zeros(3)
    for p in range(len(parts)):
        for d in range(3):
            total[d] += parts[p, d]
    return total


@_pass
def scale(velocities, factor):  # type: ignore[no-untyped-def]
    """v <- factor v."""
    n_agents = len(velocities)
    for p in prange(_portions(n_agents)):
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            for d in range(3):
                velocities[i, d] *= factor


@_pass
def shift(velocities, by):  # type: ignore[no-untyped-def]
    """v <- v + by, the same vector (3,) for every agent."""
    n_agents = len(velocities)
    for p in prange(_portions(n_agents)):
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            for d in range(3):
                velocities[i, d] += by[d]


@_pass
def kick(velocities, forces, inverse_mass, dt):  # type: ignore[no-untyped-def]
    """v <- v + dt F / m, with 1/m (n_agents,)."""
    n_agents = len(velocities)
    for p in prange(_portions(n_agents)):
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            gain = dt * inverse_mass[i]
            for d in range(3):
                velocities[i, d] += gain * forces[i, d]


@_pass
def drift(positions, velocities, dt):  # type: ignore[no-untyped-def]
    """q <- q + dt v."""
    n_agents = len(positions)
    for p in prange(_portions(n_agents)):
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            for d in range(3):
                positions[i, d] += dt * velocities[i, d]


@_pass
def mix(velocities, width, keep, share, key0, key1, draw):  # type: ignore[no-untyped-def]
    """v <- keep v + share width R, with a width (n_agents,) per agent and normal numbers R of `noise`."""
    n_agents = len(velocities)
    for p in prange(_portions(n_agents)):
        for i in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            amount = share * width[i]
            x, y, z = three_normals(key0, key1, draw, i)
            velocities[i, 0] = keep * velocities[i, 0] + amount * x
            velocities[i, 1] = keep * velocities[i, 1] + amount * y
            velocities[i, 2] = keep * velocities[i, 2] + amount * z


@_pass
def longest(positions, pairs):  # type: ignore[no-untyped-def]
    """The pair that is farthest apart, images not looked for; the first of those that are not a number.

    Parameters
    ----------
    positions : (n_agents, 3)
    pairs : (n_pairs, 2) int32
        At least one.

    Returns
    -------
    row, square : int, float
        Its row in `pairs`, and its distance squared.
    """
    n_pairs = len(pairs)
    rows = np.zeros(_portions(n_pairs), np.int64)
    squares = np.zeros(len(rows))
    for p in prange(len(rows)):
        row, most = p * PORTION, -1.0
        for b in range(p * PORTION, min((p + 1) * PORTION, n_pairs)):
            i, j = pairs[b, 0], pairs[b, 1]
            x = positions[i, 0] - positions[j, 0]
            y = positions[i, 1] - positions[j, 1]
            z = positions[i, 2] - positions[j, 2]
            square = x * x + y * y + z * z
            if not square <= most and not math.isnan(most):
                row, most = b, square
        rows[p], squares[p] = row, most
    worst = 0
    for p in range(len(rows)):
        if not squares[p] <= squares[worst] and not math.isnan(squares[worst]):
            worst = p
    return rows[worst], squares[worst]


@_pass
def place(positions, order, origin, home, local):  # type: ignore[no-untyped-def]
    """Positions as the pair kernels take them, and how far the agents have moved since the neighbour list was made.

    Parameters
    ----------
    positions : (n_agents, 3)
    order : (n_agents,) int64
        The agent in each row of the arrays that follow.
    origin : (n_agents, 3)
        What local positions are counted from.
    home : (n_agents, 3)
        Local positions when the list was made.
    local : (n_agents, 3) float32 or float64
        Filled.

    Returns
    -------
    float
        Largest distance from `home`, squared; not a number, or infinite, where a position is.
    """
    n_agents = len(positions)
    parts = np.zeros(_portions(n_agents))
    for p in prange(len(parts)):
        part = 0.0
        for row in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            square = 0.0
            for d in range(3):
                x = positions[order[row], d] - origin[row, d]
                local[row, d] = x
                square += (x - home[row, d]) * (x - home[row, d])
            if not square <= part and not math.isnan(part):
                part = square
        parts[p] = part
    farthest = 0.0
    for p in range(len(parts)):
        if not parts[p] <= farthest and not math.isnan(farthest):
            farthest = parts[p]
    return farthest


@_pass
def collect(order, losses, forces, closest, agent_losses, agent_forces):  # type: ignore[no-untyped-def]
    """What the pair kernels found, back in the order of the agents and in float64.

    Parameters
    ----------
    order : (n_agents,) int64
        The agent in each row of the three arrays that follow.
    losses : (n_agents,) float32 or float64
    forces : (n_agents, 3) float32 or float64
    closest : (n_agents,) float32 or float64
    agent_losses : (n_agents,)
        Filled.
    agent_forces : (n_agents, 3)
        Filled.

    Returns
    -------
    float
        The smallest of `closest`, infinite where there are no agents.
    """
    n_agents = len(order)
    parts = np.zeros(_portions(n_agents))
    for p in prange(len(parts)):
        part = np.inf
        for row in range(p * PORTION, min((p + 1) * PORTION, n_agents)):
            i = order[row]
            agent_losses[i] = losses[row]
            for d in range(3):
                agent_forces[i, d] = forces[row, d]
            nearest = np.float64(closest[row])
            if not nearest >= part and not math.isnan(part):
                part = nearest
        parts[p] = part
    smallest = np.inf
    for p in range(len(parts)):
        if not parts[p] >= smallest and not math.isnan(smallest):
            smallest = parts[p]
    return smallest
