"""Small drawings in panels: signed bars, and values in the ranges that the fit has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from mldsim.gui import theme
from mldsim.gui.panels.fields import LABEL_WIDTH
from mldsim.gui.picked import written

Array = NDArray[np.float64]

_ROW = 19
_VALUE = 66
"""Height of a row, and width of what is written at its end, pixels."""


class SignedBars(QWidget):
    """Rows of a name, a bar to the left or the right of zero, and a value; all bars on one scale."""

    def __init__(self, unit: str, tip: str) -> None:
        super().__init__()
        self._unit = unit
        self._rows: list[tuple[str, float]] = []
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self.setToolTip(f"<p>{tip}</p>")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_rows(self, rows: list[tuple[str, float]]) -> None:
        """Show these names and values."""
        resized = len(rows) != len(self._rows)
        self._rows = rows
        if resized:
            self.updateGeometry()
        self.update()

    def rows(self) -> list[tuple[str, float]]:
        """What is shown."""
        return list(self._rows)

    def colour(self, colours: theme.Colours) -> None:
        self._colours = colours
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(LABEL_WIDTH + _VALUE + 90, _ROW * max(len(self._rows), 1))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        c = self._colours
        left, right = LABEL_WIDTH - 8.0, self.width() - _VALUE - 6.0
        largest = max((abs(value) for _, value in self._rows), default=0.0) or 1.0
        low = min(0.0, min((value for _, value in self._rows), default=0.0)) / largest
        high = max(0.0, max((value for _, value in self._rows), default=0.0)) / largest
        zero = left + (right - left) * (-low / max(high - low, 1e-9))
        scale = (right - left) / max(high - low, 1e-9)
        middle = Qt.AlignmentFlag.AlignVCenter
        for row, (name, value) in enumerate(self._rows):
            top = float(row * _ROW)
            painter.setPen(QColor(c.text))
            painter.drawText(QRectF(0, top, left - 4, _ROW), middle | Qt.AlignmentFlag.AlignLeft, name)
            end = QRectF(self.width() - _VALUE, top, _VALUE, _ROW)
            painter.drawText(end, middle | Qt.AlignmentFlag.AlignRight, f"{written(value)} {self._unit}")
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.loss if value < 0 else c.temperature))
            length = scale * value / largest
            painter.drawRoundedRect(QRectF(min(zero, zero + length), top + 5, abs(length), _ROW - 10), 2, 2)
        painter.setPen(QPen(QColor(c.border), 1))
        painter.drawLine(QPointF(zero, 0), QPointF(zero, _ROW * len(self._rows)))
        painter.end()


@dataclass(frozen=True, slots=True)
class Span:
    """A value and the range that the fit has seen of it."""

    name: str
    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.value <= self.high


class RangeBars(QWidget):
    """For each value a slot as high as the range that the fit has seen, with a mark where the value is in it.

    A mark above or below its slot is a value that the model has never been fitted to.
    """

    _HEIGHT, _MARGIN = 52, 9

    def __init__(self, tip: str) -> None:
        super().__init__()
        self._tip = tip
        self._spans: list[Span] = []
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(self._HEIGHT)

    def show_spans(self, spans: list[Span]) -> None:
        """Show these values, from left to right."""
        self._spans = spans
        self.update()

    def spans(self) -> list[Span]:
        """What is shown."""
        return list(self._spans)

    def colour(self, colours: theme.Colours) -> None:
        self._colours = colours
        self.update()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self._tip_at(event.pos().x()), self)
            return True
        return super().event(event)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        c = self._colours
        width = self.width() / max(len(self._spans), 1)
        top, bottom = float(self._MARGIN), float(self._HEIGHT - self._MARGIN)
        for place, span in enumerate(self._spans):
            middle = (place + 0.5) * width
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.raised))
            slot = min(width - 3.0, 14.0)
            painter.drawRoundedRect(QRectF(middle - 0.5 * slot, top, slot, bottom - top), 2, 2)
            part = (span.value - span.low) / max(span.high - span.low, 1e-12)
            at = float(np.clip(bottom - part * (bottom - top), 2.0, self._HEIGHT - 2.0))
            pen = QPen(QColor(c.accent if span.inside else c.warning), 3)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            painter.drawLine(QPointF(middle - 0.5 * slot, at), QPointF(middle + 0.5 * slot, at))
        painter.end()

    def _tip_at(self, x: int) -> str:
        if not self._spans:
            return self._tip
        span = self._spans[min(max(int(x * len(self._spans) / max(self.width(), 1)), 0), len(self._spans) - 1)]
        where = "inside" if span.inside else "outside"
        return (
            f"<p>{span.name}: {written(span.value)}, {where} the fitted range {written(span.low)} to "
            f"{written(span.high)}</p><p>{self._tip}</p>"
        )
