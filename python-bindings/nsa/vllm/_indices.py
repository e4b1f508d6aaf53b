# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lists of indices: what an indexer chose, as slots of a cache or rows of a workspace."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .._errors import constant, optional_constant
from ._formulas import (
    ContextParallel,
    Requests,
    check_context_parallel,
    clamp,
    find_slot,
    index,
    is_valid_token,
    local_place,
    owner,
    slot,
)
from ._launch import Formulas, run

__all__ = [
    "c128a_indices",
    "combine_topk_swa_indices",
    "global_topk_indices",
    "req_to_global",
    "safe_lengths",
]

#: Combined lists are padded to a multiple of it.
COMBINED_MULTIPLE = 128
RATIO = 128
#: Of lists with kernels of their own among those that are shipped: the top-k of V4 and V3.2.
COLUMNS = (512, 1024, 2048)


def write_req_to_global(
    f: Formulas,
    block_size: int,
    stride: int,
    cp: ContextParallel | None,
    compact: bool,
    width: int | None,
) -> None:
    rows = f.size("num_tokens")
    tokens = f.input("token_indices", (rows, width), columns=width)
    columns = width or tokens.shape[1]
    table = f.input("block_table", (None, None))
    requests = f.input("req_id", (None if width is None else rows,), columns=width)
    table_columns = table.shape[1]

    def row(t: Any) -> nb.Element:
        b = index(requests[t].otherwise(-1))
        if f.has("idx_mapping"):
            mapped = index(f.input("idx_mapping", (None,))[b].otherwise(0))
            return nb.maximum(mapped, 0)
        return b

    def place(t: Any, j: Any) -> nb.Element:
        """The slot or row of an index, -1 if it has none. One below 0 is in a block below 0,
        which no table has."""
        x = index(tokens[t, j].otherwise(-1))
        local = local_place(x, cp)
        paged = slot(table, row(t), local, block_size, stride)
        if cp is not None:
            paged = nb.where(owner(x, cp) == cp.rank, paged, -1)
        if f.has("prefill_request_ids"):
            request = index(f.input("prefill_request_ids", (None,))[t].otherwise(-1))
            starts = f.input("workspace_starts", (None,))
            start = index(starts[request].otherwise(-1))
            where = start + local
            if cp is not None:
                where = where + owner(x, cp) * f.size("workspace_rank_stride")
            where = nb.where((start >= 0) & (local // block_size < table_columns), where, -1)
            paged = nb.where(request >= 0, nb.where(x >= 0, where, -1), paged)
        return paged

    if not (compact or f.has("out_counts") or f.has("safe_lengths")):
        f.output("out", (rows, columns), place, packed=False, columns=width)
        return
    slots = f.s.map((rows, columns), place, dtype="int64")
    good = f.s.map((rows, columns), lambda t, j: nb.where(slots[t, j] >= 0, 1, 0))
    counts = f.s.sum(good)

    def count(t: nb.Element) -> nb.Element:
        return counts[t]

    def safe(t: nb.Element, m: nb.Element, element: Any, is_empty: Any) -> nb.Element:
        """The first element of a row without any is 0."""
        return nb.where((m == 0) & is_empty, 0, element) if f.has("safe_lengths") else element

    if f.has("safe_lengths"):
        f.output("safe_lengths", rows, lambda t: nb.maximum(count(t), 1), columns=width)
    if compact:
        sums = f.s.scan(good, inclusive=True)

        def behind(t: nb.Element, j: nb.Element) -> nb.Element:
            """The column of an element: those that are good first, behind them the others."""
            number = index(sums[t, j])
            return nb.where(slots[t, j] >= 0, number - 1, count(t) + j - number)

        def searched(t: nb.Element, m: nb.Element) -> nb.Element:
            # Past the last one it is past the columns, where no index is.
            return safe(t, m, place(t, sums.search(m, row=t)), count(t) == 0)

        f.output(
            "out", (rows, columns),
            lambda t, j: safe(t, behind(t, j), slots[t, j], count(t) == 0),
            at=[lambda t, j: t, behind], reads=searched, packed=False, columns=width,
        )  # fmt: skip
    else:
        f.output(
            "out", (rows, columns), lambda t, m: safe(t, m, slots[t, m], count(t) == 0),
            packed=False, columns=width,
        )  # fmt: skip
    if f.has("out_counts"):
        f.output("out_counts", rows, count, columns=width)


def req_to_global(
    req_id: Any,
    block_table: Any,
    token_indices: Any,
    out: Any,
    *,
    block_size: int = 64,
    block_stride: int | None = None,
    compact: bool = False,
    out_counts: Any = None,
    safe_lengths: Any = None,
    idx_mapping: Any = None,
    prefill_request_ids: Any = None,
    workspace_starts: Any = None,
    workspace_rank_stride: int = 0,
    context_parallel: Any = None,
    num_tokens: int | None = None,
    columns: int | None = None,
    stream: Any = None,
) -> None:
    """Positions in a request, as an indexer chose them, as slots of the cache.

    With x = ``token_indices[t, j]`` and b = ``req_id[t]``, or max(idx_mapping[b], 0), the
    slot is ``block_table[b, x // block_size] * block_stride + x % block_size``, with
    `block_stride` (left out: `block_size`) rows from a page to the next one. Where
    ``prefill_request_ids[t]`` is p, 0 or more, it is row ``workspace_starts[p] + x`` of a
    workspace instead. It is -1 where x is negative, or past the table, its block negative, p
    not in `workspace_starts` or the start there negative.

    Under `context_parallel` x is the rank's own number of the token, others' tokens have no
    slot, and the workspace has the ranks' parts, `workspace_rank_stride` rows each.

    `compact`: slots come first, in the order of their columns, and -1 after them.
    `out_counts`: [num_tokens], how many slots there are. `safe_lengths`: [num_tokens], the
    same or 1 for none, and then `out` begins with 0 there: for kernels that need one.
    `token_indices`, `out`: [num_tokens, columns]. `num_tokens`: left out, all rows.
    `columns`: left out, any number. Where it is given, as an index's top-k, the kernel is made
    for it: both have to be contiguous, from multiples of 16 bytes on, and what has an element
    for each token contiguous, all of `num_tokens`.
    """
    block_size = constant("block_size", block_size, 1)
    stride = optional_constant("block_stride", block_stride, block_size)
    run(
        write_req_to_global,
        (
            block_size,
            block_size if stride is None else stride,
            check_context_parallel(context_parallel),
            bool(compact),
            optional_constant("columns", columns, 1),
        ),
        {
            "req_id": req_id,
            "block_table": block_table,
            "token_indices": token_indices,
            "idx_mapping": idx_mapping,
            "prefill_request_ids": prefill_request_ids,
            "workspace_starts": workspace_starts,
        },
        {"out": out, "out_counts": out_counts, "safe_lengths": safe_lengths},
        {
            "num_tokens": (num_tokens, ("token_indices", 0, 0)),
            "workspace_rank_stride": (workspace_rank_stride, None),
        },
        stream,
    )


def write_safe_lengths(f: Formulas) -> None:
    rows = f.size("num_tokens")
    counts = f.input("counts", (rows,))

    def count(t: Any) -> nb.Element:
        return index(counts[t].otherwise(1))

    f.output("out", rows, lambda t: nb.maximum(count(t), 1))
    f.output(
        "indices",
        (rows, 1),
        lambda t, j: nb.constant(0, "int32"),
        when=lambda t, j: count(t) == 0,
    )


def safe_lengths(
    counts: Any, indices: Any, out: Any, *, num_tokens: int | None = None, stream: Any = None
) -> None:
    """For kernels that need one index at least: ``out[t] = max(counts[t], 1)``, and
    ``indices[t, 0]`` becomes 0 where ``counts[t]`` is 0. Nothing else of `indices` is written,
    nor read. ``req_to_global`` writes the same with its lists."""
    run(
        write_safe_lengths,
        (),
        {"counts": counts},
        {"out": out, "indices": indices},
        {"num_tokens": (num_tokens, ("counts", 0, 0))},
        stream,
    )


def write_global_topk_indices(f: Formulas, block_size: int, width: int | None) -> None:
    rows = f.size("num_tokens")
    chosen = f.input("topk_indices", (rows, width), columns=width)
    columns = width or chosen.shape[1]
    table = f.input("block_table", (None, None))
    requests = f.input("token_to_req", (None if width is None else rows,), columns=width)

    def find(t: nb.Element, j: nb.Element) -> tuple[nb.Element, nb.Element]:
        x = index(chosen[t, j].otherwise(-1))
        b = index(requests[t].otherwise(-1))
        return find_slot(table, b, x, block_size)

    f.output(
        "out_indices", (rows, columns), lambda t, j: nb.where(*find(t, j), -1),
        packed=False, columns=width,
    )  # fmt: skip
    if not f.has("out_lens"):
        return

    # Not counted at all where a token is none, so that its flag is on its way with the rest.
    def is_counted(t: nb.Element, j: nb.Element) -> nb.Element:
        is_one = is_valid_token(f, t, columns=width)
        is_there, _ = find(t, j)
        return is_there if is_one is None else is_one & is_there

    counts = f.s.count((rows, columns), is_counted)
    f.output("out_lens", rows, lambda t: counts[t], columns=width)


def global_topk_indices(
    topk_indices: Any,
    token_to_req: Any,
    block_table: Any,
    out_indices: Any,
    out_lens: Any = None,
    *,
    block_size: int,
    is_valid: Any = None,
    slot_mapping: Any = None,
    num_tokens: int | None = None,
    columns: int | None = None,
    stream: Any = None,
) -> None:
    """Places among a request's compressed tokens, as slots.

    ``out_indices[t, j]`` is the slot of x = ``topk_indices[t, j]`` by the block table's row
    ``token_to_req[t]``, in pages of `block_size`, and -1 for no x or no slot; ``out_lens[t]``
    is how many slots there are, 0 where ``is_valid[t]`` (bool or a byte) is false, or
    ``slot_mapping[t]`` negative. `num_tokens`: left out, the rows of `topk_indices`.
    `columns`: of `topk_indices` and `out_indices`, as ``req_to_global`` takes it.
    """
    run(
        write_global_topk_indices,
        (constant("block_size", block_size, 1), optional_constant("columns", columns, 1)),
        {
            "topk_indices": topk_indices,
            "token_to_req": token_to_req,
            "block_table": block_table,
            "is_valid": is_valid,
            "slot_mapping": slot_mapping,
        },
        {"out_indices": out_indices, "out_lens": out_lens},
        {"num_tokens": (num_tokens, ("topk_indices", 0, 0))},
        stream,
    )


def write_c128a_indices(f: Formulas, block_size: int) -> None:
    positions = f.input("positions", (None,))
    width, decodes = f.size("width"), f.size("num_decode_tokens")

    def end(t: Any) -> nb.Element:
        return clamp((index(positions[t].otherwise(-1)) + 1) // RATIO, 0, width)

    if f.has("out_decode_indices"):
        table = f.input("block_table", (None, None))
        requests = f.input("token_to_req", (None,))

        def place(t: nb.Element, j: nb.Element) -> nb.Element:
            b = index(requests[t].otherwise(-1))
            return nb.where(j < end(t), slot(table, b, j, block_size), -1)

        f.output("out_decode_indices", (decodes, width), place)
        if f.has("out_decode_lens"):
            # A page at a time, whose slots are all there or none.
            def in_page(t: nb.Element, page: nb.Element) -> nb.Element:
                is_there = table[index(requests[t].otherwise(-1)), page].otherwise(-1) >= 0
                return nb.where(is_there, clamp(end(t) - page * block_size, 0, block_size), 0)

            pages = f.s.map((decodes, nb.ceildiv(width, block_size)), in_page, dtype="int32")
            counts = f.s.sum(pages)

            def length(t: nb.Element) -> nb.Element:
                is_one = is_valid_token(f, t)
                return counts[t] if is_one is None else nb.where(is_one, counts[t], 0)

            f.output("out_decode_lens", decodes, length)
    if f.has("out_prefill_indices"):
        rows = f.size("num_tokens") - decodes
        f.output(
            "out_prefill_indices",
            (rows, width),
            lambda r, j: nb.where(j < end(r + decodes), j, -1),
        )


def c128a_indices(
    positions: Any,
    *,
    num_decode_tokens: int,
    width: int,
    token_to_req: Any = None,
    block_table: Any = None,
    slot_mapping: Any = None,
    out_decode_indices: Any = None,
    out_decode_lens: Any = None,
    out_prefill_indices: Any = None,
    block_size: int,
    num_tokens: int | None = None,
    stream: Any = None,
) -> None:
    """All compressed tokens of layers that keep one of 128: slots for decodes, places for
    prefills.

    Token t has the first k = (positions[t] + 1) // 128 of them, at most `width`. The first
    `num_decode_tokens` rows are `out_decode_indices` [num_decode_tokens, width]: the slots of
    places 0 to k by the block table's row ``token_to_req[t]``, in pages of `block_size`, then
    -1; and `out_decode_lens`: how many slots there are, 0 where ``slot_mapping[t]`` is
    negative. The rows after them are `out_prefill_indices` [num_tokens - num_decode_tokens,
    width]: 0 to k, then -1. Those that are None are left out.
    """
    run(
        write_c128a_indices,
        (constant("block_size", block_size, 1),),
        {
            "positions": positions,
            "token_to_req": token_to_req,
            "block_table": block_table,
            "slot_mapping": slot_mapping,
        },
        {
            "out_decode_indices": out_decode_indices,
            "out_decode_lens": out_decode_lens,
            "out_prefill_indices": out_prefill_indices,
        },
        {
            "num_tokens": (num_tokens, ("positions", 0, 0)),
            "num_decode_tokens": (num_decode_tokens, None),
            "width": (width, None),
        },
        stream,
    )


def write_combine_topk_swa_indices(
    f: Formulas, window: int, ratio: int, topk: int, image: int
) -> None:
    requests = Requests(f)
    rows = f.size("num_tokens")
    chosen = f.input("topk_indices", (rows, None)) if topk else None
    gathers = f.input("gather_lens", (requests.count,))
    stride, first = f.size("workspace_stride"), f.size("window_offset")
    width = -(-(topk + window + image) // COMBINED_MULTIPLE) * COMBINED_MULTIPLE

    def visible(side: str, r: Any) -> Any:
        return index(f.input(side, (None,))[r].otherwise(0)) if f.has(side) else 0

    def parts(r: Any) -> tuple[nb.Element, nb.Element, nb.Element, nb.Element]:
        """The request, how many compressed rows, where the window begins and its length."""
        t = r + requests.start(0)
        b = requests.of(t)
        position = requests.position(t, b)
        compressed = clamp((position + 1) // ratio, 0, topk) if ratio else 0
        gathered = requests.length(b) - index(gathers[b].otherwise(0))
        start = position - (window - 1)
        if f.has("left_visible"):
            left = visible("left_visible", r)
            start = start - nb.maximum(left - (window - 1), 0)
        start = nb.maximum(nb.maximum(start, 0), gathered)
        end = position + visible("right_visible", r) + 1
        return b, compressed, start - gathered, clamp(end - start, 0, window + image)

    def row(r: nb.Element, j: nb.Element) -> nb.Element:
        b, compressed, start, length = parts(r)
        base = b * stride
        i = j - compressed
        place = nb.where(i < length, base + first + start + i, -1)
        if chosen is None:
            return place
        x = index(chosen[r, j].otherwise(-1))
        known = nb.where((x >= 0) & (x < first), base + x, -1)
        return nb.where(j < compressed, known, place)

    f.output("out_indices", (rows, width), row)

    def length(r: nb.Element) -> nb.Element:
        _, compressed, _, of_window = parts(r)
        return compressed + of_window

    f.output("out_lens", rows, length)


def combine_topk_swa_indices(
    topk_indices: Any,
    query_start_loc: Any,
    seq_lens: Any,
    gather_lens: Any,
    out_indices: Any,
    out_lens: Any,
    *,
    window: int,
    ratio: int,
    topk: int,
    workspace_stride: int,
    window_offset: int,
    left_visible: Any = None,
    right_visible: Any = None,
    max_image_tokens: int = 0,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The rows of a rectangular workspace that each query of a prefill attends to.

    Request b has `workspace_stride` rows: its compressed tokens, and from `window_offset` on
    its last ``gather_lens[b]`` tokens. Row r is the chunk's token r, at position p of b:

    - first the k = (p + 1) // ratio, at most `topk`, compressed ones (none, if `ratio` is 0):
      x = ``topk_indices[r, j]`` is row ``b * workspace_stride + x``, -1 if x is not from 0 to
      `window_offset`;
    - then its window: up to ``p + right_visible[r]`` from ``p - (window - 1)``, or earlier as
      in ``swa_indices``, as far as it was gathered, at most `window` + `max_image_tokens`;
    - then -1, up to their sum, `topk` + `window` + `max_image_tokens`, rounded up to 128.

    `out_lens`: how many there are of the first two. `query_start_loc`: [num_reqs + 1], from
    any number on. `num_tokens`: left out, the elements of `out_lens`.
    """
    run(
        write_combine_topk_swa_indices,
        (
            constant("window", window, 1),
            constant("ratio", ratio, 0),
            constant("topk", topk, 0),
            constant("max_image_tokens", max_image_tokens, 0),
        ),
        {
            "topk_indices": topk_indices if topk else None,
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "gather_lens": gather_lens,
            "left_visible": left_visible,
            "right_visible": right_visible,
        },
        {"out_indices": out_indices, "out_lens": out_lens},
        {
            "num_tokens": (num_tokens, ("out_lens", 0, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
            "workspace_stride": (workspace_stride, None),
            "window_offset": (window_offset, None),
        },
        stream,
    )
