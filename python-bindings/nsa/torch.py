# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of ``nsa.ops`` as custom operators of torch, ``torch.ops.nsa.*``.

    import nsa.torch
    nsa.torch.replay_metadata(dsts, "decode", seq_lens=..., ...)    # as nsa.ops has it

What an operator writes is declared, and it has a fake kernel, so that ``torch.compile`` keeps
it in a graph and in its place; it launches on torch's current stream, allocates nothing and
waits for nothing, so that a CUDA graph captures it. The functions here have the arguments of
those in ``nsa.ops``, but for ``stream`` and ``schedules`` (dicts of numbers and arrays), and
make the flat argument lists that an operator needs: sets of fields are their arrays, and
their names as ``a,b;c``. Errors are those of ``nsa.ops``, all of whose operations are here.

Importing this module needs torch (2.4 or later); nothing else of the package does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import ops
from ._errors import wrong
from ._metadata import parse_fields
from ._replay import replay_flat

__all__ = [
    "build_compressed_token_ids",
    "build_ragged_compressed_ids",
    "build_swa_token_ids",
    "combine_topk_swa_indices",
    "copy_metadata",
    "dequantize_k_cache_paged",
    "dsa_prefill",
    "expand_seqlens",
    "flashmla_schedule",
    "pack_sparse_tail",
    "paged_mqa_schedule",
    "plan_topk",
    "prefill_v4",
    "replay_metadata",
    "replay_v4",
    "transform_index",
    "window_layout",
]

# Schemas have no argument `mode`: torch's own dispatch to modes takes one of that name.
_library = torch.library.Library("nsa", "DEF")


def _register(schema: str, run: Callable[..., None]) -> Callable[..., None]:
    """Defines an operator; returns the overload that calls it."""
    name = schema.partition("(")[0]
    _library.define(f"{schema} -> ()")
    # One function for every device: arrays say for themselves where they are.
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"nsa::{name}", _fake, lib=_library)
    return getattr(torch.ops.nsa, name).default


def _fake(*args: Any, **kwargs: Any) -> None:
    """Results are where the caller wants them: there is nothing to make."""


# ----------------------------------------------------------------------------
# Sets of fields: their arrays, and their names in one text, as torch passes one faster than many
# ----------------------------------------------------------------------------


def _flatten(sets: Sequence[Mapping[str, Tensor]]) -> tuple[list[Tensor], str]:
    """(arrays, names): ``a,b;c`` of two sets."""
    arrays = [array for fields in sets for array in fields.values()]
    return arrays, ";".join([",".join(list(fields)) for fields in sets])


def _unflatten(arrays: list[Tensor], fields: str) -> list[dict[str, Tensor]]:
    rest = iter(arrays)
    return [dict(zip(names, rest)) for names in parse_fields(fields)]


def _run_replay(
    outputs: list[Tensor], fields: str, forward_mode: str, seq_lens: Tensor,
    req_pool_indices: Tensor | None, req_to_token: Tensor | None,
    extend_seq_lens: Tensor | None, extend_seq_len: int | None, max_len: int | None,
    topk: int | None, page_size: int | None, next_n: int, live_only: bool,
    row_bound: int | None, index_kpool: int, bs: int | None, since: Tensor | None,
    new_columns: int | None,
) -> None:  # fmt: skip
    extend = extend_seq_len if extend_seq_lens is None else extend_seq_lens
    if since is not None or index_kpool != 1:
        return ops.replay_metadata(
            _unflatten(outputs, fields),
            forward_mode,
            seq_lens=seq_lens,
            req_pool_indices=req_pool_indices,
            req_to_token=req_to_token,
            extend_seq_lens=extend,
            max_len=max_len,
            topk=topk,
            page_size=page_size,
            next_n=next_n,
            live_only=live_only,
            row_bound=row_bound,
            index_kpool=index_kpool,
            bs=bs,
            since=since,
            new_columns=new_columns,
        )
    replay_flat(
        outputs, fields, forward_mode, (seq_lens, extend, req_pool_indices, req_to_token), bs,
        max_len, row_bound, topk, page_size, next_n, live_only,
    )  # fmt: skip


