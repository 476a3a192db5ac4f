"""The sheet of keys."""

from __future__ import annotations

from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from mldsim.gui.actions import SPECS

MOUSE = (
    ("Drag", "Orbit"),
    ("Shift and drag", "Move the view"),
    ("Middle drag", "Move the view"),
    ("Wheel", "Zoom"),
    ("Click", "Pick an agent"),
    ("Ctrl and drag", "Pull a molecule"),
    ("Shift and click", "Pick one more: distance, angle, dihedral"),
)

COLUMNS = (("Simulation", "Help"), ("View",), ("Mouse in the view", "Files", "Analysis"))


class KeysDialog(QDialog):
    """What every key does, read from the table of actions."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        columns = QHBoxLayout()
        columns.setSpacing(44)
        for groups in COLUMNS:
            grid = QGridLayout()
            grid.setHorizontalSpacing(22)
            grid.setVerticalSpacing(5)
            for group in groups:
                self._add_group(grid, group, list(MOUSE) if group not in _groups() else _keys_of(group))
            grid.setRowStretch(grid.rowCount(), 1)
            columns.addLayout(grid)
        note = QLabel("Plain keys never act while a field is typed into; Enter or Escape leaves the field.")
        note.setProperty("dim", True)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 18, 24, 18)
        column.setSpacing(16)
        column.addLayout(columns)
        column.addWidget(note)

    @staticmethod
    def _add_group(grid: QGridLayout, title: str, rows: list[tuple[str, str]]) -> None:
        first = grid.rowCount()
        if first > 1:
            grid.setRowMinimumHeight(first, 10)
            first += 1
        heading = QLabel(title)
        heading.setProperty("section", True)
        grid.addWidget(heading, first, 0, 1, 2)
        for row, (key, what) in enumerate(rows, start=first + 1):
            key_label = QLabel(key)
            key_label.setProperty("dim", True)
            grid.addWidget(key_label, row, 0)
            grid.addWidget(QLabel(what), row, 1)


def _groups() -> set[str]:
    return {spec.group for spec in SPECS.values()}


def _keys_of(group: str) -> list[tuple[str, str]]:
    native = QKeySequence.SequenceFormat.NativeText
    return [
        (QKeySequence(spec.keys[0]).toString(native), spec.text.rstrip("…"))
        for spec in SPECS.values()
        if spec.group == group and spec.keys
    ]
