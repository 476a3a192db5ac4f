"""The arithmetic of one pair of agents, written once for every device.

Plain functions of scalars: `functions` compiles them for a device, and `kernels.cpu` and `kernels.cuda` build their
kernels from the result. On the CPU the same functions take vectors of pairs (`kernels.lanes`) in the place of scalars.
Numba's cache does not look across files: whoever edits this one removes ``kernels/__pycache__``, or old kernels run on.

The harmonics are homogeneous polynomials of x, y, z, so that u . grad Y_l = l Y_l on the unit sphere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

# What the compilers may reorder: sums go into vector registers, and comparisons with NaN stay honest.
FAST = {"reassoc", "nsz", "contract", "arcp"}


def separation(local, shift, i, entry):  # type: ignore[no-untyped-def]
    """q_i - q_j for one entry of the Verlet list, and j."""
    j = entry >> 5
    code = entry & 31
    return (
        local[i, 0] - local[j, 0] - shift[code, 0],
        local[i, 1] - local[j, 1] - shift[code, 1],
        local[i, 2] - local[j, 2] - shift[code, 2],
        j,
    )


def hermite(t, one):  # type: ignore[no-untyped-def]
    """Cubic Hermite polynomials: weights of (value, slope) at the near end and at the far end; 0 <= t <= 1."""
    two, three = one + one, one + one + one
    t2 = t * t
    t3 = t2 * t
    h1 = three * t2 - two * t3
    return one - h1, t3 - two * t2 + t, h1, t3 - t2


def hermite_slopes(t, one):  # type: ignore[no-untyped-def]
    """Derivatives of the four polynomials; that of the far value is minus that of the near value."""
    two, three = one + one, one + one + one
    t2 = t * t
    return two * three * (t2 - t), three * t2 - two * two * t + one, three * t2 - two * t


def quadrupole(real, x, y, z):  # type: ignore[no-untyped-def]
    """Y_2m of a unit vector."""
    s = real(math.sqrt(3.0))
    half = real(0.5)
    xx, yy = x * x, y * y
    return s * x * y, s * y * z, s * z * x, half * s * (xx - yy), z * z - half * (xx + yy)


def quadrupole_slopes(real, x, y, z):  # type: ignore[no-untyped-def]
    """Their derivatives along x, along y, and along z."""
    sx, sy, sz = real(math.sqrt(3.0)) * x, real(math.sqrt(3.0)) * y, real(math.sqrt(3.0)) * z
    none, minus = real(0.0), real(-1.0)
    return (
        (sy, none, sz, sx, minus * x),
        (sx, sz, none, minus * sy, minus * y),
        (none, sy, sx, none, real(2.0) * z),
    )


def octupole(real, x, y, z):  # type: ignore[no-untyped-def]
    """Y_3m of a unit vector."""
    a, b, c = real(math.sqrt(5.0 / 8.0)), real(math.sqrt(15.0)), real(math.sqrt(3.0 / 8.0))
    three, half = real(3.0), real(0.5)
    xx, yy, zz = x * x, y * y, z * z
    outer = real(4.0) * zz - xx - yy
    return (
        a * y * (three * xx - yy),
        b * x * y * z,
        c * y * outer,
        z * (zz - real(1.5) * (xx + yy)),
        c * x * outer,
        half * b * z * (xx - yy),
        a * x * (xx - three * yy),
    )


def octupole_slopes(real, x, y, z):  # type: ignore[no-untyped-def]
    """Their derivatives along x, along y, and along z."""
    a, b, c = real(math.sqrt(5.0 / 8.0)), real(math.sqrt(15.0)), real(math.sqrt(3.0 / 8.0))
    none, minus, half, three, four = real(0.0), real(-1.0), real(0.5), real(3.0), real(4.0)
    xx, yy, zz, xy, yz, zx = x * x, y * y, z * z, x * y, y * z, z * x
    across, eight = xx - yy, real(8.0) * c
    return (
        (
            real(6.0) * a * xy,
            b * yz,
            real(-2.0) * c * xy,
            minus * three * zx,
            c * (four * zz - three * xx - yy),
            b * zx,
            three * a * across,
        ),
        (
            three * a * across,
            b * zx,
            c * (four * zz - xx - three * yy),
            minus * three * yz,
            real(-2.0) * c * xy,
            minus * b * yz,
            real(-6.0) * a * xy,
        ),
        (none, b * xy, eight * yz, three * zz - real(1.5) * (xx + yy), eight * zx, half * b * across, none),
    )


class PairFunctions(NamedTuple):
    """The functions of this file, compiled for one device.

    harmonics(x, y, z, rank, value)
        Y_lm of a unit vector up to `rank`, written to ``value[(rank + 1)^2]``.
    harmonic_slopes(x, y, z, rank, slope)
        Gradient of each Y_lm on the unit sphere, written to ``slope[3, (rank + 1)^2]``: that of the polynomial, less
        its part along the unit vector.
    """

    separation: Callable[..., Any]
    hermite: Callable[..., Any]
    hermite_slopes: Callable[..., Any]
    quadrupole: Callable[..., Any]
    quadrupole_slopes: Callable[..., Any]
    octupole: Callable[..., Any]
    octupole_slopes: Callable[..., Any]
    harmonics: Callable[..., Any]
    harmonic_slopes: Callable[..., Any]


def functions(compiled: Callable[[Any], Any]) -> PairFunctions:
    """Compile all functions with one decorator, such as ``numba.njit`` or ``numba.cuda.jit(device=True)``."""
    two, two_slopes = compiled(quadrupole), compiled(quadrupole_slopes)
    three, three_slopes = compiled(octupole), compiled(octupole_slopes)

    @compiled
    def harmonics(x, y, z, rank, value):  # type: ignore[no-untyped-def]
        real = value.dtype.type
        value[0] = real(1.0)
        if rank >= 1:
            value[1], value[2], value[3] = x, y, z
        if rank >= 2:
            value[4], value[5], value[6], value[7], value[8] = two(real, x, y, z)
        if rank >= 3:
            value[9], value[10], value[11], value[12], value[13], value[14], value[15] = three(real, x, y, z)

    @compiled
    def harmonic_slopes(x, y, z, rank, slope):  # type: ignore[no-untyped-def]
        real = slope.dtype.type
        for d in range(3):
            slope[d, 0] = real(0.0)
            if rank >= 1:
                for m in range(1, 4):
                    slope[d, m] = real(m == d + 1)
        if rank >= 2:
            along_x, along_y, along_z = two_slopes(real, x, y, z)
            for m in range(5):
                slope[0, 4 + m], slope[1, 4 + m], slope[2, 4 + m] = along_x[m], along_y[m], along_z[m]
        if rank >= 3:
            by_x, by_y, by_z = three_slopes(real, x, y, z)
            for m in range(7):
                slope[0, 9 + m], slope[1, 9 + m], slope[2, 9 + m] = by_x[m], by_y[m], by_z[m]
        for m in range(1, (rank + 1) * (rank + 1)):
            outward = slope[0, m] * x + slope[1, m] * y + slope[2, m] * z
            slope[0, m] -= outward * x
            slope[1, m] -= outward * y
            slope[2, m] -= outward * z

    return PairFunctions(
        compiled(separation), compiled(hermite), compiled(hermite_slopes), two, two_slopes, three, three_slopes,
        harmonics, harmonic_slopes,
    )  # fmt: skip
