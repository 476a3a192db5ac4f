"""What the shaders of agents and bonds share: where agents are, how surfaces are lit, how the distance fades them.

Silhouettes are smooth without multisampling, whose samples a ray-cast surface does not fill: it is drawn in two passes,
first what covers its pixels wholly, then the rims, blended over all that the first pass left.

GLSL 1.20, the newest version that every OpenGL 2.1 driver takes, software renderers and macOS included. All geometry is
in eye space (see `camera`), angstrom, so light is fixed to the camera without a uniform per frame.

An agent's position is fetched from a texture of four floats per agent, (x, y, z, t), t being its place on the colour
scale. Spheres and bonds read the same texture, so that a frame costs one upload of 16 bytes per agent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vispy import gloo

from mldsim.gui.viewport.camera import Sight
from mldsim.gui.viewport.colours import ViewColours
from mldsim.gui.viewport.scales import scale_colours

AGENTS_VERTEX = """
uniform mat4 u_view;
uniform mat4 u_projection;
uniform float u_perspective;   // 1 or 0
uniform float u_pixel;         // height of a pixel: at distance one in perspective, else everywhere
uniform sampler2D u_agents;
uniform sampler2D u_scale;
uniform float u_by_scale;      // 1 or 0
uniform vec3 u_offset;         // of the periodic image that is drawn

vec3 eye_position(vec4 agent) { return (u_view * vec4(agent.xyz + u_offset, 1.0)).xyz; }

vec3 colour_of(vec4 agent, vec3 element) {
    vec3 placed = texture2DLod(u_scale, vec2((agent.w * 255.0 + 0.5) / 256.0, 0.5), 0.0).rgb;
    if (agent.w < 0.0) placed = vec3(0.52);  // has no value
    return mix(element, placed, u_by_scale);
}
"""

SURFACE_FRAGMENT = """
uniform mat4 u_projection;
uniform float u_perspective;
uniform vec2 u_fog;            // distances at which the box begins and ends
uniform vec3 u_top;
uniform vec3 u_bottom;
uniform float u_height;        // of the picture, pixels
uniform float u_light;
uniform float u_depth_fade;    // how much of an agent at the far end of the box is lost in the ground
uniform float u_veil;          // the same, wherever it is
uniform float u_pass;          // see Pass

// The line of sight through a point: from the eye in perspective, parallel otherwise.
vec3 ray_origin(vec3 point) { return (1.0 - u_perspective) * vec3(point.xy, 0.0); }
vec3 ray_direction(vec3 point) { return normalize(mix(vec3(0.0, 0.0, -1.0), point, u_perspective)); }

float window_depth(float z) {
    float clip = u_projection[2][2] * z + u_projection[3][2];
    float w = u_projection[2][3] * z + u_projection[3][3];
    return clamp(0.5 * clip / w + 0.5, 0.0, 1.0);
}

// How much of a fragment a silhouette covers, from a quantity that is positive inside; fragments that do not belong to
// this pass are discarded.
float coverage(float inside) {
    float cover = clamp(inside / max(fwidth(inside), 1e-9) + 0.5, 0.0, 1.0);
    float least = u_pass < 0.5 ? 0.5 : 1.0;
    if (u_pass > 1.5 ? cover <= 0.0 || cover >= 1.0 : cover < least) discard;
    return u_pass < 0.5 ? 1.0 : cover;
}

