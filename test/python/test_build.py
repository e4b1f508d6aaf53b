# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.build: what its steps compute, their texts, and what is said of mistakes."""

from __future__ import annotations

import doctest
import linecache
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from build_steps import STEPS, cases
from composed_cases import run

import nsa
import nsa.build as nb
import nsa.build._builder
from nsa.fuzz.operations import FORMS

ROOT = Path(__file__).resolve().parents[2]
#: Of the build tree that the package is from.
OPT = Path(nsa.__file__).parents[2] / "bin/nsa-opt"

needs_compiler = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

# ----------------------------------------------------------------------------
# Steps
# ----------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"guards": True}], ids=str)
def test_steps(name, target, options):
    step = STEPS[name][0].compile(target, **options)
    for case in cases(name):
        run(case, step)
    if "guards" in options:
        step.check()


@needs_compiler
@pytest.mark.parametrize("name", STEPS)
def test_text_is_the_truth(name):
    """Places are no part of what is computed, and a text does not change."""
    step = STEPS[name][0]
    assert "loc(" not in step.text
    assert step.text == step.text
    located = step.print(locations=True)
    assert re.sub(r" loc\([^)]*\)", "", located) == step.text
    plain = nsa.compile(step.text)[step.name]
    assert plain.ptx == step.compile().ptx
    # Every operation has a place in the file that wrote it.
    places = re.findall(r'loc\("([^"]*)":(\d+):', located)
    assert len(places) > step.text.count(" = ")
    assert all(file.endswith("build_steps.py") for file, _ in places)


@needs_compiler
@pytest.mark.parametrize("name", STEPS)
def test_round_trip(name):
    """What nsa-opt prints of a text is the same step."""
    if not OPT.exists():
        pytest.skip("nsa-opt is not beside the package")
    step = STEPS[name][0]
    run = subprocess.run(
        [OPT], input=step.print(locations=True), capture_output=True, text=True, check=True
    )
    assert nsa.compile(run.stdout)[name].ptx == step.compile().ptx


@needs_compiler
def test_the_same_as_by_hand():
    """examples/prefill_chunk.mlir in Python, to the last byte of its PTX."""
    s = nb.Builder("prefill_chunk")
    bs, queries, bound, c4_columns, c128_columns = (
        s.size(name) for name in ("bs", "queries", "window_bound", "c4_columns", "c128_columns")
    )
    lens, extends = (s.input(f"{name}seq_lens", "int32", (bs,)) for name in ("", "extend_"))
    pool = s.input("req_pool_indices", "int64", (bs,))
    starts = s.input("query_start_loc", "int32", (bs + 1,))
    req_to_token = s.input("req_to_token", "int32", (None, None))
    full_to_swa = s.input("full_to_swa", "int64", (None,))
    c4_table = s.input("c4_page_table", "int32", (None, None))
    c128_table = s.input("c128_page_indices", "int32", (None, None))

    def vector(name, value):
        s.output(name, value, strides="contiguous")

    gather = s.window_lens(lens, extends, 128)
    first = s.window_starts(lens, extends, 128)
    offsets = s.cu_seqlens(gather)
    windows = s.expansion(gather, bound)
    vector("swa_ids", s.lookup(full_to_swa, s.token_ranges(req_to_token, pool, first, windows)))
    vector("swa_first", first)
    vector("swa_lens", gather)
    vector("swa_offsets", offsets)

    bases = s.compressed_bases(bs, 0), s.window_bases(offsets, 0)
    c0 = dict(ratio=1, window=128)
    s.output("c0_indices", s.combine_indices(0, queries, starts, lens, gather, *bases, **c0))
    vector("c0_lens", s.combine_lens(0, queries, starts, lens, **c0))

    s.output(
        "c4_ids", s.compressed_ids(c4_table, s.query_rows("first", starts), c4_columns, 64)
    )
    vector("c4_compressed_base", s.compressed_bases(bs, c4_columns))
    vector("c4_swa_base", s.window_bases(offsets, bs * c4_columns))

    last = s.query_rows("last", starts)
    bases = s.compressed_bases(bs, c128_columns), s.window_bases(offsets, bs * c128_columns)
    c128 = dict(ratio=128, window=128)
    s.output("c128_ids", s.compressed_ids(c128_table, last, c128_columns, 1))
    s.output(
        "c128_indices",
        s.combine_indices(c128_columns, queries, starts, lens, gather, *bases, **c128),
    )
    vector("c128_lens", s.combine_lens(c128_columns, queries, starts, lens, **c128))

    by_hand = nsa.compile(ROOT / "examples/prefill_chunk.mlir")["prefill_chunk"]
    assert s.compile().ptx == by_hand.ptx


