"""What a time step costs besides the two force kernels, piece by piece, and which skin of the neighbour list is best.

    NUMBA_NUM_THREADS=1 python benchmarks/step_budget.py [--molecules 64 512 4096] [--thermostat csvr]
    NUMBA_NUM_THREADS=1 python benchmarks/step_budget.py --skins 0.3 0.45 0.6 0.8 1.0
    python benchmarks/step_budget.py --start 100000

Times are processor time of the thread that steps, which does not count what other programs do meanwhile (but counts
the caches that they spoil, and 3 microseconds a step for the clocks); with one thread it is all that a step costs. With
`--start`, wall times and those of all processors, of what is done before the first step.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np

from mldsim import evaluator as evaluating
from mldsim.evaluator import Evaluator
from mldsim.integrators import Verlet
from mldsim.kernels import motion
from mldsim.kernels.neighbors import build_list, order_by_cell
from mldsim.parameters import DeviceKind, Parameters, Setup, ThermostatKind
from mldsim.simulation import Simulation, build_simulation


class Clock:
    """Stands for a function and adds up the processor time spent in it."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, *arguments: object, **options: object) -> object:
        began = time.thread_time()
        result = self.function(*arguments, **options)
        self.seconds += time.thread_time() - began
        self.calls += 1
        return result


def simulate(model: str, molecules: int, kind: ThermostatKind) -> tuple[Simulation, Evaluator]:
    """A simulation on the CPU and its evaluator, warm."""
    made: list[Evaluator] = []

    def make_forces(model, state):  # type: ignore[no-untyped-def]
        made.append(Evaluator(model, state.species, state.box, device=DeviceKind.CPU))
        return made[-1]

    setup = Setup(model=model, molecules=molecules, device=DeviceKind.CPU)
    simulation = build_simulation(setup, Parameters(thermostat=kind), lambda _: None, make_forces=make_forces)
    simulation.advance(20)
    return simulation, made[-1]


def per_call(function: Callable[[], object], seconds: float = 0.05) -> float:
    """Processor time of one call, microseconds: the median of seven series."""
    function()
    began = time.thread_time()
    function()
    calls = max(1, int(seconds / max(time.thread_time() - began, 1e-6)))
    series = []
    for _ in range(7):
        began = time.thread_time()
        for _ in range(calls):
            function()
        series.append((time.thread_time() - began) / calls * 1e6)
    return statistics.median(series)


def steps(simulation: Simulation, evaluator: Evaluator, count: int) -> tuple[float, float, float, float]:
    """Microseconds of a step in all, in the force kernels and in new lists, and steps per list."""
    kernels, renew = evaluator._kernels, evaluator._renew_list
    gradients, forces, lists = Clock(kernels.gradients), Clock(kernels.forces), Clock(renew)
    evaluator._kernels = kernels._replace(gradients=gradients, forces=forces)
    evaluator._renew_list = lists  # type: ignore[method-assign]
    began = time.thread_time()
    simulation.advance(count)
    total = time.thread_time() - began
    evaluator._kernels, evaluator._renew_list = kernels, renew  # type: ignore[method-assign]
    each = [seconds / count * 1e6 for seconds in (total, gradients.seconds + forces.seconds, lists.seconds)]
    return each[0], each[1], each[2], count / max(1, lists.calls)


def pieces(simulation: Simulation, evaluator: Evaluator) -> dict[str, float]:
    """Microseconds of each piece of a step, called over and over: in warm caches, so a lower bound."""
    state, thermostat = simulation.state, simulation._thermostat
    verlet = Verlet(state.masses)
    positions, velocities, kept = state.positions, state.velocities, state.velocities.copy()
    losses, forces = np.empty(state.n_agents), np.zeros((state.n_agents, 3))
    found = (evaluator._losses, evaluator._forces, evaluator._closest)
    result = {
        "thermostat, outer (twice a step)": per_call(lambda: thermostat.outer(state, 0.25)),
        "thermostat, inner": per_call(lambda: thermostat.inner(state, 0.5)),
        "kick (twice)": per_call(lambda: verlet.kick(velocities, forces, 0.0)),
        "drift (twice)": per_call(lambda: verlet.drift(positions, velocities, 0.0)),
        "place: float32, displacements": per_call(lambda: evaluator._place(positions)),
        "collect: float64, closest pair": per_call(lambda: motion.collect(evaluator._order, *found, losses, forces)),
        "guards": per_call(simulation._trouble),
        "one neighbour list": per_call(lambda: evaluator._renew_list(positions)),
    }
    velocities[:] = kept
    return result


