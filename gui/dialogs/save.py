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
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mldsim.gui.dialogs.paths import OutputPath
from mldsim.units import format_time

TRAJECTORIES = "H5MD trajectory (*.h5md *.h5);;All files (*)"
EXPORTS = "H5MD trajectory (*.h5md);;Extended XYZ (*.xyz *.extxyz);;All files (*)"
PICTURES = "PNG picture (*.png);;All files (*)"

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
