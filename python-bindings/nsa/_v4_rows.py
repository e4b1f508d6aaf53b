# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rows of a DeepSeek V4 or V4.1 forward step, and what comes into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import build as nb

#: Pages, windows and lists are padded to a multiple of it.
LIST_MULTIPLE = 64


def round_up(size: int, multiple: int = LIST_MULTIPLE) -> int:
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    mode: str
    next_n: int
    ragged: bool
    #: There are floors of windows.
    floors: bool
    topk: int
    page_size: int
    window: int
    index_page_size: int
    #: Rows of a request's own ring of window rows, whose windows are laid out in groups.
    request_window: int | None = None
    #: Slots of a request's own ring, where a draft block reads its window from.
    ring: int | None = None
    #: There are first valid positions of requests.
    valid_from: bool = False
    #: Draft steps, each with a destination.
    steps: int = 1
    #: There are requests whose tail is all of the extend.
    whole: bool = False


class Rows:
    """A step in the making: inputs, sizes and rows, declared as they are asked for.

    Parameters
    ----------
    options : Options
    dtypes : mapping of str to str
        Of inputs; int64 where it says nothing.
    of : Rows, optional
        The rows that these are a view of; inputs are the same then.
    """

    def __init__(
        self, options: Options, dtypes: Mapping[str, str], of: Rows | None = None
    ) -> None:
        self.options = options
        self.dtypes = dtypes
        self.known: dict[str, nb.Array] = {}
        self.s: nb.Builder = nb.Builder(f"v4_{options.mode}") if of is None else of.s
        self.sizes: dict[str, nb.Size] = {} if of is None else of.sizes
        self.inputs: dict[str, nb.Array] = {} if of is None else of.inputs

    # What comes in.

    def size(self, name: str) -> nb.Size:
        if name not in self.sizes:
            self.sizes[name] = self.s.size(name)
        return self.sizes[name]

    def vector(self, name: str, size: str | None, dtype: str = "") -> nb.Array:
        if name not in self.inputs:
            extent = None if size is None else self.size(size)
            self.inputs[name] = self.s.input(
                name, dtype or self.dtypes.get(name, "int64"), (extent,)
            )
        return self.inputs[name]

    @property
    def lens(self) -> nb.Array:
        return self.vector("seq_lens", "bs")

    @property
    def pool(self) -> nb.Array:
        return self.vector("req_pool_indices", "bs")

    @property
    def tokens(self) -> nb.Array:
        if "req_to_token" not in self.inputs:
            self.inputs["req_to_token"] = self.s.input("req_to_token", "int32", (None, None))
        return self.inputs["req_to_token"]

    @property
    def full_to_swa(self) -> nb.Array:
        return self.vector("full_to_swa", None)

    @property
    def out_cache_loc(self) -> nb.Array:
        return self.vector("out_cache_loc", "num_locs")

    def value(self, name: str, make: Callable[[], nb.Array]) -> nb.Array:
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    # Rows.

    @property
    def bound(self) -> nb.Size:
        """The rows of a ragged step, as many as there is room for."""
        return self.size("rows")

    @property
    def num_rows(self) -> nb.Size:
        if self.options.ragged:
            return self.bound
        return self.size("bs") * self.options.next_n

    def rows(self, element: Callable[[nb.Element], nb.Element], dtype: str = "int32") -> nb.Array:
        return self.s.map(self.num_rows, element, dtype=dtype)

    def given_extends(self) -> nb.Array:
        """The rows of each request of a ragged step, from 0 to all that there is room for."""
        given, rows = self.vector("extend_seq_lens", "bs"), self.size("rows")

        def clamp(b: nb.Element) -> nb.Element:
            return nb.maximum(nb.minimum(given[b], rows), 0)

        return self.value(
            "given_extends", lambda: self.s.map(self.size("bs"), clamp, dtype="int32")
        )

    def extends(self) -> nb.Array:
        return self.given_extends()

    def offsets(self) -> nb.Array:
        extends = self.extends()
        return self.value("offsets", lambda: self.s.scan(extends))

    def is_row(self, r: nb.Element) -> nb.Element:
        """Whether a row of a ragged step is one, and no padding."""
        total = self.offsets()[self.size("bs")]
        return (r < total) & (r < self.size("num_tokens"))

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
        return nb.maximum(length, 0)

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
        mode, n = self.options.mode, self.options.next_n
        if mode == "decode":
            return self.seq_len(b) - 1
        if mode == "draft_extend":
            return self.seq_len(b) - n
        if mode == "extend":
            return self.seq_len(b) - self.extend(b)
        return self.seq_len(b)

    def floor(self, r: nb.Element) -> Any:
        """The first position that the window of a row may have."""
        if not self.options.floors:
            return 0
        return nb.maximum(self.vector("floors", None, "int32")[r].otherwise(0), 0)

    # Locations that are written.

    @property
    def num_locs(self) -> nb.Size:
        return self.size("num_locs")

    def location(self, r: nb.Element) -> nb.Element:
        return self.out_cache_loc[r]
