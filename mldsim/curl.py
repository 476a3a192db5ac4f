"""Rows that ask the forces of own scope to have no curl.

In own scope each agent descends its own loss, F_i = - dL_i/dq_i, and nothing makes

    dF_ia/dq_jb = dF_jb/dq_ia

as it is where all forces come from one energy. Where the two differ the forces have a curl: an agent that goes round it
gains energy at every turn, which is what heats the agents of own scope. The difference is linear in the coefficients of
the losses, so a row can ask for it to vanish, beside the rows that ask for the labels. A row is

    d / sqrt(m_i m_j) (dF_ia/dq_jb - dF_jb/dq_ia) = 0

with d the amplitude of a stretching vibration and masses in amu: the work of a curl is done by what moves, and light
agents move most. Rows are taken for a few agents and their nearest neighbours in some of the frames, where forces are
stiff and a curl heats; derivatives are central differences of the rows of the regression.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

AMPLITUDE = 0.05
"""angstrom; of the O-H stretch at 300 K, so that a row counts like an error of the force."""

NEIGHBORS = 4
"""Of an agent, that its curl is looked at with: an oxygen's are its own hydrogens and those of two hydrogen bonds."""

STEP = 1e-3
"""angstrom, of the differences."""

PLACES = 60
"""Agents, each in another frame: six thousand rows."""


def nearest(positions: NDArray[np.float64], box: NDArray[np.float64], agent: int) -> NDArray[np.intp]:
    """An agent and its nearest neighbours, (NEIGHBORS + 1,)."""
    away = positions - positions[agent]
    away -= box * np.round(away / box)
    return np.argsort(np.einsum("ij,ij->i", away, away), kind="stable")[: NEIGHBORS + 1]


def curl_rows(
    rows: Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]],
    positions: NDArray[np.float64],
    masses: NDArray[np.float64],
    agents: NDArray[np.intp],
) -> NDArray[np.float64]:
    """The curl between some agents as rows of the regression; their targets are zero.

    Parameters
    ----------
    rows : callable
        (positions, agents) -> (3 n_agents, size), rows of the forces on all agents; only those on `agents` are used.
    positions : (n_agents, 3) float64, angstrom
    masses : (n_agents,) float64, amu
    agents : (n,) int

    Returns
    -------
    (3 n (3 n - 1) / 2, size) float64
        For each pair of coordinates, in units of a force per unit of a coefficient.
    """
    coordinates = [(int(agent), axis) for agent in agents for axis in range(3)]
    mine = np.array([3 * agent + axis for agent, axis in coordinates])
    changes = []
    for agent, axis in coordinates:
        moved = positions.copy()
        moved[agent, axis] = positions[agent, axis] + STEP
        ahead = rows(moved, agents)[mine]
        moved[agent, axis] = positions[agent, axis] - STEP
        changes.append((ahead - rows(moved, agents)[mine]) / (2.0 * STEP))
    by_coordinate = np.stack(changes, axis=1)  # [of force, of coordinate, column]
    first, second = np.triu_indices(len(mine), 1)
    scale = AMPLITUDE / np.sqrt(np.repeat(masses[agents], 3))[:, None]
    scale = scale * (scale.T / AMPLITUDE)
    curl = by_coordinate[first, second] - by_coordinate[second, first]
    return np.asarray(curl * scale[first, second][:, None])
