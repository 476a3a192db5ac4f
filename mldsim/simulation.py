"""A running simulation: agents, a loss model, an integrator, a thermostat, and the guards. No threads.

Accounts. K is the kinetic energy of all agents, L the sum of their losses. For shared scope

    conserved = K + L + energy of the thermostat's bath + energy booked at interventions

stays constant up to the error of the time step. An intervention is a change of thermostat, target, coupling time,
model or its terms (`mldsim.edits`), a quench, new velocities, heat given to a region, a kick, or a molecule that is
taken out or put in (`mldsim.hands`): the jump that it makes is booked, so that the curve goes on where it was and its
drift is the integrator's alone. While a molecule is pulled the energy of the spring (`external`) is part of the
conserved quantity, and what the hand does by moving, grabbing and letting go is booked.
For own scope there is no such quantity and it is not a number. `heat` is what the
thermostats have given to the agents since the start.

Momentum. Reciprocal forces conserve it and every thermostat but Langevin's leaves it alone. Own-scope forces do not
add up to zero; the velocity of the centre of mass is therefore taken off after each step (this project's choice),
which also keeps the whole box from drifting out of the picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mldsim import observables, units
from mldsim.checkpoint import Checkpoint
from mldsim.delivery import Delivery
from mldsim.device_stepper import make_stepper as on_device_of_forces
from mldsim.doubt import Doubt
from mldsim.edits import FITTED, LossEdit
from mldsim.errors import DeviceLost, InputError, LeftPhysics, WorkFailed
from mldsim.evaluator import Evaluation, Evaluator
from mldsim.external import Spring
from mldsim.frames import Frame, Pull, ThermoRow, Topology
from mldsim.hands import with_water, without_molecule
from mldsim.integrators import Descent, largest_force
from mldsim.kernels import motion
from mldsim.loss import LossModel, Scope, load_model
from mldsim.molecules import molecules_of
from mldsim.parameters import DeviceKind, Parameters, Setup
from mldsim.state import State
from mldsim.stepper import Copied, Forces, HostStepper, Limits, Observed, Run, Stepper
from mldsim.thermostats import Thermostat, degrees_of_freedom, make_thermostat
from mldsim.water import read_structure, water_box

if TYPE_CHECKING:
    from mldsim.messages import Engine

Array = NDArray[np.float64]
T = TypeVar("T")

CLOSEST_CONTACT = 0.75
"""In units of a pair's wall radius: 1.7 angstrom for O-O, 0.6 for O-H. The wall begins below every contact of the
data; so deep inside it nothing that the model says is physics."""

HOTTEST_K, HOTTEST_FACTOR = 1500.0, 3.0
"""A temperature above both, the second in units of the target, is a run-away."""

LONGEST_BOND = 1.8
"""angstrom, for bonds with hydrogen: halfway to the next oxygen, where O-H is broken."""

SNAPSHOT_EVERY = 50
"""Steps. The state kept for a guard is one or two times so old: before the trouble began, not on its way."""

STAIR = 10
"""Steps between two changes of the target by a schedule: far fewer than a thermostat takes to follow."""

RELAXED_FORCE = 5.0
"""eV/angstrom. The longest force in liquid water at 300 K is between 3 and 4.5 at any moment (reference trajectory)."""

RELAXED_LOSS = 0.003
"""eV per agent above that of an equilibrated configuration: released as heat it is about 13 K."""

RELAX_STEPS = 200
"""Boxes of 8 to 2000 molecules at 0.6 to 1.3 g/cm^3 needed at most 47 with the model `water`."""

MOST_DOUBTED = 30_000
"""Agents; scratch arrays of a committee take some 25 kB for each."""

FASTEST_KICK = 0.1
"""angstrom/fs; a molecule of water has 9.3 eV at it, far above every guard."""

MOST_TAKEN_BACK = 5
"""States that are kept to be taken back to."""

QUENCHED_FORCE = 0.01
"""eV/angstrom; a quench is done when no agent feels a longer force."""


MakeForces = Callable[[LossModel, State], Forces]
MakeStepper = Callable[[Run, Forces, LossModel], Stepper]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All that changes in a run, at one moment; the arrays may still be on their way (`stepper.Stepper.copy`)."""

    arrays: Delivery[Copied]
    step: int
    time: float
    draws: int
    generator: Any
    thermostat: tuple[float, ...]
    target: float
    booked: float

    def arrives(self) -> bool:
        """Wait for the arrays; whether the device that sends them is still there."""
        try:
            self.arrays.wait()
        except DeviceLost:
            return False
        return True


