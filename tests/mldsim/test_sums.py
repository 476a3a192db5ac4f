"""Kept sums: extended, they give the fit of all frames; damaged or foreign files are refused in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.inference import Inference, infer
from mldsim.regression import DesignMatrix, FitSettings
from mldsim.sums import MOST_MEMORY, Rows, load_sums, n_folds, save_sums

Make = Callable[..., LabelledFrames]
SETTINGS = FitSettings(max_rank=1, n_radial=4, cutoff=4.5, ridge=1e-8, torque_weight=0.5)


@pytest.fixture(scope="module")
def first(labelled: Make) -> Inference:
    return infer([labelled(20, noise=0.02)], SETTINGS)


@pytest.fixture
def path(first: Inference, home: Path) -> Path:
    save_sums(first.kept, home / "sums.h5")
    return home / "sums.h5"


def test_what_is_kept_comes_back(first: Inference, path: Path) -> None:
    back = load_sums(path)
    assert back.model.form == first.kept.model.form
    assert set(back.model.parts) == {Rows.FORCES, Rows.NET_FORCES, Rows.TORQUES}  # shared scope has no curls
    for kind, parts in back.model.parts.items():
        for mine, theirs in zip(parts, first.kept.model.parts[kind], strict=True):
            assert (mine.packed == theirs.packed).all()
            assert (mine.vector == theirs.vector).all()
            assert (mine.square, mine.count) == (theirs.square, theirs.count)
    assert (back.lowest == first.kept.lowest).all()
    assert (back.frame_errors == first.kept.frame_errors).all()
    assert back.choices == {"ridge": 1e-8, "net_force_weight": 3.0, "torque_weight": 0.5, "curl_weight": 0.0}
    assert back.sources == ("frames.h5",)
    assert DesignMatrix.from_form(back.model.form).form() == back.model.form


def test_an_extended_fit_is_that_of_all_frames(path: Path, labelled: Make) -> None:
    old, new = labelled(20, noise=0.02), labelled(10, noise=0.02, seed=7)
    extended = infer([new], SETTINGS, known=load_sums(path))
    whole = infer([old, new], SETTINGS)
    assert extended.model.linear == pytest.approx(whole.model.linear, abs=1e-5)
    assert extended.model.quadratic == pytest.approx(whole.model.quadratic, abs=1e-5)
    assert extended.model.ranges.distances == whole.model.ranges.distances
    assert extended.kept.n_frames == extended.model.card["frames"] == 30
    again = infer([labelled(3, noise=0.02, seed=8)], SETTINGS, known=extended.kept)
    assert again.kept.n_frames == 33


def test_other_weights_need_no_other_sums(first: Inference, path: Path, labelled: Make) -> None:
    """Net-force rows are kept apart from forces: their weight can be changed afterwards."""
    known = load_sums(path)
    weights = {Rows.FORCES: 1.0, Rows.NET_FORCES: 1.0}
    other = infer([labelled(20, noise=0.02)], FitSettings(max_rank=1, n_radial=4, cutoff=4.5, net_force_weight=1.0))
    expected = other.kept.model.equations(weights)
    found = known.model.equations(weights)
    assert found.matrix() == pytest.approx(expected.matrix())
    assert found.vector == pytest.approx(expected.vector)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cutoff": 5.0}, "of --cutoff 4.5, and 5.0 was asked for"),
        ({"max_rank": 0}, "of --max-rank 1, and 0 was asked for"),
        ({"n_radial": 5}, "of --radial 4, and 5 was asked for"),
    ],
)
def test_sums_of_another_form_are_not_extended(
    path: Path, labelled: Make, changes: dict[str, Any], sentence: str
) -> None:
    asked = FitSettings(**({"max_rank": 1, "n_radial": 4, "cutoff": 4.5} | changes))
    with pytest.raises(InputError, match=sentence):
        infer([labelled(2)], asked, known=load_sums(path))


def test_rows_that_were_not_summed_are_not_weighted(labelled: Make) -> None:
    plain = FitSettings(max_rank=0, n_radial=4, cutoff=4.5, net_force_weight=0.0)
    known = infer([labelled(6)], plain).kept
    with pytest.raises(InputError, match="no rows of net forces"):
        infer([labelled(2)], FitSettings(max_rank=0, n_radial=4, cutoff=4.5), known=known)
    with pytest.raises(InputError, match="without --doubt"):
        infer([labelled(2)], plain, known=known, doubt=True)
    helium = LabelledFrames(("He", "O"), [[[0, 0, 0], [3, 0, 0]]], [[[0, 0, 0], [0, 0, 0]]], [9, 9, 9])
    with pytest.raises(InputError, match="know O, H, not He"):
        infer([helium], plain, known=known)


def nan(file: h5py.File) -> None:
    file["model/forces/0/packed"][3] = np.nan


def short(file: h5py.File) -> None:
    del file["model/forces/1/vector"]
    file["model/forces/1/vector"] = np.zeros(3)


def missing(file: h5py.File) -> None:
    del file["model/net forces/2"]


def gone(file: h5py.File) -> None:
    del file["nearest"]


def negative(file: h5py.File) -> None:
    file["model/forces/0"].attrs["square"] = -1.0


def huge(file: h5py.File) -> None:
    file["model"].attrs["size"] = 10**9


def nonsense(file: h5py.File) -> None:
    file.attrs["about"] = "[1, 2"


def newer(file: h5py.File) -> None:
    file.attrs["schema"] = 99


def texts(file: h5py.File) -> None:
    del file["frame_errors"]
    file["frame_errors"] = "words"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (nan, "'packed' in '/model/forces/0' holds what is not a finite number"),
        (short, r"'/model/forces/1/vector' has the shape \(3,\)"),
        (missing, "'model/net forces' does not have the folds 0 to 4"),
        (gone, "nearest"),
        (negative, "a sum of squares or a count that cannot be"),
        (huge, "1000000000 columns"),
        (nonsense, "'about' of '/' is not a JSON object"),
        (newer, "schema 99"),
        (texts, "'frame_errors' in '/' is not an array of numbers"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(
    path: Path, spoil: Callable[[h5py.File], None], sentence: str
) -> None:
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=sentence) as refused:
        load_sums(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_what_is_no_file_of_sums_is_refused(home: Path) -> None:
    (home / "text.h5").write_text("nothing of the kind")
    with h5py.File(home / "other.h5", "w") as file:
        file["positions"] = np.zeros(3)
    for name, sentence in (("no.h5", "no such file"), ("text.h5", "cannot be read"), ("other.h5", "no sums of a fit")):
        with pytest.raises(InputError, match=sentence):
            load_sums(home / name)


def test_memory_is_bounded_and_folds_are_few_where_frames_are() -> None:
    assert n_folds(500, 1300, 2) == 5
    assert n_folds(3, 1300, 2) == 3
    assert n_folds(500, 20_000, 2) == 2
    for size in (1000, 6000, 9000):
        assert 4 * size * (size + 1) * 2 * n_folds(500, size, 2) <= MOST_MEMORY
