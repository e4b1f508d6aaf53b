# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows of a paged cache, dequantised into the workspace of a prefill."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .. import layouts
from .._errors import constant
from ._formulas import index, slot
from ._launch import Formulas, run

__all__ = ["dequantize_and_gather"]


def write_dequantize_and_gather(f: Formulas, layout: Any, block_size: int) -> None:
    count, stride, offset = f.size("num_reqs"), f.size("workspace_stride"), f.size("offset")
    lens = f.input("seq_lens", (count,))
    gathers = f.input("gather_lens", (count,)) if f.has("gather_lens") else lens
    table = f.input("block_table", (None, None))

    def gathered(r: Any) -> tuple[nb.Element, nb.Element, nb.Element]:
        """The request of a row, its number among those gathered, and how many these are."""
        b = r // stride
        return b, r % stride - offset, index(gathers[b].otherwise(0))

    def token(r: nb.Element) -> nb.Element:
        b, i, number = gathered(r)
        position = index(lens[b].otherwise(0)) - number + i
        return nb.where((i >= 0) & (i < number), slot(table, b, position, block_size), -1)

    def is_gathered(r: nb.Element, c: nb.Element) -> nb.Element:
        _, i, number = gathered(r)
        return (i >= 0) & (i < number)

    ids = f.s.map(count * stride, token, dtype="int64")
    rows = f.s.dequant_paged(f.cache("cache"), ids, layout, block_size)
    f.rows("out", rows, when=is_gathered)


def dequantize_and_gather(
    cache: Any,
    seq_lens: Any,
    block_table: Any,
    out: Any,
    *,
    layout: Any = "v4",
    block_size: int,
    workspace_stride: int,
    gather_lens: Any = None,
    offset: int = 0,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The last tokens of requests as bfloat16 rows of a rectangular workspace.

    Row ``b * workspace_stride + offset + i`` of `out` is token ``seq_lens[b] - gather_lens[b]
    + i`` of request b, for i from 0 to ``gather_lens[b]`` (left out: all of ``seq_lens[b]``),
    as far as its `workspace_stride` rows go: dequantised, or zeros where the block table has
    no block. Other rows are left as they are.

    `cache`: [pages, bytes], elements of one byte; `block_table`: [requests, columns], pages of
    `block_size` tokens. `layout` as in ``nsa.ops.dequantize_k_cache_paged``. `out`: [num_reqs
    * workspace_stride or more, columns of the layout or more], bfloat16, or uint16 or int16.
    """
    run(
        write_dequantize_and_gather,
        (layouts.parse(layout), constant("block_size", block_size, 1)),
        {
            "cache": cache,
            "seq_lens": seq_lens,
            "gather_lens": gather_lens,
            "block_table": block_table,
        },
        {"out": out},
        {
            "workspace_stride": (workspace_stride, None),
            "offset": (offset, None),
            "num_reqs": (num_reqs, ("seq_lens", 0, 0)),
        },
        stream,
    )
