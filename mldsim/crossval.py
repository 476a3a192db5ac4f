"""Cross-validation: ridge and row weights are chosen by what they do to frames that were not fitted.

Every fold of the kept sums is predicted by a fit to the others. The score is the geometric mean of the relative errors
of forces, of net forces on molecules and, if their rows are there, of torques,

    score = (e_force e_net [e_torque])^(1/2 or 1/3),   e = sqrt( sum |error|^2 / sum |label|^2 )  over all folds,

so that one per cent gained in one weighs as much as one per cent lost in another, whatever their size: forces within
bonds are ten times larger than net forces, but net forces set the structure.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mldsim.dataset import Progress
from mldsim.errors import InputError, WorkFailed
from mldsim.sums import Rows, Sums

RIDGES = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
NET_FORCE_WEIGHTS = (0.0, 1.0, 3.0, 10.0)
TORQUE_FACTORS = (0.0, 0.5, 1.0, 2.0)
"""Times the torque weight that was given."""

INDIFFERENCE = 1.002
"""Of scores that differ by less than this factor the largest ridge is taken: it costs nothing and steadies a run."""


@dataclass(frozen=True)
class Trial:
    """One setting and its errors on held folds.

    Attributes
    ----------
    ridge, net_force_weight, torque_weight : float
    errors : dict
        Relative error of each kind of row that was summed.
    score : float
        Their geometric mean; infinite where a fold could not be solved.
    """

    ridge: float
    net_force_weight: float
    torque_weight: float
    errors: dict[Rows, float]
    score: float

    def to_json(self) -> dict[str, Any]:
        """The keys of the command line's contract; errors in per cent."""
        return {
            "ridge": self.ridge,
            "net_force_weight": self.net_force_weight,
            "torque_weight": self.torque_weight,
            "force_error_percent": 100.0 * self.errors[Rows.FORCES] if self.errors else None,
            "net_force_error_percent": 100.0 * self.errors[Rows.NET_FORCES] if self.errors else None,
            "torque_error_percent": 100.0 * self.errors[Rows.TORQUES] if Rows.TORQUES in self.errors else None,
            "score_percent": 100.0 * self.score if self.errors else None,
        }


def cross_validate(
    sums: Sums, torque_weight: float = 0.0, progress: Progress | None = None
) -> tuple[Trial, tuple[Trial, ...]]:
    """The best setting and all that were tried: ridges and net-force weights on a grid, then torque weights.

    Parameters
    ----------
    sums : Sums
        With rows of forces and of net forces; with rows of torques if their weight is to be chosen.
    torque_weight : float, 1/angstrom
        Kept while the others are chosen; then chosen among `TORQUE_FACTORS` times it.

    Raises
    ------
    InputError
        If there is only one fold, or rows are missing.
    WorkFailed
        If no setting determines the coefficients.
    """
    if sums.folds < 2:
        raise InputError("There are too few frames to cross-validate; give more, or leave out --cross-validate.")
    if Rows.NET_FORCES not in sums.parts or not sum(part.count for part in sums.parts[Rows.NET_FORCES]):
        raise InputError(
            "There are no rows of net forces to cross-validate with: the frames hold no molecules, or the kept sums "
            "were made without --cross-validate and with --net-force-weight 0."
        )
    grid = list(itertools.product(NET_FORCE_WEIGHTS, [torque_weight]))
    others = [factor * torque_weight for factor in TORQUE_FACTORS if factor != 1.0] if torque_weight else []
    total = (len(grid) * len(RIDGES) + len(others)) * sums.folds
    done = 0

    def score(ridges: Sequence[float], net: float, torque: float) -> list[Trial]:
        nonlocal done
        weights = {Rows.FORCES: 1.0, Rows.NET_FORCES: net, Rows.TORQUES: torque}
        squared = np.zeros((len(ridges), len(sums.parts)))
        for fold in range(sums.folds):
            equations = sums.equations(weights, without=fold)
            solutions = np.zeros((sums.size, len(ridges)))
            for number, ridge in enumerate(ridges):
                if progress:
                    progress(done / total, f"ridge {ridge:g}, net-force weight {net:g}, fold {fold + 1}")
                done += 1
                try:
                    solutions[:, number] = equations.solve(ridge)
                except WorkFailed:
                    squared[number] = np.inf
            for column, parts in enumerate(sums.parts.values()):
                squared[:, column] += parts[fold].squared_errors(solutions)
        squares = np.array([sum(part.square for part in parts) for parts in sums.parts.values()])
        trials = []
        for ridge, row in zip(ridges, squared, strict=True):
            solved = bool(np.isfinite(row).all()) and bool((squares > 0.0).all())
            errors = dict(zip(sums.parts, np.sqrt(row / squares).tolist(), strict=True)) if solved else {}
            mean = float(np.exp(np.mean(np.log(np.maximum(list(errors.values()), 1e-300))))) if solved else np.inf
            trials.append(Trial(ridge, net, torque, errors, mean))
        return trials

    trials = [trial for net, torque in grid for trial in score(RIDGES, net, torque)]
    best = _best(trials)
    for torque in others:
        trials += score([best.ridge], best.net_force_weight, torque)
    best = _best(trials)
    if progress:
        progress(1.0, "chosen")
    return best, tuple(trials)


def _best(trials: Sequence[Trial]) -> Trial:
    lowest = min(trial.score for trial in trials)
    if not np.isfinite(lowest):
        raise WorkFailed("No setting of the grid determines all coefficients; give more frames or fewer functions.")
    return max((trial for trial in trials if trial.score <= INDIFFERENCE * lowest), key=lambda t: (t.ridge, -t.score))


def table(trials: Sequence[Trial], chosen: Trial) -> str:
    """The trials as lines of text: for each net-force and torque weight the score at each ridge."""
    ridges = sorted({trial.ridge for trial in trials})
    weights = list(dict.fromkeys((trial.net_force_weight, trial.torque_weight) for trial in trials))
    by_setting = {(t.net_force_weight, t.torque_weight, t.ridge): t for t in trials}
    torques = any(torque for _, torque in weights)
    lines = ["Score (%) on held folds, and in brackets the relative errors of forces and net forces (%):"]
    for net, torque in weights:
        title = f"net-force weight {net:g}" + (f", torque weight {torque:g} / Å" if torques else "")
        lines.append(title)
        for ridge in ridges:
            trial = by_setting.get((net, torque, ridge))
            if trial is None:
                continue
            mark = "  <- chosen" if trial == chosen else ""
            told = (
                f"{100 * trial.score:7.3f} ({100 * trial.errors[Rows.FORCES]:.2f}, "
                f"{100 * trial.errors[Rows.NET_FORCES]:.2f})"
                if trial.errors
                else "not determined"
            )
            lines.append(f"    ridge {ridge:<7g}{told}{mark}")
    return "\n".join(lines)
