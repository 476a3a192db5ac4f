"""Whole steps of time on an NVIDIA GPU: one cooperative kernel takes many steps, and nothing leaves the device then.

The grid is as large as the device holds at once. Its blocks share out the agents, and between two stages of a step all
wait for each other (`grid.sync`):

    kick, drift     half a kick, half a drift, the noise of Langevin, half a drift; who has moved too far since the
                    list was made is seen on the way
    list            only then: cells, counting sort, neighbours
    losses          gradients and cubic part, agent by agent; hops; waves
    forces          own scope needs no neighbour's gradient, so that here a block goes on with its agent at once
    kick, sums      the second half of the kick; sums by portions of agents
    conclusion      one thread adds the portions up in their order, lets the thermostat act, and looks at the guards

What scales or shifts all velocities waits as two factors and a shift until the next pass over the agents.

Positions, velocities and sums are float64 and in the order of the agents; what pairs need is in the order of their
cells, as on the CPU. Sums have a fixed order. Integers alone are added atomically, in the counting sort, and agents of
one cell are put in their order afterwards: equal input gives equal bits, whatever the number of blocks.

Arrays: `Box` says which. `account` is all that the host and the kernel tell each other, as float64.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda

from mldsim.kernels import cuda as passes
from mldsim.kernels import nose_hoover
from mldsim.kernels.cuda_registers import before, four, least, limited, most, total
from mldsim.kernels.noise import normal_and_squares, three_normals

CELLS_PER_REACH = 2.0
"""As many cells an agent looks through in each direction. Not measured."""

MOST_CELLS_PER_AGENT = 2
"""Empty space would cost memory and hold nothing."""

MOST_PORTIONS = 512

REGISTERS = 128
"""Of a thread. With more of them fewer blocks run at once, with less the rare parts of a step spill."""

ADVANCE, EVALUATE, POWER = 0, 1, 2
"""Tasks: take steps; only losses and forces; the power of what own-scope forces do beyond those of the common loss."""


NO_THERMOSTAT, LANGEVIN, CSVR, NOSE_HOOVER = 0, 1, 2, 3
"""The kinds of `mldsim.thermostats`."""

# Places in `account`; energies in eV, times in fs. What the host says:
DT, KIND, FREEDOMS = 0, 1, 2
QUANTUM, TAU = 3, 4  # kT, coupling time
CHAIN = 5  # length of the Nose-Hoover chain
KEY = 6  # of the noise; two places
MASS, TOTAL_MASS = 8, 9  # amu (angstrom/fs)^2 in eV; mass of all agents, amu
OWN = 10  # 1 where the drift is taken off after each step
HOTTEST, CLOSEST, LONGEST = 11, 12, 13  # guards: kinetic energy; pair, in units of its wall's radius; bond squared
FARTHEST, REACH = 14, 15  # squared, that an agent may move before the list is made anew; of the list
BOX, CELLS = 16, 19  # edges, and numbers of cells; three places each
# What both write:
RENEW = 22  # 1: the list is to be made anew
DRAWS, HEAT, RATES, ANGLES, KINETIC = 23, 24, 25, 28, 31  # three places for rates and angles of a chain
# What the kernel says:
TAKEN, HALTED = 32, 33  # steps; 1: a guard tripped after the last
SHORT = 34  # 1: the list has too few columns; when it has more, the step is to be gone on with
LOSS = 35
EXCESS = 36  # power of the non-reciprocal part of the forces
FACTOR, SHIFT, NEXT = 37, 38, 41  # what waits until the next pass: v <- (v FACTOR + SHIFT) NEXT
PLACES = 42

SUMS = 8
"""Columns of `sums`: kinetic energy, momentum (3), loss, energy of the noise, closest pair, longest bond squared."""


class Box(NamedTuple):
    """The arrays of one box, all on the device, in the order of the kernel's arguments.

    Attributes
    ----------
    account : (PLACES,) float64
    places : (4, n_agents, 3) float64
        Positions and velocities in the order of the agents; what local positions are counted from, and local positions
        when the list was made, in the order of the cells.
    masses : (n_agents,) float64, amu
    integers : (6, n_agents) int32
        In the order of the agents: species, cell, place within it, row; in the order of the cells: agent, species.
    cells : (2, n_species * n_cells + 1) int32
        Number of agents, and first row, of each cell of each species.
    parts : (n,) int32
        Numbers of agents in portions of the cells.
    ends : (n_agents, n_species) int32
        The neighbours of species b are the entries from ``ends[i, b - 1]`` to ``ends[i, b]``.
    entries : (n_agents, columns) int32
        As `kernels.neighbors.by_species` sorts them.
    watched : (n_bonds, 2) int32
        Pairs of agents whose distance is looked at.
    sums : (n_portions, 8) float64
    local : (n_agents, 4) float32 or float64
        Positions as pairs need them, in the order of the cells; the last column means nothing.
    """

    account: Any
    places: Any
    masses: Any
    integers: Any
    cells: Any
    parts: Any
    ends: Any
    entries: Any
    watched: Any
    sums: Any
    local: Any


def portions(n: int) -> int:
    """In how many portions sums over n agents are taken: few enough for one block to add up."""
    return min(-(-n // passes.THREADS), MOST_PORTIONS)


def cell_portion() -> int:
    """Cells whose agents are counted at once."""
    return 8 * passes.THREADS


def grid_of_cells(box: np.ndarray, reach: float, n_agents: int) -> np.ndarray:
    """Numbers of cells in three directions, (3,) int64, for a box (3,) with no edge shorter than `reach`."""
    most = max(1.0, MOST_CELLS_PER_AGENT * n_agents)
    cells = np.maximum(1, np.floor(box * CELLS_PER_REACH / reach))
    while cells.prod() > most and cells.max() > 1:
        cells = np.maximum(1, np.floor(cells / 1.25))
    return cells.astype(np.int64)


_on_device = cuda.jit(device=True)  # float64 without shortcuts


@_on_device
def _begin(account):  # type: ignore[no-untyped-def]
    """What a thermostat does before the first kick: one thread, K being known. The factor waits in `account`."""
    account[NEXT] = _outer(account, 0.5 * account[DT])


@_on_device
def _outer(account, dt):  # type: ignore[no-untyped-def]
    """Thermostats that scale all velocities, for `dt` fs; returns the factor (see `mldsim.thermostats`)."""
    kinetic = account[KINETIC]
    kind = int(account[KIND])
    factor = 1.0
    if kind == CSVR:
        account[DRAWS] += 1.0
        freedoms = int(account[FREEDOMS])
        normal, others = normal_and_squares(int(account[KEY]), int(account[KEY + 1]), int(account[DRAWS]), freedoms - 1)
        if kinetic > 0.0:
            c = math.exp(-dt / account[TAU])
            quantum = account[QUANTUM] / (2.0 * kinetic)
            cross = math.sqrt((1.0 - c) * quantum) * normal + math.sqrt(c)
            square = cross * cross + (1.0 - c) * quantum * others
            factor = math.copysign(math.sqrt(square), cross)
            account[HEAT] += kinetic * (square - 1.0)
            account[KINETIC] = kinetic * square
    elif kind == NOSE_HOOVER and math.isfinite(kinetic):
        rates = cuda.local.array(3, np.float64)
        angles = cuda.local.array(3, np.float64)
        n = int(account[CHAIN])
        for k in range(n):
            rates[k] = account[RATES + k]
            angles[k] = account[ANGLES + k]
        now = nose_hoover.propagate(
            kinetic, rates[:n], angles[:n], account[FREEDOMS], account[QUANTUM], account[TAU], dt
        )
        for k in range(n):
            account[RATES + k] = rates[k]
            account[ANGLES + k] = angles[k]
        if kinetic > 0.0:
            factor = math.sqrt(now / kinetic)
        account[HEAT] += now - kinetic
        account[KINETIC] = now
    return factor


@_on_device
def _conclude(account, kinetic, px, py, pz, loss, noise, closest, longest, more):  # type: ignore[no-untyped-def]
    """The end of a step, by one thread: thermostat, drift, guards; and the beginning of the next where there is one."""
    account[TAKEN] += 1.0
    account[LOSS] = loss
    account[HEAT] += account[MASS] * noise
    account[KINETIC] = account[MASS] * kinetic
    factor = _outer(account, 0.5 * account[DT])
    account[FACTOR] = factor
    for d in range(3):
        account[SHIFT + d] = 0.0
    if account[OWN] > 0.0:
        mass = account[TOTAL_MASS]
        account[SHIFT] = -factor * px / mass
        account[SHIFT + 1] = -factor * py / mass
        account[SHIFT + 2] = -factor * pz / mass
        account[KINETIC] -= 0.5 * account[MASS] * factor * factor * (px * px + py * py + pz * pz) / mass
    account[RENEW] = 0.0
    # Not a number is trouble too.
    fine = account[KINETIC] <= account[HOTTEST] and closest >= account[CLOSEST] and longest <= account[LONGEST]
    account[HALTED] = 0.0 if fine else 1.0
    account[NEXT] = 1.0
    if fine and more:
        _begin(account)


@_on_device
def _cell(x, per_length, cells):  # type: ignore[no-untyped-def]
    """Cell of a coordinate within the box, in one direction; rounding may have put it on an edge."""
    return min(max(int(x * per_length), 0), cells - 1)


@_on_device
def _reached(x, reach, edge, cells):  # type: ignore[no-untyped-def]
    """First and last cell within reach of a coordinate, in one direction; those beyond the box are an image's."""
    # On a GPU floor gives a float.
    return (
        max(int(math.floor((x - reach) * cells / edge)), -cells),  # noqa: RUF046
        min(int(math.floor((x + reach) * cells / edge)), 2 * cells - 1),  # noqa: RUF046
    )


