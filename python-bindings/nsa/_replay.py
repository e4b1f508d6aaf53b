# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of ``nsa.ops`` that compute metadata."""

from functools import cache

from . import _cache, _schedules, steps
from ._arguments import check_rank, dtype_name, length
from ._cache import get_step
from ._compile import CompileError
from ._errors import INT32_MAX, check_mode, constant, optional_constant, wrong
from ._incremental import check_room, grid
from ._kpool_replay import replay_pooled
from ._metadata import parse_fields
from ._nsa_runtime import Caller, SetCaller

_INPUTS = ("seq_lens", "extend_seq_lens", "req_pool_indices", "req_to_token", "since")
_SIZES = ("bs", "max_len", "row_bound", "new_columns")
_VECTORS = ("seq_lens", "extend_seq_lens", "since")
_TABLES = ("page_table_1", "real_page_table")
# Fields with a row for each row of the expansion -> elements past the rows.
_ROW_FIELDS = {
    "seqlens_expanded": 0,
    "nsa_cache_seqlens": 0,
    "nsa_cu_seqlens_k": 1,
    "page_table_1": 0,
    "real_page_table": 0,
}


def _check(mode, extend, next_n):
    if (extend is None) == (mode == "draft_extend"):
        takes = "needs them" if extend is None else "takes none"
        raise wrong(ValueError, "extend_seq_lens", f"{mode} {takes}")
    if next_n != 1 and mode != "target_verify":
        raise wrong(ValueError, "next_n", f"expected 1 in {mode} but got {next_n}")


def _is_array(extend):
    """Whether extends are an array. Arrays may have an integer's methods as well, and NumPy's
    integers a buffer."""
    return not hasattr(type(extend), "__index__") or hasattr(type(extend), "__dlpack__")


class _Replay:
    """A replay of these fields and constants: which arrays it takes, and what runs it.
    `extend` is None, a number or ``"array"``; `grid` as in ``steps.replay``."""

    def __init__(
        self, mode, extend, topk, page_size, next_n, live_only, padded, grid, fields, schedules
    ):
        _check(mode, extend, next_n)
        used = {field for destination in fields for field in destination}
        self.has_tables = not used.isdisjoint(_TABLES)
        self.mode, self.fields, self.extend = mode, fields, extend
        self.constants = {
            "topk": topk,
            "page_size": page_size,
            "next_n": next_n,
            "live_only": live_only,
            "padded": padded and (any(schedules) or not used.isdisjoint(_ROW_FIELDS)),
            "schedules": schedules,
            "grid": grid if self.has_tables else None,
        }
        # Its ports depend on no dtype.
        ports = steps.port_names(self.text({}))
        self.inputs = [i for i, name in enumerate(_INPUTS) if name in ports]
        self.has_lens = "seq_lens" in ports
        everything = [(backend, field) for backend, dst in enumerate(fields) for field in dst]
        self.rows = {
            steps.port(*each): _ROW_FIELDS[each[1]]
            for each in everything
            if each[1] in _ROW_FIELDS
        }
        # Incremental tables -> tokens of a column.
        tokens = {"page_table_1": 1, "real_page_table": page_size}
        self.tables = {
            steps.port(*each): tokens[each[1]] for each in everything if each[1] in _TABLES
        }
        self.is_bounded = "row_bound" in ports and not self.constants["padded"]
        self.arrays = [_INPUTS[i] for i in self.inputs]
        self.arrays += [steps.port(*each) for each in everything]
        self.arrays += _schedules.ports(schedules)
        self.call = Caller(self.prepare, tuple(self.arrays), _SIZES)

    def text(self, dtypes):
        """The text for inputs of these dtypes, int64 where it is not said."""
        lens, extend, pool = (dtypes.get(name, "int64") for name in _INPUTS[:3])
        if self.extend != "array":
            extend = self.extend
        return steps.replay(
            self.mode, self.fields, lens, pool, extend=extend, **self.constants
        )

    def prepare(self, target, arrays):
        """The step for arrays like these, and the rows that there is room for."""
        dtypes, shapes = {}, {}
        for name, (code, bits, shape) in zip(self.arrays, arrays):
            dtypes[name], shapes[name] = dtype_name(code, bits), shape
        for name in _VECTORS:
            if name in shapes:
                check_rank(name, shapes[name], 1)
        sizes = {}
        if self.has_lens:
            sizes["bs"] = shapes["seq_lens"][0]
        if self.is_bounded:
            rooms = [shapes[port][0] - past for port, past in self.rows.items()]
            sizes["row_bound"] = max(min(rooms), 0)
        return get_step(f"{self.mode}_replay", self.text(dtypes), target), sizes

    def check_room(self, arrays, bs, max_len, row_bound):
        """Raises ``ValueError`` for an incremental table without all rows and columns."""
        if self.is_bounded:
            rows = 0  # as many as there are
        elif self.constants["padded"]:
            rows = row_bound
        else:
            requests = length("seq_lens", arrays[0])[1] if bs is None else bs
            per_request = self.extend if self.mode == "draft_extend" else self.constants["next_n"]
            rows = requests * per_request
        check_room(self.arrays, arrays, self.tables, rows, max_len)


