"""A writer thread between a simulation and a file: lossless, bounded, and patient.

The queue holds a bounded number of frames; when the disk is slower than the physics, `put` says so and the physics
waits. Only the writer thread touches the file while it runs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import MldsimError, WorkFailed
from mldsim.frames import Frame
from mldsim.messages import Engine
from mldsim.plain import to_plain
from mldsim.trajectory.extxyz import ExtxyzWriter
from mldsim.trajectory.h5md import H5MDWriter

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Taken = TypeVar("Taken", contravariant=True)

_FLUSH_INTERVAL = 1.0


class Sink(Protocol[Taken]):
    """Takes one thing after the other: `H5MDWriter` and `ExtxyzWriter` frames, `MovieFile` pictures."""

    def write(self, one: Taken, /) -> None: ...

    def flush(self) -> None:
        """Bring what was written to where a crash cannot reach it."""
        ...

    def close(self) -> None: ...


FrameSink = Sink[Frame]


class Recorder(Generic[Item]):
    """Writes frames, or whatever its sink takes, from a thread of its own.

    Parameters
    ----------
    sink : Sink
        Belongs to the recorder from now on, which closes it.
    capacity : int
        Frames that may wait.
    """

    def __init__(self, sink: Sink[Item], capacity: int = 64) -> None:
        self._sink = sink
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=max(1, capacity))
        self._finishing = threading.Event()
        self._error: MldsimError | None = None
        self._written = 0
        self._thread = threading.Thread(target=self._work, name="mldsim-recorder", daemon=True)
        self._thread.start()

    @property
    def error(self) -> MldsimError | None:
        """Why the recording ended early. The file is valid up to the sink's last flush."""
        return self._error

    @property
    def written(self) -> int:
        """Frames that the sink took."""
        return self._written

    @property
    def queued(self) -> int:
        """Frames that wait."""
        return self._queue.qsize()

    @property
    def done(self) -> bool:
        """The sink is closed and the thread has ended."""
        return not self._thread.is_alive()

    def put(self, frame: Item, timeout: float | None = None) -> bool:
        """Hand over a frame, waiting while the queue is full.

        Parameters
        ----------
        frame : Frame or what else the sink takes
        timeout : float, optional
            Seconds to wait at most; without it, as long as it takes.

        Returns
        -------
        bool
            False when the queue was still full: the same frame is to be put again.

        Raises
        ------
        MldsimError
            What ended the recording, if something did.
        ValueError
            After `finish`.
        """
        if self._finishing.is_set():
            raise ValueError("The recorder is closed.")
        while self._error is None:
            try:
                # In slices, so that a writer that fails meanwhile is noticed.
                self._queue.put(frame, timeout=0.1 if timeout is None else timeout)
            except queue.Full:
                if timeout is not None and self._error is None:
                    return False
            else:
                return True
        raise self._error

    def finish(self) -> None:
        """Say that no frame follows; returns at once, `done` turns true when all are written."""
        self._finishing.set()
        with contextlib.suppress(queue.Full):  # when the queue is full, the writer is awake
            self._queue.put_nowait(None)

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, close the sink, end the thread. Safe to call twice.

        Raises
        ------
        MldsimError
            What ended the recording early, or that the disk did not take the rest within `timeout` seconds.
        """
        self.finish()
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        if not self.done:
            raise WorkFailed(f"The disk did not take the last {self.queued} frames in time; they are still waiting.")

    def _work(self) -> None:
        try:
            try:
                self._drain()
            finally:
                self._sink.close()
        except MldsimError as error:
            self._error = error
        except Exception as error:
            logger.exception("The recording failed.")
            self._error = WorkFailed(f"The recording stopped at an internal error ({type(error).__name__}: {error}).")

    def _drain(self) -> None:
        while True:
            try:
                frame = self._queue.get(timeout=_FLUSH_INTERVAL)
            except queue.Empty:
                self._sink.flush()  # the run is paused: what was recorded so far shall be safe
                continue
            if frame is not None:
                self._sink.write(frame)
                self._written += 1
            if self._finishing.is_set() and self._queue.empty():
                return


_EXTXYZ = (".xyz", ".extxyz")


def open_sink(
    path: Path, engine: Engine, box: NDArray[np.float64], force: bool, models: Sequence[tuple[int, str]] = ()
) -> FrameSink:
    """Create a trajectory file: extended XYZ when the name ends so, else H5MD that says what was run.

    Where several `models` made the frames, the file has the step from which on each did; its model is the present one.

    Raises
    ------
    InputError
        If the file exists and `force` is not set, or cannot be created there.
    """
    if path.suffix.lower() in _EXTXYZ:
        return ExtxyzWriter(path, engine.topology, force=force)
    metadata: dict[str, object] = {
        "model": engine.model_name,
        "model_card": dict(engine.model_card),
        "setup": to_plain(engine.setup),
        "parameters": to_plain(engine.parameters),
        "device": engine.device,
    }
    if len(models) > 1:
        metadata["models"] = [{"from_step": step, "model": name} for step, name in models]
    return H5MDWriter(path, engine.topology, box, metadata=metadata, force=force)
