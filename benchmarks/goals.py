"""The tables of goals and reports in docs/validation.md and of runs in docs/models.md, from what was measured.

    python benchmarks/goals.py            # write the tables anew
    python benchmarks/goals.py --check    # say whether they are those in the pages, exit status 1 if not

A result counts only for the model as it is shipped now; of others the table says "not measured yet".
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import long_runs
import shipped

PAGE, RUNS = (shipped.ROOT / "docs" / name for name in ("validation.md", "models.md"))
NOT_YET = "not measured yet"
PAIRS = [f"g_{pair}_mean_difference" for pair in ("O-O", "O-H", "H-H")]
BANDS = ("translation", "bending", "stretching")

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """What was measured of one model, in words, and whether that is what the goal asks for; None: not all is there."""

    text: str
    reached: bool | None


@dataclass(frozen=True)
class Goal:
    """One row; a goal is reached where all its parts are."""

    goal: str
    parts: Sequence[Part]
    command: str

    def row(self) -> str:
        states = [part.reached for part in self.parts]
        verdict = "no" if False in states else "not yet" if None in states else "yes"
        return f"| {self.goal} | {'<br>'.join(part.text for part in self.parts)} | {verdict} | `{self.command}` |"


def current(every: Results) -> Results:
    """The results that are of the models as they are shipped."""
    listed = long_runs.runs(Path("data"))
    return {name: found for name, found in every.items() if name in listed and long_runs.stands(found, listed[name])}


def force_error(results: Results, name: str, model: str, limit: float) -> Part:
    """Of one evaluation or fit."""
    found = results.get(name, {})
    errors = found.get(model, {}).get("holdout", found)
    if "force_rmse_meV_A" not in errors:
        return Part(f"`{model}`: {NOT_YET}", None)
    rmse = errors["force_rmse_meV_A"]
    return Part(f"`{model}`: {rmse:.1f} meV/Å", rmse <= limit)


def over_seeds(
    results: Results,
    folder: str,
    tell: Callable[[list[Mapping[str, Any]]], tuple[str, bool] | None],
) -> Part:
    """What `tell` says of the quantities of a model's runs, one object for each seed."""
    model = folder.split("/")[1]
    runs = [results[f"{folder}/{seed}"] for seed in long_runs.SEEDS if f"{folder}/{seed}" in results]
    stops = [str(run.get("stopped") or f"exit status {run['exit']}") for run in runs if run["exit"]]
    if stops:
        return Part(f"`{model}`: {len(stops)} of {len(runs)} runs stopped: {stops[0]}", False)
    told = tell([run["quantities"] for run in runs]) if runs else None
    if told is None:
        return Part(f"`{model}`: {NOT_YET}", None)
    text, reached = told
    missing = len(long_runs.SEEDS) - len(runs)
    seeds = f" ({len(runs)} of {len(runs) + missing} seeds)" if missing else ""
    return Part(f"`{model}`: {text}{seeds}", None if missing else reached)


