"""Frames that do not belong: labels that no fit of the others explains.

A label is computed by a program that can fail: a wave function that did not converge, atoms written in another order,
a unit mixed up. One such frame among hundreds bends a least-squares fit. After a fit each frame's force error is
compared with that of the other frames of its kind, where the fit that judges a frame has not seen its fold; median and
median absolute deviation are not moved by the outliers that they shall find (Rousseeuw and Croux 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEVIATIONS = 10.0
"""Robust standard deviations above the median; frames of one kind scatter by two to four."""

TIMES_MEDIAN = 3.0
"""And so many times the median: a rare event of the liquid is no fault of its label."""

LEAST_SHARE = 0.01
"""An error below this share of the labels' own size is no fault."""

ABSURD = 5.0
"""Labels so many times larger than the median of their kind are left out before the first fit, which they would bend
beyond recognition."""

FEWEST = 8
"""Kinds of fewer frames have no median of their own and are compared with all frames."""

TIMES_ALL = 10.0
"""In place of `TIMES_MEDIAN` for these: they may come from a state that the others do not show. Permuted labels are
wrong by 30 times the error of a good fit."""


@dataclass(frozen=True)
class BadFrame:
    """A frame that is left out.

    Attributes
    ----------
    source, system : str
        File; name of the system in it, or nothing.
    kind : int
        Which of the fitted systems.
    frame : int
        Its number in the file's system, from 0.
    step : int or None
        Of the run it was taken from.
    error, median : float, eV/angstrom
        Root mean square of its force error (of its labels, if `absurd`), and the median of its kind.
    absurd : bool
        Left out for the size of its labels alone.
    """

    source: str
    system: str
    kind: int
    frame: int
    step: int | None
    error: float
    median: float
    absurd: bool = False

    def __str__(self) -> str:
        system = f", {self.system}" if self.system else ""
        step = "" if self.step is None else f" (step {self.step})"
        what = "labels of root mean square" if self.absurd else "force error"
        return (
            f"{self.source}{system}, frame {self.frame}{step}: {what} {1e3 * self.error:.0f} meV/Å, where "
            f"{1e3 * self.median:.0f} is the median of its kind."
        )

    def to_json(self) -> dict[str, Any]:
        """The keys of the command line's contract, meV/angstrom."""
        size = "force_rms_meV_A" if self.absurd else "force_rmse_meV_A"
        return {
            "source": self.source,
            "system": self.system,
            "frame": self.frame,
            "step": self.step,
            size: 1e3 * self.error,
            "median_meV_A": 1e3 * self.median,
        }


def medians(
    values: NDArray[np.float64], kinds: NDArray[np.intp], known: NDArray[np.float64]
) -> list[tuple[NDArray[np.bool_], float, float]]:
    """Groups to compare within: (members, median, robust standard deviation) of each.

    Parameters
    ----------
    values : (n_frames,) float64
    kinds : (n_frames,) int
        Frames of one system are of one kind; kinds of few frames are compared with all frames.
    known : (n_known,) float64
        Values of earlier frames, for comparison only.
    """
    groups: list[tuple[NDArray[np.bool_], NDArray[np.float64]]] = []
    few = np.zeros(len(values), bool)
    for kind in np.unique(kinds):
        mine = kinds == kind
        if mine.sum() < FEWEST:
            few |= mine
        else:
            groups.append((mine, values[mine]))
    if few.any():
        groups.append((few, np.concatenate([values, known])))
    result = []
    for members, all_values in groups:
        median = float(np.median(all_values))
        result.append((members, median, 1.4826 * float(np.median(np.abs(all_values - median)))))
    return result


def outlying(
    errors: NDArray[np.float64],
    labels: NDArray[np.float64],
    kinds: NDArray[np.intp],
    known: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which frames to leave out now, and the median of each frame's kind.

    Of several outliers only the worst are named: they may have spoiled the errors of the others, which are judged
    again by the next fit.

    Parameters
    ----------
    errors, labels : (n_frames,) float64, eV/angstrom
        Root mean square of each frame's force error, and of its labels.
    kinds, known
        See `medians`.
    """
    errors = np.where(np.isfinite(errors), errors, np.inf)
    excess = np.zeros(len(errors))
    middle = np.zeros(len(errors))
    if len(errors) + len(known) >= FEWEST:
        for members, median, deviation in medians(errors, kinds, known):
            times = TIMES_MEDIAN if members.sum() >= FEWEST else TIMES_ALL
            limit = max(median + DEVIATIONS * deviation, times * median, LEAST_SHARE * float(np.median(labels)))
            excess[members] = errors[members] / limit if limit > 0.0 else 0.0
            middle[members] = median
    worst = excess.max(initial=0.0)
    return (excess > 1.0) & (excess >= 0.5 * worst), middle


def absurd(labels: NDArray[np.float64], kinds: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which frames have labels of absurd size, and the median size of each frame's kind; arguments as of `outlying`."""
    found = np.zeros(len(labels), bool)
    middle = np.zeros(len(labels))
    if len(labels) >= FEWEST:
        for members, median, _ in medians(labels, kinds, np.empty(0)):
            found[members] = labels[members] > ABSURD * median
            middle[members] = median
    return found, middle
