"""The command line as a user meets it: JSON keys, exit codes, a sentence for what is wrong, nothing half-written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from mldsim.accuracy import ForceErrors
from mldsim.cli import main
from mldsim.cli.entry import COMMANDS, parser_of, window_parser
from mldsim.dataset import LabelledFrames, save_frames
from mldsim.evaluator import Evaluator
from mldsim.loss import FittedRanges, LossModel, Scope, Wall, load_model, save_model
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis
from mldsim.readers import load_frames
from mldsim.trajectory.h5md import read_h5md

BOX = 6.4
SYMBOLS = ("O", "H", "H") * 8
ERROR_KEYS = {"frames", "force_rmse_meV_A", "force_mae_meV_A", "force_rms_meV_A"}
RUN_KEYS = {
    "steps", "seconds", "steps_per_s", "ns_per_day", "atom_steps_per_s", "device", "temperature_mean_K",
    "temperature_std_K", "energy_drift_meV_per_atom_per_ps", "aborted",
}  # fmt: skip


def some_model(strength: float) -> LossModel:
    """Linear, of rank 0; at strength 0 only the wall acts."""
    rng = np.random.default_rng(3)
    return LossModel(
        name="small", symbols=("O", "H"), masses=np.array([15.999, 1.008]), scope=Scope.SHARED, order=1, max_rank=0,
        radial=water_basis(("O", "H"), 4, 4.5), wall=Wall(30.0, np.array([[2.25, 0.80], [0.80, 1.20]])),
        linear=rng.normal(size=(2, 8)) * strength, quadratic=np.zeros((2, 1, 8, 8)),
        ranges=FittedRanges(dict.fromkeys(("O-O", "O-H", "H-H"), (0.5, 4.5)), np.zeros((2, 8, 2))),
        card={"theory": "none"},
    )  # fmt: skip


def some_frames(n_frames: int = 6) -> LabelledFrames:
    """Disordered water, labelled by `some_model`."""
    rng = np.random.default_rng(0)
    sites = np.array(np.unravel_index(np.arange(8), (2, 2, 2))).T * (BOX / 2)
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    turns, _ = np.linalg.qr(rng.normal(size=(n_frames, 8, 3, 3)))
    positions = (sites[:, None] + molecule @ turns).reshape(n_frames, 24, 3)
    positions += rng.normal(size=positions.shape) * 0.05
    box = np.full(3, BOX)
    model = some_model(0.2)
    species = np.array([model.symbols.index(symbol) for symbol in SYMBOLS], np.int32)
    evaluate = Evaluator(model, species, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
    forces = np.array([evaluate(frame).forces for frame in positions])
    return LabelledFrames(SYMBOLS, positions, forces, box, provenance={"theory": "some_model", "name": "some"})


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.json that labelled data.h5, and idle.json without forces."""
    folder = tmp_path_factory.mktemp("shelf")
    save_model(some_model(0.2), folder / "model.json")
    save_model(some_model(0.0), folder / "idle.json")
    save_frames(folder / "data.h5", [some_frames()])
    gas = ["8", f'Lattice="{BOX} 0 0 0 {BOX} 0 0 0 {BOX}" Properties=species:S:1:pos:R:3 pbc="T T T"']
    gas += [f"O {x} {y} {z}" for x in (0, 3.2) for y in (0, 3.2) for z in (0, 3.2)]
    (folder / "gas.xyz").write_text("\n".join(gas) + "\n")
    return folder


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out.strip().splitlines()[-1], parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    @property
    def sentence(self) -> str:
        """What the user is told: one line, and nothing else but progress."""
        told = [line for line in self.err.splitlines() if line.startswith("mldsim: ")]
        assert len(told) == 1, self.err
        assert "Traceback" not in self.err
        assert re.search(r"[.?]$", told[0])
        return told[0].removeprefix("mldsim: ")


Call = Callable[..., Result]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


