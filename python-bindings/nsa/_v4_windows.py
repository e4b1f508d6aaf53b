# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The windows of a DeepSeek V4 or V4.1 step: those of the paged cache, those that a request
keeps in a ring of its own, and those of a draft block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import build as nb
from ._v4_rows import Rows, round_up


class Windows(Rows):
    """The fields of windows."""

    # Which one a step has is said by its mode and its options.

    def make_swa_topk_lengths(self) -> nb.Array:
        if self.options.mode == "draft_block":
            return self.block_lengths()
        if self.options.request_window is not None:
            return self.make_window_lengths()
        return self.paged_lengths()

    def make_swa_page_indices(self) -> nb.Array:
        if self.options.mode == "draft_block":
            return self.block_indices()
        if self.options.request_window is not None:
            return self.request_indices(round_up(self.options.window))
        return self.paged_indices()

    def make_swa_out_cache_loc(self) -> nb.Array:
        if self.options.request_window is not None:
            return self.make_window_write_loc()
        swa = self.full_to_swa
        return self.locations(lambda r, location: swa[location].otherwise(0), "int32")

    # The paged cache.

    def paged_lengths(self) -> nb.Array:
        def length(r: nb.Element) -> nb.Element:
            inside = nb.maximum(self.length(r) - self.floor(r), 0)
            return nb.minimum(inside, self.options.window)

        return self.rows(length)

    def paged_indices(self) -> nb.Array:
        """The newest first."""
        window = self.options.window

        def slot(r: nb.Element, k: nb.Element) -> nb.Element:
            position = self.length(r) - 1 - k
            token = self.tokens[self.pool_of(r), position].otherwise(-1)
            swa = self.full_to_swa[token].otherwise(-1)
            return nb.where((k < window) & (position >= self.floor(r)), swa, -1)

        return self.s.map((self.num_rows, round_up(window)), slot, dtype="int32")

    # A workspace: `window` rows of history for each of `groups` requests, then the rows of
    # the step. History comes from rings of `request_window` rows, a ring for each request.

    @property
    def history_rows(self) -> nb.Size:
        return self.size("groups") * self.options.window

    def make_window_write_loc(self) -> nb.Array:
        return self.rows(lambda r: r + self.history_rows)

    def make_window_indices(self) -> nb.Array:
        return self.request_indices(self.options.window)

    def request_indices(self, columns: int) -> nb.Array:
        window = self.options.window

        def place(r: nb.Element, k: nb.Element) -> nb.Element:
            b = self.request(r)
            position = self.length(r) - 1 - k
            # From the first row of the request on.
            i = position - self.first_position(b)
            history = b * window + window + i
            chunk = self.history_rows + self.first_row(b) + i
            inside = (k < window) & (position >= self.floor(r))
            found = nb.where(inside, nb.where(i < 0, history, chunk), -1)
            return self.unless_padding(r, found, -1)

        return self.s.map((self.num_rows, columns), place, dtype="int32")

    def make_window_lengths(self) -> nb.Array:
        def length(r: nb.Element) -> nb.Element:
            inside = nb.maximum(self.length(r) - self.floor(r), 0)
            return self.unless_padding(r, nb.minimum(inside, self.options.window), 0)

        return self.rows(length)

    def make_window_req(self) -> nb.Array:
        return self.rows(lambda r: self.unless_padding(r, self.pool_of(r), 0), "int64")

    def make_window_pos(self) -> nb.Array:
        return self.rows(lambda r: self.unless_padding(r, self.length(r) - 1, 0), "int64")

    def make_window_commit_mask(self) -> nb.Array:
        """The rows that a ring has room for, the newest ones of each request."""

        ring = self.options.request_window or 0

        def is_kept(r: nb.Element) -> nb.Element:
            b = self.request(r)
            behind = self.first_row(b) + self.extend(b) - 1 - r
            return self.unless_padding(r, nb.where(behind < ring, 1, 0), 0)

        return self.rows(is_kept, "int8")

    # Rows of history.

    def history(
        self, element: Callable[[nb.Element, nb.Element], Any], dtype: str = "int64"
    ) -> nb.Array:
        """``element(h, request)`` of row h of the history."""
        window = self.options.window
        return self.s.map(self.history_rows, lambda h: element(h, h // window), dtype=dtype)

    def history_position(self, h: nb.Element, b: nb.Element) -> nb.Element:
        """Those before the first row of the request; of no request those before 0."""
        first = nb.where(self.extend(b) > 0, self.first_position(b), 0).astype("int64")
        return first - self.options.window + h % self.options.window

    def is_history(self, h: nb.Element, b: nb.Element) -> nb.Element:
        last = self.first_row(b) + self.extend(b) - 1
        return (self.extend(b) > 0) & (self.history_position(h, b) >= self.floor(last))

    def history_pool(self, b: nb.Element) -> nb.Element:
        pool = self.pool[b].otherwise(0).astype("int64")
        return nb.where(self.extend(b) > 0, pool, 0)

    def make_window_history_req(self) -> nb.Array:
        return self.history(lambda h, b: self.history_pool(b))

    def make_window_history_pos(self) -> nb.Array:
        return self.history(self.history_position)

    def make_window_history_loc(self) -> nb.Array:
        return self.history(lambda h, b: h)

    def make_window_history_valid(self) -> nb.Array:
        return self.history(lambda h, b: self.is_history(h, b).astype("int8"), "int8")

    def make_window_history_src(self) -> nb.Array:
        ring = self.options.request_window or 0

        def row(h: nb.Element, b: nb.Element) -> nb.Element:
            kept = self.history_pool(b) * ring + self.history_position(h, b) % ring
            return nb.where(self.is_history(h, b), kept, self.size("zero_row"))

        return self.history(row)

    # A draft block: all rows of a request attend to the window before it, and to the block.

    def block_start(self, b: nb.Element) -> nb.Element:
        """The first position of the window."""
        start = nb.maximum(self.seq_len(b) - self.options.window, 0)
        if not self.options.valid_from:
            return start
        valid = self.vector("valid_from", None)[self.pool[b].otherwise(-1)].otherwise(0)
        # In 64 bits the smallest number stays that.
        return nb.maximum(start.astype("int64"), valid)

    def block_context(self, b: nb.Element) -> nb.Element:
        """How many tokens the window has."""
        return nb.maximum(self.seq_len(b) - self.block_start(b), 0)

    def block_lengths(self) -> nb.Array:
        return self.rows(lambda r: self.block_context(self.request(r)) + self.options.next_n)

    def block_indices(self) -> nb.Array:
        """The oldest first."""
        n, ring = self.options.next_n, self.options.ring

        def slot(r: nb.Element, k: nb.Element) -> nb.Element:
            b = self.request(r)
            context = self.block_context(b)
            position = self.seq_len(b) - context + k
            if ring is not None:
                pool = self.pool[b].otherwise(0).astype("int64")
                found = pool * ring + position % ring
            else:
                written = self.out_cache_loc[b * n + (k - context)].otherwise(-1)
                token = self.tokens[self.pool_of(r), position].otherwise(-1)
                token = nb.where(k < context, token, written)
                found = self.full_to_swa[token].otherwise(-1)
            return nb.where(k < context + n, found, -1)

        columns = round_up(self.options.window + n)
        return self.s.map((self.num_rows, columns), slot, dtype="int32")
