# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a dequantisation of a paged cache computes, in NumPy.

Written from the formulas alone: numbers by tables, rows field by field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nsa.layouts import KVLayout

Words = NDArray[np.uint16]


def _e4m3() -> NDArray[np.float32]:
    values = np.empty(256, np.float64)
    for byte in range(256):
        exponent, fraction = (byte >> 3) & 15, byte & 7
        if exponent == 15 and fraction == 7:
            value = np.nan
        elif exponent == 0:
            value = fraction / 8 * 2.0**-6
        else:
            value = (1 + fraction / 8) * 2.0 ** (exponent - 7)
        values[byte] = -value if byte >= 128 else value
    return values.astype(np.float32)


def _ue8m0() -> NDArray[np.float32]:
    values = np.ldexp(1.0, np.arange(256) - 127)
    values[255] = np.nan
    return values.astype(np.float32)


E4M3 = _e4m3()
UE8M0 = _ue8m0()


def to_bf16(values: NDArray[np.float32]) -> Words:
    """Rounded to nearest, ties to even; the bits of each."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def is_nan(words: Words) -> NDArray[np.bool_]:
    return (words & 0x7FFF) > 0x7F80


def canonical(words: Words) -> Words:
    """With one payload for all NaN."""
    return np.where(is_nan(words), np.uint16(0x7FC0), words)


def _take(data: NDArray[np.uint8], offset: int, nbytes: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(data[:, offset : offset + nbytes])


def reference_dequant(
    cache: NDArray[np.uint8], ids: NDArray[np.integer], layout: KVLayout, page_size: int
) -> Words:
    """[tokens, row] for the pages [pages, bytes] of `cache`; NaN is 0x7FC0, but for
    elements that are bf16 already."""
    ids = np.asarray(ids, np.int64)
    out = np.zeros((len(ids), layout.row), np.uint16)
    known = np.flatnonzero((ids >= 0) & (ids < cache.shape[0] * page_size))
    page, slot = np.divmod(ids[known], page_size)
    begin = slot * layout.data_bytes
    data = cache[page[:, None], begin[:, None] + np.arange(layout.data_bytes)]
    entry = data
    if layout.footer_bytes:
        begin = page_size * layout.data_bytes + slot * layout.footer_bytes
        entry = cache[page[:, None], begin[:, None] + np.arange(layout.footer_bytes)]
    raw = _take(entry, layout.scales.offset, layout.scales.nbytes)
    scales = raw.view(np.float32) if layout.scales.type == "f32" else UE8M0[raw]

    column = group = 0
    for field in layout.fields:
        raw = _take(data, field.offset, field.nbytes)
        if field.type == "bf16":
            words = raw.view(np.uint16)
        else:
            used = scales[:, group : group + field.count // layout.group]
            group += field.count // layout.group
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                product = E4M3[raw] * np.repeat(used, layout.group, axis=1)
            words = to_bf16(product)
        out[known, column : column + field.count] = words
        column += field.count
    return out
