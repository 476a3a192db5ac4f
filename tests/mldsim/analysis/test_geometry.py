"""Distances, angles and dihedrals of points in a periodic box."""

import numpy as np
import pytest

from mldsim.analysis import geometry


def test_distance_angle_and_dihedral_of_known_figures_across_the_edge_of_the_box():
    box = np.array([10.0, 11.0, 12.0])
    square = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    for shift in (0.0, 9.5):  # the second time the figure lies across the edge
        points = np.mod(square + shift, box)
        assert geometry.distance(points[:2], box) == pytest.approx(1.0)
        assert geometry.angle(points[:3], box) == pytest.approx(90.0)
        assert abs(geometry.dihedral(points, box)) == pytest.approx(90.0)
    assert geometry.angle(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), box) == pytest.approx(180.0)
    planar = np.array([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]])
    assert geometry.dihedral(planar, box) == pytest.approx(0.0)  # cis
    planar[3, 1] = -1.0
    assert abs(geometry.dihedral(planar, box)) == pytest.approx(180.0)  # trans


def test_the_dihedral_of_hydrogen_peroxide_is_that_of_ase():
    from ase import Atoms

    points = np.array([[0.9, 0.3, 0.2], [0.0, 0.7, 0.0], [0.0, -0.7, 0.1], [-0.5, -0.9, 0.8]])
    expected = Atoms("HOOH", points).get_dihedral(0, 1, 2, 3)
    assert geometry.dihedral(points, np.full(3, 20.0)) % 360.0 == pytest.approx(expected)
