# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prefills in chunks, as an indexer of compressed tokens wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import (
    ContextParallel,
    Requests,
    check_context_parallel,
    clamp,
    index,
    local_length,
)
from ._launch import Formulas, run

__all__ = ["prefill_chunk"]


def write_prefill_chunk(f: Formulas, ratio: int, cp: ContextParallel | None) -> None:
    requests = Requests(f)
    count = requests.count

    def compressed(b: nb.Element) -> nb.Element:
        return requests.length(b) // ratio

    def sums_of(name: str, element: Callable[[nb.Element], nb.Element]) -> nb.Array:
        if f.has(name):
            return f.input(name, (count + 1,))
        return f.s.scan(f.s.map(count, element, dtype="int64"))

    sums = sums_of("cu_seq_lens", compressed)
    own = sums
    if cp is not None or f.has("local_cu_seq_lens"):
        own = sums_of("local_cu_seq_lens", lambda b: local_length(compressed(b), cp))
    first, rows = f.size("first_row"), f.size("num_rows")

    def bounds(r: nb.Element) -> tuple[nb.Element, nb.Element]:
        t = r + first + requests.start(0)
        b = requests.of(t)
        start = index(own[b].otherwise(0))
        seen = (requests.position(t, b) + 1) // ratio
        return start, start + local_length(seen, cp)

    if f.has("out_ks"):
        f.output("out_ks", rows, lambda r: bounds(r)[0])
    if f.has("out_ke"):
        f.output("out_ke", rows, lambda r: bounds(r)[1])
    if f.has("out_token_to_seq"):

        def request(m: nb.Element) -> nb.Element:
            return clamp(sums.search(m) - 1, 0, nb.maximum(count - 1, 0))

        f.output(
            "out_token_to_seq",
            "capacity",
            request,
            when=lambda m: m < index(sums[count].otherwise(0)),
        )
    if f.has("out_cu_seq_lens"):
        f.output("out_cu_seq_lens", count + 1, lambda b: sums[b].otherwise(0))
    if f.has("out_local_cu_seq_lens"):
        f.output("out_local_cu_seq_lens", count + 1, lambda b: own[b].otherwise(0))


def prefill_chunk(
    query_start_loc: Any,
    seq_lens: Any,
    *,
    ratio: int = 1,
    cu_seq_lens: Any = None,
    local_cu_seq_lens: Any = None,
    out_ks: Any = None,
    out_ke: Any = None,
    out_token_to_seq: Any = None,
    out_cu_seq_lens: Any = None,
    out_local_cu_seq_lens: Any = None,
    context_parallel: Any = None,
    first_row: int = 0,
    num_rows: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """Which of a chunk's gathered keys each query sees.

    The keys of the chunk's requests, ``seq_lens[b] // ratio`` each, follow one another; so do
    those that the rank has under `context_parallel`. Row r is the chunk's token t =
    `first_row` + r, at position p of request b:

    =======================  ==============  =================================================
    array                    elements        value
    =======================  ==============  =================================================
    `out_ks`                 [num_rows]      where the rank's keys of b begin
    `out_ke`                 [num_rows]      that, and the rank's own of (p + 1) // ratio keys
    `out_token_to_seq`       [keys]          the request of each key, as far as there is room
    `out_cu_seq_lens`        [num_reqs + 1]  the sums of the requests' keys
    `out_local_cu_seq_lens`  [num_reqs + 1]  the sums of the rank's keys
    =======================  ==============  =================================================

    `query_start_loc`: [num_reqs + 1], from any number on; `seq_lens`: [num_reqs]. Sums that
    are known already, `cu_seq_lens` and `local_cu_seq_lens`, are taken as they are. Those that
    are None are left out. `num_rows`: left out, as many as the first array has.
    """
    run(
        write_prefill_chunk,
        (constant("ratio", ratio, 1), check_context_parallel(context_parallel)),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "cu_seq_lens": cu_seq_lens,
            "local_cu_seq_lens": local_cu_seq_lens,
        },
        {
            "out_ks": out_ks,
            "out_ke": out_ke,
            "out_token_to_seq": out_token_to_seq,
            "out_cu_seq_lens": out_cu_seq_lens,
            "out_local_cu_seq_lens": out_local_cu_seq_lens,
        },
        {
            "first_row": (first_row, None),
            "num_rows": (num_rows, ("out_ke" if out_ks is None else "out_ks", 0, 0)),
            "capacity": (None, ("out_token_to_seq", 0, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )
