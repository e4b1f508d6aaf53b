# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of an eager DSA extend: the step of its formulas, and the operation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ._dsa_extend import DsaPrefill
from ._dsa_ranks import OWNERS, RANK, RankedExtend
from ._errors import INT32_MAX, constant
from ._fields import Runner
from ._kpool import POOL_ROWS, ROOMS, TAIL_ROWS

SIZES = (
    "bs", "num_tokens", "rows", "max_len", "num_keys", "num_pools", "num_tails",
    "num_index_pages", "topk", "ranks", "rank", "rank_bs", "rank_rows", "rank_num_keys",
    "rank_num_index_pages",
)  # fmt: skip
FIELDS = (
    "cache_seqlens", "cu_seqlens_q", "cu_seqlens_k", "page_table_1", "real_page_table",
    "page_table_1_flattened", "seqlens_expanded", "nsa_cache_seqlens", "nsa_cu_seqlens_k", "ks",
    "ke", "topk_indices_offset", "token_to_batch",
)  # fmt: skip
POOL_FIELDS = (
    *POOL_ROWS, *TAIL_ROWS, "num_pool_rows", "num_tail_rows", "pooled_seq_lens_expanded",
    "concat_page_table", "q_ks", "q_ke",
)  # fmt: skip


def write(
    fields: tuple[str, ...],
    topk: int | None,
    page_size: int,
    pool_size: int,
    dtypes: Mapping[str, str],
    optional: bool = False,
) -> DsaPrefill:
    """The step; `optional`: any of the fields may be missing."""
    step = RankedExtend(topk, page_size, pool_size, dtypes)
    for name in fields:
        value, mask = step.field(name), step.condition(name)
        step.s.output(f"dst_{name}", value, optional=optional, when=mask)
    return step


def write_shared(page_size: int, pool_size: int, dtypes: Mapping[str, str]) -> DsaPrefill:
    """The step of any fields, with any top-k."""
    fields = FIELDS if pool_size == 1 else FIELDS + POOL_FIELDS
    return write(fields, None, page_size, pool_size, dtypes, optional=True)


@cache
def _runner(fields: tuple[str, ...], topk: int, page_size: int, pool_size: int) -> Runner:
    rooms: dict[str, list[str]] = {"num_keys": ["dst_page_table_1_flattened"]}
    for name, size in ROOMS.items():
        rooms.setdefault(size, []).append(f"dst_{name}")
    for name in OWNERS:
        rooms["num_pools"].append(f"dst_{name}")
    for name, size in (("page_table_1_flattened", "num_keys"),
                       ("concat_page_table", "num_index_pages")):  # fmt: skip
        rooms[f"rank_{size}"] = [f"dst_rank_{name}"]
    if any(name.startswith(RANK) for name in fields):
        rooms["rank_bs"] = ["seq_lens"]
    is_shared = not any(name.startswith(RANK) or name in OWNERS for name in fields)
    return Runner(
        lambda dtypes: write(fields, topk, page_size, pool_size, dtypes),
        [f"dst_{name}" for name in fields],
        SIZES,
        {"bs": (["seq_lens"], 0), **{size: (names, 0) for size, names in rooms.items()}},
        (lambda dtypes: write_shared(page_size, pool_size, dtypes)) if is_shared else None,
    )


