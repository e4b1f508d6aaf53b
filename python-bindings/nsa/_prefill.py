# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of sparse prefill that ``nsa.ops`` has."""

from . import _prefill_steps as steps
from ._arguments import check_rank, describe, length
from ._cache import get_step
from ._errors import constant, wrong
from ._ragged_prefill import combine_given_windows

# What a text depends on -> its step.
_steps = {}


def _get(name, key, target, make):
    step = _steps.get((name, key, target))
    if step is None:
        step = _steps[name, key, target] = get_step(name, make(*key), target)
    return step


def _table(argument, array):
    """(shape, target) of a 2-D array."""
    _, shape, target = describe(argument, array)
    check_rank(argument, shape, 2)
    return shape, target


def _requests(query_start_loc):
    _, size, target = length("query_start_loc", query_start_loc)
    if size < 1:
        raise wrong(
            ValueError, "query_start_loc", "expected an element more than requests but got 0"
        )
    return size - 1, target


def build_swa_token_ids(
    seq_lens,
    extend_seq_lens,
    req_pool_indices,
    req_to_token,
    full_to_swa,
    window,
    out_ids,
    out_first=None,
    out_lens=None,
    out_offsets=None,
    *,
    stream=None,
):
    """Lists the cached tokens that the windows of a chunk's queries span, in one launch.

    The last E[b] = ``extend_seq_lens[b]`` of S[b] = ``seq_lens[b]`` tokens of request b
    are queries, and each attends to itself and the ``window - 1`` tokens before it. With
    G[b] = min(S[b], E[b] + window - 1), first[b] = S[b] - G[b] and off the exclusive sums
    of G, these int32 elements are written and no others:

    ===========  =========  ===========================================================
    array        elements   value
    ===========  =========  ===========================================================
    out_ids      sum(G)     off[b] + i: full_to_swa[req_to_token[pool[b], first[b] + i]]
    out_first    [bs]       first
    out_lens     [bs]       G
    out_offsets  [bs + 1]   off
    ===========  =========  ===========================================================

    An element outside of `req_to_token` or `full_to_swa` counts as 0. Only the device
    knows sum(G): ids that `out_ids` has no room for are not written. `req_to_token` is
    int32 [requests, tokens]; `seq_lens`, `extend_seq_lens`, `req_pool_indices` [bs] and
    `full_to_swa` [slots] are int32 or int64. Each of the last three outputs may be left
    out. `stream` as in ``Step.__call__``.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing
    then; ``CompileError`` if the step can neither be compiled nor found.
    """
    window = constant("window", window, 1)
    arguments = {
        "seq_lens": seq_lens,
        "extend_seq_lens": extend_seq_lens,
        "req_pool_indices": req_pool_indices,
        "full_to_swa": full_to_swa,
    }
    dtypes = tuple(length(name, array)[0] for name, array in arguments.items())
    _, bs, target = length("seq_lens", seq_lens)
    _, bound, _ = length("out_ids", out_ids)
    outs = {
        "out_ids": out_ids,
        "out_first": out_first,
        "out_lens": out_lens,
        "out_offsets": out_offsets,
    }
    outs = {name: array for name, array in outs.items() if array is not None}
    key = (window, *dtypes, tuple(outs))
    step = _get("swa_token_ids", key, target, steps.swa_token_ids)
    arguments["req_to_token"] = req_to_token
    step(stream=stream, bs=bs, id_bound=bound, **arguments, **outs)


def build_compressed_token_ids(
    table, query_start_loc, out_ids, ratio, page_size=64, *, stream=None
):
    """Lists the compressed tokens of each request of a chunk, in one launch.

    `table`: int32, a row for each query of the chunk. `query_start_loc`: int32 [bs + 1],
    the row of each request's first query and the number of rows, both plus a constant.
    `out_ids`: int32 [bs, columns], all of which is written:

    - ratio 128, where `table` has token ids: ``max(0, table[last query of b, j])``;
    - ratio 4, where it has pages of `page_size` compressed tokens:
      ``max(0, table[first query of b, j // page_size]) * page_size + j % page_size``.

    A request without queries gets zeros, and so does what lies outside of `table`.
    `stream` as in ``Step.__call__``.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing
    then; ``CompileError`` if the step can neither be compiled nor found.
    """
    ratio = steps.compress_ratio("ratio", ratio)
    page_size = constant("page_size", page_size, 1)
    bs, _ = _requests(query_start_loc)
    shape, target = _table("out_ids", out_ids)
    key = (ratio, page_size)
    step = _get("compressed_token_ids", key, target, steps.compressed_token_ids)
    step(
        stream=stream,
        bs=bs,
        columns=shape[1],
        table=table,
        query_start_loc=query_start_loc,
        out_ids=out_ids,
    )


