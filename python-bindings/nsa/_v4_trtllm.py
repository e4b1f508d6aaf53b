# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables that TensorRT-LLM's sparse attention reads, as formulas: the window's slots and those
of the compressed cache in one row, rows up to the end of a tile."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from . import build as nb
from ._arguments import check_rank, describe
from ._errors import constant, wrong
from ._fields import Fields, Runner
from ._v4_rows import Rows, round_up

#: What the names of these fields begin with.
TRTLLM = "trtllm_"


class TrtllmTables(Rows):
    """The fields of tables. Lengths count columns of a table, not what is valid there: the
    window's columns all of them, and then the compressed ones that there are."""

    field: Callable[[str], nb.Array]
    compressed: Callable[[nb.Element, int], nb.Element]
    topk_columns: Any

    @property
    def is_block(self) -> bool:
        return self.options.mode == "draft_block"

    def tiled(self, rows: nb.Array, fill: int) -> nb.Array:
        """A field's rows, then rows of `fill`."""
        n = self.num_rows

        def element(r: nb.Element, *column: nb.Element) -> nb.Element:
            return nb.where(r < n, rows[(r, *column)].otherwise(0), fill)

        return self.s.map((round_up(n), *rows.shape[1:]), element, dtype="int32")

    def make_trtllm_seq_lens_casual(self) -> nb.Array:
        return self.tiled(self.field("seq_lens_casual"), 1)

    def make_trtllm_swa_page_indices(self) -> nb.Array:
        return self.tiled(self.field("swa_page_indices"), -1)

    @property
    def window_columns(self) -> int:
        return round_up(self.options.window)

    def make_trtllm_swa_lens(self) -> nb.Array:
        window = self.window_columns
        if not self.is_block:
            return self.constant_rows(window)
        lens = self.field("swa_topk_lengths")
        return self.tiled(self.rows(lambda r: nb.maximum(lens[r], window)), window)

    def constant_rows(self, value: int) -> nb.Array:
        return self.s.map(
            round_up(self.num_rows), lambda r: nb.constant(value, "int32"), dtype="int32"
        )

    def behind_window(
        self, columns: Any, compressed: Callable[[nb.Element, nb.Element], Any]
    ) -> nb.Array:
        """The window's columns, and ``compressed(row, column)`` behind them."""
        if self.is_block:
            raise wrong(ValueError, "dsts", "a draft block has no compressed rows")
        window, slots, n = self.window_columns, self.field("swa_page_indices"), self.num_rows

        def slot(r: nb.Element, j: nb.Element) -> nb.Element:
            behind = nb.where(j < window, slots[r, j].otherwise(-1), compressed(r, j - window))
            return nb.where(r < n, behind, -1)

        return self.s.map((round_up(n), columns + window), slot, dtype="int32")

    def make_trtllm_c4_indices(self) -> nb.Array:
        """Of every ratio with an indexer, which fills the columns in each layer."""
        return self.behind_window(round_up(self.topk_columns), lambda r, j: -1)

    def make_trtllm_c4_lens(self) -> nb.Array:
        return self.constant_rows(self.window_columns)

    def make_trtllm_c128_indices(self) -> nb.Array:
        pages = self.field("c128_page_indices")
        return self.behind_window(pages.shape[1], lambda r, j: pages[r, j].otherwise(-1))

    def make_trtllm_c128_lens(self) -> nb.Array:
        window, lens = self.window_columns, self.field("c128_topk_lengths_clamp1")
        return self.tiled(self.rows(lambda r: lens[r] + window), window)

    # An empty history is one of length 0 here, and not of 1.

    def make_trtllm_c1_sparse_topk_lengths(self) -> nb.Array:
        return self.true_lengths(1)

    def make_trtllm_c2_sparse_topk_lengths(self) -> nb.Array:
        return self.true_lengths(2)

    def true_lengths(self, ratio: int) -> nb.Array:
        lens = self.field(f"c{ratio}_sparse_topk_lengths")
        return self.rows(lambda r: nb.minimum(lens[r], self.compressed(r, ratio)))


class SparseTail(Fields):
    """What a layer puts behind the window."""

    def __init__(self, swa_width: int, dtypes: Any) -> None:
        super().__init__("pack_sparse_tail", dtypes)
        rows = self.size("num_rows")
        indices = self.table("indices")
        self.s.output(
            "tail",
            self.s.map(
                (rows, self.size("columns")), lambda r, j: indices[r, j].otherwise(-1)
            ),
        )
        lengths = self.vector("lengths", None)
        self.s.output(
            "total_lengths",
            self.s.map(
                rows, lambda r: lengths[r].otherwise(0).astype("int32") + swa_width, dtype="int32"
            ),
        )


@cache
def _runner(swa_width: int) -> Runner:
    return Runner(
        lambda dtypes: SparseTail(swa_width, dtypes),
        ("tail", "total_lengths"),
        ("num_rows", "columns"),
        {"num_rows": (["total_lengths"], 0), "columns": (["indices"], 1)},
    )


def pack_sparse_tail(
    indices: Any,
    lengths: Any,
    tail: Any,
    total_lengths: Any,
    *,
    swa_width: int = 128,
    stream: Any = None,
) -> None:
    """What a layer's indexer chose, into a table of trtllm_c4_indices, in one launch.

    `indices`: int32 [rows, columns]; `lengths`: int32 or int64 [rows]. `tail`: int32 [rows,
    columns or more], the columns of the table behind the window, a view of it; they become
    `indices`. `total_lengths`: int32 [rows]; they become ``swa_width + lengths``. Rows and
    columns that `tail` has beyond are left alone.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    swa_width = constant("swa_width", swa_width, 0)
    check_rank("indices", describe("indices", indices)[1], 2)
    check_rank("total_lengths", describe("total_lengths", total_lengths)[1], 1)
    given = {"indices": indices, "lengths": lengths}
    _runner(swa_width)(given, (tail, total_lengths), (None, None), stream)
