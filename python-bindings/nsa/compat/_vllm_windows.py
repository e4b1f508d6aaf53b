# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's sliding windows."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ._allocate import rows

_NONCAUSAL_MULTIPLE = 64


def get_dspark_swa_index_width(window_size: int, num_speculative_tokens: int) -> int:
    """The columns of windows that see all of a draft."""
    width = max(window_size, 0) + max(num_speculative_tokens, 0)
    return -(-width // _NONCAUSAL_MULTIPLE) * _NONCAUSAL_MULTIPLE


def compute_swa_indices_and_lens(
    swa_indices: Any,
    swa_lens: Any,
    window_size: int,
    index_width: int,
    left_visible: Any,
    right_visible: Any,
    query_start_loc: Any,
    seq_lens: Any,
    token_to_req_indices: Any,
    is_valid_token: Any,
    block_table: Any,
    block_size: int,
    replay_start: Any,
    *,
    num_tokens: int,
    token_offset: int,
    has_image: bool = False,
) -> None:
    """The slots of causal windows. `left_visible` and `right_visible` are read if `has_image`
    is set. See ``nsa.vllm.swa_indices``."""
    vllm.swa_indices(
        query_start_loc,
        seq_lens,
        block_table,
        rows(swa_indices),
        swa_lens,
        window=window_size,
        block_size=block_size,
        is_valid=is_valid_token,
        replay_start=replay_start,
        left_visible=left_visible if has_image else None,
        right_visible=right_visible if has_image else None,
        token_to_req=token_to_req_indices,
        first_token=token_offset,
        num_tokens=num_tokens,
        width=index_width,
    )


def compute_dspark_noncausal_swa_indices(
    swa_indices: Any,
    swa_lens: Any,
    window_size: int,
    index_width: int,
    query_start_loc: Any,
    seq_lens: Any,
    token_to_req_indices: Any,
    is_valid_token: Any,
    block_table: Any,
    block_size: int,
    *,
    num_tokens: int,
    token_offset: int,
) -> None:
    """The slots of windows that see all of a request's tokens. See
    ``nsa.vllm.swa_noncausal_indices``."""
    vllm.swa_noncausal_indices(
        query_start_loc,
        seq_lens,
        block_table,
        rows(swa_indices),
        swa_lens,
        window=window_size,
        block_size=block_size,
        is_valid=is_valid_token,
        token_to_req=token_to_req_indices,
        first_token=token_offset,
        num_tokens=num_tokens,
        width=index_width,
    )


def compute_prefill_metadata(
    prefill_gather_lens: Any,
    seq_lens: Any,
    query_start_loc: Any,
    replay_start: Any,
    num_prefills: int,
    num_decodes: int,
    window_size: int,
) -> None:
    """How many tokens each prefill's windows span. See ``nsa.vllm.prefill_gather_lens``."""
    vllm.prefill_gather_lens(
        query_start_loc,
        seq_lens,
        prefill_gather_lens,
        window=window_size,
        replay_start=replay_start,
        first_req=num_decodes,
        num_reqs=num_decodes + num_prefills,
    )


def compute_image_visibility(
    left_visible: Any,
    right_visible: Any,
    span_indptr: Any,
    span_starts: Any,
    span_ends: Any,
    query_start_loc: Any,
    seq_lens: Any,
    token_to_req_indices: Any,
    max_image_tokens: int,
    token_offset: int,
    num_tokens: int | None = None,
) -> None:
    """What each token sees of its image, in elements `token_offset` to `token_offset` +
    `num_tokens` (left out: to the end): the arguments of vLLM's
    ``_compute_image_visibility_kernel``, and its grid. `token_to_req_indices` is not read. See
    ``nsa.vllm.image_visible``."""
    vllm.image_visible(
        query_start_loc,
        seq_lens,
        span_indptr,
        span_starts,
        span_ends,
        left_visible[token_offset:],
        right_visible[token_offset:],
        max_image_tokens=max_image_tokens,
        first_token=token_offset,
        num_tokens=num_tokens,
    )
