# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the layers of a sparse prefill of DeepSeek V4 or V4.1 have in common, as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import build as nb
from ._arguments import length
from ._errors import constant, wrong
from ._fields import Fields, Runner
from ._ragged_prefill import RATIOS, ROW_MULTIPLE, RaggedRows
from ._v4_rows import round_up

SIZES = (
    "bs", "queries", "swa_num_ids", "c1_num_ids", "c2_num_ids", "c4_num_ids", "c128_columns",
)  # fmt: skip
#: Of a ratio of which every token is attended to.
DENSE = 128
_RAGGED = ("ids", "base", "swa_base", "lens")
_GATHERED = ("swa_ids", "swa_first", "swa_lens", "swa_offsets")
#: Ratios of V4, and of V4.1, whose requests may keep their windows.
MODELS = ((4, DENSE), (1, 2))


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    page_size: int
    window: int
    has_query_pos: bool
    #: Windows are places in a workspace that is there, and nothing is gathered for them.
    has_windows: bool


class Chunk(Fields):
    """Fields of a chunk of prefill."""

    def __init__(self, options: Options, dtypes: Mapping[str, str]) -> None:
        super().__init__("prefill_v4", dtypes)
        self.options = options
        self.ragged: dict[int, RaggedRows] = {}

    def field(self, name: str) -> nb.Array:
        """Raises ``ValueError`` for no field."""
        ratio, _, rest = name.removeprefix("c").partition("_")
        is_ragged = name.startswith("c") and ratio in map(str, RATIOS) and rest in _RAGGED
        if not is_ragged:
            if name in _GATHERED and self.options.has_windows:
                raise wrong(ValueError, "dst", f"{name!r} is no field where windows are given")
            return super().field(name)
        return self.rows_of(int(ratio)).field(f"out_{rest}")

    def rows_of(self, ratio: int) -> RaggedRows:
        if ratio not in self.ragged:
            if self.options.page_size % ratio:
                raise wrong(ValueError, "page_size", f"expected a multiple of {ratio}")
            size, window = self.options.page_size, self.options.window
            self.ragged[ratio] = RaggedRows(ratio, size, window, self.dtypes, self)
        return self.ragged[ratio]

    def write(self, fields: tuple[str, ...], optional: bool = False) -> Chunk:
        """`optional`: any of them may be missing."""
        for name in fields:
            value, mask = self.field(name), self.condition(name)
            self.s.output(f"dst_{name}", value, optional=optional, when=mask)
        return self

    def condition(self, name: str) -> nb.Array | None:
        """Which elements of a list there are, which only the device knows."""
        if name == "swa_ids":
            windows, bs = self.windows(), self.size("bs")
            count = self.size("swa_num_ids")
            return self.s.map(count, lambda k: (k < windows[bs]).astype("int8"))
        if name in (f"c{ratio}_ids" for ratio in RATIOS):
            return self.rows_of(int(name[1])).is_id()
        return None

    # Windows.

    def length(self, b: nb.Element) -> nb.Element:
        return nb.maximum(self.lens[b].otherwise(0).astype("int32"), 0)

    def gathered(self, b: nb.Element) -> nb.Element:
        """How many tokens the windows of a request's queries span."""
        extends = self.vector("extend_seq_lens", "bs")
        spanned = extends[b].otherwise(0).astype("int32").astype("int64")
        return nb.maximum(nb.minimum(self.length(b), spanned + (self.options.window - 1)), 0)

    def windows(self) -> nb.Array:
        """Where each request's begin, and how many tokens there are."""

        def count(b: nb.Element) -> nb.Element:
            return nb.constant(0, "int64") if self.options.has_windows else self.gathered(b)

        def make() -> nb.Array:
            return self.s.scan(self.s.map(self.size("bs"), count, dtype="int64"))

        return self.value("windows", make)

    def first(self, b: nb.Element) -> nb.Element:
        return self.length(b) - self.gathered(b)

    def make_swa_lens(self) -> nb.Array:
        return self.s.map(self.size("bs"), self.gathered, dtype="int32")

    def make_swa_first(self) -> nb.Array:
        return self.s.map(self.size("bs"), self.first, dtype="int32")

    def make_swa_offsets(self) -> nb.Array:
        windows = self.windows()
        return self.s.map(self.size("bs") + 1, lambda b: windows[b], dtype="int32")

    def make_swa_ids(self) -> nb.Array:
        windows = self.windows()
        full_to_swa = self.vector("full_to_swa", None)

        def slot(k: nb.Element) -> nb.Element:
            b = windows.search(k) - 1
            position = self.first(b) + (k - windows[b].otherwise(0))
            token = self.tokens[self.pool[b].otherwise(-1), position].otherwise(0)
            return full_to_swa[token].otherwise(0)

        return self.s.map(self.size("swa_num_ids"), slot, dtype="int32")

    # Queries; `t` is one.

    @property
    def starts(self) -> nb.Array:
        return self.vector("query_start_loc", None, "int32")

    def row_of(self, b: nb.Element) -> nb.Element:
        """That of the first query of a request, or of the one after the last."""
        return self.starts[b].otherwise(0).astype("int64") - self.starts[0].otherwise(0)

    def request(self, t: nb.Element) -> nb.Element:
        """`bs` of rows past the last one."""
        return self.starts.search(self.starts[0].otherwise(0).astype("int64") + t) - 1

    def position(self, t: nb.Element) -> nb.Element:
        if self.options.has_query_pos:
            return self.vector("query_pos", "queries", "int32")[t].astype("int64")
        b = self.request(t)
        return self.lens[b].otherwise(0).astype("int32") + (t - self.row_of(b + 1))

    def if_row(self, t: nb.Element, value: nb.Element, most: Any) -> nb.Element:
        """A number from 0 to `most`; 0 of rows that no request has."""
        is_row = self.request(t) < self.size("bs")
        return nb.where(is_row, nb.maximum(nb.minimum(value, most), 0), 0)

    def compressed(self, name: str, columns: Any) -> nb.Array:
        """How many compressed tokens each query attends to."""

        def count(t: nb.Element) -> nb.Element:
            return self.if_row(t, (self.position(t) + 1) // DENSE, columns)

        def make() -> nb.Array:
            return self.s.map(self.size("queries"), count, dtype="int32")

        return self.value(f"{name} compressed", make)

    def window(self) -> nb.Array:
        """How many tokens of its window."""

        def count(t: nb.Element) -> nb.Element:
            if self.options.has_windows:
                given = self.vector("swa_lengths", "queries", "int32")[t]
            else:
                given = self.position(t) + 1
            return self.if_row(t, given, self.options.window)

        def make() -> nb.Array:
            return self.s.map(self.size("queries"), count, dtype="int32")

        return self.value("window", make)

    def combine(self, name: str, columns: Any) -> nb.Array:
        """Rows of the workspace: `columns` compressed ones of each request, then windows."""
        compressed, window, windows = self.compressed(name, columns), self.window(), self.windows()
        bs = self.size("bs")

        def row(t: nb.Element, j: nb.Element) -> nb.Element:
            b, k, w = self.request(t), compressed[t], window[t]
            base = bs * columns + windows[b].otherwise(0)
            if self.options.has_windows:
                place = self.table("swa_indices")[t, j - k].otherwise(-1)
                inner = nb.where(place < 0, -1, place + base)
            else:
                inner = base + (self.position(t) + 1 - w - self.first(b)) + (j - k)
            inner = nb.where(j < k + w, inner, -1)
            return nb.where(j < k, b * columns + j, inner)

        width = round_up(columns + self.options.window, ROW_MULTIPLE)
        return self.s.map((self.size("queries"), width), row, dtype="int32")

    def lens_of(self, name: str, columns: Any) -> nb.Array:
        compressed, window = self.compressed(name, columns), self.window()
        return self.s.map(self.size("queries"), lambda t: compressed[t] + window[t])

    def make_c0_indices(self) -> nb.Array:
        return self.combine("c0", 0)

    def make_c0_lens(self) -> nb.Array:
        return self.lens_of("c0", 0)

    # Ratio 128.

    @property
    def columns(self) -> nb.Size:
        return self.size("c128_columns")

    def make_c128_ids(self) -> nb.Array:
        table = self.table("c128_page_indices")

        def compressed(b: nb.Element, j: nb.Element) -> nb.Element:
            end = self.row_of(b + 1)
            slot = table[end - 1, j].otherwise(0)
            return nb.where(end > self.row_of(b), nb.maximum(slot, 0), 0)

        return self.s.map((self.size("bs"), self.columns), compressed, dtype="int32")

    def make_c128_base(self) -> nb.Array:
        return self.s.map(self.size("bs"), lambda b: b * self.columns, dtype="int32")

    def make_c128_swa_base(self) -> nb.Array:
        bs, windows = self.size("bs"), self.windows()
        return self.s.map(bs, lambda b: bs * self.columns + windows[b], dtype="int32")

    def make_c128_indices(self) -> nb.Array:
        return self.combine("c128", self.columns)

    def make_c128_lens(self) -> nb.Array:
        return self.lens_of("c128", self.columns)


def all_fields(ratios: tuple[int, ...], has_windows: bool) -> tuple[str, ...]:
    """Those of a model."""
    names = ["c0_indices", "c0_lens", *(() if has_windows else _GATHERED)]
    for ratio in ratios:
        of_ratio = ("ids", "base", "swa_base", "indices", "lens") if ratio == DENSE else _RAGGED
        names += [f"c{ratio}_{name}" for name in of_ratio]
    return tuple(names)


@cache
def _runner(options: Options, fields: tuple[str, ...]) -> Runner:
    def rooms(dim: int, *names: str) -> tuple[list[str], int]:
        return [f"dst_{name}" for name in names], dim

    models = (all_fields(ratios, options.has_windows) for ratios in MODELS)
    every = next((names for names in models if set(fields) <= set(names)), ())
    return Runner(
        lambda dtypes: Chunk(options, dtypes).write(fields),
        [f"dst_{name}" for name in fields],
        SIZES,
        {
            "bs": (["seq_lens"], 0),
            "queries": rooms(0, "c0_indices", "c0_lens", "c128_indices", "c128_lens"),
            **{f"{name}_num_ids": rooms(0, f"{name}_ids") for name in ("swa", "c1", "c2", "c4")},
            "c128_columns": rooms(1, "c128_ids"),
        },
        (lambda dtypes: Chunk(options, dtypes).write(every, optional=True)) if every else None,
    )


def prefill_v4(
    dst: Any,
    *,
    seq_lens: Any,
    extend_seq_lens: Any = None,
    req_pool_indices: Any = None,
    req_to_token: Any = None,
    full_to_swa: Any = None,
    query_start_loc: Any = None,
    query_pos: Any = None,
    page_table: Any = None,
    c128_page_indices: Any = None,
    swa_indices: Any = None,
    swa_lengths: Any = None,
    page_size: int = 256,
    window: int = 128,
    max_len: int | None = None,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """What all layers of a chunk of V4's or V4.1's sparse prefill have in common, in one launch:
    which tokens are gathered into each workspace, where requests begin there, and which rows
    queries attend to in layers without an indexer.

    `dst`: a dict, field name -> array, any subset of the fields, all int32. S = `seq_lens`, E =
    `extend_seq_lens` [bs] (int32 or int64), W = `window`, G = min(S, E + W - 1), off the exclusive
    sums of G, table = `req_to_token`, P = `req_pool_indices`. Rows of queries are q[b] to
    q[b + 1] - 1, with q = `query_start_loc` - `query_start_loc`[0] ([bs + 1], int32):

    ==============================  =======================================================
    field                           value
    ==============================  =======================================================
    swa_ids [sum of G]              off[b] + i: full_to_swa[table[P[b], S - G + i]]
    swa_first, swa_lens [bs]        S - G; G
    swa_offsets [bs + 1]            off
    cQ_ids [sum of S // Q]          of Q = 1, 2, 4, as ``build_ragged_compressed_ids``
    cQ_base, cQ_lens [bs]           exclusive sums of S // Q; S // Q
    cQ_swa_base [bs]                the sum of S // Q, + off
    c128_ids [bs, c]                c128_page_indices[q[b + 1] - 1, j], 0 or more; 0 of a request
                                    without queries. c: its columns, or max(`max_len` // 128, 1)
    c128_base, c128_swa_base [bs]   b * c; bs * c + off
    c128_indices, c128_lens         for each query, as ``combine_topk_swa_indices`` with all
                                    k = min((pos + 1) // 128, c) compressed tokens before it, and
                                    its window: [queries, k + W rounded up to 128], [queries]
    c0_indices, c0_lens             the same of windows alone, that begin at off
    ==============================  =======================================================

    Beside these are read, where a field needs them: `req_pool_indices` [bs] and `full_to_swa`
    [slots] (int32 or int64), `req_to_token` [requests, tokens] and `page_table` [queries, pages]
    (int32, slots of tokens, and pages of `page_size` tokens). `page_size`, `window` and `max_len`
    are in tokens; `stream` as in ``Step.__call__``. The values are those
    of SGLang 0.5.23's ``SparsePrefillChunkCache``.

    A query's pos is that of `query_pos` ([queries], int32), or else that of the last rows of its
    request's S tokens; of a row that no request has all is -1, and 0. S counts as 0 or more. With
    `swa_indices` [queries, W] and `swa_lengths` [queries] windows are places in a workspace of
    their own behind the compressed rows, and nothing is gathered: G = 0, and there are no fields
    ``swa_``. Elements outside of their arrays count as 0. Only the device knows how long lists
    are: what an array has no room for is not written.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    if (swa_indices is None) != (swa_lengths is None):
        name = "swa_lengths" if swa_lengths is None else "swa_indices"
        raise wrong(TypeError, name, "missing, the other one is there")
    options = Options(
        constant("page_size", page_size, 1),
        constant("window", window, 1),
        query_pos is not None,
        swa_indices is not None,
    )
    if bs is None:
        bs = length("seq_lens", seq_lens)[1]
    columns = None if max_len is None else max(constant("max_len", max_len, 0) // DENSE, 1)
    given = {
        "seq_lens": seq_lens,
        "extend_seq_lens": extend_seq_lens,
        "req_pool_indices": req_pool_indices,
        "req_to_token": req_to_token,
        "full_to_swa": full_to_swa,
        "query_start_loc": query_start_loc,
        "query_pos": query_pos,
        "page_table": page_table,
        "c128_page_indices": c128_page_indices,
        "swa_indices": swa_indices,
        "swa_lengths": swa_lengths,
    }
    run = _runner(options, tuple(dst))
    dense = [name for name in dst if name.startswith(f"c{DENSE}_")]
    if dense and columns is None and f"c{DENSE}_ids" not in dense:
        raise wrong(TypeError, "max_len", f"missing, {dense[0]} without c{DENSE}_ids needs it")
    run(given, dst.values(), (bs, *[None] * 5, columns), stream)
