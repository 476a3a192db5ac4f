"""Fitting in the window: the data, the form of the loss, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QListWidget, QProgressBar, QVBoxLayout, QWidget

from mldsim.gui import theme
from mldsim.gui.panels.fields import Choice, Line, NumberBox, Paragraph, Tick, claims
from mldsim.gui.panels.panel import push_button
from mldsim.gui.plots.parity import ParityPlot
from mldsim.gui.viewmodel import SCOPE_NAMES, clock_time
from mldsim.jobs import JobStatus
from mldsim.loss import Scope

Array = NDArray[np.float64]
Parity = dict[tuple[str, str], tuple[Array, Array]]
"""By part of the frames and species: labels and forces of the model, eV/angstrom."""

DATA, FORM = 186, 320
SHIPPED = "cnnp_fit.h5"
ENGINES = {"cp2k-nnp": "C-NNP (water)", "cp2k-xtb": "GFN1-xTB", "cp2k-dft": "revPBE-D3"}
HINT = "A fit shows its errors here, and the forces of the model beside their labels. The simulation goes on meanwhile."


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked for, as the command line takes it."""

    order: int = 2
    max_rank: int = 2
    radial: int = 8
    cutoff: float = 4.5
    channels: int = 4
    scope: Scope = Scope.SHARED
    bounded: bool = True
    doubt: bool = False
    holdout: float = 0.1

    def arguments(self) -> list[str]:
        """Options of ``mldsim fit``."""
        options = ["--order", str(self.order), "--max-rank", str(self.max_rank if self.order > 1 else 0)]
        options += ["--radial", str(self.radial), "--cutoff", f"{self.cutoff:g}", "--scope", self.scope.value]
        options += ["--channels", str(self.channels)] if self.order > 2 else []
        options += ["--bounded"] if self.bounded and self.order > 1 else []
        options += ["--doubt"] if self.doubt else []
        return [*options, "--holdout", f"{self.holdout:g}"]


class _List(QListWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("Data that are fitted")
        self.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)


