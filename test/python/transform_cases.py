# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Index transforms, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

import nsa
from nsa._transform import Options, Transform

CASES = [
    Options(),
    Options(has_counts=True, packed=True),
    Options(by="rows"),
    Options(by="query_start_loc", has_counts=True),
    Options(ranks=4, rank=1, has_counts=True),
    Options(ranks=3, rank=2, by="rows", packed=True, has_counts=True),
    Options(has_table=False, ranks=2, has_counts=True),
    Options(has_table=False, packed=True, has_counts=True),
]
INDICES = ("int32", "int64")
FILL = -77
#: Slots have 32 bits; positions may have 64.
PAIRS = [(options, index) for options in CASES for index in INDICES[: 1 + options.has_table]]


def run(
    options: Options, seed: int, small: bool = False, gpu: Any = None, index: str = "int32"
) -> None:
    """Hostile where `seed` is odd."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([1, 3] if small else [0, 1, 3, 40]))
    columns = int(rng.choice([5, 70] if small else [1, 5, 64, 1000, 2051]))
    table = rng.integers(0, 1000, (max(rows, 2), 300)).astype(np.int32)
    indices = rng.integers(-1, 300, (max(rows - 1, 0) if seed % 4 == 3 else rows, columns))
    indices[rng.random(indices.shape[0]) < 0.3] = -1
    if options.packed and options.ranks == 1:
        indices = -np.sort(-indices, axis=1)
    of_table = rng.integers(0, len(table), rows)
    if seed % 2:
        table[rng.random(table.shape) < 0.1] = -9
        indices[rng.random(indices.shape) < 0.1] = rng.choice([300, 2**31 - 1, -(2**31)])
        of_table[rng.random(rows) < 0.2] = rng.choice([-1, 10**6])
        if index == "int64":
            # Inside, were they cut off.
            indices[rng.random(indices.shape) < 0.1] = rng.choice([2**32, 1 - 2**32, 2**63 - 1])
    indices = indices.astype(index)
    # Requests of any number of rows, of which the last ones may belong to none.
    starts = np.sort(rng.integers(0, rows + 1, 4)).astype(np.int32)
    starts[0] = 0
    table = table if len(table) >= 3 else np.vstack([table, table])
    given: dict[str, Any] = {}
    if options.by == "rows":
        given["rows"] = of_table
    elif options.by:
        given["query_start_loc"] = starts
        of_table = np.array([sum(starts <= r) - 1 if r < starts[-1] else -1 for r in range(rows)])
    else:
        of_table = np.arange(rows)

    wanted = np.full((rows, columns), -1, np.int32)
    counts = np.zeros(rows, np.int32)
    for r in range(rows):
        slots = []
        for index in indices[r].tolist() if r < len(indices) else [-1] * columns:
            slot = index
            if options.has_table:
                inside = 0 <= of_table[r] < len(table) and 0 <= index < table.shape[1]
                slot = int(table[of_table[r], index]) if inside else -1
            slots.append(slot)
        if options.ranks > 1:
            slots = [x // options.ranks for x in slots
                     if x >= 0 and x % options.ranks == options.rank]  # fmt: skip
        counts[r] = sum(x >= 0 for x in slots)
        wanted[r, : len(slots)] = slots
        if options.packed:
            counts[r] = max(counts[r], 1)
            wanted[r, 0] = wanted[r, 0] if wanted[r, 0] >= 0 else 0
    out = place(np.full((rows, columns + 2), FILL, np.int32))
    got_counts = place(np.full(rows + 1, FILL, np.int32)) if options.has_counts else None
    nsa.ops.transform_index(
        place(table) if options.has_table else None, place(indices), out, counts=got_counts,
        ranks=options.ranks, rank=options.rank, packed=options.packed,
        **{name: place(array) for name, array in given.items()},
    )  # fmt: skip
    np.testing.assert_array_equal(fetch(out)[:, :columns], wanted)
    np.testing.assert_array_equal(fetch(out)[:, columns:], FILL)
    if options.has_counts:
        np.testing.assert_array_equal(fetch(got_counts), [*counts, FILL])


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        Transform(options, {"rows": "int64", "indices": index}).s.text
        for options, index in PAIRS
    }
