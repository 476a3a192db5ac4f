"""Which shipped model a result is of, and what was measured of its speed: for the scripts beside it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "assets" / "models"
REPORTS = ROOT / "docs" / "reports"
RESULTS = Path(__file__).parent / "results"
TEACHER = RESULTS / "teacher.json"
LONG_RUNS = RESULTS / "long_runs.json"

SHARED = ("water", "water-fast", "water-best")
OWN = ("water-paper", "water-own")
NAMES = (*SHARED, *OWN)


def digest(model: str) -> str:
    """What tells a shipped model from the one that it was before: of all that decides how it moves, not of its card."""
    content = json.loads((MODELS / f"{model}.json").read_text(encoding="utf-8"))
    decisive = {key: value for key, value in content.items() if key not in ("card", "committee")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def measured_speed() -> dict[str, Any]:
    """What teacher.py measured so far."""
    found: dict[str, Any] = json.loads(TEACHER.read_text(encoding="utf-8")) if TEACHER.exists() else {}
    return found


def ratios(model: str) -> dict[str, float]:
    """Steps of a model in the time of one of each teacher; empty where it was not measured as it is shipped now."""
    measured = measured_speed()
    found = measured.get("models", {}).get(model, {})
    if found.get("digest") != digest(model):
        return {}
    network = float(found["steps_per_cnnp"])
    functional = measured.get("dft")
    return {"C-NNP": network} | ({"DFT": network * functional["cnnp_per_dft"]} if functional else {})


def speed_sentence(model: str) -> str:
    """The same in words, or nothing."""
    found = ratios(model)
    if not found:
        return ""
    milliseconds = 1e3 * measured_speed()["models"][model]["seconds"]
    teachers = " and ".join(f"one of CP2K {name} {_rounded(ratio)} times as long" for name, ratio in found.items())
    return f"A step of 64 H2O takes {milliseconds:.2f} ms of one core, {teachers}: benchmarks/results/teacher.json."


def _rounded(ratio: float) -> str:
    return f"{float(f'{ratio:.2g}'):,.0f}"


def write_tables() -> None:
    """Let goals.py write the tables of docs/validation.md, so that they are always those of the results."""
    subprocess.run([sys.executable, str(Path(__file__).with_name("goals.py"))], check=True)


def with_table(page: str, name: str, lines: Sequence[str], script: str) -> str:
    """A page with other lines between the marks of a table that a script writes."""
    begin, end = f"<!-- {name}: written by {script} -->", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    return before + "\n".join([begin, "", *lines, "", end]) + rest.split(end, maxsplit=1)[1]


def write_table(path: Path, name: str, lines: Sequence[str], script: str) -> None:
    """The same in a file."""
    page = path.read_text(encoding="utf-8")
    path.write_text(with_table(page, name, lines, script), encoding="utf-8")


def page_of(model: str) -> Path:
    """Where the validation report of a model has its place; long_runs.py writes it."""
    return REPORTS / f"{model}.html"


def report_run(model: str) -> str:
    """Name of the run that makes the report: the first seed of its validation."""
    return f"{'own' if model in OWN else 'structure'}/{model}/1"


def report_of(model: str) -> str:
    """Where the validation report of a model as it is shipped now stands, from the root of the project; or nothing."""
    results = json.loads(LONG_RUNS.read_text(encoding="utf-8")) if LONG_RUNS.exists() else {}
    found = results.get(report_run(model), {})
    if found.get("digest") != digest(model) or "force_rmse_meV_A" not in found or not page_of(model).exists():
        return ""
    return page_of(model).relative_to(ROOT).as_posix()
