"""Drawing in turns: pieces that can wait for each other, so that no picture waits for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

BEAT = 0.016
"""Seconds between two pictures that nothing holds up."""


class Later(Protocol):
    """Takes a piece of drawing, by whatever it is a piece of: a newer one of the same takes its place."""

    def __call__(self, of: object, draw: Callable[[], None], /) -> None: ...


def at_once(of: object, draw: Callable[[], None], /) -> None:  # noqa: ARG001
    """Nothing has to wait."""
    draw()


class Turns:
    """Pieces that wait for their turn, in the order in which they were asked for first.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._taken_at = clock()
        self._waiting: dict[object, Callable[[], None]] = {}

    def ask(self, of: object, draw: Callable[[], None], /) -> None:
        """Draw this when its turn has come."""
        self._waiting[of] = draw

    def take(self, *, every: bool) -> None:
        """Draw the next piece, or every one that waits.

        Where pictures follow each other slowly, as many pieces as there could have been pictures: else plots would
        become slower than they.
        """
        now = self.clock()
        pieces = max(1, int((now - self._taken_at) / BEAT))
        self._taken_at = now
        while self._waiting and (every or pieces > 0):
            self._waiting.pop(next(iter(self._waiting)))()
            pieces -= 1
