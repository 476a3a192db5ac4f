"""What is around the molecules: the ground behind them, the edges of the periodic box, and hydrogen bonds."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from vispy import gloo

from mldsim.gui.viewport.camera import Sight
from mldsim.gui.viewport.colours import RGB, ViewColours
from mldsim.gui.viewport.shading import QUAD, AgentTexture, quad_indices, set_sight

Floats = NDArray[np.floating]

_GROUND_VERTEX = """
attribute vec2 a_corner;
varying float v_height;
void main() { v_height = 0.5 + 0.5 * a_corner.y; gl_Position = vec4(a_corner, 0.0, 1.0); }
"""

# One step of an eight-bit channel spans many rows of a slow gradient and would show as bands; noise of that size,
# the same in every picture (interleaved gradient noise, Jimenez 2014), hides them.
_GROUND_FRAGMENT = """
uniform vec3 u_top;
uniform vec3 u_bottom;
varying float v_height;
void main() {
    float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
    gl_FragColor = vec4(mix(u_bottom, u_top, v_height) + noise / 255.0, 1.0);
}
"""

# Where lines go: from one point to another, or from an agent to the nearest image of another one.
_POINTS = """
attribute vec3 a_start;
attribute vec3 a_end;
vec3 start_of_line() { return a_start; }
vec3 end_of_line() { return a_end; }
"""

_AGENTS = """
uniform sampler2D u_agents;
uniform vec3 u_box;
attribute vec2 a_first;
attribute vec2 a_second;
vec3 start_of_line() { return texture2DLod(u_agents, a_first, 0.0).xyz; }
vec3 end_of_line() {
    vec3 start = start_of_line();
    vec3 run = texture2DLod(u_agents, a_second, 0.0).xyz - start;
    return start + run - u_box * floor(run / u_box + 0.5);
}
"""

# OpenGL's own lines have no width that can be relied on: a line is a quad of so many pixels, feathered at its sides.
_LINE_VERTEX = """
uniform mat4 u_view;
uniform mat4 u_projection;
uniform float u_perspective;
uniform float u_near;
uniform vec2 u_size;           // of the picture, pixels
uniform float u_width;         // of a line, pixels
attribute vec2 a_corner;
varying float v_offset;
varying float v_z;
varying float v_along;         // angstrom

void main() {
    vec3 start = (u_view * vec4(start_of_line(), 1.0)).xyz;
    vec3 end = (u_view * vec4(end_of_line(), 1.0)).xyz;
    v_along = a_corner.x < 0.0 ? 0.0 : distance(start, end);
    // What is behind the eye has no place on the screen: cut it off before the perspective divide.
    float near = u_perspective > 0.5 ? -1.001 * u_near : 1e9;
    bool visible = min(start.z, end.z) < near;
    if (start.z > near) start = mix(start, end, (near - start.z) / (end.z - start.z));
    if (end.z > near) end = mix(end, start, (near - end.z) / (start.z - end.z));
    vec4 from = u_projection * vec4(start, 1.0);
    vec4 to = u_projection * vec4(end, 1.0);
    vec2 run = (to.xy / to.w - from.xy / from.w) * u_size;
    run = length(run) > 1e-6 ? normalize(run) : vec2(1.0, 0.0);
    float reach = 0.5 * u_width + 1.0;
    vec4 place = a_corner.x < 0.0 ? from : to;
    place.xy += (vec2(-run.y, run.x) * a_corner.y + run * a_corner.x * 0.4) * reach * 2.0 / u_size * place.w;
    v_offset = a_corner.y * reach;
    v_z = a_corner.x < 0.0 ? start.z : end.z;
    gl_Position = visible ? place : vec4(2.0, 2.0, 2.0, 1.0);
}
"""

_LINE_FRAGMENT = """
uniform float u_width;
uniform vec3 u_colour;
uniform vec2 u_fog;
uniform float u_dash;          // angstrom; zero for whole lines
varying float v_offset;
varying float v_z;
varying float v_along;
void main() {
    if (u_dash > 0.0 && fract(v_along / u_dash) > 0.55) discard;
    float cover = clamp(0.5 * u_width + 0.5 - abs(v_offset), 0.0, 1.0);
    float far = clamp((-v_z - u_fog.x) / (u_fog.y - u_fog.x), 0.0, 1.0);
    gl_FragColor = vec4(u_colour, cover * mix(0.85, 0.3, far));
}
"""


class Ground:
    """Draws a ground that shades from one colour at the top to another at the bottom."""

    def __init__(self) -> None:
        self._program = gloo.Program(_GROUND_VERTEX, _GROUND_FRAGMENT)
        self._program["a_corner"] = gloo.VertexBuffer(QUAD)

    def draw(self, colours: ViewColours) -> None:
        """Fill the current framebuffer."""
        self._program["u_top"] = colours.top
        self._program["u_bottom"] = colours.bottom
        self._program.draw("triangle_strip")


def box_edges(half: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of the twelve edges of a box of half edges (3,), centred at the origin: twice (12, 3), angstrom."""
    corners = itertools.product((-1.0, 1.0), repeat=3)
    edges = [
        (a, b) for a, b in itertools.combinations(corners, 2) if sum(x != y for x, y in zip(a, b, strict=True)) == 1
    ]
    ends = np.array(edges) * half
    return ends[:, 0], ends[:, 1]


