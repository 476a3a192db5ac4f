"""Numbers of picked agents over time, drawn from the moment they were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from mldsim.frames import Frame
from mldsim.gui import theme
from mldsim.gui.panels.fields import FlatButton
from mldsim.gui.panels.panel import is_seen
from mldsim.gui.picked import Reading, Series
from mldsim.gui.plots.plot import Pen
from mldsim.gui.plots.thermo import TimePlot
from mldsim.gui.turns import Later, at_once

MOST_TRACKS = 4
"""Plots side by side; the oldest gives way."""

EMPTY = "Nothing is plotted yet: pick agents and press “Plot over time” in the panel Agents."
UNTOLD = "What is played does not tell this number."


@dataclass(slots=True)
class _Track:
    reading: Reading
    series: Series
    plot: TimePlot
    part: QWidget
    close: FlatButton


class TrackPlots(QWidget):
    """One plot for each number that is followed.

    Signals
    -------
    changed() : there are more or fewer plots
    export_asked(Export) : something is to be saved

    Parameters
    ----------
    later : Later
        Draws each plot when its turn has come.
    """

    changed = Signal()
    export_asked = Signal(object)

    def __init__(self, later: Later = at_once) -> None:
        super().__init__()
        self._later = later
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self._tracks: list[_Track] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(4, 6, 4, 2)
        self._row.setSpacing(6)
        self._empty = QLabel(EMPTY)
        self._empty.setProperty("dim", True)
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._row.addWidget(self._empty, 1)

    def titles(self) -> list[str]:
        """What is plotted."""
        return [track.reading.title for track in self._tracks]

    def columns(self, title: str) -> tuple[list[float], list[float]]:
        """Times, fs, and values of one plot."""
        track = next(track for track in self._tracks if track.reading.title == title)
        times, values = track.series.columns()
        return times.tolist(), values.tolist()

    def follow(self, reading: Reading) -> None:
        """Plot a number from now on; one that is plotted already is not plotted twice."""
        if reading.title in self.titles():
            return
        while len(self._tracks) >= MOST_TRACKS:
            self.forget(self._tracks[0].reading.title)
        plot = TimePlot(f"{reading.quantity} ({reading.unit})", {reading.title: Pen("loss", 1.0)}, reading.title)
        close = FlatButton("close", f"Remove this plot: {reading.title}")
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(plot, 1)
        track = _Track(reading, Series(), plot, part, close)
        plot.head.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        plot.export_asked.connect(self.export_asked)
        close.clicked.connect(lambda: self.forget(reading.title))
        self._tracks.append(track)
        self._row.addWidget(part, 1)
        self._empty.hide()
        self._colour(track)
        self.changed.emit()

    def forget(self, title: str) -> None:
        """Take one plot away."""
        for track in [track for track in self._tracks if track.reading.title == title]:
            self._tracks.remove(track)
            self._row.removeWidget(track.part)
            track.part.hide()
            track.part.deleteLater()
        self._empty.setVisible(not self._tracks)
        self.changed.emit()

    def clear(self) -> None:
        """Take all plots away: there is another system."""
        for title in self.titles():
            self.forget(title)

    def take(self, frame: Frame) -> None:
        """Take the numbers of a frame."""
        for track in self._tracks:
            track.series.append(frame.time, track.reading.read(frame))

    def draw(self) -> None:
        """Draw what was taken."""
        if not is_seen(self):
            return
        for track in self._tracks:
            self._later(track.plot, partial(self._draw_one, track))

    def _draw_one(self, track: _Track) -> None:
        if any(one is track for one in self._tracks):
            times, values = track.series.columns()
            track.plot.say(UNTOLD if len(times) and np.isnan(values).all() else "")
            track.plot.show_data({track.reading.title: (times * 1e-3, values)} if len(times) else {})

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        for track in self._tracks:
            self._colour(track)

    def _colour(self, track: _Track) -> None:
        track.plot.colour(self._colours)
        track.close.colour(self._colours)
