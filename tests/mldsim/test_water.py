import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mldsim.dataset import LabelledFrames, save_frames
from mldsim.errors import InputError
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.observables import temperature
from mldsim.parameters import Precision
from mldsim.trajectory.extxyz import ExtxyzWriter
from mldsim.trajectory.h5md import H5MDWriter
from mldsim.water import read_structure, water_box

OH, MASSES = ("O", "H"), np.array([15.999, 1.008])
SIZES = (8, 20, 27, 64, 100, 216, 500, 4096)


def contacts(state):
    """Shortest O-O, O-H and H-H distances between molecules, angstrom."""
    edge = state.box[0]
    points = np.mod(state.positions, edge)
    points[points >= edge] = 0.0
    pairs = cKDTree(points, boxsize=edge).query_pairs(2.7, output_type="ndarray")
    pairs = pairs[pairs[:, 0] // 3 != pairs[:, 1] // 3]
    separation = points[pairs[:, 0]] - points[pairs[:, 1]]
    separation -= edge * np.round(separation / edge)
    distance = np.linalg.norm(separation, axis=1)
    hydrogens = np.count_nonzero(pairs % 3, axis=1)
    return [float(distance[hydrogens == k].min(initial=2.7)) for k in range(3)]


@pytest.mark.parametrize("n", SIZES)
def test_box_has_the_molecules_density_temperature_and_no_momentum(n):
    state = water_box(n, 0.997, 320.0, 1, OH, MASSES)
    assert state.n_agents == 3 * n
    assert [OH[k] for k in state.species[:6]] == ["O", "H", "H", "O", "H", "H"]
    assert state.density_g_cm3 == pytest.approx(0.997)
    assert temperature(state.kinetic_energy(), 9 * n - 3) == pytest.approx(320.0)
    np.testing.assert_allclose(state.momentum(), 0.0, atol=1e-10)


@pytest.mark.parametrize("n", SIZES)
def test_molecules_are_whole_and_apart(n):
    state = water_box(n, 0.997, 300.0, 2, OH, MASSES)
    assert state.bonds.shape == (2 * n, 2)
    bond = np.linalg.norm(state.positions[state.bonds[:, 0]] - state.positions[state.bonds[:, 1]], axis=1)
    assert 0.85 < bond.min() <= bond.max() < 1.2
    oxygen = state.positions[::3]
    assert oxygen.min() >= 0.0
    assert oxygen.max() <= state.box[0]
    oo, oh, hh = contacts(state)
    assert oo >= 2.2
    assert oh >= 1.4
    assert hh >= 1.2


@pytest.mark.parametrize("seed", range(6))
def test_every_seed_gives_a_clean_seam(seed):
    oo, oh, hh = contacts(water_box(50, 0.997, 300.0, seed, OH, MASSES))
    assert oo >= 2.2
    assert oh >= 1.4
    assert hh >= 1.2


def test_same_seed_same_box_other_seed_other_box():
    first, again, other = (water_box(64, 0.997, 300.0, seed, OH, MASSES) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.velocities, again.velocities)
    assert first.rng.bit_generator.state == again.rng.bit_generator.state
    assert np.abs(first.velocities - other.velocities).max() > 1e-3


def test_large_boxes_are_built_in_no_time():
    state = water_box(20_000, 0.997, 300.0, 1, OH, MASSES)
    assert state.n_agents == 60_000
    assert state.density_g_cm3 == pytest.approx(0.997)
    assert contacts(state)[0] >= 2.2


@pytest.mark.parametrize("density", [0.2, 1.1])
def test_density_moves_molecules_as_rigid_bodies(density):
    state = water_box(30, density, 300.0, 1, OH, MASSES)
    assert state.density_g_cm3 == pytest.approx(density)
    bond = np.linalg.norm(state.positions[state.bonds[:, 0]] - state.positions[state.bonds[:, 1]], axis=1)
    assert 0.85 < bond.min() <= bond.max() < 1.2


def test_species_follow_the_order_of_the_model():
    state = water_box(8, 0.997, 300.0, 1, ("H", "Na", "O"), np.array([1.008, 22.99, 15.999]))
    assert state.species[:3].tolist() == [2, 0, 0]
    assert state.masses[:3].tolist() == [15.999, 1.008, 1.008]


def test_water_needs_oxygen_and_hydrogen():
    with pytest.raises(InputError, match="knows O and H; this one knows Ar"):
        water_box(8, 0.997, 300.0, 1, ("Ar",), np.array([39.9]))


# -- structures from files


def make_frame(state):
    row = ThermoRow(**dict.fromkeys(THERMO_COLUMNS, 0.0))
    zeros = np.zeros_like(state.positions)
    return Frame(7, 3.5, state.box, state.positions, state.velocities, zeros, zeros[:, 0], row)


@pytest.fixture
def start():
    return water_box(10, 0.9, 300.0, 5, OH, MASSES)


@pytest.fixture(params=["h5md", "extxyz", "dataset"])
def written(request, start, tmp_path):
    path = tmp_path / f"start.{request.param}"
    topology = Topology(start.symbols, start.species, start.masses, start.bonds)
    if request.param == "h5md":
        with H5MDWriter(path, topology, start.box, precision=Precision.DOUBLE) as writer:
            writer.write(make_frame(start))
    elif request.param == "extxyz":
        writer = ExtxyzWriter(path, topology)
        writer.write(make_frame(start))
        writer.close()
    else:
        symbols = tuple(start.symbols[k] for k in start.species)
        forces = np.full((1, start.n_agents, 3), 0.1)
        velocities = start.velocities[None]
        frames = LabelledFrames(symbols, start.positions[None], forces, start.box, velocities=velocities)
        save_frames(path, [frames])
    return path


def test_structure_comes_back_from_every_format(start, written):
    # The model's order of species is not the file's.
    state = read_structure(written, ("H", "O"), MASSES[::-1], 1, 500.0)
    np.testing.assert_allclose(state.positions, start.positions, atol=1e-7)
    np.testing.assert_allclose(state.velocities, start.velocities, atol=1e-9)
    np.testing.assert_allclose(state.box, start.box, atol=1e-7)
    np.testing.assert_allclose(state.masses, start.masses)
    assert {frozenset(bond) for bond in state.bonds.tolist()} == {frozenset(bond) for bond in start.bonds.tolist()}
    assert [state.symbols[k] for k in state.species] == [start.symbols[k] for k in start.species]


def write_xyz(path: Path, state, *, wrapped=False, lattice=None, symbols=None):
    positions = np.mod(state.positions, state.box) if wrapped else state.positions
    names = symbols or [state.symbols[k] for k in state.species]
    cell = np.diag(state.box) if lattice is None else lattice
    comment = (
        f'Lattice="{" ".join(f"{x:.10f}" for x in np.ravel(cell))}" Properties=species:S:1:pos:R:3'
        if cell.any()
        else ""
    )
    rows = [f"{name} {x:.10f} {y:.10f} {z:.10f}" for name, (x, y, z) in zip(names, positions, strict=True)]
    path.write_text("\n".join([str(len(rows)), comment, *rows]) + "\n")
    return path


def test_wrapped_molecules_are_made_whole_and_velocities_drawn(start, tmp_path):
    path = write_xyz(tmp_path / "wrapped.xyz", start, wrapped=True)
    state = read_structure(path, OH, MASSES, 3, 250.0)
    bond = np.linalg.norm(state.positions[state.bonds[:, 0]] - state.positions[state.bonds[:, 1]], axis=1)
    assert bond.max() < 1.2
    images = (state.positions - start.positions) / start.box
    np.testing.assert_allclose(images, np.round(images), atol=1e-8)
    assert temperature(state.kinetic_energy(), 87) == pytest.approx(250.0)
    np.testing.assert_allclose(state.momentum(), 0.0, atol=1e-12)
    again = read_structure(path, OH, MASSES, 3, 250.0)
    np.testing.assert_array_equal(state.velocities, again.velocities)


def test_wrong_structures_are_refused_in_one_sentence(start, tmp_path):
    def refused(path, match):
        with pytest.raises(InputError, match=match) as caught:
            read_structure(path, OH, MASSES, 1, 300.0)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "missing.xyz", "no starting structure")
    names = ["Na", *[start.symbols[k] for k in start.species[1:]]]
    refused(write_xyz(tmp_path / "sodium.xyz", start, symbols=names), "holds Na, but the model knows only O, H")
    refused(write_xyz(tmp_path / "no_box.xyz", start, lattice=np.zeros((3, 3))), "no periodic box")
    tilted = np.diag(start.box) + np.eye(3, k=1)
    refused(write_xyz(tmp_path / "tilted.xyz", start, lattice=tilted), "not orthorhombic")
    start.positions[4, 1] = math.nan
    refused(write_xyz(tmp_path / "nan.xyz", start), "positions of agent 4")
    for name, text in {
        "empty": "",
        "prose": "It was a dark\nand stormy night\n",
        "short": "3\n\nO 0 0 0\n",
        "none": "0\n\n",
    }.items():
        (tmp_path / name).write_text(text)
        refused(tmp_path / name, name)
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 4)
    refused(tmp_path / "binary", "binary")
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    refused(tmp_path / "damaged.h5", "damaged")
    refused(tmp_path, "cannot be read")
