# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of DSA extends, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
from dsa_prefill_cases import FIELDS, FILL, PAGE, TOPK, Batch, draw

import nsa
from nsa import _dsa_prefill

POOL = 4
ROOM = 40
OF_RANK = (
    *FIELDS, "requests", "extend_lens", "num_requests", "pooled_seq_lens_expanded",
    "concat_page_table", "q_ks", "q_ke",
)  # fmt: skip
OWNERS = ("pool_owner_rank", "pool_local_write_mask")
ALL = (*(f"rank_{name}" for name in OF_RANK), *OWNERS, "seqlens_expanded", "num_pool_rows")


def text(dtype: str) -> str:
    """The step that ``run`` asks for: the same for every rank."""
    vectors = ("seq_lens", "extend_seq_lens", "req_pool_indices")
    dtypes = dict.fromkeys(vectors, dtype)
    return _dsa_prefill.write(ALL, TOPK, PAGE, POOL, dtypes).s.text


def reference(
    batch: Batch, ranks: int, rank: int, rank_bs: int, rank_rows: int
) -> dict[str, np.ndarray]:
    """Each request's rows are listed, and those that are the rank's are looked at."""
    lens = [int(x) for x in batch.lens]
    extends = [min(max(int(x), 0), batch.rows) for x in batch.extends]

    def token(b: int, position: int) -> int:
        row, (rows, columns) = int(batch.pool[b]), batch.table.shape
        inside = 0 <= row < rows and 0 <= position < columns
        return int(batch.table[row, position]) if inside else 0

    out: dict[str, list[Any]] = {name: [] for name in OF_RANK}
    offset = keys = pages = 0
    for b, (length, extend) in enumerate(zip(lens, extends)):
        mine = [i for i in range(extend) if (offset + i) % ranks == rank]
        offset += extend
        if not mine or len(out["requests"]) == rank_bs:
            continue
        j = len(out["requests"])
        out["requests"].append(b)
        out["extend_lens"].append(len(mine))
        out["cache_seqlens"].append(length)
        out["page_table_1"].append([token(b, c) for c in range(batch.max_len)])
        out["real_page_table"].append(
            [token(b, c) // PAGE for c in range(0, batch.max_len, PAGE)]
        )
        room = max(batch.num_keys - len(out["page_table_1_flattened"]), 0)
        out["page_table_1_flattened"] += [token(b, i) for i in range(min(max(length, 0), room))]
        count = -(-(max(length, 0) // POOL) // 64)
        room = max(ROOM - len(out["concat_page_table"]), 0)
        out["concat_page_table"] += [
            token(b, i * POOL * PAGE) // PAGE // POOL for i in range(min(count, room))
        ]
        for i in mine:
            row = max(length - extend + 1 + i, 0)
            out["seqlens_expanded"].append(row)
            out["nsa_cache_seqlens"].append(min(row // POOL * POOL, TOPK) + row % POOL)
            out["ks"].append(keys)
            out["ke"].append(keys + row)
            out["token_to_batch"].append(j)
            out["pooled_seq_lens_expanded"].append(row // POOL)
            out["q_ks"].append(pages * 64)
            out["q_ke"].append(min(pages * 64 + row // POOL, (pages + count) * 64))
        keys, pages = keys + max(length, 0), pages + count
    out["topk_indices_offset"] = out["ks"]
    live = len(range(rank, min(batch.num_tokens, batch.rows), ranks))
    for name in ("seqlens_expanded", "nsa_cache_seqlens", "ks", "ke", "topk_indices_offset",
                 "token_to_batch", "pooled_seq_lens_expanded", "q_ks", "q_ke"):  # fmt: skip
        rows = out[name][: min(live, rank_rows)]
        out[name] = rows + [0] * (rank_rows - len(rows))
    clipped = out["nsa_cache_seqlens"]
    out["nsa_cu_seqlens_k"] = [sum(clipped[:r]) for r in range(rank_rows + 1)]
    out["num_requests"] = [len(out["requests"])]
    # Requests that the rank has none of, up to how many there is room for.
    missing = rank_bs - len(out["requests"])
    out["requests"] += [-1] * missing
    for name in ("extend_lens", "cache_seqlens"):
        out[name] += [0] * missing
    out["page_table_1"] += [[0] * batch.max_len] * missing
    out["real_page_table"] += [[0] * -(-batch.max_len // PAGE)] * missing
    for name, of in (("cu_seqlens_q", "extend_lens"), ("cu_seqlens_k", "cache_seqlens")):
        sums = [max(x, 0) for x in out[of]]
        out[name] = [sum(sums[:j]) for j in range(rank_bs + 1)]
    found = {name: np.array(x, np.int64).astype(np.int32) for name, x in out.items()}
    found["page_table_1"] = found["page_table_1"].reshape(rank_bs, batch.max_len)
    found["real_page_table"] = found["real_page_table"].reshape(rank_bs, -(-batch.max_len // PAGE))
    return found


def pools(batch: Batch) -> int:
    """How many become whole."""
    count = 0
    for length, extend in zip(batch.lens.tolist(), batch.extends.tolist()):
        extend = min(max(extend, 0), batch.rows)
        start = max(length - extend, 0)
        count += max(max(length, 0) // POOL - start // POOL, 0)
    return count


def run(batch: Batch, ranks: int, rank: int, gpu: Any = None, bound: bool = False) -> None:
    """Compares the fields, in arrays larger than has to be. `bound`: the host knows only a
    bound of the rank's requests."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    bs = len(batch.lens)
    rank_rows = len(range(rank, batch.rows, ranks)) + rank
    exact = int(reference(batch, ranks, rank, bs, 0)["num_requests"][0])
    rank_bs = bs if bound else exact
    wanted = {
        f"rank_{name}": value
        for name, value in reference(batch, ranks, rank, rank_bs, rank_rows).items()
    }
    if not bound:
        wanted["rank_num_requests"] = np.array([exact], np.int32)
    whole = min(pools(batch), ROOM)
    wanted["pool_owner_rank"] = (np.arange(whole) % ranks).astype(np.int32)
    wanted["pool_local_write_mask"] = (np.arange(whole) % ranks == rank).astype(np.int8)
    wanted["num_pool_rows"] = np.array([pools(batch)], np.int32)
    one = reference(batch, 1, 0, bs, batch.rows)
    wanted["seqlens_expanded"] = one["seqlens_expanded"]
    dst = {}
    for name in ALL:
        shape = [size + 1 for size in wanted[name].shape]
        if name in OWNERS or name == "rank_concat_page_table":
            shape = [ROOM]
        if name == "rank_page_table_1_flattened":
            shape = [batch.num_keys]
        dst[name] = place(np.full(shape, FILL, wanted[name].dtype))
    nsa.ops.dsa_prefill(
        dst,
        seq_lens=place(batch.lens), extend_seq_lens=place(batch.extends),
        req_pool_indices=place(batch.pool), req_to_token=place(batch.table),
        num_tokens=batch.num_tokens, rows=batch.rows, max_len=batch.max_len,
        topk=TOPK, page_size=PAGE, index_kpool=POOL, ranks=ranks, rank=rank,
        rank_bs=rank_bs, rank_rows=rank_rows,
    )  # fmt: skip
    for name, value in wanted.items():
        got = fetch(dst[name])
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


__all__ = ["draw", "run", "text"]
