# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the simulator's instructions compute, against Python's integers and NumPy, by
whole kernels: operands come from memory, and go there."""

from __future__ import annotations

import itertools
import math
import operator
import struct
from fractions import Fraction

import numpy as np
import pytest
from simt_ptx import ptx, region, run

from nsa import simt
from nsa.simt import PTXError, SimtError
from nsa.simt._machine import module_variables, programs

BITS = {"b16": 16, "u16": 16, "s16": 16, "b32": 32, "u32": 32, "s32": 32, "f32": 32}
BITS |= {"b64": 64, "u64": 64, "s64": 64, "f64": 64}
PREFIX = {16: "rs", 32: "r", 64: "rd"}
LANES = 96


def numbers(bits: int, seed: int) -> np.ndarray:
    """Limits of every width, and others, as raw bits."""
    rng = np.random.default_rng(seed)
    limits = [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 2**bits - 1, 2**bits - 2]
    limits += [
        2 ** (bits - 1),
        2 ** (bits - 1) - 1,
        2 ** (bits - 1) + 1,
        2 ** (bits // 2),
    ]
    values = rng.integers(0, 2**64, LANES, dtype=np.uint64) >> np.uint64(64 - bits)
    chosen = np.array(limits, np.uint64)[rng.integers(0, len(limits), LANES)]
    values = np.where(rng.random(LANES) < 0.6, chosen, values)
    return values.astype(f"u{bits // 8}")


def compute(opcode: str, sources: list[np.ndarray], result: int) -> np.ndarray:
    """The opcode on whole arrays of raw bits; `result`: bits of what it gives, 1 for a
    predicate, which is turned into 32."""
    bits = 32 if result == 1 else result
    out = np.zeros(len(sources[0]), f"u{bits // 8}")
    arrays = {f"x{n}": ("in", source) for n, source in enumerate(sources)}
    body, names = [], []
    for n, source in enumerate(sources):
        size = source.itemsize
        register = f"%{PREFIX[8 * size]}{n + 1}"
        body.append(f"mad.lo.s64 %rd{70 + n}, %rd80, {size}, %rd{90 + n};")
        body.append(f"ld.global.nc.b{8 * size} {register}, [%rd{70 + n}];")
        names.append(register)
    to = f"%p{20}" if result == 1 else f"%{PREFIX[bits]}20"
    body.append(f"{opcode} {to}, {', '.join(names)};")
    if result == 1:
        body.append("selp.b32 %r20, 1, 0, %p20;")
    body.append(f"mad.lo.s64 %rd79, %rd80, {bits // 8}, %rd{90 + len(sources)};")
    body.append(f"st.global.b{bits} [%rd79], %{PREFIX[bits]}20; ret;")
    arrays["out"] = ("out", out)
    run("\n".join(body), arrays, threads=len(out))
    return out


def signed(value: int, bits: int) -> int:
    return value - 2**bits if value >> (bits - 1) else value


def read(raw: np.ndarray, type_name: str) -> list[int]:
    bits = BITS[type_name]
    convert = signed if type_name[0] == "s" else lambda value, _: value
    return [convert(int(value), bits) for value in raw]


def truncated(a: int, b: int) -> int:
    if b == 0:
        return -1
    return abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)


INTEGER = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "min": min,
    "max": max,
    "div": truncated,
    "rem": lambda a, b: a - truncated(a, b) * b if b else a,
}


@pytest.mark.parametrize("type_name", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("name", INTEGER)
def test_integer_arithmetic(name: str, type_name: str) -> None:
    """Wraps; division truncates, and by zero gives all ones."""
    bits = BITS[type_name]
    a, b = numbers(bits, 1), numbers(bits, 2)
    got = compute(f"{name}.{type_name}", [a, b], bits)
    pairs = zip(read(a, type_name), read(b, type_name))
    assert got.tolist() == [INTEGER[name](x, y) % 2**bits for x, y in pairs]


@pytest.mark.parametrize("type_name", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_high_and_wide_products(type_name: str) -> None:
    bits = BITS[type_name]
    a, b = numbers(bits, 3), numbers(bits, 4)
    products = [x * y for x, y in zip(read(a, type_name), read(b, type_name))]
    got = compute(f"mul.hi.{type_name}", [a, b], bits)
    assert got.tolist() == [(p >> bits) % 2**bits for p in products]
    if bits < 64:
        c = numbers(2 * bits, 5)
        got = compute(f"mad.wide.{type_name}", [a, b, c], 2 * bits)
        sums = [(p + int(z)) % 2 ** (2 * bits) for p, z in zip(products, c)]
        assert got.tolist() == sums


@pytest.mark.parametrize("type_name", ["b16", "b32", "b64", "u32", "s16", "s32", "s64"])
def test_shifts(type_name: str) -> None:
    """By the width and more: nothing is left, or copies of the sign."""
    bits = BITS[type_name]
    a, by = numbers(bits, 6), numbers(32, 7)
    values = read(a, type_name)
    got = compute(f"shr.{type_name}", [a, by], bits)
    assert got.tolist() == [(v >> min(int(n), 64)) % 2**bits for v, n in zip(values, by)]
    if type_name[0] == "b":
        got = compute(f"shl.{type_name}", [a, by], bits)
        assert got.tolist() == [
            (v << min(int(n), 64)) % 2**bits for v, n in zip(values, by)
        ]


@pytest.mark.parametrize("type_name", ["u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(name: str, type_name: str) -> None:
    a, b = numbers(BITS[type_name], 8), numbers(BITS[type_name], 9)
    compare = getattr(operator, name)
    got = compute(f"setp.{name}.{type_name}", [a, b], 1)
    assert got.tolist() == [
        compare(x, y) for x, y in zip(read(a, type_name), read(b, type_name))
    ]


def test_comparisons_of_floats() -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40], np.float32)
    a, b = (grid.reshape(-1).copy() for grid in np.meshgrid(values, values))
    nan = np.isnan(a) | np.isnan(b)
    for name, compare in {"eq": np.equal, "ne": np.not_equal, "lt": np.less}.items():
        raw = [a.view(np.uint32), b.view(np.uint32)]
        assert (compute(f"setp.{name}.f32", raw, 1) == (compare(a, b) & ~nan)).all()
        assert (compute(f"setp.{name}u.f32", raw, 1) == (compare(a, b) | nan)).all()
    assert (compute("setp.nan.f32", raw, 1) == nan).all()


def extract(value: int, place: int, length: int, bits: int, is_signed: bool) -> int:
    """Bit by bit, as the PTX manual has it."""
    last = min(place + length - 1, bits - 1)
    filler = value >> last & 1 if is_signed and length else 0
    result = 0
    for n in range(bits):
        inside = n < length and place + n < bits
        result |= (value >> (place + n) & 1 if inside else filler) << n
    return result


def test_logic_selects_and_bits() -> None:
    for bits in (16, 32, 64):
        a, b = numbers(bits, 10), numbers(bits, 11)
        for name, function in {"and": np.bitwise_and, "or": np.bitwise_or}.items():
            assert (compute(f"{name}.b{bits}", [a, b], bits) == function(a, b)).all()
        assert (compute(f"xor.b{bits}", [a, b], bits) == a ^ b).all()
        assert (compute(f"not.b{bits}", [a], bits) == ~a).all()
        assert compute(f"neg.s{bits}", [a], bits).tolist() == [
            -int(v) % 2**bits for v in a
        ]
    a, b, c = numbers(32, 12), numbers(32, 13), numbers(32, 14)
    assert compute("popc.b32", [a], 32).tolist() == [int(v).bit_count() for v in a]
    assert compute("clz.b32", [a], 32).tolist() == [32 - int(v).bit_length() for v in a]
    table = np.full(LANES, 0xCA, np.uint32)
    assert (compute("lop3.b32", [a, b, c, table], 32) == (a & b | ~a & c)).all()
    place, length = (numbers(32, n) % np.uint32(40) for n in (15, 16))
    want = [
        int(v) >> int(p) & (2 ** min(int(n), 32) - 1) for v, p, n in zip(a, place, length)
    ]
    assert compute("bfe.u32", [a, place, length], 32).tolist() == want
    for bits, sign in itertools.product((32, 64), "us"):
        values = numbers(bits, 16)
        places, lengths = numbers(32, 17) % 70, numbers(32, 18) % 70
        got = compute(f"bfe.{sign}{bits}", [values, places, lengths], bits)
        assert got.tolist() == [
            extract(int(v), int(p), int(n), bits, sign == "s")
            for v, p, n in zip(values, places, lengths)
        ]
    for bits in (32, 64):
        values, into = numbers(bits, 19), numbers(bits, 20)
        places, lengths = numbers(32, 21) % 70, numbers(32, 22) % 70
        got = compute(f"bfi.b{bits}", [values, into, places, lengths], bits)
        masks = [(2 ** int(n) - 1 << int(p)) % 2**bits for p, n in zip(places, lengths)]
        assert got.tolist() == [
            int(b) & ~mask | int(v) << int(p) & mask
            for v, b, p, mask in zip(values, into, places, masks)
        ]
    both = [int(x) | int(y) << 32 for x, y in zip(a, b)]
    want = [v >> (int(n) & 31) & 0xFFFFFFFF for v, n in zip(both, c)]
    assert compute("shf.r.wrap.b32", [a, b, c], 32).tolist() == want


def test_byte_permutation() -> None:
    a, b, selector = numbers(32, 17), numbers(32, 18), numbers(32, 19)
    want = []
    for x, y, s in zip(a, b, selector):
        data = struct.pack("<II", x, y)
        out = []
        for n in range(4):
            code = int(s) >> 4 * n & 15
            byte = data[code & 7]
            out.append((255 if byte & 128 else 0) if code & 8 else byte)
        want.append(int.from_bytes(bytes(out), "little"))
    assert compute("prmt.b32", [a, b, selector], 32).tolist() == want


@pytest.mark.parametrize("to", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("source", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_integer_conversions(source: str, to: str) -> None:
    a = numbers(BITS[source], 20)
    values = read(a, source)
    got = compute(f"cvt.{to}.{source}", [a], BITS[to])
    assert got.tolist() == [v % 2 ** BITS[to] for v in values]
    got = compute(f"cvt.sat.{to}.{source}", [a], BITS[to])
    low, high = (-(2 ** (BITS[to] - 1)), 2 ** (BITS[to] - 1) - 1)
    if to[0] == "u":
        low, high = 0, 2 ** BITS[to] - 1
    assert got.tolist() == [min(max(v, low), high) % 2 ** BITS[to] for v in values]


@pytest.mark.parametrize("to", ["u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("mode", ["rni", "rzi", "rmi", "rpi"])
def test_floats_to_integers_saturate(mode: str, to: str) -> None:
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, 3e9, -3e9, 5e9, 1e19, 2e19, -1e19, np.inf]
    a = np.array(
        [*values, -np.inf, np.nan, 2.0**31, 2.0**32, 2.0**63, 65535.5], np.float32
    )
    bits = BITS[to]
    low, high = (
        (0, 2**bits - 1) if to[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    functions = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}

    def convert(value: float) -> int:
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return high if value > 0 else low
        return min(max(functions[mode](Fraction(value)), low), high)

    got = compute(f"cvt.{mode}.{to}.f32", [a.view(np.uint32)], bits)
    assert got.tolist() == [convert(float(v)) % 2**bits for v in a]


def round_exact(value: Fraction, digits: int, lowest: int) -> float:
    """To `digits` bits, ties to even, with 2**lowest the smallest step."""
    if not value:
        return 0.0
    size = abs(value)
    exponent = math.floor(math.log2(size)) if size > Fraction(1, 2**1000) else -(10**4)
    while Fraction(2) ** (exponent + 1) <= size:
        exponent += 1
    while Fraction(2) ** exponent > size:
        exponent -= 1
    step = Fraction(2) ** max(exponent - digits + 1, lowest)
    return float(round(value / step) * step)


def to_bf16(value: float) -> int:
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert bits & 0xFFFF == 0
    return bits >> 16


def random_floats(seed: int, count: int) -> np.ndarray:
    """Any finite floats, of like sizes, many with few bits, so that ties happen."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**12), 2**12, count) * 2.0 ** rng.integers(-12, 4, count)
    return values.astype(np.float32)