_replay = _register(
    "replay_metadata(Tensor(a!)[] outputs, str fields, str forward_mode, Tensor seq_lens,"
    " Tensor? req_pool_indices, Tensor? req_to_token, Tensor? extend_seq_lens,"
    " SymInt? extend_seq_len, SymInt? max_len, int? topk, int? page_size, int next_n,"
    " bool live_only, SymInt? row_bound, int index_kpool, SymInt? bs, Tensor? since,"
    " SymInt? new_columns)",
    _run_replay,
)


def replay_metadata(
    dsts: Sequence[Mapping[str, Tensor]],
    mode: str = "decode",
    *,
    seq_lens: Tensor,
    req_pool_indices: Tensor | None = None,
    req_to_token: Tensor | None = None,
    extend_seq_lens: Tensor | int | None = None,
    max_len: int | None = None,
    topk: int | None = None,
    page_size: int | None = None,
    next_n: int = 1,
    live_only: bool = False,
    row_bound: int | None = None,
    index_kpool: int = 1,
    bs: int | None = None,
    since: Tensor | None = None,
    new_columns: int | None = None,
) -> None:
    """``nsa.ops.replay_metadata``."""
    is_array = isinstance(extend_seq_lens, Tensor)
    _replay(
        *_flatten(dsts), mode, seq_lens, req_pool_indices, req_to_token,
        extend_seq_lens if is_array else None, None if is_array else extend_seq_lens,
        max_len, topk, page_size, next_n, live_only, row_bound, index_kpool, bs, since,
        new_columns,
    )  # fmt: skip


def _run_replay_v4(
    outputs: list[Tensor], fields: str, forward_mode: str, seq_lens: Tensor,
    req_pool_indices: Tensor | None, req_to_token: Tensor | None, full_to_swa: Tensor | None,
    out_cache_loc: Tensor | None, extend_seq_lens: Tensor | None, next_n: int, rows: int | None,
    num_tokens: int | None, max_len: int | None, topk: int, page_size: int, window: int,
    index_page_size: int, floors: Tensor | None, rings: list[int], swa_page_size: int,
    request_ring: bool, plans_in_place: bool, online_offset: int | None, steps: int,
    request_window: list[int] | None, ring: int | None, valid_from: Tensor | None,
    page_table: Tensor | None, tail_rows: int | None, whole: Tensor | None, ranks: int,
    rank: int, rank_tail_rows: int | None, bs: int | None,
) -> None:  # fmt: skip
    kept = None
    if request_window is not None:
        kept = dict(zip(("groups", "zero_row", "capacity"), request_window))
    ops.replay_v4(
        _unflatten(outputs, fields), forward_mode, seq_lens=seq_lens,
        req_pool_indices=req_pool_indices, req_to_token=req_to_token, full_to_swa=full_to_swa,
        out_cache_loc=out_cache_loc, extend_seq_lens=extend_seq_lens, next_n=next_n, rows=rows,
        num_tokens=num_tokens, max_len=max_len, topk=topk, page_size=page_size, window=window,
        index_page_size=index_page_size, floors=floors, rings=(rings[0], rings[1]),
        swa_page_size=swa_page_size, request_ring=request_ring,
        plans_in_place=plans_in_place, online_offset=online_offset, steps=steps,
        request_window=kept, ring=ring, valid_from=valid_from, page_table=page_table,
        tail_rows=tail_rows, whole=whole, ranks=ranks, rank=rank,
        rank_tail_rows=rank_tail_rows, bs=bs,
    )  # fmt: skip


