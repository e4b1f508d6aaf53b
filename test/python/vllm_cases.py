# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Batches of vLLM steps for each function of ``nsa.vllm``, with lengths around what they are
divided by, and with hostile contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import vllm_reference
from dequant_reference import canonical

from nsa import vllm

#: What nobody writes.
FILL = -77
EDGES = (0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 255, 256, 257, 384, 500)


@dataclass
class Case:
    """A call: arguments by name; those in `outs` are written."""

    name: str
    arguments: dict[str, Any]
    outs: tuple[str, ...]


class Draw:
    """Where cases get what they are made of."""

    def __init__(
        self, seed: int, hostile: bool = False, small: bool = False, large: bool = False
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.hostile, self.small = hostile, small
        self.index = ("int32", "int64")[seed // 2 % 2]
        self.R = int(self.rng.choice([1, 2, 3] if small else [0, 1, 2, 5, 33]))
        self.R = 150 if large else self.R
        most = 4 if small else 9
        queries = self.rng.integers(0, most, self.R)
        self.q = np.concatenate([[0], np.cumsum(queries)]).astype(self.index)
        self.total = int(self.q[-1])
        lens = np.where(
            self.rng.random(self.R) < 0.6,
            self.rng.choice(EDGES, self.R) + self.rng.integers(-1, 2, self.R),
            self.rng.integers(0, 500, self.R),
        )
        lens = np.maximum(lens, queries)
        if hostile:
            bad = self.rng.choice([-5, 2**31 - 9, 10**6, 0], self.R)
            lens = np.where(self.rng.random(self.R) < 0.3, bad, lens)
        self.S = lens.astype(self.index)

    def some(self, *numbers: int) -> int:
        return int(self.rng.choice(numbers))

    def table(self, rows: int, columns: int, blocks: int = 900) -> np.ndarray:
        made = self.rng.integers(0, blocks, (rows, columns))
        if self.hostile:
            bad = self.rng.choice([-1, -(2**31), 2**31 - 1], made.shape)
            made = np.where(self.rng.random(made.shape) < 0.1, bad, made)
        return made.astype(np.int32)

    def slots(self, count: int) -> np.ndarray:
        made = self.rng.integers(0, 10**6, count)
        made[self.rng.random(count) < 0.3] = -1
        if self.hostile:
            made[self.rng.random(count) < 0.1] = -9
        return made.astype(np.int64)

    def numbers(self, low: int, high: int, shape: Any, dtype: Any = "") -> np.ndarray:
        """From low to high, hostile ones anywhere."""
        made = self.rng.integers(low, high, shape)
        if self.hostile:
            bad = self.rng.choice([-1, -(2**31), 2**31 - 1, high], made.shape)
            made = np.where(self.rng.random(made.shape) < 0.1, bad, made)
        return made.astype(dtype or self.index)

    def positions(self) -> np.ndarray:
        """Of the tokens, and of some that are none."""
        batch = vllm_reference.Batch(self.q, self.S)
        made = [batch.pos(t) for t in range(self.total)] + [3] * self.some(0, 2, 9)
        return np.array(made, np.int64)

    def cp(self) -> Any:
        size = self.some(1, 2, 3, 8)
        if size == 1:
            return None
        return (size, int(self.rng.integers(0, size)), self.some(1, 4))

    def out(self, *shape: int, dtype: Any = np.int32) -> np.ndarray:
        return np.full(shape, FILL, dtype)


def case_token_to_req_indices(d: Draw) -> Case:
    n = d.total + d.some(0, 3)
    arguments = {"query_start_loc": d.q, "out": d.out(n + d.some(0, 2)), "num_tokens": n}
    if d.some(0, 1):
        arguments["num_mapped_tokens"] = max(d.total - 1, 0)
    return Case("token_to_req_indices", arguments, ("out",))


def case_uniform_decode(d: Draw) -> Case:
    next_n = d.some(1, 2, 3, 5)
    n, columns = d.R * next_n, d.some(1, 7)
    arguments = {
        "seq_lens": d.S, "next_n": next_n, "out_seq_lens": d.out(n + 5),
        "block_table": d.table(d.R, columns), "out_block_table": d.out(n + 1, columns + 2),
        "out_decode_lens": d.out(n), "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    return Case(
        "uniform_decode", arguments, ("out_seq_lens", "out_block_table", "out_decode_lens")
    )


def case_native_decode(d: Draw) -> Case:
    next_n = d.some(1, 2, 4)
    arguments = {
        "seq_lens": d.S, "next_n": next_n, "out_seq_lens": d.out(d.R + 1, next_n),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    return Case("native_decode", arguments, ("out_seq_lens",))


def case_varlen_decode(d: Draw) -> Case:
    n = d.total + d.some(0, 4)
    columns = d.some(1, 6)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "num_tokens": n,
        "out_seq_lens": d.out(n + 3), "block_table": d.table(d.R, columns),
        "out_block_table": d.out(n + 1, columns), "out_decode_lens": d.out(n),
        "out_indices": d.out(n), "out_per_req_lens": d.out(d.R + 1),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("varlen_decode", arguments, outs)


def case_ragged_decode(d: Draw) -> Case:
    n = d.total + d.some(0, 4)
    columns = d.some(1, 6)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "num_tokens": n,
        "out_seq_lens": d.out(n + 3), "block_table": d.table(d.R, columns),
        "out_block_table": d.out(n + 1, columns), "out_decode_lens": d.out(n),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("ragged_decode", arguments, outs)


def case_gather_block_tables(d: Draw) -> Case:
    groups, states = d.some(1, 2, 4), 9
    columns = [d.some(1, 8, 130) for _ in range(groups)]
    rows = d.R + d.some(0, 3)
    idx = d.numbers(0, states, d.R, np.int32)
    arguments = {
        "idx_mapping": idx, "block_tables": [d.table(states, c) for c in columns],
        "num_blocks": d.numbers(0, 132, (groups, states), np.int32), "num_rows": rows,
        "outs": [d.out(rows + 1, c) for c in columns],
        "block_sizes": [d.some(16, 64) for _ in columns],
    }  # fmt: skip
    if d.some(0, 1):
        arguments["num_computed_tokens"] = d.numbers(0, 5000, states, np.int32)
        arguments["reach"] = [d.some(0, 128) for _ in columns]
    return Case("gather_block_tables", arguments, ("outs",))


def case_compressed_slot_mapping(d: Draw) -> Case:
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "slot_mapping": d.slots(d.total + 2),
        "block_table": d.table(d.R, 40), "out": d.out(d.total + 5, dtype=np.int64),
        "block_size": d.some(2, 16, 64), "ratio": d.some(1, 4, 128),
        "context_parallel": d.cp(),
    }  # fmt: skip
    return Case("compressed_slot_mapping", arguments, ("out",))


def case_slot_mappings(d: Draw) -> Case:
    groups = d.some(1, 2, 5)
    states = 9
    idx = d.numbers(0, states, d.R, np.int32)
    idx[d.rng.random(d.R) < 0.2] = -1
    arguments = {
        "idx_mapping": idx, "query_start_loc": d.q, "positions": d.positions(),
        "block_tables": [d.table(states, d.some(3, 33)) for _ in range(groups)],
        "outs": [d.out(d.total + 3 + g, dtype=np.int64) for g in range(groups)],
        "block_sizes": [d.some(1, 16, 64, 100, 256) for _ in range(groups)],
        "context_parallel": d.cp(),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["enabled"] = [bool(d.some(0, 1)) for _ in range(groups)]
        arguments["sharded"] = [bool(d.some(0, 1)) for _ in range(groups)]
    return Case("slot_mappings", arguments, ("outs",))


def case_kernel_block_table(d: Draw) -> Case:
    blocks, columns = d.some(1, 2, 4), d.some(1, 5, 130)
    arguments = {
        "block_table": d.table(d.R, columns), "out": d.out(d.R + 1, columns * blocks + 1),
        "blocks": blocks, "stride": d.some(blocks, blocks + 3),
    }  # fmt: skip
    return Case("kernel_block_table", arguments, ("out",))


def case_dcp_local_seq_lens(d: Draw) -> Case:
    arguments = {"seq_lens": d.S, "out": d.out(d.R + 4), "context_parallel": (4, 1, 2)}
    return Case("dcp_local_seq_lens", arguments, ("out",))


def case_kpool_tail_slot_mapping(d: Draw) -> Case:
    positions = d.positions()
    table = d.table(d.R, 2)
    table[d.rng.random(d.R) < 0.3, 0] = 0
    n = len(positions)
    arguments = {
        "query_start_loc": d.q, "positions": positions, "slot_mapping": d.slots(n),
        "block_table": table, "out": d.out(n + 1, dtype=np.int64), "kpool": d.some(1, 4, 7),
        "num_actual_tokens": max(n - d.some(0, 1, 4), 0),
    }  # fmt: skip
    return Case("kpool_tail_slot_mapping", arguments, ("out",))


def windows(d: Draw, width: int) -> dict[str, Any]:
    first = d.some(0, 0, 2)
    rows = max(d.total - first, 0) + d.some(0, 3)
    made = {
        "query_start_loc": d.q, "seq_lens": d.S, "block_table": d.table(d.R, 20),
        "block_size": d.some(16, 64), "first_token": first,
        "out_indices": d.out(rows, width), "out_lens": d.out(rows + 1),
    }  # fmt: skip
    if d.some(0, 1):
        made["slot_mapping"] = d.slots(d.total + d.some(0, 9))
        made["out_valid"] = np.full(rows, 7, np.uint8)
    elif d.some(0, 1):
        made["is_valid"] = d.rng.random(d.total + 1) < 0.7
    if d.some(0, 1):
        made["width"] = width - 1
    if d.some(0, 1):
        batch = vllm_reference.Batch(d.q, d.S)
        owners = [batch.of(t) for t in range(d.total + 20)]
        made["token_to_req"] = np.array(owners, d.index)
    return made


WINDOW_OUTS = ("out_indices", "out_lens", "out_valid")


def case_swa_indices(d: Draw) -> Case:
    window, image = d.some(1, 8, 130), d.some(0, 0, 24)
    arguments = windows(d, window + image)
    arguments["window"] = window
    if image:
        for name in ("left_visible", "right_visible"):
            arguments[name] = d.numbers(0, image, d.total + 20)
    if d.some(0, 1):
        arguments["replay_start"] = d.numbers(0, 500, d.R)
    return Case("swa_indices", arguments, WINDOW_OUTS)


def case_swa_noncausal_indices(d: Draw) -> Case:
    window = d.some(0, 8, 100)
    arguments = windows(d, -(-(window + 8) // 64) * 64)
    arguments["window"] = window
    return Case("swa_noncausal_indices", arguments, WINDOW_OUTS)


def case_image_visible(d: Draw) -> Case:
    indptr, starts, ends = [0], [], []
    for _ in range(d.R):
        at = 0
        for _ in range(d.some(0, 1, 4)):
            at += d.some(0, 3, 40)
            starts.append(at)
            at += d.some(0, 5, 60)
            ends.append(at)
            at += 1
        indptr.append(len(starts))
    rows = d.total + d.some(0, 2)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "span_indptr": np.array(indptr, d.index),
        "span_starts": np.array(starts, d.index), "span_ends": np.array(ends, d.index),
        "out_left": d.out(rows), "out_right": d.out(rows), "max_image_tokens": d.some(1, 20),
    }  # fmt: skip
    return Case("image_visible", arguments, ("out_left", "out_right"))


def case_prefill_gather_lens(d: Draw) -> Case:
    first = min(d.some(0, 0, 2), d.R)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "out": d.out(d.R - first + 1),
        "window": d.some(1, 128), "first_req": first,
    }  # fmt: skip
    if d.some(0, 1):
        arguments["replay_start"] = d.numbers(0, 500, d.R)
    return Case("prefill_gather_lens", arguments, ("out",))


def case_req_to_global(d: Draw) -> Case:
    T = d.some(1, 4) if d.small else d.some(0, 1, 7, 70)
    columns = d.some(5, 128, 300) if d.small else d.some(3, 128, 640, 2048)
    stride = d.some(0, 1)
    block_size = d.some(16, 64)
    rows = max(d.R, 1)
    indices = d.numbers(0, 12 * block_size, (T, columns), np.int32)
    indices[d.rng.random(indices.shape) < d.some(0, 1) * 0.6] = -1
    if T:
        indices[T // 2] = -1
    arguments = {
        "req_id": d.numbers(0, rows, T), "block_table": d.table(rows, d.some(3, 10)),
        "token_indices": indices, "out": d.out(T, columns), "block_size": block_size,
        "block_stride": block_size + 5 if stride else None, "compact": bool(d.some(0, 1)),
        "context_parallel": d.cp(),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["out_counts"] = d.out(T)
    if d.some(0, 1):
        arguments["safe_lengths"] = d.out(T + 1)
    if d.some(0, 1):
        arguments["idx_mapping"] = d.numbers(-1, rows, rows, np.int32)
    if d.some(0, 1):
        arguments["prefill_request_ids"] = d.numbers(-1, 3, T)
        arguments["workspace_starts"] = d.numbers(0, 4000, 3)
        arguments["workspace_rank_stride"] = 5000
    return Case("req_to_global", arguments, ("out", "out_counts", "safe_lengths"))


def case_global_topk_indices(d: Draw) -> Case:
    T, columns = d.some(1, 5), d.some(4, 64, 512)
    rows = max(d.R, 1)
    indices = d.numbers(-1, 600, (T, columns), np.int32)
    arguments = {
        "topk_indices": indices, "token_to_req": d.numbers(0, rows, T),
        "block_table": d.table(rows, 10), "out_indices": d.out(T, columns),
        "out_lens": d.out(T), "block_size": d.some(2, 64),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["is_valid"] = d.rng.random(T) < 0.6
    elif d.some(0, 1):
        arguments["slot_mapping"] = d.slots(T)
    return Case("global_topk_indices", arguments, ("out_indices", "out_lens"))


def case_c128a_indices(d: Draw) -> Case:
    positions = d.numbers(0, 3000, d.total + 3, np.int64)
    n, width = len(positions), 128
    decodes = min(d.some(0, 2, 9), n)
    rows = max(d.R, 1)
    arguments = {
        "positions": positions, "num_decode_tokens": decodes, "width": width,
        "block_size": 2, "token_to_req": d.numbers(0, rows, n),
        "block_table": d.table(rows, 20), "slot_mapping": d.slots(n),
        "out_decode_indices": d.out(n, width + 4), "out_decode_lens": d.out(n),
        "out_prefill_indices": d.out(n, width),
    }  # fmt: skip
    outs = ("out_decode_indices", "out_decode_lens", "out_prefill_indices")
    return Case("c128a_indices", arguments, outs)


def case_combine_topk_swa_indices(d: Draw) -> Case:
    ratio = d.some(0, 1, 4, 128)
    window, image, topk = d.some(1, 8, 128), d.some(0, 0, 24), d.some(1, 100, 512)
    base = d.some(0, 7) if d.R else 0
    gathers = np.minimum(d.S, d.rng.integers(0, 300, d.R))
    arguments = {
        "topk_indices": d.numbers(-1, 600, (d.total, topk), np.int32),
        "query_start_loc": (d.q + base).astype(d.index), "seq_lens": d.S,
        "gather_lens": gathers.astype(d.index), "window": window, "ratio": ratio,
        "topk": topk if ratio else 0, "workspace_stride": 1000, "window_offset": d.some(60, 500),
    }  # fmt: skip
    width = -(-(arguments["topk"] + window + image) // 128) * 128
    arguments["out_indices"] = d.out(d.total, width + d.some(0, 3))
    arguments["out_lens"] = d.out(d.total)
    if image:
        arguments["max_image_tokens"] = image
        arguments["left_visible"] = d.numbers(0, image, d.total)
        arguments["right_visible"] = d.numbers(0, image, d.total)
    return Case("combine_topk_swa_indices", arguments, ("out_indices", "out_lens"))


def case_prefill_chunk(d: Draw) -> Case:
    base = d.some(0, 7) if d.R else 0
    first = d.some(0, 0, 2)
    rows = max(d.total - first, 0)
    arguments = {
        "query_start_loc": (d.q + base).astype(d.index), "seq_lens": d.S,
        "ratio": d.some(1, 4), "out_ks": d.out(rows + 1), "out_ke": d.out(rows + 1),
        "out_token_to_seq": d.out(d.some(0, 9, 300)),
        "out_cu_seq_lens": d.out(d.R + 2), "out_local_cu_seq_lens": d.out(d.R + 2),
        "context_parallel": d.cp(), "first_row": first, "num_rows": rows,
    }  # fmt: skip
    if d.some(0, 1):
        sums = np.cumsum(d.rng.integers(0, 99, d.R + 1))
        arguments["cu_seq_lens"] = sums.astype(d.index)
        if d.some(0, 1):
            arguments["local_cu_seq_lens"] = (sums // 2).astype(d.index)
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("prefill_chunk", arguments, outs)


def case_expand_idx_mapping(d: Draw) -> Case:
    counts = d.rng.integers(0, 5, d.R)
    cu = np.concatenate([[0], np.cumsum(counts)]).astype(d.index)
    rows = int(cu[-1]) + d.some(0, 2)
    arguments = {
        "idx_mapping": d.numbers(0, 99, d.R, np.int32), "cu_num_logits": cu,
        "out_idx": d.out(rows), "out_local_pos": d.out(rows),
    }  # fmt: skip
    return Case("expand_idx_mapping", arguments, ("out_idx", "out_local_pos"))


def states_of(d: Draw, states: int) -> np.ndarray:
    """Each request's own, and hostile ones."""
    idx = d.rng.permutation(states)[: d.R].astype(np.int32)
    if d.hostile and d.R:
        idx[d.rng.integers(0, d.R)] = d.some(-1, states, -(2**31))
    return idx


def case_pos_seq_lens(d: Draw) -> Case:
    states = d.R + 4
    arguments = {
        "idx_mapping": states_of(d, states), "query_start_loc": d.q,
        "num_computed_tokens": d.numbers(0, 4000, states),
        "out_positions": d.out(d.total + 3, dtype=np.int64), "out_seq_lens": d.out(d.R + 2),
    }  # fmt: skip
    return Case("pos_seq_lens", arguments, ("out_positions", "out_seq_lens"))


def case_prefill_inputs(d: Draw) -> Case:
    states = d.R + 4
    arguments = {
        "idx_mapping": states_of(d, states), "query_start_loc": d.q,
        "all_token_ids": d.rng.integers(0, 10**5, (states, 60)).astype(np.int32),
        "prefill_len": d.numbers(0, 50, states, np.int32),
        "num_computed_tokens": d.numbers(0, 50, states, np.int32),
        "out_input_ids": d.out(d.total + 3),
        "out_next_prefill_tokens": d.out(d.some(1, 3), states),
    }  # fmt: skip
    outs = ("out_input_ids", "out_next_prefill_tokens")
    return Case("prefill_inputs", arguments, outs)


def case_sampled_and_draft_inputs(d: Draw) -> Case:
    states, sampled, columns = d.R + 4, d.some(0, 1), d.some(1, 3)
    queries = (d.q[1:] - d.q[:-1]).astype(np.int64)
    numbers = np.minimum(queries, d.rng.integers(0, columns + sampled + 1, d.R))
    cu = np.concatenate([[0], np.cumsum(numbers)]).astype(d.index)
    idx, prompts = states_of(d, states), d.numbers(0, 500, states, np.int32)
    # Prompts that end among the last tokens.
    there = (idx >= 0) & (idx < states) & (d.rng.random(d.R) < 0.6)
    prompts[idx[there]] = d.S[there] - d.rng.integers(0, numbers[there] + 1)
    arguments = {
        "idx_mapping": idx, "query_start_loc": d.q, "seq_lens": d.S, "cu_num_logits": cu,
        "prefill_len": prompts,
        "last_sampled_tokens": d.numbers(0, 10**5, states),
        "draft_tokens": d.numbers(0, 10**5, (states, columns)),
        "out_input_ids": d.out(d.total + 2), "num_sampled": sampled,
        "out_logits_indices": d.out(int(cu[-1]) + d.some(0, 2), dtype=np.int64),
    }  # fmt: skip
    outs = ("out_input_ids", "out_logits_indices")
    return Case("sampled_and_draft_inputs", arguments, outs)


def case_input_ids(d: Draw) -> Case:
    arguments = case_sampled_and_draft_inputs(d).arguments
    prefill = case_prefill_inputs(d).arguments
    del arguments["out_logits_indices"]
    arguments["out"] = arguments.pop("out_input_ids")
    for name in ("all_token_ids", "num_computed_tokens"):
        arguments[name] = prefill[name]
    return Case("input_ids", arguments, ("out",))


def case_draft_prefill_inputs(d: Draw) -> Case:
    states = d.R + 4
    arguments = {
        "idx_mapping": states_of(d, states), "query_start_loc": d.q, "seq_lens": d.S,
        "num_rejected": d.numbers(0, 4, d.R, np.int32),
        "input_ids": d.numbers(0, 10**5, d.total + 2, np.int32), "positions": d.positions(),
        "num_sampled": d.numbers(0, 3, d.R, np.int32),
        "last_sampled": d.numbers(0, 10**5, states),
        "next_prefill_tokens": d.numbers(0, 10**5, states, np.int32),
        "out_input_ids": d.out(d.total + 2),
        "out_positions": d.out(d.total + 1, dtype=np.int64),
        "out_query_start_loc": d.out(d.R + 4), "out_seq_lens": d.out(d.R + 3),
        "out_last_token_indices": d.out(d.R + 2), "out_current_step": d.out(1),
    }  # fmt: skip
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("draft_prefill_inputs", arguments, outs)


def case_safe_lengths(d: Draw) -> Case:
    counts = d.numbers(0, 3, d.total)
    arguments = {
        "counts": counts, "indices": d.out(d.total, 7), "out": d.out(d.total + 1),
    }  # fmt: skip
    return Case("safe_lengths", arguments, ("indices", "out"))


def case_sampled_and_rejected(d: Draw) -> Case:
    states = d.R + 4
    cu = np.concatenate([[0], np.cumsum(d.rng.integers(0, 5, d.R))]).astype(d.index)
    arguments = {
        "num_sampled": d.numbers(0, 4, d.R, np.int32), "seq_lens": d.S, "cu_num_logits": cu,
        "idx_mapping": states_of(d, states), "prefill_len": d.numbers(0, 500, states, np.int32),
        "out_num_sampled": d.out(d.R + 1), "out_num_rejected": d.out(d.R),
    }  # fmt: skip
    return Case("sampled_and_rejected", arguments, ("out_num_sampled", "out_num_rejected"))


def case_computed_tokens(d: Draw) -> Case:
    states = d.R + 4
    arguments = {
        "idx_mapping": states_of(d, states), "query_start_loc": d.q,
        "num_computed_tokens": d.numbers(0, 999, states), "out": d.out(states + 1),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["num_rejected"] = d.numbers(0, 4, d.R, np.int32)
    return Case("computed_tokens", arguments, ("out",))


def drafts(d: Draw) -> dict[str, Any]:
    return {
        "positions": d.numbers(0, 513, d.R, np.int64),
        "sample_positions": d.numbers(0, 513, d.R, np.int64), "max_model_len": 512,
        "seq_lens": d.S, "advance": bool(d.some(0, 1)), "out_input_ids": d.out(d.R + 1),
        "out_positions": d.out(d.R + 1, dtype=np.int64),
        "out_sample_positions": d.out(d.R, dtype=np.int64), "out_seq_lens": d.out(d.R),
    }  # fmt: skip


def case_draft_decode_inputs(d: Draw) -> Case:
    arguments = drafts(d)
    arguments["out_seq_lens"] = d.out(d.R + 3)
    arguments["out_query_start_loc"] = d.out(d.R + d.some(1, 4))
    arguments["num_rejected"] = d.numbers(0, 4, d.R, np.int32)
    arguments["draft_tokens"] = d.numbers(0, 10**5, (d.R, 3))
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("draft_decode_inputs", arguments, outs)


def case_draft_step_inputs(d: Draw) -> Case:
    arguments = drafts(d)
    arguments["current_step"] = np.array([d.some(0, 1, 2, 3)], np.int32)
    arguments["num_steps"] = 3
    arguments["draft_tokens"] = d.numbers(0, 10**5, d.R)
    arguments["out_draft_tokens"] = d.out(d.R + 1, 3)
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("draft_step_inputs", arguments, outs)


def case_dequantize_and_gather(d: Draw) -> Case:
    block_size, stride = d.some(2, 64), d.some(3, 20)
    layout = d.some(0, 1, 2)
    lens = np.minimum(d.S, 60)
    arguments = {
        "cache": d.rng.integers(0, 256, (5, 42000), np.uint8), "seq_lens": lens,
        "block_table": d.table(d.R, 40, blocks=6), "layout": ("v4", "v32", "v41")[layout],
        "out": np.full((d.R * stride + 1, 580), 77, np.uint16), "block_size": block_size,
        "workspace_stride": stride, "offset": d.some(0, 2),
    }  # fmt: skip
    if d.some(0, 1):
        gathers = np.minimum(np.maximum(lens, 0), d.rng.integers(0, 30, d.R))
        arguments["gather_lens"] = gathers.astype(d.index)
    return Case("dequantize_and_gather", arguments, ("out",))


def case_eagle_sampling_indices(d: Draw) -> Case:
    sums = np.cumsum(d.rng.integers(0, 4, d.R))
    arguments = {
        "cu_num_draft_tokens": sums.astype(d.index),
        "valid_sampled_tokens_count": d.numbers(0, 4, d.R), "query_start_loc": d.q,
        "out_indices": d.out(d.R + 1), "out_num_rejected": d.out(d.R + 1),
    }  # fmt: skip
    return Case("eagle_sampling_indices", arguments, ("out_indices", "out_num_rejected"))


def case_eagle_next_tokens(d: Draw) -> Case:
    sampled = d.numbers(0, 120, (d.R, d.some(1, 2, 5)), np.int32)
    sampled[d.rng.random(sampled.shape) < 0.4] = -1
    arguments = {
        "sampled_token_ids": sampled, "discard_mask": d.rng.random(d.R) < 0.3,
        "backup_token_ids": d.numbers(0, 100, d.R), "out_token_ids": d.out(d.R + 1),
        "out_counts": d.out(d.R + 1), "vocab_size": 100,
    }  # fmt: skip
    return Case("eagle_next_tokens", arguments, ("out_token_ids", "out_counts"))


def case_eagle_step(d: Draw) -> Case:
    arguments = {
        "positions": d.numbers(0, 513, d.R, np.int64), "seq_lens": d.S,
        "block_table": d.table(d.R, 20), "out_positions": d.out(d.R + 1, dtype=np.int64),
        "out_slot_mapping": d.out(d.R + 3, dtype=np.int64), "out_seq_lens": d.out(d.R),
        "block_size": d.some(16, 64), "max_model_len": 512,
    }  # fmt: skip
    outs = ("out_positions", "out_slot_mapping", "out_seq_lens")
    return Case("eagle_step", arguments, outs)


def case_paged_mqa_schedule(d: Draw) -> Case:
    convention = ("vllm_sm90", "vllm_sm100", "jit", "sm90")[d.some(0, 1, 2, 3)]
    next_n, slots = d.some(1, 2), d.some(1, 7, 132)
    lens = np.minimum(d.numbers(0, 9000, d.R * next_n), 10**5)
    arguments = {
        "context_lens": lens.reshape(d.R, next_n) if d.some(0, 1) else lens,
        "out": d.out(slots + 2, 2), "convention": convention, "num_sms": slots,
        "next_n": next_n,
    }  # fmt: skip
    if convention == "vllm_sm100" and next_n == 1:
        arguments["indices"] = np.repeat(np.arange(d.R), 3)[: d.R].astype(d.index)
    if d.R > 1 and d.some(0, 1):
        arguments["num_reqs"] = d.R - 1
    return Case("paged_mqa_schedule", arguments, ("out",))


def case_flashmla_schedule(d: Draw) -> Case:
    R = max(d.R, 1)
    arguments = {
        "seq_lens": np.minimum(d.numbers(0, 3000, R), 10**5), "out_metadata": d.out(d.some(1, 5, 66), 8),
        "out_num_splits": d.out(R + 1),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["sparse"] = True
        if d.some(0, 1):
            arguments["extra_lens"] = np.minimum(d.numbers(0, 500, R), 10**4)
    return Case("flashmla_schedule", arguments, ("out_metadata", "out_num_splits"))


CASES: dict[str, Callable[[Draw], Case]] = {
    name.removeprefix("case_"): make
    for name, make in list(globals().items())
    if name.startswith("case_")
}


def each(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    """The same argument with other arrays in it."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [change(array) for array in value]
    return value


def expected(case: Case) -> dict[str, Any]:
    """What the outputs are afterwards."""
    arguments = {
        name: each(value, np.copy) if name in case.outs else value
        for name, value in case.arguments.items()
    }
    getattr(vllm_reference, case.name)(**arguments)
    return {name: arguments[name] for name in case.outs if name in arguments}


def run(case: Case, gpu: Any = None) -> None:
    """Calls the function, and compares all of its outputs."""
    place = gpu.asarray if gpu else np.copy
    placed = {name: each(value, place) for name, value in case.arguments.items()}
    getattr(vllm, case.name)(**placed)
    for name, wanted in expected(case).items():
        got = placed[name]
        pairs = zip(wanted, got) if isinstance(wanted, list) else [(wanted, got)]
        for number, (a, b) in enumerate(pairs):
            b = gpu.asnumpy(b) if gpu else b
            if a.dtype == np.uint16:
                a, b = canonical(a), canonical(b)
            np.testing.assert_array_equal(b, a, err_msg=f"{case.name} {name} {number}")


#: What is run on a GPU.
GPU_DRAWS: tuple[dict[str, Any], ...] = (
    {"seed": 0},
    {"seed": 1, "hostile": True},
    {"seed": 2},
    {"seed": 3, "hostile": True},
    {"seed": 6, "large": True},
)


def call_of(case: Case) -> Callable[[], Any]:
    return partial(getattr(vllm, case.name), **case.arguments)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        vllm.step_text(call_of(make(Draw(**draw)))) for make in CASES.values() for draw in GPU_DRAWS
    }