def test_bf16_rounds_once() -> None:
    rng = np.random.default_rng(21)
    a = rng.integers(0, 2**32, 512, dtype=np.uint64).astype(np.uint32)
    # Ties, in both directions, and what is one off them.
    a[:200] = a[:200] & ~np.uint32(0xFFFF) | np.uint32(0x8000)
    a[50:100] += 1
    a[100:150] -= 1
    a = a[np.isfinite(a.view(np.float32)) & (np.abs(a.view(np.float32)) < 1e38)]
    got = compute("cvt.rn.bf16x2.f32", [a, a[::-1].copy()], 32)
    want = [
        to_bf16(math.copysign(round_exact(Fraction(float(v)), 8, -133), float(v)))
        for v in a.view(np.float32)
    ]
    assert (got >> np.uint32(16)).tolist() == want
    assert (got & np.uint32(0xFFFF)).tolist() == want[::-1]
    assert compute("cvt.rn.bf16.f32", [a], 16).tolist() == want
    special = np.array([np.inf, -np.inf, np.nan, -np.nan, 3.4e38], np.float32)
    got = compute("cvt.rn.bf16.f32", [special.view(np.uint32)], 16)
    assert got.tolist() == [0x7F80, 0xFF80, 0x7FFF, 0x7FFF, 0x7F80]


