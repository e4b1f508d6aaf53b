# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Chunks of sparse prefill, and what is to be computed from them, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsa import _prefill_steps as steps

Ints = NDArray[np.int32]

#: DeepSeek V4's.
WINDOW = 128
RATIO, BLOCK_RATIO = 4, 128
PAGE_SIZE, SWA_PAGE_SIZE = 64, 256

#: Tokens of a request before the chunk: fewer than these.
HISTORY = 16384
#: Tokens in each cache.
FULL, COMPRESSED, SWA = 1 << 20, 1 << 18, 1 << 18

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True)
class Mix:
    """Requests, the queries of each in the chunk, and the indexer's top-k."""

    requests: int
    queries: int
    topk: int

    @property
    def rows(self) -> int:
        return self.requests * self.queries

    def __str__(self) -> str:
        return f"{self.requests} x {self.queries}, {self.topk}"


MIXES = (
    Mix(1, 8192, 512),
    Mix(8, 1024, 512),
    Mix(64, 128, 512),
    Mix(1, 32768, 512),
    Mix(1, 32768, 2048),
)


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.mlir").read_text()


def texts() -> set[str]:
    """Every step that the benchmark runs."""
    ids = steps.swa_token_ids(WINDOW, "int32", "int32", "int32", "int64")
    combine = steps.combine_indices(WINDOW, RATIO)
    return {ids, combine, example("prefill_chunk"), example("prefill_layer")}


