"""Verlet list over a cell list, with periodic images, and the order of agents that keeps neighbours near in memory.

An entry of the list packs a neighbour and the image it is seen in: ``entry = 32 * j + code``. The separation of the
pair is ``q_i - q_j - shift[code]`` with positions taken relative to `origin`, so the kernels need no rounding per
pair, and a box may be as small as the list's reach: the same neighbour then occurs once per image.

The search itself knows nothing of periodicity. Agents near a face are first repeated outside the opposite one, as
points that carry the entry they make, and all points are sorted into cells, columns along z as wide as the reach and
cut finely. What an agent sees then lies in nine straight runs of points, and a run is looked through without a branch.
Time and memory are linear in the number of agents.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mldsim.kernels.caching import njit, prange
from mldsim.kernels.lanes import at, put

IMAGES = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)], np.int32)
"""(27, 3) int32: image ``code`` lies this many box edges away."""

HERE = 13
"""The code of the box itself."""

_SLICES = 4.0
"""Cells per reach along z. Points that are looked at in vain against steps along the column; 64 to 4096 molecules:
1 took 20 % longer, and columns of half the width, which are more and shorter runs, 30 %."""

_CELLS_PER_POINT = 4
"""Most cells; empty space would cost memory and hold nothing."""


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


@njit(nogil=True, cache=True)
def _wrap(positions, box):  # type: ignore[no-untyped-def]
    """(corner of the image that each agent is in, position relative to it, whether all are finite numbers)."""
    origin = np.empty_like(positions)
    wrapped = np.empty_like(positions)
    finite = True
    for i in range(positions.shape[0]):
        for d in range(3):
            origin[i, d] = box[d] * math.floor(positions[i, d] / box[d])
            wrapped[i, d] = positions[i, d] - origin[i, d]
            finite &= math.isfinite(wrapped[i, d])
    return origin, wrapped, finite


@njit(nogil=True, cache=True)
def _cell(x, reach, per_length, cells):  # type: ignore[no-untyped-def]
    """Cell of a coordinate in one direction; the grid begins `reach` below the box and ends `reach` above it."""
    return min(max(np.int64((x + reach) * per_length), 0), cells - 1)


@njit(nogil=True, cache=True)
def _grid(box, reach, n_points):  # type: ignore[no-untyped-def]
    """Number of cells in each direction, (3,) int64, and cells per angstrom, (3,) float64."""
    cells = np.empty(3, np.int64)
    per_length = np.empty(3)
    wider = 1.0
    while True:
        n_cells = 1.0
        for d in range(3):
            width = wider * (reach / _SLICES if d == 2 else reach)
            length = box[d] + 2.0 * reach
            cells[d] = max(1, int(min(length / width, 1e6)))
            per_length[d] = cells[d] / length
            n_cells *= cells[d]
        if n_cells <= _CELLS_PER_POINT * n_points + 64:
            return cells, per_length
        wider *= 1.25


@njit(nogil=True, cache=True)
def _points(wrapped, box, reach):  # type: ignore[no-untyped-def]
    """Agents, and their repeats within `reach` of the box, sorted into cells.

    Returns
    -------
    points : (3, n_points) float64, angstrom
    labels : (n_points,) int32
        The entry that each point makes in a list.
    first : (n_cells + 1,) int64
        First point of each cell.
    cells, per_length
        As `_grid` makes them.
    """
    n_agents = wrapped.shape[0]
    near = np.empty((n_agents, 3, 3), np.bool_)  # is there a repeat one edge below, here (yes), one edge above?
    n_points = 0
    for i in range(n_agents):
        repeats = 1
        for d in range(3):
            near[i, d, 0] = wrapped[i, d] > box[d] - reach
            near[i, d, 1] = True
            near[i, d, 2] = wrapped[i, d] < reach
            repeats *= 1 + near[i, d, 0] + near[i, d, 2]
        n_points += repeats
    cells, per_length = _grid(box, reach, n_points)

    cell_of = np.empty(n_points, np.int64)
    label_of = np.empty(n_points, np.int32)
    first = np.zeros(cells[0] * cells[1] * cells[2] + 1, np.int64)
    p = 0
    for i in range(n_agents):
        for x in range(3):
            if not near[i, 0, x]:
                continue
            cx = _cell(wrapped[i, 0] + (x - 1) * box[0], reach, per_length[0], cells[0])
            for y in range(3):
                if not near[i, 1, y]:
                    continue
                cy = _cell(wrapped[i, 1] + (y - 1) * box[1], reach, per_length[1], cells[1])
                for z in range(3):
                    if not near[i, 2, z]:
                        continue
                    cz = _cell(wrapped[i, 2] + (z - 1) * box[2], reach, per_length[2], cells[2])
                    cell_of[p] = (cx * cells[1] + cy) * cells[2] + cz
                    label_of[p] = 32 * i + 9 * x + 3 * y + z
                    first[cell_of[p] + 1] += 1
                    p += 1
    for c in range(len(first) - 1):
        first[c + 1] += first[c]

    points = np.empty((3, n_points))
    labels = np.empty(n_points, np.int32)
    filled = first[:-1].copy()
    for p in range(n_points):
        place = filled[cell_of[p]]
        filled[cell_of[p]] += 1
        i, code = label_of[p] >> 5, label_of[p] & 31
        labels[place] = label_of[p]
        points[0, place] = wrapped[i, 0] + (code // 9 - 1) * box[0]
        points[1, place] = wrapped[i, 1] + (code // 3 % 3 - 1) * box[1]
        points[2, place] = wrapped[i, 2] + (code % 3 - 1) * box[2]
    return points, labels, first, cells, per_length


@njit(nogil=True, cache=True)
def _gap(x, cell, reach, per_length):  # type: ignore[no-untyped-def]
    """Distance from x to a cell in one direction, 0 inside."""
    low = cell / per_length - reach
    return max(low - x, x - low - 1.0 / per_length, 0.0)


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def _fill(wrapped, reach, points, labels, first, cells, per_length, count, entries):  # type: ignore[no-untyped-def]
    capacity = entries.shape[1]
    last = capacity - 1
    reach2 = reach * reach
    seen2 = reach2 * (1.0 + 1e-9)  # rounding must not hide a cell
    px, py, pz = points[0], points[1], points[2]
    for i in prange(wrapped.shape[0]):
        x, y, z = wrapped[i, 0], wrapped[i, 1], wrapped[i, 2]
        mine = np.int32(32 * i + HERE)
        found = np.int64(0)
        x_begin = _cell(x - reach, reach, per_length[0], cells[0])
        x_end = _cell(x + reach, reach, per_length[0], cells[0]) + 1
        y_begin = _cell(y - reach, reach, per_length[1], cells[1])
        y_end = _cell(y + reach, reach, per_length[1], cells[1]) + 1
        for cx in range(x_begin, x_end):
            gx = _gap(x, cx, reach, per_length[0])
            for cy in range(y_begin, y_end):
                gy = _gap(y, cy, reach, per_length[1])
                left2 = seen2 - gx * gx - gy * gy
                if left2 <= 0.0:
                    continue
                half = math.sqrt(left2)
                column = (cx * cells[1] + cy) * cells[2]
                begin = first[column + _cell(z - half, reach, per_length[2], cells[2])]
                end = first[column + _cell(z + half, reach, per_length[2], cells[2]) + 1]
                # Written always, counted when near: a branch would be guessed wrong too often.
                for p in range(begin, end):
                    dx, dy, dz = x - at(px, p), y - at(py, p), z - at(pz, p)
                    put(entries, i * capacity + min(found, last), at(labels, p))
                    found += np.int64(dx * dx + dy * dy + dz * dz < reach2)
        # The agent found itself too: the last one takes its place.
        found -= 1
        count[i] = found
        for q in range(min(found, capacity)):
            if entries[i, q] == mine:
                entries[i, q] = entries[i, min(found, last)]
                break


def order_by_cell(positions: NDArray[np.float64], box: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """Agents in the order of cells of about `width`: near in this order is near in space.

    Parameters
    ----------
    positions : (n_agents, 3) float64, angstrom
        Finite numbers.
    box : (3,) float64, angstrom
    width : float, angstrom

    Returns
    -------
    (n_agents,) int64
        A permutation; agents of one cell keep their order.
    """
    _, wrapped, _ = _wrap(positions, box)
    # No more cells than agents: empty space costs memory and finds nothing.
    most = max(1, round(len(positions) ** (1 / 3)) * 2)
    order: NDArray[np.int64] = sort_into_cells(wrapped, box, np.clip((box / width).astype(np.int64), 1, most))[2]
    return order


def build_list(
    positions: NDArray[np.float64],
    box: NDArray[np.float64],
    reach: float,
    capacity: int,
    *,
    room: NDArray[np.int32] | None = None,
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
    room : (n_agents, n) int32, optional
        The entries of a list that is no longer needed, to be written over; `capacity` is then its n.

    Returns
    -------
    origin : (n_agents, 3) float64, angstrom
        The corner of the image each agent was in: ``positions - origin`` lies in the box.
    count : (n_agents,) int32
    entries : (n_agents, >= capacity) int32
        ``32 * j + code``; the first ``count[i]`` of each row are valid, in an order that does not depend on the
        number of threads. No row is full.

    Raises
    ------
    ValueError
        If an edge is shorter than `reach`, or a position is not finite.
    """
    if (box < reach).any():
        raise ValueError(f"an edge of the box {box} is shorter than the reach {reach} of the neighbour list")
    origin, wrapped, finite = _wrap(positions, box)
    if not finite:
        raise ValueError("a position is not a finite number")
    points = _points(wrapped, box, reach)
    count = np.empty(len(positions), np.int32)
    entries = np.empty((len(positions), capacity), np.int32) if room is None else room
    while True:
        _fill(wrapped, reach, *points, count, entries)
        most = int(count.max(initial=0))
        if most + 2 <= entries.shape[1]:  # the agent itself, and one that is written and not counted
            return origin, count, entries
        entries = np.empty((len(positions), most + most // 8 + 2), np.int32)


def by_species(
    count: NDArray[np.int32],
    entries: NDArray[np.int32],
    species: NDArray[np.int32],
    n_species: int,
    capacity: int,
    multiple: int = 1,
    filler: int = HERE,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A list whose rows are sorted by species of the neighbour, and have `capacity` places, more than any is filled to.

    Each species is filled up to a `multiple` of entries, and each row to its end, with the agent itself in the image
    `filler`.

    Returns
    -------
    ends : (n, n_species) int32
        The neighbours of species b are the entries from ``ends[i, b - 1]`` to ``ends[i, b]``.
    ordered : (n, capacity) int32
    """
    ends, ordered = np.empty((len(count), n_species), np.int32), np.empty((len(count), capacity), np.int32)
    _by_species(count, entries, species, ends, ordered, multiple, filler)
    return ends, ordered


@njit(nogil=True, cache=True, parallel=True)
def _by_species(count, entries, species, ends, ordered, multiple, filler):  # type: ignore[no-untyped-def]
    room, capacity = entries.shape[1], ordered.shape[1]
    for i in prange(entries.shape[0]):
        place = np.int64(0)
        for b in range(ends.shape[1]):
            for q in range(count[i]):  # no row is full, so that the last write stays in it
                entry = at(entries, i * room + q)
                put(ordered, i * capacity + place, entry)
                place += np.int64(at(species, entry >> 5) == b)  # the next one overwrites it unless it is of species b
            while place % multiple:
                put(ordered, i * capacity + place, 32 * i + filler)
                place += 1
            ends[i, b] = place
        for q in range(place, capacity):
            put(ordered, i * capacity + q, 32 * i + filler)
