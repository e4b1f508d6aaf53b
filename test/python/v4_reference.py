# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of DeepSeek V4 steps, row by row and element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


#: Room for the keys of an indexer.
MOST_KEYS = 3000
#: Columns of the offsets of an extend, more than there are requests, or fewer.
MOST_OFFSETS = 20


@dataclass
class Batch:
    """What comes in; `extends` is there in ragged modes."""

    mode: str
    lens: np.ndarray
    pool: np.ndarray
    table: np.ndarray
    full_to_swa: np.ndarray
    locs: np.ndarray
    max_len: int
    extends: np.ndarray | None = None
    floors: np.ndarray | None = None
    next_n: int = 1
    rows: int = 0
    num_tokens: int = 0
    topk: int = 512
    page_size: int = 256
    window: int = 128
    index_page_size: int = 64

    def list_rows(self) -> list[tuple[int, int]]:
        """(request, length) of each row."""
        lens = [int(np.int64(x).astype(np.int32)) for x in self.lens]
        if self.extends is None:
            before = {"decode": 0, "draft_extend": 1 - self.next_n}
            return [
                (b, max(length + before.get(self.mode, 1) + j, 0))
                for b, length in enumerate(lens)
                for j in range(self.next_n)
            ]
        found = []
        for b, extend in enumerate(self.extends.tolist()):
            extend = min(max(extend, 0), self.rows)
            first = lens[b] - (extend if self.mode == "extend" else 0)
            found += [(b, max(first + 1 + i, 0)) for i in range(extend)]
        found = found[: min(self.rows, self.num_tokens)]
        return found + [(len(lens) - 1, 1)] * (self.rows - len(found))

    def pool_of(self, request: int) -> int:
        return int(self.pool[request]) if 0 <= request < len(self.pool) else 0

    def token(self, request: int, position: int, outside: int) -> int:
        row = self.pool_of(request)
        rows, columns = self.table.shape
        inside = 0 <= row < rows and 0 <= position < columns
        return int(self.table[row, position]) if inside else outside

    def swa(self, token: int, outside: int) -> int:
        inside = 0 <= token < len(self.full_to_swa)
        return int(self.full_to_swa[token]) if inside else outside

    def page(self, request: int, page: int) -> int:
        return self.token(request, page * self.page_size, 0) // self.page_size

    def offsets(self) -> np.ndarray:
        assert self.extends is not None
        extends = [min(max(int(x), 0), self.rows) for x in self.extends]
        made = np.zeros((2, MOST_OFFSETS), np.int64)
        for b in range(min(len(extends), MOST_OFFSETS)):
            made[:, b] = sum(extends[:b]), extends[b]
        return made.astype(np.int32)

    @property
    def columns(self) -> int:
        return -(-self.max_len // self.page_size)

    def floor(self, row: int) -> int:
        return 0 if self.floors is None else max(int(self.floors[row]), 0)


def up(size: int) -> int:
    return -(-size // 64) * 64


def reference(batch: Batch, name: str) -> np.ndarray:
    """Field `name`."""
    rows = batch.list_rows()
    n, W, K = len(rows), batch.window, batch.topk

    def vector(of: Any, dtype: Any = np.int32) -> np.ndarray:
        return np.array([of(r, b, L) for r, (b, L) in enumerate(rows)], np.int64).astype(dtype)

    def table(columns: int, of: Any) -> np.ndarray:
        made = [[of(r, b, L, c) for c in range(columns)] for r, (b, L) in enumerate(rows)]
        return np.array(made, np.int64).reshape(n, columns).astype(np.int32)

    def window(r: int, b: int, L: int, k: int) -> int:
        if k >= W or L - 1 - k < batch.floor(r):
            return -1
        return batch.swa(batch.token(b, L - 1 - k, -1), -1)

    simple: dict[str, Any] = {
        "seq_lens_casual": lambda: vector(lambda r, b, L: L),
        "positions_casual": lambda: vector(lambda r, b, L: L - 1),
        "swa_topk_lengths": lambda: vector(
            lambda r, b, L: min(L, W, max(L - batch.floor(r), 0))
        ),
        "swa_page_indices": lambda: table(up(W), window),
        "page_table": lambda: table(batch.columns, lambda r, b, L, p: batch.page(b, p)),
        "swa_out_cache_loc": lambda: np.array(
            [batch.swa(int(loc), 0) for loc in batch.locs], np.int64
        ).astype(np.int32),
        "req_indices": lambda: vector(lambda r, b, L: batch.pool_of(b), np.int64),
        "extend_offsets": lambda: batch.offsets(),
        "pos_i64": lambda: vector(lambda r, b, L: L - 1, np.int64),
    }
    if name in simple:
        return simple[name]()
    ratio, _, rest = name[1:].partition("_")
    q = int(ratio)
    s = batch.page_size // q
    m = max(s // batch.index_page_size, 1)

    def slot(b: int, j: int) -> int:
        return batch.page(b, j // s) * s + j % s

    def clamped(L: int) -> int:
        return min(max(L // q, 1), K)

    inside = batch.columns * s
    of_ratio: dict[str, Any] = {
        "out_loc": lambda: np.array(
            [
                int(loc) // q if rows[r][1] % q == 0 else (0 if q in (4, 128) else -1)
                for r, loc in enumerate(batch.locs)
            ],
            np.int64,
        ),
        "topk_lengths_raw": lambda: vector(lambda r, b, L: L // q),
        "topk_lengths_clamp1": lambda: vector(lambda r, b, L: max(L // q, 1)),
        "sparse_topk_lengths": lambda: vector(lambda r, b, L: clamped(L)),
        "sparse_page_indices": lambda: np.full((n, up(K)), -1, np.int32),
        "page_indices": lambda: table(
            up(inside), lambda r, b, L, j: slot(b, j) if j < min(L // q, inside) else -1
        ),
        "all_page_indices": lambda: table(
            K, lambda r, b, L, j: slot(b, j) if j < min(clamped(L), inside) else -1
        ),
        "all_raw_indices": lambda: table(K, lambda r, b, L, j: j if j < clamped(L) else -1),
        "index_page_table": lambda: table(
            batch.columns * m, lambda r, b, L, c: batch.page(b, c // m) * m + c % m
        ),
    }
    counts = [max(int(np.int64(x).astype(np.int32)), 0) // q for x in batch.lens]
    keys = [(b, i) for b, count in enumerate(counts) for i in range(min(count, MOST_KEYS))]
    of_ratio |= {
        "index_k_slots": lambda: np.array(
            [batch.token(b, i * q, 0) // q for b, i in keys[:MOST_KEYS]], np.int64
        ),
        "request_starts": lambda: vector(lambda r, b, L: sum(counts[: max(b, 0)])),
        "compress_lens": lambda: vector(lambda r, b, L: L // q),
    }
    return of_ratio[rest]()
