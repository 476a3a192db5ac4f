"""The analyses of the run beside their CP2K reference: a list of all with a preview of each, and one of them large."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.averages import Findings, Measured
from mldsim.gui import theme
from mldsim.gui.panels.fields import Line, Paragraph, claims
from mldsim.gui.panels.panel import is_seen, push_button
from mldsim.gui.plots.curves import CurvePlot
from mldsim.gui.plots.plot import Pen
from mldsim.units import format_time

RUN, REFERENCE = "this run", "CP2K reference"

PREVIEW = QSize(54, 24)
LIST_WIDTH = 218


class _List(QListWidget):
    """The list takes the keyboard by Tab only, and then its arrows for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setIconSize(PREVIEW)
        self.setFixedWidth(LIST_WIDTH)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Analyses")

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)


class AnalysesPanel(QWidget):
    """Shows `Findings`.

    Signals
    -------
    restart_asked : averages are to begin anew
    export_asked(Export) : the analysis that is shown is to be saved
    """

    restart_asked = Signal()
    export_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self._findings = Findings(comparison="The run has not begun.")
        self.list = _List()
        self.list.setToolTip(
            "<p>What is averaged while it runs, each beside its CP2K reference; one of them is drawn large.</p>"
        )
        self.list.currentRowChanged.connect(lambda _: self._show_chosen())
        self.plot = CurvePlot({REFERENCE: Pen("total", 1.4, dashed=True), RUN: Pen("loss", 2.0)})
        self.restart = push_button("Restart averaging", "Forget all averages and begin anew with the next step")
        self.table = push_button("Table…", "Save this curve, its reference and their errors as comma-separated values")
        self.image = push_button("Picture…", "Save this plot as a picture for print")
        for button, asked in (
            (self.restart, self.restart_asked.emit),
            (self.table, self.plot.ask_table),
            (self.image, self.plot.ask_picture),
        ):
            button.clicked.connect(lambda _=False, asked=asked: asked())
            self.plot.head.addWidget(button)
        self.plot.export_asked.connect(self.export_asked)
        self.text = Paragraph()
        self.text.setProperty("dim", False)
        self.about = Line(dim=True)
        words = QVBoxLayout()
        words.setContentsMargins(10, 0, 8, 0)
        words.setSpacing(1)
        words.addWidget(self.text)
        words.addWidget(self.about)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 6, 4, 4)
        row.setSpacing(8)
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self.plot, 1)
        column.addLayout(words)
        row.addWidget(self.list)
        row.addLayout(column, 1)
        self._show_chosen()

    def wanted(self) -> bool:
        """False while nobody can see it."""
        return is_seen(self)

    def show_findings(self, findings: Findings) -> None:
        """Show what was found; the chosen analysis stays chosen."""
        self._findings = findings
        titles = [one.title for one in findings.analyses]
        if titles and titles != [self.list.item(i).text() for i in range(self.list.count())]:
            chosen = self.list.currentItem().text() if self.list.currentItem() is not None else ""
            with QSignalBlocker(self.list):
                self.list.clear()
                for one in findings.analyses:
                    item = QListWidgetItem(one.title)
                    item.setToolTip(f"{one.y_label} against {one.x_label}")
                    self.list.addItem(item)
                self.list.setCurrentRow(titles.index(chosen) if chosen in titles else 0)
        for i, one in enumerate(findings.analyses):
            self.list.item(i).setIcon(self._preview(one))
        self._show_chosen()

    def choose(self, key: str) -> None:
        """Show an analysis by its key."""
        for i, one in enumerate(self._findings.analyses):
            if one.key == key:
                self.list.setCurrentRow(i)

    @property
    def chosen(self) -> Measured | None:
        """The analysis that is shown."""
        row = self.list.currentRow()
        return self._findings.analyses[row] if 0 <= row < len(self._findings.analyses) else None

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self.plot.colour(colours)
        self.show_findings(self._findings)

    # --- inside ---

    def _show_chosen(self) -> None:
        found, one = self._findings, self.chosen
        for button in (self.table, self.image):
            button.setEnabled(one is not None and one.run is not None)
        self.restart.setEnabled(one is not None)
        if one is None:
            self.plot.show_curves("", "", {}, message=found.comparison)
            self.text.setText("")
            self.about.say("")
            return
        curves: dict[str, Curve] = {}
        if one.reference is not None:
            curves[REFERENCE] = one.reference
        if one.run is not None:
            curves[RUN] = one.run
        self.plot.show_curves(one.x_label, one.y_label, curves, message=one.waiting)
        frames = f"{found.frames} frames" if found.frames != 1 else "1 frame"
        length = format_time(found.averaged)
        about = f"{length} since {format_time(found.began)}: {frames}, {found.temperature:.0f} K. {found.comparison}"
        if found.lost:
            about += f" {found.lost} samples could not be taken in time."
        if found.part < 1.0:
            about = f"{100 * found.part:.0f} % of the trajectory. {about}"
        self.text.setText(one.text)
        self.about.say(about, f"{about} {found.source}")

    def _preview(self, one: Measured) -> QIcon:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap(PREVIEW * ratio)
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(Qt.GlobalColor.transparent)
        curves = [(one.reference, self._colours.disabled, 1.0), (one.run, self._colours.loss, 1.4)]
        filled = [curve for curve, _, _ in curves if curve is not None and len(curve.x) > 1]
        if filled:
            x_low, x_high = min(c.x[0] for c in filled), max(c.x[-1] for c in filled)
            low, high = min(float(np.nanmin(c.y)) for c in filled), max(float(np.nanmax(c.y)) for c in filled)
            painter = QPainter(pixmap)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            for curve, colour, width in curves:
                if curve is None or len(curve.x) < 2:
                    continue
                every = max(1, len(curve.x) // 100)
                x = 1 + (PREVIEW.width() - 2) * (curve.x[::every] - x_low) / max(x_high - x_low, 1e-12)
                y = PREVIEW.height() - 2 - (PREVIEW.height() - 4) * (curve.y[::every] - low) / max(high - low, 1e-12)
                painter.setPen(QPen(QColor(colour), width))
                points = [QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
                painter.drawPolyline(QPolygonF(points))
            painter.end()
        icon = QIcon()
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
            icon.addPixmap(pixmap, mode)
        return icon
