"""A trajectory that is played: beside a running simulation, and in the same language.

`Player` has the face of `mldsim.runner.Runner`: views pull frames, thermo rows, events and a status, and send commands.
One thread owns the footage and reads a frame when its time has come; of frames that nobody could see in time it reads
none.
"""

from __future__ import annotations

import logging
import math
import queue
import time as clock
from collections.abc import Callable

from mldsim.errors import Cancelled, InputError, MldsimError
from mldsim.frames import Mailbox, ThermoTable
from mldsim.messages import (
    Level,
    Loaded,
    Notice,
    Pause,
    Playback,
    PlaybackCommand,
    Run,
    RunState,
    Seek,
    SetLoop,
    SetPace,
    Status,
    Step,
)
from mldsim.parameters import Setup
from mldsim.progress import Report
from mldsim.trajectory.sources import Footage
from mldsim.worker import Worker

logger = logging.getLogger(__name__)

_PICTURE = 1 / 60
"""Seconds: no view shows pictures that follow each other faster."""

PICTURES_PER_SECOND = 25
"""Of a pace that nobody chose."""


class Player(Worker[PlaybackCommand]):
    """Plays footage in a thread of its own; begins paused at the first frame.

    Parameters
    ----------
    title : str
        For people.
    shoot : callable
        Opens the footage, in the thread; its argument is told how much of a long file was walked through.
    setup : Setup
        Of the simulation that is beside it; it says which model the agents' losses are taken from.

    Attributes
    ----------
    mailbox : Mailbox
        The frame that is shown.
    thermo : ThermoTable
        One row per frame of the footage.
    footage : Footage or None
        From `Loaded` on; `footage.again` gives other threads the same frames.
    """

    def __init__(self, title: str, shoot: Callable[[Report], Footage], setup: Setup) -> None:
        super().__init__("mldsim-player", Status(RunState.STARTING, f"Opening {title}", playback=Playback(title)))
        self.mailbox = Mailbox()
        self.thermo = ThermoTable(capacity=1)
        self.footage: Footage | None = None
        self._title, self._shoot, self._setup = title, shoot, setup

        # What follows belongs to the thread.
        self._state = RunState.STARTING
        self._message = self._status.message
        self._frame = 0
        self._shown: int | None = None
        self._loop = False
        self._pace: float | None = None
        self._since = 0.0
        self._from = 0.0

    def _work(self) -> None:
        footage: Footage | None = None
        try:
            footage = self._shoot(self._report)
            self._begin(footage)
            while not self._closing.is_set():
                self._play(footage)
        except Cancelled:
            pass
        except MldsimError as error:
            self._fail(str(error))
        except Exception as error:  # the window lives on and says so
            logger.error("playback", exc_info=error)
            self._fail(f"{self._title} cannot be played because of an internal error ({error}); the log has more.")
        finally:
            if footage is not None:
                footage.close()
            if self._state is not RunState.FAILED:
                self._state = RunState.CLOSED
            self._publish()

    def _report(self, fraction: float, what: str = "") -> None:
        if self._closing.is_set():
            raise Cancelled("The trajectory was closed.")
        self._message = f"Opening {self._title}: {100 * fraction:.0f} % {what}".rstrip()
        self._publish()

    def _begin(self, footage: Footage) -> None:
        self.footage = footage
        first = footage.frame(0)
        self.thermo = ThermoTable.of(footage.thermo())
        self._pace = footage.interval * PICTURES_PER_SECOND
        self._state, self._message = RunState.PAUSED, ""
        self._events.append(Loaded(footage.topology, self._setup, "", first.box))
        for note in footage.notes:
            self._events.append(Notice(Level.WARNING, note))
        self._show(footage)

    def _fail(self, reason: str) -> None:
        self._events.append(Notice(Level.ERROR, reason))
        self._state, self._message = RunState.FAILED, reason

    def _play(self, footage: Footage) -> None:
        """Obey what was asked, show what is due, wait for the next."""
        wait = self._until_next(footage)
        try:
            self._obey(self._commands.get(timeout=wait) if wait is None or wait > 0.0 else self._commands.get_nowait())
            while True:  # of many seeks that a hand asks for while one is read, the last counts
                self._obey(self._commands.get_nowait())
        except queue.Empty:
            pass
        if self._closing.is_set():
            return
        if self._state is RunState.RUNNING:
            self._go_on(footage)
        if self._frame != self._shown:
            self._show(footage)
        else:
            self._publish()

    def _until_next(self, footage: Footage) -> float | None:
        """Seconds until another frame is due; None while it stands."""
        if self._state is not RunState.RUNNING:
            return None
        now = clock.monotonic()
        if self._pace is None or self._frame + 1 >= footage.n_frames:
            return max(0.0, self._since + _PICTURE - now)
        due = self._since + (float(footage.times[self._frame + 1]) - self._from) / self._pace
        return max(due - now, _PICTURE / 4, 0.0)

    def _go_on(self, footage: Footage) -> None:
        now = clock.monotonic()
        if self._frame + 1 >= footage.n_frames:
            if self._pace is None or now >= self._since + _PICTURE:
                self._end(footage)
            return
        if self._pace is None:
            if now >= self._since + _PICTURE:
                self._stand(footage, self._frame + 1)
            return
        time = self._from + self._pace * (now - self._since)
        index = footage.at(time)
        if index > self._frame:
            self._frame = index
        if index + 1 >= footage.n_frames:  # the last is seen for as long as any
            self._since = now

    def _end(self, footage: Footage) -> None:
        if self._loop and footage.n_frames > 1:
            self._stand(footage, 0)
        else:
            self._state = RunState.PAUSED

    def _stand(self, footage: Footage, frame: int) -> None:
        """Be at a frame now, and play on from it."""
        self._frame = min(max(frame, 0), footage.n_frames - 1)
        self._since = clock.monotonic()
        self._from = float(footage.times[self._frame])

    def _obey(self, command: PlaybackCommand | None) -> None:
        footage = self.footage
        if command is None or footage is None:
            return
        match command:
            case Run():
                self._state = RunState.RUNNING
                self._stand(footage, 0 if self._frame + 1 >= footage.n_frames else self._frame)
            case Pause():
                self._state = RunState.PAUSED
            case Step(n):
                self._state = RunState.PAUSED
                self._stand(footage, self._frame + n)
            case Seek(frame):
                self._stand(footage, frame)
            case SetLoop(on):
                self._loop = on
            case SetPace(pace):
                if pace is not None and not 0.0 < pace < math.inf:
                    self._events.append(Notice(Level.ERROR, f"A speed is a positive number; {pace} was given."))
                    return
                self._pace = pace
                self._stand(footage, self._frame)

    def _show(self, footage: Footage) -> None:
        try:
            frame = footage.frame(self._frame)
        except InputError as error:
            self._events.append(Notice(Level.ERROR, str(error)))
            self._state = RunState.PAUSED
        else:
            self.mailbox.put(frame)
        self._shown = self._frame
        self._publish()

    def _publish(self) -> None:
        footage = self.footage
        playback, n_agents, time = Playback(self._title), 0, 0.0
        if footage is not None:
            n_agents, time = footage.topology.n_agents, float(footage.times[self._frame])
            playback = Playback(
                self._title, self._frame, footage.n_frames, float(footage.times[0]), float(footage.times[-1]),
                footage.interval, self._loop,
            )  # fmt: skip
        self._status = Status(
            self._state, self._message, n_agents=n_agents, step=self._frame, time=time, pace=self._pace,
            playback=playback,
        )  # fmt: skip