_replay = cache(_Replay)


def _make(constants, fields):
    """What runs a replay, and which arrays it takes; see ``replay``."""
    mode, extend, topk, page_size, next_n, live_only, padded, counts, *missing = constants
    check_mode(mode, steps.MODES)
    topk = optional_constant("topk", topk, 0)
    page_size = optional_constant("page_size", page_size, 1)
    next_n = constant("next_n", next_n, 1)
    if extend not in (None, "array"):
        extend = constant("extend_seq_lens", extend, 0)
    known = _replay(mode, extend, topk, page_size, next_n, live_only, padded, None, fields, ())
    if known.has_tables:
        for name, is_missing in zip(("req_pool_indices", "req_to_token", "max_len"), missing):
            if is_missing:
                raise wrong(TypeError, name, "missing, the page tables need it")
    count = sum(map(len, fields))
    first = len(_INPUTS) - 1  # there is no since
    taken = [*known.inputs, *range(first, first + count)]
    if known.has_lens or not counts:
        return known.call, taken

    def call(arrays, sizes, stream):
        bs = length("seq_lens", arrays[0])[1]
        known.call(arrays[1:], (bs, *sizes[1:]), stream)

    return call, [0, *taken]


def _make_flat(constants, _):
    """The same with the names in a text, before the other constants."""
    fields, *others = constants
    return _make(others, parse_fields(fields))


_sets = SetCaller(_make)
_flat = SetCaller(_make_flat)
_call, _call_flat = _sets.call, _flat.call


def _key(mode, inputs, bs, max_len, topk, page_size, next_n, live_only, padded):
    """All that a step depends on, beside its fields and dtypes."""
    extend = inputs[1]
    if extend is not None and _is_array(extend):
        extend = "array"
    return (
        mode, extend, topk, page_size, next_n, live_only, padded, bs is None,
        inputs[2] is None, inputs[3] is None, max_len is None,
    )  # fmt: skip


