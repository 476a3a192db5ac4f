"""What leaves a GPU while it goes on working: CuPy's arrays, its pools of memory, and a stream of its own.

The arrays of the steps are written over by the next ones. What is asked for is put aside on the device first, as
float64 and in the order of the agents, after the steps that were launched before and before those that are launched
later. From there a second stream brings it into pinned memory, which the card writes by itself, beside the steps that
follow.

In Numba's simulator NumPy stands for CuPy, and everything has arrived when it is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config
from numpy.typing import NDArray

if config.ENABLE_CUDASIM:
    from mldsim.kernels.simulator import cupy, empty_pinned
else:
    import cupy  # type: ignore[no-redef]
    from cupyx import empty_pinned  # type: ignore[no-redef]

PINNED_FROM = 1 << 20
"""Bytes of an array that stays in pinned memory. Smaller ones are copied out of it, which costs little: a run that is
looked back on keeps thousands of frames, and memory that is pinned cannot be paged out."""


def aside(array: Any, rows: Any | None = None) -> Any:
    """A copy of a device array on the device, as float64.

    Parameters
    ----------
    array : device array, (n, ...)
    rows : device array, (n,) int32, optional
        Where each row goes; as it stands where none is given.
    """
    array = cupy.asarray(array)
    if rows is None:
        return array.astype(np.float64)
    found = cupy.empty(array.shape, np.float64)
    found[cupy.asarray(rows)] = array
    return found


class Parcel:
    """Arrays on their way to the host."""

    def __init__(self, contents: tuple[NDArray[Any], ...], arrived: Any, sources: tuple[Any, ...]) -> None:
        self._contents, self._arrived = contents, arrived
        self._sources = sources  # their memory must not be given to others on the way
        self._open = False

    def arrived(self) -> bool:
        """Whether they are there; from a device that was lost they never come."""
        return self._open or bool(self._arrived.done)

    def open(self) -> tuple[NDArray[Any], ...]:
        """The arrays, which nobody else has; waits until they are there.

        What has arrived once is there for good, whatever becomes of the device.
        """
        if not self._open:
            self._arrived.synchronize()
            self._contents = tuple(array if array.nbytes >= PINNED_FROM else array.copy() for array in self._contents)
            self._open, self._sources = True, ()
        return self._contents


class Outbox:
    """Sends arrays of the device to the host, one after the other, beside what the device does then."""

    def __init__(self) -> None:
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def send(self, *arrays: Any) -> Parcel:
        """Begin to copy arrays that `aside` made; returns at once."""
        made, arrived = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        made.record(cupy.cuda.Stream.null)  # where Numba launches
        self._stream.wait_event(made)
        contents = tuple(
            cupy.asnumpy(array, self._stream, out=empty_pinned(array.shape, array.dtype), blocking=False)
            for array in arrays
        )
        arrived.record(self._stream)
        return Parcel(contents, arrived, arrays)


def check() -> None:
    """Send a few numbers; raises whatever CuPy and the driver raise.

    Raises
    ------
    RuntimeError
        If others arrive.
    """
    wanted = np.arange(8.0)
    array = cupy.asarray(wanted[::-1].copy())
    rows = cupy.asarray(np.arange(7, -1, -1, dtype=np.int32))
    (found,) = Outbox().send(aside(array, rows)).open()
    if not np.array_equal(found, wanted):
        raise RuntimeError("it sent wrong numbers")
