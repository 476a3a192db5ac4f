"""What is written over the molecules: the legend, the axes, a message. Drawn by Qt, so that text is as crisp as the
rest of the window, in the view and in saved pictures alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QImage,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPen,
    QRadialGradient,
)

from mldsim.gui.viewport.colours import RGB, ViewColours
from mldsim.gui.viewport.marks import TEXT, Marks, Place
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

_LARGE = 64.0
"""Radius, pixels, from which a ring is not kept as a picture: that would take much memory."""

_MARGIN = 16.0
LEGEND_AREA = QRect(0, 0, 320, 320)
"""Pixels that a legend can reach."""


def axes_area(height: float) -> QRect:
    """The same of the axes, in a picture of this height."""
    return QRect(0, math.floor(height) - 96, 96, 97)


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
    marks : Marks
    """

    colours: ViewColours
    legend: Legend | None
    axes: NDArray[np.float64] | None
    message: str | None
    marks: Marks

    def paint(self, painter: QPainter, width: float, height: float, scale: float) -> None:
        """Draw into a picture of so many of the painter's units.

        `scale` is the size of text and swatches: 1 in the window, more in a picture that is larger than it.
        """
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        painter.save()
        painter.scale(scale, scale)
        width, height = width / scale, height / scale
        self._paint_marks(painter)
        if isinstance(self.legend, KindLegend):
            self._paint_kinds(painter, self.legend)
        elif isinstance(self.legend, ScaleLegend):
            self._paint_scale(painter, self.legend)
        if self.axes is not None:
            self._paint_axes(painter, self.axes, height)
        if self.message:
            self._paint_message(painter, self.message, width, height)
        painter.restore()

    def _paint_marks(self, painter: QPainter) -> None:
        marks, colours = self.marks, self.colours
        halo = _colour(colours.plate, 0.75)
        notes = _Notes(painter, colours.plate)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        through = [QPointF(*place) for place in marks.path]
        if len(through) > 1:
            for ink, width in ((halo, 4.5), (_colour(colours.mark), 1.8)):
                painter.setPen(_pen(ink.rgba(), width))
                painter.drawPolyline(through)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)  # rings move by less than a pixel
        rings = [(place, radius, False) for place, radius, _ in marks.rings]
        for (x, y), radius, broken in (*rings, *((*image, True) for image in marks.images)):
            look = _colour(colours.mark).rgba(), halo.rgba(), broken
            if radius > _LARGE:
                _paint_ring(painter, QPointF(x, y), radius, *look)
                continue
            half, ring = _ring(round(2.0 * radius) / 2.0, notes.ratio, *look)
            painter.drawImage(QPointF(x - half, y - half), ring)
        for start, end, text, rgb in marks.arrows:
            arrow = _arrow(start, end)
            painter.strokePath(arrow, _pen(halo.rgba(), 6.0))
            painter.strokePath(arrow, _pen(_colour(rgb).rgba(), 3.0))
            notes.write((end[0] + 10, end[1]), text, rgb)
        for start, end, text in marks.springs:
            painter.setPen(_pen(halo.rgba(), 5.0))
            painter.drawLine(QPointF(*start), QPointF(*end))
            painter.setPen(_pen(_colour(colours.pull).rgba(), 2.4, dashed=True))
            painter.drawLine(QPointF(*start), QPointF(*end))
            painter.drawEllipse(QPointF(*end), 5, 5)
            notes.write((end[0] + 12, end[1]), text, colours.pull)
        for place, radius, text in marks.rings:
            notes.write((place[0] + radius + 5, place[1] - radius - 3), text, colours.mark)
        if marks.note is not None:
            notes.write(*marks.note, colours.text, large=True)

    def _paint_plate(self, painter: QPainter, width: float, height: float) -> None:
        """A veil behind the legend, for the time when agents are behind it."""
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_colour(self.colours.plate, 0.55))
        inset = 0.5 * _MARGIN
        painter.drawRoundedRect(QRectF(inset, inset, width, height), 7, 7)

    def _paint_kinds(self, painter: QPainter, legend: KindLegend) -> None:
        font = _font(TEXT)
        radius, row = 7.0, 23.0
        metrics = QFontMetricsF(font)
        widths = [2 * radius + 8 + metrics.horizontalAdvance(symbol) for symbol, _ in legend.kinds]
        below = 0.0
        if legend.title:
            bold = _font(TEXT, bold=True)
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
        painter.setFont(_font(TEXT, bold=True))
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
        painter.setFont(_font(TEXT - 1))
        for index, (symbol, lowest, highest) in enumerate(legend.rows):
            place = QRectF(bar.left(), bar.bottom() + 3 + index * row, bar.width(), row)
            painter.setPen(_colour(self.colours.text))
            painter.drawText(place, left | middle, lowest)
            painter.drawText(place, right | middle, highest)
            painter.setPen(_colour(self.colours.dim))
            painter.drawText(place, centre | middle, symbol)

    def _paint_axes(self, painter: QPainter, axes: NDArray[np.float64], height: float) -> None:
        origin, length = QPointF(_MARGIN + 26, height - _MARGIN - 26), 25.0
        painter.setFont(_font(TEXT - 2, bold=True))
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
        font = _font(TEXT + 1)
        painter.setFont(font)
        flags = Qt.AlignmentFlag.AlignCenter.value | Qt.TextFlag.TextWordWrap.value
        room = QRectF(0, 0, max(min(width - 96, 520), 120), height)
        text = QFontMetricsF(font).boundingRect(room, flags, message)
        plate = QRectF(0, 0, text.width() + 44, text.height() + 26)
        plate.moveCenter(QPointF(0.5 * width, 0.5 * height))
        painter.setPen(QPen(_colour(self.colours.box, 0.45), 1))
        painter.setBrush(_colour(self.colours.plate, 0.9))
        painter.drawRoundedRect(plate, 10, 10)
        painter.setPen(_colour(self.colours.text))
        painter.drawText(plate.adjusted(20, 10, -20, -10), flags, message)


