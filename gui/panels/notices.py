"""Sentences for the user, above the view: they never stop the work and go away by themselves or by a click."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from mldsim.gui import theme
from mldsim.gui.panels.fields import FlatButton, Paragraph
from mldsim.messages import Level

INFO_TIME_MS = 6000
"""An information goes away by itself; a warning or an error stays until it is read."""

AT_MOST = 3
"""Older notices give way: the view must not be pushed off its window."""


class NoticeBar(QWidget):
    """The notices of a window, newest at the bottom; invisible while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._notices: list[_Notice] = []
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self.hide()

    def show_notice(self, level: Level, text: str) -> None:
        """Show a sentence; the same sentence twice is shown once."""
        for shown in self._notices:
            if (shown.level, shown.text) == (level, text):
                shown.again()
                return
        notice = _Notice(level, text, self)
        notice.colour(self._colours)
        self._notices.append(notice)
        self._column.addWidget(notice)
        while len(self._notices) > AT_MOST:
            self.dismiss(self._notices[0])
        self.show()

    def dismiss(self, notice: _Notice) -> None:
        if notice in self._notices:
            self._notices.remove(notice)
            notice.hide()
            self._column.removeWidget(notice)
            notice.deleteLater()
        self.setVisible(bool(self._notices))

    def texts(self) -> list[str]:
        """What is shown now, oldest first."""
        return [notice.text for notice in self._notices]

    def colour(self, colours: theme.Colours) -> None:
        self._colours = colours
        for notice in self._notices:
            notice.colour(colours)


class _Notice(QFrame):
    def __init__(self, level: Level, text: str, bar: NoticeBar) -> None:
        super().__init__(bar)
        self.level, self.text = level, text
        self._bar = bar
        self.setObjectName("notice")
        self.setProperty("level", level.value)
        self._icon = QLabel()
        words = Paragraph()  # a plain label asks for more lines than it needs, and the window would grow for them
        words.setProperty("dim", False)
        words.setText(text)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        words.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._close = FlatButton("close", "Dismiss")
        self._close.clicked.connect(self._dismiss)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 8, 6)
        row.setSpacing(8)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(words, 1)
        row.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._dismiss)
        self.again()

    def again(self) -> None:
        if self.level is Level.INFO:
            self._timer.start(INFO_TIME_MS)

    def colour(self, colours: theme.Colours) -> None:
        paint = {Level.INFO: colours.accent, Level.WARNING: colours.warning, Level.ERROR: colours.error}[self.level]
        picture = theme.icon(self.level.value, colours, colour=paint)
        self._icon.setPixmap(picture.pixmap(QSize(18, 18), self.devicePixelRatioF()))
        self._close.colour(colours)

    def _dismiss(self) -> None:
        self._bar.dismiss(self)
