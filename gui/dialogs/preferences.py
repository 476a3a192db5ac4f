"""The dialog of the settings, made from the one model of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from mldsim.gui.panels.fields import Choice, NumberBox, Tick
from mldsim.gui.settings import ENTRIES, Settings
from mldsim.gui.theme import Theme

THEMES = {Theme.DARK: "Dark", Theme.LIGHT: "Light"}


class FolderField(QWidget):
    """A folder, or nothing."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.edit = QLineEdit(folder)
        self.edit.setPlaceholderText("Where I was last")
        self.edit.setMinimumWidth(240)
        browse = QPushButton("Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.edit, 1)
        row.addWidget(browse)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for files", self.edit.text())
        if folder:
            self.edit.setText(folder)


class PreferencesDialog(QDialog):
    """Settings, and the theme; ``settings`` and ``theme`` are what is set when it is accepted."""

    def __init__(self, parent: QWidget, settings: Settings, theme: Theme, models: list[str]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Preferences")
        self._models = models
        self.fields: dict[str, QWidget] = {}
        self.look = Choice()
        for name, title in THEMES.items():
            self.look.addItem(title, name)
        self.look.setToolTip("<p>Colours of the window; those of agents are the same in both.</p>")
        self.form = QFormLayout()
        self.form.setHorizontalSpacing(16)
        self.form.setVerticalSpacing(8)
        self.form.addRow("Theme", self.look)
        for item in fields(Settings):
            entry = ENTRIES[item.name]
            field = self._field(item.name, getattr(Settings(), item.name))
            later = " (from the next start on)" if entry.at_start else ""
            field.setToolTip(f"<p>{entry.tip}{later}</p>")
            self.fields[item.name] = field
            self.form.addRow("" if isinstance(field, Tick) else entry.label + (" *" if entry.at_start else ""), field)
        note = QLabel("* counts from the next start on")
        note.setProperty("dim", True)
        self._note = QLabel(" ")
        self._note.setProperty("dim", True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button = QPushButton("Keep")
        self.accept_button.setDefault(True)
        self.defaults = QPushButton("Defaults")
        self.defaults.setAutoDefault(False)
        self.defaults.setToolTip("Show the settings that mldsim comes with")
        buttons.addButton(self.accept_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(self.defaults, QDialogButtonBox.ButtonRole.ResetRole)
        self.defaults.clicked.connect(lambda: self.show_settings(Settings(), Theme.DARK))
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(10)
        column.addLayout(self.form)
        column.addWidget(self._note)
        column.addWidget(note)
        column.addWidget(buttons)
        self.show_settings(settings, theme)

    @property
    def theme(self) -> Theme:
        return Theme(self.look.currentData())

    @property
    def settings(self) -> Settings:
        """What is set."""
        values: dict[str, object] = {}
        for name, field in self.fields.items():
            match field:
                case NumberBox():
                    values[name] = int(field.value())
                case Tick():
                    values[name] = field.isChecked()
                case FolderField():
                    values[name] = field.edit.text().strip()
                case Choice():
                    values[name] = str(field.currentData())
        return Settings(**values)  # type: ignore[arg-type]

    def show_settings(self, settings: Settings, theme: Theme) -> None:
        """Show these."""
        self.look.show_data(theme)
        for name, field in self.fields.items():
            value = getattr(settings, name)
            match field:
                case NumberBox():
                    field.show_value(value)
                case Tick():
                    field.show_checked(value)
                case FolderField():
                    field.edit.setText(value)
                case Choice():
                    if field.findData(value) < 0:
                        field.addItem(Path(value).name, value)
                    field.show_data(value)

    def _field(self, name: str, default: object) -> QWidget:
        """What a setting is set by, as its kind asks."""
        entry = ENTRIES[name]
        if isinstance(default, bool):
            return Tick(entry.label, "")
        if isinstance(default, int):
            low, high = entry.limits or (0, 1_000_000)
            return NumberBox(low, high, integer=True, unit=entry.unit)
        if name == "folder":
            field = FolderField("")
            field.edit.textChanged.connect(self._look)
            return field
        choice = Choice()
        for model in self._models:
            choice.addItem(model, model)
        return choice

    def _look(self, folder: str) -> None:
        """A folder that is not there is told, and not kept."""
        missing = bool(folder.strip()) and not Path(folder.strip()).expanduser().is_dir()
        self._note.setText(f"There is no folder {folder.strip()}." if missing else " ")
        self.accept_button.setEnabled(not missing)
