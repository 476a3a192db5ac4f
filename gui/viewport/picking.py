"""Which agent is under the mouse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_hit(
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    centres: NDArray[np.float32],
    radii: NDArray[np.float32],
) -> int | None:
    """The sphere that a ray meets first.

    A ray cast in NumPy instead of a picture read back from the graphics card: exact, and it needs no context.

    Parameters
    ----------
    origin, direction : (3,) float64
        angstrom; of length one. Spheres around or behind the origin are not met.
    centres : (n, 3) float32, angstrom
    radii : (n,) float32, angstrom

    Returns
    -------
    int or None
        Index of the sphere, or None where the ray meets none.
    """
    towards = centres - origin
    along = towards @ direction
    # Squared distance of the centre from the ray, from the rejection itself: the difference of two large squares
    # would lose the small one.
    apart = towards - along[:, None] * direction
    inside = radii**2 - np.einsum("ij,ij->i", apart, apart)
    depth = along - np.sqrt(np.maximum(inside, 0.0))
    depth[(inside < 0.0) | (depth <= 0.0)] = np.inf
    if not len(depth):
        return None
    nearest = int(np.argmin(depth))
    return nearest if np.isfinite(depth[nearest]) else None
