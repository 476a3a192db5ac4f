"""Curves with their standard errors against anything but time: what analyses, doubt and losses are drawn with."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtGui import QColor

from mldsim.analysis.statistics import Curve
from mldsim.gui import theme
from mldsim.gui.plots.plot import HEADROOM, Pen, Plot, Range, Stroke

Array = NDArray[np.float64]

BAND = 0.32
"""Opacity of the band of one standard error to either side."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A part of the horizontal axis that is set off, with what it says in the legend."""

    name: str
    low: float
    high: float


class CurvePlot(Plot):
    """Named curves over a common axis, each with a band of one standard error where it is known.

    Parameters
    ----------
    pens : dict
        Name in the legend -> how it is drawn; later ones lie above earlier ones.
    minimum : (width, height)
        Pixels.
    """

    def __init__(self, pens: dict[str, Pen], *, minimum: tuple[int, int] = (180, 80)) -> None:
        super().__init__(minimum=minimum)
        self._pens = pens
        self._curves: dict[str, Curve] = {}
        self._shades: tuple[Shade, ...] = ()
        self._limits: Range | None = None
        self._ranges: tuple[Range, Range] | None = None
        self._region = pg.LinearRegionItem(movable=False)
        self._region.setZValue(-10)
        self._region.hide()
        self._graph.addItem(self._region)
        self._lines: dict[str, Stroke] = {}
        self._bands: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem, pg.FillBetweenItem]] = {}
        for order, name in enumerate(pens):
            low, high = pg.PlotCurveItem(pen=None), pg.PlotCurveItem(pen=None)
            band = pg.FillBetweenItem(low, high)
            band.setZValue(2 * order)
            line = Stroke()
            line.setZValue(2 * order + 1)
            for part in (low, high, band, line):
                self._graph.addItem(part)
            self._lines[name], self._bands[name] = line, (low, high, band)

    def curves(self) -> Mapping[str, Curve]:
        return self._curves

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
        show = partial(
            self.show_curves, x_label, y_label, curves, message=message, shades=shades, limits=limits
        )  # fmt: skip
        if (x_label, y_label) == self._labels and self._holds(show):
            return
        self._waiting = None
        self.freeze(on=False)
        if self._set_labels(x_label, y_label):
            self._ranges = None
        self._curves, self._shades, self._limits = curves, shades, limits
        for name, line in self._lines.items():
            low, high, band = self._bands[name]
            curve = curves.get(name)
            if curve is None:
                line.show_data(np.empty(0), np.empty(0))
                for part in (low, high):
                    part.setData([], [])
                band.hide()
                continue
            line.show_data(curve.x, curve.y)
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
        self.say(message)
        self._draw()
        self._write_legend()

    def show_everything(self) -> None:
        self._ranges = None
        super().show_everything()

    def drawn(self, name: str) -> tuple[Array, Array]:
        """What is drawn of a curve now."""
        return self._lines[name].data

    def band_drawn(self, name: str) -> bool:
        """Whether a curve shows its standard error."""
        return bool(self._bands[name][2].isVisible())

    def colour(self, colours: theme.Colours) -> None:
        super().colour(colours)
        for name, line in self._lines.items():
            look = self._pens[name]
            band = QColor(getattr(colours, look.colour))
            band.setAlphaF(BAND)
            self._bands[name][2].setBrush(band)
            line.look(look, colours)
        ground = QColor(colours.dim)
        ground.setAlphaF(0.13)
        self._region.setBrush(ground)
        for edge in self._region.lines:
            edge.setPen(pg.mkPen(None))

    # --- inside ---

    def _pen(self, name: str) -> Pen:
        return self._pens[name]

    def _write_legend(self) -> None:
        parts = [self._legend_entry(name) for name in self._pens if name in self._curves]
        ink = self._colours.disabled
        parts += [f"<span style='color:{ink}'>██</span>&nbsp;{html.escape(one.name)}" for one in self._shades]
        self._legend.setText("&nbsp;&nbsp; ".join(parts))

    def _draw(self) -> None:
        """Show everything, with axes that stand still as long as they can."""
        filled = [curve for curve in self._curves.values() if len(curve.x)]
        if not self._following or not filled:
            return
        low, high = min(float(c.x[0]) for c in filled), max(float(c.x[-1]) for c in filled)
        values = np.concatenate([c.y[np.isfinite(c.y)] for c in filled])
        if not len(values):
            return
        bottom, top = min(float(values.min()), *self.lines, math.inf), max(float(values.max()), *self.lines, -math.inf)
        if bottom >= 0.0 and bottom < 0.4 * top:
            bottom = 0.0
        ranges = ((low, max(high, low + 1e-9)), self._limits or self._steady(bottom, top))
        if ranges != self._ranges:
            self._ranges = ranges
            self._set_ranges(*ranges)

    def _steady(self, bottom: float, top: float) -> Range:
        shown = self._ranges[1] if self._ranges is not None else (math.inf, -math.inf)
        if shown[0] <= bottom and top <= shown[1] and top - bottom >= 0.6 * (shown[1] - shown[0]):
            return shown
        margin = HEADROOM * (top - bottom) or max(abs(top) * 1e-3, 1e-6)
        return (0.0 if bottom == 0.0 else bottom - margin), top + margin
