# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From positions that an indexer chose to slots of the cache, as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import build as nb
from ._arguments import check_rank, describe
from ._errors import constant, wrong
from ._fields import Fields, Runner


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    #: There is a table; else indices are slots.
    has_table: bool = True
    #: How a row finds its row of the table: by its own number, "rows" or "query_start_loc".
    by: str = ""
    ranks: int = 1
    rank: int = 0
    packed: bool = False
    has_counts: bool = False


class Transform(Fields):
    """The slots of chosen positions."""

    def __init__(self, options: Options, dtypes: Mapping[str, str]) -> None:
        super().__init__("transform_index", dtypes)
        self.options = options
        self.shape = self.size("num_rows"), self.size("columns")
        slots = self.make_slots()
        out = slots if options.ranks == 1 else self.share(slots)
        if options.packed:
            packed = out

            def never_empty(r: nb.Element, j: nb.Element) -> nb.Element:
                is_empty = (j == 0) & (packed[r, j] < 0)
                return nb.where(is_empty, 0, packed[r, j])

            out = self.s.map(self.shape, never_empty)
        self.s.output("out", out)
        if options.has_counts:
            self.s.output("counts", self.counts(slots))

    def make_slots(self) -> nb.Array:
        if not self.options.has_table:
            slots = self.table("indices")
            return self.s.map(self.shape, lambda r, j: slots[r, j].otherwise(-1))
        # Positions may be what torch's top-k returns.
        dtype = "int64" if self.dtypes.get("indices") == "int64" else "int32"
        indices = self.inputs["indices"] = self.s.input("indices", dtype, (None, None))
        table = self.table("page_table")

        def slot(r: nb.Element, j: nb.Element) -> nb.Element:
            row = self.row(r)
            return table[row, indices[r, j].otherwise(-1)].otherwise(-1)

        return self.s.map(self.shape, slot)

    def row(self, r: nb.Element) -> nb.Element:
        """Of the table; -1 if there is none."""
        if self.options.by == "rows":
            return self.vector("rows", None)[r].otherwise(-1).astype("index")
        if not self.options.by:
            return r
        starts = self.vector("query_start_loc", None, "int32")
        b = starts.search(r) - 1
        return nb.where(b + 1 < starts.shape[0], b, -1)

    def is_mine(self, slot: nb.Element) -> nb.Element:
        if self.options.ranks == 1:
            return slot >= 0
        return (slot >= 0) & (slot % self.options.ranks == self.options.rank)

    def share(self, slots: nb.Array) -> nb.Array:
        """A rank's own slots, packed to the left."""
        flags = self.s.map(self.shape, lambda r, j: nb.where(self.is_mine(slots[r, j]), 1, 0))
        sums = self.s.scan(flags, inclusive=True)

        def own(r: nb.Element, m: nb.Element) -> nb.Element:
            j = sums.search(m, row=r)
            slot = slots[r, j].otherwise(-1)
            return nb.where(j < self.size("columns"), slot // self.options.ranks, -1)

        return self.s.map(self.shape, own)

    def counts(self, slots: nb.Array) -> nb.Array:
        counts = self.s.count(self.shape, lambda r, j: self.is_mine(slots[r, j]))
        if not self.options.packed:
            return counts
        return self.s.map(self.size("num_rows"), lambda r: nb.maximum(counts[r], 1))


@cache
def _runner(options: Options) -> Runner:
    return Runner(
        lambda dtypes: Transform(options, dtypes),
        ("out", "counts") if options.has_counts else ("out",),
        ("num_rows", "columns"),
        {"num_rows": (["out"], 0), "columns": (["indices"], 1)},
    )


def transform_index(
    page_table: Any,
    indices: Any,
    out: Any,
    rows: Any = None,
    counts: Any = None,
    *,
    query_start_loc: Any = None,
    ranks: int = 1,
    rank: int = 0,
    packed: bool = False,
    stream: Any = None,
) -> None:
    """The slots of the positions that an indexer chose, in one launch.

    ``out[r, j]``, for all rows of `out` and all columns of `indices`, is
    ``page_table[row, indices[r, j]]``, and -1 where the index is negative, past the end of
    the table, or in a row that `indices` has not. The row of the table is r, or

    - ``rows[r]``, -1 if r has none; with
    - `query_start_loc` ([bs + 1], int32, ascending from 0) the b with
      ``query_start_loc[b] <= r < query_start_loc[b + 1]``; rows past the last one are -1.

    `page_table`: int32, of tokens, or None: `indices` are slots already, and int32. `indices`:
    int32 or int64.
    `rows`: int32 or int64. `out`: int32 [rows, columns or more].

    With `ranks` of 2 or more, a row keeps the slots that `rank` owns, those with
    ``slot % ranks == rank``, in their order and packed to the left, divided by `ranks`; then
    -1. `counts` ([rows], int32) is how many slots of 0 or more a row has, or how many the
    rank owns. `packed`: for kernels that fail at an empty row, the first slot of one becomes
    0 and its count 1; rows have to be packed to the left.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    ranks = constant("ranks", ranks, 1)
    rank = constant("rank", rank, 0, ranks - 1)
    if rows is not None and query_start_loc is not None:
        raise wrong(ValueError, "rows", "expected these or query_start_loc but got both")
    if page_table is None and (rows is not None or query_start_loc is not None):
        raise wrong(TypeError, "page_table", "missing, rows of it are named")
    by = "rows" if rows is not None else "query_start_loc" if query_start_loc is not None else ""
    check_rank("indices", describe("indices", indices)[1], 2)
    run = _runner(
        Options(page_table is not None, by, ranks, rank, bool(packed), counts is not None)
    )
    given = {
        "page_table": page_table,
        "indices": indices,
        "rows": rows,
        "query_start_loc": query_start_loc,
    }
    outputs = (out,) if counts is None else (out, counts)
    run(given, outputs, (None, None), stream)