def budget(model: str, sizes: list[int], kind: ThermostatKind) -> None:
    """Print what each piece costs, one column per size."""
    rows: dict[str, list[float]] = {}
    for molecules in sizes:
        simulation, evaluator = simulate(model, molecules, kind)
        series = [steps(simulation, evaluator, max(20, 30_000 // molecules)) for _ in range(5)]
        total, kernels, lists, per_list = np.median(series, axis=0).tolist()
        rest = total - kernels - lists
        names = ("step", "  force kernels", "  new neighbour lists", "  everything else", "steps per neighbour list")
        columns = dict(zip(names, (total, kernels, lists, rest, per_list), strict=True)) | pieces(simulation, evaluator)
        for name, value in columns.items():
            rows.setdefault(name, []).append(value)
    print(f"{'microseconds, ' + kind.value:36s}" + "".join(f"{3 * n:>10d}" for n in sizes) + "  agents")
    for name, values in rows.items():
        print(f"{name:36s}" + "".join(f"{value:10.1f}" for value in values))


def skins(model: str, sizes: list[int], widths: list[float]) -> None:
    """Print microseconds of a step for each skin, in rounds by turns."""
    before = evaluating.SKIN
    print(f"{'skin, angstrom':36s}" + "".join(f"{width:>10g}" for width in widths))
    for molecules in sizes:
        pairs = []
        for width in widths:
            evaluating.SKIN = width
            pairs.append(simulate(model, molecules, ThermostatKind.CSVR))
        evaluating.SKIN = before
        count = max(20, 8_000 // molecules)
        rounds = [[steps(simulation, evaluator, count)[0] for simulation, evaluator in pairs] for _ in range(15)]
        print(f"{f'step, {3 * molecules} agents':36s}" + "".join(f"{t:10.0f}" for t in np.median(rounds, axis=0)))


def start(model: str, molecules: int) -> None:
    """Print how long each part of a start takes, and a neighbour list of that size."""
    told: list[tuple[str, float, float]] = []

    def tell(text: str) -> None:
        told.append((text, time.perf_counter(), time.process_time()))

    setup = Setup(model=model, molecules=molecules, device=DeviceKind.CPU)
    simulation = build_simulation(setup, Parameters(), tell)
    positions, box = simulation.state.positions, simulation.state.box
    reach = simulation.model.cutoff + evaluating.SKIN
    tell(f"Neighbour list of {len(positions)} agents")
    order = order_by_cell(positions, box, reach)
    _, _, entries = build_list(positions[order], box, reach, 64)
    tell("The same again, in the same memory")
    build_list(positions[order], box, reach, 64, room=entries)
    tell("One step")
    simulation.advance(1)
    tell("")
    print(f"{'':60s}{'wall':>10s}{'processors':>12s}  s")
    for (text, wall, busy), (_, wall_after, busy_after) in itertools.pairwise(told):
        print(f"{text:60s}{wall_after - wall:10.2f}{busy_after - busy:12.2f}")


def main() -> None:
    """Read the options and print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="water")
    parser.add_argument("--molecules", type=int, nargs="+", default=[64, 512, 4096])
    parser.add_argument("--thermostat", type=ThermostatKind, default=Parameters().thermostat, choices=ThermostatKind)
    parser.add_argument("--skins", type=float, nargs="+", metavar="ANGSTROM")
    parser.add_argument("--start", type=int, metavar="MOLECULES")
    options = parser.parse_args()
    if options.start:
        start(options.model, options.start)
    elif options.skins:
        skins(options.model, options.molecules, options.skins)
    else:
        budget(options.model, options.molecules, options.thermostat)


if __name__ == "__main__":
    main()
