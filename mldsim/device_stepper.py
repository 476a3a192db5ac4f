"""Steps of time that stay on the GPU (`kernels.cuda_step`), and the way between its memory and a run's arrays.

State, forces and list live on the device until somebody asks for them. A portion of steps is one launch; what comes
back from it is one small array: accounts, thermostat, and whether a guard has tripped. Copies of a moment, for frames
and for what a guard goes back to, leave beside the steps that follow (`kernels.cuda_outbox`). While a hand pulls, steps
are taken on the CPU with forces from the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mldsim import units
from mldsim.delivery import Delivery
from mldsim.errors import DeviceLost
from mldsim.evaluator import Evaluation, Evaluator, faults
from mldsim.kernels import motion
from mldsim.loss import LossModel, Scope
from mldsim.stepper import Copied, Forces, HostStepper, Observed, Run, Stepper
from mldsim.thermostats import CSVR, Langevin, NoseHooverChain

LONGEST_LAUNCH = 0.2
"""Seconds. A GPU that draws a screen as well must not be kept longer than two; and someone may want to stop."""

ENTRIES = 6
"""Place of the list among the arrays of a `kernels.cuda_step.Box`."""

SAME_FORCES = 1e-3
"""Of the longest force: what the first forces of whole steps may differ from those that the run begins with, whose list
was made on the CPU. Rounding leaves 1e-6; an error of driver or compiler leaves anything."""


class DeviceStepper:
    """Takes steps on the device of an evaluator.

    Parameters
    ----------
    run : Run
    forces : Evaluator
        On a GPU. Its arrays are used: whoever calls it calls `forget` afterwards.
    model : LossModel

    Raises
    ------
    ValueError
        If the model is too large for whole steps.
    DeviceLost
        If the device fails, or has no memory left.
    """

    def __init__(self, run: Run, forces: Evaluator, model: LossModel) -> None:
        from mldsim.kernels import cuda_outbox, cuda_step

        self._kernels, self._run, self._forces = cuda_step, run, forces
        self._host = HostStepper(run, forces, model)
        self._own = model.scope is Scope.OWN
        real = np.dtype(forces.precision.value).type
        n_channels = 0 if model.cubic is None else model.cubic.n_channels
        self._kernel = cuda_step.step_kernel(
            cuda_step.Form(
                len(model.symbols), model.radial.n_radial, model.max_rank, n_channels, model.hops is not None,
                model.waves is not None, self._own, real,
            )
        )  # fmt: skip
        state = run.state
        n_agents = state.n_agents
        cells = cuda_step.grid_of_cells(state.box, forces.reach, n_agents)
        integers = np.zeros((6, n_agents), np.int32)
        integers[0] = state.species
        n_species, n_cells = len(model.symbols), len(model.symbols) * int(cells.prod())
        account = np.zeros(cuda_step.PLACES)
        account[cuda_step.MASS], account[cuda_step.TOTAL_MASS] = units.MASS, state.masses.sum()
        account[cuda_step.KEY : cuda_step.KEY + 2] = state.key
        account[cuda_step.OWN] = float(self._own)
        account[cuda_step.FARTHEST], account[cuda_step.REACH] = forces.farthest, forces.reach
        account[cuda_step.BOX : cuda_step.BOX + 3], account[cuda_step.CELLS : cuda_step.CELLS + 3] = state.box, cells
        self._account = account
        self._stale = True  # the host's arrays are to be sent before the next step
        self._ahead = False  # the host's arrays are older than the device's
        self._at_once = 1
        with faults():
            self._aside, self._outbox = cuda_outbox.aside, cuda_outbox.Outbox()
            put, room = forces.put, cuda_step.room
            self._on_device = put(account)
            self._places = room((4, n_agents, 3), np.float64)
            self._integers = put(integers)
            self._box = [
                self._places, put(state.masses), self._integers, room((2, n_cells + 1), np.int32),
                room((-(-n_cells // cuda_step.cell_portion()),), np.int32), room((n_agents, n_species), np.int32),
                room((n_agents, forces.crowd()), np.int32), put(run.watched.reshape(-1, 2)),
                put(np.zeros((cuda_step.portions(max(n_agents, len(run.watched))), cuda_step.SUMS))),
                room((n_agents, 4), real),
            ]  # fmt: skip
            self._arrays = forces.arrays()
            if self._own:  # room for the forces of the common loss
                self._arrays["distant"] = room((n_agents, 3), real)
            self._launcher: Any = None

    def advance(self, steps: int, dt: float, trouble: Callable[[], str | None]) -> tuple[int, str | None]:
        run, kernels, account = self._run, self._kernels, self._account
        if run.spring is not None:
            self.fetch()
            taken, found = self._host.advance(steps, dt, trouble)
            self.forget()
            return taken, found
        if not self._forces.on_gpu:
            raise DeviceLost(self._forces.device_reason)
        with faults():
            if self._stale:
                self._send()
            self._tell(dt)
            began = time.perf_counter()
            taken = self._take(kernels.ADVANCE, min(steps, self._at_once))
            seconds = (time.perf_counter() - began) / taken
        self._at_once = max(1, min(int(LONGEST_LAUNCH / max(seconds, 1e-9)), 1_000_000))
        self._ahead = True
        state, n = run.state, int(account[kernels.CHAIN])
        state.step += taken
        for _ in range(taken):  # rounded as on the CPU
            state.time += dt
        state.draws = int(account[kernels.DRAWS])
        chain = (account[place : place + n].tolist() for place in (kernels.RATES, kernels.ANGLES))
        run.thermostat.variables = (float(account[kernels.HEAT]), *(value for values in chain for value in values))
        return taken, trouble() if account[kernels.HALTED] else None

    def fetch(self) -> None:
        if not self._ahead:
            return
        state, arrays = self._run.state, self._arrays
        with faults():
            self._places[0].copy_to_host(state.positions)
            self._places[1].copy_to_host(state.velocities)
            self._run.evaluation = self._fetch_evaluation(arrays)
        self._ahead = False

    def copy(self, *, evaluated: bool = True) -> Delivery[Copied]:
        if self._stale:
            return self._host.copy(evaluated=evaluated)
        arrays, aside, order = self._arrays, self._aside, self._integers[4]
        with faults():
            found = [aside(self._places[:2])]
            if evaluated:
                found += [aside(arrays["losses"], order), aside(arrays["forces"], order)]
            parcel = self._outbox.send(*found)

        def wait() -> Copied:
            with faults():
                (positions, velocities), *rest = parcel.open()
            losses, forces = rest or (np.empty(0), np.empty((0, 3)))
            return Copied(positions, velocities, losses, forces)

        return Delivery(wait, parcel.arrived)

    def forget(self) -> None:
        self._stale, self._ahead = True, False

    def observe(self) -> Observed:
        if self._stale:
            if self._own:  # those of the common loss are of the last positions
                self._forces(self._run.state.positions)
            return self._host.observe()
        kernels, account = self._kernels, self._account
        if self._own:
            with faults():
                self._launch(kernels.POWER, 0, 0)
        kinetic, loss, power = account[[kernels.KINETIC, kernels.LOSS, kernels.EXCESS]].tolist()
        return Observed(kinetic, loss, power)

    def _send(self) -> None:
        """State and list to the device, and the forces there; the first account."""
        kernels, state, account = self._kernels, self._run.state, self._account
        self._places[0].copy_to_device(state.positions)
        self._places[1].copy_to_device(state.velocities)
        account[kernels.RENEW], account[kernels.KINETIC] = 1.0, state.kinetic_energy()
        self._take(kernels.EVALUATE, 1)
        known, found = self._run.evaluation, self._fetch_evaluation(self._arrays)
        largest = float(np.abs(known.forces).max(initial=0.0))
        if not float(np.abs(found.forces - known.forces).max(initial=0.0)) <= SAME_FORCES * largest + 1e-6:
            raise DeviceLost("The GPU's whole steps do not begin with the forces of the run.")
        account[kernels.LOSS] = found.losses.sum()
        self._stale = False

    def _tell(self, dt: float) -> None:
        """What may have changed since the last portion, into the account."""
        kernels, run, account = self._kernels, self._run, self._account
        thermostat = run.thermostat
        account[kernels.DT], account[kernels.TAU] = dt, thermostat.coupling_time
        account[kernels.QUANTUM] = units.BOLTZMANN * thermostat.temperature
        account[kernels.HOTTEST], account[kernels.CLOSEST] = run.limits.kinetic, run.limits.closest
        account[kernels.LONGEST] = run.limits.bond**2
        account[kernels.DRAWS] = run.state.draws
        heat, *chain = thermostat.variables
        n = len(chain) // 2
        account[kernels.HEAT], account[kernels.CHAIN] = heat, n
        account[kernels.RATES : kernels.RATES + n], account[kernels.ANGLES : kernels.ANGLES + n] = chain[:n], chain[n:]
        kind, freedoms = kernels.NO_THERMOSTAT, 1
        if isinstance(thermostat, NoseHooverChain):
            kind, freedoms = kernels.NOSE_HOOVER, thermostat.freedoms
        elif isinstance(thermostat, CSVR):
            kind, freedoms = kernels.CSVR, thermostat.freedoms
        elif isinstance(thermostat, Langevin):
            kind = kernels.LANGEVIN
        account[kernels.KIND], account[kernels.FREEDOMS] = kind, freedoms

    def _take(self, task: int, steps: int) -> int:
        """Steps until all are taken or a guard trips; a list that proves too short is made wider on the way."""
        kernels, account = self._kernels, self._account
        taken, begun = 0, int(task == kernels.EVALUATE)
        while True:
            self._launch(task, steps - taken, begun)
            taken += int(account[kernels.TAKEN])
            if not account[kernels.SHORT]:
                return taken
            n_agents, columns = self._box[ENTRIES].shape
            self._box[ENTRIES] = None  # its memory is free before more is asked for
            self._box[ENTRIES] = kernels.room((n_agents, columns + columns // 2 + 1), np.int32)
            begun = 1

    def _launch(self, task: int, steps: int, begun: int) -> None:
        """Run the kernel, and wait for what it has to tell."""
        arguments = (task, steps, begun, self._on_device, *self._box, *self._arrays.values())
        if self._launcher is None:
            self._launcher = self._kernels.ready(self._kernel, arguments, self._run.state.n_agents)
        self._on_device.copy_to_device(self._account)
        self._launcher(*arguments)
        self._on_device.copy_to_host(self._account)

    def _fetch_evaluation(self, arrays: dict[str, Any]) -> Evaluation:
        get = self._forces.get
        order = get(self._integers[4]).astype(np.int64)
        losses, forces = np.empty(len(order)), np.empty((len(order), 3))
        closest = motion.collect(
            order, get(arrays["losses"]), get(arrays["forces"]), get(arrays["closest"]), losses, forces
        )
        return Evaluation(losses, forces, float(closest))


def make_stepper(run: Run, forces: Forces, model: LossModel) -> Stepper:
    """On the device of the forces, where that is a GPU and the model is not too large for it."""
    if isinstance(forces, Evaluator) and forces.on_gpu:
        try:
            return DeviceStepper(run, forces, model)
        except ValueError:
            pass  # forces from the GPU, steps on the CPU
        except DeviceLost as error:
            forces.leave_gpu(str(error))
    return HostStepper(run, forces, model)