def test_fma_rounds_once() -> None:
    a, b, c = (random_floats(seed, 512) for seed in (22, 23, 24))
    # Far below a tie: what a sum in float64 would lose.
    a[:4], b[:4], c[:4] = 1 + 2.0**-12, 1 + 2.0**-12, [2.0**-80, -(2.0**-80), 0, 2.0**-60]
    exact = [
        Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        for x, y, z in zip(a, b, c)
    ]
    got = compute("fma.rn.f32", [v.view(np.uint32) for v in (a, b, c)], 32).view(
        np.float32
    )
    assert got.tolist() == [round_exact(v, 24, -149) for v in exact]

    halves = [(v.view(np.uint32) >> np.uint32(16)).astype(np.uint32) for v in (a, b, c)]
    # A tie of bf16, 1 + 2**-8, and a little on either side, which 53 bits do not hold.
    halves[0][:3], halves[1][:3] = 0x3F81, 0x3F00 + 0x7F
    halves[0][4:6], halves[1][4:6] = 0x3F88, 0x3F88
    halves[2][4:6] = [0x0080, 0x8080]
    values = [(h << np.uint32(16)).view(np.float32) for h in halves]
    exact = [
        Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        for x, y, z in zip(*values)
    ]
    packed = [h | h << np.uint32(16) for h in halves]
    got = compute("fma.rn.bf16x2", packed, 32)
    assert (got >> np.uint32(16) == got & np.uint32(0xFFFF)).all()
    found = ((got >> np.uint32(16)) << np.uint32(16)).view(np.float32)
    assert found.tolist() == [round_exact(v, 8, -133) for v in exact]
    single = compute("fma.rn.bf16", [h.astype(np.uint16) for h in halves], 16)
    assert single.tolist() == (got & np.uint32(0xFFFF)).tolist()
    signs = compute("neg.bf16x2", [packed[0]], 32) ^ packed[0]
    assert (signs == 0x80008000).all()
    assert (compute("abs.bf16", [halves[0].astype(np.uint16)], 16) == halves[0] & 0x7FFF).all()


