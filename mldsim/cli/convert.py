"""`mldsim convert`: data of other programs as a dataset."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mldsim.cli.info import describe_frames, frames_json
from mldsim.cli.options import add_data, decimal, frames_of
from mldsim.cli.output import DONE, check_output, print_json
from mldsim.progress import progress_bar


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_data(parser, "in")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATA.h5", help="the dataset")
    parser.add_argument("--weight", type=decimal, metavar="W",
                        help="of the frames in every fit to the dataset (default: as they have, or 1)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.dataset import save_frames

    check_output(options.output, options.force)
    systems = frames_of(options, getattr(options, "in"))
    if options.weight is not None:
        systems = [replace(system, weight=options.weight) for system in systems]
    with progress_bar("Writing") as report:
        save_frames(options.output, systems, force=options.force, progress=report)
    for system in systems:
        print(describe_frames(system))
    print(f"Written to {options.output}.")
    if options.json:
        print_json({"output": str(options.output), "systems": [frames_json(system) for system in systems]})
    return DONE
