# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's decode tables and slot mappings."""

from __future__ import annotations

from typing import Any

from .. import vllm
from ._allocate import empty


def compute_token_to_req_indices(
    query_start_loc: Any, out: Any, num_mapped_tokens: int, num_tokens: int
) -> Any:
    """The request of each token, 0 from `num_mapped_tokens` on; returns ``out[:num_tokens]``.
    See ``nsa.vllm.token_to_req_indices``."""
    vllm.token_to_req_indices(
        query_start_loc, out, num_mapped_tokens=num_mapped_tokens, num_tokens=num_tokens
    )
    return out[:num_tokens]


def prepare_uniform_decode(
    seq_lens: Any,
    decode_seq_lens: Any,
    block_table: Any,
    expanded_block_table: Any,
    decode_lens: Any,
    num_decode_tokens: int,
    max_decode_len: int,
) -> None:
    """Rows of one token each of a decode of `max_decode_len` tokens a request. Also zeroes the
    rest of `decode_seq_lens`, which vLLM does after it. See ``nsa.vllm.uniform_decode``."""
    vllm.uniform_decode(
        seq_lens,
        next_n=max_decode_len,
        out_seq_lens=decode_seq_lens,
        block_table=block_table,
        out_block_table=expanded_block_table,
        out_decode_lens=decode_lens,
        num_reqs=num_decode_tokens // max_decode_len,
    )


def indexer_decode_metadata(
    query_start_loc: Any,
    seq_lens: Any,
    block_table: Any,
    output_seq_lens: Any,
    output_block_table: Any,
    decode_lens: Any,
    indices: Any,
    per_req_lens: Any,
    num_reqs: int,
    num_tokens: int,
) -> None:
    """Rows of one token each of a decode of any number of tokens a request: the arrays and
    counts of vLLM's ``_indexer_decode_metadata_kernel``. See ``nsa.vllm.varlen_decode``."""
    vllm.varlen_decode(
        query_start_loc,
        seq_lens,
        num_tokens=num_tokens,
        out_seq_lens=output_seq_lens,
        block_table=block_table,
        out_block_table=output_block_table,
        out_decode_lens=decode_lens,
        out_indices=indices,
        out_per_req_lens=per_req_lens,
        num_reqs=num_reqs,
    )


def get_compressed_slot_mapping(
    num_tokens: int,
    slot_mapping: Any,
    query_start_loc: Any,
    seq_lens: Any,
    block_table: Any,
    block_size: int,
    compress_ratio: int,
    out: Any = None,
    dcp_world_size: int = 1,
    cp_interleave: int = 1,
) -> Any:
    """The slots of the compressed states that `num_tokens` tokens store; all of `out` is
    written. Returns its first `num_tokens`. See ``nsa.vllm.compressed_slot_mapping``."""
    if out is None:
        out = empty((num_tokens,), query_start_loc, "int64")
    # Which of a state's tokens are a rank's own is in slot_mapping.
    vllm.compressed_slot_mapping(
        query_start_loc,
        seq_lens,
        slot_mapping,
        block_table,
        out,
        block_size=block_size,
        ratio=compress_ratio,
        context_parallel=(dcp_world_size, 0, cp_interleave),
    )
    return out[:num_tokens]


def gather_block_tables(
    tables: Any,
    idx_mapping: Any,
    num_reqs_padded: int,
    out: Any = None,
    out_ptrs: Any = None,
    num_computed_tokens: Any = None,
) -> tuple[Any, ...]:
    """A batch's rows of the block tables of all KV cache groups: vLLM's method of its
    ``BlockTables``, here `tables`. `out_ptrs` is not needed. Returns the first
    `num_reqs_padded` rows. See ``nsa.vllm.gather_block_tables``."""
    if not tables.num_kv_cache_groups:
        return ()
    rows = num_reqs_padded
    if out is None:
        out = tables.input_block_tables
        # Also what a larger batch left.
        rows = max(rows, tables._num_dirty_rows)
        tables._num_dirty_rows = idx_mapping.shape[0]
    vllm.gather_block_tables(
        idx_mapping,
        [table.gpu for table in tables.block_tables],
        tables.num_blocks.gpu,
        list(out),
        block_sizes=tables.block_sizes,
        num_rows=rows,
        num_computed_tokens=num_computed_tokens,
        reach=tables._sliding_window_reach,
    )
    return tuple(table[:num_reqs_padded] for table in out)


def compute_slot_mappings(
    tables: Any,
    idx_mapping: Any,
    query_start_loc: Any,
    positions: Any,
    num_tokens_padded: int,
    out: Any = None,
) -> Any:
    """The slots of a step's tokens in all KV cache groups: vLLM's method of its
    ``BlockTables``, here `tables`. Returns ``out[:, :num_tokens_padded]``. See
    ``nsa.vllm.slot_mappings``."""
    out = tables.slot_mappings if out is None else out
    if tables.num_kv_cache_groups:
        vllm.slot_mappings(
            idx_mapping,
            query_start_loc,
            positions,
            [table.gpu for table in tables.block_tables],
            list(out),
            block_sizes=tables.block_sizes,
            enabled=tables._slot_mapping_enabled,
            sharded=_sharded(tables),
            context_parallel=(tables.cp_size, tables.cp_rank, tables.cp_interleave),
        )
    return out[:, :num_tokens_padded]


def _sharded(tables: Any) -> list[bool] | None:
    """Which groups are; read from the device once."""
    if tables.cp_size == 1:
        return None
    known = getattr(tables, "_nsa_sharded", None)
    if known is None:
        known = tables._nsa_sharded = [bool(flag) for flag in tables.dcp_sharded.tolist()]
    return known


def prepare_dcp_local_seq_lens(
    dcp_local_seq_lens: Any,
    seq_lens: Any,
    num_reqs: int,
    dcp_size: int,
    dcp_rank: int,
    cp_interleave: int,
    *,
    num_reqs_padded: int | None = None,
) -> Any:
    """The rank's own part of lengths, 0 from `num_reqs` on; returns
    ``dcp_local_seq_lens[:num_reqs_padded]``. See ``nsa.vllm.dcp_local_seq_lens``."""
    vllm.dcp_local_seq_lens(
        seq_lens,
        dcp_local_seq_lens,
        context_parallel=(dcp_size, dcp_rank, cp_interleave),
        num_reqs=num_reqs,
    )
    return dcp_local_seq_lens[:num_reqs_padded]


def compute_kpool_tail_slot_mapping(
    slot_mapping: Any,
    block_table: Any,
    query_start_loc: Any,
    positions: Any,
    num_actual_tokens: int,
    num_reqs: int,
    kpool: int,
    out: Any = None,
) -> Any:
    """The slots of tokens in their request's one block; returns `out`. See
    ``nsa.vllm.kpool_tail_slot_mapping``."""
    if out is None:
        out = empty(slot_mapping.shape, slot_mapping, "int64")
    vllm.kpool_tail_slot_mapping(
        query_start_loc,
        positions,
        slot_mapping,
        block_table,
        out,
        kpool=kpool,
        num_actual_tokens=num_actual_tokens,
        num_reqs=num_reqs,
    )
    return out
