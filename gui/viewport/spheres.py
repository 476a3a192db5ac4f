"""Agents as spheres: one quad per agent, in whose fragments a ray meets an exact sphere with its exact depth.

Ray-cast impostors after Sigg, Weyrich, Botsch and Gross, "GPU-Based Ray-Casting of Quadratic Surfaces" (2006); here
with a quad that faces the eye and just covers the sphere's silhouette cone.
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
attribute vec2 a_corner;
attribute vec2 a_agent;
attribute float a_radius;
attribute vec3 a_colour;
varying vec3 v_point;
varying vec3 v_centre;
varying float v_radius;
varying vec3 v_colour;

void main() {
    vec4 agent = texture2DLod(u_agents, a_agent, 0.0);
    vec3 centre = eye_position(agent);
    float away = max(length(centre), 1e-6);
    vec3 towards = mix(vec3(0.0, 0.0, -1.0), centre / away, u_perspective);
    vec3 side = normalize(cross(towards, vec3(0.0, 1.0, 0.0)));
    vec3 up = cross(side, towards);
    // Where the cone that touches the sphere cuts the plane through its centre: a little more than the radius.
    float cone = away / sqrt(max(away * away - a_radius * a_radius, 1e-6));
    float reach = a_radius * mix(1.0, cone, u_perspective) + u_pixel * mix(1.0, away, u_perspective);
    v_point = centre + reach * (a_corner.x * side + a_corner.y * up);
    v_centre = centre;
    v_radius = a_radius;
    v_colour = colour_of(agent, a_colour);
    bool visible = u_perspective < 0.5 || (centre.z < 0.0 && away > 1.05 * a_radius);
    gl_Position = visible ? u_projection * vec4(v_point, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
}
"""
)

_FRAGMENT = (
    SURFACE_FRAGMENT
    + """
varying vec3 v_point;
varying vec3 v_centre;
varying float v_radius;
varying vec3 v_colour;

void main() {
    vec3 origin = ray_origin(v_point);
    vec3 direction = ray_direction(v_point);
    vec3 centre = v_centre - origin;
    float along = dot(centre, direction);
    // From the rejection, not as a difference of large squares: small spheres far away stay round.
    vec3 apart = centre - along * direction;
    float inside = v_radius * v_radius - dot(apart, apart);
    float cover = coverage(inside);
    vec3 hit = origin + (along - sqrt(max(inside, 0.0))) * direction;
    gl_FragDepth = window_depth(hit.z);
    vec3 normal = normalize(hit - v_centre);
    gl_FragColor = vec4(surface(v_colour, normal, direction, hit.z), cover);
}
"""
)


class Spheres:
    """Draws a sphere for every agent.

    Parameters
    ----------
    agents : AgentTexture
        Where they are.
    radii : (n_agents,) float32, angstrom
    colours : (n_agents, 3) float32
        Colours by element.
    """

    def __init__(self, agents: AgentTexture, radii: NDArray[np.float32], colours: NDArray[np.float32]) -> None:
        n = len(radii)
        vertices = np.zeros(
            (n, 4),
            dtype=[("a_corner", "f4", 2), ("a_agent", "f4", 2), ("a_radius", "f4"), ("a_colour", "f4", 3)],
        )
        vertices["a_corner"] = QUAD
        vertices["a_agent"] = agents.coordinates[:, None]
        vertices["a_radius"] = radii[:, None]
        vertices["a_colour"] = colours[:, None]
        self._program = gloo.Program(_VERTEX, _FRAGMENT)
        self._program.bind(gloo.VertexBuffer(vertices.ravel()))
        self._program["u_agents"] = agents.texture
        self._program["u_scale"] = agents.scale
        self._indices = quad_indices(n)

    def draw(self, sight: Sight, look: Look, which: Pass) -> None:
        """Draw one pass into the current framebuffer."""
        set_surroundings(self._program, sight, look, which)
        self._program.draw("triangles", self._indices)
