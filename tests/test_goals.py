"""The table of goals is that of the results, and tells reached from not reached."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def goals(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/goals.py as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("goals")


def test_the_page_has_the_tables_of_the_committed_results(goals: Any) -> None:
    if goals.models_line() not in goals.PAGE.read_text(encoding="utf-8"):
        pytest.skip("a model was replaced after the tables were written: run python benchmarks/goals.py")
    every = json.loads(goals.long_runs.RESULTS.read_text(encoding="utf-8"))
    for page in (goals.PAGE, goals.RUNS):
        assert goals.written(page, every) == page.read_text(encoding="utf-8"), "run python benchmarks/goals.py"


def quantities(difference: float) -> dict[str, Any]:
    """Of one run: all differences are `difference` errors, and the reference is 100 errors."""
    one = {"model": 1.0 + 0.01 * difference, "model_error": 0.01, "reference": 1.0, "reference_error": 0.01}
    told = one | {"difference": 0.01 * difference, "error": 0.01}
    keys = ["g_O-O_peak_height", "g_O-O_peak_place", "diffusion"]
    keys += [f"g_{pair}_mean_difference" for pair in ("O-O", "O-H", "H-H")]
    keys += [
        f"states_{band}_{part}" for band in ("translation", "bending", "stretching") for part in ("centre", "share")
    ]
    return dict.fromkeys(keys, told)


def results(goals: Any, differences: list[float]) -> dict[str, Any]:
    digest = goals.shipped.digest("water")
    return {
        f"structure/water/{seed}": {"digest": digest, "exit": 0, "quantities": quantities(difference)}
        for seed, difference in enumerate(differences, start=1)
    }


def test_a_goal_holds_for_the_mean_over_seeds(goals: Any) -> None:
    part = goals.over_seeds(results(goals, [1.0, 1.4, 1.1]), "structure/water", goals.pairs)
    assert part.reached is True
    part = goals.over_seeds(results(goals, [1.0, 1.4, 1.4]), "structure/water", goals.pairs)
    assert part.reached is False


def test_fewer_seeds_decide_nothing(goals: Any) -> None:
    assert goals.over_seeds(results(goals, [1.0]), "structure/water", goals.pairs).reached is None
    assert goals.over_seeds(results(goals, [3.0]), "structure/water", goals.pairs).reached is None
    assert goals.over_seeds({}, "structure/water", goals.pairs).reached is None


def test_diffusion_needs_overlapping_errors_and_ten_percent(goals: Any) -> None:
    for difference, reached in ((1.5, True), (2.5, False)):
        found = results(goals, [difference] * 3)
        assert goals.over_seeds(found, "structure/water", goals.diffusion).reached is reached


def test_bands_without_velocities_are_not_measured(goals: Any) -> None:
    found = results(goals, [0.5] * 3)
    assert goals.over_seeds(found, "structure/water", goals.states).reached is True
    for run in found.values():
        run["quantities"] = {key: value for key, value in run["quantities"].items() if "states" not in key}
    assert goals.NOT_YET in goals.over_seeds(found, "structure/water", goals.states).text


def test_a_run_of_another_model_does_not_count(goals: Any) -> None:
    found = results(goals, [0.5] * 3)
    assert len(goals.current(found)) == 3
    for run in found.values():
        run["digest"] = "another"
    assert not goals.current(found)


def test_a_run_that_stopped_misses_its_goal(goals: Any) -> None:
    found = results(goals, [0.5] * 3)
    found["structure/water/2"] |= {"exit": 1, "stopped": "A bond broke."}
    part = goals.over_seeds(found, "structure/water", goals.pairs)
    assert part.reached is False
    assert "A bond broke." in part.text


def test_a_name_is_a_run_or_a_folder_of_runs(goals: Any) -> None:
    listed = goals.long_runs.runs()
    assert goals.long_runs.chosen(listed, ["own/water-own/1"]) == ["own/water-own/1"]
    assert "structure/water-fast/1" not in goals.long_runs.chosen(listed, ["structure/water"])
    assert len(goals.long_runs.chosen(listed, ["structure/water"])) == 3
    assert goals.long_runs.chosen(listed, []) == list(listed)


def test_speed_is_told_only_of_the_model_that_was_measured(
    goals: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DFT was measured against C-NNP, C-NNP against the model: the ratios are multiplied."""
    shipped = goals.shipped
    monkeypatch.setattr(shipped, "TEACHER", tmp_path / "teacher.json")
    assert not shipped.ratios("water")
    assert not shipped.speed_sentence("water")
    found = {"digest": shipped.digest("water"), "seconds": 5e-4, "steps_per_cnnp": 600.0}
    shipped.TEACHER.write_text(json.dumps({"models": {"water": found}, "dft": {"cnnp_per_dft": 150.0}}))
    assert shipped.ratios("water") == {"C-NNP": 600.0, "DFT": 90_000.0}
    assert "0.50 ms" in shipped.speed_sentence("water")
    assert "90,000 times" in shipped.speed_sentence("water")
    shipped.TEACHER.write_text(json.dumps({"models": {"water": found | {"digest": "another"}}}))
    assert not shipped.ratios("water")


def test_results_of_several_files_are_put_together(goals: Any, tmp_path: Path) -> None:
    found = results(goals, [0.5, 0.6])
    for name, one in found.items():
        goals.long_runs.keep(tmp_path / "all.json", {name: one})
    assert goals.long_runs.read(tmp_path / "all.json") == found


def test_a_long_run_that_was_stopped_is_gone_on_with(
    goals: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, checkpoint = ("mldsim", "run", "--time", "1ns", "-o", "FILE.h5md"), tmp_path / "runs" / "water.h5"
    begun, told = goals.long_runs.gone_on_with(command, checkpoint)
    assert begun[: len(command)] == command
    assert begun[begun.index("--checkpoint") + 1] == str(checkpoint)
    assert told == {}
    checkpoint.touch()
    monkeypatch.setattr(
        goals.long_runs, "load_checkpoint", lambda _: SimpleNamespace(state=SimpleNamespace(time=4.0e5))
    )
    again, told = goals.long_runs.gone_on_with(command, checkpoint)
    assert again[: again.index("-o")] == ("mldsim", "run", "--resume", str(checkpoint))  # with its own settings and end
    assert again[again.index("--checkpoint") + 1] == str(checkpoint)
    assert told == {"went_on_from_ps": 400.0}
