"""`mldsim`: the window."""

from __future__ import annotations

import argparse
import math
import os
import threading
from pathlib import Path

from mldsim.cli.options import add_field, add_setup, decimal, setup_of
from mldsim.cli.output import end_output
from mldsim.errors import InputError, MldsimError
from mldsim.parameters import Parameters
from mldsim.recognise import kind_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the window."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="opened as what its content says it is")
    add_setup(parser)
    add_field(parser, "--temperature", "temperature", "K")
    parser.add_argument("--paused", action="store_true", help="do not start to run")
    parser.add_argument("--quit-after", type=decimal, metavar="SECONDS", help="close the window after this time, s")
    parser.add_argument("--screenshot", type=Path, metavar="FILE.png",
                        help="save a picture of the whole window before it is closed by --quit-after")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Open it; returns the exit code when it is closed."""
    setup = setup_of(options)
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
        end_output()
        os._exit(code)
    return code
