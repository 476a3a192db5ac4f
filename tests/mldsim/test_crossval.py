"""Cross-validation: scores are those of fits that never saw the fold, and the choice follows them."""

from collections.abc import Callable

import numpy as np
import pytest

from mldsim.crossval import RIDGES, cross_validate, table
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError, WorkFailed
from mldsim.inference import infer
from mldsim.regression import FitSettings
from mldsim.sums import Rows, Sums


def sums_of(
    rng: np.random.Generator, noise: float, size: int = 12, frames: int = 10, folds: int = 5, same: bool = False
) -> tuple[Sums, list[tuple[np.ndarray, np.ndarray]]]:
    """Random rows with net rows three times fewer; and the rows of each fold."""
    truth = rng.normal(size=size)
    sums = Sums({}, size, [Rows.FORCES, Rows.NET_FORCES], folds)
    kept = []
    for fold in range(folds):
        rows = rng.normal(size=(3 * frames, size))
        if same:
            rows[:, 1:] = rows[:, :1]
        targets = rows @ truth + rng.normal(size=len(rows)) * noise
        sums.parts[Rows.FORCES][fold].add(rows, targets)
        sums.parts[Rows.NET_FORCES][fold].add(rows[::3], targets[::3])
        kept.append((rows, targets))
    return sums, kept


def test_a_score_is_the_error_on_rows_that_were_not_fitted(rng: np.random.Generator) -> None:
    sums, kept = sums_of(rng, 0.5)
    _, trials = cross_validate(sums)
    trial = next(t for t in trials if t.net_force_weight == 3.0 and t.ridge == 1e-3)
    squared, net = 0.0, 0.0
    for fold, (rows, targets) in enumerate(kept):
        others = [(r, t) for number, (r, t) in enumerate(kept) if number != fold]
        fitted = np.concatenate([r for r, _ in others] + [3.0 * r[::3] for r, _ in others])
        wanted = np.concatenate([t for _, t in others] + [3.0 * t[::3] for _, t in others])
        scale = np.linalg.norm(fitted, axis=0)
        scaled = fitted / scale
        theta = np.linalg.solve(scaled.T @ scaled + 1e-3 * np.eye(12), scaled.T @ wanted) / scale
        squared += ((rows @ theta - targets) ** 2).sum()
        net += ((rows[::3] @ theta - targets[::3]) ** 2).sum()
    total = sum((t**2).sum() for _, t in kept)
    of_net = sum((t[::3] ** 2).sum() for _, t in kept)
    assert trial.errors[Rows.FORCES] == pytest.approx(np.sqrt(squared / total))
    assert trial.errors[Rows.NET_FORCES] == pytest.approx(np.sqrt(net / of_net))
    assert trial.score == pytest.approx(np.sqrt(np.sqrt(squared / total) * np.sqrt(net / of_net)))


def test_the_choice_is_the_best_or_as_good_and_steadier(rng: np.random.Generator) -> None:
    sums, _ = sums_of(rng, 0.5)
    chosen, trials = cross_validate(sums)
    best = min(trial.score for trial in trials)
    assert chosen.score <= 1.002 * best
    assert all(t.ridge <= chosen.ridge for t in trials if t.score <= 1.002 * best)


def test_noise_asks_for_a_larger_ridge(rng: np.random.Generator) -> None:
    """As many rows as columns, noise as large as the signal: the least ridge is not the best."""
    sums, _ = sums_of(rng, 6.0, size=40, frames=4)
    assert cross_validate(sums)[0].ridge >= 1e-3


def test_torque_weights_are_tried_when_there_is_one(labelled: Callable[..., LabelledFrames]) -> None:
    settings = FitSettings(max_rank=0, n_radial=4, cutoff=4.5, torque_weight=2.0)
    found = infer([labelled(10, noise=0.02)], settings, cross_validation=True)
    assert {trial.torque_weight for trial in found.trials} == {0.0, 1.0, 2.0, 4.0}
    assert found.settings.ridge == found.chosen.ridge == found.model.card["ridge"]
    assert "torque weight 4 / Å" in table(found.trials, found.chosen)


def test_the_table_has_every_trial_and_marks_the_choice(rng: np.random.Generator) -> None:
    sums, _ = sums_of(rng, 0.5)
    chosen, trials = cross_validate(sums)
    text = table(trials, chosen)
    assert text.count("ridge") == len(trials) == 4 * len(RIDGES)
    assert text.count("<- chosen") == 1


def test_what_cannot_be_validated_is_told(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="too few frames to cross-validate"):
        cross_validate(sums_of(rng, 0.1, folds=1)[0])
    with pytest.raises(InputError, match="no rows of net forces"):
        cross_validate(Sums({}, 3, [Rows.FORCES], 4))
    sums, _ = sums_of(rng, 0.1)
    for parts in sums.parts.values():
        for part in parts:
            part.packed[:] = np.inf
    with pytest.raises(WorkFailed, match="No setting"):
        cross_validate(sums)
