"""Compare the structure of a run with the CP2K reference: g(r) of OO, OH and HH, numbers and a picture.

    mldsim run -o run.h5md --time 20ps --every 20fs
    python benchmarks/water_structure.py run.h5md --skip 2ps --picture g.png

The mean absolute difference is taken in bins of 0.05 angstrom from beyond the covalent peaks (2.0 for OO, 1.25 for OH,
1.9 for HH) to 6.2 angstrom, half the reference's box.
"""

import argparse
import json
from importlib import resources
from pathlib import Path

import h5py
import numpy as np

from mldsim.analysis.rdf import PairDistribution, RadialDistribution
from mldsim.trajectory.h5md import read_h5md
from mldsim.units import parse_time

BEYOND_BONDS = {"O-O": 2.0, "O-H": 1.25, "H-H": 1.9}


def reference() -> dict[str, PairDistribution]:
    """The distributions of the CP2K trajectory, as shipped."""
    with (
        resources.as_file(resources.files("mldsim.assets.data") / "water64_300K_rdf.h5") as path,
        h5py.File(path) as file,
    ):
        return {
            pair: PairDistribution(file["r"][:], file[pair]["g"][:], file[pair]["error"][:]) for pair in BEYOND_BONDS
        }


def of_run(path: Path, skip: float) -> dict[str, PairDistribution]:
    """The distributions of a trajectory after `skip` fs."""
    with read_h5md(path) as trajectory:
        frames = [frame for frame in trajectory if frame.time >= skip]
        analysis = RadialDistribution(trajectory.topology.symbols, trajectory.topology.species, 6.2)
        for frame in frames:
            analysis.add(frame)
    temperatures = [frame.thermo.temperature for frame in frames]
    print(f"{len(frames)} frames, {np.mean(temperatures):.1f} ± {np.std(temperatures):.1f} K")
    return analysis.result()


def compare(found: dict[str, PairDistribution], expected: dict[str, PairDistribution]) -> dict[str, dict[str, float]]:
    """Numbers of each pair."""
    numbers = {}
    for pair, start in BEYOND_BONDS.items():
        one, other = found[pair], expected[pair]
        n = min(len(one.g), len(other.g))
        window = (one.r[:n] > start) & (one.r[:n] < 6.2)
        first = window & (one.r[:n] < 3.3)
        numbers[pair] = {
            "mean_abs_difference": float(np.abs(one.g[:n] - other.g[:n])[window].mean()),
            "error_run": float(one.error[:n][window].mean()),
            "error_reference": float(other.error[:n][window].mean()),
            "peak": float(one.g[:n][first].max()),
            "peak_at": float(one.r[:n][first][one.g[:n][first].argmax()]),
            "peak_reference": float(other.g[:n][first].max()),
            "peak_reference_at": float(other.r[:n][first][other.g[:n][first].argmax()]),
        }
    return numbers


def draw(runs: dict[str, dict[str, PairDistribution]], expected: dict[str, PairDistribution], path: Path) -> None:
    """All three distributions, run and reference, in one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(7, 8), sharex=True, layout="constrained")
    for axis, (pair, start) in zip(axes, BEYOND_BONDS.items(), strict=True):
        other = expected[pair]
        axis.fill_between(other.r, other.g - 2 * other.error, other.g + 2 * other.error, color="0.8", lw=0)
        axis.plot(other.r, other.g, color="black", lw=1.2, label="CP2K C-NNP (18 ps; grey: ±2 standard errors)")
        for number, (name, found) in enumerate(runs.items()):
            axis.plot(found[pair].r, found[pair].g, color=f"C{number + 1}", lw=1.4, label=name)
        shown = other.g[other.r > start]
        axis.set_ylim(0, 1.35 * shown.max())
        axis.set_ylabel(f"g$_{{{pair.replace('-', '')}}}$(r)")
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("r (Å)")
    axes[-1].set_xlim(0.8, 6.2)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Read the runs, print numbers, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--names", nargs="+", help="of the runs in the picture")
    parser.add_argument("--skip", type=parse_time, default=2000.0, help="left out at the start, such as 2ps")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    expected = reference()
    runs = {}
    for name, path in zip(options.names or [run.stem for run in options.runs], options.runs, strict=True):
        runs[name] = of_run(path, options.skip)
        for pair, numbers in compare(runs[name], expected).items():
            print(name, pair, json.dumps({key: round(value, 4) for key, value in numbers.items()}))
    if options.picture:
        draw(runs, expected, options.picture)


if __name__ == "__main__":
    main()
