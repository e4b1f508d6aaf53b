# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What arrays of fields need, from the formulas themselves, and the sizes that a host with lists of
lengths knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ._dsa_ranks import RankedExtend
from ._errors import INT32_MAX, check_mode, constant, wrong
from ._fields import Fields
from ._kpool import INDEX_PAGE_SIZE
from ._v4 import MODES
from ._v4_ranks import RankStep
from ._v4_rows import Options
from .build._sizes import Affine, Symbol, Tree

Shapes = dict[str, tuple[tuple[int, ...], str]]


def _evaluate(tree: Tree, sizes: dict[str, int | None]) -> int:
    if isinstance(tree, int):
        return tree
    if isinstance(tree, Symbol):
        name = tree.name.removeprefix("%")
        size = sizes.get(name)
        if size is None:
            raise wrong(TypeError, name, "missing, a field needs it")
        return size
    assert isinstance(tree, Affine)
    a, b = _evaluate(tree.lhs, sizes), _evaluate(tree.rhs, sizes)
    operations = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "floordiv": lambda: a // b,
        "mod": lambda: a % b,
        "ceildiv": lambda: -(-a // b),
    }
    return operations[tree.op]()


def _shapes(step: Fields, fields: Iterable[str], sizes: dict[str, int | None]) -> Shapes:
    found = {}
    for name in fields:
        array = step.field(name)
        shape = tuple(
            extent if isinstance(extent, int) else max(_evaluate(extent.tree, sizes), 0)
            for extent in array.shape
        )
        found[name] = (shape, array.dtype)
    return found


def v4_shapes(
    fields: Sequence[str],
    mode: str = "decode",
    *,
    bs: int | None = None,
    next_n: int = 1,
    rows: int | None = None,
    num_locs: int | None = None,
    max_len: int | None = None,
    topk: int = 512,
    page_size: int = 256,
    window: int = 128,
    index_page_size: int = 64,
    steps: int = 1,
    request_window: Any = None,
    tail_rows: int | None = None,
    ranks: int = 1,
    rank: int = 0,
    rank_tail_rows: int | None = None,
    index_keys: int | None = None,
) -> Shapes:
    """What ``nsa.ops.replay_v4`` needs of the array of each field: a dict, field name ->
    (shape, dtype).

    `rows`: of ragged modes, with padding; a target_verify with `rows` is ragged. `num_locs`:
    how long `out_cache_loc` is (left out: a location for each row). `index_keys`: how many
    keys there are, or room for, in cQ_index_k_slots. All else as there, where each size is
    only needed by some fields. Raises ``TypeError`` for one that is missing, ``ValueError``
    for what is no field of the mode.

        >>> v4_shapes(["page_table", "c4_out_loc"], bs=3, max_len=1000)
        {'page_table': ((3, 4), 'int32'), 'c4_out_loc': ((3,), 'int64')}
    """
    check_mode(mode, MODES)
    ragged = mode == "extend" or (mode == "target_verify" and rows is not None)
    kept = dict(request_window or {})
    options = Options(
        mode, constant("next_n", next_n, 1), ragged, False, constant("topk", topk, 1),
        constant("page_size", page_size, 1), constant("window", window, 1),
        constant("index_page_size", index_page_size, 1), steps=constant("steps", steps, 1),
        request_window=None if request_window is None else kept.get("capacity", 256),
    )  # fmt: skip
    ranks = constant("ranks", ranks, 1)
    count = rows if ragged else None if bs is None else bs * next_n
    if num_locs is None and count is not None:
        num_locs = count * steps
    sizes = {
        "bs": bs, "rows": rows, "num_locs": num_locs, "max_len": max_len,
        "c1_num_slots": index_keys, "c2_num_slots": index_keys, "num_offsets": bs,
        "tail_rows": tail_rows, "groups": kept.get("groups"), "ranks": ranks,
        "rank_rows": None if count is None else rank_rows(count, ranks, rank),
        "rank_tail_rows": rank_tail_rows,
    }  # fmt: skip
    return _shapes(RankStep(options, {}), fields, sizes)


