# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Plans of DeepSeek V4's compressors, as formulas: which tokens end a group of `ratio`, and
which ones are kept until theirs is complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from . import build as nb
from ._errors import constant, optional_constant
from ._fields import Fields

if TYPE_CHECKING:
    from ._v4_rows import Options

FIELDS = ("plan_d", "plan_c", "plan_w")
#: Tokens that a compression looks back on, by ratio.
WINDOWS = {4: 8, 128: 128}
#: The last tokens of each page of windows are kept as well.
KEPT_OF_PAGE = 4


@dataclass(frozen=True)
class PlanOptions:
    """How states are kept; what is None, a launch says."""

    #: Slots of a ring, of ratio 4 and 128.
    rings: tuple[int, int] | None = (8, 128)
    swa_page_size: int | None = 128
    #: States of ratio 4 are in rings of requests, too, and not beside the windows' pages.
    request_ring: bool = False
    #: A token's row has its number, and nothing is compacted.
    in_place: bool = False
    #: Ratio 128 is compressed as tokens come: what is added to a request's state.
    online: int | None = None


def plan_options(
    rings: Any, swa_page_size: Any, request_ring: Any, in_place: Any, online: Any
) -> PlanOptions:
    """The options, checked."""
    of_4, of_128 = rings
    return PlanOptions(
        (constant("rings", of_4, 1), constant("rings", of_128, 1)),
        constant("swa_page_size", swa_page_size, KEPT_OF_PAGE),
        bool(request_ring),
        bool(in_place),
        optional_constant("online_offset", online, 0),
    )


class Token(NamedTuple):
    """A token of the step: its request, number in it, row of the step and position."""

    request: nb.Element
    number: nb.Element
    row: nb.Element
    position: nb.Element


