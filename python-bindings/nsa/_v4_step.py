# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fields of a DeepSeek V4 or V4.1 forward step, and the views that it has of itself."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from . import build as nb
from ._errors import wrong
from ._v4_rows import LIST_MULTIPLE, round_up
from ._v4_windows import Windows

#: Ratios of V4; those of V4.1 are 1 and 2.
V4_RATIOS = (4, 128)
#: What the names of a tail's fields begin with.
TAIL = "tail_"


class Step(Windows):
    """A step in the making: fields are arrays, made when they are asked for."""

    @cached_property
    def tail(self) -> Tail:
        return Tail(self.options, self.dtypes, self)

    @cached_property
    def draft_steps(self) -> list[Step]:
        if self.options.steps == 1:
            return [self]
        return [DraftStep(self, number) for number in range(self.options.steps)]

    # Fields.

    def field(self, name: str) -> nb.Array:
        """Raises ``ValueError`` for no field of the mode."""
        if name.startswith(TAIL) and self.options.mode == "extend":
            return self.tail.field(name.removeprefix(TAIL))
        make = getattr(self, f"make_{name}", None)
        if make is not None:
            return self.value(name, make)
        ratio, _, rest = name.removeprefix("c").partition("_")
        make = getattr(self, f"make_cq_{rest}", None)
        if not name.startswith("c") or make is None or ratio not in ("1", "2", "4", "128"):
            raise wrong(ValueError, "dsts", f"{name!r} is no field of {self.options.mode}")
        return self.value(name, lambda: make(int(ratio)))

    def make_seq_lens_casual(self) -> nb.Array:
        return self.rows(self.length)

    def make_positions_casual(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1)

    @property
    def columns(self) -> nb.Size:
        return nb.ceildiv(self.size("max_len"), self.options.page_size)

    def make_page_table(self) -> nb.Array:
        size = self.options.page_size

        def page(r: nb.Element, p: nb.Element) -> nb.Element:
            return self.tokens[self.pool_of(r), p * size].otherwise(0) // size

        return self.s.map((self.num_rows, self.columns), page, dtype="int32")

    def make_req_indices(self) -> nb.Array:
        return self.rows(self.pool_of, "int64")

    def make_pos_i64(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1, "int64")

    # Fields of a ratio.

    def make_cq_out_loc(self, ratio: int) -> nb.Array:
        fill = 0 if ratio in V4_RATIOS else -1

        def place(r: nb.Element) -> nb.Element:
            location = self.location(r).astype("int64")
            return nb.where(self.length(r) % ratio == 0, location // ratio, fill)

        return self.s.map(self.num_locs, place, dtype="int64")

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


class DraftStep(Step):
    """One of several draft steps: all have the same rows, each writes to its own locations."""

    def __init__(self, of: Step, number: int) -> None:
        super().__init__(of.options, of.dtypes, of)
        self.of, self.number = of, number

    @property
    def num_locs(self) -> nb.Size:
        return self.size("num_locs") // self.options.steps

    def location(self, r: nb.Element) -> nb.Element:
        return self.out_cache_loc[r * self.options.steps + self.number].otherwise(0)

    def field(self, name: str) -> nb.Array:
        if name.endswith(("out_loc", "out_cache_loc")):
            return super().field(name)
        return self.of.field(name)


class Tail(Step):
    """The last rows of each request of an extend, for layers that need no others."""

    @property
    def bound(self) -> nb.Size:
        return self.size("tail_rows")

    @property
    def num_locs(self) -> nb.Size:
        return self.bound

    def is_whole(self, b: nb.Element) -> nb.Element:
        return self.vector("whole", None, self.dtypes.get("whole", "int8"))[b].otherwise(0) != 0

    def extends(self) -> nb.Array:
        given, window = self.given_extends(), self.options.window

        def rows(b: nb.Element) -> nb.Element:
            tail = nb.minimum(given[b], window)
            if self.options.whole:
                tail = nb.where(self.is_whole(b), given[b], tail)
            return nb.minimum(tail, self.bound)

        return self.value("extends", lambda: self.s.map(self.size("bs"), rows, dtype="int32"))

    def is_row(self, r: nb.Element) -> nb.Element:
        return r < self.offsets()[self.size("bs")]

    def floor(self, r: nb.Element) -> nb.Element:
        b = self.request(r)
        floor = self.seq_len(b) - self.options.window
        if self.options.whole:
            given = self.given_extends()[b].otherwise(0)
            floor = floor - nb.where(self.is_whole(b), given, 0)
        return self.unless_padding(r, nb.maximum(floor, 0), 0)

    def token_index(self, r: nb.Element) -> nb.Element:
        """Which row of the extend this is."""
        b, given = self.request(r), self.given_extends()
        starts = self.value("starts", lambda: self.s.scan(given))
        first = starts[b].otherwise(0) + given[b].otherwise(0) - self.extend(b)
        return first + r - self.first_row(b)

    def location(self, r: nb.Element) -> nb.Element:
        location = self.out_cache_loc[self.token_index(r)].otherwise(0)
        return self.unless_padding(r, location, 0)

    def make_token_indices(self) -> nb.Array:
        return self.rows(lambda r: self.unless_padding(r, self.token_index(r), 0), "int64")

    def make_floors(self) -> nb.Array:
        return self.rows(self.floor)
