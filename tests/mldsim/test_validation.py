"""A model beside its reference: what a reader of the report sees, on short runs."""

import base64
import json
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import ExitStack
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest

from mldsim import validation
from mldsim.analysis.motion import DensityOfStates
from mldsim.analysis.series import measured_temperature, open_reference, stated_temperature
from mldsim.analysis.statistics import FEWEST_BLOCKS, Number
from mldsim.cli import main
from mldsim.dataset import save_frames
from mldsim.errors import InputError
from mldsim.loss import load_model
from mldsim.readers import load_frames
from mldsim.report import decimals, render
from mldsim.simulation import Simulation
from mldsim.trajectory.h5md import read_h5md
from mldsim.validation import Quantity, RunSettings, Verdict, compared, is_water, validate


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fifth of a picosecond of 32 molecules, every 2 fs, with velocities."""
    path = tmp_path_factory.mktemp("reference") / "reference.h5md"
    arguments = ["run", "-o", str(path), "--molecules", "32", "--time", "200fs", "--every", "2fs", "--seed", "4"]
    assert main(arguments) == 0
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of CP2K."""
    with resources.as_file(resources.files("mldsim.assets.data") / "cnnp_holdout.h5") as holdout:
        first = load_frames(holdout)[0]
    path = tmp_path_factory.mktemp("labelled") / "frames.h5"
    save_frames(path, [first.take(np.arange(6))])
    return path


def positions_only(path: Path, trajectory: Path, change: Callable[[np.ndarray], np.ndarray] = lambda x: x, **attrs):
    with read_h5md(trajectory) as frames, h5py.File(path, "w") as file:
        chosen = [frames.frame(index) for index in range(0, len(frames), 10)]
        symbols = np.array(frames.topology.symbols)[frames.topology.species]
        file["positions"] = change(np.array([frame.positions for frame in chosen]))
        file["atomic_numbers"] = np.where(symbols == "O", 8, 1)
        file["box"] = frames.box
        file["time"] = [frame.time for frame in chosen]
        file.attrs.update(attrs)
    return path


