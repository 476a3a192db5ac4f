"""What each part that is not local buys: force error, structure and cost of one form with and without hops and waves.

    python benchmarks/nonlocal_forms.py                        # all four: fits and runs of 100 ps, an hour
    python benchmarks/nonlocal_forms.py hops --time 20ps
    python benchmarks/nonlocal_forms.py --steps                # only what a step costs

Each form is fitted to assets/data/cnnp_fit.h5 and cnnp_stretched.h5, bounded, as `water` is, judged on
assets/data/cnnp_holdout.h5, and run by `mldsim validate` beside the shipped reference; fitted models are kept in
build/nonlocal until somebody deletes them. What a step costs is measured for all of them by turns: processor time of
one thread, 64 and 512 H2O, median of five rounds. The results are added to benchmarks/results/nonlocal.json, and
docs/models.md gets its table of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shipped
import teacher

RESULTS = shipped.RESULTS / "nonlocal.json"
PAGE = shipped.ROOT / "docs" / "models.md"
MODELS = shipped.ROOT / "build" / "nonlocal"

FORM = ("--order", "3", "--channels", "4", "--radial", "8", "--cutoff", "5", "--bounded", "--holdout", "0")
PARTS: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "hops": ("--hops",),
    "waves": ("--long-range",),
    "both": ("--hops", "--long-range"),
}
PAIRS = ("O-O", "O-H", "H-H")
SIZES = (64, 512)
"""H2O, in which steps are timed."""


def mldsim(*words: str) -> dict[str, Any]:
    """The JSON object of a command; of one that fails, its exit status."""
    command = [sys.executable, "-m", "mldsim", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=shipped.ROOT)
    last = next(reversed(done.stdout.splitlines()), "")
    return {"exit": done.returncode} | (json.loads(last) if last.startswith("{") else {})


def words(form: str) -> tuple[str, ...]:
    """The command that fits a form, but for where the model goes."""
    return ("fit", "assets/data/cnnp_fit.h5", "assets/data/cnnp_stretched.h5", *FORM, *PARTS[form])


def fitted(form: str) -> str:
    """The model of one form."""
    path = MODELS / f"{form}.json"
    MODELS.mkdir(parents=True, exist_ok=True)
    if not path.exists() and mldsim(*words(form), "-o", str(path))["exit"]:
        sys.exit(f"{form}: the fit failed.")
    return str(path)


def measure(form: str, time: str, seed: str) -> dict[str, Any]:
    """Judge one form, and let it run."""
    model = fitted(form)
    errors = mldsim("evaluate", model, "assets/data/cnnp_holdout.h5")
    with tempfile.TemporaryDirectory() as folder:
        page = str(Path(folder) / "report.html")
        run = mldsim("validate", model, "--time", time, "--equilibration", "5ps", "--seed", seed, "-o", page)
    kept = {key: run.get(key) for key in ("exit", "run", "quantities", "stopped")}
    return {
        "command": f"mldsim {' '.join(words(form))}",
        "force_rmse_meV_A": errors["force_rmse_meV_A"],
        **kept,
    }


def steps(forms: Sequence[str], molecules: int) -> dict[str, float]:
    """Processor time of one step, s, by turns."""
    sides = {form: teacher.simulate(fitted(form), molecules) for form in forms}
    rounds = [{form: teacher.seconds_per_step(side) for form, side in sides.items()} for _ in range(5)]
    return {form: statistics.median(one[form] for one in rounds) for form in forms}


def row(form: str, found: Mapping[str, Any]) -> str:
    """What the docs say of one form."""
    step = ", ".join(f"{1e3 * seconds:.2f}" for seconds in found.get("step_s", {}).values())
    force = f"| {form} | {found['force_rmse_meV_A']:.1f} | {step} |"
    if found["exit"]:
        return f"{force} {found['stopped'] or 'failed'} | | | |"
    of = found["quantities"]
    pairs = [of[f"g_{pair}_mean_difference"] for pair in PAIRS]
    ratios = ", ".join(f"{pair['difference'] / pair['error']:.2f}" for pair in pairs)
    peak, diffusion, bonds = of["g_O-O_peak_height"], of["diffusion"], of["hydrogen_bonds"]
    told = [ratios] + [
        f"{one['model']:.{digits}f} ± {one['model_error']:.{digits}f}"
        for one, digits in ((peak, 2), (bonds, 2), (diffusion, 2))
    ]
    return f"{force} {' | '.join(told)} |"


def table(every: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All forms that were measured, and the reference."""
    rows = [row(form, every[form]) for form in PARTS if form in every]
    of = next((found["quantities"] for found in every.values() if not found["exit"]), None)
    if of is not None:
        told = [
            f"{of[key]['reference']:.2f} ± {of[key]['reference_error']:.2f}"
            for key in ("g_O-O_peak_height", "hydrogen_bonds", "diffusion")
        ]
        rows.append(f"| reference | | | | {' | '.join(told)} |")
    head = (
        "| form | force error, meV/Å | a step of 64, 512 H2O, ms | g_OO, g_OH, g_HH: difference / combined error |"
        " first O-O peak | hydrogen bonds | D, 10⁻⁵ cm²/s |"
    )
    return [head, "|---|---|---|---|---|---|---|", *rows]


def main() -> None:
    """Measure what is named, keep it, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--time", default="100ps")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--steps", action="store_true", help="measure only what a step costs")
    parser.add_argument("--table", action="store_true", help="write the table of what was measured, and stop")
    options = parser.parse_args()
    every: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    forms = options.forms or list(PARTS)
    for form in forms:
        if form not in PARTS:
            parser.error(f"{form}: choose from {', '.join(PARTS)}")

    def keep() -> None:
        RESULTS.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    for form in [] if options.table or options.steps else forms:
        every[form] = every.get(form, {}) | measure(form, options.time, options.seed)
        keep()
        print(row(form, every[form]), flush=True)
    if not options.table:
        there = [form for form in forms if form in every]
        timed = {molecules: steps(there, molecules) for molecules in SIZES}
        for form in there:
            every[form]["step_s"] = {str(molecules): seconds[form] for molecules, seconds in timed.items()}
        keep()
    shipped.write_table(PAGE, "nonlocal", table(every), "benchmarks/nonlocal_forms.py")


if __name__ == "__main__":
    main()
