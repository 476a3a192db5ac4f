"""What a GPU computes and how fast: against the CPU, and for the goals of docs/performance.md.

    python benchmarks/gpu.py [--quick] [--only agreement speed million]

Needs a GPU, the extra `cuda12` or `cuda13`, and less than ten minutes; --quick takes smaller boxes and fewer steps, and
leaves the page alone. Every form that is done is written at once to benchmarks/results/gpu.json and into the table of
docs/performance.md.

    agreement   forces and losses against the float64 CPU; a hundred steps with each thermostat; drift without one
    speed       steps per second, and where the time of one step goes
    million     1,000,000 molecules: memory, steps per second, frames per second out of the device

Times are wall times between two points where the host waits for the device; each is the best of several rounds, after
compilation. Profiles: `nsys profile python benchmarks/gpu.py --only speed --quick`, `ncu -k regex:steps` in its place;
memory errors: `compute-sanitizer python benchmarks/gpu.py --only agreement --quick`.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mldsim.evaluator import Evaluator
from mldsim.kernels import backend
from mldsim.loss import load_model
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.simulation import Simulation, build_simulation
from mldsim.water import water_box

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- gpu: written by benchmarks/gpu.py -->", "<!-- end of gpu -->"

NOT_MEASURED = "not measured"

SPEED = {
    # name: what the table calls it, model, molecules, steps
    "small": ("64 H2O, `water-fast` (shared, ranks 0-2, K = 8, 4.5 Å)", "water-fast", 64, 20_000),
    "large": ("98,304 agents, `water-fast`", "water-fast", 32_768, 400),
    "large cubic": ("98,304 agents, `water` (cubic)", "water", 32_768, 400),
    "own": ("98,304 agents, `water-paper` (own, rank 0, 6 Å)", "water-paper", 32_768, 400),
}
GOALS = {"small": "20,000 steps/s", "large": "1e8 atom-steps/s", "own": "5e8 atom-steps/s"}


def simulate(model: str, molecules: int, device: DeviceKind, **options: Any) -> Simulation:
    """A box at 300 K, not relaxed: repeats of an equilibrated one."""
    precision = options.pop("precision", Precision.SINGLE)
    loss = load_model(model)
    state = water_box(molecules, 0.997, 300.0, 1, loss.symbols, loss.masses)
    setup = Setup(model=model, molecules=min(molecules, 100_000), device=device, precision=precision)
    return Simulation(state, loss, Parameters(**options), setup)


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the fastest round."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def on_gpu(simulation: Simulation) -> None:
    """Stop where the run has left the GPU: nothing that follows would be about one."""
    if type(simulation._stepper).__name__ != "DeviceStepper" or simulation.device.startswith("CPU"):
        raise SystemExit(f"The run is on {simulation.device}. {simulation.device_reason}")


Save = Callable[[dict[str, Any]], None]
"""Keeps what a part has found so far."""


def agreement(quick: bool, save: Save) -> dict[str, Any]:
    """Differences from the float64 CPU, in units of the largest value; drift in meV per atom and ps."""
    found: dict[str, Any] = {}
    for name in ("water", "water-fast", "water-paper"):
        model = load_model(name)
        state = water_box(64, 0.997, 300.0, 1, model.symbols, model.masses)
        exact = Evaluator(
            model, state.species, state.box, device=DeviceKind.CPU, precision=Precision.DOUBLE
        )(state.positions)  # fmt: skip
        for precision in Precision:
            gpu = Evaluator(model, state.species, state.box, device=DeviceKind.CUDA, precision=precision)(
                state.positions
            )
            found[f"{name}, {precision.value}"] = {
                "forces": float(np.abs(gpu.forces - exact.forces).max() / np.abs(exact.forces).max()),
                "losses": float(np.abs(gpu.losses - exact.losses).max() / np.abs(exact.losses).max()),
            }
    for kind in ThermostatKind:
        for precision in Precision:
            frames = []
            for device in (DeviceKind.CPU, DeviceKind.CUDA):
                run = build_simulation(
                    Setup(model="water-fast", device=device, precision=precision), Parameters(thermostat=kind), str
                )
                if device is DeviceKind.CUDA:
                    on_gpu(run)
                run.advance(100)
                frames.append(run.frame())
            found[f"100 steps, {kind.value}, {precision.value}"] = {
                what: float(np.abs(getattr(frames[1], what) - getattr(frames[0], what)).max())
                for what in ("positions", "velocities")
            }
            save(found)
    run = build_simulation(
        Setup(model="water", device=DeviceKind.CUDA), Parameters(thermostat=ThermostatKind.NONE), str
    )
    run.advance(200)
    rows = []
    for _ in range(40 if quick else 400):
        run.advance(100)
        rows.append(run.thermo())
    on_gpu(run)
    slope = np.polyfit([1e-3 * row.time for row in rows], [row.conserved for row in rows], 1)[0]
    found["drift, water, float32"] = {"meV_per_atom_ps": float(slope) * 1e3 / 192}
    return found


def speed(quick: bool, save: Save) -> dict[str, Any]:
    """Steps per second, form by form."""
    found: dict[str, Any] = {}
    for name, (title, model, molecules, steps) in SPEED.items():
        steps = max(20, steps // (10 if quick else 1))
        run = simulate(model, molecules, DeviceKind.CUDA)
        run.advance(60)
        on_gpu(run)
        seconds = best(lambda run=run, steps=steps: run.advance(steps)) / steps
        on_gpu(run)
        agents = run.topology.n_agents
        short = best(lambda run=run: run.advance(1), 20)
        launcher = run._stepper._launcher
        definition = next(iter(launcher.dispatcher.overloads.values()))
        found[name] = {
            "title": title, "agents": agents, "steps_per_s": 1 / seconds, "atom_steps_per_s": agents / seconds,
            "one_step_alone_s": short, "frame_s": best(lambda run=run: (run.advance(1), run.frame()), 5) - short,
            "registers": definition.regs_per_thread, "shared_bytes": definition.shared_mem_per_block,
            "local_bytes": definition.local_mem_per_thread, "blocks": int(launcher.griddim[0]),
            "passes_s": passes(run),
        }  # fmt: skip
        cpu = simulate(model, min(molecules, 4096), DeviceKind.CPU)
        cpu.advance(20)
        few = 200 if molecules < 1000 else 5
        found[name]["cpu_ns_per_agent"] = 1e9 * best(lambda: cpu.advance(few)) / few / cpu.topology.n_agents  # noqa: B023
        print(f"{title}: {1 / seconds:.0f} steps/s, {agents / seconds:.3g} atom-steps/s", flush=True)
        save(found)
    return found


def passes(run: Simulation) -> dict[str, float]:
    """Seconds of the pair passes by themselves, launched one by one: what is left of a step is the rest of it."""
    from numba import cuda

    forces = run._forces
    assert isinstance(forces, Evaluator)
    forces(run.state.positions)

    def gradients() -> None:
        forces._kernels.gradients(
            *forces._pairs, *forces._constants, forces._linear, forces._quadratic, forces._radius,
            forces._wall_energy, forces._losses, forces._gradient, forces._closest, forces._fields,
        )  # fmt: skip
        cuda.synchronize()

    def descend() -> None:
        forces._descend(reciprocal=True)
        cuda.synchronize()

    found = {"gradients": best(gradients, 10), "forces": best(descend, 10)}
    run._stepper.forget()  # the evaluator's arrays are those of the steps
    return found


def million(quick: bool, save: Save) -> dict[str, Any]:  # noqa: ARG001 (one number after the other)
    """1,000,000 molecules, or 100,000."""
    from numba import cuda

    molecules = 100_000 if quick else 1_000_000
    free, total = cuda.current_context().get_memory_info()
    run = simulate("water-fast", molecules, DeviceKind.CUDA)
    run.advance(2)
    on_gpu(run)
    steps = 10
    seconds = best(lambda: run.advance(steps)) / steps
    frame = best(lambda: (run.advance(1), run.frame())) - seconds
    shown = 10

    def watched() -> None:
        """As in the window: a frame after each step, which arrives while the next one is taken."""
        late = run.send_frame()
        for _ in range(shown):
            run.advance(1)
            late.wait()
            late = run.send_frame()
        late.wait()

    watching = best(watched) / shown
    left, _ = cuda.current_context().get_memory_info()
    on_gpu(run)
    print(f"{molecules} molecules: {1 / seconds:.3g} steps/s, {(free - left) / 1e9:.1f} GB", flush=True)
    return {
        "molecules": molecules, "steps_per_s": 1 / seconds, "atom_steps_per_s": 3 * molecules / seconds,
        "memory_GB": (free - left) / 1e9, "memory_of_device_GB": total / 1e9, "frames_per_s": 1 / frame,
        "watched_frames_per_s": 1 / watching,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The table of docs/performance.md; what was not measured says so."""
    rows = ["| | goal on one H200 | measured |", "|---|---|---|"]
    for name, (title, *_) in SPEED.items():
        one = found.get("speed", {}).get(name)
        told = NOT_MEASURED
        if one:
            told = f"{one['steps_per_s']:,.0f} steps/s, {one['atom_steps_per_s']:.2g} atom-steps/s"
        rows.append(f"| {title} | {GOALS.get(name, '')} | {told} |")
    one = found.get("million")
    told = NOT_MEASURED
    if one:
        told = (
            f"{one['molecules']:,} molecules: {one['steps_per_s']:.3g} steps/s, {one['memory_GB']:.1f} GB, "
            f"{one['frames_per_s']:.0f} frames/s"
        )
        if "watched_frames_per_s" in one:
            told += f"; a frame after each step: {one['watched_frames_per_s']:.0f} frames/s"
    rows.append(f"| 1,000,000 molecules, `water-fast` | runs, memory stated, 30 frames/s | {told} |")
    agreed = found.get("agreement")
    worst = NOT_MEASURED
    if agreed:
        single = [row for name, row in agreed.items() if name.endswith("float32") and "forces" in row]
        worst = f"{max(row['forces'] for row in single):.1g}"
    rows.append(f"| forces in float32, largest difference from the float64 CPU over the largest force | | {worst} |")
    where = f"Measured on {found['device']} ({found['when']})." if "device" in found else "No GPU was at hand."
    return "\n".join([where, "", *rows])


def write_page(found: dict[str, Any]) -> None:
    """The table in its place."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table(found)}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measure what was asked for."""
    parts: dict[str, Callable[[bool, Save], dict[str, Any]]] = {
        "agreement": agreement,
        "speed": speed,
        "million": million,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    options = parser.parse_args()
    gpu = backend.probe()[0]
    if not gpu.usable or gpu.name == "CUDA simulator":
        raise SystemExit(f"There is no GPU to measure. {gpu.reason}")
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if found.get("device") != gpu.name:
        found = {}
    found |= {"device": gpu.name, "driver": gpu.reason, "host": platform.processor(), "when": time.strftime("%Y-%m-%d")}

    def save(name: str, part: dict[str, Any]) -> None:
        found[name] = part
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if not options.quick:
            write_page(found)

    for name in options.only:
        print(name, flush=True)
        save(name, parts[name](options.quick, partial(save, name)))


if __name__ == "__main__":
    main()
