import numpy as np
import pytest

from mldsim.analysis.statistics import BlockMean, Histogram


def test_the_error_of_independent_samples_is_that_of_theory():
    rng = np.random.default_rng(3)
    mean = BlockMean((400,))
    for _ in range(500):
        mean.add(rng.normal(7.0, 2.0, 400))
    found = mean.curve(np.arange(400.0))
    assert np.abs(found.y - 7.0).max() < 5 * 2.0 / np.sqrt(500)
    assert np.sqrt((found.error**2).mean()) == pytest.approx(2.0 / np.sqrt(500), rel=0.08)


def test_the_error_of_correlated_samples_is_not_that_of_independent_ones():
    # x' = a x + noise: the mean of n samples has the variance var (1 + a) / (1 - a) / n.
    rng = np.random.default_rng(4)
    a, n = 0.95, 8000
    mean = BlockMean((60,))
    x = rng.normal(size=60)
    for _ in range(n):
        mean.add(x)
        x = a * x + np.sqrt(1 - a * a) * rng.normal(size=60)
    expected = np.sqrt((1 + a) / (1 - a) / n)
    error = np.sqrt((mean.curve(np.arange(60.0)).error ** 2).mean())
    assert error == pytest.approx(expected, rel=0.15)
    assert error > 5 / np.sqrt(n)


def test_every_sample_counts_however_many():
    mean = BlockMean()
    for n, value in enumerate(range(1, 1001), start=1):
        mean.add(value)
        assert mean.count == n
        assert float(mean.mean) == pytest.approx((n + 1) / 2)


def test_few_samples_have_no_error():
    mean = BlockMean()
    assert np.isnan(mean.number().value)
    mean.add(1.0)
    assert mean.number().value == 1.0
    assert np.isnan(mean.number().error)


def test_a_histogram_integrates_to_what_is_inside():
    histogram = Histogram(0.0, 1.0, 10)
    histogram.add(np.linspace(0.005, 1.995, 200))
    density = histogram.density()
    assert (density.y * 0.1).sum() == pytest.approx(0.5)
    assert histogram.outside() == pytest.approx(0.5)
    assert histogram.mean().value == pytest.approx(1.0)
    assert histogram.deviation().value == pytest.approx(2.0 / np.sqrt(12), rel=1e-3)
