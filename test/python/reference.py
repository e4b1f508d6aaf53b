# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the metadata steps compute, in NumPy.

Written from the formulas alone, element by element where that is clearer, and
shares no code with what it checks.

Conventions: `bs` requests; `S[b]` sequence length; `E[b]` extend length;
`pool[b]` the request's row in `table`; `topk` the indexer's top-k. Everything
that is written is int32: values are truncated to it, and sums wrap around.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int32Array = NDArray[np.int32]

MODES = ("decode", "target_verify", "draft_extend")


def wrap_int32(values: ArrayLike) -> Int32Array:
    """The low 32 bits of each value, as a signed number."""
    return np.asarray(values).astype(np.int64).astype(np.uint32).view(np.int32)


def cumulative(lengths: Int32Array) -> Int32Array:
    """0, then the inclusive sums, wrapping as int32: one longer than `lengths`."""
    # An int64 sum of int32 values is exact up to 2^32 of them.
    sums = np.concatenate(([0], np.cumsum(lengths.astype(np.int64))))
    return wrap_int32(sums)


def page_table_rows(
    pool: ArrayLike, table: NDArray[np.integer], max_len: int
) -> Int32Array:
    """table[pool[b], c] for c < max_len, and 0 outside of `table`."""
    pool = np.asarray(pool, dtype=np.int64)
    rows, columns = table.shape
    result = np.zeros((len(pool), max_len), np.int32)
    used = min(max_len, columns)
    for b, row in enumerate(pool):
        if 0 <= row < rows:
            result[b, :used] = wrap_int32(table[row, :used])
    return result


def real_page_table(page_table: Int32Array, page_size: int) -> Int32Array:
    """Every page_size-th column, divided by page_size, rounding down."""
    return np.floor_divide(page_table[:, ::page_size], np.int32(page_size))


def extend_rows(
    E: ArrayLike, bs: int, capacity: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows of a ragged expansion: (request, index in the request, off).

    One length for all requests may be given as an integer. Lengths are clamped
    to 0 .. capacity before they are summed, and no row lies past `capacity`.
    """
    lengths = np.broadcast_to(np.asarray(E, dtype=np.int64), (bs,))
    limit = np.iinfo(np.int64).max if capacity is None else capacity
    clamped = np.clip(lengths, 0, limit)
    off = np.concatenate(([0], np.cumsum(clamped)))
    request = np.repeat(np.arange(bs), clamped)
    index = np.arange(len(request)) - off[request]
    return request[:limit], index[:limit], off


def reference_metadata(
    mode: str,
    S: ArrayLike,
    pool: ArrayLike,
    table: NDArray[np.integer],
    max_len: int,
    topk: int,
    page_size: int,
    next_n: int = 1,
    E: ArrayLike | None = None,
    capacity: int | None = None,
) -> dict[str, Int32Array]:
    """Every computed field of the metadata set, at its exact size.

    `mode` is one of MODES. `next_n` is for target_verify, `E` (one per request,
    or one integer for all) and `capacity` (rows of the destinations, if they
    may be too few) for draft_extend.
    """
    S = np.asarray(S, dtype=np.int64)
    bs = len(S)
    request = np.arange(bs)
    cache_seqlens = wrap_int32(S)
    seqlens_expanded = cache_seqlens

    if mode == "target_verify":
        cache_seqlens = wrap_int32(S + next_n)
        request = np.repeat(request, next_n)
        draft = np.tile(np.arange(next_n), bs)
        seqlens_expanded = wrap_int32(S[request] + 1 + draft)
    elif mode == "draft_extend":
        if E is None:
            raise ValueError("draft_extend needs E")
        request, index, _ = extend_rows(E, bs, capacity)
        # Lengths as they are, truncated to int32; the sum wraps like all others.
        extend = wrap_int32(np.broadcast_to(np.asarray(E, np.int64), (bs,)))
        visible = wrap_int32(
            cache_seqlens[request].astype(np.int64) - extend[request] + 1 + index
        )
        seqlens_expanded = np.maximum(visible, np.int32(0))
    elif mode != "decode":
        raise ValueError(f"expected a mode of {MODES} but got {mode!r}")

    # min is taken of int32 values, whatever the type of the lengths was.
    nsa_cache_seqlens = np.minimum(seqlens_expanded, np.int32(topk))
    page_table_1 = page_table_rows(pool, table, max_len)[request]
    fields = {
        "cache_seqlens": cache_seqlens,
        "cu_seqlens_k": cumulative(cache_seqlens),
        "seqlens_expanded": seqlens_expanded,
        "nsa_cache_seqlens": nsa_cache_seqlens,
        "nsa_cu_seqlens_k": cumulative(nsa_cache_seqlens),
        "page_table_1": page_table_1,
        "real_page_table": real_page_table(page_table_1, page_size),
    }
    if mode == "decode":
        fields["paged_mqa_ctx_lens"] = cache_seqlens.reshape(bs, 1)
    elif mode == "target_verify":
        fields["paged_mqa_ctx_lens"] = np.repeat(cache_seqlens[:, None], next_n, axis=1)
    return fields