def dsa_prefill(
    dst: Any,
    *,
    seq_lens: Any,
    extend_seq_lens: Any = None,
    req_pool_indices: Any = None,
    req_to_token: Any = None,
    num_tokens: int | None = None,
    max_len: int | None = None,
    topk: int = 2048,
    page_size: int = 64,
    index_kpool: int = 1,
    rows: int | None = None,
    ranks: int = 1,
    rank: int = 0,
    rank_bs: int | None = None,
    rank_rows: int | None = None,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """The metadata of a DSA (DeepSeek V3.2) extend, in one launch and with no list of
    lengths on the host.

    `dst`: a dict, field name -> array, any subset of the fields. S = `seq_lens` [bs] counts
    the E = `extend_seq_lens` [bs] tokens of the chunk; row q[b] + i of request b, with q the
    exclusive sums of E, has the length L = max(S[b] - E[b] + 1 + i, 0). ko are the exclusive
    sums of S, table = `req_to_token`, P = `req_pool_indices`:

    ======================  ==============================  ===============================
    field                   elements                        value
    ======================  ==============================  ===============================
    cache_seqlens           [bs]                            S
    cu_seqlens_q            [bs + 1]                        q, and the sum of E
    cu_seqlens_k            [bs + 1]                        ko, and the sum of S
    page_table_1            [bs, max_len]                   table[P[b], c]
    real_page_table         [bs, up(max_len / page_size)]   table[P[b], c * page_size] //
                                                            page_size
    page_table_1_flattened  [sum of S]                      ko[b] + i: table[P[b], i]
    seqlens_expanded        [rows]                          L
    nsa_cache_seqlens       [rows]                          min(L, topk); with p =
                                                            `index_kpool` min(L // p * p,
                                                            topk) + L % p
    nsa_cu_seqlens_k        [rows + 1]                      exclusive sums of that, the total
    ks, topk_indices_offset [rows]                          ko[b]
    ke                      [rows]                          ko[b] + L
    token_to_batch          [rows]                          b
    ======================  ==============================  ===============================

    All are int32. `num_tokens`: the rows that there are, at most; `rows`: the same with
    padding (left out: `num_tokens`). Rows from `num_tokens`, or from the sum of E, on are 0.
    E counts from 0 to `rows`, and S as 0 or more in sums. A read outside of `req_to_token`
    gives 0. Only the device knows the sum of S: keys that `page_table_1_flattened` has no
    room for are not written. Lengths and P are int32 or int64.

    **Pools.** An indexer with p = `index_kpool` has a key for every p tokens, 64 of them in a
    page. With t = S - E, f = t % p, g = t // p, the pools g to S // p - 1 become whole: a
    request has that many `pool_` rows, and if E - u > 0, with u = max(their number * p - f,
    0), a `tail_` row. Rows are in the order of requests; cp are the exclusive sums of
    ceil(S // p / 64):

    ==============================  =====  ===============================================
    field                           dtype  value, of pool g + i or a tail
    ==============================  =====  ===============================================
    pool_req, tail_req              int64  P[b]
    pool_id                         int64  g + i
    pool_n_from_tail                int32  f for i = 0, else 0
    pool_chunk_src                  int64  q[b], and + i * p - f for i > 0
    pool_tail_logical_base          int32  (g + i) * p
    pool_write_loc                  int64  real_page_table[b, c] // p * 64 + (g + i) % 64, c
                                           = (g + i) // 64 * p, within max_len
    tail_chunk_src                  int64  q[b] + u
    tail_dst_logical_start          int32  t + u
    tail_n_write                    int32  E - u
    num_pool_rows, num_tail_rows    int32  [1], how many there are
    pooled_seq_lens_expanded        int32  [rows], L // p
    concat_page_table               int32  cp[b] + i: real_page_table[b, i * p] // p
    q_ks                            int32  [rows], cp[b] * 64
    q_ke                            int32  [rows], q_ks + L // p, up to cp[b + 1] * 64
    ==============================  =====  ===============================================

    Rows that there is no room for are not written; room behind them is left as it is.

    **Context parallelism**: of all rows, `rank` has every `ranks`-th one, ``rank + m * ranks``,
    and of the requests those that it has rows of. ``rank_<field>``, for a field of the first
    table and for pooled_seq_lens_expanded, concat_page_table, q_ks and q_ke, is that of these
    rows and requests alone: keys and pages are counted from 0 over them, token_to_batch is a
    number among them, and cu_seqlens_q counts the rank's rows. `rank_rows`: how many rows, with
    padding (left out: without); `rank_bs`: room for requests (left out: `bs`); those past the
    last have no rows and no keys.

    =====================  =====  ========================================================
    field                  dtype  value
    =====================  =====  ========================================================
    rank_requests          int32  [rank_bs], b of each of the rank's requests, then -1
    rank_extend_lens       int32  [rank_bs], how many rows of each it has
    rank_num_requests      int32  [1], how many requests
    pool_owner_rank        int32  of pool row m: m % ranks
    pool_local_write_mask  int8   1 where that is `rank`
    =====================  =====  ========================================================

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    ranks = constant("ranks", ranks, 1, INT32_MAX)
    rank = constant("rank", rank, 0, ranks - 1)
    if rank_rows is None and num_tokens is not None:
        rank_rows = max(num_tokens - rank + ranks - 1, 0) // ranks
    run = _runner(
        tuple(dst),
        constant("topk", topk, 0),
        constant("page_size", page_size, 1),
        constant("index_kpool", index_kpool, 1),
    )
    run(
        {
            "seq_lens": seq_lens,
            "extend_seq_lens": extend_seq_lens,
            "req_pool_indices": req_pool_indices,
            "req_to_token": req_to_token,
        },
        dst.values(),
        (bs, num_tokens, num_tokens if rows is None else rows, max_len, *[None] * 4, topk,
         ranks, rank, bs if rank_bs is None else rank_bs, rank_rows, None, None),
        stream,
    )
