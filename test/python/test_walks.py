# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows that one block walks: lengths and their sums to many strided arrays, around the rows of
a round, on the host and in the simulator."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import nsa
import nsa.build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

#: Of each kind: more places than a block computes ahead.
BACKENDS = 5
KINDS = ("lens", "cu", "clipped", "clipped_cu")
TOPK = 100
#: Around the threads of a block.
SIZES = (0, 1, 2, 31, 32, 33, 127, 128, 129, 255, 256, 257)


@cache
def walk(target, optional):
    out = "out optional" if optional else "out"
    names = [f"{kind}{number}" for number in range(BACKENDS) for kind in KINDS]
    ports = ",\n".join(f"{out} %{name} : memref<?xi32, strided<[?]>>" for name in names)
    copies = "\n".join(
        f"nsa.copy %{kind} to "
        + ", ".join(f"%{kind}{number}" for number in range(BACKENDS))
        + " : tensor<?xi32> to "
        + ", ".join(["memref<?xi32, strided<[?]>>"] * BACKENDS)
        for kind in KINDS
    )
    text = f"""
nsa.step @walk(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>, {ports}) {{
  %lens = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  %clipped = nsa.clip_seqlens %lens to {TOPK} : tensor<?xi32>
  %clipped_cu = nsa.cu_seqlens %clipped : tensor<?xi32> -> tensor<?xi32>
  {copies}
}}"""
    return nsa.compile(text, target)["walk"], names


def reference(lens):
    lens = lens.astype(np.int32)
    clipped = np.minimum(lens, TOPK)
    sums = [np.concatenate([[0], np.cumsum(x)]).astype(np.int32) for x in (lens, clipped)]
    return dict(lens=lens, cu=sums[0], clipped=clipped, clipped_cu=sums[1])


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("optional", [False, True])
def test_walk(target, optional):
    step, names = walk(target, optional)
    rng = np.random.default_rng(3)
    for bs in SIZES:
        lens = rng.integers(0, 1000, bs)
        wanted = reference(lens)
        whole, given = {}, {}
        for number, name in enumerate(names):
            if optional and number % 3 == 0:
                continue
            kind = name.rstrip("0123456789")
            stride = (1, 2, 5)[number % 3]
            size = bs + ("cu" in kind)
            whole[name] = np.full((size + 1) * stride, -77, np.int32)
            given[name] = whole[name][: size * stride : stride]
        step(bs=bs, seq_lens=lens, **given)
        for name, array in given.items():
            kind = name.rstrip("0123456789")
            np.testing.assert_array_equal(array, wanted[kind], f"{name}, {bs}")
            stride = array.strides[0] // 4 if len(array) else 1
            rest = np.delete(whole[name], np.arange(len(array)) * stride)
            assert (rest == -77).all(), f"{name}, {bs}"


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_sums_of_what_is_not_zero_past_the_rows(target):
    """Two sums of formulas of one length, which of 0 are not 0."""
    s = nb.Builder("walk")
    n = s.size("n")
    lens = s.input("lens", "int32", (n,))
    wanted = {"more": lambda x: 3 * x + 5, "pages": lambda x: (x + 66) // 64}
    for name, formula in wanted.items():
        s.output(name, s.scan(s.map(n, lambda r, f=formula: f(lens[r]))))
    step = s.compile(target)
    for size in SIZES:
        values = np.random.default_rng(size).integers(0, 1000, size).astype(np.int32)
        given = {name: np.full(size + 1, -7, np.int32) for name in wanted}
        step(n=size, lens=values, **given)
        for name, formula in wanted.items():
            sums = np.concatenate([[0], np.cumsum(formula(values))]).astype(np.int32)
            np.testing.assert_array_equal(given[name], sums, f"{name}, {size} rows")
