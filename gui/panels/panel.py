"""What the panels at the side of the window have in common: a column with headings and labelled rows."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QFontMetrics, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

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


class WordyButton(QPushButton):
    """A button as `push_button` makes it, whose words end in dots where there is no room for all of them."""

    MARGIN = 24
    """Pixels beside the words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.words = words
        self.say(words)

    def say(self, words: str) -> None:
        """Show other words."""
        self.words = words
        font = self.font()
        font.setBold(True)  # as wide as they become where they are marked as changed
        room = max(self.width() - self.MARGIN, 20)
        self.setText(QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, room))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.say(self.words)


def push_button(text: str, tip: str) -> QPushButton:
    """A button that Tab reaches; pressed by the mouse it leaves the keyboard where it was."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def action_button(action: QAction) -> QPushButton:
    """A button for an action, that can be pressed when the action can be done."""
    button = push_button(action.text(), action.toolTip())
    button.clicked.connect(lambda: action.trigger())
    button.setEnabled(action.isEnabled())
    action.enabledChanged.connect(button.setEnabled)
    return button
