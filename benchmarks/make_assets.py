"""Make the data files of assets/data from CP2K runs: python benchmarks/make_assets.py DATA [--out assets/data].

DATA is a folder with the runs as HDF5 (positions, forces, velocities, energy, step, atomic_numbers, box at the root).
Of every run the first four fifths give frames to fit, the last fifth gives held-out frames; both are chosen evenly in
time. assets/README.md says what each file is for.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

import mldsim
from mldsim.dataset import LabelledFrames, save_frames
from mldsim.readers import hdf5
from mldsim.validation import STRETCH

THEORY = "CP2K C-NNP (Schran, Brezina, Marsalek 2020), surrogate of revPBE0-D3"
REFERENCE = "cnnp_water64_300K"
HOLDOUT_FROM = 0.8
"""The last fifth of each run is held out, contiguous."""

GAP = 50.0
"""fs left out between the two parts: about five O-H vibrations, so no held-out frame has a near twin in the fit."""

RUNS: dict[str, tuple[str, int, int]] = {
    REFERENCE: ("300 K", 160, 60),
    "cnnp_fit_water64_600K": ("600 K", 60, 20),
    "cnnp_fit_water64_400K_dense": ("400 K", 60, 20),
    "cnnp_fit_water64_350K_light": ("350 K", 60, 20),
    "cnnp_fit_water32_300K": ("300 K", 80, 30),
    "cnnp_fit_water32_450K": ("450 K", 80, 30),
    "cnnp_fit_water32_600K": ("600 K", 80, 30),
}
"""Of each run: its temperature, how many frames to fit, how many to hold out."""

VELOCITY_STRETCHES = 8
"""Of a picosecond, spread over the run: neighbouring picoseconds resemble each other, and errors need five or more."""

VELOCITY_DIGITS = 5
"""Decimals of the velocities in angstrom/fs: half the size, and a rounding of 0.1 % of the slowest species' speed."""

RDF_BIN = 0.05
RDF_BLOCKS = 5


def evenly(first: int, last: int, count: int) -> NDArray[np.int64]:
    """`count` indices from first to last - 1, evenly spread, both ends included."""
    return np.unique(np.linspace(first, last - 1, min(count, last - first)).round().astype(np.int64))


def with_card(frames: LabelledFrames, name: str, temperature: str, theory: str, note: str) -> LabelledFrames:
    """The same frames with the provenance that is shipped; velocities are left out."""
    kept = {key: frames.provenance[key] for key in ("method", "ensemble", "code") if key in frames.provenance}
    assert frames.steps is not None
    timestep = float(frames.provenance["timestep_fs"])
    interval = np.unique(np.diff(frames.steps)) * timestep
    card = {
        "name": name,
        "source": f"{name}.h5",
        **kept,
        "theory": theory,
        "temperature": temperature,
        "timestep": f"{timestep:g} fs",
        "frame_interval": " or ".join(f"{value:g}" for value in interval) + " fs",
        "licence": "BSD-3-Clause, made for mldsim",
        "note": note,
    }
    return replace(frames, velocities=None, provenance=card)


def fit_and_holdout(data: Path, out: Path) -> None:
    """cnnp_fit.h5 and cnnp_holdout.h5."""
    fit: list[LabelledFrames] = []
    holdout: list[LabelledFrames] = []
    for name, (temperature, n_fit, n_holdout) in RUNS.items():
        (run,) = hdf5.read(data / f"{name}.h5")
        border = int(HOLDOUT_FROM * run.n_frames)
        assert run.steps is not None
        times = run.steps * float(run.provenance["timestep_fs"])
        fit_end = int(np.searchsorted(times, times[border] - GAP))
        for systems, indices, note in (
            (fit, evenly(0, fit_end, n_fit), "from the first four fifths of the run"),
            (holdout, evenly(border, run.n_frames, n_holdout), "from the last fifth of the run: never fit to these"),
        ):
            systems.append(with_card(run.take(indices), name, temperature, THEORY, note))
    save_frames(out / "cnnp_fit.h5", fit, force=True)
    save_frames(out / "cnnp_holdout.h5", holdout, force=True)


def dft_sample(data: Path, out: Path) -> None:
    """dft_revpbe_d3_water32_450K.h5: the whole DFT run, velocities included."""
    name = "dft_revpbe_d3_water32_450K"
    (run,) = hdf5.read(data / f"{name}.h5")
    note = "few and correlated frames: for readers and comparison, not for a fit"
    card = with_card(run, name, "450 K", "revPBE-D3", note)
    save_frames(out / f"{name}.h5", [replace(card, velocities=run.velocities)], force=True)


def start(data: Path, out: Path) -> None:
    """water64_start.h5: eight snapshots two picoseconds apart, velocities included."""
    (run,) = hdf5.read(data / f"{REFERENCE}.h5")
    chosen = run.take(evenly(0, run.n_frames, 8))
    card = with_card(chosen, "water64_300K", "300 K", THEORY, "equilibrated snapshots to start from")
    save_frames(out / "water64_start.h5", [replace(card, velocities=chosen.velocities)], force=True)


