# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sparse prefill whose compressed rows are ragged, or whose windows are given, as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from . import build as nb
from ._errors import constant, wrong
from ._fields import Fields, Runner

RATIOS = (1, 2, 4)
OUTPUTS = ("out_ids", "out_base", "out_swa_base", "out_lens")
#: Rows of indices are padded to a multiple of it.
ROW_MULTIPLE = 128


class RaggedRows(Fields):
    """The compressed rows of each request, one request after the other."""

    def __init__(
        self,
        ratio: int,
        page_size: int,
        window: int,
        dtypes: Mapping[str, str],
        of: Any = None,
    ) -> None:
        """`of`: a chunk that these are fields of, which says where windows are."""
        super().__init__("ragged_compressed_ids", dtypes)
        self.ratio, self.page_size, self.window = ratio, page_size, window
        self.room, self.of = "num_ids", of
        if of is not None:
            self.s, self.sizes, self.inputs = of.s, of.sizes, of.inputs
            self.room = f"c{ratio}_num_ids"

    def length(self, b: nb.Element) -> nb.Element:
        return nb.maximum(self.lens[b].astype("int32"), 0)

    def make_out_lens(self) -> nb.Array:
        return self.s.map(self.size("bs"), lambda b: self.length(b) // self.ratio)

    def starts(self) -> nb.Array:
        def make() -> nb.Array:
            counts = self.field("out_lens")
            wide = self.s.map(self.size("bs"), lambda b: counts[b], dtype="int64")
            return self.s.scan(wide)

        return self.value("starts", make)

    def make_out_base(self) -> nb.Array:
        starts = self.starts()
        return self.s.map(self.size("bs"), lambda b: starts[b], dtype="int32")

    def windows(self) -> nb.Array:
        if self.of is not None:
            found: nb.Array = self.of.windows()
            return found
        extends = self.vector("extend_seq_lens", "bs")

        def gathered(b: nb.Element) -> nb.Element:
            spanned = extends[b].astype("int32").astype("int64") + (self.window - 1)
            return nb.maximum(nb.minimum(self.length(b), spanned), 0)

        return self.s.scan(self.s.map(self.size("bs"), gathered, dtype="int64"))

    def make_out_swa_base(self) -> nb.Array:
        bs, starts = self.size("bs"), self.starts()
        windows = self.windows()
        return self.s.map(bs, lambda b: starts[bs] + windows[b], dtype="int32")

    def make_out_ids(self) -> nb.Array:
        starts, queries = self.starts(), self.vector("query_start_loc", None, "int32")
        table, per_page = self.table("page_table"), self.page_size // self.ratio

        def compressed(k: nb.Element) -> nb.Element:
            b = starts.search(k) - 1
            i = k - starts[b].otherwise(0)
            first = queries[b].otherwise(0).astype("int64") - queries[0].otherwise(0)
            row = nb.minimum(first, table.shape[0] - 1)
            page = table[row, i // per_page].otherwise(-1)
            inside = (i % per_page).astype("int32")
            return nb.maximum(nb.where(page < 0, 0, page * per_page + inside), 0)

        return self.s.map(self.size(self.room), compressed, dtype="int32")

    def is_id(self) -> nb.Array:
        """Which elements of the list there are."""
        starts, bs = self.starts(), self.size("bs")
        return self.s.map(self.size(self.room), lambda k: (k < starts[bs]).astype("int8"))

    def write(self, outputs: tuple[str, ...]) -> RaggedRows:
        self.starts()
        for name in outputs:
            when = self.is_id() if name == "out_ids" else None
            self.s.output(name, self.field(name), when=when)
        return self


@cache
def _rows(ratio: int, page_size: int, window: int, outputs: tuple[str, ...]) -> Runner:
    return Runner(
        lambda dtypes: RaggedRows(ratio, page_size, window, dtypes).write(outputs),
        outputs,
        ("bs", "num_ids"),
        {"bs": (["seq_lens"], 0), "num_ids": (["out_ids"], 0)},
    )


def build_ragged_compressed_ids(
    page_table: Any,
    query_start_loc: Any,
    seq_lens: Any,
    out_ids: Any,
    ratio: int,
    page_size: int = 256,
    *,
    extend_seq_lens: Any = None,
    window: int = 128,
    out_base: Any = None,
    out_swa_base: Any = None,
    out_lens: Any = None,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """Lists the compressed tokens of each request of a chunk, one request after the other, and
    says where its rows of the workspace begin, in one launch.

    Request b has ``S[b] // ratio`` of them, S = `seq_lens` ([bs], int32 or int64), where base
    are the exclusive sums of that and s = ``page_size // ratio``:

    =============  ===============  =====================================================
    array          elements         value
    =============  ===============  =====================================================
    out_ids        [sum of counts]  base[b] + i: ``page * s + i % s``, 0 or more, with page
                                    = ``page_table[first query of b, i // s]``
    out_base       [bs]             base
    out_swa_base   [bs]             where windows begin, behind all of those: the sum of
                                    counts and of min(S, E + window - 1) before b
    out_lens       [bs]             S // ratio
    =============  ===============  =====================================================

    All are int32, and each of them may be None. `page_table`: int32, a row for each query.
    `query_start_loc`: int32 [bs + 1], the row of each request's first query and the number of
    rows, both plus a constant; a request past the last row counts as there. E =
    `extend_seq_lens` ([bs], int32 or int64), which `out_swa_base` needs. `ratio`: 1, 2 or 4;
    it divides `page_size`. A page that is negative or outside of the table gives 0. Only the
    device knows how many ids there are: those that `out_ids` has no room for are not
    written.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    if constant("ratio", ratio, 1) not in RATIOS:
        raise wrong(ValueError, "ratio", f"expected 1, 2 or 4 but got {ratio}")
    if constant("page_size", page_size, 1) % ratio:
        raise wrong(ValueError, "page_size", f"expected a multiple of {ratio}")
    found = zip(OUTPUTS, (out_ids, out_base, out_swa_base, out_lens))
    outputs = {name: array for name, array in found if array is not None}
    run = _rows(ratio, page_size, constant("window", window, 1), tuple(outputs))
    given = {
        "page_table": page_table,
        "query_start_loc": query_start_loc,
        "seq_lens": seq_lens,
        "extend_seq_lens": extend_seq_lens,
    }
    run(given, outputs.values(), (bs, None), stream)


class GivenWindows(Fields):
    """Which rows of a workspace queries attend to, if their windows are given."""

    def __init__(self, window: int, ratio: int, topk: int, has_topk_indices: bool,
                 has_query_pos: bool, dtypes: Mapping[str, str]) -> None:  # fmt: skip
        super().__init__("combine_given_windows", dtypes)
        queries, starts = self.size("queries"), self.vector("query_start_loc", None, "int32")

        def request(t: nb.Element) -> nb.Element:
            """That of a row, `bs` of rows past the last one."""
            return starts.search(starts[0].otherwise(0).astype("int64") + t) - 1

        def is_row(t: nb.Element) -> nb.Element:
            return request(t) < self.size("bs")

        def position(t: nb.Element) -> nb.Element:
            if has_query_pos:
                return self.vector("query_pos", "queries", "int32")[t].astype("int64")
            b = request(t)
            end = starts[b + 1].otherwise(0).astype("int64")
            before_end = starts[0].otherwise(0).astype("int64") + t - end
            return self.lens[b].otherwise(0).astype("int32") + before_end

        def compressed(t: nb.Element) -> nb.Element:
            count = (position(t) + 1) // ratio
            return nb.where(is_row(t), nb.maximum(nb.minimum(count, topk), 0), 0)

        compressed_of = self.s.map(queries, compressed, dtype="int32")
        lengths = self.vector("swa_lengths", "queries", "int32")

        def window_of(t: nb.Element) -> nb.Element:
            return nb.where(is_row(t), nb.maximum(nb.minimum(lengths[t], window), 0), 0)

        def row(t: nb.Element, j: nb.Element) -> nb.Element:
            b, k = request(t), compressed_of[t]
            chosen: Any = j.astype("int32")
            if has_topk_indices:
                chosen = self.table("topk_indices")[t, j].otherwise(-1)
            base = self.vector("compressed_base", "bs", "int32")[b].otherwise(0)
            swa_base = self.vector("swa_base", "bs", "int32")[b].otherwise(0)
            inner = self.table("swa_indices")[t, j - k].otherwise(-1)
            outer = nb.where(chosen < 0, -1, chosen + base)
            inner = nb.where((inner < 0) | (j >= k + window_of(t)), -1, inner + swa_base)
            return nb.where(j < k, outer, inner)

        width = -(-(topk + window) // ROW_MULTIPLE) * ROW_MULTIPLE
        self.s.output("out_indices", self.s.map((queries, width), row, dtype="int32"))
        self.s.output(
            "out_lens",
            self.s.map(queries, lambda t: compressed_of[t] + window_of(t), dtype="int32"),
        )


@cache
def combine_given_windows(
    window: int, ratio: int, topk: int, has_topk_indices: bool, has_query_pos: bool
) -> Runner:
    """What ``combine_topk_swa_indices`` runs if it is given the windows."""
    return Runner(
        lambda dtypes: GivenWindows(
            window, ratio, topk, has_topk_indices, has_query_pos, dtypes
        ),
        ("out_indices", "out_lens"),
        ("bs", "queries"),
        {"bs": (["compressed_base"], 0), "queries": (["swa_lengths"], 0)},
    )
