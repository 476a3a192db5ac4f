"""The command line: the window without arguments, everything else by name.

Names of options and keys of the JSON are a contract; see docs/commands.md. Exit codes: 0 done, 1 the work failed,
2 wrong use or wrong input. Every failure is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import mldsim
from mldsim import units
from mldsim.errors import InputError, LeftPhysics, MldsimError
from mldsim.parameters import FIELDS, DeviceKind, Parameters, Precision, Setup, ThermostatKind

if TYPE_CHECKING:
    from mldsim.inference import ForceErrors
    from mldsim.simulation import Simulation

DONE, FAILED, WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in COMMANDS:
            options = _parser_of(given[0]).parse_args(given[1:])
            return COMMANDS[given[0]].run(options)
        return _window(_window_parser().parse_args(given))
    except MldsimError as error:
        print(f"mldsim: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("mldsim: Interrupted.", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough.
        sys.stderr.close()
        return DONE
    except MemoryError:
        print("mldsim: There is not enough memory for this; use fewer frames, functions or molecules.", file=sys.stderr)
        return FAILED


class _Parser(argparse.ArgumentParser):
    """Wrong use is one sentence, not a page of usage."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help.", file=sys.stderr)
        raise SystemExit(WRONG)


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], int]
    summary: str
    add: Callable[[argparse.ArgumentParser], None] | None = None


def _parser_of(name: str) -> argparse.ArgumentParser:
    command = COMMANDS[name]
    parser = _Parser(
        prog=f"mldsim {name}", description=command.summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    if command.add:
        command.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


def _window_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = _Parser(
        prog="mldsim",
        description="Molecular learning dynamics: opens the window, with water moving in it.",
        epilog=f"commands:\n{listed}\n\nmldsim COMMAND --help tells the options of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mldsim {mldsim.__version__}")
    _add_setup(parser)
    parser.add_argument("--temperature", type=float, default=FIELDS["temperature"].default, metavar="K",
                        help="target temperature, K (default: 300)")  # fmt: skip
    parser.add_argument("--paused", action="store_true", help="do not start to run")
    parser.add_argument("--quit-after", type=float, metavar="SECONDS", help="close the window after this time")
    parser.add_argument("--screenshot", type=Path, metavar="FILE.png", help="save a picture of the whole window")
    return parser


# -- options ------------------------------------------------------------------------------------------------------


def _number(name: str) -> Callable[[str], float]:
    """Type of an option that is one of `parameters.FIELDS`."""

    def convert(text: str) -> float:
        try:
            return int(text) if FIELDS[name].integer else float(text)
        except ValueError:
            kind = "a whole number" if FIELDS[name].integer else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {kind}") from None

    return convert


def _time(text: str) -> float:
    try:
        value = units.parse_time(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive time")
    return value


def _add_setup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="water", metavar="NAME|FILE", help="loss model: shipped name or file")
    parser.add_argument("--molecules", type=_number("molecules"), default=64, metavar="N", help="number of molecules")
    parser.add_argument("--density", type=float, default=FIELDS["density"].default, metavar="G_CM3", help="g/cm3")
    parser.add_argument("--seed", type=_number("seed"), default=1, metavar="N", help="of the start and the noise")
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="start from this extended XYZ, H5MD or dataset; in place of --molecules, --density")  # fmt: skip
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
        device=DeviceKind(options.device),
        precision=Precision(options.precision),
    )


def _add_data(parser: argparse.ArgumentParser, name: str = "data") -> None:
    parser.add_argument(name, nargs="+", type=Path, metavar=name.upper(),
                        help="datasets, CP2K projects, extended XYZ, DeePMD folders, n2p2 input.data")  # fmt: skip
    parser.add_argument(
        "--cell", type=float, nargs="+", metavar="A", help="box edges where the files have none, angstrom"
    )
    parser.add_argument("--length-unit", choices=["bohr", "angstrom"], help="of n2p2 files (default: bohr)")
    parser.add_argument("--energy-unit", choices=["hartree", "eV"], help="of n2p2 files (default: hartree)")


def _frames(options: argparse.Namespace, paths: Sequence[Path]) -> list[Any]:
    from mldsim.dataset import load_frames

    return load_frames(paths, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit)


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, allow_nan=False), flush=True)


