"""`mldsim sensitivities`: which invariants the losses respond to."""

from __future__ import annotations

import argparse
from pathlib import Path

from mldsim.cli.options import add_data, check_cutoff, frames_of
from mldsim.cli.output import DONE, check_output, print_json
from mldsim.errors import InputError
from mldsim.progress import progress_bar


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", metavar="MODEL", help="shipped name or file")
    add_data(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FIGURE", help="a figure: .svg, .png or .html")
    parser.add_argument("--force", action="store_true", help="replace the figure if it exists")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.loss import load_model
    from mldsim.sensitivity import FIGURES, sensitivities, write_figure

    if options.output:
        check_output(options.output, options.force)
        if options.output.suffix.lower() not in FIGURES:
            raise InputError(f"{options.output}: the name of a figure must end in {', '.join(FIGURES)}.")
    model = load_model(options.model)
    systems = frames_of(options, options.data)
    check_cutoff(systems, model.cutoff)
    with progress_bar("Responses") as report:
        found = sensitivities(model, systems, report)
    print(found.table())
    if options.output:
        write_figure(found, options.output)
        print(f"Written to {options.output}.")
    if options.json:
        print_json(found.to_json())
    return DONE