_replay_v4 = _register(
    "replay_v4(Tensor(a!)[] outputs, str fields, str forward_mode, Tensor seq_lens,"
    " Tensor? req_pool_indices, Tensor? req_to_token, Tensor? full_to_swa,"
    " Tensor? out_cache_loc, Tensor? extend_seq_lens, int next_n, SymInt? rows,"
    " SymInt? num_tokens, SymInt? max_len, int topk, int page_size, int window,"
    " int index_page_size, Tensor? floors, int[] rings, int swa_page_size, bool request_ring,"
    " bool plans_in_place, int? online_offset, int steps, SymInt[]? request_window, int? ring,"
    " Tensor? valid_from, Tensor? page_table, SymInt? tail_rows, Tensor? whole, int ranks,"
    " int rank, SymInt? rank_tail_rows, SymInt? bs)",
    _run_replay_v4,
)


def replay_v4(
    dsts: Sequence[Mapping[str, Tensor]],
    mode: str = "decode",
    *,
    seq_lens: Tensor,
    req_pool_indices: Tensor | None = None,
    req_to_token: Tensor | None = None,
    full_to_swa: Tensor | None = None,
    out_cache_loc: Tensor | None = None,
    extend_seq_lens: Tensor | None = None,
    next_n: int = 1,
    rows: int | None = None,
    num_tokens: int | None = None,
    max_len: int | None = None,
    topk: int = 512,
    page_size: int = 256,
    window: int = 128,
    index_page_size: int = 64,
    floors: Tensor | None = None,
    rings: tuple[int, int] = (8, 128),
    swa_page_size: int = 128,
    request_ring: bool = False,
    plans_in_place: bool = False,
    online_offset: int | None = None,
    steps: int = 1,
    request_window: Mapping[str, int] | None = None,
    ring: int | None = None,
    valid_from: Tensor | None = None,
    page_table: Tensor | None = None,
    tail_rows: int | None = None,
    whole: Tensor | None = None,
    ranks: int = 1,
    rank: int = 0,
    rank_tail_rows: int | None = None,
    bs: int | None = None,
) -> None:
    """``nsa.ops.replay_v4``."""
    kept = None
    if request_window is not None:
        names = ("groups", "zero_row", "capacity")
        known = {"capacity": 256, **request_window}
        if set(known) != set(names):
            raise wrong(TypeError, "request_window", "expected dict(groups=, zero_row=, capacity=256)")
        kept = [known[name] for name in names]
    _replay_v4(
        *_flatten(dsts), mode, seq_lens, req_pool_indices, req_to_token, full_to_swa,
        out_cache_loc, extend_seq_lens, next_n, rows, num_tokens, max_len, topk, page_size,
        window, index_page_size, floors, list(rings), swa_page_size, request_ring,
        plans_in_place, online_offset, steps, kept, ring, valid_from, page_table, tail_rows, whole,
        ranks, rank, rank_tail_rows, bs,
    )  # fmt: skip


def _run_dsa_prefill(
    outputs: list[Tensor], fields: str, seq_lens: Tensor, extend_seq_lens: Tensor | None,
    req_pool_indices: Tensor | None, req_to_token: Tensor | None, num_tokens: int | None,
    max_len: int | None, topk: int, page_size: int, index_kpool: int, rows: int | None,
    ranks: int, rank: int, rank_bs: int | None, rank_rows: int | None, bs: int | None,
) -> None:  # fmt: skip
    (dst,) = _unflatten(outputs, fields)
    ops.dsa_prefill(
        dst, seq_lens=seq_lens, extend_seq_lens=extend_seq_lens,
        req_pool_indices=req_pool_indices, req_to_token=req_to_token, num_tokens=num_tokens,
        max_len=max_len, topk=topk, page_size=page_size, index_kpool=index_kpool, rows=rows,
        ranks=ranks, rank=rank, rank_bs=rank_bs, rank_rows=rank_rows, bs=bs,
    )  # fmt: skip


