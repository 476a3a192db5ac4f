"""What a file is, told by its content and not by its name."""

from __future__ import annotations

import enum
import re
from itertools import islice
from pathlib import Path

from mldsim.errors import InputError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class FileKind(enum.Enum):
    """What can be opened."""

    MODEL = "a loss model"
    STRUCTURE = "a structure to start from"
    TRAJECTORY = "a trajectory"
    SESSION = "a session or a checkpoint"


def kind_of(path: Path) -> FileKind:
    """What a file is; that it can be read to its end is not promised.

    Raises
    ------
    InputError
        If there is no such file, or it is nothing that can be opened.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; open a file in it.")
        with path.open("rb") as file:
            start = file.read(4096)
        if start.startswith(_HDF5_SIGNATURE):
            return _kind_of_hdf5(path)
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return FileKind.MODEL
        if re.match(rb"\s*\d+\s*\n", start):
            return _kind_of_xyz(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    raise InputError(
        f"{path} is neither a loss model (JSON), nor a trajectory or a structure (H5MD, extended XYZ, dataset)."
    )


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE


def _kind_of_hdf5(path: Path) -> FileKind:
    import h5py

    from mldsim.checkpoint import is_checkpoint

    if is_checkpoint(path):
        return FileKind.SESSION
    try:
        with h5py.File(path, "r") as file:
            return FileKind.TRAJECTORY if "h5md" in file else FileKind.STRUCTURE
    except (OSError, RuntimeError):
        return FileKind.TRAJECTORY  # what a killed writer left: the reader mends it or says what is wrong


def _kind_of_xyz(path: Path) -> FileKind:
    """One frame is a structure, several are a trajectory."""
    with path.open("rb") as file:
        n_agents = int(file.readline())
        if len(list(islice(file, n_agents + 1))) < n_agents + 1:
            return FileKind.STRUCTURE
        return FileKind.TRAJECTORY if file.readline().strip().isdigit() else FileKind.STRUCTURE
