import itertools

import numpy as np
import pytest

from mldsim.kernels.neighbors import IMAGES, build_list


def brute_force(positions, box, reach):
    """Sorted (i, j, separation) of all pairs in all images."""
    wrapped = positions - box * np.floor(positions / box)
    found = []
    for i, j in itertools.product(range(len(positions)), repeat=2):
        for image in itertools.product((-2, -1, 0, 1, 2), repeat=3):
            separation = wrapped[i] - wrapped[j] - np.array(image) * box
            if 0 < np.linalg.norm(separation) < reach:
                found.append((i, j, *np.round(separation, 6)))
    return sorted(found)


@pytest.mark.parametrize("edges", [(3.0, 3.0, 3.0), (3.1, 6.5, 9.4), (9.5, 9.5, 12.8), (30.0, 3.0, 7.0)])
def test_every_pair_in_every_image_once(edges):
    rng = np.random.default_rng(0)
    box, reach = np.array(edges), 3.0
    positions = rng.uniform(-20, 20, (30, 3))
    origin, count, entries = build_list(positions, box, reach, 4)
    local = positions - origin
    assert (local >= 0).all()
    assert (local <= box).all()
    found = sorted(
        (i, int(e) >> 5, *np.round(local[i] - local[int(e) >> 5] - IMAGES[int(e) & 31] * box, 6))
        for i in range(30)
        for e in entries[i, : count[i]]
    )
    assert found == brute_force(positions, box, reach)


def test_agents_on_the_edge_and_empty_space():
    box = np.full(3, 50.0)
    positions = np.array([[0.0, 0, 0], [50.0, 0, 0.5], [-1e-18, 49.9, 0], [25, 25, 25]])
    _, count, _ = build_list(positions, box, 2.0, 8)
    assert count.tolist() == [2, 2, 2, 0]


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="shorter than the reach"):
        build_list(np.zeros((2, 3)), np.array([5.0, 2.9, 5.0]), 3.0, 8)
    with pytest.raises(ValueError, match="not a finite number"):
        build_list(np.array([[np.inf, 0, 0]]), np.full(3, 5.0), 3.0, 8)
