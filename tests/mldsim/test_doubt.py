"""Doubt: it expects the errors that are made, more of them where the fit has not been, and travels with the model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.doubt import Doubt, expected, fit_law
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.inference import Inference, infer
from mldsim.loss import LossModel, Scope, load_model, save_model
from mldsim.parameters import DeviceKind, Precision
from mldsim.regression import DesignMatrix, FitSettings

Make = Callable[..., LabelledFrames]
SETTINGS = FitSettings(max_rank=0, n_radial=4, cutoff=4.5, ridge=1e-7)
SPECIES = np.tile(np.int32([0, 1, 1]), 8)
BOX = np.full(3, 6.4)


@pytest.fixture(scope="module")
def found(labelled: Make) -> Inference:
    """Rank 0, fitted to frames of a teacher that has rank 1 too: the form itself is wrong."""
    return infer([labelled(30, noise=0.05)], SETTINGS, doubt=True)


def doubt_and_error(model: LossModel, frames: LabelledFrames) -> tuple[np.ndarray, np.ndarray]:
    doubt = Doubt(model, SPECIES, BOX, device=DeviceKind.CPU)
    evaluate = Evaluator(model, SPECIES, BOX, device=DeviceKind.CPU, precision=Precision.DOUBLE)
    told = np.array([doubt(positions) for positions in frames.positions])
    errors = np.array([evaluate(p).forces - f for p, f in zip(frames.positions, frames.forces, strict=True)])
    return told, np.sqrt(np.mean(errors**2, axis=2))


def test_doubt_is_the_size_of_the_errors_on_unseen_frames(found: Inference, labelled: Make) -> None:
    told, errors = doubt_and_error(found.model, labelled(20, noise=0.05, seed=9))
    assert told.shape == (20, 24)
    for species in (0, 1):
        mine = species == SPECIES
        ratio = np.sqrt(np.mean(errors[:, mine] ** 2) / np.mean(told[:, mine] ** 2))
        assert 0.8 < ratio < 1.25


def test_doubt_is_larger_where_the_fit_has_not_been(found: Inference, labelled: Make) -> None:
    inside, _ = doubt_and_error(found.model, labelled(5, seed=9))
    outside, errors = doubt_and_error(found.model, labelled(5, disorder=0.16, seed=9))
    assert outside.mean() > 1.3 * inside.mean()
    rank = np.corrcoef(np.argsort(np.argsort(outside.ravel())), np.argsort(np.argsort(errors.ravel())))[0, 1]
    assert rank > 0.3


def test_the_committee_tells_the_leverage_of_the_force_rows(found: Inference, labelled: Make) -> None:
    """Against tr(D C D^T) / 3 with the inverse of the equations themselves; 16 draws of 3 components: 20 %."""
    matrix = DesignMatrix.from_form(found.kept.model.form)
    equations = found.kept.model.equations({kind: 1.0 for kind in found.kept.model.parts if kind.value == "forces"})
    upper = equations.matrix()
    full = np.triu(upper) + np.triu(upper, 1).T
    full[np.diag_indices_from(full)] *= 1.0 + SETTINGS.ridge
    doubt = Doubt(found.model, SPECIES, BOX, device=DeviceKind.CPU)
    ratios = []
    for positions, forces in zip(
        *(getattr(labelled(6, seed=2), name) for name in ("positions", "forces")), strict=True
    ):
        rows = matrix.rows(positions, SPECIES, BOX)[0]
        exact = np.einsum("ij,ji->i", rows, np.linalg.solve(full, rows.T)).reshape(-1, 3).mean(axis=1)
        leverage, _, _ = doubt.compared(positions, forces)
        ratios.append(leverage / exact)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
    assert np.std(ratios) < 0.45  # draws are shared by all agents


def test_the_law_is_found_again_from_samples_of_it(rng: np.random.Generator) -> None:
    law = np.array([[0.02, 0.5, 0.8], [0.005, 0.3, 1.1]])
    n = 20_000
    species = rng.integers(0, 2, n)
    leverage, difference = rng.lognormal(-3, 1, n), rng.lognormal(-7, 1.5, n)
    variance = np.array([expected(law[a], one, two) for a, one, two in zip(species, leverage, difference, strict=True)])
    squared = variance * rng.chisquare(3, n) / 3
    assert fit_law(np.column_stack([species, leverage, difference, squared]), 2) == pytest.approx(law, rel=0.15)


def test_a_model_without_error_has_a_law() -> None:
    samples = np.column_stack([np.zeros(50), np.full(50, 0.1), np.zeros(50), np.zeros(50)])
    law = fit_law(samples, 2)
    assert np.isfinite(law).all()
    assert np.sqrt(expected(law[0], np.full(3, 0.1), np.zeros(3))).max() < 1e-5


def test_a_committee_survives_its_file(found: Inference, labelled: Make) -> None:
    save_model(found.model, "m.json")
    back = load_model("m.json")
    positions = labelled(1).positions[0]
    before, after = (Doubt(m, SPECIES, BOX, device=DeviceKind.CPU)(positions) for m in (found.model, back))
    assert after == pytest.approx(before, rel=1e-3)
    assert Path("m.json").stat().st_size < 1.5e6
    save_model(back, "again.json")
    assert Path("again.json").read_bytes() == Path("m.json").read_bytes()


def test_own_scope_and_extended_sums_doubt_too(labelled: Make) -> None:
    settings = dataclasses.replace(SETTINGS, scope=Scope.OWN)
    first = infer([labelled(12, noise=0.05)], settings, doubt=True)
    more = infer([labelled(6, noise=0.05, seed=3)], settings, known=first.kept)
    assert more.model.committee is not None
    assert len(more.kept.samples) == 18 * 24
    told, _ = doubt_and_error(more.model, labelled(1, seed=5))
    assert (told > 0).all()


def test_a_model_without_a_committee_says_so(teacher: LossModel) -> None:
    with pytest.raises(InputError, match="'teacher' was fitted without a committee"):
        Doubt(teacher, SPECIES, BOX)


def change(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        *above, last = place.split(".")
        for name in above:
            content = content[int(name) if isinstance(content, list) else name]
        content[int(last) if isinstance(content, list) else last] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (change("committee.draws.H", [[1.0]]), "'committee.draws' must have equally many draws"),
        (change("committee.draws.H.3", [1.0]), "'committee.draws.H.3' has 1 numbers where"),
        (change("committee.draws.H.3.0", "x"), "'committee.draws.H.3.0' must be a number"),
        (change("committee.law.O.power", 3.0), "'committee.law.O.power' must be at most 1"),
        (change("committee.law", {}), "'committee.law' must have exactly the species O, H"),
        (change("committee.witness", {}), "'committee.witness' must be a loss model"),
        (change("committee.witness.scope", "own"), "'committee.witness' must have the species and the scope"),
        (change("committee.witness.cutoff_A", -1), "committee.witness: the field 'cutoff_A' must be greater than 0"),
        (change("committee.more", 1), "'committee.more' does not belong"),
    ],
)
def test_a_committee_that_cannot_be_is_refused(
    found: Inference, spoil: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    save_model(found.model, "m.json")
    content = json.loads(Path("m.json").read_text())
    spoil(content)
    Path("bad.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        load_model("bad.json")
