"""A camera that orbits the box: where it stands, what it sees, and the line of sight through a pixel.

All points are relative to the centre of the box, angstrom. Eye space has x to the right, y up, and looks along -z.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Axis(enum.Enum):
    """The axes of the box that the camera can look along."""

    X = "x"
    Y = "y"
    Z = "z"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the graphics card is told of a camera.

    Attributes
    ----------
    view : (4, 4) float64
        Box-centred coordinates to eye space, for column vectors.
    projection : (4, 4) float64
        Eye space to clip space, for column vectors.
    perspective : bool
    near : float, angstrom
    pixel : float
        Height of a pixel in angstrom, at distance one if in perspective.
    fog : (float, float), angstrom
        Distances along the line of sight at which the box begins and ends.
    both : (4, 4) float64
        Box-centred coordinates to clip space: the product of the two.
    rows : four times four floats
        Of `both` the first, the second and the last row, and of `view` the third.
    """

    view: NDArray[np.float64]
    projection: NDArray[np.float64]
    perspective: bool
    near: float
    pixel: float
    fog: tuple[float, float]
    both: NDArray[np.float64]
    rows: tuple[tuple[float, float, float, float], ...]

    def place(self, point: Sequence[float], width: float, height: float) -> tuple[float, float, float]:
        """As `project` for one point, and how far it is before the eye, angstrom."""
        x, y, z = point
        (a, b, c, d), (e, f, g, h), (i, j, k, m), (o, p, q, r) = self.rows
        share = 0.5 / (i * x + j * y + k * z + m or 1e-9)
        right, up = (a * x + b * y + c * z + d) * share, (e * x + f * y + g * z + h) * share
        return (0.5 + right) * width, (0.5 - up) * height, -(o * x + p * y + q * z + r)

    def project(self, points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
        """As `Camera.project`."""
        clip = points @ self.both[:, :3].T + self.both[:, 3]
        scaled = clip[:, :2] / clip[:, 3:]
        return np.stack([(1 + scaled[:, 0]) * 0.5 * width, (1 - scaled[:, 1]) * 0.5 * height], axis=1)


@dataclass(frozen=True, slots=True)
class Gaze:
    """Where a camera stands and looks, to be gone back to; see `Camera`. `framed` is where the box was framed from."""

    azimuth: float
    elevation: float
    magnification: float
    target: tuple[float, float, float]
    framed: tuple[float, float]


@dataclass(slots=True)
class Camera:
    """A turntable with z upwards.

    Attributes
    ----------
    half : (3,) float64, angstrom
        Half the edges of the box.
    azimuth, elevation : float, degrees
        Where the camera stands, seen from the target; elevation from -90 to 90.
    magnification : float
        1 where the box fills the view.
    target : (3,) float64, angstrom
        The point that it orbits.
    field_of_view : float, degrees
        The vertical angle.
    orthographic : bool
    """

    half: Vector = field(default_factory=lambda: np.full(3, 6.0))
    azimuth: float = -62.0
    elevation: float = 17.0
    magnification: float = 1.0
    target: Vector = field(default_factory=lambda: np.zeros(3))
    field_of_view: float = 35.0
    orthographic: bool = False
    _framed: tuple[float, float] = field(default=(-62.0, 17.0), init=False)
    _stood: tuple[object, Vector] = field(default=(None, np.zeros(3)), init=False)
    _seen: tuple[object, Sight | None] = field(default=(None, None), init=False)

    HOME = (-62.0, 17.0)
    FILLED = 0.88
    NEAREST = 4.0
    FARTHEST = 8.0

    def reset(self) -> None:
        """The view from the front, a little from the side and from above; the box fills it."""
        self._look_from(*self.HOME)

    @property
    def gaze(self) -> Gaze:
        """Where it stands and looks now."""
        x, y, z = (float(part) for part in self.target)
        return Gaze(self.azimuth, self.elevation, self.magnification, (x, y, z), self._framed)

    def return_to(self, gaze: Gaze, aspect: float) -> None:
        """Stand and look as before; what is no place in sight of the box is left out."""
        numbers = (gaze.azimuth, gaze.elevation, gaze.magnification, *gaze.target, *gaze.framed)
        if not all(map(math.isfinite, numbers)) or np.linalg.norm(gaze.target) > 4.0 * np.linalg.norm(self.half):
            return
        self._look_from(gaze.framed[0], min(90.0, max(-90.0, gaze.framed[1])))
        self.azimuth, self.elevation = gaze.azimuth, min(90.0, max(-90.0, gaze.elevation))
        self.zoom(gaze.magnification, aspect)
        self.target = np.array(gaze.target)

    def look_along(self, axis: Axis) -> None:
        """Look along an axis of the box, which fills the view: x from its far end, z from above, y from the front."""
        azimuth, elevation = {Axis.X: (0.0, 0.0), Axis.Y: (-90.0, 0.0), Axis.Z: (-90.0, 90.0)}[axis]
        self._look_from(azimuth, elevation)

    def focus(self, point: NDArray[np.float64], reach: float, aspect: float) -> None:
        """Bring a point, (3,) angstrom, to the middle of the view, and what is within `reach` of it into sight."""
        self.magnification = 1.0
        stand = self._stand(aspect)
        # Where the stand looks past its target, so that the box is in the middle, the point would not be.
        self.magnification = max(1.0, float(stand[2]) * self._tangent() * min(1.0, aspect) / reach)
        self.zoom(1.0, aspect)
        self.target = np.array(point, np.float64) - self._stand(aspect)[:2] @ self.rotation()[:2]

    def orbit(self, right: float, up: float) -> None:
        """Turn the scene by angles in degrees, as if it were dragged to the right and upwards."""
        self.azimuth = (self.azimuth - right + 180.0) % 360.0 - 180.0
        self.elevation = min(90.0, max(-90.0, self.elevation - up))

    def zoom(self, factor: float, aspect: float) -> None:
        """Magnify by a factor, within a range that keeps the camera out of the agents and the box in sight."""
        closest = self.distance(aspect) * self.magnification / self.NEAREST
        self.magnification = min(max(closest, 1.0), max(1.0 / self.FARTHEST, self.magnification * factor))

    def pan(self, right: float, up: float, height: float, aspect: float) -> None:
        """Move the scene in the plane of the view by so many pixels of a view that is `height` pixels high."""
        step = 2.0 * self.distance(aspect) * self._tangent() / height
        axes = self.rotation()
        self.target = self.target - (right * axes[0] + up * axes[1]) * step

    def rotation(self) -> NDArray[np.float64]:
        """Rows: the directions to the right, upwards, and towards the viewer, (3, 3)."""
        azimuth, elevation = math.radians(self.azimuth), math.radians(self.elevation)
        east, north = math.cos(azimuth), math.sin(azimuth)
        flat, high = math.cos(elevation), math.sin(elevation)
        return np.array([[-north, east, 0.0], [-high * east, -high * north, flat], [flat * east, flat * north, high]])

    def distance(self, aspect: float) -> float:
        """From the camera to its target, angstrom."""
        return float(self._stand(aspect)[2])

    def sight(self, width: float, height: float) -> Sight:
        """The matrices for a view of so many pixels."""
        place = (self.azimuth, self.elevation, self.magnification, *self.target.tolist())
        seen = (place, self._framed, tuple(self.half.tolist()), self.field_of_view, self.orthographic, width, height)
        known = self._seen[1]
        if known is None or seen != self._seen[0]:  # as in `_stand`
            known = self._sight(width, height)
            self._seen = (seen, known)
        return known

    def _sight(self, width: float, height: float) -> Sight:
        aspect = width / height
        rotation, tangent = self.rotation(), self._tangent()
        view = np.eye(4)
        view[:3, :3] = rotation
        view[:3, 3] = -rotation @ self.target - self._stand(aspect)
        # Molecules hang out of the box by their own size, and the range costs little depth resolution.
        reach = 1.25 * float(np.linalg.norm(self.half)) + 8.0
        depth = -float(view[2, 3])
        near, far = depth - reach, depth + reach
        projection = np.zeros((4, 4))
        if self.orthographic:
            top = self.distance(aspect) * tangent
            projection[0, 0], projection[1, 1], projection[3, 3] = 1.0 / (aspect * top), 1.0 / top, 1.0
            projection[2, 2], projection[2, 3] = -2.0 / (far - near), -(far + near) / (far - near)
        else:
            near = max(near, 0.5)
            far = max(far, 2.0 * near)
            projection[0, 0], projection[1, 1] = 1.0 / (aspect * tangent), 1.0 / tangent
            projection[2, 2], projection[2, 3] = -(far + near) / (far - near), -2.0 * far * near / (far - near)
            projection[3, 2] = -1.0
        pixel = 2.0 * tangent * (self.distance(aspect) if self.orthographic else 1.0) / height
        box = float(np.abs(rotation[2]) @ self.half)
        fog = max(depth - box, 0.0), depth + box
        both = projection @ view
        rows = tuple(tuple(row) for row in (*both[[0, 1, 3]].tolist(), view[2].tolist()))
        return Sight(view, projection, not self.orthographic, near, pixel, fog, both, rows)

    def project(self, points: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
        """Where points appear, (n, 2) float64 pixels from the upper left corner; points before the camera only."""
        return self.sight(width, height).project(points, width, height)

    def ray(self, x: float, y: float, width: float, height: float) -> tuple[Vector, Vector]:
        """The line of sight through a pixel: its origin, (3,) angstrom, and its direction, (3,) of length one."""
        aspect, tangent, axes = width / height, self._tangent(), self.rotation()
        stand = self._stand(aspect)
        across = np.array([(2.0 * x / width - 1.0) * aspect * tangent, (1.0 - 2.0 * y / height) * tangent])
        eye = self.target + stand @ axes
        if self.orthographic:
            # Begins far behind the camera: an orthographic view has no eye that agents could lie behind.
            reach = 4.0 * float(np.linalg.norm(self.half))
            return eye + reach * axes[2] + stand[2] * (across @ axes[:2]), -axes[2]
        direction = across @ axes[:2] - axes[2]
        return eye, direction / np.linalg.norm(direction)

    def _look_from(self, azimuth: float, elevation: float) -> None:
        self.azimuth, self.elevation = self._framed = (azimuth, elevation)
        self.magnification = 1.0
        self.target = np.zeros(3)

    def _tangent(self) -> float:
        return math.tan(math.radians(0.5 * self.field_of_view))

    def _stand(self, aspect: float) -> Vector:
        """Where the camera stands, seen from its target, in eye space: (3,) angstrom, the distance last.

        At magnification 1 the box just fills the view, in its middle, from where it was last framed; not from
        where the camera is now, or the box would breathe while it is turned. A corner (x, y, z) is in sight of a
        camera at (a, b, d) if |y - b| <= (d - z) tan, tan being the tangent of half the angle to be filled; so
        max(y + z tan) and max(-y + z tan) give b as half their difference, and d tan as half their sum.
        """
        seen = (self._framed, tuple(self.half.tolist()), self.field_of_view, self.orthographic, aspect)
        if seen != self._stood[0]:  # asked for several times a picture, and the same for most pictures
            self._stood = (seen, self._framing(aspect))
        return self._stood[1] / self.magnification

    def _framing(self, aspect: float) -> Vector:
        """Where it stands at magnification 1."""
        turned = Camera(azimuth=self._framed[0], elevation=self._framed[1]).rotation()
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        corners = (signs * (self.half + 0.3)) @ turned.T
        tangents = self.FILLED * self._tangent() * np.array([aspect, 1.0])
        places, depths = corners[:, :2], 0.0 if self.orthographic else corners[:, 2:]
        above = np.max(places + depths * tangents, axis=0)
        below = np.max(-places + depths * tangents, axis=0)
        distance = np.max(0.5 * (above + below) / tangents)
        # That centres the box in the direction that it fills; in the other one some steps of iteration do.
        beside = 0.5 * (above - below)
        for _ in range(4):
            slopes = (places - beside) / (distance - depths)
            beside = beside + 0.5 * distance * (slopes.max(axis=0) + slopes.min(axis=0))
        return np.array([*beside, distance])
