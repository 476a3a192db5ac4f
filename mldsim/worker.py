"""A thread that owns something which views only look at: a running simulation, a trajectory that is played.

Views send commands, and pull events and a status; there are no callbacks, so that nobody's code but the worker's runs
in its thread.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

from mldsim.messages import Event, Status

C = TypeVar("C")
"""Its commands."""


class Worker(ABC, Generic[C]):
    """One thread with its commands, events and status.

    Parameters
    ----------
    name : str
        Of the thread.
    status : Status
        Until the thread tells another.
    """

    def __init__(self, name: str, status: Status) -> None:
        self._commands: queue.SimpleQueue[C | None] = queue.SimpleQueue()
        self._events: deque[Event] = deque(maxlen=1000)
        self._closing = threading.Event()
        self._status = status
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self, timeout: float | None = None) -> bool:
        """Ask the thread to end, and wait for it.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most; without it, as long as it takes.

        Returns
        -------
        bool
            True when all is done, False when the thread is still at it.
        """
        self._closing.set()
        self._commands.put(None)  # wakes one that waits
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def send(self, command: C) -> None:
        """Ask for something; returns at once. Commands are obeyed in their order."""
        self._commands.put(command)

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def status(self) -> Status:
        """Where it stands; at most some hundredths of a second old."""
        return self._status

    @abstractmethod
    def _work(self) -> None:
        """What the thread does, until `_closing` is set."""