def test_float_arithmetic() -> None:
    rng = np.random.default_rng(25)
    raw = [
        rng.integers(0, 2**32, 600, dtype=np.uint64).astype(np.uint32) for _ in range(2)
    ]
    raw[0][:3] = [0x7F800000, 0x00000001, 0x80000000]
    a, b = (v.view(np.float32) for v in raw)
    with np.errstate(all="ignore"):
        assert np.array_equal(
            compute("rcp.rn.f32", raw[:1], 32).view(np.float32), np.float32(1) / a, equal_nan=True
        )
        results = {"add": a + b, "sub": a - b, "mul.rn": a * b, "min": np.fmin(a, b)}
    for name, want in results.items():
        got = compute(f"{name}.f32", raw, 32)
        assert np.array_equal(got.view(np.float32), want, equal_nan=True), name
        assert (got[np.isnan(want)] == 0x7FFFFFFF).all()
    signs = np.copysign(b, a).view(np.uint32)
    assert (compute("copysign.f32", raw, 32) == signs).all()
    assert (compute("neg.f32", raw[:1], 32) == raw[0] ^ np.uint32(0x80000000)).all()


def test_e4m3() -> None:
    """All codes to half precision and back; rounding and saturation of others."""

    def decode(code: int) -> float:
        exponent, digits = code >> 3 & 15, code & 7
        if code & 0x7F == 0x7F:
            return math.nan
        size = (
            digits * 2.0**-9 if exponent == 0 else (8 + digits) * 2.0 ** (exponent - 10)
        )
        return -size if code & 0x80 else size

    codes = np.arange(256, dtype=np.uint16)
    got = compute("cvt.rn.f16x2.e4m3x2", [codes | (codes[::-1] << np.uint16(8))], 32)
    low = (got & np.uint32(0xFFFF)).astype(np.uint16).view(np.float16)
    high = (got >> np.uint32(16)).astype(np.uint16).view(np.float16)
    want = np.array([decode(int(code)) for code in codes])
    assert np.array_equal(low, want, equal_nan=True)
    assert np.array_equal(high, want[::-1], equal_nan=True)
    finite = want[np.isfinite(want)]
    values = np.concatenate([finite, random_floats(26, 300), [500, -1e9, 1e-9]])
    values = values.astype(np.float32)
    got = compute("cvt.rn.satfinite.e4m3x2.f32", [values.view(np.uint32)] * 2, 16)
    assert (got >> np.uint16(8) == got & np.uint16(255)).all()
    found = [decode(int(code) & 255) for code in got]
    exact = [round_exact(Fraction(float(v)), 4, -9) for v in values]
    assert found == [min(max(v, -448.0), 448.0) for v in exact]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ("b64 %rd1, [k_1]", 0x8899AABBCCDDEEFF),
        ("b32 %r1, [k_1]; cvt.u64.u32 %rd1, %r1", 0xCCDDEEFF),
        ("u32 %rd1, [k_1+4]", 0x8899AABB),
        ("s32 %rd1, [k_1+4]", 0xFFFFFFFF8899AABB),
        ("b16 %rd1, [k_1+2]", 0xCCDD),
        ("s16 %rd1, [k_1+6]", 0xFFFFFFFFFFFF8899),
        ("u8 %rd1, [k_1+7]", 0x88),
    ],
)
def test_parts_of_parameters(load: str, expected: int) -> None:
    out = np.zeros(1, np.uint64)
    body = f"ld.param.{load}; st.global.b64 [%rd90], %rd1; ret;"
    run(body, {"out": ("out", out)}, 0x8899AABBCCDDEEFF, threads=1)
    assert hex(out[0]) == hex(expected)


