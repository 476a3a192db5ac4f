import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.analysis.rdf import InterRDF

from mldsim.analysis.rdf import RadialDistribution, first_peak
from mldsim.errors import InputError


def test_an_ideal_gas_has_no_structure(make_frame):
    rng = np.random.default_rng(1)
    box = np.array([10.0, 11.0, 12.0])
    species = np.repeat(np.int32([0, 1]), [40, 80])
    analysis = RadialDistribution(("O", "H"), species, 5.0, bin_width=0.5)
    for _ in range(200):
        analysis.add(make_frame(rng.uniform(-20, 20, (120, 3)), box))
    n_pairs = {"O-O": 40 * 39 / 2, "O-H": 40 * 80, "H-H": 80 * 79 / 2}
    for pair, found in analysis.result().items():
        shells = 4 / 3 * np.pi * ((found.r + 0.25) ** 3 - (found.r - 0.25) ** 3)
        expected = 200 * n_pairs[pair] * shells / box.prod()
        assert (np.abs(found.g - 1.0) < 5 / np.sqrt(expected)).all(), pair
        # The block error is what counting statistics says, within its own scatter.
        assert np.median(found.error * np.sqrt(expected)) == pytest.approx(1.0, rel=0.4)


def test_each_pair_is_counted_once_in_its_bin(make_frame):
    positions = np.array([[0.1, 0.0, 0.0], [9.0, 0.0, 0.0], [4.0, 0.0, 0.0]])  # 1.1 apart across the edge
    analysis = RadialDistribution(("O", "H"), np.int32([0, 0, 1]), 4.5, bin_width=0.5)
    analysis.add(make_frame(positions, np.full(3, 10.0)))
    oo = analysis.result()["O-O"]
    shell = 4 / 3 * np.pi * (1.5**3 - 1.0**3)
    assert oo.g[2] == pytest.approx(1000.0 / shell)
    assert oo.g.sum() == oo.g[2]
    assert np.isnan(oo.error).all()  # one frame tells nothing of its own error


def test_a_box_below_twice_the_reach_is_refused(make_frame):
    analysis = RadialDistribution(("O",), np.zeros(2, np.int32), 6.0)
    with pytest.raises(InputError, match="smaller than twice the reach"):
        analysis.add(make_frame(np.zeros((2, 3)), np.full(3, 11.0)))


def test_as_mdanalysis_counts(make_frame):
    rng = np.random.default_rng(2)
    frames = rng.uniform(0, 9.0, (3, 30, 3)).astype(np.float32)
    universe = MDAnalysis.Universe.empty(30, trajectory=True)
    universe.load_new(frames, dimensions=np.tile([9.0, 9.0, 9.0, 90, 90, 90], (3, 1)))
    theirs = InterRDF(universe.atoms[:10], universe.atoms[10:], nbins=40, range=(0.0, 4.0)).run()
    analysis = RadialDistribution(("O", "H"), np.repeat(np.int32([0, 1]), [10, 20]), 4.0, bin_width=0.1)
    for frame in frames:
        analysis.add(make_frame(frame, np.full(3, 9.0)))
    ours = analysis.result()["O-H"]
    np.testing.assert_allclose(ours.r, theirs.results.bins)
    np.testing.assert_allclose(ours.g, theirs.results.rdf, rtol=1e-6)


def test_the_first_peak_is_found_between_bins():
    r = np.arange(0.025, 6.0, 0.05)
    place, height = first_peak(r, 2.5 - 20.0 * (r - 2.737) ** 2, 2.0, 3.3)
    assert place == pytest.approx(2.737)
    assert height == pytest.approx(2.5)


def test_noise_of_the_bins_moves_the_peak_by_less_than_a_bin():
    rng = np.random.default_rng(3)
    r = np.arange(0.025, 6.0, 0.05)
    clean = 2.5 - 20.0 * (r - 2.737) ** 2
    places, heights = np.array([first_peak(r, clean + rng.normal(0, 0.05, len(r)), 2.0, 3.3) for _ in range(200)]).T
    assert places.std() < 0.02
    assert heights.mean() == pytest.approx(2.5, abs=0.03)  # the highest bin alone would be 0.05 above
    assert np.isnan(first_peak(r, clean, 7.0, 8.0)).all()
