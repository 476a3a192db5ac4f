"""What a fit costs: beside the first version of this project, and for 2,000 frames of 192 agents.

    python benchmarks/fit.py                    # by turns with the first version, on the same frames
    python benchmarks/fit.py --frames 2000 --alone

The first version is the commit FIRST, put into a folder of its own by `git worktree` (so this needs the repository).
Both versions run in processes of their own with the same threads, one at a time, and fit the same quadratic loss (ranks
0-2, K = 10, r_c = 5 angstrom, net-force rows) to frames of 64 H2O of assets/data/cnnp_fit.h5, taken again and again
where more are asked for than there are. Processor time is that of all threads; compilation is done before.
"rows" is the making of the design rows alone, "fit" everything from frames to model. The present version also looks for
bad frames and keeps its sums by fold.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FIRST = "13d0071"
HERE = Path(__file__).resolve()
DATA = HERE.parents[1] / "assets" / "data" / "cnnp_fit.h5"


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}


def measure(n_frames: int) -> None:
    """In a process of its own: one line of results for every line that comes in."""
    # Here, because the version that is imported is that of PYTHONPATH; the first one has all this in one module.
    from mldsim.inference import DesignMatrix, FitSettings, _wall, fit
    from mldsim.radial import water_basis
    from mldsim.readers import load_frames

    settings = FitSettings(max_rank=2, n_radial=10, cutoff=5.0)
    systems = [system for system in load_frames(DATA) if len(system.symbols) == 192]
    of = np.repeat(np.arange(len(systems)), [len(system.positions) for system in systems])
    chosen = np.sort(np.resize(np.random.default_rng(0).permutation(len(of)), n_frames))
    first = np.searchsorted(of, np.arange(len(systems)))
    frames = [
        system.take(chosen[of[chosen] == number] - first[number])
        for number, system in enumerate(systems)
        if (of[chosen] == number).any()
    ]
    symbols = ("O", "H")
    basis = water_basis(symbols, settings.n_radial, settings.cutoff)
    matrix = DesignMatrix(symbols, settings, basis, _wall(symbols, frames))

    def rows() -> None:
        for system in frames:
            species = np.array([symbols.index(symbol) for symbol in system.symbols], np.int32)
            for positions, box in zip(system.positions, system.boxes, strict=True):
                matrix.rows(np.asarray(positions, np.float64), species, box)

    fit([systems[0].take(np.arange(4))], settings)  # compiles
    print("ready", flush=True)
    for _ in sys.stdin:
        found = {"rows": timed(rows), "fit": timed(lambda: fit(frames, settings))}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes; Linux tells kibibytes
        print(json.dumps(found | {"peak_memory": peak}), flush=True)


class Version:
    """One version of mldsim in a process that measures when it is asked."""

    def __init__(self, tree: Path, n_frames: int) -> None:
        environment = os.environ | {"PYTHONPATH": str(tree)}
        command = [sys.executable, str(HERE), "--measure", "--frames", str(n_frames)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The measuring process ended: {self._process.wait()}.")
        return line

    def measure(self) -> dict[str, Any]:
        """One round."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._answer())
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Measure, print a table, and write it down when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="the present version only, one round")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.frames)
        return
    tree = HERE.parents[1]
    if options.alone:
        now = Version(tree, options.frames)
        found = now.measure()
        now.close()
        fit = found["fit"]
        print(
            f"{options.frames} frames: {fit['clock']:.0f} s by the clock, {fit['processor']:.0f} s of processors, "
            f"at most {found['peak_memory'] / 2**20:.0f} MiB"
        )
        result: Any = found
    else:
        with tempfile.TemporaryDirectory() as folder:
            before_tree = Path(folder) / "first"
            git = ["git", "-C", str(tree), "worktree"]
            subprocess.run([*git, "add", "--detach", "--quiet", str(before_tree), FIRST], check=True)
            try:
                before, now = Version(before_tree, options.frames), Version(tree, options.frames)
                rounds = [(before.measure(), now.measure()) for _ in range(options.rounds)]
                before.close()
                now.close()
            finally:
                subprocess.run([*git, "remove", "--force", str(before_tree)], check=True)
        result = [{"first": first, "now": present} for first, present in rounds]
        for part in ("rows", "fit"):
            times = np.array([[one[part]["processor"] for one in pair] for pair in rounds]) / options.frames
            ratio = times[:, 0] / times[:, 1]
            first, present = 1e3 * np.median(times, axis=0)
            print(
                f"{part}: {first:.1f} ms of processors a frame, now {present:.1f}; "
                f"ratio {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
