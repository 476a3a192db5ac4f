"""The channels of the cubic part: in which few combinations of the fields a loss is cubic.

The loss is linear in its coefficients, but not in its channels p = P A - o (`kernels.cubic`). They are found in two
steps on a sample of the frames:

*Leading directions.* Where a quadratic loss curves, its slope G = dL/dA = w + W A varies; of all combinations of the
fields, counted by how much they vary themselves, those count most in which G varies most. With C the covariance of the
fields of one rank and species they are the leading eigenvectors u of C^1/2 W C W C^1/2, and p = u . C^-1/2 A.

Channels of an earlier fit can take their place.

*Gauss-Newton.* The force is linear in small changes of the channels too. Coefficients and channels are fitted together
with the forces linearised about the last ones, then the coefficients anew with the changed channels. A step that does
not lower the error is halved; the steps end when that does not help either.

*The constant.* The last channel of rank 0 can be 1 instead of a combination of fields. Products with it make the cubic
part also quadratic and linear in the other channels, and bounded all the same, because these saturate: with every W
positive semidefinite (`mldsim.bounded`) it is the only place where a loss can curve downwards. What the bound takes
from W the channels have to give back then, and they are found with the bound in force.

The channels are scaled to unit covariance: it keeps the numbers of the fit and of single precision near one, gives
their saturation (`kernels.cubic`) a unit, and changes no force but by way of that. What each step buys was measured:
docs/models.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mldsim.bounded import bounded_solution
from mldsim.dataset import Progress
from mldsim.equations import Collector, NormalEquations
from mldsim.kernels.cubic import features
from mldsim.loss import Cubic, FittedRanges
from mldsim.regression import DesignMatrix

Array = NDArray[np.float64]

DAMPING = 1e-2
"""Ridge of a Gauss-Newton step, relative to the share of the forces that is not explained yet (Levenberg and Marquardt;
Yamashita and Fukushima 2001): its columns are nearly dependent, for a change within the span changes no force."""

SHORTEST_STEP = 0.2
"""Of the step that the linearised forces ask for: it is halved twice, then given up."""

FLAT = 1e-8
"""Combinations of the fields that vary less, relative to the largest, count as much as if they varied so."""


class Sample(NamedTuple):
    """One frame to find channels with.

    Attributes
    ----------
    positions, forces : (n_agents, 3) float64, angstrom and eV/angstrom
    species : (n_agents,) int32
    box : (3,) float64, angstrom
    weighted : callable
        Adds to rows or targets (3 n_agents, ...) those of the net forces, weighted.
    """

    positions: Array
    forces: Array
    species: NDArray[np.int32]
    box: Array
    weighted: Callable[[Array], Array]


class Moments:
    """Means of the invariants and covariances of the fields, by species.

    Attributes
    ----------
    means : (n_species, n_fields) float64
    covariances : (n_species, max_rank + 1, n_fields, n_fields) float64
        Averaged over the components of each rank; those of higher ranks have no mean.
    """

    def __init__(self, samples: Sequence[tuple[Array, NDArray[np.int32]]], n_species: int) -> None:
        fields = np.concatenate([found for found, _ in samples])
        species = np.concatenate([kinds for _, kinds in samples])
        n_lm, n_fields = fields.shape[1:]
        ranks = round(n_lm**0.5)
        self.means = np.zeros((n_species, n_fields))
        self.covariances = np.zeros((n_species, ranks, n_fields, n_fields))
        for a in range(n_species):
            mine = fields[species == a]
            if not len(mine):
                continue
            self.means[a] = mine[:, 0].mean(axis=0)
            mine[:, 0] -= self.means[a]
            for rank in range(ranks):
                part = mine[:, rank * rank : (rank + 1) ** 2].reshape(-1, n_fields)
                self.covariances[a, rank] = part.T @ part / len(part)

    def offsets(self, channels: Array) -> Array:
        """o = P s with the mean invariants: (n_species, n_channels) for channels as in `Cubic`."""
        return np.asarray(np.einsum("acn,an->ac", channels[:, 0], self.means))


def leading(moments: Moments, quadratic: Array, n_channels: int) -> Array:
    """Leading directions of a quadratic loss: (n_species, max_rank + 1, n_channels, n_fields).

    Parameters
    ----------
    moments : Moments
    quadratic : (n_species, max_rank + 1, n_fields, n_fields) float64
        W.
    n_channels : int
        At most n_fields.
    """
    found = np.empty((*quadratic.shape[:2], n_channels, quadratic.shape[3]))
    for place in np.ndindex(quadratic.shape[:2]):
        covariance, weights = moments.covariances[place], quadratic[place]
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, FLAT * values.max() if values.max() > 0 else 1.0)
        root = (vectors * np.sqrt(values)) @ vectors.T
        inverse = (vectors / np.sqrt(values)) @ vectors.T
        _, directions = np.linalg.eigh(root @ weights @ covariance @ weights @ root)
        found[place] = (inverse @ directions[:, ::-1][:, :n_channels]).T
    return found


def whitened(moments: Moments, channels: Array) -> Array:
    """Channels of the same span whose covariance is one."""
    found = np.empty_like(channels)
    for place in np.ndindex(channels.shape[:2]):
        covariance = channels[place] @ moments.covariances[place] @ channels[place].T
        covariance += (FLAT * np.trace(covariance) or 1.0) * np.eye(len(covariance))
        found[place] = np.linalg.solve(np.linalg.cholesky(covariance), channels[place])
    return found


def find_channels(
    samples: Sequence[Sample],
    make: Callable[[Cubic | None], DesignMatrix],
    n_channels: int,
    steps: int,
    ridge: float,
    report: Progress,
    *,
    start: Cubic | None = None,
    constant: bool = False,
    bounded: bool = False,
) -> Cubic:
    """The channels of a cubic part, with coefficients of zero.

    Parameters
    ----------
    samples : sequence of Sample
    make : callable
        The columns of the form with these channels; without a cubic part for None.
    n_channels, steps : int
        How many, and how many Gauss-Newton steps at most; they end when one does not help.
    ridge : float
        Of the linear fits.
    report : callable
        Told the progress; may raise to cancel.
    start : Cubic, optional
        Begin with these channels rather than with the leading directions; without steps they stay as they are.
    constant : bool
        Whether the last channel of rank 0 is 1.
    bounded : bool
        Whether the fits of the steps are those of `mldsim.bounded`.

    Raises
    ------
    WorkFailed
        If the samples do not determine the coefficients.
    """
    if start is not None and steps == 0:
        return start
    passes = 1 if steps == 0 else 2 * steps + 2  # and one for every step that is too long
    done = 0

    def each(matrix: DesignMatrix) -> Iterator[tuple[Sample, Array, Array, Array]]:
        """Rows, targets and fields of every sample."""
        nonlocal done
        for number, sample in enumerate(samples):
            passed = done + number / len(samples)
            report(passed / max(passes, done + 1), f"channels, pass {done + 1} of {max(passes, done + 1)}")
            rows, wall, fields, _ = matrix.rows(sample.positions, sample.species, sample.box)
            yield sample, rows, sample.forces.ravel() - wall, fields
        done += 1

    def gather(matrix: DesignMatrix) -> NormalEquations:
        equations, collected = NormalEquations(matrix.size), Collector(matrix.size)
        for sample, rows, targets, fields in each(matrix):
            if matrix.cubic is None:
                seen.append((fields, sample.species))
            collected.add(equations, sample.weighted(rows), sample.weighted(targets))
        collected.finish()
        return equations

    def follow(matrix: DesignMatrix, equations: NormalEquations, third: Array) -> NormalEquations:
        """The equations with the channels as further unknowns, at these coefficients of the cubic part."""
        assert matrix.cubic is not None
        size = matrix.cubic.channels.size
        products, vector = np.zeros((size, matrix.size + size)), np.zeros(size)
        for sample, rows, targets, fields in each(matrix):
            more = matrix.channel_rows(sample.species, fields, moments.means, third)
            if constant:
                more.reshape(-1, *matrix.cubic.channels.shape)[:, :, 0, -1] = 0.0  # it stays 1
            more = sample.weighted(more)
            products[:, : matrix.size] += more.T @ sample.weighted(rows)
            products[:, matrix.size :] += more.T @ more
            vector += sample.weighted(targets) @ more
        return equations.extended(products, vector)

    seen: list[tuple[Array, NDArray[np.int32]]] = []
    matrix = make(None)
    n_species = len(matrix.symbols)
    equations = gather(matrix)
    nothing = FittedRanges({}, np.zeros((n_species, matrix.n_fields, 2)))
    quadratic = matrix.model(equations.solve(ridge), "quadratic", nothing).quadratic
    moments = Moments(seen, n_species)
    seen.clear()
    n_features = len(features(n_channels, matrix.settings.max_rank))

    def cubic(channels: Array) -> Cubic:
        saturation, offsets = np.full(n_species, matrix.settings.saturation), moments.offsets(channels)
        if constant:
            offsets[:, -1] = -1.0
        return Cubic(channels, offsets, saturation, np.zeros((n_species, n_features)))

    def solve(equations: NormalEquations, ridge: float) -> Array:
        if bounded:
            return bounded_solution(equations, ridge, matrix.quadratic_blocks()).coefficients
        return equations.solve(ridge)

    def scaled(channels: Array) -> Array:
        if constant:
            channels[:, 0, -1] = 0.0
        return whitened(moments, channels)

    channels = scaled(leading(moments, quadratic, n_channels) if start is None else start.channels.copy())
    if steps == 0:
        return cubic(channels)
    before, change, length = channels, np.zeros_like(channels), 1.0
    least, left = np.inf, steps
    while True:
        matrix = make(cubic(channels))
        equations = gather(matrix)
        theta = solve(equations, ridge)
        error = float(equations.squared_errors(theta[:, None])[0])
        if error < least:
            before, least, length = channels, error, 1.0
            if left == 0:
                break
            left -= 1
            third = theta.reshape(n_species, -1)[:, -n_features:].copy()
            damping = DAMPING * error / equations.square
            found = solve(follow(matrix, equations, third), max(ridge, damping))
            change = found[matrix.size :].reshape(channels.shape)
        else:  # the forces are not linear that far
            length *= 0.5
            if length < SHORTEST_STEP:
                break
        channels = scaled(before + length * change)
    return cubic(before)
