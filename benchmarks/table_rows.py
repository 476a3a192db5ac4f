"""How many rows the radial tables need, by turns: python benchmarks/table_rows.py [--rows 256 512 1024] [MODEL ...].

Fewer rows leave more of a core's caches to everything else, and interpolate less exactly. The same losses and forces
with each number of rows in float32, round after round, on one thread (NUMBA_NUM_THREADS=1), at positions that move a
little from call to call as in a run: processor time as a ratio to the last number, median over the rounds, and the root
mean square error of the forces against float64 with 4096 rows.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mldsim import evaluator
from mldsim.evaluator import Evaluator
from mldsim.loss import load_model
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup
from mldsim.simulation import build_simulation

ROUNDS = 25
AGENTS = 12_000
"""Of all calls of a round together."""

STEP = 1e-3
"""angstrom; about what an agent moves in half a femtosecond."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["water-fast", "water"])
    parser.add_argument("--rows", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--molecules", type=int, default=512)
    options = parser.parse_args()
    start = build_simulation(Setup(molecules=options.molecules, device=DeviceKind.CPU), Parameters(), lambda _: None)
    positions, species, box = start.state.positions.copy(), np.array(start.topology.species), start.state.box.copy()
    rng = np.random.default_rng(0)
    calls = max(1, AGENTS // len(species))
    print(f"{len(species)} agents\n{'model':12} {'rows':>5} {'ns/agent':>9} {'ratio':>6} {'force error, meV/Å':>19}")
    for name in options.models:
        model = load_model(name)

        def ready(precision: Precision, rows: int, model=model) -> Evaluator:
            evaluator.TABLE_ROWS = {precision: rows}
            return Evaluator(model, species, box, device=DeviceKind.CPU, precision=precision)

        exact = ready(Precision.DOUBLE, 4096)(positions).forces.copy()
        ways = {rows: ready(Precision.SINGLE, rows) for rows in options.rows}
        errors = {rows: np.sqrt(np.mean(np.square(way(positions).forces - exact))) for rows, way in ways.items()}
        seconds = np.empty((ROUNDS, len(ways)))
        for number in range(ROUNDS):
            for which, way in enumerate(ways.values()):
                began = time.process_time()
                for _ in range(calls):
                    way(positions + rng.normal(0.0, STEP, positions.shape))
                seconds[number, which] = (time.process_time() - began) / calls / len(species)
        ratios = np.median(seconds / seconds[:, -1:], axis=0)
        for rows, each, ratio in zip(ways, np.median(seconds, axis=0), ratios, strict=True):
            print(f"{name:12} {rows:5} {1e9 * each:9.0f} {ratio:6.3f} {1e3 * errors[rows]:19.3f}", flush=True)


if __name__ == "__main__":
    main()
