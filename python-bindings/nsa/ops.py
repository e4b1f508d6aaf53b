# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ready-made operations, in place into the caller's arrays, on any target.

The first call with a new set of fields, dtypes and constants compiles (some
milliseconds) and is cached; see ``NSA_BUNDLE_PATH`` in ``nsa._cache`` for installations
without the compiler.
"""

from . import _metadata, _nsa_runtime, layouts, steps
from ._arguments import describe, length
from ._cache import get_step
from ._prefill import (
    build_compressed_token_ids,
    build_swa_token_ids,
    combine_topk_swa_indices,
)

__all__ = [
    "build_compressed_token_ids",
    "build_swa_token_ids",
    "combine_topk_swa_indices",
    "copy_metadata",
    "dequantize_k_cache_paged",
    "expand_seqlens",
    "replay_metadata",
]

_TABLES = ("page_table_1", "real_page_table")
# Fields with a row for each row of the expansion -> elements past the rows.
_ROW_FIELDS = {
    "seqlens_expanded": 0,
    "nsa_cache_seqlens": 0,
    "nsa_cu_seqlens_k": 1,
    "page_table_1": 0,
    "real_page_table": 0,
}

# (layout, page size, dtype of the ids, target) -> step
_dequants = {}
# What the text of an expansion depends on -> what calls it.
_expansions = {}
# What a text depends on -> its step; a text need not be written twice.
_replays = {}


# (mode, the source's fields, those of each destination) -> _Copy
_copies = {}


class _Copy:
    """A copy between sets of these fields: which arrays it takes, and what runs it."""

    def __init__(self, mode, source, destinations):
        used = {field for fields in destinations for field in fields}
        self.source = [f for f in source if f in used or f not in _metadata.FIELDS]
        self.sizes = _metadata.sizes_of(mode)
        name = f"copy_{mode}"
        # Wrong fields are to be reported as they came.
        checked = steps.copy_metadata(mode, source, destinations, name)
        self.text = (
            checked
            if len(self.source) == len(source)
            else steps.copy_metadata(mode, self.source, destinations, name)
        )
        arrays = [f"src_{field}" for field in self.source]
        for number, fields in enumerate(destinations):
            arrays += [steps.port(number, field) for field in fields]
        self.call = _nsa_runtime.Caller(
            lambda target: get_step(name, self.text, target), tuple(arrays), self.sizes
        )


def copy_metadata(
    src,
    dsts,
    mode="decode",
    *,
    bs=None,
    max_len=None,
    max_seqlen_k=None,
    seqlens_expanded_size=None,
    stream=None,
):
    """Copies precomputed metadata of one set to every destination, in one launch.

    `src`: a dict, field name -> int32 array. `dsts`: a list of such dicts, each with any
    of the source's fields. With m = `seqlens_expanded_size` (bs in decode), rows = the
    rows of the source's own table (bs in decode) and columns = `max_len` in decode, else
    `max_seqlen_k`, these elements are copied, and no others are written:

    ===================  =================================
    field                elements
    ===================  =================================
    cache_seqlens        [0 : bs]
    cu_seqlens_k         [1 : bs + 1]
    seqlens_expanded     [0 : m], not in decode
    nsa_cache_seqlens    [0 : m]
    nsa_cu_seqlens_k     [1 : m + 1]
    page_table_1         [0 : rows, 0 : columns]
    real_page_table      [0 : rows, the source's columns]
    flashmla_num_splits  [0 : m + 1]
    flashmla_metadata    all of the source
    ===================  =================================

    Vectors may have any stride, tables any row stride; flashmla_metadata may have any
    number of dimensions and is contiguous. A size that is left out is what the source's
    arrays say. `mode`: ``"decode"``, ``"target_verify"`` or ``"draft_extend"``. `stream` as
    in ``Step.__call__``.

    Destinations overlap neither the source nor each other, except as the very same view of
    one field. Raises ``ValueError`` or ``TypeError`` that names the argument
    (``src_<field>``, ``b<i>_<field>``), what was expected and what came, and writes nothing
    then; ``CompileError`` if the step can neither be compiled nor found.
    """
    key = (mode, tuple(src), *map(tuple, dsts))
    copy = _copies.get(key)
    if copy is None:
        copy = _copies[key] = _Copy(mode, key[1], key[2:])
    arrays = [src[field] for field in copy.source]
    for destination in dsts:
        arrays += destination.values()
    if mode == "decode":
        sizes = (bs, max_len)
    else:
        sizes = (bs, max_seqlen_k, seqlens_expanded_size)
    copy.call(arrays, sizes, stream)


def _capacity(dsts):
    """The rows that every destination has room for."""
    rooms = [
        describe(steps.port(backend, field), array)[1][0] - _ROW_FIELDS[field]
        for backend, destination in enumerate(dsts)
        for field, array in destination.items()
        if field in _ROW_FIELDS
    ]
    return max(min(rooms, default=0), 0)


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
    stream=None,
):
    """Computes the metadata of a forward step once and writes it to every destination,
    in one launch.

    `dsts`: a list of dicts, field name -> int32 array; any subset of fields in each. With
    bs = ``seq_lens.shape[0]``, S = `seq_lens` and n rows, these elements are written and
    no others:

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

    The same array may serve one field of several destinations; no other overlap is
    accepted. Raises ``ValueError`` or ``TypeError`` that names the argument, and writes
    nothing then; ``CompileError`` if the step can neither be compiled nor found.
    """
    if mode not in steps.MODES:
        known = ", ".join(repr(m) for m in steps.MODES)
        raise ValueError(f"argument 'mode': expected one of {known} but got {mode!r}")
    if (extend_seq_lens is None) == (mode == "draft_extend"):
        takes = "needs them" if extend_seq_lens is None else "takes none"
        raise ValueError(f"argument 'extend_seq_lens': {mode} {takes}")
    if next_n < 1 or (next_n != 1 and mode != "target_verify"):
        least = "1 or more" if mode == "target_verify" else "1"
        raise ValueError(f"argument 'next_n': expected {least} in {mode} but got {next_n}")

    lens_dtype, bs, target = length("seq_lens", seq_lens)
    fields = tuple(tuple(destination) for destination in dsts)
    used = {field for destination in fields for field in destination}
    has_tables = not used.isdisjoint(_TABLES)
    has_rows = not used.isdisjoint(_ROW_FIELDS)
    pool_dtype = "int64"
    if has_tables:
        for name, value in (
            ("req_pool_indices", req_pool_indices),
            ("req_to_token", req_to_token),
            ("max_len", max_len),
        ):
            if value is None:
                raise TypeError(f"argument {name!r}: missing, the page tables need it")
        pool_dtype, _, _ = describe("req_pool_indices", req_pool_indices)
    extend = extend_seq_lens
    if extend is not None and not isinstance(extend, int):
        extend, _, _ = length("extend_seq_lens", extend)
    elif extend is not None and extend < 0:
        raise ValueError(f"argument 'extend_seq_lens': expected 0 or more but got {extend}")
    padded = row_bound is not None and has_rows

    constants = (topk, page_size, next_n, extend, bool(live_only), padded)
    key = (mode, fields, lens_dtype, pool_dtype, *constants, target)
    if key not in _replays:
        text = steps.replay(mode, fields, lens_dtype, pool_dtype, *constants)
        step = get_step(f"{mode}_replay", text, target)
        _replays[key] = step, frozenset(steps.port_names(text))
    step, ports = _replays[key]

    arguments = {
        steps.port(backend, field): array
        for backend, destination in enumerate(dsts)
        for field, array in destination.items()
    }
    arguments["bs"] = bs
    arguments["seq_lens"] = seq_lens
    if has_tables:
        arguments["max_len"] = max_len
        arguments["req_pool_indices"] = req_pool_indices
        arguments["req_to_token"] = req_to_token
    if has_rows and isinstance(extend, str):
        arguments["extend_seq_lens"] = extend_seq_lens
        arguments["row_bound"] = _capacity(dsts)
    if padded:
        arguments["row_bound"] = row_bound
    # A step has the ports that its fields need.
    step(stream=stream, **{k: v for k, v in arguments.items() if k in ports})


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
    extend_dtype, _, _ = length("extend_seq_lens", extend_seq_lens)
    lens_dtype, bs, _ = length("seq_lens", seq_lens)
    _, rows, _ = length("out_seqlens_expanded", out_seqlens_expanded)
    _, clipped_rows, _ = length("out_nsa_cache_seqlens", out_nsa_cache_seqlens)
    arrays = [extend_seq_lens, seq_lens, out_seqlens_expanded, out_nsa_cache_seqlens]
    if out_total is not None:
        arrays.append(out_total)
    key = (extend_dtype, lens_dtype, topk, causal, out_total is not None)
    expansion = _expansions.get(key)
    if expansion is None:
        expansion = _expansions[key] = _expansion(*key)
    expansion(arrays, (bs, min(rows, clipped_rows)), stream)


def _expansion(*key):
    """What calls the step of this text."""
    text = steps.expand_seqlens(*key)
    names = ["extend_seq_lens", "seq_lens", "out_seqlens_expanded"]
    names += ["out_nsa_cache_seqlens", "out_total"][: 2 if key[-1] else 1]
    return _nsa_runtime.Caller(
        lambda target: get_step("expand_seqlens", text, target),
        tuple(names),
        ("bs", "row_bound"),
    )


def dequantize_k_cache_paged(
    cache, token_ids, out, layout="v32", *, page_size, stream=None
):
    """Rows of a paged, quantised cache as bfloat16: ``out[t]`` is the row of token
    ``token_ids[t]``, which is slot ``id % page_size`` of page ``id // page_size``.

    `cache`: [pages, bytes], elements of one byte (uint8, int8 or a float8), any row
    stride; a row holds at least the bytes of a page. `token_ids`: [tokens], int32 or
    int64; an id that is negative or not in the cache gives a row of zeros. `out`:
    [tokens or more, columns of the layout or more], bfloat16, or uint16 or int16 where
    a library has no bfloat16; any row stride, so a slice of a workspace; what lies
    beyond the tokens and columns is left untouched. `layout`: a name of
    ``nsa.layouts.NAMED``, or the text of a ``#nsa.kv_layout``. `page_size`: tokens in a
    page. `stream` as in ``Step.__call__``.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing
    then; ``CompileError`` if the step can neither be compiled nor found.
    """
    dtype, shape, target = describe("token_ids", token_ids)
    if len(shape) != 1:
        raise ValueError(
            f"argument 'token_ids': expected 1 dimension but got {len(shape)}"
        )
    key = (layout, page_size, dtype, target)
    step = _dequants.get(key)
    if step is None:
        if int(page_size) < 1:
            raise ValueError(
                f"argument 'page_size': expected 1 or more but got {page_size}"
            )
        try:
            parsed = layouts.parse(layout)
            text = steps.dequant_paged([(parsed, page_size, dtype)])
        except (TypeError, ValueError) as error:
            message = str(error).replace("'ids0'", "'token_ids'")
            raise type(error)(message) from None
        step = _dequants[key] = get_step("dequant_paged", text, target)
    try:
        step(tokens0=shape[0], cache0=cache, ids0=token_ids, out0=out, stream=stream)
    except (TypeError, ValueError) as error:
        raise type(error)(_renamed(str(error))) from None


# The names of a step's ports and those of the function's arguments.
_DEQUANT_NAMES = {"cache0": "cache", "ids0": "token_ids", "out0": "out"}


def _renamed(message):
    for port, argument in _DEQUANT_NAMES.items():
        message = message.replace(f"'{port}'", f"'{argument}'")
    return message
