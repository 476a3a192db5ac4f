"""The panel of picked agents: their numbers, what they form, what the loss of the last one is made of."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from mldsim.dissection import Dissection
from mldsim.frames import Frame, Topology
from mldsim.gui import theme
from mldsim.gui.panels.bars import RangeBars, SignedBars, Span
from mldsim.gui.panels.fields import LABEL_WIDTH, FlatButton, NumberBox, Paragraph
from mldsim.gui.panels.panel import Panel, action_button, push_button
from mldsim.gui.picked import Reading, figure, name_of, place_text, readings, velocity_text

MOST_NEIGHBOURS = 10
"""Of the shares of neighbours, the largest that are shown."""

EMPTY = (
    "Click an agent in the view to see what it minimises. Shift+click adds a second, third and fourth: their distance, "
    "angle and dihedral. Or find an agent by its number. Ctrl+drag grabs a molecule and pulls it."
)


class AgentsPanel(Panel):
    """What is picked; built once, then only filled.

    Parameters
    ----------
    touch : list of QAction
        What can be done to the last agent and its surroundings.

    Signals
    -------
    found(int) : an agent was asked for by its number
    cleared() : nothing shall be picked
    plot_asked(Reading) : a number shall be drawn over time
    """

    REGION = 4.0
    """angstrom, at first; an agent and its first shell."""

    found = Signal(int)
    cleared = Signal()
    plot_asked = Signal(object)

    def __init__(self, touch: list[QAction]) -> None:
        super().__init__()
        self._topology: Topology | None = None
        self._picked: tuple[int, ...] = ()
        self._readings: tuple[Reading, ...] = ()
        self._figure: Reading | None = None
        self._buttons: list[FlatButton] = []
        self._build_find()
        self._build_figure()
        self._build_agent()
        self._build_touch(touch)
        self._build_loss()
        self.finish()
        self.show_picked(())

    # --- shown ---

    def set_topology(self, topology: Topology) -> None:
        """Another system: nothing is picked."""
        self._topology = topology
        self.number.setRange(0, topology.n_agents - 1)
        self.show_picked(())

    def show_picked(self, picked: tuple[int, ...]) -> None:
        """Show other agents; their numbers come with the next frame."""
        topology = self._topology
        self._picked = picked if topology is not None else ()
        some = bool(self._picked)
        self.hint.setVisible(not some)
        self.clear.setEnabled(some)
        self._agent_part.setVisible(some)
        self._touch_part.setVisible(some)
        self._loss_part.setVisible(False)
        self._figure = figure(topology, picked) if topology is not None else None
        self._figure_part.setVisible(self._figure is not None)
        if topology is None or not some:
            return
        agent = picked[-1]
        self._readings = readings(topology, agent)
        self.title.setText(name_of(topology, agent))
        self.number.show_value(agent)
        if self._figure is not None:
            self.figure_title.setText(self._figure.title)

    def show_frame(self, frame: Frame) -> None:
        """Show the numbers of a frame."""
        if not self._picked:
            return
        agent = self._picked[-1]
        self.place.setText(place_text(frame, agent))
        self.velocity.setText(velocity_text(frame, agent))
        for reading, label in zip(self._readings, self.values, strict=True):
            label.setText(reading.text(frame))
        if self._figure is not None:
            self.figure_value.setText(self._figure.text(frame))

    def show_dissection(self, parts: Dissection | None) -> None:
        """Show what the loss of the last agent is made of; None where one cannot tell."""
        self._loss_part.setVisible(parts is not None and bool(self._picked))
        if parts is None or self._topology is None:
            return
        self.terms.show_rows([(name.capitalize(), value) for name, value in parts.terms if value != 0.0])
        order = np.argsort(-np.abs(parts.shares), kind="stable")
        shown = np.sort(order[:MOST_NEIGHBOURS])
        rows = [
            (
                f"{name_of(self._topology, int(parts.neighbours[n]))} · {parts.distances[n]:.2f} Å",
                float(parts.shares[n]),
            )
            for n in shown
        ]
        rest = order[MOST_NEIGHBOURS:]
        if len(rest):
            rows.append((f"{len(rest)} others", float(parts.shares[rest].sum())))
        if parts.alone != 0.0:
            rows.append(("Without any", parts.alone))
        self.neighbours.show_rows(rows)
        for kind, bars in enumerate(self.invariants):
            used = kind < len(parts.invariants)
            bars.setVisible(used)
            self._invariant_labels[kind].setVisible(used)
            if used:
                symbol = self._topology.symbols[kind]
                self._invariant_labels[kind].setText(f"by {symbol}")
                bars.show_spans(
                    [
                        Span(f"s<sub>{symbol},{k + 1}</sub>", float(value), float(low), float(high))
                        for k, (value, (low, high)) in enumerate(
                            zip(parts.invariants[kind], parts.fitted[kind], strict=True)
                        )
                    ]
                )

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for button in self._buttons:
            button.colour(colours)
        for bars in (self.terms, self.neighbours):
            bars.colour(colours)
        for slots in self.invariants:
            slots.colour(colours)

    # --- built once ---

    def _build_find(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(6)
        label = QLabel("Agent number")
        label.setFixedWidth(LABEL_WIDTH)
        self.number = NumberBox(0, 0, integer=True)
        self.number.setToolTip("Type a number to pick this agent; numbers count from 0, as in the files")
        self.number.setAccessibleName("Agent number")
        self.number.asked.connect(lambda value: self.found.emit(int(value)))
        self.clear = push_button("Clear", "Pick nothing (Esc)")
        self.clear.clicked.connect(self.cleared)
        row.addWidget(label)
        row.addWidget(self.number, 1)
        row.addWidget(self.clear)
        self.column.addLayout(row)
        self.hint = Paragraph()
        self.hint.setText(EMPTY)
        self.column.addWidget(self.hint)

    def _build_figure(self) -> None:
        self._figure_part, column = self._part()
        self.figure_title = Paragraph()
        column.addWidget(self.figure_title)
        row = QHBoxLayout()
        self.figure_value = QLabel()
        self.figure_value.setProperty("large", True)
        button = push_button("Plot over time", "Draw it against time, from now on")
        button.clicked.connect(lambda: self.plot_asked.emit(self._figure))
        row.addWidget(self.figure_value, 1)
        row.addWidget(button)
        column.addLayout(row)

    def _build_agent(self) -> None:
        self._agent_part, column = self._part()
        self.title = QLabel()
        self.title.setProperty("section", True)
        column.addWidget(self.title)
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(1)
        grid.setColumnMinimumWidth(0, LABEL_WIDTH)
        grid.setColumnStretch(1, 1)
        self.place = self._value(grid, "Position", "Where it is in the box")
        self.velocity = self._value(grid, "Velocity", "Its components")
        self.values: list[QLabel] = []
        tips = {
            "Loss": "What it descends; known up to a constant of its species",
            "Gradient": "How steep its loss is; the arrow in the view points downhill",
            "Speed": "Length of the velocity",
            "Kinetic energy": "m v²/2; the mean is 3/2 kT, 39 meV at 300 K",
        }
        for place, (quantity, tip) in enumerate(tips.items()):
            button = FlatButton("plot", f"Plot over time: {quantity.lower()}")
            button.clicked.connect(lambda _=False, place=place: self.plot_asked.emit(self._readings[place]))
            self._buttons.append(button)
            self.values.append(self._value(grid, quantity, tip, button))
        column.addLayout(grid)

    def _build_touch(self, touch: list[QAction]) -> None:
        self._touch_part, column = self._part()
        column.addWidget(_heading("Touch"))
        grid = QGridLayout()
        grid.setSpacing(6)
        for number, action in enumerate(touch):
            grid.addWidget(action_button(action), number // 3, number % 3)
        self.radius = NumberBox(0.0, 20.0, unit="Å")
        self.radius.show_value(self.REGION)
        self.radius.setToolTip("How far from the agent heating and cooling reach; whole molecules are taken")
        self.radius.setAccessibleName("Reach of heating and cooling")
        self.radius.setFixedWidth(70)
        grid.addWidget(self.radius, 0, 3)
        column.addLayout(grid)

    def _build_loss(self) -> None:
        self._loss_part, column = self._part()
        self.terms = SignedBars("eV", "The parts of the loss of this agent: they add up to it")
        self.neighbours = SignedBars(
            "eV",
            "What each neighbour within the cutoff has to do with the loss of this agent; a term that two neighbours "
            "make together belongs half to each. The shares add up to the loss.",
        )
        tip = (
            "Invariants of rank 0: sums of radial functions over the neighbours of one species, nearest shells first. "
            "A slot is the range that the fit has seen; a mark outside it is unknown land."
        )
        self.invariants = [RangeBars(tip) for _ in range(8)]
        self._invariant_labels = [QLabel() for _ in self.invariants]
        for text, widget in (("Loss by term", self.terms), ("Loss by neighbour", self.neighbours)):
            column.addWidget(_heading(text))
            column.addWidget(widget)
        column.addWidget(_heading("Invariants in their fitted ranges"))
        for label, bars in zip(self._invariant_labels, self.invariants, strict=True):
            label.setProperty("dim", True)
            row = QHBoxLayout()
            row.setSpacing(6)
            label.setFixedWidth(34)
            row.addWidget(label)
            row.addWidget(bars, 1)
            column.addLayout(row)

    def _part(self) -> tuple[QWidget, QVBoxLayout]:
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(4)
        self.column.addWidget(part)
        return part, column

    def _value(self, grid: QGridLayout, name: str, tip: str, button: QWidget | None = None) -> QLabel:
        row = grid.rowCount()
        grid.setRowMinimumHeight(row, 22)
        label, value = QLabel(name), QLabel()
        label.setProperty("dim", True)
        value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for widget in (label, value):
            widget.setToolTip(f"<p>{tip}</p>")
        grid.addWidget(label, row, 0)
        grid.addWidget(value, row, 1)
        if button is not None:
            grid.addWidget(button, row, 2)
        return value


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("section", True)
    return label
