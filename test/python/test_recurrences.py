# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recurrences, which a block guesses, and searches in them: strides that hold, break and never
come, on the host and in the simulator."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import nsa
from nsa import build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

MASK = (1 << 20) - 1


def _where(condition, yes, no):
    return yes if condition else no


#: Name -> the next element; `choose` is what chooses one of two.
FORMULAS = {
    "constant": lambda i, x, choose: x + 0,
    "stride": lambda i, x, choose: x + 7,
    "one break in 50": lambda i, x, choose: x + choose(i % 50 == 17, 1000, 7),
    "breaks at the end of a warp": lambda i, x, choose: x + choose(i % 32 == 31, 9, 4),
    "breaks at the end of a round": lambda i, x, choose: x + choose(i % 128 == 127, 9, 4),
    "breaks in the third warp": lambda i, x, choose: x + choose(i % 128 == 70, 9, 4),
    "breaks after the first": lambda i, x, choose: x + choose(i == 0, 100, 3),
    "alternates": lambda i, x, choose: x + choose(i % 2 == 0, 5, 8),
    "breaks in pairs": lambda i, x, choose: x + choose(i % 9 < 2, 5, 8),
    "two strides": lambda i, x, choose: x + choose(i < 70, 3, 11),
    "stops": lambda i, x, choose: choose(x + 5 >= 333, 333, x + 5),
    "grows": lambda i, x, choose: x + i,
    "falls": lambda i, x, choose: x - 6,
    "mixes": lambda i, x, choose: (x * 1103515245 + 12345) % (MASK + 1),
    # Without the number of the step: where no stride holds, elements are followed.
    "short steps": lambda i, x, choose: x + 3 + (x * 7) % 11,
    "short and far": lambda i, x, choose: x + choose(x // 64 % 3 == 2, 5000, 3 + x * 7 % 11),
    "short, then one stride": lambda i, x, choose: x + choose(x > 400, 300, 3 + x * 7 % 11),
    "short, then stops": lambda i, x, choose: choose(x >= 700, x, x + 3 + x * 7 % 11),
    "as far as threads go": lambda i, x, choose: x + choose(x % 2 == 0, 127, 128 + x % 3),
    "to and fro": lambda i, x, choose: choose(x % 3 == 2, x - 2, x + 1),
    "falls unevenly": lambda i, x, choose: x - 2 - x % 5,
    # A thread's guess may be a divisor of 0.
    "divides": lambda i, x, choose: x - 1 + choose(1000 // x == 1000, 40, 0),
}
FIRST = {"divides": 35, "falls": -3, "falls unevenly": 100_000}
#: Few rounds.
FAST = ("constant", "stride", "one break in 50", "two strides", "stops")
#: Around the lanes of a warp, the threads of a block, and what it keeps.
SIZES = (0, 1, 2, 31, 33, 65, 128, 129, 130, 132, 257, 258, 1023, 1024, 1025, 2049, 5000)


@cache
def step_of(name, dtype, target):
    s = nb.Builder("recurrence")
    n = s.size("n")
    x = s.iterate(
        n,
        lambda i, x: FORMULAS[name](i.astype("int64"), x.astype("int64"), nb.where),
        first=FIRST.get(name, 0),
        dtype=dtype,
    )
    s.output("elements", x)
    s.output("later", s.map(n, lambda i: x[n - i].otherwise(-5)))
    return nsa.compile(s.text, target)["recurrence"]


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("name", FORMULAS)
def test_recurrence(name, target):
    for dtype in ("int32", "int64"):
        step = step_of(name, dtype, target)
        x = [FIRST.get(name, 0)]
        for i in range(max(SIZES)):
            x.append(int(FORMULAS[name](i, x[-1], _where)))
        for n in SIZES:
            # A round for each element takes the simulator long.
            if target == "simt" and n > (5000 if name in FAST else 132):
                continue
            elements, later = np.full(n + 1, -77, dtype), np.full(n, -77, dtype)
            step(n=n, elements=elements, later=later)
            np.testing.assert_array_equal(elements, np.array(x[: n + 1]).astype(dtype))
            np.testing.assert_array_equal(later, elements[:0:-1])


@cache
def search_step(target):
    """A search in sums and one in a recurrence."""
    s = nb.Builder("searches")
    n, parts, m = s.size("n"), s.size("parts"), s.size("m")
    counts = s.input("counts", "int32", (n,))
    places = s.input("places", "int64", (m,))
    sums = s.scan(s.map(n, lambda b: counts[b], dtype="int64"))
    whole = s.scan(s.map(n, lambda b: counts[b]), inclusive=True)
    x = s.iterate(parts, lambda i, x: x + nb.where(i % 5 == 3, 0, 3), first=-2)
    for name, of in (("exclusive", sums), ("inclusive", whole), ("begins", x)):
        s.output(name, s.map(m, lambda j, of=of: of.search(places[j]), dtype="int32"))
    return nsa.compile(s.text, target)["searches"]


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_searches(target):
    step, rng = search_step(target), np.random.default_rng(0)
    sizes = (0, 1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4097)
    for size in (*sizes, 65_536, 65_537) if target == "cpu" else sizes:
        counts = rng.integers(0, 4, size).astype(np.int32)
        parts = min(size, 3000) if target == "cpu" else min(size, 1025)
        x = np.concatenate([[-2], -2 + np.cumsum(np.where(np.arange(parts) % 5 == 3, 0, 3))])
        inclusive = np.cumsum(counts)
        sums = np.concatenate([[0], inclusive])
        ends = rng.integers(-2, sums[-1] + 3, 40)
        places = np.array([-(2**40), -3, -2, -1, 0, 1, *ends, sums[-1], x[-1], 2**40])
        names = ("exclusive", "inclusive", "begins")
        outs = {name: np.full(len(places), -77, np.int32) for name in names}
        step(n=size, parts=parts, m=len(places), counts=counts, places=places, **outs)
        for name, of in (("exclusive", sums), ("inclusive", inclusive), ("begins", x)):
            wanted = np.searchsorted(of, places, "right")
            np.testing.assert_array_equal(outs[name], wanted, f"{name}, {size}")
