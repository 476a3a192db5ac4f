"""Vector registers for Numba: values that hold a fixed number of lanes, and the few operations that kernels need.

LLVM finds vector instructions in long loops over scalars. The loops over radial functions and components are short and
of fixed length: it unrolls them first and then finds none. A ``Lanes`` value is an LLVM vector, so that every operation
on it is a vector instruction; LLVM splits what is wider than the processor's register, and any processor will do.

    a + b, a - b, a * b, a / b      lane by lane; one of the two may be a scalar
    vectors(width)                  zero, load, store, whole
    rows(width, count)              a tuple of `count` Lanes that stays in registers over a loop
    turn, turn_at                   x, y and z of eight neighbours from eight rows (x, y, z, -)
    below, equal, counted, lowest   lanes, or numbers of an array, that fulfil a condition, as the bits of an integer

Arrays are contiguous and indexed by the flat number of an element, never from the end, and never checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic

FLAGS = ("reassoc", "nsz", "contract", "arcp")
"""As `kernels.pair.FAST`, for the instructions made here."""


class Lanes(types.Type):  # type: ignore[misc]
    """Numba's type of `width` numbers of one dtype in a register."""

    def __init__(self, dtype: types.Type, width: int) -> None:
        self.dtype = dtype
        self.width = width
        super().__init__(name=f"Lanes({dtype}, {width})")

    @property
    def suffix(self) -> str:
        """As LLVM's intrinsic functions call it."""
        return f"v{self.width}f{self.dtype.bitwidth}"


@register_default(Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        element = manager.lookup(lanes.dtype).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(element, lanes.width))


def _splat(context: Any, builder: Any, value: Any, of: types.Type, lanes: Lanes) -> Any:
    """The scalar in every lane; what is in lanes already stays as it is."""
    if isinstance(of, Lanes):
        return value
    vector = context.get_value_type(lanes)
    index = ir.IntType(32)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, context.cast(builder, value, of, lanes.dtype), ir.Constant(index, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, lanes.width), [0] * lanes.width))


def _define(operation: Callable[..., Any], instruction: str) -> None:
    @infer_global(operation)
    class _Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, arguments: Any, keywords: Any) -> Any:
            if keywords or len(arguments) != 2:
                return None
            lanes = {argument for argument in arguments if isinstance(argument, Lanes)}
            if len(lanes) != 1 or not all(isinstance(a, Lanes | types.Number) for a in arguments):
                return None
            return signature(lanes.pop(), *arguments)

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        both = (_splat(context, builder, v, t, sig.return_type) for v, t in zip(values, sig.args, strict=True))
        return getattr(builder, instruction)(*both, flags=FLAGS)

    for pair in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(operation, *pair)(lower)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.iadd, "fadd"),
    (operator.isub, "fsub"),
    (operator.imul, "fmul"),
):
    _define(_operation, _instruction)


def _call(builder: Any, name: str, result: Any, values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, values, fastmath=FLAGS)


@intrinsic
def root(typing, v):  # type: ignore[no-untyped-def]
    """Square root of each lane."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return _call(builder, f"llvm.sqrt.{v.suffix}", values[0].type, values)

    return v(v), generate


def _selected(a: Lanes, b: types.Type, relation: str) -> Any:
    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        x, y = values[0], _splat(context, builder, values[1], b, a)
        return builder.select(builder.fcmp_ordered(relation, x, y), x, y)

    return a(a, b), generate


@intrinsic
def smaller(typing, a, b):  # type: ignore[no-untyped-def]
    """The smaller of each lane and a scalar or another lane."""
    return _selected(a, b, "<")


@intrinsic
def larger(typing, a, b):  # type: ignore[no-untyped-def]
    """The larger of each lane and a scalar or another lane."""
    return _selected(a, b, ">")


@intrinsic
def total(typing, v):  # type: ignore[no-untyped-def]
    """Sum over the lanes."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        element = values[0].type.element
        return _call(builder, f"llvm.vector.reduce.fadd.{v.suffix}", element, [ir.Constant(element, -0.0), values[0]])

    return v.dtype(v), generate


