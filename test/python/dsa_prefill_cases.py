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
POOL_FIELDS = (
    "pool_req", "pool_id", "pool_n_from_tail", "pool_chunk_src", "pool_tail_logical_base",
    "pool_write_loc", "num_pool_rows", "tail_req", "tail_dst_logical_start", "tail_chunk_src",
    "tail_n_write", "num_tail_rows", "pooled_seq_lens_expanded", "concat_page_table", "q_ks",
    "q_ke", "nsa_cache_seqlens",
)  # fmt: skip
#: Of these only the device knows how many there are.
ROOMS = {name for name in POOL_FIELDS if name[:5] in ("pool_", "tail_")} | {"concat_page_table"}
INT64 = ("pool_req", "pool_id", "pool_chunk_src", "pool_write_loc", "tail_req", "tail_chunk_src")
FILL = -77
TOPK, PAGE = 100, 64
POOLS = (2, 4)


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


def pool_reference(batch: Batch, pool: int) -> dict[str, np.ndarray]:
    lens = [int(x) for x in batch.lens]
    extends = [min(max(int(x), 0), batch.rows) for x in batch.extends]
    columns = -(-batch.max_len // PAGE)

    def page(b: int, column: int) -> int:
        row, position = int(batch.pool[b]), column * PAGE
        rows, width = batch.table.shape
        inside = 0 <= row < rows and 0 <= position < width
        return int(batch.table[row, position]) // PAGE if inside else 0

    made: dict[str, list[int]] = {name: [] for name in POOL_FIELDS}
    offset = pages = 0
    for b, (length, extend) in enumerate(zip(lens, extends)):
        # Token by token: one that ends a pool makes it whole.
        start = max(length - extend, 0)
        length = max(length, 0)
        used = 0
        first = True
        for position in range(start, min(length, start + extend)):
            if (position + 1) % pool:
                continue
            group = position // pool
            made["pool_req"].append(int(batch.pool[b]))
            made["pool_id"].append(group)
            made["pool_n_from_tail"].append(start % pool if first else 0)
            made["pool_chunk_src"].append(offset + (0 if first else used))
            made["pool_tail_logical_base"].append(group * pool)
            column = max(min(group // 64 * pool, columns - 1), 0)
            made["pool_write_loc"].append(page(b, column) // pool * 64 + group % 64)
            used = position + 1 - start
            first = False
        if extend > used:
            made["tail_req"].append(int(batch.pool[b]))
            made["tail_chunk_src"].append(offset + used)
            made["tail_dst_logical_start"].append(start + used)
            made["tail_n_write"].append(extend - used)
        count = -(-(length // pool) // 64)
        room = min(count, max(ROOM - len(made["concat_page_table"]), 0))
        made["concat_page_table"] += [page(b, i * pool) // pool for i in range(room)]
        for i in range(extend):
            row = max(int(batch.lens[b]) - extend + 1 + i, 0)
            made["pooled_seq_lens_expanded"].append(row // pool)
            made["q_ks"].append(pages * 64)
            made["q_ke"].append(min(pages * 64 + row // pool, (pages + count) * 64))
            made["nsa_cache_seqlens"].append(min(row // pool * pool, TOPK) + row % pool)
        offset, pages = offset + extend, pages + count
    for name in ("pooled_seq_lens_expanded", "q_ks", "q_ke", "nsa_cache_seqlens"):
        rows = made[name][: min(batch.num_tokens, batch.rows)]
        made[name] = rows + [0] * (batch.rows - len(rows))
    made["num_pool_rows"] = [len(made["pool_id"])]
    made["num_tail_rows"] = [len(made["tail_req"])]
    return {
        name: np.array(x, np.int64).astype(np.int64 if name in INT64 else np.int32)
        for name, x in made.items()
    }


#: For rows of pools, of tails and pages, each.
ROOM = 50


def run_pools(batch: Batch, pool: int, gpu: Any = None) -> int:
    """Compares the plan; returns how many rows it has."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    wanted = pool_reference(batch, pool)
    dst = {
        name: place(
            np.full(ROOM if name in ROOMS else len(value) + 1, FILL, value.dtype)
        )
        for name, value in wanted.items()
    }
    nsa.ops.dsa_prefill(
        dst,
        seq_lens=place(batch.lens), extend_seq_lens=place(batch.extends),
        req_pool_indices=place(batch.pool), req_to_token=place(batch.table),
        num_tokens=batch.num_tokens, rows=batch.rows, max_len=batch.max_len,
        topk=TOPK, page_size=PAGE, index_kpool=pool,
    )  # fmt: skip
    for name, value in wanted.items():
        got = fetch(dst[name])
        image = np.full(got.shape, FILL, got.dtype)
        image[: len(value)] = value[: len(image)]
        np.testing.assert_array_equal(got, image, err_msg=name)
    return len(wanted["pool_id"]) * len(wanted["tail_req"])


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
        _dsa_prefill.write(fields, TOPK, PAGE, pool, dict.fromkeys(vectors, dtype)).s.text
        for dtype in ("int32", "int64")
        for fields, pool in [(FIELDS, 1), *((POOL_FIELDS, pool) for pool in POOLS)]
    }
