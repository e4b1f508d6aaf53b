# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pooled index keys of DSA, `pool` tokens in one, as formulas: what is shared by forward
steps, and the plan of an extend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import build as nb
from ._fields import Fields

#: Keys in a page of the indexer's.
INDEX_PAGE_SIZE = 64
POOL_ROWS = ("pool_req", "pool_id", "pool_n_from_tail", "pool_chunk_src",
             "pool_tail_logical_base", "pool_write_loc")  # fmt: skip
TAIL_ROWS = ("tail_req", "tail_dst_logical_start", "tail_chunk_src", "tail_n_write")
#: Fields of which only the device knows how many elements they have -> the size that says
#: how many there is room for.
ROOMS = {
    **dict.fromkeys(POOL_ROWS, "num_pools"),
    **dict.fromkeys(TAIL_ROWS, "num_tails"),
    "concat_page_table": "num_index_pages",
}


def clip(length: nb.Element, topk: Any, pool: int) -> nb.Element:
    """What is attended to: whole pools up to `topk`, and the tokens that are in none yet."""
    if pool == 1:
        return nb.minimum(length, topk)
    return nb.minimum(length // pool * pool, topk) + length % pool


class Pooled(Fields):
    """What forward steps with pools share."""

    pool_size: int
    page_size: int

    def page(self, b: nb.Element, column: Any) -> nb.Element:
        """``real_page_table[b, column]``, 0 outside."""
        row = self.pool[b].otherwise(-1)
        return self.tokens[row, column * self.page_size].otherwise(0) // self.page_size

    def location(self, b: nb.Element, group: nb.Element) -> nb.Element:
        """The slot of the key of a pool, in 64 bits."""
        columns = nb.ceildiv(self.size("max_len"), self.page_size)
        column = group.astype("int64") // INDEX_PAGE_SIZE * self.pool_size
        column = nb.maximum(nb.minimum(column.astype("index"), columns - 1), 0)
        page = self.page(b, column).astype("int64") // self.pool_size
        return page * INDEX_PAGE_SIZE + group % INDEX_PAGE_SIZE


class PooledExtend(Pooled):
    """The plan of an extend: `pool_` rows are those of pools that become whole, `tail_` rows
    those of requests with tokens left."""

    length: Callable[[nb.Element], nb.Element]
    expanded: Callable[[nb.Element, nb.Element], nb.Element]
    rows: Callable[[Callable[[nb.Element, nb.Element], nb.Element]], nb.Array]

    def start_of(self, b: nb.Element) -> nb.Element:
        """The position of the first token."""
        return nb.maximum(self.length(b) - self.extends()[b].otherwise(0), 0)

    def first_pool(self, b: nb.Element) -> nb.Element:
        return self.start_of(b) // self.pool_size

    def in_tail(self, b: nb.Element) -> nb.Element:
        """Tokens of the first pool that were there before."""
        return self.start_of(b) % self.pool_size

    def count_of(self, b: nb.Element) -> nb.Element:
        """Pools that become whole."""
        pools = nb.maximum(self.length(b), 0) // self.pool_size
        return nb.maximum(pools - self.first_pool(b), 0)

    def used_of(self, b: nb.Element) -> nb.Element:
        """Tokens that are in those."""
        return nb.maximum(self.count_of(b) * self.pool_size - self.in_tail(b), 0)

    def left_of(self, b: nb.Element) -> nb.Element:
        return self.extends()[b].otherwise(0) - self.used_of(b)

    # Pools.

    def pool_sums(self) -> nb.Array:
        return self.value(
            "pool_sums",
            lambda: self.s.scan(self.s.map(self.size("bs"), self.count_of, dtype="int32")),
        )

    def pool_rows(
        self, element: Callable[[nb.Element, nb.Element], nb.Element], dtype: str
    ) -> nb.Array:
        """``element(request, number in it)`` of each row."""

        def row(m: nb.Element) -> nb.Element:
            sums = self.pool_sums()
            b = sums.search(m) - 1
            return element(b, (m - sums[b].otherwise(0)).astype("int32"))

        return self.s.map(self.size("num_pools"), row, dtype=dtype)

    def make_num_pool_rows(self) -> nb.Array:
        sums, bs = self.pool_sums(), self.size("bs")
        return self.s.map(1, lambda _: sums[bs])

    def make_pool_req(self) -> nb.Array:
        return self.pool_rows(lambda b, i: self.pool[b].otherwise(0), "int64")

    def make_pool_id(self) -> nb.Array:
        return self.pool_rows(lambda b, i: self.first_pool(b) + i, "int64")

    def make_pool_n_from_tail(self) -> nb.Array:
        return self.pool_rows(lambda b, i: nb.where(i == 0, self.in_tail(b), 0), "int32")

    def make_pool_chunk_src(self) -> nb.Array:
        def source(b: nb.Element, i: nb.Element) -> nb.Element:
            after = nb.where(i == 0, 0, i * self.pool_size - self.in_tail(b))
            return self.offsets()[b].otherwise(0) + after

        return self.pool_rows(source, "int64")

    def make_pool_tail_logical_base(self) -> nb.Array:
        return self.pool_rows(lambda b, i: (self.first_pool(b) + i) * self.pool_size, "int32")

    def make_pool_write_loc(self) -> nb.Array:
        return self.pool_rows(lambda b, i: self.location(b, self.first_pool(b) + i), "int64")

    # Tails.

    def tail_sums(self) -> nb.Array:
        def flag(b: nb.Element) -> nb.Element:
            return nb.where(self.left_of(b) > 0, 1, 0)

        return self.value(
            "tail_sums",
            lambda: self.s.scan(self.s.map(self.size("bs"), flag), inclusive=True),
        )

    def tail_rows(self, element: Callable[[nb.Element], nb.Element], dtype: str) -> nb.Array:
        def row(m: nb.Element) -> nb.Element:
            return element(self.tail_sums().search(m))

        return self.s.map(self.size("num_tails"), row, dtype=dtype)

    def make_num_tail_rows(self) -> nb.Array:
        sums, bs = self.tail_sums(), self.size("bs")
        return self.s.map(1, lambda _: sums[bs - 1].otherwise(0))

    def make_tail_req(self) -> nb.Array:
        return self.tail_rows(lambda b: self.pool[b].otherwise(0), "int64")

    def make_tail_chunk_src(self) -> nb.Array:
        return self.tail_rows(
            lambda b: self.offsets()[b].otherwise(0) + self.used_of(b), "int64"
        )

    def make_tail_dst_logical_start(self) -> nb.Array:
        return self.tail_rows(lambda b: self.start_of(b) + self.used_of(b), "int32")

    def make_tail_n_write(self) -> nb.Array:
        return self.tail_rows(self.left_of, "int32")

    # Keys of pools, page after page.

    def pages_of(self, b: nb.Element) -> nb.Element:
        pools = nb.maximum(self.length(b), 0) // self.pool_size
        return nb.ceildiv(pools, INDEX_PAGE_SIZE)

    def page_sums(self) -> nb.Array:
        return self.value(
            "page_sums",
            lambda: self.s.scan(self.s.map(self.size("bs"), self.pages_of, dtype="int64")),
        )

    def make_concat_page_table(self) -> nb.Array:
        def page(m: nb.Element) -> nb.Element:
            sums = self.page_sums()
            b = sums.search(m) - 1
            column = (m - sums[b].otherwise(0)) * self.pool_size
            return self.page(b, column) // self.pool_size

        return self.s.map(self.size("num_index_pages"), page, dtype="int32")

    def make_pooled_seq_lens_expanded(self) -> nb.Array:
        return self.rows(lambda b, i: self.expanded(b, i) // self.pool_size)

    def first_key_of_pools(self, b: nb.Element) -> nb.Element:
        return self.page_sums()[b].otherwise(0) * INDEX_PAGE_SIZE

    def make_q_ks(self) -> nb.Array:
        return self.rows(lambda b, i: self.first_key_of_pools(b))

    def make_q_ke(self) -> nb.Array:
        def end(b: nb.Element, i: nb.Element) -> nb.Element:
            pools = self.expanded(b, i) // self.pool_size
            room = self.pages_of(b) * INDEX_PAGE_SIZE
            return self.first_key_of_pools(b) + nb.minimum(pools, room)

        return self.rows(end)

    def pool_condition(self, name: str) -> nb.Array | None:
        """Which elements of a field there are, if only the device knows."""
        if name not in ROOMS:
            return None
        room, bs = self.size(ROOMS[name]), self.size("bs")
        if name in POOL_ROWS:
            sums, last = self.pool_sums(), bs
        elif name in TAIL_ROWS:
            sums, last = self.tail_sums(), bs - 1
        else:
            sums, last = self.page_sums(), bs
        return self.s.map(room, lambda m: (m < sums[last].otherwise(0)).astype("int8"))