def test_loads_extend_and_stores_truncate() -> None:
    source = np.array([0xFF, 0x7F, 0x80, 0x01] * 8, np.uint8)
    out = np.zeros(32, np.int64)
    short = np.zeros(32, np.uint8)
    run(
        """add.s64 %rd1, %rd90, %rd80; ld.global.nc.s8 %r1, [%rd1];
        ld.global.b8 %rs1, [%rd1]; cvt.s64.s32 %rd2, %r1;
        mad.lo.s64 %rd3, %rd80, 8, %rd91; st.global.b64 [%rd3], %rd2;
        add.s64 %rd4, %rd92, %rd80; st.global.b8 [%rd4], %r1; ret;""",
        {"x": ("in", source), "out": ("out", out), "short": ("out", short)},
    )
    assert (out == source.view(np.int8)).all() and (short == source).all()


def test_vectors_packs_and_unpacks() -> None:
    source = np.arange(64, dtype=np.uint32) * 0x01020304
    out = np.zeros(64, np.uint32)
    run(
        """shl.b64 %rd1, %rd80, 4; add.s64 %rd2, %rd90, %rd1; add.s64 %rd3, %rd91, %rd1;
        ld.global.nc.v4.b32 {%r1, %r2, %r3, %r4}, [%rd2];
        { .reg .b16 half; mov.b32 {half, %rs2}, %r1; mov.b32 %r1, {%rs2, half}; }
        mov.b64 %rd5, {%r2, %r3}; mov.b64 {%r3, %r2}, %rd5;
        st.global.v2.b32 [%rd3], {%r1, %r2}; st.global.v2.b32 [%rd3+8], {%r3, %r4}; ret;""",
        {"x": ("in", source), "out": ("out", out)},
        threads=16,
    )
    rows, got = source.reshape(-1, 4), out.reshape(-1, 4)
    assert (
        got[:, 0] == (rows[:, 0] >> np.uint32(16) | rows[:, 0] << np.uint32(16))
    ).all()
    assert (got[:, 1:] == rows[:, [2, 1, 3]]).all()


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("distance", [0, 1, 5, 16, 31])
@pytest.mark.parametrize("clamp", [0, 31, 0x1807, 0x1C03])
def test_shuffles(mode: str, distance: int, clamp: int) -> None:
    """Every mode, in segments of the warp too, with the predicate."""
    threads = 64
    out, valid = np.zeros(threads, np.uint32), np.zeros(threads, np.uint32)
    run(
        f"""mul.lo.s32 %r1, %r90, 3;
        shfl.sync.{mode}.b32 %r2|%p1, %r1, {distance}, {clamp}, -1;
        shl.b64 %rd1, %rd80, 2; add.s64 %rd2, %rd90, %rd1; add.s64 %rd3, %rd91, %rd1;
        selp.b32 %r3, 1, 0, %p1; st.global.b32 [%rd2], %r2; st.global.b32 [%rd3], %r3;
        ret;""",
        {"out": ("out", out), "valid": ("out", valid)},
        threads=threads,
    )
    segment, bound = clamp >> 8 & 31, clamp & 31
    for thread in range(threads):
        lane = thread % 32
        last = lane & segment | bound & ~segment
        source, ok = {
            "up": (lane - distance, lane - distance >= last),
            "down": (lane + distance, lane + distance <= last),
            "bfly": (lane ^ distance, lane ^ distance <= last),
            "idx": (
                lane & segment | distance & ~segment,
                (lane & segment | distance & ~segment) <= last,
            ),
        }[mode]
        if mode == "bfly":
            ok = (lane ^ distance) <= last
        want = source if ok else lane
        assert out[thread] == 3 * (thread - lane + want), (thread, want)
        assert valid[thread] == ok