def dsa_prefill_shapes(
    fields: Sequence[str],
    *,
    bs: int | None = None,
    num_tokens: int | None = None,
    rows: int | None = None,
    max_len: int | None = None,
    page_size: int = 64,
    index_kpool: int = 1,
    num_keys: int | None = None,
    num_pools: int | None = None,
    num_tails: int | None = None,
    num_index_pages: int | None = None,
    ranks: int = 1,
    rank: int = 0,
    rank_bs: int | None = None,
    rank_rows: int | None = None,
) -> Shapes:
    """What ``nsa.ops.dsa_prefill`` needs of the array of each field: a dict, field name ->
    (shape, dtype).

    `num_keys`: the sum of S; `num_pools`, `num_tails`, `num_index_pages`: what ``extend_pools``
    returns, or room for as many; for fields of a rank they are those of its requests. All else
    as there, where each size is only needed by some fields. Raises ``TypeError`` for one that
    is missing, ``ValueError`` for what is no field.

        >>> dsa_prefill_shapes(["ks", "rank_ks"], num_tokens=9, ranks=2, rank=1)
        {'ks': ((9,), 'int32'), 'rank_ks': ((4,), 'int32')}
    """
    ranks = constant("ranks", ranks, 1)
    if rank_rows is None and num_tokens is not None:
        rank_rows = _rank_rows(num_tokens, ranks, rank)
    sizes = {
        "bs": bs, "num_tokens": num_tokens, "rows": num_tokens if rows is None else rows,
        "max_len": max_len, "num_keys": num_keys, "num_pools": num_pools,
        "num_tails": num_tails, "num_index_pages": num_index_pages, "ranks": ranks,
        "rank_bs": bs if rank_bs is None else rank_bs, "rank_rows": rank_rows,
        "rank_num_keys": num_keys, "rank_num_index_pages": num_index_pages,
    }  # fmt: skip
    page_size = constant("page_size", page_size, 1)
    step = RankedExtend(0, page_size, constant("index_kpool", index_kpool, 1), {})
    return _shapes(step, fields, sizes)


def rank_rows(rows: int, ranks: int, rank: int) -> int:
    """How many of `rows` rows `rank` has, of `ranks` that share them one by one.

        >>> [rank_rows(7, 3, rank) for rank in range(3)]
        [3, 2, 2]
    """
    rows = constant("rows", rows, 0)
    ranks = constant("ranks", ranks, 1)
    return (rows - constant("rank", rank, 0, ranks - 1) + ranks - 1) // ranks


_rank_rows = rank_rows


def tail_rows(
    extend_lens: Iterable[int],
    window: int = 128,
    whole: Iterable[Any] | None = None,
    ranks: int = 1,
) -> int:
    """The rows of an extend's tail: the last `window` of each request, all of those that are
    `whole`. With `ranks`, the most that any of them has, which is `rank_tail_rows`.

        >>> tail_rows([300, 5]), tail_rows([300, 5], ranks=2)
        (133, 67)
    """
    window, ranks = constant("window", window, 1), constant("ranks", ranks, 1, INT32_MAX)
    lens = [constant("extend_lens", n, 0) for n in extend_lens]
    flags = [False] * len(lens) if whole is None else [bool(flag) for flag in whole]
    if len(flags) != len(lens):
        raise wrong(ValueError, "whole", f"expected {len(lens)} but got {len(flags)}")
    counts, end = [0] * min(ranks, sum(lens) + 1), 0
    for length, flag in zip(lens, flags):
        end += length
        first = end - (length if flag else min(length, window))
        for rank in range(len(counts)):
            before = [(row - rank + ranks - 1) // ranks for row in (first, end)]
            counts[rank] += before[1] - before[0]
    return max(counts)


class ExtendPools(NamedTuple):
    """What an extend with pooled index keys has rows for."""

    #: Pools that become whole.
    num_pools: int
    #: Requests with tokens left over.
    num_tails: int
    #: Pages of keys, of all requests.
    num_index_pages: int


def extend_pools(
    seq_lens: Iterable[int], extend_lens: Iterable[int], index_kpool: int
) -> ExtendPools:
    """The rows of the plan of ``nsa.ops.dsa_prefill`` with `index_kpool`.

        >>> extend_pools([10, 300], [3, 300], 4)
        ExtendPools(num_pools=76, num_tails=1, num_index_pages=3)
    """
    pool = constant("index_kpool", index_kpool, 1)
    pools = tails = pages = 0
    for length, extend in zip(list(seq_lens), list(extend_lens), strict=True):
        length = constant("seq_lens", length, 0)
        start = length - constant("extend_lens", extend, 0, length)
        whole = length // pool - start // pool
        pools += whole
        tails += extend > max(whole * pool - start % pool, 0)
        pages += -(-(length // pool) // INDEX_PAGE_SIZE)
    return ExtendPools(pools, tails, pages)
