"""Temperature, energies and whatever else a run has in its thermo table, against time, drawn live at a cost that does
not grow with the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QHBoxLayout, QMenu, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.gui import theme
from mldsim.gui.panels.fields import FlatButton
from mldsim.gui.panels.panel import is_seen
from mldsim.gui.plots.plot import HEADROOM, Pen, Plot, Range, StayingMenu, Stroke, checked_action
from mldsim.gui.turns import Later, at_once
from mldsim.gui.viewmodel import (
    COLUMNS,
    RUNNING_MEAN,
    SMOOTHING_NAMES,
    WINDOWS,
    Curves,
    RunningMean,
    Smoothing,
    drift,
    thinned,
)

Array = NDArray[np.float64]
Line = tuple[Array, Array]
"""Times in ps, and values."""

LEAST_POINTS = 100
"""Buckets per curve in the narrowest plot; in others one for two pixels, each with its least and greatest value."""

MINIMUM_SPAN = 0.05
"""Shortest time axis in ps: a run that has just begun is not stretched over the whole plot."""

SOON, GROWTH = 2.0, 0.6
"""Seconds from one move of a time axis to the next, below which it becomes longer than what it has to show by this part
of it, in the place of `HEADROOM`: a young run would move it with every few frames."""

THIN, THICK, FAINT = 1.0, 2.0, 0.5
"""Widths of raw and smoothed curves where both are drawn, and the opacity of the raw ones."""


UNDRAWN = 1.0
"""Seconds that what is new of a long run waits at most, while all of it is within one pixel."""

DRIFTING = ("conserved", "heat")
"""Columns whose slope means something: it stands after their names."""


class TimeAxis:
    """Where the time axis of plots that show the same run begins and ends, ps.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.range: Range = (0.0, MINIMUM_SPAN)
        self._moved_at = -math.inf

    def show(self, first: float, last: float) -> Range:
        """Let it hold `first` to `last`, and tell where it begins and ends."""
        now = self.clock()
        moved = time_range(self.range, first, last, GROWTH if now - self._moved_at < SOON else HEADROOM)
        if moved != self.range:
            self.range, self._moved_at = moved, now
        return self.range


