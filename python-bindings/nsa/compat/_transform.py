# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's transforms of indices, for torch tensors and for NumPy arrays.

They allocate what they return.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from .. import ops
from .._errors import wrong
from ._allocate import empty, from_list

__all__ = [
    "transform_index_page_table_dcp",
    "transform_index_page_table_decode",
    "transform_index_page_table_prefill",
]


def _check_page_size(page_size: Any) -> None:
    if page_size != 1:
        raise wrong(ValueError, "page_size", f"expected 1 but got {page_size}")


def transform_index_page_table_decode(
    page_table: Any, topk_indices: Any, result: Any = None, page_size: int = 1
) -> Any:
    """Slots of chosen positions, row by row: SGLang's ``transform_index_page_table_decode``.

    Returns `result`, or an int32 array of the shape of `topk_indices`; see
    ``nsa.ops.transform_index``. Raises ``ValueError`` or ``TypeError`` with the argument's
    name.
    """
    _check_page_size(page_size)
    if result is None:
        result = empty(tuple(topk_indices.shape), topk_indices)
    ops.transform_index(page_table, topk_indices, result)
    return result


def transform_index_page_table_prefill(
    page_table: Any,
    topk_indices: Any,
    extend_lens_cpu: Any,
    page_size: int = 1,
    output_num_tokens: int | None = None,
    page_table_is_expanded: bool = False,
    cu_seqlens_q: Any = None,
) -> Any:
    """The same for the rows of an extend: SGLang's ``transform_index_page_table_prefill``.

    Rows of `page_table` are those of requests, or of the extend's rows if it is expanded.
    `extend_lens_cpu`: the rows of each request. `cu_seqlens_q`: their sums on the device;
    without it they are copied there. Returns int32 [output_num_tokens, or as many as
    `topk_indices` has, columns]; rows past those of requests are -1. Raises ``ValueError``
    or ``TypeError`` with the argument's name.
    """
    _check_page_size(page_size)
    rows, columns = topk_indices.shape
    real = sum(extend_lens_cpu)
    if output_num_tokens is None:
        output_num_tokens = rows
    if real > rows:
        raise wrong(
            ValueError, "extend_lens_cpu", f"expected a sum of at most {rows} but got {real}"
        )
    if output_num_tokens < rows:
        text = f"expected {rows} or more but got {output_num_tokens}"
        raise wrong(ValueError, "output_num_tokens", text)
    result = empty((output_num_tokens, columns), topk_indices)
    if page_table_is_expanded:
        ops.transform_index(page_table, topk_indices[:real], result)
        return result
    if cu_seqlens_q is None:
        cu_seqlens_q = from_list([0, *accumulate(extend_lens_cpu)], topk_indices)
    ops.transform_index(page_table, topk_indices, result, query_start_loc=cu_seqlens_q)
    return result


def transform_index_page_table_dcp(
    page_table: Any, dcp_size: int, dcp_rank: int
) -> tuple[Any, Any]:
    """The share of a rank of context parallelism: SGLang's
    ``transform_index_page_table_dcp``.

    Returns int32 (slots like `page_table`, packed to the left, then -1; how many each row
    has); see ``nsa.ops.transform_index``. Raises ``ValueError`` or ``TypeError`` with the
    argument's name.
    """
    result = empty(tuple(page_table.shape), page_table)
    counts = empty((page_table.shape[0],), page_table)
    ops.transform_index(
        None, page_table, result, counts=counts, ranks=dcp_size, rank=dcp_rank
    )
    return result, counts
