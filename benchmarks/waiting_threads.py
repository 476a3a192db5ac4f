"""What it costs when OpenMP's threads spin long while they wait for each other, on an idle and on a busy machine.

    python benchmarks/waiting_threads.py [--busy 1]

Two processes take the same steps of 64 water molecules in turn, one with libgomp's own spin count (300,000), one with
what `mldsim.kernels` sets, while `--busy` further processes keep cores occupied. It prints the median times of a step
and their ratio.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys

WORKER = """
import sys, time
from mldsim.parameters import DeviceKind, Parameters, Setup
from mldsim.simulation import build_simulation
simulation = build_simulation(Setup(device=DeviceKind.CPU), Parameters(), lambda text: None)
simulation.advance(20)
for line in sys.stdin:
    began = time.perf_counter()
    simulation.advance(100)
    print((time.perf_counter() - began) / 100 * 1e3, flush=True)
"""


def keep_busy() -> None:
    """Occupy one core until killed."""
    while True:
        pass


def main() -> None:
    """Alternate the two, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="processes that keep the cores occupied")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={**plain, **changes},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, changes in (("long", {"GOMP_SPINCOUNT": "300000"}), ("short", {}))
    }
    load = [multiprocessing.Process(target=keep_busy, daemon=True) for _ in range(options.busy)]
    times: dict[str, list[float]] = {name: [] for name in workers}
    try:
        for process in load:
            process.start()
        for _ in range(options.rounds):
            for name, worker in workers.items():
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
                times[name].append(float(worker.stdout.readline()))
    finally:
        for process in load:
            process.kill()
        for worker in workers.values():
            worker.kill()
    ratios = [a / p for a, p in zip(times["long"], times["short"], strict=True)]
    for name, found in times.items():
        print(f"{name} spin: {statistics.median(found):.2f} ms per step ({min(found):.2f} to {max(found):.2f})")
    print(f"long / short: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