def replay(
    dsts, mode, inputs, bs, max_len, row_bound, topk, page_size, next_n, live_only, padded, stream,
    schedules=None, new_columns=None,
):  # fmt: skip
    """``replay_metadata`` with `inputs` in a tuple, of `since` as well if there are
    `new_columns`, and `row_bound` without `padded` the most rows that are written."""
    if schedules is None and new_columns is None:
        key = _key(mode, inputs, bs, max_len, topk, page_size, next_n, live_only, padded)
        return _call(key, inputs[:4], dsts, (bs, max_len, row_bound, None), stream)
    check_mode(mode, steps.MODES)
    topk = optional_constant("topk", topk, 0)
    page_size = optional_constant("page_size", page_size, 1)
    next_n = constant("next_n", next_n, 1)
    extend = inputs[1]
    if extend is not None:
        extend = "array" if _is_array(extend) else constant("extend_seq_lens", extend, 0)
    columns = None
    if new_columns is not None:
        new_columns = constant("new_columns", new_columns, 0)
        bs = optional_constant("bs", bs, 0)
        max_len = optional_constant("max_len", max_len, 0)
        row_bound = optional_constant("row_bound", row_bound, 0)
        # No row has more.
        new_columns = new_columns if max_len is None else min(new_columns, max_len)
        columns, live_only = grid(new_columns), False
    fields = tuple(map(tuple, dsts))

    def rows():
        if row_bound is not None:
            return row_bound
        requests = length("seq_lens", inputs[0])[1] if bs is None else bs
        return requests * (extend if mode == "draft_extend" else next_n)

    if schedules is not None and extend == "array" and not padded:
        raise wrong(TypeError, "row_bound", "missing, schedules of ragged rows need it")
    found, written = _schedules.parse(schedules, len(dsts), rows)
    known = _replay(
        mode, extend, topk, page_size, next_n, live_only, padded, columns, fields, found
    )
    if known.has_tables:
        for name, value in (
            ("req_pool_indices", inputs[2]),
            ("req_to_token", inputs[3]),
            ("max_len", max_len),
        ):
            if value is None:
                raise wrong(TypeError, name, "missing, the page tables need it")
    if bs is None and not known.has_lens:
        bs = length("seq_lens", inputs[0])[1]
    arrays = [inputs[i] for i in known.inputs]
    for destination in dsts:
        arrays += destination.values()
    if known.constants["grid"] is not None:
        known.check_room(arrays, bs, max_len, row_bound)
    arrays += written
    known.call(arrays, (bs, max_len, row_bound, new_columns), stream)


def replay_flat(
    outputs, fields, mode, inputs, bs, max_len, row_bound, topk, page_size, next_n, live_only
):
    """``replay_metadata`` with the arrays of all destinations in a list, and their names in a
    text."""
    padded = row_bound is not None
    key = _key(mode, inputs, bs, max_len, topk, page_size, next_n, live_only, padded)
    _call_flat((fields, *key), (*inputs, *outputs), (), (bs, max_len, row_bound, None), None)


