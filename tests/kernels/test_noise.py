"""The noise is the published Philox, has the distributions that it should have, and depends on its count alone."""

import numpy as np
import pytest
from scipy import stats

from mldsim.kernels import noise


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        # The known answers that come with Random123 for philox4x32-10.
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_known_answers(key, counter, words):
    assert tuple(int(word) for word in noise.philox(*key, *counter)) == words


def test_normal_numbers_are_normal_and_independent():
    drawn = np.array([noise.three_normals(5, 9, draw, agent) for draw in range(60) for agent in range(200)])
    for column in drawn.T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.04
    assert abs(np.corrcoef(drawn[:-200, 0], drawn[200:, 0])[0, 1]) < 0.04  # of one agent, from draw to draw
    assert abs(np.corrcoef(drawn[:-1, 2], drawn[1:, 0])[0, 1]) < 0.04  # of neighbours


@pytest.mark.parametrize("n", [1, 2, 5, 575])
def test_sums_of_squares_are_chi_squared(n):
    drawn = np.array([noise.normal_and_squares(3, 4, draw, n) for draw in range(8000)])
    assert stats.kstest(drawn[:, 0], "norm").pvalue > 0.01
    assert stats.kstest(drawn[:, 1], stats.chi2(n).cdf).pvalue > 0.01
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.04


def test_no_squares_are_none():
    assert noise.normal_and_squares(3, 4, 0, 0)[1] == 0.0


def test_a_count_above_32_bits_is_another_draw():
    assert noise.three_normals(1, 2, 7, 0) != noise.three_normals(1, 2, 7 + 2**32, 0)
