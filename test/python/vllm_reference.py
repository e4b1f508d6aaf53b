# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's metadata element by element, in Python's integers, into the arrays that come.

Each function has the name and the arguments of one of ``nsa.vllm``; what it does not write
stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def get(array: np.ndarray, *place: int, outside: int) -> int:
    """An element, or what stands for one that there is not."""
    if all(0 <= i < size for i, size in zip(place, array.shape)):
        return int(array[place])
    return outside


def put(array: np.ndarray | None, place: Any, value: int) -> None:
    """Wraps to the array's type; beyond the array nothing is written."""
    place = place if isinstance(place, tuple) else (place,)
    if array is None or not all(0 <= i < size for i, size in zip(place, array.shape)):
        return
    array[place] = np.int64(value).astype(array.dtype)


def clamp(value: int, least: int, most: int) -> int:
    return max(min(value, most), least)


def upper_bound(values: Any, wanted: int) -> int:
    return sum(int(value) <= wanted for value in values)


def slot(table: np.ndarray, b: int, p: int, size: int, stride: int | None = None) -> int:
    block = get(table, b, p // size, outside=-1)
    return -1 if block < 0 else block * (stride or size) + p % size


def dcp(length: int, cp: Any) -> int:
    if cp is None:
        return length
    size, rank, interleave = cp
    whole = size * interleave
    return length // whole * interleave + clamp(
        length % whole - rank * interleave, 0, interleave
    )


def local(p: int, cp: Any) -> int:
    size, _, interleave = cp or (1, 0, 1)
    return p // (interleave * size) * interleave + p % interleave


def owner(p: int, cp: Any) -> int:
    size, _, interleave = cp or (1, 0, 1)
    return p // interleave % size


class Batch:
    """R requests: starts q and lengths S."""

    def __init__(self, q: np.ndarray, lens: np.ndarray | None = None, R: Any = None) -> None:
        self.R = len(q) - 1 if R is None else R
        self.q = [int(x) for x in q[: self.R + 1]]
        self.S = [] if lens is None else [int(x) for x in lens[: self.R]]

    @property
    def total(self) -> int:
        return self.q[self.R]

    def of(self, t: int) -> int:
        return max(min(upper_bound(self.q[1:], t), self.R - 1), 0)

    def Q(self, b: int) -> int:
        return self.q[b + 1] - self.q[b]

    def pos(self, t: int) -> int:
        b = self.of(t)
        if self.R == 0:
            return t
        return self.S[b] - self.Q(b) + t - self.q[b]


# Decode.


def token_to_req_indices(query_start_loc, out, num_mapped_tokens=None, num_tokens=None):
    batch = Batch(query_start_loc)
    n = len(out) if num_tokens is None else num_tokens
    mapped = len(out) if num_mapped_tokens is None else num_mapped_tokens
    for t in range(n):
        put(out, t, batch.of(t) if t < mapped else 0)


