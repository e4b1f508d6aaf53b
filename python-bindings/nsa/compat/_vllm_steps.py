# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's input batch and its speculative decoding."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ._allocate import apart, as_words, copy, empty


def expand_idx_mapping(
    idx_mapping: Any, total_num_logits: int, cu_num_logits: Any, max_expand_len: int
) -> tuple[Any, Any]:
    """The state and the number in its request of each row of logits; new arrays.
    `max_expand_len` is not needed. See ``nsa.vllm.expand_idx_mapping``."""
    out = empty((total_num_logits,), idx_mapping)
    local = empty((total_num_logits,), idx_mapping)
    vllm.expand_idx_mapping(idx_mapping, cu_num_logits, out, local)
    return out, local


def eagle_prepare_inputs_padded(
    cu_num_draft_tokens: Any,
    valid_sampled_tokens_count: Any,
    query_start_loc: Any,
    token_indices_to_sample: Any,
    num_rejected_tokens: Any,
    num_reqs: int,
) -> None:
    """Where the last accepted tokens are: vLLM's ``_eagle_prepare_inputs_padded``. See
    ``nsa.vllm.eagle_sampling_indices``."""
    vllm.eagle_sampling_indices(
        cu_num_draft_tokens,
        valid_sampled_tokens_count,
        query_start_loc,
        token_indices_to_sample,
        num_rejected_tokens,
        num_reqs=num_reqs,
    )


def eagle_prepare_next_token_padded(
    sampled_token_ids: Any,
    discard_request_mask: Any,
    backup_next_token_ids: Any,
    next_token_ids: Any,
    valid_sampled_tokens_count: Any,
    vocab_size: int,
    num_sampled_tokens_per_req: int,
    num_reqs: int,
    stride_sampled_token_ids: int | None = None,
    *,
    BLOCK_SIZE_TOKENS: int | None = None,
) -> None:
    """The tokens that requests go on with: vLLM's ``_eagle_prepare_next_token_padded``, whose
    stride and block size are not needed. See ``nsa.vllm.eagle_next_tokens``."""
    vllm.eagle_next_tokens(
        sampled_token_ids[:, :num_sampled_tokens_per_req],
        discard_request_mask,
        backup_next_token_ids,
        next_token_ids,
        valid_sampled_tokens_count,
        vocab_size=vocab_size,
        num_reqs=num_reqs,
    )


def prepare_prefill_inputs(
    input_ids: Any,
    next_prefill_tokens: Any,
    idx_mapping: Any,
    query_start_loc: Any,
    all_token_ids: Any,
    prefill_len: Any,
    num_computed_tokens: Any,
) -> None:
    """The tokens of requests in their prompt. See ``nsa.vllm.prefill_inputs``."""
    vllm.prefill_inputs(
        idx_mapping,
        query_start_loc,
        all_token_ids,
        prefill_len,
        num_computed_tokens,
        input_ids,
        next_prefill_tokens,
    )


def prepare_pos_seq_lens(
    idx_mapping: Any, query_start_loc: Any, num_computed_tokens: Any, pos: Any, seq_lens: Any
) -> None:
    """Positions of a batch's tokens, and lengths. See ``nsa.vllm.pos_seq_lens``."""
    vllm.pos_seq_lens(idx_mapping, query_start_loc, num_computed_tokens, pos, seq_lens)


def combine_sampled_and_draft_tokens(
    input_ids: Any,
    idx_mapping: Any,
    last_sampled_tokens: Any,
    query_start_loc: Any,
    seq_lens: Any,
    prefill_len: Any,
    draft_tokens: Any,
    cu_num_logits: Any,
    num_logits: int,
    num_new_sampled_tokens: int = 1,
) -> Any:
    """The sampled tokens and the drafts among `input_ids`; returns the tokens of the rows of
    logits, a new array. See ``nsa.vllm.sampled_and_draft_inputs``."""
    out = empty((num_logits,), input_ids, "int64")
    vllm.sampled_and_draft_inputs(
        idx_mapping,
        query_start_loc,
        seq_lens,
        cu_num_logits,
        prefill_len=prefill_len,
        last_sampled_tokens=last_sampled_tokens,
        draft_tokens=draft_tokens,
        out_input_ids=input_ids,
        out_logits_indices=out,
        num_sampled=num_new_sampled_tokens,
        num_reqs=idx_mapping.shape[0],
    )
    return out


def get_num_sampled_and_rejected(
    num_sampled: Any, seq_lens: Any, cu_num_logits: Any, idx_mapping: Any, prefill_len: Any
) -> tuple[Any, Any]:
    """How many tokens were sampled, in place, and how many rejected, a new array. See
    ``nsa.vllm.sampled_and_rejected``."""
    rejected = empty(num_sampled.shape, num_sampled)
    vllm.sampled_and_rejected(
        copy(num_sampled),
        seq_lens,
        cu_num_logits,
        idx_mapping,
        prefill_len,
        num_sampled,
        rejected,
    )
    return num_sampled, rejected