def combine_topk_swa_indices(
    topk_indices,
    query_start_loc,
    seq_lens,
    gather_lens,
    compressed_base,
    swa_base,
    window,
    compress_ratio,
    topk,
    out_indices,
    out_lens,
    *,
    query_pos=None,
    swa_indices=None,
    swa_lengths=None,
    stream=None,
):
    """Says which rows of a workspace each query of a chunk attends to, in one launch.

    Query t of request b, which has Q[b] of the chunk's queries, is at position
    pos = S[b] - Q[b] + (t - first query of b), where S is `seq_lens`, or at
    ``query_pos[t]``, if that is given (int32 [queries]). It attends to
    k = min((pos + 1) // compress_ratio, topk) compressed rows and w = min(pos + 1, window)
    window rows (none before position 0):

    - ``out_indices[t, j]``, j < k: ``topk_indices[t, j] + compressed_base[b]``, and -1
      where the index is negative;
    - k <= j < k + w: the window's rows, the last of them
      ``swa_base[b] + pos - (S[b] - gather_lens[b])``;
    - then -1 up to ``topk + window`` rounded up to 128;
    - ``out_lens[t]``: k + w.

    Rows are written whole, those past the last request's queries as -1 with a length of
    0. `topk_indices`: int32 [queries, topk or more]; None stands for ``topk_indices[t, j]
    = j``. `query_start_loc`: int32 [bs + 1], the row of each request's first query and
    the number of rows, both plus a constant, so that it may belong to a longer batch.
    `seq_lens`: int32 or int64 [bs]; `gather_lens`, `compressed_base`, `swa_base`: int32
    [bs]. With a `topk` of 0 there are windows only. `out_indices`: int32 [queries or more,
    width or more]; `out_lens`: int32 [queries]. `stream` as in ``Step.__call__``.

    With `swa_indices` (int32 [queries, window]) and `swa_lengths` (int32 [queries]), as a
    window per request has them, w is ``swa_lengths[t]``, from 0 to `window`, and the window's
    rows are ``swa_base[b] + swa_indices[t, j - k]``, -1 where that is negative or not there.
    `gather_lens` is not read, and may be None.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing
    then; ``CompileError`` if the step can neither be compiled nor found.
    """
    window = constant("window", window, 1, steps.MOST_WINDOW)
    compress_ratio = constant("compress_ratio", compress_ratio, 1)
    topk = constant("topk", topk, 0)
    bs, target = _requests(query_start_loc)
    dtype, _, _ = length("seq_lens", seq_lens)
    indexed = topk_indices is not None
    if (swa_indices is None) != (swa_lengths is None):
        raise wrong(TypeError, "swa_lengths", "expected with swa_indices, and these with it")
    if swa_indices is not None:
        given = {
            "topk_indices": topk_indices,
            "query_start_loc": query_start_loc,
            "query_pos": query_pos,
            "seq_lens": seq_lens,
            "compressed_base": compressed_base,
            "swa_base": swa_base,
            "swa_indices": swa_indices,
            "swa_lengths": swa_lengths,
        }
        run = combine_given_windows(
            window, compress_ratio, topk, indexed, query_pos is not None
        )
        run(given, (out_indices, out_lens), (bs, None), stream)
        return
    if indexed:
        (queries, _), _ = _table("topk_indices", topk_indices)
    else:
        _, queries, _ = length("out_lens", out_lens)
    positioned = query_pos is not None
    # Without compressed rows their ratio is nothing: one step, which is shipped, for all.
    of_rows = (1, dtype, True, True) if topk == 0 else (compress_ratio, dtype, indexed, False)
    key = (window, *of_rows, positioned)
    step = _get("combine_indices", key, target, steps.combine_indices)
    arguments = {"topk": topk, "topk_indices": topk_indices}
    if topk == 0:
        arguments = {}
    elif not indexed:
        del arguments["topk_indices"]
    if positioned:
        arguments["query_pos"] = query_pos
    step(
        stream=stream,
        bs=bs,
        queries=queries,
        query_start_loc=query_start_loc,
        seq_lens=seq_lens,
        gather_lens=gather_lens,
        compressed_base=compressed_base,
        swa_base=swa_base,
        out_indices=out_indices,
        out_lens=out_lens,
        **arguments,
    )
