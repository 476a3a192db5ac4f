"""How many steps of a shipped model take as long as one of its teacher: CP2K C-NNP, and CP2K DFT.

    python benchmarks/teacher.py                    # all models, C-NNP and DFT: a quarter of an hour
    python benchmarks/teacher.py --no-dft water     # one model anew; DFT as it was measured before
    python benchmarks/make_models.py --cards        # write the ratios into the cards

64 H2O at 300 K, steps of 0.5 fs, one core: this process and CP2K are bound to the same one. Both sides are measured
in turn, round by round, as processor time, which does not count what other programs do meanwhile; the load of the
machine stands beside the result, because busy neighbours still spoil caches. A step of a model is one of
`Simulation.advance`, in float32, with thermostat and neighbour lists; a step of the teacher is its force evaluation of
the next frame of that run, CP2K staying loaded. DFT (that of `mldsim label --engine cp2k-dft`) extrapolates the wave
function from the steps before, as its MD does; its first frame starts from atoms, as every label does, and is told by
itself. The result is benchmarks/results/teacher.json.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # read when Numba is loaded

import shipped

from mldsim.labelling import EngineKind, make_engine
from mldsim.labelling.cp2k import Cp2kShell, find_data, find_program, version_of
from mldsim.parameters import DeviceKind, Parameters, Setup
from mldsim.simulation import Simulation, build_simulation

WARM_UP, STEPS = 200, 1000
"""Of a model: steps before the clock starts, and in one round."""

FRAMES = 3
"""Of C-NNP in one round."""


class Teacher:
    """CP2K with one theory, and the processor time of its frames."""

    def __init__(self, shell: Cp2kShell, text: str) -> None:
        self._shell = shell
        shell.load(text)

    def seconds(self, simulation: Simulation) -> float:
        """Processor time of CP2K for the forces of the frame that a simulation has reached."""
        before = self._processor_time()
        if self._shell.evaluate(simulation.state.positions) is None:
            raise SystemExit("CP2K's wave function did not converge.")
        return self._processor_time() - before

    def _processor_time(self) -> float:
        fields = Path(f"/proc/{self._shell._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def simulate(model: str) -> Simulation:
    """64 H2O of a model, warm."""
    setup = Setup(model=model, molecules=64, device=DeviceKind.CPU)
    simulation = build_simulation(setup, Parameters(), lambda _: None)
    simulation.advance(WARM_UP)
    return simulation


def seconds_per_step(simulation: Simulation) -> float:
    """Processor time of one step, mean over a round."""
    began = time.process_time()
    simulation.advance(STEPS)
    return (time.process_time() - began) / STEPS


def within(limit: float, what: Callable[[], float], stop: Callable[[], None]) -> float | None:
    """A result, or None when it was not there after `limit` seconds and was stopped."""
    timer = threading.Timer(limit, stop)
    timer.start()
    try:
        return what()
    except Exception:
        if timer.finished.is_set():  # the limit was reached: CP2K did not fail by itself
            return None
        raise
    finally:
        timer.cancel()


def processor() -> str:
    """What the processor calls itself."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "unknown"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped models; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dft-steps", type=int, default=3)
    parser.add_argument("--dft-limit", type=float, default=900.0, help="seconds for one frame of DFT")
    parser.add_argument("--no-dft", action="store_true", help="keep what was measured of DFT")
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # CP2K inherits it
    program = find_program()
    data = find_data(program)
    load = [os.getloadavg()[0]]
    digests = {name: shipped.digest(name) for name in options.names or shipped.NAMES}
    simulations = {name: simulate(name) for name in digests}
    first = next(iter(simulations.values()))
    state = first.state
    symbols = [state.symbols[kind] for kind in state.species]
    texts = {
        kind: make_engine(kind).input(symbols, state.positions, state.box, data)
        for kind in (EngineKind.NNP, EngineKind.DFT)
    }
    # The engine's input starts each label from atoms; MD goes on from the wave functions before.
    texts[EngineKind.DFT] = texts[EngineKind.DFT].replace("EXTRAPOLATION USE_GUESS", "EXTRAPOLATION ASPC")

    steps: dict[str, list[float]] = {name: [] for name in simulations}
    network: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Cp2kShell(program, data, Path(folder), 1) as shell:
        teacher = Teacher(shell, texts[EngineKind.NNP])
        teacher.seconds(first)
        for number in range(options.rounds):
            for name, simulation in simulations.items():
                steps[name].append(seconds_per_step(simulation))
                spent = []
                for _ in range(FRAMES):
                    simulation.advance(1)
                    spent.append(teacher.seconds(simulation))
                network.append(statistics.fmean(spent))
            print(
                f"round {number + 1}: C-NNP {network[-1]:.3f} s", {n: f"{1e3 * s[-1]:.3f} ms" for n, s in steps.items()}
            )
    load.append(os.getloadavg()[0])

    measured = shipped.measured_speed()
    functional = measured.get("dft")
    if not options.no_dft:
        with tempfile.TemporaryDirectory() as folder, Cp2kShell(program, data, Path(folder), 1) as shell:
            teacher = Teacher(shell, texts[EngineKind.DFT])
            frames: list[float] = []
            while len(frames) <= options.dft_steps:
                found = within(options.dft_limit, lambda: teacher.seconds(first), shell.kill)
                if found is None:
                    print(f"DFT took more than {options.dft_limit:g} s for a frame and was stopped.")
                    break
                frames.append(found)
                first.advance(1)
                print(f"DFT {frames[-1]:.1f} s", flush=True)
        if len(frames) > 1:
            functional = {
                "theory": make_engine(EngineKind.DFT).theory,
                "first_frame_seconds": frames[0],
                "step_seconds": frames[1:],
                "seconds": statistics.median(frames[1:]),
            }
        load.append(os.getloadavg()[0])

    models = measured.get("models", {})
    for place, (name, spent) in enumerate(steps.items()):
        of_network = [network[place + turn * len(steps)] / one for turn, one in enumerate(spent)]
        seconds = statistics.median(spent)
        ratio = {"C-NNP": statistics.median(of_network)}
        if functional:
            ratio["DFT"] = functional["seconds"] / seconds
        models[name] = {
            "digest": digests[name],
            "seconds": seconds,
            "seconds_all": spent,
            "ratio": ratio,
            "ratio_cnnp_range": [min(of_network), max(of_network)],
        }
        print(f"{name}: {1e3 * seconds:.3f} ms a step; " + ", ".join(f"{n} {r:,.0f}" for n, r in ratio.items()))
    result = {
        "command": "python benchmarks/teacher.py",
        "system": f"64 H2O, {state.box[0]:.4g} angstrom, 300 K, 0.5 fs",
        "clock": "processor time on one core",
        "processor": processor(),
        "load_average_1min": [round(value, 2) for value in load],
        "cores": os.cpu_count(),
        "cp2k": version_of(program),
        "cnnp": {"seconds": statistics.median(network), "seconds_all": network},
        "dft": functional,
        "models": models,
    }
    shipped.RESULTS.mkdir(exist_ok=True)
    shipped.TEACHER.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
