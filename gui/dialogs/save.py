"""What to write and where: a recording, the frames in memory, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mldsim.gui.dialogs.paths import OutputPath
from mldsim.gui.panels.fields import Paragraph
from mldsim.messages import Playback
from mldsim.units import format_time

TRAJECTORIES = "H5MD trajectory (*.h5md *.h5);;All files (*)"
EXPORTS = "H5MD trajectory (*.h5md);;Extended XYZ (*.xyz *.extxyz);;All files (*)"
PICTURES = "PNG picture (*.png);;All files (*)"

MOVIES = "MP4 movie (*.mp4);;GIF (*.gif)"

BYTES_PER_AGENT = 40
"""Position, velocity, force and loss of one agent in single precision, before compression."""


class SaveDialog(QDialog):
    """Asks for a file; subclasses add what else has to be known. ``accept`` is possible only where one can write."""

    def __init__(self, parent: QWidget, title: str, verb: str, path: Path, kinds: str) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._verb = verb
        self.output = OutputPath(path, kinds)
        self.form = QFormLayout()
        self.form.setHorizontalSpacing(14)
        self.form.setVerticalSpacing(8)
        self.form.addRow("File", self.output)
        buttons = QDialogButtonBox()
        self.accept_button = QPushButton(verb)
        self.accept_button.setDefault(True)
        buttons.addButton(self.accept_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(12)
        column.addLayout(self.form)
        column.addWidget(buttons)
        self.output.changed.connect(self._look)
        self._look()

    def _look(self) -> None:
        self.accept_button.setEnabled(not self.output.problem)
        self.accept_button.setText("Replace" if self.output.exists else self._verb)


class RecordDialog(SaveDialog):
    """Where to record, and how often a frame is written."""

    def __init__(self, parent: QWidget, path: Path, every: int, timestep: float, n_agents: int) -> None:
        super().__init__(parent, "Record the trajectory", "Record", path, TRAJECTORIES)
        self._timestep, self._n_agents = timestep, n_agents
        self._every = QSpinBox()
        self._every.setRange(1, 1_000_000)
        self._every.setValue(every)
        self._every.setPrefix("every ")
        self._every.setSuffix(" steps")
        self._every.lineEdit().setTextMargins(4, 0, 4, 0)
        self._every.valueChanged.connect(self._estimate)
        self._cost = QLabel()
        self._cost.setProperty("dim", True)
        self.form.addRow("One frame", self._every)
        self.form.addRow("", self._cost)
        self._estimate()

    @property
    def every(self) -> int:
        """Time steps between two frames."""
        return self._every.value()

    def _estimate(self) -> None:
        between = self.every * self._timestep
        megabytes = 1e3 / between * self._n_agents * BYTES_PER_AGENT / 1e6
        self._cost.setText(
            f"One frame per {format_time(between)}; at most {megabytes:.2g} MB per simulated picosecond."
        )


@dataclass(frozen=True, slots=True)
class PictureSize:
    """A way to choose how large a picture is: a factor on the view's size."""

    factor: int
    title: str


SIZES = (
    PictureSize(1, "as on the screen"),
    PictureSize(2, "twice as large, for slides"),
    PictureSize(4, "four times as large, for print"),
)


class PictureDialog(SaveDialog):
    """Where to save a picture of the view, how large, and on which ground."""

    def __init__(self, parent: QWidget, path: Path, width: int, height: int) -> None:
        super().__init__(parent, "Save a picture of the view", "Save", path, PICTURES)
        self._width, self._height = width, height
        self._size = QComboBox()
        for size in SIZES:
            self._size.addItem(f"{width * size.factor} × {height * size.factor} pixels, {size.title}", size.factor)
        self._size.setCurrentIndex(1)
        self._transparent = QCheckBox("Transparent ground")
        self.form.addRow("Size", self._size)
        self.form.addRow("", self._transparent)

    @property
    def size_pixels(self) -> tuple[int, int]:
        factor = int(self._size.currentData())
        return self._width * factor, self._height * factor

    @property
    def transparent(self) -> bool:
        return self._transparent.isChecked()


