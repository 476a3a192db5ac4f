"""`mldsim fit`: a loss from labelled frames."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mldsim
from mldsim.cli.evaluate import checked, error_line
from mldsim.cli.options import add_data, check_cutoff, decimal, frames_of, whole
from mldsim.cli.output import DONE, check_output, print_json
from mldsim.errors import InputError
from mldsim.progress import progress_bar, tell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mldsim.accuracy import ForceErrors
    from mldsim.dataset import LabelledFrames
    from mldsim.regression import FitSettings
    from mldsim.screening import BadFrame
    from mldsim.sums import Kept


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_data(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL.json", help="the fitted model")
    parser.add_argument("--name", help="name of the model (default: that of the file)")
    # Without a default here: --extend takes what is not given from the sums.
    parser.add_argument("--scope", choices=["own", "shared"], help="whose loss an agent descends (default: shared)")
    parser.add_argument("--max-rank", type=whole, metavar="0..3", help="highest rank of the fields (default: 2)")
    parser.add_argument("--order", type=whole, metavar="1..3",
                        help="1 linear, 2 quadratic, 3 with a cubic part (default: 2)")  # fmt: skip
    parser.add_argument("--channels", type=whole, metavar="R",
                        help="combinations of the fields that the cubic part sees (default: 4)")  # fmt: skip
    parser.add_argument("--channel-steps", type=whole, metavar="N",
                        help="times that the channels are improved at most (default: 3)")  # fmt: skip
    parser.add_argument("--saturation", type=decimal, metavar="C",
                        help="where channels saturate, in their standard deviations (default: 5)")  # fmt: skip
    parser.add_argument("--channels-of", metavar="MODEL",
                        help="begin with the channels of this model (of the same form) instead of searching for them; "
                        "--channel-steps 0 takes them as they are")  # fmt: skip
    parser.add_argument("--constant-channel", action="store_true", default=None,
                        help="let the last channel of rank 0 be 1: the cubic part is also quadratic and linear in the "
                        "others")  # fmt: skip
    parser.add_argument("--hops", action="store_true", default=None,
                        help="let losses depend on the channels of the neighbours too")  # fmt: skip
    parser.add_argument("--long-range", action="store_true", default=None,
                        help="add pairs without a cutoff, whose strengths follow the channels; their cost a step grows "
                        "with the square of the number of agents")  # fmt: skip
    parser.add_argument("--radial", type=whole, metavar="K", help="radial functions per pair of species (default: 10)")
    parser.add_argument("--cutoff", type=decimal, metavar="A", help="reach of a pair, angstrom (default: 5)")
    parser.add_argument("--ridge", type=decimal, metavar="X",
                        help="added to the unit diagonal of the scaled equations, without unit "
                        "(default: 1e-07)")  # fmt: skip
    parser.add_argument("--net-force-weight", type=decimal, metavar="W",
                        help="weight of the rows for each molecule's net force, without unit; 0: none "
                        "(default: 3)")  # fmt: skip
    parser.add_argument("--torque-weight", type=decimal, metavar="W",
                        help="weight of the rows for each molecule's torque, 1/angstrom; 0: none "
                        "(default: 0)")  # fmt: skip
    parser.add_argument("--curl-weight", type=decimal, metavar="W",
                        help="own scope: weight of the rows that ask the forces to have no curl, which heats the "
                        "agents, without unit; 0: none (default: 0)")  # fmt: skip
    parser.add_argument("--cross-validate", action="store_true",
                        help="choose ridge and weights by the errors on held folds of the fitted frames")  # fmt: skip
    parser.add_argument("--bounded", action="store_true", help="make the quadratic bounded below")
    parser.add_argument("--doubt", action="store_true",
                        help="let the model tell the force error to expect of each agent; takes several times "
                        "as long")  # fmt: skip
    parser.add_argument("--keep-bad-frames", action="store_true",
                        help="fit also frames whose labels no fit of the others explains")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="SUMS.h5", help="keep the sums, to be extended later")
    parser.add_argument("--parity", type=Path, metavar="FILE.csv",
                        help="write a sample of forces beside their labels, for a plot")  # fmt: skip
    parser.add_argument("--extend", type=Path, metavar="SUMS.h5",
                        help="fit the frames together with those of kept sums, which are not read again")  # fmt: skip
    parser.add_argument("--holdout", type=decimal, default=0.1, metavar="FRACTION", help="of the frames, never fitted")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the choice of held-out frames")
    parser.add_argument("--force", action="store_true", help="replace the model and the sums if they exist")


def _fit_settings(options: argparse.Namespace, known: Kept | None) -> FitSettings:
    """What was asked for; where nothing was, what the kept sums have, or the defaults."""
    from mldsim.loss import Scope
    from mldsim.regression import DesignMatrix, FitSettings

    asked = {
        "scope": options.scope and Scope(options.scope),
        "order": options.order,
        "max_rank": options.max_rank,
        "n_radial": options.radial,
        "cutoff": options.cutoff,
        "n_channels": options.channels,
        "channel_steps": options.channel_steps,
        "saturation": options.saturation,
        "constant_channel": options.constant_channel,
        "hops": options.hops,
        "long_range": options.long_range,
        "ridge": options.ridge,
        "net_force_weight": options.net_force_weight,
        "torque_weight": options.torque_weight,
        "curl_weight": options.curl_weight,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    settings = FitSettings() if known is None else DesignMatrix.from_form(known.model.form).settings
    settings = replace(settings, **(dict(known.choices if known else {}) | asked))
    of_cubic = (options.channels, options.channel_steps, options.saturation, options.channels_of)
    if settings.order < 3 and any(option is not None for option in of_cubic):
        raise InputError(
            "--channels, --channels-of, --channel-steps and --saturation are of the cubic part; "
            "give --order 3 with them."
        )
    if known is not None and options.channel_steps is not None:
        raise InputError("The channels of kept sums are fixed; leave out --channel-steps, or fit all frames anew.")
    return settings


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.accuracy import force_errors
    from mldsim.analysis.forces import ForceSample, write_parity
    from mldsim.crossval import table
    from mldsim.dataset import divide, split
    from mldsim.inference import infer
    from mldsim.loss import load_model, save_model
    from mldsim.sums import load_sums, save_sums

    if not 0.0 <= options.holdout < 1.0:
        raise InputError(f"--holdout must be at least 0 and less than 1; {options.holdout:g} was given.")
    if options.seed < 0:
        raise InputError(f"--seed must not be negative; {options.seed} was given.")
    known = load_sums(options.extend) if options.extend else None
    settings = _fit_settings(options, known)
    check_output(options.output, options.force)
    if options.keep:
        check_output(options.keep, options.force)
        if options.keep.absolute() == options.output.absolute():
            raise InputError("--keep and --output name the same file; give the sums a name of their own.")
    if options.parity:
        check_output(options.parity, options.force)
    began = time.perf_counter()
    systems = frames_of(options, options.data)
    check_cutoff(systems, settings.cutoff)
    train, holdout = split(systems, options.holdout, options.seed)
    numbers = [fitted for fitted, _ in divide(systems, options.holdout, options.seed) if len(fitted)]
    known_frames, known_theories = (known.n_frames, known.theories) if known is not None else (0, ())
    if known is not None:
        tell(f"{options.extend}: sums of {known_frames} frames ({', '.join(known.sources)}).")
    with progress_bar("Fitting") as report:
        found = infer(
            train,
            settings,
            name=options.name or options.output.stem,
            numbers=numbers,
            known=known,
            channels_of=load_model(options.channels_of) if options.channels_of else None,
            cross_validation=options.cross_validate,
            keep_bad_frames=options.keep_bad_frames,
            bounded=options.bounded,
            doubt=options.doubt,
            progress=report,
        )
    model = found.model
    for bad in found.bad_frames:
        tell(f"Left out: {bad}")
    new_theories = sorted(set(found.kept.theories) - set(known_theories))
    if known is not None and new_theories:
        tell(
            f"The new labels are of {', '.join(new_theories)}, those in the sums of {', '.join(known_theories)}: "
            "labels of different theory should not be mixed."
        )
    errors: dict[str, ForceErrors | None] = {"train": None, "holdout": None}
    samples: dict[str, ForceSample] = {}
    for part, frames in (("train", _without(train, numbers, found.bad_frames)), ("holdout", holdout)):
        if frames:
            samples[part] = ForceSample(model.symbols)
            with progress_bar(f"Errors, {part}") as report:
                found_errors = errors[part] = checked(force_errors(model, frames, report, samples[part]))
            print(error_line(part, found_errors), flush=True)
    result: dict[str, Any] = {part: one.to_json() if one else None for part, one in errors.items()}
    result |= {
        "parameters": model.n_parameters,
        "known_frames": known_frames,
        "bad_frames": [bad.to_json() for bad in found.bad_frames],
        "ridge": found.settings.ridge,
        "net_force_weight": found.settings.net_force_weight,
        "torque_weight": found.settings.torque_weight,
        "cross_validation": [trial.to_json() for trial in found.trials] or None,
        "bounded": model.card.get("bounded"),
        "doubt": model.committee is not None,
        "seconds": time.perf_counter() - began,
    }
    card = {
        **model.card,
        "data": list(found.kept.sources),
        "theory": "; ".join(found.kept.theories),
        "holdout_fraction": options.holdout,
        "seed": options.seed,
        "errors": {part: result[part] for part in errors},
        "mldsim": mldsim.__version__,
    }
    save_model(replace(model, card=card), options.output, force=options.force)
    if options.keep:
        save_sums(found.kept, options.keep)
    if options.parity:
        write_parity(samples, options.parity)
    if found.chosen is not None:
        print(table(found.trials, found.chosen))
    print(f"{options.output}: {model.n_parameters} parameters, fitted in {result['seconds']:.1f} s.")
    if result["bounded"]:
        told = result["bounded"]
        print(
            f"bounded below: force error {told['train_force_rmse_meV_A']:.1f} meV/Å on the fitted frames, "
            f"where the free fit has {told['free_train_force_rmse_meV_A']:.1f}."
        )
    if options.json:
        print_json(result)
    return DONE


def _without(
    systems: Sequence[LabelledFrames], numbers: Sequence[NDArray[np.intp]], bad: Sequence[BadFrame]
) -> list[LabelledFrames]:
    """The systems without their bad frames."""
    left = {(frame.kind, frame.frame) for frame in bad}
    kept = []
    for kind, (system, called) in enumerate(zip(systems, numbers, strict=True)):
        good = [index for index, number in enumerate(called) if (kind, int(number)) not in left]
        if good:
            kept.append(system if len(good) == system.n_frames else system.take(good))
    return kept
