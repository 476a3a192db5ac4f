"""The editor of a temperature schedule: legs in rows, and the curve that they make."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from mldsim.gui import theme
from mldsim.gui.panels.fields import FlatButton, NumberBox, Paragraph, Tick
from mldsim.parameters import FIELDS
from mldsim.schedules import MOST_LEGS, Leg, Schedule
from mldsim.units import format_time

LONGEST_LEG = 1e6
"""ps"""

USUAL = (Leg(400.0, 10e3), Leg(300.0, 10e3))
"""What is offered where there is no schedule yet."""


class Curve(QWidget):
    """The target over time, and where the run is on it."""

    def __init__(self, colours: theme.Colours) -> None:
        super().__init__()
        self._colours = colours
        self._times: list[float] = []
        self._temperatures: list[float] = []
        self._repeats = False
        self.setMinimumHeight(130)
        self.setAccessibleName("Target temperature over time")

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(420, 150)

    def show_schedule(self, schedule: Schedule, initial: float) -> None:
        """Draw a schedule that starts from a temperature, K."""
        self._times, self._temperatures = schedule.corners(initial)
        self._repeats = schedule.repeats
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002
        c, painter = self._colours, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = self.fontMetrics()
        low, high = min(self._temperatures), max(self._temperatures)
        room = max(0.1 * (high - low), 5.0)
        low, high, last = low - room, high + room, self._times[-1]
        left, below = metrics.horizontalAdvance("0000 K") + 8, metrics.height() + 6
        area = QRectF(left, 6, self.width() - left - 10, self.height() - below - 6)
        painter.fillRect(area, QColor(c.field))
        painter.setPen(QColor(c.dim))
        for value in sorted({min(self._temperatures), max(self._temperatures)}):
            y = area.bottom() - (value - low) / (high - low) * area.height()
            painter.drawText(
                QRectF(0, y - metrics.height() / 2, left - 6, metrics.height()),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                f"{value:.4g} K",
            )
            painter.drawLine(QPointF(area.left() - 3, y), QPointF(area.left(), y))
        foot = QRectF(area.left(), area.bottom() + 3, area.width(), metrics.height())
        painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, "now")
        end = f"{format_time(last)}, and so on" if self._repeats else format_time(last)
        painter.drawText(foot, Qt.AlignmentFlag.AlignRight, end)
        points = [
            QPointF(
                area.left() + time / last * area.width(),
                area.bottom() - (value - low) / (high - low) * area.height(),
            )
            for time, value in zip(self._times, self._temperatures, strict=True)
        ]
        painter.setPen(QPen(QColor(c.temperature), 2.0))
        painter.drawPolyline(QPolygonF(points))
        painter.end()


class ScheduleDialog(QDialog):
    """Legs of a schedule; ``accept`` starts it.

    Parameters
    ----------
    parent : QWidget
    schedule : Schedule or None
        The one that is followed now.
    initial : float, K
        The target now, from which a new one starts.
    colours : theme.Colours
    stop : callable
        Called when the present one shall end.
    """

    def __init__(
        self,
        parent: QWidget,
        schedule: Schedule | None,
        initial: float,
        colours: theme.Colours,
        stop: Callable[[], None],
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Temperature schedule")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._initial, self._colours = initial, colours
        self.legs: list[tuple[NumberBox, NumberBox, QWidget]] = []
        self.curve = Curve(colours)
        self.repeats = Tick("Again and again", "Begin with the first leg again when the last one has ended")
        self.repeats.show_checked(schedule is not None and schedule.repeats)
        self.add = QPushButton("Add a leg")
        self.add.setAutoDefault(False)
        self.add.clicked.connect(self._on_add)
        words = Paragraph()
        words.setText(
            "The target of the thermostat goes in straight lines; a leg to the temperature that is there already holds "
            "it. The work of changing the target is booked, so that the conserved quantity stays flat."
        )
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        self._first = QLabel(f"From {initial:.4g} K now")
        self._first.setProperty("dim", True)
        below = QHBoxLayout()
        below.addWidget(self.add)
        below.addStretch(1)
        below.addWidget(self.repeats)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        start = QPushButton("Start")
        start.setDefault(True)
        buttons.addButton(start, QDialogButtonBox.ButtonRole.AcceptRole)
        if schedule is not None:
            ending = QPushButton("Stop it here")
            ending.setAutoDefault(False)
            ending.setToolTip("Hold the target that is reached now")
            ending.clicked.connect(stop)
            ending.clicked.connect(self.reject)
            buttons.addButton(ending, QDialogButtonBox.ButtonRole.ResetRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(10)
        for part in (words, self.curve, self._first):
            column.addWidget(part)
        column.addLayout(self._rows)
        column.addLayout(below)
        column.addWidget(buttons)
        self.repeats.toggled.connect(lambda _: self._draw())
        for leg in schedule.legs if schedule is not None else USUAL:
            self._add(leg)
        self._draw()

    def schedule(self, begin: float) -> Schedule:
        """What is set, beginning at a time, fs."""
        legs = tuple(Leg(to.value(), 1e3 * within.value()) for to, within, _ in self.legs)
        return Schedule(legs, begin, self.repeats.isChecked())

    def _add(self, leg: Leg) -> None:
        field = FIELDS["temperature"]
        to = NumberBox(field.minimum, field.maximum, unit="K")
        to.setToolTip(f"<p>The target at the end of this leg. {field.physics}</p>")
        to.show_value(leg.temperature)
        within = NumberBox(1e-3, LONGEST_LEG, unit="ps")
        within.setToolTip("<p>How long this leg takes, in simulated time. Water follows within about a picosecond.</p>")
        within.show_value(1e-3 * leg.duration)
        part = QWidget()
        row = QHBoxLayout(part)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("to"))
        row.addWidget(to, 1)
        row.addWidget(QLabel("in"))
        row.addWidget(within, 1)
        remove = FlatButton("close", "Remove this leg")
        remove.colour(self._colours)
        remove.clicked.connect(lambda: self._remove(part))
        row.addWidget(remove)
        for box in (to, within):
            box.asked.connect(lambda _: self._draw())
        self.legs.append((to, within, part))
        self._rows.addWidget(part)

    def _on_add(self) -> None:
        to, within, _ = self.legs[-1]
        self._add(Leg(to.value(), 1e3 * within.value()))
        self._draw()
        self.legs[-1][0].setFocus()

    def _remove(self, part: QWidget) -> None:
        if len(self.legs) > 1:
            self.legs = [leg for leg in self.legs if leg[2] is not part]
            self._rows.removeWidget(part)
            part.hide()
            part.deleteLater()
            self._draw()

    def _draw(self) -> None:
        self.add.setEnabled(len(self.legs) < MOST_LEGS)
        for _, _, part in self.legs:
            part.findChildren(FlatButton)[0].setEnabled(len(self.legs) > 1)
        self.curve.show_schedule(self.schedule(0.0), self._initial)
