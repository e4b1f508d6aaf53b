# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ready-made operations, in place into the caller's arrays, on any target.

The first call with a new set of fields, dtypes and constants compiles (some
milliseconds) and is cached; see ``NSA_BUNDLE_PATH`` in ``nsa._cache`` for installations
without the compiler.
"""

from . import _metadata, _nsa_runtime, steps
from ._cache import get_step

__all__ = ["copy_metadata", "replay_metadata"]

_MODES = ("decode",)
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
_CUDA = (2, 13)

# (fields, dtypes, constants, target) -> (step, ports); a text need not be written twice.
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


def _describe(argument, array):
    """(dtype name, shape, target) of an array."""
    try:
        code, bits, shape, device, _ = _nsa_runtime.array_info(array)
    except (TypeError, ValueError) as error:
        text = str(error).replace("argument 'array'", f"argument {argument!r}", 1)
        raise type(error)(text) from None
    dtype = f"{_CODES.get(code, code)}{bits}"
    return dtype, shape, "cuda" if device in _CUDA else "cpu"


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
    bs = ``seq_lens.shape[0]``, decode writes (further elements are left untouched):

    ==================  =========================  =====================================
    field               elements                   value
    ==================  =========================  =====================================
    cache_seqlens       [bs]                       seq_lens
    seqlens_expanded    [bs]                       seq_lens
    cu_seqlens_k        [bs + 1]                   0, then inclusive sums
    nsa_cache_seqlens   [bs]                       min(seq_lens, topk)
    nsa_cu_seqlens_k    [bs + 1]                   0, then inclusive sums of those
    page_table_1        [bs, max_len]              req_to_token[req_pool_indices[b], c]
    real_page_table     [bs, ceil(max_len / ps)]   page_table_1[b, j * ps] // ps
    ==================  =========================  =====================================

    `seq_lens`, `req_pool_indices`: [bs], int32 or int64. `req_to_token`: int32, one row
    of token slots per pool index. `max_len`: columns of page_table_1, in tokens; needed
    for the tables, as are the two above. `topk`: tokens, for the ``nsa_`` fields.
    `page_size`: tokens in a page, for real_page_table. 1-D arrays may have any stride,
    2-D arrays any row stride. `stream` as in ``Step.__call__``.

    The same array may serve one field of several destinations; no other overlap is
    accepted. Raises ``ValueError`` or ``TypeError`` that names the argument, and writes
    nothing then; ``CompileError`` if the step can neither be compiled nor found.
    Only ``mode="decode"`` exists so far, without `extend_seq_lens`, `next_n`,
    `live_only` and `row_bound`.
    """
    if mode not in _MODES:
        raise ValueError(
            f"argument 'mode': {mode!r} is not implemented yet; expected one of "
            + ", ".join(repr(m) for m in _MODES)
        )
    if extend_seq_lens is not None:
        raise ValueError("argument 'extend_seq_lens': decode takes none")
    if next_n != 1:
        raise ValueError(f"argument 'next_n': expected 1 in decode but got {next_n}")
    if live_only:
        raise ValueError("argument 'live_only': not implemented yet")
    if row_bound is not None:
        raise ValueError("argument 'row_bound': not implemented yet")

    lens_dtype, lens_shape, target = _describe("seq_lens", seq_lens)
    if len(lens_shape) != 1:
        raise ValueError(
            f"argument 'seq_lens': expected 1 dimension but got {len(lens_shape)}"
        )
    fields = tuple(tuple(destination) for destination in dsts)
    tables = any(f in ("page_table_1", "real_page_table") for d in fields for f in d)
    pool_dtype = "int64"
    if tables:
        for name, value in (
            ("req_pool_indices", req_pool_indices),
            ("req_to_token", req_to_token),
            ("max_len", max_len),
        ):
            if value is None:
                raise TypeError(f"argument {name!r}: missing, the page tables need it")
        pool_dtype, _, _ = _describe("req_pool_indices", req_pool_indices)

    key = (fields, lens_dtype, pool_dtype, topk, page_size, target)
    step = _replays.get(key)
    if step is None:
        text = steps.decode_replay(fields, lens_dtype, pool_dtype, topk, page_size)
        step = _replays[key] = get_step("decode_replay", text, target)

    arguments = {
        steps.port(backend, field): array
        for backend, destination in enumerate(dsts)
        for field, array in destination.items()
    }
    arguments["bs"] = lens_shape[0]
    arguments["seq_lens"] = seq_lens
    if tables:
        arguments["max_len"] = max_len
        arguments["req_pool_indices"] = req_pool_indices
        arguments["req_to_token"] = req_to_token
    step(stream=stream, **arguments)
