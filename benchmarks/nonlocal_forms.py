"""What each part that is not local buys: force error, structure and cost of one form with and without hops and waves.

    python benchmarks/nonlocal_forms.py                        # all four: fits and runs of 100 ps, an hour
    python benchmarks/nonlocal_forms.py hops --time 20ps

Each form is fitted to assets/data/cnnp_fit.h5 and cnnp_stretched.h5, bounded, as `water` is, judged on
assets/data/cnnp_holdout.h5, timed (processor time of one thread, 64 H2O, median of five rounds), and run by
`mldsim validate` beside the shipped reference. The results are added to benchmarks/results/nonlocal.json, and
docs/models.md gets its table of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shipped
import teacher

RESULTS = shipped.RESULTS / "nonlocal.json"
PAGE = shipped.ROOT / "docs" / "models.md"

FORM = ("--order", "3", "--channels", "4", "--radial", "8", "--cutoff", "5", "--bounded", "--holdout", "0")
PARTS: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "hops": ("--hops",),
    "waves": ("--long-range",),
    "both": ("--hops", "--long-range"),
}
PAIRS = ("O-O", "O-H", "H-H")


def mldsim(*words: str) -> dict[str, Any]:
    """The JSON object of a command; of one that fails, its exit status."""
    command = [sys.executable, "-m", "mldsim", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=shipped.ROOT)
    last = next(reversed(done.stdout.splitlines()), "")
    return {"exit": done.returncode} | (json.loads(last) if last.startswith("{") else {})


def measure(form: str, time: str, seed: str) -> dict[str, Any]:
    """Fit one form, and let it run."""
    with tempfile.TemporaryDirectory() as folder:
        model, page = str(Path(folder) / "model.json"), str(Path(folder) / "report.html")
        words = ("fit", "assets/data/cnnp_fit.h5", "assets/data/cnnp_stretched.h5", *FORM, *PARTS[form])
        if mldsim(*words, "-o", model)["exit"]:
            sys.exit(f"{form}: the fit failed.")
        errors = mldsim("evaluate", model, "assets/data/cnnp_holdout.h5")
        side = teacher.simulate(model, 64)
        seconds = statistics.median(teacher.seconds_per_step(side) for _ in range(5))
        run = mldsim("validate", model, "--time", time, "--equilibration", "5ps", "--seed", seed, "-o", page)
    kept = {key: run.get(key) for key in ("exit", "run", "quantities", "stopped")}
    return {
        "command": f"mldsim {' '.join(words)}",
        "force_rmse_meV_A": errors["force_rmse_meV_A"],
        "step_s": seconds,
        **kept,
    }


def row(form: str, found: Mapping[str, Any]) -> str:
    """What the docs say of one form."""
    force = f"| {form} | {found['force_rmse_meV_A']:.1f} | {1e3 * found['step_s']:.2f} |"
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
        "| form | force error, meV/Å | a step, ms | g_OO, g_OH, g_HH: difference / combined error | first O-O peak |"
        " hydrogen bonds | D, 10⁻⁵ cm²/s |"
    )
    return [head, "|---|---|---|---|---|---|---|", *rows]


def main() -> None:
    """Measure what is named, keep it, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--time", default="100ps")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--table", action="store_true", help="write the table of what was measured, and stop")
    options = parser.parse_args()
    every: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for form in [] if options.table else options.forms or list(PARTS):
        if form not in PARTS:
            parser.error(f"{form}: choose from {', '.join(PARTS)}")
        every[form] = measure(form, options.time, options.seed)
        RESULTS.write_text(json.dumps(every, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(row(form, every[form]), flush=True)
    shipped.write_table(PAGE, "nonlocal", table(every), "benchmarks/nonlocal_forms.py")


if __name__ == "__main__":
    main()
