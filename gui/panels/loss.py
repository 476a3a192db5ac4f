"""The learned loss itself: its pair curves where the run is now, its coefficients, what it responds to, switches."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from mldsim.analysis.statistics import Curve
from mldsim.edits import FITTED, LossEdit, terms
from mldsim.gui import theme
from mldsim.gui.panels.fields import Choice, Line, NumberRow, Tick
from mldsim.gui.panels.panel import is_seen, push_button
from mldsim.gui.plots.curves import CurvePlot, Shade
from mldsim.gui.plots.matrix import MatrixMap
from mldsim.gui.plots.plot import Pen
from mldsim.gui.viewmodel import SCOPE_NAMES
from mldsim.loss import LossModel
from mldsim.surroundings import Surroundings

CONTROLS = 240

LINEAR, HERE, VISITED, FITTED_NOW = "linear", "now", "visited", "fit"
EFFECT = ("O neighbours", "H neighbours")

BEYOND_BONDS = 1.5
"""angstrom. The well of a covalent bond is a hundred times deeper than all beyond it, which would be a flat line."""

HISTOGRAM = 0.25
"""Part of the height of a plot that the histogram of distances takes."""


TIPS = {
    "linear": "w·s: what each neighbour adds by itself, a pair potential.",
    "quadratic": "½ A:W:A: products of the fields of two neighbours; rank 0 knows how many there are, higher ranks "
    "the angles between them.",
    "cubic": "Products of three fields, seen through a few channels.",
    "hops": "Pair strengths that depend on the surroundings of both agents.",
    "long range": "Sums over all agents and their images, without a cutoff.",
}
"""What each term is; the wall below the closest contacts was not learned and stays."""


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


class Switches(QWidget):
    """What may be changed of a loss while it runs: its terms, the weight of each species' loss, its scope.

    It shows what `show_edit` was told; what the user asks for is sent by `asked`.

    Signals
    -------
    asked(LossEdit)
    """

    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._model: LossModel | None = None
        self._edit = FITTED
        self.terms: dict[str, Tick] = {}
        self.scales: dict[str, NumberRow] = {}
        self.scope = Choice()
        for scope, name in SCOPE_NAMES.items():
            self.scope.addItem(f"{name} scope", scope)
        self.scope.setToolTip(
            "<p>Own: each agent descends its own loss, forces are not reciprocal. Shared: all descend the sum.</p>"
        )
        self.scope.setAccessibleName("Scope")
        self.scope.activated.connect(self._ask)
        self.fitted = push_button("Fitted loss", "Take every change of the loss back")
        self.fitted.clicked.connect(lambda: self.asked.emit(FITTED))
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(3)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(2)
        below = QHBoxLayout()
        below.setSpacing(6)
        below.addWidget(self.scope, 1)
        below.addWidget(self.fitted, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self._grid)
        column.addLayout(self._rows)
        column.addLayout(below)
        column.addStretch(1)
        self._show()

    def show_model(self, model: LossModel | None) -> None:
        """Offer what can be changed of a fitted model."""
        known = self._model
        self._model = model
        names = () if model is None else terms(model)
        symbols = () if model is None else model.symbols
        if known is None or model is None or names != tuple(self.terms) or symbols != tuple(self.scales):
            self._build(names, symbols)
        self._show()

    def show_edit(self, edit: LossEdit) -> None:
        """Show what is changed."""
        self._edit = edit
        self._show()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        for row in self.scales.values():
            row.undo.colour(colours)

    # --- inside ---

    def _build(self, names: tuple[str, ...], symbols: tuple[str, ...]) -> None:
        for widget in (*self.terms.values(), *self.scales.values()):
            widget.hide()
            widget.deleteLater()
        self.terms = {name: Tick(_short(name), f"<p>{TIPS[name.split(',')[0]]}</p>") for name in names}
        for number, tick in enumerate(self.terms.values()):
            tick.toggled.connect(self._ask)
            self._grid.addWidget(tick, number // 2, number % 2)
        self.scales = {}
        for symbol in symbols:
            row = NumberRow("loss_scale")
            row.call(f"Loss of {symbol} ×")
            row.label.setFixedWidth(76)
            row.box.setFixedWidth(58)
            row.asked.connect(lambda value, symbol=symbol: self._scale(symbol, value))
            row.undo.colour(self._colours)
            self._rows.addWidget(row)
            self.scales[symbol] = row

    _colours = theme.COLOURS[theme.Theme.DARK]

    def _show(self) -> None:
        edit, model = self._edit, self._model
        for name, tick in self.terms.items():
            tick.show_checked(name not in edit.off)
        for symbol, row in self.scales.items():
            row.show_applied(edit.scale(symbol))
        self.scope.setEnabled(model is not None)
        if model is not None:
            self.scope.show_data(edit.scope or model.scope)
        self.fitted.setEnabled(bool(edit))

    def _ask(self, *_: object) -> None:
        self._send(self._edit.scales)

    def _scale(self, symbol: str, value: float) -> None:
        self._send((*(one for one in self._edit.scales if one[0] != symbol), (symbol, value)))

    def _send(self, scales: tuple[tuple[str, float], ...]) -> None:
        if self._model is None:
            return
        off = tuple(name for name, tick in self.terms.items() if not tick.isChecked())
        scope = self.scope.currentData()
        self.asked.emit(LossEdit(off, scales, None if scope is self._model.scope else scope))


def _short(name: str) -> str:
    words = name.removeprefix("quadratic, ")
    return words[0].upper() + words[1:]


class LossPanel(QWidget):
    """Shows a `LossModel` and the `Surroundings` that its agents have now, and changes it.

    Signals
    -------
    asked(LossEdit) : the loss is to be changed like this
    export_asked(Export) : a plot is to be saved
    """

    asked = Signal(object)
    export_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._model: LossModel | None = None
        self._seen: Surroundings | None = None
        self._fitted_seen: Surroundings | None = None
        self._pages: list[Page] = []
        self.page = Choice()
        self.page.setAccessibleName("Parts of the loss")
        self.page.setToolTip(
            "<p>Pair curves: what one more neighbour at a distance changes. W: how products of two fields count. "
            "Sensitivities: how much of the loss moves with each invariant.</p>"
        )
        self.page.currentIndexChanged.connect(lambda _: self._show_page())
        self.switches = Switches()
        self.switches.asked.connect(self.asked)
        pens = {
            VISITED: Pen("text", 1.0, opacity=0.0),
            LINEAR: Pen("total", 1.4, dashed=True),
            FITTED_NOW: Pen("dim", 1.6),
            HERE: Pen("loss", 2.0),
        }
        self.pairs = [CurvePlot(pens) for _ in range(2)]
        self.matrices = [MatrixMap() for _ in range(4)]
        self.effects = [CurvePlot({EFFECT[0]: Pen("temperature", 1.8), EFFECT[1]: Pen("loss", 1.8)}) for _ in range(2)]
        for plot in (*self.pairs, *self.effects):
            plot.export_asked.connect(self.export_asked)
        for matrix in self.matrices:
            matrix.export_asked.connect(self.export_asked)
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
        controls = QWidget()
        controls.setFixedWidth(CONTROLS)
        beside = QVBoxLayout(controls)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.setSpacing(6)
        beside.addWidget(self.page)
        beside.addWidget(self.switches, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 4, 4)
        row.setSpacing(8)
        row.addWidget(controls)
        row.addLayout(column, 1)
        self.show_loss(None, None)

    def wanted(self) -> bool:
        """False while nobody can see it."""
        return is_seen(self)

    def show_loss(self, model: LossModel | None, seen: Surroundings | None, fitted: Surroundings | None = None) -> None:
        """Show a model in its surroundings, beside what it was as fitted; what is chosen stays chosen."""
        if model is not self._model or not self._pages:
            self._model = model
            self._fill_list()
        self._seen, self._fitted_seen = seen, fitted
        self._show_page()

    def choose(self, kind: Kind, species: int = 0) -> None:
        """Show a part of the loss."""
        for row, page in enumerate(self._pages):
            if (page.kind, page.species) == (kind, species):
                self.page.setCurrentIndex(row)

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self.switches.colour(colours)
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
        chosen = self.page.currentIndex()
        self._pages = pages
        with QSignalBlocker(self.page):
            self.page.clear()
            self.page.addItems([page.title for page in pages])
            self.page.setCurrentIndex(chosen if 0 <= chosen < len(pages) else 0)

    def _show_page(self) -> None:
        row = self.page.currentIndex()
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
            f"One more neighbour of {model.symbols[a]}: by the linear part, and by {_parts(model)} where it is now, "
            "with spread."
        )
        for b, plot in enumerate(self.pairs):
            plot.setVisible(b < len(model.symbols))
            if seen is None or b >= len(model.symbols):
                plot.show_curves("", "", {}, message="The first frame is still to come.")
                continue
            near = seen.r >= max(float(seen.fitted[a, b, 0]), 0.0)
            r = seen.r[near]
            linear = Curve.plain(r, seen.linear[a, b][near])
            here = Curve(r, seen.mean[a, b][near], seen.spread[a, b][near])
            curves = {LINEAR: linear, HERE: here}
            if self._fitted_seen is not None:
                curves[FITTED_NOW] = Curve.plain(r, self._fitted_seen.mean[a, b][near])
            beyond = r > BEYOND_BONDS
            edges = [here.y - here.error, here.y + here.error, *(curve.y for curve in curves.values())]
            values = np.concatenate([edge[beyond] for edge in edges])
            values = values[np.isfinite(values)]
            reach = 1.15 * max(float(np.abs(values).max(initial=0.0)), 1e-6)
            bottom = -reach - 2.0 * reach * HISTOGRAM
            counts = seen.visited[a, b]
            half = reach * HISTOGRAM * counts / max(float(counts.max(initial=0.0)), 1e-12)
            shown = seen.bins >= seen.r[0]
            visited = Curve(seen.bins[shown], (bottom + half)[shown], half[shown])
            curves[VISITED] = visited
            low, high = (float(edge) for edge in seen.fitted[a, b])
            plot.show_curves(
                "r (Å)",
                f"{model.symbols[b]} at r (eV)",
                curves,
                shades=(Shade("seen", low, high),),
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
            f"W of {model.symbols[a]}, functions from near to far: blue lowers, orange raises; by the root, up to "
            f"{largest:.3g} eV."
        )

    def _show_sensitivities(self, model: LossModel) -> None:
        seen = self._seen
        self.text.say(
            "How much each invariant moves a loss, by where its function peaks; the band is the spread."
            + (f" By {_parts(model)}." if _distant(model) else ""),
            "Mean response of the loss to the invariant times the spread of the invariant; the band is the spread of "
            "the response.",
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


def _distant(model: LossModel) -> list[str]:
    return [name for name, part in (("hops", model.hops), ("long-range part", model.waves)) if part is not None]


def _parts(model: LossModel) -> str:
    """Which terms of a loss the responses hold."""
    distant = _distant(model)
    return f"all but its {' and '.join(distant)}" if distant else "all its terms"