_dsa_prefill = _register(
    "dsa_prefill(Tensor(a!)[] outputs, str fields, Tensor seq_lens, Tensor? extend_seq_lens,"
    " Tensor? req_pool_indices, Tensor? req_to_token, SymInt? num_tokens, SymInt? max_len,"
    " int topk, int page_size, int index_kpool, SymInt? rows, int ranks, int rank,"
    " SymInt? rank_bs, SymInt? rank_rows, SymInt? bs)",
    _run_dsa_prefill,
)


def dsa_prefill(
    dst: Mapping[str, Tensor],
    *,
    seq_lens: Tensor,
    extend_seq_lens: Tensor | None = None,
    req_pool_indices: Tensor | None = None,
    req_to_token: Tensor | None = None,
    num_tokens: int | None = None,
    max_len: int | None = None,
    topk: int = 2048,
    page_size: int = 64,
    index_kpool: int = 1,
    rows: int | None = None,
    ranks: int = 1,
    rank: int = 0,
    rank_bs: int | None = None,
    rank_rows: int | None = None,
    bs: int | None = None,
) -> None:
    """``nsa.ops.dsa_prefill``."""
    _dsa_prefill(
        *_flatten([dst]), seq_lens, extend_seq_lens, req_pool_indices, req_to_token, num_tokens,
        max_len, topk, page_size, index_kpool, rows, ranks, rank, rank_bs, rank_rows, bs,
    )  # fmt: skip


def _run_window_layout(
    outputs: list[Tensor], fields: str, req: Tensor, pos: Tensor, zero_row: int, window: int,
    capacity: int, floor: Tensor | None, num_groups: int | None, padded_rows: int | None,
) -> None:  # fmt: skip
    (dst,) = _unflatten(outputs, fields)
    ops.window_layout(
        dst, req, pos, zero_row=zero_row, window=window, capacity=capacity, floor=floor,
        num_groups=num_groups, padded_rows=padded_rows,
    )  # fmt: skip


_window_layout = _register(
    "window_layout(Tensor(a!)[] outputs, str fields, Tensor req, Tensor pos, SymInt zero_row,"
    " int window, int capacity, Tensor? floor, SymInt? num_groups, SymInt? padded_rows)",
    _run_window_layout,
)


def window_layout(
    dst: Mapping[str, Tensor],
    req: Tensor,
    pos: Tensor,
    *,
    zero_row: int,
    window: int = 128,
    capacity: int = 256,
    floor: Tensor | None = None,
    num_groups: int | None = None,
    padded_rows: int | None = None,
) -> None:
    """``nsa.ops.window_layout``."""
    _window_layout(
        *_flatten([dst]), req, pos, zero_row, window, capacity, floor, num_groups, padded_rows
    )


_copy = _register(
    "copy_metadata(Tensor(a!)[] outputs, str fields, Tensor[] sources, str source_fields,"
    " str forward_mode, SymInt? bs, SymInt? max_len, SymInt? max_seqlen_k,"
    " SymInt? seqlens_expanded_size)",
    ops._copy_flat,
)


def copy_metadata(
    src: Mapping[str, Tensor],
    dsts: Sequence[Mapping[str, Tensor]],
    mode: str = "decode",
    *,
    bs: int | None = None,
    max_len: int | None = None,
    max_seqlen_k: int | None = None,
    seqlens_expanded_size: int | None = None,
) -> None:
    """``nsa.ops.copy_metadata``."""
    _copy(
        *_flatten(dsts), *_flatten([src]), mode, bs, max_len, max_seqlen_k,
        seqlens_expanded_size,
    )  # fmt: skip


# ----------------------------------------------------------------------------
# Arrays alone: the operators are the functions
# ----------------------------------------------------------------------------

_expand = _register(
    "expand_seqlens(Tensor extend_seq_lens, Tensor seq_lens, int topk,"
    " Tensor(a!) out_seqlens_expanded, Tensor(b!) out_nsa_cache_seqlens, bool causal=True,"
    " Tensor(c!)? out_total=None)",
    ops.expand_seqlens,
)


