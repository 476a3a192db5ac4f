"""Colours and sizes of agents, and the range that a colour scale of losses covers."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mldsim.gui.theme import Theme

RGB = tuple[float, float, float]
"""Red, green, blue in [0, 1], sRGB."""


class Colouring(enum.Enum):
    """What the colour of an agent tells."""

    ELEMENT = "element"
    LOSS = "loss"


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
    light: float
    """Strength of the light: a little less on a light ground, where white agents must not drown."""


def _rgb(code: str) -> RGB:
    return int(code[1:3], 16) / 255, int(code[3:5], 16) / 255, int(code[5:7], 16) / 255


VIEW_COLOURS: dict[Theme, ViewColours] = {
    Theme.DARK: ViewColours(
        _rgb("#232b37"), _rgb("#0d1117"), _rgb("#8fa3bd"), _rgb("#e4e9f0"), _rgb("#9dabbd"), _rgb("#1a212b"), 1.0
    ),
    Theme.LIGHT: ViewColours(
        _rgb("#fdfdfe"), _rgb("#dfe5ec"), _rgb("#5a6b80"), _rgb("#1a212b"), _rgb("#51606f"), _rgb("#ffffff"), 0.94
    ),
}

# Near the customary colours of the elements, but apart in lightness as well as in hue, so that those who do not see
# red and green apart still tell them.
_ELEMENTS: dict[str, RGB] = {
    "H": _rgb("#f2f4f7"),
    "C": _rgb("#5b626c"),
    "N": _rgb("#3f6fe0"),
    "O": _rgb("#e0352b"),
    "F": _rgb("#8fe06a"),
    "Na": _rgb("#9a5fd6"),
    "Mg": _rgb("#4fae5a"),
    "Si": _rgb("#d8b48a"),
    "P": _rgb("#f08a24"),
    "S": _rgb("#f2d338"),
    "Cl": _rgb("#3fcf5c"),
    "K": _rgb("#7d3fc0"),
    "Ca": _rgb("#2f9a6a"),
}
_UNKNOWN = _rgb("#d86fb0")
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


# Viridis (van der Walt and Smith 2015, CC0) at nine equal steps. Its darkest tenth is left out: it would vanish in a
# dark ground.
_VIRIDIS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_DARKEST = 0.1


def loss_colours(n: int = 256) -> NDArray[np.uint8]:
    """The colour scale of losses, (n, 3) uint8 sRGB, low to high: equal steps look equal, also without hue."""
    anchors = np.array([_rgb(code) for code in _VIRIDIS])
    at = np.linspace(_DARKEST, 1.0, n) * (len(anchors) - 1)
    table = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    return np.asarray(np.round(255 * table), dtype=np.uint8)


@dataclass(slots=True)
class LossRange:
    """The losses that the two ends of the colour scale stand for.

    A loss is known up to a constant of its species, so every species has a range of its own: the middle 94 % of its
    agents, followed slowly, so that colours do not flicker. A fixed range, if one is set, holds for all species.

    Attributes
    ----------
    species : (n_agents,) int32
    n_species : int
    fixed : (minimum, maximum) in eV, or None for the automatic range
    low, high : (n_species,) float64, eV; NaN for a species that has no agents
    """

    species: NDArray[np.int32]
    n_species: int
    fixed: tuple[float, float] | None = None
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    _samples: list[NDArray[np.int64]] = field(init=False)

    _SAMPLE = 4000
    _FOLLOW = 0.08

    def __post_init__(self) -> None:
        self._samples = []
        for index in range(self.n_species):
            agents = np.flatnonzero(self.species == index)
            self._samples.append(agents[:: max(1, len(agents) // self._SAMPLE)])
        self.forget()

    def forget(self) -> None:
        """Start anew with the next frame, as after another loss model was loaded."""
        self.low = np.full(self.n_species, np.nan)
        self.high = np.full(self.n_species, np.nan)

    def normalised(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Follow the losses of a new frame and place each within its species' range.

        Parameters
        ----------
        losses : (n_agents,) float64, eV

        Returns
        -------
        (n_agents,) float64
            0 at the low end of the range, 1 at the high end, clipped to it.
        """
        for index, sample in enumerate(self._samples):
            if not len(sample):
                continue
            if self.fixed is not None:
                self.low[index], self.high[index] = self.fixed
                continue
            low, high = np.percentile(losses[sample], [3.0, 97.0])
            if np.isfinite(self.low[index]):
                low = self.low[index] + self._FOLLOW * (low - self.low[index])
                high = self.high[index] + self._FOLLOW * (high - self.high[index])
            self.low[index], self.high[index] = low, high
        scale = 1.0 / np.maximum(self.high - self.low, 1e-12)
        placed = losses - self.low.take(self.species)
        placed *= scale.take(self.species)
        return np.clip(placed, 0.0, 1.0, out=placed)