class TimePlot(Plot):
    """Curves against time in ps, raw, smoothed by a running mean, or both.

    The whole run is shown until the user zooms or pans. Only what lies in view is drawn, thinned to the pixels there
    are.

    Parameters
    ----------
    quantity : str
        Label of the vertical axis, with its unit.
    pens : dict
        Name in the legend -> how it is drawn; later ones lie above earlier ones. What is dashed is something to compare
        with, and is never smoothed.
    tip : str
        What there is to know about these curves.
    """

    def __init__(
        self, quantity: str, pens: dict[str, Pen], tip: str = "", smoothing: Smoothing = Smoothing.RAW
    ) -> None:
        super().__init__(tip, minimum=(150, 90))
        self._pens = pens
        self.smoothing = smoothing
        self.window_ps = RUNNING_MEAN
        self._data: dict[str, Line] = {}
        self._notes: dict[str, str] = {}
        self._series: dict[str, Curve] = {}
        self._thinned: dict[str, Line] = {}
        self._extremes: list[float] = []
        self._items: dict[str, Stroke] = {}
        self.axis = TimeAxis()
        """Plots beside each other that show one run share it."""
        self._time_range = self.axis.range
        self._value_range: Range = (0.0, 0.0)
        self._shown_ranges: tuple[Range, Range] | None = None
        self.later: Later = at_once
        """When what was computed is drawn."""
        self._set_labels("Time (ps)", quantity)

    def curves(self) -> Mapping[str, Curve]:
        return self._series

    def show_data(self, data: dict[str, Line], notes: dict[str, str] | None = None) -> None:
        """Draw these curves and no others; `notes` are written after their names in the legend."""
        if data and self._holds(partial(self.show_data, data, notes)):
            return
        if not data:
            self._waiting = None
            self.freeze(on=False)
        changed = list(data) != list(self._data) or (notes or {}) != self._notes
        self._data, self._notes = data, notes or {}
        if changed:
            self._write_legend()
            for side in ("left", "bottom"):  # an empty plot has no numbers
                self._graph.getPlotItem().getAxis(side).setStyle(showValues=bool(data))
        self._smooth()
        self.later((self, "thin"), self._thin)
        self.later((self, "stroke"), self._stroke)

    def smooth(self, smoothing: Smoothing, window_ps: float) -> None:
        """Say what of the curves is drawn, and over how long they are smoothed."""
        self.smoothing, self.window_ps = smoothing, window_ps
        self._smooth()
        self._write_legend()
        self._draw()

    def show_everything(self) -> None:
        self._shown_ranges = None
        super().show_everything()

    def mean_name(self, name: str) -> str:
        """What the running mean of a curve is called."""
        return f"{name}, {self.window_ps:g} ps mean"

    @property
    def pixel(self) -> float:
        """Width of a pixel, ps."""
        low, high = self._box.viewRange()[0]
        return float((high - low) / max(self._box.width(), 1.0))

    def drawn(self, name: str) -> Line:
        """What is drawn of a curve now."""
        return self._items[name].data if name in self._items else (np.empty(0), np.empty(0))

    def colour(self, colours: theme.Colours) -> None:
        super().colour(colours)
        for name, item in self._items.items():
            item.look(self._pen(name), colours)

    # --- inside ---

    def _pen(self, name: str) -> Pen:
        """How a curve is drawn, its mean included."""
        if name in self._pens:
            look = self._pens[name]
            both = self.smoothing is Smoothing.BOTH and not look.dashed
            return Pen(look.colour, THIN, opacity=FAINT) if both else look
        look = self._pens[name[: name.rindex(",")]]
        return Pen(look.colour, THICK)

    def _smooth(self) -> None:
        """Make the series that are drawn from the data."""
        self._series = {}
        for name in self._pens:  # raw ones below all means
            if name in self._data and (self._pens[name].dashed or self.smoothing is not Smoothing.SMOOTHED):
                x, y = self._data[name]
                self._series[name] = Curve.plain(x, y)
        if self.smoothing is Smoothing.RAW:
            return
        mean: RunningMean | None = None
        for name in self._pens:
            if name in self._data and not self._pens[name].dashed:
                x, y = self._data[name]
                if mean is None or mean.rows is not x:
                    mean = RunningMean(x, self.window_ps)
                self._series[self.mean_name(name)] = Curve.plain(mean.time, mean.of(y))

    def _add_to(self, menu: QMenu) -> None:
        menu.addSeparator()
        group = QActionGroup(menu)
        for smoothing, text in SMOOTHING_NAMES.items():
            chosen = partial(self._choose_smoothing, smoothing)
            group.addAction(checked_action(menu, text, smoothing is self.smoothing, chosen))
        windows = StayingMenu("Smooth over", menu)
        windows.setToolTip("How long a running mean is")
        menu.addMenu(windows)
        group = QActionGroup(windows)
        for window in sorted({*WINDOWS, self.window_ps}):
            chosen = partial(self._choose_window, window)
            group.addAction(checked_action(windows, f"{window:g} ps", window == self.window_ps, chosen))

    def _choose_smoothing(self, smoothing: Smoothing) -> None:
        self.smooth(smoothing, self.window_ps)

    def _choose_window(self, window: float) -> None:
        self.smooth(Smoothing.BOTH if self.smoothing is Smoothing.RAW else self.smoothing, window)

    def _write_legend(self) -> None:
        c = self._colours
        parts = [self._legend_entry(name, self._notes.get(name, "")) for name in self._data]
        if self._data and self.smoothing is not Smoothing.RAW:
            words = f"{self.window_ps:g} ps mean"
            words = f"thick: {words}" if self.smoothing is Smoothing.BOTH else words
            parts.append(f"<span style='color:{c.dim}'>{words.replace(' ', '&nbsp;')}</span>")
        self._legend.setText("&nbsp;&nbsp; ".join(parts))

    def _draw(self) -> None:
        self._thin()
        self._stroke()

    def _thin(self) -> None:
        """Make what is drawn from the series: what lies in view, and as many points as it has pixels for."""
        filled = {name: curve for name, curve in self._series.items() if len(curve.x)}
        if self._following and filled and not self._frozen:
            first = min(float(curve.x[0]) for curve in filled.values())
            last = max(float(curve.x[-1]) for curve in filled.values())
            self._time_range = self.axis.show(first, last)
        low, high = self._time_range if self._following else self._box.viewRange()[0]
        points = max(LEAST_POINTS, round(0.5 * self._box.width()))
        self._thinned = {}
        for name, curve in self._series.items():
            x, y = thinned(curve.x, curve.y, low, high, points)
            if name in self._pens and self._pens[name].dashed:
                x, y = _corners(x, y)
            self._thinned[name] = x, y
        known = [y[np.isfinite(y)] for _, y in self._thinned.values()]
        self._extremes = [float(end) for y in known if len(y) for end in (y.min(), y.max())]

    def _stroke(self) -> None:
        """Draw that."""
        for name in [name for name in self._items if name not in self._thinned]:
            self._graph.removeItem(self._items.pop(name))
        for order, (name, (x, y)) in enumerate(self._thinned.items()):
            if name not in self._items:
                self._items[name] = Stroke()
                self._graph.addItem(self._items[name])
            item = self._items[name]
            item.look(self._pen(name), self._colours)
            if item.zValue() != order:
                item.setZValue(order)
            item.show_data(x, y)
        if self._following and self._extremes:
            extremes = [*self._extremes, *self.lines]
            self._value_range = value_range(self._value_range, min(extremes), max(extremes))
            if self._shown_ranges != (self._time_range, self._value_range):
                self._shown_ranges = (self._time_range, self._value_range)
                self._set_ranges(self._time_range, self._value_range)


