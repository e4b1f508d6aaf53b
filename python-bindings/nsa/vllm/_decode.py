# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tokens and their requests, and a decode batch as kernels of one token a row want it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import (
    ContextParallel,
    Requests,
    check_context_parallel,
    index,
    local_length,
)
from ._launch import Formulas, run

__all__ = [
    "native_decode",
    "ragged_decode",
    "token_to_req_indices",
    "uniform_decode",
    "varlen_decode",
]


def write_token_to_req_indices(f: Formulas) -> None:
    requests = Requests(f, lens=False)
    mapped = f.size("num_mapped_tokens")

    def request(t: nb.Element) -> nb.Element:
        return nb.where(t < mapped, requests.of(t), 0)

    f.output("out", "num_tokens", request)


def token_to_req_indices(
    query_start_loc: Any,
    out: Any,
    *,
    num_mapped_tokens: int | None = None,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The request of each token: ``out[t]`` is b with ``query_start_loc[b] <= t <
    query_start_loc[b + 1]``, the last request for tokens past all of them.

    `query_start_loc`: [num_reqs + 1], int32 or int64, ascending. `out`: [num_tokens or
    more], int32 or int64; tokens from `num_mapped_tokens` on (left out: none of them) get 0.
    Errors as for all functions of this package.
    """
    sizes = {
        "num_tokens": (num_tokens, ("out", 0, 0)),
        "num_mapped_tokens": (num_mapped_tokens, ("out", 0, 0)),
        "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
    }
    inputs = {"query_start_loc": query_start_loc}
    run(write_token_to_req_indices, (), inputs, {"out": out}, sizes, stream)


def shorten(
    length: nb.Element, context_parallel: ContextParallel | None, ratio: int
) -> nb.Element:
    """A length as the rank's compressed cache has it."""
    local = local_length(length, context_parallel)
    return local if ratio == 1 else local // ratio


def write_rows(
    f: Formulas,
    num_tokens: Any,
    request: Callable[[nb.Element], nb.Element],
    is_live: Callable[[nb.Element], Any] | None = None,
) -> None:
    """Block tables of rows of one token each, and that they have one."""
    if f.has("out_block_table"):
        table = f.input("block_table", (None, None))

        def block(t: nb.Element, c: nb.Element) -> nb.Element:
            found = table[request(t), c].otherwise(0)
            return found if is_live is None else nb.where(is_live(t), found, 0)

        f.output("out_block_table", (num_tokens, table.shape[1]), block)
    if f.has("out_decode_lens"):
        f.output("out_decode_lens", num_tokens, lambda t: nb.constant(1, "int32"))


def write_uniform_decode(
    f: Formulas, next_n: int, context_parallel: ContextParallel | None, ratio: int
) -> None:
    bs = f.size("num_reqs")
    lens = f.input("seq_lens", (bs,))

    def length(t: nb.Element) -> nb.Element:
        b, j = t // next_n, t % next_n
        length = nb.maximum(index(lens[b].otherwise(0)) - next_n + j + 1, 0)
        return nb.where(b < bs, shorten(length, context_parallel, ratio), 0)

    f.output("out_seq_lens", "capacity", length)
    write_rows(f, bs * next_n, lambda t: t // next_n)


def uniform_decode(
    seq_lens: Any,
    *,
    next_n: int,
    out_seq_lens: Any,
    block_table: Any = None,
    out_block_table: Any = None,
    out_decode_lens: Any = None,
    context_parallel: Any = None,
    ratio: int = 1,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """A decode of `next_n` tokens a request as rows of one token each.

    Row t is token ``j = t % next_n`` of request ``b = t // next_n``, for n = num_reqs *
    next_n rows:

    ==================  ============  ========================================================
    array               elements      value
    ==================  ============  ========================================================
    `out_seq_lens`      all           max(seq_lens[b] - next_n + j + 1, 0), the rank's own part
                                      of it under `context_parallel`, divided by `ratio`; 0
                                      from row n on
    `out_block_table`   [n, columns]  block_table[b, c]
    `out_decode_lens`   [n]           1
    ==================  ============  ========================================================

    Those that are None are left out. `seq_lens`: [num_reqs]; `block_table`: [rows, columns];
    `context_parallel`: (size, rank, interleave).
    """
    constants = check_decode(context_parallel, ratio)
    next_n = constant("next_n", next_n, 1)
    run(
        write_uniform_decode,
        (next_n, *constants),
        {"seq_lens": seq_lens, "block_table": block_table},
        {
            "out_seq_lens": out_seq_lens,
            "out_block_table": out_block_table,
            "out_decode_lens": out_decode_lens,
        },
        {
            "num_reqs": (num_reqs, ("seq_lens", 0, 0)),
            "capacity": (None, ("out_seq_lens", 0, 0)),
        },
        stream,
    )


def write_native_decode(
    f: Formulas, next_n: int, context_parallel: ContextParallel | None, ratio: int
) -> None:
    bs = f.size("num_reqs")
    lens = f.input("seq_lens", (bs,))

    def length(b: nb.Element, j: nb.Element) -> nb.Element:
        length = nb.maximum(index(lens[b].otherwise(0)) - next_n + 1 + j, 0)
        return shorten(length, context_parallel, ratio)

    f.output("out_seq_lens", (bs, next_n), length)


def native_decode(
    seq_lens: Any,
    *,
    next_n: int,
    out_seq_lens: Any,
    context_parallel: Any = None,
    ratio: int = 1,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The lengths of a decode of `next_n` tokens a request, for kernels that take them so:
    `out_seq_lens` [num_reqs, next_n], with the values of ``uniform_decode``."""
    constants = check_decode(context_parallel, ratio)
    next_n = constant("next_n", next_n, 1)
    run(
        write_native_decode,
        (next_n, *constants),
        {"seq_lens": seq_lens},
        {"out_seq_lens": out_seq_lens},
        {"num_reqs": (num_reqs, ("seq_lens", 0, 0))},
        stream,
    )


def write_varlen_decode(
    f: Formulas, context_parallel: ContextParallel | None, ratio: int
) -> None:
    requests = Requests(f)
    rows = f.size("num_tokens")

    def is_live(t: nb.Element) -> nb.Element:
        return t < requests.num_tokens

    def length(t: nb.Element) -> nb.Element:
        length = requests.position(t, requests.of(t)) + 1
        length = shorten(length, context_parallel, ratio)
        return nb.where(is_live(t) & (t < rows), length, 0)

    f.output("out_seq_lens", "capacity", length)
    write_rows(f, rows, requests.of, is_live)
    if f.has("out_indices"):

        def number(t: nb.Element) -> nb.Element:
            after = requests.count + t - requests.num_tokens
            return nb.where(is_live(t), requests.of(t), after)

        f.output("out_indices", rows, number)
    if f.has("out_per_req_lens"):
        f.output("out_per_req_lens", requests.count, requests.query_length)


def varlen_decode(
    query_start_loc: Any,
    seq_lens: Any,
    *,
    num_tokens: int,
    out_seq_lens: Any,
    block_table: Any = None,
    out_block_table: Any = None,
    out_decode_lens: Any = None,
    out_indices: Any = None,
    out_per_req_lens: Any = None,
    context_parallel: Any = None,
    ratio: int = 1,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """A decode of any number of tokens a request as rows of one token each, for kernels that
    are told whose they are.

    Row t is a token of request b, and live, if it is before ``query_start_loc[num_reqs]``;
    there are `num_tokens` rows:

    ===================  ==================  =================================================
    array                elements            value
    ===================  ==================  =================================================
    `out_seq_lens`       all                 the token's position + 1, the rank's own part of
                                             it under `context_parallel`, divided by `ratio`;
                                             0 where it is not live, and from `num_tokens` on
    `out_block_table`    [num_tokens, cols]  block_table[b, c]; 0 where it is not live
    `out_decode_lens`    [num_tokens]        1
    `out_indices`        [num_tokens]        b; num_reqs and what follows where it is not live
    `out_per_req_lens`   [num_reqs]          how many tokens the request has
    ===================  ==================  =================================================

    A request's tokens are the last ones of its sequence. Those that are None are left out.
    """
    run(
        write_varlen_decode,
        check_decode(context_parallel, ratio),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "block_table": block_table,
        },
        {
            "out_seq_lens": out_seq_lens,
            "out_block_table": out_block_table,
            "out_decode_lens": out_decode_lens,
            "out_indices": out_indices,
            "out_per_req_lens": out_per_req_lens,
        },
        {
            "num_tokens": (num_tokens, None),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
            "capacity": (None, ("out_seq_lens", 0, 0)),
        },
        stream,
    )


def write_ragged_decode(
    f: Formulas, context_parallel: ContextParallel | None, ratio: int
) -> None:
    requests = Requests(f)
    rows = f.size("num_tokens")

    def is_live(t: nb.Element) -> nb.Element:
        return (t < requests.num_tokens) & (t < rows)

    def length(t: nb.Element) -> nb.Element:
        length = requests.position(t, requests.of(t)) + 1
        return nb.where(is_live(t), shorten(length, context_parallel, ratio), 0)

    f.output("out_seq_lens", "capacity", length)
    if f.has("out_block_table"):
        table = f.input("block_table", (None, None))

        def block(t: nb.Element, c: nb.Element) -> nb.Element:
            return nb.where(is_live(t), table[requests.of(t), c].otherwise(0), 0)

        f.output(
            "out_block_table",
            (rows, table.shape[1]),
            block,
            when=lambda t, c: is_live(t) | (c == 0),
        )
    f.output("out_decode_lens", rows, lambda t: nb.constant(1, "int32"))


def ragged_decode(
    query_start_loc: Any,
    seq_lens: Any,
    *,
    num_tokens: int,
    out_seq_lens: Any,
    block_table: Any = None,
    out_block_table: Any = None,
    out_decode_lens: Any = None,
    context_parallel: Any = None,
    ratio: int = 1,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The same as ``varlen_decode``, for kernels that need no more of a row that is not live
    than its first block: of `out_block_table` such a row's other columns are left as they
    are."""
    run(
        write_ragged_decode,
        check_decode(context_parallel, ratio),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "block_table": block_table,
        },
        {
            "out_seq_lens": out_seq_lens,
            "out_block_table": out_block_table,
            "out_decode_lens": out_decode_lens,
        },
        {
            "num_tokens": (num_tokens, None),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
            "capacity": (None, ("out_seq_lens", 0, 0)),
        },
        stream,
    )


def check_decode(context_parallel: Any, ratio: int) -> tuple[ContextParallel | None, int]:
    return check_context_parallel(context_parallel), constant("ratio", ratio, 1)
