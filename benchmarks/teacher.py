"""How many steps of a shipped model take as long as one of its teacher: CP2K C-NNP, and CP2K DFT.

    python benchmarks/teacher.py                    # all models against C-NNP: minutes
    python benchmarks/teacher.py water              # one model anew
    python benchmarks/teacher.py --dft              # DFT against C-NNP: a quarter of an hour
    python benchmarks/make_models.py --cards        # write the ratios into the cards

64 H2O at 300 K, steps of 0.5 fs, one thread on each side. Both are measured in turn, round by round, as processor time,
which does not count what other programs do meanwhile; the load of the machine stands beside the result, because busy
neighbours still spoil caches. A step of a model is one of `Simulation.advance`, in float32, with thermostat and
neighbour lists; a step of the teacher is its force evaluation of the next frame of that run, CP2K staying loaded. DFT
(that of `mldsim label --engine cp2k-dft`, of 32 H2O) extrapolates the wave function from the steps before, as its MD
does; its first frame starts from atoms, as every label does, and is told by itself. Its ratio to a model is that to
C-NNP in the same box, times that of C-NNP to the model. The result is benchmarks/results/teacher.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # read when Numba is loaded

import shipped

from mldsim.benchmark import ModelSide, load_average, peak_memory, processor, timed
from mldsim.labelling import EngineKind, make_engine
from mldsim.labelling.cp2k import Cp2kShell, find_data, find_program, version_of
from mldsim.simulation import Simulation

WARM_UP, STEPS = 200, 500
"""Of a model: steps before the clock starts, and in one round."""

FRAMES = 2
"""Of C-NNP in one round."""


class Teacher:
    """CP2K with one theory, and the processor time of its frames."""

    def __init__(self, shell: Cp2kShell, text: str) -> None:
        self._shell = shell
        shell.load(text)

    def seconds(self, simulation: Simulation) -> float:
        """Processor time of CP2K for the forces of the frame that a simulation has reached."""
        before = self.processor_seconds()
        if self._shell.evaluate(simulation.state.positions) is None:
            raise SystemExit("CP2K's wave function did not converge.")
        return self.processor_seconds() - before

    def processor_seconds(self) -> float:
        """Processor time of all its threads so far."""
        threads = Path(f"/proc/{self._shell._process.pid}/task").glob("*/schedstat")
        return sum(1e-9 * int(thread.read_text().split()[0]) for thread in threads)

    def peak_memory(self) -> int | None:
        """Its largest resident set so far, bytes."""
        return peak_memory(self._shell._process.pid)


def simulate(model: str, molecules: int) -> ModelSide:
    """Water of a model, warm."""
    side = ModelSide(model)
    side.prepare(molecules)
    side.advance(WARM_UP)
    return side


def seconds_per_step(side: ModelSide) -> float:
    """Processor time of one step, mean over a round."""
    return timed(side, STEPS).processor_seconds / STEPS


def engine_input(kind: EngineKind, simulation: Simulation, data: Path) -> str:
    """CP2K's input for the agents of a simulation."""
    state = simulation.state
    symbols = [state.symbols[kind] for kind in state.species]
    text = make_engine(kind).input(symbols, state.positions, state.box, data)
    # The engine's input starts each label from atoms; MD goes on from the wave functions before.
    return text.replace("EXTRAPOLATION USE_GUESS", "EXTRAPOLATION ASPC")


def of_network(teacher: Teacher, simulation: Simulation) -> float:
    """Processor time of C-NNP for one frame, mean over the next ones of a run."""
    spent = []
    for _ in range(FRAMES):
        simulation.advance(1)
        spent.append(teacher.seconds(simulation))
    return statistics.fmean(spent)


def measure_models(names: Sequence[str], rounds: int, program: Path, data: Path) -> dict[str, dict[str, Any]]:
    """Models against C-NNP, in turn."""
    digests = {name: shipped.digest(name) for name in names}
    sides = {name: simulate(name, 64) for name in names}
    steps: dict[str, list[float]] = {name: [] for name in names}
    network: dict[str, list[float]] = {name: [] for name in names}
    before = load_average()
    first = sides[names[0]].simulation
    with tempfile.TemporaryDirectory() as folder, Cp2kShell(program, data, Path(folder), 1) as shell:
        teacher = Teacher(shell, engine_input(EngineKind.NNP, first, data))
        teacher.seconds(first)
        for number in range(rounds):
            for name, side in sides.items():
                steps[name].append(seconds_per_step(side))
                network[name].append(of_network(teacher, side.simulation))
            told = ", ".join(f"{name} {1e3 * spent[-1]:.3f} ms" for name, spent in steps.items())
            print(f"round {number + 1}: C-NNP {1e3 * network[names[-1]][-1]:.0f} ms, {told}", flush=True)
    found = {}
    for name in names:
        ratios = [one / other for one, other in zip(network[name], steps[name], strict=True)]
        found[name] = {
            "digest": digests[name],
            "step_seconds": steps[name],
            "cnnp_seconds": network[name],
            "seconds": statistics.median(steps[name]),
            "steps_per_cnnp": statistics.median(ratios),
            "steps_per_cnnp_range": [min(ratios), max(ratios)],
            "load_average": [before, load_average()],
        }
    return found


def measure_dft(molecules: int, n_steps: int, limit: float, program: Path, data: Path) -> dict[str, Any] | None:
    """DFT against C-NNP, in turn; None when a frame took more than `limit` seconds."""
    simulation = simulate("water-fast", molecules).simulation
    before = load_average()
    frames: list[float] = []
    network: list[float] = []
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        Cp2kShell(program, data, Path(one), 1) as fast,
        Cp2kShell(program, data, Path(other), 1) as slow,
    ):
        teacher = Teacher(fast, engine_input(EngineKind.NNP, simulation, data))
        functional = Teacher(slow, engine_input(EngineKind.DFT, simulation, data))
        of_network(teacher, simulation)
        for _ in range(n_steps + 1):
            found = within(limit, lambda: functional.seconds(simulation), slow.kill)
            if found is None:
                print(f"DFT took more than {limit:g} s for a frame and was stopped.")
                return None
            frames.append(found)
            print(f"DFT {found:.1f} s", flush=True)
            network.append(statistics.fmean(teacher.seconds(simulation) for _ in range(FRAMES)))
            simulation.advance(1)
    return {
        "theory": make_engine(EngineKind.DFT).theory,
        "molecules": molecules,
        "first_frame_seconds": frames[0],
        "step_seconds": frames[1:],
        "cnnp_seconds": network,
        "cnnp_per_dft": statistics.median(frames[1:]) / statistics.median(network),
        "load_average": [before, load_average()],
    }


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


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped models; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dft", action="store_true", help="measure DFT against C-NNP instead of models")
    parser.add_argument("--dft-molecules", type=int, default=32)
    parser.add_argument("--dft-steps", type=int, default=2)
    parser.add_argument("--dft-limit", type=float, default=900.0, help="seconds that one frame of DFT may take")
    options = parser.parse_args()
    program = find_program()
    data = find_data(program)
    measured = shipped.measured_speed() | {
        "clock": "processor time, seconds, one thread each; 0.5 fs, 300 K, 64 H2O",
        "processor": processor(),
        "cores": os.cpu_count(),
        "cp2k": version_of(program),
    }
    if options.dft:
        limits = (options.dft_steps, options.dft_limit)
        measured["dft"] = measure_dft(options.dft_molecules, *limits, program, data) or measured.get("dft")
    else:
        names = options.names or list(shipped.NAMES)
        measured["models"] = measured.get("models", {}) | measure_models(names, options.rounds, program, data)
    shipped.RESULTS.mkdir(exist_ok=True)
    shipped.TEACHER.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    shipped.write_tables()
    for name in measured.get("models", {}):
        print(f"{name}: {shipped.speed_sentence(name)}")


if __name__ == "__main__":
    main()
