"""`mldsim run`: a simulation without a window."""

from __future__ import annotations

import argparse
import math
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldsim import units
from mldsim.cli.options import add_field, add_setup, duration, setup_of
from mldsim.cli.output import DONE, FAILED, check_output, finite, print_json, refuse
from mldsim.cli.stopping import asked_to_stop
from mldsim.errors import Cancelled, InputError, WorkFailed
from mldsim.parameters import DeviceKind, Parameters, ThermostatKind
from mldsim.progress import progress_bar, tell
from mldsim.schedules import Leg, Schedule, parse_leg

if TYPE_CHECKING:
    from mldsim.simulation import Simulation
    from mldsim.trajectory.recorder import FrameSink


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TRAJ.h5md",
                        help="trajectory: H5MD, or extended XYZ for names ending in .xyz or .extxyz")  # fmt: skip
    add_setup(parser)
    add_field(parser, "--temperature", "temperature", "K")
    parser.add_argument("--ramp", type=_leg, nargs="+", metavar="K:TIME",
                        help="move the target from there: to so many K within this time, and so on")  # fmt: skip
    parser.add_argument("--cycle", action="store_true", help="begin the ramps again when they have ended")
    parser.add_argument("--time", type=duration, default="1ps", metavar="TIME",
                        help="how long to run, in fs, ps, ns or us; a bare number counts in fs")  # fmt: skip
    add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--thermostat", choices=[kind.value for kind in ThermostatKind], default="nose-hoover",
                        help="how heat is exchanged")  # fmt: skip
    add_field(parser, "--tau", "coupling_time", "TIME")
    parser.add_argument("--every", type=duration, default="10fs", metavar="TIME",
                        help="time between two written frames, rounded to time steps")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, metavar="FILE.h5",
                        help="keep here what a later run needs to go on; the last one is replaced")  # fmt: skip
    parser.add_argument("--checkpoint-every", type=duration, default="1ps", metavar="TIME",
                        help="time between two checkpoints")  # fmt: skip
    parser.add_argument("--resume", type=Path, metavar="FILE.h5",
                        help="go on from a checkpoint or a session of the window, to the end that was asked for there, "
                        "or for --time from there")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def _leg(text: str) -> Leg:
    try:
        return parse_leg(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


LIVE = {
    "--temperature": ("temperature", "temperature"),
    "--thermostat": ("thermostat", "thermostat"),
    "--tau": ("coupling_time", "tau"),
    "--timestep": ("timestep", "timestep"),
}
"""Options of what may change during a run: the field of `Parameters`, and where argparse puts it."""


FIXED = ("--model", "--molecules", "--density", "--seed", "--start", "--precision")
"""Options that a run which goes on has from its checkpoint."""


@dataclass(frozen=True)
class _Begin:
    """A simulation that can run, and what was planned for it."""

    simulation: Simulation
    last_step: int
    every: int


def _begin_run(options: argparse.Namespace) -> _Begin:
    """Build the simulation, or take it from a checkpoint."""
    from mldsim.simulation import Simulation, build_simulation

    if options.cycle and not options.ramp:
        raise InputError("--cycle repeats ramps, and there is none; add --ramp.")
    schedule = Schedule(tuple(options.ramp), repeats=options.cycle) if options.ramp else None
    if options.resume is None:
        parameters = Parameters(
            temperature=options.temperature,
            thermostat=ThermostatKind(options.thermostat),
            coupling_time=options.tau,
            timestep=options.timestep,
            schedule=schedule,
        )
        steps, every = _steps(options, "time", parameters), _steps(options, "every", parameters)
        return _Begin(build_simulation(setup_of(options), parameters, lambda text: tell(f"{text} ...")), steps, every)

    from mldsim.checkpoint import load_checkpoint

    for option in FIXED:
        if option in options.given:
            raise InputError(f"{option} cannot be changed: a run that goes on has it from its checkpoint.")
    checkpoint = load_checkpoint(options.resume)
    changes: dict[str, Any] = {
        field: ThermostatKind(value) if field == "thermostat" else value
        for option, (field, name) in LIVE.items()
        if option in options.given and (value := getattr(options, name)) is not None
    }
    state, parameters = checkpoint.state, checkpoint.parameters
    if schedule is not None:
        changes |= {"temperature": options.temperature} if "--temperature" in options.given else {
            "temperature": parameters.target(state.time)
        }  # fmt: skip
        changes["schedule"] = replace(schedule, begin=state.time)
    elif "temperature" in changes:
        changes["schedule"] = None
    parameters = parameters.with_changes(**changes)
    plan = checkpoint.plan
    if plan is not None:
        options.every = options.every if "--every" in options.given else plan.every
        options.time = options.time if "--time" in options.given else plan.end - state.time
    if round(options.time / parameters.timestep) < 1:
        raise InputError(
            f"{options.resume}: this run has come to its end at {units.format_time(state.time)}; --time goes on."
        )
    if "--device" in options.given:
        checkpoint = replace(checkpoint, setup=replace(checkpoint.setup, device=DeviceKind(options.device)))
    steps, every = _steps(options, "time", parameters), _steps(options, "every", parameters)
    simulation = Simulation.resumed(checkpoint)
    if changes:
        simulation.set_parameters(parameters)
    return _Begin(simulation, state.step + steps, every)


def _steps(options: argparse.Namespace, name: str, parameters: Parameters) -> int:
    """A time of the options in steps."""
    steps = round(float(getattr(options, name)) / parameters.timestep)
    if steps < 1:
        option = f"--{name.replace('_', '-')}"
        raise InputError(f"{option} is shorter than one time step of {parameters.timestep:g} fs.")
    return steps


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    check_output(options.output, options.force)
    if options.checkpoint is not None:
        # The file of --resume may be gone on with; any other one is not replaced without being told.
        check_output(options.checkpoint, options.force or options.checkpoint == options.resume)
    elif "--checkpoint-every" in options.given:
        raise InputError("--checkpoint-every needs a file; add --checkpoint FILE.")
    begin = _begin_run(options)
    simulation = begin.simulation
    state = simulation.state
    left = (begin.last_step - state.step) * simulation.parameters.timestep
    gone = f" more after {units.format_time(state.time)}" if options.resume is not None else ""
    tell(
        f"{simulation.model_name}, {simulation.topology.n_agents} agents, {units.format_time(left)}{gone} "
        f"on {simulation.device}. {simulation.device_reason}"
    )
    keeper = None
    if options.checkpoint is not None:
        keeper = _Keeper(options.checkpoint, _steps(options, "checkpoint_every", simulation.parameters), begin)
    why = simulation.device_reason
    result = _record(begin, options.output, options.force, keeper)
    if simulation.device_reason != why:
        tell(simulation.device_reason)
    if result["steps"]:
        print(_told_run(result))
    if not result["aborted"]:
        print(f"Written to {options.output}.")
    if options.json:
        print_json(result)
    return refuse(result["aborted"], FAILED) if result["aborted"] else DONE


class _Keeper:
    """Writes checkpoints now and then; a frame that is in the trajectory before is on disk when one is written."""

    def __init__(self, path: Path, every: int, begin: _Begin) -> None:
        from mldsim.checkpoint import Plan

        self.path, self.every = path, every
        state, timestep = begin.simulation.state, begin.simulation.parameters.timestep
        self._plan = Plan(state.time + (begin.last_step - state.step) * timestep, begin.every * timestep)

    def keep(self, simulation: Simulation, sink: FrameSink) -> None:
        """Write one; raises WorkFailed."""
        from mldsim.checkpoint import save_checkpoint

        sink.flush()
        save_checkpoint(replace(simulation.checkpoint(), plan=self._plan), self.path, force=True)


def _told_run(result: dict[str, Any]) -> str:
    rate, mean, spread = (result[key] for key in ("steps_per_s", "temperature_mean_K", "temperature_std_K"))
    temperature = "" if mean is None else f"; {mean:.1f} K" if spread is None else f"; {mean:.1f} ± {spread:.1f} K"
    return (
        f"{result['steps']} steps in {result['seconds']:.1f} s: {rate:.{0 if rate >= 10 else 2}f} steps/s, "
        f"{result['ns_per_day']:.3g} ns/day{temperature}."
    )


ANSWER_WITHIN = 0.2
"""Seconds between two looks at whether to stop, and between two reports of progress; one step may take longer."""


def _record(begin: _Begin, path: Path, force: bool, keeper: _Keeper | None = None) -> dict[str, Any]:
    """Run, write, and sum up; a guard, a full disk or Ctrl-C ends the run early and is told under "aborted".

    Frames fall on whole multiples of `every`, so that those of a run that goes on follow those before evenly.
    """
    from mldsim.trajectory.recorder import open_sink

    simulation, every = begin.simulation, begin.every
    temperature, conserved = _Moments(), _Moments()
    aborted: str | None = None
    first = step = simulation.state.step
    steps, burst = begin.last_step - first, 1
    with asked_to_stop() as stop_asked:
        began = time.perf_counter()
        try:
            with (
                closing(open_sink(path, simulation, simulation.state.box, force)) as sink,
                progress_bar("Running") as report,
            ):
                sink.write(simulation.frame())
                began = time.perf_counter()
                while step < begin.last_step:
                    if stop_asked():
                        if keeper is not None:
                            keeper.keep(simulation, sink)
                        raise Cancelled(
                            f"Interrupted at {units.format_time(simulation.state.time)}; "
                            f"{path} holds the run up to there"
                            + (f", and --resume {keeper.path} goes on." if keeper is not None else ".")
                        )
                    chunk = min(burst, every - step % every, begin.last_step - step)
                    if keeper is not None:
                        chunk = min(chunk, keeper.every - step % keeper.every)
                    before = time.perf_counter()
                    simulation.advance(chunk)
                    burst = max(1, int(chunk * ANSWER_WITHIN / max(time.perf_counter() - before, 1e-9)))
                    step += chunk
                    if step % every == 0 or step == begin.last_step:
                        frame = simulation.frame()
                        temperature.add(frame.time, frame.thermo.temperature)
                        conserved.add(frame.time, frame.thermo.conserved)
                        if step % every == 0:
                            sink.write(frame)
                    if keeper is not None and (step % keeper.every == 0 or step == begin.last_step):
                        keeper.keep(simulation, sink)
                    now = f", {temperature.latest:.0f} K" if temperature.count else ""
                    report((step - first) / steps, f"{units.format_time(simulation.state.time)}{now}")
        except WorkFailed as error:
            aborted = str(error)
        seconds = time.perf_counter() - began
    done = step - first
    speed = done / seconds
    n_agents = simulation.topology.n_agents
    drift = conserved.slope
    return {
        "steps": done,
        "seconds": seconds,
        "steps_per_s": speed,
        "ns_per_day": speed * simulation.parameters.timestep * 86400e-6,
        "atom_steps_per_s": speed * n_agents,
        "device": simulation.device,
        "temperature_mean_K": finite(temperature.mean) if temperature.count else None,
        "temperature_std_K": temperature.deviation,
        "energy_drift_meV_per_atom_per_ps": None if drift is None else drift * 1e6 / n_agents,
        "aborted": aborted,
    }


class _Moments:
    """Streamed moments of a series y(t), after Welford: a run of any length takes no memory."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.latest = 0.0
        self._time = self._tt = self._ty = self._yy = 0.0

    def add(self, t: float, y: float) -> None:
        self.count += 1
        self.latest = y
        dt, dy = t - self._time, y - self.mean
        self._time += dt / self.count
        self.mean += dy / self.count
        self._tt += dt * (t - self._time)
        self._ty += dt * (y - self.mean)
        self._yy += dy * (y - self.mean)

    @property
    def deviation(self) -> float | None:
        """Standard deviation; None without two values."""
        return finite(math.sqrt(self._yy / (self.count - 1))) if self.count > 1 else None

    @property
    def slope(self) -> float | None:
        """Of the least-squares line; None without three values, or where one is not a number."""
        return finite(self._ty / self._tt) if self.count > 2 else None
