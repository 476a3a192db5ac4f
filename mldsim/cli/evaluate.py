"""`mldsim evaluate`: force errors of a model on labelled frames."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from mldsim.cli.options import add_data, check_cutoff, frames_of
from mldsim.cli.output import DONE, print_json
from mldsim.errors import WorkFailed
from mldsim.progress import progress_bar

if TYPE_CHECKING:
    from mldsim.accuracy import ForceErrors


def checked(errors: ForceErrors) -> ForceErrors:
    """The same errors. Raises `WorkFailed` where they are not finite."""
    if not math.isfinite(errors.rmse):
        raise WorkFailed("The model's forces on these frames are not finite numbers.")
    return errors


def error_line(title: str, errors: ForceErrors) -> str:
    """Force errors in one line, meV/angstrom."""
    per_species = ", ".join(f"{name} {1e3 * one.rmse:.1f}" for name, one in errors.species.items())
    return (
        f"{title}: force error {1e3 * errors.rmse:.1f} meV/Å of {1e3 * errors.rms:.0f} ({per_species}), "
        f"mean absolute {1e3 * errors.mae:.1f}, {errors.frames} frames."
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    add_data(parser)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.accuracy import force_errors
    from mldsim.loss import load_model

    model = load_model(options.model)
    systems = frames_of(options, options.data)
    check_cutoff(systems, model.cutoff)
    with progress_bar("Evaluating") as report:
        errors = checked(force_errors(model, systems, report))
    print(error_line(model.name, errors))
    if options.json:
        print_json(errors.to_json())
    return DONE
