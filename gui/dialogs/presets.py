"""Naming a preset, and managing the user's own."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from mldsim.presets import LONGEST_NAME, SHIPPED, Presets

_NAME = Qt.ItemDataRole.UserRole


class NameDialog(QDialog):
    """Asks for the name of a preset and, if one wants, for a sentence about it."""

    def __init__(self, parent: QWidget, name: str, own: set[str]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save as a preset")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._own = own
        self.edit = QLineEdit(name)
        self.edit.setMaxLength(LONGEST_NAME)
        self.edit.setMinimumWidth(320)
        self.words = QLineEdit()
        self.words.setPlaceholderText("What it is for (may be left empty)")
        self._note = QLabel(" ")
        self._note.setProperty("dim", True)
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.addRow("Name", self.edit)
        form.addRow("About", self.words)
        form.addRow("", self._note)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button = QPushButton("Save")
        self.accept_button.setDefault(True)
        buttons.addButton(self.accept_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(12)
        column.addLayout(form)
        column.addWidget(buttons)
        self.edit.textChanged.connect(self._look)
        self._look()

    @property
    def name(self) -> str:
        return " ".join(self.edit.text().split())

    @property
    def told(self) -> str:
        return self.words.text().strip()

    def _look(self) -> None:
        taken = any(preset.name == self.name for preset in SHIPPED)
        exists = self.name in self._own
        self._note.setText(
            "This one comes with mldsim; take another name." if taken
            else "This preset exists and will be replaced." if exists
            else " "
        )  # fmt: skip
        self.accept_button.setText("Replace" if exists else "Save")
        self.accept_button.setEnabled(bool(self.name) and not taken)


class ManageDialog(QDialog):
    """The user's own presets: renamed in place, deleted, and brought back.

    Parameters
    ----------
    parent : QWidget
    presets : Presets
    tried : callable
        Does a change or tells why not; returns whether it was done.
    """

    def __init__(self, parent: QWidget, presets: Presets, tried: Callable[[Callable[[], None]], bool]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Presets")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._presets, self._tried = presets, tried
        self.list = QListWidget()
        self.list.setMinimumSize(340, 180)
        self.list.itemChanged.connect(self._on_renamed)
        self.list.currentItemChanged.connect(lambda *_: self._enable())
        self._words = QLabel()
        self._words.setProperty("dim", True)
        self._words.setWordWrap(True)
        self.rename, self.delete, self.undo = (QPushButton(text) for text in ("Rename", "Delete", "Undo"))
        for button, command in (
            (self.rename, self._on_rename), (self.delete, self._on_delete), (self.undo, self._on_undo),
        ):  # fmt: skip
            button.setAutoDefault(False)
            button.clicked.connect(command)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        for button in (self.rename, self.delete, self.undo):
            buttons.addButton(button, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.accept)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(10)
        column.addWidget(self._words)
        column.addWidget(self.list)
        column.addWidget(buttons)
        self._fill()

    def _fill(self, chosen: str = "") -> None:
        with QSignalBlocker(self.list):
            self.list.clear()
            for preset in self._presets.own:
                item = QListWidgetItem(preset.name)
                item.setData(_NAME, preset.name)
                item.setToolTip(preset.told)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                self.list.addItem(item)
                if preset.name == chosen:
                    self.list.setCurrentItem(item)
            if self.list.currentItem() is None and self.list.count():
                self.list.setCurrentRow(0)
        self._words.setText(
            "Your own presets; those that come with mldsim stay as they are."
            if self._presets.own
            else "There are none of your own yet: set what you like, then Simulation › Save as a preset."
        )
        self._enable()

    def _enable(self) -> None:
        for button in (self.rename, self.delete):
            button.setEnabled(self.list.currentItem() is not None)
        self.undo.setEnabled(self._presets.undoable)

    def _on_rename(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self.list.editItem(item)

    def _on_renamed(self, item: QListWidgetItem) -> None:
        old, new = str(item.data(_NAME)), " ".join(item.text().split())
        done = self._tried(lambda: self._presets.rename(old, new))
        self._fill(new if done else old)

    def _on_delete(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            name = str(item.data(_NAME))
            self._tried(lambda: self._presets.delete(name))
            self._fill()

    def _on_undo(self) -> None:
        self._tried(self._presets.undo)
        self._fill()
