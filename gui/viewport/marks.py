"""What is drawn at picked agents, and where: a few points, without NumPy, which takes microseconds for each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF

from mldsim.gui.viewport.camera import Sight
from mldsim.gui.viewport.colours import RGB

Place = tuple[float, float]
"""Pixels of the design, from the upper left corner."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is drawn at picked agents, over everything.

    Attributes
    ----------
    rings : tuple of (place, radius, text)
        Around agents; the text stands beside.
    images : tuple of (place, radius)
        Broken rings, where a path goes to another periodic image than the one that is drawn.
    path : tuple of Place
        The line through the agents of a distance, an angle or a dihedral.
    note : (place, text) or None
        Its value.
    arrows : tuple of (from, to, text, RGB)
    springs : tuple of (from, to, text)
    """

    rings: tuple[tuple[Place, float, str], ...] = ()
    images: tuple[tuple[Place, float], ...] = ()
    path: tuple[Place, ...] = ()
    note: tuple[Place, str] | None = None
    arrows: tuple[tuple[Place, Place, str, RGB], ...] = ()
    springs: tuple[tuple[Place, Place, str], ...] = ()

    def bounds(self) -> QRectF:
        """A rectangle that holds all of them."""
        lines = (*(arrow[:3] for arrow in self.arrows), *self.springs)
        places = [*self.path, *(ring[0] for ring in self.rings), *(image[0] for image in self.images)]
        places += [end for line in lines for end in line[:2]]
        words = [text for _, _, text in (*self.rings, *lines) if text]
        if self.note is not None:
            places.append(self.note[0])
            words.append(self.note[1])
        if not places:
            return QRectF()
        radii = [*(radius for _, radius, _ in self.rings), *(radius for _, radius in self.images)]
        reach = _REACH + max(radii, default=0.0)
        along, down = [x for x, _ in places], [y for _, y in places]
        left, top = min(along) - reach, min(down) - reach
        right = max(along) + reach + TEXT * max(map(len, words), default=0)
        bottom = max(down) + reach + _REACH * max(len(words) - 1, 0)  # words give way downwards
        return QRectF(left, top, right - left, bottom - top)


_REACH = 24.0
"""Pixels around a place: half a plate of words, the barbs of an arrow."""

TEXT = 13.0
"""Pixels of the design, height of its text."""

NEAREST = 0.5
"""angstrom before the eye, from which something is drawn."""

_PER_FORCE, _LONGEST_ARROW = 1.0, 5.0
"""angstrom per eV/angstrom, and angstrom: lengths of the arrow that points downhill."""

_ELSEWHERE = 0.1
"""angstrom; an agent that far from where it is drawn is another periodic image of it."""

Point = Sequence[float]
"""angstrom from the centre of the box."""


@dataclass(frozen=True, slots=True)
class Picked:
    """Agents that are picked, in their order.

    Attributes
    ----------
    drawn : list of Point
        Where they are drawn.
    box : Point
        Edges, angstrom.
    radii : list of float, angstrom
    force : Point, eV/angstrom
        On the last one; not numbers where a trajectory does not tell.
    """

    drawn: list[list[float]]
    box: Point
    radii: list[float]
    force: Point

    def places(self) -> list[list[float]]:
        """Each in the image nearest to the one before."""
        found = self.drawn[:1]
        for point in self.drawn[1:]:
            axes = zip(point, found[-1], self.box, strict=True)
            found.append([here - edge * round((here - before) / edge) for here, before, edge in axes])
        return found


def marks_of(
    picked: Picked, sight: Sight, width: float, height: float, gradient: str, formed: str | None, colour: RGB
) -> Marks:
    """What is drawn at picked agents; nothing where one of them is behind the eye.

    Parameters
    ----------
    picked : Picked
    sight : Sight
        For a view of `width` times `height` pixels.
    gradient, formed : str
        What is written at the arrow, and at the figure that they form, if they do.
    colour : RGB
        Of the arrow.
    """
    n, drawn, places, force = len(picked.drawn), picked.drawn, picked.places(), picked.force
    told = all(map(math.isfinite, force))
    if not told:
        force = (0.0, 0.0, 0.0)
    long = min(_PER_FORCE, _LONGEST_ARROW / max(math.hypot(*force), 1e-9))
    tip = [at + long * part for at, part in zip(drawn[-1], force, strict=True)]
    points = [sight.place(point, width, height) for point in (*drawn, tip, *places)]
    if min(depth for _, _, depth in points) < NEAREST:
        return Marks()
    at = [(x, y) for x, y, _ in points]
    path = at[n + 1 :]

    def radius(index: int, point: int) -> float:
        return picked.radii[index] / (sight.pixel * (points[point][2] if sight.perspective else 1.0))

    rings = tuple((at[i], radius(i, i), str(i + 1) if n > 1 else "") for i in range(n))
    images = tuple(
        (path[i], radius(i, n + 1 + i))
        for i in range(n)
        if max(abs(one - other) for one, other in zip(places[i], drawn[i], strict=True)) > _ELSEWHERE
    )
    note = None
    if formed is not None:
        (x0, y0), (x1, y1) = path[(n - 1) // 2], path[n // 2]
        note = ((0.5 * (x0 + x1) + 12, 0.5 * (y0 + y1) + 16), formed)
    arrows = ((at[n - 1], at[n], gradient, colour),) if told else ()
    return Marks(rings, images, tuple(path) if n > 1 else (), note, arrows)
