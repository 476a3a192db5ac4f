"""mldsim beside GPUMD with a potential of water (NEP): on the same GPU, from the same box, by turns.

    python benchmarks/gpu_peer.py --gpumd PROGRAM --nep FILE [FILE ...] [--molecules 32768]
    python benchmarks/gpu_peer.py --table       # write the table again from the results, measure nothing

Needs a GPU, the extra `cuda12` or `cuda13`, and the program `gpumd` (github.com/brucefan1983/GPUMD; `make gpumd` in its
folder src). Potentials are not part of this project: peers.py says where one that was fitted to MB-pol is found, and
tests_pytest/fixtures/models/nep_water.txt of GPUMD is one of its default size. Results go to
benchmarks/results/gpu_peer.json and into the table of docs/performance.md.

All begin with the same positions and velocities, and take steps of 0.5 fs without a thermostat, each with the float32
forces that it has by default. GPUMD tells the speed of a run by itself. It is asked for two runs and the second counts,
so that nothing counts that happens once; mldsim takes as many steps before it is timed.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import gpu
import numpy as np
import shipped
from peer_tables import PAGE, digit

from mldsim.benchmark import TIMESTEP
from mldsim.errors import InputError, MldsimError, WorkFailed
from mldsim.parameters import DeviceKind, ThermostatKind
from mldsim.state import State

RESULT = shipped.RESULTS / "gpu_peer.json"

MODELS = ("water-fast", "water")

STEPS = 200
"""Of a run."""

ROUNDS = 3

LIQUID = (200.0, 500.0)
"""kelvin; a run of GPUMD that ends outside of it moved no liquid water."""

NOT_MEASURED = "not measured yet"


def program(name: str) -> Path:
    """Where `gpumd` is."""
    found = shutil.which(name)
    if found is None:
        raise InputError(
            f"There is no program {name} to run: build gpumd, this script says from where, and name it with --gpumd."
        )
    return Path(found).resolve()


def form(nep: Path) -> str:
    """What the first lines of a potential say of it."""
    try:
        with nep.open(encoding="utf-8", errors="replace") as file:
            lines = [" ".join(line.split()) for line in islice(file, 6)]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"The potential {nep} cannot be read ({why}): name the nep.txt of water with --nep.") from None
    kind, _, *elements = [*" ".join(lines[:1]).split(), "", ""]
    if not kind.startswith("nep") or not {"O", "H"} <= set(elements):
        raise InputError(f"{nep} is no NEP of water: its first line should be like 'nep4 2 O H'.")
    return ", ".join(lines)


def write_input(folder: Path, state: State, nep: Path, steps: int) -> None:
    """What `gpumd` looks for in the folder that it starts in: the box, what to do, the potential."""
    cell = " ".join(f"{value:.10f}" for value in np.diag(state.box).ravel())
    rows = [str(state.n_agents), f'pbc="T T T" Lattice="{cell}" Properties=species:S:1:pos:R:3:vel:R:3']
    columns = np.hstack([np.mod(state.positions, state.box), state.velocities])  # angstrom, angstrom/fs
    for kind, values in zip(state.species, columns.tolist(), strict=True):
        rows.append(" ".join([state.symbols[kind], *(f"{value:.10f}" for value in values)]))
    (folder / "model.xyz").write_text("\n".join(rows) + "\n")
    run = ["ensemble nve", f"dump_thermo {steps}", f"run {steps}"]
    (folder / "run.in").write_text("\n".join(["potential nep.txt", f"time_step {TIMESTEP}", *run, *run]) + "\n")
    shutil.copyfile(nep, folder / "nep.txt")


def speed(told: str) -> float:
    """Of the second run, atom-steps/s, in what `gpumd` printed."""
    found = re.findall(r"Speed of this run = (\S+) atom\*step/second", told)
    if len(found) != 2:
        raise WorkFailed(f"gpumd was asked for two runs and told the speed of {len(found)}; it ended with: {end(told)}")
    return float(found[1])


def version(told: str) -> str:
    """Of GPUMD, as it greets."""
    found = re.search(r"version\s+(\S+)", told)
    return f"GPUMD {found[1]}" if found else "GPUMD"


def end(told: str) -> str:
    """The last line with words in it."""
    return next((line.strip() for line in reversed(told.splitlines()) if re.search(r"\w", line)), "nothing")


def temperatures(thermo: str) -> list[float]:
    """In the rows of thermo.out, kelvin."""
    return [float(row.split()[0]) for row in thermo.splitlines() if row.strip() and not row.startswith("#")]


def run_gpumd(gpumd: Path, folder: Path) -> str:
    """What it printed, once what it moved is sure to be liquid water."""
    thermo = folder / "thermo.out"
    thermo.unlink(missing_ok=True)  # gpumd would add to it
    try:
        done = subprocess.run([gpumd], cwd=folder, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise WorkFailed(f"{gpumd} cannot be started: {(error.strerror or str(error)).lower()}.") from None
    if done.returncode:
        raise WorkFailed(f"{gpumd} ended with status {done.returncode}: {end(done.stdout + done.stderr)}")
    ends = temperatures(thermo.read_text()) if thermo.exists() else []
    if len(ends) != 2 or not all(LIQUID[0] < one < LIQUID[1] for one in ends):
        raise WorkFailed(
            "GPUMD moved no liquid water, so its speed says nothing: temperatures at the ends of its two runs are "
            f"{', '.join(f'{one:.0f} K' for one in ends) or 'missing'}."
        )
    return done.stdout


def measure(gpumd: Path, neps: Mapping[str, Path], molecules: int) -> dict[str, Any]:
    """All sides by turns, potentials by their forms; atom-steps/s of each round."""
    none = ThermostatKind.NONE
    runs = {name: gpu.simulate(name, molecules, DeviceKind.CUDA, thermostat=none) for name in MODELS}
    first = runs[MODELS[0]]
    start = first.state
    found: dict[str, Any] = {
        "device": first.device,
        "driver": first.device_reason,
        "when": time.strftime("%Y-%m-%d"),
        "molecules": molecules,
        "agents": start.n_agents,
        "steps": STEPS,
        "gpumd": [{"form": told, "atom_steps_per_s": []} for told in neps],
        "models": {name: {"digest": shipped.digest(name), "atom_steps_per_s": []} for name in MODELS},
    }
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(number) for number in range(len(neps))]
        for folder, nep in zip(folders, neps.values(), strict=True):
            folder.mkdir()
            write_input(folder, start, nep, STEPS)
        for run in runs.values():
            run.advance(STEPS)
            gpu.on_gpu(run)
        for _ in range(ROUNDS):
            for folder, one in zip(folders, found["gpumd"], strict=True):
                told = run_gpumd(gpumd, folder)
                one["version"] = version(told)
                one["atom_steps_per_s"].append(speed(told))
            for model, run in runs.items():
                seconds = gpu.best(lambda run=run: run.advance(STEPS), 1)
                gpu.on_gpu(run)
                found["models"][model]["atom_steps_per_s"].append(start.n_agents * STEPS / seconds)
    return found


def of_rounds(values: Sequence[float]) -> str:
    """Median, and the extremes."""
    return f"{digit(median(values))} ({digit(min(values))} to {digit(max(values))})" if values else NOT_MEASURED


def table(found: dict[str, Any]) -> list[str]:
    """For docs/performance.md; of a model that was replaced since, nothing was measured."""
    ours = {
        name: one["atom_steps_per_s"]
        for name, one in found.get("models", {}).items()
        if one["digest"] == shipped.digest(name)
    }
    rows = ["| | atom-steps/s | `water-fast` over it: goal 10 | `water` over it |", "|---|---|---|---|"]
    rows += [f"| `{name}` | {of_rounds(ours.get(name, []))} | | |" for name in MODELS]
    for one in found.get("gpumd", [{}]):
        theirs = one.get("atom_steps_per_s", [])
        ratios = ([our / their for our, their in zip(ours.get(name, []), theirs, strict=False)] for name in MODELS)
        cells = " | ".join(of_rounds(values) for values in (theirs, *ratios))
        rows += [f"| {one.get('version', 'GPUMD')}, {one.get('form', 'a NEP of water')} | {cells} |"]
    if "device" not in found:
        return rows
    how = f"{found['agents']:,} agents, {ROUNDS} rounds by turns of {found['steps']} steps, medians (and extremes)"
    return [f"Measured on {found['device']} ({found['when']}): {how}.", "", *rows]


def read() -> dict[str, Any]:
    """What was measured; nothing, before it was."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    return found


def write_table(found: dict[str, Any]) -> None:
    """Into its place."""
    shipped.write_table(PAGE, "gpu peer", table(found), "benchmarks/gpu_peer.py")


def main() -> None:
    """Measure, or write the table again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpumd", default="gpumd", metavar="PROGRAM", help="default: the one on the PATH")
    parser.add_argument("--nep", type=Path, nargs="+", metavar="FILE", help="nep.txt of water")
    parser.add_argument("--molecules", type=int, default=32_768, metavar="N")
    parser.add_argument("--table", action="store_true", help="write the table again, measure nothing")
    options = parser.parse_args()
    try:
        if options.table:
            write_table(read())
            return
        if not options.nep:
            raise InputError("No NEP of water was given: --nep FILE; this script says where one is to be found.")
        gpumd = program(options.gpumd)
        forms = [form(nep) for nep in options.nep]
        found = measure(gpumd, dict(zip(forms, options.nep, strict=True)), options.molecules)
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_table(found)
        print("\n".join(table(found)))
    except MldsimError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
