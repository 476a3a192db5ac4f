"""Compiled code of kernels that a function makes, found again at the next start.

Numba files compiled code under a hash of the function and of all that it refers to. Functions of ours among these are
known by a number that is drawn anew in each process, so that a kernel which calls one would never be found again, and
would be compiled and filed once more at every start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _sources() -> str:
    """Digest of all source of the kernels, whichever file a kernel takes a part from."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def found_again(kernel: Callable[..., Any], *constants: int) -> Callable[..., Any]:
    """File the code of `kernel` under the source of all kernels and the constants that it was made for.

    Parameters
    ----------
    kernel : callable
        Made by ``numba.njit(cache=True)``.
    constants : int
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
