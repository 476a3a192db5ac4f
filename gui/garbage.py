"""Python's search for cycles, in the thread of the windows and in no other.

A widget that is part of a cycle, as most are that have a slot, is destroyed by whichever thread happens to look for
cycles, and any thread may that makes objects. Qt does not survive it: two threads change its lists of widgets at once.
"""

from __future__ import annotations

import gc
import time

from PySide6.QtCore import QCoreApplication, QObject, QTimer

EVERY_MS = 200
LONG = 0.02
"""Seconds. What is left after a look at everything that took longer is there to stay, and no longer looked at:
libraries and compiled kernels are a quarter of a million objects, and going through them holds all threads up for a
quarter of a second."""


class Collector(QObject):
    """Looks for cycles now and then while the application lives; nothing else does.

    Parameters
    ----------
    application : QCoreApplication
        Its thread is the one.
    """

    def __init__(self, application: QCoreApplication) -> None:
        super().__init__(application)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._timer.start()

    @classmethod
    def of(cls, application: QCoreApplication) -> Collector:
        """That of an application, which has one at most."""
        found = application.findChild(cls)
        return found if isinstance(found, cls) else cls(application)

    def look(self) -> None:
        """Look where as many objects have been made as Python would wait for."""
        counts, most = gc.get_count(), gc.get_threshold()
        if counts[0] <= most[0]:
            return
        generation = 0
        if counts[1] > most[1]:
            generation = 2 if counts[2] > most[2] else 1
        began = time.thread_time()
        gc.collect(generation)
        if generation == 2 and time.thread_time() - began > LONG:
            gc.freeze()

    def stop(self) -> None:
        """Leave it to Python again."""
        self._timer.stop()
        self.setParent(None)
        gc.unfreeze()
        gc.enable()
