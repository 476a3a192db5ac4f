"""What all plots have in common: axes, legend, cross-hair, zoom, lines of the user, standing still, and saving."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QBuffer, QByteArray, QEvent, QIODevice, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPen,
    QResizeEvent,
    QTextDocument,
)
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QStyleOptionGraphicsItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mldsim.analysis.statistics import Curve
from mldsim.files import whole_file
from mldsim.gui import theme
from mldsim.gui.dialogs.line import LineDialog
from mldsim.gui.exports import DRAWINGS, TABLES, Export, save_image
from mldsim.gui.panels.fields import FlatButton, Paragraph
from mldsim.tables import write_curves

Array = NDArray[np.float64]
Range = tuple[float, float]

HEADROOM = 0.15
"""How much an axis is longer than what it has to show when it is set anew."""

PICTURE_SCALE = 3
"""A saved picture has so many pixels for one of the screen, which is about 300 dots per inch."""

MOST_LINES = 8
"""Lines that a user can draw into one plot."""


@dataclass(frozen=True, slots=True)
class Pen:
    """How a curve is drawn; `colour` is the name of a field of `theme.Colours`."""

    colour: str
    width: float = 1.4
    dashed: bool = False
    opacity: float = 1.0


def number(value: float) -> str:
    """A value as it is read off a plot: three or four digits, and a real minus sign."""
    return (f"{value:.4g}" if abs(value) >= 1.0 else f"{value:.3g}").replace("-", "−")


def unit_of(label: str) -> str:
    """The unit that stands in parentheses at the end of the label of an axis; empty where there is none."""
    found = re.search(r" \((.+)\)$", label)
    return found[1] if found else ""


def stroke(look: Pen, colours: theme.Colours) -> QPen:
    """The pen of a curve on the ground of a panel.

    Opaque: Qt draws a wide transparent curve a hundred times as slowly as a narrow opaque one.
    """
    ink, ground = QColor(getattr(colours, look.colour)), QColor(colours.panel)
    part = look.opacity
    red, green, blue = (
        part * a + (1.0 - part) * b
        for a, b in zip(
            (ink.redF(), ink.greenF(), ink.blueF()), (ground.redF(), ground.greenF(), ground.blueF()), strict=True
        )
    )
    mixed = QColor.fromRgbF(red, green, blue)
    pen = pg.mkPen(mixed, width=look.width, style=Qt.PenStyle.DashLine if look.dashed else Qt.PenStyle.SolidLine)
    assert isinstance(pen, QPen)
    return pen


class Stroke(pg.GraphicsObject):  # type: ignore[misc]
    """A curve of which only that part is painted which has changed: a long run grows by less than a pixel at a time."""

    _REACH, _PIECE = 3.0, 16
    """Pixels that a pen reaches beside a point; lines of a wide curve that are outlined together: Qt's outline of many
    is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.setFlag(self.GraphicsItemFlag.ItemUsesExtendedStyleOption)  # is told which part is to be painted
        self._x = self._y = np.empty(0)
        self._view = QRectF()
        self._look: tuple[Pen, theme.Colours] | None = None
        self._pen: QPen | None = None

    @property
    def data(self) -> tuple[Array, Array]:
        """What is drawn."""
        return self._x, self._y

    def look(self, look: Pen, colours: theme.Colours) -> None:
        """Draw it like this."""
        if self._look != (look, colours):
            self._look = (look, colours)
            self._pen = stroke(look, colours) if look.opacity else None
            self.update()

    def show_data(self, x: Array, y: Array) -> None:
        """Draw a line through these points, from left to right; those that are no numbers are left out."""
        known = np.isfinite(y)
        before_x, before_y = self._x, self._y
        self._x, self._y = (x, y) if known.all() else (x[known], y[known])
        x, y = self._x, self._y
        both = min(len(x), len(before_x))
        other = np.flatnonzero((x[:both] != before_x[:both]) | (y[:both] != before_y[:both]))
        first = int(other[0]) if len(other) else both
        if first == len(x) == len(before_x):
            return
        if first == 0:
            self.update()
            return
        longer = first < both and y[first - 1] == y[first] == before_y[first]  # and level: the same up to there
        begin = min(x[first], before_x[first]) if longer else x[first - 1]
        end = max(x[-1], before_x[-1])
        heights = np.concatenate([y[first - 1 :], before_y[first - 1 :]])  # no axis is painted that the curve spares
        bottom, top = float(heights.min()), float(heights.max())
        across, above = self._reach()
        self.update(QRectF(begin, bottom, end - begin, top - bottom).adjusted(-across, -above, across, above))

    def boundingRect(self) -> QRectF:  # noqa: N802
        """What is in view: a curve is not looked through for its own bounds each time it is painted."""
        return self._view

    def shape(self) -> QPainterPath:
        """Nothing that the mouse could meet."""
        return QPainterPath()

    def viewRangeChanged(self) -> None:  # noqa: N802
        self.prepareGeometryChange()
        self._view = self.getViewBox().viewRect()

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, _widget: QWidget | None) -> None:
        if self._pen is None or len(self._x) < 2:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._pen)
        x, y = self._x, self._y
        dashed = self._pen.style() is Qt.PenStyle.DashLine
        if not dashed:  # dashes are counted from the beginning
            part, (reach, _) = option.exposedRect, self._reach()
            first = max(int(np.searchsorted(x, part.left() - reach)) - 1, 0)
            last = int(np.searchsorted(x, part.right() + reach, side="right")) + 1
            x, y = x[first:last], y[first:last]
        piece = len(x) if dashed or self._pen.widthF() <= 1.0 else self._PIECE
        for begin in range(0, len(x) - 1, piece):
            points = slice(begin, begin + piece + 1)
            painter.drawPolyline(pg.functions.arrayToQPolygonF(x[points], y[points]))

    def _reach(self) -> tuple[float, float]:
        """In units of the horizontal and of the vertical axis."""
        view, box = self._view, self.getViewBox()
        across, above = view.width() / max(box.width(), 1.0), view.height() / max(box.height(), 1.0)
        return float(self._REACH * across), float(self._REACH * above)