def _corners(x: Array, y: Array) -> Line:
    """A line of few straight pieces without the points between their ends."""
    inner = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    kept = np.concatenate([[True], inner, [True]]) if len(y) > 1 else np.ones(len(y), bool)
    return x[kept], y[kept]


def time_range(shown: Range, first: float, last: float, headroom: float = HEADROOM) -> Range:
    """The time axis that shows `first` to `last`: the one shown already, as long as it holds them without much waste.

    Another one is longer than them by a part of `headroom`, which is less than 1. Axes that move with every row
    are unquiet, and drawing them is what a plot costs most.
    """
    low, high = shown
    if low == first and last <= high and last - first >= 0.5 * (high - low):
        return shown
    return first, first + max((last - first) * (1 + headroom), MINIMUM_SPAN)


def value_range(shown: Range, bottom: float, top: float) -> Range:
    """The value axis that shows `bottom` to `top`, under the same rule."""
    low, high = shown
    if low <= bottom and top <= high and top - bottom >= 0.6 * (high - low):
        return shown
    margin = HEADROOM * (top - bottom) or max(abs(top) * 1e-3, 1e-3)
    return bottom - margin, top + margin


class ThermoPlot(TimePlot):
    """Columns of the thermo table that share an axis; which, is the user's choice.

    Parameters
    ----------
    columns : tuple of str
        Keys of `COLUMNS`, at first; where there are none, the heat of a run without a conserved quantity, and the
        losses of the species in others.
    smoothing : Smoothing
        At first.
    """

    def __init__(self, columns: tuple[str, ...], smoothing: Smoothing = Smoothing.RAW) -> None:
        pens = {
            column.name: Pen(column.colour, 1.8 if name in DRIFTING else 1.0, column.dashed)
            for name, column in COLUMNS.items()
        }
        super().__init__(COLUMNS[columns[0] if columns else "loss"].axis, pens, smoothing=smoothing)
        self.chosen = columns
        self._curves: Curves | None = None
        self._choose = FlatButton("columns", "Choose what is plotted")
        self._choose.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._choose.clicked.connect(
            lambda: self.columns_menu(self).exec(self._choose.mapToGlobal(QPoint(0, self._choose.height())))
        )
        self.head.insertWidget(self.head.indexOf(self._more), self._choose, 0, Qt.AlignmentFlag.AlignTop)

    @property
    def columns(self) -> tuple[str, ...]:
        """What is plotted."""
        if self.chosen:
            return self.chosen
        if self._curves is not None and "conserved" not in self._curves.values:
            return ("heat",)
        return ("oxygen_loss", "hydrogen_loss")

    def show_run(self, curves: Curves | None) -> None:
        """Draw a run; None empties the plot."""
        self._curves = curves
        present = [name for name in self.columns if curves is not None and name in curves.values]
        if curves is None or not present:
            self.show_data({})
            self.say("" if curves is None else "This run has none of what was chosen.")
            return
        self.say("")
        axis = COLUMNS[present[0]].axis
        if self._set_labels("Time (ps)", axis):
            self._shown_ranges, self._value_range = None, (0.0, 0.0)
        self.show_data(
            {COLUMNS[name].name: (curves.time, curves.values[name]) for name in present},
            {
                COLUMNS[name].name: _slope(drift(curves.time, curves.values[name]))
                for name in DRIFTING
                if name in present
            },
        )

    def choose(self, columns: tuple[str, ...]) -> None:
        """Plot these columns."""
        self.chosen = columns
        self._waiting = None
        self.freeze(on=False)
        self.show_run(self._curves)

    def toggle(self, name: str) -> None:
        """Plot a column too, or no more; what does not share its axis gives way."""
        now = self.columns
        if name not in now:
            axis = COLUMNS[name].axis
            kept = [other for other in now if COLUMNS[other].axis == axis]
            self.choose(tuple(other for other in COLUMNS if other in (*kept, name)))
        elif len(now) > 1:
            self.choose(tuple(other for other in now if other != name))

    def columns_menu(self, parent: QWidget) -> QMenu:
        """All columns, ticked where they are plotted."""
        menu = StayingMenu("Columns", parent)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(True)
        actions: dict[str, QAction] = {}

        def toggle(name: str) -> None:
            self.toggle(name)
            for other, action in actions.items():
                action.setChecked(other in self.columns)

        axis = ""
        for name, column in COLUMNS.items():
            if column.axis != axis:
                axis = column.axis
                menu.addAction(axis).setEnabled(False)
            actions[name] = checked_action(menu, column.name, name in self.columns, partial(toggle, name))
            actions[name].setToolTip(f"<p>{column.physics}</p>")
            actions[name].setEnabled(self._curves is None or name in self._curves.values or name in self.columns)
        return menu

    def _add_to(self, menu: QMenu) -> None:
        menu.addMenu(self.columns_menu(menu))
        super()._add_to(menu)

    def colour(self, colours: theme.Colours) -> None:
        super().colour(colours)
        self._choose.colour(colours)


