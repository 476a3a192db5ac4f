"""Options that several commands have, and what is read because of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mldsim import units
from mldsim.errors import InputError
from mldsim.parameters import FIELDS, DeviceKind, Precision, Setup
from mldsim.progress import progress_bar, tell

if TYPE_CHECKING:
    from mldsim.dataset import LabelledFrames


def decimal(text: str) -> float:
    """A number, for argparse."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def whole(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def duration(text: str) -> float:
    """A time such as 10ps, in fs, for argparse."""
    try:
        value = units.parse_time(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive, finite time")
    return value


def add_field(parser: argparse.ArgumentParser, option: str, name: str, metavar: str) -> None:
    """An option that is one of `parameters.FIELDS`: its range, unit and default stand there."""
    field = FIELDS[name]
    unit = f" {field.unit}" if field.unit else ""
    told = f"{field.label[:1].lower()}{field.label[1:]}, {field.minimum:.10g} to {field.maximum:.10g}{unit}"
    if metavar == "TIME":
        parser.add_argument(option, type=duration, default=f"{field.default:g}{field.unit}", metavar=metavar, help=told)
    else:
        default, kind = (int(field.default), whole) if field.integer else (field.default, decimal)
        parser.add_argument(option, type=kind, default=default, metavar=metavar, help=told)


def add_setup(parser: argparse.ArgumentParser) -> None:
    """Add the options of what a simulation is built from."""
    parser.add_argument("--model", default="water", metavar="NAME|FILE", help="loss model: shipped name or file")
    add_field(parser, "--molecules", "molecules", "N")
    add_field(parser, "--density", "density", "G/CM3")
    add_field(parser, "--seed", "seed", "N")
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="start from the last frame of this extended XYZ, H5MD or dataset, in the place of "
                        "--molecules and --density")  # fmt: skip
    parser.add_argument("--start-frame", type=whole, default=-1, metavar="N",
                        help="another frame of it than the last, from 0")  # fmt: skip
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options of what computes."""
    parser.add_argument("--device", choices=[kind.value for kind in DeviceKind], default="auto", help="what computes")
    parser.add_argument("--precision", choices=[kind.value for kind in Precision], default="float32",
                        help="of the pair arithmetic")  # fmt: skip


def setup_of(options: argparse.Namespace) -> Setup:
    """What those options say."""
    return Setup(
        model=options.model,
        molecules=options.molecules,
        density=options.density,
        seed=options.seed,
        start=options.start,
        start_frame=options.start_frame,
        device=DeviceKind(options.device),
        precision=Precision(options.precision),
    )


def add_data(parser: argparse.ArgumentParser, name: str = "data") -> None:
    """Add the names of labelled data, and how they are read."""
    parser.add_argument(name, nargs="+", type=Path, metavar=name.upper(),
                        help="datasets, CP2K projects, extended XYZ, DeePMD folders, n2p2 input.data")  # fmt: skip
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add how data are read that do not say everything."""
    parser.add_argument("--cell", type=decimal, nargs="+", metavar="A",
                        help="edges of the box, one or three, angstrom, where the files have none")  # fmt: skip
    parser.add_argument("--length-unit", choices=["bohr", "angstrom"], help="of n2p2 files (default: bohr)")
    parser.add_argument("--energy-unit", choices=["hartree", "eV"], help="of n2p2 files (default: hartree)")


def frames_of(options: argparse.Namespace, paths: Sequence[Path]) -> list[LabelledFrames]:
    """All systems of the paths, each once: ``project/*`` names the files of one CP2K project several times."""
    from mldsim.readers import load_frames

    systems: dict[tuple[Path, str], LabelledFrames] = {}
    with progress_bar("Reading") as report:
        for done, path in enumerate(paths, start=1):
            found = load_frames(
                path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit
            )
            by_name = {
                (Path(system.source).resolve(), f"{system.provenance.get('name', '')} {number}"): system
                for number, system in enumerate(found)
            }
            if by_name.keys() <= systems.keys():
                tell(f"{path}: its frames are here already and are not taken twice.")
            systems |= by_name
            report(done / len(paths), path.name)
    return list(systems.values())


def check_cutoff(systems: Sequence[LabelledFrames], cutoff: float) -> None:
    """Refuse before the work, by name, frames whose box is too small."""
    for system in systems:
        edges = system.boxes.min(axis=1)
        frame = int(edges.argmin())
        if edges[frame] < cutoff:
            raise InputError(
                f"{system.source}: frame {frame} has a box edge of {edges[frame]:.4g} Å, "
                f"which is smaller than the cutoff of {cutoff:g} Å."
            )
