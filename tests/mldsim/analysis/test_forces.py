import numpy as np
import pytest

from mldsim.analysis.forces import ForceComparison, rigid_parts

NAMES = ["O", "H", "H", "O", "H", "H"]
MASSES = np.array([16.0, 1.0, 1.0] * 2)
BONDS = np.int32([[0, 1], [0, 2], [3, 4], [3, 5]])
MOLECULE = np.int32([0, 0, 0, 1, 1, 1])
BOX = np.full(3, 10.0)
SHAPE = np.array([[0.0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]])
POSITIONS = np.concatenate([np.array([9.8, 5, 5]) + SHAPE, np.array([3, 9.7, 4]) + SHAPE[:, [2, 0, 1]]]) % 10.0


def compared(error: np.ndarray) -> ForceComparison:
    rng = np.random.default_rng(15)
    comparison = ForceComparison(("O", "H"))
    for _ in range(3):
        labels = rng.normal(size=(6, 3))
        comparison.add(NAMES, MASSES, BONDS, POSITIONS, BOX, labels, labels + error)
    return comparison


def test_an_error_that_pushes_the_whole_molecule_is_a_net_force():
    comparison = compared(MASSES[:, None] / 18.0 * np.array([0.3, 0.0, 0.4]))
    assert comparison.of("net force")[0].value == pytest.approx(0.5 / np.sqrt(3))
    assert comparison.of("torque")[0].value == pytest.approx(0.0, abs=1e-12)
    assert comparison.of("intramolecular")[0].value == pytest.approx(0.0, abs=1e-12)
    assert comparison.of("O")[0].value == pytest.approx(16 / 18 * 0.5 / np.sqrt(3))


def test_an_error_along_a_bond_is_intramolecular():
    error = np.zeros((6, 3))
    error[1], error[0] = 0.1 * SHAPE[1], -0.1 * SHAPE[1]
    comparison = compared(error)
    for part in ("net force", "torque"):
        assert comparison.of(part)[0].value == pytest.approx(0.0, abs=1e-12)
    assert comparison.of("intramolecular")[0].value == pytest.approx(0.1 * np.sqrt(2 / 18))
    assert comparison.total()[0].value == pytest.approx(0.1 * np.sqrt(2 / 18))


def test_the_parts_make_up_the_force_and_the_rest_neither_pushes_nor_turns():
    rng = np.random.default_rng(16)
    forces = rng.normal(size=(6, 3))
    net, torque, rest = rigid_parts(MOLECULE, MASSES, POSITIONS, BOX, forces)
    np.testing.assert_allclose(net, forces.reshape(2, 3, 3).sum(axis=1))
    net_of_rest, torque_of_rest, same = rigid_parts(MOLECULE, MASSES, POSITIONS, BOX, rest)
    np.testing.assert_allclose(net_of_rest, 0.0, atol=1e-12)
    np.testing.assert_allclose(torque_of_rest, 0.0, atol=1e-12)
    np.testing.assert_allclose(same, rest, atol=1e-12)
    arms = SHAPE - MASSES[:3] @ SHAPE / 18.0
    np.testing.assert_allclose(torque[0], np.cross(arms, forces[:3]).sum(axis=0), atol=1e-12)


def test_single_atoms_have_no_molecule_to_speak_of():
    comparison = ForceComparison(("Ar",))
    comparison.add(["Ar"] * 2, np.full(2, 40.0), np.empty((0, 2), np.int32), np.eye(2, 3), BOX, np.zeros((2, 3)),
                   np.ones((2, 3)))  # fmt: skip
    assert comparison.total()[0].value == 1.0
    assert np.isnan(comparison.of("net force")[0].value)


def test_the_parity_plot_is_a_bounded_sample_of_all_frames():
    rng = np.random.default_rng(17)
    comparison = ForceComparison(("O",))
    for frame in range(40):
        labels = np.full((100, 3), float(frame)) + 0.5 * rng.random((100, 3))
        comparison.add(["O"] * 100, np.ones(100), np.empty((0, 2), np.int32), rng.random((100, 3)), BOX, labels, labels)
    labels, forces = comparison.parity("O")
    assert len(labels) == 3000
    np.testing.assert_array_equal(labels, forces)
    assert np.bincount(labels.astype(int)).min() > 30  # 75 of each frame on average
