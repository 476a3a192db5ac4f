"""What is written over the molecules: the legend, the axes, a message. Drawn by Qt, so that text is as crisp as the
rest of the window, in the view and in saved pictures alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPen, QRadialGradient

from mldsim.gui.viewport.colours import RGB, ViewColours
from mldsim.gui.viewport.scales import Scale


@dataclass(frozen=True, slots=True)
class KindLegend:
    """The colour of each kind, in the order shown, under a title if there is one."""

    title: str
    kinds: tuple[tuple[str, RGB], ...]


@dataclass(frozen=True, slots=True)
class ScaleLegend:
    """A title with its unit, a colour bar, and one row (name, low end, high end) per group of agents, as written."""

    title: str
    rows: tuple[tuple[str, str, str], ...]
    scale: Scale


Legend = KindLegend | ScaleLegend

_MARGIN = 16.0
_TEXT = 13.0
_AXES = (("x", "#ef6a5c"), ("y", "#4fb06d"), ("z", "#4f8df0"))


@dataclass(frozen=True, slots=True)
class Overlay:
    """All that is written.

    Attributes
    ----------
    colours : ViewColours
    legend : Legend or None
    axes : (3, 3) float64 or None
        The x, y and z axes of the box in eye space, one per row; None where they are not shown.
    message : str or None
    """

    colours: ViewColours
    legend: Legend | None
    axes: NDArray[np.float64] | None
    message: str | None

    def paint(self, painter: QPainter, width: float, height: float, scale: float) -> None:
        """Draw into a picture of so many of the painter's units.

        `scale` is the size of text and swatches: 1 in the window, more in a picture that is larger than it.
        """
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        painter.save()
        painter.scale(scale, scale)
        width, height = width / scale, height / scale
        if isinstance(self.legend, KindLegend):
            self._paint_kinds(painter, self.legend)
        elif isinstance(self.legend, ScaleLegend):
            self._paint_scale(painter, self.legend)
        if self.axes is not None:
            self._paint_axes(painter, self.axes, height)
        if self.message:
            self._paint_message(painter, self.message, width, height)
        painter.restore()

    def _paint_plate(self, painter: QPainter, width: float, height: float) -> None:
        """A veil behind the legend, for the time when agents are behind it."""
        veil = _colour(self.colours.plate)
        veil.setAlphaF(0.55)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(veil)
        inset = 0.5 * _MARGIN
        painter.drawRoundedRect(QRectF(inset, inset, width, height), 7, 7)

    def _paint_kinds(self, painter: QPainter, legend: KindLegend) -> None:
        font = _font(_TEXT)
        radius, row = 7.0, 23.0
        metrics = QFontMetricsF(font)
        widths = [2 * radius + 8 + metrics.horizontalAdvance(symbol) for symbol, _ in legend.kinds]
        below = 0.0
        if legend.title:
            bold = _font(_TEXT, bold=True)
            widths.append(QFontMetricsF(bold).horizontalAdvance(legend.title))
            below = row
        self._paint_plate(painter, _MARGIN + max(widths), row * len(legend.kinds) + below + 7)
        if legend.title:
            painter.setFont(bold)
            painter.setPen(_colour(self.colours.text))
            place = QRectF(_MARGIN, _MARGIN - 5, widths[-1] + 2, row)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, legend.title)
        painter.setFont(font)
        for index, (symbol, colour) in enumerate(legend.kinds):
            centre = QPointF(_MARGIN + radius, _MARGIN + radius + index * row + below)
            base = QColor.fromRgbF(*colour)
            ball = QRadialGradient(centre - QPointF(0.35 * radius, 0.4 * radius), 1.5 * radius)
            ball.setColorAt(0.0, base.lighter(112))
            ball.setColorAt(0.45, base)
            ball.setColorAt(1.0, base.darker(190))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ball)
            painter.drawEllipse(centre, radius, radius)
            painter.setPen(_colour(self.colours.text))
            place = QRectF(centre.x() + radius + 8, centre.y() - 0.5 * row, 120, row)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, symbol)

    def _paint_scale(self, painter: QPainter, legend: ScaleLegend) -> None:
        bar, row = QRectF(_MARGIN, _MARGIN + 22, 158, 10), 18.0
        self._paint_plate(painter, bar.width() + _MARGIN, 43 + row * len(legend.rows))
        painter.setFont(_font(_TEXT, bold=True))
        painter.setPen(_colour(self.colours.text))
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        middle, centre = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
        painter.drawText(QRectF(bar.left(), _MARGIN - 3, bar.width(), row), left | middle, legend.title)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        table = legend.scale.colours(17)
        for index, (red, green, blue) in enumerate(table.tolist()):
            gradient.setColorAt(index / (len(table) - 1), QColor(red, green, blue))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, 2.5, 2.5)
        painter.setFont(_font(_TEXT - 1))
        for index, (symbol, lowest, highest) in enumerate(legend.rows):
            place = QRectF(bar.left(), bar.bottom() + 3 + index * row, bar.width(), row)
            painter.setPen(_colour(self.colours.text))
            painter.drawText(place, left | middle, lowest)
            painter.drawText(place, right | middle, highest)
            painter.setPen(_colour(self.colours.dim))
            painter.drawText(place, centre | middle, symbol)

    def _paint_axes(self, painter: QPainter, axes: NDArray[np.float64], height: float) -> None:
        origin, length = QPointF(_MARGIN + 26, height - _MARGIN - 26), 25.0
        painter.setFont(_font(_TEXT - 2, bold=True))
        for index in np.argsort(axes[:, 2]):  # the one that points away first
            name, code = _AXES[index]
            x, y, towards = (float(part) for part in axes[index])
            colour = QColor(code)
            colour.setAlphaF(0.55 + 0.45 * (0.5 + 0.5 * towards))
            painter.setPen(QPen(colour, 2.2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
            painter.drawLine(origin, origin + QPointF(x, -y) * length)
            if np.hypot(x, y) > 0.25:
                at = origin + QPointF(x, -y) * length + QPointF(x, -y) / np.hypot(x, y) * 9
                painter.drawText(QRectF(at.x() - 8, at.y() - 9, 16, 16), Qt.AlignmentFlag.AlignCenter, name)

    def _paint_message(self, painter: QPainter, message: str, width: float, height: float) -> None:
        font = _font(_TEXT + 1)
        painter.setFont(font)
        flags = Qt.AlignmentFlag.AlignCenter.value | Qt.TextFlag.TextWordWrap.value
        room = QRectF(0, 0, max(min(width - 96, 520), 120), height)
        text = QFontMetricsF(font).boundingRect(room, flags, message)
        plate = QRectF(0, 0, text.width() + 44, text.height() + 26)
        plate.moveCenter(QPointF(0.5 * width, 0.5 * height))
        ground = _colour(self.colours.plate)
        ground.setAlphaF(0.9)
        line = _colour(self.colours.box)
        line.setAlphaF(0.45)
        painter.setPen(QPen(line, 1))
        painter.setBrush(ground)
        painter.drawRoundedRect(plate, 10, 10)
        painter.setPen(_colour(self.colours.text))
        painter.drawText(plate.adjusted(20, 10, -20, -10), flags, message)


def _colour(rgb: RGB) -> QColor:
    return QColor.fromRgbF(*rgb)


def _font(pixels: float, *, bold: bool = False) -> QFont:
    # The painter is scaled, so that one design serves window and picture: pixels of the design, not of the screen.
    font = QFont()
    font.setPixelSize(round(pixels))
    font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    return font
