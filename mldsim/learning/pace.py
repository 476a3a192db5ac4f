"""How much of a loop is done: from what each kind of its work took so far."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping

from mldsim.dataset import Progress


class Work(enum.Enum):
    """Kinds of work."""

    LOOK = "look"
    """A look of a run: some time steps and a doubt."""
    LABEL = "label"
    """A frame labelled."""
    FIT = "fit"
    """A frame added to the fit, and what is measured with the new model."""


FIRST_GUESS = {Work.LOOK: 0.05, Work.LABEL: 0.5, Work.FIT: 0.5}
"""s; what one takes until it was measured: 32 H2O and cp2k-nnp on one core."""


class Pace:
    """Tells the fraction done of all rounds that are still allowed; a loop that settles earlier ends earlier.

    Parameters
    ----------
    report : callable or None
        Told the fraction and what is being done.
    """

    def __init__(self, report: Progress | None) -> None:
        self._report = report
        self._left = dict.fromkeys(Work, 0.0)
        self._done = dict.fromkeys(Work, 0.0)
        self._seconds = dict.fromkeys(Work, 0.0)
        self._mark = time.monotonic()

    def expect(self, amounts: Mapping[Work, float]) -> None:
        """So much is left from here to the end."""
        self._left = {work: amounts.get(work, 0.0) for work in Work}
        self._mark = time.monotonic()

    def did(self, work: Work, amount: float, what: str) -> None:
        """This amount was done since the last word, and took the time since then."""
        now = time.monotonic()
        self._seconds[work] += now - self._mark
        self._mark = now
        self._done[work] += amount
        self._left[work] = max(0.0, self._left[work] - amount)
        if self._report is not None:
            spent = sum(self._seconds.values())
            left = sum(self._left[kind] * self._unit(kind) for kind in Work)
            self._report(spent / (spent + left) if spent + left > 0 else 1.0, what)

    def part(self, work: Work, amount: float, what: str) -> Progress:
        """A report for work that tells its own fraction."""
        before = 0.0

        def report(fraction: float, detail: str = "") -> None:
            nonlocal before
            self.did(work, amount * max(0.0, fraction - before), f"{what}, {detail}" if detail else what)
            before = max(before, fraction)

        return report

    def _unit(self, work: Work) -> float:
        done = self._done[work]
        return self._seconds[work] / done if done > 0 else FIRST_GUESS[work]
