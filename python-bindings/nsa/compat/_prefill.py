# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's helpers of sparse prefill, for torch tensors and for NumPy arrays.

They allocate what they return. Arguments are what ``nsa.ops`` takes: int32 or int64 where
SGLang insists on one of them.
"""

from __future__ import annotations

from inspect import signature

from .. import ops
from ._allocate import empty

__all__ = ["build_swa_token_ids", "combine_topk_swa_indices", "combined_topk_width"]

_WIDTH_ALIGNMENT = 128


def build_swa_token_ids(
    seq_lens,
    extend_seq_lens,
    req_pool_indices,
    req_to_token,
    full_to_swa,
    swa_window,
    total_swa=None,
):
    """The cached tokens that the windows of a chunk's queries span: SGLang's
    ``build_swa_token_ids``.

    Returns int32 (token ids [total_swa], first positions [bs], numbers of tokens [bs],
    their exclusive sums [bs + 1]); see ``nsa.ops.build_swa_token_ids``. `total_swa`: the
    number of ids; without it, as in older releases, it is read from the device, which
    waits. Raises ``ValueError`` or ``TypeError`` with the argument's name.
    """
    if total_swa is None:
        unseen = (seq_lens - extend_seq_lens - (swa_window - 1)).clip(0)
        total_swa = int((seq_lens - unseen).sum())
    bs = len(seq_lens)
    ids, first, lens, offsets = (
        empty((size,), seq_lens) for size in (total_swa, bs, bs, bs + 1)
    )
    ops.build_swa_token_ids(
        seq_lens,
        extend_seq_lens,
        req_pool_indices,
        req_to_token,
        full_to_swa,
        swa_window,
        ids,
        first,
        lens,
        offsets,
    )
    return ids, first, lens, offsets


def combined_topk_width(topk, window_size):
    """The columns of ``combine_topk_swa_indices``'s indices."""
    return -(-(topk + window_size) // _WIDTH_ALIGNMENT) * _WIDTH_ALIGNMENT


def _combine(
    topk_indices,
    query_start_loc,
    query_pos,
    seq_lens,
    gather_lens,
    compressed_base,
    swa_base,
    window_size,
    compress_ratio,
    topk,
    out_indices=None,
    out_lens=None,
    swa_indices=None,
    swa_lengths=None,
):
    queries = len(topk_indices)
    if out_indices is None:
        width = combined_topk_width(topk, window_size)
        out_indices = empty((queries, width), topk_indices)
    if out_lens is None:
        out_lens = empty((queries,), topk_indices)
    ops.combine_topk_swa_indices(
        topk_indices,
        query_start_loc,
        seq_lens,
        gather_lens,
        compressed_base,
        swa_base,
        window_size,
        compress_ratio,
        topk,
        out_indices,
        out_lens,
        query_pos=query_pos,
        swa_indices=swa_indices,
        swa_lengths=swa_lengths,
    )
    return out_indices, out_lens


#: What has to be given, in all releases.
_REQUIRED = [
    name
    for name, parameter in signature(_combine).parameters.items()
    if parameter.default is parameter.empty and name != "query_pos"
]
#: Where `query_pos` comes in, in releases that have it.
_QUERY_POS = 2


def combine_topk_swa_indices(*args, **kwargs):
    """The workspace rows that each query attends to: SGLang's
    ``combine_topk_swa_indices``.

    Arguments, in order: topk_indices, query_start_loc, query_pos, seq_lens, gather_lens,
    compressed_base, swa_base, window_size, compress_ratio, topk, and optionally
    out_indices, out_lens, swa_indices and swa_lengths. Releases up to 0.5.20 have no
    query_pos, and neither need callers: rows of a request are then its last tokens.
    Returns int32 (indices [queries, ``combined_topk_width(topk, window_size)``], lens
    [queries]), or the arrays given for them; see ``nsa.ops.combine_topk_swa_indices``.
    Raises ``ValueError`` or ``TypeError`` with the argument's name.
    """
    window = _REQUIRED.index("window_size")
    if len(args) > window:
        positioned = getattr(args[window], "ndim", 0) > 0
    else:
        given = len(args) + sum(name in kwargs for name in _REQUIRED)
        positioned = "query_pos" in kwargs or given > len(_REQUIRED)
    if not positioned and len(args) > _QUERY_POS:
        args = (*args[:_QUERY_POS], None, *args[_QUERY_POS:])
    elif not positioned:
        kwargs = {"query_pos": None, **kwargs}
    return _combine(*args, **kwargs)
