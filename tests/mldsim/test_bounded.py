"""The bounded fit: feasible, the best of the feasible, and the free fit where that is feasible already."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize

from mldsim.accuracy import force_errors
from mldsim.bounded import TOLERANCE, bounded_solution
from mldsim.dataset import LabelledFrames
from mldsim.equations import NormalEquations
from mldsim.errors import InputError
from mldsim.inference import infer
from mldsim.loss import Scope
from mldsim.regression import FitSettings

BLOCK = np.array([[2, 3, 4], [3, 5, 6], [4, 6, 7]])  # columns 0 and 1 are linear


def equations_of(truth: np.ndarray, rng: np.random.Generator) -> NormalEquations:
    rows = rng.normal(size=(60, 8)) * [1, 3, 1, 0.2, 5, 1, 1, 0.5]
    equations = NormalEquations(8)
    equations.add(rows, rows @ truth + rng.normal(size=60) * 0.1)
    return equations


def test_it_is_the_best_of_the_feasible(rng: np.random.Generator) -> None:
    """Against a search over Cholesky factors, which are positive semidefinite by construction."""
    equations = equations_of(rng.normal(size=8), rng)  # an indefinite truth
    assert np.linalg.eigvalsh(equations.solve(0.0)[BLOCK]).min() < -0.1

    def theta(x: np.ndarray) -> np.ndarray:
        factor = np.zeros((3, 3))
        factor[np.tril_indices(3)] = x[2:]
        result = np.concatenate([x[:2], np.zeros(6)])
        result[BLOCK] = factor @ factor.T
        return result

    best = min(
        minimize(lambda x: equations.squared_errors(theta(x)[:, None])[0], start, method="BFGS").fun
        for start in rng.normal(size=(5, 8))
    )
    found = bounded_solution(equations, 0.0, [BLOCK])
    error = equations.squared_errors(found.coefficients[:, None])[0]
    assert np.linalg.eigvalsh(found.coefficients[BLOCK]).min() > -1e-12
    assert error == pytest.approx(best, rel=2 * TOLERANCE)
    assert 0.0 <= found.gap <= TOLERANCE


def test_a_feasible_fit_is_left_as_it_is(rng: np.random.Generator) -> None:
    factor = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    truth = rng.normal(size=8)
    truth[BLOCK] = factor @ factor.T
    equations = equations_of(truth, rng)
    found = bounded_solution(equations, 0.0, [BLOCK])
    assert found.coefficients == pytest.approx(equations.solve(0.0), abs=1e-6)


def test_columns_without_rows_stay_zero(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(60, 8))
    rows[:, [3, 5, 6]] = 0.0  # a field that no pair reaches
    equations = NormalEquations(8)
    equations.add(rows, rng.normal(size=60))
    found = bounded_solution(equations, 1e-9, [BLOCK])
    assert not found.coefficients[[3, 5, 6]].any()
    assert np.linalg.eigvalsh(found.coefficients[BLOCK]).min() > -1e-12


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_the_quadratic_of_a_bounded_model_is_never_negative(
    labelled: Callable[..., LabelledFrames], scope: Scope
) -> None:
    frames = labelled(20, noise=0.02)
    settings = FitSettings(scope=scope, max_rank=1, n_radial=4, cutoff=4.5, ridge=1e-6)
    free, found = infer([frames], settings), infer([frames], settings, bounded=True)
    assert np.linalg.eigvalsh(free.model.quadratic).min() < -1e-3
    assert np.linalg.eigvalsh(found.model.quadratic).min() > -1e-12
    told = found.model.card["bounded"]
    assert told["free_train_force_rmse_meV_A"] < told["train_force_rmse_meV_A"]
    for model, key in ((free.model, "free_train_force_rmse_meV_A"), (found.model, "train_force_rmse_meV_A")):
        assert told[key] == pytest.approx(1e3 * force_errors(model, [frames]).rmse, rel=1e-3)


def test_what_is_linear_has_no_quadratic_to_bound(labelled: Callable[..., LabelledFrames]) -> None:
    with pytest.raises(InputError, match="--bounded"):
        infer([labelled(3)], FitSettings(order=1, max_rank=0, n_radial=4, cutoff=4.5), bounded=True)
