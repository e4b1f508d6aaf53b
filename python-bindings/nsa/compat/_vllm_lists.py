# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's index lists."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ._allocate import empty, rows

_COMBINED_MULTIPLE = 128


def triton_convert_req_index_to_global_index(
    req_id: Any,
    block_table: Any,
    token_indices: Any,
    BLOCK_SIZE: int = 64,
    BLOCK_STRIDE_ROWS: int | None = None,
    NUM_TOPK_TOKENS: int = 2048,
    BLOCK_N: int = 128,
    HAS_PREFILL_WORKSPACE: bool = False,
    prefill_workspace_request_ids: Any = None,
    prefill_workspace_starts: Any = None,
    prefill_workspace_rank_stride: int | None = None,
    dcp_size: int = 1,
    dcp_rank: int = 0,
    cp_kv_cache_interleave_size: int = 1,
    return_valid_counts: bool = False,
    out: Any = None,
    valid_counts_out: Any = None,
    idx_mapping: Any = None,
) -> Any:
    """Positions in requests as slots of the cache; with `return_valid_counts` those that have
    none go to the end, and the others keep their order. Returns (indices, counts) then, else
    the indices. `NUM_TOPK_TOKENS` and `BLOCK_N` are not needed. See
    ``nsa.vllm.req_to_global``."""
    return _convert(
        req_id,
        block_table,
        token_indices,
        BLOCK_SIZE,
        BLOCK_STRIDE_ROWS,
        (dcp_size, dcp_rank, cp_kv_cache_interleave_size),
        compact=return_valid_counts,
        count=return_valid_counts,
        out=out,
        counts=valid_counts_out,
        idx_mapping=idx_mapping,
        prefill_request_ids=prefill_workspace_request_ids if HAS_PREFILL_WORKSPACE else None,
        workspace_starts=prefill_workspace_starts if HAS_PREFILL_WORKSPACE else None,
        workspace_rank_stride=prefill_workspace_rank_stride or 0,
    )


def triton_filter_and_convert_dcp_index(
    req_id: Any,
    block_table: Any,
    token_indices: Any,
    dcp_size: int,
    dcp_rank: int,
    cp_kv_cache_interleave_size: int = 1,
    BLOCK_SIZE: int = 64,
    BLOCK_STRIDE_ROWS: int | None = None,
    NUM_TOPK_TOKENS: int = 2048,
    BLOCK_N: int = 128,
    return_valid_counts: bool = False,
    compact_valid_to_front: bool = True,
) -> Any:
    """The rank's own tokens among those chosen, as slots of its cache; those of other ranks
    are -1, at the end if `compact_valid_to_front` is set. See ``nsa.vllm.req_to_global``."""
    # Without ranks vLLM goes by the counts.
    compact = compact_valid_to_front if dcp_size > 1 else return_valid_counts
    return _convert(
        req_id,
        block_table,
        token_indices,
        BLOCK_SIZE,
        BLOCK_STRIDE_ROWS,
        (dcp_size, dcp_rank, cp_kv_cache_interleave_size),
        compact=compact,
        count=return_valid_counts,
    )


def _convert(
    req_id: Any,
    block_table: Any,
    token_indices: Any,
    block_size: int,
    block_stride: int | None,
    context_parallel: tuple[int, int, int],
    *,
    compact: bool,
    count: bool,
    out: Any = None,
    counts: Any = None,
    **more: Any,
) -> Any:
    if out is None:
        out = empty(token_indices.shape, token_indices)
    if count and counts is None:
        counts = empty(token_indices.shape[:1], token_indices)
    vllm.req_to_global(
        req_id,
        block_table,
        token_indices,
        out,
        block_size=block_size,
        block_stride=block_stride,
        compact=compact,
        out_counts=counts if count else None,
        context_parallel=context_parallel,
        **more,
    )
    return (out, counts) if count else out


def compute_global_topk_indices_and_lens(
    topk_indices: Any,
    token_to_req_indices: Any,
    block_table: Any,
    block_size: int,
    is_valid_token: Any,
) -> tuple[Any, Any]:
    """Places among compressed tokens as slots, and how many there are. Returns new arrays. See
    ``nsa.vllm.global_topk_indices``."""
    indices = empty(topk_indices.shape, topk_indices)
    lens = empty(topk_indices.shape[:1], topk_indices)
    vllm.global_topk_indices(
        rows(topk_indices),
        token_to_req_indices,
        block_table,
        rows(indices),
        lens,
        block_size=block_size,
        is_valid=is_valid_token,
    )
    return indices, lens


def combine_topk_swa_indices(
    topk_indices: Any,
    query_start_loc: Any,
    seq_lens: Any,
    gather_lens: Any,
    window_size: int,
    compress_ratio: int,
    topk: int,
    M: int,
    N: int,
    out: tuple[Any, Any] | None = None,
    left_visible: Any = None,
    right_visible: Any = None,
    max_image_tokens: int = 0,
) -> tuple[Any, Any]:
    """The workspace rows that each query of a chunk attends to, of V4 and V4.1. Returns
    (indices, lens), new ones if `out` is None. See ``nsa.vllm.combine_topk_swa_indices``."""
    num_tokens = topk_indices.shape[0]
    if out is None:
        width = topk + window_size + max_image_tokens
        width = -(-width // _COMBINED_MULTIPLE) * _COMBINED_MULTIPLE
        out = (
            empty((num_tokens, width), topk_indices),
            empty((num_tokens,), topk_indices),
        )
    indices, lens = out
    vllm.combine_topk_swa_indices(
        topk_indices,
        query_start_loc,
        seq_lens,
        gather_lens,
        rows(indices),
        lens,
        window=window_size,
        ratio=compress_ratio,
        topk=topk,
        workspace_stride=M,
        window_offset=N,
        left_visible=left_visible,
        right_visible=right_visible,
        max_image_tokens=max_image_tokens,
        num_tokens=num_tokens,
    )
    return indices, lens


def build_c128a_topk_metadata(
    positions: Any,
    compress_ratio: int,
    num_decode_tokens: int,
    token_to_req_indices: Any,
    block_table: Any,
    block_size: int,
    slot_mapping: Any,
    global_decode_buffer: Any,
    decode_lens_buffer: Any,
    prefill_buffer: Any,
    max_compressed_tokens: int = 8192,
) -> tuple[Any, Any, Any]:
    """All compressed tokens of layers that keep one of 128. Returns views of the buffers:
    slots of decodes and how many, places of prefills. See ``nsa.vllm.c128a_indices``."""
    if compress_ratio != 128:
        raise NotImplementedError(
            f"argument 'compress_ratio': expected 128 but got {compress_ratio!r}"
        )
    num_tokens = positions.shape[0]
    vllm.c128a_indices(
        positions,
        num_decode_tokens=num_decode_tokens,
        width=max_compressed_tokens,
        token_to_req=token_to_req_indices,
        block_table=block_table,
        slot_mapping=slot_mapping,
        out_decode_indices=global_decode_buffer,
        out_decode_lens=decode_lens_buffer,
        out_prefill_indices=prefill_buffer,
        block_size=block_size,
    )
    return (
        global_decode_buffer[:num_decode_tokens, :max_compressed_tokens],
        decode_lens_buffer[:num_decode_tokens],
        prefill_buffer[: num_tokens - num_decode_tokens, :max_compressed_tokens],
    )
