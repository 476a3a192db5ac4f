"""Forces of a model beside their labels: a point for each component, and the diagonal where it would be right."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from mldsim.gui import theme

Array = NDArray[np.float64]

COLOURS = {"train": "dim", "holdout": "loss"}
NAMES = {"train": "fitted", "holdout": "held out"}
"""Parts of the frames, the later ones on top."""

POINTS = 1500


class ParityPlot(QWidget):
    """Components of force of one species, eV/angstrom: labels across, model upwards."""

    def __init__(self) -> None:
        super().__init__()
        self._symbol: str | None = None
        self._points: dict[str, tuple[Array, Array]] = {}
        self._colours = theme.COLOURS[theme.Theme.DARK]
        small = theme.small_font(self.font())
        self._legend = QLabel()
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        self._legend.setFont(small)
        self._legend.setContentsMargins(52, 0, 0, 0)
        self._graph = pg.PlotWidget()
        self._graph.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._graph.setFrameShape(pg.QtWidgets.QFrame.Shape.NoFrame)
        self._graph.setMinimumSize(110, 70)
        item = self._graph.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.layout.setContentsMargins(0, 2, 8, 0)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setStyle(tickFont=small, tickLength=-4, tickTextOffset=4, autoExpandTextSpace=False)
            axis.enableAutoSIPrefix(False)
        item.getAxis("left").setWidth(46)
        item.getAxis("bottom").setHeight(34)
        self._diagonal = pg.PlotDataItem()
        self._graph.addItem(self._diagonal)
        self._dots = {part: pg.ScatterPlotItem(size=3, pen=None) for part in COLOURS}
        for dots in self._dots.values():
            self._graph.addItem(dots)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._legend)
        column.addWidget(self._graph, 1)
        self.show_points(None, {})

    def show_points(self, symbol: str | None, points: dict[str, tuple[Array, Array]]) -> None:
        """Show labels and forces of a species, by the part of the frames they are of."""
        self._symbol, self._points = symbol, points
        for part, dots in self._dots.items():
            labels, forces = points.get(part, (np.empty(0), np.empty(0)))
            dots.setData(labels[:POINTS], forces[:POINTS])
        values = [np.abs(one).max(initial=0.0) for pair in points.values() for one in pair]
        reach = 1.05 * max(map(float, values), default=0.0) or 1.0
        self._diagonal.setData([-reach, reach], [-reach, reach])
        self._graph.getPlotItem().getViewBox().setRange(xRange=(-reach, reach), yRange=(-reach, reach), padding=0)
        self._write()

    def drawn(self, part: str) -> tuple[Array, Array]:
        """Labels and forces as they are drawn."""
        labels, forces = self._dots[part].getData()
        return np.asarray(labels), np.asarray(forces)

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self._graph.setBackground(colours.panel)
        for part, dots in self._dots.items():
            dots.setBrush(pg.mkBrush(QColor(getattr(colours, COLOURS[part]))))
        self._diagonal.setPen(pg.mkPen(QColor(colours.text), width=1))
        self._write()

    def _write(self) -> None:
        c = self._colours
        of = f" on {self._symbol}" if self._symbol else ""
        for side, text in (("bottom", f"Label{of} (eV/Å)"), ("left", "Model (eV/Å)")):
            axis = self._graph.getPlotItem().getAxis(side)
            axis.setPen(QColor(c.border))
            axis.setTextPen(QColor(c.dim))
            axis.setLabel(text, color=c.dim, **{"font-size": f"{theme.small_font(self.font()).pointSizeF():g}pt"})
        marks = [
            f"<span style='color:{getattr(c, COLOURS[part])}'>●</span>&nbsp;<span style='color:{c.text}'>"
            f"{NAMES[part].replace(' ', '&nbsp;')}</span>"
            for part in COLOURS
            if part in self._points
        ]
        self._legend.setText("&nbsp;&nbsp; ".join(marks) or "&nbsp;")
