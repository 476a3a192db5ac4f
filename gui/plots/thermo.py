"""Temperature and energy against time, drawn live at a cost that does not grow with the run."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QFont, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from mldsim.gui import theme
from mldsim.gui.viewmodel import RUNNING_MEAN, Curves, drift, thinned

Array = NDArray[np.float64]
Line = tuple[Array, Array]
"""Times in ps, and values."""

Range = tuple[float, float]

POINTS = 400
"""Buckets per curve: about as many as a plot has pixels, so that thinning cannot be seen."""

MINIMUM_SPAN = 0.05
"""Shortest time axis in ps: a run that has just begun is not stretched over the whole plot."""

HEADROOM = 0.15
"""How much an axis is longer than what it has to show when it is set anew."""

SMALL = 8
"""Point size of what belongs to the axes."""


@dataclass(frozen=True, slots=True)
class Pen:
    """How a curve is drawn; `colour` is the name of a field of `theme.Colours`."""

    colour: str
    width: float = 1.4
    dashed: bool = False
    opacity: float = 1.0


class _Graph(pg.PlotWidget):  # type: ignore[misc]
    double_clicked = Signal()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.double_clicked.emit()
        event.accept()


class TimePlot(QWidget):
    """Curves against time in ps, under a legend that covers none of them.

    The whole run is shown until the user zooms or pans; a double click shows the whole run again. Only what lies in
    view is drawn, thinned to the pixels there are.

    Parameters
    ----------
    quantity : str
        Label of the vertical axis, with its unit.
    pens : dict
        Name in the legend -> how it is drawn; later ones lie above earlier ones.
    tip : str
        What there is to know about these curves.
    """

    def __init__(self, quantity: str, pens: dict[str, Pen], tip: str) -> None:
        super().__init__()
        self._quantity = quantity
        self._pens = pens
        self._data: dict[str, Line] = {}
        self._notes: dict[str, str] = {}
        self._following = True
        self._time_range: Range = (0.0, MINIMUM_SPAN)
        self._value_range: Range = (0.0, 0.0)
        self._shown_ranges: tuple[Range, Range] | None = None
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._legend.setContentsMargins(46, 0, 0, 0)
        self._graph = _Graph()
        self._graph.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._graph.setFrameShape(pg.QtWidgets.QFrame.Shape.NoFrame)
        self._graph.setMinimumSize(150, 90)
        self._graph.setToolTip(f"<p>{tip}</p><p>Drag to move, wheel to zoom, double click to see the whole run.</p>")
        self._graph.double_clicked.connect(self.show_whole_run)
        item = self._graph.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.layout.setContentsMargins(0, 2, 8, 0)
        small = QFont(self.font())
        small.setPointSizeF(SMALL)
        self._legend.setFont(small)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setStyle(tickFont=small, tickLength=-4, tickTextOffset=4, autoExpandTextSpace=False, showValues=False)
            axis.enableAutoSIPrefix(False)
        item.getAxis("left").setWidth(52)
        item.getAxis("bottom").setHeight(36)
        box = item.getViewBox()
        box.setLimits(minXRange=1e-3)
        box.sigRangeChangedManually.connect(self._on_zoom)
        self._curves: dict[str, pg.PlotDataItem] = {}
        for order, (name, pen) in enumerate(pens.items()):
            style = Qt.PenStyle.DashLine if pen.dashed else Qt.PenStyle.SolidLine
            curve = pg.PlotDataItem(pen=pg.mkPen("w", width=pen.width, style=style), antialias=True)
            curve.setZValue(order)
            self._graph.addItem(curve)
            self._curves[name] = curve
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._top = QHBoxLayout()
        self._top.setContentsMargins(0, 0, 4, 0)
        self._top.setSpacing(2)
        self._top.addWidget(self._legend, 1)
        column.addLayout(self._top)
        column.addWidget(self._graph, 1)

    def add_button(self, button: QWidget) -> None:
        """Put a small button beside the legend."""
        self._top.addWidget(button)

    def show_data(self, data: dict[str, Line], notes: dict[str, str] | None = None) -> None:
        """Draw these curves and no others; `notes` are written after their names in the legend."""
        changed = list(data) != list(self._data) or notes != self._notes
        self._data, self._notes = data, notes or {}
        if changed:
            self._write_legend()
            for side in ("left", "bottom"):  # an empty plot has no numbers
                self._graph.getPlotItem().getAxis(side).setStyle(showValues=bool(data))
        self._draw()

    def show_whole_run(self) -> None:
        self._following = True
        self._shown_ranges = None
        self._draw()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self._graph.setBackground(colours.panel)
        for name, curve in self._curves.items():
            look = self._pens[name]
            colour = QColor(getattr(colours, look.colour))
            colour.setAlphaF(look.opacity)
            pen = pg.mkPen(curve.opts["pen"])
            pen.setColor(colour)
            curve.setPen(pen)
        for side, text in (("left", self._quantity), ("bottom", "Time (ps)")):
            axis = self._graph.getPlotItem().getAxis(side)
            axis.setPen(QColor(colours.border))
            axis.setTextPen(QColor(colours.dim))
            axis.setLabel(text, color=colours.dim, **{"font-size": f"{SMALL}pt"})
        self._write_legend()

    def drawn(self, name: str) -> Line:
        """What is drawn of a curve now."""
        x, y = self._curves[name].getData()
        empty = np.empty(0)
        return (empty if x is None else x), (empty if y is None else y)

    def _write_legend(self) -> None:
        c = self._colours
        parts = []
        for name in self._data or self._pens:
            look = self._pens[name]
            mark = "╌╌" if look.dashed else "━━" if look.width > 1.6 else "──"
            note = self._notes.get(name, "")
            note = f"&nbsp;<span style='color:{c.dim}'>{html.escape(note)}</span>" if note else ""
            parts.append(
                f"<span style='color:{getattr(c, look.colour)}'>{mark}</span>&nbsp;"
                f"<span style='color:{c.text}'>{html.escape(name).replace(' ', '&nbsp;')}</span>{note}"
            )
        self._legend.setText("&nbsp;&nbsp; ".join(parts))

    def _on_zoom(self, *_: object) -> None:
        self._following = False
        self._draw()

    def _draw(self) -> None:
        box = self._graph.getPlotItem().getViewBox()
        filled = [line for line in self._data.values() if len(line[0])]
        if self._following and filled:
            first = min(float(x[0]) for x, _ in filled)
            last = max(float(x[-1]) for x, _ in filled)
            self._time_range = time_range(self._time_range, first, last)
        low, high = self._time_range if self._following else box.viewRange()[0]
        values: list[Array] = []
        for name, curve in self._curves.items():
            line = self._data.get(name)
            if line is None or not len(line[0]):
                curve.setData([], [])
                continue
            x, y = thinned(*line, low, high, POINTS)
            curve.setData(x, y)
            values.append(y)
        if self._following and values:
            bottom = min(float(y.min()) for y in values)
            top = max(float(y.max()) for y in values)
            self._value_range = value_range(self._value_range, bottom, top)
            if self._shown_ranges != (self._time_range, self._value_range):
                self._shown_ranges = (self._time_range, self._value_range)
                box.setRange(xRange=self._time_range, yRange=self._value_range, padding=0)


def time_range(shown: Range, first: float, last: float) -> Range:
    """The time axis that shows `first` to `last`: the one shown already, as long as it holds them without much waste.

    Axes that move with every row are unquiet, and drawing them is what a plot costs most.
    """
    low, high = shown
    if low == first and last <= high and last - first >= 0.5 * (high - low):
        return shown
    return first, first + max((last - first) * (1 + HEADROOM), MINIMUM_SPAN)


def value_range(shown: Range, bottom: float, top: float) -> Range:
    """The value axis that shows `bottom` to `top`, under the same rule."""
    low, high = shown
    if low <= bottom and top <= high and top - bottom >= 0.6 * (high - low):
        return shown
    margin = HEADROOM * (top - bottom) or max(abs(top) * 1e-3, 1e-3)
    return bottom - margin, top + margin


class ThermoPlots(QWidget):
    """The plots of a run: temperature, energy and, for losses of their own scope, the heat the thermostat takes."""

    INSTANT = "instantaneous"
    MEAN = f"{RUNNING_MEAN / 1e3:g} ps mean"
    TARGET = "target"
    KINETIC = "kinetic"
    LOSS = "loss"
    TOTAL = "total"
    CONSERVED = "conserved"
    HEAT = "heat to thermostat"

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.temperature = TimePlot(
            "Temperature (K)",
            {
                self.INSTANT: Pen("temperature", 1.0, opacity=0.5),
                self.TARGET: Pen("text", 1.2, dashed=True, opacity=0.8),
                self.MEAN: Pen("temperature", 2.2),
            },
            "The temperature of so few agents fluctuates by itself: its running mean is what meets the target.",
        )
        self.energy = TimePlot(
            "ΔE (meV/agent)",
            {
                self.KINETIC: Pen("kinetic"),
                self.LOSS: Pen("loss"),
                self.TOTAL: Pen("total"),
                self.CONSERVED: Pen("conserved", 2.2),
            },
            "Changes since the first row, per agent: the total loss has an arbitrary zero, so only its changes mean "
            "something. Total is kinetic energy plus loss; the conserved quantity also counts the heat that the "
            "thermostat holds, and its drift measures the time step.",
        )
        self.heat = TimePlot(
            "Heat (meV/agent)",
            {self.HEAT: Pen("heat", 1.8)},
            "Every agent descends its own loss, so forces are not reciprocal and no energy is conserved: this is the "
            "heat that the thermostat has carried away.",
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 6, 4, 2)
        row.setSpacing(6)
        for plot in (self.temperature, self.energy, self.heat):
            row.addWidget(plot, 1)
        self.heat.hide()

    def wanted(self) -> bool:
        """False while nobody can see the plots."""
        return self.isVisible() and not self.visibleRegion().isEmpty()

    def show_curves(self, curves: Curves | None) -> None:
        """Draw a run; None empties the plots."""
        if curves is None:
            for plot in (self.temperature, self.energy, self.heat):
                plot.show_data({})
            return
        t = curves.time
        self.temperature.show_data(
            {
                self.INSTANT: (t, curves.temperature),
                self.MEAN: (t, curves.mean_temperature),
                self.TARGET: (t, curves.target),
            }
        )
        energy = {self.KINETIC: (t, curves.kinetic), self.LOSS: (t, curves.loss), self.TOTAL: (t, curves.total)}
        notes = {}
        if curves.conserved is not None:
            energy[self.CONSERVED] = (t, curves.conserved)
            notes = {self.CONSERVED: _slope(drift(t, curves.conserved), "drift ")}
        self.energy.show_data(energy, notes)
        self.heat.setVisible(curves.heat is not None)
        if curves.heat is not None:
            self.heat.show_data({self.HEAT: (t, curves.heat)}, {self.HEAT: _slope(drift(t, curves.heat), "")})

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for plot in (self.temperature, self.energy, self.heat):
            plot.colour(colours)


def _slope(value: float, prefix: str) -> str:
    return "" if math.isnan(value) else f"{prefix}{value:+.3g} meV/ps"
