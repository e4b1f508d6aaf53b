# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Chunks of V4's and V4.1's sparse prefill, token by token and query by query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import nsa
from nsa._prefill_v4 import Chunk, Options

FILL = -77
PAGE, WINDOW = 256, 128
GATHERED = ("swa_ids", "swa_first", "swa_lens", "swa_offsets")
RATIOS = (1, 2, 4)
SHARED = (
    *(f"c{q}_{name}" for q in RATIOS for name in ("ids", "base", "swa_base", "lens")),
    "c128_ids", "c128_base", "c128_swa_base", "c128_indices", "c128_lens", "c0_indices", "c0_lens",
)  # fmt: skip
#: (are there positions, are there windows)
CASES = [(False, False), (True, False), (True, True)]


def fields_of(has_windows: bool) -> tuple[str, ...]:
    return SHARED if has_windows else GATHERED + SHARED


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    vectors = ("seq_lens", "extend_seq_lens", "req_pool_indices", "full_to_swa")
    return {
        Chunk(Options(PAGE, WINDOW, *case), dict.fromkeys(vectors, "int64"))
        .write(fields_of(case[1]))
        .s.text
        for case in CASES
    }


@dataclass
class Batch:
    lens: np.ndarray
    extends: np.ndarray
    pool: np.ndarray
    table: np.ndarray
    full_to_swa: np.ndarray
    starts: np.ndarray
    page_table: np.ndarray
    c128: np.ndarray
    queries: int
    columns: int
    positions: np.ndarray | None
    windows: np.ndarray | None
    window_lens: np.ndarray | None
    #: Of each list.
    room: dict[str, int] = field(default_factory=dict)