class Chunk:
    """A chunk with random histories and tables; names as in ``nsa.ops``.

    The queries of a request are its last tokens. Compressed rows of a request are as
    many as those of the longest one.
    """

    def __init__(self, mix: Mix, seed: int = 0) -> None:
        self.mix = mix
        self.random = np.random.default_rng(seed)
        bs = mix.requests
        history = self.random.integers(0, HISTORY, bs, dtype=np.int32)
        self.extend_seq_lens = np.full(bs, mix.queries, np.int32)
        self.seq_lens = history + self.extend_seq_lens
        self.max_seq_len = int(self.seq_lens.max())
        self.query_start_loc = np.arange(bs + 1, dtype=np.int32) * np.int32(mix.queries)
        self.gather_lens = np.minimum(
            self.seq_lens, self.extend_seq_lens + np.int32(WINDOW - 1)
        )
        self.first = self.seq_lens - self.gather_lens
        self.offsets = np.concatenate(([0], np.cumsum(self.gather_lens))).astype(np.int32)
        #: Each query's request and position.
        self.request = np.repeat(np.arange(bs), mix.queries)
        row = np.arange(mix.rows, dtype=np.int32) - self.query_start_loc[self.request]
        self.positions = history[self.request] + row

    @property
    def window_rows(self) -> int:
        return int(self.offsets[-1])

    def compressed_columns(self, ratio: int) -> int:
        return max(self.max_seq_len // ratio, 1)

    def bases(self, ratio: int) -> tuple[Ints, Ints]:
        """Where each request's compressed rows and window rows begin."""
        bs, columns = self.mix.requests, self.compressed_columns(ratio)
        compressed = np.arange(bs, dtype=np.int32) * np.int32(columns)
        return compressed, np.int32(bs * columns) + self.offsets[:-1]

    # The engine's tables.

    @cached_property
    def req_pool_indices(self) -> Ints:
        return self.random.permutation(self.mix.requests + 3)[: self.mix.requests].astype(
            np.int32
        )

    @cached_property
    def req_to_token(self) -> Ints:
        shape = (self.mix.requests + 3, self.max_seq_len + 64)
        return self.random.integers(0, FULL, shape, dtype=np.int32)

    @cached_property
    def full_to_swa(self) -> NDArray[np.int64]:
        return self.random.integers(0, SWA, FULL)

    @cached_property
    def c4_page_table(self) -> Ints:
        """A row of pages for each query, the same for those of a request."""
        pages = -(-self.compressed_columns(RATIO) // PAGE_SIZE)
        shape = (self.mix.requests, pages)
        table = self.random.integers(0, COMPRESSED // PAGE_SIZE, shape, dtype=np.int32)
        return table[self.request]

    @cached_property
    def c128_page_indices(self) -> Ints:
        """Ids of the blocks before each query, then -1; with room to spare."""
        columns = -(-self.compressed_columns(BLOCK_RATIO) // 64) * 64
        shape = (self.mix.requests, columns)
        ids = self.random.integers(0, COMPRESSED, shape, dtype=np.int32)[self.request]
        visible = (self.positions + 1) // BLOCK_RATIO
        return np.where(np.arange(columns) < visible[:, None], ids, np.int32(-1))

    @cached_property
    def topk_indices(self) -> Ints:
        """Of the compressed tokens before each query; -1 where there are fewer."""
        topk = self.mix.topk
        visible = ((self.positions + 1) // RATIO)[:, None]
        drawn = self.random.random((self.mix.rows, topk), dtype=np.float32)
        drawn = np.minimum((drawn * visible).astype(np.int32), visible - 1)
        return np.where(np.arange(topk) < visible, drawn, np.int32(-1))

    # What is to be computed.

    @cached_property
    def swa_ids(self) -> Ints:
        parts = [
            self.full_to_swa[self.req_to_token[pool, first:end]]
            for pool, first, end in zip(self.req_pool_indices, self.first, self.seq_lens)
        ]
        return np.concatenate(parts).astype(np.int32)

    @cached_property
    def c4_ids(self) -> Ints:
        """[requests, compressed columns]"""
        column = np.arange(self.compressed_columns(RATIO), dtype=np.int32)
        pages = self.c4_page_table[self.query_start_loc[:-1]][:, column // PAGE_SIZE]
        return np.maximum(pages, 0) * PAGE_SIZE + column % PAGE_SIZE

    def c4_ragged(self) -> tuple[Ints, Ints, Ints]:
        """Ids and bases where each request has its own number of compressed rows."""
        lengths = self.seq_lens // RATIO
        ids = np.concatenate([row[:count] for row, count in zip(self.c4_ids, lengths)])
        ends = np.cumsum(lengths, dtype=np.int32)
        return ids, ends - lengths, ends[-1] + self.offsets[:-1]

    @cached_property
    def c128_ids(self) -> Ints:
        """[requests, compressed columns]"""
        last = self.c128_page_indices[self.query_start_loc[1:] - 1]
        return np.maximum(last[:, : self.compressed_columns(BLOCK_RATIO)], 0)

    def combined(
        self, ratio: int, topk: int, picked: Ints | None, compressed: Ints, swa: Ints
    ) -> tuple[Ints, Ints]:
        """The combined indices [queries, width] and their lengths; `picked`: top-k
        indices, else each query has the first ones."""
        width = -(-(topk + WINDOW) // 128) * 128
        column = np.arange(width, dtype=np.int32)
        k = np.clip((self.positions + 1) // ratio, 0, topk)
        w = np.clip(self.positions + 1, 0, WINDOW)
        first = (swa - self.first)[self.request] + self.positions - w + 1 - k
        end = (k + w)[:, None]
        rows = np.where(column < end, first[:, None] + column, np.int32(-1))
        if topk:
            picked = column[None, :topk] if picked is None else picked
            picked = picked + compressed[self.request, None]
            np.copyto(rows[:, :topk], picked, where=column[:topk] < k[:, None])
        return rows, k + w

    # What has to be moved, in bytes.

    def combine_bytes(self) -> int:
        """The indices that count, rows with lengths, and what each request has."""
        topk = self.mix.topk
        read = int(np.clip((self.positions + 1) // RATIO, 0, topk).sum())
        width = -(-(topk + WINDOW) // 128) * 128
        return 4 * (read + self.mix.rows * (width + 1) + 5 * self.mix.requests)

    def ids_bytes(self) -> int:
        """A token, its slot (8 bytes) and its id in the window, and what requests have."""
        return self.window_rows * (4 + 8 + 4) + 4 * 6 * self.mix.requests
