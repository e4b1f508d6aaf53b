# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Windows of DeepSeek V4 beside the paged one, as formulas: the tail of an extend that is
replayed, windows in rings of requests, and the block of a draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import build as nb
from ._errors import constant, optional_constant, wrong
from ._fields import Fields
from ._v4_ratios import round_up

if TYPE_CHECKING:
    from ._v4 import Options

TAIL_FIELDS = ("token_indices", "tail_floors", "tail_out_cache_loc")
RING_FIELDS = (
    "window_write_loc", "window_indices", "window_lengths", "window_req", "window_pos",
    "window_commit_mask", "history_req", "history_pos", "history_loc", "history_src",
    "history_valid",
)  # fmt: skip

@dataclass(frozen=True)
class WindowOptions:
    """Which windows there are."""

    #: Rows are those of an extend's tail; some requests may be replayed whole.
    tail: bool = False
    has_whole: bool = False
    #: Tokens of a request's ring.
    ring: int = 256
    has_valid_from: bool = False
    #: Of a block; None: it is in pages.
    block_ring: int | None = None


def window_options(
    mode: str, tail: Any, whole: Any, window_ring: Any, valid_from: Any, block_ring: Any
) -> WindowOptions:
    """The options, checked."""
    if tail and mode != "extend":
        raise wrong(ValueError, "tail", f"{mode} has none")
    if whole is not None and not tail:
        raise wrong(TypeError, "tail", "expected with whole")
    for name, value in (("valid_from", valid_from), ("block_ring", block_ring)):
        if value is not None and mode != "draft_block":
            raise wrong(ValueError, name, f"{mode} takes none")
    return WindowOptions(
        bool(tail),
        whole is not None,
        constant("window_ring", window_ring, 1),
        valid_from is not None,
        optional_constant("block_ring", block_ring, 1),
    )