@_on_device
def _find(row, account, home, local, first, ends, entries):  # type: ignore[no-untyped-def]
    """Neighbours of one row, by one block, a thread for each column of cells: counted first, and then written."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    reach = account[REACH]
    lx, ly, lz = account[BOX], account[BOX + 1], account[BOX + 2]
    nx, ny, nz = int(account[CELLS]), int(account[CELLS + 1]), int(account[CELLS + 2])
    x_first, x_last = _reached(home[row, 0], reach, lx, nx)
    y_first, y_last = _reached(home[row, 1], reach, ly, ny)
    z_first, z_last = _reached(home[row, 2], reach, lz, nz)
    wide = y_last - y_first + 1
    columns = (x_last - x_first + 1) * wide
    x, y, z, _ = four(local, 4 * row)
    real = type(x)
    within = real(reach * reach)
    found = 0
    for b in range(ends.shape[1]):
        for begin in range(0, columns, threads):
            cx, cy = x_first + (begin + thread) // wide, y_first + (begin + thread) % wide
            ix, iy = int(cx >= nx) - int(cx < 0), int(cy >= ny) - int(cy < 0)
            column = ((b * nx + cx - ix * nx) * ny + cy - iy * ny) * nz
            mine, place = 0, 0
            for writes in range(2):
                if begin + thread < columns:
                    for iz in range(-1, 2):
                        low, high = max(z_first, iz * nz) - iz * nz, min(z_last, (iz + 1) * nz - 1) - iz * nz
                        if low > high:
                            continue
                        code = 9 * (ix + 1) + 3 * (iy + 1) + iz + 1
                        for p in range(first[column + low], first[column + high + 1]):
                            px, py, pz, _ = four(local, 4 * p)
                            dx, dy, dz = x - px - real(ix * lx), y - py - real(iy * ly), z - pz - real(iz * lz)
                            if dx * dx + dy * dy + dz * dz < within and not (p == row and code == 13):
                                if writes and place < entries.shape[1]:
                                    entries[row, place] = 32 * p + code
                                mine, place = mine + 1, place + 1
                if not writes:
                    earlier, together = before(mine)
                    place = found + earlier
                    found += together
        filled = (found + 3) // 4 * 4
        if thread < filled - found and filled <= entries.shape[1]:
            entries[row, found + thread] = 32 * row + passes.NOBODY
        found = filled
        if thread == 0:
            ends[row, b] = min(found, entries.shape[1] // 4 * 4)
    if found > entries.shape[1]:
        account[SHORT] = 1.0  # by whoever: all write the same


class Form(NamedTuple):
    """What a step kernel is compiled for.

    Attributes
    ----------
    n_species, n_radial, max_rank : int
    n_channels : int
        Of the cubic part; 0 without one.
    hops, waves : bool
    own : bool
        Whether each agent descends its own loss.
    real : type
        ``np.float32`` or ``np.float64``.
    """

    n_species: int
    n_radial: int
    max_rank: int
    n_channels: int
    hops: bool
    waves: bool
    own: bool
    real: Any


@cache
def step_kernel(form: Form) -> Any:
    """The kernel of whole steps.

    Raises
    ------
    ValueError
        If what one agent needs does not fit into the memory of a block.
    """
    n_species, n_radial, max_rank, n_channels, hops, waves, own, real = form
    threads, per_cells = passes.THREADS, cell_portion()
    passes.check_shared(n_species, n_radial, max_rank, n_channels, real, hops=hops)
    n_hops = n_channels if hops else 0
    gradients_of = passes.gradients_of_one(n_species, n_radial, max_rank, real)
    force_on = passes.force_on_one(n_species, n_radial, max_rank, n_hops, own, real)
    common_force_on = passes.force_on_one(n_species, n_radial, max_rank, 0, False, real)
    cubic, c = n_channels > 0, max(n_channels, 1)  # what is not there is compiled away
    cubic_of = passes.cubic_of_one(n_species, n_radial, max_rank, c, real)
    hops_of = passes.hops_of_one(n_species, n_radial, c, real)
    give_back_of = passes.give_back_of_one(n_species, n_radial, c, real)
    tabulate_one, sum_up_one, give_one = passes.waves_of_one(n_species, real)

    @_on_device
    def make_list(  # type: ignore[no-untyped-def]
        account, places, integers, cells, parts, ends, entries, local, slot_agents, slot_rows
    ):
        grid = cuda.cg.this_grid()
        position, origin, home = places[0], places[2], places[3]
        kind, cell_of, slot, row_of = integers[0], integers[1], integers[2], integers[3]
        order, species = integers[4], integers[5]
        number, first = cells[0], cells[1]
        n, n_cells = order.shape[0], number.shape[0] - 1
        block, blocks, thread = cuda.blockIdx.x, cuda.gridDim.x, cuda.threadIdx.x
        here, stride = block * threads + thread, blocks * threads
        for cell in range(here, n_cells, stride):
            number[cell] = 0
        if here == 0:
            account[SHORT] = 0.0
        grid.sync()

        for i in range(here, n, stride):
            cell = kind[i]  # the species first, so that neighbours of one species come in one run
            for d in range(3):
                edge, along = account[BOX + d], int(account[CELLS + d])
                x = position[i, d] - edge * math.floor(position[i, d] / edge)
                cell = cell * along + _cell(x, along / edge, along)
            cell_of[i] = cell
            slot[i] = cuda.atomic.add(number, cell, 1)
        grid.sync()

        # Where each cell begins: portions of cells are counted, then everybody adds up those before its own.
        n_parts = (n_cells + per_cells - 1) // per_cells
        for part in range(block, n_parts, blocks):
            mine = 0
            begin = part * per_cells + thread * 8
            for cell in range(begin, min(begin + 8, n_cells)):
                mine += number[cell]
            mine = total(mine)
            if thread == 0:
                parts[part] = mine
        grid.sync()
        for part in range(block, n_parts, blocks):
            mine = 0
            for earlier in range(thread, part, threads):
                mine += parts[earlier]
            base = total(mine)
            mine = 0
            begin = part * per_cells + thread * 8
            for cell in range(begin, min(begin + 8, n_cells)):
                mine += number[cell]
            base += before(mine)[0]
            for cell in range(begin, min(begin + 8, n_cells)):
                first[cell] = base
                base += number[cell]
        if here == 0:
            first[n_cells] = n
        grid.sync()

        for i in range(here, n, stride):
            order[first[cell_of[i]] + slot[i]] = i
        grid.sync()
        for cell in range(here, n_cells, stride):  # their order within a cell was chance
            for row in range(first[cell] + 1, first[cell + 1]):
                agent, free = order[row], row
                while free > first[cell] and order[free - 1] > agent:
                    order[free] = order[free - 1]
                    free -= 1
                order[free] = agent
        grid.sync()

        for row in range(here, n, stride):
            i = order[row]
            row_of[i] = row
            species[row] = kind[i]
            for d in range(3):
                edge = account[BOX + d]
                corner = edge * math.floor(position[i, d] / edge)
                x = position[i, d] - corner
                origin[row, d] = corner
                home[row, d] = x
                local[row, d] = real(x)
        grid.sync()
        for row in range(block, n, blocks):
            _find(row, account, home, local, first, ends, entries)
        if waves:
            for q in range(here, slot_agents.shape[0], stride):
                slot_rows[q] = row_of[slot_agents[q]] if slot_agents[q] >= 0 else -1
        grid.sync()

    @_on_device
    def kick_and_drift(  # type: ignore[no-untyped-def]
        account, places, masses, integers, forces, local, sums
    ):
        position, velocity, origin, home = places[0], places[1], places[2], places[3]
        order = integers[4]
        n = order.shape[0]
        per_portion = (n + sums.shape[0] - 1) // sums.shape[0]
        half = 0.5 * account[DT]
        langevin = int(account[KIND]) == LANGEVIN
        keep = math.exp(-account[DT] / account[TAU])
        share = math.sqrt(-math.expm1(-2.0 * account[DT] / account[TAU]) * account[QUANTUM] / account[MASS])
        draw = int(account[DRAWS]) + 1
        thread = cuda.threadIdx.x
        for part in range(cuda.blockIdx.x, sums.shape[0], cuda.gridDim.x):
            gained = 0.0
            for row in range(part * per_portion + thread, min((part + 1) * per_portion, n), threads):
                i = order[row]
                mass = masses[i]
                gain = half / (account[MASS] * mass)
                vx = (velocity[i, 0] * account[FACTOR] + account[SHIFT]) * account[NEXT] + gain * forces[row, 0]
                vy = (velocity[i, 1] * account[FACTOR] + account[SHIFT + 1]) * account[NEXT] + gain * forces[row, 1]
                vz = (velocity[i, 2] * account[FACTOR] + account[SHIFT + 2]) * account[NEXT] + gain * forces[row, 2]
                x, y, z = position[i, 0] + half * vx, position[i, 1] + half * vy, position[i, 2] + half * vz
                if langevin:
                    before = vx * vx + vy * vy + vz * vz
                    rx, ry, rz = three_normals(int(account[KEY]), int(account[KEY + 1]), draw, i)
                    width = share / math.sqrt(mass)
                    vx, vy, vz = keep * vx + width * rx, keep * vy + width * ry, keep * vz + width * rz
                    gained += 0.5 * mass * (vx * vx + vy * vy + vz * vz - before)
                x, y, z = x + half * vx, y + half * vy, z + half * vz
                velocity[i, 0], velocity[i, 1], velocity[i, 2] = vx, vy, vz
                position[i, 0], position[i, 1], position[i, 2] = x, y, z
                x, y, z = x - origin[row, 0], y - origin[row, 1], z - origin[row, 2]
                local[row, 0], local[row, 1], local[row, 2] = real(x), real(y), real(z)
                x, y, z = x - home[row, 0], y - home[row, 1], z - home[row, 2]
                if not x * x + y * y + z * z < account[FARTHEST]:
                    account[RENEW] = 1.0  # by whoever: all write the same
            if langevin:
                gained = total(gained)
                if thread == 0:
                    sums[part, 5] = gained

    @_on_device
    def kick_and_sum(  # type: ignore[no-untyped-def]
        account, places, masses, integers, losses, closest, forces, watched, sums
    ):
        position, velocity = places[0], places[1]
        order = integers[4]
        n, n_watched = order.shape[0], watched.shape[0]
        per_portion = (max(n, n_watched) + sums.shape[0] - 1) // sums.shape[0]
        half = 0.5 * account[DT]
        langevin = int(account[KIND]) == LANGEVIN
        thread = cuda.threadIdx.x
        for part in range(cuda.blockIdx.x, sums.shape[0], cuda.gridDim.x):
            kinetic, px, py, pz, loss = 0.0, 0.0, 0.0, 0.0, 0.0
            nearest, longest = 1e300, 0.0
            for row in range(part * per_portion + thread, min((part + 1) * per_portion, n), threads):
                i = order[row]
                mass = masses[i]
                gain = half / (account[MASS] * mass)
                vx = velocity[i, 0] + gain * forces[row, 0]
                vy = velocity[i, 1] + gain * forces[row, 1]
                vz = velocity[i, 2] + gain * forces[row, 2]
                velocity[i, 0], velocity[i, 1], velocity[i, 2] = vx, vy, vz
                kinetic += 0.5 * mass * (vx * vx + vy * vy + vz * vz)
                px, py, pz = px + mass * vx, py + mass * vy, pz + mass * vz
                loss += losses[row]
                nearest = min(nearest, np.float64(closest[row]))
            for b in range(part * per_portion + thread, min((part + 1) * per_portion, n_watched), threads):
                i, j = watched[b, 0], watched[b, 1]
                x, y, z = (
                    position[i, 0] - position[j, 0],
                    position[i, 1] - position[j, 1],
                    position[i, 2] - position[j, 2],
                )
                longest = max(longest, x * x + y * y + z * z)
            kinetic, loss, px, py, pz = total(kinetic), total(loss), total(px), total(py), total(pz)
            nearest, longest = least(nearest), most(longest)
            if thread == 0:
                sums[part, 0], sums[part, 1], sums[part, 2], sums[part, 3] = kinetic, px, py, pz
                sums[part, 4], sums[part, 6], sums[part, 7] = loss, nearest, longest
                if not langevin:
                    sums[part, 5] = 0.0

    @_on_device
    def conclude(account, sums, more):  # type: ignore[no-untyped-def]
        """By the first block alone."""
        thread = cuda.threadIdx.x
        kinetic, px, py, pz, loss, noise = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        nearest, longest = 1e300, 0.0
        for part in range(thread, sums.shape[0], threads):
            kinetic, loss, noise = kinetic + sums[part, 0], loss + sums[part, 4], noise + sums[part, 5]
            px, py, pz = px + sums[part, 1], py + sums[part, 2], pz + sums[part, 3]
            nearest, longest = min(nearest, sums[part, 6]), max(longest, sums[part, 7])
        kinetic, loss, noise = total(kinetic), total(loss), total(noise)
        px, py, pz, nearest, longest = total(px), total(py), total(pz), least(nearest), most(longest)
        if thread == 0:
            if int(account[KIND]) == LANGEVIN:
                account[DRAWS] += 1.0
            _conclude(account, kinetic, px, py, pz, loss, noise, nearest, longest, more)

    @passes.kernel_for(*form, **limited(REGISTERS))
    def steps(  # type: ignore[no-untyped-def]
        task, wanted, begun, account, places, masses, integers, cells, parts, ends, entries, watched, sums, local,
        shift, cutoff, start, per_row, table, linear, quadratic, wall_radius, wall_energy, wall_force, losses, gradient,
        closest, fields, forces, distant, channels, offsets, tightness, tensors, numbers, slopes, by_number,
        by_function, pulls, per_length, vectors, slot_agents, slot_rows, begins, phases, charges, coupling, taken,
        potentials,
    ):  # fmt: skip
        grid = cuda.cg.this_grid()
        block, blocks, thread = cuda.blockIdx.x, cuda.gridDim.x, cuda.threadIdx.x
        species = integers[5]
        n = species.shape[0]
        both = real(0.0 if own else 1.0)

        if own and task == POWER:
            for i in range(block, n, blocks):
                cuda.syncthreads()
                # `slopes` has no rows in own scope: nothing distant is added.
                common_force_on(
                    i, local, species, shift, ends, entries, cutoff, start, per_row, table, gradient, wall_radius,
                    wall_force, real(1.0), numbers, pulls, slopes, distant,
                )  # fmt: skip
            grid.sync()
            for part in range(block, sums.shape[0], blocks):
                power = 0.0
                per_portion = (n + sums.shape[0] - 1) // sums.shape[0]
                for row in range(part * per_portion + thread, min((part + 1) * per_portion, n), threads):
                    i = integers[4, row]
                    for d in range(3):
                        power += places[1, i, d] * (np.float64(forces[row, d]) - np.float64(distant[row, d]))
                power = total(power)
                if thread == 0:
                    sums[part, 0] = power
            grid.sync()
            if block == 0 and thread == 0:
                power = 0.0
                for part in range(sums.shape[0]):
                    power += sums[part, 0]
                account[EXCESS] = power
            return

        if block == 0 and thread == 0:
            account[TAKEN], account[HALTED], account[SHORT] = 0.0, 0.0, 0.0
            if begun == 0:
                account[FACTOR], account[SHIFT], account[SHIFT + 1], account[SHIFT + 2] = 1.0, 0.0, 0.0, 0.0
                _begin(account)
        grid.sync()

        for step in range(wanted):
            if step > 0 or begun == 0:
                kick_and_drift(account, places, masses, integers, forces, local, sums)
                grid.sync()
            if account[RENEW] > 0.0:
                make_list(
                    account, places, integers, cells, parts, ends, entries, local, slot_agents, slot_rows
                )  # fmt: skip
                if account[SHORT] > 0.0:  # for all blocks alike; velocities have no factor that waits
                    return

            for i in range(block, n, blocks):
                cuda.syncthreads()  # the last agent's shared memory is free
                gradients_of(
                    i, local, species, shift, ends, entries, cutoff, start, per_row, table, linear, quadratic,
                    wall_radius, wall_energy, losses, gradient, closest, fields,
                )  # fmt: skip
                if cubic:
                    cuda.syncthreads()
                    cubic_of(
                        i, species, fields, channels, offsets, tightness, tensors, losses, gradient, numbers, slopes
                    )
                if own:
                    cuda.syncthreads()
                    force_on(
                        i, local, species, shift, ends, entries, cutoff, start, per_row, table, gradient,
                        wall_radius, wall_force, both, numbers, pulls, slopes, forces,
                    )  # fmt: skip
            grid.sync()
            if hops:
                for i in range(block, n, blocks):
                    cuda.syncthreads()
                    hops_of(
                        i, local, species, shift, ends, entries, cutoff, start, per_row, table, numbers, by_number,
                        by_function, losses, slopes, pulls,
                    )  # fmt: skip
                grid.sync()
            if waves:
                for q in range(block * threads + thread, slot_rows.shape[0], blocks * threads):
                    tabulate_one(q, local, per_length, numbers, slot_rows, phases, charges)
                grid.sync()
                for k in range(block, vectors.shape[0], blocks):
                    cuda.syncthreads()
                    sum_up_one(k, vectors, begins, phases, charges, coupling, potentials)
                grid.sync()
                for q in range(block, slot_rows.shape[0], blocks):
                    cuda.syncthreads()
                    give_one(
                        q, species, per_length, vectors, slot_rows, phases, charges, taken, potentials, losses,
                        slopes, distant,
                    )  # fmt: skip
                grid.sync()
            if hops or waves:
                for i in range(block, n, blocks):
                    give_back_of(i, species, channels, tightness, numbers, slopes, gradient)
                grid.sync()
            if not own:
                for i in range(block, n, blocks):
                    cuda.syncthreads()
                    force_on(
                        i, local, species, shift, ends, entries, cutoff, start, per_row, table, gradient,
                        wall_radius, wall_force, both, numbers, pulls, distant, forces,
                    )  # fmt: skip
                grid.sync()
            if task == EVALUATE:
                if block == 0 and thread == 0:
                    account[RENEW] = 0.0
                return

            kick_and_sum(account, places, masses, integers, losses, closest, forces, watched, sums)
            grid.sync()
            if block == 0:
                conclude(account, sums, step + 1 < wanted)
            grid.sync()
            if account[HALTED] > 0.0:
                break

        for i in range(block * threads + thread, n, blocks * threads):
            for d in range(3):
                places[1, i, d] = places[1, i, d] * account[FACTOR] + account[SHIFT + d]

    return steps


def ready(kernel: Any, arguments: tuple[Any, ...], most: int) -> Any:
    """The kernel compiled for these arguments and configured for as many blocks as the device holds, at most `most`.

    Compiles what no earlier start has; raises whatever Numba and the driver raise.
    """
    if config.ENABLE_CUDASIM:
        definition = kernel.overloads[None]
    else:
        definition = kernel.compile(tuple(kernel.typeof_pyval(argument) for argument in arguments))
    blocks = min(most, definition.max_cooperative_grid_blocks(passes.THREADS))
    return kernel[max(blocks, 1), passes.THREADS]


def room(shape: tuple[int, ...], real: Any) -> Any:
    """An array on the device, not filled."""
    return cuda.device_array(shape, real)
