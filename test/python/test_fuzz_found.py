# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What generated steps have found (python -m nsa.fuzz), made small."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

import nsa
from nsa import _compile, simt
from nsa.fuzz import operations

if not nsa.has_compiler():
    pytest.skip("built without the compiler", allow_module_level=True)


def builds(text: str) -> Iterator[nsa.Step]:
    """The step of a text in every build: on the host, with LLVM's passes and without, and in
    the simulator; guards end the process, or the launch, where an access is outside."""
    either = (True, False)
    for fuse, guards, optimize in itertools.product(either, either, either):
        module, diagnostics = _compile.compiler().compile(
            text.encode(), b"<found>", fuse=fuse, guards=guards, host=True, optimize_host=optimize
        )
        assert module is not None, diagnostics.decode()
        ((_, manifest, ptx, kernels),) = module.steps
        yield nsa.Step(manifest, None, kernels, keep=module)
        if optimize:
            yield simt.simulate(nsa.Step(manifest, ptx))


def test_read_of_a_value_of_negative_size() -> None:
    """It has no element, so that every read of it misses."""
    text = """
nsa.step @step(in %bs : index, in %columns : index, in %lens[%bs] : tensor<?xi32>,
               out %o : memref<?xi32>, out %p : memref<?xi32>) {
  %less = affine.apply affine_map<()[s0] -> (s0 * 10 - 1000000)>()[%bs]
  %none = nsa.map(%r) in (%less) : tensor<?xi32> {
    %missing = arith.constant 5 : i32
    %length = nsa.read %lens[%r] else %missing : tensor<?xi32>
    nsa.yield %length : i32
  }
  %read = nsa.map(%r) in (%columns) : tensor<?xi32> {
    %missing = arith.constant 7 : i32
    %length = nsa.read %none[%r] else %missing : tensor<?xi32>
    nsa.yield %length : i32
  }
  %square = nsa.map(%r, %c) in (%less, %columns) : tensor<?x?xi32> {
    %missing = arith.constant 5 : i32
    %length = nsa.read %lens[%c] else %missing : tensor<?xi32>
    nsa.yield %length : i32
  }
  %diagonal = nsa.map(%r) in (%columns) : tensor<?xi32> {
    %missing = arith.constant 8 : i32
    %length = nsa.read %square[%r, %r] else %missing : tensor<?x?xi32>
    nsa.yield %length : i32
  }
  nsa.copy %read to %o : tensor<?xi32> to memref<?xi32>
  nsa.copy %diagonal to %p : tensor<?xi32> to memref<?xi32>
}
"""
    for step in builds(text):
        for bs, columns in ((0, 3), (2, 9), (3, 130)):
            o, p = np.zeros(columns, np.int32), np.zeros(columns, np.int32)
            step(bs=bs, columns=columns, lens=np.arange(bs, dtype=np.int32), o=o, p=p)
            assert (o == 7).all() and (p == 8).all()


@pytest.mark.parametrize("beside", ["", "nsa.copy %of_rows to %q : tensor<?xi32> to memref<?xi32>"])
def test_expansion_of_what_reads_a_sum_of_requests(beside: str) -> None:
    """That sum is none of rows, and may stand beside one that is."""
    text = f"""
nsa.step @step(in %bs : index, in %extend[%bs] : tensor<?xi32>, in %whole[%bs] : tensor<?xi32>,
               in %bound : index, out %o : memref<?xi32>, out %q : memref<?xi32>) {{
  %sums = nsa.cu_seqlens %whole : tensor<?xi32> -> tensor<?xi32>
  %after = nsa.map(%r) in (%bs) : tensor<?xi32> {{
    %missing = arith.constant 1 : i32
    %one = arith.constant 1 : index
    %next = arith.addi %r, %one : index
    %sum = nsa.read %sums[%next] else %missing : tensor<?xi32>
    nsa.yield %sum : i32
  }}
  %ragged = nsa.expansion by %extend within %bound : tensor<?xi32>
  %rows = nsa.expand_seqlens broadcast %after over %ragged : tensor<?xi32> -> tensor<?xi32>
  %of_rows = nsa.cu_seqlens %rows : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %rows to %o : tensor<?xi32> to memref<?xi32>
  {beside or "nsa.copy %sums to %q : tensor<?xi32> to memref<?xi32>"}
}}
"""
    rng = np.random.default_rng(1)
    for step in builds(text):
        for bs in (0, 1, 5, 140):
            extend = rng.integers(0, 4, bs).astype(np.int32)
            whole = rng.integers(0, 100, bs).astype(np.int32)
            rows = np.repeat(np.cumsum(whole), extend)
            bound = len(rows)
            o = np.zeros(bound, np.int32)
            q = np.zeros((bound if beside else bs) + 1, np.int32)
            step(bs=bs, extend=extend, whole=whole, bound=bound, o=o, q=q)
            assert o.tolist() == rows.tolist()
            assert q.tolist() == [0, *np.cumsum(rows if beside else whole)]


