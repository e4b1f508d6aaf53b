# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of vLLM's input batch and drafts; see vllm_peer_cases.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import vllm_batch_reference as reference
from vllm_draw import Draw
from vllm_peer_call import BLOCK, PeerCase, new


def case_expand(d: Draw) -> PeerCase:
    cu = np.concatenate([[0], np.cumsum(d.rng.integers(0, 5, d.R))]).astype(np.int32)
    n = int(cu[-1])
    arguments = {
        "idx_mapping": d.rng.integers(0, 99, d.R).astype(np.int32), "total_num_logits": n,
        "cu_num_logits": cu, "max_expand_len": 5,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out, local = new(n), new(n)
        reference.expand_idx_mapping(a.idx_mapping, a.cu_num_logits, out, local)
        return out, local

    return PeerCase("expand_idx_mapping", arguments, expect)


def case_eagle_inputs(d: Draw) -> PeerCase:
    arguments = {
        "cu_num_draft_tokens": np.cumsum(d.rng.integers(0, 4, d.R)).astype(np.int32),
        "valid_sampled_tokens_count": d.rng.integers(0, 4, d.R).astype(np.int32),
        "query_start_loc": d.q, "token_indices_to_sample": new(d.R),
        "num_rejected_tokens": new(d.R), "num_reqs": d.R,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.eagle_sampling_indices(
            a.cu_num_draft_tokens, a.valid_sampled_tokens_count, a.query_start_loc,
            a.token_indices_to_sample, a.num_rejected_tokens,
        )  # fmt: skip

    outs = ("token_indices_to_sample", "num_rejected_tokens")
    return PeerCase("eagle_prepare_inputs_padded", arguments, expect, outs)


def case_next_token(d: Draw) -> PeerCase:
    sampled = d.rng.integers(0, 110, (d.R, 4)).astype(np.int32)
    sampled[d.rng.random(sampled.shape) < 0.4] = -1
    arguments = {
        "sampled_token_ids": sampled, "discard_request_mask": d.rng.random(d.R) < 0.3,
        "backup_next_token_ids": d.rng.integers(0, 100, d.R).astype(np.int32),
        "next_token_ids": new(d.R), "valid_sampled_tokens_count": new(d.R),
        "vocab_size": 100, "num_sampled_tokens_per_req": 4, "num_reqs": d.R,
        "stride_sampled_token_ids": 4, "BLOCK_SIZE_TOKENS": 4,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.eagle_next_tokens(
            a.sampled_token_ids, a.discard_request_mask, a.backup_next_token_ids,
            a.next_token_ids, a.valid_sampled_tokens_count, 100,
        )  # fmt: skip

    outs = ("next_token_ids", "valid_sampled_tokens_count")
    return PeerCase("eagle_prepare_next_token_padded", arguments, expect, outs)


def states_of(d: Draw) -> tuple[int, np.ndarray]:
    states = d.R + 3
    return states, d.rng.permutation(states)[: d.R].astype(np.int32)


def case_prefill_inputs(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    arguments = {
        "input_ids": new(d.total), "next_prefill_tokens": new(2, states), "idx_mapping": idx,
        "query_start_loc": d.q,
        "all_token_ids": d.rng.integers(0, 10**5, (states, 80)).astype(np.int32),
        "prefill_len": d.rng.integers(0, 50, states).astype(np.int32),
        "num_computed_tokens": d.rng.integers(0, 50, states).astype(np.int32),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.prefill_inputs(
            a.idx_mapping, a.query_start_loc, a.all_token_ids, a.prefill_len,
            a.num_computed_tokens, a.input_ids, a.next_prefill_tokens,
        )  # fmt: skip

    outs = ("input_ids", "next_prefill_tokens")
    return PeerCase("prepare_prefill_inputs", arguments, expect, outs)


def case_pos_seq_lens(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    arguments = {
        "idx_mapping": idx, "query_start_loc": d.q,
        "num_computed_tokens": d.rng.integers(0, 4000, states).astype(np.int32),
        "pos": new(d.total + 2, dtype=np.int64), "seq_lens": new(d.R + 5),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.pos_seq_lens(
            a.idx_mapping, a.query_start_loc, a.num_computed_tokens, a.pos, a.seq_lens
        )

    return PeerCase("prepare_pos_seq_lens", arguments, expect, ("pos", "seq_lens"))


def case_sampled(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    new_tokens = d.some(0, 1)
    queries = d.q[1:] - d.q[:-1]
    numbers = np.minimum(queries, d.rng.integers(0, 3 + new_tokens, d.R))
    cu = np.concatenate([[0], np.cumsum(numbers)]).astype(np.int32)
    arguments = {
        "input_ids": new(d.total), "idx_mapping": idx,
        "last_sampled_tokens": d.rng.integers(0, 10**5, states), "query_start_loc": d.q,
        "seq_lens": d.S, "prefill_len": d.rng.integers(0, 500, states).astype(np.int32),
        "draft_tokens": d.rng.integers(0, 10**5, (states, 3)), "cu_num_logits": cu,
        "num_logits": int(cu[-1]), "num_new_sampled_tokens": new_tokens,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out = new(int(cu[-1]), dtype=np.int64)
        # Requests without a token have no last one.
        reference.sampled_and_draft_inputs(
            a.idx_mapping, a.query_start_loc, a.seq_lens, a.cu_num_logits, a.prefill_len,
            a.last_sampled_tokens, a.draft_tokens, a.input_ids, out, new_tokens,
        )  # fmt: skip
        return out

    # vLLM writes a sampled token also where a request has no logits.
    if new_tokens and (numbers == 0).any():
        arguments["prefill_len"][idx[numbers == 0]] = 10**6
    return PeerCase("combine_sampled_and_draft_tokens", arguments, expect, ("input_ids",))


def case_rejected(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    cu = np.concatenate([[0], np.cumsum(d.rng.integers(0, 5, d.R))]).astype(np.int32)
    arguments = {
        "num_sampled": d.rng.integers(0, 4, d.R).astype(np.int32), "seq_lens": d.S,
        "cu_num_logits": cu, "idx_mapping": idx,
        "prefill_len": d.rng.integers(0, 500, states).astype(np.int32),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        rejected = new(d.R)
        reference.sampled_and_rejected(
            a.num_sampled.copy(), a.seq_lens, a.cu_num_logits, a.idx_mapping, a.prefill_len,
            a.num_sampled, rejected,
        )  # fmt: skip
        return a.num_sampled, rejected

    outs = ("num_sampled",)
    return PeerCase("get_num_sampled_and_rejected", arguments, expect, outs)


def case_computed(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    arguments = {
        "idx_mapping": idx, "query_start_loc": d.q,
        "num_computed_tokens": d.rng.integers(0, 999, states).astype(np.int32),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        computed = a.num_computed_tokens
        reference.computed_tokens(a.idx_mapping, a.query_start_loc, computed.copy(), computed)

    outs = ("num_computed_tokens",)
    return PeerCase("post_update_num_computed_tokens", arguments, expect, outs)


def buffers(d: Draw) -> SimpleNamespace:
    return SimpleNamespace(
        input_ids=new(d.total + 9),
        positions=new(d.total + 9, dtype=np.int64),
        query_start_loc=new(d.R + 6),
        seq_lens=new(d.R + 5),
    )


BUFFER_OUTS = tuple(
    f"input_buffers.{name}"
    for name in ("input_ids", "positions", "query_start_loc", "seq_lens")
)


def case_draft_prefill(d: Draw) -> PeerCase:
    states, idx = states_of(d)
    queries = (d.q[1:] - d.q[:-1]).astype(np.int64)
    # vLLM writes before a request that has no token left.
    rejected = np.minimum(d.rng.integers(0, 3, d.R), np.maximum(queries - 1, 0))
    keep = queries > 0
    q = np.concatenate([[0], np.cumsum(queries[keep])]).astype(np.int32)
    R = int(keep.sum())
    batch = SimpleNamespace(
        num_reqs=R, idx_mapping=idx[:R], query_start_loc=q, seq_lens=d.S[keep],
        input_ids=d.rng.integers(0, 10**5, d.total).astype(np.int32),
        positions=d.rng.integers(0, 999, d.total),
    )  # fmt: skip
    arguments = {
        "last_token_indices": new(d.R + 5, dtype=np.int64), "current_draft_step": new(1),
        "input_buffers": buffers(d), "input_batch": batch,
        "num_sampled": d.rng.integers(0, 2, R).astype(np.int32),
        "num_rejected": rejected[keep].astype(np.int32),
        "last_sampled": d.rng.integers(0, 10**5, states),
        "next_prefill_tokens": d.rng.integers(0, 10**5, states).astype(np.int32),
        "max_num_reqs": d.R + 5,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        b, to = a.input_batch, a.input_buffers
        reference.draft_prefill_inputs(
            b.idx_mapping, b.query_start_loc, b.seq_lens, a.num_rejected, b.input_ids,
            b.positions, a.num_sampled, a.last_sampled, a.next_prefill_tokens, to.input_ids,
            to.positions, to.query_start_loc, to.seq_lens, a.last_token_indices,
            a.current_draft_step,
        )  # fmt: skip
        return a.last_token_indices

    outs = (*BUFFER_OUTS, "current_draft_step")
    return PeerCase("prepare_draft_prefill_inputs", arguments, expect, outs)


def case_draft_decode(d: Draw) -> PeerCase:
    made = buffers(d)
    made.positions = d.rng.integers(0, 513, d.total + d.R)
    made.input_ids = new(d.R + 2)
    arguments = {
        "draft_tokens": d.rng.integers(0, 10**5, (d.R, 3)), "target_seq_lens": d.S,
        "num_rejected": d.rng.integers(0, 3, d.R).astype(np.int32), "input_buffers": made,
        "sample_src_positions": d.rng.integers(0, 500, d.R), "max_model_len": 512,
        "max_num_reqs": d.R + 5, "advance_draft_positions": bool(d.some(0, 1)),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        to = a.input_buffers
        reference.draft_decode_inputs(
            a.target_seq_lens, a.num_rejected, 512, a.draft_tokens, to.positions.copy(),
            a.sample_src_positions.copy(), to.input_ids, to.positions,
            a.sample_src_positions, to.query_start_loc, to.seq_lens,
            a.advance_draft_positions,
        )  # fmt: skip

    outs = (*BUFFER_OUTS, "sample_src_positions")
    return PeerCase("prepare_draft_decode_inputs", arguments, expect, outs)


def case_update_draft(d: Draw) -> PeerCase:
    made = buffers(d)
    made.positions = d.rng.integers(0, 513, d.R + 2)
    made.seq_lens = d.rng.integers(0, 513, d.R + 5).astype(np.int32)
    made.input_ids = new(d.R + 2)
    steps, columns = 3, 24
    arguments = {
        "draft_tokens": d.rng.integers(0, 10**5, d.R),
        "current_draft_step": np.full(1, d.some(0, 1, steps - 1), np.int32),
        "hidden_states": d.rng.integers(0, 0x7F80, (d.R, columns)).astype(np.int16),
        "output_draft_tokens": new(d.R, steps, dtype=np.int64),
        "next_input_hidden_states": new(d.R + 2, columns, dtype=np.int16),
        "input_buffers": made, "sample_src_positions": d.rng.integers(0, 500, d.R),
        "num_reqs": d.R, "max_model_len": 512, "num_speculative_steps": steps,
        "advance_draft_positions": bool(d.some(0, 1)),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        to = a.input_buffers
        reference.draft_step_inputs(
            a.draft_tokens, a.current_draft_step, 512, steps, to.positions.copy(),
            a.sample_src_positions.copy(), to.seq_lens.copy(), a.output_draft_tokens,
            to.input_ids, to.positions, a.sample_src_positions, to.seq_lens,
            a.advance_draft_positions,
        )  # fmt: skip
        if a.current_draft_step[0] < steps - 1:
            a.next_input_hidden_states[: d.R] = a.hidden_states

    outs = (
        *BUFFER_OUTS, "sample_src_positions", "output_draft_tokens", "next_input_hidden_states",
    )  # fmt: skip
    return PeerCase("update_draft_inputs", arguments, expect, outs)


def case_eagle_step(d: Draw) -> PeerCase:
    arguments = {
        "positions_1d": d.rng.integers(0, 513, d.R), "block_table_tensor": d.table(d.R, 8),
        "seq_lens": d.S, "block_size": BLOCK, "max_model_len": 512,
        "out_clamped_positions": new(d.R, dtype=np.int64),
        "out_slot_mapping": new(d.R + 3, dtype=np.int64), "input_batch_size": d.R + 3,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.eagle_step(
            a.positions_1d, a.seq_lens.copy(), a.block_table_tensor, a.out_clamped_positions,
            a.out_slot_mapping, a.seq_lens, BLOCK, 512,
        )  # fmt: skip

    outs = ("out_clamped_positions", "out_slot_mapping", "seq_lens")
    name = "eagle_step_update_slot_mapping_and_metadata"
    return PeerCase(name, arguments, expect, outs)
