"""`mldsim learn` as a user meets it, with CP2K itself where it is installed."""

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mldsim.cli import main
from mldsim.dataset import save_frames
from mldsim.inference import fit
from mldsim.labelling.cp2k import PROGRAMS
from mldsim.loss import load_model, save_model
from mldsim.readers import load_frames
from mldsim.regression import FitSettings


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A small model without doubt, and the frames of CP2K's network that it was fitted to."""
    folder = tmp_path_factory.mktemp("given")
    with resources.as_file(resources.files("mldsim.assets.data") / "cnnp_holdout.h5") as path:
        system = next(system for system in load_frames(path) if system.n_agents == 96)
    frames = system.take(np.arange(0, system.n_frames, 2)[:12])
    save_frames(folder / "data.h5", [frames])
    save_model(fit([frames], FitSettings(max_rank=1, n_radial=4, cutoff=4.5)), folder / "model.json")
    return str(folder / "model.json"), str(folder / "data.h5")


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    assert main(["learn", *arguments]) == code
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mldsim: ")]
    assert len(told) == 1
    return told[0]


def test_wrong_use_is_one_sentence_and_leaves_nothing(
    given: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*given, "-o", str(tmp_path / "out"), "--engine", "cp2k-nnp")
    assert "--frames" in sentence(capsys, *command, "--frames", "0", code=2)
    assert "--every" in sentence(capsys, *command, "--time", "5fs", code=2)
    assert "'hot'" in sentence(capsys, *command, "--temperatures", "300", "hot", code=2)
    assert "Density" in sentence(capsys, *command, "--densities", "997", code=2)
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "CP2K is not installed" in sentence(capsys, *command, code=1)


@pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="CP2K is not installed")
def test_a_model_learns_from_cp2k(given: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fitted to twelve frames at 300 K, and let loose at 600 K."""
    arguments = [*given, "-o", str(tmp_path / "out"), "--engine", "cp2k-nnp", "--temperatures", "600"]
    arguments += ["--densities", "1", "--time", "200fs", "--frames", "5", "--rounds", "1", "--doubt-factor", "1"]
    arguments += ["--inside", "0", "--json"]
    assert main(["learn", *arguments]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert told["theory_checks"][0]["difference_meV_A"] < 0.1
    (entry,) = told["rounds"]
    assert entry["new_before"]["frames"] == entry["chosen"] > 0
    assert entry["new_after"]["force_rmse_meV_A"] < entry["new_before"]["force_rmse_meV_A"]
    assert entry["new_after"]["doubt_meV_A"] < entry["new_before"]["doubt_meV_A"]
    # The model knows before what error it will make: within a factor of two, however few the frames are.
    assert 0.5 < entry["new_before"]["doubt_meV_A"] / entry["new_before"]["force_rmse_meV_A"] < 2.0
    assert told["model"] == str(tmp_path / "out" / "model.json")
    assert load_model(told["model"]).committee is not None
    assert any(line.split()[:4] == ["1", str(entry["stopped"]), "of", "1"] for line in lines)
    folder = tmp_path / "out" / "round-01"
    assert main(["evaluate", told["model"], str(folder / "fit.h5"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["force_rmse_meV_A"] == pytest.approx(entry["new_after"]["force_rmse_meV_A"], rel=1e-6)