@intrinsic
def least(typing, v):  # type: ignore[no-untyped-def]
    """Smallest lane."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return _call(builder, f"llvm.vector.reduce.fmin.{v.suffix}", values[0].type.element, values)

    return v.dtype(v), generate


def _chosen(builder: Any, v: Any, w: Any, places: Iterable[int]) -> Any:
    """The lanes of v and w, numbered one after the other, at these places."""
    numbers = list(places)
    return builder.shuffle_vector(v, w, ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers))


@intrinsic
def across(typing, x, y, z):  # type: ignore[no-untyped-def]
    """Four Lanes: the sums over the lanes of x, of y and of z, and zero."""
    four = Lanes(x.dtype, 4)

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        rows = [*values, ir.Constant(values[0].type, None)]
        for _ in range(x.width.bit_length() - 3):  # to four lanes each
            half = rows[0].type.count // 2
            ends = [[_chosen(builder, v, v, range(half * n, half * (n + 1))) for v in rows] for n in range(2)]
            rows = [builder.fadd(low, high, flags=FLAGS) for low, high in zip(*ends, strict=True)]
        halves = []
        for v, w in (rows[:2], rows[2:]):
            low, high = (_chosen(builder, v, w, places) for places in ((0, 4, 1, 5), (2, 6, 3, 7)))
            halves.append(builder.fadd(low, high, flags=FLAGS))
        low, high = (_chosen(builder, halves[0], halves[1], places) for places in ((0, 1, 4, 5), (2, 3, 6, 7)))
        return builder.fadd(low, high, flags=FLAGS)

    return four(x, y, z), generate


@intrinsic
def row_of(typing, v, x, y, z):  # type: ignore[no-untyped-def]
    """Four Lanes of v's kind: x, y, z and zero."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        row = ir.Constant(values[0].type, None)
        for number, (value, kind) in enumerate(zip(values[1:], (x, y, z), strict=True)):
            real = context.cast(builder, value, kind, v.dtype)
            row = builder.insert_element(row, real, ir.Constant(ir.IntType(32), number))
        return row

    return v(v, x, y, z), generate


def _turned(context: Any, builder: Any, array: types.Array, values: Any, numbers: Any) -> Any:
    """x, y and z of the eight rows of these numbers."""
    four = context.get_value_type(Lanes(array.dtype, 4))
    quads = []
    for number in numbers:
        index = builder.mul(number, ir.Constant(number.type, 4))
        quads.append(_load(builder, _pointer(context, builder, array, values[0], index, types.intp), four, array))
    both = [_chosen(builder, quads[q], quads[4 + q], range(8)) for q in range(4)]
    low = [_chosen(builder, v, w, (0, 8, 1, 9, 4, 12, 5, 13)) for v, w in (both[:2], both[2:])]
    high = [_chosen(builder, v, w, (2, 10, 3, 11, 6, 14, 7, 15)) for v, w in (both[:2], both[2:])]
    first, second = (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)
    found = [_chosen(builder, low[0], low[1], first), _chosen(builder, low[0], low[1], second)]
    found.append(_chosen(builder, high[0], high[1], first))
    return context.make_tuple(builder, types.UniTuple(Lanes(array.dtype, 8), 3), found)


@intrinsic
def turn(typing, array, first):  # type: ignore[no-untyped-def]
    """x, y and z of the eight rows of four numbers from row `first` on."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        begin = context.cast(builder, values[1], first, types.intp)
        numbers = [builder.add(begin, ir.Constant(begin.type, q)) for q in range(8)]
        return _turned(context, builder, array, values, numbers)

    return types.UniTuple(Lanes(array.dtype, 8), 3)(array, first), generate


@intrinsic
def turn_at(typing, array, numbers, first):  # type: ignore[no-untyped-def]
    """The same of the rows whose numbers are the eight of an array of integers from `first` on."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        found = []
        for q in range(8):
            index = context.cast(builder, values[2], first, types.intp)
            index = builder.add(index, ir.Constant(index.type, q))
            number = builder.load(_pointer(context, builder, numbers, values[1], index, types.intp))
            found.append(context.cast(builder, number, numbers.dtype, types.intp))
        return _turned(context, builder, array, values, found)

    return types.UniTuple(Lanes(array.dtype, 8), 3)(array, numbers, first), generate


def _bits(builder: Any, condition: Any) -> Any:
    bits = builder.bitcast(condition, ir.IntType(condition.type.count))
    return builder.zext(bits, ir.IntType(64))


