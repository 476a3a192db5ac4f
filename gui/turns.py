"""Drawing in turns: pieces that can wait for each other, so that no picture waits for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Later(Protocol):
    """Takes a piece of drawing, by whatever it is a piece of: a newer one of the same takes its place."""

    def __call__(self, of: object, draw: Callable[[], None], /) -> None: ...


def at_once(of: object, draw: Callable[[], None], /) -> None:  # noqa: ARG001
    """Nothing has to wait."""
    draw()


class Turns:
    """Pieces that wait for their turn, in the order in which they were asked for first."""

    def __init__(self) -> None:
        self._waiting: dict[object, Callable[[], None]] = {}

    def ask(self, of: object, draw: Callable[[], None], /) -> None:
        """Draw this when its turn has come."""
        self._waiting[of] = draw

    def take(self, *, every: bool) -> None:
        """Draw the next piece, or every one that waits."""
        while self._waiting:
            self._waiting.pop(next(iter(self._waiting)))()
            if not every:
                break
