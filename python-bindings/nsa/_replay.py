# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of ``nsa.ops`` that compute metadata."""

from functools import cache

from . import steps
from ._arguments import check_rank, dtype_name, length
from ._cache import get_step
from ._errors import check_mode, constant, optional_constant, wrong
from ._kpool_replay import replay_pooled
from ._nsa_runtime import Caller

_INPUTS = ("seq_lens", "extend_seq_lens", "req_pool_indices", "req_to_token")
_VECTORS = ("seq_lens", "extend_seq_lens")
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
    `extend` is None, a number or ``"array"``."""

    def __init__(self, mode, extend, topk, page_size, next_n, live_only, padded, fields):
        _check(mode, extend, next_n)
        used = {field for destination in fields for field in destination}
        self.has_tables = not used.isdisjoint(_TABLES)
        self.mode, self.fields, self.extend = mode, fields, extend
        self.constants = {
            "topk": topk,
            "page_size": page_size,
            "next_n": next_n,
            "live_only": live_only,
            "padded": padded and not used.isdisjoint(_ROW_FIELDS),
        }
        # Its ports depend on no dtype.
        ports = steps.port_names(self.text({}))
        self.inputs = [i for i, name in enumerate(_INPUTS) if name in ports]
        self.has_lens = "seq_lens" in ports
        self.rows = {
            steps.port(backend, field): _ROW_FIELDS[field]
            for backend, destination in enumerate(fields)
            for field in destination
            if field in _ROW_FIELDS
        }
        self.is_bounded = "row_bound" in ports and not self.constants["padded"]
        self.arrays = [_INPUTS[i] for i in self.inputs]
        for backend, destination in enumerate(fields):
            self.arrays += [steps.port(backend, field) for field in destination]
        sizes = ("bs", "max_len", "row_bound")
        self.call = Caller(self.prepare, tuple(self.arrays), sizes)

    def text(self, dtypes):
        """The text for inputs of these dtypes, int64 where it is not said."""
        lens, extend, pool, _ = (dtypes.get(name, "int64") for name in _INPUTS)
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


_replay = cache(_Replay)


def replay(
    dsts, mode, inputs, bs, max_len, row_bound, topk, page_size, next_n, live_only, padded, stream
):
    """``replay_metadata`` with `inputs` in a tuple, and `row_bound` without `padded` the most
    rows that are written."""
    check_mode(mode, steps.MODES)
    topk = optional_constant("topk", topk, 0)
    page_size = optional_constant("page_size", page_size, 1)
    next_n = constant("next_n", next_n, 1)
    extend = inputs[1]
    if extend is not None:
        extend = "array" if _is_array(extend) else constant("extend_seq_lens", extend, 0)
    fields = tuple(map(tuple, dsts))
    known = _replay(mode, extend, topk, page_size, next_n, live_only, padded, fields)
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
    known.call(arrays, (bs, max_len, row_bound), stream)


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
    index_kpool=1,
    bs=None,
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

    Ragged rows with pools need `row_bound`, and `live_only` changes nothing.

    The same array may serve one field of several destinations; no other overlap is
    accepted. Raises ``ValueError`` or ``TypeError`` that names the argument, and writes
    nothing then; ``CompileError`` if the step can neither be compiled nor found.
    """
    if index_kpool != 1:
        inputs = seq_lens, extend_seq_lens, req_pool_indices, req_to_token
        ragged = extend_seq_lens is not None and _is_array(extend_seq_lens)
        return replay_pooled(
            dsts, mode, inputs, ragged, bs, max_len, row_bound, topk, page_size, next_n,
            index_kpool, stream,
        )  # fmt: skip
    replay(
        dsts,
        mode,
        (seq_lens, extend_seq_lens, req_pool_indices, req_to_token),
        bs,
        max_len,
        row_bound,
        topk,
        page_size,
        next_n,
        bool(live_only),
        row_bound is not None,
        stream,
    )


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
