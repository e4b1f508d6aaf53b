# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The nsa texts behind ``nsa.ops``.

Each function here returns the text of one step, made to measure: it has the ports that
the asked fields need and no others. A text depends on its arguments alone, so it serves
as a key.
"""

from functools import cached_property, lru_cache

from . import _metadata, _schedules
from . import build as nb
from ._errors import check_mode, constant, index_dtype, optional_constant, wrong
from ._incremental import MOST_CONSTANT, Changes
from ._prefill_steps import combine_indices, compressed_token_ids, swa_token_ids
from .build import Builder

__all__ = [
    "DECODE_FIELDS",
    "FIELDS",
    "MODES",
    "combine_indices",
    "compressed_token_ids",
    "copy_metadata",
    "decode_replay",
    "dequant_paged",
    "expand_seqlens",
    "port",
    "port_names",
    "replay",
    "swa_token_ids",
]

MODES = ("decode", "target_verify", "draft_extend")

#: Field of a destination -> (value in the text, rank).
FIELDS = {
    "cache_seqlens": ("len", 1),
    "cu_seqlens_k": ("cu", 1),
    "seqlens_expanded": ("rows", 1),
    "nsa_cache_seqlens": ("clip", 1),
    "nsa_cu_seqlens_k": ("ccu", 1),
    "page_table_1": ("row_tab", 2),
    "real_page_table": ("real", 2),
    "paged_mqa_ctx_lens": ("ctx", 2),
}
#: The fields of a decode replay without the table of context lengths.
DECODE_FIELDS = {k: v for k, v in FIELDS.items() if k != "paged_mqa_ctx_lens"}

def port(backend, field):
    """The name of the port that `field` of the destination number `backend` goes to."""
    return f"b{backend}_{field}"


def port_names(text):
    """The names of the ports of a step."""
    head = text[text.index("(") + 1 : text.index(" {\n")]
    # A line each: `in %lens[%bs] : ...`.
    return [line.split()[1][1:].partition("[")[0] for line in head.splitlines() if line]


def copy_metadata(mode, source, destinations, name=None):
    """The text of a step that copies one metadata set to many.

    `mode`: decode, target_verify or draft_extend. `source`: the names of the source's
    fields; `destinations`: for each destination the names of its own, all of which the
    source has. Ports: sizes bs and max_len, or outside of decode bs, max_seqlen_k and
    seqlens_expanded_size; in ``src_<field>``, out ``b<i>_<field>``, for the fields that a
    destination has. Raises ``ValueError`` for what cannot be written down.
    """
    _metadata.check_fields(mode, source, destinations)
    step = Builder(name or f"copy_{mode}")
    sizes = [step.size(size) for size in _metadata.sizes_of(mode)]
    src = step.metadata("src", mode, source, sizes)
    step.copy_metadata(src, {f"b{n}": fields for n, fields in enumerate(destinations)})
    return step.text


class _Replay:
    """The values of a metadata set, by forward mode; each is written when it is first asked
    for, after what it needs, and so are the ports."""

    def __init__(
        self, name, mode, lens, pool, topk, page_size, next_n, extend, live_only, padded, grid
    ):
        self.step = Builder(name, sort_ports=True)
        self.mode, self.topk, self.page_size = mode, topk, page_size
        self.next_n, self.extend = next_n, extend
        self.live_only, self.padded, self.grid = live_only, padded, grid
        self.lens_dtype, self.pool_dtype = lens, pool
        self.arrays = {}
        self.bs = self.step.size("bs")

    def array(self, name, dtype):
        if name not in self.arrays:
            dtype = index_dtype(name, dtype)
            self.arrays[name] = self.step.input(name, dtype, (self.bs,))
        return self.arrays[name]

    @cached_property
    def row_bound(self):
        return self.step.size("row_bound")

    @cached_property
    def seq_lens(self):
        return self.array("seq_lens", self.lens_dtype)

    @cached_property
    def len(self):
        plus = self.next_n if self.mode == "target_verify" else 0
        return self.step.seqlens(self.seq_lens, plus, name="len")

    @cached_property
    def base(self):
        return self.step.seqlens(self.seq_lens, 0, name="base")

    @cached_property
    def cu(self):
        return self.step.cu_seqlens(self.len, name="cu")

    @cached_property
    def ctx(self):
        return self.step.context_lens(self.len, self.next_n, name="ctx")

    @property
    def is_ragged(self):
        return self.mode == "draft_extend" and not isinstance(self.extend, int)

    @cached_property
    def extends(self):
        return self.array("extend_seq_lens", self.extend)

    @property
    def rows_of_request(self):
        """Where all requests have as many."""
        return {"decode": 1, "target_verify": self.next_n}.get(self.mode, self.extend)

    @cached_property
    def expansion(self):
        by = self.extends if self.is_ragged else self.rows_of_request
        bound = self.row_bound if self.is_ragged or self.padded else None
        return self.step.expansion(by, bound, padded=self.padded, name="expansion")

    # What schedules take. A store under a condition reads no expansion, so these are maps.

    @property
    def num_rows(self):
        """The rows that a schedule is of, as many as the host knows."""
        if self.padded:
            return self.row_bound
        if self.mode == "draft_extend":
            if isinstance(self.extend, str):
                raise wrong(
                    TypeError, "row_bound", "missing, schedules of ragged rows need it"
                )
            return self.bs * self.extend
        return self.bs * self.next_n

    @cached_property
    def offsets(self):
        """The rows before each request, where each has its own number."""
        extends, bound = self.array("extend_seq_lens", self.extend), self.row_bound

        def clamp(b):
            return nb.maximum(nb.minimum(extends[b].astype("int64"), bound), 0)

        return self.step.scan(self.step.map(self.bs, clamp, dtype="int64"))

    @cached_property
    def row_lengths(self):
        """The length of each row, and of padding 0."""
        lens, is_ragged = self.seq_lens, isinstance(self.extend, str)
        by = self.extend if self.mode == "draft_extend" else self.next_n

        def length(r):
            if is_ragged:
                b = self.offsets.search(r) - 1
                i = (r - self.offsets[b].otherwise(0)).astype("int32")
                extends = self.array("extend_seq_lens", self.extend)
                following = i + 1 - extends[b].otherwise(0).astype("int32")
            elif by == 0:
                return nb.constant(0, "int32")
            else:
                b = r // by if by > 1 else r
                following = (r - b * by + (1 - by)).astype("int32")
            length = lens[b].otherwise(0).astype("int32")
            if self.mode == "draft_extend":
                length = nb.maximum(length + following, 0)
            elif self.mode == "target_verify":
                length = length + following + by
            return nb.where(b < self.bs, length, 0)

        return self.step.map(self.num_rows, length, dtype="int32")

    def lengths_of(self, schedule):
        if schedule.kind == "flashmla":
            options = schedule.options
            if options.topk is not None:
                return None, None, self.num_rows
            if not options.sparse:
                return self.len, None, self.bs
            if self.topk is None:
                raise wrong(ValueError, "topk", "expected an integer for a sparse schedule")
            rows = self.row_lengths
            clipped = self.step.map(self.num_rows, lambda r: nb.minimum(rows[r], self.topk))
            return clipped, None, self.num_rows
        if schedule.kind == "paged_mqa" and schedule.options.next_n != 1:
            if self.mode != "target_verify" or schedule.options.next_n != self.next_n:
                raise wrong(
                    ValueError,
                    "schedules",
                    f"expected 'paged_mqa' with next_n 1, or that of target_verify, but got"
                    f" {schedule.options.next_n}",
                )
            return self.len, None, self.bs
        return self.row_lengths, None, self.num_rows

    @property
    def expands(self):
        return self.mode != "decode" or self.padded

    @cached_property
    def rows(self):
        if not self.expands:
            return self.len
        kind, source = {
            "decode": ("broadcast", "len"),
            "target_verify": ("following", "base"),
            "draft_extend": ("causal", "len"),
        }[self.mode]
        return self.step.expand_seqlens(
            kind, getattr(self, source), self.expansion, name="rows"
        )

    @cached_property
    def clip(self):
        if self.topk is None:
            raise wrong(ValueError, "topk", "expected an integer for the nsa_ fields")
        return self.step.clip_seqlens(self.rows, self.topk, name="clip")

    @cached_property
    def ccu(self):
        return self.step.cu_seqlens(self.clip, name="ccu")

    @cached_property
    def max_len(self):
        return self.step.size("max_len")

    @cached_property
    def pool(self):
        return self.array("req_pool_indices", self.pool_dtype)

    @cached_property
    def tokens(self):
        return self.step.input("req_to_token", "int32", (None, None))

    @cached_property
    def tab(self):
        live = self.len if self.live_only else None
        columns, pool = self.max_len, self.pool
        return self.step.page_table(self.tokens, pool, columns, live, name="tab")

    @cached_property
    def row_tab(self):
        if self.grid is not None:
            return self.changes.table(1, "tab")
        if not self.expands:
            return self.tab
        return self.step.expand_rows(self.tab, self.expansion, name="row_tab")

    @cached_property
    def real(self):
        if self.page_size is None:
            raise wrong(ValueError, "page_size", "expected an integer for real_page_table")
        if self.grid is not None:
            # Pages of one token are the other table, which may be the same array.
            one = self.page_size == 1
            return self.row_tab if one else self.changes.table(self.page_size, "real")
        return self.step.real_page_table(self.row_tab, self.page_size, name="real")

    @cached_property
    def offsets(self):
        """Of the rows of each request, where these are ragged."""
        extends, bound = self.extends, self.row_bound
        counts = self.step.map(
            self.bs,
            lambda b: nb.maximum(nb.minimum(extends[b], bound), 0),
            dtype="int64",
            name="counts",
        )
        return self.step.scan(counts, name="offsets")

    def request(self, r):
        if self.is_ragged:
            return self.offsets.search(r) - 1
        # Where requests have none, there are no rows to ask for.
        return r // self.rows_of_request if self.rows_of_request > 1 else r

    @cached_property
    def changes(self):
        bounded = self.is_ragged or (self.padded and self.rows_of_request > 0)
        return Changes(
            self.step,
            rows=self.row_bound if bounded else self.bs * self.rows_of_request,
            request=self.request,
            grid=self.grid,
            new_columns=self.step.size("new_columns"),
            max_len=self.max_len,
            since=self.array("since", "int32"),
            lens=self.len,
            pool=self.pool,
            tokens=self.tokens,
        )


def replay(
    mode,
    fields,
    seq_lens_dtype="int64",
    req_pool_indices_dtype="int64",
    topk=None,
    page_size=None,
    next_n=1,
    extend=None,
    live_only=False,
    padded=False,
    name=None,
    grid=None,
    schedules=(),
):
    """The text of a step that computes metadata and writes it to its destinations.

    `mode`: one of ``MODES``. `fields`: for each destination, the names of its fields (of
    ``FIELDS``). `topk` clips the ``nsa_`` fields; `page_size`, in tokens, divides
    real_page_table. `next_n`: rows of a request in target_verify. `extend`, in
    draft_extend: rows of a request, an integer for all or the dtype of a device array.
    `live_only`: columns past a request's length may keep what they hold. `padded`: rows
    up to the size row_bound are defined. `grid`: the tables are incremental, for at most
    so many new columns of a row, or, if it is 0, any number. `schedules`: for each
    destination, what ``_schedules.parse`` makes of the argument of
    ``nsa.ops.replay_metadata``.

    Ports, each only if a field needs it: sizes bs, max_len and row_bound; in seq_lens,
    extend_seq_lens, req_pool_indices [bs] and req_to_token [any, any] (int32); out
    ``b<i>_<field>``; of incremental tables the size new_columns, and in since [bs] (int32).
    Raises ``ValueError`` for what cannot be written down.
    """
    check_mode(mode, MODES)
    topk = optional_constant("topk", topk, 0)
    page_size = optional_constant("page_size", page_size, 1)
    next_n = constant("next_n", next_n, 1)
    if extend is not None and not isinstance(extend, str):
        extend = constant("extend", extend, 0)
    if grid is not None:
        grid = constant("grid", grid, 0, MOST_CONSTANT)
    for destination in fields:
        for field in destination:
            if field not in FIELDS:
                raise ValueError(f"field {field!r}: expected one of {', '.join(FIELDS)}")
            if field == "paged_mqa_ctx_lens" and mode == "draft_extend":
                raise ValueError(f"field {field!r}: draft_extend has none")
    # In the table's order, so that equal sets give equal texts.
    fields = tuple(tuple(f for f in FIELDS if f in destination) for destination in fields)
    if not any(fields) and not any(schedules):
        raise ValueError("fields: expected at least one field")
    return _replay_text(
        fields,
        name or f"{mode}_replay",
        mode,
        seq_lens_dtype,
        req_pool_indices_dtype,
        topk,
        page_size,
        next_n,
        extend,
        bool(live_only),
        bool(padded),
        grid,
        schedules=schedules,
    )


@lru_cache(maxsize=64)
def _replay_text(fields, *arguments, schedules):
    """``replay``; a caller asks for the same text more than once."""
    values = _Replay(*arguments)
    for destination in fields:
        for field in destination:
            getattr(values, FIELDS[field][0])
    for backend, destination in enumerate(fields):
        for field in destination:
            value = getattr(values, FIELDS[field][0])
            value, places = value if isinstance(value, tuple) else (value, None)
            values.step.output(port(backend, field), value, at=places)
    _schedules.write(values.step, values.lengths_of, schedules)
    return values.step.text


def decode_replay(
    fields,
    seq_lens_dtype="int64",
    req_pool_indices_dtype="int64",
    topk=None,
    page_size=None,
    name="decode_replay",
):
    """``replay`` for decode."""
    return replay(
        "decode", fields, seq_lens_dtype, req_pool_indices_dtype, topk, page_size, name=name
    )


def expand_seqlens(
    extend_dtype="int32", seq_lens_dtype="int32", topk=0, causal=True, total=False
):
    """The text of a step that gives each row of each request its length.

    Ports: sizes bs and row_bound; in extend_seq_lens and seq_lens [bs]; out
    out_seqlens_expanded and out_nsa_cache_seqlens [row_bound] and, if `total`,
    out_total [1].
    """
    topk = constant("topk", topk, 0)
    step = Builder("expand_seqlens")
    bs, bound = step.size("bs"), step.size("row_bound")
    extends, lens = (
        step.input(name, index_dtype(name, dtype), (bs,))
        for name, dtype in (
            ("extend_seq_lens", extend_dtype),
            ("seq_lens", seq_lens_dtype),
        )
    )
    length = step.seqlens(lens, name="len")
    expansion = step.expansion(extends, bound, name="expansion")
    kind = "causal" if causal else "broadcast"
    rows = step.expand_seqlens(kind, length, expansion, name="rows")
    clip = step.clip_seqlens(rows, topk, name="clip")
    step.output("out_seqlens_expanded", rows)
    step.output("out_nsa_cache_seqlens", clip)
    if total:
        step.output("out_total", step.total_rows(expansion, name="total"))
    return step.text


def dequant_paged(parts, name="dequant_paged"):
    """The text of a step that dequantises each of `parts` in one launch.

    `parts`: for each, (layout, page size, dtype of the ids). Ports of part i: size
    tokens<i>; in cache<i> [pages, bytes] (int8) and ids<i> [tokens<i>]; out out<i>
    [tokens<i> or more, columns of the layout or more] (bfloat16).
    """
    step = Builder(name)
    for i, (layout, page_size, dtype) in enumerate(parts):
        page_size = constant("page_size", page_size, 1)
        tokens = step.size(f"tokens{i}")
        cache = step.input(f"cache{i}", "int8", (None, None))
        ids = step.input(f"ids{i}", index_dtype(f"ids{i}", dtype), (tokens,))
        rows = step.dequant_paged(cache, ids, layout, page_size, name=f"kv{i}")
        step.output(f"out{i}", rows)
    if not parts:
        raise ValueError("parts: expected at least one")
    return step.text