class _Lines:
    """Straight lines of one width and colour, feathered at their sides, behind what is nearer.

    Parameters
    ----------
    ends : str
        GLSL that says where they go.
    width : float
        Pixels of the design.
    dash : float, angstrom
        A dash and its gap; zero for whole lines.
    """

    def __init__(self, ends: str, width: float, dash: float = 0.0) -> None:
        self._width = width
        self._program = gloo.Program(ends + _LINE_VERTEX, _LINE_FRAGMENT)
        self._program["u_dash"] = dash
        self._count = 0

    def draw(self, sight: Sight, colour: RGB, size: tuple[int, int], scale: float) -> None:
        """Draw into the current framebuffer of so many pixels; `scale` is pixels per pixel of the design."""
        if not self._count:
            return
        set_sight(self._program, sight)
        self._program["u_near"] = sight.near
        self._program["u_size"] = size
        self._program["u_width"] = self._width * scale
        self._program["u_colour"] = colour
        self._program["u_fog"] = sight.fog
        self._program.draw("triangles", self._indices)

    def _take(self, starts: Floats, ends: Floats, names: tuple[str, str]) -> None:
        """Take other lines, by attributes of both their ends, twice (n, n_numbers)."""
        numbers = starts.shape[1]
        vertices = np.zeros((len(starts), 4), [("a_corner", "f4", 2), *((name, "f4", numbers) for name in names)])
        vertices["a_corner"] = QUAD
        for name, values in zip(names, (starts, ends), strict=True):
            vertices[name] = values[:, None]
        if len(starts) != self._count:
            self._count = len(starts)
            if self._count == 0:
                return
            self._buffer = gloo.VertexBuffer(vertices.ravel())
            self._program.bind(self._buffer)
            self._indices = quad_indices(self._count)
        elif self._count:
            self._buffer.set_data(vertices.ravel())


class Edges(_Lines):
    """Draws the edges of the box; `width` in pixels of the design."""

    def __init__(self, width: float) -> None:
        super().__init__(_POINTS, width)

    def set_box(self, half: NDArray[np.float64]) -> None:
        """Take the half edges of the box, (3,) angstrom."""
        starts, ends = box_edges(half)
        self._take(starts, ends, ("a_start", "a_end"))


class HydrogenBondLines(_Lines):
    """Draws a dashed line from each hydrogen to the nearest image of the oxygen that accepts its bond.

    They go where the agents go: only when other agents are bound are there other lines.

    Parameters
    ----------
    agents : AgentTexture
        Where the agents are.
    width : float
        Pixels of the design.
    dash : float, angstrom
        A dash and its gap.
    """

    def __init__(self, agents: AgentTexture, width: float, dash: float) -> None:
        super().__init__(_AGENTS, width, dash)
        self._agents = agents
        self._program["u_agents"] = agents.texture
        self._pairs: NDArray[np.intp] | None = None

    def set_pairs(self, pairs: NDArray[np.intp], half: NDArray[np.float64]) -> None:
        """Take the hydrogen and the oxygen of every bond, (n_bonds, 2), and the half edges of the box, (3,) angstrom.

        An array that was given before holds what it held then.
        """
        self._program["u_box"] = 2.0 * half
        if pairs is not self._pairs:
            self._pairs = pairs
            hydrogens, oxygens = self._agents.coordinates[pairs.T]
            self._take(hydrogens, oxygens, ("a_first", "a_second"))
