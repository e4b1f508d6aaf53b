# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random formulas on the host and in the simulator, and what formulas say that named
operations say as well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from formula_cases import tasks

import nsa
from nsa.fuzz import formulas
from nsa.fuzz.check import BUILDS, run_all
from nsa.fuzz.generate import draw_formulas

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
ROOT = Path(__file__).resolve().parents[2]


def test_host():
    counts = Counter()
    for task, outcome in run_all(tasks(range(1000, 1008))):
        counts[outcome.kind] += 1
        assert outcome.kind == "ok", f"{task.name}: {outcome.what}"
    assert counts["ok"] == 8


def test_simulator():
    some = [draw_formulas(seed, count=10, ptx=True, simt=True) for seed in range(2000, 2004)]
    for task, outcome in run_all(some):
        assert outcome.kind == "ok", f"{task.name}: {outcome.what}"


def test_wrong_arithmetic_is_noticed(monkeypatch):
    wrong = {**formulas.BINARY, "addi": lambda a, b: a}
    monkeypatch.setattr(formulas, "BINARY", wrong)
    (task,) = tasks(range(1000, 1001))
    ((_, outcome),) = run_all([replace(task, builds=BUILDS[:1])])
    assert outcome.kind == "fault" and "elements differ" in outcome.what


def test_decode_replay_is_the_named_one():
    """Byte by byte, but for names."""
    named = nsa.compile(str(ROOT / "examples/decode_replay.mlir"))["decode_replay"].ptx
    step = nsa.compile(str(ROOT / "examples/decode_replay_maps.mlir"))["decode_replay_maps"]
    assert step.ptx.replace("decode_replay_maps", "decode_replay") == named


def scatter(values, keep):
    """The elements of each row that are kept, in order, then -1; and their number."""
    out = np.full(values.shape, -1, values.dtype)
    for row, (of, kept) in enumerate(zip(values, keep)):
        out[row, : kept.sum()] = of[kept]
    return out, keep.sum(1).astype(np.int32)


COMPACT = """
nsa.step @compact(in %n : index, in %m : index, in %ids[%n, %m] : tensor<?x?xi32>,
                  out %packed : memref<?x?xi32>, out %counts : memref<?xi32>) {
  %flags = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %zero = arith.constant 0 : i32
    %id = nsa.read %ids[%r, %c] : tensor<?x?xi32>
    %is_valid = arith.cmpi sge, %id, %zero : i32
    %flag = arith.extui %is_valid : i1 to i32
    nsa.yield %flag : i32
  }
  %ranks = nsa.scan inclusive %flags : tensor<?x?xi32> -> tensor<?x?xi32>
  %moved = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %none = arith.constant -1 : i32
    %place = nsa.search %ranks[%r] for %c : tensor<?x?xi32>
    %id = nsa.read %ids[%r, %place] else %none : tensor<?x?xi32>
    nsa.yield %id : i32
  }
  %count = nsa.reduce add %flags : tensor<?x?xi32> -> tensor<?xi32>
  nsa.copy %moved to %packed : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %count to %counts : tensor<?xi32> to memref<?xi32>
}
"""


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_compaction_in_order(target):
    step = nsa.compile(COMPACT, target)["compact"]
    rng = np.random.default_rng(0)
    for n, m in ((0, 4), (3, 0), (1, 1), (5, 129), (2, 1500), (3, 2500)):
        if target == "simt" and m > 2000:
            continue
        ids = rng.integers(-2, 9, (n, m)).astype(np.int32)
        packed, counts = np.full((n, m), 77, np.int32), np.full(n, 77, np.int32)
        step(n=n, m=m, ids=ids, packed=packed, counts=counts)
        wanted, numbers = scatter(ids, ids >= 0)
        np.testing.assert_array_equal(packed, wanted)
        np.testing.assert_array_equal(counts, numbers)


