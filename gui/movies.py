"""Draws a movie: frame after frame of a trajectory, as the view shows them, each exactly as it is in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
        error = self._recorder.error
        if self._problem and not self._recorder.written:
            self.ended.emit(Level.ERROR, self._problem)
        elif error is not None:
            self.ended.emit(Level.ERROR, str(error))
        elif self._problem:
            self.ended.emit(Level.WARNING, f"{self._problem} The movie ends before: {self._file.path}.")
        else:
            pictures = f"{self._recorder.written} pictures" if self._recorder.written != 1 else "1 picture"
            self.ended.emit(Level.INFO, f"A movie of {pictures} was saved as {self._file.path}.")
        self.deleteLater()


def pixels_of(image: QImage) -> Picture:
    """Red, green and blue of a picture, (height, width, 3) uint8."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
