# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rows of a V4 or V4.1 step that a rank of context parallelism has, as formulas."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from . import _v4_plans
from . import build as nb
from ._errors import wrong
from ._ranks import RANK, owned_before
from ._v4_step import TAIL, Step, Tail

#: Where the rows of a tail are after its ranks' were gathered.
GATHER = f"{TAIL}gather_indices"


class RankStep(Step):
    """A step in the making, and what a rank has of it: of its rows, or its tail's, those
    whose number in the step is `rank` modulo `ranks`."""

    @cached_property
    def rank_tail(self) -> RankTail:
        return RankTail(self.tail)

    def field(self, name: str) -> nb.Array:
        if name == GATHER and self.options.mode == "extend":
            return self.value(name, self.make_gather_indices)
        if not name.startswith(RANK):
            return super().field(name)
        rest = name.removeprefix(RANK)
        if rest.startswith(TAIL) and self.options.mode == "extend":
            return self.rank_tail.field(rest.removeprefix(TAIL))
        if rest == "extend_lens" and self.options.ragged:
            return self.value(name, self.make_rank_extend_lens)
        return self.value(name, lambda: self.share(name, super(RankStep, self).field(rest)))

    def share(self, name: str, rows: nb.Array) -> nb.Array:
        """Those of the rows of a field."""
        is_plan = name.rpartition("_plan_")[1] and name[-6:] in _v4_plans.FIELDS
        extent = rows.shape[0]
        if is_plan or not isinstance(extent, nb.Size) or extent.tree != self.num_rows.tree:
            raise wrong(ValueError, "dsts", f"{name!r}: the field has no row for each row")
        rank, ranks = self.size("rank"), self.size("ranks")

        def element(m: nb.Element, *column: nb.Element) -> nb.Element:
            return rows[(rank + m * ranks, *column)].otherwise(0)

        shape = (self.size("rank_rows"), *rows.shape[1:])
        return self.s.map(shape, element, dtype=rows.dtype)

    def make_rank_extend_lens(self) -> nb.Array:
        rank, ranks = self.size("rank"), self.size("ranks")

        def count(b: nb.Element) -> nb.Element:
            first = self.first_row(b)
            end = first + self.extend(b)
            return owned_before(end, rank, ranks) - owned_before(first, rank, ranks)

        return self.s.map(self.size("bs"), count, dtype="int32")

    def make_gather_indices(self) -> nb.Array:
        """Of each row of the tail: ranks are gathered one after the other, `rank_tail_rows`
        rows each."""
        tail, ranks = self.tail, self.size("ranks")

        def count(rank: nb.Element, b: nb.Element) -> nb.Element:
            return self.rank_tail.count(b, rank)

        counts = self.s.scan(self.s.map((ranks, self.size("bs")), count, dtype="int32"))

        def slot(r: nb.Element) -> nb.Element:
            b = tail.request(r)
            rank = tail.token_index(r) % ranks
            # Every `ranks`-th row of a request's tail has the same owner.
            before = counts[rank, b].otherwise(0) + (r - tail.first_row(b)) // ranks
            slot = rank * self.size("rank_tail_rows") + before
            return tail.unless_padding(r, slot, 0)

        return tail.rows(slot, "int64")


class RankTail(Tail):
    """A rank's rows of the tail, and padding: one request's after the other's, which are
    those of a tail of fewer rows."""

    def __init__(self, tail: Tail) -> None:
        super().__init__(tail.of)
        self.whole_tail = tail

    def field(self, name: str) -> nb.Array:
        if self.options.request_window is not None or name.endswith("out_cache_loc"):
            raise wrong(ValueError, "dsts", f"{name!r} is no field of a rank's tail")
        if name == "extend_lens":
            return self.extends()
        return super().field(name)

    def has(self, field: str, ratio: int) -> bool:
        return super().has(field, ratio) and field != "out_loc"

    @property
    def num_rows(self) -> nb.Size:
        return self.size("rank_tail_rows")

    def first_tail_row(self, b: nb.Element) -> Any:
        """The row of the step where the tail of a request begins."""
        of = self.whole_tail.of
        return of.first_row(b) + of.extend(b) - self.whole_tail.extend(b)

    def count(self, b: nb.Element, rank: Any) -> nb.Element:
        """How many rows of a request a rank has."""
        ranks, first = self.size("ranks"), self.first_tail_row(b)
        end = first + self.whole_tail.extend(b)
        return owned_before(end, rank, ranks) - owned_before(first, rank, ranks)

    def extends(self) -> nb.Array:
        def count(b: nb.Element) -> nb.Element:
            return nb.minimum(self.count(b, self.size("rank")), self.num_rows)

        return self.value(
            "extends", lambda: self.s.map(self.size("bs"), count, dtype="int32")
        )

    def local_row(self, r: nb.Element) -> nb.Element:
        """The number of a row among all of the rank's rows of the step."""
        b = self.request(r)
        first = owned_before(self.first_tail_row(b), self.size("rank"), self.size("ranks"))
        return first + r - self.first_row(b)

    def token_index(self, r: nb.Element) -> nb.Element:
        return self.size("rank") + self.local_row(r) * self.size("ranks")

    def length(self, r: nb.Element) -> nb.Element:
        b = self.request(r)
        i = (self.token_index(r) - self.of.first_row(b)).astype("int32")
        length = nb.maximum(self.of.first_position(b) + 1 + i, 0)
        return self.unless_padding(r, length, 1)

    def make_token_indices(self) -> nb.Array:
        return self.rows(lambda r: self.unless_padding(r, self.local_row(r), 0), "int64")
