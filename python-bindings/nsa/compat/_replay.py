# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions that compute metadata, one backend at a time.

As there, columns of a page table from a request's length on may keep what they hold:
consumers read no further. For several backends in one launch, or other fields, see
``nsa.ops.replay_metadata``.
"""

from __future__ import annotations

import importlib
from typing import Any

from .. import ops, steps
from .._errors import constant, wrong
from .._replay import replay
from ._names import accepts_older_names, their_name, translate

__all__ = [
    "fill_draft_extend_metadata_cuda",
    "fused_dsa_decode_metadata",
    "fused_dsa_decode_metadata_kpool",
    "fused_dsa_draft_extend_metadata",
    "fused_dsa_draft_extend_metadata_kpool",
    "fused_dsa_target_verify_metadata",
    "fused_dsa_target_verify_metadata_kpool",
]


def _fields(cache, cu, nsa_cache, nsa_cu, page_table_1, real_page_table, page_size):
    """The fields of every mode. With pages of one token the two tables are the same, and the
    first is it."""
    page_size = constant("physical_page_size", page_size, 1)
    name = "page_table_1" if page_size == 1 else "real_page_table"
    needed = page_table_1 if page_size == 1 else real_page_table
    if needed is None:
        raise wrong(
            ValueError,
            name,
            f"expected an array, as physical_page_size is {page_size}, but got None",
        )
    fields = {
        "cache_seqlens": cache,
        "cu_seqlens_k": cu,
        "nsa_cache_seqlens": nsa_cache,
        "nsa_cu_seqlens_k": nsa_cu,
        name: needed,
    }
    if page_table_1 is not None:
        fields["page_table_1"] = page_table_1
    return fields


#: What ``replay`` calls the constants.
_CONSTANTS = {
    "topk": "dsa_index_topk",
    "page_size": "physical_page_size",
    "row_bound": "total_len",
}


def _fill(mode, fields, inputs, bs, columns, topk, page_size, next_n=1, rows=None, pool=1):
    try:
        if pool == 1:
            replay(
                [fields], mode, inputs, bs, columns, rows, topk, page_size, next_n, True, False,
                None,
            )  # fmt: skip
        else:
            lens, extend, indices, tokens = inputs
            ops.replay_metadata(
                [fields], mode, seq_lens=lens, req_pool_indices=indices, req_to_token=tokens,
                extend_seq_lens=extend, max_len=columns, topk=topk, page_size=page_size,
                next_n=next_n, live_only=True, index_kpool=pool, bs=bs,
                # Only of ragged rows, which are padded up to it.
                row_bound=None if isinstance(extend, int) else rows,
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        names = dict(_CONSTANTS)
        if mode != "decode":
            names["max_len"] = "max_seqlen_k"
        arrays = {"req_to_token": inputs[3]}
        for field, array in fields.items():
            names[steps.port(0, field)] = their_name(field)
            arrays[steps.port(0, field)] = array
        raise translate(error, names, arrays) from None


def _extend(extend_seq_lens, bs, total_len, max_extend_len, max_total_len, static_extend_len):
    """The rows of each request, a number if the host knows that all have as many, which makes
    rows like those of target-verify."""
    max_extend_len = constant("max_extend_len", max_extend_len, 0)
    most = min(max_total_len, bs * max_extend_len)
    if not 0 <= total_len <= most:
        raise wrong(ValueError, "total_len", f"expected 0 to {most} but got {total_len}")
    is_uniform = static_extend_len and total_len == bs * max_extend_len
    return max_extend_len if is_uniform and max_extend_len > 0 else extend_seq_lens


@accepts_older_names
def fused_dsa_decode_metadata(
    seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    max_len: int,
    dsa_index_topk: int,
    physical_page_size: int,
) -> None:
    """Fills the metadata of a decode step of the first `bs` requests.

    In: `seq_lens`, `req_pool_indices` [bs], int32 or int64; `req_to_token`, int32. Out,
    int32: `cache_seqlens`, `dsa_cache_seqlens` [bs]; `cu_seqlens_k`, `dsa_cu_seqlens_k`
    [bs + 1]; `page_table_1` [bs, max_len], or None unless pages have one token;
    `real_page_table` [bs, ceil(max_len / physical_page_size)], ignored if pages have one.
    Larger arrays will do. Raises ``RuntimeError`` for a wrong dtype, ``ValueError`` or
    ``TypeError`` for what else is wrong, with the argument's name; nothing is written then.
    """
    fields = _fields(
        cache_seqlens,
        cu_seqlens_k,
        dsa_cache_seqlens,
        dsa_cu_seqlens_k,
        page_table_1,
        real_page_table,
        physical_page_size,
    )
    inputs = (seq_lens, None, req_pool_indices, req_to_token)
    _fill("decode", fields, inputs, bs, max_len, dsa_index_topk, physical_page_size)


@accepts_older_names
def fused_dsa_target_verify_metadata(
    seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    seqlens_expanded: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    max_seqlen_k: int,
    dsa_index_topk: int,
    physical_page_size: int,
    next_n: int,
    paged_mqa_ctx_lens_2d: Any = None,
) -> None:
    """Fills the metadata of a target-verify step of the first `bs` requests, `next_n` rows
    each.

    As ``fused_dsa_decode_metadata``, but `seqlens_expanded`, `dsa_cache_seqlens` and the
    tables have ``bs * next_n`` rows and `dsa_cu_seqlens_k` one more; tables have
    `max_seqlen_k` columns; `paged_mqa_ctx_lens_2d`, if given, is [bs, next_n].
    """
    fields = _fields(
        cache_seqlens,
        cu_seqlens_k,
        dsa_cache_seqlens,
        dsa_cu_seqlens_k,
        page_table_1,
        real_page_table,
        physical_page_size,
    )
    fields["seqlens_expanded"] = seqlens_expanded
    if paged_mqa_ctx_lens_2d is not None:
        fields["paged_mqa_ctx_lens"] = paged_mqa_ctx_lens_2d
    _fill(
        "target_verify",
        fields,
        (seq_lens, None, req_pool_indices, req_to_token),
        bs,
        max_seqlen_k,
        dsa_index_topk,
        physical_page_size,
        next_n,
    )


@accepts_older_names
def fused_dsa_draft_extend_metadata(
    seq_lens: Any,
    extend_seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    seqlens_expanded: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    total_len: int,
    max_seqlen_k: int,
    dsa_index_topk: int,
    physical_page_size: int,
    max_extend_len: int,
    max_total_len: int,
    static_extend_len: bool = False,
) -> None:
    """Fills the metadata of a draft-extend step of the first `bs` requests, request b with
    ``extend_seq_lens[b]`` rows, `total_len` in all.

    As ``fused_dsa_decode_metadata``, but `seqlens_expanded`, `dsa_cache_seqlens` and the
    tables have `total_len` rows and `dsa_cu_seqlens_k` one more; tables have `max_seqlen_k`
    columns. No row past `total_len` is written. `static_extend_len`: every request has
    `max_extend_len` rows; their values are not read then, if `total_len` says the same.
    `total_len` is at most `max_total_len` and at most ``bs * max_extend_len``.
    """
    extend = _extend(
        extend_seq_lens, bs, total_len, max_extend_len, max_total_len, static_extend_len
    )
    fields = _fields(
        cache_seqlens,
        cu_seqlens_k,
        dsa_cache_seqlens,
        dsa_cu_seqlens_k,
        page_table_1,
        real_page_table,
        physical_page_size,
    )
    fields["seqlens_expanded"] = seqlens_expanded
    _fill(
        "draft_extend",
        fields,
        (seq_lens, extend, req_pool_indices, req_to_token),
        bs,
        max_seqlen_k,
        dsa_index_topk,
        physical_page_size,
        rows=total_len,
    )


def fused_dsa_decode_metadata_kpool(
    seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    max_len: int,
    dsa_index_topk: int,
    physical_page_size: int,
    index_kpool: int = 1,
) -> None:
    """``fused_dsa_decode_metadata`` where `index_kpool` tokens have one index key: whole pools up
    to `dsa_index_topk` tokens are attended to, and the tokens that are in none yet. With the
    plan of what is written and pooled tables, in the same launch:
    ``nsa.ops.replay_metadata(index_kpool=)``."""
    fields = _fields(
        cache_seqlens, cu_seqlens_k, dsa_cache_seqlens, dsa_cu_seqlens_k, page_table_1,
        real_page_table, physical_page_size,
    )  # fmt: skip
    inputs = (seq_lens, None, req_pool_indices, req_to_token)
    _fill(
        "decode", fields, inputs, bs, max_len, dsa_index_topk, physical_page_size,
        pool=index_kpool,
    )  # fmt: skip


def fused_dsa_target_verify_metadata_kpool(
    seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    seqlens_expanded: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    max_seqlen_k: int,
    dsa_index_topk: int,
    physical_page_size: int,
    next_n: int,
    paged_mqa_ctx_lens_2d: Any = None,
    index_kpool: int = 1,
) -> None:
    """``fused_dsa_target_verify_metadata`` with pooled keys, as
    ``fused_dsa_decode_metadata_kpool``."""
    fields = _fields(
        cache_seqlens, cu_seqlens_k, dsa_cache_seqlens, dsa_cu_seqlens_k, page_table_1,
        real_page_table, physical_page_size,
    )  # fmt: skip
    fields["seqlens_expanded"] = seqlens_expanded
    if paged_mqa_ctx_lens_2d is not None:
        fields["paged_mqa_ctx_lens"] = paged_mqa_ctx_lens_2d
    inputs = (seq_lens, None, req_pool_indices, req_to_token)
    _fill(
        "target_verify", fields, inputs, bs, max_seqlen_k, dsa_index_topk, physical_page_size,
        next_n, pool=index_kpool,
    )  # fmt: skip


def fused_dsa_draft_extend_metadata_kpool(
    seq_lens: Any,
    extend_seq_lens: Any,
    req_pool_indices: Any,
    req_to_token: Any,
    cache_seqlens: Any,
    cu_seqlens_k: Any,
    page_table_1: Any,
    seqlens_expanded: Any,
    dsa_cache_seqlens: Any,
    dsa_cu_seqlens_k: Any,
    real_page_table: Any,
    bs: int,
    total_len: int,
    max_seqlen_k: int,
    dsa_index_topk: int,
    physical_page_size: int,
    max_extend_len: int,
    max_total_len: int,
    static_extend_len: bool = False,
    index_kpool: int = 1,
) -> None:
    """``fused_dsa_draft_extend_metadata`` with pooled keys, as
    ``fused_dsa_decode_metadata_kpool``. Rows that no request has are 0 up to `total_len`."""
    extend = _extend(
        extend_seq_lens, bs, total_len, max_extend_len, max_total_len, static_extend_len
    )
    fields = _fields(
        cache_seqlens, cu_seqlens_k, dsa_cache_seqlens, dsa_cu_seqlens_k, page_table_1,
        real_page_table, physical_page_size,
    )  # fmt: skip
    fields["seqlens_expanded"] = seqlens_expanded
    _fill(
        "draft_extend", fields, (seq_lens, extend, req_pool_indices, req_to_token), bs,
        max_seqlen_k, dsa_index_topk, physical_page_size, rows=total_len, pool=index_kpool,
    )  # fmt: skip


def fill_draft_extend_metadata_cuda(
    extend_seq_lens: Any,
    seq_lens: Any,
    nsa_index_topk: int,
    out_seqlens_expanded: Any,
    out_nsa_cache_seqlens: Any,
) -> Any:
    """Gives each row of each request its length, and returns the number of rows as an int32
    array of one element, beside the others; see ``nsa.ops.expand_seqlens``. The host waits
    for nothing. The adaptive variant is the same function: how a row finds its request is
    the compiler's choice.
    """
    total = _like(extend_seq_lens)
    try:
        ops.expand_seqlens(
            extend_seq_lens,
            seq_lens,
            nsa_index_topk,
            out_seqlens_expanded,
            out_nsa_cache_seqlens,
            out_total=total,
        )
    except (TypeError, ValueError) as error:
        outs = {
            "out_seqlens_expanded": out_seqlens_expanded,
            "out_nsa_cache_seqlens": out_nsa_cache_seqlens,
        }
        raise translate(error, {"topk": "nsa_index_topk"}, outs) from None
    return total


def _like(array):
    """A new int32 array of one element, of the library and on the device of `array`."""
    if hasattr(array, "new_empty"):
        import torch

        return array.new_empty(1, dtype=torch.int32)
    library = importlib.import_module(type(array).__module__.split(".")[0])
    return library.empty(1, dtype="int32")
