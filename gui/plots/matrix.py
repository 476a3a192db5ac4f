"""A symmetric matrix as a heat map, with blocks that are named."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QMenu, QSizePolicy, QToolTip, QWidget

from mldsim.gui import theme
from mldsim.gui.dialogs.save import PICTURES
from mldsim.gui.exports import TABLES, Export, save_image
from mldsim.gui.plots.plot import PICTURE_SCALE
from mldsim.tables import write_matrix

Array = NDArray[np.float64]

_ENDS = ("#2f6fd6", "#e07b1f")
"""Blue for negative, orange for positive: apart in every kind of colour vision, and in both themes."""

MARGIN, BAR = 20, 9


class MatrixMap(QWidget):
    """Entries as colours: blue below zero, orange above, by their root so that small ones are seen too.

    Pointing at an entry reads it off; the menu of the right button saves the entries as a table, the map as a
    picture.

    Signals
    -------
    export_asked(Export) : something is to be saved
    """

    export_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(110, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self._values = np.zeros((0, 0))
        self._title, self._unit = "", ""
        self._blocks: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self._image = QImage()
        self._colours = theme.COLOURS[theme.Theme.DARK]

    def show_matrix(
        self, title: str, unit: str, values: Array, blocks: tuple[str, ...], names: tuple[str, ...]
    ) -> None:
        """Show another matrix.

        Parameters
        ----------
        title, unit : str
        values : (n, n) float64
        blocks : tuple of str
            Names of equal parts of an axis.
        names : tuple of str
            Name of each row, for the reading.
        """
        self._title, self._unit, self._values, self._blocks, self._names = title, unit, values, blocks, names
        self._draw_image()
        self.update()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self._colours = colours
        self._draw_image()
        self.update()

    def reading(self, row: int, column: int) -> str:
        """An entry in words."""
        return f"{self._names[row]} with {self._names[column]}: {self._values[row, column]:.3g} {self._unit}"

    @property
    def largest(self) -> float:
        """Of the absolute values."""
        return float(np.abs(self._values).max(initial=0.0))

    def menu(self) -> QMenu:
        """What can be done with the map."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        some = not self._image.isNull()
        menu.addAction("Save as a table…", self.ask_table).setEnabled(some)
        menu.addAction("Save as a picture…", self.ask_picture).setEnabled(some)
        return menu

    def ask_table(self) -> None:
        """Ask where to save the entries."""
        names, values, unit = self._names, self._values, self._unit
        title = f"Save W, {self._title}, as a table"
        self.export_asked.emit(Export(title, "csv", TABLES, lambda path: write_matrix(path, unit, names, values)))

    def ask_picture(self) -> None:
        """Ask where to save a picture; it shows the map as it is when this is called."""
        image = QImage(self.size() * PICTURE_SCALE, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(PICTURE_SCALE)
        self.render(image)
        image.setDevicePixelRatio(1.0)
        title = f"Save W, {self._title}, as a picture"
        self.export_asked.emit(Export(title, "png", PICTURES, lambda path: save_image(image, path)))

    # --- Qt ---

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        self.menu().exec(event.globalPos())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self._colours.panel))
        painter.setFont(theme.small_font(self.font()))
        painter.setPen(QColor(self._colours.text))
        square = self._square()
        painter.drawText(
            QRectF(square.left(), 0, self.width() - square.left(), MARGIN), Qt.AlignmentFlag.AlignVCenter, self._title
        )
        if self._image.isNull():
            painter.end()
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=False)
        painter.drawImage(square, self._image)
        painter.setPen(QPen(QColor(self._colours.border), 1))
        painter.drawRect(square)
        size = square.width() / len(self._blocks)
        for i, name in enumerate(self._blocks):
            at = square.left() + i * size
            if i:
                painter.setPen(QPen(QColor(self._colours.dim), 1))
                painter.drawLine(QPointF(at, square.top()), QPointF(at, square.bottom()))
                across = square.top() + i * size
                painter.drawLine(QPointF(square.left(), across), QPointF(square.right(), across))
            painter.setPen(QColor(self._colours.dim))
            painter.drawText(QRectF(at, square.bottom(), size, MARGIN), Qt.AlignmentFlag.AlignCenter, name)
            painter.drawText(
                QRectF(square.left() - MARGIN, square.top() + i * size, MARGIN - 4, size),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight,
                name,
            )
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        square, place = self._square(), event.position()
        if self._image.isNull() or not square.contains(place):
            QToolTip.hideText()
            return
        n = len(self._values)
        column = min(int(n * (place.x() - square.left()) / square.width()), n - 1)
        row = min(int(n * (place.y() - square.top()) / square.height()), n - 1)
        QToolTip.showText(event.globalPosition().toPoint(), self.reading(row, column), self)

    # --- inside ---

    def _square(self) -> QRectF:
        size = max(min(self.width() - MARGIN - 6, self.height() - 2 * MARGIN), 10)
        return QRectF(MARGIN, MARGIN, size, size)

    def _draw_image(self) -> None:
        n, largest = len(self._values), self.largest
        if not n or largest == 0.0:
            self._image = QImage()
            return
        ground, *ends = (
            np.array([colour.red(), colour.green(), colour.blue()], np.float64)
            for colour in map(QColor, (self._colours.field, *_ENDS))
        )
        strength = np.sqrt(np.abs(self._values) / largest)[..., None]
        towards = np.where(self._values[..., None] < 0.0, ends[0], ends[1])
        pixels = np.ascontiguousarray(np.round(ground + strength * (towards - ground)).astype(np.uint8))
        self._image = QImage(pixels.data, n, n, 3 * n, QImage.Format.Format_RGB888).copy()
