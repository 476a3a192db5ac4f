"""`mldsim info`: what a file holds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mldsim import units
from mldsim.cli.options import add_reading
from mldsim.cli.output import DONE, print_json, printable, ranks_of
from mldsim.errors import InputError

if TYPE_CHECKING:
    from mldsim.dataset import LabelledFrames
    from mldsim.loss import LossModel
    from mldsim.trajectory.extxyz_reader import ExtxyzTrajectory
    from mldsim.trajectory.h5md_reader import Trajectory


def _formula(symbols: Sequence[str]) -> str:
    return " ".join(f"{symbols.count(s)} {s}" for s in dict.fromkeys(symbols))


def _counted(n: int, what: str) -> str:
    return f"1 {what}" if n == 1 else f"{n} {what}s"


def frames_json(system: LabelledFrames) -> dict[str, Any]:
    """What `--json` tells of the frames of a system."""
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


def describe_frames(system: LabelledFrames) -> str:
    """The same in one sentence."""
    box = " × ".join(f"{edge:.4g}" for edge in system.boxes[0])
    varying = "" if (system.boxes == system.boxes[0]).all() else ", varying"
    extras = [name for name in ("energies", "velocities") if getattr(system, name) is not None]
    told = system.provenance
    name = f" {told['name']}" if "name" in told else ""
    frames = _counted(system.n_frames, "frame")
    theory = told.get("theory", told.get("method", "theory level not stated"))
    left_out = f"; left out: {told['left_out']}" if "left_out" in told else ""
    weight = f"; weight {system.weight:g} in fits" if system.weight != 1.0 else ""
    return printable(
        f"{system.source}{name}: {frames} of {_formula(system.symbols)} in {box} Å{varying}, forces"
        f"{''.join(f', {extra}' for extra in extras)}; {theory}{weight}{left_out}."
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="model, dataset, trajectory, or data that can be read")
    add_reading(parser)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.checkpoint import is_checkpoint

    path: Path = options.file
    if _is_model(path):
        content = _model_info(str(path))
    elif _is_h5md(path):
        from mldsim.trajectory.h5md import read_h5md

        with read_h5md(path) as trajectory:
            content = _trajectory_info(trajectory)
    elif is_checkpoint(path):
        content = _checkpoint_info(path)
    else:
        content = _frames_info(path, options)
    if options.json:
        print_json(content)
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
        f"Loss model '{model.name}': {model.scope.value} scope, order {model.order}, {ranks_of(model.max_rank)}, "
        f"{model.radial.n_radial} radial functions per pair, cutoff {model.cutoff:g} Å, "
        f"{''.join(f'{part}, ' for part in _not_local(model))}{model.n_parameters} parameters."
    )
    for key, value in told(model.card).items():
        print(printable(f"  {key}: {value}"))
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


def _frames_info(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Of labelled frames, or of a trajectory in extended XYZ, whose frames have no forces."""
    import numpy as np

    from mldsim.readers import load_frames
    from mldsim.trajectory.extxyz_reader import read_extxyz

    try:
        systems = load_frames(path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit)
    except InputError:
        with suppress(InputError), read_extxyz(path) as trajectory:
            if np.isnan(trajectory.frame(0).forces).all():
                return _trajectory_info(trajectory)
        raise
    for system in systems:
        print(describe_frames(system))
    return {"kind": "labelled frames", "systems": [frames_json(system) for system in systems]}


def _trajectory_info(trajectory: Trajectory | ExtxyzTrajectory) -> dict[str, Any]:
    n_frames = trajectory.n_frames
    content: dict[str, Any] = {
        "kind": "trajectory",
        "frames": n_frames,
        "agents": trajectory.topology.n_agents,
        "creator": trajectory.creator,
    }
    span = ""
    if n_frames:
        first, last = trajectory.frame(0), trajectory.frame(n_frames - 1)
        content["box_A"] = [float(edge) for edge in last.box]
        if math.isfinite(first.time) and math.isfinite(last.time):
            content |= {"first_fs": first.time, "last_fs": last.time}
            span = f", {units.format_time(first.time)} to {units.format_time(last.time)}"
    made_by = f", by {content['creator']}" if content["creator"] else ""
    told = f"{_counted(n_frames, 'frame')} of {_counted(content['agents'], 'agent')}"
    print(printable(f"Trajectory: {told}{span}{made_by}."))
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
    print(printable(f"{told}{held}."))
    return content
