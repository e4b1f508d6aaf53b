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


#: V4.1's numbers of 4 bits: this many a token, of which so many share a scale of 8 bits. Numbers
#: come first, two a byte, the even one in its low half; then scales.
NVFP4 = "v41_nvfp4"
NVFP4_COLUMNS, NVFP4_SHARED = 512, 16
NVFP4_BYTES = NVFP4_COLUMNS // 2 + NVFP4_COLUMNS // NVFP4_SHARED


def nvfp4_number(code: nb.Element, scale: nb.Element) -> nb.Element:
    """The product of an e2m1 and an e4m3, both given as bits, as bfloat16."""
    # Both are integers times a power of two, and so is the product, of 22 bits.
    size = code & 7
    doubled = nb.where(size < 2, size, (2 + (size & 1)) << ((size >> 1) - 1))
    exponent, fraction = (scale >> 3) & 15, scale & 7
    whole = nb.where(exponent > 0, fraction + 8, fraction)
    product = (doubled * whole << nb.maximum(exponent - 1, 0)).astype("int32")
    number = product.astype("float32") * 2.0**-10
    # As in vLLM there is no -0 before the scale: Triton's -x is 0 - x.
    number = nb.where((code > 8) != (scale >= 128), -number, number)
    is_nan = (scale & 127) == 127
    return nb.where(is_nan, nb.constant(float("nan"), "float32"), number).astype("bfloat16")


def write_nvfp4_rows(f: Formulas, ids: nb.Array, block_size: int) -> nb.Array:
    cache = f.cache("cache")

    def number(r: nb.Element, c: nb.Element) -> nb.Element:
        there = index(ids[r])
        first = there % block_size * NVFP4_BYTES

        def byte(place: nb.Element) -> nb.Element:
            return index(cache[there // block_size, first + place].otherwise(0)) & 255

        code = (byte(c // 2) >> (c % 2 * 4)) & 15
        scale = byte(NVFP4_COLUMNS // 2 + c // NVFP4_SHARED)
        return nb.where(there >= 0, nvfp4_number(code, scale), nb.constant(0.0, "bfloat16"))

    return f.s.map((ids.extents[0], NVFP4_COLUMNS), number, dtype="bfloat16")


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
    if layout == NVFP4:
        rows = write_nvfp4_rows(f, ids, block_size)
    else:
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
    `block_size` tokens. `layout` as in ``nsa.ops.dequantize_k_cache_paged``, or
    ``"v41_nvfp4"``: V4.1's 512 numbers of 4 bits, with a scale in e4m3 for each 16. `out`: [num_reqs
    * workspace_stride or more, columns of the layout or more], bfloat16, or uint16 or int16.
    """
    run(
        write_dequantize_and_gather,
        (
            layout if layout == NVFP4 else layouts.parse(layout),
            constant("block_size", block_size, 1),
        ),
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