class _Notes:
    """A few words each on a plate of its own; they give way to each other downwards."""

    def __init__(self, painter: QPainter, ground: RGB) -> None:
        self._painter, self._ground = painter, ground
        self.ratio = painter.deviceTransform().m11()
        """Pixels of the picture for one of the design."""
        self._font = QGuiApplication.font().toString()
        self._taken: list[tuple[float, float, float, float]] = []

    def write(self, place: Place, text: str, colour: RGB, *, large: bool = False) -> None:
        """Write with the middle of the left side of the plate at a place, or lower where others are written."""
        if not text:
            return
        width, height, plate = _plate(self._font, text, colour, self._ground, self.ratio, large)
        left, top = place[0], place[1] - 0.5 * height
        for other_top, other_left, right, bottom in sorted(self._taken):
            if left < right and other_left < left + width and top < bottom and other_top < top + height:
                top = bottom + 1
        self._taken.append((top, left, left + width, top + height))
        # On whole pixels of the picture, so that the words stay sharp.
        self._painter.drawImage(
            QPointF(round(left * self.ratio) / self.ratio, round(top * self.ratio) / self.ratio), plate
        )


def _clear(width: float, height: float, ratio: float) -> QImage:
    """Nothing, to be painted on, of so many units with `ratio` pixels each."""
    picture = QImage(math.ceil(width * ratio), math.ceil(height * ratio), QImage.Format.Format_ARGB32_Premultiplied)
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    return picture


def _arrow(start: Place, end: Place) -> QPainterPath:
    """An arrow; it has no barbs where it is too short to have a direction."""
    path = QPainterPath(QPointF(*start))
    path.lineTo(*end)
    run = end[0] - start[0], end[1] - start[1]
    length = math.hypot(*run)
    if length >= 3.0:
        part = min(11.0 / length, 0.6)
        x, y = part * run[0], part * run[1]
        path.moveTo(end[0] - x - 0.5 * y, end[1] - y + 0.5 * x)
        path.lineTo(*end)
        path.lineTo(end[0] - x + 0.5 * y, end[1] - y - 0.5 * x)
    return path


@lru_cache(maxsize=64)
def _colour(rgb: RGB, opacity: float = 1.0) -> QColor:
    return QColor.fromRgbF(*rgb, opacity)


@lru_cache(maxsize=32)
def _pen(rgba: int, width: float, *, dashed: bool = False) -> QPen:
    """A pen with round ends."""
    style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
    return QPen(QColor.fromRgba(rgba), width, style, Qt.PenCapStyle.RoundCap)


def _font(pixels: float, *, bold: bool = False) -> QFont:
    # The painter is scaled, so that one design serves window and picture: pixels of the design, not of the screen.
    return _made_font(QGuiApplication.font().toString(), pixels, bold)


@lru_cache(maxsize=64)
def _ring(radius: float, ratio: float, colour: int, halo: int, broken: bool) -> tuple[float, QImage]:
    """A ring around an agent of a radius, painted once as plates are, and half its width."""
    half = math.ceil(radius + 6.0)
    ring = _clear(2.0 * half, 2.0 * half, ratio)
    painter = QPainter(ring)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _paint_ring(painter, QPointF(half, half), radius, colour, halo, broken)
    painter.end()
    return half, ring


def _paint_ring(painter: QPainter, place: QPointF, radius: float, colour: int, halo: int, broken: bool) -> None:
    for rgba, width in ((halo, 4.5), (colour, 1.8)):
        pen = QPen(QColor.fromRgba(rgba), width)
        if broken:
            pen.setDashPattern([6.0 / width, 6.0 / width])
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        painter.setPen(pen)
        painter.drawEllipse(place, radius + 3, radius + 3)


@lru_cache(maxsize=64)
def _plate(of: str, text: str, colour: RGB, ground: RGB, ratio: float, large: bool) -> tuple[float, float, QImage]:
    """A few words on a plate, painted once: they follow an agent through many pictures. With its width and height."""
    font = _made_font(of, TEXT + 2 if large else TEXT - 1, True)
    metrics = QFontMetricsF(font)
    width, height = math.ceil(metrics.horizontalAdvance(text) + 10), math.ceil(metrics.height() + 2)
    plate = _clear(width, height, ratio)
    painter = QPainter(plate)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_colour(ground, 0.8))
    painter.drawRoundedRect(QRectF(0, 0, width, height), 4, 4)
    painter.setFont(font)
    painter.setPen(_colour(colour))
    painter.drawText(QPointF(5, 1 + metrics.ascent()), text)
    painter.end()
    return width, height, plate


@lru_cache(maxsize=16)
def _made_font(_of: str, pixels: float, bold: bool) -> QFont:
    font = QFont()
    font.setPixelSize(round(pixels))
    font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    return font
