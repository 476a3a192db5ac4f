"""The 3-D view as the rest of the application sees it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from mldsim.errors import InputError, WorkFailed
from mldsim.frames import Frame, Topology
from mldsim.gui.theme import Theme
from mldsim.gui.viewport.camera import Axis, Camera, Gaze
from mldsim.gui.viewport.colours import BOND_RADIUS, RGB, VIEW_COLOURS, Style, element_colour, sphere_radius
from mldsim.gui.viewport.hydrogen_bonds import BondCount
from mldsim.gui.viewport.marks import NEAREST, Marks, Picked, Place, marks_of
from mldsim.gui.viewport.molecules import Molecules
from mldsim.gui.viewport.opengl import unusable_reason
from mldsim.gui.viewport.overlay import LEGEND_AREA, KindLegend, Legend, Overlay, ScaleLegend, axes_area
from mldsim.gui.viewport.picking import first_hit
from mldsim.gui.viewport.quantities import MOST_BONDS, QUANTITIES, Colouring
from mldsim.gui.viewport.scales import Scale, ScaleRange, apart_colours, scale_labels, step_table

if TYPE_CHECKING:
    from mldsim.gui.picked import Reading
    from mldsim.gui.viewport.canvas import Canvas, Scene

_LARGEST_PICTURE = 8192
_ORBIT = 0.4
_CLICK = 4.0
"""Degrees that the scene turns per pixel of a drag; pixels up to which a press is a click and not a drag."""

_NEIGHBOURHOOD = 4.5
"""angstrom; what is seen around an agent that is focused on."""


class Viewport(QObject):
    """Molecules in their periodic box, seen by a camera that the mouse moves.

    Left drag orbits, the wheel zooms, middle drag or Shift and left drag pans. Nothing is drawn unless something
    changed. Where OpenGL cannot be used the widget says so in a sentence, and every method but `picture` still works.

    Attributes
    ----------
    widget : QWidget
        To be put into a window, and left there: an OpenGL context does not survive a move to another window.
    camera : Camera
    clicked, added : Signal
        A left click without a drag, and one with Shift: the agent under the mouse as from `pick`, or None.
    pulled : Signal
        A left drag with Ctrl that began on an agent: the agent, and where the centre of mass of its molecule is
        drawn to, (3,) angstrom, unwrapped as the positions of frames are.
    released : Signal
        The end of such a drag.
    """

    clicked = Signal(object)
    added = Signal(object)
    pulled = Signal(int, object)
    released = Signal()

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
        self._present: list[int] = []
        self._molecules: Molecules | None = None
        self._scales = {colouring: Scale() for colouring in Colouring}
        self._range: ScaleRange | None = None
        self._bond_count: BondCount | None = None
        self._images = (1, 1, 1)
        self._fog = True
        self._show_axes = True
        self._show_hydrogen_bonds = False
        self._picked: tuple[int, ...] = ()
        self._figure: Reading | None = None
        self._read: tuple[str, str] | None = None  # what stands at the arrow and at the figure
        self._followed: int | None = None
        self._springs_shown = False
        self._marks_shown: Marks | None = None
        self._marks_bounds = QRectF()
        self._resting = False
        self._box = 2.0 * self.camera.half
        self._edges: list[float] = self._box.tolist()
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
        self._present = np.unique(topology.species).tolist()
        self._molecules = Molecules.of(topology)
        if self._bond_count is not None:
            self._bond_count.forget()
        self._bond_count = BondCount(topology, self._molecules, self._show_new_bonds, self)
        self._frame = None
        self._picked, self._figure, self._read, self._followed = (), None, None, None
        self._begin_scale()
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
        if frame.box.tolist() != self._edges:
            self._set_box(frame.box)
        if not self._resting:
            self._show(frame)

    def rest(self, resting: bool) -> None:
        """Leave out what nobody can see; the newest frame is shown when that is over."""
        if resting != self._resting:
            self._resting = resting
            if not resting:
                self._reshow()

    def set_colouring(self, colouring: Colouring) -> None:
        """Say what the colour of an agent tells."""
        if colouring is not self._colouring:
            self._colouring = colouring
            self._begin_scale()
            self._reshow()

    def scale(self, colouring: Colouring) -> Scale:
        """How the values of a quantity become colours."""
        return self._scales[colouring]

    def set_scale(self, colouring: Colouring, scale: Scale) -> None:
        """Say how the values of a quantity become colours.

        Raises
        ------
        InputError
            If the ends of a fixed range are no numbers or not in order.
        """
        limits = scale.fixed
        if limits is not None and not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise InputError(
                f"The colour scale must go from a lower to a higher value, not {limits[0]} to {limits[1]}."
            )
        self._scales[colouring] = scale
        if colouring is self._colouring:
            self._begin_scale()
            self._reshow()

    def shown_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that the scale shows now; None where no agent has a value or there is no scale."""
        if self._range is None or not np.isfinite(self._range.low).any():
            return None
        return float(np.nanmin(self._range.low)), float(np.nanmax(self._range.high))

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

    def show_axes(self, shown: bool) -> None:
        """Show or hide the directions of the axes."""
        self._show_axes = shown
        self._refresh()

    def show_hydrogen_bonds(self, shown: bool) -> None:
        """Show or hide hydrogen bonds, as dashed lines."""
        self._show_hydrogen_bonds = shown
        self._reshow()

    def set_fog(self, fog: bool) -> None:
        """Whether what is far is lost in the ground."""
        self._fog = fog
        self._refresh()

    def set_images(self, images: tuple[int, int, int]) -> None:
        """Draw the box so many times along x, y and z, itself in the middle, and frame all of it."""
        if images != self._images:
            self._images = images
            self.camera.half = 0.5 * self._box * images
            self.camera.reset()
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
        """Show the whole box, from where the view began; nothing is followed any more."""
        self._followed = None
        self.camera.reset()
        self._reshow()

    def mark(self, picked: tuple[int, ...], figure: Reading | None = None) -> None:
        """Mark picked agents, what they form, and the way downhill of the last one."""
        self._picked, self._figure, self._read = picked, figure, None
        self._refresh()

    def read_off(self) -> None:
        """Write its own numbers at the marks of the next frame; of others marks keep the numbers that they have."""
        self._read = None

    def pull_to(self, agent: int, x: float, y: float) -> None:
        """Draw the molecule of an agent to a point of the widget, in the plane of the view that the agent is in."""
        if self._canvas is None or self._frame is None:
            return
        shown = self._canvas.positions[agent].astype(np.float64)
        origin, direction = self.camera.ray(x, y, *self._size())
        facing = self.camera.rotation()[2]
        there = origin + direction * float((shown - origin) @ facing) / float(direction @ facing)
        self.pulled.emit(agent, self._centre(agent) + there - shown)

    def _centre(self, agent: int) -> NDArray[np.float64]:
        """The centre of mass of an agent's molecule, (3,) angstrom, unwrapped."""
        assert self._molecules is not None
        assert self._topology is not None
        assert self._frame is not None
        members = np.flatnonzero(self._molecules.molecule == self._molecules.molecule[agent])
        masses = self._topology.masses[members]
        return np.asarray(np.average(self._frame.positions[members], axis=0, weights=masses))

    def focus(self) -> None:
        """Bring what is picked to the middle of the view, and keep the molecule of the first there while it moves.

        Where nothing is picked, the whole box is shown and nothing is followed.
        """
        if self._canvas is None or not self._picked or self._frame is None or self._molecules is None:
            self.reset_view()
            return
        self._followed = int(self._molecules.molecule[self._picked[0]])
        self._show(self._frame)
        places = np.array(self._picked_now(self._frame).places())
        width, height = self._size()
        reach = _NEIGHBOURHOOD + 0.5 * float(np.ptp(places, axis=0).max())
        self.camera.focus(places.mean(axis=0), reach, width / height)
        self._refresh()

    def look_like(self, other: Viewport) -> None:
        """Draw agents as another view does: colours, style, theme, and what is shown around them."""
        if self._theme is not other._theme:
            self.set_theme(other._theme)
        if self._style is not other._style:
            self.set_style(other._style)
        self.set_colouring(other._colouring)
        if self._scales[self._colouring] != other._scales[self._colouring]:
            self.set_scale(self._colouring, other._scales[self._colouring])
        for name in ("_show_box", "_show_bonds", "_show_axes", "_show_hydrogen_bonds", "_fog"):
            if getattr(self, name) != getattr(other, name):
                setattr(self, name, getattr(other, name))
                self._refresh()
        if self.camera.orthographic != other.camera.orthographic:
            self.set_orthographic(other.camera.orthographic)

    def look_as(self, gaze: Gaze) -> None:
        """Look as the camera once did; nothing is followed any more."""
        self._followed = None
        width, height = self._size()
        self.camera.return_to(gaze, width / height)
        self._reshow()

    @property
    def images(self) -> tuple[int, int, int]:
        """How many boxes are drawn along x, y and z."""
        return self._images

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
        return first_hit(origin, direction, self._canvas.positions, self._radii, self._offsets())

    def project(self) -> NDArray[np.float64]:
        """Where each agent appears in the widget, (n_agents, 2) float64 pixels from its upper left corner."""
        if self._canvas is None or self._frame is None:
            return np.empty((0, 2))
        return self.camera.project(self._canvas.positions.astype(np.float64), *self._size())

    def picture(self, width: int, height: int, *, transparent: bool = False, smooth: bool = True) -> QImage:
        """The view with its legend, drawn anew at a size of its own.

        Parameters
        ----------
        width, height : int
            Pixels.
        transparent : bool
            Leave out the ground, so that the picture goes onto any page.
        smooth : bool
            Drawn larger and averaged, which takes four times as long; else as on the screen.

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
        if self._frame is not None and (self._resting or self._bonds_seen):
            if smooth and self._bonds_seen and self._bond_count is not None:
                self._bond_count.find(self._frame)
            self._show(self._frame)
        # As large, seen as a whole, as in the window: text and lines grow with the picture.
        scale = max(0.5, min(width, height) / max(min(self._size()), 240.0))
        pixels = self._canvas.picture(width, height, scale, transparent=transparent, smooth=smooth)
        image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888_Premultiplied).copy()
        painter = QPainter(image)
        self._overlay(None, width / scale, height / scale).paint(painter, width, height, scale)
        painter.end()
        if transparent:
            return image
        return image.convertToFormat(QImage.Format.Format_RGB888)

    def _size(self) -> tuple[float, float]:
        size = self._canvas.native.size() if self._canvas is not None else self.widget.size()
        return max(size.width(), 1), max(size.height(), 1)

    def _set_box(self, box: NDArray[np.float64]) -> None:
        self._box, self._edges = box, box.tolist()
        self.camera.half = 0.5 * box * self._images
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
        if self._canvas is None or self._molecules is None or self._bond_count is None:
            return
        self._molecules.into_box(frame.positions, frame.box, self._canvas.positions, self._followed)
        if self._range is not None:
            placed = self._range.normalised(QUANTITIES[self._colouring].values(frame))
            np.fmax(placed, -1.0, out=self._canvas.on_scale, casting="same_kind")  # -1 in the place of no number
            if self._range.moved and self._legend != self._make_legend():
                self._surface.update(LEGEND_AREA)
        elif self._colouring is Colouring.HYDROGEN_BONDS:
            counts = np.minimum(self._bond_count.of_molecules(frame), MOST_BONDS)
            self._canvas.on_scale[:] = np.nan_to_num((counts + 0.5) / (MOST_BONDS + 1), nan=-1.0)
        elif self._colouring is Colouring.MOLECULE:
            kinds = len(apart_colours())
            self._canvas.on_scale[:] = (self._molecules.molecule % kinds + 0.5) / kinds
        self._canvas.set_hydrogen_bonds(self._bond_count.pairs(frame) if self._show_hydrogen_bonds else None)
        if self._picked or frame.pull is not None or self._springs_shown:
            self._springs_shown = frame.pull is not None
            self._move_marks()
        self._canvas.upload()

    def _move_marks(self) -> None:
        """Paint anew where marks were and are."""
        before, bounds = self._marks_shown, self._marks_bounds
        if self._read is None:
            self._read = self._readings()
        self._marks_shown = self._marks(*self._size(), self._read)
        self._marks_bounds = self._marks_shown.bounds()
        if before is None:
            self._surface.update()
        else:
            self._surface.update((bounds | self._marks_bounds).toAlignedRect())

    def _show_new_bonds(self) -> None:
        """Hydrogen bonds that were found beside the window; nothing else has changed since the frame was shown."""
        if self._frame is None or self._resting:
            return
        if self._colouring is Colouring.HYDROGEN_BONDS:
            self._show(self._frame)
        elif self._show_hydrogen_bonds and self._canvas is not None and self._bond_count is not None:
            self._canvas.set_hydrogen_bonds(self._bond_count.pairs(self._frame))

    @property
    def _bonds_seen(self) -> bool:
        return self._show_hydrogen_bonds or self._colouring is Colouring.HYDROGEN_BONDS

    def _begin_scale(self) -> None:
        """Begin a range, and hand the colours of the scale to the graphics card."""
        if self._topology is None:
            return
        quantity, scale = QUANTITIES.get(self._colouring), self._scales[self._colouring]
        self._range = None
        if quantity is not None:
            apart = quantity.by_species
            group = self._topology.species if apart else np.zeros(self._topology.n_agents, np.int32)
            self._range = ScaleRange(group, len(self._topology.symbols) if apart else 1, scale.fixed)
        if self._canvas is not None:
            self._canvas.set_scale(self._table())

    def _table(self) -> NDArray[np.uint8]:
        if self._colouring is Colouring.MOLECULE:
            return step_table(apart_colours())
        if self._colouring is Colouring.HYDROGEN_BONDS:
            return step_table(self._bond_colours())
        return self._scales[self._colouring].colours()

    def _bond_colours(self) -> tuple[RGB, ...]:
        """Of 0, 1, ... hydrogen bonds."""
        colours = self._scales[Colouring.HYDROGEN_BONDS].colours(MOST_BONDS + 1) / 255.0
        return tuple((float(r), float(g), float(b)) for r, g, b in colours)

    def _offsets(self) -> NDArray[np.float64]:
        """Of all images that are drawn, (n_images, 3) angstrom; the box itself is the first."""
        steps = [np.arange(n) - (n - 1) // 2 for n in self._images]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
        return np.asarray(grid[np.argsort(np.abs(grid).sum(axis=1), kind="stable")] * self._box)

    def _refresh(self) -> None:
        self._marks_shown = None
        if self._canvas is not None:
            self._canvas.update()
            self._surface.update()

    def _make_legend(self) -> Legend | None:
        if self._topology is None:
            return None
        symbols = self._topology.symbols
        if self._range is None:
            match self._colouring:
                case Colouring.MOLECULE:
                    return KindLegend("One colour per molecule", ())
                case Colouring.HYDROGEN_BONDS:
                    labels = (*(str(n) for n in range(MOST_BONDS)), f"{MOST_BONDS} or more")
                    kinds = tuple(zip(labels, self._bond_colours(), strict=True))
                    return KindLegend("Hydrogen bonds of the molecule", kinds)
                case _:
                    return KindLegend("", tuple((symbols[n], element_colour(symbols[n])) for n in self._present))
        names = symbols if len(self._range.low) == len(symbols) > 1 else ("",)
        ends = zip(names, self._range.low.tolist(), self._range.high.tolist(), strict=True)
        rows = tuple((name, *scale_labels(low, high)) for name, low, high in ends if np.isfinite(low))
        if self._range.fixed is not None:
            rows = (("", *scale_labels(*self._range.fixed)),)
        heading = QUANTITIES[self._colouring].heading
        return ScaleLegend(heading, rows or (("no values", "", ""),), self._scales[self._colouring])

    def _overlay(
        self, message: str | None, width: float, height: float, marks: Marks | None = None, part: QRect | None = None
    ) -> Overlay:
        """What is written over a picture of so many pixels of the design.

        `marks` are given where they are known already; what does not touch `part` is left out.
        """
        legend = axes = None
        if part is None or part.intersects(LEGEND_AREA):
            self._legend = legend = self._make_legend()
        if self._show_axes and (part is None or part.intersects(axes_area(height))):
            axes = self.camera.rotation().T
        if marks is None:
            marks = self._marks(width, height, self._readings())
        return Overlay(VIEW_COLOURS[self._theme], legend, axes, message, marks)

    def _picked_now(self, frame: Frame) -> Picked:
        assert self._canvas is not None
        positions, radii = self._canvas.positions, self._radii
        return Picked(
            [positions[agent].tolist() for agent in self._picked],
            self._edges,
            [float(radii[agent]) for agent in self._picked],
            frame.forces[self._picked[-1]].tolist(),
        )

    def _springs(self, width: float, height: float) -> tuple[tuple[Place, Place, str], ...]:
        """The spring at the molecule that is pulled, from its centre of mass to the hand."""
        if self._canvas is None or self._frame is None or self._frame.pull is None:
            return ()
        pull = self._frame.pull
        centre = self._centre(pull.agent)
        start = self._canvas.positions[pull.agent] + centre - self._frame.positions[pull.agent]
        sight = self.camera.sight(width, height)
        ends = [sight.place(end.tolist(), width, height) for end in (start, start + pull.target - centre)]
        if min(depth for _, _, depth in ends) < NEAREST:
            return ()
        (x0, y0, _), (x1, y1, _) = ends
        return (((x0, y0), (x1, y1), f"{math.hypot(*pull.force):.2f} eV/Å"),)

    def _readings(self) -> tuple[str, str]:
        """The gradient of the last picked agent, and what the picked ones form, as written."""
        if self._frame is None or not self._picked:
            return "", ""
        force = self._frame.forces[self._picked[-1]]
        return f"{math.hypot(*force):.2f} eV/Å", "" if self._figure is None else self._figure.text(self._frame)

    def _marks(self, width: float, height: float, readings: tuple[str, str]) -> Marks:
        springs = self._springs(width, height)
        if self._canvas is None or self._frame is None or not self._picked:
            return Marks(springs=springs)
        gradient, formed = readings
        marks = marks_of(
            self._picked_now(self._frame), self.camera.sight(width, height), width, height, gradient,
            None if self._figure is None else formed, VIEW_COLOURS[self._theme].arrow,
        )  # fmt: skip
        return replace(marks, springs=springs) if springs else marks

    def _scene(self, width: float, height: float) -> Scene:
        from mldsim.gui.viewport.canvas import Scene

        return Scene(
            sight=self.camera.sight(width, height),
            colours=VIEW_COLOURS[self._theme],
            by_scale=self._colouring is not Colouring.ELEMENT,
            box=self._show_box and self._topology is not None,
            bonds=self._show_bonds,
            fog=self._fog,
            offsets=self._offsets(),
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
        self._grabbed: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        # A style sheet of the window may give widgets a ground; this one has to stay clear.
        self.setStyleSheet("background: transparent;")

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        view, width, height = self._viewport, self.width(), self.height()
        overlay = view._overlay(view._message, width, height, view._marks_shown, event.rect())
        painter = QPainter(self)
        try:
            overlay.paint(painter, width, height, 1.0)
        finally:  # Qt dies of a widget that is still painted
            painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        self._viewport._marks_shown = None
        super().resizeEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._last, self._moved = event.position(), 0.0
        if event.button() is Qt.MouseButton.LeftButton and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._grabbed = self._viewport.pick(event.position().x(), event.position().y())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        step = event.position() - self._last
        self._last = event.position()
        self._moved += abs(step.x()) + abs(step.y())
        if self._grabbed is not None:
            self._viewport.pull_to(self._grabbed, event.position().x(), event.position().y())
            return
        buttons = event.buttons()
        shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if buttons & Qt.MouseButton.MiddleButton or (buttons & Qt.MouseButton.LeftButton and shifted):
            self._viewport.pan(step.x(), step.y())
        elif buttons & Qt.MouseButton.LeftButton:
            self._viewport.orbit(step.x(), step.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if self._grabbed is not None and event.button() is Qt.MouseButton.LeftButton:
            self._grabbed = None
            self._viewport.released.emit()
            if self._moved >= _CLICK:
                return
        if event.button() is Qt.MouseButton.LeftButton and self._moved < _CLICK:
            agent = self._viewport.pick(event.position().x(), event.position().y())
            shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            (self._viewport.added if shifted else self._viewport.clicked).emit(agent)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        self._viewport.zoom(1.0015 ** event.angleDelta().y())
