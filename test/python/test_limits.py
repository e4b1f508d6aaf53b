# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Large and odd texts: code grows with the text, and what is too large is refused where it is."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

V = "tensor<?xi32>"


def chain(depth: int) -> str:
    """Values of two operands each, both the one before."""
    body = "\n".join(
        f"  %v{n + 1} = nsa.window_lens %v{n}, %v{n} window {n + 2} : {V}, {V}"
        for n in range(depth)
    )
    return f"""nsa.step @chain(in %n : index, in %v0[%n] : {V}, out %x : memref<?xi32>) {{
{body}
  nsa.copy %v{depth} to %x : {V} to memref<?xi32>
}}"""


def ptx(text: str) -> str:
    module = nsa.compile(text)
    return module[next(iter(module))].ptx


def test_code_is_linear() -> None:
    """A value is computed once, however many ways lead to it."""
    sizes = [ptx(chain(depth)).count("min.s32") for depth in (10, 20, 40)]
    assert sizes[1] == 2 * sizes[0] and sizes[2] == 4 * sizes[0]


@pytest.mark.parametrize("depth", [257, 20000])
def test_too_deep(depth: int) -> None:
    with pytest.raises(nsa.CompileError, match=r":258:\d+: error: .* at most 256 deep"):
        nsa.compile(chain(depth))
    assert ptx(chain(256))


def test_too_many_fields() -> None:
    def text(count: int) -> str:
        fields = ", ".join(f"e4m3[16] at {16 * n}" for n in range(count))
        layout = (
            f"data_bytes = {20 * count}, fields = [{fields}], "
            f"scales = f32[{count}] at {16 * count} per 16 inline"
        )
        return f"""nsa.step @s(in %cache : tensor<?x?xi8>, in %ids : {V}, out %o : memref<?x?xbf16>) {{
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<{layout}> page_size 64
      : tensor<?x?xi8>, {V} -> tensor<?x{16 * count}xbf16>
  nsa.copy %kv to %o : tensor<?x{16 * count}xbf16> to memref<?x?xbf16>
}}"""

    assert ptx(text(32))
    with pytest.raises(nsa.CompileError, match="expected 1 to 32 fields, but got 33"):
        nsa.compile(text(33))


def test_order_of_sizes() -> None:
    """Kernels follow from what is computed, not from where the text says so."""
    sizes = [
        "%a = affine.apply affine_map<()[s0] -> (s0 + 3)>()[%n]",
        "%b = affine.apply affine_map<()[s0] -> (s0 * 5)>()[%m]",
        "%c = affine.apply affine_map<()[s0, s1] -> (s0 + s1)>()[%n, %m]",
        "%p = nsa.page_table %t[%pool] columns %a : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>",
        "%q = nsa.page_table %t[%pool] columns %b : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>",
        "%r = nsa.compressed_bases %c stride %b : tensor<?xi32>",
    ]
    needs = {3: {0}, 4: {1}, 5: {1, 2}}
    orders = [
        order
        for order in itertools.permutations(range(6))
        if all(order.index(a) < order.index(b) for b in needs for a in needs[b])
    ]
    texts = [
        f"""nsa.step @s(in %n : index, in %m : index, in %t : tensor<?x?xi32>, in %pool[%n] : {V},
    out %x : memref<?x?xi32>, out %y : memref<?x?xi32>, out %z : memref<?xi32>) {{
  {chr(10).join(sizes[number] for number in order)}
  nsa.copy %p to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %q to %y : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %r to %z : {V} to memref<?xi32>
}}"""
        for order in random.Random(5).sample(orders, 12)
    ]
    assert len({ptx(text) for text in texts}) == 1


def test_widest_aligned_loads() -> None:
    """Tokens of 200 bytes are at multiples of 8: that is what a load takes."""
    text = f"""nsa.step @s(in %cache : tensor<?x?xi8> {{alignment = 16}}, in %ids : {V},
    out %o : memref<?x192xbf16>) {{
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<data_bytes = 200,
      fields = [e4m3[192] at 0], scales = f32[2] at 192 per 96 inline> page_size 64
      : tensor<?x?xi8>, {V} -> tensor<?x192xbf16>
  nsa.copy %kv to %o : tensor<?x192xbf16> to memref<?x192xbf16>
}}"""
    assert "ld.global.nc.v2.b32" in ptx(text)


# ----------------------------------------------------------------------------
# Formulas
# ----------------------------------------------------------------------------

L = "tensor<?xi64>"


def sums(count: int) -> str:
    """The sum of the sums of as many arrays, at each place."""
    ports = ", ".join(f"in %a{n}[%n] : {L}" for n in range(count))
    scans = "\n".join(f"  %s{n} = nsa.scan %a{n} : {L} -> {L}" for n in range(count))
    adds = "\n".join(
        f"    %x{n} = nsa.read %s{n}[%r] : {L}\n    %t{n + 1} = arith.addi %t{n}, %x{n} : i64"
        for n in range(count)
    )
    return f"""nsa.step @sums(in %n : index, {ports}, out %x : memref<?xi64>) {{
{scans}
  %v = nsa.map(%r) in (%n) : {L} {{
    %t0 = arith.constant 0 : i64
{adds}
    nsa.yield %t{count} : i64
  }}
  nsa.copy %v to %x : {L} to memref<?xi64>
}}"""


@pytest.mark.parametrize("count", [1, 4, 5, 6, 12, 64, 128])
def test_sums_fit_a_block(count: int) -> None:
    """The more of them, the larger the tiles of each."""
    arrays = re.findall(r"\.shared \.align 16 \.b8 \w+\[(\d+)\]", ptx(sums(count)))
    assert len(arrays) == 2 * count
    assert sum(-(-int(size) // 16) * 16 for size in arrays) <= 48 * 1024


def test_too_many_sums() -> None:
    with pytest.raises(nsa.CompileError, match=r":\d+:\d+: error: .* 49152 bytes that a block"):
        nsa.compile(sums(250))


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_sums_in_larger_tiles(target: str) -> None:
    count = 12
    step = nsa.compile(sums(count), target)["sums"]
    rng = np.random.default_rng(0)
    for n in (0, 1, 255, 256, 257, 700):
        arrays = [rng.integers(-9, 9, n) for _ in range(count)]
        out = np.full(n, 77)
        step(n=n, x=out, **{f"a{i}": array for i, array in enumerate(arrays)})
        total = np.sum(arrays, axis=0) if n else np.zeros(0, np.int64)
        np.testing.assert_array_equal(out, np.cumsum(total) - total)


def neighbours(depth: int) -> str:
    """Each element from two of the map before."""
    maps = "\n".join(
        f"""  %v{n + 1} = nsa.map(%r) in (%n) : {V} {{
    %one = arith.constant 1 : index
    %none = arith.constant 0 : i32
    %next = arith.addi %r, %one : index
    %x = nsa.read %v{n}[%r] : {V}
    %y = nsa.read %v{n}[%next] else %none : {V}
    %sum = arith.addi %x, %y : i32
    nsa.yield %sum : i32
  }}"""
        for n in range(depth)
    )
    return f"""nsa.step @neighbours(in %n : index, in %v0[%n] : {V}, out %out : memref<?xi32>) {{
{maps}
  nsa.copy %v{depth} to %out : {V} to memref<?xi32>
}}"""


def test_too_many_reads() -> None:
    """Formulas are emitted where they are read, so their number doubles here."""
    assert ptx(neighbours(7))
    with pytest.raises(nsa.CompileError, match=r"error: 'nsa.map' op .* at most 512 reads"):
        nsa.compile(neighbours(40))
