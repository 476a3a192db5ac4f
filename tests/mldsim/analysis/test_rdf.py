import numpy as np
import pytest

from mldsim.analysis.rdf import RadialDistribution
from mldsim.errors import InputError


def test_an_ideal_gas_has_no_structure():
    rng = np.random.default_rng(1)
    box = np.array([10.0, 11.0, 12.0])
    species = np.repeat(np.int32([0, 1]), [40, 80])
    analysis = RadialDistribution(("O", "H"), species, 5.0, bin_width=0.5, block=20)
    for _ in range(200):
        analysis.add(rng.uniform(-20, 20, (120, 3)), box)
    n_pairs = {"O-O": 40 * 39 / 2, "O-H": 40 * 80, "H-H": 80 * 79 / 2}
    for pair, found in analysis.result().items():
        shells = 4 / 3 * np.pi * ((found.r + 0.25) ** 3 - (found.r - 0.25) ** 3)
        expected = 200 * n_pairs[pair] * shells / box.prod()
        assert (np.abs(found.g - 1.0) < 5 / np.sqrt(expected)).all(), pair
        # The block error is what counting statistics says, within its own scatter.
        assert np.median(found.error * np.sqrt(expected)) == pytest.approx(1.0, rel=0.4)


def test_each_pair_is_counted_once_in_its_bin():
    positions = np.array([[0.1, 0.0, 0.0], [9.0, 0.0, 0.0], [4.0, 0.0, 0.0]])  # 1.1 apart across the edge
    analysis = RadialDistribution(("O", "H"), np.int32([0, 0, 1]), 4.5, bin_width=0.5)
    analysis.add(positions, np.full(3, 10.0))
    oo = analysis.result()["O-O"]
    shell = 4 / 3 * np.pi * (1.5**3 - 1.0**3)
    assert oo.g[2] == pytest.approx(1000.0 / shell)
    assert oo.g.sum() == oo.g[2]
    assert np.isnan(oo.error).all()  # one frame tells nothing of its own error


def test_a_box_below_twice_the_reach_is_refused():
    analysis = RadialDistribution(("O",), np.zeros(2, np.int32), 6.0)
    with pytest.raises(InputError, match="smaller than twice the reach"):
        analysis.add(np.zeros((2, 3)), np.full(3, 11.0))
