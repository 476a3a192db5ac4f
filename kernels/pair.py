"""The arithmetic of one pair of agents, written once for every device.

Plain functions of scalars and small arrays: `kernels.cpu` compiles them for the CPU, `kernels.cuda` for the GPU, and
both compile them into their own kernels. Numba's cache does not look across files: whoever edits this one removes
``kernels/__pycache__``, or old kernels run on.
"""

from __future__ import annotations

import math

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


def harmonics(x, y, z, rank, value):  # type: ignore[no-untyped-def]
    """Y_lm of a unit vector up to `rank`, written to ``value[(rank + 1)^2]``."""
    real = value.dtype.type
    value[0] = real(1.0)
    if rank >= 1:
        value[1] = x
        value[2] = y
        value[3] = z
    if rank >= 2:
        s = real(math.sqrt(3.0))
        value[4] = s * x * y
        value[5] = s * y * z
        value[6] = s * z * x
        value[7] = real(0.5) * s * (x * x - y * y)
        value[8] = real(1.5) * z * z - real(0.5)
    if rank >= 3:
        a = real(math.sqrt(5.0 / 8.0))
        b = real(math.sqrt(15.0))
        c = real(math.sqrt(3.0 / 8.0))
        z5 = real(5.0) * z * z
        x3 = real(3.0) * x * x
        y3 = real(3.0) * y * y
        value[9] = a * y * (x3 - y * y)
        value[10] = b * x * y * z
        value[11] = c * y * (z5 - real(1.0))
        value[12] = real(0.5) * z * (z5 - real(3.0))
        value[13] = c * x * (z5 - real(1.0))
        value[14] = real(0.5) * b * z * (x * x - y * y)
        value[15] = a * x * (x * x - y3)


def harmonic_slopes(x, y, z, rank, slope):  # type: ignore[no-untyped-def]
    """Gradient of each Y_lm on the unit sphere, written to ``slope[3, (rank + 1)^2]``.

    The gradient of the polynomial in `harmonics`, less its part along the unit vector.
    """
    real = slope.dtype.type
    zero = real(0.0)
    slope[0, 0], slope[1, 0], slope[2, 0] = zero, zero, zero
    if rank >= 1:
        slope[0, 1], slope[1, 1], slope[2, 1] = real(1.0), zero, zero
        slope[0, 2], slope[1, 2], slope[2, 2] = zero, real(1.0), zero
        slope[0, 3], slope[1, 3], slope[2, 3] = zero, zero, real(1.0)
    if rank >= 2:
        s = real(math.sqrt(3.0))
        slope[0, 4], slope[1, 4], slope[2, 4] = s * y, s * x, zero
        slope[0, 5], slope[1, 5], slope[2, 5] = zero, s * z, s * y
        slope[0, 6], slope[1, 6], slope[2, 6] = s * z, zero, s * x
        slope[0, 7], slope[1, 7], slope[2, 7] = s * x, -s * y, zero
        slope[0, 8], slope[1, 8], slope[2, 8] = zero, zero, real(3.0) * z
    if rank >= 3:
        a3 = real(3.0 * math.sqrt(5.0 / 8.0))
        b = real(math.sqrt(15.0))
        c = real(math.sqrt(3.0 / 8.0))
        two, half = real(2.0), real(0.5)
        xx, yy = x * x, y * y
        cz5 = c * (real(5.0) * z * z - real(1.0))
        slope[0, 9], slope[1, 9], slope[2, 9] = two * a3 * x * y, a3 * (xx - yy), zero
        slope[0, 10], slope[1, 10], slope[2, 10] = b * y * z, b * x * z, b * x * y
        slope[0, 11], slope[1, 11], slope[2, 11] = zero, cz5, real(10.0) * c * y * z
        slope[0, 12], slope[1, 12], slope[2, 12] = zero, zero, half * (real(15.0) * z * z - real(3.0))
        slope[0, 13], slope[1, 13], slope[2, 13] = cz5, zero, real(10.0) * c * x * z
        slope[0, 14], slope[1, 14], slope[2, 14] = b * x * z, -b * y * z, half * b * (xx - yy)
        slope[0, 15], slope[1, 15], slope[2, 15] = a3 * (xx - yy), -two * a3 * x * y, zero
    for m in range(1, (rank + 1) * (rank + 1)):
        along = slope[0, m] * x + slope[1, m] * y + slope[2, m] * z
        slope[0, m] -= along * x
        slope[1, m] -= along * y
        slope[2, m] -= along * z
