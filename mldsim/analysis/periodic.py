"""Positions and separations in a periodic, orthorhombic box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def wrapped(positions: Array, box: Array) -> Array:
    """Positions (n, 3) folded into [0, box), angstrom."""
    inside = positions - box * np.floor(positions / box)
    inside[inside >= box] = 0.0  # rounding may put a coordinate on the far edge
    return np.asarray(inside)


def nearest(separations: Array, box: Array) -> Array:
    """Separations (..., 3) to the nearest image, angstrom."""
    return np.asarray(separations - box * np.round(separations / box))
