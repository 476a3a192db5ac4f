"""Where a simulation starts: a box of liquid water of any size, or a structure from a file.

Water is made from equilibrated configurations of 64 molecules (CP2K, 300 K) that come with mldsim. Repeated
periodically they fill any space with liquid. Where the number of molecules is 64 k^3, k^3 whole repeats are the box.
Otherwise a cube with somewhat too many molecules is cut out of the repeats at a random place; across its faces
molecules meet that never saw each other, and of those the ones with the worst contacts are taken out until the number
is right. Molecules are then moved as rigid bodies to the density that was asked for. What strain is left
at the seam is relaxed by `simulation.build_simulation` with the model itself.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.errors import InputError
from mldsim.kernels.neighbors import IMAGES, build_list, order_by_cell
from mldsim.molecules import find_bonds, made_whole
from mldsim.observables import draw_velocities
from mldsim.parameters import ThermostatKind
from mldsim.recognise import is_hdf5
from mldsim.state import State
from mldsim.thermostats import degrees_of_freedom

Array = NDArray[np.float64]

CLEAR = (2.6, 1.7, 1.8)
"""angstrom; O-O, O-H and H-H distances between molecules below which a contact counts as strained: where g(r) of the
liquid begins to rise from zero, or a little above it."""

EXCESS = 0.8
"""Molecules cut out beyond the number asked for, in units of n^(2/3), which counts those at the seam. Tried from 0.3 to
1.5 with 8 to 4096 molecules: fewer leave contacts below `CLEAR`, more have to be squeezed together afterwards."""

MOST_ATTEMPTS = 20
"""Cuts of a small box to choose from, the least strained wins; a box of more than 1000 molecules takes the first."""


def water_box(
    n_molecules: int, density: float, temperature: float, seed: int, symbols: tuple[str, ...], masses: Array
) -> State:
    """Liquid water in a periodic cube: agents in the order O, H, H, molecule after molecule.

    Parameters
    ----------
    n_molecules : int
    density : float, g/cm^3
    temperature : float, K
        Of the velocities, which are Maxwell-Boltzmann with zero momentum and exactly this temperature.
    seed : int
        The same seed gives the same box.
    symbols : tuple of str
        Species of the model, in its order.
    masses : (n_species,) float64, amu

    Raises
    ------
    InputError
        If the model does not know both O and H.
    """
    if not {"O", "H"} <= set(symbols):
        raise InputError(
            f"A box of water needs a model that knows O and H; this one knows {', '.join(symbols)}. "
            "Start from a structure file instead."
        )
    rng = np.random.default_rng(seed)
    molecule = np.array([symbols.index("O"), symbols.index("H"), symbols.index("H")], np.int32)
    species = np.tile(molecule, n_molecules)
    agent_masses = np.asarray(masses, np.float64)[species]
    edge = float(np.cbrt(agent_masses.sum() * units.AMU_PER_A3_IN_G_CM3 / density))
    positions = _liquid(n_molecules, edge, rng).reshape(-1, 3)
    oxygen = 3 * np.arange(n_molecules, dtype=np.int32)
    state = State(
        positions=positions,
        velocities=np.zeros_like(positions),
        species=species,
        symbols=tuple(symbols),
        masses=agent_masses,
        box=np.full(3, edge),
        bonds=np.stack([np.repeat(oxygen, 2), (oxygen[:, None] + [1, 2]).ravel()], axis=1).astype(np.int32),
        rng=rng,
    )
    draw_velocities(state, temperature, _freedoms(state))
    return state


def _liquid(n: int, edge: float, rng: np.random.Generator) -> Array:
    """Molecules (n, 3, 3) of a cube of that edge, whole, with their oxygens inside."""
    snapshot, repeat = _snapshot(rng)
    across = round(np.cbrt(n / len(snapshot)))
    if len(snapshot) * across**3 == n:
        return _at_density(_repeated(snapshot, repeat, across), across * repeat, edge)
    attempts = max(1, min(MOST_ATTEMPTS, 2000 // n))
    candidates = [_cut(snapshot, repeat, n, edge, rng) for _ in range(attempts)]
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda molecules: float((_contacts(molecules, edge)[2] ** 2).sum()))


def _snapshot(rng: np.random.Generator) -> tuple[Array, float]:
    """One of the equilibrated configurations, (64, 3, 3) with whole molecules, and its edge, angstrom."""
    from mldsim.readers import hdf5

    with resources.as_file(resources.files("mldsim.assets.data") / "water64_start.h5") as path:
        (frames,) = hdf5.read(path)
    edge = float(frames.boxes[0, 0])
    molecules = frames.positions[rng.integers(frames.n_frames)].reshape(-1, 3, 3).copy()
    arms = molecules[:, 1:] - molecules[:, :1]
    arms -= edge * np.round(arms / edge)
    molecules[:, 0] %= edge
    molecules[:, 1:] = molecules[:, :1] + arms
    return molecules, edge


def _repeated(molecules: Array, repeat: float, across: int) -> Array:
    cells = repeat * np.stack(np.meshgrid(*[np.arange(across)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 1, 3)
    return np.asarray((molecules + cells).reshape(-1, 3, 3))


def _at_density(molecules: Array, before: float, edge: float) -> Array:
    """Scale the places of the oxygens from one edge to another; the molecules themselves stay as they are."""
    return np.asarray(molecules + molecules[:, :1] * (edge / before - 1.0))


def _cut(snapshot: Array, repeat: float, n: int, edge: float, rng: np.random.Generator) -> Array:
    """Cut n molecules out of the repeats, thinned at the seam, in a cube of that edge."""
    wanted = n + round(EXCESS * n ** (2 / 3))
    shifted = snapshot - rng.uniform(0.0, repeat, 3)
    shifted -= repeat * np.floor(shifted[:, :1] / repeat)
    across = int(np.ceil(np.cbrt(wanted / len(snapshot)) + 0.25)) + 1
    molecules = _repeated(shifted, repeat, across)
    reach = molecules[:, 0].max(axis=1)  # of the smallest cube at the origin that holds the molecule
    order = np.argsort(reach, kind="stable")
    cube = 0.5 * float(reach[order[wanted - 1]] + reach[order[wanted]])
    return _at_density(_thinned(molecules[order[:wanted]], cube, n), cube, edge)


def _contacts(molecules: Array, edge: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Pairs of molecules that are too close, by which fraction of `CLEAR`; one entry per pair of agents."""
    # A neighbour is then seen in one image only.
    reach = min(CLEAR[0], 0.499 * edge)
    box = np.full(3, edge)
    points = molecules.reshape(-1, 3)
    order = order_by_cell(points, box, reach)
    origin, count, entries = build_list(points[order], box, reach, 16)
    listed = np.arange(entries.shape[1]) < count[:, None]
    first, entry = np.repeat(np.arange(len(points)), count), entries[listed]
    second, code = entry >> 5, entry & 31
    once = (second > first) & (order[first] // 3 != order[second] // 3)
    first, second, code = first[once], second[once], code[once]
    local = points[order] - origin
    separation = local[first] - local[second] - IMAGES[code] * box
    pairs = np.stack([order[first], order[second]], axis=1)
    hydrogens = np.count_nonzero(pairs % 3, axis=1)
    overlap = 1.0 - np.sqrt(np.einsum("ij,ij->i", separation, separation)) / np.array(CLEAR)[hydrogens]
    first, second = (pairs[overlap > 0.0] // 3).T
    return first, second, overlap[overlap > 0.0]


def _thinned(molecules: Array, edge: float, n: int) -> Array:
    """Take out the molecule with the worst sum of contacts until n are left."""
    first, second, overlap = _contacts(molecules, edge)
    strain = np.bincount(first, overlap, len(molecules)) + np.bincount(second, overlap, len(molecules))
    partners: dict[int, list[tuple[int, float]]] = {}
    for i, j, value in zip(first.tolist(), second.tolist(), overlap.tolist(), strict=True):
        partners.setdefault(i, []).append((j, value))
        partners.setdefault(j, []).append((i, value))
    kept = np.ones(len(molecules), bool)
    for _ in range(len(molecules) - n):
        worst = int(np.argmax(strain))
        kept[worst] = False
        strain[worst] = -np.inf
        for partner, value in partners.get(worst, ()):
            strain[partner] -= value
    return np.asarray(molecules[kept])


class _Structure(NamedTuple):
    """What a file holds; angstrom and angstrom/fs, one entry per agent."""

    symbols: tuple[str, ...]
    positions: Array
    box: Array
    velocities: Array | None = None
    bonds: NDArray[np.int32] | None = None


def read_structure(
    path: str | Path, symbols: tuple[str, ...], masses: Array, seed: int, temperature: float, number: int = -1
) -> State:
    """Start from a file: a frame of an extended XYZ file, of a trajectory (H5MD) or of a data set.

    Positions stay where the file has them, but molecules are made whole. Bonds and velocities are the file's; where it
    has none, bonds are found from the distances, and velocities are drawn with zero momentum and exactly `temperature`.

    Parameters
    ----------
    path : path
    symbols : tuple of str
        Species of the model, in its order.
    masses : (n_species,) float64, amu
    seed : int
        Of the generator that draws velocities and goes on as the state's.
    temperature : float, K
    number : int
        Of the frame, from 0, or from the end where it is negative.

    Raises
    ------
    InputError
        If the file cannot be read, has no such frame, holds fewer than two agents or a species that the model does not
        know, or has no periodic, orthorhombic box.
    """
    path = Path(path)
    try:
        hdf5 = is_hdf5(path)
    except FileNotFoundError:
        raise InputError(f"There is no starting structure {path}.") from None
    except OSError as error:
        raise InputError(f"{path}: the starting structure cannot be read: {error.strerror}.") from None
    found, positions, box, velocities, bonds = (_read_hdf5 if hdf5 else _read_xyz)(path, number)

    if len(found) < 2:
        raise InputError(f"{path}: a simulation needs at least two agents; {len(found)} found.")
    unknown = sorted(set(found) - set(symbols))
    if unknown:
        raise InputError(
            f"{path}: the structure holds {', '.join(unknown)}, but the model knows only {', '.join(symbols)}."
        )
    for name, values in (("positions", positions), ("velocities", velocities)):
        if values is not None and not np.isfinite(values).all():
            agent = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise InputError(f"{path}: the {name} of agent {agent} ({found[agent]}) are not finite numbers.")

    structure = _Structure(found, positions, box, velocities, bonds)
    return _state(structure, symbols, masses, seed, temperature)


def frame_state(
    found: tuple[str, ...],
    positions: Array,
    box: Array,
    symbols: tuple[str, ...],
    masses: Array,
    seed: int,
    temperature: float,
) -> State:
    """Start from a frame at hand; molecules are made whole, and velocities drawn as for `read_structure`.

    Parameters
    ----------
    found : tuple of str
        Symbol of each agent; the model knows them all.
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
    symbols, masses, seed, temperature
        See `read_structure`.
    """
    return _state(_Structure(found, positions, box), symbols, masses, seed, temperature)


def _state(structure: _Structure, symbols: tuple[str, ...], masses: Array, seed: int, temperature: float) -> State:
    found, positions, box, velocities, bonds = structure
    species = np.array([symbols.index(symbol) for symbol in found], np.int32)
    if bonds is None:
        bonds = find_bonds(found, positions, box)
    state = State(
        positions=made_whole(positions, box, bonds),
        velocities=np.zeros_like(positions) if velocities is None else np.array(velocities, np.float64),
        species=species,
        symbols=tuple(symbols),
        masses=np.asarray(masses, np.float64)[species],
        box=np.array(box, np.float64),
        bonds=bonds,
        rng=np.random.default_rng(seed),
    )
    if velocities is None:
        draw_velocities(state, temperature, _freedoms(state))
    return state


def _freedoms(state: State) -> int:
    return degrees_of_freedom(ThermostatKind.NONE, state.n_agents, drift_removed=True)


def _read_xyz(path: Path, number: int) -> _Structure:
    from ase import units as ase_units
    from ase.io import read

    from mldsim.readers.cell import orthorhombic

    try:
        atoms: Any = read(path, index=number, format="extxyz")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration) as error:
        if isinstance(error, IndexError | StopIteration) and number != -1:
            raise InputError(f"{path} has no frame {number} to start from.") from None
        raise InputError(
            f"{path}: a structure is read from extended XYZ, an H5MD trajectory or a dataset, and this is none of them."
        ) from None
    box = orthorhombic(atoms.cell.array, f"{path}: the frame to start from")
    velocities = None
    if atoms.has("momenta"):
        velocities = atoms.get_velocities() * ase_units.fs
    elif atoms.has("velo") and atoms.arrays["velo"].shape == atoms.positions.shape:
        velocities = atoms.arrays["velo"].astype(np.float64)  # as `trajectory.extxyz` writes it
    return _Structure(tuple(atoms.get_chemical_symbols()), np.array(atoms.positions, np.float64), box, velocities)


def _read_hdf5(path: Path, number: int) -> _Structure:
    import h5py

    from mldsim.readers import load_frames
    from mldsim.trajectory.h5md import read_h5md

    try:
        with h5py.File(path, "r") as file:
            is_trajectory = "h5md" in file
    except (OSError, RuntimeError):
        is_trajectory = True  # what a killed writer left: the reader of trajectories mends it or says what is wrong
    if is_trajectory:
        with read_h5md(path) as trajectory:
            frame, topology = trajectory.frame(number), trajectory.topology
        velocities = None if np.isnan(frame.velocities).all() else frame.velocities
        bonds = topology.bonds if len(topology.bonds) else None
        symbols = tuple(topology.symbols[kind] for kind in topology.species)
        return _Structure(symbols, frame.positions, np.asarray(frame.box), velocities, bonds)
    frames = load_frames(path)[-1]
    if not -len(frames) <= number < len(frames):
        raise InputError(f"{path} has no frame {number} to start from.")
    last = frames.take([number])
    velocities = None if last.velocities is None else last.velocities[0]
    return _Structure(last.symbols, last.positions[0], last.boxes[0], velocities)
