"""What is too long for CI: structure over 200 ps, drift over 100 ps, stability over 1 ns, own scope. Hours.

    python benchmarks/long_runs.py --list
    python benchmarks/long_runs.py structure/water nve
    python benchmarks/long_runs.py --deepmd examples/water/data forces

A NAME is a run or a folder of runs: `own/water-own` is all of own/water-own/..., `own/water-own/1` is one run. Each run
is one command, which is written beside its result into benchmarks/results/long_runs.json as soon as it ends, with the
digest of the model that it was a run of. A run that stands there is not repeated unless its model has changed since, so
the script can be stopped and started again; a run of 1 ns keeps checkpoints in build/long_runs and is gone on with from
the last one. `goals.py` makes the table in docs/validation.md of it.

The validation runs of seed 1 leave their page as docs/reports/MODEL.html; docs/validation.md lists them.

`--deepmd` names a folder with data_0 to data_3 of DeePMD-kit's examples/water, which is not shipped. `--reference`
takes another CP2K trajectory than the shipped one.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shipped

from mldsim.checkpoint import load_checkpoint

RESULTS = shipped.LONG_RUNS
SHARED = shipped.SHARED
SEEDS = ("1", "2", "3")
CHECKPOINTS = shipped.ROOT / "build" / "long_runs"
"""Where runs of 1 ns keep how far they are; one stands for a run that was stopped."""

NOT_KEPT = {"validate": ("output", "forces", "limits")}
"""What is dropped of the JSON of a command: where the report was, and what is the same for all runs of a model."""

LARGEST_PAGE = 1_500_000
"""Bytes of a report; a larger one is not kept."""


@dataclass(frozen=True)
class Run:
    """One command.

    Attributes
    ----------
    command : tuple of str
        `mldsim ...`, or `benchmarks/SCRIPT.py ...` of this project; FILE stands for a file that is thrown away.
    model : str or None
        The shipped model that it is a run of.
    reports : bool
        Its page is the validation report of that model.
    """

    command: tuple[str, ...]
    model: str | None = None
    reports: bool = False


def runs(deepmd: Path | None = None, reference: Path | None = None) -> dict[str, Run]:
    """Name of each run -> what it is, in the order in which they are made."""
    listed: dict[str, Run] = {}

    def mldsim(name: str, model: str, *words: str) -> None:
        listed[name] = Run(("mldsim", *words), model, reports=words[0] == "validate" and name.endswith("/1"))

    for model in SHARED:
        mldsim(f"forces/cnnp/{model}", model, "evaluate", model, "assets/data/cnnp_holdout.h5")
    if deepmd is not None:
        train = [str(deepmd / f"data_{number}") for number in range(3)]
        for model in ("water", "water-best"):
            script = ("benchmarks/make_models.py", model, "--train", *train, "--holdout", str(deepmd / "data_3"))
            listed[f"forces/deepmd/{model}"] = Run((*script, "--folder", "FILE", "--json", "FILE.json"), model)
    listed["leverage"] = Run(("benchmarks/leverage.py", "--json", "FILE.json"))
    beside = ("--reference", str(reference), "assets/data/cnnp_holdout.h5") if reference else ()
    for model in SHARED:
        for seed in SEEDS:
            settings = ("--time", "200ps", "--equilibration", "5ps", "--seed", seed)
            mldsim(f"structure/{model}/{seed}", model, "validate", model, *settings, *beside, "-o", "FILE.html")
    for model in SHARED:
        for precision in ("float64", "float32"):
            mldsim(
                f"nve/{model}/{precision}", model, "run", "--model", model, "--thermostat", "none",
                "--precision", precision, "--time", "100ps", "--every", "100fs", "-o", "FILE.h5md",
            )  # fmt: skip
    for model in SHARED:
        for molecules in ("64", "512") if model == "water" else ("64",):
            for state in ("260K", "400K", "500K", "0.90gcm3", "1.10gcm3"):
                setting = ("--temperature", state[:-1]) if state.endswith("K") else ("--density", state[:-4])
                words = ("run", "--model", model, "--molecules", molecules, *setting)
                name = f"stability/{model}/{molecules}/{state}"
                mldsim(name, model, *words, "--time", "100ps", "--every", "1ps", "-o", "FILE.h5md")
    for molecules in ("64", "512"):
        long = ("--molecules", molecules, "--time", "1ns", "--every", "1ps")
        mldsim(f"stability/water/{molecules}/1ns", "water", "run", *long, "-o", "FILE.h5md")
    for model in shipped.OWN:
        for seed in SEEDS:
            settings = ("--time", "100ps", "--equilibration", "2ps", "--seed", seed)
            mldsim(f"own/{model}/{seed}", model, "validate", model, *settings, *beside, "-o", "FILE.html")
    long_own = ("--model", "water-own", "--time", "1ns", "--every", "1ps")
    mldsim("own/water-own/1ns", "water-own", "run", *long_own, "-o", "FILE.h5md")
    return listed


def stands(result: Mapping[str, Any] | None, run: Run) -> bool:
    """Whether a result is there and is one of the model as it is shipped."""
    return result is not None and (run.model is None or result.get("digest") == shipped.digest(run.model))


def chosen(listed: Mapping[str, Run], names: Sequence[str]) -> list[str]:
    """The runs that are named, or lie in a folder that is named; all where nothing is.

    Raises
    ------
    SystemExit
        If nothing is called so.
    """
    for name in names:
        if not any(one == name or one.startswith(f"{name}/") for one in listed):
            sys.exit(f"No run is called {name}; --list names them.")
    return [one for one in listed if not names or any(one == name or one.startswith(f"{name}/") for name in names)]


def gone_on_with(command: Sequence[str], checkpoint: Path) -> tuple[Sequence[str], dict[str, Any]]:
    """A run that keeps checkpoints, from the last one if there is one, and what its result says of that."""
    kept = ("--checkpoint", str(checkpoint), "--checkpoint-every", "10ps")
    if not checkpoint.exists():
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        return (*command, *kept), {}
    went = load_checkpoint(checkpoint).state.time / 1000.0
    return ("mldsim", "run", "--resume", str(checkpoint), *command[-2:], *kept), {"went_on_from_ps": went}


def carry_out(command: Sequence[str], page: Path | None = None, checkpoint: Path | None = None) -> dict[str, Any]:
    """Run a command and return its JSON object; one that fails gives its exit status. Its page is moved to `page`."""
    program = [sys.executable, "-m"] if command[0] == "mldsim" else [sys.executable]
    command, told_besides = gone_on_with(command, checkpoint) if checkpoint else (command, {})
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace("FILE", str(Path(folder) / "output")) for word in command]
        words += ["--json"] if command[0] == "mldsim" else []
        done = subprocess.run([*program, *words], stdout=subprocess.PIPE, text=True, check=False, cwd=shipped.ROOT)
        written = Path(folder) / "output.json"
        told = written.read_text() if written.exists() else next(reversed(done.stdout.splitlines()), "")
        made = Path(folder) / "output.html"
        if page is not None and made.exists():
            if made.stat().st_size > LARGEST_PAGE:
                sys.exit(
                    f"{page.name} would have {made.stat().st_size / 1e6:.1f} MB, more than {LARGEST_PAGE / 1e6:g}."
                )
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, page)
    result: dict[str, Any] = json.loads(told) if told.startswith("{") else {}
    if page is not None and "forces" in result:
        result["force_rmse_meV_A"] = result["forces"]["all"]["all"]["rmse"]
    dropped = NOT_KEPT.get(command[1], ())
    return (
        {"exit": done.returncode} | {key: value for key, value in result.items() if key not in dropped} | told_besides
    )


def shown(command: Sequence[str], folders: Sequence[Path | None]) -> str:
    """The command as a reader types it: without the folders that are of this machine."""
    text = " ".join(command if command[0] == "mldsim" else ("python", *command)).replace("FILE", "output")
    for folder in folders:
        text = text.replace(f"{folder}/", "") if folder is not None else text
    return text


def read(path: Path) -> dict[str, Any]:
    """Results in a file, which need not exist."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def keep(path: Path, found: Mapping[str, Any]) -> None:
    """Add results to a file; the tables of the docs are those of the committed one."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(read(path) | dict(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    if path == RESULTS:
        shipped.write_tables()


def main() -> None:
    """Run what is named and does not stand yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="runs or folders of runs; default: all")
    parser.add_argument("--deepmd", type=Path, metavar="FOLDER", help="with data_0 to data_3")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="CP2K trajectory, in place of the shipped one")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--merge", type=Path, nargs="+", metavar="FILE", help="take over results of other files and stop"
    )
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    options = parser.parse_args()
    deepmd, reference = (path and path.resolve() for path in (options.deepmd, options.reference))
    if options.merge:
        for path in options.merge:
            keep(options.results, read(path))
        return
    listed = runs(deepmd, reference)
    for name in chosen(listed, options.names):
        run = listed[name]
        command = shown(run.command, [deepmd, reference and reference.parent])
        page = shipped.page_of(run.model) if run.model and run.reports else None
        there = stands(read(options.results).get(name), run) and (page is None or page.exists())
        print(f"{name}: {'done' if there else command}", flush=True)
        if options.list or there:
            continue
        before = shipped.digest(run.model) if run.model else None  # the file may be replaced while the run lasts
        checkpoint = CHECKPOINTS / f"{name.replace('/', '_')}_{before}.h5" if name.endswith("/1ns") else None
        result = {"command": command, "digest": before, **carry_out(run.command, page, checkpoint)}
        keep(options.results, {name: result})
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
