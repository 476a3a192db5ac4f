"""Movies from pictures: MP4 (H.264) by PyAV, GIF by Pillow. No window is needed."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError, WorkFailed
from mldsim.files import whole_file

Picture = NDArray[np.uint8]
"""(height, width, 3): red, green, blue."""

KINDS = (".mp4", ".gif")

FASTEST_GIF = 50
"""Pictures per second: a GIF counts in hundredths of a second, and viewers take less than two of them for ten."""

QUALITY = "18"
"""Constant rate factor of x264: no difference to be seen."""


def check_movie(path: Path, width: int, height: int, rate: int) -> None:
    """Refuse what cannot be written, before anything is drawn.

    Parameters
    ----------
    path : Path
        Its ending says what it will be: ``.mp4`` or ``.gif``.
    width, height : int
        Pixels.
    rate : int
        Pictures per second.

    Raises
    ------
    InputError
        One sentence.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise InputError(f"{path.name}: a movie's name ends in .mp4 or .gif.")
    if kind == ".mp4" and importlib.util.find_spec("av") is None:
        raise InputError("MP4 needs PyAV: pip install 'mldsim[movie]' brings it; GIF is written without.")
    if width % 2 or height % 2 or not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise InputError(f"A movie has an even number of pixels a side, 16 to 8192; {width} x {height} were asked for.")
    fastest = FASTEST_GIF if kind == ".gif" else 120
    if not 1 <= rate <= fastest:
        raise InputError(f"A {kind[1:].upper()} has 1 to {fastest} pictures per second; {rate} were asked for.")


class _Encoder(Protocol):
    def add(self, picture: Picture, /) -> None: ...
    def close(self) -> None: ...


class MovieFile:
    """A movie that is being written; it takes its name when it is closed, with all pictures that were written.

    Parameters
    ----------
    path, width, height, rate
        As for `check_movie`, which is asked first.

    Raises
    ------
    InputError
        See `check_movie`.
    WorkFailed
        If the file cannot be created there.
    """

    def __init__(self, path: Path, width: int, height: int, rate: int) -> None:
        check_movie(path, width, height, rate)
        self.path = path
        self._whole = ExitStack()
        unfinished = self._whole.enter_context(whole_file(path))
        make: Callable[[Path, int, int, int], _Encoder] = _Mp4 if path.suffix.lower() == ".mp4" else _Gif
        self._encoder: _Encoder | None = None
        try:
            self._encoder = make(unfinished, width, height, rate)
        except Exception as error:  # noqa: BLE001 - FFmpeg and Pillow raise what they like
            self._drop(error)
        self._pictures = 0

    def write(self, picture: Picture) -> None:
        """Append a picture; raises WorkFailed when the disk is full."""
        assert self._encoder is not None
        try:
            self._encoder.add(picture)
        except Exception as error:  # noqa: BLE001 - FFmpeg and Pillow raise what they like
            self._drop(error)
        self._pictures += 1

    def flush(self) -> None:
        """A movie is whole when it is closed."""

    def close(self) -> None:
        """Give the file its name; without a picture there is none. Safe to call twice."""
        if self._encoder is None:
            return
        if not self._pictures:
            self._drop(WorkFailed(f"{self.path} was not made: it would have no picture."))
        try:
            self._encoder.close()
        except Exception as error:  # noqa: BLE001 - FFmpeg and Pillow raise what they like
            self._drop(error)
        self._encoder = None
        self._whole.close()

    def _drop(self, error: Exception) -> None:
        """Leave nothing half-written behind, and say why."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with suppress(Exception):
                encoder.close()
        told = error if isinstance(error, WorkFailed) else WorkFailed(f"{self.path} could not be written: {error}.")
        self._whole.__exit__(type(told), told, None)
        raise told from error


class _Mp4:
    def __init__(self, path: Path, width: int, height: int, rate: int) -> None:
        import av

        self._frame: Any = av.VideoFrame
        self._container: Any = av.open(str(path), "w", format="mp4")
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options={"crf": QUALITY, "preset": "fast"})
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"  # what every player takes

    def add(self, picture: Picture) -> None:
        frame = self._frame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
        finally:
            self._container.close()


class _Gif:
    """Picture after picture, each with 256 colours of its own, so that memory does not grow with the movie."""

    def __init__(self, path: Path, width: int, height: int, rate: int) -> None:
        self._file = path.open("wb")
        # GIF89a: size, no colours for all, and the extension of Netscape that says: again and again.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
        self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        self._rate = rate
        self._shown = 0

    def add(self, picture: Picture) -> None:
        from PIL import Image
        from PIL.GifImagePlugin import getdata

        # Hundredths of a second do not divide every rate: the picture lasts until its successor is due.
        self._shown += 1
        hundredths = round(100 * self._shown / self._rate) - round(100 * (self._shown - 1) / self._rate)
        image = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
        for block in getdata(image, duration=10 * hundredths, include_color_table=True):
            self._file.write(block)

    def close(self) -> None:
        self._file.write(b";")
        self._file.close()
