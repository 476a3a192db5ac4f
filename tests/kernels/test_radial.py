import numpy as np
import pytest

from mldsim.kernels.radial import chebpow, tabulate
from mldsim.radial import gaussian_centers, water_basis


def test_values_are_shifted_chebyshev_polynomials():
    r = np.array([0.7, 1.9, 3.3])
    g, _ = chebpow(r, 5.0, 3.0, 4)
    x = 1 - 2 * (1 - r / 5.0) ** 3
    assert g[:, 0] == pytest.approx((1 - x) / 2)
    assert g[:, 3] == pytest.approx((1 - np.cos(4 * np.arccos(x))) / 2)


def test_derivative_and_smooth_end():
    r = np.linspace(0.5, 4.9, 40)
    _, dg = chebpow(r, 5.0, 3.0, 20)
    step = 1e-6
    numeric = (chebpow(r + step, 5.0, 3.0, 20)[0] - chebpow(r - step, 5.0, 3.0, 20)[0]) / (2 * step)
    assert dg == pytest.approx(numeric, abs=1e-6)
    # Value, slope and curvature vanish at the cutoff and beyond.
    for distance in (1e-3, 1e-4):
        value, slope = chebpow(np.array([5.0 - distance]), 5.0, 3.0, 20)
        assert np.abs(value).max() < 20**2 * 10 * distance**3
        assert np.abs(slope).max() < 20**2 * 30 * distance**2
    for array in chebpow(np.array([5.0, 5.1, 50.0]), 5.0, 3.0, 20):
        assert (array == 0).all()


def test_tables_hold_value_and_slope_at_each_row():
    basis = water_basis(("O", "H"), 8, 5.0)
    table = tabulate(basis.coefficients, 5.0, basis.exponent, 0.4, 101)
    value, slope = basis(0, 1, np.array([0.4 + 30 * 0.046]))
    assert table[0, 1, 30, 0] == pytest.approx(value[0])
    assert table[0, 1, 30, 1] == pytest.approx(slope[0] * 0.046)
    assert (table[0, 1] == table[1, 0]).all()


@pytest.mark.parametrize("pair", [(0, 0, "O-O"), (0, 1, "O-H"), (1, 1, "H-H")])
@pytest.mark.parametrize(("n_radial", "cutoff"), [(4, 4.2), (8, 4.5), (10, 5.0), (12, 6.0), (16, 6.0)])
def test_the_family_represents_the_shapes_that_were_chosen(pair, n_radial, cutoff):
    a, b, name = pair
    basis = water_basis(("O", "H"), n_radial, cutoff)
    r = np.linspace(0.7, cutoff, 300)
    centers, widths = gaussian_centers(name, n_radial, cutoff)
    wanted = np.exp(-0.5 * ((r[:, None] - centers) / widths) ** 2) * 0.5 * (1 + np.cos(np.pi * r / cutoff))[:, None]
    assert np.abs(basis(a, b, r)[0] - wanted).max() < 0.02
    # No function is lost: the least of the singular values is still that of the Gaussians.
    found, expected = (np.linalg.svd(shape, compute_uv=False)[-1] for shape in (basis(a, b, r)[0], wanted))
    assert found > 0.3 * expected
