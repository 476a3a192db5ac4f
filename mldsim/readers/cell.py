"""Cells: three vectors from a file become the edges of an orthorhombic box, or a sentence why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError

TILT_TOLERANCE = 1e-4
"""angstrom. Off-diagonal elements up to this size are rounding of a unit conversion, as found in the wild."""


def orthorhombic(cell: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Edges of cells whose vectors lie along the axes.

    Parameters
    ----------
    cell : (..., 3, 3) array, angstrom
        Rows are the cell vectors.
    where : str
        File and frame, for the message.

    Returns
    -------
    (..., 3) float64, angstrom

    Raises
    ------
    InputError
        When a cell is tilted, rotated or missing.
    """
    cell = np.asarray(cell, dtype=np.float64)
    edges: NDArray[np.float64] = np.einsum("...ii->...i", cell).copy()
    tilt = np.abs(cell - edges[..., None] * np.eye(3)).max(initial=0.0)
    if tilt > TILT_TOLERANCE:
        raise InputError(
            f"{where} is not orthorhombic (an off-diagonal element of {tilt:.3g} angstrom); "
            "only boxes with edges along x, y and z can be used."
        )
    if not (np.isfinite(edges).all() and (edges > 0).all()):
        raise InputError(f"{where} has no periodic box with three positive edges.")
    return edges


def given_cell(cell: Sequence[float]) -> NDArray[np.float64]:
    """Edges of a box that the user gave: one length for a cube, or three.

    Raises
    ------
    InputError
        When it is not one or three positive lengths.
    """
    edges = np.asarray(cell, dtype=np.float64).ravel()
    if edges.size not in (1, 3) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise InputError("The cell must be one or three positive lengths in angstrom, such as 12.4 12.4 12.4.")
    return np.broadcast_to(edges, 3).copy()