def draw(case: tuple[bool, bool], seed: int, small: bool = False) -> Batch:
    """Hostile where `seed` is odd."""
    has_query_pos, has_windows = case
    rng = np.random.default_rng(seed)
    bs = int(rng.choice([1, 3] if small else [0, 1, 2, 9]))
    counts = np.where(rng.random(bs) < 0.3, 0, rng.integers(1, 9, bs))
    starts = np.concatenate([[0], np.cumsum(counts)]) + int(rng.choice([0, 5]))
    owned = int(counts.sum())
    n = owned + int(rng.choice([0, 3]))
    lens = np.where(
        rng.random(bs) < 0.4, rng.choice([8, 9, 127, 128, 129, 255, 256, 257, 512], bs),
        rng.integers(8, 200 if small else 700, bs),
    )  # fmt: skip
    extends = counts.astype(np.int64)
    table = rng.integers(0, 900, (12, 1024)).astype(np.int32)
    pool = rng.integers(0, 12, bs)
    swa = rng.integers(0, 5000, 900)
    pages = rng.integers(0, 99, (n, 4)).astype(np.int32)
    columns = max(int(lens.max(initial=0)) // 128, 1)
    c128 = rng.integers(-1, 500, (n, columns + 2)).astype(np.int32)
    positions = rng.integers(0, 700, n).astype(np.int32)
    window_lens = rng.integers(0, WINDOW + 1, n).astype(np.int32)
    windows = rng.integers(-1, 5000, (n, WINDOW)).astype(np.int32)
    if seed % 2:
        lens[rng.random(bs) < 0.2] = rng.choice([-5, 0, 2000, 2**31 - 1])
        extends[rng.random(bs) < 0.2] = rng.choice([-200, 2**31 - 1])
        pool[rng.random(bs) < 0.2] = rng.choice([-1, 12, 2**40])
        table[rng.random(table.shape) < 0.1] = rng.choice([-1, 900, -(2**31)])
        pages[rng.random(pages.shape) < 0.2] = rng.choice([-1, -(2**31)])
        positions[rng.random(n) < 0.3] = rng.choice([-1, -9, 2**31 - 1, -(2**31)])
        window_lens[rng.random(n) < 0.2] = rng.choice([-1, WINDOW + 1, 2**31 - 1])
        c128, windows = c128[: max(n - 1, 0)], windows[: max(n - 1, 0)]
    return Batch(
        lens, extends, pool, table, swa, starts.astype(np.int32), pages, c128, n, columns,
        positions if has_query_pos else None, windows if has_windows else None,
        window_lens if has_windows else None,
        {name: int(rng.choice([0, 60, 3000])) for name in ("swa", *(f"c{q}" for q in RATIOS))},
    )  # fmt: skip


def reference(b: Batch) -> dict[str, np.ndarray]:
    bs, c = len(b.lens), b.columns
    S = [max(int(x), 0) for x in b.lens]
    q = [int(x) - int(b.starts[0]) for x in b.starts]
    G = [max(min(s, int(e) + WINDOW - 1), 0) for s, e in zip(S, b.extends)]
    first = [s - g for s, g in zip(S, G)]
    spans = [0] * bs if b.windows is not None else G
    off = [sum(spans[:i]) for i in range(bs + 1)]
    out: dict[str, Any] = {}

    def at(array: np.ndarray, *index: int, fill: int = 0) -> int:
        inside = all(0 <= i < size for i, size in zip(index, array.shape))
        return int(array[index]) if inside else fill

    ids: list[int] = []
    for r in range(bs):
        for i in range(min(G[r], b.room["swa"] - len(ids))):
            ids.append(at(b.full_to_swa, at(b.table, int(b.pool[r]), first[r] + i)))
    out |= {"swa_ids": ids, "swa_first": first, "swa_lens": G, "swa_offsets": off}
    for ratio in RATIOS:
        counts, slots, listed = [s // ratio for s in S], PAGE // ratio, []
        for r in range(bs):
            row = min(q[r], len(b.page_table) - 1)
            for i in range(min(counts[r], b.room[f"c{ratio}"] - len(listed))):
                page = at(b.page_table, row, i // slots, fill=-1)
                listed.append(page * slots + i % slots if page >= 0 else 0)
        out |= {
            f"c{ratio}_ids": listed,
            f"c{ratio}_base": [sum(counts[:r]) for r in range(bs)],
            f"c{ratio}_swa_base": [sum(counts) + off[r] for r in range(bs)],
            f"c{ratio}_lens": counts,
        }
    out["c128_ids"] = [
        [max(at(b.c128, q[r + 1] - 1, j), 0) if q[r + 1] > q[r] else 0 for j in range(c)]
        for r in range(bs)
    ]
    out["c128_base"] = [r * c for r in range(bs)]
    out["c128_swa_base"] = [bs * c + off[r] for r in range(bs)]
    for name, columns in (("c0", 0), ("c128", c)):
        width = -(-(columns + WINDOW) // 128) * 128
        rows, row_lens = np.full((b.queries, width), -1, np.int64), [0] * b.queries
        for r in range(bs):
            for t in range(q[r], q[r + 1]):
                pos = int(b.lens[r]) - (q[r + 1] - t)
                if b.positions is not None:
                    pos = int(b.positions[t])
                k = min(max((pos + 1) // 128, 0), columns)
                base = bs * columns + off[r]
                if b.windows is None:
                    w = min(max(pos + 1, 0), WINDOW)
                    tail = [base + pos - w + 1 - first[r] + j for j in range(w)]
                else:
                    w = min(max(int(b.window_lens[t]), 0), WINDOW)
                    places = [at(b.windows, t, j, fill=-1) for j in range(w)]
                    tail = [base + x if x >= 0 else -1 for x in places]
                rows[t, : k + w] = [r * columns + j for j in range(k)] + tail
                row_lens[t] = k + w
        out |= {f"{name}_indices": rows, f"{name}_lens": row_lens}
    # What is not named has one dimension.
    return {name: np.array(x, np.int64).astype(np.int32) for name, x in out.items()} | {
        "c128_ids": np.array(out["c128_ids"], np.int64).astype(np.int32).reshape(bs, c)
    }


def run(case: tuple[bool, bool], seed: int, small: bool = False, gpu: Any = None) -> None:
    """Compares every field, in arrays that are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    b = draw(case, seed, small)
    wanted, made = reference(b), {}
    for name in fields_of(case[1]):
        shape = [size + 1 for size in wanted[name].shape]
        list_of = name.removesuffix("_ids")
        if name != list_of and list_of in b.room:
            shape = [b.room[list_of]]
        elif name == "c128_ids":
            shape[1] = b.columns
        elif name.endswith(("_indices", "c0_lens", "c128_lens")):
            # The number of queries is that of the rows.
            shape[0] = b.queries
        made[name] = place(np.full(shape, FILL, np.int32))
    given = {
        "query_pos": b.positions, "swa_indices": b.windows, "swa_lengths": b.window_lens,
        "seq_lens": b.lens, "extend_seq_lens": b.extends, "req_pool_indices": b.pool,
        "req_to_token": b.table, "full_to_swa": b.full_to_swa, "query_start_loc": b.starts,
        "page_table": b.page_table, "c128_page_indices": b.c128,
    }  # fmt: skip
    given = {name: place(array) for name, array in given.items() if array is not None}
    nsa.ops.prefill_v4(made, **given, page_size=PAGE, window=WINDOW)
    for name, array in made.items():
        got, value = fetch(array), wanted[name]
        image = np.full(got.shape, FILL, np.int32)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


__all__ = ["CASES", "run", "texts"]