def test_all_operations():
    """Every operation of the dialect that makes a value is a method."""
    named = {form.operation for form in FORMS.values()}
    written = {"map", "scan", "reduce"}
    assert named > {"seqlens", "page_table"}
    assert [op for op in named - written if not hasattr(nb.Builder, op)] == []


# ----------------------------------------------------------------------------
# Expressions
# ----------------------------------------------------------------------------

EXTREMES = {
    name: np.array(
        [
            np.iinfo(name).min,
            np.iinfo(name).min + 1,
            -7,
            -2,
            -1,
            0,
            1,
            3,
            64,
            np.iinfo(name).max,
        ],
        name,
    )
    for name in ("int8", "int16", "int32", "int64")
}


def pairs(dtype):
    a = EXTREMES[dtype]
    return np.repeat(a, len(a)), np.tile(a, len(a))


def to_bits(array):
    """As int32 halves, which outputs may have."""
    return array.astype(np.int64).view(np.int32).reshape(-1, 2)


def evaluate(formulas, **inputs):
    """Each formula of the inputs' elements, on the host, as int64."""
    s = nb.Builder("evaluate")
    n = s.size("n")
    ports = [s.input(name, array.dtype, (n,)) for name, array in inputs.items()]
    for i, formula in enumerate(formulas):

        def half(r, c, formula=formula):
            element = formula(*(port[r] for port in ports)).astype("int64")
            return nb.where(c == 0, element, element >> 32).astype("int32")

        s.output(f"out{i}", s.map((n, 2), half))
    length = len(next(iter(inputs.values())))
    outputs = {f"out{i}": np.zeros((length, 2), np.int32) for i in range(len(formulas))}
    s.compile("cpu")(**inputs, **outputs)
    return [array.reshape(-1).view(np.int64) for array in outputs.values()]


