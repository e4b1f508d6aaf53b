# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step that reads and writes arrays, element by element, with what they have to be then."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

import nsa.build as nb

#: n, rows, columns.
SIZES = ((5, 3, 7), (0, 0, 4), (1, 1, 1), (131, 2, 513), (129, 5, 64))


@nb.step
def updated(s):
    """A counter, a table, a stamp that some elements keep, and what is only read."""
    n, rows, columns = s.size("n"), s.size("rows"), s.size("columns")
    hits, live = s.input("hits", "int32", (n,)), s.input("live", "int32", (n,))
    counts = s.inout("counts", "int32", (None,))
    table = s.inout("table", "int64", (None, None), alignment=8)
    stamps = s.inout("stamps", "int16", (None,), strides=(2,))
    s.output(counts, s.map(n, lambda r: counts[r] + hits[r]))
    s.output(table, s.map((rows, columns), lambda r, c: table[r, c] * 2 + c))
    s.output(stamps, s.map(n, lambda r: stamps[r] + 1), when=live)
    s.output("twice", s.map(n, lambda r: hits[r] * 2))


def check(
    step: Any,
    n: int,
    rows: int,
    columns: int,
    asarray: Callable[[Any], Any] = np.asarray,
    asnumpy: Callable[[Any], Any] = np.asarray,
    launches: int = 1,
) -> None:
    """Each launch starts from what the one before it has left."""
    draw = np.random.default_rng(n)
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    hits = draw.integers(low, high, n, np.int32, endpoint=True)
    live = draw.integers(0, 2, n, np.int32)
    counts = draw.integers(low, high, n + 3, np.int32, endpoint=True)
    table = draw.integers(-(1 << 62), 1 << 62, (rows + 1, columns + 5))
    memory = draw.integers(-9, 9, 2 * n + 4, np.int16)
    given = {
        name: asarray(array.copy())
        for name, array in dict(
            hits=hits, live=live, counts=counts, table=table, twice=np.full(n, -7, np.int32)
        ).items()
    }
    stamps = asarray(memory.copy())
    for _ in range(launches):
        step(n=n, rows=rows, columns=columns, stamps=stamps[::2], **given)
        counts[:n] += hits
        table[:rows, :columns] *= 2
        table[:rows, :columns] += np.arange(columns)
        memory[::2][:n][live != 0] += 1
    np.testing.assert_array_equal(asnumpy(given["counts"]), counts)
    np.testing.assert_array_equal(asnumpy(given["table"]), table)
    np.testing.assert_array_equal(asnumpy(stamps), memory)
    np.testing.assert_array_equal(asnumpy(given["twice"]), hits * 2)


def texts() -> set[str]:
    return {updated.text}
