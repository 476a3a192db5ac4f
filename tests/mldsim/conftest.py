"""Frames whose right answer is known: disordered water, labelled by a loss model."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.evaluator import Evaluator
from mldsim.loss import FittedRanges, LossModel, Scope, Wall
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis

SPECIES = np.tile(np.int32([0, 1, 1]), 8)
"""Of disordered water."""

WALL = Wall(30.0, np.array([[2.25, 0.80], [0.80, 1.20]]))
"""With the radii that a fit gives to water."""


def disordered_water(
    model: LossModel, n_frames: int, *, noise: float = 0.0, disorder: float = 0.07, seed: int = 0
) -> LabelledFrames:
    """Frames of 8 strongly disordered molecules with the model's own forces and normal noise on them."""
    rng = np.random.default_rng(seed)
    box = np.full(3, 6.4)
    sites = np.array(np.unravel_index(np.arange(8), (2, 2, 2))).T * 3.2
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    turns, _ = np.linalg.qr(rng.normal(size=(n_frames, 8, 3, 3)))
    positions = (sites[:, None] + molecule @ turns).reshape(n_frames, 24, 3)
    positions += rng.normal(size=positions.shape) * disorder
    evaluate = Evaluator(model, SPECIES, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
    forces = np.array([evaluate(frame).forces for frame in positions])
    forces += rng.normal(size=forces.shape) * noise
    return LabelledFrames(("O", "H", "H") * 8, positions, forces, box, provenance={"source": "a/frames.h5"})


@pytest.fixture(scope="session")
def teacher() -> LossModel:
    """Quadratic, shared scope, ranks 0 and 1, four radial functions."""
    rng = np.random.default_rng(3)
    quadratic = rng.normal(size=(2, 2, 8, 8)) * 0.02
    return LossModel(
        "teacher", ("O", "H"), np.array([15.999, 1.008]), Scope.SHARED, 2, 1, water_basis(("O", "H"), 4, 4.5),
        WALL, rng.normal(size=(2, 8)) * 0.2,
        quadratic + quadratic.transpose(0, 1, 3, 2), FittedRanges({}, np.zeros((2, 8, 2))),
    )  # fmt: skip


@pytest.fixture(scope="session")
def labelled(teacher: LossModel) -> Callable[..., LabelledFrames]:
    """Disordered water with the teacher's forces."""
    return partial(disordered_water, teacher)
