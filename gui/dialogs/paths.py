"""A field for a file that is to be written: its name, a way to browse, and whether it exists already."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget


class OutputPath(QWidget):
    """Where to write. An existing file is named as such before it can be replaced."""

    changed = Signal()

    def __init__(self, path: Path, kinds: str) -> None:
        super().__init__()
        self._kinds = kinds
        self.edit = QLineEdit(str(path))
        self.edit.setMinimumWidth(360)
        browse = QPushButton("Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._note.setProperty("dim", True)
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout()
        row.addWidget(self.edit, 1)
        row.addWidget(browse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._note)
        self.edit.textChanged.connect(self._look)
        self._look()

    @property
    def path(self) -> Path:
        return Path(self.edit.text().strip()).expanduser()

    @property
    def problem(self) -> str:
        """Why nothing can be written there, in one sentence; empty if it can."""
        if not self.edit.text().strip():
            return "Name a file."
        if self.path.is_dir():
            return f"{self.path} is a folder: name a file in it."
        if not self.path.parent.is_dir():
            return f"There is no folder {self.path.parent}."
        return ""

    @property
    def exists(self) -> bool:
        return self.path.is_file()

    def _browse(self) -> None:
        # The dialog's own question is switched off: the note below the field says the same, for typed names as well.
        name, _ = QFileDialog.getSaveFileName(
            self, "Save as", self.edit.text(), self._kinds, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if name:
            self.edit.setText(name)

    def _look(self) -> None:
        text = self.problem or ("This file exists and will be replaced." if self.exists else " ")
        self._note.setText(text)
        self.changed.emit()
