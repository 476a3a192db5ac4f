"""Doubt: the force error to expect of each agent, from what the fit has seen.

Three things tell how wrong a force may be, and the law that joins them is fitted to frames that were held out of the
fit, one law for each species a:

    doubt_i^2 = scale_a * leverage_i^power_a + share_a * difference_i^2

*Leverage* is the variance of the force that noise in the labels leaves, per unit of noise: tr(D_i C D_i^T)/3 with the
rows D_i of the regression (`kernels.design`) and C the inverse of the ridged normal equations of the force rows. It is
large where an agent's surroundings are unlike those of the fit. C does not travel with the model: coefficients drawn
from a normal law of covariance C do, and the mean square of the forces they give is the leverage in expectation
(Hutchinson's estimator), so that it is computed by the same kernels as the forces.

*Difference* is that between the forces of the model and of its witness, a richer form fitted to the same frames
(`mldsim.inference.witness_settings`). It tells what the model's own form cannot say, which leverage is blind to.

Scale, power and share are those of largest likelihood for held-out errors taken as normal with that variance.
benchmarks/leverage.py measures how well doubt finds the worst forces in states that were not fitted.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.loss import LossModel
from mldsim.parameters import DeviceKind, Precision

T = TypeVar("T")

DRAWS = 16
"""Of the committee: they tell leverage within 20 %, and doubt, which takes a small power of it, within 5 %."""

LEAST_VARIANCE = 1e-12
"""eV^2/angstrom^2; of a model that makes no error at all."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The doubt of every agent at one moment, and where it comes from.

    Attributes
    ----------
    doubts : (n_agents,) float64, eV/angstrom
    disputed : (n_agents,) float64
        Share of the variance that comes from the difference to the witness; the rest is leverage.
    """

    doubts: NDArray[np.float64]
    disputed: NDArray[np.float64]

    def reason(self, agent: int) -> str:
        """Why the force on an agent is in doubt, in words."""
        if self.disputed[agent] > 0.5:
            return "a richer loss that was fitted to the same frames gives another force"
        return "its surroundings are unlike those of the fitted frames"


class Doubt:
    """Expected force error of every agent of one box.

    Parameters
    ----------
    model : LossModel
        With a committee.
    species : (n_agents,) int32
        Index into ``model.symbols``.
    box : (3,) float64, angstrom
    device : DeviceKind
    precision : Precision
        Of the pair arithmetic.

    Raises
    ------
    InputError
        If the model has no committee, the box is too small, or the device cannot be used.
    """

    def __init__(
        self,
        model: LossModel,
        species: NDArray[np.int32],
        box: NDArray[np.float64],
        *,
        device: DeviceKind = DeviceKind.AUTO,
        precision: Precision = Precision.SINGLE,
    ) -> None:
        committee = model.committee
        if committee is None:
            raise InputError(
                f"The model '{model.name}' was fitted without a committee and cannot doubt its forces; "
                "fit it with doubt (--doubt)."
            )
        self.box = np.array(box, np.float64)
        self._law = committee.law[species]

        def ready(one: LossModel) -> Evaluator:
            return Evaluator(one, species, box, device=device, precision=precision)

        # The wall is fixed: no coefficient changes it.
        form = replace(model, wall=replace(model.wall, stiffness=0.0))
        self._members = [ready(form.with_coefficients(draw)) for draw in committee.draws]
        self._own = ready(model)
        self._witness = ready(committee.witness) if committee.witness is not None else None

    @property
    def n_parts(self) -> int:
        """Evaluations of forces that `gradually` takes."""
        return len(self._members) + (1 if self._witness is None else 2)

    def __call__(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Root mean square error to expect of a component of each force, (n_agents,) float64, eV/angstrom.

        Parameters
        ----------
        positions : (n_agents, 3) float64, angstrom
        """
        return _last(self.gradually(positions)).doubts

    def gradually(self, positions: NDArray[np.float64]) -> Generator[None, None, Judgement]:
        """The same in `n_parts` parts, for whoever has something else to do between them: `next` does one."""
        forces = self._own(positions).forces
        yield
        leverage, difference = yield from self._signs(positions, forces)
        variance = expected(self._law.T, leverage, difference)
        return Judgement(np.sqrt(variance), np.minimum(self._law[:, 2] * difference / variance, 1.0))

    def compared(
        self, positions: NDArray[np.float64], labels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What doubt is made of, beside what it shall tell, for `fit_law`.

        Parameters
        ----------
        positions : (n_agents, 3) float64, angstrom
        labels : (n_agents, 3) float64, eV/angstrom

        Returns
        -------
        leverage : (n_agents,) float64
        difference, error : (n_agents,) float64, eV^2/angstrom^2
            Mean square over components.
        """
        forces = self._own(positions).forces
        return *_last(self._signs(positions, forces)), np.mean((forces - labels) ** 2, axis=1)

    def _signs(
        self, positions: NDArray[np.float64], forces: NDArray[np.float64]
    ) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Leverage and squared difference."""
        leverage = np.zeros(len(positions))
        for member in self._members:
            leverage += np.mean(member(positions).forces ** 2, axis=1)
            yield
        leverage /= len(self._members)
        if self._witness is None:
            return leverage, np.zeros(len(positions))
        difference = np.mean((forces - self._witness(positions).forces) ** 2, axis=1)
        yield
        return leverage, difference


def _last(parts: Generator[None, None, T]) -> T:
    """Do all parts."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return cast(T, end.value)


def expected(
    law: NDArray[np.float64], leverage: NDArray[np.float64], difference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variance of a force component, eV^2/angstrom^2, from the law (3,) or (3, n) and what was seen (n,)."""
    scale, power, share = law
    return np.asarray(np.maximum(scale * leverage**power + share * difference, LEAST_VARIANCE))


def fit_law(samples: NDArray[np.float64], n_species: int) -> NDArray[np.float64]:
    """Scale, power and share of each species, by maximum likelihood.

    Parameters
    ----------
    samples : (n, 4) float64
        Species, leverage, squared difference and squared error per component of agents that were not fitted.
    n_species : int

    Returns
    -------
    (n_species, 3) float64
        See `LossModel.committee`; a species without samples takes the mean of all.
    """
    law = np.zeros((n_species, 3))
    for species in range(n_species):
        mine = samples[samples[:, 0] == species]
        law[species] = _likeliest(mine if len(mine) else samples)
    return law


def _likeliest(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.optimize import minimize

    _, leverage, difference, squared = samples.T
    squared = np.maximum(squared, LEAST_VARIANCE)
    typical = float(squared.mean())
    relative = leverage / max(float(np.median(leverage)), 1e-300)
    unit = max(float(difference.mean()), 1e-300)

    def cost(parameters: NDArray[np.float64]) -> float:
        log_scale, power, log_share = parameters
        variance = np.exp(log_scale) * relative**power + np.exp(log_share) * difference / unit
        variance = np.maximum(variance * typical, LEAST_VARIANCE)
        return float(np.mean(squared / variance + np.log(variance / typical)))

    found = minimize(
        cost, [-0.5, 0.3, -0.5], method="L-BFGS-B", bounds=[(-12.0, 5.0), (0.0, 1.0), (-12.0, 5.0)]
    ).x  # fmt: skip
    log_scale, power, log_share = found
    scale = typical * np.exp(log_scale) / max(float(np.median(leverage)), 1e-300) ** power
    share = typical * np.exp(log_share) / unit if difference.any() else 0.0
    return np.array([scale, power, share])
