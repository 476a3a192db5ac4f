"""Frames of a model's own run, labelled by CP2K: python benchmarks/make_learned.py RUN.h5md [--out assets/data].

A loss can have a state of its own that its teacher does not have, and no frame of the teacher's runs tells it so. The
form of `water-best`, fitted to such frames only, had one: pairs of molecules 2.3 angstrom apart with a hydrogen between
them, into which 64 molecules at 300 K fell after 6 ps. Its doubt rose eightyfold there, but nobody looked. Frames of
that run, before and after, say what the teacher makes of it; a loss that is fitted to them too does not go there
(docs/models.md). This is a round of `mldsim learn`, by hand. How the run came about, and what its frames became:

    python benchmarks/make_models.py water-best --without-learned --folder build/first
    mldsim run --model build/first/water-best.json --time 12ps --every 100fs -o build/first/water_best_300K.h5md
    python benchmarks/make_learned.py build/first/water_best_300K.h5md
    python benchmarks/make_models.py water-best --first build/first/water-best.json
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from importlib import resources
from pathlib import Path

import make_assets

from mldsim.dataset import save_frames
from mldsim.labelling.engines import EngineKind, make_engine
from mldsim.labelling.job import label
from mldsim.labelling.sources import read_configurations, thinned
from mldsim.progress import progress_bar

EVERY = 2
"""Of the frames of the run, which are 100 fs apart."""

WEIGHT = 0.4
"""Of their rows in a fit: their forces are as large as those of other frames, and half of the states are no water."""


def main() -> None:
    """Label and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(str(resources.files("mldsim.assets.data")))
    parser.add_argument("run", type=Path, metavar="RUN.h5md")
    parser.add_argument("--out", type=Path, default=data)
    options = parser.parse_args()
    frames = thinned(read_configurations(options.run), every=EVERY)
    engine = make_engine(EngineKind.NNP)
    with tempfile.TemporaryDirectory() as folder, progress_bar("labels") as report:
        labels = label(frames, engine, Path(folder) / "labels.h5", progress=report)
    (system,) = labels.systems
    card = {
        "name": f"{options.run.stem}_learned",
        "method": system.provenance["theory"],
        "theory": make_assets.THEORY,
        "code": labels.code,
        "licence": "BSD-3-Clause, made for mldsim",
        "note": "frames of a run that fell into a false state: for a fit, not for structure",
    }
    save_frames(options.out / "cnnp_learned.h5", [replace(system, provenance=card, weight=WEIGHT)], force=True)
    print(f"{system.n_frames} frames, {labels.left_out} left out")


if __name__ == "__main__":
    main()