def test_bf16_is_moved_as_it_is() -> None:
    """All 65,536 of them, subnormal ones and NaNs too, through a branch."""
    text = """
nsa.step @step(in %bs : index, in %floats[%bs] : tensor<?xbf16>, out %o : memref<?xbf16>) {
  %moved = nsa.map(%r) in (%bs) : tensor<?xbf16> {
    %big = arith.constant 1.0e+10 : f32
    %missing = arith.truncf %big : f32 to bf16
    %one = arith.constant 1 : index
    %next = arith.addi %r, %one : index
    %float = nsa.read %floats[%next] else %missing : tensor<?xbf16>
    nsa.yield %float : bf16
  }
  nsa.copy %moved to %o : tensor<?xbf16> to memref<?xbf16>
}
"""
    floats = np.arange(1 << 16).astype(np.uint16)
    # 1e10 as bf16, to the nearest.
    wanted = [*range(1, 1 << 16), 0x5015]
    for step in builds(text):
        o = np.zeros(1 << 16, np.uint16)
        step(floats=floats, o=o)
        assert o.tolist() == wanted


def test_index_of_fewer_bits() -> None:
    """What a cast of an index cuts off does not come back."""
    text = """
nsa.step @step(in %n : index, out %o : memref<?xi64>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi64> {
    %low = arith.index_cast %r : index to i8
    %back = arith.index_cast %low : i8 to index
    %wide = arith.index_cast %back : index to i64
    nsa.yield %wide : i64
  }
  nsa.copy %v to %o : tensor<?xi64> to memref<?xi64>
}
"""
    for step in builds(text):
        o = np.zeros(300, np.int64)
        step(n=300, o=o)
        np.testing.assert_array_equal(o, np.arange(300).astype(np.int8))


def test_small_numbers_of_bf16() -> None:
    """Of reads and their fills alike, subnormal ones included, whatever the processor has."""
    text = """
nsa.step @step(in %n : index, in %m : index, in %v[%m] : tensor<?xbf16>,
               out %o : memref<?xbf16>) {
  %w = nsa.map(%r) in (%n) : tensor<?xbf16> {
    %small = arith.constant 9.18e-41 : bf16
    %x = nsa.read %v[%r] else %small : tensor<?xbf16>
    nsa.yield %x : bf16
  }
  nsa.copy %w to %o : tensor<?xbf16> to memref<?xbf16>
}
"""
    v = np.array([0, 1, 0x8001, 0x7F, 0x80, 0x7F80, 0x7F81, 0x3F80], np.uint16)
    for step in builds(text):
        o = np.zeros(20, np.uint16)
        step(n=20, m=len(v), v=v, o=o)
        np.testing.assert_array_equal(o, [*v, *[1] * 12])


