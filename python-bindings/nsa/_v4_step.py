# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fields of a DeepSeek V4 or V4.1 forward step, and those of its tail."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from . import _v4_index_keys, _v4_plans
from . import build as nb
from ._errors import wrong
from ._v4_index_keys import IndexKeys
from ._v4_pages import Paged
from ._v4_plans import Plans
from ._v4_rows import round_up
from ._v4_trtllm import TrtllmTables
from ._v4_windows import Windows

#: Ratios of V4; those of V4.1 are 1 and 2.
V4_RATIOS = (4, 128)
#: What the names of a tail's fields begin with.
TAIL = "tail_"


class Step(Plans, IndexKeys, Windows, TrtllmTables, Paged):
    """A step in the making."""

    @cached_property
    def tail(self) -> Tail:
        return Tail(self)

    # Fields.

    def field(self, name: str) -> nb.Array:
        """Raises ``ValueError`` for no field of the mode."""
        if name.startswith(TAIL) and self.options.mode == "extend":
            return self.tail.field(name.removeprefix(TAIL))
        make = getattr(self, f"make_{name}", None)
        if name == "extend_offsets" and self.options.mode != "extend":
            make = None
        if make is not None:
            return self.value(f"{name} {self.draft}", make)
        ratio, _, rest = name.removeprefix("c").partition("_")
        make = getattr(self, f"make_cq_{rest}", None)
        is_known = name.startswith("c") and ratio in ("1", "2", "4", "128")
        if not is_known or make is None or not self.has(rest, int(ratio)):
            raise wrong(ValueError, "dsts", f"{name!r} is no field of {self.options.mode}")
        return self.value(f"{name} {self.draft}", lambda: make(int(ratio)))

    def has(self, field: str, ratio: int) -> bool:
        """Whether the mode and the ratio have a field of a ratio."""
        if field in _v4_index_keys.FIELDS:
            return self.options.mode == "extend" and ratio in _v4_index_keys.RATIOS
        return self.has_plan(field, ratio)

    def condition(self, name: str) -> nb.Array | None:
        """Which elements of a field there are, if only the device knows."""
        if not name.endswith("_index_k_slots"):
            return None
        return self.is_index_key(int(name[1]))

    def make_seq_lens_casual(self) -> nb.Array:
        return self.rows(self.length)

    def make_positions_casual(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1)

    @property
    def columns(self) -> nb.Size:
        if self.options.has_pages:
            return self.table("page_table").shape[1]
        if self.options.page_size is None:
            return self.size("page_columns")
        return nb.ceildiv(self.size("max_len"), self.options.page_size)

    def make_page_table(self) -> nb.Array:
        if self.options.has_pages:
            return self.table("page_table")
        pages = self.paging()

        def page(r: nb.Element, p: nb.Element) -> nb.Element:
            token = self.tokens[self.pool_of(r), pages.first_slot(p)].otherwise(0)
            return pages.page_of(token)

        return self.s.map((self.num_rows, self.columns), page, dtype="int32")

    def make_req_indices(self) -> nb.Array:
        return self.rows(self.pool_of, "int64")

    def make_pos_i64(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1, "int64")

    # Fields of a ratio.

    def make_cq_positions(self, ratio: int) -> nb.Array:
        """Where the group of a row's last token begins."""
        return self.rows(lambda r: (self.length(r) - 1) // ratio * ratio)

    def make_cq_out_loc(self, ratio: int) -> nb.Array:
        fill = 0 if ratio in V4_RATIOS else -1

        def place(r: nb.Element, location: nb.Element) -> nb.Element:
            ends = self.length(r) % ratio == 0
            return nb.where(ends, location.astype("int64") // ratio, fill)

        return self.locations(place, "int64")

    def compressed(self, r: nb.Element, ratio: int) -> nb.Element:
        return self.length(r) // ratio

    def sparse(self, r: nb.Element, ratio: int) -> nb.Element:
        topk = self.number(self.options.topk, "topk")
        return nb.minimum(nb.maximum(self.compressed(r, ratio), 1), topk)

    @property
    def topk_columns(self) -> Any:
        return self.size("topk") if self.options.topk is None else self.options.topk

    def make_cq_topk_lengths_raw(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.compressed(r, ratio))

    def make_cq_topk_lengths_clamp1(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: nb.maximum(self.compressed(r, ratio), 1))

    def make_cq_sparse_topk_lengths(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.sparse(r, ratio))

    def make_cq_sparse_page_indices(self, ratio: int) -> nb.Array:
        """Nothing yet: each layer's indexer fills it."""
        columns = round_up(self.topk_columns)
        return self.s.map((self.num_rows, columns), lambda r, j: nb.constant(-1, "int32"))

    def slots_of_pages(self, ratio: int, columns: Any, end: Any) -> nb.Array:
        """Slot j of the pages of each row, of `page_size / ratio` slots each, for j up to
        `end(r)`, then -1."""
        pages, table = self.paging(ratio), self.field("page_table")

        def slot(r: nb.Element, j: nb.Element) -> nb.Element:
            page = table[r, pages.page_of(j)].otherwise(0)
            slot = pages.first_slot(page) + pages.place_in(j).astype("int32")
            return nb.where((j < end(r)) & self.is_paged(j, ratio), slot, -1)

        return self.s.map((self.num_rows, columns), slot, dtype="int32")

    def is_paged(self, j: nb.Element, ratio: int) -> nb.Element:
        """Whether the page of a slot has a column."""
        pages = self.paging(ratio)
        if pages.size is None:
            return pages.page_of(j) < self.columns
        return j < self.columns * pages.size

    def make_cq_page_indices(self, ratio: int) -> nb.Array:
        columns = round_up(self.paged_columns(self.columns, ratio))
        return self.slots_of_pages(ratio, columns, lambda r: self.compressed(r, ratio))

    def make_cq_all_page_indices(self, ratio: int) -> nb.Array:
        """All that there are, in place of what an indexer chooses."""
        return self.slots_of_pages(ratio, self.topk_columns, lambda r: self.sparse(r, ratio))

    def make_cq_all_raw_indices(self, ratio: int) -> nb.Array:
        def number(r: nb.Element, j: nb.Element) -> nb.Element:
            return nb.where(j < self.sparse(r, ratio), j, -1)

        return self.s.map((self.num_rows, self.topk_columns), number, dtype="int32")

    def make_cq_index_page_table(self, ratio: int) -> nb.Array:
        """The pages of the indexer's keys, `index_page_size` compressed tokens each."""
        pages = self.paging(ratio, self.options.index_page_size)
        columns = self.paged_columns(self.columns, ratio, self.options.index_page_size)
        table = self.field("page_table")

        def page(r: nb.Element, c: nb.Element) -> nb.Element:
            first = pages.first_slot(table[r, pages.page_of(c)].otherwise(0))
            return first + pages.place_in(c).astype("int32")

        return self.s.map((self.num_rows, columns), page, dtype="int32")


class Tail(Step):
    """The last rows of each request of an extend, for layers that need no others."""

    def __init__(self, of: Step) -> None:
        super().__init__(of.options, of.dtypes, of)
        self.of = of

    def has(self, field: str, ratio: int) -> bool:
        return field not in (*_v4_index_keys.FIELDS, *_v4_plans.FIELDS)

    @property
    def num_rows(self) -> nb.Size:
        return self.size("tail_rows")

    def is_whole(self, b: nb.Element) -> nb.Element:
        return self.vector("whole", "bs", self.dtypes.get("whole", "int8"))[b].otherwise(0) != 0

    def extends(self) -> nb.Array:
        given, window = self.of.extends(), self.options.window

        def rows(b: nb.Element) -> nb.Element:
            tail = nb.minimum(given[b], window)
            if self.options.whole:
                tail = nb.where(self.is_whole(b), given[b], tail)
            return nb.minimum(tail, self.num_rows)

        return self.value("extends", lambda: self.s.map(self.size("bs"), rows, dtype="int32"))

    def is_row(self, r: nb.Element) -> nb.Element:
        return r < self.offsets()[self.size("bs")]

    def floor(self, r: nb.Element) -> nb.Element:
        b = self.request(r)
        floor = self.seq_len(b) - self.options.window
        if self.options.whole:
            given = self.of.extends()[b].otherwise(0)
            floor = floor - nb.where(self.is_whole(b), given, 0)
        return self.unless_padding(r, nb.maximum(floor, 0), 0)

    def token_index(self, r: nb.Element) -> nb.Element:
        """Which row of the extend this is."""
        b = self.request(r)
        end = self.of.first_row(b) + self.of.extend(b)
        return end - self.extend(b) + r - self.first_row(b)

    def locations(
        self, element: Callable[[nb.Element, nb.Element], nb.Element], dtype: str
    ) -> nb.Array:
        def of_token(r: nb.Element) -> nb.Element:
            location = self.out_cache_loc[self.token_index(r)].otherwise(0)
            return element(r, self.unless_padding(r, location, 0))

        return self.s.map(self.num_rows, of_token, dtype=dtype)

    def make_token_indices(self) -> nb.Array:
        return self.rows(lambda r: self.unless_padding(r, self.token_index(r), 0), "int64")

    def make_floors(self) -> nb.Array:
        return self.rows(self.floor)
