"""`mldsim label`: CP2K computes energies and forces of frames."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mldsim.cli.info import describe_frames, frames_json
from mldsim.cli.options import add_reading, decimal, whole
from mldsim.cli.output import DONE, check_output, print_json
from mldsim.progress import progress_bar, tell

if TYPE_CHECKING:
    from mldsim.labelling import Configurations


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("frames", nargs="+", type=Path, metavar="FRAMES",
                        help="H5MD trajectories, XYZ with or without forces, datasets, all that fit reads")  # fmt: skip
    add_reading(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATA.h5", help="the dataset")
    parser.add_argument("--every", type=whole, default=1, metavar="N", help="take every Nth frame of each system")
    parser.add_argument("--frames", type=whole, metavar="N", dest="at_most",
                        help="take at most so many of them in all, evenly spread")  # fmt: skip
    add_cp2k(parser)
    parser.add_argument("--force", action="store_true",
                        help="replace the dataset; drop unfinished labels of another job")  # fmt: skip


def add_cp2k(parser: argparse.ArgumentParser) -> None:
    """Add the options of whoever calls CP2K."""
    from mldsim.labelling.engines import DFT_CUTOFF, DFT_CUTOFF_RANGE, EngineKind

    parser.add_argument("--engine", choices=[kind.value for kind in EngineKind], required=True,
                        help="network for water (surrogate of revPBE0-D3), GFN1-xTB, or revPBE-D3")  # fmt: skip
    parser.add_argument("--dft-cutoff", type=decimal, default=DFT_CUTOFF, metavar="RY",
                        help="of the grid of cp2k-dft, {:g} to {:g} Ry".format(*DFT_CUTOFF_RANGE))  # fmt: skip
    parser.add_argument("--cp2k", metavar="PROGRAM", help="CP2K (default: cp2k.psmp, ... on the PATH)")
    parser.add_argument("--cp2k-data", type=Path, metavar="FOLDER",
                        help="CP2K's data (default: CP2K_DATA_DIR, or beside the program)")  # fmt: skip
    parser.add_argument("--threads", type=whole, metavar="N",
                        help="of CP2K (default: OMP_NUM_THREADS, or all cores; one for cp2k-nnp)")  # fmt: skip


def _configurations(options: argparse.Namespace) -> list[Configurations]:
    """All systems of the paths, each once: ``project/*`` names the files of one CP2K project several times."""
    from mldsim.labelling import fingerprint, read_configurations

    systems: dict[str, Configurations] = {}
    with progress_bar("Reading") as report:
        for done, path in enumerate(options.frames, start=1):
            found = read_configurations(
                path, cell=options.cell, length_unit=options.length_unit, energy_unit=options.energy_unit
            )
            by_content = {fingerprint([system]): system for system in found}
            if by_content.keys() <= systems.keys():
                tell(f"{path}: its frames are here already and are not taken twice.")
            systems |= by_content
            report(done / len(options.frames), path.name)
    return list(systems.values())


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.labelling import EngineKind, label, make_engine, thinned

    engine = make_engine(EngineKind(options.engine), dft_cutoff=options.dft_cutoff)
    check_output(options.output, options.force)
    systems = thinned(_configurations(options), every=options.every, at_most=options.at_most)
    began = time.perf_counter()
    with progress_bar("Labelling") as report:
        labels = label(
            systems,
            engine,
            options.output,
            program=options.cp2k,
            data=options.cp2k_data,
            threads=options.threads,
            force=options.force,
            progress=report,
        )
    for system in labels.systems:
        print(describe_frames(system))
    resumed = f", {labels.resumed} of them before an interruption" if labels.resumed else ""
    frames = sum(system.n_frames for system in labels.systems)
    print(f"{frames} labelled by {labels.code}{resumed}. Written to {options.output}.")
    if options.json:
        print_json(
            {
                "output": str(options.output),
                "engine": engine.kind.value,
                "theory": engine.theory,
                "code": labels.code,
                "frames": frames,
                "resumed": labels.resumed,
                "left_out": labels.left_out,
                "seconds": time.perf_counter() - began,
                "systems": [frames_json(system) for system in labels.systems],
            }
        )
    return DONE
