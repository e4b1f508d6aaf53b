# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""DSA extends, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import nsa
from nsa import _dsa_prefill

FIELDS = (
    "cache_seqlens", "cu_seqlens_q", "cu_seqlens_k", "page_table_1", "real_page_table",
    "page_table_1_flattened", "seqlens_expanded", "nsa_cache_seqlens", "nsa_cu_seqlens_k",
    "ks", "topk_indices_offset", "ke", "token_to_batch",
)  # fmt: skip
FILL = -77
TOPK, PAGE = 100, 64


@dataclass
class Batch:
    lens: np.ndarray
    extends: np.ndarray
    pool: np.ndarray
    table: np.ndarray
    num_tokens: int
    rows: int
    max_len: int
    #: What `page_table_1_flattened` has room for.
    num_keys: int


def draw(seed: int, dtype: str = "int32", small: bool = False) -> Batch:
    """Hostile where `seed` is odd."""
    rng = np.random.default_rng(seed)
    bs = int(rng.choice([1, 2, 3] if small else [0, 1, 2, 5, 40]))
    lens = np.where(rng.random(bs) < 0.4, rng.choice([0, 1, 63, 64, 65, 100, 101], bs),
                    rng.integers(0, 300, bs))  # fmt: skip
    extends = np.minimum(np.where(rng.random(bs) < 0.2, 0, rng.integers(0, 9, bs)), lens)
    table = rng.integers(0, 5000, (6, 260)).astype(np.int32)
    pool = rng.integers(0, 6, bs)
    tokens = int(extends.sum())
    rows = tokens + int(rng.choice([0, 7]))
    num_keys = int(lens.sum()) + int(rng.choice([0, 5]))
    if seed % 2:
        def some(values: list[int], array: np.ndarray) -> np.ndarray:
            return np.where(rng.random(bs) < 0.2, rng.choice(values, bs), array)

        lens = some([-1, -(2**30), 2**31 - 20, 3000], lens)
        extends = some([-2, 10**6, 2**31 - 1], extends)
        pool = some([-1, 6, 2**31 - 1], pool)
        table[rng.random(table.shape) < 0.1] = -65
        rows = int(rng.choice([0, 5, 60]))
        tokens = max(rows - int(rng.choice([0, 2])), 0)
        num_keys = int(rng.choice([0, 1, 400]))
    max_len = int(rng.choice([0, 1, 64, 65, 300]))
    return Batch(lens.astype(dtype), extends.astype(dtype), pool.astype(dtype), table,
                 tokens, rows, max_len, num_keys)  # fmt: skip


def reference(batch: Batch) -> dict[str, np.ndarray]:
    bs = len(batch.lens)
    lens = [int(x) for x in batch.lens]
    extends = [min(max(int(x), 0), batch.rows) for x in batch.extends]

    def token(b: int, position: int) -> int:
        row = int(batch.pool[b])
        rows, columns = batch.table.shape
        inside = 0 <= row < rows and 0 <= position < columns
        return int(batch.table[row, position]) if inside else 0

    made: dict[str, list[Any]] = {name: [] for name in FIELDS}
    made["cache_seqlens"] = lens
    made["cu_seqlens_q"] = [sum(extends[:b]) for b in range(bs + 1)]
    starts = [sum(max(x, 0) for x in lens[:b]) for b in range(bs + 1)]
    made["cu_seqlens_k"] = starts
    for b in range(bs):
        made["page_table_1"].append([token(b, c) for c in range(batch.max_len)])
        made["real_page_table"].append(
            [token(b, c) // PAGE for c in range(0, batch.max_len, PAGE)]
        )
        room = batch.num_keys - len(made["page_table_1_flattened"])
        made["page_table_1_flattened"] += [token(b, i) for i in range(min(max(lens[b], 0), room))]
        for i in range(extends[b]):
            length = max(lens[b] - extends[b] + 1 + i, 0)
            made["seqlens_expanded"].append(length)
            made["ks"].append(starts[b])
            made["ke"].append(starts[b] + length)
            made["token_to_batch"].append(b)
    for name in ("seqlens_expanded", "ks", "ke", "token_to_batch"):
        rows = made[name][: min(batch.num_tokens, batch.rows)]
        made[name] = rows + [0] * (batch.rows - len(rows))
    made["topk_indices_offset"] = made["ks"]
    clipped = [min(x, TOPK) for x in made["seqlens_expanded"]]
    made["nsa_cache_seqlens"] = clipped
    made["nsa_cu_seqlens_k"] = [sum(clipped[:r]) for r in range(len(clipped) + 1)]
    found = {name: np.array(x, np.int64).astype(np.int32) for name, x in made.items()}
    found["page_table_1"] = found["page_table_1"].reshape(bs, batch.max_len)
    found["real_page_table"] = found["real_page_table"].reshape(bs, -(-batch.max_len // PAGE))
    return found


def run(batch: Batch, fields: Any = FIELDS, gpu: Any = None) -> None:
    """Compares the fields, in arrays larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    wanted = {name: value for name, value in reference(batch).items() if name in fields}
    dst = {}
    for name, value in wanted.items():
        shape = [size + 1 for size in value.shape]
        if name == "page_table_1_flattened":
            shape = [batch.num_keys]
        dst[name] = place(np.full(shape, FILL, np.int32))
    nsa.ops.dsa_prefill(
        dst,
        seq_lens=place(batch.lens), extend_seq_lens=place(batch.extends),
        req_pool_indices=place(batch.pool), req_to_token=place(batch.table),
        num_tokens=batch.num_tokens, rows=batch.rows, max_len=batch.max_len,
        topk=TOPK, page_size=PAGE,
    )  # fmt: skip
    for name, value in wanted.items():
        got = fetch(dst[name])
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    vectors = ("seq_lens", "extend_seq_lens", "req_pool_indices")
    return {
        _dsa_prefill.write(FIELDS, TOPK, PAGE, dict.fromkeys(vectors, dtype)).s.text
        for dtype in ("int32", "int64")
    }