def test_votes_and_reductions() -> None:
    names = ("ballot", "any", "all", "add", "max")
    outs = {name: np.zeros(64, np.uint32) for name in names}
    body = ["and.b32 %r1, %r90, 5; setp.eq.b32 %p1, %r1, 5; add.s32 %r2, %r90, -40;"]
    body.append("vote.sync.ballot.b32 %r10, %p1, -1; vote.sync.any.pred %p2, %p1, -1;")
    body.append("vote.sync.all.pred %p3, %p1, -1; redux.sync.add.s32 %r13, %r2, -1;")
    body.append("redux.sync.max.s32 %r14, %r2, -1; selp.b32 %r11, 1, 0, %p2;")
    body.append("selp.b32 %r12, 1, 0, %p3; shl.b64 %rd1, %rd80, 2;")
    for n in range(5):
        body.append(f"add.s64 %rd2, %rd{90 + n}, %rd1; st.global.b32 [%rd2], %r{10 + n};")
    run("\n".join(body) + "ret;", {n: ("out", a) for n, a in outs.items()}, threads=64)
    votes = np.arange(64) & 5 == 5
    ballot = sum(1 << n for n in range(32) if votes[n])
    assert (outs["ballot"] == ballot).all() and (outs["any"] == 1).all()
    assert (outs["all"] == 0).all()
    values = (np.arange(64) - 40).reshape(2, 32)
    assert (outs["add"].view(np.int32).reshape(2, 32) == values.sum(1)[:, None]).all()
    assert (outs["max"].view(np.int32).reshape(2, 32) == values.max(1)[:, None]).all()


