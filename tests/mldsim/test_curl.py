"""The curl of own-scope forces: rows that measure it, and a fit that keeps it small."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mldsim.accuracy import force_errors
from mldsim.curl import AMPLITUDE, curl_rows, nearest
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.inference import fit, infer
from mldsim.loss import LossModel, Scope
from mldsim.parameters import DeviceKind, Precision
from mldsim.regression import DesignMatrix, FitSettings

SETTINGS = FitSettings(scope=Scope.OWN, max_rank=1, n_radial=4, cutoff=4.5, ridge=1e-8, net_force_weight=0.0)
MASSES = np.tile([15.999, 1.008, 1.008], 8)


def force_constants(model: LossModel, frame: LabelledFrames, agents: np.ndarray) -> np.ndarray:
    """dF/dq between the coordinates of some agents, by differences of forces that the kernels compute."""
    species = np.tile(np.int32([0, 1, 1]), 8)
    evaluate = Evaluator(model, species, frame.boxes[0], device=DeviceKind.CPU, precision=Precision.DOUBLE)
    found = []
    for agent in agents:
        for axis in range(3):
            moved = frame.positions[0].copy()
            moved[agent, axis] += 1e-4
            ahead = evaluate(moved).forces[agents]
            moved[agent, axis] -= 2e-4
            found.append((ahead - evaluate(moved).forces[agents]).ravel() / 2e-4)
    return np.array(found).T


def rows_of(model: LossModel, frame: LabelledFrames, agents: np.ndarray) -> np.ndarray:
    """Rows of the curl, times the coefficients of the model."""
    species = np.tile(np.int32([0, 1, 1]), 8)
    matrix = DesignMatrix(model.symbols, SETTINGS, model.radial, model.wall)
    upper = np.triu_indices(model.linear.shape[1])
    coefficients = np.concatenate(
        [np.concatenate([w, *(rank[upper] for rank in W)]) for w, W in zip(model.linear, model.quadratic, strict=True)]
    )

    def rows(positions: np.ndarray, some: np.ndarray) -> np.ndarray:
        return matrix.rows(positions, species, frame.boxes[0], some)[0]

    return curl_rows(rows, frame.positions[0], MASSES, agents) @ coefficients


@pytest.fixture(scope="module")
def own(teacher: LossModel) -> LossModel:
    return replace(teacher, scope=Scope.OWN)


def test_rows_are_the_curl_of_the_forces(own: LossModel, labelled: Callable[..., LabelledFrames]) -> None:
    frame = labelled(1)
    agents = nearest(frame.positions[0], frame.boxes[0], 4)
    constants = force_constants(own, frame, agents)
    scale = AMPLITUDE / np.sqrt(np.outer(np.repeat(MASSES[agents], 3), np.repeat(MASSES[agents], 3)))
    curl = ((constants - constants.T) * scale)[np.triu_indices(len(constants), 1)]
    assert np.abs(curl).max() > 1e-3, "the case is worth nothing without a curl"
    # The wall is outside the rows, and comes from an energy.
    assert rows_of(own, frame, agents) == pytest.approx(curl, abs=1e-4 * np.abs(curl).max())


def test_an_agent_is_seen_with_its_own_molecule(labelled: Callable[..., LabelledFrames]) -> None:
    frame = labelled(1)
    assert set(nearest(frame.positions[0], frame.boxes[0], 3)[:3]) == {3, 4, 5}


def test_pair_losses_that_both_partners_share_have_no_curl(
    own: LossModel, labelled: Callable[..., LabelledFrames]
) -> None:
    linear = own.linear.copy()
    linear[1, :4] = linear[0, 4:]  # what H minds of O is what O minds of H
    pairs = replace(own, linear=linear, quadratic=np.zeros_like(own.quadratic))
    frame = labelled(1)
    found = rows_of(pairs, frame, nearest(frame.positions[0], frame.boxes[0], 0))
    constants = np.abs(force_constants(pairs, frame, np.arange(3))).max()
    assert np.abs(found).max() < 1e-6 * AMPLITUDE * constants


def test_a_fit_with_curl_rows_trades_curl_for_force_error(labelled: Callable[..., LabelledFrames]) -> None:
    # Labels of shared scope, which own scope of this form cannot follow exactly.
    frames, unseen = labelled(12), labelled(1, seed=5)
    agents = nearest(unseen.positions[0], unseen.boxes[0], 4)
    plain = fit([frames], SETTINGS)
    still = fit([frames], replace(SETTINGS, curl_weight=300.0))
    curls = [np.abs(rows_of(model, unseen, agents)).mean() for model in (plain, still)]
    assert curls[1] < 0.5 * curls[0]
    assert force_errors(still, [frames]).rmse > force_errors(plain, [frames]).rmse
    assert still.card["curl_weight"] == 300.0


def test_curl_rows_are_for_own_scope_and_not_for_cross_validation(labelled: Callable[..., LabelledFrames]) -> None:
    with pytest.raises(InputError, match="--scope own"):
        replace(SETTINGS, scope=Scope.SHARED, curl_weight=1.0)
    with pytest.raises(InputError, match="not both"):
        infer([labelled(3)], replace(SETTINGS, curl_weight=1.0), cross_validation=True)
