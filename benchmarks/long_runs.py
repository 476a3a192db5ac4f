"""Runs that are too long for CI: structure over 200 ps, drift over 100 ps, stability, own scope. Hours, not minutes.

    python benchmarks/long_runs.py --list
    python benchmarks/long_runs.py --reference cnnp_water64_300K.h5 structure
    python benchmarks/long_runs.py stability nve

Names are runs, or the beginnings of their names. Each run is one `mldsim` command, which is written beside its result
into benchmarks/results/long_runs.json as soon as it ends; a run that stands there is not repeated, so the script can be
stopped and started again. `--reference` names the CP2K trajectory with velocities (the shipped one has none) for the
density of states; results without it are kept apart under their own names.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "long_runs.json"

SHARED = ("water", "water-fast", "water-best")


def runs(reference: str | None) -> dict[str, list[str]]:
    """Name of each run -> arguments of `mldsim`; OUTPUT stands for a file that is thrown away."""
    listed: dict[str, list[str]] = {}
    for model in SHARED:
        for seed in ("1", "2", "3"):
            listed[f"structure{'-velocities' if reference else ''}-{model}-{seed}"] = [
                *("validate", model, "--time", "200ps", "--equilibration", "5ps", "--seed", seed),
                *(("--reference", reference) if reference else ()),
            ]
        for precision in ("float64", "float32"):
            listed[f"nve-{model}-{precision}"] = [
                *("run", "--model", model, "--thermostat", "none", "--precision", precision, "--time", "100ps"),
                *("--every", "100fs"),
            ]
    listed["stability-64-300K-1ns"] = ["run", "--time", "1ns", "--every", "1ps"]
    for molecules in ("64", "512"):
        for state in ("260K", "400K", "500K", "0.90gcm3", "1.10gcm3"):
            setting = ("--temperature", state[:-1]) if state.endswith("K") else ("--density", state[:-4])
            listed[f"stability-{molecules}-{state}"] = [
                *("run", "--molecules", molecules, *setting, "--time", "100ps", "--every", "1ps"),
            ]
    for seed in ("1", "2", "3"):
        listed[f"own-water-paper-{seed}"] = [
            *("validate", "water-paper", "--time", "100ps", "--equilibration", "2ps", "--seed", seed),
        ]
        listed[f"own-water-own-{seed}"] = [
            *("validate", "water-own", "--time", "100ps", "--equilibration", "2ps", "--seed", seed),
        ]
    listed["own-water-own-1ns"] = ["run", "--model", "water-own", "--time", "1ns", "--every", "1ps"]
    return listed


def carry_out(arguments: list[str]) -> dict[str, object]:
    """Run `mldsim` and return the JSON object of its last line; a command that fails gives its sentence."""
    with tempfile.TemporaryDirectory() as folder:
        suffix = ".h5md" if arguments[0] == "run" else ".html"
        command = [sys.executable, "-m", "mldsim", *arguments, "-o", str(Path(folder) / f"output{suffix}"), "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    result: dict[str, object] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {"exit": done.returncode, **result}


def main() -> None:
    """Run what is named and not yet there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="runs, or beginnings of names; default: all")
    parser.add_argument("--reference", metavar="FILE", help="CP2K trajectory with velocities")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    listed = runs(options.reference)
    chosen = [name for name in listed if not options.names or name.startswith(tuple(options.names))]
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for name in chosen:
        print(f"{name}: {'done' if name in results else ' '.join(['mldsim', *listed[name]])}", flush=True)
        if options.list or name in results:
            continue
        shown = [Path(word).name if word == options.reference else word for word in listed[name]]
        result = carry_out(listed[name])
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results[name] = {"command": " ".join(["mldsim", *shown]), **result}
        options.results.parent.mkdir(exist_ok=True)
        unfinished = options.results.with_suffix(".new")
        unfinished.write_text(json.dumps(results, indent=1) + "\n")
        unfinished.replace(options.results)


if __name__ == "__main__":
    main()