def shifted(a, b, left):
    """NumPy's, by a width or more (unsigned) as the dialect says."""
    width = a.dtype.itemsize * 8
    inside = (b >= 0) & (b < width)
    amount = np.where(inside, b, 0).astype(a.dtype)
    past = np.zeros_like(a) if left else np.where(a < 0, -1, 0)
    return np.where(inside, a << amount if left else a >> amount, past).astype(a.dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", EXTREMES)
def test_operators(dtype):
    a, b = pairs(dtype)
    formulas = [
        (lambda a, b: a + b, np.add),
        (lambda a, b: a - b, np.subtract),
        (lambda a, b: a * b, np.multiply),
        (lambda a, b: a // b, np.floor_divide),
        (lambda a, b: a % b, np.remainder),
        (lambda a, b: a & b, np.bitwise_and),
        (lambda a, b: a | b, np.bitwise_or),
        (lambda a, b: a ^ b, np.bitwise_xor),
        (lambda a, b: a << b, lambda a, b: shifted(a, b, True)),
        (lambda a, b: a >> b, lambda a, b: shifted(a, b, False)),
        (lambda a, b: a < b, np.less),
        (lambda a, b: a <= b, np.less_equal),
        (lambda a, b: a > b, np.greater),
        (lambda a, b: a >= b, np.greater_equal),
        (lambda a, b: a == b, np.equal),
        (lambda a, b: a != b, np.not_equal),
        (nb.minimum, np.minimum),
        (nb.maximum, np.maximum),
        (lambda a, b: nb.where(a > b, a, 5), lambda a, b: np.where(a > b, a, 5)),
        (lambda a, b: -a, lambda a, b: -a),
        (lambda a, b: ~a, lambda a, b: ~a),
        (lambda a, b: ~(a > b) ^ (b != 0), lambda a, b: ~(a > b) ^ (b != 0)),
        (lambda a, b: 3 - a, lambda a, b: 3 - a),
        (lambda a, b: 7 // a, lambda a, b: 7 // a),
        (lambda a, b: 7 % a, lambda a, b: 7 % a),
        (lambda a, b: a // 8, lambda a, b: a // 8),
        (lambda a, b: a % 8, lambda a, b: a % 8),
        (lambda a, b: a % 6, lambda a, b: a % 6),
        (lambda a, b: a % -6, lambda a, b: a % -6),
        (lambda a, b: nb.ceildiv(a, 6), lambda a, b: -(-a.astype(object) // 6)),
    ]
    results = evaluate([ours for ours, _ in formulas], a=a, b=b)
    with np.errstate(all="ignore"):
        for i, (result, (_, theirs)) in enumerate(zip(results, formulas)):
            expected = theirs(a, b).astype(np.int64)
            np.testing.assert_array_equal(result, expected, f"formula {i}")


@needs_compiler
def test_conversions():
    a, _ = pairs("int64")
    floats = a.astype(np.float32)
    saturated = np.array([min(int(x), 2**63 - 1) for x in floats], np.int64)
    halves = floats / 2
    bits = halves.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).view(np.float32)

    def to_bfloat16(a):
        return (a.astype("float32") / 2.0).astype("bfloat16")

    formulas = [
        (lambda a: a.astype("int32"), a.astype(np.int32)),
        (lambda a: a.astype(np.int8), a.astype(np.int8)),
        (lambda a: a.astype(np.dtype("int16")), a.astype(np.int16)),
        (lambda a: a.astype(bool), a != 0),
        (lambda a: (a > 0).astype("int64") + 1, (a > 0) + 1),
        (lambda a: (a > 0).astype("index"), a > 0),
        (lambda a: a.astype("float32"), saturated),
        (lambda a: a.astype("index").astype("float32").astype("index"), saturated),
        (lambda a: (a.astype("float32") / 2.0 > 1.0) & (a != 3), (floats / 2 > 1) & (a != 3)),
        (lambda a: to_bfloat16(a) == a.astype("float32") / 2.0, rounded == halves),
        (lambda a: to_bfloat16(a).astype("bool"), a != 0),
        (
            lambda a: to_bfloat16(a).astype("int32"),
            np.clip(rounded.astype(float), -(2**31), 2**31 - 1),
        ),
        (lambda a: -(a.astype("float32")) < 1e-30, floats > -1e-30),
    ]
    results = evaluate([ours for ours, _ in formulas], a=a)
    for i, (result, (_, expected)) in enumerate(zip(results, formulas)):
        np.testing.assert_array_equal(result, expected.astype(np.int64), f"formula {i}")


def dtype_of(formula):
    s = nb.Builder("types")
    n = s.size("n")
    ports = {d: s.input(d, d, (n,)) for d in ("int8", "int16", "int32", "int64", "bfloat16")}
    found = []
    s.map(
        n, lambda r: found.append(formula(n=n, r=r, **{d: p[r] for d, p in ports.items()})) or 0
    )
    return found[0].dtype


@pytest.mark.parametrize(
    "formula, dtype",
    [
        (lambda int8, **_: int8 + 1, "int8"),
        (lambda int8, int16, **_: int8 + int16, "int16"),
        (lambda int32, int64, **_: int32 * int64, "int64"),
        (lambda int32, r, **_: int32 - r, "index"),
        (lambda int64, r, **_: r - int64, "index"),
        (lambda int32, n, **_: n - int32, "index"),
        (lambda r, **_: r + 1, "index"),
        (lambda int8, **_: int8 + np.int32(1), "int32"),
        (lambda int8, **_: np.int64(1) - int8, "int64"),
        (lambda int8, **_: int8 > 0, "bool"),
        (lambda int8, int16, **_: (int8 > 0) & (int16 < 3), "bool"),
        (lambda int8, **_: nb.where(int8 > 0, 1, 0), "int32"),
        (lambda int8, **_: nb.where(int8 > 0, True, False), "bool"),
        (lambda int8, **_: nb.where(int8 > 0, 0.5, 1), "float32"),
        (lambda int8, int16, **_: nb.where(int8 > 0, int16, 1), "int16"),
        (lambda int32, **_: int32.astype("float32") * 2, "float32"),
        (lambda bfloat16, **_: bfloat16, "bfloat16"),
        (lambda n, **_: n < 5, "bool"),
        (lambda n, r, **_: nb.minimum(n, r), "index"),
        (lambda int8, **_: nb.constant(5, "int64"), "int64"),
    ],
)
def test_types(formula, dtype):
    assert dtype_of(formula) == dtype


def test_expressions_stand_once():
    s = nb.Builder("once")
    n = s.size("n")
    a = s.input("a", "int32", (n,))
    s.output(
        "b", s.map(n, lambda i: (a[i] + 1) * (1 + a[i]) + (a[i] + 1) // 3 + (a[i] + 1) % 3)
    )
    assert s.text.count("nsa.read") == 1
    assert s.text.count("arith.constant 1 ") == 1
    assert s.text.count("floordivsi") == 1
    # Nor does what an element does not need.
    s.output("c", s.map(n, lambda i: [a[i] * 77, a[i]][1]))
    assert "77" not in s.text


@needs_compiler
def test_sizes():
    s = nb.Builder("sizes")
    n, m = s.size("n"), s.size("m")
    table = s.input("table", "int32", (None, 5))
    sizes = [
        n * 4 + 1,
        n - 1 + 2 - 1,
        3 + n,
        10 - n,
        n // 2,
        n % 4,
        nb.ceildiv(n, 4),
        n * m - m,
    ]
    sizes += [-n + 9, table.shape[0], table.shape[1], n * 1, m + 0]
    for i, size in enumerate(sizes):
        s.output(
            f"out{i}", s.map(1, lambda _, size=size: nb.where(n > 0, size, 0), dtype="int32")
        )
        s.output(f"len{i}", s.map(size, lambda r: 1))
    known = dict(n=7, m=3)
    expected = [29, 7, 10, 3, 3, 3, 2, 18, 2, 11, 5, 7, 3]
    outputs = {f"out{i}": np.zeros(1, np.int32) for i in range(len(sizes))}
    outputs |= {f"len{i}": np.zeros(40, np.int32) for i in range(len(sizes))}
    s.compile("cpu")(**known, table=np.zeros((11, 5), np.int32), **outputs)
    assert [int(outputs[f"out{i}"][0]) for i in range(len(sizes))] == expected
    assert [int(outputs[f"len{i}"].sum()) for i in range(len(sizes))] == expected


@needs_compiler
def test_ports():
    s = nb.Builder("ports")
    n = s.size("n")
    vector = s.input("vector", "int32", (n + 1,), alignment=16, strides=(1,))
    table = s.input("table", "int16", (n, 8), strides=(None, 1))
    s.output("a", vector, strides="contiguous", start=1)
    s.output("b", table, shape=(None, 8), strides=(64, 1), alignment=64)
    s.output(["c", "d"], vector)
    for line in (
        "in %vector[%n + 1] : tensor<?xi32> {alignment = 16, layout = strided<[1]>}",
        "in %table[%n, ?] : tensor<?x8xi16> {layout = strided<[?, 1]>}",
        "out %a : memref<?xi32>,",
        "out %b : memref<?x8xi16, strided<[64, 1]>> {alignment = 64}",
        "nsa.copy %vector from 1 to %a : tensor<?xi32> to memref<?xi32>",
        "nsa.copy %vector to %c, %d : ",
    ):
        assert line in s.text
    s.compile("cpu")


@needs_compiler
def test_names_do_not_meet():
    """Indices have the names that they have in Python, unless a port has them."""
    s = nb.Builder("names")
    r = s.size("r")
    a = s.input("a", "int32", (r,))
    value = s.map(r, lambda r: a[r] + 1)
    s.output("b", s.map((r, 3), lambda b, c: value[b] + c, dtype="int32"))
    assert "nsa.map(%r.0) in (%r)" in s.text
    assert "nsa.map(%b.0, %c) in" in s.text
    outputs = dict(b=np.zeros((2, 3), np.int32))
    s.compile("cpu")(a=np.array([3, 5], np.int32), **outputs)
    np.testing.assert_array_equal(outputs["b"], [[4, 5, 6], [6, 7, 8]])


@needs_compiler
def test_deep_formulas():
    s = nb.Builder("deep")
    a = s.input("a", "int32", (1,))

    def formula(i):
        element = a[i]
        for k in range(3000):
            element = element * 3 + k
        return element

    s.output("b", s.map(1, formula))
    assert s.text.count("arith.muli") == 3000


# ----------------------------------------------------------------------------
# Mistakes
# ----------------------------------------------------------------------------


class Things:
    """A step with one of each, for mistakes."""

    def __init__(self):
        self.s = s = nb.Builder("mistake")
        self.n = s.size("n")
        self.lens = s.input("lens", "int32", (self.n,))
        self.bytes = s.input("bytes", "int8", (self.n,))
        self.halves = s.input("halves", "bfloat16", (self.n,))
        self.table = s.input("table", "int32", (None, None))
        self.ragged = s.expansion(self.lens, s.size("bound"))
        self.other = nb.Builder("other")

    def float(self, i):
        return self.lens[i].astype("float32")


MISTAKES = [
    # Python that runs now, on what only a launch knows.
    (lambda t: t.s.map(t.n, lambda i: 1 if t.lens[i] > 0 else 0), "Python condition.*nb.where"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i] > 0 and i), "Python condition.* & | ~"),
    (lambda t: t.s.map(t.n, lambda i: 0 < t.lens[i] < 9), "Python condition"),
    (lambda t: t.s.map(t.n, lambda i: not i), "Python condition"),
    (lambda t: t.s.map(t.n, lambda i: i in (1, 2)), "Python condition"),
    (lambda t: t.s.map(t.n, lambda i: 1 if t.n else 0), "Python condition"),
    (lambda t: t.s.map(t.n, lambda i: sum(range(t.lens[i]))), "range.*write a map"),
    (lambda t: range(t.n), "range.*write a map"),
    (lambda t: [1, 2, 3][t.n], "a list's index"),
    (lambda t: t.s.map(t.n, lambda i: int(t.lens[i])), "Python integer.*astype"),
    (lambda t: t.s.map(t.n, lambda i: float(t.lens[i])), "Python float.*astype"),
    (
        lambda t: t.s.map(t.n, lambda i: [x for x in t.lens[i]]),
        "no iteration over a traced value",
    ),
    (lambda t: [x for x in t.lens], "no iteration over an array.*s.map"),
    (lambda t: bool(t.lens), "Python condition"),
    # Arrays and elements.
    (lambda t: t.lens + 1, r"got an array.*a\[i\]"),
    (lambda t: t.s.map(t.n, lambda i: i + t.lens), r"got an array.*a\[i\]"),
    (lambda t: t.s.map(t.n, lambda i: t.lens), r"got an array.*a\[i\]"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[0:2]), "got a slice.*s.map"),
    (
        lambda t: t.s.map(t.n, lambda i: t.table[i]),
        "expected 2 indices for tensor<.x.xi32> but got 1",
    ),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i, i]), "expected 1 index for"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[t.float(i)]), "integer type but got float32"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i > 0]), "integer type but got bool"),
    (
        lambda t: t.s.map(t.n, lambda i: t.lens["i"]),
        "expected an index that is an element.*got str",
    ),
    # Fills.
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[t.lens[i]]),
        r"otherwise\(fill\).*index 0 depends",
    ),
    (lambda t: t.s.map(t.n, lambda i: (t.lens[i] + 1).otherwise(0)), "right after a read"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i].otherwise(0).otherwise(0)), "got two"),
    (
        lambda t: t.s.map(t.n, lambda i: t.bytes[i].otherwise(300)),
        "number that int8 holds but got 300",
    ),
    (
        lambda t: t.s.map(t.n, lambda i: t.bytes[i].otherwise(t.lens[i])),
        r"type int8 but got int32.*astype",
    ),
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[i].otherwise(0.5)),
        "integer beside int32 but got 0.5",
    ),
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[i].otherwise(t.float(i))),
        "of type int32 but got float32",
    ),
    # Types.
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[i].astype("uint8")),
        "expected a dtype of bool, int8.*'uint8'",
    ),
    (lambda t: nb.constant(1, np.float64), "expected a dtype of"),
    (lambda t: nb.constant(1.5, "int32"), "integer beside int32"),
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[i] + 2**31),
        r"int32 holds but got 2147483648.*nb.constant",
    ),
    (
        lambda t: t.s.map(t.n, lambda i: t.lens[i] + 0.5),
        r"integer beside int32.*astype\('float32'\)",
    ),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i] + t.float(i)), "int32 and float32.*astype"),
    (lambda t: t.s.map(t.n, lambda i: (i > 0) + (i > 1)), r"numbers for \+ but got bools"),
    (lambda t: t.s.map(t.n, lambda i: (i > 0) < (i > 1)), "numbers to compare but got bools"),
    (lambda t: t.s.map(t.n, lambda i: nb.minimum(i > 0, i > 1)), "numbers for nb.minimum"),
    (
        lambda t: t.s.map(t.n, lambda i: t.halves[i] * t.halves[i]),
        "no arithmetic .* on bfloat16",
    ),
    (lambda t: t.s.map(t.n, lambda i: -t.halves[i]), "no arithmetic .* on bfloat16"),
    (lambda t: t.s.map(t.n, lambda i: t.lens[i] / 2), r"float32 for / but got int32.*//"),
    (lambda t: t.s.map(t.n, lambda i: t.float(i) // 2), "integers for // but got float32"),
    (lambda t: t.s.map(t.n, lambda i: nb.ceildiv(t.float(i), 2)), "integers for nb.ceildiv"),
    (lambda t: t.s.map(t.n, lambda i: t.float(i) & 2), "integers or bools for &"),
    (lambda t: t.s.map(t.n, lambda i: ~t.float(i)), "integers or bools for ~"),
    (lambda t: t.s.map(t.n, lambda i: t.float(i) << 2), "integers for <<"),
    (lambda t: t.s.map(t.n, lambda i: i // 0), "a divisor that is not always 0"),
    (lambda t: t.s.map(t.n, lambda i: i % 0), "a divisor that is not always 0"),
    (
        lambda t: t.s.map(t.n, lambda i: nb.where(i, 1, 0)),
        "condition of type bool but got index.*!= 0",
    ),
    (lambda t: t.s.map(t.n, lambda i: i + "1"), "got str"),
    # Maps.
    (lambda t: t.s.map(t.n, lambda i: None), "got NoneType; does the formula return"),
    (lambda t: t.s.map(t.n, lambda i: (i, i)), "got tuple; a map makes one array"),
    (lambda t: t.s.map(t.n, lambda i: i > 0), "got a bool.*astype"),
    (lambda t: t.s.map(t.n, lambda r, c: r), "expected a formula of 1 index.*got one of 2"),
    (lambda t: t.s.map((t.n, 2), lambda i: i), "formula of 2 indices.*got one of 1"),
    (lambda t: t.s.map(t.n, 3), "expected a formula, as in lambda i"),
    (lambda t: t.s.map((1, 2, 3), lambda a, b, c: a), "one or two sizes of a map but got 3"),
    (lambda t: t.s.map(-1, lambda i: i), "of 0 or more but got -1"),
    (lambda t: t.s.map(1.5, lambda i: i), "a size or an integer but got 1.5"),
    (lambda t: t.s.map(t.lens[0], lambda i: i), "that the host knows.*got an element"),
    (lambda t: t.s.map((None,), lambda i: i), "that the host knows but got None"),
    (lambda t: t.s.map(t.n, lambda i: i, dtype="index"), "expected a dtype of int8"),
    (
        lambda t: t.s.map(t.n, lambda i: t.s.sum(t.s.map(t.n, lambda j: t.lens[i]))[0]),
        "element of the indices of this map.*s.map",
    ),
    (
        lambda t: t.s.map(t.n, lambda i: t.s.map(t.n, lambda j: (i + j).astype("int32"))[i]),
        "indices of one map but got those of the map at .*test_build.py:",
    ),
    # Two steps.
    (
        lambda t: t.s.map(t.other.size("n"), lambda i: i),
        "sizes of step mistake but got one of other",
    ),
    (lambda t: t.n + t.other.size("n"), "of one step but got one of mistake and one of other"),
    (
        lambda t: t.s.map(t.n, lambda i: t.other.input("a", "int32", (4,))[1]),
        "what step mistake has but got something of step other",
    ),
    (lambda t: t.other.scan(t.lens), "array of step other but got one of mistake"),
    # Sums and searches.
    (lambda t: t.s.scan(t.bytes), "int32 or int64 but got int8"),
    (lambda t: t.s.sum(t.halves), "int32 or int64 but got bfloat16"),
    (lambda t: t.s.max(3), "an array to reduce that is an array but got 3"),
    (lambda t: t.s.map(t.n, lambda i: t.bytes.search(i)), "int32 or int64 to search"),
    (lambda t: t.s.map(t.n, lambda i: t.table.search(i)), "expected a row of the table"),
    (lambda t: t.s.map(t.n, lambda i: t.lens.search(i, row=0)), "expected no row"),
    (lambda t: t.s.count(t.n, lambda i: i), "condition of type bool"),
    # Recurrences.
    (lambda t: t.s.iterate(t.n, lambda i: i), "a step and the element before.*got one of 1"),
    (lambda t: t.s.iterate((t.n, 2), lambda i, x: x), "one size, the number of steps"),
    (lambda t: t.s.iterate(t.lens[0], lambda i, x: x), "that the host knows.*got an element"),
    (lambda t: t.s.iterate(t.n, 3), "expected a formula, as in lambda i"),
    (lambda t: t.s.iterate(t.n, lambda i, x: x, dtype="int8"), "expected a dtype of int32"),
    (
        lambda t: t.s.iterate(t.n, lambda i, x: x, first=2**31, dtype="int32"),
        "number that int32 holds but got 2147483648",
    ),
    (lambda t: t.s.iterate(t.n, lambda i, x: x, first=t.n), "a first element that is an int"),
    (
        lambda t: t.s.iterate(t.n, lambda i, x: t.lens[x]),
        r"otherwise\(fill\).*index 0 depends",
    ),
    (
        lambda t: t.s.iterate(t.n, lambda i, x: t.s.iterate(4, lambda j, y: x)[i].otherwise(0)),
        "element of the indices of this map",
    ),
    (lambda t: t.s.iterate(t.n, lambda i, x: 1 if x > 0 else 0), "Python condition"),
    # Sizes.
    (lambda t: t.n // 0, "divided by 1 or more but got 0"),
    (lambda t: nb.ceildiv(t.n, -1), "divided by 1 or more but got -1"),
    # Ports.
    (
        lambda t: t.s.size("lens"),
        "a name that is free but got 'lens', which is taken at .*test_build",
    ),
    (lambda t: t.s.size("a b"), "C identifier but got 'a b'"),
    (lambda t: t.s.scan(t.lens, name="n"), "a name that is free"),
    (lambda t: nb.Builder("1"), "C identifier"),
    (lambda t: t.s.input("a", "float32x", (t.n,)), "expected a dtype of int8"),
    (lambda t: t.s.input("a", "bool", (t.n,)), "expected a dtype of int8"),
    (lambda t: t.s.input("a", "int32", t.n), "a shape of one or two dimensions"),
    (lambda t: t.s.input("a", "int32", (1, 2, 3)), "a shape of one or two dimensions"),
    (lambda t: t.s.input("a", "int32", (t.n * 2,)), r"a size port, or one plus a constant"),
    (lambda t: t.s.input("a", "int32", (t.n - 1,)), r"a size port, or one plus a constant"),
    (lambda t: t.s.input("a", "int32", (t.n,), alignment=3), "power of 2 but got 3"),
    (lambda t: t.s.input("a", "int32", (t.n,), strides=(1, 1)), "expected 1 strides"),
    (lambda t: t.s.input("a", "int32", (t.n,), strides=(0,)), "strides of 1 or more"),
    (lambda t: t.s.output("a", t.s.map(t.n, lambda i: i)[0]), "got an element.*s.map"),
    (lambda t: t.s.output("a", 3), "that is an array but got 3"),
    (lambda t: t.s.output(["a", "n"], t.lens), "a name that is free but got 'n'"),
    (lambda t: t.s.output(["a", "a"], t.lens), "a name that is free but got 'a'"),
    (lambda t: t.s.output([], t.lens), "at least one destination"),
    (lambda t: t.s.output("a", t.lens, shape=(None, None)), "a shape of 1 integers"),
    (lambda t: t.s.output("a", t.lens, shape=(t.n,)), "a shape of 1 integers"),
    (lambda t: t.s.output("a", t.lens, strides="any"), "'contiguous' or numbers"),
    # Named operations.
    (lambda t: t.s.expansion(t.lens), "a bound of the rows"),
    (lambda t: t.s.expansion(2, padded=True), "a bound of the rows"),
    (lambda t: t.s.expand_seqlens("other", t.lens, t.ragged), "causal, broadcast or following"),
    (lambda t: t.s.expand_seqlens("causal", t.lens, t.lens), "an expansion, which s.expansion"),
    (lambda t: t.s.query_rows("middle", t.lens), "first or last"),
    (lambda t: t.s.real_page_table(t.lens, 64), "expected a table but got"),
    (lambda t: t.s.seqlens(3), "'source' that is an array but got 3"),
    (lambda t: t.s.seqlens(t.lens, 1.5), "a Python integer but got 1.5"),
    # Functions that write steps.
    (lambda t: nb.step(3), "expected a function that takes a Builder"),
    (lambda t: nb.step(lambda s: 1), "C identifier"),
]


@pytest.mark.parametrize("mistake, message", MISTAKES)
def test_mistakes(mistake, message):
    things = Things()
    before = things.s.text
    with pytest.raises(nb.BuildError, match=message) as caught:
        mistake(things)
    error = caught.value
    assert isinstance(error, nsa.CompileError)
    # The lambda's own lines.
    assert error.place.file == __file__
    assert error.place.line in {
        line for code in codes(mistake.__code__) for line in lines(code)
    }
    assert error.diagnostics.startswith(f"{__file__}:{error.place.line}:")
    # Nothing half-made, but for maps that were whole.
    text = re.sub(r"  %map.*?\n  }\n", "", things.s.text, flags=re.DOTALL)
    assert re.sub(r".*nsa.reduce.*\n", "", text) == before


def codes(code):
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from codes(constant)


def lines(code):
    import dis

    return [line for _, line in dis.findlinestarts(code)]


def line_of(function):
    return function.__code__.co_firstlineno


def test_result_of_a_step():
    def returns(s):
        return s.size("n")

    with pytest.raises(nb.BuildError, match="returns nothing; write s.output"):
        nb.step(returns)


@needs_compiler
def test_the_compiler_names_the_line():
    s = nb.Builder("unbounded")
    n, m = s.size("n"), s.size("m")
    a = s.input("a", "int32", (n,))
    unbounded = lambda i: 7 + a[i]  # noqa: E731
    s.output("b", s.map(m, unbounded))
    with pytest.raises(nsa.CompileError, match="expected an 'else'") as caught:
        s.compile("cpu")
    check_place(caught.value, line_of(unbounded), "a[i]")


def check_place(error, line, code):
    """The first diagnostic is about `code` at this line of this file."""
    file, number, column, _ = error.diagnostics.split(":", 3)
    assert (file, int(number)) == (__file__, line)
    if sys.version_info >= (3, 11):
        assert linecache.getline(file, line)[int(column) - 1 :].startswith(code)


@needs_compiler
def test_the_compiler_names_the_line_of_a_port():
    s = nb.Builder("keyword")
    n = s.size("n")

    def declare():
        return s.input("register", "int32", (n,))

    s.output("b", declare())
    with pytest.raises(nsa.CompileError, match="a keyword of C or C\\+\\+") as caught:
        s.compile("cpu")
    check_place(caught.value, line_of(declare) + 1, "s.input(")


@needs_compiler
def test_nothing_written():
    s = nb.Builder("nothing")
    with pytest.raises(
        nsa.CompileError, match=r"test_build.py:\d+:\d+: error: expected a step that"
    ):
        s.compile("cpu")


def test_places_of_odd_files():
    code = compile("s.size('n')", 'a "b"\\ü\n.py', "exec")
    s = nb.Builder("odd")
    exec(code, {"s": s})
    assert s._names["n"].location == r'loc("a \22b\22\5C\C3\BC\0A.py":1:1)'


def test_examples():
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner()
    for test in finder.find(nsa.build._builder.Builder, globs={}):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 3


# ----------------------------------------------------------------------------
# Filled up to a width
# ----------------------------------------------------------------------------


@nb.step
def filled(s):
    n, width = s.size("n"), s.size("width")
    lens = s.input("lens", "int32", (n,))
    table = s.input("table", "int32", (n, 5))
    s.output("ids", s.pad(s.map((n, 5), lambda r, c: table[r, c] + 1), width, -1))
    s.output("rows", s.pad(table, 8, 7))
    s.output("lengths", s.pad(lens, width, lens[0].otherwise(-9)))


@needs_compiler
@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_filled_to_a_width(target):
    step = filled.compile(target)
    for n, width in ((3, 9), (2, 5), (4, 3), (0, 6), (129, 130), (2, 0)):
        rng = np.random.default_rng(n)
        lens = rng.integers(-99, 99, n, np.int32)
        table = rng.integers(-99, 99, (n, 5), np.int32)
        ids, rows = np.full((n, width + 1), 50, np.int32), np.full((n, 9), 50, np.int32)
        lengths = np.full(width + 1, 50, np.int32)
        step(n=n, width=width, lens=lens, table=table, ids=ids, rows=rows, lengths=lengths)
        wanted = np.full((n, width + 1), 50)
        wanted[:, :width] = -1
        wanted[:, : min(width, 5)] = table[:, :width] + 1
        np.testing.assert_array_equal(ids, wanted)
        np.testing.assert_array_equal(rows[:, :5], table)
        assert (rows[:, 5:8] == 7).all() and (rows[:, 8] == 50).all()
        wanted = np.full(width + 1, lens[0] if n else -9)
        wanted[: min(n, width)], wanted[width] = lens[:width], 50
        np.testing.assert_array_equal(lengths, wanted)


def test_a_fill_has_to_fit():
    s = nb.Builder("mistake")
    n = s.size("n")
    lens = s.input("lens", "int32", (n,))
    with pytest.raises(nb.BuildError, match="int32 holds"):
        s.pad(lens, 8, 1 << 40)
    with pytest.raises(nb.BuildError, match="an array to fill up"):
        s.pad(3, 8, 0)


def test_texts_are_those_of_the_tree():
    """test/IR/formula-steps.mlir has them; a change of one is a change of both."""
    text = (ROOT / "test/IR/formula-steps.mlir").read_text()
    for name, (step, _, _) in STEPS.items():
        assert f"// CHECK-LABEL: nsa.step @{name}(\n{step.text}" in text, name