@intrinsic
def below(typing, v, limit):  # type: ignore[no-untyped-def]
    """One bit per lane, the first lane in the lowest: whether it is smaller; false for what is not a number."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return _bits(builder, builder.fcmp_ordered("<", values[0], _splat(context, builder, values[1], limit, v)))

    return types.int64(v, limit), generate


@intrinsic
def equal(typing, array, first, number):  # type: ignore[no-untyped-def]
    """One bit for each of eight integers of an array: whether it is that number."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        vector = ir.VectorType(ir.IntType(array.dtype.bitwidth), 8)
        here = _load(builder, _pointer(context, builder, array, values[0], values[1], first), vector, array)
        value = context.cast(builder, values[2], number, array.dtype)
        undefined = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        return _bits(builder, builder.icmp_signed("==", here, _chosen(builder, one, undefined, [0] * 8)))

    return types.int64(array, first, number), generate


@intrinsic
def counted(typing, bits):  # type: ignore[no-untyped-def]
    """How many bits are set."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return builder.ctpop(values[0])

    return types.int64(types.int64), generate


@intrinsic
def lowest(typing, bits):  # type: ignore[no-untyped-def]
    """The number of the lowest bit that is set, 64 if there is none."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


def _pointer(context: Any, builder: Any, kind: types.Array, array: Any, index: Any, of: types.Type) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [context.cast(builder, index, of, types.intp)])


def _load(builder: Any, pointer: Any, vector: Any, kind: types.Array) -> Any:
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=kind.dtype.bitwidth // 8)


def _store(builder: Any, value: Any, pointer: Any, kind: types.Array) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=kind.dtype.bitwidth // 8)


@intrinsic
def at(typing, array, index):  # type: ignore[no-untyped-def]
    """One number of an array."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return builder.load(_pointer(context, builder, array, values[0], values[1], index))

    return array.dtype(array, index), generate


@intrinsic
def put(typing, array, index, number):  # type: ignore[no-untyped-def]
    """Write one number into an array."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        value = context.cast(builder, values[2], number, array.dtype)
        builder.store(value, _pointer(context, builder, array, values[0], values[1], index))
        return context.get_dummy_value()

    return types.void(array, index, number), generate


class Vectors(NamedTuple):
    """Functions for Lanes of one width, to be called from compiled code."""

    zero: Callable[..., Any]
    load: Callable[..., Any]
    store: Callable[..., Any]
    store_each: Callable[..., Any]


def vectors(width: int) -> Vectors:
    """The functions that need to know the number of lanes.

    zero(array)
        Lanes of zero, of the array's dtype.
    load(array, index)
        `width` numbers from there on.
    store(array, index, v)
        Write them; into an array of integers without their fraction.
    store_each(array, first, stride, values)
        Write each of a tuple's Lanes, `stride` elements apart; a scalar among them leaves its place as it is.
    """

    @intrinsic
    def zero(typing, array):  # type: ignore[no-untyped-def]
        lanes = Lanes(array.dtype, width)

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            return ir.Constant(context.get_value_type(lanes), None)

        return lanes(array), generate

    @intrinsic
    def load(typing, array, index):  # type: ignore[no-untyped-def]
        lanes = Lanes(array.dtype, width)

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            pointer = _pointer(context, builder, array, values[0], values[1], index)
            return _load(builder, pointer, context.get_value_type(lanes), array)

        return lanes(array, index), generate

    @intrinsic
    def store(typing, array, index, v):  # type: ignore[no-untyped-def]
        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            value = values[2]
            if array.dtype != v.dtype:
                value = builder.fptosi(value, ir.VectorType(ir.IntType(array.dtype.bitwidth), width))
            _store(builder, value, _pointer(context, builder, array, values[0], values[1], index), array)
            return context.get_dummy_value()

        return types.void(array, index, v), generate

    @intrinsic
    def store_each(typing, array, first, stride, group):  # type: ignore[no-untyped-def]
        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            index = context.cast(builder, values[1], first, types.intp)
            step = context.cast(builder, values[2], stride, types.intp)
            for m, kind in enumerate(group):
                if isinstance(kind, Lanes):
                    pointer = _pointer(context, builder, array, values[0], index, types.intp)
                    _store(builder, builder.extract_value(values[3], m), pointer, array)
                index = builder.add(index, step)
            return context.get_dummy_value()

        return types.void(array, first, stride, group), generate

    return Vectors(zero, load, store, store_each)


