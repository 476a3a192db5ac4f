"""The 3-D view as the rest of the application sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from mldsim.errors import InputError, WorkFailed
from mldsim.frames import Frame, Topology
from mldsim.gui.theme import Theme
from mldsim.gui.viewport.camera import Axis, Camera
from mldsim.gui.viewport.colours import (
    BOND_RADIUS,
    VIEW_COLOURS,
    Colouring,
    LossRange,
    Style,
    element_colour,
    sphere_radius,
)
from mldsim.gui.viewport.molecules import Molecules
from mldsim.gui.viewport.opengl import unusable_reason
from mldsim.gui.viewport.overlay import ElementLegend, Legend, LossLegend, Overlay, loss_labels
from mldsim.gui.viewport.picking import first_hit

if TYPE_CHECKING:
    from mldsim.gui.viewport.canvas import Canvas, Scene

_LARGEST_PICTURE = 8192
_ORBIT = 0.4
_CLICK = 4.0
"""Degrees that the scene turns per pixel of a drag; pixels up to which a press is a click and not a drag."""


class Viewport(QObject):
    """Molecules in their periodic box, seen by a camera that the mouse moves.

    Left drag orbits, the wheel zooms, middle drag or Shift and left drag pans. Nothing is drawn unless something
    changed. Where OpenGL cannot be used the widget says so in a sentence, and every method but `picture` still works.

    Attributes
    ----------
    widget : QWidget
        To be put into a window, and left there: an OpenGL context does not survive a move to another window.
    camera : Camera
    clicked : Signal
        A left click without a drag: the agent under the mouse as from `pick`, or None.
    """

    clicked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.widget = QWidget(parent)
        self.camera = Camera()
        self._theme = Theme.DARK
        self._colouring = Colouring.ELEMENT
        self._style = Style.BALL_AND_STICK
        self._show_box = True
        self._show_bonds = True
        self._message: str | None = None
        self._topology: Topology | None = None
        self._molecules: Molecules | None = None
        self._losses: LossRange | None = None
        self._box = 2.0 * self.camera.half
        self._frame: Frame | None = None
        self._radii = np.empty(0, np.float32)
        self._legend: Legend | None = None
        self._layout = QGridLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._surface = _Surface(self)
        self._canvas: Canvas | None = None
        reason = unusable_reason()
        if reason is None:
            try:
                from mldsim.gui.viewport.canvas import Canvas

                self._canvas = Canvas(self.widget, self._scene, self._lose_canvas)
            except (ImportError, OSError, RuntimeError) as error:
                reason = f"The 3-D view could not be started ({error}); everything else works."
        if self._canvas is not None:
            self._layout.addWidget(self._canvas.native, 0, 0)
            self._layout.addWidget(self._surface, 0, 0)
            self._canvas.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self._surface.raise_()
            self.widget.setFocusProxy(self._surface)
        else:
            self._say(reason or "")

    @property
    def usable(self) -> bool:
        """Whether there is a picture, and not a sentence that says why not."""
        return self._canvas is not None

    @property
    def frames_drawn(self) -> int:
        """How many pictures were drawn since the start, for a rate of frames."""
        return self._canvas.frames_drawn if self._canvas is not None else 0

    def set_topology(self, topology: Topology, box: NDArray[np.float64]) -> None:
        """Take the agents and the box of a new simulation; they appear with the first frame.

        The camera stays where it is if the box keeps its size, else the box is framed anew.

        Parameters
        ----------
        topology : Topology
        box : (3,) float64, angstrom
        """
        self._topology = topology
        self._molecules = Molecules.of(topology)
        fixed = self._losses.fixed if self._losses is not None else None
        self._losses = LossRange(topology.species, len(topology.symbols), fixed)
        self._frame = None
        same = np.allclose(box, self._box, rtol=1e-6)
        self._set_box(np.array(box, dtype=np.float64))
        if not same:
            self.camera.reset()
        if self._canvas is not None:
            self._build_agents()
            self._canvas.forget_positions()
        self._refresh()

    def set_frame(self, frame: Frame) -> None:
        """Show a frame: one pass over the positions and one upload of 16 bytes per agent.

        A frame whose number of agents is not the topology's is left out: it was on its way when the simulation was
        started anew.
        """
        if self._topology is None or len(frame.positions) != self._topology.n_agents:
            return
        self._frame = frame
        if not np.array_equal(frame.box, self._box):
            self._set_box(frame.box)
        self._show(frame)

    def set_colouring(self, colouring: Colouring) -> None:
        """Colour agents by element or by loss."""
        self._colouring = colouring
        self._reshow()

    def set_loss_range(self, limits: tuple[float, float] | None) -> None:
        """Fix the ends of the colour scale, eV, for all species; None follows the losses of each species.

        Raises
        ------
        InputError
            If the ends are no numbers or not in order.
        """
        if limits is not None and not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise InputError(
                f"The colour scale must go from a lower to a higher loss, not {limits[0]} to {limits[1]} eV."
            )
        if self._losses is not None:
            self._losses.fixed = limits
            self._losses.forget()
        self._reshow()

    def set_style(self, style: Style) -> None:
        """Draw balls and sticks, spheres that fill space, or sticks."""
        self._style = style
        if self._canvas is not None and self._topology is not None:
            self._build_agents()
        self._refresh()

    def show_box(self, shown: bool) -> None:
        """Show or hide the edges of the box."""
        self._show_box = shown
        self._refresh()

    def show_bonds(self, shown: bool) -> None:
        """Show or hide the bonds."""
        self._show_bonds = shown
        self._refresh()

    def set_theme(self, theme: Theme) -> None:
        """Dark or light ground."""
        self._theme = theme
        self._refresh()

    def message(self, text: str | None) -> None:
        """Write a sentence over the picture, such as what is being waited for; None takes it away."""
        if text != self._message:
            self._message = text
            self._surface.update()

    def reset_view(self) -> None:
        """Show the whole box, from where the view began."""
        self.camera.reset()
        self._refresh()

    def axis_view(self, axis: Axis | str) -> None:
        """Look along an axis of the box: ``x``, ``y`` or ``z``."""
        self.camera.look_along(Axis(axis))
        self._refresh()

    def set_orthographic(self, orthographic: bool) -> None:
        """Parallel lines of sight, or perspective."""
        self.camera.orthographic = orthographic
        self._refresh()

    def orbit(self, right: float, down: float) -> None:
        """Turn the scene as a drag of so many pixels does."""
        self.camera.orbit(_ORBIT * right, -_ORBIT * down)
        self._refresh()

    def pan(self, right: float, down: float) -> None:
        """Move the scene as a drag of so many pixels does."""
        width, height = self._size()
        self.camera.pan(right, -down, height, width / height)
        self._refresh()

    def zoom(self, factor: float) -> None:
        """Magnify the scene, within a sensible range."""
        width, height = self._size()
        self.camera.zoom(factor, width / height)
        self._refresh()

    def pick(self, x: float, y: float) -> int | None:
        """Index of the agent under a point of the widget (pixels from its upper left corner), or None."""
        if self._canvas is None or self._frame is None:
            return None
        origin, direction = self.camera.ray(x, y, *self._size())
        return first_hit(origin, direction, self._canvas.positions, self._radii)

    def project(self) -> NDArray[np.float64]:
        """Where each agent appears in the widget, (n_agents, 2) float64 pixels from its upper left corner."""
        if self._canvas is None or self._frame is None:
            return np.empty((0, 2))
        return self.camera.project(self._canvas.positions.astype(np.float64), *self._size())

    def picture(self, width: int, height: int, *, transparent: bool = False) -> QImage:
        """The view with its legend, drawn anew at a size of its own.

        Parameters
        ----------
        width, height : int
            Pixels.
        transparent : bool
            Leave out the ground, so that the picture goes onto any page.

        Raises
        ------
        InputError
            If the size is not between 16 and 8192 pixels a side.
        WorkFailed
            If there is no OpenGL to draw it with.
        """
        if not (16 <= width <= _LARGEST_PICTURE and 16 <= height <= _LARGEST_PICTURE):
            raise InputError(
                f"A picture has 16 to {_LARGEST_PICTURE} pixels a side; {width} x {height} were asked for."
            )
        if self._canvas is None:
            raise WorkFailed("The picture could not be drawn, because the 3-D view has no OpenGL here.")
        # As large, seen as a whole, as in the window: text and lines grow with the picture.
        scale = max(0.5, min(width, height) / max(min(self._size()), 240.0))
        pixels = self._canvas.picture(width, height, scale, transparent=transparent)
        image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888_Premultiplied).copy()
        painter = QPainter(image)
        self._overlay(message=None).paint(painter, width, height, scale)
        painter.end()
        if transparent:
            return image
        return image.convertToFormat(QImage.Format.Format_RGB888)

    def _size(self) -> tuple[float, float]:
        size = self._canvas.native.size() if self._canvas is not None else self.widget.size()
        return max(size.width(), 1), max(size.height(), 1)

    def _set_box(self, box: NDArray[np.float64]) -> None:
        self._box = box
        self.camera.half = 0.5 * box
        if self._canvas is not None:
            self._canvas.set_box(0.5 * box)

    def _build_agents(self) -> None:
        assert self._canvas is not None
        assert self._topology is not None
        topology = self._topology
        by_species = [sphere_radius(symbol, self._style) for symbol in topology.symbols]
        self._radii = np.array(by_species, dtype=np.float32)[topology.species]
        colours = np.array([element_colour(symbol) for symbol in topology.symbols], dtype=np.float32)
        self._canvas.set_agents(
            topology.n_agents, self._radii, colours[topology.species], topology.bonds, BOND_RADIUS[self._style]
        )

    def _reshow(self) -> None:
        """Show the last frame again, after something changed what it looks like."""
        if self._frame is not None:
            self._show(self._frame)
        self._refresh()

    def _show(self, frame: Frame) -> None:
        if self._canvas is None or self._molecules is None or self._losses is None:
            return
        self._molecules.into_box(frame.positions, frame.box, out=self._canvas.positions)
        if self._colouring is Colouring.LOSS:
            self._canvas.on_scale[:] = self._losses.normalised(frame.losses)
            if self._legend != self._make_legend():
                self._surface.update()
        self._canvas.upload()

    def _refresh(self) -> None:
        if self._canvas is not None:
            self._canvas.update()
            self._surface.update()

    def _make_legend(self) -> Legend | None:
        if self._topology is None or self._losses is None:
            return None
        symbols = self._topology.symbols
        if self._colouring is Colouring.ELEMENT:
            return ElementLegend(tuple((symbol, element_colour(symbol)) for symbol in symbols))
        ends = zip(symbols, self._losses.low.tolist(), self._losses.high.tolist(), strict=True)
        rows = tuple((symbol, *loss_labels(low, high)) for symbol, low, high in ends if np.isfinite(low))
        if self._losses.fixed is not None:
            rows = (("", *loss_labels(*self._losses.fixed)),)
        return LossLegend(rows)

    def _overlay(self, message: str | None) -> Overlay:
        self._legend = self._make_legend()
        return Overlay(VIEW_COLOURS[self._theme], self._legend, self.camera.rotation().T, message)

    def _scene(self, width: float, height: float) -> Scene:
        from mldsim.gui.viewport.canvas import Scene

        return Scene(
            sight=self.camera.sight(width, height),
            colours=VIEW_COLOURS[self._theme],
            by_loss=self._colouring is Colouring.LOSS,
            box=self._show_box and self._topology is not None,
            bonds=self._show_bonds,
        )

    def _lose_canvas(self, reason: str) -> None:
        # Called while the canvas draws: it is taken away when it has finished.
        QTimer.singleShot(0, self, lambda: self._replace_canvas(reason))

    def _replace_canvas(self, reason: str) -> None:
        if self._canvas is not None:
            canvas, self._canvas = self._canvas, None
            self._surface.hide()
            canvas.native.hide()
            self._say(f"The graphics driver cannot draw the 3-D view ({reason}); everything else works.")

    def _say(self, sentence: str) -> None:
        self._surface.hide()
        label = QLabel(sentence, self.widget)
        label.setWordWrap(True)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        label.setMargin(48)
        self._layout.addWidget(label, 0, 0)


class _Surface(QWidget):
    """Lies over the canvas: paints the legend and takes the mouse."""

    def __init__(self, viewport: Viewport) -> None:
        super().__init__(viewport.widget)
        self._viewport = viewport
        self._last = QPointF()
        self._moved = 0.0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        # A style sheet of the window may give widgets a ground; this one has to stay clear.
        self.setStyleSheet("background: transparent;")

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        self._viewport._overlay(self._viewport._message).paint(painter, self.width(), self.height(), 1.0)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._last, self._moved = event.position(), 0.0

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        step = event.position() - self._last
        self._last = event.position()
        self._moved += abs(step.x()) + abs(step.y())
        buttons = event.buttons()
        shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if buttons & Qt.MouseButton.MiddleButton or (buttons & Qt.MouseButton.LeftButton and shifted):
            self._viewport.pan(step.x(), step.y())
        elif buttons & Qt.MouseButton.LeftButton:
            self._viewport.orbit(step.x(), step.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if event.button() is Qt.MouseButton.LeftButton and self._moved < _CLICK:
            self._viewport.clicked.emit(self._viewport.pick(event.position().x(), event.position().y()))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        self._viewport.zoom(1.0015 ** event.angleDelta().y())