def expand_seqlens(
    extend_seq_lens: Tensor,
    seq_lens: Tensor,
    topk: int,
    out_seqlens_expanded: Tensor,
    out_nsa_cache_seqlens: Tensor,
    causal: bool = True,
    out_total: Tensor | None = None,
) -> None:
    """``nsa.ops.expand_seqlens``."""
    _expand(
        extend_seq_lens, seq_lens, topk, out_seqlens_expanded, out_nsa_cache_seqlens, causal,
        out_total,
    )  # fmt: skip


def _run_dequantize(
    cache: Tensor, token_ids: Tensor, out: Tensor, layout: str, page_size: int
) -> None:
    ops.dequantize_k_cache_paged(cache, token_ids, out, layout, page_size=page_size)


_dequantize = _register(
    "dequantize_k_cache_paged(Tensor cache, Tensor token_ids, Tensor(a!) out, str layout,"
    " int page_size)",
    _run_dequantize,
)


def dequantize_k_cache_paged(
    cache: Tensor, token_ids: Tensor, out: Tensor, layout: str = "v32", *, page_size: int
) -> None:
    """``nsa.ops.dequantize_k_cache_paged``; `layout` as text."""
    _dequantize(cache, token_ids, out, layout, page_size)


_swa = _register(
    "build_swa_token_ids(Tensor seq_lens, Tensor extend_seq_lens, Tensor req_pool_indices,"
    " Tensor req_to_token, Tensor full_to_swa, int window, Tensor(a!) out_ids,"
    " Tensor(b!)? out_first=None, Tensor(c!)? out_lens=None, Tensor(d!)? out_offsets=None)",
    ops.build_swa_token_ids,
)


def build_swa_token_ids(
    seq_lens: Tensor,
    extend_seq_lens: Tensor,
    req_pool_indices: Tensor,
    req_to_token: Tensor,
    full_to_swa: Tensor,
    window: int,
    out_ids: Tensor,
    out_first: Tensor | None = None,
    out_lens: Tensor | None = None,
    out_offsets: Tensor | None = None,
) -> None:
    """``nsa.ops.build_swa_token_ids``."""
    _swa(
        seq_lens, extend_seq_lens, req_pool_indices, req_to_token, full_to_swa, window, out_ids,
        out_first, out_lens, out_offsets,
    )  # fmt: skip


def _run_compressed(
    table: Tensor, query_start_loc: Tensor, out_ids: Tensor, ratio: int, page_size: int = 64
) -> None:
    ops.build_compressed_token_ids(table, query_start_loc, out_ids, ratio, page_size)


_compressed = _register(
    "build_compressed_token_ids(Tensor table, Tensor query_start_loc, Tensor(a!) out_ids,"
    " int ratio, int page_size=64)",
    _run_compressed,
)


def build_compressed_token_ids(
    table: Tensor, query_start_loc: Tensor, out_ids: Tensor, ratio: int, page_size: int = 64
) -> None:
    """``nsa.ops.build_compressed_token_ids``."""
    _compressed(table, query_start_loc, out_ids, ratio, page_size)


def _run_combine(
    topk_indices: Tensor | None, query_start_loc: Tensor, seq_lens: Tensor, gather_lens: Tensor,
    compressed_base: Tensor, swa_base: Tensor, window: int, compress_ratio: int, topk: int,
    out_indices: Tensor, out_lens: Tensor, query_pos: Tensor | None = None,
    swa_indices: Tensor | None = None, swa_lengths: Tensor | None = None,
) -> None:  # fmt: skip
    ops.combine_topk_swa_indices(
        topk_indices, query_start_loc, seq_lens, gather_lens, compressed_base, swa_base, window,
        compress_ratio, topk, out_indices, out_lens, query_pos=query_pos,
        swa_indices=swa_indices, swa_lengths=swa_lengths,
    )  # fmt: skip


