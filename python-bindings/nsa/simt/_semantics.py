# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What instructions compute: PTX's arithmetic in NumPy.

``find(opcode)`` returns an ``Operation``: a function of arrays, the types of its sources
and of its results. Arrays hold raw bits: predicates are bool, everything else unsigned of
the type's width, and a function looks at them as signed or as floating point where its
type says so. Every opcode is matched as a whole by one of the patterns below: a modifier
that no pattern names makes it unknown, so none is ignored by accident.

What needs care, because NumPy does otherwise than PTX:

- Shifts by the width or more give 0, or copies of the sign; NumPy's are undefined there.
- Division truncates towards zero; NumPy's floors. By zero it is all ones, as on GPUs.
- float to integer saturates, NaN becomes 0; NumPy's cast is undefined there.
- bf16 and f32 FMA round once. Products are exact in float64; the sum is rounded to odd
  there (the last bit of an inexact result is set), after which one more rounding to at
  most 50 bits is that of the exact value. The same trick takes float64 to bf16.
- A result that is NaN is the canonical one, 0x7fff in bf16 and 0x7fffffff in f32.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

U = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
S = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
F = {16: np.float16, 32: np.float32, 64: np.float64}


@dataclass(frozen=True)
class Operation:
    function: Callable[..., Any]
    #: As "s32", "b64", "f32", "pred".
    sources: tuple[str, ...]
    results: tuple[str, ...]


def width(type_name: str) -> int:
    """Bits of a type; 1 of pred."""
    if type_name == "pred":
        return 1
    special = {"bf16x2": 32, "bf16": 16, "f16x2": 32, "e4m3x2": 16}
    return special.get(type_name) or int(type_name[1:])


def interpret(bits: Any, type_name: str) -> Any:
    """Raw bits as numbers of a type."""
    if type_name == "pred":
        return bits
    if type_name == "bf16":
        return bf16_to_f32(bits)
    kinds = {"s": S, "f": F}.get(type_name[0], U)
    return bits.view(kinds[width(type_name)])


def raw(values: Any) -> Any:
    """Numbers as raw bits."""
    if values.dtype == bool:
        return values
    return values.view(U[8 * values.dtype.itemsize])


# ----------------------------------------------------------------------------
# Rounding
# ----------------------------------------------------------------------------


