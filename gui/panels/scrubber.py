"""The bar of a trajectory: where it stands, and how to go to any other of its frames."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QStyle, QToolButton, QVBoxLayout, QWidget

from mldsim.gui.actions import Actions
from mldsim.gui.panels.fields import Choice, Line, NumberBox
from mldsim.gui.viewmodel import clock_of, pace_text, playback_paces
from mldsim.messages import Playback, RunState, Status


class _Track(QSlider):
    """A slider that goes where it is pressed, and leaves the keyboard to the window."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Frame")

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() is Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._go(event.position().toPoint())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self.isSliderDown():
            self._go(event.position().toPoint())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() is Qt.MouseButton.LeftButton:
            self.setSliderDown(False)

    def _go(self, place: QPoint) -> None:
        handle = self.style().pixelMetric(QStyle.PixelMetric.PM_SliderLength, None, self)
        span = max(self.width() - handle, 1)
        at = min(max(place.x() - handle // 2, 0), span)
        self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), at, span))


class Scrubber(QWidget):
    """Visible only while there is a trajectory.

    Signals
    -------
    seek_asked(int) : show this frame
    pace_asked(object) : play at this speed, fs per second, or every frame (None)
    """

    seek_asked = Signal(int)
    pace_asked = Signal(object)

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self._paces_of = -1.0
        self.time = QLabel()
        self.time.setToolTip("Simulated time of the frame that is shown")
        self.end = QLabel()
        self.end.setProperty("dim", True)
        self.end.setToolTip("Simulated time of the last frame")
        self.track = _Track()
        self.track.setToolTip("Drag to any frame; Home, End and the arrow keys go to frames one by one")
        self.track.valueChanged.connect(self.seek_asked)
        self.frame = NumberBox(0, 0, integer=True)
        self.frame.setFixedWidth(72)
        self.frame.setAccessibleName("Frame number")
        self.frame.setToolTip("Number of the frame, from 0: type one to go there")
        self.frame.asked.connect(lambda value: self.seek_asked.emit(round(value)))
        self.count = QLabel()
        self.count.setProperty("dim", True)
        self.pace = Choice()
        self.pace.setMinimumContentsLength(7)
        self.pace.setAccessibleName("Speed")
        self.pace.setToolTip(
            "<p>Simulated time that passes per second (+ and -), or every frame as fast as it comes.</p>"
        )
        self.pace.activated.connect(lambda _: self.pace_asked.emit(self.pace.currentData()))
        self.title = Line(dim=True)
        above = QHBoxLayout()
        above.setSpacing(8)
        above.addWidget(self.time)
        above.addWidget(self.track, 1)
        above.addWidget(self.end)
        below = QHBoxLayout()
        below.setSpacing(2)
        for name in ("first", "step_back", "run", "step", "last", "loop"):
            below.addWidget(self._button(actions, name))
        below.addSpacing(6)
        below.addWidget(self.pace)
        below.addSpacing(6)
        below.addWidget(self.frame)
        below.addWidget(self.count)
        below.addSpacing(8)
        below.addWidget(self.title, 1)
        for name in ("go_on", "back"):
            below.addWidget(self._button(actions, name, words=True))
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 6, 10, 6)
        column.setSpacing(4)
        column.addLayout(above)
        column.addLayout(below)
        self.hide()

    def show_status(self, status: Status | None) -> None:
        """Show where a player stands; None hides the bar."""
        if status is None or status.playback is None:
            self.hide()
            return
        playback = status.playback
        opened = status.run_state is not RunState.STARTING
        self.setVisible(opened)
        self._show_range(playback)
        self._show_pace(playback, status.pace)
        self.title.say(playback.title)
        self.time.setText(clock_of(status.time, playback.end))
        if not self.track.isSliderDown():
            with QSignalBlocker(self.track):
                self.track.setValue(playback.frame)
        self.frame.show_value(playback.frame)

    def _button(self, actions: Actions, name: str, *, words: bool = False) -> QToolButton:
        button = QToolButton()
        button.setObjectName(f"scrub_{name}")
        button.setDefaultAction(actions[name])
        button.setIconSize(QSize(16, 16))
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        style = Qt.ToolButtonStyle.ToolButtonTextBesideIcon if words else Qt.ToolButtonStyle.ToolButtonIconOnly
        button.setToolButtonStyle(style)
        return button

    def _show_range(self, playback: Playback) -> None:
        last = max(playback.n_frames - 1, 0)
        if self.track.maximum() != last or self.frame.maximum() != last:
            with QSignalBlocker(self.track):
                self.track.setRange(0, last)
            self.frame.setRange(0, last)
        self.count.setText(f"/ {last}")
        self.end.setText(clock_of(playback.end, playback.end))
        self.time.setMinimumWidth(self.end.sizeHint().width())

    def _show_pace(self, playback: Playback, pace: float | None) -> None:
        if playback.interval != self._paces_of:
            self._paces_of = playback.interval
            self.pace.clear()
            self.pace.addItem("Every frame", None)
            for each in reversed(playback_paces(playback.interval)):
                self.pace.addItem(pace_text(each), each)
        self.pace.show_data(pace)
