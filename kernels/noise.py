"""Random numbers that depend on nothing but a key and a count: Philox 4x32-10, on the CPU and on the GPU alike.

A word of noise belongs to a key (that of the run), the number of the draw and the agent. So it is the same however the
agents are shared out among threads, a run that goes back or on needs no more than the count, and a GPU follows the CPU.
Salmon, Moraes, Dror and Shaw, Proc. SC11, 16 (2011).

Numbers of 32 bits are held in uint64, whose products do not overflow.
"""

from __future__ import annotations

import math

import numpy as np

from mldsim.kernels.caching import njit

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

_OF_THERMOSTAT = 0xFFFFFFFF
"""The agent that stands for none."""

_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def philox(key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]
    """Four words of 32 bits for a key of two and a counter of four, all in uint64."""
    k0, k1 = np.uint64(key0), np.uint64(key1)
    w0, w1, w2, w3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    for _ in range(10):
        a, b = w0 * _MULTIPLIERS[0], w2 * _MULTIPLIERS[1]
        w0, w1, w2, w3 = (b >> _HALF) ^ w1 ^ k0, b & _LOW, (a >> _HALF) ^ w3 ^ k1, a & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return w0, w1, w2, w3


@_compiled
def _uniform(word):  # type: ignore[no-untyped-def]
    """Strictly between 0 and 1."""
    return (np.float64(word) + 0.5) * 2.0**-32


@_compiled
def _words(key0, key1, draw, agent, attempt):  # type: ignore[no-untyped-def]
    count = np.uint64(draw)
    return philox(key0, key1, np.uint64(agent), count & _LOW, count >> _HALF, np.uint64(attempt))


@_compiled
def three_normals(key0, key1, draw, agent):  # type: ignore[no-untyped-def]
    """Three independent normal numbers of mean 0 and width 1, for one agent in one draw.

    Parameters
    ----------
    key0, key1 : int
        32 bits each.
    draw : int
        Below 2^64.
    agent : int
        Below 2^32 - 1.
    """
    w0, w1, w2, w3 = _words(key0, key1, draw, agent, 0)
    r, turn = math.sqrt(-2.0 * math.log(_uniform(w0))), 2.0 * math.pi * _uniform(w1)
    third = math.sqrt(-2.0 * math.log(_uniform(w2))) * math.cos(2.0 * math.pi * _uniform(w3))
    return r * math.cos(turn), r * math.sin(turn), third


@_compiled
def normal_and_squares(key0, key1, draw, n):  # type: ignore[no-untyped-def]
    """A normal number, and the sum of the squares of n others, which is twice a gamma number of shape n/2.

    By rejection: Marsaglia and Tsang, ACM Trans. Math. Softw. 26, 363 (2000); a shape below one through that above it.

    Parameters
    ----------
    key0, key1 : int
        32 bits each.
    draw : int
        Below 2^64.
    n : int
        0 gives no squares.
    """
    w0, w1, w2, _ = _words(key0, key1, draw, _OF_THERMOSTAT, 0)
    normal = math.sqrt(-2.0 * math.log(_uniform(w0))) * math.cos(2.0 * math.pi * _uniform(w1))
    if n < 1:
        return normal, 0.0
    shape, factor = 0.5 * n, 2.0
    if shape < 1.0:
        factor *= _uniform(w2) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = 1
    while True:
        w0, w1, w2, _ = _words(key0, key1, draw, _OF_THERMOSTAT, attempt)
        x = math.sqrt(-2.0 * math.log(_uniform(w0))) * math.cos(2.0 * math.pi * _uniform(w1))
        root = 1.0 + c * x
        v = root * root * root
        if v > 0.0 and math.log(_uniform(w2)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return normal, factor * d * v
        attempt += 1
