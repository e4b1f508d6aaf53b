# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the steps of sparse prefill compute, in NumPy, element by element.

Written from the formulas alone, and shares no code with what it checks. Lengths and
positions are int32 and wrap around; an index that is outside of the array gives 0, and
the next step goes on with that 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from reference import cumulative, wrap_int32

Int32Array = NDArray[np.int32]
Integers = NDArray[np.integer]


def _wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def windows(S: Integers, E: Integers, window: int) -> tuple[Int32Array, Int32Array]:
    """(G, first): how many tokens the windows of the queries span, and where."""
    S, E = wrap_int32(S).astype(np.int64), wrap_int32(E).astype(np.int64)
    gathers = np.minimum(S, wrap_int32(E + window - 1))
    return wrap_int32(gathers), wrap_int32(S - gathers)


def swa_token_ids(
    S: Integers,
    E: Integers,
    pool: Integers,
    req_to_token: Integers,
    full_to_swa: Integers,
    window: int,
    capacity: int,
) -> dict[str, Int32Array]:
    """The four outputs; as many ids as there are, but no more than `capacity`."""
    gathers, first = windows(S, E, window)
    rows, columns = req_to_token.shape
    ids: list[int] = []
    for b in range(len(S)):
        for i in range(min(max(int(gathers[b]), 0), capacity - len(ids))):
            row, position = int(pool[b]), int(first[b]) + i
            token = 0
            if 0 <= row < rows and 0 <= position < columns:
                token = int(req_to_token[row, position])
            slot = int(full_to_swa[token]) if 0 <= token < len(full_to_swa) else 0
            ids.append(_wrap(slot))
    return {
        "out_ids": np.array(ids, np.int32),
        "out_first": first,
        "out_lens": gathers,
        "out_offsets": cumulative(gathers),
    }


def workspace_bases(
    gathers: Int32Array, columns: int
) -> tuple[Int32Array, Int32Array]:
    """(compressed_base, swa_base) of a workspace with `columns` compressed rows each."""
    bs = len(gathers)
    compressed = wrap_int32(np.arange(bs, dtype=np.int64) * columns)
    return compressed, wrap_int32(bs * columns + cumulative(gathers)[:-1].astype(np.int64))


def local_start_loc(query_start_loc: Int32Array) -> list[int]:
    return [_wrap(int(q) - int(query_start_loc[0])) for q in query_start_loc]


def compressed_token_ids(
    table: Integers, query_start_loc: Int32Array, ratio: int, page_size: int, columns: int
) -> Int32Array:
    q0 = local_start_loc(query_start_loc)
    bs = len(q0) - 1
    result = np.zeros((bs, columns), np.int32)
    if ratio == 128:
        page_size = 1
    for b in range(bs):
        if q0[b] >= q0[b + 1]:
            continue
        row = q0[b + 1] - 1 if ratio == 128 else q0[b]
        for j in range(columns):
            if 0 <= row < table.shape[0] and j // page_size < table.shape[1]:
                page = max(0, int(table[row, j // page_size]))
                result[b, j] = _wrap(page * page_size + j % page_size)
    return result


def index_width(topk: int, window: int) -> int:
    return (topk + window + 127) // 128 * 128


def combine(
    topk_indices: Integers | None,
    query_start_loc: Int32Array,
    S: Integers,
    gathers: Int32Array,
    compressed_base: Int32Array,
    swa_base: Int32Array,
    window: int,
    ratio: int,
    topk: int,
    queries: int,
    query_pos: Int32Array | None = None,
) -> tuple[Int32Array, Int32Array]:
    """(indices, lens) of all rows, for a `query_start_loc` that does not descend."""
    q0 = local_start_loc(query_start_loc)
    S = wrap_int32(S)
    indices = np.full((queries, index_width(topk, window)), -1, np.int32)
    lens = np.zeros(queries, np.int32)
    for b in range(len(q0) - 1):
        length, base = int(S[b]), int(swa_base[b])
        for t in range(q0[b], min(q0[b + 1], queries)):
            pos = length - (q0[b + 1] - q0[b]) + (t - q0[b])
            if query_pos is not None:
                pos = int(query_pos[t])
            end = _wrap(pos + 1)
            k = min(max(end // ratio, 0), topk)
            w = min(max(end, 0), window)
            if topk_indices is None:
                chosen = np.arange(k, dtype=np.int64)
            else:
                chosen = topk_indices[t, :k].astype(np.int64)
            rebased = wrap_int32(chosen + int(compressed_base[b]))
            indices[t, :k] = np.where(chosen < 0, -1, rebased)
            first = base + (end - w) - (length - int(gathers[b]))
            indices[t, k : k + w] = wrap_int32(first + np.arange(w, dtype=np.int64))
            lens[t] = k + w
    return indices, lens
