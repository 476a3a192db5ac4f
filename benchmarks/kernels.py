"""What losses and forces cost on one thread, form by form, beside the arithmetic that they need.

    NUMBA_NUM_THREADS=1 python benchmarks/kernels.py [--molecules 64] [--json RESULT.json]

Forms have random coefficients: their cost depends on shapes only. Times are processor time of this thread, the least of
several rounds, at the positions of a shipped frame (repeated for larger boxes), so that no list is built. Multiply-adds
are those of docs/performance.md; the column after them is what part of them a core could do in that time at its nominal
clock with registers full of float32, two vector instructions a cycle: what is left for geometry, the cubic part, hops,
waves and waiting. The last column is the memory that is held for an agent, in bytes, list included.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from llvmlite.binding import get_host_cpu_features

from mldsim.evaluator import Evaluator
from mldsim.kernels.cubic import features
from mldsim.kernels.mutual import columns
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Wall, Waves
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis
from mldsim.readers import load_frames
from mldsim.regression import LONGEST_WAVE_VECTOR, WAVE_WIDTHS

FORMS = (
    # scope, highest rank, K, cutoff, channels of the cubic part, parts that are not local
    (Scope.OWN, 0, 8, 4.5, 0, ()),
    (Scope.SHARED, 0, 8, 4.5, 0, ()),
    (Scope.SHARED, 1, 8, 4.5, 0, ()),
    (Scope.SHARED, 2, 8, 4.5, 0, ()),
    (Scope.SHARED, 2, 16, 4.5, 0, ()),
    (Scope.SHARED, 2, 8, 5.0, 0, ()),
    (Scope.SHARED, 2, 8, 5.0, 4, ()),
    (Scope.SHARED, 2, 8, 5.0, 4, ("hops",)),
    (Scope.SHARED, 2, 8, 5.0, 4, ("waves",)),
    (Scope.SHARED, 2, 8, 5.0, 4, ("hops", "waves")),
    (Scope.SHARED, 2, 10, 6.0, 6, ()),
    (Scope.SHARED, 3, 8, 4.5, 0, ()),
)


OF_PAIR = (10, 25, 43, 77)
"""Multiply-adds per neighbour and radial function, both passes, for ranks up to 0, 1, 2 and 3 (docs/performance.md)."""


def random_model(
    scope: Scope, max_rank: int, n_radial: int, cutoff: float, n_channels: int, parts: tuple[str, ...]
) -> LossModel:
    """A loss of this form."""
    rng = np.random.default_rng(0)
    width = 2 * n_radial
    quadratic = rng.normal(size=(2, max_rank + 1, width, width))
    cubic = None
    if n_channels:
        cubic = Cubic(
            rng.normal(size=(2, max_rank + 1, n_channels, width)),
            rng.normal(size=(2, n_channels)),
            np.full(2, 4.0),
            rng.normal(size=(2, len(features(n_channels, max_rank)))),
        )
    hops, waves = (rng.normal(size=(2, len(columns(2, *n)))) for n in ((n_radial, n_channels), (len(WAVE_WIDTHS), 2)))
    return LossModel(
        "random", ("O", "H"), np.array([15.999, 1.008]), scope, 3 if n_channels else 2, max_rank,
        water_basis(("O", "H"), n_radial, cutoff), Wall(30.0, np.array([[2.25, 0.80], [0.80, 1.20]])),
        rng.normal(size=(2, width)), quadratic + quadratic.transpose(0, 1, 3, 2),
        FittedRanges({}, np.zeros((2, width, 2))), cubic=cubic, hops=Hops(hops) if "hops" in parts else None,
        waves=Waves(np.array(WAVE_WIDTHS), LONGEST_WAVE_VECTOR, waves) if "waves" in parts else None,
    )  # fmt: skip


def liquid(n_molecules: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, species and box: the first frame of 64 H2O that is shipped, repeated in all directions."""
    with resources.as_file(resources.files("mldsim.assets.data") / "cnnp_fit.h5") as path:
        system = next(system for system in load_frames(path) if len(system.symbols) == 192)
    repeats = round((n_molecules / 64) ** (1 / 3))
    cells = np.array(np.unravel_index(np.arange(repeats**3), (repeats,) * 3)).T
    positions = (system.positions[0] + (cells * system.boxes[0])[:, None]).reshape(-1, 3)
    species = np.tile(np.array([s != "O" for s in system.symbols], np.int32), repeats**3)
    return positions, species, system.boxes[0] * repeats


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call, the least of nine rounds."""
    call()
    began = time.thread_time()
    call()
    repeats = max(1, int(0.05 / (time.thread_time() - began)))
    found = []
    for _ in range(9):
        began = time.thread_time()
        for _ in range(repeats):
            call()
        found.append((time.thread_time() - began) / repeats)
    return min(found)


def clock() -> float:
    """Nominal clock of the processor, cycles per second, or nan."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")) * 1e6
    except (OSError, StopIteration, ValueError):
        return float("nan")


def held(thing: object, n_agents: int) -> int:
    """Bytes of the arrays, in tuples or alone, that have a row for each agent."""
    if isinstance(thing, tuple):
        return sum(held(part, n_agents) for part in thing)
    return thing.nbytes if isinstance(thing, np.ndarray) and thing.shape[:1] == (n_agents,) else 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--precision", choices=[p.value for p in Precision], default=Precision.SINGLE.value)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", type=int, metavar="N", help="forms by their number in the table, from 0")
    options = parser.parse_args()
    positions, species, box = liquid(options.molecules)
    print(f"{len(species)} agents, {options.precision}")
    print(f"{'form':56} {'ns/agent':>9} {'atom-steps/s':>13} {'multiply-adds':>14} {'of the limit':>13} {'bytes':>7}")
    found = {}
    for number in options.only or range(len(FORMS)):
        scope, max_rank, n_radial, cutoff, n_channels, parts = FORMS[number]
        model = random_model(*FORMS[number])
        evaluate = Evaluator(model, species, box, device=DeviceKind.CPU, precision=Precision(options.precision))
        each = seconds(lambda evaluate=evaluate: evaluate(positions)) / len(species)
        harmonics = (max_rank + 1) ** 2
        neighbors = 4 / 3 * np.pi * cutoff**3 * len(species) / box.prod()
        work = neighbors * n_radial * OF_PAIR[max_rank] + (2 * n_radial) ** 2 * harmonics
        part = work / (each * clock() * (32 if get_host_cpu_features().get("avx512f") else 16))
        memory = sum(held(value, len(species)) for name, value in vars(evaluate).items() if name != "_pairs")
        name = f"{scope.value}, ranks 0-{max_rank}, K = {n_radial}, {cutoff:g} Å" + (
            f", cubic in {n_channels}" if n_channels else ""
        )
        name += "".join(f", {part}" for part in parts)
        memory /= len(species)
        print(f"{name:56} {1e9 * each:9.0f} {1 / each:13.3g} {work:14.0f} {100 * part:11.0f} % {memory:7.0f}")
        found[name] = {"ns_per_agent": 1e9 * each, "multiply_adds": work, "bytes": memory}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