class ThermoPlots(QWidget):
    """The plots of a run: temperature, energy, and one that begins with the losses of the species.

    Parameters
    ----------
    later : Later
        Draws each plot when its turn has come.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, later: Later = at_once, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._later, self.clock = later, clock
        self._until: tuple[float, float] = (math.nan, -math.inf)
        """Time in ps up to which a run was drawn last, and when that was."""
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.temperature = ThermoPlot(("temperature", "target"), Smoothing.BOTH)
        self.energy = ThermoPlot(("kinetic", "loss", "total", "conserved"))
        self.free = ThermoPlot((), Smoothing.BOTH)
        self.plots = {"temperature": self.temperature, "energy": self.energy, "free": self.free}
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 6, 4, 2)
        row.setSpacing(6)
        axis = TimeAxis(lambda: self.clock())
        for plot in self.plots.values():
            plot.later, plot.axis = later, axis
            row.addWidget(plot, 1)

    def wanted(self, latest: float) -> bool:
        """Whether a run up to a time, fs, would be seen to be another: it is a pixel longer, or `UNDRAWN` is over."""
        until, drawn_at = self._until
        if not is_seen(self):
            return False
        if not 1e-3 * latest >= until or self.clock() - drawn_at >= UNDRAWN:
            return True
        return 1e-3 * latest - until >= min(plot.pixel for plot in self.plots.values())

    def show_curves(self, curves: Curves | None) -> None:
        """Draw a run; None empties the plots."""
        self._until = (math.nan if curves is None else float(curves.time[-1]), self.clock())
        for plot in self.plots.values():
            self._later(plot, partial(plot.show_run, curves))

    def freeze(self, *, on: bool) -> None:
        """Let all plots stand, or none."""
        for plot in self.plots.values():
            plot.freeze(on=on)

    def follow(self) -> None:
        """Let all plots follow the run and show all of it."""
        self.freeze(on=False)
        for plot in self.plots.values():
            plot.show_everything()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for plot in self.plots.values():
            plot.colour(colours)

    def settings(self) -> dict[str, object]:
        """What the user has chosen, as JSON has it."""
        return {
            name: {
                "columns": list(plot.chosen),
                "smoothing": plot.smoothing.value,
                "window_ps": plot.window_ps,
                "lines": list(plot.lines),
            }
            for name, plot in self.plots.items()
        }

    def restore(self, settings: Mapping[str, object]) -> None:
        """Take what `settings` gave; what cannot be understood is left as it is."""
        for name, plot in self.plots.items():
            kept = settings.get(name)
            if not isinstance(kept, Mapping):
                continue
            columns = kept.get("columns")
            known = tuple(key for key in COLUMNS if isinstance(columns, list) and key in columns)
            if known and len({COLUMNS[key].axis for key in known}) == 1:
                plot.choose(known)
                plot._set_labels("Time (ps)", COLUMNS[known[0]].axis)
            smoothing = next((one for one in Smoothing if one.value == kept.get("smoothing")), plot.smoothing)
            window = kept.get("window_ps")
            if not isinstance(window, int | float) or not (math.isfinite(window) and window > 0.0):
                window = plot.window_ps
            plot.smooth(smoothing, float(window))
            lines = kept.get("lines")
            if isinstance(lines, list):
                plot.set_lines(tuple(float(at) for at in lines if isinstance(at, int | float) and math.isfinite(at)))


def _slope(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.2g} meV/ps".replace("-", "−")
