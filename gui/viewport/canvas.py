"""The OpenGL canvas: what is drawn, in which order, on the screen and into pictures of any size.

The one place where vispy's backend is chosen. Import it only after `opengl.unusable_reason` had nothing to object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import vispy
from numpy.typing import NDArray
from PySide6.QtWidgets import QWidget

vispy.use(app="pyside6", gl="gl2")

from vispy import app, gloo  # noqa: E402  (vispy binds its backend when these are imported)

from mldsim.errors import WorkFailed  # noqa: E402
from mldsim.gui.viewport.bonds import Bonds  # noqa: E402
from mldsim.gui.viewport.camera import Sight  # noqa: E402
from mldsim.gui.viewport.colours import ViewColours  # noqa: E402
from mldsim.gui.viewport.scales import scale_colours  # noqa: E402
from mldsim.gui.viewport.shading import AgentTexture, Look, Pass  # noqa: E402
from mldsim.gui.viewport.spheres import Spheres  # noqa: E402
from mldsim.gui.viewport.surroundings import Edges, Ground, HydrogenBondLines  # noqa: E402

_RGBA8, _DEPTH_COMPONENT24, _MAX_RENDERBUFFER_SIZE, _RENDERER = 0x8058, 0x81A6, 0x84E8, 0x1F01
"""OpenGL's numbers for what vispy has no name: its own depth buffers have 16 bits, which is too coarse for spheres."""

_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "microsoft basic")
"""OpenGL without a graphics card, as it names itself: it shares the processor with the simulation."""

_SMOOTH_BY_PROCESSOR = 2000

_EDGE_WIDTH, _BOND_WIDTH, _BOND_DASH = 1.5, 2.0, 0.36
"""Pixels of the design, and angstrom from dash to dash."""

_IMAGE_VEIL = 0.35
"""How much of a periodic image is lost in the ground, so that the box itself stands out."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a drawing shows.

    Attributes
    ----------
    sight : Sight
    colours : ViewColours
    by_scale, box, bonds, fog, ground : bool
        Whether agents have the colours of their places on the scale; whether edges, bonds, fog and the ground are
        drawn.
    offsets : (n_images, 3) float64, angstrom
        Of the periodic images; the box itself is the first.
    """

    sight: Sight
    colours: ViewColours
    by_scale: bool
    box: bool
    bonds: bool
    fog: bool
    offsets: NDArray[np.float64]
    ground: bool = True


