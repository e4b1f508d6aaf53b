# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where tokens are in the caches: block tables and slot mappings of KV cache groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import build as nb
from .._errors import constant, wrong
from ._formulas import (
    ContextParallel,
    Requests,
    check_context_parallel,
    index,
    local_length,
    local_place,
    owner,
    slot,
)
from ._launch import Formulas, run

__all__ = [
    "compressed_slot_mapping",
    "dcp_local_seq_lens",
    "gather_block_tables",
    "kernel_block_table",
    "kpool_tail_slot_mapping",
    "slot_mappings",
]


def write_compressed_slot_mapping(
    f: Formulas, block_size: int, ratio: int, cp: ContextParallel | None
) -> None:
    requests = Requests(f)
    table = f.input("block_table", (None, None))
    slots = f.input("slot_mapping", (None,))

    def place(t: nb.Element) -> nb.Element:
        b = requests.of(t)
        position = requests.position(t, b)
        is_last = (position >= 0) & ((position + 1) % ratio == 0)
        is_stored = (t < requests.num_tokens) & (slots[t].otherwise(-1) != -1)
        state = local_place(position, cp) // ratio
        return nb.where(is_last & is_stored, slot(table, b, state, block_size), -1)

    f.output("out", "capacity", place)


def compressed_slot_mapping(
    query_start_loc: Any,
    seq_lens: Any,
    slot_mapping: Any,
    block_table: Any,
    out: Any,
    *,
    block_size: int,
    ratio: int,
    context_parallel: Any = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The slots of compressed states: `ratio` tokens share one, which the last of them
    stores.

    All of `out` is written: token t of a request gets the slot, in pages of `block_size`
    states, of state ``position // ratio`` if `ratio` divides ``position + 1`` and
    ``slot_mapping[t]`` is not -1, and -1 otherwise, as do elements past the last token. Under
    `context_parallel` positions are those of the rank's own tokens.

    `query_start_loc`: [num_reqs + 1]; `seq_lens`: [num_reqs]; `slot_mapping`: [tokens];
    `block_table`: [rows, columns], with num_reqs rows if that is left out.
    """
    run(
        write_compressed_slot_mapping,
        (
            constant("block_size", block_size, 1),
            constant("ratio", ratio, 1),
            check_context_parallel(context_parallel),
        ),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "slot_mapping": slot_mapping,
            "block_table": block_table,
        },
        {"out": out},
        {
            "num_reqs": (num_reqs, ("block_table", 0, 0)),
            "capacity": (None, ("out", 0, 0)),
        },
        stream,
    )


def write_gather_block_tables(f: Formulas, groups: tuple[tuple[int, int], ...]) -> None:
    count, rows = f.size("num_reqs"), f.size("num_rows")
    states = f.input("idx_mapping", (count,))
    blocks = f.input("num_blocks", (None, None))

    def state(r: Any) -> nb.Element:
        return index(states[r].otherwise(-1))

    for number, (block_size, reach) in enumerate(groups):
        table = f.input(f"block_table{number}", (None, None))

        def first(r: Any, block_size: int = block_size, reach: int = reach) -> Any:
            """The first block that is still kept."""
            if reach == 0 or not f.has("num_computed_tokens"):
                return 0
            computed = f.input("num_computed_tokens", (None,))
            before = nb.maximum(index(computed[state(r)].otherwise(0)) - reach, 0)
            return before // block_size

        def block(
            r: nb.Element, c: nb.Element, table: nb.Array = table, first: Any = first
        ) -> nb.Element:
            kept = (r < count) & (c >= first(r))
            return nb.where(kept, table[state(r), c].otherwise(0), 0)

        def is_written(r: nb.Element, c: nb.Element, number: int = number) -> nb.Element:
            return (r >= count) | (c < index(blocks[number, state(r)].otherwise(-1)))

        f.output(f"out{number}", (rows, f"columns{number}"), block, when=is_written)


def gather_block_tables(
    idx_mapping: Any,
    block_tables: Sequence[Any],
    num_blocks: Any,
    outs: Sequence[Any],
    *,
    block_sizes: Sequence[int],
    num_rows: int,
    num_computed_tokens: Any = None,
    reach: Sequence[int] | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The block tables of a batch's requests in each KV cache group.

    Row r of ``outs[g]`` is row ``idx_mapping[r]`` of ``block_tables[g]`` [requests, columns],
    its first ``num_blocks[g, idx_mapping[r]]`` columns; what is right of them is left as it
    is, and so is the row of a request that is not in `num_blocks`. Rows from `num_reqs` to
    `num_rows` are 0 in all columns.

    With `num_computed_tokens`, by request, groups of a window have 0 in place of the blocks
    that lie wholly before it: those of the first ``max(num_computed_tokens - reach[g], 0) //
    block_sizes[g]`` columns, if ``reach[g]`` is more than 0.
    """
    count = len(outs)
    reach = [0] * count if reach is None else reach
    check_groups(count, block_tables=block_tables, block_sizes=block_sizes, reach=reach)
    groups = tuple(
        (constant("block_sizes", size, 1), constant("reach", kept, 0))
        for size, kept in zip(block_sizes, reach)
    )
    if not any(kept for _, kept in groups):
        num_computed_tokens = None
    run(
        write_gather_block_tables,
        (groups,),
        {
            "idx_mapping": idx_mapping,
            "num_blocks": num_blocks,
            "num_computed_tokens": num_computed_tokens,
            **{f"block_table{g}": table for g, table in enumerate(block_tables)},
        },
        {f"out{g}": out for g, out in enumerate(outs)},
        {
            "num_rows": (num_rows, None),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
            **{f"columns{g}": (None, (f"out{g}", 1, 0)) for g in range(count)},
        },
        stream,
    )


def check_groups(count: int, **given: Sequence[Any]) -> None:
    """Raises ``ValueError`` where there is not one of each for every group."""
    for name, each in given.items():
        if len(each) != count:
            raise wrong(
                ValueError, name, f"expected {count}, one for each of outs, but got {len(each)}"
            )


def write_slot_mappings(
    f: Formulas, groups: tuple[tuple[int, bool, bool], ...], cp: ContextParallel | None
) -> None:
    requests = Requests(f, lens=False)
    states = f.input("idx_mapping", (requests.count,))
    positions = f.input("positions", (None,))

    def mapping(
        table: nb.Array, block_size: int, enabled: bool, sharded: bool, t: nb.Element
    ) -> nb.Element:
        row = index(states[requests.of(t)].otherwise(-1))
        position = index(positions[t].otherwise(-1))
        is_own = (t < requests.num_tokens) & (row >= 0)
        place = position
        if cp is not None and sharded:
            block = block_size * cp.size
            within = position % block
            is_own = is_own & (owner(within, cp) == cp.rank)
            place = position // block * block_size + local_place(within, cp)
        return nb.where(is_own, slot(table, row, place, block_size), -1)

    for number, (block_size, enabled, sharded) in enumerate(groups):
        table = f.input(f"block_table{number}", (None, None)) if enabled else None

        def element(
            t: nb.Element,
            table: Any = table,
            block_size: int = block_size,
            enabled: bool = enabled,
            sharded: bool = sharded,
        ) -> nb.Element:
            if not enabled:
                return nb.constant(-1, "int64")
            return mapping(table, block_size, enabled, sharded, t)

        f.output(f"out{number}", f"capacity{number}", element)


def slot_mappings(
    idx_mapping: Any,
    query_start_loc: Any,
    positions: Any,
    block_tables: Sequence[Any],
    outs: Sequence[Any],
    *,
    block_sizes: Sequence[int],
    enabled: Sequence[bool] | None = None,
    sharded: Sequence[bool] | None = None,
    context_parallel: Any = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The slots of a step's tokens in each KV cache group.

    Group g has ``block_tables[g]`` [requests, columns], in which request b of the batch is
    row ``idx_mapping[b]``, pages of ``block_sizes[g]`` tokens, and all of ``outs[g]``
    written: the slot of ``positions[t]``, -1 for tokens past all requests, those of a request
    with a negative row, and all of a group that is not `enabled`. Under `context_parallel`,
    groups that are `sharded` (left out: all) have the rank's own tokens, each page one of
    `size` times as many tokens, and -1 for others' tokens.

    `idx_mapping`: [num_reqs]; `query_start_loc`: [num_reqs + 1]; `positions`: [tokens].
    """
    count = len(outs)
    enabled = [True] * count if enabled is None else enabled
    sharded = [True] * count if sharded is None else sharded
    check_groups(
        count,
        block_tables=block_tables,
        block_sizes=block_sizes,
        enabled=enabled,
        sharded=sharded,
    )
    groups = tuple(
        (constant("block_sizes", size, 1), bool(is_on), bool(is_shared))
        for size, is_on, is_shared in zip(block_sizes, enabled, sharded)
    )
    tables = {f"block_table{g}": table for g, table in enumerate(block_tables) if groups[g][1]}
    run(
        write_slot_mappings,
        (groups, check_context_parallel(context_parallel)),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "positions": positions,
            **tables,
        },
        {f"out{g}": out for g, out in enumerate(outs)},
        {
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
            **{f"capacity{g}": (None, (f"out{g}", 0, 0)) for g in range(count)},
        },
        stream,
    )


def write_kernel_block_table(f: Formulas, blocks: int, stride: int) -> None:
    table = f.input("block_table", (None, None))

    def block(b: nb.Element, c: nb.Element) -> nb.Element:
        page = index(table[b, c // blocks].otherwise(0))
        return page * stride + c % blocks

    f.output("out", (f.size("num_reqs"), table.shape[1] * blocks), block)


def kernel_block_table(
    block_table: Any,
    out: Any,
    *,
    blocks: int,
    stride: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """A block table of smaller blocks: each is `blocks` of them, and `stride` (left out:
    `blocks`) apart.

    ``out[b, c * blocks + j] = block_table[b, c] * stride + j``, of `num_reqs` rows (left out:
    those of `block_table`).
    """
    blocks = constant("blocks", blocks, 1)
    stride = blocks if stride is None else constant("stride", stride, 1)
    run(
        write_kernel_block_table,
        (blocks, stride),
        {"block_table": block_table},
        {"out": out},
        {"num_reqs": (num_reqs, ("block_table", 0, 0))},
        stream,
    )


def write_dcp_local_seq_lens(f: Formulas, cp: ContextParallel | None) -> None:
    bs = f.size("num_reqs")
    lens = f.input("seq_lens", (bs,))

    def length(b: nb.Element) -> nb.Element:
        return nb.where(b < bs, local_length(index(lens[b].otherwise(0)), cp), 0)

    f.output("out", "capacity", length)


def dcp_local_seq_lens(
    seq_lens: Any,
    out: Any,
    *,
    context_parallel: Any,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """How many tokens of each of `num_reqs` requests the rank has; 0 in the rest of `out`."""
    run(
        write_dcp_local_seq_lens,
        (check_context_parallel(context_parallel),),
        {"seq_lens": seq_lens},
        {"out": out},
        {
            "num_reqs": (num_reqs, ("seq_lens", 0, 0)),
            "capacity": (None, ("out", 0, 0)),
        },
        stream,
    )


def write_kpool_tail_slot_mapping(f: Formulas, kpool: int) -> None:
    requests = Requests(f, lens=False)
    table = f.input("block_table", (None, None))
    positions = f.input("positions", (None,))
    slots = f.input("slot_mapping", (None,))

    def place(t: nb.Element) -> nb.Element:
        block = index(table[requests.of(t), 0].otherwise(0))
        position = index(positions[t].otherwise(0))
        tail = nb.where(block != 0, block * kpool + position % kpool, -1)
        actual = nb.where(requests.count > 0, f.size("num_actual_tokens"), 0)
        return nb.where(t < actual, tail, index(slots[t].otherwise(-1)))

    f.output("out", "num_tokens", place)


def kpool_tail_slot_mapping(
    query_start_loc: Any,
    positions: Any,
    slot_mapping: Any,
    block_table: Any,
    out: Any,
    *,
    kpool: int,
    num_actual_tokens: int,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The slots of tokens in their request's one block of `kpool` slots, which they go round.

    ``out[t] = block_table[b, 0] * kpool + positions[t] % kpool`` for the first
    `num_actual_tokens`, -1 where that block is 0, which is nobody's; ``slot_mapping[t]`` for
    the others, as many as `slot_mapping` has. Tokens past all requests are the last one's.
    """
    run(
        write_kpool_tail_slot_mapping,
        (constant("kpool", kpool, 1),),
        {
            "query_start_loc": query_start_loc,
            "positions": positions,
            "slot_mapping": slot_mapping,
            "block_table": block_table,
        },
        {"out": out},
        {
            "num_actual_tokens": (num_actual_tokens, None),
            "num_tokens": (None, ("slot_mapping", 0, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )
