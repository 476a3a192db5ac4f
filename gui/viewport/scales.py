"""Colour scales: the maps, the range that their two ends stand for, and how its numbers are written."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mldsim.gui.viewport.colours import RGB, rgb


class ColourMap(enum.Enum):
    """The colour maps: all grow in lightness only, so that they are told apart without hue, and printed in grey."""

    VIRIDIS = "viridis"
    CIVIDIS = "cividis"
    MAGMA = "magma"


# At nine equal steps, and the part at either end that is left out because it would vanish in a dark or a light ground.
# Viridis and magma: van der Walt and Smith 2015 (CC0). Cividis: Nunez, Anderton and Renslow 2018, made to look the same
# to those who do not see red and green apart.
_STEPS: dict[ColourMap, tuple[str, ...]] = {
    ColourMap.VIRIDIS: (
        "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725",
    ),
    ColourMap.CIVIDIS: (
        "#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838",
    ),
    ColourMap.MAGMA: (
        "#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf",
    ),
}  # fmt: skip
_LEFT_OUT = {ColourMap.VIRIDIS: (0.1, 0.0), ColourMap.CIVIDIS: (0.1, 0.0), ColourMap.MAGMA: (0.22, 0.06)}

# Okabe and Ito 2008, without black: told apart by those who do not see all colours.
_APART = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")

TABLE = 256
"""Colours of a table, as the graphics card has it."""


def scale_colours(
    n: int = TABLE, colour_map: ColourMap = ColourMap.VIRIDIS, *, backwards: bool = False
) -> NDArray[np.uint8]:
    """A colour scale, (n, 3) uint8 sRGB, low to high: equal steps look equal."""
    anchors = np.array([rgb(code) for code in _STEPS[colour_map]])
    dark, light = _LEFT_OUT[colour_map]
    at = np.linspace(dark, 1.0 - light, n) * (len(anchors) - 1)
    if backwards:
        at = at[::-1]
    table = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    return np.asarray(np.round(255 * table), dtype=np.uint8)


def apart_colours() -> tuple[RGB, ...]:
    """Colours for things that only have to be told apart."""
    return tuple(rgb(code) for code in _APART)


def step_table(colours: tuple[RGB, ...]) -> NDArray[np.uint8]:
    """A table (TABLE, 3) uint8 of equal stretches of one colour each."""
    index = np.arange(TABLE) * len(colours) // TABLE
    return np.asarray(np.round(255 * np.array(colours)), dtype=np.uint8)[index]


def scale_labels(low: float, high: float) -> tuple[str, str]:
    """Both ends of a range with as many digits as tell them apart."""
    span = abs(high - low)
    digits = 2 if span <= 0 else min(max(1 - math.floor(math.log10(span)), 0), 6)
    return f"{low:.{digits}f}".replace("-", "−"), f"{high:.{digits}f}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of one quantity become colours, as the user set it.

    Attributes
    ----------
    colour_map : ColourMap
    fixed : (lowest, highest) in the unit of the quantity, or None for a range that follows the values
    backwards : bool
        The high end has the colour of the low one.
    """

    colour_map: ColourMap = ColourMap.VIRIDIS
    fixed: tuple[float, float] | None = None
    backwards: bool = False

    def colours(self, n: int = TABLE) -> NDArray[np.uint8]:
        """(n, 3) uint8, for low to high values."""
        return scale_colours(n, self.colour_map, backwards=self.backwards)


@dataclass(slots=True)
class ScaleRange:
    """The values that the two ends of a colour scale stand for.

    Each group of agents has a range of its own (a loss is known up to a constant of its species, so there every species
    is a group): the middle 94 % of its agents, followed slowly, so that colours do not flicker. A fixed range, if one
    is set, holds for all groups.

    Attributes
    ----------
    group : (n_agents,) int32
    n_groups : int
    fixed : (lowest, highest), or None for the automatic range
    low, high : (n_groups,) float64; NaN for a group that has no agents with a value
    moved : bool
        Whether the last frame has moved them.
    """

    group: NDArray[np.int32]
    n_groups: int
    fixed: tuple[float, float] | None = None
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    moved: bool = field(init=False)
    _samples: list[NDArray[np.int64]] = field(init=False)
    _index: NDArray[np.intp] = field(init=False)
    _rest: int = field(init=False)
    _bottom: NDArray[np.float64] = field(init=False)
    _factor: NDArray[np.float64] = field(init=False)

    _SAMPLE = 400
    _EVERY, _FOLLOW = 4, 0.28

    def __post_init__(self) -> None:
        self._index = self.group.astype(np.intp)  # as NumPy looks up
        self._samples = []
        for index in range(self.n_groups):
            agents = np.flatnonzero(self.group == index)
            self._samples.append(agents[:: max(1, len(agents) // self._SAMPLE)])
        self.forget()

    def forget(self) -> None:
        """Start anew with the next frame, as after another loss model was loaded."""
        self.low = np.full(self.n_groups, np.nan)
        self.high = np.full(self.n_groups, np.nan)
        self._rest = 0

    def normalised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Follow the values of a new frame, of every fourth one, and place each within its group's range.

        Parameters
        ----------
        values : (n_agents,) float64
            Not a number where there is no value.

        Returns
        -------
        (n_agents,) float64
            0 at the low end of the range, 1 at the high end, clipped to it; NaN where there is no value.
        """
        self.moved = self._rest == 0 or self.fixed is not None
        if self.moved:
            self._rest = self._EVERY if self._follow(values) else 1
            self._bottom, self._factor = self.low, 1.0 / np.maximum(self.high - self.low, 1e-12)
            if self.n_groups > 1:
                self._bottom, self._factor = self._bottom.take(self._index), self._factor.take(self._index)
        self._rest -= 1
        placed = values - self._bottom
        placed *= self._factor
        np.minimum(placed, 1.0, out=placed)
        return np.maximum(placed, 0.0, out=placed)

    def _follow(self, values: NDArray[np.float64]) -> bool:
        """Move both ends towards the values of a frame; whether it has any."""
        found = self.fixed is not None
        for index, sample in enumerate(self._samples):
            if not len(sample):
                continue
            if self.fixed is not None:
                self.low[index], self.high[index] = self.fixed
                continue
            seen = values[sample]
            seen = seen[np.isfinite(seen)]
            if not len(seen):
                continue
            found = True
            seen.sort()
            low, high = seen[[round(share * (len(seen) - 1)) for share in (0.03, 0.97)]]
            if np.isfinite(self.low[index]):
                low = self.low[index] + self._FOLLOW * (low - self.low[index])
                high = self.high[index] + self._FOLLOW * (high - self.high[index])
            self.low[index], self.high[index] = low, high
        return found
