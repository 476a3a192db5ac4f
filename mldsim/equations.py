"""Normal equations: the streamed sums of a linear least-squares problem, and what is solved and scored from them.

Of rows D and targets F only D^T D, D^T F and F^T F are kept, so that memory does not grow with the rows, and rows that
turn out to be wrong can be taken off again. The squared error of any coefficients follows from the sums alone,

    |F - D theta|^2 = F^T F - 2 theta . D^T F + theta . D^T D theta,

which lets a ridge or a weight be judged on held-out rows without another pass over the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import WorkFailed

COLLECTED = 4608
"""Rows that BLAS multiplies at once, eight frames of 192 agents: 100 MB for the largest forms of water."""


class NormalEquations:
    """The streamed sums D^T D, D^T F and F^T F of all rows seen so far.

    Attributes
    ----------
    size : int
        Number of columns, n.
    packed : (n (n + 1) / 2,) float64
        D^T D, one triangle in LAPACK's rectangular full packed format: half the memory, the speed of matrices.
    vector : (n,) float64
        D^T F.
    square : float
        F^T F.
    count : float
        Number of rows, of weighted ones the sum of their squared weights.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.packed = np.zeros(size * (size + 1) // 2)
        self.vector = np.zeros(size)
        self.square = 0.0
        self.count = 0.0

    def add(self, rows: NDArray[np.float64], targets: NDArray[np.float64], weight: float = 1.0) -> None:
        """Add weighted rows (n_rows, size) and targets (n_rows,)."""
        self._update(rows, targets, weight * weight)

    def remove(self, rows: NDArray[np.float64], targets: NDArray[np.float64], weight: float = 1.0) -> None:
        """Take off rows that were added."""
        self._update(rows, targets, -weight * weight)

    def _update(self, rows: NDArray[np.float64], targets: NDArray[np.float64], factor: float) -> None:
        from scipy.linalg.blas import dsyrk
        from scipy.linalg.lapack import dtrttf

        if len(targets):  # BLAS sees the transpose of our row-major array; its packed update takes twice as long
            packed, _ = dtrttf(dsyrk(factor, rows.T))
            self.packed += packed
        self.vector += factor * (targets @ rows)
        self.square += factor * float(targets @ targets)
        self.count += factor * len(targets)

    def include(self, other: NormalEquations, weight: float = 1.0) -> None:
        """Add the sums of other rows, weighted."""
        factor = weight * weight
        self.packed += other.packed if factor == 1.0 else factor * other.packed
        self.vector += factor * other.vector
        self.square += factor * other.square
        self.count += factor * other.count

    def extended(self, products: NDArray[np.float64], vector: NDArray[np.float64]) -> NormalEquations:
        """The equations of the same rows with more columns E, from E^T (D, E) (m, n + m) and E^T F (m,)."""
        from scipy.linalg.lapack import dtrttf

        size = self.size + len(products)
        matrix = np.zeros((size, size), order="F")
        matrix[: self.size, : self.size] = self.matrix()
        matrix[:, self.size :] = products.T
        result = NormalEquations(0)
        result.packed, _ = dtrttf(matrix)
        result.vector = np.concatenate([self.vector, vector])
        result.size, result.square, result.count = size, self.square, self.count
        return result

    def matrix(self) -> NDArray[np.float64]:
        """D^T D as (n, n) float64 in Fortran order; only its upper triangle is filled."""
        from scipy.linalg.lapack import dtfttr

        full, _ = dtfttr(self.size, self.packed)
        return np.asarray(full)

    def squared_errors(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over rows of the squared error of coefficients (size, n_sets): (n_sets,) float64."""
        from scipy.linalg.blas import dsymm

        product = dsymm(1.0, self.matrix(), coefficients)
        errors = self.square + np.einsum("ps,ps->s", coefficients, product) - 2.0 * (self.vector @ coefficients)
        return np.asarray(np.maximum(errors, 0.0))  # below zero is rounding

    def factor(self, ridge: float) -> Factor:
        """Cholesky factor of the equations, scaled to unit diagonal, with `ridge` added to it.

        Raises
        ------
        WorkFailed
            If the rows do not determine the coefficients.
        """
        from scipy.linalg import LinAlgError, cholesky

        matrix = self.matrix()
        scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
        # A function that no pair ever reached has no rows; its coefficient stays zero.
        used = np.flatnonzero(scale > 1e-12 * scale.max(initial=0.0))
        if not len(used):
            raise WorkFailed("The frames determine nothing: no two agents come closer than the cutoff.")
        inverse = 1.0 / scale[used]
        if len(used) < self.size:
            matrix = np.asfortranarray(matrix[np.ix_(used, used)])
        matrix *= inverse[:, None]
        matrix *= inverse
        matrix[np.diag_indices_from(matrix)] += ridge
        try:
            upper = cholesky(matrix, overwrite_a=True, check_finite=False)
        except LinAlgError:
            raise WorkFailed(
                "The frames do not determine all coefficients; give more frames, fewer functions or a larger --ridge."
            ) from None
        return Factor(self.size, used, inverse, upper)

    def solve(self, ridge: float) -> NDArray[np.float64]:
        """Coefficients (size,) of the ridge regression.

        Raises
        ------
        WorkFailed
            If the rows do not determine the coefficients.
        """
        return self.factor(ridge).solve(self.vector)


class Collector:
    """Rows on their way into normal equations: BLAS multiplies many of them faster than few.

    Parameters
    ----------
    size : int
        Number of columns.
    """

    def __init__(self, size: int) -> None:
        self._rows = np.empty((COLLECTED, size))
        self._targets = np.empty(COLLECTED)
        self._count = 0
        self._equations: NormalEquations | None = None
        self._weight = 1.0

    def room(self, equations: NormalEquations, n_rows: int, weight: float = 1.0) -> NDArray[np.float64]:
        """Space (n_rows, size) for the next rows of these equations; filled there, they need not be copied."""
        if equations is not self._equations or weight != self._weight or self._count + n_rows > len(self._rows):
            self.finish()
            self._equations, self._weight = equations, weight
        if n_rows > len(self._rows):
            self._rows = np.empty((n_rows, self._rows.shape[1]))
            self._targets = np.empty(n_rows)
        return self._rows[self._count : self._count + n_rows]

    def add(
        self, equations: NormalEquations, rows: NDArray[np.float64], targets: NDArray[np.float64], weight: float = 1.0
    ) -> None:
        """Add weighted rows (n_rows, size) and targets (n_rows,), at the latest when `finish` is called."""
        n = len(targets)
        place = self.room(equations, n, weight)
        if not np.may_share_memory(place, rows):
            place[:] = rows
        self._targets[self._count : self._count + n] = targets
        self._count += n

    def finish(self) -> None:
        """Add what is still waiting."""
        if self._equations is not None and self._count:
            self._equations.add(self._rows[: self._count], self._targets[: self._count], self._weight)
        self._count = 0


@dataclass(frozen=True)
class Factor:
    """Cholesky factor R of scaled normal equations: R^T R = S^-1 D^T D S^-1 + ridge, S the norms of the columns.

    Attributes
    ----------
    size : int
        Number of columns, n.
    used : (n_used,) int
        Columns that have rows.
    inverse : (n_used,) float64
        1 / S.
    upper : (n_used, n_used) float64
    """

    size: int
    used: NDArray[np.intp]
    inverse: NDArray[np.float64]
    upper: NDArray[np.float64]

    def solve(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients (size,) for the right-hand side (size,)."""
        from scipy.linalg import cho_solve

        scaled = vector[self.used] * self.inverse
        return self._spread(cho_solve((self.upper, False), scaled, check_finite=False))

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Random coefficients (size, count) whose covariance is the inverse of the factored equations.

        For any row d the mean square of d . draw is therefore its leverage d (D^T D + ridge)^-1 d.
        """
        from scipy.linalg import solve_triangular

        noise = rng.standard_normal((len(self.used), count))
        return self._spread(solve_triangular(self.upper, noise, check_finite=False))

    def _spread(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        result = np.zeros((self.size, *scaled.shape[1:]))
        result[self.used] = (scaled.T * self.inverse).T
        return result


def weighted_sum(size: int, parts: Iterable[tuple[NormalEquations, float]]) -> NormalEquations:
    """The equations of all rows of the parts, each part weighted; parts of weight zero are left out."""
    total = NormalEquations(size)
    for equations, weight in parts:
        if weight:
            total.include(equations, weight)
    return total