class Windows(Fields):
    """The windows among the fields of a step."""

    options: Options
    num_rows: nb.Size
    full_to_swa: nb.Array
    out_cache_loc: nb.Array
    rows: Callable[..., nb.Array]
    request: Callable[[nb.Element], nb.Element]
    pool_of: Callable[[nb.Element], nb.Element]
    length: Callable[[nb.Element], nb.Element]
    floor: Callable[[nb.Element], Any]
    count_of: Callable[[nb.Element], Any]
    start_of: Callable[[nb.Element], nb.Element]

    def has_field(self, name: str) -> bool:
        """False for a field that the mode has none of."""
        if name == "extend_offsets":
            return self.options.mode == "extend"
        if name in TAIL_FIELDS:
            return self.options.windows.tail
        if name in RING_FIELDS:
            return self.options.mode in ("decode", "target_verify", "extend")
        if self.options.mode == "draft_block":
            return name in (
                "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
                "page_table", "swa_out_cache_loc",
            )  # fmt: skip
        return True

    # The tail of an extend.

    def all_extends(self, b: nb.Element) -> nb.Element:
        """The tokens of a request, those before the tail as well."""
        given = self.vector("extend_seq_lens", "bs")[b].otherwise(0)
        return nb.maximum(given.astype("int32"), 0)

    def is_whole(self, b: nb.Element) -> Any:
        return self.vector("whole", "bs")[b].otherwise(0) != 0

    def extends(self) -> nb.Array:
        windows = self.options.windows
        if not windows.tail:
            return super().extends()

        def tail(b: nb.Element) -> nb.Element:
            given = self.all_extends(b)
            last = nb.minimum(given, self.options.window)
            if windows.has_whole:
                last = nb.where(self.is_whole(b), given, last)
            return nb.minimum(last, self.size("rows"))

        return self.value("extends", lambda: self.s.map(self.size("bs"), tail, dtype="int32"))

    def tail_floor(self, r: nb.Element) -> nb.Element:
        b = self.request(r)
        floor = self.lens[b].otherwise(0).astype("int32") - self.options.window
        if self.options.windows.has_whole:
            floor = floor - nb.where(self.is_whole(b), self.all_extends(b), 0)
        return nb.where(self.is_row(r), nb.maximum(floor, 0), 0)

    def token_index(self, r: nb.Element) -> nb.Element:
        """Which token of the extend a row is; -1 for padding."""

        def make() -> nb.Array:
            return self.s.scan(self.s.map(self.size("bs"), self.all_extends, dtype="int64"))

        first, b = self.value("all_offsets", make), self.request(r)
        end = first[b].otherwise(0) + self.all_extends(b)
        in_tail = r - self.offsets()[b].otherwise(0)
        index = end - self.extends()[b].otherwise(0) + in_tail
        return nb.where(self.is_row(r), index, -1)

    def make_token_indices(self) -> nb.Array:
        return self.rows(lambda r: nb.maximum(self.token_index(r), 0), "int64")

    def make_tail_floors(self) -> nb.Array:
        return self.rows(self.tail_floor)

    def tail_location(self, r: nb.Element) -> nb.Element:
        return self.out_cache_loc[self.token_index(r)].otherwise(0)

    def make_tail_out_cache_loc(self) -> nb.Array:
        return self.rows(self.tail_location, "int64")

    # Rings of requests: a workspace has a group of a window's rows for each request, its
    # history, and then the rows of the step.

    def groups(self) -> nb.Size:
        return self.size("window_groups")

    def first_row(self, b: nb.Element) -> nb.Element:
        """Of a request."""
        if self.options.ragged:
            return self.offsets()[b].otherwise(0)
        return b * self.options.next_n

    def of_row(self, r: nb.Element, value: Any, padding: Any) -> Any:
        return nb.where(self.is_row(r), value, padding) if self.options.ragged else value

    def oldest(self, r: nb.Element) -> Any:
        """The first position of a row's window that there may be."""
        return self.floor(r)

    def make_window_write_loc(self) -> nb.Array:
        return self.rows(lambda r: self.groups() * self.options.window + r, "int32")

    def make_window_indices(self) -> nb.Array:
        window = self.options.window

        def row(r: nb.Element, k: nb.Element) -> nb.Element:
            b, position = self.request(r), self.length(r) - 1 - k
            start = self.start_of(b)
            history = b * window + (position - start) + window
            own = self.groups() * window + self.first_row(b) + position - start
            found = nb.where(position < start, history, own)
            inside = (k < window) & (position >= self.oldest(r))
            return self.of_row(r, nb.where(inside, found, -1), -1)

        return self.s.map((self.num_rows, round_up(window)), row, dtype="int32")

    def make_window_lengths(self) -> nb.Array:
        def length(r: nb.Element) -> nb.Element:
            inside = nb.maximum(self.length(r) - self.oldest(r), 0)
            return self.of_row(r, nb.minimum(inside, self.options.window), 0)

        return self.rows(length)

    def make_window_req(self) -> nb.Array:
        return self.rows(lambda r: self.of_row(r, self.pool_of(r), 0), "int64")

    def make_window_pos(self) -> nb.Array:
        return self.rows(lambda r: self.of_row(r, self.length(r) - 1, 0), "int64")

    def make_window_commit_mask(self) -> nb.Array:
        """Rows that the ring has room for are the last ones."""

        def commits(r: nb.Element) -> nb.Element:
            b = self.request(r)
            later = self.first_row(b) + self.count_of(b) - 1 - r
            has_room = nb.where(later < self.options.windows.ring, 1, 0)
            return self.of_row(r, has_room, 0)

        return self.rows(commits, "int8")

    def history(
        self, element: Callable[[nb.Element, nb.Element], Any], dtype: str = "int64"
    ) -> nb.Array:
        """``element(request, its position)`` of each row of history."""
        window = self.options.window

        def row(h: nb.Element) -> nb.Element:
            b = h // window
            start = nb.where(self.has_rows(b), self.start_of(b), 0)
            return element(b, start - window + (h % window).astype("int32"))

        return self.s.map(self.groups() * window, row, dtype=dtype)

    def has_rows(self, b: nb.Element) -> nb.Element:
        return (b < self.size("bs")) & (self.count_of(b) > 0)

    def is_history(self, b: nb.Element, position: nb.Element) -> nb.Element:
        last = self.first_row(b) + self.count_of(b) - 1
        return self.has_rows(b) & (position >= 0) & (position >= self.oldest(last))

    def group_pool(self, b: nb.Element) -> nb.Element:
        return nb.where(self.has_rows(b), self.pool[b].otherwise(0), 0).astype("int64")

    def make_history_req(self) -> nb.Array:
        return self.history(lambda b, position: self.group_pool(b))

    def make_history_pos(self) -> nb.Array:
        return self.history(lambda b, position: position)

    def make_history_loc(self) -> nb.Array:
        ring = self.options.windows.ring

        def place(b: nb.Element, position: nb.Element) -> nb.Element:
            slot = self.group_pool(b) * ring + position % ring
            return nb.where(self.is_history(b, position), slot, self.size("zero_row"))

        return self.history(place)

    def make_history_src(self) -> nb.Array:
        return self.s.map(self.groups() * self.options.window, lambda h: h, dtype="int64")

    def make_history_valid(self) -> nb.Array:
        return self.history(self.is_history, "int8")

    # The block of a draft.

    def block_start(self, b: nb.Element) -> nb.Element:
        """The first position that the rows of a request attend to."""
        before = nb.maximum(self.lens[b].otherwise(0).astype("int32"), 0)
        start = nb.maximum(before - self.options.window, 0)
        if self.options.windows.has_valid_from:
            valid_from = self.vector("valid_from", None)[self.pool[b].otherwise(-1)].otherwise(0)
            start = nb.maximum(start, valid_from.astype("int32"))
        return nb.minimum(start, before)

    def block_context(self, b: nb.Element) -> nb.Element:
        """How many there are before the block."""
        before = nb.maximum(self.lens[b].otherwise(0).astype("int32"), 0)
        return before - self.block_start(b)

    def block_lengths(self) -> nb.Array:
        return self.rows(lambda r: self.block_context(self.request(r)) + self.options.next_n)

    def block_indices(self) -> nb.Array:
        block, ring = self.options.next_n, self.options.windows.block_ring

        def slot(r: nb.Element, k: nb.Element) -> Any:
            b = self.request(r)
            start, context = self.block_start(b), self.block_context(b)
            position = start + k
            if ring is not None:
                place = self.pool_of(r).astype("int64") * ring + position % ring
                return nb.where(k < context + block, place, -1)
            token = self.tokens[self.pool_of(r), position].otherwise(-1).astype("int64")
            own = self.out_cache_loc[b * block + k - context].otherwise(-1)
            chosen = nb.where(k < context, token, own)
            return nb.where(k < context + block, self.full_to_swa[chosen].otherwise(-1), -1)

        columns = round_up(self.options.window + block)
        return self.s.map((self.num_rows, columns), slot, dtype="int32")