PARTS = """
nsa.step @parts(in %n : index, in %parts : index, in %counts[%n] : tensor<?xi32>,
                out %begins : memref<?xi64>, out %owners : memref<?xi32>) {
  %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  %x = nsa.iterate(%i, %x) in (%parts) from -7 : tensor<?xi64> {
    %size = arith.constant 64 : i64
    %goal = arith.addi %x, %size : i64
    %place = arith.index_cast %goal : i64 to index
    %after = nsa.search %off for %place : tensor<?xi32>
    %low = arith.trunci %goal : i64 to i32
    %end = nsa.read %off[%after] else %low : tensor<?xi32>
    %next = arith.extsi %end : i32 to i64
    nsa.yield %next : i64
  }
  %owner = nsa.map(%p) in (%parts) : tensor<?xi32> {
    %one = arith.constant 1 : index
    %begin = nsa.read %x[%p] : tensor<?xi64>
    %place = arith.index_cast %begin : i64 to index
    %after = nsa.search %off for %place : tensor<?xi32>
    %request = arith.subi %after, %one : index
    %number = arith.index_cast %request : index to i32
    nsa.yield %number : i32
  }
  nsa.copy %x to %begins : tensor<?xi64> to memref<?xi64>
  nsa.copy %owner to %owners : tensor<?xi32> to memref<?xi32>
}
"""


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_recurrence_that_searches(target):
    """More requests and parts than a block keeps sums and elements of, too."""
    step = nsa.compile(PARTS, target)["parts"]
    rng = np.random.default_rng(0)
    for n, parts in ((0, 0), (0, 5), (1, 3), (200, 132), (1025, 40), (5000, 3000)):
        if target == "simt" and parts > 1000:
            continue
        counts = rng.integers(0, 40, n).astype(np.int32)
        sums = np.concatenate([[0], np.cumsum(counts)])
        x = [-7]
        for _ in range(parts):
            after = np.searchsorted(sums, x[-1] + 64, "right")
            x.append(int(sums[after]) if after <= n else x[-1] + 64)
        begins, owners = np.full(parts + 1, 77, np.int64), np.full(parts, 77, np.int32)
        step(n=n, parts=parts, counts=counts, begins=begins, owners=owners)
        np.testing.assert_array_equal(begins, x)
        np.testing.assert_array_equal(owners, np.searchsorted(sums, x[:-1], "right") - 1)


SHIFTS = """
nsa.step @shifts(in %n : index, in %a[%n] : tensor<?xi64>, in %b[%n] : tensor<?xi64>,
                 out %left : memref<?xi64>, out %logical : memref<?xi64>,
                 out %arithmetic : memref<?xi64>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi64> {
    %lhs = nsa.read %a[%r] : tensor<?xi64>
    %rhs = nsa.read %b[%r] : tensor<?xi64>
    %shifted = arith.shli %lhs, %rhs : i64
    nsa.yield %shifted : i64
  }
  %y = nsa.map(%r) in (%n) : tensor<?xi64> {
    %lhs = nsa.read %a[%r] : tensor<?xi64>
    %rhs = nsa.read %b[%r] : tensor<?xi64>
    %shifted = arith.shrui %lhs, %rhs : i64
    nsa.yield %shifted : i64
  }
  %z = nsa.map(%r) in (%n) : tensor<?xi64> {
    %lhs = nsa.read %a[%r] : tensor<?xi64>
    %rhs = nsa.read %b[%r] : tensor<?xi64>
    %shifted = arith.shrsi %lhs, %rhs : i64
    nsa.yield %shifted : i64
  }
  nsa.copy %x to %left : tensor<?xi64> to memref<?xi64>
  nsa.copy %y to %logical : tensor<?xi64> to memref<?xi64>
  nsa.copy %z to %arithmetic : tensor<?xi64> to memref<?xi64>
}
"""


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_shifts_by_more_than_32_bits_say(target):
    """Amounts whose low halves would do."""
    step = nsa.compile(SHIFTS, target)["shifts"]
    b = np.array([0, 1, 63, 64, -1, -(2**63), 2**63 - 1, 2**32, 2**32 + 1], np.int64)
    a = np.full(len(b), -(2**63) + 1, np.int64)
    got = np.zeros((3, len(b)), np.int64)
    step(n=len(b), a=a, b=b, left=got[0], logical=got[1], arithmetic=got[2])
    for row, name in zip(got, ("shli", "shrui", "shrsi")):
        np.testing.assert_array_equal(row, formulas.BINARY[name](a, b), err_msg=name)


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_subnormal_bf16_is_selected_as_it_is(target):
    """LLVM selects bf16 by way of f32 where a host converts that itself, and flushes then."""
    text = """
nsa.step @selected(in %n : index, in %a[%n] : tensor<?xbf16>, in %b[%n] : tensor<?xbf16>,
                   in %c[%n] : tensor<?xi32>, out %d : memref<?xbf16>) {
  %v = nsa.map(%r) in (%n) : tensor<?xbf16> {
    %zero = arith.constant 0 : i32
    %x = nsa.read %a[%r] : tensor<?xbf16>
    %y = nsa.read %b[%r] : tensor<?xbf16>
    %z = nsa.read %c[%r] : tensor<?xi32>
    %p = arith.cmpi slt, %z, %zero : i32
    %s = arith.select %p, %x, %y : bf16
    nsa.yield %s : bf16
  }
  nsa.copy %v to %d : tensor<?xbf16> to memref<?xbf16>
}
"""
    a = np.array([0x8054, 0x0001, 0x3F80, 0x007F, 0x8000] * 9, np.uint16)
    b, c = a[::-1].copy(), np.resize(np.array([-1, 1, 0], np.int32), len(a))
    d = np.zeros_like(a)
    nsa.compile(text, target=target)["selected"](a=a, b=b, c=c, d=d)
    np.testing.assert_array_equal(d, np.where(c < 0, a, b))
