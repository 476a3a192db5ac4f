"""The fit whose quadratic is bounded below: every W_a^l positive semidefinite.

    minimise   1/2 theta . N theta - v . theta      subject to   W_a^l >= 0 for every species a and rank l

with N, v the (ridged) normal equations: a convex problem, solved by the alternating direction method of multipliers
(Boyd et al., Found. Trends Mach. Learn. 3, 1 (2011), sections 3 and 5). It alternates a linear solve, a projection of
each W onto the cone (negative eigenvalues dropped), and an update of the multipliers. Fields are scaled to equal size
first: D W D is positive semidefinite when W is. Coefficients that no block holds are eliminated before: those of least
error follow from the others by N_uu theta_u = v_u - N_uc theta_c, and what is left is a problem of the same form for
theta_c, with N_cc - N_cu N_uu^-1 N_uc.

Convergence is proved, not guessed: the projected coefficients are feasible, so their objective is an upper bound of the
optimum; the multipliers are positive semidefinite, so that they give a lower bound by duality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import Progress
from mldsim.equations import NormalEquations
from mldsim.errors import WorkFailed

TOLERANCE = 1e-3
"""Gap between the bounds, as a share of the squared error of the fit: the root mean square error is then within 0.05 %
of the best."""

MOST_ITERATIONS = 20_000
RELAXATION = 1.6
"""Boyd et al., section 3.4.3."""


@dataclass(frozen=True)
class BoundedSolution:
    """Coefficients (size,), and what is known of them.

    Attributes
    ----------
    coefficients : (size,) float64
        Every quadratic block is positive semidefinite.
    gap : float
        Squared error above that of the best feasible coefficients, at most, as a share of it.
    iterations : int
    """

    coefficients: NDArray[np.float64]
    gap: float
    iterations: int


def bounded_solution(
    equations: NormalEquations,
    ridge: float,
    blocks: Sequence[NDArray[np.int64]],
    progress: Progress | None = None,
) -> BoundedSolution:
    """Solve the ridge regression with every block positive semidefinite.

    Parameters
    ----------
    equations : NormalEquations
    ridge : float
        As of `NormalEquations.factor`.
    blocks : sequence of (n, n) int64
        Columns of the elements of each symmetric matrix W, the same for (m, n) and (n, m); coefficients are the
        elements of W themselves, its off-diagonal ones once.
    progress : callable, optional

    Raises
    ------
    WorkFailed
        If the rows do not determine the coefficients, or the bounds do not meet.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    matrix = equations.matrix()
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    diagonal = np.diag(matrix).copy()
    used = diagonal > 1e-24 * diagonal.max(initial=0.0)
    matrix[np.diag_indices_from(matrix)] += ridge * diagonal  # what a ridge on scaled columns is
    # One scale per field of a block, so that scaling is a congruence; from the norms of the diagonal columns.
    scale = np.where(used, np.sqrt(np.where(used, diagonal, 1.0)), 1.0)
    metric = np.zeros(equations.size)
    for block in blocks:
        of_field = np.sqrt(scale[np.diag(block)])
        scale[block] = np.outer(of_field, of_field)
        metric[block] = 2.0  # an off-diagonal element stands twice in the Frobenius norm
        metric[np.diag(block)] = 1.0
    inverse = 1.0 / scale
    matrix *= inverse[:, None]
    matrix *= inverse
    matrix[~used, ~used] = 1.0
    vector = equations.vector * inverse
    inside = np.flatnonzero(metric > 0.0)
    others = np.flatnonzero(metric == 0.0)
    metric = metric[inside]
    place = np.zeros(equations.size, np.int64)
    place[inside] = np.arange(len(inside))
    blocks = [place[block] for block in blocks]
    unsolvable = "The frames do not determine all coefficients; give more frames, fewer functions or a larger --ridge."
    try:
        of_others = cho_factor(matrix[np.ix_(others, others)], overwrite_a=True, check_finite=False)
    except LinAlgError:
        raise WorkFailed(unsolvable) from None
    coupling = matrix[np.ix_(others, inside)]
    alone = cho_solve(of_others, vector[others], check_finite=False)
    answer = cho_solve(of_others, coupling, check_finite=False)
    # Twice the objective and F^T F make the squared error; the others' own part of it is fixed.
    squared = equations.square - float(vector[others] @ alone)
    matrix = matrix[np.ix_(inside, inside)] - coupling.T @ answer
    vector = vector[inside] - coupling.T @ alone

    def complete(x: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.zeros(equations.size)
        result[inside] = x
        result[others] = alone - answer @ x
        return np.where(used, result * inverse, 0.0)

    def projected(x: NDArray[np.float64]) -> NDArray[np.float64]:
        result = x.copy()
        for block in blocks:
            values, axes = np.linalg.eigh(x[block])
            positive = axes * np.maximum(values, 0.0) @ axes.T
            result[block] = 0.5 * (positive + positive.T)
        return result

    def factored(penalty: float) -> tuple[NDArray[np.float64], bool]:
        penalised = matrix.copy()
        penalised[np.diag_indices_from(penalised)] += penalty * metric
        try:
            factor, lower = cho_factor(penalised, overwrite_a=True, check_finite=False)
        except LinAlgError:
            raise WorkFailed(unsolvable) from None
        return factor, lower

    def objective(x: NDArray[np.float64]) -> float:
        return float(0.5 * x @ (matrix @ x) - vector @ x)

    free_factor = factored(0.0)
    free = cho_solve(free_factor, vector, check_finite=False)
    squared = max(squared + 2.0 * objective(free), 1e-12 * equations.square, 1e-300)  # the scale of the gap
    penalty = float(np.median(np.diag(matrix))) * 1e-3
    factor = factored(penalty)
    z = projected(free)
    u = np.zeros_like(z)
    root = np.sqrt(metric)
    first: float | None = None
    for iteration in range(1, MOST_ITERATIONS + 1):
        x = cho_solve(factor, vector + penalty * metric * (z - u), check_finite=False)
        relaxed = RELAXATION * x + (1.0 - RELAXATION) * z
        before = z
        z = projected(relaxed + u)
        u += relaxed - z
        if iteration % 25:
            continue
        multiplier = -penalty * metric * u
        dual = cho_solve(free_factor, vector + multiplier, check_finite=False)
        lower_bound = -0.5 * float((vector + multiplier) @ dual)
        gap = 2.0 * (objective(z) - lower_bound) / squared
        if gap <= TOLERANCE:
            return BoundedSolution(complete(z), max(gap, 0.0), iteration)
        first = gap if first is None else first
        if progress:
            done = np.log(first / gap) / np.log(first / TOLERANCE) if gap < first else 0.0
            progress(float(np.clip(done, 0.0, 0.99)), f"bounded fit, gap {100 * gap:.3g} %")
        # Boyd et al., section 3.4.1: keep the distance from the cone and the movement within it alike.
        distance = float(np.linalg.norm(root * (x - z)))
        movement = float(np.linalg.norm(root * (z - before)))
        if max(distance, movement) > 10.0 * min(distance, movement) and iteration <= MOST_ITERATIONS // 2:
            change = np.sqrt(10.0) if distance > movement else np.sqrt(0.1)
            penalty *= change
            u /= change
            factor = factored(penalty)
    raise WorkFailed(
        f"The bounded fit did not converge within {MOST_ITERATIONS} iterations (gap {100 * gap:.2g} %); "
        "give a larger --ridge or more frames."
    )
