# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of a DSA forward step whose index keys are pooled, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import add
from typing import Any

from . import _schedules
from . import build as nb
from ._arguments import length
from ._errors import INT32_MAX, check_mode, constant, optional_constant, wrong
from ._fields import Runner
from ._incremental import Changes, check_room, grid
from ._kpool import Pooled, clip

MODES = ("decode", "target_verify", "draft_extend")
SIZES = ("bs", "max_len", "rows", "num_tokens", "new_columns", "topk", "all_columns")
FIELDS = (
    "cache_seqlens", "cu_seqlens_k", "paged_mqa_ctx_lens", "seqlens_expanded",
    "nsa_cache_seqlens", "nsa_cu_seqlens_k", "page_table_1", "real_page_table",
)  # fmt: skip
POOL_FIELDS = ("pooled_cache_seqlens", "pooled_real_page_table")
PLAN = (
    "kpool_req", "kpool_write_start", "kpool_tail_logical_start", "kpool_write_loc",
    "kpool_seqlens_per_q", "kpool_pool_seqlens_per_q",
)  # fmt: skip
#: What depends on the page size, and the one of a shared step where nothing does.
PAGED = {"real_page_table", "pooled_real_page_table", "kpool_write_loc"}
USUAL_PAGE_SIZE = 64
#: Rows of a request that a formula adds up one by one.
MOST_ADDED = 16
#: What the names of schedules of pools begin with.
PREFIXES = ("", "pooled_")


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    mode: str
    #: Rows of a request; of ragged ones only the device knows how many there are.
    per_request: int
    ragged: bool
    padded: bool
    #: None: a launch says it.
    topk: int | None
    page_size: int
    pool_size: int
    #: Of incremental tables, see ``_incremental.grid``.
    grid: int | None = None
    #: Columns of tables past a request's length may keep what they hold; None: those from
    #: the size all_columns on.
    live_only: bool | None = False

    @property
    def tables(self) -> dict[str, int]:
        """Page tables -> tokens of a column."""
        return {
            "page_table_1": 1,
            "real_page_table": self.page_size,
            "pooled_real_page_table": self.page_size * self.pool_size,
        }


def fields_of(options: Options) -> tuple[str, ...]:
    """All that the mode has."""
    fields = FIELDS
    if options.mode == "draft_extend":
        fields = tuple(name for name in fields if name != "paged_mqa_ctx_lens")
    if options.pool_size > 1:
        fields += POOL_FIELDS if options.ragged else POOL_FIELDS + PLAN
    return fields


def write_shared(options: Options, dtypes: Mapping[str, str]) -> PooledReplay:
    """The step of any fields of one destination, with any top-k, padded or not."""
    shared = replace(options, topk=None, padded=True, live_only=None)
    return write((fields_of(shared),), shared, dtypes, optional=True)


