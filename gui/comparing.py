"""Two simulations at once: the dock Two, and the second view beside the first, whose cameras go together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QDockWidget, QHBoxLayout, QLabel, QMainWindow, QSplitter, QVBoxLayout, QWidget

from mldsim.analysis.rdf import RadialDistribution
from mldsim.analysis.statistics import Curve
from mldsim.edits import LossEdit
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Topology
from mldsim.gui import theme
from mldsim.gui.docks import System, looking, show_or, tabbed_dock
from mldsim.gui.errand import Errand
from mldsim.gui.panels.fields import Choice, Paragraph
from mldsim.gui.panels.panel import is_seen, push_button
from mldsim.gui.picked import Series
from mldsim.gui.plots.curves import CurvePlot
from mldsim.gui.plots.plot import Pen
from mldsim.gui.plots.thermo import Line, TimePlot
from mldsim.gui.viewmodel import SCOPE_NAMES
from mldsim.gui.viewport import Viewport
from mldsim.gui.viewport.camera import Gaze
from mldsim.messages import Command, Compare

LOOK_MS, PLOT_LOOKS = 33, 6
"""Between two looks at the frame, and looks between two drawings of the plots."""

CONTROLS = 250
LEFT, RIGHT, APART = "left", "right", "apart"
REACH = 6.0
"""angstrom, of g(r): two shells."""
GAP, NAME, LEAST_NAME = 4, 24, 18
"""Of a picture of both: pixels between them, what part of its height the names take, and pixels they take at least."""
HINT = (
    "Another loss from the same start: positions, velocities and parameters are those of this simulation. Water is "
    "chaotic, so that two runs part within picoseconds however alike their losses are."
)


class Desk(Protocol):
    """What is needed of the window around."""

    @property
    def controller(self) -> System: ...
    @property
    def viewport(self) -> Viewport: ...


class Watched(Protocol):
    """What is needed of a runner."""

    def send(self, command: Command) -> None: ...


class Sides(QSplitter):
    """One view, or two beside each other with the names of their models above."""

    def __init__(self, first: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setChildrenCollapsible(False)
        self.names = [QLabel(), QLabel()]
        self._parts: list[QWidget] = []
        self._add(self.names[0], first)
        self.show_names("", "")

    def add(self, second: QWidget) -> None:
        """Put a second view at the right."""
        self._add(self.names[1], second)
        self.setSizes([self.width() // 2] * 2)

    def show_second(self, *, shown: bool) -> None:
        """Show the second view, or only the first."""
        if len(self._parts) > 1 and self._parts[1].isHidden() is shown:
            self._parts[1].setVisible(shown)

    @property
    def two(self) -> bool:
        """Whether a second view is shown."""
        return len(self._parts) > 1 and not self._parts[1].isHidden()

    def show_names(self, left: str, right: str) -> None:
        """Write above the views what they show; where there is one, nothing."""
        for label, name in zip(self.names, (left, right), strict=True):
            label.setText(name)
            label.setVisible(bool(name))

    def _add(self, label: QLabel, view: QWidget) -> None:
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        label.setContentsMargins(0, 3, 0, 3)
        column.addWidget(label)
        column.addWidget(view, 1)
        self.addWidget(part)
        self._parts.append(part)


class TwoPanel(QWidget):
    """What runs beside on the left, and both in common plots on the right."""

    def __init__(self, models: list[str]) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.model = Choice()
        for name in models:
            self.model.addItem(name, name)
        self.model.show_data("water-paper" if "water-paper" in models else models[0])
        self.model.setToolTip("<p>The loss that the agents at the right descend.</p>")
        self.model.setAccessibleName("Model at the right")
        self.scope = Choice()
        self.scope.setAccessibleName("Scope at the right")
        self.scope.addItem("Scope as fitted", None)
        for scope, name in SCOPE_NAMES.items():
            self.scope.addItem(f"{name} scope", scope)
        self.scope.setToolTip("<p>Whose loss an agent at the right descends: its own, or the common one.</p>")
        self.begin = push_button("Run beside", "Start the other one from where this simulation stands")
        self.begin.setProperty("primary", True)
        self.end = push_button("End", "Go on with the left one alone")
        self.end.setEnabled(False)
        self.text = Paragraph()
        self.text.setText(HINT)
        controls = QWidget()
        controls.setFixedWidth(CONTROLS)
        column = QVBoxLayout(controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        buttons.addWidget(self.begin, 1)
        buttons.addWidget(self.end, 1)
        column.addWidget(self.model)
        column.addWidget(self.scope)
        column.addLayout(buttons)
        column.addWidget(self.text)
        column.addStretch(1)
        pens = {LEFT: Pen("temperature", 1.4), RIGHT: Pen("loss", 1.4)}
        self.temperature = TimePlot("Temperature (K)", pens)
        self.energy = TimePlot("Loss (meV/agent)", pens)
        self.apart = TimePlot("Mean distance apart (Å)", {APART: Pen("heat", 1.6)})
        self.structure = CurvePlot(pens, minimum=(120, 80))
        self.structure.show_curves("r (Å)", "g(r)", {}, message="")
        self.plots = (self.temperature, self.energy, self.apart, self.structure)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 4, 2)
        row.setSpacing(6)
        row.addWidget(controls)
        for plot in self.plots:
            row.addWidget(plot, 1)

    def wanted(self) -> bool:
        """False while nobody can see it."""
        return is_seen(self)


class Measures:
    """Numbers of both over time, in bounded memory."""

    def __init__(self) -> None:
        self.temperature = Series(), Series()
        self.loss = Series(), Series()
        self.apart = Series()
        self._zero: tuple[float, float] | None = None

    def take(self, frame: Frame, other: Frame) -> None:
        """Take both frames of one moment; losses per agent, meV, as changes since the first."""
        scale = 1e3 / len(frame.positions)
        losses = (frame.thermo.loss * scale, other.thermo.loss * scale)
        self._zero = self._zero or losses
        for one, series in zip((frame, other), self.temperature, strict=True):
            series.append(frame.time, one.thermo.temperature)
        for loss, zero, series in zip(losses, self._zero, self.loss, strict=True):
            series.append(frame.time, loss - zero)
        self.apart.append(frame.time, float(np.linalg.norm(frame.positions - other.positions, axis=1).mean()))


class Structure:
    """g(r) of the first species in both, in the mean since they began.

    Parameters
    ----------
    topology : Topology
    box : (3,) float64, angstrom
    """

    def __init__(self, topology: Topology, box: NDArray[np.float64]) -> None:
        reach = min(REACH, 0.499 * float(box.min()))
        self.pair = f"{topology.symbols[0]}-{topology.symbols[0]}"
        self._both = tuple(RadialDistribution(topology.symbols, topology.species, reach) for _ in range(2))

    def take(self, frame: Frame, other: Frame) -> tuple[Curve, Curve]:
        """Take both frames of one moment; g(r) with its error, left and right."""
        found = []
        for one, distribution in zip((frame, other), self._both, strict=True):
            distribution.add(one)
            mean = distribution.result()[self.pair]
            found.append(Curve(mean.r, mean.g, mean.error))
        return found[0], found[1]


class Comparing(QObject):
    """The dock Two of a window, tabbed with another one.

    Parameters
    ----------
    window : QMainWindow
    beside : QDockWidget
    desk : Desk
    runner : Watched
    sides : Sides
        Where the first view is, and the second will be.
    models : list of str
        Names of models that can be run beside.
    """

    def __init__(
        self, window: QMainWindow, beside: QDockWidget, desk: Desk, runner: Watched, sides: Sides, models: list[str]
    ) -> None:
        super().__init__(window)
        self._window, self._desk, self._runner, self._sides = window, desk, runner, sides
        self.view: Viewport | None = None
        self._measures = Measures()
        self._structure: Structure | None = None
        self._errand: Errand[tuple[Curve, Curve]] = Errand(self._show_structure, self)
        self._frame: Frame | None = None
        self._topology: Topology | None = None
        self._looks = 0
        self._gaze: Gaze | None = None
        self.panel = TwoPanel(models)
        self.dock = tabbed_dock(window, "Two", "dock_two", self.panel, beside)
        self.panel.begin.clicked.connect(self.begin)
        self.panel.end.clicked.connect(self.end)
        self.commands: dict[str, Callable[[], object]] = {
            "compare": lambda: show_or(self.dock, self.begin),
            "end_compare": self.end,
        }
        self._timer = looking(self, LOOK_MS, self.look)

    def start(self) -> None:
        """Begin to look."""
        self._timer.start()

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()
        self._errand.forget()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for plot in self.panel.plots:
            plot.colour(colours)

    def begin(self) -> None:
        """Run what the panel says beside."""
        self._measures, self._structure = Measures(), None
        self._errand.forget()
        self._runner.send(Compare(self.panel.model.currentData(), LossEdit(scope=self.panel.scope.currentData())))

    def end(self) -> None:
        """Go on with one."""
        self._runner.send(Compare(None))

    def picture(self, width: int, height: int, *, transparent: bool = False, smooth: bool = True) -> QImage:
        """The view, or both beside each other under the names of their models; see `Viewport.picture`."""
        first = self._desk.viewport
        if self.view is None or not self._sides.two:
            return first.picture(width, height, transparent=transparent, smooth=smooth)
        above = max(LEAST_NAME, height // NAME)
        half = (width - GAP) // 2
        drawn = [
            one.picture(half, height - above, transparent=transparent, smooth=smooth) for one in (first, self.view)
        ]
        image = QImage(width, height, QImage.Format.Format_ARGB32_Premultiplied)
        palette = self._sides.palette()
        image.fill(Qt.GlobalColor.transparent if transparent else palette.window().color())
        painter = QPainter(image)
        font = painter.font()
        font.setPixelSize(round(0.6 * above))
        painter.setFont(font)
        painter.setPen(palette.windowText().color())
        for part, name, left in zip(drawn, self._sides.names, (0, width - half), strict=True):
            painter.drawText(QRect(left, 0, half, above), Qt.AlignmentFlag.AlignCenter, name.text())
            painter.drawImage(left, above, part)
        painter.end()
        return image

    def look(self) -> None:
        """Show the other of the newest frame, if there is one, through the same camera."""
        system = self._desk.controller
        frame = system.frame
        if frame is None or system.topology is None:
            return
        if frame is self._frame:
            if self.view is not None and frame.beside is not None:
                self._link(self.view)
            return
        self._frame = frame
        both = frame.beside is not None
        self.panel.end.setEnabled(both)
        self.panel.begin.setText("Run anew" if both else "Run beside")
        if frame.beside is None:
            self._show_one()
            return
        view = self._second_view(system.topology, frame)
        view.set_frame(frame.beside.frame)
        self._sides.show_names(Path(system.setup.model).stem, frame.beside.name)
        self._link(view)
        self._measures.take(frame, frame.beside.frame)
        self._structure = self._structure or Structure(system.topology, frame.box)
        self._errand.ask(partial(self._structure.take, frame, frame.beside.frame))
        self._looks += 1
        if self._looks >= PLOT_LOOKS and self.panel.wanted():
            self._looks = 0
            self._draw()

    # --- inside ---

    def _second_view(self, topology: Topology, frame: Frame) -> Viewport:
        if self.view is None:
            self.view = Viewport(self._window)
            self.view.widget.setMinimumSize(160, 120)
            self._sides.add(self.view.widget)
            self._topology = None
        self._sides.show_second(shown=True)
        if topology is not self._topology:
            self._topology = topology
            self.view.set_topology(topology, frame.box)
        return self.view

    def _show_one(self) -> None:
        self._sides.show_second(shown=False)
        self._sides.show_names("", "")

    def _link(self, view: Viewport) -> None:
        """The second view is drawn as the first; whichever camera the hand moves, the other follows."""
        first = self._desk.viewport
        view.look_like(first)
        seen = (first.camera.gaze, view.camera.gaze)
        if seen[0] != seen[1]:
            if seen[0] == self._gaze:
                first.look_as(seen[1])
            else:
                view.look_as(seen[0])
        self._gaze = first.camera.gaze

    def _show_structure(self, found: tuple[Curve, Curve] | MldsimError) -> None:
        if not isinstance(found, MldsimError) and self._structure is not None and self.panel.wanted():
            label = f"g(r) {self._structure.pair}"
            self.panel.structure.show_curves("r (Å)", label, {LEFT: found[0], RIGHT: found[1]})

    def _draw(self) -> None:
        def line(series: Series) -> Line:
            time, values = series.columns()
            return 1e-3 * time, values

        measures = self._measures
        for plot, pair in ((self.panel.temperature, measures.temperature), (self.panel.energy, measures.loss)):
            plot.show_data({LEFT: line(pair[0]), RIGHT: line(pair[1])})
        self.panel.apart.show_data({APART: line(measures.apart)})
