# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rows of a DeepSeek V4 or V4.1 forward step, and what comes into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import build as nb
from ._fields import Fields
from ._v4_plans import PlanOptions

#: Pages, windows and lists are padded to a multiple of it.
LIST_MULTIPLE = 64


def round_up(size: Any, multiple: int = LIST_MULTIPLE) -> Any:
    if isinstance(size, nb.Size):
        return nb.ceildiv(size, multiple) * multiple
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    mode: str
    next_n: int
    ragged: bool
    #: There are floors of windows.
    floors: bool
    #: None: a launch says it.
    topk: int | None
    #: None: a launch says it, a power of two.
    page_size: int | None
    window: int
    index_page_size: int
    plans: PlanOptions = PlanOptions()
    #: Draft steps, of which each destination belongs to one.
    steps: int = 1
    #: Rows of a request's own ring of window rows, whose windows are laid out in groups.
    request_window: int | None = None
    #: Slots of a request's own ring, where a draft block reads its window from.
    ring: int | None = None
    #: There are first valid positions of requests.
    valid_from: bool = False
    #: There are requests whose tail is all of the extend.
    whole: bool = False
    #: Rows of a draft extend have lengths of 1 or more.
    never_empty: bool = False
    #: There is a page table of the rows.
    has_pages: bool = False


class Rows(Fields):
    """What comes into a step, and its rows.

    Parameters
    ----------
    options : Options
    dtypes : mapping of str to str
        Of inputs; int64 where it says nothing.
    of : Rows, optional
        Rows of the same step, with the same inputs.
    """

    def __init__(
        self, options: Options, dtypes: Mapping[str, str], of: Rows | None = None
    ) -> None:
        super().__init__(f"v4_{options.mode}", dtypes)
        self.options = options
        #: Whose locations are asked for.
        self.draft = 0
        if of is not None:
            self.s, self.sizes, self.inputs = of.s, of.sizes, of.inputs

    @property
    def full_to_swa(self) -> nb.Array:
        return self.vector("full_to_swa", None)

    @property
    def out_cache_loc(self) -> nb.Array:
        return self.vector("out_cache_loc", "num_locs")

    # Rows.

    @property
    def num_rows(self) -> nb.Size:
        if self.options.ragged:
            return self.size("rows")
        return self.size("bs") * self.options.next_n

    def rows(self, element: Callable[[nb.Element], nb.Element], dtype: str = "int32") -> nb.Array:
        return self.s.map(self.num_rows, element, dtype=dtype)

    def unless_padding(self, r: nb.Element, value: Any, padding: Any) -> Any:
        """`value` for a row that is one, else `padding`."""
        return nb.where(self.is_row(r), value, padding) if self.options.ragged else value

    def request(self, r: nb.Element) -> nb.Element:
        """The request of a row, the last one for padding."""
        bs = self.size("bs")
        if self.options.ragged:
            return nb.where(self.is_row(r), self.offsets().search(r) - 1, bs - 1)
        return r if self.options.next_n == 1 else r // self.options.next_n

    def pool_of(self, r: nb.Element) -> nb.Element:
        return self.pool[self.request(r)].otherwise(0)

    def length(self, r: nb.Element) -> nb.Element:
        """The length of a row, 0 or more."""
        b = self.request(r)
        if self.options.ragged:
            i = (r - self.offsets()[b].otherwise(0)).astype("int32")
            length = nb.maximum(self.first_position(b) + 1 + i, 0)
            return nb.where(self.is_row(r), length, 1)
        length = self.first_position(b) + 1
        if self.options.next_n != 1:
            length = length + (r % self.options.next_n).astype("int32")
        return nb.maximum(length, 1 if self.options.never_empty else 0)

    def floor(self, r: nb.Element) -> Any:
        """The first position that the window of a row may have."""
        if not self.options.floors:
            return 0
        return nb.maximum(self.vector("floors", None, "int32")[r].otherwise(0), 0)

    # Requests; `b` may be none.

    def seq_len(self, b: nb.Element) -> nb.Element:
        return self.lens[b].otherwise(0).astype("int32")

    def extend(self, b: nb.Element) -> Any:
        """How many rows a request has, int32."""
        if self.options.ragged:
            return self.extends()[b].otherwise(0)
        is_one = (b >= 0) & (b < self.size("bs"))
        return nb.where(is_one, nb.constant(self.options.next_n, "int32"), 0)

    def first_row(self, b: nb.Element) -> Any:
        if self.options.ragged:
            return self.offsets()[b].otherwise(0)
        return b * self.options.next_n

    def first_position(self, b: nb.Element) -> nb.Element:
        """Where the rows of a request begin, below 0 if there are fewer tokens than rows."""
        mode = self.options.mode
        if mode in ("decode", "draft_extend"):
            return self.seq_len(b) - self.options.next_n
        if mode == "extend":
            return self.seq_len(b) - self.extend(b)
        return self.seq_len(b)

    # Locations that are written.

    def locations(
        self, element: Callable[[nb.Element, nb.Element], nb.Element], dtype: str
    ) -> nb.Array:
        """``element(row, location)`` of each location; those of a draft step are one of each
        request's."""
        steps, draft, locs = self.options.steps, self.draft, self.out_cache_loc
        if steps == 1:
            return self.s.map(
                self.size("num_locs"), lambda r: element(r, locs[r]), dtype=dtype
            )

        def of_draft(r: nb.Element) -> nb.Element:
            return element(r, locs[r * steps + draft].otherwise(0))

        return self.s.map(self.size("num_locs") // steps, of_draft, dtype=dtype)
