"""Who takes the steps of time: what a simulation asks of it, and the one that takes them on the CPU.

A stepper may keep the agents elsewhere while it works. Then the arrays of a `Run` are old until `fetch`, and what
somebody else writes into them counts after `forget`. Time, number of steps, draws and thermostat are never old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim import observables
from mldsim.delivery import Delivery
from mldsim.evaluator import Evaluation
from mldsim.external import Spring
from mldsim.integrators import Verlet
from mldsim.loss import LossModel, Scope
from mldsim.state import State
from mldsim.thermostats import Thermostat

Array = NDArray[np.float64]


class Forces(Protocol):
    """What a simulation asks of an evaluator."""

    device_name: str
    device_reason: str

    def __call__(self, positions: Array, /) -> Evaluation: ...

    def shared_forces(self) -> Array:
        """Forces of the common loss at the last positions."""
        ...

    @property
    def listed(self) -> Array | None:
        """Where neighbours were looked up last: what of the past decides how forces round."""
        ...

    def look_up(self, at: Array) -> None:
        """Look up neighbours there."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Where physics ends.

    Attributes
    ----------
    kinetic : float, eV
        Largest kinetic energy.
    closest : float
        Smallest distance of a pair in units of its wall's radius.
    bond : float, angstrom
        Largest distance of two agents that are watched.
    """

    kinetic: float
    closest: float
    bond: float


@dataclass(slots=True)
class Run:
    """What steps change, and what they heed.

    Attributes
    ----------
    state : State
    evaluation : Evaluation
        Losses and forces there.
    thermostat : Thermostat
    watched : (n_bonds, 2) int32
        Bonds whose length is looked at after each step.
    limits : Limits
    spring : Spring, optional
        That pulls a molecule.
    """

    state: State
    evaluation: Evaluation
    thermostat: Thermostat
    watched: NDArray[np.int32]
    limits: Limits
    spring: Spring | None = None


class Observed(NamedTuple):
    """Sums over all agents at the present moment.

    Attributes
    ----------
    kinetic : float, eV
    loss : float, eV
    power : float, eV/fs
        Of the non-reciprocal part of the forces; zero for shared scope.
    """

    kinetic: float
    loss: float
    power: float


class Copied(NamedTuple):
    """State and evaluation at one moment, in arrays that nobody changes any more.

    Attributes
    ----------
    positions, velocities : (n_agents, 3) float64, angstrom and angstrom/fs
    losses : (n_agents,) float64, eV
    forces : (n_agents, 3) float64, eV/angstrom
        Both empty where they were not asked for.
    """

    positions: Array
    velocities: Array
    losses: Array
    forces: Array


class Stepper(Protocol):
    """Takes the steps of one run."""

    def advance(self, steps: int, dt: float, trouble: Callable[[], str | None]) -> tuple[int, str | None]:
        """Take steps of `dt` fs until all are taken or one leads out of physics.

        Parameters
        ----------
        steps : int
        dt : float, fs
        trouble : callable
            What is not physics in the present state, a sentence, or None.

        Returns
        -------
        taken, found : int, str or None
            Steps that were taken, at least one, and the trouble after the last.

        Raises
        ------
        DeviceLost
            If what it works on fails; the run's arrays are what they were at the last `fetch`, or undefined.
        """
        ...

    def fetch(self) -> None:
        """Bring state and evaluation of the run up to date; raises `DeviceLost`."""
        ...

    def copy(self, *, evaluated: bool = True) -> Delivery[Copied]:
        """Begin to copy the present moment, and go on.

        Parameters
        ----------
        evaluated : bool
            With losses and forces.

        Raises
        ------
        DeviceLost
            As does waiting for what was not waited for before.
        """
        ...

    def forget(self) -> None:
        """Somebody else has changed state or evaluation of the run; steps go on from what is there.

        Thermostat and limits are looked at before every portion of steps.
        """
        ...

    def observe(self) -> Observed:
        """Sums at the present moment; raises `DeviceLost`."""
        ...


class HostStepper:
    """Takes steps on the CPU, on the arrays of the run, wherever forces come from.

    Parameters
    ----------
    run : Run
    forces : Forces
    model : LossModel
    """

    def __init__(self, run: Run, forces: Forces, model: LossModel) -> None:
        self._run, self._forces = run, forces
        self._own = model.scope is Scope.OWN
        self._verlet = Verlet(run.state.masses)

    def advance(self, steps: int, dt: float, trouble: Callable[[], str | None]) -> tuple[int, str | None]:
        run = self._run
        for taken in range(1, steps + 1):
            if run.spring is None:
                run.evaluation = self._verlet.step(run.state, run.evaluation, self._forces, run.thermostat, dt)
            else:
                run.evaluation = self._pulled_step(run.spring, dt)
            if self._own:
                observables.remove_drift(run.state)
            found = trouble()
            if found is not None:
                return taken, found
        return steps, None

    def fetch(self) -> None:
        """Nothing: the arrays of the run are the ones that steps change."""

    def copy(self, *, evaluated: bool = True) -> Delivery[Copied]:
        state, evaluation = self._run.state, self._run.evaluation
        losses, forces = (evaluation.losses, evaluation.forces) if evaluated else (np.empty(0), np.empty((0, 3)))
        copied = Copied(state.positions.copy(), state.velocities.copy(), losses.copy(), forces.copy())
        return Delivery(lambda: copied)

    def forget(self) -> None:
        """Nothing."""

    def observe(self) -> Observed:
        state, evaluation = self._run.state, self._run.evaluation
        power = 0.0
        if self._own:
            power = observables.nonreciprocal_power(state.velocities, evaluation.forces, self._forces.shared_forces())
        return Observed(state.kinetic_energy(), float(evaluation.losses.sum()), power)

    def _pulled_step(self, spring: Spring, dt: float) -> Evaluation:
        """One time step with a spring; returns losses and forces without it."""
        run = self._run
        plain, state = run.evaluation, run.state

        def evaluate(positions: Array) -> Evaluation:
            nonlocal plain
            plain = self._forces(positions)
            return replace(plain, forces=plain.forces + spring.forces(positions))

        begin = replace(plain, forces=plain.forces + spring.forces(state.positions))
        self._verlet.step(state, begin, evaluate, run.thermostat, dt)
        return plain
