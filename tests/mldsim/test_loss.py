"""Model files: what is saved comes back, what cannot be right is refused in one sentence."""

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mldsim.errors import InputError, WorkFailed
from mldsim.evaluator import Evaluator
from mldsim.kernels.cubic import features
from mldsim.kernels.mutual import columns
from mldsim.loss import (
    Cubic,
    FittedRanges,
    Hops,
    LossModel,
    Scope,
    Wall,
    Waves,
    load_model,
    save_model,
    shipped_models,
)  # fmt: skip
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis

BOX = np.full(3, 6.4)


def some_model(rank: int = 1, order: int = 2) -> LossModel:
    rng = np.random.default_rng(4)
    quadratic = rng.normal(size=(2, rank + 1, 8, 8)) * (order >= 2)
    lowest = rng.normal(size=(2, 8))
    return LossModel(
        name="some water, fitted",
        symbols=("O", "H"),
        masses=np.array([15.999, 1.008]),
        scope=Scope.OWN,
        order=order,
        max_rank=rank,
        radial=water_basis(("O", "H"), 4, 4.5),
        wall=Wall(30.0, np.array([[2.25, 0.80], [0.80, 1.20]])),
        linear=rng.normal(size=(2, 8)),
        quadratic=quadratic + quadratic.transpose(0, 1, 3, 2),
        ranges=FittedRanges(
            {"O-O": (2.3, 4.5), "O-H": (0.8, 4.5), "H-H": (1.2, 4.5)}, np.stack([lowest, lowest + 1.0], axis=-1)
        ),
        card={"theory": "revPBE0-D3", "errors": {"holdout": {"force_rmse_meV_A": 41.5}}, "note": "Ångström"},
        cubic=some_cubic(rank) if order == 3 else None,
    )


def some_cubic(rank: int) -> Cubic:
    rng = np.random.default_rng(6)
    return Cubic(
        rng.normal(size=(2, rank + 1, 2, 8)), rng.normal(size=(2, 2)), np.array([3.0, 5.0]),
        rng.normal(size=(2, len(features(2, rank)))),
    )  # fmt: skip


def not_local_model() -> LossModel:
    """With hops of four functions of two channels, and waves of three widths."""
    rng = np.random.default_rng(7)
    hops, waves = (rng.normal(size=(2, len(columns(2, n, 2)))) for n in (4, 3))
    parts = {"hops": Hops(hops), "waves": Waves(np.array([0.3, 0.6, 1.2]), 2.0, waves)}
    return dataclasses.replace(some_model(1, 3), scope=Scope.SHARED, **parts)


def forces(model: LossModel) -> np.ndarray:
    rng = np.random.default_rng(1)
    sites = np.array(np.unravel_index(np.arange(8), (2, 2, 2))).T * 3.2
    positions = (sites[:, None] + [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]).reshape(-1, 3)
    species = np.tile(np.int32([0, 1, 1]), 8)
    evaluate = Evaluator(model, species, BOX, device=DeviceKind.CPU, precision=Precision.DOUBLE)
    return evaluate(positions + rng.normal(size=positions.shape) * 0.05).forces


