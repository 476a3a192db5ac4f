"""Numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1), made sure and quick; importing this module changes it.

*Sure*: threads that asked for a shared array at the same time were given one each. *Quick*: the threads of a block wait
for each other at a barrier; before, the main thread asked them in a loop whether they wait, and took most of the time.

`cupy` and `empty_pinned` are NumPy's in the place of what `kernels.cuda_outbox` takes from CuPy.
"""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba.cuda.simulator import kernel, kernelapi

LONGEST_WAIT = 120.0
"""Seconds, after which threads that wait for one that has ended are told so."""

_one_at_a_time = threading.Lock()


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: Any = None) -> Any:  # noqa: ARG001 (all are aligned)
    caller = sys._getframe(1)
    with _one_at_a_time:
        return self._allocations.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype))


def _run_block(self: Any, grid_point: Any, *arguments: Any) -> None:
    places = list(np.ndindex(*self._block_dim))
    self.barrier = threading.Barrier(len(places))

    def work() -> None:
        try:
            self._f(*arguments)
        except BaseException:
            self.barrier.abort()
            raise

    threads = [kernel.BlockThread(work, self, grid_point, place, self._debug) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [thread.exception for thread in threads if thread.exception]
    for error, traceback in sorted(faults, key=lambda fault: isinstance(fault[0], threading.BrokenBarrierError)):
        raise error.with_traceback(traceback)


def _wait_for_all(self: Any) -> None:
    self._manager.barrier.wait(LONGEST_WAIT)


kernelapi.FakeCUDAShared.array = _shared_array
kernel.BlockManager.run = _run_block
kernel.BlockThread.syncthreads = _wait_for_all


class _Stream:
    """Does at once what it is asked for; arguments are CuPy's."""

    null: Any = None

    def __init__(self, *, non_blocking: bool) -> None:
        pass

    def wait_event(self, event: _Event) -> None:
        event.synchronize()


class _Event:
    def __init__(self, *, disable_timing: bool) -> None:  # noqa: ARG002
        self._recorded = False

    def record(self, stream: _Stream | None) -> None:  # noqa: ARG002
        self._recorded = True

    @property
    def done(self) -> bool:
        return self._recorded

    def synchronize(self) -> None:
        """Nothing to wait for; but nobody waits for what was not begun."""
        if not self._recorded:
            raise RuntimeError("An event that was not recorded is waited for.")


def _seen(array: Any) -> np.ndarray:
    """The numbers of an array of the simulator themselves, not a copy."""
    return np.asarray(getattr(array, "_ary", array))


def _arrived(array: np.ndarray, stream: _Stream, *, out: np.ndarray, blocking: bool) -> np.ndarray:  # noqa: ARG001
    out[...] = array
    return out


empty_pinned = np.empty
cupy = SimpleNamespace(
    asarray=_seen, empty=np.empty, asnumpy=_arrived, cuda=SimpleNamespace(Stream=_Stream, Event=_Event)
)