class FitPanel(QWidget):
    """Data on the left, the form of the loss beside them, progress and results on the right.

    Signals
    -------
    add_asked : files are to be added to the data
    label_asked(str) : the doubtful frames are to be labelled by this engine, and added
    fit_asked, cancel_asked, run_asked, save_asked
    """

    add_asked = Signal()
    label_asked = Signal(str)
    fit_asked = Signal()
    cancel_asked = Signal()
    run_asked = Signal()
    save_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._busy = self._fitted = False
        self._doubtful = 0
        self.data: list[Path] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 6, 4)
        row.setSpacing(14)
        row.addWidget(self._build_data())
        row.addWidget(self._build_form())
        row.addWidget(self._build_results(), 1)
        self.add(Path(str(resources.files("mldsim.assets.data") / SHIPPED)))
        self._show_form()
        self.show_outcome("Nothing is fitted yet.")
        self.told.setText(HINT)

    # --- what the user asks for ---

    def form(self) -> Form:
        """What the fields say."""
        return Form(
            order=self.order.currentData(),
            max_rank=int(self.max_rank.value()),
            radial=int(self.radial.value()),
            cutoff=self.cutoff.value(),
            channels=int(self.channels.value()),
            scope=self.scope.currentData(),
            bounded=self.bounded.isChecked(),
            doubt=self.doubt.isChecked(),
            holdout=self.holdout.value() / 100.0,
        )

    def add(self, path: Path) -> None:
        """Fit this file or folder too."""
        if path in self.data:
            return
        self.data.append(path)
        self.list.addItem(f"{path.name} (shipped)" if path.name == SHIPPED else path.name)
        self.list.item(self.list.count() - 1).setToolTip(str(path))
        self._enable()

    # --- shown ---

    def show_job(self, status: JobStatus) -> None:
        """What is being done, and what it has told so far."""
        self._busy = status.running
        self.bar.setVisible(status.running)
        self.bar.setRange(0, 1000 if status.fraction > 0.0 else 0)
        self.bar.setValue(round(1000 * status.fraction))
        self.doing.say(doing(status))
        self.told.setText("\n".join(status.said[-3 if status.running else -2 :]))  # then parities want the room
        self._enable()

    def show_outcome(self, text: str, *, fitted: bool | None = None) -> None:
        """How it ended; `fitted` when there is a model to run."""
        if fitted is not None:
            self._fitted = fitted
        self._busy = False
        self.bar.hide()
        self.doing.say(text)
        self._enable()

    def show_parity(self, found: Parity) -> None:
        """Forces of the model beside their labels."""
        symbols: list[str | None] = [*dict.fromkeys(symbol for _, symbol in found)]
        for number, plot in enumerate(self.plots):
            symbol = symbols[number] if number < len(symbols) else None
            plot.setVisible(symbol is not None)
            plot.show_points(symbol, {part: points for (part, name), points in found.items() if name == symbol})

    def show_doubtful(self, frames: int) -> None:
        """How many doubtful frames are kept."""
        if frames != self._doubtful:
            self._doubtful = frames
            self.label.setText(f"Label {frames} doubtful" if frames else "Label doubtful")
            self._enable()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for plot in self.plots:
            plot.colour(colours)

    # --- built once ---

    def _build_data(self) -> QWidget:
        part, column = _column(DATA)
        self.list = _List()
        self.list.setMinimumHeight(44)
        self.list.setToolTip("<p>Labelled frames: datasets, CP2K output, extended XYZ, DeePMD folders, n2p2.</p>")
        self.add_button = push_button("Add…", "Fit the frames of another file too")
        self.add_button.clicked.connect(self.add_asked)
        self.remove = push_button("Remove", "Fit without the chosen files")
        self.remove.clicked.connect(self._on_remove)
        self.engine = Choice()
        for engine, name in ENGINES.items():
            self.engine.addItem(f"CP2K {name}", engine)
        self.engine.setAccessibleName("Theory of the labels")
        self.engine.setToolTip("<p>The theory by which an installed CP2K labels frames.</p>")
        self.label = push_button(
            "Label doubtful", "Have CP2K compute the forces of the doubtful frames, and fit them too"
        )
        self.label.clicked.connect(lambda: self.label_asked.emit(self.engine.currentData()))
        column.addWidget(self.list, 1)
        column.addLayout(_side_by_side(self.add_button, self.remove))
        column.addWidget(self.engine)
        column.addWidget(self.label)
        return part

    def _build_form(self) -> QWidget:
        part, column = _column(FORM)
        self.order, self.scope = Choice(), Choice()
        for order in (1, 2, 3):
            self.order.addItem(str(order), order)
        for scope, name in SCOPE_NAMES.items():
            self.scope.addItem(name, scope)
        self.max_rank = NumberBox(0, 3, integer=True)
        self.radial = NumberBox(3, 32, integer=True)
        self.cutoff = NumberBox(4.2, 12.0, unit="Å")
        self.channels = NumberBox(1, 8, integer=True)
        self.holdout = NumberBox(0.0, 90.0, unit="%")
        self.bounded = Tick("Bounded below", "<p>Every W positive semidefinite: stable, for a few meV/Å of error.</p>")
        self.doubt = Tick(
            "Tells its doubt", "<p>The model tells its force error; the fit takes several times as long.</p>"
        )
        default = Form()
        self.order.show_data(default.order)
        self.scope.show_data(default.scope)
        self.max_rank.show_value(default.max_rank)
        self.radial.show_value(default.radial)
        self.cutoff.show_value(default.cutoff)
        self.channels.show_value(default.channels)
        self.holdout.show_value(100.0 * default.holdout)
        self.bounded.setChecked(default.bounded)
        rows: tuple[tuple[str, QWidget, str], ...] = (
            ("Order", self.order, "Of the loss in the fields: 1 linear, 2 quadratic, 3 with a cubic part."),
            ("Scope", self.scope, "Own: each agent descends its own loss. Shared: all descend the sum."),
            (
                "Rank",
                self.max_rank,
                "Highest rank of the fields: 0 knows distances, 1 directions, 2 and 3 finer angles.",
            ),
            ("Functions", self.radial, "Radial functions for each pair of species."),
            ("Cutoff", self.cutoff, "How far an agent sees; no box may be smaller."),
            ("Channels", self.channels, "Combinations of the fields that the cubic part sees."),
            ("Held out", self.holdout, "Of the frames of each series: never fitted, so that their error is honest."),
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(2)
        for number, (name, field, tip) in enumerate(rows):
            label = QLabel(name)
            for widget in (label, field):
                widget.setToolTip(f"<p>{tip}</p>")
            field.setAccessibleName(name)
            across, down = number % 2, number // 2
            grid.addWidget(label, down, 2 * across)
            grid.addWidget(field, down, 2 * across + 1)
        grid.addWidget(self.bounded, 4, 0, 1, 2)
        grid.addWidget(self.doubt, 4, 2, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        column.addLayout(grid)
        self.fit = push_button("Fit", "Fit a loss to these data, beside the simulation")
        self.fit.setProperty("primary", True)
        self.fit.clicked.connect(self.fit_asked)
        self.cancel = push_button("Cancel", "Stop what is being done; nothing of it is kept")
        self.cancel.clicked.connect(self.cancel_asked)
        column.addLayout(_side_by_side(self.fit, self.cancel))
        column.addStretch(1)
        self.order.activated.connect(self._show_form)
        return part

    def _build_results(self) -> QWidget:
        part = QWidget()
        column = QVBoxLayout(part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self.doing = Line()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.told = Paragraph()
        self.plots = [ParityPlot() for _ in range(2)]
        plots = QHBoxLayout()
        plots.setSpacing(6)
        for plot in self.plots:
            plots.addWidget(plot, 1)
        self.run = push_button("Run it", "Go on with the fitted model from where the simulation stands")
        self.run.clicked.connect(self.run_asked)
        self.save = push_button("Save…", "Keep the fitted model in a file")
        self.save.clicked.connect(self.save_asked)
        head = QHBoxLayout()
        head.setSpacing(6)
        head.addWidget(self.doing, 1)
        head.addWidget(self.run)
        head.addWidget(self.save)
        column.addLayout(head)
        column.addWidget(self.bar)
        column.addWidget(self.told)
        column.addLayout(plots, 1)
        column.addStretch(0)
        self.show_parity({})
        return part

    # --- inside ---

    def _show_form(self, *_: object) -> None:
        order = self.order.currentData()
        self.max_rank.setEnabled(order > 1)
        self.bounded.setEnabled(order > 1)
        self.channels.setEnabled(order > 2)

    def _enable(self) -> None:
        self.fit.setEnabled(not self._busy and bool(self.data))
        self.cancel.setEnabled(self._busy)
        self.label.setEnabled(not self._busy and self._doubtful > 0)
        self.run.setEnabled(not self._busy and self._fitted)
        self.save.setEnabled(not self._busy and self._fitted)
        self.remove.setEnabled(bool(self.data))

    def _on_remove(self) -> None:
        for item in self.list.selectedItems():
            row = self.list.row(item)
            self.list.takeItem(row)
            del self.data[row]
        self._enable()


def doing(status: JobStatus) -> str:
    """What a job does, and for how long still: ``Fitting: frame 30 of 600, 12 s left``."""
    if not status.running:
        return ""
    parts = [f"{status.title}: {status.what}" if status.what else status.title]
    if status.left is not None and status.fraction < 1.0:
        parts.append(f"{clock_time(status.left)} left")
    return ", ".join(parts)


def _column(width: int) -> tuple[QWidget, QVBoxLayout]:
    part = QWidget()
    part.setFixedWidth(width)
    column = QVBoxLayout(part)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(4)
    return part, column


def _side_by_side(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
