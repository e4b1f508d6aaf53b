# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases of prefills, the input batch, drafts and schedules; see vllm_cases.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from vllm_draw import Case, Draw


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
    layout = d.some(0, 1, 2, 3)
    lens = np.minimum(d.S, 60)
    cache = d.rng.integers(0, 256, (5, 42000), np.uint8)
    if layout == 3:  # the bits of a NaN that is computed are anybody's
        cache = np.where(cache % 128 == 127, cache - 1, cache)
    arguments = {
        "cache": cache, "seq_lens": lens,
        "block_table": d.table(d.R, 40, blocks=6), "layout": ("v4", "v32", "v41", "v41_nvfp4")[layout],
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