def bf16_to_f32(bits: Any) -> Any:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def f32_to_bf16(values: Any) -> Any:
    """Rounded to nearest, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(values), np.uint16(0x7FFF), bits.astype(np.uint16))


def f32_to_e4m3(values: Any) -> Any:
    """Rounded to nearest, ties to even; what is too large is 448, NaN is 0x7f."""
    magnitude = np.minimum(np.abs(values).astype(np.float64), 448.0)
    _, exponent = np.frexp(magnitude)
    step = np.ldexp(1.0, np.maximum(exponent - 1, -6) - 3)
    rounded = np.rint(magnitude / step) * step
    _, exponent = np.frexp(rounded)
    exponent = np.maximum(exponent - 1, -6)
    digits = np.rint(rounded / np.ldexp(1.0, exponent - 3)).astype(np.int64)
    code = np.where(digits < 8, digits, ((exponent + 7) << 3) + digits - 8)
    sign = np.where(np.signbit(values), 0x80, 0)
    return np.where(np.isnan(values), 0x7F, code | sign).astype(np.uint8)


def e4m3_to_f32(codes: Any) -> Any:
    codes = codes.astype(np.int32)
    exponent, digits = (codes >> 3) & 15, codes & 7
    values = np.where(
        exponent == 0,
        np.ldexp(digits.astype(np.float32), -9),
        np.ldexp((8 + digits).astype(np.float32), exponent - 10),
    )
    values = np.where((codes & 0x7F) == 0x7F, np.float32(np.nan), values)
    return np.where(codes & 0x80, -values, values).astype(np.float32)


def _odd_f32(values: Any) -> Any:
    """float64 to float32, rounded to odd."""
    near = values.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.uint32)
    inexact = (back != values) & np.isfinite(values)
    bits = np.where(inexact & (np.abs(back) > np.abs(values)), bits - np.uint32(1), bits)
    return np.where(inexact, bits | np.uint32(1), bits).astype(np.uint32).view(np.float32)


def _odd_sum(a: Any, b: Any) -> Any:
    """a + b in float64, rounded to odd."""
    total = np.asarray(a + b)
    part = total - a
    error = (a - (total - part)) + (b - part)
    inexact = np.isfinite(total) & np.isfinite(error) & (error != 0)
    bits = total.view(np.int64)
    # Towards zero first if the rounding went away from it.
    away = inexact & ((error < 0) == (total > 0))
    bits = np.where(away, bits - 1, bits)
    return np.where(inexact, bits | 1, bits).astype(np.int64).view(np.float64)


def _canonical(values: Any) -> Any:
    """float32 as bits with the canonical NaN."""
    bits = np.where(np.isnan(values), np.uint32(0x7FFFFFFF), values.view(np.uint32))
    return bits.astype(np.uint32)


# ----------------------------------------------------------------------------
# Families
# ----------------------------------------------------------------------------

_FAMILIES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], Operation]]] = []


def _family(pattern: str):
    """Registers what an opcode that matches as a whole means."""

    def register(build):
        _FAMILIES.append((re.compile(pattern), build))
        return build

    return register


@cache
def find(opcode: str) -> Operation | None:
    """What an opcode computes; None if it is not known here."""
    for pattern, build in _FAMILIES:
        if match := pattern.fullmatch(opcode):
            return build(match)
    return None


def _float(function: Callable[..., Any], bits: int) -> Callable[..., Any]:
    """A function of floats as one of raw bits."""

    def run(*operands: Any) -> Any:
        result = function(*(operand.view(F[bits]) for operand in operands))
        return _canonical(result) if bits == 32 else raw(result)

    return run


@_family(r"(add|sub)\.([us](?:16|32|64))")
def _add(match):
    function = np.add if match[1] == "add" else np.subtract
    return Operation(function, (match[2],) * 2, (match[2],))


@_family(r"(add|sub|mul|div)(?:\.rn)?\.(f32|f64)")
def _float_arithmetic(match):
    names = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
    function = _float(names[match[1]], width(match[2]))
    return Operation(function, (match[2],) * 2, (match[2],))


@_family(r"rcp\.rn\.(f32|f64)")
def _reciprocal(match):
    bits = width(match[1])
    one = F[bits](1)
    return Operation(_float(lambda a: np.divide(one, a), bits), (match[1],), (match[1],))


def _wide(a: Any, b: Any, type_name: str) -> Any:
    """The whole product, in an unsigned integer of twice the width."""
    bits = width(type_name)
    kinds = S if type_name[0] == "s" else U
    x, y = (interpret(v, type_name).astype(kinds[2 * bits]) for v in (a, b))
    return raw(x * y)


def _high(a: Any, b: Any, type_name: str) -> Any:
    bits = width(type_name)
    if bits < 64:
        return (_wide(a, b, type_name) >> U[2 * bits](bits)).astype(U[bits])
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    x, y = (a & low, a >> half), (b & low, b >> half)
    middle = x[1] * y[0] + ((x[0] * y[0]) >> half)
    other = x[0] * y[1] + (middle & low)
    high = x[1] * y[1] + (middle >> half) + (other >> half)
    if type_name == "s64":
        zero = np.uint64(0)
        high = high - np.where(a >> np.uint64(63) != 0, b, zero)
        high = high - np.where(b >> np.uint64(63) != 0, a, zero)
    return high


@_family(r"(mul|mad)\.(lo|hi|wide)\.([us](?:16|32|64))")
def _multiply(match):
    name, part, type_name = match[1], match[2], match[3]
    result = type_name
    if part == "lo":
        product = np.multiply
    elif part == "hi":

        def product(a, b):
            return _high(a, b, type_name)
    else:
        if type_name.endswith("64"):
            return None
        result = type_name[0] + str(2 * width(type_name))

        def product(a, b):
            return _wide(a, b, type_name)

    if name == "mul":
        return Operation(product, (type_name,) * 2, (result,))
    return Operation(
        lambda a, b, c: product(a, b) + c, (type_name, type_name, result), (result,)
    )


@_family(r"fma\.rn\.f32")
def _fma(match):
    def fma(a, b, c):
        x, y, z = (v.view(np.float32).astype(np.float64) for v in (a, b, c))
        return _canonical(_odd_sum(x * y, z).astype(np.float32))

    return Operation(fma, ("f32",) * 3, ("f32",))


@_family(r"(add|sub|mul|fma)(?:\.rn)?\.(bf16|bf16x2)")
def _bf16x2(match):
    def half(name, *operands):
        values = [bf16_to_f32(v.astype(np.uint16)).astype(np.float64) for v in operands]
        if name == "mul":
            total = values[0] * values[1]
        elif name == "fma":
            total = _odd_sum(values[0] * values[1], values[2])
        else:
            total = _odd_sum(values[0], values[1] if name == "add" else -values[1])
        return f32_to_bf16(_odd_f32(np.asarray(total))).astype(np.uint32)

    def run(*operands):
        low = half(match[1], *operands)
        shift = np.uint32(16)
        return low | half(match[1], *(v >> shift for v in operands)) << shift

    count = 3 if match[1] == "fma" else 2
    if match[2] == "bf16":
        return Operation(
            lambda *operands: half(match[1], *operands).astype(np.uint16),
            ("b16",) * count,
            ("b16",),
        )
    return Operation(run, ("b32",) * count, ("b32",))


@_family(r"(div|rem)\.([us](?:16|32|64))")
def _divide(match):
    type_name, bits = match[2], width(match[2])

    def divide(a, b):
        zero = b == 0
        divisor = np.where(zero, U[bits](1), b)
        if type_name[0] == "u":
            quotient = a // divisor
        else:
            # By magnitudes, unsigned: that of the smallest number has no sign.
            x, y = a.view(S[bits]), divisor.view(S[bits])
            size = np.where(x < 0, U[bits](0) - a, a)
            by = np.where(y < 0, U[bits](0) - divisor, divisor)
            quotient = size // by
            quotient = np.where((x < 0) != (y < 0), U[bits](0) - quotient, quotient)
        if match[1] == "rem":
            return np.where(zero, a, a - quotient * divisor).astype(U[bits])
        return np.where(zero, U[bits](2**bits - 1), quotient).astype(U[bits])

    return Operation(divide, (type_name,) * 2, (type_name,))


@_family(r"(min|max)\.([us](?:16|32|64)|f32)")
def _extreme(match):
    type_name = match[2]
    if type_name == "f32":
        function = np.fmin if match[1] == "min" else np.fmax
        return Operation(_float(function, 32), ("f32",) * 2, ("f32",))
    choose = np.minimum if match[1] == "min" else np.maximum
    if type_name[0] == "u":
        return Operation(choose, (type_name,) * 2, (type_name,))
    signed = S[width(type_name)]
    return Operation(
        lambda a, b: raw(choose(a.view(signed), b.view(signed))),
        (type_name,) * 2,
        (type_name,),
    )


@_family(r"(neg|abs)\.(s16|s32|s64|f32)")
def _negate(match):
    type_name, bits = match[2], width(match[2])
    if type_name == "f32":
        sign = np.uint32(0x80000000)
        function = (lambda a: a ^ sign) if match[1] == "neg" else (lambda a: a & ~sign)
    elif match[1] == "neg":

        def function(a):
            return U[bits](0) - a
    else:

        def function(a):
            return raw(np.abs(a.view(S[bits])))

    return Operation(function, (type_name,), (type_name,))


@_family(r"copysign\.f32")
def _copy_sign(match):
    sign = np.uint32(0x80000000)
    return Operation(lambda a, b: a & sign | b & ~sign, ("f32", "f32"), ("f32",))


@_family(r"(neg|abs)\.(bf16|bf16x2)")
def _negate_bf16(match):
    bits = width(match[2])
    signs = U[bits](0x8000 if bits == 16 else 0x80008000)
    function = (lambda a: a ^ signs) if match[1] == "neg" else (lambda a: a & ~signs)
    return Operation(function, (f"b{bits}",), (f"b{bits}",))


@_family(r"(and|or|xor|not)\.(b16|b32|b64|pred)")
def _logic(match):
    names = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    if match[1] == "not":
        return Operation(np.invert, (match[2],), (match[2],))
    return Operation(names[match[1]], (match[2],) * 2, (match[2],))


@_family(r"(shl|shr)\.([bus](?:16|32|64))")
def _shift(match):
    name, type_name, bits = match[1], match[2], width(match[2])
    kind = U[bits]
    if name == "shl" and type_name[0] != "b":
        return None

    def shift(a, amount):
        past = amount >= bits
        if name == "shr" and type_name[0] == "s":
            amount = np.minimum(amount, np.uint32(bits - 1)).astype(S[bits])
            return raw(a.view(S[bits]) >> amount)
        amount = np.minimum(amount, np.uint32(bits - 1)).astype(kind)
        moved = a << amount if name == "shl" else a >> amount
        return np.where(past, kind(0), moved) if np.any(past) else moved

    return Operation(shift, (type_name, "u32"), (type_name,))


@_family(r"shf\.([lr])\.(wrap|clamp)\.b32")
def _funnel(match):
    def shift(low, high, amount):
        amount = amount & np.uint32(31) if match[2] == "wrap" else np.minimum(amount, 32)
        both = low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)
        if match[1] == "r":
            return (both >> amount.astype(np.uint64)).astype(np.uint32)
        return (both >> (np.uint64(32) - amount.astype(np.uint64))).astype(np.uint32)

    return Operation(shift, ("b32", "b32", "u32"), ("b32",))


_ORDERED = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def _comparison(name: str, type_name: str) -> Callable[..., Any] | None:
    is_float = type_name[0] == "f"
    if name in _UNSIGNED and not is_float:
        name = _UNSIGNED[name]
    if name in _ORDERED:
        compare = _ORDERED[name]
        if not is_float:
            return lambda a, b: compare(interpret(a, type_name), interpret(b, type_name))

        # "ne" of floats is false with a NaN, unlike NumPy's.
        def ordered(a, b):
            x, y = interpret(a, type_name), interpret(b, type_name)
            return compare(x, y) & ~(np.isnan(x) | np.isnan(y))

        return ordered
    if is_float and (name in ("num", "nan") or name[:-1] in _ORDERED and name[-1] == "u"):

        def unordered(a, b):
            x, y = interpret(a, type_name), interpret(b, type_name)
            nan = np.isnan(x) | np.isnan(y)
            if name in ("num", "nan"):
                return nan if name == "nan" else ~nan
            return _ORDERED[name[:-1]](x, y) | nan

        return unordered
    return None


@_family(r"setp\.(\w+?)(?:\.(and|or|xor))?\.([bus](?:16|32|64)|f32|f64)")
def _compare(match):
    name, combine, type_name = match[1], match[2], match[3]
    function = _comparison(name, type_name)
    if function is None:
        return None
    if not combine:
        return Operation(function, (type_name,) * 2, ("pred",))
    join = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[combine]
    return Operation(
        lambda a, b, c: join(function(a, b), c), (type_name, type_name, "pred"), ("pred",)
    )


@_family(r"selp\.([busf](?:16|32|64))")
def _select(match):
    kind = U[width(match[1])]
    return Operation(
        lambda a, b, p: np.where(p, a, b).astype(kind, copy=False),
        (match[1], match[1], "pred"),
        (match[1],),
    )


@_family(r"mov\.([busf](?:16|32|64)|pred)")
def _move(match):
    return Operation(lambda a: a, (match[1],), (match[1],))


@_family(r"cvta(?:\.to)?\.(?:global|shared|local)\.u64")
def _address(match):
    return Operation(lambda a: a, ("u64",), ("u64",))


@_family(r"cvt\.([us](?:8|16|32|64))\.([us](?:8|16|32|64))")
def _integer_to_integer(match):
    to, source = match[1], match[2]

    def convert(a):
        return raw(interpret(a, source).astype((S if to[0] == "s" else U)[width(to)]))

    return Operation(convert, (source,), (to,))


@_family(r"cvt\.sat\.([us](?:8|16|32|64))\.([us](?:8|16|32|64))")
def _saturate(match):
    to, source = match[1], match[2]
    kind = np.dtype((S if to[0] == "s" else U)[width(to)]).type

    def convert(a):
        values = interpret(a, source)
        bounds, own = np.iinfo(kind), np.iinfo(values.dtype)
        low, high = max(bounds.min, own.min), min(bounds.max, own.max)
        return raw(
            np.clip(values, values.dtype.type(low), values.dtype.type(high)).astype(kind)
        )

    return Operation(convert, (source,), (to,))


@_family(r"cvt\.(rni|rzi|rmi|rpi)\.([us](?:8|16|32|64))\.(f32|f64)")
def _float_to_integer(match):
    rounding = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[
        match[1]
    ]
    to, source = match[2], match[3]
    kind = (S if to[0] == "s" else U)[width(to)]
    bounds = np.iinfo(kind)

    def convert(a):
        values = rounding(np.asarray(interpret(a, source)).astype(np.float64))
        nan = np.isnan(values)
        # 2**63 - 1 is no float64: saturate by comparison.
        over, under = values >= float(bounds.max), values <= float(bounds.min)
        inside = np.where(nan | over | under, 0.0, values).astype(kind)
        result = np.where(
            over, kind(bounds.max), np.where(under, kind(bounds.min), inside)
        )
        return raw(np.where(nan, kind(0), result).astype(kind))

    return Operation(convert, (source,), (to,))


@_family(r"cvt\.rn\.(f32|f64)\.([us](?:8|16|32|64))")
def _integer_to_float(match):
    to, source = match[1], match[2]
    return Operation(
        lambda a: raw(interpret(a, source).astype(F[width(to)])), (source,), (to,)
    )


@_family(r"cvt\.(?:rn\.f32\.f64|f64\.f32|rn\.f16\.f32|f32\.f16)")
def _float_to_float(match):
    to, source = match[0].split(".")[-2:]
    return Operation(
        lambda a: raw(interpret(a, source).astype(F[width(to)])), (source,), (to,)
    )


@_family(r"cvt\.(?:rn\.bf16\.f32|f32\.bf16)")
def _bf16(match):
    if match[0].startswith("cvt.rn"):
        return Operation(lambda a: f32_to_bf16(a.view(np.float32)), ("f32",), ("b16",))
    return Operation(lambda a: bf16_to_f32(a).view(np.uint32), ("b16",), ("f32",))


@_family(r"cvt\.rn\.bf16x2\.f32")
def _two_to_bf16(match):
    def convert(high, low):
        low, high = (
            f32_to_bf16(v.view(np.float32)).astype(np.uint32) for v in (low, high)
        )
        return low | high << np.uint32(16)

    return Operation(convert, ("f32", "f32"), ("b32",))


@_family(r"cvt\.rn\.satfinite\.e4m3x2\.f32")
def _two_to_e4m3(match):
    def convert(high, low):
        low, high = (
            f32_to_e4m3(v.view(np.float32)).astype(np.uint16) for v in (low, high)
        )
        return low | high << np.uint16(8)

    return Operation(convert, ("f32", "f32"), ("b16",))


@_family(r"cvt\.rn\.f16x2\.e4m3x2")
def _two_from_e4m3(match):
    def half(codes):
        values = e4m3_to_f32(codes.astype(np.uint8)).astype(np.float16).view(np.uint16)
        nan = (codes & np.uint16(0x7F)) == 0x7F
        return np.where(nan, np.uint16(0x7FFF), values).astype(np.uint32)

    return Operation(
        lambda a: half(a & np.uint16(255)) | half(a >> np.uint16(8)) << np.uint32(16),
        ("b16",),
        ("b32",),
    )


def _count_ones(a: Any) -> Any:
    return np.bitwise_count(a).astype(np.uint32)


@_family(r"(popc|clz)\.(b32|b64)")
def _count(match):
    bits = width(match[2])

    def leading(a):
        for distance in (1, 2, 4, 8, 16, 32)[: bits.bit_length() - 1]:
            a = a | a >> U[bits](distance)
        return np.uint32(bits) - _count_ones(a)

    return Operation(
        _count_ones if match[1] == "popc" else leading, (match[2],), ("u32",)
    )


@_family(r"bfe\.([us])(32|64)")
def _extract(match):
    type_name, bits = match[1] + match[2], int(match[2])

    def extract(a, position, length):
        position, length = position & np.uint32(255), length & np.uint32(255)
        values = interpret(a, type_name)
        kind = values.dtype
        moved = values >> np.minimum(position, np.uint32(bits - 1)).astype(kind)
        # To the top and back: the sign comes along.
        gap = (np.uint32(bits) - np.clip(length, 1, bits).astype(np.uint32)).astype(kind)
        empty = length == 0
        if match[1] == "u":
            empty = empty | (position >= bits)
        return raw(np.where(empty, kind.type(0), moved << gap >> gap))

    return Operation(extract, (type_name, "u32", "u32"), (type_name,))


@_family(r"bfi\.b(32|64)")
def _insert(match):
    bits = int(match[1])

    def insert(a, b, position, length):
        position, length = position & np.uint32(255), length & np.uint32(255)
        kind = a.dtype
        gap = (np.uint32(bits) - np.clip(length, 1, bits).astype(np.uint32)).astype(kind)
        place = np.minimum(position, np.uint32(bits - 1)).astype(kind)
        mask = ~kind.type(0) >> gap << place
        mask = np.where((length == 0) | (position >= bits), kind.type(0), mask)
        return b & ~mask | a << place & mask

    of = f"b{bits}"
    return Operation(insert, (of, of, "u32", "u32"), (of,))


@_family(r"prmt\.b32")
def _permute(match):
    def permute(a, b, selector):
        both = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
        result = np.uint32(0)
        for byte in range(4):
            choice = (selector >> np.uint32(4 * byte)) & np.uint32(15)
            place = (choice & np.uint32(7)).astype(np.uint64) * np.uint64(8)
            value = (both >> place).astype(np.uint32) & np.uint32(255)
            copied = np.where(value & np.uint32(128), np.uint32(255), np.uint32(0))
            value = np.where(choice & np.uint32(8), copied, value).astype(np.uint32)
            result = result | value << np.uint32(8 * byte)
        return result

    return Operation(permute, ("b32",) * 3, ("b32",))


@_family(r"lop3\.b32")
def _lookup(match):
    def lookup(a, b, c, table):
        result = np.uint32(0)
        for case in range(8):
            term = a if case & 4 else ~a
            term = term & (b if case & 2 else ~b) & (c if case & 1 else ~c)
            chosen = (table >> np.uint32(case)) & np.uint32(1) != 0
            result = result | np.where(chosen, term, np.uint32(0))
        return result

    return Operation(lookup, ("b32",) * 4, ("b32",))
