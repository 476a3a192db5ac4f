"""What takes longer than a picture is computed beside the window: one thing at a time, and not too often."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from mldsim.errors import MldsimError, WorkFailed

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Post(QObject):
    """Brings an answer from the other thread into that of the window."""

    came = Signal(int, object, float)

    def __init__(self, take: Callable[[int, Any, float], None], owner: QObject) -> None:
        super().__init__(owner)
        self._take = take
        self.came.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def _deliver(self, number: int, answer: object, seconds: float) -> None:
        self._take(number, answer, seconds)


class Errand(Generic[T]):
    """Computes in a thread that lives as long as the work does; the answer comes in the window's thread.

    Of several things that are asked for while one is computed, or sooner than `share` allows, the last is done next.

    Parameters
    ----------
    done : callable
        Told each answer, or the `MldsimError` that came in its place.
    owner : QObject
        What shows the answers; those that come after its end are told to nobody.
    share : float
        Of the time of one core that the work may take.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        done: Callable[[T | MldsimError], None],
        owner: QObject,
        share: float = 0.1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._done, self._share, self._clock = done, share, clock
        self._post = _Post(self._take, owner)
        self._timer = QTimer(self._post)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)
        self._waiting: Callable[[], T] | None = None
        self._busy = False
        self._number = 0

    def ask(self, work: Callable[[], T]) -> None:
        """Have something computed."""
        self._waiting = work
        if not self._busy and not self._timer.isActive():
            self._begin()

    def forget(self) -> None:
        """What was asked for counts no more; what is asked for next is begun at once."""
        self._number += 1
        self._waiting, self._busy = None, False
        self._timer.stop()

    # --- inside ---

    def _begin(self) -> None:
        work, self._waiting = self._waiting, None
        if work is not None:
            self._busy = True
            threading.Thread(target=self._work, args=(work, self._number), name="mldsim-errand", daemon=True).start()

    def _work(self, work: Callable[[], T], number: int) -> None:
        begun = self._clock()
        answer: T | MldsimError
        try:
            answer = work()
        except MldsimError as error:
            answer = error
        except Exception as error:
            log.exception("beside the window")
            answer = WorkFailed(f"Something could not be computed ({type(error).__name__}: {error}).")
        with suppress(RuntimeError):  # the window is gone
            self._post.came.emit(number, answer, self._clock() - begun)

    def _take(self, number: int, answer: T | MldsimError, seconds: float) -> None:
        if number != self._number:
            return
        self._busy = False
        self._timer.start(round(1e3 * seconds * (1.0 / self._share - 1.0)))
        self._done(answer)