# -- window -------------------------------------------------------------------------------------------------------


def _window(options: argparse.Namespace) -> int:
    setup = _setup(options)
    parameters = Parameters(temperature=options.temperature)
    if options.quit_after is not None and not 0 < options.quit_after < math.inf:
        raise InputError("--quit-after must be a positive number of seconds.")
    try:
        from mldsim.gui.app import run_window
    except ImportError as error:
        raise MldsimError(
            f"The window needs Qt, vispy and pyqtgraph, and one of them cannot be loaded ({error}); "
            f"'mldsim run' works without a window."
        ) from None
    return run_window(
        setup, parameters, paused=options.paused, quit_after=options.quit_after, screenshot=options.screenshot
    )


# -- run ----------------------------------------------------------------------------------------------------------


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="TRAJ.h5md",
                        help="trajectory: H5MD, or extended XYZ for names ending in .xyz or .extxyz")  # fmt: skip
    _add_setup(parser)
    parser.add_argument("--temperature", type=float, default=300.0, metavar="K", help="target temperature, K")
    parser.add_argument("--time", type=_time, default=1000.0, metavar="TIME", help="how long, such as 1ps (fs if bare)")
    parser.add_argument("--timestep", type=_time, default=0.5, metavar="TIME", help="time step, such as 0.5fs")
    parser.add_argument("--thermostat", choices=[kind.value for kind in ThermostatKind], default="nose-hoover",
                        help="how heat is exchanged")  # fmt: skip
    parser.add_argument("--tau", type=_time, default=50.0, metavar="TIME", help="coupling time of the thermostat")
    parser.add_argument("--every", type=_time, default=10.0, metavar="TIME", help="time between two written frames")
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def _run(options: argparse.Namespace) -> int:
    parameters = Parameters(
        temperature=options.temperature,
        thermostat=ThermostatKind(options.thermostat),
        coupling_time=options.tau,
        timestep=options.timestep,
    )
    setup = _setup(options)
    steps = round(options.time / options.timestep)
    every = round(options.every / options.timestep)
    if steps < 1:
        raise InputError(f"--time is shorter than one time step of {options.timestep:g} fs.")
    if every < 1:
        raise InputError(f"--every is shorter than one time step of {options.timestep:g} fs.")
    _check_output(options.output, options.force)

    from mldsim.runner import open_sink
    from mldsim.simulation import build_simulation

    simulation = build_simulation(setup, parameters, lambda text: print(f"{text} ...", file=sys.stderr, flush=True))
    print(
        f"{simulation.model_name}, {simulation.topology.n_agents} agents, {units.format_time(options.time)} "
        f"on {simulation.device}. {simulation.device_reason}",
        file=sys.stderr,
    )
    with open_sink(options.output, simulation, simulation.state.box, options.force) as sink:
        result = _advance(simulation, sink, steps, every)
    if result["aborted"]:
        print(f"mldsim: {result['aborted']} {options.output} holds the run up to there.", file=sys.stderr)
    else:
        print(
            f"{result['steps']} steps in {result['seconds']:.1f} s: {result['steps_per_s']:.0f} steps/s, "
            f"{result['ns_per_day']:.3g} ns/day; {result['temperature_mean_K']:.1f} "
            f"± {result['temperature_std_K']:.1f} K. Written to {options.output}."
        )
    if options.json:
        _print_json(result)
    return FAILED if result["aborted"] else DONE


def _check_output(path: Path, force: bool) -> None:
    """Refuse before the work what would be refused after it."""
    if path.exists() and not force:
        raise InputError(f"{path} exists; choose another name or add --force to replace it.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist.")


