# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fields of DeepSeek V4's compressed layers, by ratio, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import build as nb
from ._fields import Fields

if TYPE_CHECKING:
    from ._v4 import Options

#: Pages, windows and lists are padded to a multiple of it.
LIST_MULTIPLE = 64
#: Ratios of V4; those of V4.1 are 1 and 2.
V4_RATIOS = (4, 128)


def round_up(size: int, multiple: int = LIST_MULTIPLE) -> int:
    return -(-size // multiple) * multiple


class Ratios(Fields):
    """The fields of each ratio."""

    options: Options
    num_rows: nb.Size
    columns: nb.Size
    rows: Callable[..., nb.Array]
    length: Callable[[nb.Element], nb.Element]
    locations: Callable[..., nb.Array]

    def make_cq_out_loc(self, ratio: int) -> nb.Array:
        fill = 0 if ratio in V4_RATIOS else -1

        def place(r: nb.Element, location: nb.Element) -> nb.Element:
            ends = self.length(r) % ratio == 0
            return nb.where(ends, location.astype("int64") // ratio, fill)

        return self.locations(place, "int64")

    def compressed(self, r: nb.Element, ratio: int) -> nb.Element:
        return self.length(r) // ratio

    def sparse(self, r: nb.Element, ratio: int) -> nb.Element:
        return nb.minimum(nb.maximum(self.compressed(r, ratio), 1), self.options.topk)

    def make_cq_topk_lengths_raw(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.compressed(r, ratio))

    def make_cq_topk_lengths_clamp1(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: nb.maximum(self.compressed(r, ratio), 1))

    def make_cq_sparse_topk_lengths(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.sparse(r, ratio))

    def make_cq_sparse_page_indices(self, ratio: int) -> nb.Array:
        """Nothing yet: each layer's indexer fills it."""
        columns = round_up(self.options.topk)
        return self.s.map((self.num_rows, columns), lambda r, j: nb.constant(-1, "int32"))

    def slots_of_pages(self, ratio: int, columns: Any, end: Any) -> nb.Array:
        """Slot j of the pages of each row, of `page_size / ratio` slots each, for j up to
        `end(r)`, then -1."""
        per_page, table = self.options.page_size // ratio, self.field("page_table")

        def slot(r: nb.Element, j: nb.Element) -> nb.Element:
            page = table[r, j // per_page].otherwise(0)
            slot = page * per_page + (j % per_page).astype("int32")
            inside = (j < end(r)) & (j < self.columns * per_page)
            return nb.where(inside, slot, -1)

        return self.s.map((self.num_rows, columns), slot, dtype="int32")

    def make_cq_page_indices(self, ratio: int) -> nb.Array:
        slots = self.columns * (self.options.page_size // ratio)
        columns = nb.ceildiv(slots, LIST_MULTIPLE) * LIST_MULTIPLE
        return self.slots_of_pages(ratio, columns, lambda r: self.compressed(r, ratio))

    def make_cq_all_page_indices(self, ratio: int) -> nb.Array:
        """All that there are, in place of what an indexer chooses."""
        return self.slots_of_pages(ratio, self.options.topk, lambda r: self.sparse(r, ratio))

    def make_cq_all_raw_indices(self, ratio: int) -> nb.Array:
        def number(r: nb.Element, j: nb.Element) -> nb.Element:
            return nb.where(j < self.sparse(r, ratio), j, -1)

        return self.s.map((self.num_rows, self.options.topk), number, dtype="int32")

    def make_cq_index_page_table(self, ratio: int) -> nb.Array:
        """The pages of the indexer's keys, `index_page_size` compressed tokens each."""
        pages = self.options.page_size // ratio // self.options.index_page_size
        table = self.field("page_table")

        def page(r: nb.Element, c: nb.Element) -> nb.Element:
            return table[r, c // pages].otherwise(0) * pages + (c % pages).astype("int32")

        return self.s.map((self.num_rows, self.columns * pages), page, dtype="int32")
