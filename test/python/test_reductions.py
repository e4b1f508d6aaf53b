# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reductions that a block makes together, and those that it cannot: of other types, of other
sizes, of one element, and of what another one made."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import nsa
from nsa import build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@cache
def step_of(target):
    s = nb.Builder("reductions")
    n, m = s.size("n"), s.size("m")
    a, b = s.input("a", "int32", (n,)), s.input("b", "int32", (m,))
    few = [s.count(n, lambda i, limit=limit: a[i] > limit) for limit in (-50, 0, 50)]
    made = [*few, s.max(a), s.min(a), s.sum(a)]
    made.append(s.max(s.map(n, lambda i: a[i], dtype="int64")))
    made.append(s.max(b))
    made.append(s.sum(s.map(n, lambda i: nb.where(a[i] > few[1][0], 1, 0))))
    made.append(s.max(s.map(1, lambda _: few[0][0] + 2 * few[2][0])))
    made.append(s.min(s.map(n, lambda i: a[i] + made[-1][0])))

    def word(i, number):
        picked = made[-1][0].astype("int64")
        for place, value in enumerate(made[:-1]):
            picked = nb.where(number == place, value[0].astype("int64"), picked)
        return picked + i

    s.output("out", s.map((n, len(made)), word, dtype="int64"))
    return nsa.compile(s.text, target)["reductions"]


def reference(a, b):
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    counts = [int((a > limit).sum()) for limit in (-50, 0, 50)]
    wrapped = int(a.sum(dtype=np.int32))
    longest = int(a.max()) if len(a) else np.iinfo(np.int64).min
    one = counts[0] + 2 * counts[2]
    return [
        *counts, a.max(initial=low), a.min(initial=high), wrapped, longest,
        b.max(initial=low), int((a > counts[1]).sum()), one, (a + one).min(initial=high),
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_reductions(target):
    step, rng = step_of(target), np.random.default_rng(0)
    for n, m in ((1, 0), (2, 1), (31, 128), (32, 129), (33, 5), (127, 1), (128, 7), (129, 300)):
        for spread in (60, 100_000_000):
            a = rng.integers(-spread, spread, n).astype(np.int32)
            b = rng.integers(-spread, spread, m).astype(np.int32)
            wanted = np.array([int(value) for value in reference(a, b)])
            out = np.full((n, len(wanted)), -77, np.int64)
            step(n=n, m=m, a=a, b=b, out=out)
            np.testing.assert_array_equal(out, wanted + np.arange(n)[:, None])
