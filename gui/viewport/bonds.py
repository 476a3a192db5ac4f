"""Bonds as cylinders, each half in the colour of its agent: one quad per bond, ray-cast with exact depth.

The quad faces the eye and covers the cylinder's outline. The ends are open: they sit inside the spheres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vispy import gloo

from mldsim.gui.viewport.camera import Sight
from mldsim.gui.viewport.shading import (
    AGENTS_VERTEX,
    QUAD,
    SURFACE_FRAGMENT,
    AgentTexture,
    Look,
    Pass,
    quad_indices,
    set_surroundings,
)

_VERTEX = (
    AGENTS_VERTEX
    + """
attribute vec2 a_corner;       // x: -1 at the first agent, 1 at the second; y: either side
attribute vec2 a_first;
attribute vec2 a_second;
attribute vec3 a_first_colour;
attribute vec3 a_second_colour;
attribute float a_shift;       // of the change of colour, from the middle of the bond
uniform float u_radius;
varying vec3 v_point;
varying vec3 v_start;
varying vec3 v_end;
varying vec3 v_first_colour;
varying vec3 v_second_colour;
varying float v_shift;

void main() {
    vec4 first = texture2DLod(u_agents, a_first, 0.0);
    vec4 second = texture2DLod(u_agents, a_second, 0.0);
    v_start = eye_position(first);
    v_end = eye_position(second);
    v_first_colour = colour_of(first, a_first_colour);
    v_second_colour = colour_of(second, a_second_colour);
    v_shift = a_shift;

    vec3 middle = 0.5 * (v_start + v_end);
    float away = max(length(middle), 1e-6);
    vec3 towards = mix(vec3(0.0, 0.0, -1.0), middle / away, u_perspective);
    vec3 axis = normalize(v_end - v_start);
    vec3 across = axis - dot(axis, towards) * towards;
    // Seen from its end, a cylinder is a disc and any direction will do.
    across = length(across) > 1e-3 ? normalize(across) : normalize(cross(towards, vec3(0.0, 1.0, 0.0)));
    vec3 side = cross(across, towards);
    float cone = away / sqrt(max(away * away - 4.0 * u_radius * u_radius, 1e-6));
    float reach = 1.1 * u_radius * mix(1.0, cone, u_perspective) + u_pixel * mix(1.0, away, u_perspective);
    vec3 end = a_corner.x < 0.0 ? v_start : v_end;
    v_point = end + reach * (a_corner.x * across + a_corner.y * side);
    bool visible = u_perspective < 0.5 || max(v_start.z, v_end.z) < -2.0 * u_radius;
    gl_Position = visible ? u_projection * vec4(v_point, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
}
"""
)

_FRAGMENT = (
    SURFACE_FRAGMENT
    + """
uniform float u_radius;
varying vec3 v_point;
varying vec3 v_start;
varying vec3 v_end;
varying vec3 v_first_colour;
varying vec3 v_second_colour;
varying float v_shift;

void main() {
    vec3 origin = ray_origin(v_point);
    vec3 direction = ray_direction(v_point);
    float extent = distance(v_start, v_end);
    vec3 axis = (v_end - v_start) / extent;
    // Distance of the ray from the axis, and where it is least: the common perpendicular of the two lines.
    vec3 start = origin - v_start;
    vec3 slope = direction - dot(direction, axis) * axis;
    float steep = dot(slope, slope);
    vec3 offset = start - dot(start, axis) * axis;
    float along = -dot(slope, offset) / max(steep, 1e-9);
    vec3 apart = offset + along * slope;
    float inside = u_radius * u_radius - dot(apart, apart);
    float cover = coverage(inside);
    if (steep < 1e-9) discard;
    vec3 hit = origin + (along - sqrt(max(inside, 0.0) / steep)) * direction;
    float at = dot(hit - v_start, axis);
    if (at < 0.0 || at > extent) discard;
    gl_FragDepth = window_depth(hit.z);
    vec3 normal = normalize(hit - v_start - at * axis);
    vec3 colour = at < 0.5 * extent + v_shift ? v_first_colour : v_second_colour;
    gl_FragColor = vec4(surface(colour, normal, direction, hit.z), cover);
}
"""
)


class Bonds:
    """Draws a cylinder for every bond.

    Parameters
    ----------
    agents : AgentTexture
        Where the agents are.
    bonds : (n_bonds, 2) int32
    radii : (n_agents,) float32, angstrom
        Of the agents' spheres: the colour changes in the middle of what they leave visible.
    colours : (n_agents, 3) float32
        Colours by element.
    radius : float, angstrom
        Of the cylinders.
    """

    def __init__(
        self,
        agents: AgentTexture,
        bonds: NDArray[np.int32],
        radii: NDArray[np.float32],
        colours: NDArray[np.float32],
        radius: float,
    ) -> None:
        first, second = bonds.T
        vertices = np.zeros(
            (len(bonds), 4),
            dtype=[
                ("a_corner", "f4", 2), ("a_first", "f4", 2), ("a_second", "f4", 2),
                ("a_first_colour", "f4", 3), ("a_second_colour", "f4", 3), ("a_shift", "f4"),
            ],
        )  # fmt: skip
        vertices["a_corner"] = QUAD
        vertices["a_first"] = agents.coordinates[first][:, None]
        vertices["a_second"] = agents.coordinates[second][:, None]
        vertices["a_first_colour"] = colours[first][:, None]
        vertices["a_second_colour"] = colours[second][:, None]
        vertices["a_shift"] = 0.5 * (radii[first] - radii[second])[:, None]
        self._program = gloo.Program(_VERTEX, _FRAGMENT)
        self._program.bind(gloo.VertexBuffer(vertices.ravel()))
        self._program["u_agents"] = agents.texture
        self._program["u_scale"] = agents.scale
        self._program["u_radius"] = radius
        self._indices = quad_indices(len(bonds))

    def draw(self, sight: Sight, look: Look, which: Pass) -> None:
        """Draw one pass into the current framebuffer."""
        set_surroundings(self._program, sight, look, which)
        self._program.draw("triangles", self._indices)