// Light is added in linear intensities; squaring and its root stand for the sRGB curve.
vec3 surface(vec3 colour, vec3 normal, vec3 direction, float z) {
    vec3 key = vec3(-0.42, 0.58, 0.70);
    float facing = max(dot(normal, -direction), 0.0);
    float wrapped = max((dot(normal, key) + 0.2) / 1.2, 0.0);
    vec3 sky = mix(vec3(0.10, 0.11, 0.14), vec3(0.32, 0.34, 0.37), 0.5 + 0.5 * normal.y);
    vec3 light = sky + vec3(0.82, 0.80, 0.76) * wrapped;
    // The rim darkens, which sets an agent off from what is behind it, above all white on white.
    float rim = 1.0 - facing;
    light *= 1.0 - 0.72 * rim * rim * rim;
    float gloss = max(dot(normal, normalize(key - direction)), 0.0);
    gloss *= gloss; gloss *= gloss; gloss *= gloss; gloss *= gloss; gloss *= gloss; gloss *= gloss;
    vec3 lit = u_light * (colour * colour * light) + 0.28 * gloss;
    vec3 shown = sqrt(clamp(lit, 0.0, 1.0));
    float far = clamp((-z - u_fog.x) / (u_fog.y - u_fog.x), 0.0, 1.0);
    vec3 ground = mix(u_bottom, u_top, gl_FragCoord.y / u_height);
    return mix(ground, shown, (1.0 - u_veil) * (1.0 - u_depth_fade * far));
}
"""

_TEXTURE_WIDTH = 1024

_DEPTH_FADE = 0.45


class Pass(enum.Enum):
    """Which fragments of a surface are drawn."""

    WHOLE = 0
    """All of them, with jagged silhouettes: half the work."""
    INTERIOR = 1
    RIM = 2


class AgentTexture:
    """Positions of all agents, and their place on the colour scale, on the graphics card.

    Attributes
    ----------
    coordinates : (n_agents, 2) float32
        Where each agent stands in the texture.
    texture, scale : vispy.gloo.Texture2D
    """

    def __init__(self, n_agents: int) -> None:
        width = min(n_agents, _TEXTURE_WIDTH)
        height = -(-n_agents // width)
        self._texels = np.zeros((height, width, 4), dtype=np.float32)
        self._rows = self._texels.reshape(-1, 4)[:n_agents]
        index = np.arange(n_agents)
        self.coordinates = np.stack(
            [(index % width + 0.5) / width, (index // width + 0.5) / height], axis=1, dtype=np.float32
        )
        self.texture = gloo.Texture2D(self._texels.shape, format="rgba", internalformat="rgba32f")
        self.texture.interpolation = "nearest"
        self.scale = gloo.Texture2D(scale_colours()[None], interpolation="nearest")

    @property
    def positions(self) -> NDArray[np.float32]:
        """(n_agents, 3) float32, angstrom: write here, then `upload`."""
        return self._rows[:, :3]

    @property
    def on_scale(self) -> NDArray[np.float32]:
        """(n_agents,) float32 in [0, 1], or negative where there is no value: write here, then `upload`."""
        return self._rows[:, 3]

    def set_scale(self, table: NDArray[np.uint8]) -> None:
        """Take other colours for the scale, (256, 3) uint8."""
        self.scale.set_data(np.ascontiguousarray(table[None]))

    def upload(self) -> None:
        """Hand the texels to the graphics card, with the next drawing."""
        # Not copied: if they are overwritten before they are drawn, the newer ones are drawn.
        self.texture.set_data(self._texels, copy=False)


def set_sight(program: gloo.Program, sight: Sight) -> None:
    """Tell a program where the camera is."""
    program["u_view"] = sight.view.T.astype(np.float32)
    program["u_projection"] = sight.projection.T.astype(np.float32)
    program["u_perspective"] = float(sight.perspective)


@dataclass(frozen=True, slots=True)
class Look:
    """How agents and bonds are drawn in one pass.

    Attributes
    ----------
    colours : ViewColours
    height : int
        Of the picture, pixels.
    by_scale : bool
        Whether agents have the colours of their places on the scale, or of their elements.
    fog : bool
        Whether what is far is lost in the ground.
    offset : (3,) float, angstrom
        Of the periodic image.
    veil : float
        How much of it is lost in the ground, wherever it is.
    """

    colours: ViewColours
    height: int
    by_scale: bool
    fog: bool = True
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    veil: float = 0.0


def set_surroundings(program: gloo.Program, sight: Sight, look: Look, which: Pass) -> None:
    """Tell a program of agents or bonds about the camera, the light and the ground behind."""
    colours = look.colours
    set_sight(program, sight)
    program["u_pixel"] = sight.pixel
    program["u_fog"] = sight.fog
    program["u_top"] = colours.top
    program["u_bottom"] = colours.bottom
    program["u_light"] = colours.light
    program["u_height"] = float(look.height)
    program["u_pass"] = float(which.value)
    program["u_by_scale"] = float(look.by_scale)
    program["u_depth_fade"] = _DEPTH_FADE if look.fog else 0.0
    program["u_offset"] = look.offset
    program["u_veil"] = look.veil


QUAD = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], dtype=np.float32)
"""Corners of the quad in which a sphere or bond is ray-cast."""


def quad_indices(n: int) -> gloo.IndexBuffer:
    """Two triangles for each of n quads of four vertices."""
    first = 4 * np.arange(n, dtype=np.uint32)[:, None]
    return gloo.IndexBuffer((first + np.array([0, 1, 2, 2, 1, 3], dtype=np.uint32)).ravel())
