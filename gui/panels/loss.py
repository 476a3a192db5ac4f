"""The learned loss itself: its pair curves where the run is now, its coefficients, and what it responds to."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QSignalBlocker, Qt
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QStackedWidget, QVBoxLayout, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.gui import theme
from mldsim.gui.panels.fields import Line, claims
from mldsim.gui.plots.curves import CurvePlot, Shade
from mldsim.gui.plots.matrix import MatrixMap
from mldsim.gui.plots.thermo import Pen
from mldsim.loss import LossModel
from mldsim.surroundings import Surroundings

LIST_WIDTH = 190

LINEAR, HERE, VISITED = "linear", "now", "visited"
EFFECT = ("O neighbours", "H neighbours")

BEYOND_BONDS = 1.5
"""angstrom. The well of a covalent bond is a hundred times deeper than all beyond it, which would be a flat line."""

HISTOGRAM = 0.25
"""Part of the height of a plot that the histogram of distances takes."""


class Kind(enum.Enum):
    """What of a loss is shown."""

    PAIRS = "pair curves"
    MATRICES = "matrices"
    SENSITIVITIES = "sensitivities"


@dataclass(frozen=True, slots=True)
class Page:
    """One entry of the list."""

    kind: Kind
    species: int
    title: str


class _List(QListWidget):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFixedWidth(LIST_WIDTH)
        self.setAccessibleName("Parts of the loss")

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)


class LossPanel(QWidget):
    """Shows a `LossModel` and the `Surroundings` that its agents have now."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._model: LossModel | None = None
        self._seen: Surroundings | None = None
        self._pages: list[Page] = []
        self.list = _List()
        self.list.currentRowChanged.connect(lambda _: self._show_page())
        pens = {
            VISITED: Pen("text", 1.0, opacity=0.0),
            LINEAR: Pen("total", 1.4, dashed=True),
            HERE: Pen("loss", 2.0),
        }
        self.pairs = [CurvePlot(pens) for _ in range(2)]
        self.matrices = [MatrixMap() for _ in range(4)]
        self.effects = [CurvePlot({EFFECT[0]: Pen("temperature", 1.8), EFFECT[1]: Pen("loss", 1.8)}) for _ in range(2)]
        self._stack = QStackedWidget()
        for widgets in (self.pairs, self.matrices, self.effects):
            page = QWidget()
            row = QHBoxLayout(page)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(6)
            for widget in widgets:
                row.addWidget(widget, 1)
            self._stack.addWidget(page)
        self.text = Line(dim=True)
        self.text.setContentsMargins(10, 0, 8, 0)
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self._stack, 1)
        column.addWidget(self.text)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 6, 4, 4)
        row.setSpacing(8)
        row.addWidget(self.list)
        row.addLayout(column, 1)
        self.show_loss(None, None)

    def wanted(self) -> bool:
        """False while nobody can see it."""
        return self.isVisible() and not self.visibleRegion().isEmpty()

    def show_loss(self, model: LossModel | None, seen: Surroundings | None) -> None:
        """Show a model in its surroundings; what is chosen stays chosen."""
        if model is not self._model or not self._pages:
            self._model = model
            self._fill_list()
        self._seen = seen
        self._show_page()

    def choose(self, kind: Kind, species: int = 0) -> None:
        """Show a part of the loss."""
        for row, page in enumerate(self._pages):
            if (page.kind, page.species) == (kind, species):
                self.list.setCurrentRow(row)

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        for matrix in self.matrices:
            matrix.colour(colours)
        for plot in (*self.pairs, *self.effects):
            plot.colour(colours)

    # --- inside ---

    def _fill_list(self) -> None:
        symbols = () if self._model is None else self._model.symbols[:2]
        order = 0 if self._model is None else self._model.order
        pages = [Page(Kind.PAIRS, i, f"Pair curves of {symbol}") for i, symbol in enumerate(symbols)]
        if order > 1:
            pages += [Page(Kind.MATRICES, i, f"W of {symbol}") for i, symbol in enumerate(symbols)]
        if symbols:
            pages.append(Page(Kind.SENSITIVITIES, 0, "Sensitivities"))
        chosen = self.list.currentRow()
        self._pages = pages
        with QSignalBlocker(self.list):
            self.list.clear()
            self.list.addItems([page.title for page in pages])
            self.list.setCurrentRow(chosen if 0 <= chosen < len(pages) else 0)

    def _show_page(self) -> None:
        row = self.list.currentRow()
        if not 0 <= row < len(self._pages) or self._model is None:
            self._stack.setCurrentIndex(0)
            for plot in self.pairs:
                plot.show_curves("", "", {}, message="There is no loss yet.")
            self.text.say("")
            return
        page = self._pages[row]
        match page.kind:
            case Kind.PAIRS:
                self._stack.setCurrentIndex(0)
                self._show_pairs(self._model, page.species)
            case Kind.MATRICES:
                self._stack.setCurrentIndex(1)
                self._show_matrices(self._model, page.species)
            case Kind.SENSITIVITIES:
                self._stack.setCurrentIndex(2)
                self._show_sensitivities(self._model)

    def _show_pairs(self, model: LossModel, a: int) -> None:
        seen = self._seen
        self.text.say(
            f"One more neighbour of {model.symbols[a]}"
            + (", without its cubic part" if model.order > 2 else "")
            + ": by the linear part, and in the surroundings now, with spread."
        )
        for b, plot in enumerate(self.pairs):
            plot.setVisible(b < len(model.symbols))
            if seen is None or b >= len(model.symbols):
                plot.show_curves("", "", {}, message="The first frame is still to come.")
                continue
            near = seen.r >= max(float(seen.fitted[a, b, 0]), 0.0)
            r = seen.r[near]
            linear = Curve(r, seen.linear[a, b][near], np.full(len(r), np.nan))
            here = Curve(r, seen.mean[a, b][near], seen.spread[a, b][near])
            beyond = r > BEYOND_BONDS
            values = np.concatenate([linear.y[beyond], (here.y - here.error)[beyond], (here.y + here.error)[beyond]])
            values = values[np.isfinite(values)]
            reach = 1.15 * max(float(np.abs(values).max(initial=0.0)), 1e-6)
            bottom = -reach - 2.0 * reach * HISTOGRAM
            counts = seen.visited[a, b]
            half = reach * HISTOGRAM * counts / max(float(counts.max(initial=0.0)), 1e-12)
            shown = seen.bins >= seen.r[0]
            visited = Curve(seen.bins[shown], (bottom + half)[shown], half[shown])
            curves = {VISITED: visited, LINEAR: linear, HERE: here}
            low, high = (float(edge) for edge in seen.fitted[a, b])
            plot.show_curves(
                "r (Å)",
                f"{model.symbols[b]} at r (eV)",
                curves,
                shades=(Shade("fitted", low, high),),
                limits=(bottom, reach),
            )

    def _show_matrices(self, model: LossModel, a: int) -> None:
        k = model.radial.n_radial
        seen = self._seen
        names = tuple(
            f"{symbol} at {seen.peaks[a, b, i]:.2f} Å" if seen is not None else f"{symbol}, k = {i}"
            for b, symbol in enumerate(model.symbols)
            for i in range(k)
        )
        largest = 0.0
        for rank, chart in enumerate(self.matrices):
            chart.setVisible(rank <= model.max_rank)
            if rank <= model.max_rank:
                chart.show_matrix(f"rank {rank}", "eV", model.quadratic[a, rank], model.symbols, names)
                largest = max(largest, chart.largest)
        self.text.say(
            f"W of {model.symbols[a]}, neighbours' functions from near to far: blue lowers the loss, orange raises it; "
            f"colour by the root, largest entry {largest:.3g} eV."
        )

    def _show_sensitivities(self, model: LossModel) -> None:
        seen = self._seen
        self.text.say(
            "How much of a loss moves with each invariant, by where its function φ peaks: mean response times the "
            "spread of the invariant; the band is the spread of the response."
            + (" The cubic part is left out." if model.order > 2 else "")
        )
        for a, plot in enumerate(self.effects):
            plot.setVisible(a < len(model.symbols))
            if seen is None or a >= len(model.symbols):
                plot.show_curves("", "", {}, message="The first frame is still to come.")
                continue
            curves = {}
            for b in range(min(2, len(model.symbols))):
                order = np.argsort(seen.peaks[a, b])
                curves[EFFECT[b]] = Curve(
                    seen.peaks[a, b][order], 1e3 * seen.effect[a, b][order], 1e3 * seen.effect_spread[a, b][order]
                )
            plot.show_curves("Peak of φ (Å)", f"Loss of {model.symbols[a]} (meV)", curves)