def test_flags_of_sign_become_floats_without() -> None:
    """LLVM's vectorizer of straight code took 32 of the 64 bits: 2^32 came from all ones."""
    text = """
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %b[%n] : tensor<?xi32>,
               out %o : memref<?xf32>) {
  %flags = nsa.map(%r) in (7) : tensor<7xf32> {
    %zero = arith.constant 0 : i32
    %x = nsa.read %a[%r] else %zero : tensor<?xi32>
    %y = nsa.read %b[%r] else %zero : tensor<?xi32>
    %product = arith.muli %x, %y : i32
    %is_positive = arith.cmpi slt, %zero, %product : i32
    %ones = arith.extsi %is_positive : i1 to i64
    %number = arith.uitofp %ones : i64 to f32
    nsa.yield %number : f32
  }
  nsa.copy %flags to %o : tensor<7xf32> to memref<?xf32>
}
"""
    a = np.array([1, -1, 0, 5, 7, -3, 2**31 - 1], np.int32)
    wanted = np.where(a > 0, np.float32(2.0**64), np.float32(0))
    for step in builds(text):
        o = np.zeros(7, np.float32)
        step(n=7, a=a, b=np.ones(7, np.int32), o=o)
        np.testing.assert_array_equal(o, wanted)


def test_walk_over_constants() -> None:
    """Nothing is loaded that a round could carry."""
    text = """
nsa.step @step(in %bs : index, out %o : memref<?xi32>) {
  %v = nsa.map(%r) in (%bs) : tensor<?xi32> {
    %x = arith.constant 127 : i8
    %wide = arith.extsi %x : i8 to i32
    nsa.yield %wide : i32
  }
  %sums = nsa.cu_seqlens %v : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %o : tensor<?xi32> to memref<?xi32>
}
"""
    for step in builds(text):
        for bs in (0, 1, 300):
            out = np.full(bs + 1, -7, np.int32)
            step(bs=bs, o=out)
            assert out.tolist() == [127 * i for i in range(bs + 1)]


@pytest.mark.parametrize("source", ["(%bs, %less)", "(%less)"])
def test_sums_along_a_negative_number(source: str) -> None:
    """Of which there is one more than elements, and still none."""
    rank = source.count(",") + 1
    type = "x".join(["?"] * rank) + "xi32"
    indices = ", ".join(("%r", "%c")[:rank])
    text = f"""
nsa.step @step(in %bs : index, out %o : memref<{type}>) {{
  %less = affine.apply affine_map<()[s0] -> (s0 * 10 - 1000000)>()[%bs]
  %none = nsa.map({indices}) in {source} : tensor<{type}> {{
    %one = arith.constant 1 : i32
    nsa.yield %one : i32
  }}
  %sums = nsa.scan %none : tensor<{type}> -> tensor<{type}>
  nsa.copy %sums to %o : tensor<{type}> to memref<{type}>
}}
"""
    for step in builds(text):
        sums = np.full((4,) * rank, 7, np.int32)
        step(bs=4, o=sums)
        assert (sums == 7).all()
    none = operations.Array.of(np.zeros((4, 0)[-rank:], np.int32))._replace(less=999960)
    assert operations.scan(none, inclusive=False).data.shape == none.data.shape


def test_element_of_another_row() -> None:
    """A list's elements rest on an element of another list, in another row than their own."""
    text = """
nsa.step @step(in %bs : index, in %more[%bs] : tensor<?xi32>, in %queries : index, in %starts[%bs + 1] : tensor<?xi32>, out %o4 : memref<?x?xi32>, out %o6 : memref<?x?xi32>) {
  %v1 = nsa.combine_indices topk 0 queries %queries at %starts lengths %more gathers %more bases %more, %more ratio 4 window 7 : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x128xi32>
  %v2 = nsa.map(%r) in (%bs) : tensor<?xi32> {
    %x0 = arith.constant 1 : index
    %x1 = arith.constant -1 : i32
    %x2 = nsa.read %v1[%r, %x0] else %x1 : tensor<?x128xi32>
    nsa.yield %x2 : i32
  }
  %v3 = nsa.combine_indices topk 9 queries %queries at %starts lengths %v2 gathers %more bases %v2, %v2 ratio 4 window 1 : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x128xi32>
  nsa.copy %v1 to %o4 : tensor<?x128xi32> to memref<?x?xi32>
  nsa.copy %v3 to %o6 : tensor<?x128xi32> to memref<?x?xi32>
}
"""  # noqa: E501
    more, starts = np.array([91], np.int32), np.array([2, 42], np.int32)
    for step in builds(text):
        first, second = (np.full((40, 128), -7, np.int32) for _ in range(2))
        step(bs=1, queries=40, more=more, starts=starts, o4=first, o6=second)
        assert (first[:, 0] == 136 + np.arange(40)).all()
        # All queries are of one request, whose base is in the first row.
        assert (second[:, 0] == first[0, 1]).all()


