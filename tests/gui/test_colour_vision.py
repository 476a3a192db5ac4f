"""Colours are told apart by those who do not see all of them.

Simulated dichromacy: Machado, Oliveira and Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1, on linear sRGB.
Distances: CIE 1976 in L*a*b*, where 2.3 is just noticeable.
"""

from itertools import combinations

import numpy as np
import pytest

from mldsim.gui.theme import COLOURS, Theme
from mldsim.gui.viewport.colours import element_colour, rgb
from mldsim.gui.viewport.scales import ColourMap, apart_colours, scale_colours

VISION = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
CLEAR = 10.0


def seen(colour, vision):
    """L*a*b* of an sRGB colour as it is seen."""
    c = np.asarray(colour, float)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION[vision]) @ linear, 0.0, 1.0)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    part = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16.0 / 116.0)
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


def least_distance(colours, vision):
    return min(np.linalg.norm(seen(a, vision) - seen(b, vision)) for a, b in combinations(colours, 2))


@pytest.mark.parametrize("vision", VISION)
def test_species_molecules_and_curves_are_told_apart(vision):
    assert least_distance([element_colour(symbol) for symbol in ("O", "H", "C", "N", "S")], vision) > 2 * CLEAR
    assert least_distance(apart_colours(), vision) > CLEAR
    for theme in Theme:
        c = COLOURS[theme]
        for together in (("kinetic", "loss", "total", "conserved"), ("oxygen", "hydrogen"), ("temperature", "text")):
            colours = [rgb(getattr(c, name)) for name in (*together, "panel")]
            assert least_distance(colours, vision) > CLEAR, together


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colour_map", ColourMap)
def test_colour_maps_grow_in_lightness(colour_map, vision):
    lightness = [seen(colour / 255.0, vision)[0] for colour in scale_colours(64, colour_map)]
    assert (np.diff(lightness) > 0.0).all()
    assert lightness[-1] - lightness[0] > 40.0