RATES = (25, 30, 50, 60, 12, 10)
MOVIE_SIZES = ((1280, 720), (1920, 1080), (3840, 2160), (640, 360), (720, 720), (1080, 1080))


class _PicturesDialog(SaveDialog):
    """Where to save a movie, how large its pictures are, how many a second.

    Parameters
    ----------
    parent : QWidget
    title, verb : str
    path : Path
    width, height : int
        Pixels of the view on the screen.
    """

    def __init__(self, parent: QWidget, title: str, verb: str, path: Path, width: int, height: int) -> None:
        super().__init__(parent, title, verb, path, MOVIES)
        self._size = QComboBox()
        screen = (width // 2 * 2, height // 2 * 2)
        for each in (screen, *MOVIE_SIZES):
            told = f"{each[0]} × {each[1]} pixels"
            self._size.addItem(f"{told}, as on the screen" if each is screen else told, each)
        self._rate = QComboBox()
        for rate in RATES:
            self._rate.addItem(f"{rate} pictures per second", rate)
        self.form.addRow("Size", self._size)
        self.form.addRow("Speed", self._rate)

    @property
    def size_pixels(self) -> tuple[int, int]:
        width, height = self._size.currentData()
        return int(width), int(height)

    @property
    def rate(self) -> int:
        """Pictures per second."""
        return int(self._rate.currentData())


class LiveMovieDialog(_PicturesDialog):
    """A movie of what is on the screen from now on."""

    def __init__(self, parent: QWidget, path: Path, width: int, height: int) -> None:
        super().__init__(parent, "Record a movie of the view", "Record", path, width, height)
        note = Paragraph()
        note.setText(
            "The view as it is seen from now on, at the speed of the clock on the wall, until the same command stops "
            "it. Where the machine draws fewer pictures, each stays longer. A trajectory is drawn frame by frame: "
            "look back (Ctrl+B) for that."
        )
        self.form.addRow("", note)


class MovieDialog(_PicturesDialog):
    """Where to save a movie of a trajectory, how large, how fast, which frames.

    Parameters
    ----------
    parent : QWidget
    path : Path
    playback : Playback
        Of what is shown: its frames and the times between them.
    width, height : int
        Pixels of the view on the screen.
    """

    def __init__(self, parent: QWidget, path: Path, playback: Playback, width: int, height: int) -> None:
        self._playback = playback
        super().__init__(parent, f"Make a movie of {playback.title}", "Make", path, width, height)
        self._size.setCurrentIndex(1)
        last = playback.n_frames - 1
        self._first, self._last = QSpinBox(), QSpinBox()
        for box, value in ((self._first, 0), (self._last, last)):
            box.setRange(0, last)
            box.setValue(value)
            box.valueChanged.connect(self._estimate)
        self._every = QSpinBox()
        self._every.setRange(1, max(last, 1))
        self._every.setPrefix("every ")
        self._every.setSuffix(" frames")
        self._every.setSpecialValueText("every frame")
        self._every.valueChanged.connect(self._estimate)
        self._rate.currentIndexChanged.connect(self._estimate)
        self._length = QLabel()
        self._length.setProperty("dim", True)
        for box in (self._first, self._last, self._every):
            box.lineEdit().setTextMargins(4, 0, 4, 0)
        parts = QHBoxLayout()
        parts.setSpacing(8)
        for widget in (QLabel("from"), self._first, QLabel("to"), self._last, self._every):
            parts.addWidget(widget)
        parts.addStretch(1)
        self.form.addRow("Frames", parts)
        self.form.addRow("", self._length)
        self._estimate()

    @property
    def frames(self) -> range:
        """Which frames become pictures: each as it is, none in between."""
        return range(self._first.value(), self._last.value() + 1, self._every.value())

    def _estimate(self) -> None:
        n, interval = len(self.frames), self._playback.interval * self._every.value()
        self._length.setText(
            f"{n} pictures, {n / self.rate:.1f} s: {format_time(interval)} from picture to picture, "
            f"{format_time(interval * self.rate)} per second."
        )
        self.accept_button.setEnabled(n > 0 and not self.output.problem)