_combine = _register(
    "combine_topk_swa_indices(Tensor? topk_indices, Tensor query_start_loc, Tensor seq_lens,"
    " Tensor gather_lens, Tensor compressed_base, Tensor swa_base, int window,"
    " int compress_ratio, SymInt topk, Tensor(a!) out_indices, Tensor(b!) out_lens,"
    " Tensor? query_pos=None, Tensor? swa_indices=None, Tensor? swa_lengths=None)",
    _run_combine,
)


def combine_topk_swa_indices(
    topk_indices: Tensor | None,
    query_start_loc: Tensor,
    seq_lens: Tensor,
    gather_lens: Tensor,
    compressed_base: Tensor,
    swa_base: Tensor,
    window: int,
    compress_ratio: int,
    topk: int,
    out_indices: Tensor,
    out_lens: Tensor,
    *,
    query_pos: Tensor | None = None,
    swa_indices: Tensor | None = None,
    swa_lengths: Tensor | None = None,
) -> None:
    """``nsa.ops.combine_topk_swa_indices``."""
    _combine(
        topk_indices, query_start_loc, seq_lens, gather_lens, compressed_base, swa_base, window,
        compress_ratio, topk, out_indices, out_lens, query_pos, swa_indices, swa_lengths,
    )  # fmt: skip


def _run_schedule(
    context_lens: Tensor, out: Tensor, convention: str, num_sms: int, split: int | None,
    next_n: int, indices: Tensor | None, chunk: int | None, bs: int | None,
    workspace: Tensor | None,
) -> None:  # fmt: skip
    ops.paged_mqa_schedule(
        context_lens, out, convention=convention, num_sms=num_sms, split=split, next_n=next_n,
        indices=indices, chunk=chunk, workspace=workspace, bs=bs,
    )  # fmt: skip


_schedule = _register(
    "paged_mqa_schedule(Tensor context_lens, Tensor(a!) out, str convention, int num_sms,"
    " int? split, int next_n, Tensor? indices, int? chunk, SymInt? bs,"
    " Tensor(b!)? workspace)",
    _run_schedule,
)


def paged_mqa_schedule(
    context_lens: Tensor,
    out: Tensor,
    *,
    convention: str,
    num_sms: int,
    split: int | None = None,
    next_n: int = 1,
    indices: Tensor | None = None,
    chunk: int | None = None,
    workspace: Tensor | None = None,
    bs: int | None = None,
) -> None:
    """``nsa.ops.paged_mqa_schedule``."""
    _schedule(
        context_lens, out, convention, num_sms, split, next_n, indices, chunk, bs, workspace
    )


def _run_plan(
    seq_lens: Tensor, out: Tensor, clusters: int, arch: str, static: int, bs: int | None
) -> None:
    ops.plan_topk(seq_lens, out, clusters=clusters, arch=arch, static=static, bs=bs)


_plan = _register(
    "plan_topk(Tensor seq_lens, Tensor(a!) out, int clusters, str arch, int static,"
    " SymInt? bs)",
    _run_plan,
)


def plan_topk(
    seq_lens: Tensor,
    out: Tensor,
    *,
    clusters: int,
    arch: str,
    static: int = -1,
    bs: int | None = None,
) -> None:
    """``nsa.ops.plan_topk``."""
    _plan(seq_lens, out, clusters, arch, static, bs)


def _run_flashmla(
    seq_lens: Tensor | None, out_metadata: Tensor, out_num_splits: Tensor, parts: int | None,
    topk: int | None, sparse: bool, extra_lens: Tensor | None, extra_topk: int | None,
    block: int, overhead: int, layout: str, bs: int | None,
) -> None:  # fmt: skip
    ops.flashmla_schedule(
        seq_lens, out_metadata, out_num_splits, parts=parts, topk=topk, sparse=sparse,
        extra_lens=extra_lens, extra_topk=extra_topk, block=block, overhead=overhead,
        layout=layout, bs=bs,
    )  # fmt: skip


