"""Which shipped model a result is of, and what was measured of its speed: for the scripts beside it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "assets" / "models"
REPORTS = ROOT / "docs" / "reports"
RESULTS = Path(__file__).parent / "results"
TEACHER = RESULTS / "teacher.json"

NAMES = ("water", "water-fast", "water-best", "water-paper", "water-own")


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


def report_of(model: str) -> str:
    """Where the validation report of a model as it is shipped now stands, from the root of the project; or nothing."""
    numbers = REPORTS / f"{model}.json"
    if not numbers.exists() or json.loads(numbers.read_text(encoding="utf-8")).get("digest") != digest(model):
        return ""
    return (REPORTS / f"{model}.html").relative_to(ROOT).as_posix()
