"""The doubt of the forces: whether it is watched, when it warns, and how it went."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.gui import theme
from mldsim.gui.panels.fields import NumberBox, Paragraph
from mldsim.gui.panels.panel import is_seen, push_button
from mldsim.gui.plots.curves import CurvePlot
from mldsim.gui.plots.plot import Pen
from mldsim.messages import DoubtSettings
from mldsim.units import format_time

Array = NDArray[np.float64]

LARGEST, MEAN, LIMIT = "largest", "mean", "warning line"
UNIT = "eV/\u2060Å"
"""Of doubt, in one piece: a line may not end within it."""

NO_BREAK = "\u00a0"

CONTROLS = 262
BOX_WIDTH = 96

INTERVAL = (10.0, 100_000.0)
"""fs, that can be asked for."""
LIMITS = (0.001, 100.0)
"""eV/angstrom, that can be asked for."""

WHAT = (
    "<p>Doubt is the error to expect of a component of the force on an agent (eV/Å), from what the fit has seen: it is "
    "large where the surroundings are unlike those of the fitted frames, and where a richer loss, fitted to the same "
    "frames, gives another force.</p>"
)


class DoubtPanel(QWidget):
    """Settings of the watch on the left, doubt over time on the right.

    Signals
    -------
    asked(DoubtSettings or None) : watch like this, or not at all
    save_asked : the doubtful frames are to be written
    export_asked(Export) : the plot is to be saved
    """

    asked = Signal(object)
    save_asked = Signal()
    export_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._settings = DoubtSettings()
        self._refused = ""
        self._curves: dict[str, Curve] = {}
        self.watch = _check("Watch doubt", f"{WHAT}<p>A judgement costs about as much as twenty steps.</p>")
        self.pause = _check("Pause on doubt", "Pause the run as soon as a force is in doubt")
        self.interval = NumberBox(*INTERVAL, unit="fs")
        self.interval.setToolTip("<p>Simulated time between two judgements.</p>")
        self.limit = NumberBox(*LIMITS, unit="eV/Å")
        self.limit.setToolTip("<p>A force whose expected error is above this is in doubt: a sentence says so.</p>")
        self.save = push_button("Save doubtful frames…", "Write them to a file that 'mldsim label' takes")
        self.text = Paragraph()
        self.plot = CurvePlot(
            {LIMIT: Pen("warning", 1.2, dashed=True), MEAN: Pen("total", 1.6), LARGEST: Pen("heat", 1.8)}
        )
        self.watch.toggled.connect(self._ask)
        self.pause.toggled.connect(self._ask)
        self.interval.asked.connect(self._ask)
        self.limit.asked.connect(self._ask)
        self.save.clicked.connect(self.save_asked)
        self.plot.export_asked.connect(self.export_asked)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 4, 4)
        row.setSpacing(8)
        controls = QWidget()
        controls.setFixedWidth(CONTROLS)
        column = QVBoxLayout(controls)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.watch)
        column.addLayout(_labelled("Judge every", self.interval))
        column.addLayout(_labelled("Warn above", self.limit))
        column.addWidget(self.pause)
        column.addWidget(self.save)
        column.addWidget(self.text)
        column.addStretch(1)
        row.addWidget(controls)
        row.addWidget(self.plot, 1)
        self._show_settings()
        self.show_status("", 0)
        self.show_table({name: np.empty(0) for name in ("time", "mean", "largest")})

    @property
    def settings(self) -> DoubtSettings | None:
        """What is asked for."""
        return self._settings if self.watch.isChecked() else None

    def watch_like(self, settings: DoubtSettings | None) -> None:
        """Ask for this, as if the user had."""
        if settings is not None:
            self._settings = settings
            self._show_settings()
        self.watch.setChecked(settings is not None)

    def wanted(self) -> bool:
        """False while nobody can see it."""
        return is_seen(self)

    def show_status(self, refused: str, doubtful_frames: int) -> None:
        """Why the model cannot be doubted, and how many doubtful frames are kept."""
        self._refused = refused
        self.save.setEnabled(doubtful_frames > 0)
        number = "" if not doubtful_frames else f"{doubtful_frames} "
        self.save.setText(f"Save {number}doubtful frame{'' if doubtful_frames == 1 else 's'}…")
        if refused:
            self.text.setText(refused)
        elif not self.watch.isChecked():
            self.text.setText("Doubt is the force error to expect of each agent, from what the fit has seen.")
        self._show_message()

    def show_table(self, columns: dict[str, Array]) -> None:
        """Draw doubt over time; times in fs, doubts in eV/angstrom."""
        time = 1e-3 * columns["time"]
        curves: dict[str, Curve] = {}
        if len(time):
            ends = np.array([time[0], max(time[-1], time[0] + 1e-3)])
            limit = self._settings.limit
            curves[LIMIT] = Curve.plain(ends, np.full(2, limit))
            curves[MEAN] = Curve.plain(time, columns["mean"])
            curves[LARGEST] = Curve.plain(time, columns["largest"])
            if not self._refused:
                self.text.setText(
                    f"Mean {columns['mean'][-1]:.3f}, largest {columns['largest'][-1]:.3f} {UNIT} "
                    f"at {format_time(float(columns['time'][-1])).replace(' ', NO_BREAK)}."
                )
        self._curves = curves
        self._show_message()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self.plot.colour(colours)

    # --- inside ---

    def _show_message(self) -> None:
        message = ""
        if self._refused:
            message = "The present model cannot be doubted."
        elif not self.watch.isChecked() and not self._curves:
            message = "Watch doubt to see how sure the model is of its forces."
        elif not self._curves:
            message = "The first judgement is under way; its kernels are compiled at the first time."
        self.plot.show_curves("Time (ps)", "Doubt (eV/Å)", self._curves, message=message)

    def _show_settings(self) -> None:
        self.interval.show_value(self._settings.interval)
        self.limit.show_value(self._settings.limit)
        self.pause.setChecked(self._settings.pause)

    def _ask(self, *_: object) -> None:
        self._settings = replace(
            self._settings,
            interval=self.interval.value(),
            limit=self.limit.value(),
            pause=self.pause.isChecked(),
        )
        self.asked.emit(self.settings)
        self._show_message()


def _check(text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(tip)
    box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return box


def _labelled(text: str, box: NumberBox) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    box.setFixedWidth(BOX_WIDTH + 14)
    box.setAccessibleName(text)
    row.addWidget(QLabel(text))
    row.addStretch(1)
    row.addWidget(box)
    return row
