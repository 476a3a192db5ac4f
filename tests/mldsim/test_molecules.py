import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.molecules import find_bonds, find_molecules, molecules_of, water_bonds

MOLECULE = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
BOX = np.array([7.0, 8.0, 9.0])


@pytest.fixture
def water():
    """Four molecules, one of them across the edges of the box."""
    places = np.array([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0], [3.5, 0.2, 5.0], [6.8, 4.0, 8.8]])
    positions = (places[:, None] + MOLECULE).reshape(-1, 3)
    return ["O", "H", "H"] * 4, positions


def test_molecules_over_the_edges(water):
    symbols, positions = water
    expected = np.repeat(np.arange(4), 3)
    np.testing.assert_array_equal(find_molecules(symbols, positions, BOX), expected)
    np.testing.assert_array_equal(find_molecules(symbols, np.mod(positions, BOX), BOX), expected)
    rng = np.random.default_rng(0)
    scattered = positions + BOX * rng.integers(-3, 4, positions.shape)
    np.testing.assert_array_equal(find_molecules(symbols, scattered, BOX), expected)


def test_agents_in_any_order(water):
    symbols, positions = water
    order = np.random.default_rng(2).permutation(12)
    shuffled = [symbols[i] for i in order]
    molecules = find_molecules(shuffled, positions[order], BOX)
    same = molecules[:, None] == molecules[None]
    np.testing.assert_array_equal(same, (order // 3)[:, None] == (order // 3)[None])
    assert list(dict.fromkeys(molecules.tolist())) == [0, 1, 2, 3]
    bonds = water_bonds(shuffled, positions[order], BOX)
    assert bonds.dtype == np.int32
    assert {shuffled[i] for i in bonds[:, 0]} == {"O"}
    assert sorted(map(tuple, order[bonds].tolist())) == [(o, o + k) for o in (0, 3, 6, 9) for k in (1, 2)]


def test_a_shared_hydrogen_goes_to_the_nearer_oxygen():
    symbols = ["O", "O", "H"]
    positions = np.array([[0.0, 0.0, 0.0], [2.4, 0.0, 0.0], [1.3, 0.0, 0.0]])
    np.testing.assert_array_equal(find_bonds(symbols, positions, BOX), [[1, 2]])


def test_other_molecules():
    """Methane, hydrogen and a lone ion."""
    tetrahedron = 0.63 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    positions = np.concatenate(([[0, 0, 0]], tetrahedron, [[3.5, 4, 4], [3.5, 4, 4.74], [3.5, 0, 4.5]]))
    symbols = ["C", "H", "H", "H", "H", "H", "H", "Na"]
    np.testing.assert_array_equal(find_molecules(symbols, positions, BOX), [0, 0, 0, 0, 0, 1, 1, 2])


def test_no_bonds_at_all():
    np.testing.assert_array_equal(molecules_of(3, np.empty((0, 2), dtype=np.int32)), [0, 1, 2])


@pytest.mark.parametrize("broken", ["far hydrogen", "no hydrogen", "another element"])
def test_what_is_not_water(water, broken):
    symbols, positions = water
    if broken == "far hydrogen":
        positions[1] += [0.0, -2.0, 0.0]
    elif broken == "no hydrogen":
        symbols, positions = symbols[:-1], positions[:-1]
    else:
        symbols[3] = "S"
    with pytest.raises(InputError, match="not all intact water"):
        water_bonds(symbols, positions, BOX)


def test_a_box_too_small():
    with pytest.raises(InputError, match="too short"):
        find_bonds(["O", "H", "H"], MOLECULE, [2.5, 6.0, 6.0])
