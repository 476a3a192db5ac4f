"""Frames with stretched bonds, labelled by CP2K: python benchmarks/make_stretched.py [--out assets/data].

A bond of water as long as those that break in a long, hot run is in hardly any frame of a run of a few picoseconds, so
that no fit to such frames knows the force that draws it back. These frames are those of assets/data/cnnp_fit.h5, evenly
taken, in which a few hydrogens were moved outwards along their bonds; CP2K's C-NNP says the forces. Half a minute.
Their forces are large, and their weight in fits is small: docs/models.md shows what either changes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path

import make_assets
import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames, save_frames
from mldsim.labelling.engines import EngineKind, make_engine
from mldsim.labelling.job import label
from mldsim.labelling.sources import Configurations
from mldsim.molecules import water_bonds
from mldsim.progress import progress_bar
from mldsim.readers import load_frames

FRAMES = 18
"""Of each of the seven runs."""

SHARE = 0.06
"""Of the bonds of a frame that are stretched."""

LENGTHS = (1.10, 1.70)
"""angstrom, evenly: from where the runs' own bonds become rare to where a run counts a bond as broken."""

CLOSEST = {"O": 0.95, "H": 1.20}
"""angstrom. A moved hydrogen comes no closer than this to another agent; such a bond is left as it is."""

WEIGHT = 0.2
"""Of their rows in a fit."""


def stretched(system: LabelledFrames, rng: np.random.Generator) -> NDArray[np.float64]:
    """Positions of the frames with some of their bonds stretched, (n_frames, n_agents, 3), angstrom."""
    positions = system.positions.copy()
    least = np.array([CLOSEST[symbol] for symbol in system.symbols])
    for frame, box in zip(positions, system.boxes, strict=True):
        bonds = water_bonds(system.symbols, frame, box)
        for oxygen, hydrogen in bonds[rng.random(len(bonds)) < SHARE]:
            bond = frame[hydrogen] - frame[oxygen]
            bond -= box * np.round(bond / box)
            length = rng.uniform(*LENGTHS)
            place = frame[oxygen] + bond * (length / np.linalg.norm(bond))
            away = frame - place
            away -= box * np.round(away / box)
            others = np.ones(len(frame), bool)
            others[[oxygen, hydrogen]] = False
            if np.all(np.linalg.norm(away, axis=1)[others] > least[others]):
                frame[hydrogen] = place
    return positions


def main() -> None:
    """Stretch, label, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(str(resources.files("mldsim.assets.data")))
    parser.add_argument("--out", type=Path, default=data)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    runs = load_frames(data / "cnnp_fit.h5")
    moved: list[Configurations] = []
    for run in runs:
        which = make_assets.evenly(0, run.n_frames, FRAMES)
        frames = run.take(which)
        positions = stretched(frames, rng)
        moved.append(Configurations(run.symbols, positions, frames.boxes, run.source, None, which))
    with tempfile.TemporaryDirectory() as folder, progress_bar("labels") as report:
        labels = label(moved, make_engine(EngineKind.NNP), Path(folder) / "labels.h5", progress=report)
    written: list[LabelledFrames] = []
    for system, run in zip(labels.systems, runs, strict=True):
        card = {
            "name": f"{run.provenance['name']}_stretched",
            **{key: run.provenance[key] for key in ("method", "theory", "licence")},
            "code": labels.code,
            "note": "frames of the run with some bonds stretched: for a fit, not for structure",
        }
        written.append(replace(system, provenance=card, weight=WEIGHT))
    save_frames(options.out / "cnnp_stretched.h5", written, force=True)
    print(f"{sum(system.n_frames for system in written)} frames, {labels.left_out} left out")


if __name__ == "__main__":
    main()