class Canvas(app.Canvas):  # type: ignore[misc]
    """A QOpenGLWidget (`native`) that draws a scene whenever Qt asks for it.

    Parameters
    ----------
    parent : QWidget
    scene : callable (width, height) -> Scene
        Asked at each drawing for what a picture of so many pixels shows.
    failed : callable (reason)
        Told when the driver refuses the shaders; nothing is drawn from then on.
    """

    def __init__(self, parent: QWidget, scene: Callable[[float, float], Scene], failed: Callable[[str], None]) -> None:
        self._scene = scene
        self._failed = failed
        self._broken = False
        self._ground: Ground | None = None
        self._edges: Edges | None = None
        self._hydrogen_bonds: HydrogenBondLines | None = None
        self._pairs: NDArray[np.intp] | None = None
        self._half = np.ones(3)
        self._agents: AgentTexture | None = None
        self._spheres: Spheres | None = None
        self._bonds: Bonds | None = None
        self._filled = False
        self._table = scale_colours()
        self._by_processor: bool | None = None
        self.frames_drawn = 0
        super().__init__(parent=parent, keys=None, show=False, autoswap=False, config={"depth_size": 24})

    def set_agents(
        self,
        n_agents: int,
        radii: NDArray[np.float32],
        colours: NDArray[np.float32],
        bonds: NDArray[np.int32],
        bond_radius: float,
    ) -> None:
        """Take the agents of a topology; they appear with their first positions.

        Positions are kept where the number of agents is, so that a change of style needs no new frame.
        """
        self.set_current()
        if self._agents is None or len(self._agents.positions) != n_agents:
            self._agents, self._filled = AgentTexture(n_agents), False
            self._agents.set_scale(self._table)
        self._spheres = Spheres(self._agents, radii, colours)
        self._bonds = Bonds(self._agents, bonds, radii, colours, bond_radius) if len(bonds) and bond_radius else None
        self._hydrogen_bonds = HydrogenBondLines(self._agents, _BOND_WIDTH, _BOND_DASH)

    @property
    def positions(self) -> NDArray[np.float32]:
        """(n_agents, 3) float32, angstrom from the centre of the box: write here, then `upload`."""
        return self._agents.positions if self._agents else np.empty((0, 3), np.float32)

    @property
    def on_scale(self) -> NDArray[np.float32]:
        """(n_agents,) float32 in [0, 1], places on the colour scale: write here, then `upload`."""
        return self._agents.on_scale if self._agents else np.empty(0, np.float32)

    def upload(self) -> None:
        """Show what was written into `positions` and `on_scale`."""
        if self._agents is not None:
            self._agents.upload()
            self._filled = True
            self.update()

    def forget_positions(self) -> None:
        """Show no agents until the next `upload`."""
        self._filled = False
        self.update()

    def set_box(self, half: NDArray[np.float64]) -> None:
        """Take the half edges of the box, (3,) angstrom."""
        self._half = half
        if self._edges is not None:
            self._edges.set_box(half)

    def set_hydrogen_bonds(self, pairs: NDArray[np.intp] | None) -> None:
        """Draw a dashed line between the two agents of each pair, (n_bonds, 2); None for no lines."""
        if pairs is not self._pairs:
            self._pairs = pairs
            self.update()

    def set_scale(self, table: NDArray[np.uint8]) -> None:
        """Take the colours of the scale, (256, 3) uint8."""
        self._table = table
        if self._agents is not None:
            self._agents.set_scale(table)
            self.update()

    def on_draw(self, _event: object) -> None:
        width, height = self.physical_size
        if self._broken or width < 2 or height < 2:
            return
        self.frames_drawn += 1
        try:
            scene = self._scene(width, height)
            self._draw(scene, (width, height), self.pixel_scale, smooth=self._smooth(scene))
        except RuntimeError as error:  # what vispy raises when a shader does not compile or link
            self._broken = True
            self._failed(str(error).splitlines()[0])

    def picture(
        self, width: int, height: int, scale: float, *, transparent: bool, smooth: bool = True
    ) -> NDArray[np.uint8]:
        """Draw into a picture of its own, smoothed by averaging.

        Parameters
        ----------
        width, height : int
        scale : float
            Pixels of the picture per pixel of the design.
        transparent : bool
            Without the ground.
        smooth : bool
            Averaged over four pixels each; else as on the screen.

        Returns
        -------
        (height, width, 4) uint8
            Red, green, blue, alpha; colours are multiplied by alpha.
        """
        if not self.native.isValid():
            self.native.grabFramebuffer()  # makes the context of a widget that was never shown
        if self._broken or not self.native.isValid():
            raise WorkFailed("The picture could not be drawn, because the 3-D view has no OpenGL context.")
        self.native.makeCurrent()
        self.set_current()
        largest = int(gloo.gl.glGetParameter(_MAX_RENDERBUFFER_SIZE))
        most = min(8192, largest) // max(width, height)
        if most < 1:
            raise WorkFailed(f"The graphics driver draws pictures of at most {min(8192, largest)} pixels a side.")
        times = min(2 if smooth else 1, most)
        size = (times * width, times * height)
        buffer = gloo.FrameBuffer(
            gloo.RenderBuffer(size[::-1], _RGBA8), gloo.RenderBuffer(size[::-1], _DEPTH_COMPONENT24)
        )
        scene = self._scene(*size)
        with buffer:
            self._draw(
                replace(scene, ground=not transparent),
                size,
                times * scale,
                smooth=True,
            )
            pixels = gloo.read_pixels((0, 0, *size), alpha=True)
        buffer.delete()
        tiles = pixels.reshape(height, times, width, times, 4)
        total = np.zeros((height, width, 4), dtype=np.uint16)
        for row in range(times):
            for column in range(times):
                total += tiles[:, row, :, column]
        return np.asarray((total + times * times // 2) // (times * times), dtype=np.uint8)

    def _draw(self, scene: Scene, size: tuple[int, int], scale: float, *, smooth: bool) -> None:
        if self._ground is None or self._edges is None:
            self._ground, self._edges = Ground(), Edges(_EDGE_WIDTH)
            self._edges.set_box(self._half)
        gloo.set_viewport(0, 0, *size)
        gloo.set_state(depth_test=False, blend=False, cull_face=False, depth_mask=True)
        # On the screen vispy clears alpha once more, with this colour, when all is drawn: 0 would make it vanish.
        gloo.clear(color=(0.0, 0.0, 0.0, float(scene.ground)), depth=1.0)
        if scene.ground:
            self._ground.draw(scene.colours)
        gloo.set_state(depth_test=True)
        self._draw_agents(scene, size[1], Pass.INTERIOR if smooth else Pass.WHOLE)
        gloo.set_state(
            blend=True, depth_mask=False, blend_func=("src_alpha", "one_minus_src_alpha", "one", "one_minus_src_alpha")
        )
        if smooth:
            self._draw_agents(scene, size[1], Pass.RIM)
        if scene.box:
            self._edges.draw(scene.sight, scene.colours.box, size, scale)
        if self._pairs is not None and self._hydrogen_bonds is not None and self._filled:
            self._hydrogen_bonds.set_pairs(self._pairs, self._half)
            self._hydrogen_bonds.draw(scene.sight, scene.colours.hydrogen_bond, size, scale)
        gloo.set_state(blend=False, depth_mask=True)

    def _smooth(self, scene: Scene) -> bool:
        """Whether silhouettes are worth their second pass: always but for many agents drawn by the processor."""
        if self._by_processor is None:
            renderer = str(gloo.gl.glGetParameter(_RENDERER)).lower()
            self._by_processor = any(name in renderer for name in _SOFTWARE)
        return not self._by_processor or len(self.positions) * len(scene.offsets) <= _SMOOTH_BY_PROCESSOR

    def _draw_agents(self, scene: Scene, height: int, which: Pass) -> None:
        if not self._filled:
            return
        for image, offset in enumerate(scene.offsets):
            look = Look(
                scene.colours, height, scene.by_scale, scene.fog,
                (float(offset[0]), float(offset[1]), float(offset[2])), _IMAGE_VEIL if image else 0.0,
            )  # fmt: skip
            for drawn in (self._spheres, self._bonds if scene.bonds else None):
                if drawn is not None:
                    drawn.draw(scene.sight, look, which)
