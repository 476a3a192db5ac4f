"""Numbers as comma-separated values, for spreadsheets and other programs; a file appears whole or not at all."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.analysis.statistics import Curve
from mldsim.files import whole_file
from mldsim.frames import THERMO_COLUMNS


@contextmanager
def _table(path: Path, header: Sequence[str]) -> Iterator[Any]:
    """The writer of a table that begins with this line."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        yield table


def write_curves(path: Path, x_label: str, y_label: str, curves: Mapping[str, Curve]) -> None:
    """Write curves, one line per point.

    Columns: the name of the curve, the two axes as they are labelled, standard error (empty where it is not known).

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    with _table(path, ["curve", x_label, y_label, "standard error"]) as table:
        for name, curve in curves.items():
            for x, y, error in zip(curve.x.tolist(), curve.y.tolist(), curve.error.tolist(), strict=True):
                table.writerow([name, f"{x:.8g}", f"{y:.8g}", f"{error:.3g}" if math.isfinite(error) else ""])


def write_matrix(path: Path, unit: str, names: Sequence[str], values: NDArray[np.float64]) -> None:
    """Write a square matrix, one line per row after a line of names; the corner has the unit.

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    with _table(path, [unit, *names]) as table:
        for name, row in zip(names, values.tolist(), strict=True):
            table.writerow([name, *(f"{value:.8g}" for value in row)])


def write_thermo(path: Path, columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Write a thermo table, one line per row, one column each with its unit; empty where there is no value.

    Parameters
    ----------
    path : Path
    columns : mapping of (n_rows,) float64
        `mldsim.frames.ThermoTable.columns()`.

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    with _table(path, [f"{label} ({unit})" for label, unit in THERMO_COLUMNS.values()]) as table:
        for row in zip(*(columns[name].tolist() for name in THERMO_COLUMNS), strict=True):
            table.writerow([f"{value:.10g}" if math.isfinite(value) else "" for value in row])
