"""`mldsim bench`: how fast this machine moves the models."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mldsim.cli.options import add_device, decimal, whole
from mldsim.cli.output import DONE, print_json, refuse
from mldsim.cli.stopping import asked_to_stop
from mldsim.errors import InputError
from mldsim.parameters import DeviceKind, Precision, Setup
from mldsim.progress import progress_bar


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--model", nargs="+", metavar="NAME|FILE", help="loss models (default: all shipped ones)")
    parser.add_argument("--molecules", type=whole, nargs="+", default=[64, 512, 4096], metavar="N",
                        help="sizes of the box, 8 to 100000 each (default: 64 512 4096)")  # fmt: skip
    parser.add_argument("--rounds", type=whole, default=5, metavar="N", help="how often each model has its turn")
    parser.add_argument("--seconds", type=decimal, default=1.0, metavar="S",
                        help="that a turn should take, s; at least one step is taken")  # fmt: skip
    parser.add_argument("--threads", type=whole, metavar="N",
                        help="of the CPU (default: NUMBA_NUM_THREADS, or all cores)")  # fmt: skip
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
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
    with asked_to_stop() as stop_asked, ExitStack() as processes, progress_bar("Measuring") as report:
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
        print_json(
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
    return refuse(str(stopped), stopped.exit_code) if stopped else DONE


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
