"""What CUDA kernels keep in registers: wide loads, and sums over the threads of a warp.

Numba indexes an array by one product for each axis, and looks whether an index counts from the end. In the passes over
pairs that was more than half of all instructions, and loads of single numbers kept the first cache busy four times as
long as loads of sixteen bytes.

    at(array, place)      the number at a flat place of a contiguous array; places are never checked, and never counted
                          from the end
    put_at                writes one there
    four(array, place)    four numbers from there on, as a tuple; `place` is a multiple of four, and the array begins at
                          a multiple of sixteen bytes, as all arrays of a device do
    total, least, most    sum, minimum and maximum of one number of each thread, for all of them; in a fixed order, and
                          called by all threads of a block of one warp
    before                sum of the numbers of the threads before this one, and of all
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numba import config, cuda

INLINED = {} if config.ENABLE_CUDASIM else {"forceinline": True}
"""Options of functions that are to be a part of who calls them, so that their arrays stay in registers."""


def limited(registers: int) -> dict[str, Any]:
    """Options of a kernel that is to use no more registers in a thread."""
    return {} if config.ENABLE_CUDASIM else {"max_registers": registers}


_on_device = cuda.jit(device=True, **INLINED)

if config.ENABLE_CUDASIM:
    from mldsim.kernels import simulator  # noqa: F401 (makes it sure and quick)

    def at(array: Any, place: int) -> Any:
        """The number at a flat place."""
        return array[np.unravel_index(place, array.shape)]

    def put_at(array: Any, place: int, number: Any) -> None:
        """Write the number at a flat place."""
        array[np.unravel_index(place, array.shape)] = number

    def four(array: Any, place: int) -> Any:
        """Four numbers from a flat place on."""
        if place % 4:
            raise IndexError(f"Four numbers are loaded from place {place}.")
        return tuple(at(array, place + n) for n in range(4))

    _mine = threading.local()

    @_on_device
    def _of_all(number: Any) -> list[Any]:
        numbers = cuda.shared.array((2, 1024), np.float64)
        _mine.turn = 1 - getattr(_mine, "turn", 0)  # numbers of the last time may still be read, older ones not
        numbers[_mine.turn, cuda.threadIdx.x] = number
        cuda.syncthreads()
        return [type(number)(numbers[_mine.turn, thread]) for thread in range(cuda.blockDim.x)]

    @_on_device
    def total(number: Any) -> Any:
        """Sum over the threads."""
        numbers = _of_all(number)
        while len(numbers) > 1:
            half = len(numbers) // 2
            numbers = [a + b for a, b in zip(numbers[:half], numbers[half:], strict=True)]
        return numbers[0]

    @_on_device
    def least(number: Any) -> Any:
        """Minimum over the threads."""
        return min(_of_all(number))

    @_on_device
    def most(number: Any) -> Any:
        """Maximum over the threads."""
        return max(_of_all(number))

    @_on_device
    def before(number: Any) -> tuple[Any, Any]:
        """Sum over the threads before this one, and over all."""
        numbers = _of_all(number)
        return sum(numbers[: cuda.threadIdx.x]), sum(numbers)

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.arrayobj import make_array

    ALL = 0xFFFFFFFF
    _WARP = 32

    def _address(context: Any, builder: Any, kind: Any, array: Any, place: Any, of: Any) -> Any:
        place = context.cast(builder, place, of, types.int64)
        return builder.gep(make_array(kind)(context, builder, value=array).data, [place])

    @intrinsic
    def at(typing, array, place):  # type: ignore[no-untyped-def]
        """The number at a flat place."""

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            return builder.load(_address(context, builder, array, values[0], values[1], place))

        return array.dtype(array, place), generate

    @intrinsic
    def put_at(typing, array, place, number):  # type: ignore[no-untyped-def]
        """Write the number at a flat place."""

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            value = context.cast(builder, values[2], number, array.dtype)
            builder.store(value, _address(context, builder, array, values[0], values[1], place))
            return context.get_dummy_value()

        return types.void(array, place, number), generate

    @intrinsic
    def four(typing, array, place):  # type: ignore[no-untyped-def]
        """Four numbers from a flat place on."""

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(context.get_data_type(array.dtype), 4)
            address = _address(context, builder, array, values[0], values[1], place)
            loaded = builder.load(builder.bitcast(address, vector.as_pointer()))
            loaded.align = 16
            parts = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), n)) for n in range(4)]
            return context.make_tuple(builder, sig.return_type, parts)

        return types.UniTuple(array.dtype, 4)(array, place), generate

    @_on_device
    def total(number):  # type: ignore[no-untyped-def]
        """Sum over the threads."""
        half = _WARP // 2
        while half > 0:
            number += cuda.shfl_xor_sync(ALL, number, half)
            half //= 2
        return number

    @_on_device
    def least(number):  # type: ignore[no-untyped-def]
        """Minimum over the threads."""
        half = _WARP // 2
        while half > 0:
            number = min(number, cuda.shfl_xor_sync(ALL, number, half))
            half //= 2
        return number

    @_on_device
    def most(number):  # type: ignore[no-untyped-def]
        """Maximum over the threads."""
        half = _WARP // 2
        while half > 0:
            number = max(number, cuda.shfl_xor_sync(ALL, number, half))
            half //= 2
        return number

    @_on_device
    def before(number):  # type: ignore[no-untyped-def]
        """Sum over the threads before this one, and over all."""
        thread = cuda.threadIdx.x
        summed = number
        step = 1
        while step < _WARP:
            below = cuda.shfl_up_sync(ALL, summed, step)
            if thread >= step:
                summed += below
            step *= 2
        return summed - number, cuda.shfl_sync(ALL, summed, _WARP - 1)