_flashmla = _register(
    "flashmla_schedule(Tensor? seq_lens, Tensor(a!) out_metadata, Tensor(b!) out_num_splits,"
    " int? parts, int? topk, bool sparse, Tensor? extra_lens, int? extra_topk, int block,"
    " int overhead, str layout, SymInt? bs)",
    _run_flashmla,
)


def flashmla_schedule(
    seq_lens: Tensor | None,
    out_metadata: Tensor,
    out_num_splits: Tensor,
    *,
    parts: int | None = None,
    topk: int | None = None,
    sparse: bool = False,
    extra_lens: Tensor | None = None,
    extra_topk: int | None = None,
    block: int = 64,
    overhead: int = 5,
    layout: str = "new",
    bs: int | None = None,
) -> None:
    """``nsa.ops.flashmla_schedule``."""
    _flashmla(
        seq_lens, out_metadata, out_num_splits, parts, topk, sparse, extra_lens, extra_topk,
        block, overhead, layout, bs,
    )  # fmt: skip


def _run_transform(
    page_table: Tensor | None, indices: Tensor, out: Tensor, rows: Tensor | None,
    counts: Tensor | None, query_start_loc: Tensor | None, ranks: int, rank: int, packed: bool,
) -> None:  # fmt: skip
    ops.transform_index(
        page_table, indices, out, rows, counts, query_start_loc=query_start_loc, ranks=ranks,
        rank=rank, packed=packed,
    )  # fmt: skip


_transform = _register(
    "transform_index(Tensor? page_table, Tensor indices, Tensor(a!) out, Tensor? rows,"
    " Tensor(b!)? counts, Tensor? query_start_loc, int ranks, int rank, bool packed)",
    _run_transform,
)


def transform_index(
    page_table: Tensor | None,
    indices: Tensor,
    out: Tensor,
    rows: Tensor | None = None,
    counts: Tensor | None = None,
    *,
    query_start_loc: Tensor | None = None,
    ranks: int = 1,
    rank: int = 0,
    packed: bool = False,
) -> None:
    """``nsa.ops.transform_index``."""
    _transform(
        page_table, indices, out, rows, counts, query_start_loc, ranks, rank, packed
    )


def _run_ragged(
    page_table: Tensor, query_start_loc: Tensor, seq_lens: Tensor, out_ids: Tensor, ratio: int,
    page_size: int, extend_seq_lens: Tensor | None, window: int, out_base: Tensor | None,
    out_swa_base: Tensor | None, out_lens: Tensor | None, bs: int | None,
) -> None:  # fmt: skip
    ops.build_ragged_compressed_ids(
        page_table, query_start_loc, seq_lens, out_ids, ratio, page_size,
        extend_seq_lens=extend_seq_lens, window=window, out_base=out_base,
        out_swa_base=out_swa_base, out_lens=out_lens, bs=bs,
    )  # fmt: skip


_ragged = _register(
    "build_ragged_compressed_ids(Tensor page_table, Tensor query_start_loc, Tensor seq_lens,"
    " Tensor(a!) out_ids, int ratio, int page_size, Tensor? extend_seq_lens, int window,"
    " Tensor(b!)? out_base, Tensor(c!)? out_swa_base, Tensor(d!)? out_lens, SymInt? bs)",
    _run_ragged,
)


def build_ragged_compressed_ids(
    page_table: Tensor,
    query_start_loc: Tensor,
    seq_lens: Tensor,
    out_ids: Tensor,
    ratio: int,
    page_size: int = 256,
    *,
    extend_seq_lens: Tensor | None = None,
    window: int = 128,
    out_base: Tensor | None = None,
    out_swa_base: Tensor | None = None,
    out_lens: Tensor | None = None,
    bs: int | None = None,
) -> None:
    """``nsa.ops.build_ragged_compressed_ids``."""
    _ragged(
        page_table, query_start_loc, seq_lens, out_ids, ratio, page_size, extend_seq_lens,
        window, out_base, out_swa_base, out_lens, bs,
    )  # fmt: skip