@intrinsic
def whole(typing, v):  # type: ignore[no-untyped-def]
    """Each lane without its fraction."""

    def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
        return builder.sitofp(builder.fptosi(values[0], ir.VectorType(ir.IntType(32), v.width)), values[0].type)

    return v(v), generate


class Rows(NamedTuple):
    """Functions for tuples of Lanes, to be called from compiled code."""

    zeros: Callable[..., Any]
    add: Callable[..., Any]
    add_each: Callable[..., Any]
    together: Callable[..., Any]
    add_to: Callable[..., Any]
    put_rows: Callable[..., Any]


def rows(width: int, count: int) -> Rows:
    """Sums of `count` rows at once.

    zeros(array)
        `count` Lanes of zero, of the array's dtype.
    add(sums, v, array, first, stride)
        ``sums[m] + v * array[first + m * stride]`` for each m, as a new tuple.
    add_each(sums, array, first, lanes, here, stride)
        ``sums[m] + array[first + m] * lanes[here + m * stride :]`` for each m, as a new tuple: sums that need not wait
        for one another.
    together(sums)
        The sum of all.
    add_to(array, first, stride, sums)
        Add ``sums[m]`` to the `width` numbers of the array that begin at ``first + m * stride``.
    put_rows(array, first, stride, sums)
        Write it there.
    """

    @intrinsic
    def zeros(typing, array):  # type: ignore[no-untyped-def]
        lanes = Lanes(array.dtype, width)
        result = types.UniTuple(lanes, count)

        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            zero = ir.Constant(context.get_value_type(lanes), None)
            return context.make_tuple(builder, result, [zero] * count)

        return result(array), generate

    @intrinsic
    def add(typing, sums, v, array, first, stride):  # type: ignore[no-untyped-def]
        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            index = context.cast(builder, values[3], first, types.intp)
            step = context.cast(builder, values[4], stride, types.intp)
            result = []
            for m in range(count):
                number = builder.load(_pointer(context, builder, array, values[2], index, types.intp))
                product = builder.fmul(values[1], _splat(context, builder, number, array.dtype, v), flags=FLAGS)
                result.append(builder.fadd(builder.extract_value(values[0], m), product, flags=FLAGS))
                index = builder.add(index, step)
            return context.make_tuple(builder, sums, result)

        return sums(sums, v, array, first, stride), generate

    @intrinsic
    def add_each(typing, sums, array, first, lanes, here, stride):  # type: ignore[no-untyped-def]
        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            index, place, step = (
                context.cast(builder, values[n], kind, types.intp) for n, kind in ((2, first), (4, here), (5, stride))
            )
            result = []
            for m in range(count):
                number = builder.load(_pointer(context, builder, array, values[1], index, types.intp))
                before = builder.extract_value(values[0], m)
                pointer = _pointer(context, builder, lanes, values[3], place, types.intp)
                of_lanes = _load(builder, pointer, before.type, lanes)
                product = builder.fmul(of_lanes, _splat(context, builder, number, array.dtype, sums[0]), flags=FLAGS)
                result.append(builder.fadd(before, product, flags=FLAGS))
                index = builder.add(index, ir.Constant(index.type, 1))
                place = builder.add(place, step)
            return context.make_tuple(builder, sums, result)

        return sums(sums, array, first, lanes, here, stride), generate

    @intrinsic
    def together(typing, sums):  # type: ignore[no-untyped-def]
        def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
            found = builder.extract_value(values[0], 0)
            for m in range(1, count):
                found = builder.fadd(found, builder.extract_value(values[0], m), flags=FLAGS)
            return found

        return sums[0](sums), generate

    def written(*, added: bool) -> Any:
        def typed(typing, array, first, stride, sums):  # type: ignore[no-untyped-def]
            def generate(context, builder, sig, values):  # type: ignore[no-untyped-def]
                index = context.cast(builder, values[1], first, types.intp)
                step = context.cast(builder, values[2], stride, types.intp)
                for m in range(count):
                    pointer = _pointer(context, builder, array, values[0], index, types.intp)
                    value = builder.extract_value(values[3], m)
                    if added:
                        value = builder.fadd(_load(builder, pointer, value.type, array), value, flags=FLAGS)
                    _store(builder, value, pointer, array)
                    index = builder.add(index, step)
                return context.get_dummy_value()

            return types.void(array, first, stride, sums), generate

        return intrinsic(typed)

    return Rows(zeros, add, add_each, together, written(added=True), written(added=False))
