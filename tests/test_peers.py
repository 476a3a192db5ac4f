"""The tables of speed are those of the results, and what was not measured, or of another model, stays empty."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from mldsim.benchmark import Remote
from mldsim.errors import WorkFailed

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/peer_tables.py as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("peer_tables")


def entry(rate: float, agents: int = 1536, rounds: int = 3, **more: Any) -> dict[str, Any]:
    """As `peers.keep_speed` keeps it, of a side that takes so many atom-steps a second."""
    one = [100, 100 * agents / rate, 100 * agents / rate]
    return {
        "agents": agents, "rounds": [one] * rounds, "peak_memory_MB": 300.0, "load_average": [0.0, 1.0], "threads": 1,
        "processor": "a processor", "commit": "abcdef0", "device": "a device", **more,
    }  # fmt: skip


def results(speed: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"speed": {name: {"512": one} for name, one in speed.items()}, "errors": {}, "left_out": {}} | more


def test_the_page_has_the_tables_of_the_committed_results(tables: Any) -> None:
    every = json.loads(tables.peers.RESULTS.read_text(encoding="utf-8"))
    digests = {name: found["digest"] for name, found in every["errors"].items() if "digest" in found}
    if any(tables.shipped.digest(name) != digest for name, digest in digests.items()):
        pytest.skip("a model was replaced after the tables were written: run python benchmarks/peers.py tables")
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.written(page, every) == page, "run python benchmarks/peers.py tables"


def goal(tables: Any, key: str) -> Any:
    return next(one for one in tables.GOALS if one.key == key)


def test_a_goal_compares_what_was_measured(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.REASONS, "openmm", "Half of the time goes into lists.")
    for rate, reached in ((3.1e5, "yes"), (2.9e5, "no")):
        found = tables.Measured(results({"shared-rank2-k8": entry(rate), "openmm": entry(2e5)}))
        row = goal(tables, "openmm").row(found).split(" | ")
        assert row[2] == reached
        assert ("lists" in row[3]) == (reached == "no")
    for rate, reached in ((1e5, "yes"), (0.9e5, "no")):  # here more is worse: 1.3 and 1.44 times the cost
        found = tables.Measured(results({"shared-rank2-k8": entry(1.3e5), "shared-rank2-k16": entry(rate)}))
        assert goal(tables, "wide").row(found).split(" | ")[2] == reached


def test_what_was_not_measured_stays_empty(tables: Any) -> None:
    left_out = {"nep": "calorine cannot be imported."}
    found = tables.Measured(results({"openmm": entry(2e5)}, left_out=left_out))
    assert all("not measured yet" in one.row(found) for one in tables.GOALS)
    rows = {line.split(" | ")[0]: line.split(" | ") for line in tables.speed_table(found) if line.startswith("| ")}
    assert rows[f"| {tables.PEERS['openmm']}"][4] == "2.0·10⁵ (2.0·10⁵ to 2.0·10⁵)"
    assert rows[f"| {tables.PEERS['nep']}"][3] == "calorine cannot be imported."
    assert rows["| `water`"][3] == "not measured yet"


def test_a_model_that_was_replaced_does_not_count(tables: Any) -> None:
    for digest, there in ((tables.shipped.digest("water-fast"), True), ("another", False)):
        told = results({"water-fast": entry(4e5, digest=digest)})
        told["errors"] = {"water-fast": {"force_rmse_meV_A": 47.4, "digest": digest}}
        found = tables.Measured(told)
        assert (found.rate("water-fast", 512) is not None) == there
        assert (found.error("water-fast") is not None) == there


def test_the_figure_has_room_for_what_is_missing(tables: Any, tmp_path: Path) -> None:
    told = results({"openmm": entry(2e5), "cnnp": entry(7e2), "shared-rank1-k8": entry(4e5)})
    told["errors"] = {"openmm": {"force_rmse_meV_A": 510.0}, "shared-rank1-k8": {"force_rmse_meV_A": 80.0}}
    for name, found in (("some", told), ("none", results({}))):
        tables.draw(tables.Measured(found), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_that_is_not_installed_is_one_sentence(tables: Any) -> None:
    sides = importlib.import_module("peer_sides")
    with pytest.raises(WorkFailed, match=r"nothing-like-this cannot be imported .*pip install '.\[peers\]'"):
        sides.load("nothing_like_this", "nothing-like-this")
    with Remote("nep", sides.Nep(None), 1) as side, pytest.raises(WorkFailed, match="--nep FILE"):
        side.warm_up(64, lambda: False)
