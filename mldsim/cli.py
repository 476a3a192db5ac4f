"""The command line: the window without arguments, everything else by name.

Names of options and keys of the JSON are a contract; see docs/commands.md. Exit codes: 0 done, 1 the work failed,
2 wrong use or wrong input. Every failure is one sentence on standard error.
"""

from __future__ import annotations

import _thread
import argparse
import dataclasses
import difflib
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import mldsim
from mldsim import units
from mldsim.errors import Cancelled, InputError, MldsimError, WorkFailed
from mldsim.parameters import FIELDS, DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.progress import progress_bar, tell
from mldsim.recognise import kind_of
from mldsim.schedules import Leg, Schedule, parse_leg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mldsim.accuracy import ForceErrors
    from mldsim.dataset import LabelledFrames
    from mldsim.labelling import Configurations
    from mldsim.learning.journal import Journal
    from mldsim.loss import LossModel
    from mldsim.regression import FitSettings
    from mldsim.screening import BadFrame
    from mldsim.simulation import Simulation
    from mldsim.sums import Kept
    from mldsim.trajectory.recorder import FrameSink

DONE, FAILED, WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _joined(list(sys.argv[1:] if arguments is None else arguments))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without an Å gets a question mark
    try:
        code = _dispatch(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except MldsimError as error:
        return _refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _refuse("Interrupted.", FAILED)
    except MemoryError:
        return _refuse("There is not enough memory for this; use fewer molecules, frames or functions.", FAILED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        _end_output()
        return DONE
    except OSError as error:
        _end_output()
        about = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{about}{error.strerror or error}.", FAILED)
    return code


def _dispatch(given: list[str]) -> int:
    parser = _window_parser()
    playing = given[:1] == ["play"]
    if playing:
        given = given[1:]
    elif given and given[0] in COMMANDS:
        parser = _parser_of(given[0])
    elif given and not given[0].startswith("-") and not Path(given[0]).is_file():
        alike = difflib.get_close_matches(given[0], COMMANDS, n=1)
        meant = f"; did you mean '{alike[0]}'?" if alike else f"; the commands are {', '.join(COMMANDS)}."
        raise InputError(f"There is no command '{given[0]}'{meant}")
    try:
        options = parser.parse_args(given[1:] if given and given[0] in COMMANDS else given)
    except SystemExit:  # after --help and --version
        return DONE
    options.given = {text.partition("=")[0] for text in given if text.startswith("-")}
    if given and given[0] in COMMANDS:
        with _interruptible():
            return COMMANDS[given[0]].run(options)
    if playing and options.file is None:
        raise InputError("A trajectory to watch is missing: mldsim play FILE.")
    return _window(options)


def _refuse(text: str, code: int) -> int:
    """One line, whatever a file or the system put into it."""
    tell("mldsim: " + "".join(c if c.isprintable() else " " for c in text))
    return code


def _end_output() -> None:
    """Bring out what was printed; what standard output does not take must not trouble the interpreter's own flush."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _joined(given: list[str]) -> list[str]:
    """``--time -1ps`` as ``--time=-1ps``: argparse would take the value for an option."""
    joined: list[str] = []
    for text in given:
        if joined and re.fullmatch(r"--[a-z-]+", joined[-1]) and re.match(r"-\.?\d", text):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


class _Parser(argparse.ArgumentParser):
    """Wrong use is one sentence, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Tells the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help or ""
        if action.option_strings and action.default not in (None, False, argparse.SUPPRESS) and "default" not in told:
            default = f"{action.default:g}" if isinstance(action.default, float) else action.default
            told += f" (default: {default})"
        return told


# -- being stopped ------------------------------------------------------------------------------------------------

_Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def _handling(handler: _Handler, *names: str) -> Iterator[None]:
    """Handle these signals inside the block, where that is possible and nobody asked for them to be ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in names:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat a request to end, or a terminal that goes away, as Ctrl-C, and lose none of them.

    What is raised inside a callback of C, such as LLVM's, cannot get out of it: Python prints and forgets it. Then the
    interrupt is sent again.
    """
    hook = sys.unraisablehook

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            timer = threading.Timer(0.01, _thread.interrupt_main)
            timer.daemon = True
            timer.start()
        else:
            hook(unraisable)

    sys.unraisablehook = again
    try:
        with _handling(signal.default_int_handler, "SIGTERM", "SIGHUP"):
            yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Whether the user asked to stop: the step and the frame under way come to their end, unless asked twice."""
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    with _handling(note, "SIGINT", "SIGTERM", "SIGHUP"):
        yield lambda: asked


# -- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], int]
    summary: str
    add: Callable[[argparse.ArgumentParser], None] | None = None


def _parser_of(name: str) -> argparse.ArgumentParser:
    command = COMMANDS[name]
    summary = f"{command.summary[:1].upper()}{command.summary[1:]}."
    parser = _Parser(prog=f"mldsim {name}", description=summary, formatter_class=_Help, allow_abbrev=False)
    if command.add:
        command.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


def _window_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = _Parser(
        prog="mldsim",
        usage="mldsim [options]              the window\n"
        "       mldsim [play] FILE [options]  a trajectory, a structure, a model or a session in it\n"
        "       mldsim COMMAND [options]      everything else",
        description="Molecular learning dynamics: opens the window, with water moving in it.",
        epilog=f"commands:\n{listed}\n\nmldsim COMMAND --help tells the options of each.",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="opened as what its content says it is")
    parser.add_argument("--version", action="version", version=f"mldsim {mldsim.__version__}")
    _add_setup(parser)
    _add_field(parser, "--temperature", "temperature", "K")
    parser.add_argument("--paused", action="store_true", help="do not start to run")
    parser.add_argument("--quit-after", type=_float, metavar="SECONDS", help="close the window after this time, s")
    parser.add_argument("--screenshot", type=Path, metavar="FILE.png",
                        help="save a picture of the whole window before it is closed by --quit-after")  # fmt: skip
    return parser


# -- options ------------------------------------------------------------------------------------------------------


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def _time(text: str) -> float:
    try:
        value = units.parse_time(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive, finite time")
    return value


def _add_field(parser: argparse.ArgumentParser, option: str, name: str, metavar: str) -> None:
    """An option that is one of `parameters.FIELDS`: its range, unit and default stand there."""
    field = FIELDS[name]
    unit = f" {field.unit}" if field.unit else ""
    told = f"{field.label[:1].lower()}{field.label[1:]}, {field.minimum:.10g} to {field.maximum:.10g}{unit}"
    if metavar == "TIME":
        parser.add_argument(option, type=_time, default=f"{field.default:g}{field.unit}", metavar=metavar, help=told)
    else:
        default, kind = (int(field.default), _int) if field.integer else (field.default, _float)
        parser.add_argument(option, type=kind, default=default, metavar=metavar, help=told)


def _add_setup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="water", metavar="NAME|FILE", help="loss model: shipped name or file")
    _add_field(parser, "--molecules", "molecules", "N")
    _add_field(parser, "--density", "density", "G/CM3")
    _add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="start from the last frame of this extended XYZ, H5MD or dataset, in the place of "
                        "--molecules and --density")  # fmt: skip
    parser.add_argument("--start-frame", type=_int, default=-1, metavar="N",
                        help="another frame of it than the last, from 0")  # fmt: skip
    _add_device(parser)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=[kind.value for kind in DeviceKind], default="auto", help="what computes")
    parser.add_argument("--precision", choices=[kind.value for kind in Precision], default="float32",
                        help="of the pair arithmetic")  # fmt: skip


def _setup(options: argparse.Namespace) -> Setup:
    return Setup(
        model=options.model,
        molecules=options.molecules,
        density=options.density,
        seed=options.seed,
        start=options.start,
        start_frame=options.start_frame,
        device=DeviceKind(options.device),
        precision=Precision(options.precision),
    )


def _add_data(parser: argparse.ArgumentParser, name: str = "data") -> None:
    parser.add_argument(name, nargs="+", type=Path, metavar=name.upper(),
                        help="datasets, CP2K projects, extended XYZ, DeePMD folders, n2p2 input.data")  # fmt: skip
    _add_reading(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cell", type=_float, nargs="+", metavar="A",
                        help="edges of the box, one or three, angstrom, where the files have none")  # fmt: skip
    parser.add_argument("--length-unit", choices=["bohr", "angstrom"], help="of n2p2 files (default: bohr)")
    parser.add_argument("--energy-unit", choices=["hartree", "eV"], help="of n2p2 files (default: hartree)")


def _frames(options: argparse.Namespace, paths: Sequence[Path]) -> list[LabelledFrames]:
    """All systems of the paths, each once: ``project/*`` names the files of one CP2K project several times."""
    from mldsim.readers import load_frames

    systems: dict[tuple[Path, str], LabelledFrames] = {}
    with progress_bar("Reading") as report:
        for done, path in enumerate(paths, start=1):
            found = load_frames(
                path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit
            )
            by_name = {
                (Path(system.source).resolve(), f"{system.provenance.get('name', '')} {number}"): system
                for number, system in enumerate(found)
            }
            if by_name.keys() <= systems.keys():
                tell(f"{path}: its frames are here already and are not taken twice.")
            systems |= by_name
            report(done / len(paths), path.name)
    return list(systems.values())


def _check_cutoff(systems: Sequence[LabelledFrames], cutoff: float) -> None:
    """Refuse before the work, by name, frames whose box is too small."""
    for system in systems:
        edges = system.boxes.min(axis=1)
        frame = int(edges.argmin())
        if edges[frame] < cutoff:
            raise InputError(
                f"{system.source}: frame {frame} has a box edge of {edges[frame]:.4g} Å, "
                f"which is smaller than the cutoff of {cutoff:g} Å."
            )


def _check_output(path: Path, force: bool) -> None:
    """Refuse before the work what would be refused after it."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file.")
        if path.exists() and not force:
            raise InputError(f"{path} exists; choose another name or add --force to replace it.")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not an ordinary file and will not be replaced; choose another name.")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to.")


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False), flush=True)


# -- window -------------------------------------------------------------------------------------------------------


def _window(options: argparse.Namespace) -> int:
    setup = _setup(options)
    parameters = Parameters(temperature=options.temperature)
    if options.file is not None:
        kind_of(options.file)  # what cannot be opened is told before there is a window
    if options.quit_after is not None and not 0 < options.quit_after < math.inf:
        raise InputError("--quit-after must be a positive number of seconds.")
    try:
        from mldsim.gui.app import run_window
        from mldsim.runner import WORKER
    except ImportError as error:
        raise MldsimError(
            f"The window needs Qt, vispy and pyqtgraph, and one of them cannot be loaded ({error}); "
            f"'mldsim run' works without a window."
        ) from None
    code = run_window(
        setup,
        parameters,
        paused=options.paused,
        quit_after=options.quit_after,
        screenshot=options.screenshot,
        model_given="--model" in options.given,
        file=options.file,
    )
    if any(thread.name == WORKER for thread in threading.enumerate()):
        # It has written all there was to write and is compiling: that cannot be interrupted, and is not waited for.
        _end_output()
        os._exit(code)
    return code


# -- run ----------------------------------------------------------------------------------------------------------


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TRAJ.h5md",
                        help="trajectory: H5MD, or extended XYZ for names ending in .xyz or .extxyz")  # fmt: skip
    _add_setup(parser)
    _add_field(parser, "--temperature", "temperature", "K")
    parser.add_argument("--ramp", type=_leg, nargs="+", metavar="K:TIME",
                        help="move the target from there: to so many K within this time, and so on")  # fmt: skip
    parser.add_argument("--cycle", action="store_true", help="begin the ramps again when they have ended")
    parser.add_argument("--time", type=_time, default="1ps", metavar="TIME",
                        help="how long to run, in fs, ps, ns or us; a bare number counts in fs")  # fmt: skip
    _add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--thermostat", choices=[kind.value for kind in ThermostatKind], default="nose-hoover",
                        help="how heat is exchanged")  # fmt: skip
    _add_field(parser, "--tau", "coupling_time", "TIME")
    parser.add_argument("--every", type=_time, default="10fs", metavar="TIME",
                        help="time between two written frames, rounded to time steps")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, metavar="FILE.h5",
                        help="keep here what a later run needs to go on; the last one is replaced")  # fmt: skip
    parser.add_argument("--checkpoint-every", type=_time, default="1ps", metavar="TIME",
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
        return _Begin(build_simulation(_setup(options), parameters, lambda text: tell(f"{text} ...")), steps, every)

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


def _run(options: argparse.Namespace) -> int:
    _check_output(options.output, options.force)
    if options.checkpoint is not None:
        # The file of --resume may be gone on with; any other one is not replaced without being told.
        _check_output(options.checkpoint, options.force or options.checkpoint == options.resume)
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
        _print_json(result)
    return _refuse(result["aborted"], FAILED) if result["aborted"] else DONE


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
    with _stop_asked() as stop_asked:
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
        "temperature_mean_K": _finite(temperature.mean) if temperature.count else None,
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
        return _finite(math.sqrt(self._yy / (self.count - 1))) if self.count > 1 else None

    @property
    def slope(self) -> float | None:
        """Of the least-squares line; None without three values, or where one is not a number."""
        return _finite(self._ty / self._tt) if self.count > 2 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# -- fit and evaluate ---------------------------------------------------------------------------------------------


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.json", help="the fitted model")
    parser.add_argument("--name", help="name of the model (default: that of the file)")
    # Without a default here: --extend takes what is not given from the sums.
    parser.add_argument("--scope", choices=["own", "shared"], help="whose loss an agent descends (default: shared)")
    parser.add_argument("--max-rank", type=_int, metavar="0..3", help="highest rank of the fields (default: 2)")
    parser.add_argument("--order", type=_int, metavar="1..3",
                        help="1 linear, 2 quadratic, 3 with a cubic part (default: 2)")  # fmt: skip
    parser.add_argument("--channels", type=_int, metavar="R",
                        help="combinations of the fields that the cubic part sees (default: 4)")  # fmt: skip
    parser.add_argument("--channel-steps", type=_int, metavar="N",
                        help="times that the channels are improved at most (default: 3)")  # fmt: skip
    parser.add_argument("--saturation", type=_float, metavar="C",
                        help="where channels saturate, in their standard deviations (default: 5)")  # fmt: skip
    parser.add_argument("--channels-of", metavar="MODEL",
                        help="begin with the channels of this model (of the same form) instead of searching for them; "
                        "--channel-steps 0 takes them as they are")  # fmt: skip
    parser.add_argument("--constant-channel", action="store_true", default=None,
                        help="let the last channel of rank 0 be 1: the cubic part is also quadratic and linear in the "
                        "others")  # fmt: skip
    parser.add_argument("--hops", action="store_true", default=None,
                        help="let losses depend on the channels of the neighbours too")  # fmt: skip
    parser.add_argument("--long-range", action="store_true", default=None,
                        help="add pairs without a cutoff, whose strengths follow the channels; their cost a step grows "
                        "with the square of the number of agents")  # fmt: skip
    parser.add_argument("--radial", type=_int, metavar="K", help="radial functions per pair of species (default: 10)")
    parser.add_argument("--cutoff", type=_float, metavar="A", help="reach of a pair, angstrom (default: 5)")
    parser.add_argument("--ridge", type=_float, metavar="X",
                        help="added to the unit diagonal of the scaled equations, without unit "
                        "(default: 1e-07)")  # fmt: skip
    parser.add_argument("--net-force-weight", type=_float, metavar="W",
                        help="weight of the rows for each molecule's net force, without unit; 0: none "
                        "(default: 3)")  # fmt: skip
    parser.add_argument("--torque-weight", type=_float, metavar="W",
                        help="weight of the rows for each molecule's torque, 1/angstrom; 0: none "
                        "(default: 0)")  # fmt: skip
    parser.add_argument("--curl-weight", type=_float, metavar="W",
                        help="own scope: weight of the rows that ask the forces to have no curl, which heats the "
                        "agents, without unit; 0: none (default: 0)")  # fmt: skip
    parser.add_argument("--cross-validate", action="store_true",
                        help="choose ridge and weights by the errors on held folds of the fitted frames")  # fmt: skip
    parser.add_argument("--bounded", action="store_true", help="make the quadratic bounded below")
    parser.add_argument("--doubt", action="store_true",
                        help="let the model tell the force error to expect of each agent; takes several times "
                        "as long")  # fmt: skip
    parser.add_argument("--keep-bad-frames", action="store_true",
                        help="fit also frames whose labels no fit of the others explains")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="SUMS.h5", help="keep the sums, to be extended later")
    parser.add_argument("--parity", type=Path, metavar="FILE.csv",
                        help="write a sample of forces beside their labels, for a plot")  # fmt: skip
    parser.add_argument("--extend", type=Path, metavar="SUMS.h5",
                        help="fit the frames together with those of kept sums, which are not read again")  # fmt: skip
    parser.add_argument("--holdout", type=_float, default=0.1, metavar="FRACTION", help="of the frames, never fitted")
    parser.add_argument("--seed", type=_int, default=0, metavar="N", help="of the choice of held-out frames")
    parser.add_argument("--force", action="store_true", help="replace the model and the sums if they exist")


def _fit_settings(options: argparse.Namespace, known: Kept | None) -> FitSettings:
    """What was asked for; where nothing was, what the kept sums have, or the defaults."""
    from mldsim.loss import Scope
    from mldsim.regression import DesignMatrix, FitSettings

    asked = {
        "scope": options.scope and Scope(options.scope),
        "order": options.order,
        "max_rank": options.max_rank,
        "n_radial": options.radial,
        "cutoff": options.cutoff,
        "n_channels": options.channels,
        "channel_steps": options.channel_steps,
        "saturation": options.saturation,
        "constant_channel": options.constant_channel,
        "hops": options.hops,
        "long_range": options.long_range,
        "ridge": options.ridge,
        "net_force_weight": options.net_force_weight,
        "torque_weight": options.torque_weight,
        "curl_weight": options.curl_weight,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    settings = FitSettings() if known is None else DesignMatrix.from_form(known.model.form).settings
    settings = replace(settings, **(dict(known.choices if known else {}) | asked))
    of_cubic = (options.channels, options.channel_steps, options.saturation, options.channels_of)
    if settings.order < 3 and any(option is not None for option in of_cubic):
        raise InputError(
            "--channels, --channels-of, --channel-steps and --saturation are of the cubic part; "
            "give --order 3 with them."
        )
    if known is not None and options.channel_steps is not None:
        raise InputError("The channels of kept sums are fixed; leave out --channel-steps, or fit all frames anew.")
    return settings


def _fit(options: argparse.Namespace) -> int:
    from mldsim.accuracy import force_errors
    from mldsim.analysis.forces import ForceSample, write_parity
    from mldsim.crossval import table
    from mldsim.dataset import divide, split
    from mldsim.inference import infer
    from mldsim.loss import load_model, save_model
    from mldsim.sums import load_sums, save_sums

    if not 0.0 <= options.holdout < 1.0:
        raise InputError(f"--holdout must be at least 0 and less than 1; {options.holdout:g} was given.")
    if options.seed < 0:
        raise InputError(f"--seed must not be negative; {options.seed} was given.")
    known = load_sums(options.extend) if options.extend else None
    settings = _fit_settings(options, known)
    _check_output(options.output, options.force)
    if options.keep:
        _check_output(options.keep, options.force)
        if options.keep.absolute() == options.output.absolute():
            raise InputError("--keep and --output name the same file; give the sums a name of their own.")
    if options.parity:
        _check_output(options.parity, options.force)
    began = time.perf_counter()
    systems = _frames(options, options.data)
    _check_cutoff(systems, settings.cutoff)
    train, holdout = split(systems, options.holdout, options.seed)
    numbers = [fitted for fitted, _ in divide(systems, options.holdout, options.seed) if len(fitted)]
    known_frames, known_theories = (known.n_frames, known.theories) if known is not None else (0, ())
    if known is not None:
        tell(f"{options.extend}: sums of {known_frames} frames ({', '.join(known.sources)}).")
    with progress_bar("Fitting") as report:
        found = infer(
            train,
            settings,
            name=options.name or options.output.stem,
            numbers=numbers,
            known=known,
            channels_of=load_model(options.channels_of) if options.channels_of else None,
            cross_validation=options.cross_validate,
            keep_bad_frames=options.keep_bad_frames,
            bounded=options.bounded,
            doubt=options.doubt,
            progress=report,
        )
    model = found.model
    for bad in found.bad_frames:
        tell(f"Left out: {bad}")
    new_theories = sorted(set(found.kept.theories) - set(known_theories))
    if known is not None and new_theories:
        tell(
            f"The new labels are of {', '.join(new_theories)}, those in the sums of {', '.join(known_theories)}: "
            "labels of different theory should not be mixed."
        )
    errors: dict[str, ForceErrors | None] = {"train": None, "holdout": None}
    samples: dict[str, ForceSample] = {}
    for part, frames in (("train", _without(train, numbers, found.bad_frames)), ("holdout", holdout)):
        if frames:
            samples[part] = ForceSample(model.symbols)
            with progress_bar(f"Errors, {part}") as report:
                found_errors = errors[part] = _checked(force_errors(model, frames, report, samples[part]))
            print(_error_line(part, found_errors), flush=True)
    result: dict[str, Any] = {part: one.to_json() if one else None for part, one in errors.items()}
    result |= {
        "parameters": model.n_parameters,
        "known_frames": known_frames,
        "bad_frames": [bad.to_json() for bad in found.bad_frames],
        "ridge": found.settings.ridge,
        "net_force_weight": found.settings.net_force_weight,
        "torque_weight": found.settings.torque_weight,
        "cross_validation": [trial.to_json() for trial in found.trials] or None,
        "bounded": model.card.get("bounded"),
        "doubt": model.committee is not None,
        "seconds": time.perf_counter() - began,
    }
    card = {
        **model.card,
        "data": list(found.kept.sources),
        "theory": "; ".join(found.kept.theories),
        "holdout_fraction": options.holdout,
        "seed": options.seed,
        "errors": {part: result[part] for part in errors},
        "mldsim": mldsim.__version__,
    }
    save_model(replace(model, card=card), options.output, force=options.force)
    if options.keep:
        save_sums(found.kept, options.keep)
    if options.parity:
        write_parity(samples, options.parity)
    if found.chosen is not None:
        print(table(found.trials, found.chosen))
    print(f"{options.output}: {model.n_parameters} parameters, fitted in {result['seconds']:.1f} s.")
    if result["bounded"]:
        told = result["bounded"]
        print(
            f"bounded below: force error {told['train_force_rmse_meV_A']:.1f} meV/Å on the fitted frames, "
            f"where the free fit has {told['free_train_force_rmse_meV_A']:.1f}."
        )
    if options.json:
        _print_json(result)
    return DONE


def _without(
    systems: Sequence[LabelledFrames], numbers: Sequence[NDArray[np.intp]], bad: Sequence[BadFrame]
) -> list[LabelledFrames]:
    """The systems without their bad frames."""
    left = {(frame.kind, frame.frame) for frame in bad}
    kept = []
    for kind, (system, called) in enumerate(zip(systems, numbers, strict=True)):
        good = [index for index, number in enumerate(called) if (kind, int(number)) not in left]
        if good:
            kept.append(system if len(good) == system.n_frames else system.take(good))
    return kept


def _checked(errors: ForceErrors) -> ForceErrors:
    if not math.isfinite(errors.rmse):
        raise WorkFailed("The model's forces on these frames are not finite numbers.")
    return errors


def _error_line(title: str, errors: ForceErrors) -> str:
    per_species = ", ".join(f"{name} {1e3 * one.rmse:.1f}" for name, one in errors.species.items())
    return (
        f"{title}: force error {1e3 * errors.rmse:.1f} meV/Å of {1e3 * errors.rms:.0f} ({per_species}), "
        f"mean absolute {1e3 * errors.mae:.1f}, {errors.frames} frames."
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    _add_data(parser)


def _evaluate(options: argparse.Namespace) -> int:
    from mldsim.accuracy import force_errors
    from mldsim.loss import load_model

    model = load_model(options.model)
    systems = _frames(options, options.data)
    _check_cutoff(systems, model.cutoff)
    with progress_bar("Evaluating") as report:
        errors = _checked(force_errors(model, systems, report))
    print(_error_line(model.name, errors))
    if options.json:
        _print_json(errors.to_json())
    return DONE


# -- sensitivities ------------------------------------------------------------------------------------------------


def _add_sensitivities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    _add_data(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FIGURE", help="a figure: .svg, .png or .html")
    parser.add_argument("--force", action="store_true", help="replace the figure if it exists")


def _sensitivities(options: argparse.Namespace) -> int:
    from mldsim.loss import load_model
    from mldsim.sensitivity import FIGURES, sensitivities, write_figure

    if options.output:
        _check_output(options.output, options.force)
        if options.output.suffix.lower() not in FIGURES:
            raise InputError(f"{options.output}: the name of a figure must end in {', '.join(FIGURES)}.")
    model = load_model(options.model)
    systems = _frames(options, options.data)
    _check_cutoff(systems, model.cutoff)
    with progress_bar("Responses") as report:
        found = sensitivities(model, systems, report)
    print(found.table())
    if options.output:
        write_figure(found, options.output)
        print(f"Written to {options.output}.")
    if options.json:
        _print_json(found.to_json())
    return DONE


# -- validate -----------------------------------------------------------------------------------------------------


def _add_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    parser.add_argument("--reference", type=Path, nargs="+", default=[], metavar="REF",
                        help="labelled frames for the forces, and a series of frames (dataset, H5MD) for structure and "
                        "motion (default: the CP2K water that is shipped)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT.html", help="the report")
    parser.add_argument("--run", type=Path, metavar="TRAJ.h5md",
                        help="a trajectory of the model in the same box, in the place of running it")  # fmt: skip
    parser.add_argument("--time", type=_time, default="20ps", metavar="TIME", help="how long to measure")
    parser.add_argument("--equilibration", type=_time, default="2ps", metavar="TIME",
                        help="run before that, or left out at the start of --run")  # fmt: skip
    parser.add_argument("--temperature", type=_float, metavar="K", help="target, K (default: the reference's)")
    _add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--thermostat", choices=[kind.value for kind in ThermostatKind],
                        help="how heat is exchanged (default: csvr; nose-hoover for models of own scope)")  # fmt: skip
    parser.add_argument("--tau", type=_time, metavar="TIME",
                        help="coupling time, 1 to 10000 fs (default: 500fs; 50fs for models of own scope)")  # fmt: skip
    _add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--viscosity", type=_float, metavar="MPA.S",
                        help="of the model, mPa s: adds the diffusion coefficient of an infinite system")  # fmt: skip
    _add_device(parser)
    parser.add_argument("--force", action="store_true", help="replace the report if it exists")


def _validate(options: argparse.Namespace) -> int:
    _check_output(options.output, options.force)
    if options.viscosity is not None and not 0.0 < options.viscosity < math.inf:
        raise InputError(f"--viscosity must be a positive number; {options.viscosity:g} was given.")
    for option in ("time", "equilibration"):
        if options.run is None and getattr(options, option) < options.timestep:
            raise InputError(f"--{option} is shorter than one time step of {options.timestep:g} fs.")

    from mldsim.report import write_report
    from mldsim.validation import RunSettings, validate

    settings = RunSettings(
        time=options.time,
        equilibration=options.equilibration,
        temperature=options.temperature,
        timestep=options.timestep,
        coupling_time=options.tau,
        thermostat=options.thermostat and ThermostatKind(options.thermostat),
        seed=options.seed,
        device=DeviceKind(options.device),
        precision=Precision(options.precision),
        viscosity=options.viscosity,
    )
    with _stop_asked() as stop_asked, progress_bar("Validating") as report:
        found = validate(options.model, options.reference, settings, report, stop_asked, run=options.run)
        write_report(found, options.output)
    within, judged = found.agreement()
    if judged:
        print(f"{within} of {judged} quantities agree with the reference within noise.")
    elif found.quantities:
        print("The series are too short to tell a difference from noise.")
    if found.forces:
        error, rms = found.forces[0].rows["all"]
        print(f"Force error {error.value:.1f} meV/Å of {rms:.0f}, {found.forces[0].frames} frames.")
    for text in found.left_out:
        tell(f"Not compared. {text}")
    print(f"Written to {options.output}.")
    if options.json:
        _print_json(found.to_json() | {"output": str(options.output)})
    if found.stopped:
        return _refuse(f"{found.stopped} The report holds what was measured up to there.", FAILED)
    return DONE


# -- convert and info ---------------------------------------------------------------------------------------------


def _add_convert(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, "in")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATA.h5", help="the dataset")
    parser.add_argument("--weight", type=_float, metavar="W",
                        help="of the frames in every fit to the dataset (default: as they have, or 1)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def _convert(options: argparse.Namespace) -> int:
    from mldsim.dataset import save_frames

    _check_output(options.output, options.force)
    systems = _frames(options, getattr(options, "in"))
    if options.weight is not None:
        systems = [replace(system, weight=options.weight) for system in systems]
    with progress_bar("Writing") as report:
        save_frames(options.output, systems, force=options.force, progress=report)
    for system in systems:
        print(_describe_frames(system))
    print(f"Written to {options.output}.")
    if options.json:
        _print_json({"output": str(options.output), "systems": [_frames_json(system) for system in systems]})
    return DONE


def _formula(symbols: Sequence[str]) -> str:
    return " ".join(f"{symbols.count(s)} {s}" for s in dict.fromkeys(symbols))


def _frames_json(system: LabelledFrames) -> dict[str, Any]:
    return {
        "frames": system.n_frames,
        "agents": system.n_agents,
        "composition": _formula(system.symbols),
        "box_A": [float(edge) for edge in system.boxes[0]],
        "energies": system.energies is not None,
        "velocities": system.velocities is not None,
        "weight": system.weight,
        "provenance": dict(system.provenance),
    }


def _describe_frames(system: LabelledFrames) -> str:
    box = " × ".join(f"{edge:.4g}" for edge in system.boxes[0])
    varying = "" if (system.boxes == system.boxes[0]).all() else ", varying"
    extras = [name for name in ("energies", "velocities") if getattr(system, name) is not None]
    told = system.provenance
    name = f" {told['name']}" if "name" in told else ""
    frames = "1 frame" if system.n_frames == 1 else f"{system.n_frames} frames"
    theory = told.get("theory", told.get("method", "theory level not stated"))
    left_out = f"; left out: {told['left_out']}" if "left_out" in told else ""
    weight = f"; weight {system.weight:g} in fits" if system.weight != 1.0 else ""
    return _printable(
        f"{system.source}{name}: {frames} of {_formula(system.symbols)} in {box} Å{varying}, forces"
        f"{''.join(f', {extra}' for extra in extras)}; {theory}{weight}{left_out}."
    )


def _printable(text: str) -> str:
    """Text out of a file, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _ranks(max_rank: int) -> str:
    return f"ranks 0 to {max_rank}" if max_rank else "rank 0"


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="model, dataset, trajectory, or data that can be read")
    _add_reading(parser)


def _info(options: argparse.Namespace) -> int:
    from mldsim.checkpoint import is_checkpoint

    path: Path = options.file
    if _is_model(path):
        content = _model_info(str(path))
    elif _is_h5md(path):
        content = _trajectory_info(path)
    elif is_checkpoint(path):
        content = _checkpoint_info(path)
    else:
        from mldsim.readers import load_frames

        systems = load_frames(path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit)
        for system in systems:
            print(_describe_frames(system))
        content = {"kind": "labelled frames", "systems": [_frames_json(system) for system in systems]}
    if options.json:
        _print_json(content)
    return DONE


def _is_model(path: Path) -> bool:
    from mldsim.loss import shipped_models

    if str(path) in shipped_models():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".json" or file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _model_info(name: str) -> dict[str, Any]:
    from mldsim.card import told
    from mldsim.loss import load_model

    model = load_model(name)
    print(
        f"Loss model '{model.name}': {model.scope.value} scope, order {model.order}, {_ranks(model.max_rank)}, "
        f"{model.radial.n_radial} radial functions per pair, cutoff {model.cutoff:g} Å, "
        f"{''.join(f'{part}, ' for part in _not_local(model))}{model.n_parameters} parameters."
    )
    for key, value in told(model.card).items():
        print(_printable(f"  {key}: {value}"))
    if model.committee is not None:
        witness = " and a witness" if model.committee.witness is not None else ""
        print(f"  doubt: a committee of {len(model.committee.draws)}{witness}")
    for pair, (shortest, longest) in model.ranges.distances.items():
        print(f"  fitted distances {pair}: {shortest:.3f} to {longest:.3f} Å")
    return {
        "kind": "loss model",
        "name": model.name,
        "species": list(model.symbols),
        "scope": model.scope.value,
        "order": model.order,
        "max_rank": model.max_rank,
        "radial": model.radial.n_radial,
        "cutoff_A": model.cutoff,
        "hops": model.hops is not None,
        "long_range": model.waves is not None,
        "parameters": model.n_parameters,
        "doubt": model.committee is not None,
        "card": dict(model.card),
    }


def _not_local(model: LossModel) -> list[str]:
    """The parts of a model that are not local, in words."""
    return ["hops"] * (model.hops is not None) + ["long range"] * (model.waves is not None)


def _is_h5md(path: Path) -> bool:
    import h5py

    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "h5md" in file
    except OSError:
        return True  # left open by a killed writer; the reader of trajectories mends it


def _trajectory_info(path: Path) -> dict[str, Any]:
    from mldsim.trajectory.h5md import read_h5md

    with read_h5md(path) as trajectory:
        content: dict[str, Any] = {
            "kind": "trajectory",
            "frames": len(trajectory),
            "agents": trajectory.n_agents,
            "creator": trajectory.creator,
        }
        if len(trajectory):
            first, last = trajectory.frame(0), trajectory.frame(len(trajectory) - 1)
            content |= {"first_fs": first.time, "last_fs": last.time, "box_A": [float(edge) for edge in last.box]}
    span = ""
    if "last_fs" in content:
        span = f", {units.format_time(content['first_fs'])} to {units.format_time(content['last_fs'])}"
    made_by = f", by {content['creator']}" if content["creator"] else ""
    print(_printable(f"Trajectory: {content['frames']} frames of {content['agents']} agents{span}{made_by}."))
    return content


def _checkpoint_info(path: Path) -> dict[str, Any]:
    from mldsim.checkpoint import load_checkpoint
    from mldsim.plain import to_plain

    found = load_checkpoint(path)
    state, parameters, plan = found.state, found.parameters, found.plan
    schedule = f", schedule {parameters.schedule}" if parameters.schedule is not None else ""
    content: dict[str, Any] = {
        "kind": "checkpoint",
        "model": found.model.name,
        "agents": state.n_agents,
        "box_A": state.box.tolist(),
        "time_fs": state.time,
        "step": state.step,
        "left_fs": None if plan is None else max(0.0, plan.end - state.time),
        "setup": to_plain(found.setup),
        "parameters": to_plain(parameters),
    }
    left = "" if plan is None else f", {units.format_time(content['left_fs'])} left"
    held = f"{parameters.temperature:g} K, {parameters.thermostat.value}{schedule}"
    told = f"Checkpoint at {units.format_time(state.time)}{left}: {state.n_agents} agents, model '{found.model.name}', "
    print(_printable(f"{told}{held}."))
    return content


# -- label --------------------------------------------------------------------------------------------------------


def _add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", nargs="+", type=Path, metavar="FRAMES",
                        help="H5MD trajectories, XYZ with or without forces, datasets, all that fit reads")  # fmt: skip
    _add_reading(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATA.h5", help="the dataset")
    parser.add_argument("--every", type=_int, default=1, metavar="N", help="take every Nth frame of each system")
    parser.add_argument("--frames", type=_int, metavar="N", dest="at_most",
                        help="take at most so many of them in all, evenly spread")  # fmt: skip
    _add_cp2k(parser)
    parser.add_argument("--force", action="store_true",
                        help="replace the dataset; drop unfinished labels of another job")  # fmt: skip


def _add_cp2k(parser: argparse.ArgumentParser) -> None:
    from mldsim.labelling.engines import DFT_CUTOFF, DFT_CUTOFF_RANGE, EngineKind

    parser.add_argument("--engine", choices=[kind.value for kind in EngineKind], required=True,
                        help="network for water (surrogate of revPBE0-D3), GFN1-xTB, or revPBE-D3")  # fmt: skip
    parser.add_argument("--dft-cutoff", type=_float, default=DFT_CUTOFF, metavar="RY",
                        help="of the grid of cp2k-dft, {:g} to {:g} Ry".format(*DFT_CUTOFF_RANGE))  # fmt: skip
    parser.add_argument("--cp2k", metavar="PROGRAM", help="CP2K (default: cp2k.psmp, ... on the PATH)")
    parser.add_argument("--cp2k-data", type=Path, metavar="FOLDER",
                        help="CP2K's data (default: CP2K_DATA_DIR, or beside the program)")  # fmt: skip
    parser.add_argument("--threads", type=_int, metavar="N",
                        help="of CP2K (default: OMP_NUM_THREADS, or all cores; one for cp2k-nnp)")  # fmt: skip


def _configurations(options: argparse.Namespace) -> list[Configurations]:
    """All systems of the paths, each once: ``project/*`` names the files of one CP2K project several times."""
    from mldsim.labelling import fingerprint, read_configurations

    systems: dict[str, Configurations] = {}
    with progress_bar("Reading") as report:
        for done, path in enumerate(options.frames, start=1):
            found = read_configurations(
                path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit
            )
            by_content = {fingerprint([system]): system for system in found}
            if by_content.keys() <= systems.keys():
                tell(f"{path}: its frames are here already and are not taken twice.")
            systems |= by_content
            report(done / len(options.frames), path.name)
    return list(systems.values())


def _label(options: argparse.Namespace) -> int:
    from mldsim.labelling import EngineKind, label, make_engine, thinned

    engine = make_engine(EngineKind(options.engine), dft_cutoff=options.dft_cutoff)
    _check_output(options.output, options.force)
    systems = thinned(_configurations(options), every=options.every, at_most=options.at_most)
    began = time.perf_counter()
    with progress_bar("Labelling") as report:
        labels = label(
            systems,
            engine,
            options.output,
            program=options.cp2k,
            data=options.cp2k_data,
            threads=options.threads,
            force=options.force,
            progress=report,
        )
    for system in labels.systems:
        print(_describe_frames(system))
    resumed = f", {labels.resumed} of them before an interruption" if labels.resumed else ""
    frames = sum(system.n_frames for system in labels.systems)
    print(f"{frames} labelled by {labels.code}{resumed}. Written to {options.output}.")
    if options.json:
        _print_json(
            {
                "output": str(options.output),
                "engine": engine.kind.value,
                "theory": engine.theory,
                "code": labels.code,
                "frames": frames,
                "resumed": labels.resumed,
                "left_out": labels.left_out,
                "seconds": time.perf_counter() - began,
                "systems": [_frames_json(system) for system in labels.systems],
            }
        )
    return DONE


# -- learn --------------------------------------------------------------------------------------------------------


def _add_learn(parser: argparse.ArgumentParser) -> None:
    from mldsim.learning.settings import LearnSettings

    usual = LearnSettings()
    parser.add_argument(
        "model", metavar="MODEL", help="shipped name or file: what runs first, and the form of all fits"
    )
    _add_data(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER",
                        help="everything of the loop; the same command goes on in it")  # fmt: skip
    _add_cp2k(parser)
    for option, values, metavar, told in (
        ("--temperatures", usual.temperatures, "K", "of the runs, K"),
        ("--densities", usual.densities, "G/CM3", "each at each temperature, g/cm³"),
    ):
        default = " ".join(f"{value:g}" for value in values)
        parser.add_argument(option, type=_float, nargs="+", default=list(values), metavar=metavar,
                            help=f"{told} (default: {default})")  # fmt: skip
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="start from the last frame of this file (default: frames of DATA's smallest "
                        "system)")  # fmt: skip
    parser.add_argument("--molecules", type=_int, metavar="N", help="start from a relaxed box of so many H2O instead")
    parser.add_argument("--time", type=_time, default=f"{usual.time / 1000:g}ps", metavar="TIME", help="of each run")
    _add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--every", type=_time, default=f"{usual.every:g}fs", metavar="TIME",
                        help="time between two looks at the doubt")  # fmt: skip
    parser.add_argument("--rounds", type=_int, default=usual.rounds, metavar="N", help="at most so many")
    parser.add_argument("--frames", type=_int, default=usual.frames, metavar="N", help="labelled in a round at most")
    parser.add_argument("--holdout", type=_float, default=usual.holdout, metavar="FRACTION",
                        help="of these, drawn at random from the runs and never fitted")  # fmt: skip
    parser.add_argument("--doubt-factor", type=_float, default=usual.doubt_factor, metavar="X",
                        help="doubt warns above so many times the 99th percentile of the data")  # fmt: skip
    parser.add_argument("--doubt-limit", type=_float, metavar="MEV/A", help="doubt warns above this instead, meV/Å")
    parser.add_argument("--inside", type=_float, default=usual.inside, metavar="FRACTION",
                        help="of the looks may warn in a round that ends the loop")  # fmt: skip
    _add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--mix-theories", action="store_true",
                        help="go on although the data are of another theory than the engine")  # fmt: skip
    _add_device(parser)


def _learn(options: argparse.Namespace) -> int:
    from mldsim.labelling import EngineKind, make_engine
    from mldsim.learning.journal import Stage
    from mldsim.learning.loop import learn
    from mldsim.learning.means import cp2k_means
    from mldsim.learning.settings import LearnSettings
    from mldsim.loss import load_model

    settings = LearnSettings(
        temperatures=tuple(options.temperatures),
        densities=tuple(options.densities),
        molecules=options.molecules,
        start=options.start,
        time=options.time,
        timestep=options.timestep,
        every=options.every,
        rounds=options.rounds,
        frames=options.frames,
        holdout=options.holdout,
        doubt_factor=options.doubt_factor,
        doubt_limit=None if options.doubt_limit is None else 1e-3 * options.doubt_limit,
        inside=options.inside,
        seed=options.seed,
    )
    engine = make_engine(EngineKind(options.engine), dft_cutoff=options.dft_cutoff)
    device, precision = DeviceKind(options.device), Precision(options.precision)
    model = load_model(options.model)
    systems = _frames(options, options.data)
    _check_cutoff(systems, model.cutoff)
    with progress_bar("Learning") as report:
        journal = learn(
            model,
            systems,
            settings,
            options.output,
            cp2k_means(
                engine,
                program=options.cp2k,
                data=options.cp2k_data,
                threads=options.threads,
                device=device,
                precision=precision,
            ),
            mix_theories=options.mix_theories,
            device=device,
            precision=precision,
            progress=report,
            tell=tell,
        )
    _print_rounds(journal)
    newest = options.output / "model.json"
    if journal.stage is Stage.SETTLED:
        print(f"The runs of round {len(journal.rounds)} stayed inside what the model knows. Written to {newest}.")
    else:
        print(
            f"All {len(journal.rounds)} rounds are used and the runs still left what the model knows; "
            f"--rounds {len(journal.rounds) + 3} goes on. Written to {newest}."
        )
    if options.json:
        _print_json(
            {
                "output": str(options.output),
                "model": str(newest),
                "settled": journal.stage is Stage.SETTLED,
                "theory_checks": [dataclasses.asdict(check) for check in journal.checks or ()],
                "rounds": [
                    dataclasses.asdict(entry) | {"warned": entry.warned, "stopped": entry.stopped, "looks": entry.looks}
                    for entry in journal.rounds
                ],
            }
        )
    return DONE


def _print_rounds(journal: Journal) -> None:
    """One line for each round: what its runs came upon, and what the model made of it."""
    head = ("round", "stopped", "warned", "frames", "doubt on them", "error on them", "held out", "error on these")
    rows = [head, ("", "runs", "looks", "fitted", "meV/Å", "meV/Å", "", "meV/Å")]
    for entry in journal.rounds:
        new = [score for score in (entry.new_before, entry.new_after) if score]
        held_out = [score for score in (entry.held_out_before, entry.held_out_after) if score]
        rows.append(
            (
                str(entry.number),
                f"{entry.stopped} of {len(entry.runs)}",
                f"{100 * entry.warned:.1f} %",
                str(new[0].frames if new else 0),
                " → ".join(f"{score.doubt_meV_A:.1f}" for score in new) or "-",
                " → ".join(f"{score.force_rmse_meV_A:.1f}" for score in new) or "-",
                str(held_out[0].frames if held_out else 0),
                " → ".join(f"{score.force_rmse_meV_A:.1f}" for score in held_out) or "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    last = journal.rounds[-1].all_held_out
    if last:
        print(
            f"On all {last.frames} held-out frames of all rounds: force error {last.force_rmse_meV_A:.1f} meV/Å "
            f"of {last.force_rms_meV_A:.0f}, where the model expects {last.doubt_meV_A:.1f}."
        )


# -- bench --------------------------------------------------------------------------------------------------------


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", nargs="+", metavar="NAME|FILE", help="loss models (default: all shipped ones)")
    parser.add_argument("--molecules", type=_int, nargs="+", default=[64, 512, 4096], metavar="N",
                        help="sizes of the box, 8 to 100000 each (default: 64 512 4096)")  # fmt: skip
    parser.add_argument("--rounds", type=_int, default=5, metavar="N", help="how often each model has its turn")
    parser.add_argument("--seconds", type=_float, default=1.0, metavar="S",
                        help="that a turn should take, s; at least one step is taken")  # fmt: skip
    parser.add_argument("--threads", type=_int, metavar="N",
                        help="of the CPU (default: NUMBA_NUM_THREADS, or all cores)")  # fmt: skip
    _add_device(parser)


def _bench(options: argparse.Namespace) -> int:
    from mldsim.benchmark import TIMESTEP, ModelSide, Remote, Result, by_turns, load_average, processor
    from mldsim.loss import load_model, shipped_models

    for option, value in (("rounds", options.rounds), ("threads", options.threads)):
        if value is not None and value < 1:
            raise InputError(f"--{option} must be at least 1; {value} was given.")
    if not 0.0 < options.seconds < math.inf:
        raise InputError(f"--seconds must be a positive number; {options.seconds:g} was given.")
    sizes = sorted(set(options.molecules))
    names = list(dict.fromkeys(options.model or shipped_models()))
    device, precision = DeviceKind(options.device), Precision(options.precision)
    for name in names:
        load_model(name)
    for molecules in sizes:
        Setup(molecules=molecules)  # refuses what is out of range
    load = load_average()
    results: list[Result] = []
    with _stop_asked() as stop_asked, ExitStack() as processes, progress_bar("Measuring") as report:
        sides = [
            processes.enter_context(Remote(name, ModelSide(name, device, precision), options.threads)) for name in names
        ]
        for number, molecules in enumerate(sizes):

            def of_all(fraction: float, what: str = "", before: int = number) -> None:
                report((before + fraction) / len(sizes), what)

            results += by_turns(sides, molecules, options.rounds, options.seconds, of_all, stop_asked)
            if stop_asked():
                break
    measured = [result.to_json() for result in results if result.rounds]
    if measured:
        _print_speeds(measured)
    stopped = next((result.failed for result in results if result.failed), None)
    if options.json:
        _print_json(
            {
                "processor": processor(),
                "cores": os.cpu_count(),
                "threads": options.threads,
                "load_average": [load, load_average()],
                "timestep_fs": TIMESTEP,
                "results": measured,
                "aborted": stopped and str(stopped),
            }
        )
    return _refuse(str(stopped), stopped.exit_code) if stopped else DONE


def _print_speeds(measured: Sequence[dict[str, Any]]) -> None:
    """One line for each model and box."""
    rows = [
        ("model", "H2O", "steps/s", "from", "to", "atom-steps/s", "ns/day", "ps/s", "memory, MB", "kB/agent", ""),
    ]
    for one in measured:
        low, high = one["steps_per_s_range"]
        memory, each = one["peak_memory_MB"], one["memory_kB_per_agent"]
        rows.append(
            (
                one["name"],
                str(one["molecules"]),
                *(f"{speed:.4g}" for speed in (one["steps_per_s"], low, high)),
                f"{one['atom_steps_per_s']:.3g}",
                f"{one['ns_per_day']:.3g}",
                f"{one['ps_per_s']:.3g}",
                "-" if memory is None else f"{memory:.0f}",
                "-" if each is None else f"{each:.2f}",
                one["device"],
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers, device in rows:
        told = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=False)]
        print("  ".join([f"{name:<{widths[0]}}", *told, device]).rstrip())


# -- models and devices -------------------------------------------------------------------------------------------


def _models(options: argparse.Namespace) -> int:
    from mldsim.loss import load_model, shipped_models

    listed = []
    for name in shipped_models():
        model = load_model(name)
        holdout = (model.card.get("errors") or {}).get("holdout") or {}
        error = holdout.get("force_rmse_meV_A")
        listed.append(
            {
                "name": name,
                "scope": model.scope.value,
                "order": model.order,
                "max_rank": model.max_rank,
                "holdout_force_rmse_meV_A": error,
                "purpose": model.card.get("purpose", ""),
            }
        )
        told = f"held-out force error {error:.1f} meV/Å" if error is not None else "no held-out error known"
        print(f"{name}: {model.scope.value} scope, order {model.order}, {_ranks(model.max_rank)}, {told}.")
        print(f"    {model.card.get('purpose', '')}")
    if options.json:
        _print_json({"models": listed})
    return DONE


def _devices(options: argparse.Namespace) -> int:
    from mldsim.kernels import backend

    reports = backend.probe()
    for report in reports:
        print(f"{report.kind}: {report.name}: {'usable' if report.usable else 'not usable'}. {report.reason}")
    chosen = backend.choose("auto")
    print(f"auto takes {chosen.kind}. {chosen.reason}")
    if options.json:
        _print_json({"devices": [report._asdict() for report in reports], "auto": chosen._asdict()})
    return DONE


COMMANDS: dict[str, _Command] = {
    "run": _Command(_run, "run a simulation without a window and write its trajectory", _add_run),
    "fit": _Command(_fit, "infer a loss model from labelled frames", _add_fit),
    "evaluate": _Command(_evaluate, "force errors of a model on labelled frames", _add_evaluate),
    "sensitivities": _Command(
        _sensitivities, "which invariants the losses respond to: tables and a figure", _add_sensitivities
    ),
    "validate": _Command(_validate, "a model beside its reference: forces, structure, motion; a report", _add_validate),
    "convert": _Command(_convert, "turn CP2K output, extended XYZ, DeePMD or n2p2 data into a dataset", _add_convert),
    "label": _Command(_label, "compute energies and forces of frames with CP2K", _add_label),
    "learn": _Command(_learn, "let a model learn from its own runs: run, label what it doubts, fit again", _add_learn),
    "bench": _Command(_bench, "how fast this machine moves the shipped models, and what memory that takes", _add_bench),
    "models": _Command(_models, "what models are shipped"),
    "devices": _Command(_devices, "what can compute here, and why not the rest"),
    "info": _Command(_info, "what a file holds", _add_info),
}