def test_divergence_and_loops() -> None:
    """Threads that go round a loop a different number of times, and meet at a barrier."""
    out = np.zeros(96, np.uint32)
    run(
        """mov.b32 %r1, 0; mov.b32 %r2, %r90;
        $L1: setp.eq.b32 %p1, %r2, 0; @%p1 bra $L2;
        add.s32 %r1, %r1, %r2; add.s32 %r2, %r2, -1; bra.uni $L1;
        $L2: shl.b64 %rd1, %rd80, 2; mov.b64 %rd2, s; add.s64 %rd3, %rd2, %rd1;
        st.shared.b32 [%rd3], %r1; bar.sync 0;
        sub.s32 %r3, 95, %r90; mul.wide.u32 %rd4, %r3, 4; add.s64 %rd5, %rd2, %rd4;
        ld.shared.b32 %r4, [%rd5]; add.s64 %rd6, %rd90, %rd1;
        st.global.b32 [%rd6], %r4; ret;""",
        {"out": ("out", out)},
        threads=96,
        shared=384,
    )
    counts = np.arange(96)[::-1]
    assert (out == counts * (counts + 1) // 2).all()


TABLE = """mul.wide.u32 %rd1, %r90, 4; add.s64 %rd2, %rd90, %rd1; and.b32 %r1, %r90, 3;
    $t: .branchtargets $a, $b,
      $a;
    brx.idx %r1, $t;
    $a: mov.b32 %r2, 10; bra.uni $end;
    $b: mov.b32 %r2, 20;
    $end: add.s32 %r2, %r2, %r1; st.global.b32 [%rd2], %r2; ret;"""


def test_branch_tables() -> None:
    """Threads part by an index, and meet again; past the table there is nothing."""
    out = np.zeros(32, np.uint32)
    run(TABLE.replace("$a;", "$a, $b;"), {"out": ("out", out)})
    assert out.tolist() == [10, 21, 12, 23] * 8
    with pytest.raises(SimtError, match="branch past its table: target 3 of 3"):
        run(TABLE, {"out": ("out", out)})


def test_guarded_instructions() -> None:
    """A guard on any instruction; registers keep what they have where it is false."""
    out = np.full(32, 7, np.uint32)
    run(
        """setp.lt.u32 %p1, %r90, 10; mov.b32 %r1, 5; @%p1 mov.b32 %r1, %r90;
        mul.wide.u32 %rd1, %r90, 4; add.s64 %rd2, %rd90, %rd1;
        setp.lt.u32 %p2, %r90, 20; @!%p2 bra $end; @%p1 st.global.b32 [%rd2], %r1;
        @!%p1 st.global.b32 [%rd2], 100; $end: ret;""",
        {"out": ("out", out)},
    )
    assert out.tolist() == [*range(10), *[100] * 10, *[7] * 12]


def test_moves_do_not_alias() -> None:
    """A register that was moved keeps its value when some threads write the other."""
    out = np.zeros(32, np.uint32)
    run(
        """mov.b32 %r1, %r90; mov.b32 %r2, %r1; setp.lt.u32 %p1, %r90, 16;
        @%p1 bra $next; add.s32 %r1, %r1, 100;
        $next: sub.s32 %r3, %r1, %r2; mul.wide.u32 %rd1, %r90, 4;
        add.s64 %rd2, %rd90, %rd1; st.global.b32 [%rd2], %r3; ret;""",
        {"out": ("out", out)},
    )
    assert out.tolist() == [0] * 16 + [100] * 16


ATOMIC = """
    mov.b64 %rd1, v; mov.u32 %r7, %ctaid.x; mad.lo.s32 %r8, %r7, 32, %r90;
    {atom} %{register}1, [%rd1+{at}], {added};
    mul.wide.u32 %rd2, %r8, 8; add.s64 %rd3, %rd90, %rd2; {widen}
    st.global.b64 [%rd3], %rd4; ret;"""
VARIABLES = ".visible .global .align 16 .b64 v[2];\n.global .align 1 .b8 text[3] = {104, 105, 0};\n"


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("atom", "register", "at", "added", "widen"),
    [
        ("atom.global.add.u64", "rd", 8, "%rd80", "mov.b64 %rd4, %rd1;"),
        ("atom.relaxed.gpu.global.add.u64", "rd", 0, "1", "mov.b64 %rd4, %rd1;"),
        ("atom.add.u32", "r", 4, "%r90", "cvt.u64.u32 %rd4, %r1;"),
    ],
)
def test_atomic_additions(atom, register, at, added, widen, blocks) -> None:
    """Each thread finds what those before it have added, in some order; variables of a module
    keep what is in them from one launch to the next."""
    body = ATOMIC.format(atom=atom, register=register, at=at, added=added, widen=widen)
    text = VARIABLES + ptx(body, 1)
    variables = module_variables(programs(text)["k"])
    addends = [1 if added == "1" else lane for _ in range(blocks) for lane in range(32)]
    found = []
    for _ in range(2):
        out = np.zeros(32 * blocks, np.uint64)
        array = region("out", "out", out, 0)
        simt.run_kernel(text, "k", blocks, [array.pointer], [array], variables=variables)
        found += out.tolist()
    # In the order of what was found: a lane that adds 0 leaves it for the next one.
    running = 0
    for value, addend in sorted(zip(found, addends * 2)):
        assert value == running
        running += addend
    (variable,) = variables
    word = variable.bytes[at : at + (8 if register == "rd" else 4)]
    assert int.from_bytes(word.tobytes(), "little") == running == 2 * sum(addends)
    assert not variable.bytes[:at].any()


