"""Curves with their standard errors against anything but time: what analyses, doubt and losses are drawn with."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QImage, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.gui import theme
from mldsim.gui.plots.thermo import HEADROOM, SMALL, Pen, Range

Array = NDArray[np.float64]

BAND = 0.32
"""Opacity of the band of one standard error to either side."""

PICTURE_SCALE = 3
"""A saved plot has so many pixels for one of the screen, which is about 300 dots per inch."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A part of the horizontal axis that is set off, with what it says in the legend."""

    name: str
    low: float
    high: float


class _Graph(pg.PlotWidget):  # type: ignore[misc]
    double_clicked = Signal()
    left = Signal()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.double_clicked.emit()
        event.accept()

    def leaveEvent(self, event: object) -> None:  # noqa: N802
        self.left.emit()
        super().leaveEvent(event)


class CurvePlot(QWidget):
    """Named curves over a common axis, each with a band of one standard error where it is known.

    The legend above reads the curves off at the pointer. Everything is in view until the user zooms or pans; a double
    click shows everything again.

    Parameters
    ----------
    pens : dict
        Name in the legend -> how it is drawn; later ones lie above earlier ones.
    minimum : (width, height)
        Pixels.
    """

    def __init__(self, pens: dict[str, Pen], *, minimum: tuple[int, int] = (180, 80)) -> None:
        super().__init__()
        self._pens = pens
        self._curves: dict[str, Curve] = {}
        self._shades: tuple[Shade, ...] = ()
        self._labels = ("", "")
        self._unit = ""
        self._limits: Range | None = None
        self._following = True
        self._ranges: tuple[Range, Range] | None = None
        self._pointer: float | None = None
        self._colours = theme.COLOURS[theme.Theme.DARK]
        small = QFont(self.font())
        small.setPointSizeF(SMALL)
        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._legend.setFont(small)
        self._legend.setMinimumHeight(self._legend.fontMetrics().height() + 2)
        self._graph = _Graph()
        self._graph.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._graph.setFrameShape(pg.QtWidgets.QFrame.Shape.NoFrame)
        self._graph.setMinimumSize(*minimum)
        self._graph.double_clicked.connect(self.show_everything)
        self._graph.left.connect(lambda: self._point_at(None))
        self._graph.scene().sigMouseMoved.connect(self._on_pointer)
        item = self._graph.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.layout.setContentsMargins(0, 2, 8, 0)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setStyle(tickFont=small, tickLength=-4, tickTextOffset=4, autoExpandTextSpace=False)
            axis.enableAutoSIPrefix(False)
        item.getAxis("left").setWidth(52)
        item.getAxis("bottom").setHeight(36)
        item.getViewBox().sigRangeChangedManually.connect(self._on_zoom)
        self._region = pg.LinearRegionItem(movable=False)
        self._region.setZValue(-10)
        self._region.hide()
        self._graph.addItem(self._region)
        self._line = pg.InfiniteLine(angle=90)
        self._line.hide()
        self._graph.addItem(self._line, ignoreBounds=True)
        self._lines: dict[str, pg.PlotDataItem] = {}
        self._bands: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem, pg.FillBetweenItem]] = {}
        for order, (name, pen) in enumerate(pens.items()):
            low, high = pg.PlotCurveItem(pen=None), pg.PlotCurveItem(pen=None)
            band = pg.FillBetweenItem(low, high)
            band.setZValue(2 * order)
            style = Qt.PenStyle.DashLine if pen.dashed else Qt.PenStyle.SolidLine
            line = pg.PlotDataItem(pen=pg.mkPen("w", width=pen.width, style=style), antialias=True)
            line.setZValue(2 * order + 1)
            for part in (low, high, band, line):
                self._graph.addItem(part)
            self._lines[name], self._bands[name] = line, (low, high, band)
        self._message = QLabel(self._graph)
        self._message.setProperty("dim", True)
        self._message.setWordWrap(True)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._message.hide()
        self.head = QHBoxLayout()
        self.head.setContentsMargins(52, 0, 8, 0)
        self.head.setSpacing(6)
        self.head.addWidget(self._legend, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self.head)
        column.addWidget(self._graph, 1)

    def show_curves(
        self,
        x_label: str,
        y_label: str,
        curves: dict[str, Curve],
        *,
        message: str = "",
        shades: tuple[Shade, ...] = (),
        limits: Range | None = None,
    ) -> None:
        """Draw these curves and no others.

        Parameters
        ----------
        x_label, y_label : str
            With units in parentheses.
        curves : dict of str to Curve
            By their names in the legend; one whose pen has no opacity is only its band, and is not read off.
        message : str
            Written over them.
        shades : tuple of Shade
            The first is drawn.
        limits : (bottom, top), optional
            Of the vertical axis, in the place of all there is.
        """
        if self._labels != (x_label, y_label):
            self._labels = (x_label, y_label)
            self._unit = x_label[x_label.rindex("(") + 1 : -1] if x_label.endswith(")") else ""
            self._following, self._ranges = True, None
            self._write_labels()
        self._curves, self._shades, self._limits = curves, shades, limits
        for name, line in self._lines.items():
            low, high, band = self._bands[name]
            curve = curves.get(name)
            if curve is None:
                for part in (line, low, high):
                    part.setData([], [])
                band.hide()
                continue
            line.setData(curve.x, curve.y)
            known = np.isfinite(curve.error)
            band.setVisible(bool(known.any()))
            if known.any():
                low.setData(curve.x[known], (curve.y - curve.error)[known])
                high.setData(curve.x[known], (curve.y + curve.error)[known])
        self._region.setVisible(bool(shades))
        if shades:
            self._region.setRegion((shades[0].low, shades[0].high))
        for side in ("left", "bottom"):
            self._graph.getPlotItem().getAxis(side).setStyle(showValues=bool(curves))
        self._message.setVisible(bool(message))
        self._message.setText(message)
        self._place_message()
        self._frame()
        self._write_legend()

    def show_everything(self) -> None:
        """Undo zooming and panning."""
        self._following, self._ranges = True, None
        self._frame()

    def drawn(self, name: str) -> tuple[Array, Array]:
        """What is drawn of a curve now."""
        x, y = self._lines[name].getData()
        empty = np.empty(0)
        return (empty if x is None else x), (empty if y is None else y)

    def band_drawn(self, name: str) -> bool:
        """Whether a curve shows its standard error."""
        return bool(self._bands[name][2].isVisible())

    @property
    def message(self) -> str:
        """What is written over the curves."""
        return self._message.text() if self._message.isVisibleTo(self) else ""

    def picture(self) -> QImage:
        """The plot with its legend, as sharp as print needs it."""
        self._point_at(None)
        margin, above = 8, self._legend.sizeHint().height() + 8
        size = self._graph.size() + QSize(2 * margin, above + margin)
        image = QImage(PICTURE_SCALE * size, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(PICTURE_SCALE)
        image.fill(QColor(self._colours.panel))
        painter = QPainter(image)
        self._legend.render(painter, QPoint(margin + self.head.contentsMargins().left(), margin))
        self._graph.render(painter, self._graph.rect().translated(margin, above), self._graph.rect())
        painter.end()
        image.setDevicePixelRatio(1.0)
        return image

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self._graph.setBackground(colours.panel)
        for name, line in self._lines.items():
            look = self._pens[name]
            colour = QColor(getattr(colours, look.colour))
            band = QColor(colour)
            band.setAlphaF(BAND)
            self._bands[name][2].setBrush(band)
            colour.setAlphaF(look.opacity)
            pen = pg.mkPen(line.opts["pen"])
            pen.setColor(colour)
            line.setPen(pen)
        ground = QColor(colours.dim)
        ground.setAlphaF(0.13)
        self._region.setBrush(ground)
        for edge in self._region.lines:
            edge.setPen(pg.mkPen(None))
        self._line.setPen(pg.mkPen(QColor(colours.dim), width=1))
        self._write_labels()
        self._write_legend()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._place_message()

    # --- inside ---

    def _write_labels(self) -> None:
        for side, text in zip(("bottom", "left"), self._labels, strict=True):
            axis = self._graph.getPlotItem().getAxis(side)
            axis.setPen(QColor(self._colours.border))
            axis.setTextPen(QColor(self._colours.dim))
            axis.setLabel(text, color=self._colours.dim, **{"font-size": f"{SMALL}pt"})

    def _write_legend(self) -> None:
        c = self._colours
        parts = []
        at = self._pointer
        if at is not None and self._curves:
            parts.append(f"<b>{number(at)}&nbsp;{html.escape(self._unit)}</b>")
        for name, look in self._pens.items():
            curve = self._curves.get(name)
            if curve is None:
                continue
            mark = "╌╌" if look.dashed else "━━" if look.opacity else "▒▒"
            note = ""
            if at is not None and look.opacity and len(curve.x) and curve.x[0] <= at <= curve.x[-1]:
                note = f"&nbsp;<b>{number(float(np.interp(at, curve.x, curve.y)))}</b>"
            parts.append(
                f"<span style='color:{getattr(c, look.colour)}'>{mark}</span>&nbsp;"
                f"<span style='color:{c.text}'>{html.escape(name).replace(' ', '&nbsp;')}</span>{note}"
            )
        parts += [f"<span style='color:{c.disabled}'>██</span>&nbsp;{html.escape(one.name)}" for one in self._shades]
        self._legend.setText("&nbsp;&nbsp; ".join(parts))

    def _on_pointer(self, place: QPointF) -> None:
        box = self._graph.getPlotItem().getViewBox()
        inside = bool(self._curves) and box.sceneBoundingRect().contains(place)
        self._point_at(float(box.mapSceneToView(place).x()) if inside else None)

    def _point_at(self, x: float | None) -> None:
        if x == self._pointer:
            return
        self._pointer = x
        self._line.setVisible(x is not None)
        if x is not None:
            self._line.setValue(x)
        self._write_legend()

    def _on_zoom(self, *_: object) -> None:
        self._following = False

    def _frame(self) -> None:
        """Show everything, with axes that stand still as long as they can."""
        filled = [curve for curve in self._curves.values() if len(curve.x)]
        if not self._following or not filled:
            return
        low, high = min(float(c.x[0]) for c in filled), max(float(c.x[-1]) for c in filled)
        values = np.concatenate([c.y[np.isfinite(c.y)] for c in filled])
        if not len(values):
            return
        bottom, top = float(values.min()), float(values.max())
        if bottom >= 0.0 and bottom < 0.4 * top:
            bottom = 0.0
        ranges = ((low, max(high, low + 1e-9)), self._limits or self._steady(bottom, top))
        if ranges != self._ranges:
            self._ranges = ranges
            self._graph.getPlotItem().getViewBox().setRange(xRange=ranges[0], yRange=ranges[1], padding=0)

    def _steady(self, bottom: float, top: float) -> Range:
        shown = self._ranges[1] if self._ranges is not None else (math.inf, -math.inf)
        if shown[0] <= bottom and top <= shown[1] and top - bottom >= 0.6 * (shown[1] - shown[0]):
            return shown
        margin = HEADROOM * (top - bottom) or max(abs(top) * 1e-3, 1e-6)
        return (0.0 if bottom == 0.0 else bottom - margin), top + margin

    def _place_message(self) -> None:
        if self._message.isVisibleTo(self):
            width, height = self._graph.width(), self._graph.height()
            self._message.setGeometry(60, 4, max(width - 76, 40), max(height - 44, 20))


def number(value: float) -> str:
    """A value as it is read off a plot: three or four digits."""
    return f"{value:.4g}" if abs(value) >= 1.0 else f"{value:.3g}"
