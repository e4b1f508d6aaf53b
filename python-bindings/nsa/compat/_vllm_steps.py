# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's input batch and its speculative decoding."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ._allocate import empty


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
