"""Numba's CUDA simulator (NUMBA_ENABLE_CUDASIM=1), made sure and quick; importing this module changes it.

*Sure*: threads that asked for a shared array at the same time were given one each. *Quick*: the threads of a block wait
for each other at a barrier; before, the main thread asked them in a loop whether they wait, and took most of the time.
"""

from __future__ import annotations

import sys
import threading
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