def pairs(seeds: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """Differences of g(r) in units of the combined error."""
    ratios = [mean(seed[key]["difference"] / seed[key]["error"] for seed in seeds) for key in PAIRS]
    return ", ".join(f"{ratio:.2f}" for ratio in ratios), max(ratios) <= 1.2


def difference(seeds: list[Mapping[str, Any]], key: str) -> float:
    """Model minus reference, mean over seeds."""
    return mean(float(seed[key]["difference"]) for seed in seeds)


def peak(seeds: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """Height and place of the first O-O peak."""
    height, place = (difference(seeds, f"g_O-O_peak_{part}") for part in ("height", "place"))
    return f"{height:+.3f}, {place:+.3f} Å", abs(height) <= 0.05 and abs(place) <= 0.02


def states(seeds: list[Mapping[str, Any]]) -> tuple[str, bool] | None:
    """Bands of the density of states: differences of their centres, and of their areas as fractions of the area."""
    bands = [f"states_{band}" for band in BANDS]
    if any(f"{band}_centre" not in seed for band in bands for seed in seeds):
        return None
    centres = [difference(seeds, f"{band}_centre") for band in bands]
    areas = [100 * mean(s[f"{b}_share"]["difference"] / s[f"{b}_share"]["reference"] for s in seeds) for b in bands]
    told = f"{', '.join(f'{c:+.1f}' for c in centres)} cm⁻¹; {', '.join(f'{a:+.1f}' for a in areas)} %"
    return told, max(map(abs, centres)) <= 15.0 and max(map(abs, areas)) <= 5.0


def diffusion(seeds: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """D of the model, its error that of independent runs, beside the reference."""
    found = [seed["diffusion"] for seed in seeds]
    model, reference = mean(one["model"] for one in found), found[0]["reference"]
    error = sum(one["model_error"] ** 2 for one in found) ** 0.5 / len(found)
    its_error = found[0]["reference_error"]
    told = (
        f"{model:.2f} ± {error:.2f} beside {reference:.2f} ± {its_error:.2f} ({100 * (model / reference - 1):+.0f} %)"
    )
    return told, abs(model - reference) <= min(0.1 * reference, error + its_error)


def paper(seeds: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """Temperature and first O-O peak of own scope; that the runs went through is known."""
    temperatures = [seed["temperature_mean"]["model"] for seed in seeds]
    heights = [seed["g_O-O_peak_height"] for seed in seeds]
    off = [100 * one["difference"] / one["reference"] for one in heights]
    told = f"{', '.join(f'{t:.1f}' for t in temperatures)} K; peak {', '.join(f'{o:+.0f}' for o in off)} %"
    return told, all(abs(t - 300) <= 5 for t in temperatures) and all(abs(o) <= 10 for o in off)


def drift(results: Results, model: str) -> Part:
    """Of the energy, in both precisions."""
    limits = {"float64": 0.001, "float32": 0.01}
    texts: list[str] = []
    states: list[bool | None] = []
    for precision, limit in limits.items():
        found = results.get(f"nve/{model}/{precision}")
        if found is None:
            texts.append(NOT_YET)
            states.append(None)
        elif found["exit"]:
            texts.append(str(found.get("aborted") or f"exit status {found['exit']}"))
            states.append(False)
        else:
            value = found["energy_drift_meV_per_atom_per_ps"]
            texts.append(f"{value:+.5f}")
            states.append(abs(value) <= limit)
    return Part(f"`{model}`: {', '.join(texts)}", _all(states))


def _all(states: Sequence[bool | None]) -> bool | None:
    return False if False in states else None if None in states else True


def stability(results: Results, folder: str, label: str) -> Part:
    """How many of the runs in a folder went through."""
    names = [name for name in long_runs.runs() if name.startswith(f"{folder}/") or name == folder]
    there = {name: results[name] for name in names if name in results}
    if not there:
        return Part(f"{label}: {NOT_YET}", None)
    stops = [
        f"{name.removeprefix(f'{folder}/')}: {found.get('aborted') or 'exit status ' + str(found['exit'])}"
        for name, found in there.items()
        if found["exit"]
    ]
    missing = [name.removeprefix(f"{folder}/") for name in names if name not in there]
    text = f"{label}: {len(there) - len(stops)} of {len(there)} went through"
    text += f"; {NOT_YET}: {', '.join(missing)}" if missing else ""
    text += f"; {'; '.join(stops)}" if stops else ""
    return Part(text, False if stops else None if missing else True)


def doubt(results: Results) -> Part:
    """Area under the curve of the doubt that the product shows."""
    found = results.get("leverage")
    if found is None or "auc" not in found:
        return Part(NOT_YET, None)
    area = found["auc"]["doubt"]["all but 450 K"]
    return Part(f"{area:.2f}", area >= 0.85)


def speed(model: str) -> Part:
    """A step of the model against one of the teacher."""
    ratios = shipped.ratios(model)
    if not ratios:
        return Part(f"`{model}`: {NOT_YET}", None)
    told = [f"{ratio:,.0f} ({name})" for name, ratio in ratios.items()]
    told += [] if "DFT" in ratios else [f"DFT {NOT_YET}"]
    return Part(f"`{model}`: {', '.join(told)}", True if "DFT" in ratios else None)


def goals(every: Results) -> list[Goal]:
    """All rows, in the order of the issue."""
    results = current(every)
    run = "python benchmarks/long_runs.py"
    deepmd = f"{run} --deepmd DATA forces/deepmd"
    structure = [f"structure/{model}" for model in long_runs.SHARED]
    return [
        Goal("Force error, DeePMD examples/water, fitted to data_0-2, tested on data_3: `water-best` at most 33, "
             "`water` at most 42 meV/Å",
             [force_error(results, f"forces/deepmd/{model}", model, limit)
              for model, limit in (("water-best", 33.0), ("water", 42.0))], deepmd),
        Goal("Force error, C-NNP frames of 300 to 600 K and three densities: `water-best` at most 22, `water` at "
             "most 32 meV/Å",
             [force_error(results, f"forces/cnnp/{model}", model, limit)
              for model, limit in (("water-best", 22.0), ("water", 32.0))], f"{run} forces/cnnp"),
        Goal("g_OO, g_OH, g_HH, 200 ps, mean over seeds: mean difference at most 1.2 of the combined error",
             [over_seeds(results, folder, pairs) for folder in structure], f"{run} structure"),
        Goal("First O-O peak: within 0.05 in height and 0.02 Å in place",
             [over_seeds(results, folder, peak) for folder in structure], f"{run} structure"),
        Goal("Density of states, libration, bending, stretching: within 15 cm⁻¹, areas within 5 %",
             [over_seeds(results, folder, states) for folder in structure], f"{run} structure"),
        Goal("Diffusion in the same box and thermostat, 10⁻⁵ cm²/s: within 10 %, error bars overlapping",
             [over_seeds(results, folder, diffusion) for folder in structure], f"{run} structure"),
        Goal("Drift of the energy, 100 ps of NVE, 64 H2O, float64 and float32: at most 0.001 and 0.01 meV/atom/ps",
             [drift(results, model) for model in long_runs.SHARED], f"{run} nve"),
        Goal("`water`: 1 ns at 300 K, 100 ps at 260, 400, 500 K and at 0.90 and 1.10 g/cm³, 64 and 512 H2O: none stops",
             [stability(results, f"stability/water/{molecules}", f"{molecules} H2O") for molecules in (64, 512)],
             f"{run} stability/water"),
        Goal("`water-paper`: 100 ps at 300 ± 5 K, bonds whole, first O-O peak within 10 %",
             [over_seeds(results, "own/water-paper", paper)], f"{run} own/water-paper"),
        Goal("`water-own`: 1 ns", [stability(results, "own/water-own/1ns", "64 H2O")], f"{run} own/water-own/1ns"),
        Goal("Doubt finds the worst tenth of force errors in states that were not fitted: AUC at least 0.85",
             [doubt(results)], f"{run} leverage"),
        Goal("Speed: how many steps take as long as one of CP2K, one core, 64 H2O",
             [speed(model) for model in shipped.NAMES],
             "python benchmarks/teacher.py"),
    ]  # fmt: skip


def goal_table(every: Results) -> list[str]:
    """Rows of goals."""
    rows = [goal.row() for goal in goals(every)]
    return ["| goal | measured | reached | command |", "|---|---|---|---|", *rows, "", models_line()]


def models_line() -> str:
    """Which models the tables are of."""
    told = ", ".join(f"`{model}` {shipped.digest(model)[:8]}" for model in shipped.NAMES)
    return f"Of the models {told} (`benchmarks/shipped.py`)."


def report_table(every: Results) -> list[str]:
    """Rows of reports."""
    rows = []
    for model in shipped.NAMES:
        if not shipped.report_of(model):
            rows.append(f"| `{model}` | {NOT_YET} | | | |")
            continue
        told = every[shipped.report_run(model)]
        verdicts = [quantity["verdict"] for quantity in told["quantities"].values()]
        within = verdicts.count("within noise")
        agreement = f"{within} of {within + verdicts.count('beyond noise')}"
        error = told["force_rmse_meV_A"]
        length = told["stopped"] or told["run"]["Length"]
        rows.append(f"| `{model}` | [report](reports/{model}.html) | {length} | {agreement} | {error:.1f} meV/Å |")
    head = "| model | | run at 300 K, seed 1 | quantities within noise | force error, held-out frames |"
    return [head, "|---|---|---|---|---|", *rows]


STRUCTURE: Sequence[tuple[str, Sequence[str], int]] = (
    ("g_OO, first peak, height", ("g_O-O_peak_height",), 3),
    ("g_OO, first peak, place, Å", ("g_O-O_peak_place",), 3),
    ("g_OO, g_OH, g_HH, mean difference beyond the bonds", PAIRS, 3),
    ("O-H bond, mean, Å", ("bond_O-H_mean",), 4),
    ("H-O-H angle, mean, °", ("angle_H-O-H_mean",), 2),
    ("hydrogen bonds per molecule; tetrahedral order", ("hydrogen_bonds", "tetrahedral_order_mean"), 3),
    ("libration, bending, stretching: centre, cm⁻¹", [f"states_{band}_centre" for band in BANDS], 1),
    ("the same: share of the spectrum, %", [f"states_{band}_share" for band in BANDS], 1),
    ("diffusion in this box, 10⁻⁵ cm²/s", ("diffusion",), 2),
    ("temperature: mean; spread, K", ("temperature_mean", "temperature_deviation"), 1),
)
"""Rows of the table of runs: what, the quantities of a report, and digits."""


def structure_table(every: Results, model: str) -> list[str]:
    """Each seed of a model beside the reference."""
    names = {seed: f"structure/{model}/{seed}" for seed in long_runs.SEEDS}
    results = current(every)
    seeds = {seed: results[name]["quantities"] for seed, name in names.items() if "quantities" in results.get(name, {})}
    if not seeds:
        return [NOT_YET]

    def cell(of: Mapping[str, Any], keys: Sequence[str], digits: int, side: str) -> str:
        told = []
        for key in keys:
            one = of[key]
            value, error = one[side], one[f"{side}_error"]
            if value is None:  # a difference, which the reference has only an error of
                value, error = (one["difference"], None) if side == "model" else (None, one["error"])
            told.append(" ± ".join(f"{number:.{digits}f}" for number in (value, error) if number))
        return (
            f"combined errors {', '.join(told)}" if side == "reference" and "difference" in keys[0] else "; ".join(told)
        )

    any_seed = next(iter(seeds.values()))
    rows = [
        f"| {label} | {' | '.join(cell(of, keys, digits, 'model') for of in seeds.values())} "
        f"| {cell(any_seed, keys, digits, 'reference')} |"
        for label, keys, digits in STRUCTURE
    ]
    head = f"| `{model}` | {' | '.join(f'seed {seed}' for seed in seeds)} | reference |"
    return [head, "|---|" + "---|" * (len(seeds) + 1), *rows]


def stability_table(every: Results) -> list[str]:
    """Long runs at one state each: whether they went through, and their temperature."""
    results, rows = current(every), []
    for name in long_runs.runs():
        kind, *parts = name.split("/")
        if name not in results or not (kind == "stability" or parts[-1:] == ["1ns"]):
            continue
        model, molecules, state = parts if kind == "stability" else (parts[0], "64", parts[1])
        found = results[name]
        length, where = ("1 ns", "300 K") if state == "1ns" else ("100 ps", STATES[state])
        average, spread = found.get("temperature_mean_K"), found.get("temperature_std_K")
        kept = "" if average is None or spread is None else f"{average:.1f} ± {spread:.1f} K"
        if "went_on_from_ps" in found:  # what it had done before was another process, whose temperatures are not kept
            kept += f", from {found['went_on_from_ps']:g} ps on"
        rows.append(
            f"| `{model}` | {molecules} H2O, {where}, {length} | {found.get('aborted') or 'no stop'} | {kept} |"
        )
    return ["| model | run | | temperature |", "|---|---|---|---|", *rows]


STATES = {
    "260K": "260 K", "400K": "400 K", "500K": "500 K",
    "0.90gcm3": "0.90 g/cm³, 300 K", "1.10gcm3": "1.10 g/cm³, 300 K",
}  # fmt: skip


def written(page: Path, every: Results) -> str:
    """A page with its tables as they have to be."""
    tables = {PAGE: {"goals": goal_table(every), "reports": report_table(every)}}
    tables[RUNS] = {f"structure of {model}": structure_table(every, model) for model in shipped.SHARED}
    tables[RUNS]["stability"] = stability_table(every)
    text = page.read_text(encoding="utf-8")
    for name, lines in tables[page].items():
        text = shipped.with_table(text, name, lines, "benchmarks/goals.py")
    return text


def main() -> None:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    every = json.loads(long_runs.RESULTS.read_text(encoding="utf-8"))
    for page in (PAGE, RUNS):
        wanted = written(page, every)
        if not options.check:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != page.read_text(encoding="utf-8"):
            sys.exit(f"The tables in {page.name} are not those of the results: run python benchmarks/goals.py")


if __name__ == "__main__":
    main()
