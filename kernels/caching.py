"""Compiled code of kernels that a function makes, found again at the next start.

Numba files compiled code under a hash of the function and of all that it refers to. Functions of ours among these are
known by a number that is drawn anew in each process, so that a kernel which calls one would never be found again, and
would be compiled and filed once more at every start: `found_again`.

Two of Numba's habits are safe for one process only, and kernels that a function makes (the same name, the same types,
another number of radial functions) meet both. Modules of kernels therefore take their decorators from here:

* Symbols in compiled code bear the function's name, its types and a number that counts from one in each process. Code
  that two processes filed can share all three, and where a third loads both, calls of one reach the other's code, whose
  arrays have other lengths. Here the count begins somewhere else in each process.
* Files of compiled code are numbered by those that the index knows. Of two processes that file at once, one may write
  over what the other's index names. Here the numbers are drawn.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit, prange
from numba.core import bytecode
from numba.core import caching as numba_caching

__all__ = ["found_again", "njit", "prange"]


def _file_name(self: Any, number: int) -> str:  # noqa: ARG001 (Numba would count)
    name: str = self._data_name_pattern.format(number=secrets.randbits(63))
    return name


def draw_file_names(module: Any) -> None:
    """Let a module of Numba's that files compiled code draw the numbers of its files."""
    # No part of Numba's promises: what is not there any more is left alone, and the test says so.
    if hasattr(getattr(module, "IndexDataCacheFile", None), "_data_name"):
        module.IndexDataCacheFile._data_name = _file_name


if hasattr(bytecode.FunctionIdentity, "_unique_ids"):  # as above
    bytecode.FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))
draw_file_names(numba_caching)


@cache
def _sources() -> str:
    """Digest of all source of the kernels, whichever file a kernel takes a part from."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def found_again(kernel: Callable[..., Any], *constants: int | str) -> Callable[..., Any]:
    """File the code of `kernel` under the source of all kernels and the constants that it was made for.

    Parameters
    ----------
    kernel : callable
        Made by ``numba.njit(cache=True)`` or ``numba.cuda.jit(cache=True)``.
    constants : int or str
        All that distinguishes it from others that the same source makes.

    Returns
    -------
    callable
        The kernel itself.
    """
    filed: Any = getattr(kernel, "_cache", None)
    if hasattr(filed, "_index_key"):  # no part of Numba's promises: without it, kernels are compiled at each start
        filed._index_key = lambda types, code: (types, code.magic_tuple(), (_sources(), constants))
    return kernel
