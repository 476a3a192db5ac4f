"""Trajectories as extended XYZ (github.com/libAtoms/extxyz), the text format that ASE and OVITO read.

Per agent: species, position (Å, unwrapped), velocity (Å/fs), force (eV/Å), loss (eV). Per frame: Lattice, pbc, step,
time (fs) and the thermo row; a value that is not a number is left out.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mldsim.errors import InputError, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, Topology

_ROW = "%-2s" + 3 * " %.8f" + 3 * " %.8e" + 4 * " %.8f"
_PROPERTIES = "species:S:1:pos:R:3:velo:R:3:forces:R:3:loss:R:1"


class ExtxyzWriter:
    """Writes frames to a new extended XYZ file.

    Parameters
    ----------
    path : Path
    topology : Topology
    force : bool
        Replace a file that exists.

    Raises
    ------
    InputError
        If the file exists and `force` is not set, or cannot be created there.
    """

    def __init__(self, path: Path | str, topology: Topology, *, force: bool = False) -> None:
        self.path = Path(path)
        self._ends: list[int] = []  # bytes up to the end of each frame
        self._species = [topology.symbols[kind] for kind in topology.species]
        try:
            self._file = self.path.open("w" if force else "x", encoding="utf-8", newline="\n")
        except FileExistsError:
            raise InputError(f"{path} exists already; choose another name or allow it to be overwritten.") from None
        except FileNotFoundError:
            raise InputError(f"{path} cannot be written: the folder {self.path.parent} does not exist.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error

    def write(self, frame: Frame) -> None:
        """Append a frame; raises WorkFailed when the disk is full."""
        columns = np.hstack([frame.positions, frame.velocities, frame.forces, frame.losses[:, None]])
        rows = [_ROW % (symbol, *values) for symbol, values in zip(self._species, columns.tolist(), strict=True)]
        text = "\n".join([str(len(rows)), _comment(frame), *rows]) + "\n"
        self._ends.append((self._ends[-1] if self._ends else 0) + len(text.encode()))
        with self._telling():
            self._file.write(text)

    def flush(self) -> None:
        """Hand what was written to the operating system; raises WorkFailed when the disk is full."""
        with self._telling():
            self._file.flush()

    def close(self) -> None:
        """Safe to call twice; raises WorkFailed when the disk is full."""
        with self._telling():
            self._file.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error)).lower()
            raise WorkFailed(
                f"{self.path} could not be extended ({why}); the {self._cut()} frames written so far are valid."
            ) from error

    def _cut(self) -> int:
        """Take off the part of a frame that still found room; returns the number of frames that are whole."""
        with contextlib.suppress(OSError):
            self._file.close()  # fails as the write did, but closes
        whole = 0
        with contextlib.suppress(OSError):
            whole = bisect.bisect_right(self._ends, self.path.stat().st_size)
            os.truncate(self.path, self._ends[whole - 1] if whole else 0)
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _comment(frame: Frame) -> str:
    a, b, c = frame.box
    scalars = {"step": frame.step, "time": frame.time}
    scalars |= {name: getattr(frame.thermo, name) for name in THERMO_COLUMNS if name not in ("time", "loss")}
    scalars["total_loss"] = frame.thermo.loss  # `loss` is the column of the agents
    said = " ".join(f"{name}={value:.10g}" for name, value in scalars.items() if math.isfinite(value))
    return f'Lattice="{a:.8f} 0 0 0 {b:.8f} 0 0 0 {c:.8f}" Properties={_PROPERTIES} pbc="T T T" {said}'