class Plans(Fields):
    """The plans among the fields of a step."""

    options: Options
    pool_of: Callable[[nb.Element], nb.Element]
    request: Callable[[nb.Element], nb.Element]
    num_rows: nb.Size
    full_to_swa: nb.Array

    def has_plan(self, field: str, ratio: int) -> bool:
        """False for a plan that the mode or the ratio has none of."""
        if field not in FIELDS:
            return True
        modes = ("decode",) if field == "plan_d" else ("target_verify", "extend")
        return ratio in WINDOWS and self.options.mode in modes

    # States.

    def ring(self, ratio: int) -> Any:
        rings = self.options.plans.rings
        return self.number(None if rings is None else rings[ratio == 128], f"ring_{ratio}")

    @property
    def swa_page_size(self) -> Any:
        return self.number(self.options.plans.swa_page_size, "swa_page_size")

    def state(self, b: nb.Element, position: Any, ratio: int) -> nb.Element:
        """The slot of the state of a position, in 64 bits."""
        ring = self.ring(ratio)
        row = self.pool[b].otherwise(0).astype("int64")
        if ratio == 128 or self.options.plans.request_ring:
            is_request = (row >= 0) & (row < self.tokens.shape[0])
            return nb.where(is_request, row, 0) * ring + (position % ring).astype("int64")
        token = self.tokens[row, position].otherwise(-1)
        swa = nb.maximum(self.full_to_swa[token].otherwise(0), 0).astype("int64")
        return swa // self.swa_page_size * ring + swa % ring

    def pages(self, b: nb.Element, position: Any, ratio: int) -> tuple[nb.Element, nb.Element]:
        """The groups of states before a position's, and its own."""
        before = self.state(b, nb.maximum(position - ratio, 0), ratio)
        return before // ratio, self.state(b, position, ratio) // ratio

    # Decode.

    def make_cq_plan_d(self, ratio: int) -> nb.Array:
        online = self.options.plans.online

        def online_word(b: nb.Element, w: nb.Element) -> nb.Element:
            state = self.pool[b].astype("int64") + online
            length = nb.maximum(self.lens[b].astype("int32"), 1)
            return choose(w, length, state, state, nb.constant(-1, "int64"))

        def word(b: nb.Element, w: nb.Element) -> nb.Element:
            length = nb.maximum(self.lens[b].astype("int32"), 1)
            before, own = self.pages(b, length - 1, ratio)
            return choose(w, length, self.state(b, length - 1, ratio), before, own)

        is_online = ratio == 128 and online is not None
        shape = self.size("bs"), 4
        return self.s.map(shape, online_word if is_online else word, dtype="int32")

    # Verification and extend.

    def count_of(self, b: nb.Element) -> Any:
        """The tokens of a request."""
        if self.options.ragged:
            return self.extends()[b].otherwise(0)
        return nb.constant(self.options.next_n, "int32")

    def start_of(self, b: nb.Element) -> nb.Element:
        """The position of the first one."""
        length = self.lens[b].otherwise(0).astype("int32")
        return length - self.count_of(b) if self.options.mode == "extend" else length

    def span(self, b: nb.Element) -> tuple[nb.Element, nb.Element]:
        """The first position of 0 or more, and the one after the last."""
        start = self.start_of(b)
        return nb.maximum(start, 0), nb.maximum(start + self.count_of(b), 0)

    def token_at(self, b: nb.Element, position: nb.Element) -> Token:
        number = position - self.start_of(b)
        if self.options.ragged:
            first = self.offsets()[b].otherwise(0)
        else:
            first = b.astype("int32") * self.options.next_n
        return Token(b, number, first + number, position)

    def token_of(self, r: nb.Element) -> Token:
        b = self.request(r)
        if self.options.ragged:
            number = r - self.offsets()[b].otherwise(0)
        else:
            number = r % self.options.next_n
        number = number.astype("int32")
        return Token(b, number, r.astype("int32"), self.start_of(b) + number)

    def is_token(self, row: nb.Element) -> Any:
        if self.options.ragged:
            return self.is_row(row.astype("index"))
        return row < self.num_rows

    def sums(self, name: str, count: Callable[[nb.Element], nb.Element]) -> nb.Array:
        def make() -> nb.Array:
            return self.s.scan(self.s.map(self.size("bs"), count, dtype="int32"))

        return self.value(name, make)

    def in_order(
        self,
        name: str,
        count: Callable[[nb.Element], nb.Element],
        find: Callable[[nb.Element, nb.Element], nb.Element],
        describe: Callable[[Token, nb.Element], nb.Element],
        unused: Callable[[nb.Element], Any],
        words: int,
    ) -> nb.Array:
        """Rows of the tokens of which each request has `count`, the i-th of them at the
        position ``find(request, i)``; then `unused` ones."""
        sums = self.sums(name, count)

        def word(m: nb.Element, w: nb.Element) -> nb.Element:
            b = sums.search(m) - 1
            i = (m - sums[b].otherwise(0)).astype("int32")
            token = self.token_at(b, find(b, i))
            is_used = (m < sums[self.size("bs")]) & self.is_token(token.row)
            return nb.where(is_used, describe(token, w), unused(w))

        return self.s.map((self.num_rows, words), word, dtype="int32")

    def in_place(
        self,
        is_used: Callable[[Token], nb.Element],
        describe: Callable[[Token, nb.Element], nb.Element],
        unused: Callable[[nb.Element], Any],
        words: int,
    ) -> nb.Array:
        def word(r: nb.Element, w: nb.Element) -> nb.Element:
            token = self.token_of(r)
            here = self.is_token(r) & (token.position >= 0) & is_used(token)
            return nb.where(here, describe(token, w), unused(w))

        return self.s.map((self.num_rows, words), word, dtype="int32")

    def make_cq_plan_c(self, ratio: int) -> nb.Array:
        window = WINDOWS[ratio]

        def count(b: nb.Element) -> nb.Element:
            start, end = self.span(b)
            return nb.maximum(end // ratio - start // ratio, 0)

        def find(b: nb.Element, i: nb.Element) -> nb.Element:
            start, _ = self.span(b)
            return (start // ratio + 1 + i) * ratio - 1

        def describe(token: Token, w: nb.Element) -> nb.Element:
            buffered = window - nb.minimum(token.number + 1, window)
            before, own = self.pages(token.request, token.position, ratio)
            has_any = buffered > 0
            return choose(
                w,
                token.position + 1,
                (token.row & 0xFFFF) | (buffered << 16),
                nb.where(has_any, before, -1),
                nb.where(has_any, own, token.request),
            )

        if ratio == 128 and self.options.plans.online is not None:
            describe = self.online_row
        if self.options.plans.in_place:
            return self.in_place(
                lambda token: (token.position + 1) % ratio == 0, describe, unused_of_4, 4
            )
        return self.in_order(f"compressed_{ratio}", count, find, describe, unused_of_4, 4)

    def online_row(self, token: Token, w: nb.Element) -> nb.Element:
        """The tokens of a group that are new, up to this one."""
        group = token.position - token.position % 128
        first = nb.maximum(self.start_of(token.request), group)
        pool = self.pool[token.request].otherwise(0).astype("int64")
        count = token.position + 1 - first
        place = (token.row & 0xFFFF) | (count << 16)
        return choose(w, token.position + 1, place, pool + self.options.plans.online, pool)

    def online_plan_w(self) -> nb.Array:
        """The last tokens of requests, where they end no group."""

        def count(b: nb.Element) -> nb.Element:
            _, end = self.span(b)
            return nb.where((self.count_of(b) > 0) & (end % 128 != 0), 1, 0)

        def find(b: nb.Element, i: nb.Element) -> nb.Element:
            return self.span(b)[1] - 1

        def is_used(token: Token) -> nb.Element:
            is_last = token.number == self.count_of(token.request) - 1
            return is_last & ((token.position + 1) % 128 != 0)

        if self.options.plans.in_place:
            return self.in_place(is_used, self.online_row, unused_of_4, 4)
        return self.in_order("kept_online", count, find, self.online_row, unused_of_4, 4)

    def make_cq_plan_w(self, ratio: int) -> nb.Array:
        plans = self.options.plans
        if ratio == 128 and plans.online is not None:
            return self.online_plan_w()
        size, window, ring = self.swa_page_size, WINDOWS[ratio], self.ring(ratio)
        room = ring - window + 2
        if isinstance(ring, int):
            room = room if ring > window else 0
        else:
            room = nb.where(ring > window, room, 0)
        of_pages = ratio == 4 and not plans.request_ring

        def bound(b: nb.Element) -> nb.Element:
            """From here on all are kept."""
            _, end = self.span(b)
            return nb.minimum(end // ratio * ratio - (4 if ratio == 4 else 0), end - room)

        def first_of(b: nb.Element) -> nb.Element:
            start, end = self.span(b)
            return nb.minimum(nb.maximum(bound(b), start), end)

        def ends_before(position: nb.Element) -> nb.Element:
            """How many of the last ones of a page are before a position."""
            over = position % size - (size - KEPT_OF_PAGE)
            return position // size * KEPT_OF_PAGE + nb.maximum(over, 0)

        def ends_of(b: nb.Element) -> Any:
            """How many of those there are before the bound."""
            start, _ = self.span(b)
            return ends_before(first_of(b)) - ends_before(start) if of_pages else 0

        def count(b: nb.Element) -> nb.Element:
            _, end = self.span(b)
            return nb.maximum(ends_of(b) + end - first_of(b), 0)

        def find(b: nb.Element, i: nb.Element) -> nb.Element:
            later = first_of(b) + i - ends_of(b)
            if not of_pages:
                return later
            end = ends_before(self.span(b)[0]) + i
            kept = end // KEPT_OF_PAGE * size + size - KEPT_OF_PAGE + end % KEPT_OF_PAGE
            return nb.where(i < ends_of(b), kept, later)

        def is_used(token: Token) -> nb.Element:
            inside = token.position >= bound(token.request)
            if of_pages:
                inside = inside | (token.position % size >= size - KEPT_OF_PAGE)
            return inside

        def describe(token: Token, w: nb.Element) -> nb.Element:
            return nb.where(
                w == 0, token.row, self.state(token.request, token.position, ratio)
            )

        def unused(w: nb.Element) -> nb.Element:
            return nb.constant(-1, "int32")

        if plans.in_place:
            return self.in_place(is_used, describe, unused, 2)
        return self.in_order(f"kept_{ratio}", count, find, describe, unused, 2)


def unused_of_4(w: nb.Element) -> nb.Element:
    return nb.where(w == 1, 0, -1)


def choose(w: nb.Element, *words: Any) -> nb.Element:
    """The word number `w`."""
    *first, chosen = words
    for number in reversed(range(len(first))):
        chosen = nb.where(w == number, first[number], chosen)
    return chosen
