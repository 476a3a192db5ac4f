"""The timer by which the window pulls: often while there is something to see, seldom while there is not."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer

FAST_MS, SLOW_MS = 16, 250
"""Between two looks: sixty times a second; and four times, so that what comes by itself is told soon."""

LINGER = 1.0
"""Seconds that it stays fast after the last thing that the user asked for: the answer is to be seen at once."""


class Pulse(QObject):
    """Calls a function again and again.

    Parameters
    ----------
    parent : QObject
    beat : callable
        What is called.
    lively : callable
        Whether something new is to be expected, and could be seen.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        parent: QObject,
        beat: Callable[[], None],
        lively: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self._beat, self._lively, self._clock = beat, lively, clock
        self._woken = clock()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FAST_MS)
        self._timer.timeout.connect(self._on_timer)

    @property
    def fast(self) -> bool:
        """Whether it beats sixty times a second."""
        return self._timer.interval() == FAST_MS

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def wake(self) -> None:
        """The user has asked for something."""
        self._woken = self._clock()
        self._pace(fast=True)

    def _on_timer(self) -> None:
        self._beat()
        self._pace(fast=self._lively() or self._clock() - self._woken < LINGER)

    def _pace(self, *, fast: bool) -> None:
        if fast != self.fast:
            self._timer.setInterval(FAST_MS if fast else SLOW_MS)
