"""Verlet list over a cell list, with periodic images.

An entry of the list packs a neighbour and the image it is seen in: ``entry = 32 * j + code``. The separation of the
pair is ``q_i - q_j - shift[code]`` with positions taken relative to `origin`, so the kernels need no rounding per
pair, and a box may be as small as the list's reach: the same neighbour then occurs once per image.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

IMAGES = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)], np.int32)
"""(27, 3) int32: image ``code`` lies this many box edges away."""


@njit(nogil=True, cache=True)
def sort_into_cells(wrapped, box, cells):  # type: ignore[no-untyped-def]
    """Counting sort of agents by cell: (cell of each agent, first agent of each cell, agents in order)."""
    n_agents = wrapped.shape[0]
    n_cells = cells[0] * cells[1] * cells[2]
    cell_of = np.empty(n_agents, np.int64)
    first = np.zeros(n_cells + 1, np.int64)
    for i in range(n_agents):
        c = 0
        for d in range(3):
            # A coordinate that rounding put on the far edge belongs to the last cell.
            c = c * cells[d] + min(np.int64(wrapped[i, d] / box[d] * cells[d]), cells[d] - 1)
        cell_of[i] = c
        first[c + 1] += 1
    for c in range(n_cells):
        first[c + 1] += first[c]
    order = np.empty(n_agents, np.int64)
    filled = first[:-1].copy()
    for i in range(n_agents):
        order[filled[cell_of[i]]] = i
        filled[cell_of[i]] += 1
    return cell_of, first, order


@njit(nogil=True, cache=True, parallel=True)
def _fill(wrapped, box, reach, cells, cell_of, first, order, count, entries):  # type: ignore[no-untyped-def]
    capacity = entries.shape[1]
    reach2 = reach * reach
    for i in prange(wrapped.shape[0]):
        found = 0
        c = cell_of[i]
        cz = c % cells[2]
        cy = (c // cells[2]) % cells[1]
        cx = c // (cells[2] * cells[1])
        for code in range(27):
            # Offsets to the 27 cells around; stepping over the box edge is stepping into an image.
            ox = cx + code // 9 - 1
            oy = cy + (code // 3) % 3 - 1
            oz = cz + code % 3 - 1
            ix = -1 if ox < 0 else (1 if ox >= cells[0] else 0)
            iy = -1 if oy < 0 else (1 if oy >= cells[1] else 0)
            iz = -1 if oz < 0 else (1 if oz >= cells[2] else 0)
            other = ((ox - ix * cells[0]) * cells[1] + oy - iy * cells[1]) * cells[2] + oz - iz * cells[2]
            image = (ix + 1) * 9 + (iy + 1) * 3 + iz + 1
            for q in range(first[other], first[other + 1]):
                j = order[q]
                if j == i and image == 13:
                    continue
                dx = wrapped[i, 0] - wrapped[j, 0] - ix * box[0]
                dy = wrapped[i, 1] - wrapped[j, 1] - iy * box[1]
                dz = wrapped[i, 2] - wrapped[j, 2] - iz * box[2]
                if dx * dx + dy * dy + dz * dz < reach2:
                    if found < capacity:
                        entries[i, found] = j * 32 + image
                    found += 1
        count[i] = found


def build_list(
    positions: NDArray[np.float64], box: NDArray[np.float64], reach: float, capacity: int
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Find all neighbours within `reach`.

    Parameters
    ----------
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
        No edge shorter than `reach`.
    reach : float, angstrom
    capacity : int
        Expected largest number of neighbours; the list grows when there are more.

    Returns
    -------
    origin : (n_agents, 3) float64, angstrom
        The corner of the image each agent was in: ``positions - origin`` lies in the box.
    count : (n_agents,) int32
    entries : (n_agents, >= capacity) int32
        ``32 * j + code``; the first ``count[i]`` of each row are valid, in an order that does not depend on the
        number of threads.

    Raises
    ------
    ValueError
        If an edge is shorter than `reach`, or a position is not finite.
    """
    if (box < reach).any():
        raise ValueError(f"an edge of the box {box} is shorter than the reach {reach} of the neighbour list")
    if not np.isfinite(positions).all():
        raise ValueError("a position is not a finite number")
    origin = box * np.floor(positions / box)
    wrapped = positions - origin
    # No more cells than agents: empty space costs memory and finds nothing.
    most = max(1, round(len(positions) ** (1 / 3)) * 2)
    cells = np.clip((box / reach).astype(np.int64), 1, most)
    cell_of, first, order = sort_into_cells(wrapped, box, cells)
    count = np.empty(len(positions), np.int32)
    while True:
        entries = np.empty((len(positions), capacity), np.int32)
        _fill(wrapped, box, reach, cells, cell_of, first, order, count, entries)
        most = int(count.max(initial=0))
        if most <= capacity:
            return origin, count, entries
        capacity = most + most // 8