@pytest.mark.parametrize(("rank", "order"), [(0, 1), (0, 2), (1, 2), (1, 3)])
def test_what_is_saved_comes_back(rank: int, order: int) -> None:
    model = some_model(rank, order)
    save_model(model, "m.json")
    back = load_model("m.json")
    for name in ("name", "symbols", "scope", "order", "max_rank", "cutoff", "n_parameters", "card"):
        assert getattr(back, name) == getattr(model, name)
    assert back.ranges.distances == model.ranges.distances
    assert (back.masses == model.masses).all()
    assert (back.wall.radius == model.wall.radius).all()
    assert back.wall.stiffness == model.wall.stiffness
    assert back.quadratic == pytest.approx(model.quadratic, rel=1e-11)
    assert (back.cubic is None) is (order < 3)
    assert back.ranges.invariants == pytest.approx(model.ranges.invariants, rel=1e-11)
    expected = forces(model)
    assert np.abs(forces(back) - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("parts", [("hops",), ("waves",), ("hops", "waves")], ids="-".join)
def test_what_is_not_local_comes_back(parts: tuple[str, ...]) -> None:
    model = dataclasses.replace(not_local_model(), **{name: None for name in ("hops", "waves") if name not in parts})
    save_model(model, "m.json")
    back = load_model("m.json")
    assert back.n_parameters == model.n_parameters
    for name in ("hops", "waves"):
        mine, its = getattr(model, name), getattr(back, name)
        assert (its is None) is (name not in parts)
        if mine is not None:
            assert its.coefficients == pytest.approx(mine.coefficients, rel=1e-11)
    if model.waves is not None:
        assert back.waves is not None
        assert back.waves.reach == model.waves.reach
        assert (back.waves.widths == model.waves.widths).all()
    save_model(back, "again.json")
    assert Path("again.json").read_bytes() == Path("m.json").read_bytes()


def test_saving_what_was_loaded_changes_nothing() -> None:
    save_model(some_model(), "a.json")
    save_model(load_model("a.json"), "b.json")
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_the_number_of_parameters_counts_each_coefficient_once() -> None:
    assert some_model(0, 1).n_parameters == 2 * 8
    assert some_model(1, 2).n_parameters == 2 * (8 + 2 * 8 * 9 // 2)
    # Two channels: four products of three invariants, and two invariants times three inner products of vectors.
    assert some_model(1, 3).n_parameters == 2 * (8 + 2 * 8 * 9 // 2 + 4 + 2 * 3)


def test_a_file_has_the_oldest_schema_that_can_say_it() -> None:
    for order, schema in ((2, 1), (3, 3)):
        save_model(some_model(1, order), "m.json", force=True)
        assert json.loads(Path("m.json").read_text())["schema"] == schema


def test_shipped_models_load_and_the_default_comes_first() -> None:
    names = shipped_models()
    assert names[0] == "water"
    for name in names:
        model = load_model(name)
        assert set(model.symbols) >= {"O", "H"}
        assert np.allclose(model.quadratic, model.quadratic.swapaxes(-1, -2))


def at(path: str, value: object) -> Callable[[dict], None]:
    """Set a field, named as in messages."""

    def change(content: dict) -> None:
        *above, last = path.split(".")
        place: Any = content
        for name in above:
            place = place[int(name) if isinstance(place, list) else name]
        place[int(last) if isinstance(place, list) else last] = value

    return change


def without(path: str) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        *above, last = path.split(".")
        place = content
        for name in above:
            place = place[name]
        del place[last]

    return change


def nested(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (at("format", "recipe"), "not a loss model, because the field 'format'"),
        (at("schema", 4), "has schema 4 and this mldsim reads up to 3; update mldsim"),
        (at("schema", 10**30), "update mldsim"),
        (at("schema", 0), "'schema' must be at least 1; it is 0"),
        (at("schema", "1"), "'schema' must be a whole number"),
        (at("schema", True), "'schema' must be a whole number; it is true"),
        (at("cutoff_A", -5), "'cutoff_A' must be greater than 0; it is -5"),
        (at("cutoff_A", 0.3), "'cutoff_A' must be at least 1"),
        (at("cutoff_A", 1e9), "'cutoff_A' must be at most 20"),
        (at("cutoff_A", "5"), "'cutoff_A' must be a number; it is \"5\""),
        (at("cutoff_A", None), "'cutoff_A' must be a number; it is null"),
        (at("cutoff_A", True), "'cutoff_A' must be a number; it is true"),
        (without("cutoff_A"), "'cutoff_A' is missing"),
        (at("color", 1), "'color' does not belong"),
        (at("name", ""), "'name' must be text"),
        (at("name", "x" * 300), "'name' must be text of at most 200"),
        (at("name", "two\nlines"), "'name' must be one line"),
        (at("scope", "everyone"), "'scope' must be 'own' or 'shared'; it is \"everyone\""),
        (at("order", 4), "'order' must be at most 3"),
        (at("order", 3), "'losses.O.cubic' must be there for order 3, and only then"),
        (at("order", 1), "'losses.O.quadratic'|'max_rank' must be 0"),
        (at("max_rank", 4), "'max_rank' must be at most 3"),
        (at("max_rank", 2), "'losses.O.quadratic' must have one list per rank"),
        (at("species", []), "'species' must be a list of at least 1"),
        (at("species.1.symbol", "O"), "'species' names a species twice"),
        (at("species.1.symbol", "Q"), "'Q' is not the symbol"),
        (at("species.1.symbol", "Na"), "'radial.pairs' must have exactly the pairs"),
        (at("species.0.mass_amu", 0), "'species.0.mass_amu' must be greater than 0"),
        (without("losses.H"), "'losses' must have exactly the species O, H"),
        (at("losses.O.linear", [1.0]), "'losses.O.linear' has 1 numbers where 8 belong"),
        (at("losses.O.linear.0", "1"), "'losses.O.linear.0' must be a number"),
        (at("losses.O.linear.0", False), "'losses.O.linear.0' must be a number; it is false"),
        (at("losses.O.linear.0", 1e300), "'losses.O.linear.0' must be at most 1e+20"),
        (at("losses.H.quadratic.1", [1.0]), "'losses.H.quadratic.1' has 1 numbers where 36 belong"),
        (at("losses.H.quadratic.1", 7), "'losses.H.quadratic.1' must be a list; it is 7"),
        (at("radial.family", "Bessel"), "'radial.family' must be 'ChebPow'"),
        (at("radial.exponent", 1), "'radial.exponent' must be at least 3"),
        (at("radial.pairs.O-O.0", [1.0]), "'radial.pairs' must have equally many"),
        (at("radial.pairs.O-O", []), "'radial.pairs' must have equally many"),
        (at("radial.pairs", {}), "'radial.pairs' must have exactly the pairs"),
        (without("radial.pairs.O-H"), "'radial.pairs' must have exactly the pairs H-H, O-H, O-O"),
        (at("wall.radius_A.O-O", 4.5), "'wall.radius_A.O-O' must be shorter than the cutoff"),
        (at("wall.radius_A.O-O", -1), "'wall.radius_A.O-O' must be greater than 0"),
        (at("wall.radius_A.H-O", 1.0), "'wall.radius_A' must have exactly the pairs"),
        (at("wall.stiffness_eV_A2", 0), "'wall.stiffness_eV_A2' must be greater than 0"),
        (at("fitted_ranges.distances_A.O-H", [3.0, 2.0]), "'fitted_ranges.distances_A.O-H' must be a shortest"),
        (at("fitted_ranges.distances_A.O-H", [3.0]), "'fitted_ranges.distances_A.O-H' must be a list"),
        (at("fitted_ranges.invariants.O", []), "'fitted_ranges.invariants.O' must have 8 pairs"),
        (at("fitted_ranges.invariants.O.0", [1.0, 0.0]), "smallest value above the largest"),
        (at("card", []), "'card' must be an object"),
        (at("card", {"story": "x" * 2**21}), "'card' is larger than 1 MiB"),
        (at("card", nested(100)), "'card' is larger than 1 MiB or nested too deeply"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(change: Callable[[dict], None], told: str) -> None:
    save_model(some_model(), "m.json")
    content = json.loads(Path("m.json").read_text())
    change(content)
    Path("m.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refusal:
        load_model("m.json")
    sentence = str(refusal.value)
    assert sentence.startswith("m.json")
    assert any(piece in sentence for piece in told.split("|"))
    assert len(sentence) < 250
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (at("order", 2), "'losses.O.cubic' must be there for order 3, and only then"),
        (at("losses.H.cubic", None), "'losses.H.cubic' must be there for order 3"),
        (at("losses.H.cubic", []), "'losses.H.cubic' must be an object"),
        (without("losses.O.cubic.offsets"), "'losses.O.cubic.offsets' is missing"),
        (at("losses.O.cubic.means", []), "'losses.O.cubic.means' does not belong"),
        (at("losses.O.cubic.offsets", []), "'losses.O.cubic.offsets' must be a list of at least 1"),
        (at("losses.O.cubic.offsets", [0.0] * 9), "'losses.O.cubic.offsets' must be a list of at most 8"),
        (at("losses.H.cubic.offsets", [0.0]), "'losses.H.cubic.offsets' has 1 numbers where 2 belong"),
        (at("losses.O.cubic.channels", []), "'losses.O.cubic.channels' has 0 lists where 2 belong"),
        (at("losses.O.cubic.channels.1", [[0.0] * 8]), "'losses.O.cubic.channels.1' must have 2 lists of 8 numbers"),
        (at("losses.O.cubic.channels.1.0", [0.0]), "'losses.O.cubic.channels.1' must have 2 lists of 8 numbers"),
        (at("losses.O.cubic.channels.1.0.3", "1"), "'losses.O.cubic.channels.1.0.3' must be a number"),
        (at("losses.O.cubic.channels.0", [[0.0] * 8] * 9), "'losses.O.cubic.channels.0' must be a list of at most 8"),
        (at("losses.O.cubic.saturation", 0.0), "'losses.O.cubic.saturation' must be greater than 0"),
        (without("losses.H.cubic.saturation"), "'losses.H.cubic.saturation' is missing"),
        (at("losses.O.cubic.coefficients", [1.0]), "'losses.O.cubic.coefficients' has 1 numbers where 10 belong"),
    ],
)
def test_a_wrong_field_of_the_cubic_part_is_named(change: Callable[[dict], None], told: str) -> None:
    save_model(some_model(1, 3), "m.json")
    content = json.loads(Path("m.json").read_text())
    change(content)
    Path("m.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refusal:
        load_model("m.json")
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (at("scope", "own"), "'losses.O.hops' is for models of order 3 and of shared scope only"),
        (at("losses.O.hops", None), "'losses.O.hops' is missing"),
        (at("losses.H.hops", [1.0]), "'losses.H.hops' has 1 numbers where 24 belong"),
        (at("losses.H.hops.3", "1"), "'losses.H.hops.3' must be a number"),
        (at("losses.H.waves", None), "'losses.H.waves' is missing"),
        (at("losses.H.waves", []), "'losses.H.waves' has 0 numbers where 18 belong"),
        (without("waves"), "'waves' is missing"),
        (without("waves.longest_1_A"), "'waves.longest_1_A' is missing"),
        (at("waves.longest_1_A", 1e9), "'waves.longest_1_A' must be at most 4"),
        (at("waves.longest_1_A", 0.0), "'waves.longest_1_A' must be greater than 0"),
        (at("waves.widths_1_A", []), "'waves.widths_1_A' must be a list of at least 1"),
        (at("waves.widths_1_A", [0.5] * 9), "'waves.widths_1_A' must be a list of at most 8"),
        (at("waves.widths_1_A.1", 0.0), "'waves.widths_1_A.1' must be at least 0.01"),
        (at("waves.charges", []), "'waves.charges' does not belong"),
    ],
)
def test_a_wrong_field_of_what_is_not_local_is_named(change: Callable[[dict], None], told: str) -> None:
    save_model(not_local_model(), "m.json")
    content = json.loads(Path("m.json").read_text())
    change(content)
    Path("m.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refusal:
        load_model("m.json")
    assert told in str(refusal.value)


def test_parts_that_are_not_local_need_channels() -> None:
    save_model(not_local_model(), "m.json")
    content = json.loads(Path("m.json").read_text())
    content["order"] = 2
    for loss in content["losses"].values():
        del loss["cubic"]
    Path("m.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="order 3 and of shared scope only"):
        load_model("m.json")


def spoiled(old: str, new: str) -> str:
    save_model(some_model(), "good.json")
    text = Path("good.json").read_text()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: "", "line 1: this is not a loss model, because it is not valid JSON"),
        (lambda: '{\n\n"format" 1}', "line 3: this is not a loss model"),
        (lambda: "[]", "the field 'format' is not"),
        (lambda: "[" * 100_000, "nested too deeply"),
        (lambda: spoiled('"cutoff_A":4.5', '"cutoff_A":NaN'), "NaN is not a finite number"),
        (lambda: spoiled('"cutoff_A":4.5', '"cutoff_A":-Infinity'), "-Infinity is not a finite number"),
        (lambda: spoiled('"cutoff_A":4.5', '"cutoff_A":1e999'), "1e999 is not a finite number"),
        (lambda: spoiled('"note":"', '"worth":1e999,"note":"'), "1e999 is not a finite number"),
        (lambda: spoiled('"cutoff_A":4.5', '"cutoff_A":4.5,"cutoff_A":5.0'), "the field 'cutoff_A' stands there twice"),
        (lambda: spoiled('"schema":1', '"schema":' + "1" * 5000), "thousands of digits"),
        (lambda: "\x00" * 100, "not valid JSON"),
    ],
)
def test_what_is_no_json_is_refused(content: Callable[[], str], told: str) -> None:
    Path("m.json").write_text(content())
    with pytest.raises(InputError) as refusal:
        load_model("m.json")
    assert told in str(refusal.value)
    assert str(refusal.value).startswith("m.json")


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(some_model(), "m.json")
    monkeypatch.setattr("mldsim.loss.LARGEST_FILE", 1000)
    with pytest.raises(InputError, match="larger than"):
        load_model("m.json")


@pytest.mark.parametrize("name", ["nothing", "", ".", "a\0b", "x" * 5000, "bytes"])
def test_names_that_are_no_model(name: str) -> None:
    Path("bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        load_model(name)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    save_model(some_model(), "m.json")
    Path("n.json").write_bytes(b"\xef\xbb\xbf" + Path("m.json").read_bytes())
    assert load_model("n.json").name == "some water, fitted"


def test_whole_numbers_are_numbers() -> None:
    Path("m.json").write_text(spoiled('"stiffness_eV_A2":30.0', '"stiffness_eV_A2":30'))
    assert load_model("m.json").wall.stiffness == 30.0


def test_a_file_that_exists_is_replaced_only_by_force() -> None:
    save_model(some_model(), "m.json")
    other = replace(some_model(), name="other")
    with pytest.raises(InputError, match=r"m\.json exists.*--force"):
        save_model(other, "m.json")
    assert load_model("m.json").name == "some water, fitted"
    save_model(other, "m.json", force=True)
    assert load_model("m.json").name == "other"


@pytest.mark.parametrize("path", [".", "nowhere/m.json"])
def test_where_nothing_can_be_written(path: str) -> None:
    with pytest.raises(InputError):
        save_model(some_model(), path)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 300},
        {"linear": np.full((2, 8), np.nan)},
        {"card": {"ridge": float("inf")}},
        {"card": {"story": "x" * 2**21}},
        {"ranges": FittedRanges({}, np.zeros((2, 8, 2)))},
    ],
)
def test_what_could_not_be_loaded_is_not_saved(changes: dict) -> None:
    with pytest.raises((InputError, WorkFailed), match=r"m\.json was not written"):
        save_model(replace(some_model(), **changes), "m.json")
    assert os.listdir() == []


def test_a_failing_write_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(some_model(), "m.json")
    before = Path("m.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WorkFailed, match="disk is full"):
        save_model(replace(some_model(), name="other"), "m.json", force=True)
    assert Path("m.json").read_bytes() == before
    assert os.listdir() == ["m.json"]