def _run_prefill_v4(
    outputs: list[Tensor], fields: str, seq_lens: Tensor, extend_seq_lens: Tensor | None,
    req_pool_indices: Tensor | None, req_to_token: Tensor | None, full_to_swa: Tensor | None,
    query_start_loc: Tensor | None, query_pos: Tensor | None, page_table: Tensor | None,
    c128_page_indices: Tensor | None, swa_indices: Tensor | None, swa_lengths: Tensor | None,
    page_size: int, window: int, max_len: int | None, bs: int | None,
) -> None:  # fmt: skip
    (dst,) = _unflatten(outputs, fields)
    ops.prefill_v4(
        dst, seq_lens=seq_lens, extend_seq_lens=extend_seq_lens,
        req_pool_indices=req_pool_indices, req_to_token=req_to_token, full_to_swa=full_to_swa,
        query_start_loc=query_start_loc, query_pos=query_pos, page_table=page_table,
        c128_page_indices=c128_page_indices, swa_indices=swa_indices, swa_lengths=swa_lengths,
        page_size=page_size, window=window, max_len=max_len, bs=bs,
    )  # fmt: skip


_prefill_v4 = _register(
    "prefill_v4(Tensor(a!)[] outputs, str fields, Tensor seq_lens, Tensor? extend_seq_lens,"
    " Tensor? req_pool_indices, Tensor? req_to_token, Tensor? full_to_swa,"
    " Tensor? query_start_loc, Tensor? query_pos, Tensor? page_table,"
    " Tensor? c128_page_indices, Tensor? swa_indices, Tensor? swa_lengths, int page_size,"
    " int window, SymInt? max_len, SymInt? bs)",
    _run_prefill_v4,
)


def prefill_v4(
    dst: Mapping[str, Tensor],
    *,
    seq_lens: Tensor,
    extend_seq_lens: Tensor | None = None,
    req_pool_indices: Tensor | None = None,
    req_to_token: Tensor | None = None,
    full_to_swa: Tensor | None = None,
    query_start_loc: Tensor | None = None,
    query_pos: Tensor | None = None,
    page_table: Tensor | None = None,
    c128_page_indices: Tensor | None = None,
    swa_indices: Tensor | None = None,
    swa_lengths: Tensor | None = None,
    page_size: int = 256,
    window: int = 128,
    max_len: int | None = None,
    bs: int | None = None,
) -> None:
    """``nsa.ops.prefill_v4``."""
    _prefill_v4(
        *_flatten([dst]), seq_lens, extend_seq_lens, req_pool_indices, req_to_token,
        full_to_swa, query_start_loc, query_pos, page_table, c128_page_indices, swa_indices,
        swa_lengths, page_size, window, max_len, bs,
    )  # fmt: skip


def _run_sparse_tail(
    indices: Tensor, lengths: Tensor, tail: Tensor, total_lengths: Tensor, swa_width: int
) -> None:
    ops.pack_sparse_tail(indices, lengths, tail, total_lengths, swa_width=swa_width)


_sparse_tail = _register(
    "pack_sparse_tail(Tensor indices, Tensor lengths, Tensor(a!) tail,"
    " Tensor(b!) total_lengths, int swa_width)",
    _run_sparse_tail,
)


def pack_sparse_tail(
    indices: Tensor, lengths: Tensor, tail: Tensor, total_lengths: Tensor, *, swa_width: int = 128
) -> None:
    """``nsa.ops.pack_sparse_tail``."""
    _sparse_tail(indices, lengths, tail, total_lengths, swa_width)