def _advance(simulation: Simulation, sink: Any, steps: int, every: int) -> dict[str, Any]:
    """Run, write, and sum up; a guard or Ctrl-C ends the run early and is told under "aborted"."""
    from mldsim.progress import progress_bar

    times, temperatures, conserved = [], [], []
    aborted: str | None = None
    n_agents = simulation.topology.n_agents
    done = 0
    sink.write(simulation.frame())
    began = time.perf_counter()
    with progress_bar("Running") as report:
        try:
            while done < steps:
                chunk = min(every - done % every, steps - done)
                simulation.advance(chunk)
                done += chunk
                frame = simulation.frame()
                if done % every == 0:
                    sink.write(frame)
                times.append(frame.time)
                temperatures.append(frame.thermo.temperature)
                conserved.append(frame.thermo.conserved)
                report(done / steps, f"{units.format_time(frame.time)}, {frame.thermo.temperature:.0f} K")
        except LeftPhysics as error:
            aborted = str(error)
        except KeyboardInterrupt:
            aborted = f"Interrupted at {units.format_time(simulation.state.time)}."
    seconds = time.perf_counter() - began
    speed = done / seconds
    return {
        "steps": done,
        "seconds": seconds,
        "steps_per_s": speed,
        "ns_per_day": speed * simulation.parameters.timestep * 86400e-6,
        "atom_steps_per_s": speed * n_agents,
        "device": simulation.device,
        "temperature_mean_K": _finite(sum(temperatures) / len(temperatures)) if temperatures else None,
        "temperature_std_K": _spread(temperatures),
        "energy_drift_meV_per_atom_per_ps": _drift(times, conserved, n_agents),
        "aborted": aborted,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spread(values: list[float]) -> float | None:
    """Standard deviation; None without two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return _finite(math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def _drift(times: list[float], conserved: list[float], n_agents: int) -> float | None:
    """Slope of the least-squares line through the conserved quantity, meV/atom/ps; None where there is none."""
    import numpy as np

    if len(times) < 3 or not np.isfinite(conserved).all():
        return None
    return float(np.polyfit(np.array(times) * 1e-3, np.array(conserved) - conserved[0], 1)[0]) * 1e3 / n_agents


# -- fit and evaluate ---------------------------------------------------------------------------------------------


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.json", help="the fitted model")
    parser.add_argument("--name", help="name of the model (default: that of the file)")
    parser.add_argument("--scope", choices=["own", "shared"], default="shared", help="whose loss an agent descends")
    parser.add_argument("--max-rank", type=int, default=2, metavar="0..3", help="highest rank of the fields")
    parser.add_argument("--order", type=int, default=2, metavar="1|2", help="1 linear, 2 quadratic")
    parser.add_argument("--radial", type=int, default=10, metavar="K", help="radial functions per pair of species")
    parser.add_argument("--cutoff", type=float, default=5.0, metavar="A", help="angstrom")
    parser.add_argument("--ridge", type=float, default=1e-7, metavar="X", help="relative to the scaled equations")
    parser.add_argument("--net-force-weight", type=float, default=3.0, metavar="W",
                        help="weight of the rows for each molecule's net force; 0: none")  # fmt: skip
    parser.add_argument("--torque-weight", type=float, default=0.0, metavar="W",
                        help="weight of the rows for each molecule's torque, 1/angstrom; 0: none")  # fmt: skip
    parser.add_argument("--holdout", type=float, default=0.1, metavar="FRACTION", help="frames that are never fitted")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of held-out frames")
    parser.add_argument("--force", action="store_true", help="replace the model file if it exists")


def _fit(options: argparse.Namespace) -> int:
    from mldsim.dataset import split
    from mldsim.inference import FitSettings, fit, force_errors
    from mldsim.loss import Scope, save_model
    from mldsim.progress import progress_bar

    if not 0.0 <= options.holdout < 1.0:
        raise InputError(f"--holdout must be at least 0 and less than 1; {options.holdout:g} was given.")
    settings = FitSettings(
        scope=Scope(options.scope),
        order=options.order,
        max_rank=options.max_rank,
        n_radial=options.radial,
        cutoff=options.cutoff,
        ridge=options.ridge,
        net_force_weight=options.net_force_weight,
        torque_weight=options.torque_weight,
    )
    _check_output(options.output, options.force)
    began = time.perf_counter()
    systems = _frames(options, options.data)
    train, holdout = split(systems, options.holdout, options.seed)
    with progress_bar("Fitting") as report:
        model = fit(train, settings, name=options.name or options.output.stem, progress=report)
    errors: dict[str, ForceErrors | None] = {"train": None, "holdout": None}
    for part, frames in (("train", train), ("holdout", holdout)):
        if frames:
            with progress_bar(f"Errors, {part}") as report:
                errors[part] = force_errors(model, frames, report)
    result: dict[str, Any] = {part: found.to_json() if found else None for part, found in errors.items()}
    result |= {"parameters": model.n_parameters, "seconds": time.perf_counter() - began}
    theories = sorted({str(system.provenance.get("theory", "not stated")) for system in systems})
    sources = list(dict.fromkeys(str(system.source) for system in systems))
    card = {
        **model.card,
        "data": sources,
        "theory": "; ".join(theories),
        "holdout_fraction": options.holdout,
        "seed": options.seed,
        "errors": {part: result[part] for part in errors},
        "mldsim": mldsim.__version__,
    }
    from dataclasses import replace

    save_model(replace(model, card=card), options.output, force=options.force)
    print(f"{options.output}: {model.n_parameters} parameters, fitted in {result['seconds']:.1f} s.")
    for part, found in errors.items():
        if found:
            print(_error_line(part, found))
    if options.json:
        _print_json(result)
    return DONE


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
    from mldsim.inference import force_errors
    from mldsim.loss import load_model
    from mldsim.progress import progress_bar

    model = load_model(options.model)
    systems = _frames(options, options.data)
    with progress_bar("Evaluating") as report:
        errors = force_errors(model, systems, report)
    print(_error_line(model.name, errors))
    if options.json:
        _print_json(errors.to_json())
    return DONE


# -- convert and info ---------------------------------------------------------------------------------------------


def _add_convert(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, "in")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATA.h5", help="the dataset")
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def _convert(options: argparse.Namespace) -> int:
    from mldsim.dataset import save_frames
    from mldsim.progress import progress_bar

    _check_output(options.output, options.force)
    systems = _frames(options, getattr(options, "in"))
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


def _frames_json(system: Any) -> dict[str, Any]:
    return {
        "frames": system.n_frames,
        "agents": system.n_agents,
        "composition": _formula(system.symbols),
        "box_A": [float(edge) for edge in system.boxes[0]],
        "energies": system.energies is not None,
        "velocities": system.velocities is not None,
        "provenance": dict(system.provenance),
    }


def _describe_frames(system: Any) -> str:
    box = " × ".join(f"{edge:.4g}" for edge in system.boxes[0])
    extras = [name for name in ("energies", "velocities") if getattr(system, name) is not None]
    theory = system.provenance.get("theory", "theory level not stated")
    return (
        f"{system.source}: {system.n_frames} frames of {_formula(system.symbols)} in {box} Å, forces"
        f"{''.join(f', {name}' for name in extras)}; {theory}."
    )


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a model, dataset, trajectory or readable data")


def _info(options: argparse.Namespace) -> int:
    path: Path = options.file
    if not path.exists() and str(path) not in _shipped():
        raise InputError(f"{path} does not exist.")
    if str(path) in _shipped() or path.suffix == ".json":
        content = _model_info(str(path))
    elif _is_h5md(path):
        content = _trajectory_info(path)
    else:
        from mldsim.dataset import load_frames

        systems = load_frames([path])
        for system in systems:
            print(_describe_frames(system))
        content = {"kind": "labelled frames", "systems": [_frames_json(system) for system in systems]}
    if options.json:
        _print_json(content)
    return DONE


def _shipped() -> list[str]:
    from mldsim.loss import shipped_models

    return shipped_models()


def _model_info(name: str) -> dict[str, Any]:
    from mldsim.loss import load_model

    model = load_model(name)
    print(
        f"Loss model '{model.name}': {model.scope.value} scope, order {model.order}, ranks 0 to {model.max_rank}, "
        f"{model.radial.n_radial} radial functions per pair, cutoff {model.cutoff:g} Å, "
        f"{model.n_parameters} parameters."
    )
    for key, value in model.card.items():
        print(f"  {key}: {value if isinstance(value, str) else json.dumps(value)}")
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
        "parameters": model.n_parameters,
        "card": dict(model.card),
    }


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
    print(f"Trajectory: {content['frames']} frames of {content['agents']} agents{span}, by {content['creator']}.")
    return content


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
        print(f"{name}: {model.scope.value} scope, order {model.order}, ranks 0 to {model.max_rank}, {told}.")
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
    "convert": _Command(_convert, "turn CP2K output, extended XYZ, DeePMD or n2p2 data into a dataset", _add_convert),
    "models": _Command(_models, "what models are shipped"),
    "devices": _Command(_devices, "what can compute here, and why not the rest"),
    "info": _Command(_info, "what a file holds", _add_info),
}
