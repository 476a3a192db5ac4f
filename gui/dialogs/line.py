"""Asks for the value of a line in a plot."""

from __future__ import annotations

from PySide6.QtCore import QLocale, Qt
from PySide6.QtGui import QDoubleValidator
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget


class LineDialog(QDialog):
    """A value with its unit; ``accept`` is possible only where it is a number.

    Parameters
    ----------
    parent : QWidget
    quantity, unit : str
    value : float
        That is suggested.
    """

    def __init__(self, parent: QWidget, quantity: str, unit: str, value: float) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add a line")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.edit = QLineEdit(f"{value:g}")
        self.edit.selectAll()
        validator = QDoubleValidator(self)
        validator.setLocale(QLocale.c())
        self.edit.setValidator(validator)
        row = QHBoxLayout()
        row.addWidget(QLabel(quantity))
        row.addWidget(self.edit, 1)
        row.addWidget(QLabel(unit))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        ok.setText("Add")
        self.edit.textChanged.connect(lambda _: ok.setEnabled(self.edit.hasAcceptableInput()))
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(12)
        column.addLayout(row)
        column.addWidget(buttons)

    @property
    def value(self) -> float:
        """What was typed."""
        return float(self.edit.text())