class Page(HTMLParser):
    """What a browser would look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def never() -> bool:
    return False


def silent(fraction: float, what: str = "") -> None:
    assert 0.0 <= fraction <= 1.0


def test_a_report_holds_everything_and_nothing_from_outside(trajectory, labelled, tmp_path, monkeypatch, capfd):
    # In a fifth of a picosecond nothing diffuses and no line is sharp, but the way is the same.
    for name, value in {"STRUCTURE_EVERY": 4.0, "FIT_FROM": 20.0, "STRETCH": 30.0, "LONGEST_LAG": 20.0}.items():
        monkeypatch.setattr(validation, name, value)
    output = tmp_path / "report.html"
    code = main(
        ["validate", "water", "--reference", str(labelled), str(trajectory), "-o", str(output), "--time", "180fs",
         "--equilibration", "10fs", "--viscosity", "0.9", "--json"]
    )  # fmt: skip
    told = capfd.readouterr()
    assert code == 0, told.err
    text = output.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open  # every element is closed
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert "http" not in text.replace("http-equiv", "")
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    for picture in pictures:
        assert picture["alt"]
        start = "data:image/svg+xml;base64,"
        assert picture["src"].startswith(start)
        assert ElementTree.fromstring(base64.b64decode(picture["src"][len(start) :])).tag.endswith("svg")
    figures = {
        "g_O-O", "g_O-H", "g_H-H", "bond_O-H", "angle_H-O-H", "tetrahedral_order", "states", "displacement",
        "temperature", "forces_O", "forces_H",
    }  # fmt: skip
    assert {f"figure-{name}" for name in figures} <= page.ids()
    assert len(pictures) == len(figures)

    numbers = json.loads(told.out.splitlines()[-1])
    assert set(numbers["quantities"]) <= page.ids()
    assert {"diffusion", "diffusion_infinite", "hydrogen_bonds", "states_bending_centre", "g_O-O_peak_height"} <= set(
        numbers["quantities"]
    )
    assert numbers["stopped"] is None
    assert not numbers["left_out"]
    assert numbers["forces"]["all"]["frames"] == 6
    # The model against its own run: water it is, and the same water.
    assert numbers["quantities"]["bond_O-H_mean"]["model"] == pytest.approx(0.97, abs=0.01)
    bands = ("translation", "bending", "stretching")
    shares = [numbers["quantities"][f"states_{band}_share"]["model"] for band in bands]
    assert sum(shares) == pytest.approx(100.0, abs=0.5)
    assert numbers["quantities"]["hydrogen_bonds"]["model"] == pytest.approx(3.3, abs=0.6)
    assert abs(numbers["quantities"]["bond_O-H_mean"]["difference"]) < 0.005
    assert any("one line in ten" in limit for limit in numbers["limits"])
    assert "not with experiment" in "".join(page.texts)


def test_forces_are_those_of_evaluate(labelled, tmp_path, capfd):
    assert main(["evaluate", "water", str(labelled), "--json"]) == 0
    expected = json.loads(capfd.readouterr().out.splitlines()[-1])
    found = validate("water", [labelled], RunSettings(time=1.0, equilibration=0.5, temperature=300.0), silent, never)
    rows = found.forces[0].rows
    assert rows["all"][0].value == pytest.approx(expected["force_rmse_meV_A"])
    assert rows["H"][0].value == pytest.approx(expected["species"]["H"]["force_rmse_meV_A"])
    assert rows["O"][1] == pytest.approx(expected["species"]["O"]["force_rms_meV_A"])
    assert 0 < rows["net force"][0].value < rows["net force"][1]


def test_a_run_compared_with_itself_differs_in_nothing(trajectory):
    settings = RunSettings(equilibration=0.0, temperature=300.0)
    found = validate("water", [trajectory], settings, silent, never, run=trajectory)
    for quantity in found.quantities:
        if not quantity.key.startswith("temperature"):
            assert quantity.difference == pytest.approx(0.0, abs=1e-12), quantity.key
            assert quantity.verdict is not Verdict.BEYOND
    assert found.stopped is None
    assert any(text.startswith("Forces") for text in found.left_out)


def test_short_series_are_not_judged(trajectory):
    found = validate("water", [trajectory], RunSettings(equilibration=0.0), silent, never, run=trajectory)
    assert {quantity.verdict for quantity in found.quantities} == {Verdict.TOO_SHORT}
    assert found.agreement() == (0, 0)
    assert "too short to tell" in render(found)
    assert any("The run lasted 200 fs" in limit for limit in found.limits)


def test_a_difference_is_seen_and_what_is_missing_is_told(trajectory, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "JUDGED_FROM", 100.0)

    def stretched(positions):
        molecules = positions.reshape(len(positions), -1, 3, 3)
        molecules[:, :, 1:] = molecules[:, :, :1] + 1.02 * (molecules[:, :, 1:] - molecules[:, :, :1])
        return molecules.reshape(positions.shape)

    other = positions_only(tmp_path / "other.h5", trajectory, stretched, temperature="300 K", theory="stretched water")
    settings = RunSettings(equilibration=0.0)
    found = validate("water", [other], settings, silent, never, run=trajectory)
    quantities = {quantity.key: quantity for quantity in found.quantities}
    assert quantities["bond_O-H_mean"].verdict is Verdict.BEYOND
    assert quantities["bond_O-H_mean"].difference == pytest.approx(-0.0196, abs=0.001)
    assert quantities["angle_H-O-H_mean"].verdict is Verdict.WITHIN
    assert "states" not in {panel.key for panel in found.panels}
    told = " ".join(found.left_out)
    for missing in ("Density of states", "Displacements", "Forces"):
        assert missing in told
    page = render(found)
    assert "beyond noise" in page
    assert "stretched water" in page


@pytest.mark.parametrize("looks", [0, 40, 125])
def test_an_interrupted_validation_tells_how_far_it_came(trajectory, labelled, looks):
    """In the forces, in the reference, in the run."""
    left = [looks]

    def after_some() -> bool:
        left[0] -= 1
        return left[0] < 0

    settings = RunSettings(time=5000.0, equilibration=5.0)
    reference = [labelled, trajectory]
    found = validate("water", reference, settings, silent, after_some)
    assert found.stopped
    assert "Interrupted" in found.stopped
    assert "Not complete: Interrupted" in render(found)


def test_ctrl_c_writes_the_report_of_what_was_measured(trajectory, tmp_path, monkeypatch, capfd):
    advance = Simulation.advance

    def interrupted(simulation: Simulation, steps: int) -> None:
        advance(simulation, steps)
        if simulation.state.time >= 45.0:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Simulation, "advance", interrupted)
    output = tmp_path / "report.html"
    arguments = ["--reference", str(trajectory), "-o", str(output), "--time", "10ps", "--equilibration", "1fs"]
    assert main(["validate", "water", *arguments]) == 1
    assert "Interrupted at" in capfd.readouterr().err.splitlines()[-1]
    page = output.read_text(encoding="utf-8")
    assert "Not complete: Interrupted" in page
    assert "Radial distribution" in page  # two frames were measured


def test_text_from_files_is_shown_not_obeyed(trajectory, tmp_path):
    evil = "<script>alert(1)</script>"
    other = positions_only(tmp_path / "other.h5", trajectory, temperature="300 K", theory=evil, ensemble=evil)
    found = validate("water", [other], RunSettings(equilibration=0.0), silent, never, run=trajectory)
    page = Page(render(found))
    assert "script" not in {tag for tag, _ in page.tags}
    assert any(evil in text for text in page.texts)


def test_the_default_reference_is_shipped():
    found = validate("water", [], RunSettings(), silent, lambda: True)
    assert found.stopped
    assert found.reference["System"].startswith("192 agents in 12.4")
    assert "revPBE0-D3" in found.reference["Theory"]


def test_velocities_of_a_reference_may_have_times_of_their_own(trajectory, tmp_path, monkeypatch):
    """Two stretches of velocities 2 fs apart beside positions 20 fs apart: the spectrum of the same velocities."""
    for name, value in {"STRUCTURE_EVERY": 4.0, "STRETCH": 60.0, "LONGEST_LAG": 40.0}.items():
        monkeypatch.setattr(validation, name, value)
    other = positions_only(tmp_path / "other.h5", trajectory, temperature="300 K")
    with read_h5md(trajectory) as frames, h5py.File(other, "r+") as file:
        chosen = [*range(30), *range(60, 90)]
        file["velocities"] = [frames.frame(index).velocities for index in chosen]
        file["velocity_time"] = [frames.frame(index).time for index in chosen]
    found = validate("water", [other], RunSettings(equilibration=0.0), silent, never, run=trajectory)
    assert found.reference["Frames"] == "11, 20 fs apart"
    assert found.reference["Velocities"] == "60 frames, 2 fs apart, in 2 stretches"
    assert not [text for text in found.left_out if text.startswith("Density of states")]
    (panel,) = [panel for panel in found.panels if panel.key == "states"]
    # The run has three stretches of 30 frames, the reference two of them.
    assert np.abs(panel.model.y - panel.reference.y).max() < 0.3 * panel.model.y.max()
    with h5py.File(other, "r+") as file:
        del file["velocity_time"]
    with pytest.raises(InputError, match="'velocities' has the shape"):
        validate("water", [other], RunSettings(equilibration=0.0), silent, never, run=trajectory)


def test_the_shipped_reference_has_the_spectrum_of_water():
    reference = resources.files("mldsim.assets.data") / "water64_300K_reference.h5"
    with ExitStack() as files:
        path = files.enter_context(resources.as_file(reference))
        series, _ = open_reference([path], load_model("water"), files)
        assert series is not None
        assert measured_temperature(series) == pytest.approx(300.0, abs=10.0)
        states = DensityOfStates(series.topology.masses, 2.0)
        for part in series.moving:
            assert part.interval == 2.0
            for index in range(len(part)):
                states.add(part.frame(index))
            states.gap()
    assert states.count >= FEWEST_BLOCKS  # otherwise its errors are not known
    for low, high, place in ((1200.0, 2400.0, 1680.0), (2400.0, 4500.0, 3690.0)):
        centre, share = states.band(low, high)
        assert centre.value == pytest.approx(place, abs=40.0)
        assert 0.08 < share.value < 0.25


def test_the_temperature_of_a_reference_is_stated_or_measured(trajectory):
    with ExitStack() as files:
        series, labelled = open_reference([trajectory], load_model("water"), files)
        assert series is not None
        assert not labelled
        assert measured_temperature(series) == pytest.approx(300.0, abs=60.0)
        assert is_water(series.topology)
    assert stated_temperature({"ensemble": "NVT CSVR 30 fs 450 K"}) == 450.0
    assert stated_temperature({"ensemble": "NVT"}) is None


def test_wrong_input_is_refused_in_one_sentence(trajectory, tmp_path, capfd):
    def refused(*arguments: str) -> str:
        assert main(["validate", "water", "-o", str(tmp_path / "r.html"), *arguments]) == 2
        assert not (tmp_path / "r.html").exists()
        lines = capfd.readouterr().err.splitlines()
        return lines[-1]

    positions = positions_only(tmp_path / "positions.h5", trajectory)
    against = ("--reference", str(positions))
    recorded = ("--run", str(trajectory), "--equilibration", "10fs")
    assert "does not say at what temperature" in refused(*against, *recorded)
    with h5py.File(positions, "r+") as file:
        file["atomic_numbers"][0] = 79
    assert "knows only O, H" in refused(*against, "--temperature", "300")
    with h5py.File(positions, "r+") as file:
        del file["box"]
    assert "'box'" in refused(*against, "--temperature", "300")
    assert "96 agents and the reference 192" in refused(*recorded)
    assert "holds no frame after" in refused("--reference", str(trajectory), "--run", str(trajectory))
    assert "positive" in refused("--viscosity", "-1")
    (tmp_path / "there.html").touch()
    assert main(["validate", "water", "-o", str(tmp_path / "there.html")]) == 2
    assert "--force" in capfd.readouterr().err


def test_a_run_in_another_box_is_refused(trajectory, tmp_path):
    other = positions_only(tmp_path / "other.h5", trajectory, temperature="300 K")
    with h5py.File(other, "r+") as file:
        file["box"][:] *= 1.05
    with pytest.raises(InputError, match="same box"):
        validate("water", [other], RunSettings(equilibration=0.0), silent, never, run=trajectory)


def test_the_verdict_is_two_combined_errors():
    def verdict(difference: float, error: float = 0.5) -> Verdict:
        return compared("x", "x", "", Number(difference, error), Number(0.0, error)).verdict

    assert verdict(1.41) is Verdict.WITHIN
    assert verdict(-1.42) is Verdict.BEYOND
    assert verdict(0.1, np.nan) is Verdict.UNKNOWN
    nothing = Quantity("x", "x", "", None, None, np.nan, 1.0)
    assert nothing.verdict is Verdict.UNKNOWN
    assert nothing.to_json()["difference"] is None


@pytest.mark.parametrize(
    ("value", "error", "places"),
    [(2.5561, 0.0123, 3), (105.3, 0.2, 2), (3e4, 250.0, 0), (0.98765, np.nan, 4), (0, 0, 2)],
)
def test_numbers_are_told_to_the_second_digit_of_their_error(value, error, places):
    assert decimals(Number(value, error)) == places


@pytest.mark.parametrize(("model", "told"), [("water", "csvr, 310 K, coupling time 500 fs"),
                                             ("water-paper", "nose-hoover, 310 K, coupling time 50 fs")])  # fmt: skip
def test_the_usual_thermostat_is_gentle_unless_forces_heat(trajectory, model, told):
    settings = RunSettings(time=60.0, equilibration=1.0, temperature=310.0)
    found = validate(model, [trajectory], settings, silent, never)
    assert found.run["Thermostat"] == told
    assert found.stopped is None
    assert (found.drift is None) == (model == "water-paper")  # own-scope dynamics conserve nothing