def post_update_num_computed_tokens(
    idx_mapping: Any, num_computed_tokens: Any, query_start_loc: Any
) -> None:
    """Adds a step's tokens to those that are computed, in place. See
    ``nsa.vllm.computed_tokens``."""
    vllm.computed_tokens(
        idx_mapping, query_start_loc, copy(num_computed_tokens), num_computed_tokens
    )


def prepare_draft_prefill_inputs(
    last_token_indices: Any,
    current_draft_step: Any,
    input_buffers: Any,
    input_batch: Any,
    num_sampled: Any,
    num_rejected: Any,
    last_sampled: Any,
    next_prefill_tokens: Any,
    max_num_reqs: int,
) -> Any:
    """The inputs of a draft model's first step: ``prepare_prefill_inputs`` of vLLM's
    speculator. Returns `last_token_indices`. See ``nsa.vllm.draft_prefill_inputs``."""
    vllm.draft_prefill_inputs(
        input_batch.idx_mapping,
        input_batch.query_start_loc,
        input_batch.seq_lens,
        num_rejected,
        input_ids=input_batch.input_ids,
        positions=input_batch.positions,
        num_sampled=num_sampled,
        last_sampled=last_sampled,
        next_prefill_tokens=next_prefill_tokens,
        out_input_ids=input_buffers.input_ids,
        out_positions=input_buffers.positions,
        out_query_start_loc=input_buffers.query_start_loc[: max_num_reqs + 1],
        out_seq_lens=input_buffers.seq_lens[:max_num_reqs],
        out_last_token_indices=last_token_indices[:max_num_reqs],
        out_current_step=current_draft_step.reshape(1),
        num_reqs=input_batch.num_reqs,
    )
    return last_token_indices


def prepare_draft_decode_inputs(
    draft_tokens: Any,
    target_seq_lens: Any,
    num_rejected: Any,
    input_buffers: Any,
    sample_src_positions: Any,
    max_model_len: int,
    max_num_reqs: int,
    advance_draft_positions: bool = True,
) -> None:
    """The inputs of a draft model's second step: ``prepare_decode_inputs`` of vLLM's
    speculator. See ``nsa.vllm.draft_decode_inputs``."""
    num_reqs, positions = draft_tokens.shape[0], input_buffers.positions
    vllm.draft_decode_inputs(
        target_seq_lens,
        num_rejected,
        max_model_len=max_model_len,
        draft_tokens=draft_tokens,
        positions=positions,
        sample_positions=sample_src_positions,
        out_input_ids=input_buffers.input_ids,
        out_positions=positions,
        out_sample_positions=sample_src_positions,
        out_query_start_loc=input_buffers.query_start_loc[: max_num_reqs + 1],
        out_seq_lens=input_buffers.seq_lens[:max_num_reqs],
        advance=advance_draft_positions,
        num_reqs=num_reqs,
    )


def update_draft_inputs(
    draft_tokens: Any,
    current_draft_step: Any,
    hidden_states: Any,
    output_draft_tokens: Any,
    next_input_hidden_states: Any,
    input_buffers: Any,
    sample_src_positions: Any,
    num_reqs: int,
    max_model_len: int,
    num_speculative_steps: int,
    advance_draft_positions: bool = True,
) -> None:
    """From one draft step to the next one: ``update_draft_inputs`` of vLLM's speculator. See
    ``nsa.vllm.draft_step_inputs``."""
    buffers, advance = input_buffers, advance_draft_positions
    positions = buffers.positions if advance else None
    lens = buffers.seq_lens if advance else None
    vllm.draft_step_inputs(
        draft_tokens,
        current_draft_step.reshape(1),
        max_model_len=max_model_len,
        num_steps=num_speculative_steps,
        positions=positions,
        sample_positions=sample_src_positions,
        seq_lens=lens,
        out_draft_tokens=output_draft_tokens,
        out_input_ids=buffers.input_ids,
        out_positions=positions,
        out_sample_positions=sample_src_positions,
        out_seq_lens=lens,
        hidden_states=as_words(hidden_states[:num_reqs]),
        out_hidden_states=as_words(next_input_hidden_states),
        num_reqs=num_reqs,
    )


def eagle_step_update_slot_mapping_and_metadata(
    positions_1d: Any,
    block_table_tensor: Any,
    seq_lens: Any,
    block_size: int,
    max_model_len: int,
    out_clamped_positions: Any,
    out_slot_mapping: Any,
    input_batch_size: int | None = None,
) -> None:
    """One token more for each request; `seq_lens` in place. See ``nsa.vllm.eagle_step``."""
    batch_size = positions_1d.shape[0]
    vllm.eagle_step(
        apart(positions_1d, out_clamped_positions),
        seq_lens,
        block_table_tensor,
        out_clamped_positions,
        out_slot_mapping,
        seq_lens,
        block_size=block_size,
        max_model_len=max_model_len,
        num_slots=batch_size if input_batch_size is None else input_batch_size,
    )
