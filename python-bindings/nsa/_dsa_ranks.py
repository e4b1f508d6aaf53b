# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a rank of context parallelism has of an eager DSA extend, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from . import build as nb
from ._dsa_extend import DsaPrefill
from ._errors import wrong
from ._ranks import RANK, owned_before

#: Which rank writes a pool.
OWNERS = ("pool_owner_rank", "pool_local_write_mask")
_SIZES = {
    name: f"rank_{name}" for name in ("bs", "rows", "num_keys", "num_index_pages")
}


class RankedExtend(DsaPrefill):
    """The fields of an extend, and a rank's."""

    @cached_property
    def share(self) -> RankExtend:
        return RankExtend(self)

    def field(self, name: str) -> nb.Array:
        if name.startswith(RANK):
            return self.share.field(name.removeprefix(RANK))
        return super().field(name)

    def condition(self, name: str) -> nb.Array | None:
        if name.startswith(RANK):
            return self.share.condition(name.removeprefix(RANK))
        # They are rows of pools.
        return super().condition("pool_id" if name in OWNERS else name)

    def make_pool_owner_rank(self) -> nb.Array:
        ranks = self.size("ranks")
        return self.s.map(self.size("num_pools"), lambda m: m % ranks, dtype="int32")

    def make_pool_local_write_mask(self) -> nb.Array:
        rank, ranks = self.size("rank"), self.size("ranks")
        return self.s.map(
            self.size("num_pools"), lambda m: nb.where(m % ranks == rank, 1, 0), dtype="int8"
        )


class RankExtend(DsaPrefill):
    """An extend of the rank's rows, and of the requests that it has rows of. `b` is a number
    among these; :meth:`request` says which one of all it is."""

    def __init__(self, of: RankedExtend) -> None:
        super().__init__(of.topk, of.page_size, of.pool_size, of.dtypes)
        self.of, self.s, self.sizes, self.inputs = of, of.s, of.sizes, of.inputs

    def field(self, name: str) -> nb.Array:
        if name.startswith(("pool_", "tail_", "num_pool", "num_tail")):
            raise wrong(ValueError, "dst", f"'{RANK}{name}' is no field: pools are nobody's")
        return super().field(name)

    def size(self, name: str) -> nb.Size:
        return super().size(_SIZES.get(name, name))

    def is_row(self, r: nb.Element) -> nb.Element:
        total, rank, ranks = self.offsets()[self.size("bs")], self.size("rank"), self.size("ranks")
        return (r < total) & (rank + r * ranks < self.size("num_tokens"))

    # Requests.

    def first_owned(self, g: nb.Element) -> nb.Element:
        """How many rows the rank has before request `g` of all."""
        offset = self.of.offsets()[g].otherwise(0)
        return owned_before(offset, self.size("rank"), self.size("ranks"))

    def counts(self) -> nb.Array:
        """The rank's rows of each request of all."""
        rank, ranks = self.size("rank"), self.size("ranks")

        def count(g: nb.Element) -> nb.Element:
            end = self.of.offsets()[g] + self.of.extends()[g]
            return owned_before(end, rank, ranks) - self.first_owned(g)

        return self.value("counts", lambda: self.s.map(self.of.size("bs"), count, dtype="int32"))

    def found(self) -> nb.Array:
        """How many requests with rows there are, up to each."""
        counts = self.counts()
        flags = self.s.map(self.of.size("bs"), lambda g: nb.where(counts[g] > 0, 1, 0))
        return self.value("found", lambda: self.s.scan(flags, inclusive=True))

    def request(self, b: nb.Element) -> nb.Element:
        """Which one of all; past the last as many as there are."""
        return nb.where(b >= 0, self.found().search(b), self.of.size("bs"))

    def of_requests(self, name: str, of: Callable[[nb.Element], nb.Element], dtype: str) -> nb.Array:
        return self.value(
            name,
            lambda: self.s.map(self.size("bs"), lambda b: of(self.request(b)), dtype=dtype),
        )

    @property
    def lens(self) -> nb.Array:
        given = self.of.lens
        return self.of_requests("lens", lambda g: given[g].otherwise(0), given.dtype)

    @property
    def pool(self) -> nb.Array:
        given = self.of.pool
        return self.of_requests("pool", lambda g: given[g].otherwise(-1), given.dtype)

    def extends(self) -> nb.Array:
        counts = self.counts()
        return self.of_requests("extends", lambda g: counts[g].otherwise(0), "int32")

    def make_requests(self) -> nb.Array:
        def number(g: nb.Element) -> nb.Element:
            return nb.where(g < self.of.size("bs"), g, -1)

        return self.of_requests("requests", number, "int32")

    def make_extend_lens(self) -> nb.Array:
        return self.extends()

    def make_num_requests(self) -> nb.Array:
        found, last = self.found(), self.of.size("bs") - 1
        return self.s.map(1, lambda _: found[last].otherwise(0), dtype="int32")

    # Rows.

    def expanded(self, b: nb.Element, i: nb.Element) -> nb.Element:
        g = self.request(b)
        row = (self.first_owned(g) + i) * self.size("ranks") + self.size("rank")
        of_all = (row - self.of.offsets()[g].otherwise(0)).astype("int32")
        return self.of.expanded(g, of_all)
