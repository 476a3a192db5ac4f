"""Shapes of molecules and the network they make, where the answer is known."""

import numpy as np
import pytest

from mldsim.analysis.geometry import Angles, BondLengths
from mldsim.analysis.water import HydrogenBonds, TetrahedralOrder
from mldsim.errors import InputError
from mldsim.frames import Topology

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def water(n: int) -> Topology:
    oxygen = 3 * np.arange(n)
    bonds = np.stack([np.repeat(oxygen, 2), (oxygen[:, None] + [1, 2]).ravel()], axis=1)
    return Topology(("O", "H"), np.tile(np.int32([0, 1, 1]), n), np.tile([15.999, 1.008, 1.008], n), np.int32(bonds))


def molecule(length: float, angle: float) -> np.ndarray:
    half = np.radians(angle / 2)
    return length * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])


def rotations(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def test_a_rigid_rotor_keeps_its_bonds_and_its_angle_across_the_edge(make_frame):
    rng = np.random.default_rng(5)
    topology = water(2)
    bonds, angles = BondLengths(topology), Angles(topology)
    for _ in range(20):
        two = np.concatenate([molecule(0.975, 104.5) @ rotations(rng).T + rng.uniform(0, 9, 3) for _ in range(2)])
        for analysis in (bonds, angles):
            analysis.add(make_frame(two % 9.0, (9.0, 9.0, 9.0)))
    assert list(bonds.result()) == ["O-H"]
    assert list(angles.result()) == ["H-O-H"]
    assert bonds.result()["O-H"].mean().value == pytest.approx(0.975)
    assert bonds.result()["O-H"].deviation().value == pytest.approx(0.0, abs=1e-6)
    angle = angles.result()["H-O-H"].density()
    assert angle.x[np.argmax(angle.y)] == 104.5
    assert angle.y.max() == pytest.approx(1.0)


def test_agents_without_bonds_have_no_shape():
    topology = Topology(("Ar",), np.zeros(3, np.int32), np.full(3, 40.0), np.empty((0, 2), np.int32))
    assert not BondLengths(topology).result()
    assert not Angles(topology).result()


def test_a_perfect_tetrahedron_has_order_one(make_frame):
    # Two interpenetrating lattices: diamond, in which every oxygen has four neighbours at the tetrahedral angle.
    fcc = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]])
    oxygens = np.concatenate([fcc, fcc + 1]) * 1.6
    topology = Topology(("O",), np.zeros(8, np.int32), np.full(8, 16.0), np.empty((0, 2), np.int32))
    order = TetrahedralOrder(topology)
    order.add(make_frame(oxygens, np.full(3, 6.4)))
    assert order.result().mean().value == pytest.approx(1.0)


def test_an_ideal_gas_has_no_tetrahedral_order(make_frame):
    rng = np.random.default_rng(6)
    topology = Topology(("O",), np.zeros(400, np.int32), np.full(400, 16.0), np.empty((0, 2), np.int32))
    order = TetrahedralOrder(topology)
    for _ in range(20):
        order.add(make_frame(rng.uniform(0, 30, (400, 3)), np.full(3, 30.0)))
    assert abs(order.result().mean().value) < 0.02


def test_four_oxygens_are_too_few_for_tetrahedral_order():
    with pytest.raises(InputError, match="five oxygens"):
        TetrahedralOrder(water(4))


def dimer(distance: float, tilt: float) -> np.ndarray:
    """A donor whose first hydrogen points at the acceptor, but for the tilt, and hydrogens that point at nothing."""
    angle = np.radians(tilt)
    donor = np.array([[0, 0, 0], [0.97 * np.cos(angle), 0.97 * np.sin(angle), 0], [-0.97, 0, 0]])
    acceptor = np.array([[0, 0, 0], [0.97, 0, 0], [0.97 * np.cos(1.8), 0.97 * np.sin(1.8), 0]])
    return np.concatenate([donor, np.array([distance, 0, 0]) + acceptor])


@pytest.mark.parametrize(
    ("distance", "tilt", "bonds"), [(2.8, 0, 1), (2.8, 29, 1), (2.8, 31, 0), (3.49, 29, 1), (3.51, 0, 0)]
)
def test_a_hydrogen_bond_is_near_and_straight(make_frame, distance, tilt, bonds):
    analysis = HydrogenBonds(water(2))
    analysis.add(make_frame((np.array([8.5, 0, 0]) + dimer(distance, tilt)) % 10.0, (10.0, 10.0, 10.0)))
    assert analysis.result().value == 2 * bonds / 2  # a bond is one of each of two molecules


def test_hydrogen_bonds_of_many_are_those_of_all_triples(make_frame):
    rng = np.random.default_rng(7)
    n, box = 40, 9.5
    positions = np.concatenate(
        [molecule(0.97, 105) @ rotations(rng).T + rng.uniform(0, box, 3) for _ in range(n)]
    ).reshape(n, 3, 3)
    analysis = HydrogenBonds(water(n))
    analysis.add(make_frame(positions.reshape(-1, 3), np.full(3, box)))
    counted = 0
    for i in range(n):
        for j in range(n):
            arm = positions[j, 0] - positions[i, 0]
            arm -= box * np.round(arm / box)
            if i == j or np.linalg.norm(arm) > 3.5:
                continue
            for hydrogen in positions[i, 1:]:
                bond = hydrogen - positions[i, 0]
                cosine = bond @ arm / np.linalg.norm(bond) / np.linalg.norm(arm)
                counted += np.degrees(np.arccos(cosine)) < 30.0
    assert counted > 5
    assert analysis.result().value == pytest.approx(2 * counted / n)


def test_a_box_that_is_too_small_for_hydrogen_bonds_is_refused(make_frame):
    with pytest.raises(InputError, match="7 Å"):
        HydrogenBonds(water(2)).add(make_frame(dimer(2.8, 0), (6.9, 9.0, 9.0)))
