"""How long to run."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from mldsim.gui.panels.fields import NumberBox


class RunDialog(QDialog):
    """Asks for a simulated time; then the run pauses.

    Parameters
    ----------
    parent : QWidget
    duration : float, fs
        What is offered.
    """

    def __init__(self, parent: QWidget, duration: float) -> None:
        super().__init__(parent)
        self.setWindowTitle("Run for some time")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._time = NumberBox(0.001, 1e6, unit="ps")
        self._time.setValue(duration * 1e-3)
        self._time.setMinimumWidth(140)
        self._time.selectAll()
        note = QLabel("The run pauses at its end; Ctrl+Shift+T adds as much again.")
        note.setProperty("dim", True)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.addRow("Simulated time", self._time)
        form.addRow("", note)
        buttons = QDialogButtonBox()
        run = QPushButton("Run")
        run.setDefault(True)
        buttons.addButton(run, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(12)
        column.addLayout(form)
        column.addWidget(buttons)

    @property
    def duration(self) -> float:
        """What was asked for, fs."""
        return self._time.value() * 1e3
