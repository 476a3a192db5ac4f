"""Colours and sizes of agents by element, and the colours of what surrounds them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from mldsim.gui.theme import Theme

RGB = tuple[float, float, float]
"""Red, green, blue in [0, 1], sRGB."""


class Style(enum.Enum):
    """How agents and bonds are drawn."""

    BALL_AND_STICK = "ball-and-stick"
    SPACE_FILLING = "space-filling"
    STICKS = "sticks"


@dataclass(frozen=True, slots=True)
class ViewColours:
    """What surrounds the molecules: a ground that shades from top to bottom, the box, and text."""

    top: RGB
    bottom: RGB
    box: RGB
    text: RGB
    dim: RGB
    plate: RGB
    """Behind a message."""
    hydrogen_bond: RGB
    mark: RGB
    """What the user has picked."""
    arrow: RGB
    """Downhill."""
    pull: RGB
    """Forces from outside."""
    light: float
    """Strength of the light: a little less on a light ground, where white agents must not drown."""


def rgb(code: str) -> RGB:
    """A colour from ``#rrggbb``."""
    return int(code[1:3], 16) / 255, int(code[3:5], 16) / 255, int(code[5:7], 16) / 255


VIEW_COLOURS: dict[Theme, ViewColours] = {
    Theme.DARK: ViewColours(
        rgb("#232b37"),
        rgb("#0d1117"),
        rgb("#8fa3bd"),
        rgb("#e4e9f0"),
        rgb("#9dabbd"),
        rgb("#1a212b"),
        rgb("#7fd0ff"),
        rgb("#ffd24a"),
        rgb("#7ef0a8"),
        rgb("#ff8fd0"),
        1.0,
    ),
    Theme.LIGHT: ViewColours(
        rgb("#fdfdfe"),
        rgb("#dfe5ec"),
        rgb("#5a6b80"),
        rgb("#1a212b"),
        rgb("#51606f"),
        rgb("#ffffff"),
        rgb("#0a6fb0"),
        rgb("#8a5a00"),
        rgb("#0b7a3b"),
        rgb("#a8156c"),
        0.94,
    ),
}

# Near the customary colours of the elements, but apart in lightness as well as in hue, so that those who do not see
# red and green apart still tell them.
_ELEMENTS: dict[str, RGB] = {
    "H": rgb("#f2f4f7"),
    "C": rgb("#5b626c"),
    "N": rgb("#3f6fe0"),
    "O": rgb("#e0352b"),
    "F": rgb("#8fe06a"),
    "Na": rgb("#9a5fd6"),
    "Mg": rgb("#4fae5a"),
    "Si": rgb("#d8b48a"),
    "P": rgb("#f08a24"),
    "S": rgb("#f2d338"),
    "Cl": rgb("#3fcf5c"),
    "K": rgb("#7d3fc0"),
    "Ca": rgb("#2f9a6a"),
}
_UNKNOWN = rgb("#d86fb0")
_UNKNOWN_RADIUS = 1.7


def element_colour(symbol: str) -> RGB:
    """Colour of an element; ASE's table serves those that have none here, and one colour what is no element."""
    if symbol in _ELEMENTS:
        return _ELEMENTS[symbol]
    from ase.data import atomic_numbers
    from ase.data.colors import jmol_colors

    number = atomic_numbers.get(symbol, 0)
    if not 0 < number < len(jmol_colors):
        return _UNKNOWN
    red, green, blue = (float(part) for part in jmol_colors[number])
    return red, green, blue


def van_der_waals_radius(symbol: str) -> float:
    """Van der Waals radius of an element, angstrom (Alvarez 2013 by way of ASE; Bondi 1964 for H and O)."""
    if symbol in ("H", "O"):
        return {"H": 1.10, "O": 1.52}[symbol]
    from ase.data import atomic_numbers
    from ase.data.vdw_alvarez import vdw_radii

    number = atomic_numbers.get(symbol, 0)
    radius = float(vdw_radii[number]) if 0 < number < len(vdw_radii) else _UNKNOWN_RADIUS
    return radius if np.isfinite(radius) else _UNKNOWN_RADIUS


BOND_RADIUS = {Style.BALL_AND_STICK: 0.115, Style.SPACE_FILLING: 0.0, Style.STICKS: 0.19}
"""Radius of the bond cylinders, angstrom; zero where none are drawn."""


def sphere_radius(symbol: str, style: Style) -> float:
    """Radius of the sphere that stands for an agent, angstrom."""
    if style is Style.SPACE_FILLING:
        return van_der_waals_radius(symbol)
    if style is Style.STICKS:
        return BOND_RADIUS[style]
    return 0.27 * van_der_waals_radius(symbol)
