import itertools

import numpy as np
import pytest

from mldsim.kernels.cpu import neighbors
from mldsim.kernels.neighbors import IMAGES, build_list, order_by_cell


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


def test_a_crowd_makes_the_list_grow_and_its_memory_serves_again():
    box, reach = np.full(3, 20.0), 4.0
    rng = np.random.default_rng(1)
    positions = np.vstack([rng.uniform(9, 11, (40, 3)), rng.uniform(0, 20, (40, 3))])
    _, count, entries = build_list(positions, box, reach, 4)
    assert count[:40].min() >= 39
    assert entries.shape[1] > count.max()  # which the kernels rely on
    positions += 15.0  # across the edge: the same pairs through other images
    _, again, same_memory = build_list(positions, box, reach, 4, room=entries)
    assert same_memory is entries
    np.testing.assert_array_equal(again, count)


def test_two_agents_in_the_same_place_see_each_other_and_not_themselves():
    _, count, entries = build_list(np.full((2, 3), 3.0), np.full(3, 9.0), 4.0, 8)
    assert count.tolist() == [1, 1]
    assert [int(entries[0, 0]) >> 5, int(entries[1, 0]) >> 5] == [1, 0]


def test_empty_space_costs_no_memory():
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [5e8, 5e8, 5e8]])
    _, count, _ = build_list(positions, np.full(3, 1e9), 3.0, 8)
    assert count.tolist() == [1, 1, 0]


def test_the_order_by_cell_brings_neighbours_together():
    rng = np.random.default_rng(2)
    box = np.full(3, 40.0)
    positions = rng.uniform(-40, 80, (4000, 3))
    order = order_by_cell(positions, box, 5.0)
    np.testing.assert_array_equal(np.sort(order), np.arange(4000))

    def memory_distance(q):
        _, count, entries = build_list(q, box, 5.0, 64)
        return np.mean([np.abs((entries[i, : count[i]] >> 5) - i).mean() for i in range(0, 4000, 50)])

    assert memory_distance(positions[order]) < 0.5 * memory_distance(positions)


def test_a_reach_of_one_box_edge_ends_with_every_pair_seen_from_both_sides():
    """Agents see their own images at the very reach, where rounding decides for each direction by itself."""
    rng = np.random.default_rng(3)
    edge, n = 6.214784360000001, 24
    box = np.full(3, edge)
    _, count, entries = build_list(rng.uniform(0, edge, (n, 3)), box, edge, 4)
    rows = [{int(entry) for entry in entries[i, : count[i]]} for i in range(n)]

    def opposite(i, entry):
        return 32 * i + 26 - (entry & 31)

    alone = {(i, e) for i in range(n) for e in rows[i] if opposite(i, e) not in rows[e >> 5]}
    assert alone, "no pair lies at the reach; the test asks for one"
    ends, ordered, reverse, *_ = neighbors(count, entries, np.zeros(n, np.int32), 1, np.float64)
    for i in range(n):
        for q, entry in enumerate(ordered[i, : ends[i, -1]]):
            if (i, int(entry)) not in alone:
                assert ordered.flat[reverse[i, q]] == opposite(i, entry)
                assert reverse[i, q] // ordered.shape[1] == entry >> 5
