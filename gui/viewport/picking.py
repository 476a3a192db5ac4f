"""Which agent is under the mouse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_hit(
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    centres: NDArray[np.float32],
    radii: NDArray[np.float32],
    offsets: NDArray[np.float64] | None = None,
) -> int | None:
    """The sphere that a ray meets first.

    A ray cast in NumPy instead of a picture read back from the graphics card: exact, and it needs no context.

    Parameters
    ----------
    origin, direction : (3,) float64
        angstrom; of length one. Spheres around or behind the origin are not met.
    centres : (n, 3) float32, angstrom
    radii : (n,) float32, angstrom
    offsets : (n_images, 3) float64, angstrom, optional
        Of periodic images: each sphere is at all of these offsets.

    Returns
    -------
    int or None
        Index of the sphere, or None where the ray meets none.
    """
    images = np.zeros((1, 3)) if offsets is None else offsets
    depth = np.min([_depths(origin - offset, direction, centres, radii) for offset in images], axis=0)
    if not len(depth):
        return None
    nearest = int(np.argmin(depth))
    return nearest if np.isfinite(depth[nearest]) else None


def _depths(
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    centres: NDArray[np.float32],
    radii: NDArray[np.float32],
) -> NDArray[np.float64]:
    """How far along the ray each sphere is met, (n,) float64; infinite where it is not."""
    towards = centres - origin
    along = towards @ direction
    # Squared distance of the centre from the ray, from the rejection itself: the difference of two large squares
    # would lose the small one.
    apart = towards - along[:, None] * direction
    inside = radii**2 - np.einsum("ij,ij->i", apart, apart)
    depth = along - np.sqrt(np.maximum(inside, 0.0))
    depth[(inside < 0.0) | (depth <= 0.0)] = np.inf
    return np.asarray(depth)
