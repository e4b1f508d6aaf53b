# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's index lists."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ..vllm._indices import COLUMNS
from ..vllm._usual import BLOCK_SIZES
from ._allocate import columns_of, empty, flat, rows

_COMBINED_MULTIPLE = 128
#: Tokens in pages of lists, and compressed ones, of which kernels are shipped.
_BLOCK_SIZES = (BLOCK_SIZES[0], BLOCK_SIZES[1] // 4)
#: By the bytes of a token: V4's layout, V4.1's with its scales beside the numbers, and its nvfp4.
_LAYOUTS = {
    584: "v4",
    528: "data_bytes = 528, fields = [e4m3[512] at 0], "
    "scales = ue8m0[16] at 512 per 32 inline, page_multiple = 1",
    288: "v41_nvfp4",
}


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


def _columns(block_size: int, *arrays: Any) -> int | None:
    """Their columns, where a kernel for them is shipped."""
    if block_size not in _BLOCK_SIZES:
        return None
    tokens = arrays[0].shape[0]
    columns = columns_of(*arrays)
    return columns if columns in COLUMNS and all(a.shape[0] >= tokens for a in arrays) else None


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
    columns = None
    if context_parallel[0] == 1 and block_stride is None and (
        more.get("workspace_starts") is None
    ):
        columns = _columns(block_size, token_indices, out, req_id, *([counts] if count else []))
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
        columns=columns,
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
    chosen, slots = rows(topk_indices), rows(indices)
    vllm.global_topk_indices(
        chosen,
        token_to_req_indices,
        block_table,
        slots,
        lens,
        block_size=block_size,
        is_valid=is_valid_token,
        columns=_columns(
            block_size, chosen, slots, token_to_req_indices, is_valid_token, lens
        ),
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


def prepare_sparse_mla_safe_lengths(physical_indices: Any, valid_counts: Any) -> Any:
    """Lengths of 1 at least, and an index 0 where there is none; returns the lengths. See
    ``nsa.vllm.safe_lengths``."""
    out = empty(valid_counts.shape, valid_counts)
    vllm.safe_lengths(valid_counts, rows(physical_indices), out)
    return out


def build_prefill_chunk(
    query_start_loc: Any,
    uncompressed_seq_lens: Any,
    cu_compressed_seq_lens: Any,
    row_start_cu_compressed_seq_lens: Any,
    token_to_seq: Any,
    cu_compressed_seq_len_ks: Any,
    cu_compressed_seq_len_ke: Any,
    query_slice_start: int,
    query_slice_stop: int,
    DCP_RANK: int,
    DCP_WORLD: int,
    DCP_INTERLEAVE: int,
    *,
    num_reqs: int,
    COMPRESS_RATIO: int,
) -> None:
    """Which of a chunk's keys each query sees, by sums of keys that are known:
    ``_BUILD_PREFILL_CHUNK_METADATA_KERNEL`` of vLLM. ``nsa.vllm.prefill_chunk``, which it
    runs, makes the sums as well."""
    vllm.prefill_chunk(
        query_start_loc,
        uncompressed_seq_lens,
        ratio=COMPRESS_RATIO,
        cu_seq_lens=cu_compressed_seq_lens,
        local_cu_seq_lens=row_start_cu_compressed_seq_lens,
        out_ks=cu_compressed_seq_len_ks,
        out_ke=cu_compressed_seq_len_ke,
        out_token_to_seq=token_to_seq,
        context_parallel=(DCP_WORLD, DCP_RANK, DCP_INTERLEAVE),
        first_row=query_slice_start,
        num_rows=query_slice_stop - query_slice_start,
        num_reqs=num_reqs,
    )


def dequantize_and_gather_k_cache(
    out: Any,
    k_cache: Any,
    seq_lens: Any,
    gather_lens: Any,
    block_table: Any,
    block_size: int,
    offset: int,
    use_fnuz: bool = False,
    max_gather_len: int | None = None,
) -> None:
    """The last tokens of requests as rows of a workspace [requests, rows, 512], of V4 and
    V4.1. `max_gather_len` is not needed. See ``nsa.vllm.dequantize_and_gather``."""
    layout = _LAYOUTS.get(k_cache.shape[-1])
    if layout is None or use_fnuz:
        what = "use_fnuz" if use_fnuz else "k_cache"
        raise NotImplementedError(
            f"argument {what!r}: expected a cache of V4 (584 bytes a token) or of V4.1 in fp8"
            f" (528) or nvfp4 (288), and OCP's numbers, but got {k_cache.shape[-1]} bytes, {use_fnuz=}"
        )
    requests, stride, _ = out.shape
    vllm.dequantize_and_gather(
        _pages(k_cache),
        seq_lens,
        block_table,
        flat(out),
        layout=layout,
        block_size=block_size,
        workspace_stride=stride,
        gather_lens=gather_lens,
        offset=offset,
        num_reqs=requests,
    )


def _pages(k_cache: Any) -> Any:
    """A cache [pages, tokens, bytes] as pages of bytes, with what is between them."""
    if hasattr(k_cache, "as_strided"):
        stride = k_cache.stride(0)
        return k_cache.as_strided((k_cache.shape[0], stride), (stride, 1))
    return k_cache.reshape(k_cache.shape[0], -1)
