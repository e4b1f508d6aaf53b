# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ready-made operations, in place into the caller's arrays, on any target.

The first call with a new set of fields, dtypes and constants compiles (some
milliseconds) and is cached; see ``NSA_BUNDLE_PATH`` in ``nsa._cache`` for installations
without the compiler.
"""

from . import _nsa_runtime, layouts, steps
from ._cache import get_step

__all__ = ["dequantize_k_cache_paged", "replay_metadata"]

_MODES = ("decode",)
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
_CUDA = (2, 13)

# (layout, page size, dtype of the ids, target) -> step
_dequants = {}
# (fields, dtypes, constants, target) -> (step, ports); a text need not be written twice.
_replays = {}


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
    dtype, shape, target = _describe("token_ids", token_ids)
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