def test_atomics_of_arguments() -> None:
    """Are no sure thing to be in order with other accesses, so they are refused."""
    out = np.zeros(4, np.uint64)
    with pytest.raises(SimtError, match="atomic access: to 'out', which is no variable"):
        run("atom.global.add.u64 %rd1, [%rd90], 1; ret;", {"out": ("out", out)})
    with pytest.raises(SimtError, match="out of bounds"):
        text = VARIABLES + ptx("mov.b64 %rd1, v; atom.add.u64 %rd2, [%rd1+16], 1; ret;", 0)
        simt.run_kernel(text, "k", 1, [], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("atom.global.max.u64 %rd1, [%rd90], 1; ret;", "unknown instruction 'atom.global.max"),
        ("ret;\nfrob.b32 %r1, %r2; ret;", "line 3: unknown instruction 'frob.b32'"),
        ("add.ftz.f32 %r1, %r2, %r3; ret;", "line 2: unknown instruction 'add.ftz.f32'"),
        ("add.s32 %r1, %r2; ret;", "line 2: expected 3 operands but got 2"),
        ("add.s32 %r1, %r2, %r300; ret;", "line 2: unknown operand '%r300'"),
        ("add.s64 %rd1, %r2, %rd3; ret;", "line 2: operand '%r2' has 32 bits where 64"),
        ("bra $nowhere;", "line 2: no label '\\$nowhere'"),
        ("brx.idx %r1, $t; ret;", "line 2: no table '\\$t'"),
        ("$t: .branchtargets $nowhere; brx.idx %r1, $t;", "line 2: no label '\\$nowhere'"),
        ("bar.sync 1; ret;", "line 2: a barrier other than 0"),
        ("mov.b32 %r1, 0;", "line 2: the code ends without 'ret'"),
        ("ld.param.b32 %r1, [k_7]; ret;", "line 2: unknown parameter in 'ld.param"),
        (".local .align 4 .b8 x[4]; ret;", "line 2: unknown directive '.local"),
    ],
)
def test_what_is_not_understood(text: str, message: str) -> None:
    with pytest.raises(PTXError, match=message):
        run(text)


@pytest.mark.parametrize("place", ["k_0+8", "k_0+6", "k_0+1"])
def test_not_in_the_parameter(place: str) -> None:
    with pytest.raises(PTXError, match="line 2: not in the parameter: 'ld.param.b32"):
        run(f"ld.param.b32 %r1, [{place}]; ret;", None, 0)


def test_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from nsa.simt import _machine

    monkeypatch.setattr(_machine, "LIMIT", 100)
    with pytest.raises(SimtError, match="endless: 100 basic blocks were run"):
        run("$again: bra.uni $again; ret;")