class PooledReplay(Pooled):
    """The fields of a forward step."""

    def __init__(self, options: Options, dtypes: Mapping[str, str]) -> None:
        is_pooled = options.pool_size > 1
        name = f"pooled_{options.mode}" if is_pooled else f"{options.mode}_replay"
        super().__init__(name, dtypes)
        self.options = options
        self.pool_size, self.page_size = options.pool_size, options.page_size
        self.has_bound = options.ragged or options.padded
        bs = self.size("bs")
        self.num_rows = self.size("rows") if self.has_bound else bs * options.per_request
        self.changed: dict[int, tuple[nb.Array, tuple[nb.Array, nb.Array]]] = {}

    def field(self, name: str) -> nb.Array:
        make = getattr(self, f"make_{name}", None)
        if make is None or name not in fields_of(self.options):
            rows = "ragged " if self.options.ragged else ""
            pools = " with pools" if self.pool_size > 1 else ""
            text = f"{name!r} is no field of {rows}{self.options.mode}{pools}"
            raise wrong(ValueError, "dsts", text)
        return self.value(name, make)

    def places(self, name: str) -> tuple[nb.Array, tuple[nb.Array, nb.Array] | None]:
        """A field, and where its elements go if not all are written."""
        if self.options.grid is None or name not in self.options.tables:
            return self.field(name), None
        tokens = self.options.tables[name]
        if tokens not in self.changed:
            self.changed[tokens] = self.changes().table(tokens, name)
        return self.changed[tokens]

    def changes(self) -> Changes:
        return Changes(
            self.s,
            rows=self.num_rows,
            request=lambda r: self.request(r)[0],
            grid=self.options.grid or 0,
            new_columns=self.size("new_columns"),
            max_len=self.size("max_len"),
            since=self.vector("since", "bs", "int32"),
            lens=self.field("cache_seqlens"),
            pool=self.pool,
            tokens=self.tokens,
        )

    def length(self, b: nb.Element) -> nb.Element:
        """With the tokens of the step."""
        more = self.options.per_request if self.options.mode == "target_verify" else 0
        return self.lens[b].otherwise(0).astype("int32") + more

    # Requests.

    def requests(
        self, element: Callable[[nb.Element], nb.Element], dtype: str = "int32"
    ) -> nb.Array:
        return self.s.map(self.size("bs"), element, dtype=dtype)

    def make_cache_seqlens(self) -> nb.Array:
        return self.requests(self.length)

    def make_cu_seqlens_k(self) -> nb.Array:
        return self.s.scan(self.field("cache_seqlens"))

    def make_paged_mqa_ctx_lens(self) -> nb.Array:
        shape = self.size("bs"), self.options.per_request
        return self.s.map(shape, lambda b, j: self.length(b))

    def make_pooled_cache_seqlens(self) -> nb.Array:
        return self.requests(lambda b: nb.maximum(self.length(b), 0) // self.pool_size)

    # Rows.

    def request(self, r: nb.Element) -> tuple[nb.Element, nb.Element]:
        """That of a row, one that there is not for padding, and the row's number in it."""
        if self.options.ragged:
            b = self.offsets().search(r) - 1
            return b, (r - self.offsets()[b].otherwise(0)).astype("int32")
        each = max(self.options.per_request, 1)
        return r // each, (r % each).astype("int32")

    def rows(
        self,
        element: Callable[[nb.Element, nb.Element], nb.Element],
        columns: Any = None,
    ) -> nb.Array:
        """``element(request, number in it)`` of each row, or with the column for the number;
        0 for padding."""
        each = self.options.per_request

        def row(r: nb.Element, c: nb.Element | None = None) -> nb.Element:
            b, i = self.request(r)
            is_row = self.is_row(r) if self.options.ragged else r < self.size("bs") * each
            found = element(b, i if c is None else c)
            return nb.where(is_row, found, 0) if self.has_bound else found

        if columns is None:
            return self.s.map(self.num_rows, lambda r: row(r), dtype="int32")
        return self.s.map((self.num_rows, columns), lambda r, c: row(r, c), dtype="int32")

    def expanded(self, b: nb.Element, i: nb.Element | int) -> nb.Element:
        """The length of a row."""
        given = self.lens[b].otherwise(0).astype("int32")
        if self.options.mode == "decode":
            return given
        if self.options.mode == "target_verify":
            return given + 1 + i
        rows: Any = self.options.per_request
        if self.options.ragged:
            rows = self.extends()[b].otherwise(0)
        return nb.maximum(given - rows + 1 + i, 0)

    def make_seqlens_expanded(self) -> nb.Array:
        return self.rows(self.expanded)

    def attended(self, b: nb.Element, i: nb.Element | int) -> nb.Element:
        """What a row attends to."""
        topk = self.number(self.options.topk, "topk")
        return clip(self.expanded(b, i), topk, self.pool_size)

    def make_nsa_cache_seqlens(self) -> nb.Array:
        return self.rows(self.attended)

    def make_nsa_cu_seqlens_k(self) -> nb.Array:
        each = self.options.per_request
        if self.options.ragged or not 1 < each <= MOST_ADDED:
            return self.s.scan(self.field("nsa_cache_seqlens"))

        # Sums over requests, since one block walks those over rows, and what rows of a request
        # add to them is a few operations.
        bs = self.size("bs")

        def all_rows(b: nb.Element) -> nb.Element:
            return reduce(add, [self.attended(b, i) for i in range(each)])

        sums = self.s.scan(self.requests(all_rows))

        def before(r: nb.Element) -> nb.Element:
            b, i = self.request(r)
            is_row = b < bs
            total = sums[nb.minimum(b, bs)].otherwise(0)
            for other in range(each - 1):
                total += nb.where(is_row & (i > other), self.attended(b, other), 0)
            return total

        return self.s.map(self.num_rows + 1, before, dtype="int32")

    # Page tables. Named operations, since those load a request's tokens once for all of its
    # rows, and know what need not be written.

    def live(self) -> nb.Array | None:
        """The columns of each request that have to be written, if not all have."""
        if self.options.live_only is False:
            return None
        lens = self.field("cache_seqlens")
        if self.options.live_only:
            return lens
        least = self.size("all_columns").astype("int32")
        return self.value("live", lambda: self.requests(lambda b: nb.maximum(lens[b], least)))

    def make_page_table_1(self) -> nb.Array:
        table = self.s.page_table(self.tokens, self.pool, self.size("max_len"), self.live())
        if self.options.mode == "decode" and not self.has_bound:
            return table
        each = self.options.per_request
        by = self.vector("extend_seq_lens", "bs") if self.options.ragged else each
        bound = self.size("rows") if self.has_bound else None
        rows = self.s.expansion(by, bound, padded=self.has_bound)
        return self.s.expand_rows(table, rows)

    def pages(self, tokens: int) -> nb.Array:
        """The first token of each page, of `tokens` tokens, by that number."""
        if self.options.live_only is not None and tokens <= INT32_MAX:
            return self.s.real_page_table(self.field("page_table_1"), tokens)

        # Named operations know no larger pages; and they would load every token of the other
        # table, which may be missing.
        def page(b: nb.Element, c: nb.Element) -> nb.Element:
            return self.page(b, c * (tokens // self.page_size)) // (tokens // self.page_size)

        return self.rows(page, nb.ceildiv(self.size("max_len"), tokens))

    def make_real_page_table(self) -> nb.Array:
        return self.pages(self.page_size)

    def make_pooled_real_page_table(self) -> nb.Array:
        return self.pages(self.page_size * self.pool_size)

    # The plan of what is written.

    def start_of(self, b: nb.Element) -> nb.Element:
        """The position of the first token that is written."""
        before = {"decode": 1, "target_verify": 0, "draft_extend": self.options.per_request}
        return self.lens[b].otherwise(0).astype("int32") - before[self.options.mode]

    def first_pool(self, b: nb.Element) -> nb.Element:
        return nb.maximum(self.start_of(b), 0) // self.pool_size

    def make_kpool_req(self) -> nb.Array:
        return self.requests(lambda b: self.pool[b], "int64")

    def make_kpool_write_start(self) -> nb.Array:
        return self.requests(self.start_of)

    def make_kpool_tail_logical_start(self) -> nb.Array:
        return self.requests(lambda b: self.first_pool(b) * self.pool_size)

    def make_kpool_write_loc(self) -> nb.Array:
        pools = -(-self.options.per_request // self.pool_size)

        def place(b: nb.Element, m: nb.Element) -> nb.Element:
            return self.location(b, self.first_pool(b) + m.astype("int32"))

        return self.s.map((self.size("bs"), pools), place, dtype="int64")

    def make_kpool_seqlens_per_q(self) -> nb.Array:
        return self.rows(lambda b, i: self.start_of(b) + 1 + i)

    def make_kpool_pool_seqlens_per_q(self) -> nb.Array:
        def pools(b: nb.Element, i: nb.Element) -> nb.Element:
            return nb.maximum(self.start_of(b) + 1 + i, 0) // self.pool_size

        return self.rows(pools)


    # Schedules.

    def pools_of_rows(self, least: int = 0) -> nb.Array:
        lens, p = self.field("seqlens_expanded"), self.pool_size

        def pools(r: nb.Element) -> nb.Element:
            return nb.maximum(lens[r] // p, least)

        return self.value(f"pools {least}", lambda: self.s.map(self.num_rows, pools))

    def lengths_of(self, schedule: _schedules.Schedule) -> _schedules.Lengths:
        if schedule.kind == "flashmla":
            options = schedule.options
            if schedule.prefix:
                raise wrong(ValueError, "schedules", "attention has no pooled lengths")
            if options.topk is not None:
                return None, None, self.num_rows
            if options.sparse:
                return self.field("nsa_cache_seqlens"), None, self.num_rows
            return self.field("cache_seqlens"), None, self.size("bs")
        next_n = schedule.options.next_n if schedule.kind == "paged_mqa" else 1
        if next_n != 1:
            is_known = self.options.mode == "target_verify" and not schedule.prefix
            if not is_known or next_n != self.options.per_request:
                text = (
                    "expected 'paged_mqa' with next_n 1, or that of target_verify, but got"
                    f" {next_n}"
                )
                raise wrong(ValueError, "schedules", text)
            return self.field("cache_seqlens"), None, self.size("bs")
        if schedule.prefix:
            # DeepGEMM's schedule has an item for a row without pools.
            least = 1 if schedule.kind == "paged_mqa" else 0
            return self.pools_of_rows(least), None, self.num_rows
        return self.field("seqlens_expanded"), None, self.num_rows


def write(
    fields: tuple[tuple[str, ...], ...],
    options: Options,
    dtypes: Mapping[str, str],
    schedules: _schedules.Schedules = (),
    optional: bool = False,
) -> PooledReplay:
    """The step; `optional`: any of the fields may be missing."""
    step = PooledReplay(options, dtypes)
    ports: dict[str, list[str]] = {}
    for number, names in enumerate(fields):
        for name in names:
            ports.setdefault(name, []).append(f"b{number}_{name}")
    for name, destinations in ports.items():
        value, places = step.places(name)
        step.s.output(destinations, value, at=places, optional=optional)
    _schedules.write(step.s, step.lengths_of, schedules)
    return step


class _Replay(Runner):
    """What runs a replay; `tables`: the incremental ones, and tokens of a column."""

    def __init__(
        self,
        fields: tuple[tuple[str, ...], ...],
        options: Options,
        schedules: _schedules.Schedules,
    ) -> None:
        ports = [(f"b{number}_{name}", name) for number, each in enumerate(fields) for name in each]
        is_shared = len(fields) == 1 and options.grid is None and not any(schedules)
        is_paged = not PAGED.isdisjoint(name for _, name in ports)
        shared = options if is_paged else replace(options, page_size=USUAL_PAGE_SIZE)
        super().__init__(
            lambda dtypes: write(fields, options, dtypes, schedules),
            [port for port, _ in ports] + _schedules.ports(schedules),
            SIZES,
            {"bs": (["seq_lens"], 0)},
            (lambda dtypes: write_shared(shared, dtypes)) if is_shared else None,
        )
        tables = {} if options.grid is None else options.tables
        self.tables = {port: tables[name] for port, name in ports if name in tables}


_replay = cache(_Replay)


def replay_pooled(
    dsts: Any,
    mode: Any,
    given: Mapping[str, Any],
    ragged: bool,
    bs: Any,
    max_len: Any,
    row_bound: Any,
    topk: Any,
    page_size: Any,
    next_n: Any,
    live_only: bool,
    index_kpool: Any,
    schedules: Any,
    new_columns: Any,
    stream: Any,
) -> None:
    """``replay_metadata`` with pools, or with pools of one token; `given`: arrays by the names
    of inputs. `ragged`: extends are an array."""
    check_mode(mode, MODES)
    extend = given["extend_seq_lens"]
    per_request = constant("next_n", next_n, 1)
    if per_request != 1 and mode != "target_verify":
        raise wrong(ValueError, "next_n", f"expected 1 in {mode} but got {next_n}")
    if (extend is None) == (mode == "draft_extend"):
        takes = "needs them" if extend is None else "takes none"
        raise wrong(ValueError, "extend_seq_lens", f"{mode} {takes}")
    if extend is not None and not ragged:
        per_request = constant("extend_seq_lens", extend, 1)
    if ragged and row_bound is None:
        raise wrong(TypeError, "row_bound", "missing, ragged rows with pools need it")
    columns = None
    if new_columns is not None:
        new_columns = constant("new_columns", new_columns, 0)
        max_len = optional_constant("max_len", max_len, 0)
        # No row has more.
        new_columns = new_columns if max_len is None else min(new_columns, max_len)
        columns = grid(new_columns)
    options = Options(
        mode,
        per_request,
        ragged,
        row_bound is not None,
        constant("topk", 0 if topk is None else topk, 0),
        constant("page_size", 1 if page_size is None else page_size, 1),
        constant("index_kpool", index_kpool, 1),
        columns,
        live_only and columns is None,
    )

    def rows() -> int:
        if row_bound is not None:
            return int(row_bound)
        requests = length("seq_lens", given["seq_lens"])[1] if bs is None else bs
        return int(requests) * per_request

    found, written = _schedules.parse(schedules, len(dsts), rows, PREFIXES)
    run = _replay(tuple(map(tuple, dsts)), options, found)
    if bs is None and "seq_lens" not in run.inputs:
        bs = length("seq_lens", given["seq_lens"])[1]
    arrays = [array for destination in dsts for array in destination.values()]
    if run.tables and max_len is not None:
        names = run.arrays[len(run.inputs) :]
        check_room(names, arrays, run.tables, rows(), max_len)
    # Some are for a shared step alone.
    bound = rows() if row_bound is None else row_bound
    least = 0 if live_only else max_len
    sizes = (bs, max_len, bound, bound, new_columns, options.topk, least)
    run(given, [*arrays, *written], sizes, stream)
