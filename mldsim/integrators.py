"""How agents move: molecular dynamics by one splitting, and gradient descent without inertia.

Dynamics solves dq/dt = v, m dv/dt = F and a thermostat's own equations by the symmetric splitting

    outer(dt/2)  B(dt/2)  A(dt/2)  inner(dt)  A(dt/2)  F = forces(q)  B(dt/2)  outer(dt/2)

    A(t)   drift:  q <- q + t v
    B(t)   kick:   v <- v + t F / m

Without a thermostat this is velocity Verlet. Thermostats that scale velocities (Nose-Hoover chains, CSVR) act in
`outer`, so that the kinetic temperature at full steps is the target; the Langevin thermostat acts in `inner`, which
makes it BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34): for harmonic motion positions are sampled
exactly at any stable time step, and the kinetic temperature at full steps reads low, by (w dt)^2 / 4 of itself for a
mode of angular frequency w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.kernels import motion
from mldsim.state import State

if TYPE_CHECKING:
    from mldsim.evaluator import Evaluation
    from mldsim.thermostats import Thermostat

Array = NDArray[np.float64]
Evaluate = Callable[[Array], "Evaluation"]
"""Forces and losses at positions (n_agents, 3)."""


class Verlet:
    """The splitting above, in place on a state's arrays.

    Parameters
    ----------
    masses : (n_agents,) float64, amu
    """

    def __init__(self, masses: Array) -> None:
        self._inverse_mass = 1.0 / (units.MASS * masses)  # angstrom^2 / (eV fs^2)

    def kick(self, velocities: Array, forces: Array, dt: float) -> None:
        """B: v <- v + dt F / m."""
        motion.kick(velocities, forces, self._inverse_mass, dt)

    def drift(self, positions: Array, velocities: Array, dt: float) -> None:
        """A: q <- q + dt v."""
        motion.drift(positions, velocities, dt)

    def step(
        self, state: State, evaluation: Evaluation, evaluate: Evaluate, thermostat: Thermostat, dt: float
    ) -> Evaluation:
        """One time step.

        Parameters
        ----------
        state : State
            Changed in place.
        evaluation : Evaluation
            At the state's positions.
        evaluate : callable
        thermostat : Thermostat
        dt : float, fs

        Returns
        -------
        Evaluation
            At the new positions.
        """
        q, v = state.positions, state.velocities
        thermostat.outer(state, 0.5 * dt)
        self.kick(v, evaluation.forces, 0.5 * dt)
        self.drift(q, v, 0.5 * dt)
        thermostat.inner(state, dt)
        self.drift(q, v, 0.5 * dt)
        evaluation = evaluate(q)
        self.kick(v, evaluation.forces, 0.5 * dt)
        thermostat.outer(state, 0.5 * dt)
        state.step += 1
        state.time += dt
        return evaluation


class Descent:
    """Gradient descent, q <- q + rate F: each agent goes down its loss, without inertia.

    The learning rate follows the curvature that the last move met, rate = -dq.dq / dq.dF (Barzilai and Borwein,
    IMA J. Numer. Anal. 8, 141 (1988)), and no agent moves farther than `LONGEST_MOVE` at once. Where the forces descend
    the common loss, a move after which it is higher than after each of the last `MEMORY` moves is taken back and tried
    with a smaller rate. Where each agent descends its own loss there is no common loss that must fall: the more
    careful rate -dq.dF / dF.dF is used, and every move is kept.

    Parameters
    ----------
    common : bool
        Whether the forces are the gradient of the sum of all losses (shared scope).
    """

    LONGEST_MOVE = 0.05
    """angstrom; a twentieth of the O-H bond, so that no bad contact throws an agent through another."""
    FIRST_RATE = 0.005
    """angstrom^2/eV; stable for the stiffest motion of water, the O-H stretch, about 50 eV/angstrom^2."""
    LEAST_RATE, LARGEST_RATE = 1e-4, 0.5
    """angstrom^2/eV"""
    MEMORY = 8
    TOLERANCE = 1e-6
    """eV per agent: rises of the loss below it are rounding of the float32 kernels."""

    def __init__(self, common: bool) -> None:
        self._common = common
        self._rate = self.FIRST_RATE
        self._recent: list[float] = []

    def step(self, state: State, evaluation: Evaluation, evaluate: Evaluate) -> Evaluation:
        """One move of all agents; `state.positions` changes in place, time does not go on.

        Returns
        -------
        Evaluation
            At the positions now: the new ones, or the old ones when the move was taken back.
        """
        if not self._recent:
            self._recent.append(float(evaluation.losses.sum()))
        move = self._rate * evaluation.forces
        length = np.sqrt(np.einsum("ij,ij->i", move, move))
        move *= (self.LONGEST_MOVE / np.maximum(length, self.LONGEST_MOVE))[:, None]

        before = state.positions.copy()
        state.positions += move
        after = evaluate(state.positions)
        loss = float(after.losses.sum())
        ceiling = max(self._recent) + self.TOLERANCE * state.n_agents
        if self._common and not loss <= ceiling and self._rate > self.LEAST_RATE:
            state.positions[:] = before
            self._rate = max(0.25 * self._rate, self.LEAST_RATE)
            return evaluation

        self._recent = [*self._recent[1 - self.MEMORY :], loss]
        change = after.forces - evaluation.forces
        curvature = -_product(move, change)
        if curvature > 0.0:
            rate = _product(move, move) / curvature if self._common else curvature / _product(change, change)
        else:
            rate = 2.0 * self._rate
        self._rate = min(max(rate, self.LEAST_RATE), self.LARGEST_RATE)
        return after


def _product(a: Array, b: Array) -> float:
    """Sum of a b, in an order that depends on no number of threads, as that of a linear algebra library does."""
    return float(np.einsum("ij,ij->", a, b))


def largest_force(evaluation: Evaluation) -> float:
    """The longest force on any agent, eV/angstrom."""
    return float(np.sqrt(np.einsum("ij,ij->i", evaluation.forces, evaluation.forces).max()))
