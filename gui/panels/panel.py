"""What the panels at the side of the window have in common: a column with headings and labelled rows."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from mldsim.gui.panels.fields import LABEL_WIDTH


class Panel(QScrollArea):
    """A column of rows; it scrolls where it has no room, and never takes the keyboard."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._content = QWidget()
        self._content.setObjectName("panel")
        self._content.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.column = QVBoxLayout(self._content)
        self.column.setContentsMargins(12, 7, 12, 8)
        self.column.setSpacing(4)

    def finish(self) -> None:
        """To be called when all rows are there."""
        self.column.addStretch(1)
        self.setWidget(self._content)
        self.setMinimumWidth(self._content.minimumSizeHint().width() + 14)

    def heading(self, text: str) -> QLabel:
        """Begin a new part of the panel."""
        if self.column.count():
            line = QFrame()
            line.setProperty("line", True)
            self.column.addSpacing(3)
            self.column.addWidget(line)
            self.column.addSpacing(1)
        label = QLabel(text)
        label.setProperty("section", True)
        self.column.addWidget(label)
        return label

    def labelled(self, text: str, widget: QWidget, beside: QWidget | None = None) -> None:
        """Add a row: a label and what is set by it, and a small button beside it."""
        row = QHBoxLayout()
        row.setSpacing(6)
        label = QLabel(text)
        label.setFixedWidth(LABEL_WIDTH)
        row.addWidget(label)
        row.addWidget(widget, 1)
        if text:
            widget.setAccessibleName(text)
        if beside is not None:
            row.addWidget(beside)
        self.column.addLayout(row)

    def side_by_side(self, *buttons: QWidget) -> None:
        """Add a row of equal parts."""
        row = QHBoxLayout()
        row.setSpacing(6)
        for button in buttons:
            row.addWidget(button, 1)
        self.column.addLayout(row)


def on_screen(window: QWidget) -> bool:
    """False where a window is minimised, hidden, or on another desktop."""
    handle = window.windowHandle()
    return handle is not None and handle.isExposed() and not window.isMinimized()


def is_seen(widget: QWidget) -> bool:
    """False where nobody can see a widget: behind another tab, closed, or its window not on the screen."""
    return widget.isVisible() and not widget.visibleRegion().isEmpty() and on_screen(widget.window())


def push_button(text: str, tip: str) -> QPushButton:
    """A button that leaves the keyboard where it was."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button
