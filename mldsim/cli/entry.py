"""Which command is meant, and its options: `main` is what `mldsim` calls.

Each command is a module with `run`, which gets the options and returns an exit code, and `add_options`, which adds them
to a parser.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import mldsim
from mldsim.cli import (
    bench,
    convert,
    devices,
    evaluate,
    fit,
    info,
    label,
    learn,
    models,
    run,
    sensitivities,
    validate,
    window,
)
from mldsim.cli.output import DONE, FAILED, end_output, refuse
from mldsim.cli.stopping import interruptible
from mldsim.errors import InputError, MldsimError


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
        return refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        return refuse("Interrupted.", FAILED)
    except MemoryError:
        return refuse("There is not enough memory for this; use fewer molecules, frames or functions.", FAILED)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        end_output()
        return DONE
    except OSError as error:
        end_output()
        about = f"{error.filename}: " if error.filename else ""
        return refuse(f"{about}{error.strerror or error}.", FAILED)
    return code


def _dispatch(given: list[str]) -> int:
    parser = window_parser()
    playing = given[:1] == ["play"]
    if playing:
        given = given[1:]
    elif given and given[0] in COMMANDS:
        parser = parser_of(given[0])
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
        with interruptible():
            return COMMANDS[given[0]].run(options)
    if playing and options.file is None:
        raise InputError("A trajectory to watch is missing: mldsim play FILE.")
    return window.run(options)


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


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], int]
    summary: str
    add: Callable[[argparse.ArgumentParser], None] | None = None


def parser_of(name: str) -> argparse.ArgumentParser:
    """The options of a command."""
    command = COMMANDS[name]
    summary = f"{command.summary[:1].upper()}{command.summary[1:]}."
    parser = _Parser(prog=f"mldsim {name}", description=summary, formatter_class=_Help, allow_abbrev=False)
    if command.add:
        command.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


def window_parser() -> argparse.ArgumentParser:
    """The options of `mldsim` without a command."""
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
    parser.add_argument("--version", action="version", version=f"mldsim {mldsim.__version__}")
    window.add_options(parser)
    return parser


COMMANDS: dict[str, _Command] = {
    "run": _Command(run.run, "run a simulation without a window and write its trajectory", run.add_options),
    "fit": _Command(fit.run, "infer a loss model from labelled frames", fit.add_options),
    "evaluate": _Command(evaluate.run, "force errors of a model on labelled frames", evaluate.add_options),
    "sensitivities": _Command(
        sensitivities.run, "which invariants the losses respond to: tables and a figure", sensitivities.add_options
    ),
    "validate": _Command(
        validate.run, "a model beside its reference: forces, structure, motion; a report", validate.add_options
    ),
    "convert": _Command(
        convert.run, "turn CP2K output, extended XYZ, DeePMD or n2p2 data into a dataset", convert.add_options
    ),
    "label": _Command(label.run, "compute energies and forces of frames with CP2K", label.add_options),
    "learn": _Command(
        learn.run, "let a model learn from its own runs: run, label what it doubts, fit again", learn.add_options
    ),
    "bench": _Command(
        bench.run, "how fast this machine moves the shipped models, and what memory that takes", bench.add_options
    ),
    "models": _Command(models.run, "what models are shipped"),
    "devices": _Command(devices.run, "what can compute here, and why not the rest"),
    "info": _Command(info.run, "what a file holds", info.add_options),
}