def replay_metadata(
    dsts,
    mode="decode",
    *,
    seq_lens,
    req_pool_indices=None,
    req_to_token=None,
    extend_seq_lens=None,
    max_len=None,
    topk=None,
    page_size=None,
    next_n=1,
    live_only=False,
    row_bound=None,
    schedules=None,
    index_kpool=1,
    bs=None,
    since=None,
    new_columns=None,
    stream=None,
):
    """Computes the metadata of a forward step once and writes it to every destination,
    in one launch.

    `dsts`: a list of dicts, field name -> int32 array; any subset of fields in each. With
    `bs` requests (left out: as many as `seq_lens` has), S = `seq_lens` and n rows, these
    elements are written and no others:

    ==================  =======================  =========================================
    field               elements                 value
    ==================  =======================  =========================================
    cache_seqlens       [bs]                     S; S + next_n in target_verify
    cu_seqlens_k        [bs + 1]                 0, then inclusive sums of those
    seqlens_expanded    [n]                      the length of each row, see below
    nsa_cache_seqlens   [n]                      min(seqlens_expanded, topk)
    nsa_cu_seqlens_k    [n + 1]                  0, then inclusive sums of those
    page_table_1        [n, max_len]             req_to_token[req_pool_indices[b], c]
    real_page_table     [n, ceil(max_len / ps)]  page_table_1[r, j * ps] // ps
    paged_mqa_ctx_lens  [bs, next_n]             cache_seqlens[b] (not in draft_extend)
    ==================  =======================  =========================================

    Rows: in decode one a request, of length S[b]. In target_verify `next_n` a request:
    S[b] + 1 + j. In draft_extend E[b] a request: max(S[b] - E[b] + 1 + i, 0), where E is
    `extend_seq_lens`, an integer or an array [bs] of which the device alone knows the
    sum; no row past the smallest destination is written.

    `seq_lens`, `req_pool_indices`, `extend_seq_lens`: int32 or int64. `req_to_token`:
    int32, one row of token slots per pool index. `max_len`: columns of page_table_1, in
    tokens; needed for the tables, as are the two above. `topk`: tokens, for the ``nsa_``
    fields. `page_size`: tokens in a page, for real_page_table. `live_only`: columns of
    the tables from cache_seqlens[b] on may keep what they hold. `row_bound`: rows n to
    `row_bound` are written too: lengths and tables 0, nsa_cu_seqlens_k its last sum. 1-D
    arrays may have any stride, 2-D arrays any row stride. `stream` as in
    ``Step.__call__``.

    `schedules`: one dict, or None, for each destination: what its attention kernels need
    beside these fields, with the parameters of the operations of these names:

    =============  =============================================================  ============
    key            value                                                          lengths
    =============  =============================================================  ============
    ``paged_mqa``  dict(out=, convention=, num_sms=, split=None, next_n=1,        of rows, or
                   chunk=None), see ``paged_mqa_schedule``                        of requests
    ``topk_plan``  dict(out=, clusters=, arch=, static=-1), see ``plan_topk``     of rows
    ``flashmla``   dict(out_metadata=, out_num_splits=, parts=, topk=None,        of requests,
                   sparse=False, block=64, overhead=5, layout="new"), see         or of rows
                   ``flashmla_schedule``
    =============  =============================================================  ============

    Lengths of rows are seqlens_expanded; a `paged_mqa` with the `next_n` of target_verify
    takes paged_mqa_ctx_lens. A `flashmla` takes cache_seqlens, with `sparse`
    nsa_cache_seqlens, and with `topk` the number of rows. Rows are up to `row_bound`,
    padding counts as 0, and ragged rows need that bound.

    `since`, int32 [bs], makes the tables incremental: where a request's rows are right up
    to column since[b], only what is not is written, at most `new_columns` (an integer) of
    a row, and that many columns are what a launch takes time for; left out, any number. Of
    page_table_1 these are the columns from max(since[b], 0) to min(cache_seqlens[b],
    max_len, max(since[b], 0) + new_columns), that one excluded, and of real_page_table the
    pages that these columns are in. So nothing is written where since[b] is
    cache_seqlens[b] or more; and more columns than `new_columns` that are not right stay
    so: ``nsa.plan.ReplayTracker`` says whether a bound suffices. Pad rows of the tables,
    whose length is 0, are left as they are. All other fields are written as ever, in the
    same launch; `live_only` changes nothing.

    `index_kpool`: p tokens have one index key, 64 of which are in a page. The lengths that
    attention sees are then min(s // p * p, topk) + s % p, with s of seqlens_expanded, and
    there are more fields. With w = S - 1 in decode, S in target_verify, S - E in
    draft_extend, where E is a number, N rows a request and g = w // p, 0 or more:

    =============================  ===========================  ===========================
    field                          elements                     value
    =============================  ===========================  ===========================
    pooled_cache_seqlens           [bs]                         cache_seqlens // p
    pooled_real_page_table         [n, ceil(max_len / ps / p)]  real_page_table[r, c * p]
                                                                // p
    kpool_req                      [bs] int64                   req_pool_indices
    kpool_write_start              [bs]                         w
    kpool_tail_logical_start       [bs]                         g * p
    kpool_write_loc                [bs, ceil(N / p)] int64      of pool k = g + m:
                                                                real_page_table[b, c] // p
                                                                * 64 + k % 64, with c = k
                                                                // 64 * p, within max_len
    kpool_seqlens_per_q            [n]                          w + 1 + i
    kpool_pool_seqlens_per_q       [n]                          that // p
    =============================  ===========================  ===========================

    Of `schedules`, ``pooled_paged_mqa`` and ``pooled_topk_plan`` are those of rows' pools, that
    is seqlens_expanded // p, which ``pooled_paged_mqa`` counts as 1 or more, as DeepGEMM's
    caller does; the others are as without pools. With `since`, pooled_real_page_table is a
    table like the others, of pages of ps * p tokens, and so it is with `live_only`. Ragged
    rows with pools need `row_bound`.

    The same array may serve one field of several destinations; no other overlap is
    accepted. Raises ``ValueError`` or ``TypeError`` that names the argument, and writes
    nothing then; ``CompileError`` if the step can neither be compiled nor found.
    """
    if (
        schedules is None
        and since is None
        and new_columns is None
        and index_kpool == 1
        and not _cache.has_shared()
    ):
        # Most calls; a function with others inside takes longer to enter than to launch.
        padded = row_bound is not None
        inputs = seq_lens, extend_seq_lens, req_pool_indices, req_to_token
        live_only = bool(live_only)
        key = _key(mode, inputs, bs, max_len, topk, page_size, next_n, live_only, padded)
        try:
            _call(key, inputs, dsts, (bs, max_len, row_bound, None), stream)
            return
        except CompileError:
            if _cache.may_compile():
                raise
    _replay_any(
        dsts, mode, seq_lens, req_pool_indices, req_to_token, extend_seq_lens, max_len, topk,
        page_size, next_n, live_only, row_bound, schedules, index_kpool, bs, since, new_columns,
        stream,
    )  # fmt: skip