def histograms(frames: LabelledFrames, edges: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Counts of minimum-image distances per frame, (n_frames, n_bins), by pair of species."""
    symbols = np.array(frames.symbols)
    first, second = np.triu_indices(frames.n_agents, 1)
    kind = (symbols[first] == "H").astype(int) + (symbols[second] == "H").astype(int)
    n_bins = len(edges) - 1
    width = edges[1] - edges[0]
    counts = np.zeros((frames.n_frames, 3, n_bins))
    for index, (positions, box) in enumerate(zip(frames.positions, frames.boxes, strict=True)):
        separation = positions[first] - positions[second]
        separation -= box * np.round(separation / box)
        bins = (np.sqrt(np.einsum("ij,ij->i", separation, separation)) / width).astype(int)
        inside = bins < n_bins
        flat = np.bincount(kind[inside] * n_bins + bins[inside], minlength=3 * n_bins)
        counts[index] = flat.reshape(3, n_bins)
    return {pair: counts[:, number] for number, pair in enumerate(("O-O", "O-H", "H-H"))}


def reference(data: Path, out: Path, n_frames: int) -> None:
    """water64_300K_reference.h5 (positions, velocities) and water64_300K_rdf.h5 (its g(r) from every frame)."""
    (run,) = hdf5.read(data / f"{REFERENCE}.h5")
    assert run.steps is not None
    timestep = float(run.provenance["timestep_fs"])
    box = run.boxes[0]
    card = {
        "creator": f"mldsim {mldsim.__version__}",
        "method": run.provenance["method"],
        "code": run.provenance["code"],
        "theory": THEORY,
        "ensemble": run.provenance["ensemble"],
        "temperature": "300 K",
        "licence": "BSD-3-Clause, made for mldsim",
    }
    chosen = evenly(0, run.n_frames, n_frames)
    with h5py.File(out / "water64_300K_reference.h5", "w") as file:
        file.attrs.update(card)
        file.attrs["note"] = (
            f"positions, unwrapped, of every {chosen[1] - chosen[0]}th frame of the run; velocities of every frame of "
            f"{VELOCITY_STRETCHES} stretches of it, each long enough for one stretch of a density of states"
        )
        file.attrs["frame_interval_fs"] = float(np.mean(np.diff(run.steps[chosen])) * timestep)
        numbers = [{"H": 1, "O": 8}[symbol] for symbol in run.symbols]
        file["atomic_numbers"] = np.array(numbers, dtype=np.int8)
        file["box"] = box
        file["time"] = run.steps[chosen] * timestep
        # Frames are packed together for the shuffle filter: neighbours share sign and exponent.
        file.create_dataset(
            "positions",
            data=run.positions[chosen].astype(np.float32),
            chunks=(64, run.n_agents, 3),
            compression="gzip",
            compression_opts=9,
            shuffle=True,
        )
        assert run.velocities is not None
        frames = round(STRETCH / (float(run.steps[1] - run.steps[0]) * timestep))
        starts = evenly(0, run.n_frames - frames + 1, VELOCITY_STRETCHES)
        fast = (starts[:, None] + np.arange(frames)).ravel()
        file["velocity_time"] = run.steps[fast] * timestep
        file.create_dataset(
            "velocities",
            data=run.velocities[fast].astype(np.float32),
            chunks=(64, run.n_agents, 3),
            scaleoffset=VELOCITY_DIGITS,
            compression="gzip",
            compression_opts=9,
        )
        units = {"positions": "angstrom", "box": "angstrom", "velocities": "angstrom/fs"}
        for name, unit in (units | {"time": "fs", "velocity_time": "fs"}).items():
            file[name].attrs["unit"] = unit

    edges = np.arange(0.0, box.min() / 2 + 1e-9, RDF_BIN)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    n_O = run.symbols.count("O")
    n_H = run.symbols.count("H")
    n_pairs = {"O-O": n_O * (n_O - 1) / 2, "O-H": n_O * n_H, "H-H": n_H * (n_H - 1) / 2}
    counts = histograms(run, edges)
    with h5py.File(out / "water64_300K_rdf.h5", "w") as file:
        file.attrs.update(card)
        file.attrs["n_frames"] = run.n_frames
        file.attrs["length_ps"] = float(run.steps[-1] - run.steps[0]) * timestep / 1000
        file.attrs["normalisation"] = (
            "g = counts / (frames * pairs * shell volume / box volume), pairs = N (N - 1) / 2 for like species and "
            "N_O N_H for unlike ones, bonds within molecules included"
        )
        file.attrs["error"] = f"standard error of the mean of {RDF_BLOCKS} contiguous blocks"
        file["r"] = 0.5 * (edges[1:] + edges[:-1])
        file["r"].attrs["unit"] = "angstrom"
        for pair, table in counts.items():
            g = table / (n_pairs[pair] * shells / np.prod(box))
            blocks = np.array([block.mean(axis=0) for block in np.array_split(g, RDF_BLOCKS)])
            file[f"{pair}/g"] = g.mean(axis=0)
            file[f"{pair}/error"] = blocks.std(axis=0, ddof=1) / np.sqrt(RDF_BLOCKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the CP2K runs as HDF5")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "assets" / "data")
    parser.add_argument("--reference-frames", type=int, default=751)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    fit_and_holdout(arguments.data, arguments.out)
    dft_sample(arguments.data, arguments.out)
    start(arguments.data, arguments.out)
    reference(arguments.data, arguments.out, arguments.reference_frames)
    for file in sorted(arguments.out.glob("*.h5")):
        print(f"{file.name:40s} {file.stat().st_size / 1e6:7.2f} MB")


if __name__ == "__main__":
    main()
