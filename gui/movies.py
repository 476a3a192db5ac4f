"""Movies: of a trajectory, frame after frame, each exactly as it is in the file; and of the view as it is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QProgressDialog, QWidget

from mldsim.errors import MldsimError
from mldsim.frames import Frame
from mldsim.gui.viewport import Viewport
from mldsim.messages import Level
from mldsim.movies import MovieFile, Picture
from mldsim.trajectory.recorder import Recorder
from mldsim.trajectory.sources import Footage

WAITING = 8
"""Pictures that may wait for the encoder."""

AGAIN_MS = 5

DRAWING = 0.4
"""Of the window's time that pictures of a live movie may take."""


class MovieMaker(QObject):
    """Shows one frame after the other, takes a picture of each, and has them encoded in another thread.

    Signals
    -------
    ended(Level, str) : it is over, and why; the movie holds all pictures until then

    Parameters
    ----------
    window : QWidget
    viewport : Viewport
    show : callable
        Shows a frame in the viewport, with all that is drawn over it.
    footage : Footage
        Belongs to the maker from now on.
    numbers : range
        The frames, one picture each.
    file : MovieFile
    width, height : int
        Of a picture, pixels.
    """

    ended = Signal(object, str)

    def __init__(
        self,
        window: QWidget,
        viewport: Viewport,
        show: Callable[[Frame], None],
        footage: Footage,
        numbers: range,
        file: MovieFile,
        width: int,
        height: int,
    ) -> None:
        super().__init__(window)
        self._viewport, self._show, self._footage, self._file = viewport, show, footage, file
        self._numbers: Iterator[int] = iter(numbers)
        self._size = (width, height)
        self._recorder: Recorder[Picture] = Recorder(file, WAITING)
        self._pending: Picture | None = None
        self._drawn = 0
        self._problem = ""
        self.progress = QProgressDialog(f"Drawing {len(numbers)} pictures…", "Stop", 0, len(numbers), window)
        self.progress.setWindowTitle("Movie")
        self.progress.setWindowModality(Qt.WindowModality.WindowModal)
        self.progress.setMinimumDuration(0)
        self.progress.setAutoClose(False)
        self.progress.setAutoReset(False)
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._work)

    def start(self) -> None:
        """Begin; returns at once."""
        self.progress.setValue(0)
        self._timer.start()

    def stop(self) -> None:
        """End here: the movie holds what was drawn."""
        self._numbers = iter(())
        self._pending = None

    # --- inside ---

    def _work(self) -> None:
        """One picture, or one look at the encoder."""
        if self.progress.wasCanceled():
            self.stop()
        try:
            if self._pending is None:
                self._pending = self._next()
            if self._pending is None:
                self._recorder.finish()
                if self._recorder.done:
                    self._end()
                return
            if self._recorder.put(self._pending, timeout=0.001 * AGAIN_MS):
                self._pending = None
                self._drawn += 1
                self.progress.setValue(self._drawn)
        except MldsimError as error:
            self._problem = self._problem or str(error)
            self.stop()
            if self._recorder.done:
                self._end()

    def _next(self) -> Picture | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        self._show(self._footage.frame(number))
        return pixels_of(self._viewport.picture(*self._size))

    def _end(self) -> None:
        self._timer.stop()
        self._footage.close()
        self.progress.close()
        self.progress.deleteLater()
        self.ended.emit(*outcome(self._recorder, self._file.path, self._problem))
        self.deleteLater()


class LiveMovie(QObject):
    """Takes pictures of the view as it is seen, at the speed of the clock on the wall, until it is stopped.

    Where a picture takes longer than it is seen for, or the encoder is behind, it stays longer in the movie. Drawing
    takes at most a part of the window's time, so that the window goes on answering.

    Signals
    -------
    ended(Level, str) : it is over, and why; the movie holds all pictures until then
    progressed(str) : how long it is

    Parameters
    ----------
    window : QWidget
    draw : callable
        Makes a picture of so many pixels, width and height.
    file : MovieFile
    width, height : int
        Of a picture, pixels.
    rate : int
        Pictures per second.
    clock : callable
        Seconds, monotonic.
    """

    ended = Signal(object, str)
    progressed = Signal(str)

    def __init__(
        self,
        window: QWidget,
        draw: Callable[[int, int], QImage],
        file: MovieFile,
        width: int,
        height: int,
        rate: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(window)
        self._draw, self._file, self._size, self._rate, self._clock = draw, file, (width, height), rate, clock
        self._recorder: Recorder[Picture] = Recorder(file, WAITING)
        self._latest: Picture | None = None
        self._begun = self._next = clock()
        self._taken = 0
        self._problem = ""
        self._stopping = False
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(max(AGAIN_MS, round(500 / rate)))
        self._timer.timeout.connect(self._work)
        self._timer.start()

    @property
    def path(self) -> Path:
        """Of the movie."""
        return self._file.path

    def stop(self) -> None:
        """End here; `ended` comes when all is written."""
        self._stopping = True

    def finish(self) -> None:
        """End here, and wait until all is written."""
        self._timer.stop()
        with suppress(MldsimError):
            self._recorder.close()

    # --- inside ---

    def _work(self) -> None:
        """A picture, if one is due; or one look at the encoder."""
        try:
            if self._stopping:
                self._recorder.finish()
                if self._recorder.done:
                    self._end()
                return
            now = self._clock()
            due = 1 + int((now - self._begun) * self._rate) - self._taken
            if due > 0 and (self._latest is None or now >= self._next):
                self._latest = pixels_of(self._draw(*self._size))
                self._next = now + (self._clock() - now) / DRAWING
            while due > 0 and self._latest is not None and self._recorder.put(self._latest, timeout=0.0):
                self._taken, due = self._taken + 1, due - 1
            self.progressed.emit(f"Movie {self._taken / self._rate:.1f} s")
        except MldsimError as error:
            self._problem = self._problem or str(error)
            self._stopping = True

    def _end(self) -> None:
        self._timer.stop()
        self.ended.emit(*outcome(self._recorder, self._file.path, self._problem))
        self.deleteLater()


def outcome(recorder: Recorder[Picture], path: Path, problem: str) -> tuple[Level, str]:
    """What became of a movie."""
    if problem and not recorder.written:
        return Level.ERROR, problem
    if recorder.error is not None:
        return Level.ERROR, str(recorder.error)
    if problem:
        return Level.WARNING, f"{problem} The movie ends before: {path}."
    pictures = f"{recorder.written} pictures" if recorder.written != 1 else "1 picture"
    return Level.INFO, f"A movie of {pictures} was saved as {path}."


def pixels_of(image: QImage) -> Picture:
    """Red, green and blue of a picture, (height, width, 3) uint8."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
