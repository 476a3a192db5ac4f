"""`mldsim learn`: a model learns from its own runs."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from mldsim.cli.label import add_cp2k
from mldsim.cli.options import add_data, add_device, add_field, check_cutoff, decimal, duration, frames_of, whole
from mldsim.cli.output import DONE, print_json
from mldsim.parameters import DeviceKind, Precision
from mldsim.progress import progress_bar, tell

if TYPE_CHECKING:
    from mldsim.learning.journal import Journal


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from mldsim.learning.settings import LearnSettings

    usual = LearnSettings()
    parser.add_argument(
        "model", metavar="MODEL", help="shipped name or file: what runs first, and the form of all fits"
    )
    add_data(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER",
                        help="everything of the loop; the same command goes on in it")  # fmt: skip
    add_cp2k(parser)
    for option, values, metavar, told in (
        ("--temperatures", usual.temperatures, "K", "of the runs, K"),
        ("--densities", usual.densities, "G/CM3", "each at each temperature, g/cm³"),
    ):
        default = " ".join(f"{value:g}" for value in values)
        parser.add_argument(option, type=decimal, nargs="+", default=list(values), metavar=metavar,
                            help=f"{told} (default: {default})")  # fmt: skip
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="start from the last frame of this file (default: frames of DATA's smallest "
                        "system)")  # fmt: skip
    parser.add_argument("--molecules", type=whole, metavar="N", help="start from a relaxed box of so many H2O instead")
    parser.add_argument("--time", type=duration, default=f"{usual.time / 1000:g}ps", metavar="TIME", help="of each run")
    add_field(parser, "--timestep", "timestep", "TIME")
    parser.add_argument("--every", type=duration, default=f"{usual.every:g}fs", metavar="TIME",
                        help="time between two looks at the doubt")  # fmt: skip
    parser.add_argument("--rounds", type=whole, default=usual.rounds, metavar="N", help="at most so many")
    parser.add_argument("--frames", type=whole, default=usual.frames, metavar="N", help="labelled in a round at most")
    parser.add_argument("--holdout", type=decimal, default=usual.holdout, metavar="FRACTION",
                        help="of these, drawn at random from the runs and never fitted")  # fmt: skip
    parser.add_argument("--doubt-factor", type=decimal, default=usual.doubt_factor, metavar="X",
                        help="doubt warns above so many times the 99th percentile of the data")  # fmt: skip
    parser.add_argument("--doubt-limit", type=decimal, metavar="MEV/A", help="doubt warns above this instead, meV/Å")
    parser.add_argument("--inside", type=decimal, default=usual.inside, metavar="FRACTION",
                        help="of the looks may warn in a round that ends the loop")  # fmt: skip
    add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--mix-theories", action="store_true",
                        help="go on although the data are of another theory than the engine")  # fmt: skip
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
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
    systems = frames_of(options, options.data)
    check_cutoff(systems, model.cutoff)
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
        print_json(
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