class StayingMenu(QMenu):
    """A menu that stays open while boxes in it are ticked."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if not self._ticked():
            super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        keys = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if event.key() not in keys or not self._ticked():
            super().keyPressEvent(event)

    def _ticked(self) -> bool:
        action = self.activeAction()
        if action is None or not action.isCheckable() or not action.isEnabled():
            return False
        action.trigger()
        return True


class _Graph(pg.PlotWidget):  # type: ignore[misc]
    """A graph that can have the keyboard: A shows everything, the arrows move the cross-hair, Esc takes it away.

    It keeps these keys, and no others, from the shortcuts of the window.
    """

    double_clicked = Signal()
    left = Signal()
    stepped = Signal(int)
    asked = Signal(QPoint)

    _KEYS = (Qt.Key.Key_A, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Escape)

    def __init__(self) -> None:
        super().__init__()
        self.frame: QColor | None = None
        """Around everything; None for no frame."""

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._is_mine(event):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if not self._is_mine(event):
            super().keyPressEvent(event)
        elif event.key() == Qt.Key.Key_A:
            self.double_clicked.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            self.stepped.emit(1 if event.key() == Qt.Key.Key_Right else -1)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self.double_clicked.emit()
        event.accept()

    def leaveEvent(self, event: object) -> None:  # noqa: N802
        self.left.emit()
        super().leaveEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        self.left.emit()
        super().focusOutEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        self.asked.emit(event.globalPos())
        event.accept()

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:  # noqa: N802
        super().drawForeground(painter, rect)
        colour = self.palette().highlight().color() if self.hasFocus() else self.frame
        if colour is not None:
            painter.resetTransform()
            painter.setPen(QPen(colour, 1, Qt.PenStyle.SolidLine if self.hasFocus() else Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))

    @staticmethod
    def _is_mine(event: QKeyEvent) -> bool:
        return event.key() in _Graph._KEYS and event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )


class Plot(QWidget):
    """Axes with a legend above that covers no curve, and the tools of every plot. Subclasses draw the curves.

    Everything is in view until the user zooms (wheel) or pans (drag); a double click, A, or the button that then
    appears shows everything again. The pointer, or the arrows, read the curves off at a cross-hair. The menu of the
    right button holds a plot still while the run goes on, draws lines at values that the user wants to compare with,
    and saves the curves as a table or the plot as a picture.

    Parameters
    ----------
    tip : str
        What there is to know about these curves.
    minimum : (width, height)
        Pixels.

    Signals
    -------
    export_asked(Export) : something is to be saved
    """

    export_asked = Signal(object)

    def __init__(self, tip: str = "", *, minimum: tuple[int, int] = (150, 80)) -> None:
        super().__init__()
        self._labels = ("", "")
        self._following = True
        self._frozen = False
        self._waiting: Callable[[], None] | None = None
        self._pointer: float | None = None
        self._lines_at: dict[str, list[float]] = {}
        self._colours = theme.COLOURS[theme.Theme.DARK]
        self._legend = Paragraph(Qt.TextFormat.RichText)
        self._graph = _Graph()
        self._graph.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._graph.setFrameShape(pg.QtWidgets.QFrame.Shape.NoFrame)
        self._graph.setMinimumSize(*minimum)
        hint = "Wheel to zoom, drag to move, double click or A for everything; the right button has more."
        self._graph.setToolTip(f"<p>{tip}</p><p>{hint}</p>" if tip else f"<p>{hint}</p>")
        self._graph.double_clicked.connect(self.show_everything)
        self._graph.left.connect(lambda: self._point_at(None))
        self._graph.stepped.connect(self._step_pointer)
        self._graph.asked.connect(lambda place: self.menu().exec(place))
        self._graph.scene().sigMouseMoved.connect(self._on_pointer)
        item = self._graph.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        for side in ("left", "bottom"):
            item.getAxis(side).enableAutoSIPrefix(False)
            item.getAxis(side).setStyle(showValues=False)
        self._box = item.getViewBox()
        self._box.disableAutoRange()  # axes are set here; a Stroke is as large as its view, which would grow with it
        self._box.setLimits(minXRange=1e-6, minYRange=1e-9)
        self._box.sigRangeChangedManually.connect(self._on_zoom)
        self._hairs = (pg.InfiniteLine(angle=90), pg.InfiniteLine(angle=0))
        for hair in self._hairs:
            hair.hide()
            hair.setZValue(50)
            self._graph.addItem(hair, ignoreBounds=True)
        self._drawn_lines: list[pg.InfiniteLine] = []
        self._message = QLabel(self._graph)
        self._message.setProperty("dim", True)
        self._message.setWordWrap(True)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._readout = QLabel(self._graph)
        self._readout.setTextFormat(Qt.TextFormat.RichText)
        self._readout.setObjectName("readout")
        for label in (self._message, self._readout):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.hide()
        self._thaw = QToolButton(self._graph)
        self._thaw.setProperty("frozen", True)
        self._thaw.setToolTip("The plot stands still while the run goes on; press to let it follow again")
        self._thaw.setAccessibleName("Let the plot follow again")
        self._thaw.clicked.connect(lambda: self.freeze(on=False))
        self._follow = FlatButton("follow", "Show everything again, and follow the run (double click, or A)")
        self._follow.clicked.connect(self.show_everything)
        self._more = FlatButton("more", "What can be done with this plot (right button)")
        self._more.clicked.connect(lambda: self.menu().exec(self._more.mapToGlobal(QPoint(0, self._more.height()))))
        for button in (self._thaw, self._follow, self._more):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._thaw.hide()
        self._follow.hide()
        self.head = QHBoxLayout()
        self.head.setSpacing(3)
        self.head.addWidget(self._legend, 1)
        for button in (self._follow, self._more):
            self.head.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self.head)
        column.addWidget(self._graph, 1)
        self._fit_font()

    # --- what subclasses say ---

    def curves(self) -> Mapping[str, Curve]:
        """All that can be read off and saved, in full, by the names of the legend."""
        raise NotImplementedError

    def _pen(self, name: str) -> Pen:
        """How a curve is drawn."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Draw what is held, within the present view or with axes that show everything."""
        raise NotImplementedError

    def _write_legend(self) -> None:
        raise NotImplementedError

    def _add_to(self, menu: QMenu) -> None:
        """Add further entries to the menu."""

    # --- shown ---

    @property
    def title(self) -> str:
        """The vertical axis without its unit."""
        return self._labels[1].removesuffix(f" ({unit_of(self._labels[1])})")

    @property
    def message(self) -> str:
        """What is written over the curves."""
        return self._message.text() if self._message.isVisibleTo(self) else ""

    def say(self, message: str) -> None:
        """Write something over the curves."""
        self._message.setVisible(bool(message))
        self._message.setText(message)
        self._place_message()

    @property
    def reading(self) -> str:
        """What the cross-hair reads off, as rich text; empty where it is not shown."""
        return self._readout.text() if self._readout.isVisibleTo(self) else ""

    def show_everything(self) -> None:
        """Undo zooming and panning."""
        self._following = True
        self._follow.hide()
        self._draw()

    @property
    def following(self) -> bool:
        """Whether everything is in view."""
        return self._following

    @property
    def frozen(self) -> bool:
        """Whether the plot stands still."""
        return self._frozen

    def freeze(self, *, on: bool) -> None:
        """Let the plot stand while the run goes on, or show what came meanwhile."""
        if on == self._frozen:
            return
        self._frozen = on
        ends = [float(curve.x[-1]) for curve in self.curves().values() if len(curve.x)]
        over_time = unit_of(self._labels[0]) == "ps" and self._labels[0].startswith("Time")
        self._thaw.setText(f"Frozen at {number(max(ends))} ps" if over_time and ends else "Frozen")
        self._thaw.adjustSize()
        self._thaw.setVisible(on)
        self._place_message()
        self._graph.frame = QColor(self._colours.warning) if on else None
        self._graph.viewport().update()
        if not on and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting()

    def _holds(self, show: Callable[[], None]) -> bool:
        """Whether the plot stands still; then `show` is for later."""
        if self._frozen:
            self._waiting = show
        return self._frozen

    # --- lines of the user ---

    @property
    def lines(self) -> tuple[float, ...]:
        """Values of the lines that the user has drawn across this quantity."""
        return tuple(self._lines_at.get(self._labels[1], ()))

    def set_lines(self, values: tuple[float, ...]) -> None:
        """Draw horizontal lines at these values and at no others."""
        self._lines_at[self._labels[1]] = sorted(set(values))[:MOST_LINES]
        self._draw_lines()
        self._draw()

    def ask_line(self) -> None:
        """Ask for the value of a new line."""
        bottom, top = self._box.viewRange()[1]
        dialog = LineDialog(self.window(), self.title, unit_of(self._labels[1]), float(f"{0.5 * (bottom + top):.3g}"))
        dialog.accepted.connect(lambda: self.set_lines((*self.lines, dialog.value)))
        dialog.open()

    def _draw_lines(self) -> None:
        for line in self._drawn_lines:
            self._graph.removeItem(line)
        unit = unit_of(self._labels[1])
        ink = QColor(self._colours.warning)
        self._drawn_lines = []
        for value in self.lines:
            line = pg.InfiniteLine(
                value, 0, pg.mkPen(ink, width=1, style=Qt.PenStyle.DashDotLine),
                label=f"{number(value)} {unit}".strip(),
                labelOpts={"position": 0.98, "color": ink, "anchors": [(1, 1)] * 2},
            )  # fmt: skip
            line.label.setFont(self._small())
            line.setZValue(40)
            self._graph.addItem(line, ignoreBounds=True)
            self._drawn_lines.append(line)

    # --- the menu, and what is saved ---

    def menu(self) -> QMenu:
        """What can be done with this plot."""
        menu = StayingMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        some = bool(self.curves())
        menu.addAction("Show everything\tA", self.show_everything).setEnabled(not self._following)
        freeze = menu.addAction("Freeze")
        freeze.setCheckable(True)
        freeze.setChecked(self._frozen)
        freeze.setEnabled(some or self._frozen)
        freeze.triggered.connect(lambda on: self.freeze(on=on))
        self._add_to(menu)
        menu.addSeparator()
        unit = unit_of(self._labels[1])
        menu.addAction("Add a line…", self.ask_line).setEnabled(some and len(self.lines) < MOST_LINES)
        for value in self.lines:
            rest = tuple(other for other in self.lines if other != value)
            menu.addAction(f"Remove the line at {number(value)} {unit}".rstrip(), partial(self.set_lines, rest))
        menu.addSeparator()
        menu.addAction("Save as a table…", self.ask_table).setEnabled(some)
        menu.addAction("Save as a picture…", self.ask_picture).setEnabled(some)
        return menu

    def ask_table(self) -> None:
        """Ask where to save the curves."""
        held = dict(self.curves())
        x, y = self._labels
        self.export_asked.emit(
            Export(f"Save {self.title} as a table", "csv", TABLES, lambda path: write_curves(path, x, y, held))
        )

    def ask_picture(self) -> None:
        """Ask where to save a picture; it shows the plot as it is when this is called."""
        image, drawing = self.picture(), self.drawing()

        def write(path: Path) -> None:
            if path.suffix.lower() == ".svg":
                with whole_file(path) as unfinished:
                    unfinished.write_bytes(drawing)
            else:
                save_image(image, path)

        self.export_asked.emit(Export(f"Save {self.title} as a picture", "png", DRAWINGS, write))

    def picture(self) -> QImage:
        """The plot with its legend, as sharp as print needs it."""
        size = self._whole_size()
        image = QImage(size * PICTURE_SCALE, QImage.Format.Format_RGB32)
        image.fill(QColor(self._colours.panel))
        painter = QPainter(image)
        painter.scale(PICTURE_SCALE, PICTURE_SCALE)
        self._paint(painter)
        painter.end()
        return image

    def drawing(self) -> bytes:
        """The plot with its legend as SVG."""
        size, store = self._whole_size(), QByteArray()
        buffer = QBuffer(store)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setSize(size)
        generator.setResolution(self._graph.logicalDpiX())
        generator.setViewBox(QRectF(0, 0, size.width(), size.height()))
        generator.setTitle(f"{self.title} (mldsim)")
        painter = QPainter(generator)
        painter.fillRect(QRectF(0, 0, size.width(), size.height()), QColor(self._colours.panel))
        self._paint(painter)
        painter.end()
        buffer.close()
        return bytes(store.data())

    def _whole_size(self) -> QSize:
        width, height = self._graph.width(), self._graph.height()
        return QSize(width + 2 * _MARGIN, height + self._legend_height() + 2 * _MARGIN)

    def _legend_height(self) -> int:
        return round(self._legend_text().size().height())

    def _legend_text(self) -> QTextDocument:
        text = QTextDocument()
        text.setDocumentMargin(0)
        text.setDefaultFont(self._small())
        text.setHtml(self._legend.text())
        text.setTextWidth(max(self._graph.width() - self.head.contentsMargins().left(), 60))
        return text

    def _paint(self, painter: QPainter) -> None:
        self._point_at(None)
        frame, self._graph.frame = self._graph.frame, None
        painter.save()
        painter.translate(_MARGIN + self.head.contentsMargins().left(), _MARGIN)
        self._legend_text().drawContents(painter)
        painter.restore()
        place = self._graph.rect().translated(_MARGIN, _MARGIN + self._legend_height())
        self._graph.render(painter, QRectF(place), self._graph.rect())
        self._graph.frame = frame

    # --- looks ---

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self._graph.setBackground(colours.panel)
        for hair in self._hairs:
            hair.setPen(pg.mkPen(QColor(colours.dim), width=1))
        for button in (self._follow, self._more):
            button.colour(colours)
        if self._graph.frame is not None:
            self._graph.frame = QColor(colours.warning)
        self._write_labels()
        self._draw_lines()
        self._write_legend()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._place_message()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self._small().pointSizeF() != self._legend.font().pointSizeF():
            self._fit_font()

    def _small(self) -> QFont:
        return theme.small_font(self.font())

    def _fit_font(self) -> None:
        """Sizes that follow from that of the text."""
        small = self._small()
        self._legend.setFont(small)
        self._readout.setFont(small)
        height = self._legend.fontMetrics().height()
        item = self._graph.getPlotItem()
        item.layout.setContentsMargins(0, height // 2, 8, 0)
        for side in ("left", "bottom"):
            item.getAxis(side).setStyle(tickFont=small, tickLength=-4, tickTextOffset=4, autoExpandTextSpace=False)
        item.getAxis("left").setWidth(round(4.0 * height))
        item.getAxis("bottom").setHeight(round(2.8 * height))
        self.head.setContentsMargins(round(4.0 * height), 0, 4, 0)
        self._write_labels()
        self._draw_lines()

    def _set_labels(self, x_label: str, y_label: str) -> bool:
        """Name the axes; True where they had other names."""
        if self._labels == (x_label, y_label):
            return False
        self._labels = (x_label, y_label)
        self._following = True
        self._follow.hide()
        self._write_labels()
        self._draw_lines()
        return True

    def _set_ranges(self, x: Range, y: Range) -> None:
        """Let both axes go from a lower to a higher value."""
        self._box.setRange(xRange=x, yRange=y, padding=0)
        self._box.updateMatrix()  # now: the next painting would find it out, and ask for another one

    def _write_labels(self) -> None:
        for side, text in zip(("bottom", "left"), self._labels, strict=True):
            axis = self._graph.getPlotItem().getAxis(side)
            axis.setPen(QColor(self._colours.border))
            axis.setTextPen(QColor(self._colours.dim))
            axis.setLabel(text, color=self._colours.dim, **{"font-size": f"{self._small().pointSizeF():g}pt"})

    def _legend_entry(self, name: str, note: str = "") -> str:
        """A curve in the legend, in one piece: a line may break only between two of them."""
        look, c = self._pen(name), self._colours
        mark = "╌╌" if look.dashed else "▒▒" if not look.opacity else "━━" if look.width > 1.6 else "──"
        note = f"&nbsp;<span style='color:{c.dim}'>{_whole(note)}</span>" if note else ""
        return (
            f"<span style='color:{getattr(c, look.colour)}'>{mark}</span>&nbsp;"
            f"<span style='color:{c.text}'>{_whole(name)}</span>{note}"
        )

    def _place_message(self) -> None:
        if self._message.isVisibleTo(self):
            width, height = self._graph.width(), self._graph.height()
            self._message.setGeometry(60, 4, max(width - 76, 40), max(height - 44, 20))
        if self._frozen:
            area = self._box.sceneBoundingRect()
            self._thaw.move(round(area.right()) - self._thaw.width() - 3, round(area.top()) + 3)

    # --- the pointer ---

    def _on_zoom(self, *_: object) -> None:
        self._following = False
        self._follow.show()
        self._draw()

    def _on_pointer(self, place: QPointF) -> None:
        if not self.curves() or not self._box.sceneBoundingRect().contains(place):
            self._point_at(None)
            return
        at = self._box.mapSceneToView(place)
        self._point_at(float(at.x()), float(at.y()))

    def _step_pointer(self, direction: int) -> None:
        low, high = self._box.viewRange()[0]
        at = 0.5 * (low + high) if self._pointer is None else self._pointer + 0.01 * direction * (high - low)
        self._point_at(min(max(at, low), high))

    def _point_at(self, x: float | None, y: float | None = None) -> None:
        """Read the curves off at x; a pointer has a height too."""
        self._pointer = x
        for hair, at in zip(self._hairs, (x, y), strict=True):
            hair.setVisible(at is not None)
            if at is not None:
                hair.setValue(at)
        if x is None:
            self._readout.hide()
            return
        self._readout.setText(self._read_off(x, y))
        self._readout.adjustSize()
        low, high = self._box.viewRange()[0]
        area = self._box.sceneBoundingRect()
        right = area.right() - self._readout.width() - 4
        top = round(area.top()) + 2 + (self._thaw.height() + 3 if self._frozen else 0)
        self._readout.move(round(area.left() + 4 if x > 0.5 * (low + high) else max(right, 0.0)), top)
        self._readout.show()

    def _read_off(self, x: float, y: float | None) -> str:
        x_unit, y_unit = (unit_of(label) for label in self._labels)
        height = "" if y is None else f", {number(y)} {y_unit}"
        rows = [f"<b>{number(x)} {x_unit}</b><span style='color:{self._colours.dim}'>{height}</span>"]
        for name, curve in self.curves().items():
            look = self._pen(name)
            if not look.opacity or not len(curve.x) or not curve.x[0] <= x <= curve.x[-1]:
                continue
            value, error = float(np.interp(x, curve.x, curve.y)), float(np.interp(x, curve.x, curve.error))
            spread = f" ± {number(error)}" if np.isfinite(error) else ""
            rows.append(
                f"<span style='color:{getattr(self._colours, look.colour)}'>━</span> {html.escape(name)} "
                f"<b>{number(value)}</b>{spread} {y_unit}"
            )
        return f"<span style='white-space:pre'>{'<br>'.join(rows)}</span>"


_MARGIN = 8
"""Around a saved plot, pixels."""


def _whole(text: str) -> str:
    joined = text.replace("/", "\N{WORD JOINER}/\N{WORD JOINER}").replace("-", "\N{NON-BREAKING HYPHEN}")
    return html.escape(joined).replace(" ", "&nbsp;")


def checked_action(menu: QMenu, text: str, checked: bool, chosen: Callable[[], object]) -> QAction:
    """An entry that is ticked or not."""
    action = menu.addAction(text)
    action.setCheckable(True)
    action.setChecked(checked)
    action.triggered.connect(lambda _=False: chosen())
    return action
