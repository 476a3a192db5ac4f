"""`mldsim validate`: a model beside its reference."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from mldsim.cli.options import add_device, add_field, decimal, duration
from mldsim.cli.output import DONE, FAILED, check_output, print_json, refuse
from mldsim.cli.stopping import asked_to_stop
from mldsim.errors import InputError
from mldsim.parameters import DeviceKind, Precision, ThermostatKind
from mldsim.progress import progress_bar, tell


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    parser.add_argument("--reference", type=Path, nargs="+", default=[], metavar="REF",
                        help="labelled frames for the forces, and a series of frames (dataset, H5MD) for structure and "
                        "motion (default: the CP2K water that is shipped)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT.html", help="the report")
    parser.add_argument("--run", type=Path, metavar="TRAJ.h5md",
                        help="a trajectory of the model in the same box, in the place of running it")  # fmt: skip
    parser.add_argument("--time", type=duration, default="20ps", metavar="TIME", help="how long to measure")
    parser.add_argument("--equilibration", type=duration, default="2ps", metavar="TIME",
                        help="run before that, or left out at the start of --run")  # fmt: skip
    parser.add_argument("--temperature", type=decimal, metavar="K", help="target, K (default: the reference's)")
    add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--thermostat", choices=[kind.value for kind in ThermostatKind],
                        help="how heat is exchanged (default: csvr; nose-hoover for models of own scope)")  # fmt: skip
    parser.add_argument("--tau", type=duration, metavar="TIME",
                        help="coupling time, 1 to 10000 fs (default: 500fs; 50fs for models of own scope)")  # fmt: skip
    add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--viscosity", type=decimal, metavar="MPA.S",
                        help="of the model, mPa s: adds the diffusion coefficient of an infinite system")  # fmt: skip
    add_device(parser)
    parser.add_argument("--force", action="store_true", help="replace the report if it exists")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    check_output(options.output, options.force)
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
    with asked_to_stop() as stop_asked, progress_bar("Validating") as report:
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
        print_json(found.to_json() | {"output": str(options.output)})
    if found.stopped:
        return refuse(f"{found.stopped} The report holds what was measured up to there.", FAILED)
    return DONE
