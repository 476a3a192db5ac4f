"""Models and boxes of the kernel tests."""

import numpy as np
import pytest

from mldsim.kernels.cubic import features
from mldsim.kernels.mutual import columns
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Wall, Waves
from mldsim.radial import water_basis

N_RADIAL = 4
"""As in tests/mldsim: kernels are compiled anew for each number of radial functions, rank and number of channels."""

CUBIC = [(0, 3), (2, 3), (3, 2)]
"""Highest rank and channels of the cubic parts that are tested, few because each pair is compiled."""


def random_cubic(rank: int, n_channels: int, n_fields: int, seed: int = 0) -> Cubic:
    """A cubic part of two species, all of whose invariants count."""
    rng = np.random.default_rng(seed)
    return Cubic(
        channels=rng.normal(size=(2, rank + 1, n_channels, n_fields)) * 0.3,
        offsets=rng.normal(size=(2, n_channels)),
        saturation=np.array([1.5, 3.0]),
        coefficients=rng.normal(size=(2, len(features(n_channels, rank)))) * 0.1,
    )


def random_hops(n_channels: int, n_radial: int, seed: int = 0) -> Hops:
    rng = np.random.default_rng(seed + 1)
    return Hops(rng.normal(size=(2, len(columns(2, n_radial, n_channels)))) * 0.1)


def random_waves(seed: int = 0) -> Waves:
    rng = np.random.default_rng(seed + 2)
    return Waves(np.array([0.3, 0.7, 1.5]), 2.1, rng.normal(size=(2, len(columns(2, 3, 2)))) * 0.3)


def random_model(
    rank: int,
    scope: Scope,
    *,
    n_radial: int = N_RADIAL,
    cutoff: float = 4.5,
    n_channels: int = 0,
    hops: bool = False,
    waves: bool = False,
    seed: int = 0,
) -> LossModel:
    """A loss model with random coefficients and a wall that some pairs of `water` are inside of."""
    rng = np.random.default_rng(seed)
    fields = 2 * n_radial
    quadratic = rng.normal(size=(2, rank + 1, fields, fields)) * 0.02
    return LossModel(
        name="random",
        symbols=("O", "H"),
        masses=np.array([15.999, 1.008]),
        scope=scope,
        order=3 if n_channels else 2,
        max_rank=rank,
        radial=water_basis(("O", "H"), n_radial, cutoff),
        wall=Wall(30.0, np.array([[2.9, 1.0], [1.0, 1.6]])),
        linear=rng.normal(size=(2, fields)) * 0.2,
        quadratic=quadratic + quadratic.transpose(0, 1, 3, 2),
        ranges=FittedRanges({}, np.zeros((2, fields, 2))),
        cubic=random_cubic(rank, n_channels, fields, seed) if n_channels else None,
        hops=random_hops(n_channels, n_radial, seed) if hops else None,
        waves=random_waves(seed) if waves else None,
    )


def some_water(n: int, edge: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Molecules turned at random on a grid: positions (3 n, 3), species (3 n,), box (3,)."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n ** (1 / 3)))
    sites = np.array(np.unravel_index(np.arange(n), (side,) * 3)).T * (edge / side) + 0.3
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    turns, _ = np.linalg.qr(rng.normal(size=(n, 3, 3)))
    positions = (sites[:, None] + molecule @ turns).reshape(-1, 3) + rng.normal(size=(3 * n, 3)) * 0.05
    # Unwrapped: some agents have travelled through the box several times.
    positions += edge * rng.integers(-2, 3, size=(n, 3)).repeat(3, axis=0)
    return positions, np.tile(np.int32([0, 1, 1]), n), np.array([edge, edge + 0.3, edge + 0.7])


@pytest.fixture(params=list(Scope), ids=lambda scope: scope.value)
def scope(request: pytest.FixtureRequest) -> Scope:
    return request.param