def test_memory_of_a_thread() -> None:
    """LLVM keeps a vector there of which an element is picked by a number: the simulator knows it."""
    text = """
nsa.step @step(in %bs : index, in %columns : index, in %tokens : tensor<?x?xi32>, in %wide[%bs] : tensor<?xi64>, in %lens[%bs] : tensor<?xi32>, out %o0 : memref<?x?xi32>, out %o1 : memref<?x?xi32, strided<[1024, 1]>> {alignment = 16 : i64}, out %o5 : memref<?x?xi32, strided<[?, 1]>>) {
  %v1 = nsa.page_table %tokens[%wide] columns %bs live %lens : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %v2 = nsa.page_table %tokens[%lens] columns %columns : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %v2 to %o0, %o1 : tensor<?x?xi32> to memref<?x?xi32>, memref<?x?xi32, strided<[1024, 1]>>
  nsa.copy %v1 to %o5 : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
"""  # noqa: E501
    module, diagnostics = _compile.compiler().compile(text.encode(), b"<found>")
    assert module is not None, diagnostics.decode()
    ((_, manifest, ptx, _),) = module.steps
    assert "__local_depot" in ptx
    tokens = np.arange(24, dtype=np.int32).reshape(3, 8)
    wide, lens = np.array([2, 1, 0], np.int64), np.array([2, 1, 3], np.int32)
    o0, o5 = np.zeros((3, 7), np.int32), np.zeros((3, 3), np.int32)
    strided = np.zeros((3, 1024), np.int32)
    simt.simulate(nsa.Step(manifest, ptx))(
        bs=3, columns=7, tokens=tokens, wide=wide, lens=lens, o0=o0, o1=strided[:, :7], o5=o5
    )
    assert (o0[:2] == tokens[lens[:2], :7]).all() and (strided[:2, :7] == o0[:2]).all()
    is_live = np.arange(3) < lens[:, None]
    assert (o5 == tokens[wide][:, :3])[is_live].all()


def test_bounds_of_16_bits() -> None:
    """PTX has them with 32, whatever the sign and the operands are."""
    copies = {"max": "maxsi", "min": "minsi", "umax": "maxui", "umin": "minui"}
    maps = "".join(
        f"""
  %{name}{at} = nsa.map(%r) in (%n) : tensor<?xi16> {{
    %none = arith.constant 0 : i16
    %x = nsa.read %a[%r] else %none : tensor<?xi16>
    {other}
    %bound = arith.{op} %x, %y : i16
    nsa.yield %bound : i16
  }}
  nsa.copy %{name}{at} to %{name}_{at} : tensor<?xi16> to memref<?xi16>"""
        for name, op in copies.items()
        for at, other in enumerate(
            ("%y = nsa.read %b[%r] else %none : tensor<?xi16>", "%y = arith.constant -5 : i16")
        )
    )
    names = [f"{name}_{at}" for name in copies for at in (0, 1)]
    outs = ", ".join(f"out %{name} : memref<?xi16>" for name in names)
    text = f"""
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi16>, in %b[%n] : tensor<?xi16>, {outs}) {{{maps}
}}
"""
    some = np.array([0, 1, -1, 5, -5, -6, 32767, -32768], np.int16)
    a, b = (each.reshape(-1).copy() for each in np.meshgrid(some, some))
    wanted = {}
    for at, y in enumerate((b, np.full_like(b, -5))):
        wanted |= {f"max_{at}": np.maximum(a, y), f"min_{at}": np.minimum(a, y)}
        for name, function in (("umax", np.maximum), ("umin", np.minimum)):
            wanted[f"{name}_{at}"] = function(a.view(np.uint16), y.view(np.uint16)).view(np.int16)
    for step in builds(text):
        got = {name: np.full_like(a, 7) for name in names}
        step(n=a.size, a=a, b=b, **got)
        for name in names:
            assert got[name].tolist() == wanted[name].tolist(), name