# -- wrong use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("evalate water x", "no command 'evalate'; did you mean 'evaluate'"),
        ("frobnicate", "the commands are run, fit"),
        ("--no-such-option", "--no-such-option"),
        ("--quit-after -1", "--quit-after"),
        ("--quit-after nan", "--quit-after"),
        ("--molecules many", "'many' is not a whole number"),
        ("run", "-o/--output"),
        ("run -o t.h5md --temp 300", "--temp 300"),
        ("run -o t.h5md --temperature 0", "between 1 and 2000 K; 0 was given"),
        ("run -o t.h5md --temperature -5", "between 1 and 2000 K; -5 was given"),
        ("run -o t.h5md --temperature nan", "between 1 and 2000 K; nan was given"),
        ("run -o t.h5md --timestep 0", "'0' is not a positive"),
        ("run -o t.h5md --timestep -1fs", "'-1fs' is not a positive"),
        ("run -o t.h5md --timestep 1ps", "between 0.01 and 2 fs"),
        ("run -o t.h5md --time 1e400ps", "'1e400ps' is not a positive, finite time"),
        ("run -o t.h5md --time 5m", "'5m' is not a time"),
        ("run -o t.h5md --time 0.1fs", "--time is shorter than one time step"),
        ("run -o t.h5md --every 0.1fs", "--every is shorter than one time step"),
        ("run -o t.h5md --tau 0", "'0' is not a positive"),
        ("run -o t.h5md --density 0", "between 0.2 and 2 g/cm³; 0 was given"),
        ("run -o t.h5md --density -1", "-1 was given"),
        ("run -o t.h5md --molecules 7", "between 8 and 100000; 7 was given"),
        ("run -o t.h5md --molecules 1000000000000", "between 8 and 100000; 1000000000000 was given"),
        ("run -o t.h5md --seed 99999999999", "between 0 and 2147483647; 99999999999 was given"),
        ("run -o t.h5md --thermostat berendsen", "choose from"),
        ("run -o t.h5md --model nothing", "There is no loss model 'nothing'"),
        ("run -o t.h5md --model {shelf}/model.json --start nothing.xyz", "nothing.xyz"),
        ("run -o t.h5md --model {shelf}/model.json --start {shelf}/model.json", "model.json"),
        ("run -o nowhere/t.h5md", "the folder nowhere does not exist"),
        ("run -o .", "is a folder"),
        ("fit {shelf}/data.h5 -o nowhere/m.json", "the folder nowhere does not exist"),
        ("fit {shelf}/data.h5 -o m.json --cutoff -5", "--cutoff must lie between"),
        ("fit {shelf}/data.h5 -o m.json --cutoff 7", "box edge of 6.4 Å, which is smaller than the cutoff of 7"),
        ("fit {shelf}/data.h5 -o m.json --radial 1000", "--radial"),
        ("fit {shelf}/data.h5 -o m.json --order 4", "--order must be 1, 2 or 3; 4"),
        ("fit {shelf}/data.h5 -o m.json --order 3 --channels 9", "--channels must lie between 1 and 8; 9"),
        ("fit {shelf}/data.h5 -o m.json --order 3 --channel-steps -1", "--channel-steps must lie between 0 and 20"),
        ("fit {shelf}/data.h5 -o m.json --channels 5", "give --order 3 with them"),
        ("fit {shelf}/data.h5 -o m.json --order 1", "--max-rank 0"),
        ("fit {shelf}/data.h5 -o m.json --hops", "give --order 3 with it"),
        ("fit {shelf}/data.h5 -o m.json --order 3 --long-range --scope own", "for --scope shared only"),
        ("fit {shelf}/data.h5 -o m.json --max-rank 4", "--max-rank must lie between 0 and 3"),
        ("fit {shelf}/data.h5 -o m.json --ridge nan", "--ridge"),
        ("fit {shelf}/data.h5 -o m.json --holdout 1", "less than 1; 1 was given"),
        ("fit {shelf}/data.h5 -o m.json --seed -1", "--seed"),
        ("fit nothing.h5 -o m.json", "nothing.h5 does not exist"),
        ("convert nothing -o d.h5", "nothing does not exist"),
        ("convert {shelf}/model.json -o d.h5", "model.json holds no labelled frames"),
        ("evaluate {shelf}/model.json", "DATA"),
        ("evaluate nothing {shelf}/data.h5", "There is no loss model 'nothing'"),
        ("evaluate {shelf}/data.h5 {shelf}/data.h5", "data.h5: this is not a loss model"),
        ("evaluate {shelf}/model.json {shelf}/data.h5 --cell 10", "data.h5 states its box"),
        ("bench --model nothing", "There is no loss model 'nothing'"),
        ("bench --rounds 0", "--rounds must be at least 1; 0 was given"),
        ("bench --threads 0", "--threads must be at least 1; 0 was given"),
        ("bench --seconds nan", "--seconds must be a positive number; nan was given"),
        ("bench --molecules 64 7", "between 8 and 100000; 7 was given"),
        ("info nothing", "nothing does not exist"),
        ("info .", "holds nothing that can be read"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(call: Call, shelf: Path, line: str, told: str) -> None:
    result = call(*line.format(shelf=shelf).split())
    assert result.code == 2
    assert told in result.sentence
    assert result.out == ""
    assert os.listdir() == []


def test_a_gpu_that_is_not_there_is_told_with_the_reason(call: Call, shelf: Path) -> None:
    devices = {report["kind"]: report for report in call("devices", "--json").json["devices"]}
    assert devices["cpu"]["usable"]
    if not devices["cuda"]["usable"]:
        result = call("run", "-o", "t.h5md", "--model", shelf / "model.json", "--device", "cuda")
        assert result.code == 2
        assert devices["cuda"]["reason"].lower() in result.sentence.lower()


def test_an_existing_output_is_left_alone_without_force(call: Call, shelf: Path) -> None:
    kept = Path("kept")
    kept.write_text("precious")
    for command in (
        ("run", "-o", kept, "--model", shelf / "idle.json"),
        ("fit", shelf / "data.h5", "-o", kept),
        ("convert", shelf / "data.h5", "-o", kept),
    ):
        result = call(*command)
        assert result.code == 2
        assert "kept exists" in result.sentence
        assert "--force" in result.sentence
    assert kept.read_text() == "precious"
    assert call("convert", shelf / "data.h5", "-o", kept, "--force").code == 0
    assert load_frames(kept)[0].n_frames == 6


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no device files")
def test_a_device_file_is_never_replaced(call: Call, shelf: Path) -> None:
    result = call("convert", shelf / "data.h5", "-o", "/dev/null", "--force")
    assert result.code == 2
    assert "not an ordinary file" in result.sentence


# -- wrong data ---------------------------------------------------------------------------------------------------


def forget(name: str) -> Callable[[h5py.Group], None]:
    return lambda group: group.pop(name)


def put(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[h5py.Group], None]:
    def spoil(group: h5py.Group) -> None:
        values = change(group[name][()])
        unit = dict(group[name].attrs)
        del group[name]
        group[name] = values
        group[name].attrs.update(unit)

    return spoil


def with_nan(values: np.ndarray) -> np.ndarray:
    values[1, 2, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (forget("forces"), "there is no dataset 'forces'"),
        (forget("box"), "there is no dataset 'box'"),
        (put("forces", lambda f: f[:, :-1]), "forces have the shape (6, 23, 3)"),
        (put("atomic_numbers", lambda z: z[:-1]), "atomic_numbers must be 24 whole numbers"),
        (put("atomic_numbers", lambda z: z * 0 + 120), "120 is not the atomic number"),
        (put("atomic_numbers", lambda z: z * 0 + 11), "not Na"),
        (put("positions", with_nan), "not a finite number in frame 1"),
        (put("forces", with_nan), "not a finite number in frame 1"),
        (put("positions", lambda x: x * 0.1), "in another unit"),
        (put("forces", lambda f: f * 1e4), "in another unit"),
        (put("box", lambda b: -b), "must be positive"),
        (lambda group: group["positions"].attrs.update(unit="furlong"), "given in 'furlong'"),
        (lambda group: group.file.attrs.update(schema=99), "schema 99"),
        (lambda group: group.file.attrs.update(format="recipe"), "'recipe'"),
    ],
)
def test_wrong_data_is_named_in_one_sentence(call: Call, shelf: Path, spoil: Callable, told: str) -> None:
    bad = Path("bad.h5")
    bad.write_bytes((shelf / "data.h5").read_bytes())
    with h5py.File(bad, "r+") as file:
        spoil(file["some"])
    result = call("evaluate", shelf / "model.json", bad)
    assert result.code == 2
    assert told in result.sentence
    if "Na" not in told:
        assert "bad.h5" in result.sentence


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(2000), b"{}", b"\xff" * 99]
)
@pytest.mark.parametrize("name", ["bad.h5", "bad.json", "bad.xyz", "bad.h5md"])
@pytest.mark.parametrize("command", ["info", "evaluate", "run"])
def test_rubbish_is_refused(call: Call, shelf: Path, command: str, name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    line = {
        "info": ("info", name),
        "evaluate": ("evaluate", shelf / "model.json", name),
        "run": ("run", "-o", "t.h5md", "--model", shelf / "model.json", "--start", name),
    }[command]
    result = call(*line)
    assert result.code == 2
    assert name in result.sentence
    assert not Path("t.h5md").exists()


def test_what_a_file_says_cannot_command_the_terminal(call: Call, shelf: Path) -> None:
    content = json.loads((shelf / "model.json").read_text())
    content["card"] = {"purpose": "\x1b]0;owned\x07", "more": ["\x9b31m"], "\x1b[2J": 1}
    Path("m.json").write_text(json.dumps(content))
    with h5py.File("d.h5", "w") as file:
        with h5py.File(shelf / "data.h5", "r") as source:
            source.copy("some", file)
        file["some"].attrs["theory"] = "\x1b[31mred"
    for name in ("m.json", "d.h5"):
        out = call("info", name).out
        assert len(out.splitlines()) > 0
        assert all(c.isprintable() or c == "\n" for c in out)
    content["\x1b[2J"] = 1
    Path("m.json").write_text(json.dumps(content))
    assert call("info", "m.json").sentence.isprintable()


# -- fit, evaluate, convert, info ---------------------------------------------------------------------------------


def test_fit_and_evaluate_say_what_the_contract_has(call: Call, shelf: Path) -> None:
    fitted = call(
        *("fit", shelf / "data.h5", "-o", "m.json", "--order", "1", "--max-rank", "0", "--radial", "4"),
        *("--cutoff", "4.5", "--ridge", "1e-13", "--holdout", "0.3", "--name", "mine", "--json"),
    )
    assert fitted.code == 0
    told = fitted.json
    assert set(told) == {
        "train", "holdout", "parameters", "known_frames", "bad_frames", "ridge", "net_force_weight", "torque_weight",
        "cross_validation", "bounded", "doubt", "seconds",
    }  # fmt: skip
    assert (told["ridge"], told["bad_frames"], told["cross_validation"]) == (1e-13, [], None)
    assert told["parameters"] == 16
    assert told["seconds"] > 0
    assert (told["train"]["frames"], told["holdout"]["frames"]) == (4, 2)
    for part in ("train", "holdout"):
        assert set(told[part]) == ERROR_KEYS | {"species"}
        assert set(told[part]["species"]) == {"O", "H"}
        assert all(set(one) == ERROR_KEYS for one in told[part]["species"].values())
    # The labels came from a model of this very form.
    assert told["holdout"]["force_rmse_meV_A"] < 1e-5 * told["holdout"]["force_rms_meV_A"]

    evaluated = call("evaluate", "m.json", shelf / "data.h5", "--json")
    assert evaluated.code == 0
    assert set(evaluated.json) == ERROR_KEYS | {"species"}
    assert evaluated.json["frames"] == 6
    frames = load_frames(shelf / "data.h5")[0]
    assert evaluated.json["force_rms_meV_A"] == pytest.approx(1e3 * np.sqrt(np.mean(frames.forces**2)))
    of_oxygen = frames.forces[:, ::3]
    assert evaluated.json["species"]["O"]["force_rms_meV_A"] == pytest.approx(1e3 * np.sqrt(np.mean(of_oxygen**2)))

    model = load_model("m.json")
    assert (model.name, model.card["theory"], model.card["data"]) == ("mine", "some_model", ["data.h5"])
    assert call("info", "m.json", "--json").json["parameters"] == 16


def test_a_cubic_fit_is_written_and_evaluated(call: Call, shelf: Path) -> None:
    line = ("fit", shelf / "data.h5", "-o", "m.json", "--max-rank", "0", "--radial", "4", "--cutoff", "4.5")
    result = call(*line, "--order", "3", "--channels", "2", "--channel-steps", "1", "--holdout", "0", "--json")
    assert result.code == 0
    # Eight invariants, their 36 products, and four products of three channels, for each species.
    assert result.json["parameters"] == 2 * (8 + 36 + 4)
    assert call("info", "m.json", "--json").json["order"] == 3
    assert call("evaluate", "m.json", shelf / "data.h5", "--json").json["frames"] == 6


def test_a_fit_that_is_not_local_is_written_and_evaluated(call: Call, shelf: Path) -> None:
    line = ("fit", shelf / "data.h5", "-o", "m.json", "--max-rank", "0", "--radial", "4", "--cutoff", "4.5")
    more = ("--order", "3", "--channels", "2", "--channel-steps", "0", "--hops", "--long-range", "--holdout", "0")
    result = call(*line, *more, "--json")
    assert result.code == 0
    # As a cubic one, and three products of two numbers for each function of a pair: of four, and of four.
    assert result.json["parameters"] == 2 * (8 + 36 + 4 + 2 * 4 * 3 + 2 * 4 * 3)
    told = call("info", "m.json", "--json")
    assert (told.json["hops"], told.json["long_range"]) == (True, True)
    assert call("evaluate", "m.json", shelf / "data.h5", "--json").json["frames"] == 6


def test_a_fit_without_held_out_frames_says_null(call: Call, shelf: Path) -> None:
    result = call(
        *("fit", shelf / "data.h5", "-o", "m.json", "--max-rank", "0", "--radial", "4", "--cutoff", "4.5"),
        *("--holdout", "0", "--json"),
    )
    assert result.json["holdout"] is None
    assert result.json["train"]["frames"] == 6


SMALL = ("--order", "1", "--max-rank", "0", "--radial", "4", "--cutoff", "4.5", "--holdout", "0")


def test_kept_sums_are_extended_without_the_old_frames(call: Call, shelf: Path) -> None:
    save_frames("many.h5", [some_frames(12)])
    frames = load_frames("many.h5")[0]
    save_frames("old.h5", [frames.take(slice(0, 8))])
    save_frames("new.h5", [frames.take(slice(8, 12))])
    small = (*SMALL, "--ridge", "1e-9")
    assert call("fit", "many.h5", "-o", "whole.json", *small).code == 0
    assert call("fit", "old.h5", "-o", "first.json", "--keep", "old-sums.h5", *small).code == 0
    extended = call("fit", "new.h5", "-o", "m.json", "--holdout", "0", "--extend", "old-sums.h5", "--json")
    assert extended.code == 0
    assert (extended.json["known_frames"], extended.json["train"]["frames"]) == (8, 4)
    assert extended.json["ridge"] == 1e-9
    whole, again = load_model("whole.json"), load_model("m.json")
    assert again.linear == pytest.approx(whole.linear, rel=1e-6, abs=1e-6 * abs(whole.linear).max())
    assert again.card["frames"] == 12
    assert again.card["data"] == ["old.h5", "new.h5"]
    assert again.ranges.invariants == pytest.approx(whole.ranges.invariants)

    other = call("fit", "new.h5", "-o", "n.json", "--extend", "old-sums.h5", "--cutoff", "5")
    assert other.code == 2
    assert "of --cutoff 4.5, and 5.0 was asked for" in other.sentence
    for wrong, sentence in (("nothing.h5", "no such file of sums"), ("new.h5", "no sums of a fit")):
        refused = call("fit", "new.h5", "-o", "n.json", "--extend", wrong)
        assert (refused.code, sentence in refused.sentence) == (2, True)


def test_a_bad_frame_is_named_and_left_out(call: Call) -> None:
    frames = some_frames(20)
    frames.forces[7] = frames.forces[7][::-1]
    save_frames("data.h5", [frames])
    result = call("fit", "data.h5", "-o", "m.json", "--keep", "s.h5", *SMALL, "--json")
    assert result.code == 0
    assert "Left out: data.h5, some, frame 7: force error" in result.err
    assert [bad["frame"] for bad in result.json["bad_frames"]] == [7]
    assert result.json["train"]["frames"] == 19
    assert load_model("m.json").card["bad_frames"][0]["frame"] == 7
    kept = call("fit", "data.h5", "-o", "n.json", "--keep-bad-frames", *SMALL, "--json")
    assert kept.json["bad_frames"] == []
    assert kept.json["train"]["frames"] == 20


def test_cross_validation_is_told_and_kept(call: Call) -> None:
    save_frames("data.h5", [some_frames(10)])
    result = call("fit", "data.h5", "-o", "m.json", *SMALL, "--cross-validate", "--json")
    assert result.code == 0
    assert "<- chosen" in result.out
    trials = result.json["cross_validation"]
    assert {"ridge", "net_force_weight", "force_error_percent", "score_percent"} <= set(trials[0])
    card = load_model("m.json").card
    assert card["cross_validation"]["trials"] == trials
    assert card["ridge"] == result.json["ridge"]


def test_errors_that_are_no_numbers_are_no_result(call: Call, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mldsim.accuracy.force_errors", lambda *_: ForceErrors(6, np.nan, np.nan, 1.0))
    for line in (("evaluate", shelf / "model.json", shelf / "data.h5"), ("fit", shelf / "data.h5", "-o", "m.json")):
        result = call(*line, *(("--max-rank", "0", "--radial", "4", "--cutoff", "4.5") if line[0] == "fit" else ()))
        assert result.code == 1
        assert "not finite numbers" in result.sentence
    assert os.listdir() == []


def test_a_model_whose_forces_overflow_does_not_start(call: Call, shelf: Path) -> None:
    content = json.loads((shelf / "model.json").read_text())
    for species in "OH":
        content["losses"][species]["linear"] = [1e20] * 8
    for pair in content["radial"]["pairs"]:
        content["radial"]["pairs"][pair] = [[1e20] * len(row) for row in content["radial"]["pairs"][pair]]
    content["wall"]["stiffness_eV_A2"] = 1e20
    Path("huge.json").write_text(json.dumps(content))
    result = call("run", "-o", "t.h5md", "--model", "huge.json", "--molecules", "8")
    assert result.code in (1, 2)
    assert result.sentence
    assert not Path("t.h5md").exists()


def write_cp2k_project(frames: LabelledFrames) -> None:
    """p-pos-1.xyz with one frame more than p-frc-1.xyz, and p.inp with the cell."""
    for name, values, factor, count in (
        ("pos", frames.positions, 1.0, frames.n_frames),
        ("frc", frames.forces, 0.529177210903 / 27.211386245988, frames.n_frames - 1),
    ):
        with open(f"p-{name}-1.xyz", "w") as file:
            for step in range(count):
                print(f"{frames.n_agents}\n i = {step}, time = {0.5 * step:.3f}, E = -1.0", file=file)
                for symbol, row in zip(frames.symbols, values[step] * factor, strict=True):
                    print(symbol, *(f"{value:.10f}" for value in row), file=file)
    Path("p.inp").write_text(
        "&GLOBAL\n PROJECT p\n&END\n&FORCE_EVAL\n &SUBSYS\n  &CELL\n"
        f"   ABC {BOX} {BOX} {BOX}\n  &END\n &END\n&END\n&MOTION\n &MD\n  TIMESTEP 0.5\n &END\n&END\n"
    )


def test_convert_names_what_it_left_out_and_reads_a_project_once(call: Call, shelf: Path) -> None:
    write_cp2k_project(some_frames())
    result = call("convert", *sorted(Path().glob("p*")), "-o", "d.h5", "--json")
    assert result.code == 0, result.err
    assert "left out: positions without forces: 1" in result.out
    (system,) = result.json["systems"]
    assert system["frames"] == 5
    assert system["box_A"] == [BOX] * 3
    (kept,) = load_frames("d.h5")
    assert kept.forces == pytest.approx(some_frames().forces[:5], abs=1e-6)
    # The same errors, whether the frames are read directly or were converted before.
    direct, converted = (call("evaluate", shelf / "model.json", name, "--json").json for name in ("p.inp", "d.h5"))
    assert direct == converted


def test_a_dataset_tells_how_much_its_frames_weigh(call: Call, shelf: Path) -> None:
    assert call("convert", shelf / "data.h5", "-o", "light.h5", "--weight", "0.2").code == 0
    assert call("convert", "light.h5", "-o", "again.h5").code == 0
    told = call("info", "again.h5", "--json")
    assert "weight 0.2 in fits" in told.out
    assert [system["weight"] for system in told.json["systems"]] == [0.2]
    result = call("convert", shelf / "data.h5", "-o", "none.h5", "--weight", "0")
    assert (result.code, Path("none.h5").exists()) == (2, False)
    assert "weight of frames must be a positive number" in result.err


def test_deepmd_and_extended_xyz_are_read_directly(call: Call, shelf: Path) -> None:
    frames = some_frames()
    folder = Path("deepmd/set.000")
    folder.mkdir(parents=True)
    np.save(folder / "coord.npy", frames.positions.reshape(6, -1))
    np.save(folder / "force.npy", frames.forces.reshape(6, -1))
    np.save(folder / "box.npy", np.tile((np.eye(3) * BOX).ravel(), (6, 1)))
    Path("deepmd/type.raw").write_text("\n".join("0" if s == "O" else "1" for s in SYMBOLS))
    Path("deepmd/type_map.raw").write_text("O\nH\n")
    with open("frames.xyz", "w") as file:
        for positions, forces in zip(frames.positions, frames.forces, strict=True):
            lattice = f'Lattice="{BOX} 0 0 0 {BOX} 0 0 0 {BOX}"'
            print(f'24\n{lattice} Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"', file=file)
            for symbol, x, f in zip(SYMBOLS, positions, forces, strict=True):
                print(symbol, *x, *f, file=file)
    for name in ("deepmd", "frames.xyz"):
        result = call("evaluate", shelf / "model.json", name, "--json")
        assert result.code == 0
        assert result.json["force_rmse_meV_A"] < 1e-3
        assert call("info", name, "--json").json["systems"][0]["frames"] == 6
    both = call("evaluate", shelf / "model.json", "deepmd", "frames.xyz", "deepmd/", "--json")
    assert both.json["frames"] == 12
    assert "not taken twice" in both.err


@pytest.mark.parametrize(
    "line",
    [
        "fit {shelf}/data.h5 -o m.json --max-rank 0 --radial 4 --cutoff 4.5",
        "convert {shelf}/data.h5 -o d.h5",
        "evaluate {shelf}/model.json {shelf}/data.h5",
    ],
)
@pytest.mark.parametrize("at", [0.5, 0.9])
def test_an_interrupt_leaves_nothing_half_written(
    call: Call, shelf: Path, monkeypatch: pytest.MonkeyPatch, line: str, at: float
) -> None:
    class Interrupting:
        def __init__(self, title: str) -> None:
            self.title = title

        def __enter__(self) -> Callable[..., None]:
            def report(fraction: float, what: str = "") -> None:
                if self.title != "Reading" and fraction > at:
                    raise KeyboardInterrupt

            return report

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(f"mldsim.cli.{line.split()[0]}.progress_bar", Interrupting)
    result = call(*line.format(shelf=shelf).split())
    assert (result.code, result.sentence) == (1, "Interrupted.")
    assert os.listdir() == []


def test_too_little_memory_is_told(call: Call, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mldsim.simulation.build_simulation", exhausted)
    result = call("run", "-o", "t.h5md", "--molecules", "100000")
    assert result.code == 1
    assert "not enough memory" in result.sentence


# -- run ----------------------------------------------------------------------------------------------------------


def test_run_writes_what_was_asked_for(call: Call, shelf: Path) -> None:
    result = call(
        *("run", "-o", "t.h5md", "--model", shelf / "idle.json", "--start", shelf / "gas.xyz", "--temperature", "250"),
        *("--time", "0.1ps", "--timestep", "0.5", "--every", "5fs", "--thermostat", "none", "--json"),
    )
    assert result.code == 0
    assert set(result.json) == RUN_KEYS
    assert result.json["steps"] == 200
    assert result.json["aborted"] is None
    assert result.json["atom_steps_per_s"] == pytest.approx(8 * result.json["steps_per_s"])
    assert result.json["ns_per_day"] == pytest.approx(result.json["steps_per_s"] * 0.5e-6 * 86400)
    assert abs(result.json["energy_drift_meV_per_atom_per_ps"]) < 1.0
    with read_h5md(Path("t.h5md")) as trajectory:
        assert trajectory.times == pytest.approx(np.arange(21) * 5.0)
        assert trajectory.n_agents == 8
        temperatures = trajectory.thermo()["temperature"]
    assert temperatures[0] == pytest.approx(250)  # from a file without velocities they are drawn
    # The sums stream; they must be those of the series.
    assert result.json["temperature_mean_K"] == pytest.approx(temperatures[1:].mean())
    assert result.json["temperature_std_K"] == pytest.approx(temperatures[1:].std(ddof=1))
    assert call("info", "t.h5md", "--json").json["frames"] == 21


def test_info_tells_of_a_trajectory_of_positions_alone(call: Call) -> None:
    lattice = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3'
    Path("bare.xyz").write_text("".join(f"2\n{lattice}\nO 1 2 {z}\nH 1 2 4\n" for z in (3.0, 3.1, 3.2)))
    told = call("info", "bare.xyz", "--json")
    assert told.code == 0, told.err
    assert told.json == {"kind": "trajectory", "frames": 3, "agents": 2, "creator": "", "box_A": [9.0, 9.0, 9.0]}
    assert "no forces" in call("evaluate", "water", "bare.xyz").sentence


def test_bench_tells_what_the_machine_does(call: Call) -> None:
    result = call(
        *("bench", "--model", "water-fast", "--molecules", "512", "64", "64", "--rounds", "2", "--seconds", "0.02"),
        *("--threads", "1", "--device", "cpu", "--json"),
    )
    assert result.code == 0, result.err
    told = result.json
    assert set(told) == {"processor", "cores", "threads", "load_average", "timestep_fs", "results", "aborted"}
    assert [told["threads"], told["timestep_fs"], told["aborted"]] == [1, 0.5, None]
    assert [(one["name"], one["molecules"], one["agents"]) for one in told["results"]] == [
        ("water-fast", 64, 192),
        ("water-fast", 512, 1536),
    ]
    for one in told["results"]:
        assert one["device"] == "CPU, 1 thread"
        assert len(one["rounds"]) == 2
        assert one["steps_per_s_range"][0] <= one["steps_per_s"] <= one["steps_per_s_range"][1]
        assert one["atom_steps_per_s"] == pytest.approx(one["agents"] * one["steps_per_s"])
    table = result.out.splitlines()
    assert [line.split()[:2] for line in table[:3]] == [["model", "H2O"], ["water-fast", "64"], ["water-fast", "512"]]


def test_a_model_that_falls_apart_has_no_speed(call: Call, shelf: Path) -> None:
    result = call(
        *("bench", "--model", shelf / "idle.json", "--molecules", "64", "--rounds", "1", "--seconds", "0.02"),
        *("--threads", "1", "--device", "cpu", "--json"),
    )
    assert result.code == 1
    assert "idle.json: " in result.sentence
    assert "bond between" in result.sentence
    assert result.json["results"] == []
    assert result.json["aborted"] == result.sentence


def test_drift_is_the_slope_of_the_conserved_quantity(call: Call, shelf: Path) -> None:
    result = call(
        *("run", "-o", "t.h5md", "--model", shelf / "model.json", "--molecules", "8", "--time", "3fs"),
        *("--every", "0.5fs", "--thermostat", "none", "--json"),
    )
    assert result.code == 0, result.err
    with read_h5md(Path("t.h5md")) as trajectory:
        times, conserved = trajectory.times[1:] * 1e-3, trajectory.thermo()["conserved"][1:]
    slope = np.polyfit(times, conserved, 1)[0] * 1e3 / 24
    assert result.json["energy_drift_meV_per_atom_per_ps"] == pytest.approx(slope, rel=1e-6)


def test_the_same_seed_gives_the_same_trajectory(call: Call, shelf: Path) -> None:
    positions = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        line = ("run", "-o", name, "--model", shelf / "model.json", "--molecules", "8", "--time", "4fs", "--every", "2")
        assert call(*line, "--thermostat", "langevin", "--seed", seed).code == 0
        with read_h5md(Path(name)) as trajectory:
            positions[name] = np.array([frame.positions for frame in trajectory])
    assert (positions["a"] == positions["b"]).all()
    assert (positions["a"] != positions["c"]).any()


def test_a_name_ending_in_xyz_is_extended_xyz_and_can_be_started_from(call: Call, shelf: Path) -> None:
    gas = ("--model", shelf / "idle.json", "--thermostat", "none", "--time", "10fs")
    assert call("run", "-o", "a.xyz", "--start", shelf / "gas.xyz", *gas).code == 0
    lines = Path("a.xyz").read_text().splitlines()
    assert [lines[0], lines[10]] == ["8", "8"]
    assert "time=10 " in lines[11]
    assert call("run", "-o", "b.h5md", "--start", "a.xyz", *gas).code == 0
    with read_h5md(Path("b.h5md")) as trajectory:
        last = np.array([line.split()[1:4] for line in lines[12:20]], float)
        assert trajectory.frame(0).positions == pytest.approx(last, abs=1e-5)


def test_a_run_that_leaves_physics_is_aborted_with_the_reason(call: Call, shelf: Path) -> None:
    # Nothing holds these molecules together.
    result = call(
        *("run", "-o", "t.h5md", "--model", shelf / "idle.json", "--molecules", "8", "--temperature", "2000"),
        *("--time", "1ps", "--every", "1fs", "--json"),
    )
    assert result.code == 1
    assert set(result.json) == RUN_KEYS
    assert "bond between" in result.json["aborted"]
    assert result.sentence == result.json["aborted"]
    with read_h5md(Path("t.h5md")) as trajectory:
        assert len(trajectory) > 1
        assert np.isfinite(trajectory.frame(-1).positions).all()


def test_a_box_smaller_than_the_cutoff_is_refused(call: Call, shelf: Path) -> None:
    content = json.loads((shelf / "idle.json").read_text())
    content["cutoff_A"] = 6.0
    Path("far.json").write_text(json.dumps(content))
    result = call("run", "-o", "t.h5md", "--model", "far.json", "--molecules", "8", "--density", "2")
    assert result.code == 2
    assert "smaller than the cutoff of the model (6 Å)" in result.sentence
    result = call("evaluate", "far.json", shelf / "data.h5")
    assert result.code == 0  # between one and two cutoffs, images are enough
    content["cutoff_A"] = 7.0
    Path("far.json").write_text(json.dumps(content))
    result = call("evaluate", "far.json", shelf / "data.h5")
    assert result.code == 2
    assert "data.h5: frame 0 has a box edge of 6.4 Å" in result.sentence


def test_a_run_that_goes_on_is_the_one_that_never_stopped(call: Call) -> None:
    line = ("--model", "water-fast", "--molecules", "8", "--thermostat", "csvr", "--every", "1fs")
    line = (*line, "--ramp", "350K:5fs", "300K:5fs", "--cycle")
    kept = ("--checkpoint", "c.h5", "--checkpoint-every", "3fs")
    assert call("run", "-o", "whole.h5md", *line, "--time", "18fs").code == 0
    first = call("run", "-o", "first.h5md", *line, "--time", "8fs", *kept, "--json")
    assert first.code == 0, first.err
    assert set(first.json) == RUN_KEYS
    told = call("info", "c.h5", "--json").json
    assert (told["kind"], told["time_fs"], told["left_fs"], told["agents"]) == ("checkpoint", 8.0, 0.0, 24)
    done = call("run", "-o", "second.h5md", "--resume", "c.h5")
    assert done.code == 2
    assert "has come to its end at 8 fs" in done.sentence
    assert call("run", "-o", "second.h5md", "--resume", "c.h5", "--time", "10fs", *kept).code == 0
    with read_h5md(Path("whole.h5md")) as whole, read_h5md(Path("second.h5md")) as second:
        assert second.steps.tolist() == whole.steps[8:].tolist()
        for i in range(len(second)):
            assert (second.frame(i).positions == whole.frame(i + 8).positions).all()
            assert (second.frame(i).velocities == whole.frame(i + 8).velocities).all()
        assert (second.thermo()["target"] == whole.thermo()["target"][8:]).all()
        assert second.thermo()["target"].max() == 350.0


def test_a_run_that_goes_on_may_be_changed_in_what_may_change(call: Call) -> None:
    line = ("--model", "water-fast", "--molecules", "8", "--time", "5fs", "--every", "5fs")
    assert call("run", "-o", "a.h5md", *line, "--ramp", "400K:10fs", "--checkpoint", "c.h5").code == 0
    assert call("run", "-o", "b.h5md", "--resume", "c.h5", "--time", "10fs", "--ramp", "450:10fs").code == 0
    with read_h5md(Path("b.h5md")) as trajectory:
        assert trajectory.thermo()["target"] == pytest.approx([350.0, 400.0, 450.0])
    assert call("run", "-o", "c.h5md", "--resume", "c.h5", "--time", "5fs", "--temperature", "310").code == 0
    with read_h5md(Path("c.h5md")) as trajectory:
        assert trajectory.thermo()["target"] == pytest.approx([310.0, 310.0])
    for option, value in (("--molecules", "16"), ("--model", "water"), ("--seed", "1")):
        result = call("run", "-o", "d.h5md", "--resume", "c.h5", option, value)
        assert result.code == 2
        assert result.sentence.startswith(f"{option} cannot be changed")
    assert not Path("d.h5md").exists()


# -- processes: signals, pipes, full disks -------------------------------------------------------------------------


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mldsim", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **options,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise on Windows")
@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_a_run_that_is_told_to_stop_ends_well(shelf: Path, sent: str) -> None:
    process = start(
        *("run", "-o", "t.h5md", "--model", shelf / "idle.json", "--start", shelf / "gas.xyz", "--time", "1us"),
        *("--every", "1ps", "--thermostat", "none", "--json"),
    )
    deadline = time.monotonic() + 60
    while not Path("t.h5md").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(getattr(signal, sent))
    result = finish(process)
    assert result.code == 1
    assert result.sentence.startswith("Interrupted at ")
    assert result.json["aborted"] == result.sentence
    assert result.json["steps"] > 0
    with read_h5md(Path("t.h5md")) as trajectory:
        assert len(trajectory) == 1 + result.json["steps"] // 2000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(call: Call, shelf: Path) -> None:
    gas = ("--model", shelf / "idle.json", "--start", shelf / "gas.xyz", "--thermostat", "none")
    process = start(
        *("run", "-o", "t.h5md", *gas, "--time", "1us", "--every", "0.1ps"),
        *("--checkpoint", "c.h5", "--checkpoint-every", "0.5ps"),
    )
    while not Path("c.h5").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    process.kill()
    finish(process)
    kept = call("info", "c.h5", "--json").json
    assert kept["step"] > 0
    assert kept["left_fs"] == pytest.approx(1e9 - kept["time_fs"])
    result = call("run", "-o", "more.h5md", "--resume", "c.h5", "--time", "1ps", "--json")
    assert result.code == 0, result.err
    assert result.json["steps"] == 2000
    with read_h5md(Path("t.h5md")) as before, read_h5md(Path("more.h5md")) as after:
        assert kept["step"] in before.steps  # every frame up to a checkpoint is on disk before it
        assert after.steps.tolist() == list(range(kept["step"], kept["step"] + 2001, 200))


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
import mldsim.trajectory.h5md_writer as writer
writer._BUFFER_BYTES = 100_000  # little by little
from mldsim.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("name", ["t.h5md", "t.xyz"])
def test_a_disk_that_fills_up_ends_the_run_with_a_valid_file(shelf: Path, name: str) -> None:
    """A limit on the size of files stands in for it."""
    process = subprocess.Popen(
        [
            sys.executable, "-c", FULL_DISK, "run", "-o", name, "--model", shelf / "idle.json",
            "--start", shelf / "gas.xyz", "--time", "1us", "--every", "0.5fs", "--thermostat", "none", "--json",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    result = finish(process)
    assert result.code == 1
    assert f"{name} could not be extended" in result.sentence
    assert result.json["aborted"] == result.sentence
    found = re.search(r"the (\d+) frames", result.sentence)
    assert found
    assert whole_frames(name) == int(found[1]) > 0


def whole_frames(name: str) -> int:
    """Frames of a trajectory, all of them whole."""
    if name.endswith(".xyz"):
        lines = Path(name).read_text().splitlines()
        assert len(lines) % 10 == 0  # eight agents and two lines before them
        assert all(len(line.split()) == 11 for line in lines[-8:])
        return len(lines) // 10
    with read_h5md(Path(name)) as trajectory:
        assert np.isfinite(trajectory.frame(-1).positions).all()
        return len(trajectory)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise on Windows")
def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    process = start("models")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert err == ""


def test_a_terminal_without_angstrom_is_served(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_python("-m", "mldsim", "models", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "water: " in done.stdout


# -- help and lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_units_and_defaults_without_noise(call: Call, command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.code == 0
    assert "default: None" not in result.out
    assert "default: False" not in result.out
    assert "==" not in result.out
    text = " ".join(result.out.split())
    wanted = {
        "": ["K (default: 300)", "g/cm³ (default: 0.997)", "(default: 64)", "COMMAND"],
        "run": ["(default: 1ps)", "fs (default: 0.5fs)", "fs (default: 50fs)", "(default: 10fs)", "K (default: 300)"],
        "fit": ["angstrom (default: 5)", "(default: 1e-07)", "(default: 0.1)", "(default: shared)", "(default: bohr)"],
        "evaluate": ["(default: hartree)"],
        "convert": ["angstrom"],
    }
    for piece in wanted.get(command, []):
        assert piece in text
    assert ("--json" in text) == bool(command)


def test_version(call: Call) -> None:
    result = call("--version")
    assert result.code == 0
    assert re.fullmatch(r"mldsim \d+\.\d+\.\d+\S*\n", result.out)


def test_shipped_models_are_listed_with_the_default_first(call: Call) -> None:
    models = call("models", "--json").json["models"]
    assert models[0]["name"] == "water"
    for model in models:
        assert call("info", model["name"], "--json").json["kind"] == "loss model"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_manual_has_every_option(call: Call, repository: Path, command: str) -> None:
    manual = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z][a-z0-9-]+", call(*command.split(), "--help").out)) - {"--help", "--version"}
    missing = {option for option in options if not re.search(rf"{option}\b(?!-)", manual)}
    assert not missing
    assert f"`{command or 'mldsim'}`" in manual


def test_examples_of_the_manual_are_commands_that_parse(repository: Path) -> None:
    manual = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    examples = re.findall(r"^    mldsim ?(.*)$", manual, re.MULTILINE)
    assert len(examples) > 15
    for example in examples:
        command, *rest = example.split() or [""]
        parser = parser_of(command) if command in COMMANDS else window_parser()
        parser.parse_args(rest if command in (*COMMANDS, "play") else example.split())