class Simulation:
    """Molecular learning dynamics of one box; implements `runner.Engine`.

    Parameters
    ----------
    state : State
        The start; the simulation works on a copy.
    model : LossModel
        Its symbols are the state's.
    parameters : Parameters
        What they change of the loss is changed from the beginning.
    setup : Setup
    make_forces : callable, optional
        (model, state) -> evaluator; the default makes an `Evaluator` on the device of the setup.
    make_stepper : callable, optional
        (run, evaluator, model) -> stepper; the default takes steps where the evaluator computes.

    Raises
    ------
    InputError
        If the box is too small for the model, the device cannot be used, or agents of the start are too close.
    """

    def __init__(
        self,
        state: State,
        model: LossModel,
        parameters: Parameters,
        setup: Setup,
        *,
        make_forces: MakeForces | None = None,
        make_stepper: MakeStepper = on_device_of_forces,
    ) -> None:
        self._given_forces = make_forces
        self._make_forces = make_forces or _device_forces(setup)
        self._make_stepper = make_stepper
        self._setup = setup
        self._parameters = parameters
        self._fitted = model
        self._older: _Snapshot
        self._newer: _Snapshot
        model = parameters.loss.of(model)
        self._adopt(model, state.copy(), self._make_forces(model, state))
        refusal = self._trouble()
        if refusal is not None:
            raise InputError(f"The simulation cannot start: {refusal}; take another starting structure or model.")
        self._start = self._state.copy()

    def _adopt(self, model: LossModel, state: State, forces: Forces) -> None:
        """Begin with this state and model; accounts and thermostat start anew."""
        self._model, self._forces = model, forces
        self._fit_topology(state)
        limits = Limits(math.inf, CLOSEST_CONTACT, LONGEST_BOND)
        self._run = Run(state, forces(state.positions), self._new_thermostat(state), watched_bonds(state), limits)
        self._stepper = self._make_stepper(self._run, forces, model)
        self._descent: Descent | None = None
        self._before: deque[Checkpoint] = deque(maxlen=MOST_TAKEN_BACK)
        self._booked = 0.0
        self._heat_before = 0.0
        self._relax_guards()
        self._forget_snapshots()

    def _fit_topology(self, state: State) -> None:
        self._topology = Topology(state.symbols, state.species, state.masses, state.bonds)
        self._agents_of = {symbol: np.flatnonzero(state.species == i) for i, symbol in enumerate(state.symbols)}

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def setup(self) -> Setup:
        return self._setup

    @property
    def device(self) -> str:
        return self._forces.device_name

    @property
    def device_reason(self) -> str:
        return self._forces.device_reason

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def model_card(self) -> Mapping[str, object]:
        return self._model.card

    @property
    def model(self) -> LossModel:
        return self._model

    @property
    def state(self) -> State:
        """The present state itself, not a copy: for reading."""
        return self._state

    @property
    def evaluation(self) -> Evaluation:
        """Losses and forces at the present positions."""
        self._fetch()
        return self._run.evaluation

    @property
    def _state(self) -> State:
        self._fetch()
        return self._run.state

    def _fetch(self) -> None:
        """Bring state and evaluation up to date."""
        self._surely(lambda: self._stepper.fetch())

    def _observe(self) -> Observed:
        return self._surely(lambda: self._stepper.observe())

    def _surely(self, ask: Callable[[], T]) -> T:
        """What the stepper is asked for now; where its device is lost, of the same moment from the CPU."""
        try:
            return ask()
        except DeviceLost as lost:
            self._catch_up(lost)
            return ask()

    def _catch_up(self, lost: DeviceLost) -> None:
        """Come to the present moment again, on the CPU."""
        self.advance(self._leave_device(lost))

    def _leave_device(self, lost: DeviceLost) -> int:
        """Go on on the CPU from the last state that is known to be good; returns how many steps before it is."""
        reached = self._run.state.step
        good = self._newer if self._newer.arrives() else self._older
        self._setup = replace(self._setup, device=DeviceKind.CPU)
        self._make_forces = self._given_forces or _device_forces(self._setup)
        self._make_stepper = HostStepper
        self._forces = self._make_forces(self._model, self._run.state)
        self._forces.device_reason = f"{lost} The run goes on on the CPU, from {units.format_time(good.time)}."
        self._stepper = HostStepper(self._run, self._forces, self._model)
        self._return_to(good)
        self._forget_snapshots()
        return reached - self._run.state.step

    @property
    def _thermostat(self) -> Thermostat:
        return self._run.thermostat

    @property
    def degrees_of_freedom(self) -> int:
        return degrees_of_freedom(
            self._parameters.thermostat, self._run.state.n_agents, drift_removed=self._model.scope is Scope.OWN
        )

    @property
    def target(self) -> float:
        """The target temperature now, K: with a schedule it moves, in stairs of `STAIR` steps."""
        return self._run.thermostat.temperature

    # -- what is read off ---------------------------------------------------------------------------------------

    def thermo(self) -> ThermoRow:
        """Instantaneous observables."""
        return self._row()(self.evaluation.losses)

    def _row(self) -> Callable[[Array], ThermoRow]:
        """The same of the present moment, when the losses of the agents are known."""
        kinetic, loss, power = self._observe()
        own = self._model.scope is Scope.OWN
        known = ThermoRow(
            time=self._run.state.time,
            temperature=observables.temperature(kinetic, self.degrees_of_freedom),
            target=self.target,
            kinetic=kinetic,
            loss=loss,
            total=kinetic + loss,
            conserved=math.nan
            if own
            else kinetic + loss + self._spring_energy() + self._thermostat.energy + self._booked,
            heat=self._heat_before + self._thermostat.heat,
            nonreciprocal_power=power,
        )
        oxygen, hydrogen = (self._agents_of.get(symbol) for symbol in ("O", "H"))
        return lambda losses: replace(known, oxygen_loss=_mean(losses, oxygen), hydrogen_loss=_mean(losses, hydrogen))

    def frame(self) -> Frame:
        """A snapshot of the present state, in arrays of its own."""
        return self.send_frame().wait()

    def send_frame(self) -> Delivery[Frame]:
        """The same, while the run may go on.

        Waiting for it raises `DeviceLost` where steps were taken in the meantime and the device was lost before the
        frame had arrived: that moment is gone.
        """
        row, pull = self._row(), self._pull_now()
        state, step, time, box = self._run.state, self._run.state.step, self._run.state.time, self._run.state.box.copy()
        copied = self._surely(lambda: self._stepper.copy())
        stepper = self._stepper

        def wait() -> Frame:
            try:
                positions, velocities, losses, forces = copied.wait()
            except DeviceLost as lost:
                if state.step != step:
                    raise
                if self._stepper is stepper:
                    self._catch_up(lost)
                return self.frame()
            return Frame(step, time, box, positions, velocities, forces, losses, row(losses), pull=pull)

        return Delivery(wait, copied.arrived)

    def _spring_energy(self) -> float:
        spring = self._run.spring
        return 0.0 if spring is None else spring.energy(self._state.positions)

    def _pull_now(self) -> Pull | None:
        spring, positions = self._run.spring, self._state.positions
        if spring is None:
            return None
        return Pull(spring.agent, spring.anchor + spring.centre(positions), spring.pull(positions))

    # -- what it does -------------------------------------------------------------------------------------------

    def advance(self, steps: int) -> None:
        """Take `steps` time steps.

        Raises
        ------
        LeftPhysics
            When a guard trips; the state is then the last good one, one or two times `SNAPSHOT_EVERY` steps back.
        """
        self._descent = None
        with np.errstate(over="ignore", invalid="ignore"):  # the guard tells what overflows
            while steps > 0:
                if self._steps_since_snapshot >= SNAPSHOT_EVERY:
                    self._keep_snapshot()
                portion = min(steps, SNAPSHOT_EVERY - self._steps_since_snapshot)
                if self._parameters.schedule is not None:
                    portion = min(portion, STAIR - self._run.state.step % STAIR)
                try:
                    taken, trouble = self._stepper.advance(portion, self._parameters.timestep, self._trouble)
                except DeviceLost as lost:
                    steps += self._leave_device(lost)
                    continue
                self._steps_since_snapshot += taken
                steps -= taken
                if trouble is not None:
                    self._go_back(trouble)
                self._follow_schedule()

    def _follow_schedule(self) -> None:
        """Every `STAIR` steps take the target of this moment; what that changes in the energy of the bath is booked."""
        run = self._run
        if self._parameters.schedule is None or run.state.step % STAIR:
            return
        target = self._parameters.target(run.state.time)
        if target != run.thermostat.temperature:
            before = run.thermostat.energy
            run.thermostat.temperature = target
            self._booked += before - run.thermostat.energy
            if HOTTEST_FACTOR * target > self._hottest:
                self._relax_guards()

    def quench(self, steps: int) -> bool:
        """Take up to `steps` steps of gradient descent, from rest; time stands still.

        Returns
        -------
        bool
            Whether every force is below `QUENCHED_FORCE`.

        Raises
        ------
        LeftPhysics
            When a guard trips; the state is then the last good one.
        """
        converged = False
        with self._intervention():
            run = self._run
            run.spring = None
            run.state.velocities[:] = 0.0
            if self._descent is None:
                self._descent = Descent(common=self._model.scope is Scope.SHARED)
            for _ in range(steps):
                converged = largest_force(run.evaluation) < QUENCHED_FORCE
                if converged:
                    break
                run.evaluation = self._descent.step(run.state, run.evaluation, self._forces)
                trouble = self._trouble()
                if trouble is not None:
                    self._go_back(trouble)
        return converged or largest_force(self.evaluation) < QUENCHED_FORCE

    def new_velocities(self) -> None:
        """Draw all velocities anew: Maxwell-Boltzmann, zero momentum, exactly the target temperature."""
        self._remember()
        with self._intervention():
            observables.draw_velocities(self._state, self.target, self.degrees_of_freedom)

    def pull(self, agent: int, target: Array) -> None:
        """Pull the molecule of an agent by a spring; again with another target, the hand moves.

        Parameters
        ----------
        agent : int
        target : (3,) float64, angstrom
            Where the centre of mass of the molecule shall go, unwrapped like the positions.

        Raises
        ------
        InputError
            If there is no such agent, or the target is no place.
        """
        self._check_agents(np.array([agent]))
        if np.shape(target) != (3,) or not np.isfinite(target).all():
            raise InputError("A molecule is pulled to three finite coordinates.")
        state = self._state
        spring = self._run.spring
        if spring is None or spring.agent != agent:
            molecule = molecules_of(state.n_agents, state.bonds)
            spring = Spring(agent, np.flatnonzero(molecule == molecule[agent]), np.zeros(3), state.masses)
        with self._booked_jump():
            self._run.spring = replace(spring, anchor=np.array(target, np.float64) - spring.centre(state.positions))

    def release(self) -> None:
        """Let go of the molecule that is pulled, if one is."""
        with self._booked_jump():
            self._run.spring = None

    def heat(self, agents: NDArray[np.int64], factor: float) -> None:
        """Multiply the kinetic energy of some agents, in the frame that moves with their own centre of mass.

        Parameters
        ----------
        agents : (n,) int64
        factor : float
            Above one it heats, below one it cools.

        Raises
        ------
        InputError
            If there are no such agents, or the factor is not between 0 and 100.
        """
        self._check_agents(agents)
        if not 0.0 <= factor <= 100.0:
            raise InputError(f"Kinetic energy can be multiplied by 0 to 100; {factor:g} was given.")
        state = self._state
        self._remember()
        with self._intervention():
            masses = state.masses[agents]
            drift = np.einsum("i,ij->j", masses, state.velocities[agents]) / masses.sum()
            state.velocities[agents] = drift + math.sqrt(factor) * (state.velocities[agents] - drift)

    def kick(self, agent: int, velocity: Array) -> None:
        """Add a velocity to the molecule of an agent; all agents together take the opposite momentum.

        Parameters
        ----------
        agent : int
        velocity : (3,) float64, angstrom/fs

        Raises
        ------
        InputError
            If there is no such agent, or the velocity is above `FASTEST_KICK`.
        """
        self._check_agents(np.array([agent]))
        if np.shape(velocity) != (3,) or not float(np.linalg.norm(velocity)) <= FASTEST_KICK:
            raise InputError(f"A kick is a velocity of at most {FASTEST_KICK:g} Å/fs.")
        state = self._state
        molecule = molecules_of(state.n_agents, state.bonds)
        kicked = molecule == molecule[agent]
        self._remember()
        with self._intervention():
            state.velocities[kicked] += velocity
            state.velocities -= np.asarray(velocity) * (state.masses[kicked].sum() / state.masses.sum())

    def remove_molecule(self, agent: int) -> None:
        """Take the molecule of an agent out; the loss and the kinetic energy that go with it are booked.

        Raises
        ------
        InputError
            If there is no such agent, or it is the last molecule.
        """
        self._check_agents(np.array([agent]))
        self._go_on_with(without_molecule(self._state, agent))

    def add_molecule(self, near: Array | None = None) -> None:
        """Put a molecule of water where there is room, nearest to a place, (3,) angstrom, or anywhere.

        Agents that are too close then are moved apart, as at the start of a box.

        Raises
        ------
        InputError
            If there is no room, or the model does not know O and H.
        WorkFailed
            If the strain of the new one cannot be relaxed.
        """
        state = with_water(self._state, near, self.target, self._model.masses)
        forces = self._make_forces(self._model, state)
        common = self._model.scope is Scope.SHARED
        _relax(state, forces(state.positions), forces, Descent(common=common), RELAXED_FORCE, math.inf)
        observables.remove_drift(state)
        self._go_on_with(state)

    def take_back(self) -> None:
        """Back to where everything was before the last heating, kick, new velocities, removal or addition.

        Raises
        ------
        InputError
            If there was none.
        """
        if not self._before:
            raise InputError("There is nothing to take back.")
        self.restore(self._before.pop())

    def restore(self, before: Checkpoint) -> None:
        """Back to where everything was when this was kept of the present model: agents, time, accounts."""
        self._go_on_with(before.state.copy(), remember=False)
        self._run.state.velocities[:] = before.state.velocities  # to the last digit, which a new thermostat rounds
        if before.parameters.thermostat is self._parameters.thermostat:
            self._thermostat.variables = before.thermostat
            self._heat_before = before.heat_before
        self._booked = before.booked
        self._stepper.forget()
        self._forget_snapshots()

    def _go_on_with(self, state: State, *, remember: bool = True) -> None:
        """Go on with another state, which may have other agents."""
        forces = self._make_forces(self._model, state)
        evaluation = forces(state.positions)
        if remember:
            self._remember()
        with self._intervention():
            self._forces = forces
            self._run = Run(state, evaluation, self._thermostat, watched_bonds(state), self._run.limits)
            self._stepper = self._make_stepper(self._run, forces, self._model)
            self._forget_snapshots()
            self._descent = None
            self._fit_topology(state)
            self._change_thermostat()

    def twin(self, model: str, edit: LossEdit) -> Simulation:
        """Another simulation from the present positions and velocities, with another loss and its own thermostat.

        Raises
        ------
        InputError
            If the model cannot be loaded or edited like this, or does not fit here.
        """
        loaded = load_model(model)
        return Simulation(
            _with_model(self._state, loaded),
            loaded,
            replace(self._parameters, loss=edit),
            replace(self._setup, model=model),
            make_forces=self._make_forces,
            make_stepper=self._make_stepper,
        )

    def with_beside(self, model: str, edit: LossEdit) -> Engine:
        """This one with a twin beside it."""
        from mldsim.pair import Pair

        return Pair(self, model, edit)

    def alone(self) -> Simulation:
        """This one."""
        return self

    def take_velocities(self, velocities: Array) -> None:
        """Take over velocities, (n_agents, 3) angstrom/fs."""
        with self._intervention():
            self._state.velocities[:] = velocities

    def _remember(self) -> None:
        """Keep all as it is, to be taken back to."""
        self._before.append(self.checkpoint())

    def _check_agents(self, agents: NDArray[np.int64]) -> None:
        n_agents = self._state.n_agents
        if len(agents) == 0 or not ((agents >= 0) & (agents < n_agents)).all():
            raise InputError(f"Agents have numbers from 0 to {n_agents - 1}.")

    def set_parameters(self, parameters: Parameters) -> Parameters:
        """Take over new parameters between two steps; returns them as applied.

        Raises
        ------
        InputError
            If the loss cannot be changed like this; nothing is taken over then.
        """
        if parameters.loss != self._parameters.loss:
            self._change_loss(parameters.loss)
        old = self._parameters
        with self._intervention():
            self._parameters = parameters
            if parameters.thermostat is not old.thermostat:
                self._change_thermostat()
            else:
                self._thermostat.temperature = parameters.target(self._run.state.time)
                self._thermostat.coupling_time = parameters.coupling_time
        return self._parameters

    def _change_loss(self, edit: LossEdit) -> None:
        model, state = edit.of(self._fitted), self._state
        forces = self._make_forces(model, state)
        evaluation = forces(state.positions)
        with self._intervention():
            rescoped = model.scope is not self._model.scope
            self._model, self._forces, self._run.evaluation = model, forces, evaluation
            self._stepper = self._make_stepper(self._run, forces, model)
            self._parameters = replace(self._parameters, loss=edit)
            self._descent = None
            if rescoped:
                self._change_thermostat()

    def set_model(self, name_or_path: str | Path) -> None:
        """Go on from here with another loss model, as it was fitted, as the start of the setup too.

        Raises
        ------
        InputError
            If it cannot be loaded, lacks a species that is present, or does not fit the box; the old one goes on.
        """
        model = load_model(name_or_path)
        state, start = _with_model(self._state, model), _with_model(self._start, model)
        forces = self._make_forces(model, state)
        evaluation = forces(state.positions)
        refusal = self._contact_trouble(model, state, evaluation)
        if refusal is not None:
            raise InputError(f"The model '{model.name}' does not fit the present state: {refusal}.")
        with self._intervention():
            self._model, self._forces = model, forces
            self._run = Run(state, evaluation, self._thermostat, watched_bonds(state), self._run.limits)
            self._stepper = self._make_stepper(self._run, forces, model)
            self._fitted, self._start = model, start
            self._before.clear()
            self._parameters = replace(self._parameters, loss=FITTED)
            self._descent = None
            self._fit_topology(state)
            self._setup = replace(self._setup, model=str(name_or_path))
            self._change_thermostat()

    def reset(self) -> None:
        """Back to the start of the same setup; with the same parameters the run is the same again, bitwise.

        A schedule begins anew.
        """
        state = self._start.copy()
        self._parameters = self._parameters.begun_at(state.time)
        self._adopt(self._model, state, self._make_forces(self._model, state))

    def go_to(self, frame: Frame) -> None:
        """Go on from an earlier frame: its positions, velocities and time.

        Thermostat and random numbers stay as they are, so that what follows is another run from there.

        Raises
        ------
        InputError
            If its agents or its box are not those of this system, or it tells no velocities.
        """
        run = self._run
        state = self._state
        if len(frame.positions) != state.n_agents or not np.allclose(frame.box, state.box):
            raise InputError("The frame is of another system; start a simulation from it instead.")
        if not np.isfinite(frame.velocities).all():
            raise InputError("The frame tells no velocities; start a simulation from it instead.")
        with self._intervention():
            run.spring = None
            self._descent = None
            state.positions[:], state.velocities[:] = frame.positions, frame.velocities
            state.step, state.time = frame.step, frame.time
            run.evaluation = self._forces(state.positions)
            run.thermostat.temperature = self._parameters.target(state.time)

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on from here, on the CPU bitwise as if nothing had happened.

        A hand that pulls is not part of it: it has let go there.
        """
        return Checkpoint(
            setup=self._setup,
            parameters=self._parameters,
            model=self._fitted,
            state=self._state.copy(),
            start=self._start.copy(),
            listed=self._forces.listed,
            thermostat=self._thermostat.variables,
            target=self.target,
            booked=self._booked + self._spring_energy(),
            heat_before=self._heat_before,
        )

    @classmethod
    def resumed(
        cls,
        checkpoint: Checkpoint,
        *,
        make_forces: MakeForces | None = None,
        make_stepper: MakeStepper = on_device_of_forces,
    ) -> Simulation:
        """A simulation that goes on from a checkpoint.

        Raises
        ------
        InputError
            As the constructor, or when the thermostat remembers other things than this one does.
        """
        self = cls(
            checkpoint.state,
            checkpoint.model,
            checkpoint.parameters,
            checkpoint.setup,
            make_forces=make_forces,
            make_stepper=make_stepper,
        )
        if len(checkpoint.thermostat) != len(self._thermostat.variables):
            raise InputError("The checkpoint does not say all that its thermostat has to remember; it is damaged.")
        run = self._run
        if checkpoint.listed is not None:
            self._forces.look_up(checkpoint.listed)
            run.evaluation = self._forces(run.state.positions)
        run.thermostat.temperature, run.thermostat.variables = checkpoint.target, checkpoint.thermostat
        self._booked, self._heat_before = checkpoint.booked, checkpoint.heat_before
        self._start = checkpoint.start.copy()
        self._stepper.forget()
        self._relax_guards()
        self._forget_snapshots()
        return self

    def judge(self) -> Doubt:
        """What tells the doubt of the present model.

        Raises
        ------
        InputError
            If the model has no committee, or was edited, or the box holds too many agents for one.
        """
        if self._parameters.loss:
            raise InputError("Doubt is told of fitted losses; go back to the fitted loss to watch it.")
        if self._state.n_agents > MOST_DOUBTED:
            raise InputError(
                f"The doubt of {self._state.n_agents} agents would take too much memory; it is told of up to "
                f"{MOST_DOUBTED}."
            )
        setup, state = self._setup, self._state
        return Doubt(self._model, state.species, state.box, device=setup.device, precision=setup.precision)

    # -- thermostat and accounts --------------------------------------------------------------------------------

    def _new_thermostat(self, state: State) -> Thermostat:
        wanted, own = self._parameters, self._model.scope is Scope.OWN
        freedoms = degrees_of_freedom(wanted.thermostat, state.n_agents, drift_removed=own)
        return make_thermostat(
            wanted.thermostat,
            state.masses,
            freedoms,
            wanted.target(state.time),
            wanted.coupling_time,
            driven=own,
        )

    def _change_thermostat(self) -> None:
        self._heat_before += self._thermostat.heat
        self._run.thermostat = self._new_thermostat(self._run.state)
        if self.degrees_of_freedom < 3 * self._state.n_agents:
            observables.remove_drift(self._state)  # the one that a Langevin thermostat has left

    @contextmanager
    def _booked_jump(self) -> Iterator[None]:
        """Book the jump of the conserved quantity."""
        before = self.thermo().conserved
        self._fetch()
        yield
        self._stepper.forget()
        jump = before - self.thermo().conserved
        self._booked = self._booked + jump if math.isfinite(jump) else 0.0

    @contextmanager
    def _intervention(self) -> Iterator[None]:
        """Book the jump of the conserved quantity, look anew at what is hot, and forget what went before."""
        with self._booked_jump():
            yield
        self._relax_guards()
        self._forget_snapshots()

    # -- guards -------------------------------------------------------------------------------------------------

    def _relax_guards(self) -> None:
        # A system that is hot because it was told so until now gets the time to cool down.
        now = observables.temperature(self._observe().kinetic, self.degrees_of_freedom)
        self._hottest = max(HOTTEST_K, HOTTEST_FACTOR * self.target, 1.5 * now)
        most = 0.5 * units.BOLTZMANN * self.degrees_of_freedom * self._hottest
        self._run.limits = replace(self._run.limits, kinetic=most)

    def _trouble(self) -> str | None:
        """What is not physics in the present state, or None."""
        kinetic = self._state.kinetic_energy()
        if not kinetic <= self._run.limits.kinetic:  # catches what is not a number too
            if not math.isfinite(kinetic):
                return "A force or a velocity is no longer a finite number"
            hot = observables.temperature(kinetic, self.degrees_of_freedom)
            return f"The temperature rose to {hot:.0f} K, above the limit of {self._hottest:.0f} K"
        if not self.evaluation.closest >= CLOSEST_CONTACT:
            return self._contact_trouble(self._model, self._state, self.evaluation)
        watched = self._run.watched
        if len(watched):
            worst, square = motion.longest(self._state.positions, watched)
            if not square <= LONGEST_BOND**2:
                a, b = (self._call(int(i)) for i in watched[worst])
                return f"The bond between agents {a} and {b} stretched to {math.sqrt(square):.2f} Å"
        return None

    def _call(self, agent: int) -> str:
        return f"{self._state.symbols[self._state.species[agent]]} {agent}"

    @staticmethod
    def _contact_trouble(model: LossModel, state: State, evaluation: Evaluation) -> str | None:
        if not (np.isfinite(evaluation.forces).all() and np.isfinite(evaluation.losses).all()):
            return "A loss or a force is not a finite number"
        if evaluation.closest >= CLOSEST_CONTACT:
            return None
        i, j, distance = closest_pair(state, model.wall.radius)
        names = [f"{state.symbols[state.species[agent]]} {agent}" for agent in (i, j)]
        return f"Agents {names[0]} and {names[1]} came as close as {distance:.2f} Å"

    def _snapshot(self) -> _Snapshot:
        """Of the present moment; raises `DeviceLost`."""
        arrays = self._stepper.copy(evaluated=False)
        state, thermostat = self._run.state, self._thermostat
        return _Snapshot(
            arrays, state.step, state.time, state.draws, state.rng.bit_generator.state, thermostat.variables,
            thermostat.temperature, self._booked + self._spring_energy(),
        )  # fmt: skip

    def _keep_snapshot(self) -> None:
        """The newer one, which has had time to arrive, becomes the older one, which is sure to be there."""

        def newest() -> _Snapshot:
            self._newer.arrays.wait()
            return self._snapshot()

        found = self._surely(newest)
        self._older, self._newer = self._newer, found
        self._steps_since_snapshot = 0

    def _forget_snapshots(self) -> None:
        """Nothing before this moment will be gone back to."""

        def only() -> _Snapshot:
            snapshot = self._snapshot()
            snapshot.arrays.wait()
            return snapshot

        self._older = self._newer = self._surely(only)
        self._steps_since_snapshot = 0

    def _go_back(self, trouble: str) -> None:
        stopped = self._run.state.time
        self._return_to(self._older)
        self._forget_snapshots()
        raise LeftPhysics(
            f"{trouble}; the run stopped at {units.format_time(stopped)} and the last good state "
            f"({units.format_time(self._run.state.time)}) is kept."
        )

    def _return_to(self, good: _Snapshot) -> None:
        state = self._run.state
        self._run.spring = None  # its energy then is booked in the snapshot
        state.positions[:], state.velocities[:] = good.arrays.wait()[:2]
        state.step, state.time, state.draws = good.step, good.time, good.draws
        state.rng.bit_generator.state = good.generator
        self._thermostat.temperature = good.target
        self._thermostat.variables, self._booked = good.thermostat, good.booked
        self._run.evaluation = self._forces(state.positions)
        self._stepper.forget()


def _mean(losses: Array, agents: NDArray[np.int64] | None) -> float:
    """Mean loss of some agents, eV; NaN where there are none."""
    return math.nan if agents is None or not len(agents) else float(losses[agents].mean())


def watched_bonds(state: State) -> NDArray[np.int32]:
    """Bonds with hydrogen, (n, 2)."""
    is_hydrogen = np.array([symbol == "H" for symbol in state.symbols])[state.species]
    watched = state.bonds[is_hydrogen[state.bonds].any(axis=1)] if len(state.bonds) else state.bonds
    return np.ascontiguousarray(watched, np.int32)


def closest_pair(state: State, wall_radius: Array) -> tuple[int, int, float]:
    """The two agents that are deepest in each other's wall, and their distance, angstrom.

    Parameters
    ----------
    state : State
    wall_radius : (n_species, n_species) float64, angstrom
    """
    from scipy.spatial import cKDTree

    points = np.mod(state.positions, state.box)
    points[points >= state.box] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
    reach = min(float(wall_radius.max()), 0.499 * float(state.box.min()))
    pairs = cKDTree(points, boxsize=state.box).query_pairs(reach, output_type="ndarray")
    separation = points[pairs[:, 0]] - points[pairs[:, 1]]
    separation -= state.box * np.round(separation / state.box)
    distance = np.sqrt(np.einsum("ij,ij->i", separation, separation))
    worst = int(np.argmin(distance / wall_radius[state.species[pairs[:, 0]], state.species[pairs[:, 1]]]))
    return int(pairs[worst, 0]), int(pairs[worst, 1]), float(distance[worst])


def _with_model(state: State, model: LossModel) -> State:
    """A copy of the state in the species of a model."""
    present = [state.symbols[index] for index in np.unique(state.species)]
    unknown = [symbol for symbol in present if symbol not in model.symbols]
    if unknown:
        raise InputError(
            f"The model '{model.name}' knows {', '.join(model.symbols)}, but the simulation holds "
            f"{', '.join(unknown)} as well."
        )
    index = np.array([model.symbols.index(s) if s in model.symbols else -1 for s in state.symbols], np.int32)
    species = index[state.species]
    return replace(state.copy(), species=species, symbols=model.symbols, masses=model.masses[species])


def _device_forces(setup: Setup) -> MakeForces:
    def make(model: LossModel, state: State) -> Evaluator:
        return Evaluator(model, state.species, state.box, device=setup.device, precision=setup.precision)

    return make


def build_simulation(
    setup: Setup,
    parameters: Parameters,
    progress: Callable[[str], None],
    *,
    make_forces: MakeForces | None = None,
) -> Simulation:
    """Load the model, build or read the start, relax it where it is strained.

    A box of water is relaxed by gradient descent until no force is longer than `RELAXED_FORCE` and the loss per agent
    is that of the equilibrated configuration of 64 molecules that it was made from, at the same density: the strain of
    the seam would turn into some hundred kelvin within a picosecond. Where whole repeats are the box there is none,
    and nothing is moved. A structure from a file is relaxed only while agents are inside each other's wall.

    Parameters
    ----------
    setup : Setup
    parameters : Parameters
    progress : callable
        Told in a few words what is being done.
    make_forces : callable, optional
        As for `Simulation`.

    Raises
    ------
    InputError
        If the model or the structure cannot be used.
    WorkFailed
        If the start cannot be relaxed.
    """
    progress("Reading model")
    model = load_model(setup.model)
    if setup.start is None:
        progress(f"Building {setup.molecules} molecules of water")
        state = water_box(
            setup.molecules, setup.density, parameters.temperature, setup.seed, model.symbols, model.masses
        )
    else:
        progress(f"Reading {setup.start.name}")
        state = read_structure(
            setup.start, model.symbols, model.masses, setup.seed, parameters.temperature, setup.start_frame
        )
    make = make_forces or _device_forces(setup)
    forces = make(model, state)
    progress("Compiling kernels (only at the first start)")
    evaluation = forces(state.positions)
    descent = Descent(common=model.scope is Scope.SHARED)
    if setup.start is None:
        progress(f"Relaxing {setup.molecules} molecules")
        _relax(state, evaluation, forces, descent, RELAXED_FORCE, _liquid_loss(setup, model, make) + RELAXED_LOSS)
    else:
        progress("Checking the structure")
        _relax(state, evaluation, forces, descent, math.inf, math.inf)
    return Simulation(state, model, parameters, setup, make_forces=make_forces)


def _liquid_loss(setup: Setup, model: LossModel, make_forces: MakeForces) -> float:
    """Mean loss of an agent in the equilibrated configuration at the density of the setup, eV."""
    liquid = water_box(64, setup.density, 300.0, setup.seed, model.symbols, model.masses)
    try:
        return float(make_forces(model, liquid)(liquid.positions).losses.mean())
    except InputError:  # 64 molecules do not fill the cutoff at this density
        return math.inf


def _relax(
    state: State, evaluation: Evaluation, forces: Forces, descent: Descent, force_limit: float, loss_limit: float
) -> None:
    """Descend until no agent is inside another's wall and forces and mean loss are below their limits."""
    for _ in range(RELAX_STEPS):
        if (
            evaluation.closest >= 1.0
            and largest_force(evaluation) <= force_limit
            and float(evaluation.losses.mean()) <= loss_limit
        ):
            return
        evaluation = descent.step(state, evaluation, forces)
    if not largest_force(evaluation) < math.inf:
        raise WorkFailed(
            "The start could not be relaxed: the model's forces are not finite numbers; take another model."
        )
    if not evaluation.closest >= CLOSEST_CONTACT:
        raise WorkFailed(
            f"The start could not be relaxed in {RELAX_STEPS} steps: agents are still too close; "
            "take a lower density or another starting structure."
        )
