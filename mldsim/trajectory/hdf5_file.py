"""An HDF5 file as bytes: room at its end, the flag that a killed writer leaves, and who is at it.

HDF5 ends the whole process when a write fails halfway (seen with 2.0: segmentation fault on a full disk), and refuses
to open a file whose writer was killed; it offers no call for either.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = struct.Struct("<8sBBBBQQQQI")
"""Superblock version 3 (HDF5 file format specification 3.0, II.A): signature, version, sizes of offsets and lengths,
consistency flags, base address, superblock extension, end of file, root group, checksum."""


class Superblock(NamedTuple):
    """The first bytes of a file; names as in the specification."""

    signature: bytes
    version: int
    size_of_offsets: int
    size_of_lengths: int
    flags: int
    base: int
    extension: int
    end: int
    root: int
    checksum: int

    @property
    def open_for_write(self) -> bool:
        return bool(self.flags & 1)

    @property
    def open_for_swmr(self) -> bool:
        return bool(self.flags & 4)


def read_superblock(path: Path) -> Superblock | None:
    """Superblock of a file; None when it is not one of version 3, the only one that has flags."""
    with path.open("rb") as file:
        head = file.read(_SUPERBLOCK.size)
    if len(head) < _SUPERBLOCK.size:
        return None
    block = Superblock(*_SUPERBLOCK.unpack(head))
    return block if block[:4] == (_SIGNATURE, 3, 8, 8) else None


def clear_flags(path: Path) -> None:
    """Say that nobody writes to a file any more; OSError when somebody does, or the file cannot be changed."""
    with path.open("r+b") as file:
        lock(file, exclusive=True)
        block = read_superblock(path)  # only now: a living writer may have been just done
        if block is None or not block.open_for_write:
            return
        mended = _without_flags(block, file.seek(0, os.SEEK_END))
        file.seek(0)
        file.write(mended)


def _without_flags(block: Superblock, size: int) -> bytes:
    # What was allocated just before a kill may lie beyond the end that the superblock remembers.
    mended = _SUPERBLOCK.pack(*block._replace(flags=0, end=max(block.end, size), checksum=0))[:-4]
    return mended + struct.pack("<I", lookup3(mended))


class Unflagged(io.RawIOBase):
    """A file as if its flags were cleared, for h5py to read where the file itself must not be changed.

    SWMR reading would open it too, but waits without end for the missing part of a file that is damaged.
    """

    def __init__(self, path: Path, block: Superblock) -> None:
        self._file = path.open("rb")
        self._head = _without_flags(block, path.stat().st_size)

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        count = self._file.readinto(buffer)
        if start < len(self._head):
            head = self._head[start : start + count]
            buffer[: len(head)] = head
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def extended(path: Path, more: int) -> Iterator[None]:
    """Reserve `more` bytes at the end of a file, which HDF5 cuts off again as far as they are not needed.

    A lock is held meanwhile: it tells `repair` that the writer lives.
    """
    with path.open("r+b") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            lock(file, exclusive=False)
        size = file.seek(0, os.SEEK_END)
        try:
            _reserve(file, size, more)
        except OSError:
            file.truncate(size)
            raise
        yield


def lock(file: IO[bytes], *, exclusive: bool) -> None:
    """Lock a file until it is closed; OSError when another program's lock is in the way.

    Shared on POSIX, so that readers, whom HDF5 gives shared locks, are not in the way of the writer. Windows knows
    only exclusive locks: there a byte far beyond the end is locked, which nobody reads.
    """
    if sys.platform == "win32":
        file.seek(1 << 60)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)


def _reserve(file: IO[bytes], size: int, more: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), size, more)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    block = bytes(min(more, 1 << 20))
    for start in range(0, more, len(block)):
        file.write(block[: more - start])
    file.flush()


def lookup3(data: bytes) -> int:
    """Bob Jenkins' hash (burtleburtle.net/bob/c/lookup3.c, hashlittle) with seed 0: HDF5's checksum of metadata."""
    mask = 0xFFFFFFFF

    def rotated(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    blocks = max(1, -(-len(data) // 12))
    words: tuple[int, ...] = struct.unpack(f"<{3 * blocks}I", data.ljust(12 * blocks, b"\0"))
    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & mask, (b + words[i + 1]) & mask, (c + words[i + 2]) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 4), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 6), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 8), (b + a) & mask
        a, c = ((a - c) & mask) ^ rotated(c, 16), (c + b) & mask
        b, a = ((b - a) & mask) ^ rotated(a, 19), (a + c) & mask
        c, b = ((c - b) & mask) ^ rotated(b, 4), (b + a) & mask
    if not data:
        return c
    a, b, c = (a + words[-3]) & mask, (b + words[-2]) & mask, (c + words[-1]) & mask
    c = ((c ^ b) - rotated(b, 14)) & mask
    a = ((a ^ c) - rotated(c, 11)) & mask
    b = ((b ^ a) - rotated(a, 25)) & mask
    c = ((c ^ b) - rotated(b, 16)) & mask
    a = ((a ^ c) - rotated(c, 4)) & mask
    b = ((b ^ a) - rotated(a, 14)) & mask
    return ((c ^ b) - rotated(b, 24)) & mask


def reason(error: OSError | RuntimeError) -> str:
    """What the operating system says, in words that fit into a sentence."""
    known = error.errno if isinstance(error, OSError) else None
    return (os.strerror(known) if known else str(error)).lower()