def uniform_decode(
    seq_lens, next_n, out_seq_lens, block_table=None, out_block_table=None,
    out_decode_lens=None, context_parallel=None, ratio=1,
):  # fmt: skip
    n = len(seq_lens) * next_n
    out_seq_lens[:] = 0
    for t in range(n):
        b = t // next_n
        length = max(int(seq_lens[b]) - next_n + t % next_n + 1, 0)
        put(out_seq_lens, t, dcp(length, context_parallel) // ratio)
        put(out_decode_lens, t, 1)
        for c in range(0 if out_block_table is None else block_table.shape[1]):
            put(out_block_table, (t, c), get(block_table, b, c, outside=0))


def native_decode(seq_lens, next_n, out_seq_lens, context_parallel=None, ratio=1):
    for b, length in enumerate(seq_lens):
        for j in range(next_n):
            value = max(int(length) - next_n + 1 + j, 0)
            put(out_seq_lens, (b, j), dcp(value, context_parallel) // ratio)


def varlen_decode(
    query_start_loc, seq_lens, num_tokens, out_seq_lens, block_table=None,
    out_block_table=None, out_decode_lens=None, out_indices=None, out_per_req_lens=None,
    context_parallel=None, ratio=1,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)
    out_seq_lens[:] = 0
    for t in range(num_tokens):
        b, live = batch.of(t), t < batch.total
        length = batch.pos(t) + 1 if live else 0
        put(out_seq_lens, t, dcp(length, context_parallel) // ratio if live else 0)
        put(out_decode_lens, t, 1)
        put(out_indices, t, b if live else batch.R + t - batch.total)
        for c in range(0 if out_block_table is None else block_table.shape[1]):
            put(out_block_table, (t, c), get(block_table, b, c, outside=0) if live else 0)
    for b in range(batch.R):
        put(out_per_req_lens, b, batch.Q(b))


def ragged_decode(
    query_start_loc, seq_lens, num_tokens, out_seq_lens, block_table=None,
    out_block_table=None, out_decode_lens=None, context_parallel=None, ratio=1,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)
    out_seq_lens[:] = 0
    for t in range(num_tokens):
        put(out_decode_lens, t, 1)
        if t >= batch.total:
            put(out_block_table, (t, 0), 0)
            continue
        put(out_seq_lens, t, dcp(batch.pos(t) + 1, context_parallel) // ratio)
        for c in range(block_table.shape[1]):
            put(out_block_table, (t, c), get(block_table, batch.of(t), c, outside=0))


# Slots.


def gather_block_tables(
    idx_mapping, block_tables, num_blocks, outs, block_sizes, num_rows,
    num_computed_tokens=None, reach=None,
):  # fmt: skip
    for g, out in enumerate(outs):
        for r in range(num_rows):
            if r >= len(idx_mapping):
                out[r] = 0
                continue
            state = int(idx_mapping[r])
            if not 0 <= state < num_blocks.shape[1]:
                continue
            null = 0
            if num_computed_tokens is not None and reach is not None and reach[g] > 0:
                computed = get(num_computed_tokens, state, outside=0)
                null = max(computed - reach[g], 0) // block_sizes[g]
            for c in range(min(int(num_blocks[g, state]), out.shape[1])):
                block = get(block_tables[g], state, c, outside=0)
                put(out, (r, c), 0 if c < null else block)


def compressed_slot_mapping(
    query_start_loc, seq_lens, slot_mapping, block_table, out, block_size, ratio,
    context_parallel=None,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens, len(block_table))
    out[:] = -1
    for t in range(min(batch.total, len(out))):
        p = batch.pos(t)
        if p >= 0 and (p + 1) % ratio == 0 and get(slot_mapping, t, outside=-1) != -1:
            state = local(p, context_parallel) // ratio
            put(out, t, slot(block_table, batch.of(t), state, block_size))


def slot_mappings(
    idx_mapping, query_start_loc, positions, block_tables, outs, block_sizes, enabled=None,
    sharded=None, context_parallel=None,
):  # fmt: skip
    batch = Batch(query_start_loc, R=len(idx_mapping))
    size, rank, interleave = context_parallel or (1, 0, 1)
    for g, out in enumerate(outs):
        out[:] = -1
        bs = block_sizes[g]
        for t in range(min(batch.total, len(out))):
            row = int(idx_mapping[batch.of(t)]) if batch.R else -1
            if row < 0 or (enabled is not None and not enabled[g]):
                continue
            p = get(positions, t, outside=-1)
            if size > 1 and (sharded is None or sharded[g]):
                v = p % (bs * size)
                if v // interleave % size != rank:
                    continue
                p = (
                    p // (bs * size) * bs
                    + v // (interleave * size) * interleave
                    + v % interleave
                )
            put(out, t, slot(block_tables[g], row, p, bs))


def kernel_block_table(block_table, out, blocks, stride=None):
    for b in range(block_table.shape[0]):
        for c in range(block_table.shape[1] * blocks):
            block = int(block_table[b, c // blocks])
            put(out, (b, c), block * (stride or blocks) + c % blocks)


def dcp_local_seq_lens(seq_lens, out, context_parallel):
    out[:] = 0
    for b, length in enumerate(seq_lens):
        put(out, b, dcp(int(length), context_parallel))


def kpool_tail_slot_mapping(
    query_start_loc, positions, slot_mapping, block_table, out, kpool, num_actual_tokens
):
    batch = Batch(query_start_loc)
    for t in range(len(slot_mapping)):
        value = int(slot_mapping[t])
        if t < num_actual_tokens and batch.R:
            block = get(block_table, batch.of(t), 0, outside=0)
            value = block * kpool + get(positions, t, outside=0) % kpool if block else -1
        put(out, t, value)


# Windows.


def windows(
    batch, block_table, out_indices, out_lens, block_size, slot_mapping, is_valid, out_valid,
    first_token, width, bounds,
):  # fmt: skip
    rows, columns = out_indices.shape
    width = columns if width is None else width
    for r in range(rows):
        t = first_token + r
        valid = t < batch.total
        if slot_mapping is not None:
            valid = get(slot_mapping, t, outside=-1) >= 0
        if is_valid is not None:
            valid = bool(get(is_valid, t, outside=0))
        put(out_valid, r, valid)
        start, end = bounds(t)
        length = clamp(end - start, 0, width) if valid else 0
        put(out_lens, r, length)
        for j in range(width):
            there = slot(block_table, batch.of(t), start + j, block_size)
            put(out_indices, (r, j), there if j < length else -1)


def swa_indices(
    query_start_loc, seq_lens, block_table, out_indices, out_lens, window, block_size,
    slot_mapping=None, is_valid=None, replay_start=None, left_visible=None,
    right_visible=None, token_to_req=None, out_valid=None, first_token=0, width=None,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)

    def bounds(t):
        p = batch.pos(t)
        left = 0 if left_visible is None else get(left_visible, t, outside=0)
        right = 0 if right_visible is None else get(right_visible, t, outside=0)
        start = max(p - (window - 1) - max(left - (window - 1), 0), 0)
        if replay_start is not None:
            start = max(start, get(replay_start, batch.of(t), outside=0))
        return start, p + right + 1

    windows(
        batch, block_table, out_indices, out_lens, block_size, slot_mapping, is_valid,
        out_valid, first_token, width, bounds,
    )  # fmt: skip


def swa_noncausal_indices(
    query_start_loc, seq_lens, block_table, out_indices, out_lens, window, block_size,
    slot_mapping=None, is_valid=None, token_to_req=None, out_valid=None, first_token=0,
    width=None,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)

    def bounds(t):
        if batch.R == 0:
            return 0, 0
        b = batch.of(t)
        return max(batch.S[b] - batch.Q(b) - window, 0), batch.S[b]

    windows(
        batch, block_table, out_indices, out_lens, block_size, slot_mapping, is_valid,
        out_valid, first_token, width, bounds,
    )  # fmt: skip


def image_visible(
    query_start_loc, seq_lens, span_indptr, span_starts, span_ends, out_left, out_right,
    max_image_tokens, first_token=0,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)
    for r in range(len(out_left)):
        t = first_token + r
        b, p = batch.of(t), batch.pos(t)
        left = right = 0
        for i in range(span_indptr[b], span_indptr[b + 1]) if batch.R else ():
            a, e = int(span_starts[i]), int(span_ends[i])
            if a <= p <= e:
                left, right = min(p - a, max_image_tokens - 1), min(e - p, max_image_tokens)
        put(out_left, r, left)
        put(out_right, r, right)


def prefill_gather_lens(query_start_loc, seq_lens, out, window, replay_start=None, first_req=0):
    batch = Batch(query_start_loc, seq_lens)
    for b in range(first_req, batch.R):
        replay = 0 if replay_start is None else get(replay_start, b, outside=0)
        prefix = max(batch.S[b] - batch.Q(b) - replay, 0)
        put(out, b - first_req, batch.Q(b) + min(prefix, window - 1))


# Index lists.


def req_to_global(
    req_id, block_table, token_indices, out, block_size=64, block_stride=None,
    compact=False, out_counts=None, safe_lengths=None, idx_mapping=None,
    prefill_request_ids=None, workspace_starts=None, workspace_rank_stride=0,
    context_parallel=None,
):  # fmt: skip
    rows, columns = token_indices.shape
    for t in range(rows):
        row = get(req_id, t, outside=-1)
        if idx_mapping is not None:
            row = max(get(idx_mapping, row, outside=0), 0)
        p = -1
        if prefill_request_ids is not None:
            p = get(prefill_request_ids, t, outside=-1)
        places = []
        for j in range(columns):
            x = int(token_indices[t, j])
            loc = local(x, context_parallel)
            value = -1
            if x < 0 or loc // block_size >= block_table.shape[1]:
                pass
            elif p >= 0:
                start = get(workspace_starts, p, outside=-1)
                if start >= 0:
                    part = owner(x, context_parallel) * workspace_rank_stride
                    value = part + start + loc
            elif context_parallel is None or owner(x, context_parallel) == context_parallel[1]:
                value = slot(block_table, row, loc, block_size, block_stride)
            places.append(value)
        good = [value for value in places if value >= 0]
        if compact:
            places = good + [-1] * (columns - len(good))
        if safe_lengths is not None and not good:
            places[0] = 0
        put(safe_lengths, t, max(len(good), 1))
        put(out_counts, t, len(good))
        for j, value in enumerate(places):
            put(out, (t, j), value)


def safe_lengths(counts, indices, out):
    for t, count in enumerate(counts.tolist()):
        put(out, t, max(count, 1))
        if count == 0:
            put(indices, (t, 0), 0)


def global_topk_indices(
    topk_indices, token_to_req, block_table, out_indices, out_lens=None, *, block_size,
    is_valid=None, slot_mapping=None,
):  # fmt: skip
    rows, columns = topk_indices.shape
    for t in range(rows):
        valid = True
        if is_valid is not None:
            valid = bool(get(is_valid, t, outside=0))
        elif slot_mapping is not None:
            valid = get(slot_mapping, t, outside=-1) >= 0
        count = 0
        for j in range(columns):
            x = int(topk_indices[t, j])
            b = get(token_to_req, t, outside=-1)
            value = slot(block_table, b, x, block_size) if x >= 0 else -1
            count += value >= 0
            put(out_indices, (t, j), value)
        put(out_lens, t, count if valid else 0)


def c128a_indices(
    positions, num_decode_tokens, width, block_size, token_to_req=None, block_table=None,
    slot_mapping=None, out_decode_indices=None, out_decode_lens=None,
    out_prefill_indices=None,
):  # fmt: skip
    for t in range(max(len(positions), num_decode_tokens)):
        k = clamp((get(positions, t, outside=-1) + 1) // 128, 0, width)
        if t >= num_decode_tokens:
            for j in range(width):
                put(out_prefill_indices, (t - num_decode_tokens, j), j if j < k else -1)
            continue
        count = 0
        for j in range(width):
            b = get(token_to_req, t, outside=-1)
            value = slot(block_table, b, j, block_size) if j < k else -1
            count += value >= 0
            put(out_decode_indices, (t, j), value)
        valid = slot_mapping is None or get(slot_mapping, t, outside=-1) >= 0
        put(out_decode_lens, t, count if valid else 0)


def combine_topk_swa_indices(
    topk_indices, query_start_loc, seq_lens, gather_lens, out_indices, out_lens, window,
    ratio, topk, workspace_stride, window_offset, left_visible=None, right_visible=None,
    max_image_tokens=0,
):  # fmt: skip
    rebased = np.asarray(query_start_loc, np.int64) - int(query_start_loc[0])
    batch = Batch(rebased, seq_lens)
    width = -(-(topk + window + max_image_tokens) // 128) * 128
    M, N, W = workspace_stride, window_offset, window
    for r in range(len(out_lens)):
        b, p = batch.of(r), batch.pos(r)
        g0 = batch.S[b] - int(gather_lens[b]) if batch.R else 0
        left = 0 if left_visible is None else get(left_visible, r, outside=0)
        right = 0 if right_visible is None else get(right_visible, r, outside=0)
        k = clamp((p + 1) // ratio, 0, topk) if ratio > 0 else 0
        start = max(p - (W - 1) - max(left - (W - 1), 0), 0, g0)
        w = clamp(p + right + 1 - start, 0, W + max_image_tokens)
        put(out_lens, r, k + w)
        for j in range(width):
            value = -1
            if j < k:
                x = int(topk_indices[r, j])
                value = x + M * b if 0 <= x < N else -1
            elif j < k + w:
                value = M * b + N + (start - g0) + (j - k)
            put(out_indices, (r, j), value)
