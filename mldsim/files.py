"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mldsim.errors import InputError, WorkFailed


def reason(error: OSError) -> str:
    """Why the operating system refused, in words that end a sentence."""
    return "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to; it takes the name `path` when the block ends well, and goes otherwise.

    It is made at once, so that a folder which cannot be written tells before the work, not after it.

    Raises
    ------
    WorkFailed
        When the file cannot be written (permission, disk full).
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.touch()
        yield unfinished
        with unfinished.open("r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise WorkFailed(f"{path} could not be written: {reason(error)}.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def put_aside(path: Path) -> Path | None:
    """Give a file that cannot be read another name, so that a new one takes its place; None when that is refused."""
    kept = path.with_name(f"{path.name}.broken")
    try:
        path.replace(kept)
    except OSError:
        return None
    return kept


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Keep other processes out while the block runs; the lock is the system's and goes with the process.

    Parameters
    ----------
    path : Path
        A file made for it, which stays.
    refusal : str
        The sentence for who comes second.

    Raises
    ------
    InputError
        When another process is inside.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(refusal) from None
        yield