def _replay_any(
    dsts, mode, seq_lens, req_pool_indices, req_to_token, extend_seq_lens, max_len, topk, page_size,
    next_n, live_only, row_bound, schedules, index_kpool, bs, since, new_columns, stream,
):  # fmt: skip
    """``replay_metadata``, by the step of what is asked or by one of pools that has it, too."""
    if since is not None and new_columns is None:
        new_columns = INT32_MAX
    elif since is None and new_columns is not None:
        raise wrong(TypeError, "since", "missing, 'new_columns' needs it")
    ragged = extend_seq_lens is not None and _is_array(extend_seq_lens)
    inputs = (seq_lens, extend_seq_lens, req_pool_indices, req_to_token, since)

    def exact():
        replay(
            dsts, mode, inputs, bs, max_len, row_bound, topk, page_size, next_n,
            bool(live_only), row_bound is not None, stream, schedules, new_columns,
        )  # fmt: skip

    if index_kpool == 1 and _cache.run_compiled(exact):
        return

    def pooled():
        replay_pooled(
            dsts, mode, dict(zip(_INPUTS, inputs)), ragged, bs, max_len, row_bound, topk,
            page_size, next_n, bool(live_only), index_kpool, schedules, new_columns, stream,
        )  # fmt: skip

    def key():
        kind = "array" if ragged else extend_seq_lens
        constants = mode, kind, topk, page_size, next_n, bool(live_only), row_bound is None
        return constants, tuple(map(tuple, dsts))

    if index_kpool != 1:
        pooled()
    elif ragged and row_bound is None:
        # Shipped steps of pools have rows past ragged ones as well.
        exact()
    else:
        # Pools of one token are none, and those steps have any fields.
        _cache.run_or_shared(key, exact, pooled)


@cache
def _expansion(topk, causal, total):
    """What runs an expansion with these constants."""
    arrays = ["extend_seq_lens", "seq_lens", "out_seqlens_expanded", "out_nsa_cache_seqlens"]
    if total:
        arrays.append("out_total")

    def prepare(target, described):
        dtypes = [dtype_name(code, bits) for code, bits, _ in described]
        for name, (_, _, shape) in zip(arrays[:4], described):
            check_rank(name, shape, 1)
        text = steps.expand_seqlens(dtypes[0], dtypes[1], topk, causal, total)
        lengths = [shape[0] for _, _, shape in described[:4]]
        sizes = {"bs": lengths[1], "row_bound": min(lengths[2:])}
        return get_step("expand_seqlens", text, target), sizes

    return Caller(prepare, tuple(arrays), ())


def expand_seqlens(
    extend_seq_lens,
    seq_lens,
    topk,
    out_seqlens_expanded,
    out_nsa_cache_seqlens,
    causal=True,
    out_total=None,
    *,
    stream=None,
):
    """Gives each row of each request its length; request b has E[b] rows.

    `extend_seq_lens` (E), `seq_lens` (S): [bs], int32 or int64. Row i of request b gets
    max(S[b] - E[b] + 1 + i, 0) in `out_seqlens_expanded` (S[b] if not `causal`), and at
    most `topk` of that in `out_nsa_cache_seqlens`; int32, rows one request after the
    other. Rows that the shorter of the two has no room for are not written. `out_total`,
    int32 [1], gets the number of rows; the host never learns it.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing
    then.
    """
    arrays = [extend_seq_lens, seq_lens, out_seqlens_expanded, out_nsa_cache_seqlens]
    if out_total is not None:
        arrays.append(out_total)
    topk = constant("topk", topk, 0)
    _expansion(topk, bool(causal), out_total is not None)(arrays, (), stream)
