# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ready-made operations, in place into the caller's arrays, on any target.

The first call with a new set of fields, dtypes and constants compiles (some
milliseconds) and is cached; the usual ones are shipped, and ``nsa.prebuild`` makes others
for installations without the compiler.
"""

import json
from functools import cache

from . import _metadata, _nsa_runtime, layouts, steps
from ._arguments import check_rank, describe
from ._cache import get_step
from ._dsa_prefill import dsa_prefill
from ._errors import check_mode, constant, renamed
from ._flashmla import flashmla_schedule
from ._paged_mqa import paged_mqa_schedule
from ._prefill import (
    build_compressed_token_ids,
    build_swa_token_ids,
    combine_topk_swa_indices,
)
from ._prefill_v4 import prefill_v4
from ._ragged_prefill import build_ragged_compressed_ids
from ._replay import expand_seqlens, replay_metadata
from ._request_window import window_layout
from ._topk_plan import plan_topk
from ._transform import transform_index
from ._v4 import replay_v4
from ._v4_trtllm import pack_sparse_tail

__all__ = [
    "build_compressed_token_ids",
    "build_ragged_compressed_ids",
    "build_swa_token_ids",
    "combine_topk_swa_indices",
    "copy_metadata",
    "dequantize_k_cache_paged",
    "dsa_prefill",
    "expand_seqlens",
    "flashmla_schedule",
    "pack_sparse_tail",
    "paged_mqa_schedule",
    "plan_topk",
    "prefill_v4",
    "replay_metadata",
    "replay_v4",
    "transform_index",
    "window_layout",
]

# (layout, page size, dtype of the ids, target) -> step
_dequants = {}


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

        def prepare(target, _):
            step = get_step(name, self.text, target)
            return step, dict.fromkeys(_unused_sizes(step), 0)

        self.call = _nsa_runtime.Caller(prepare, tuple(arrays), self.sizes)


def _unused_sizes(step):
    """The sizes that nothing depends on: callers need not know one for fields that they do
    not have."""
    manifest = json.loads(step.manifest)
    arguments = manifest["arguments"]
    sizes = {a["name"] for a in arguments if a["kind"] == "size"}
    named = [[a.get("extents") for a in arguments], manifest["kernels"]]
    named.append(manifest.get("requires"))

    def use(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                use(each)
        elif isinstance(value, str):
            sizes.discard(value)

    use(named)
    return sizes


_copy = cache(_Copy)


def _make_copy(constants, fields):
    """What runs a copy, and which arrays it takes."""
    (mode,) = constants
    source, *destinations = fields
    check_mode(mode, _metadata.MODES)
    known = _copy(mode, source, tuple(destinations))
    count = sum(map(len, fields))
    return known.call, [*map(source.index, known.source), *range(len(source), count)]


def _make_flat_copy(constants, _):
    """The same with the names in texts: the source's, and those of all destinations."""
    mode, source, destinations = constants
    fields = map(_metadata.parse_fields, (source, destinations))
    return _make_copy((mode,), sum(fields, ()))


_copy_sets = _nsa_runtime.SetCaller(_make_copy)
_flat_copies = _nsa_runtime.SetCaller(_make_flat_copy)
_copy_of_sets = _copy_sets.call


def _copy_flat(outputs, fields, sources, source_fields, mode, *sizes):
    """``copy_metadata`` with arrays in lists, and their names in texts."""
    constants = (mode, source_fields, fields)
    bs, max_len, *others = sizes
    taken = (bs, max_len) if mode == "decode" else (bs, *others)
    _flat_copies.call(constants, (*sources, *outputs), (), taken, None)


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
    sizes = (
        (bs, max_len) if mode == "decode" else (bs, max_seqlen_k, seqlens_expanded_size)
    )
    _copy_of_sets((mode,), src, dsts, sizes, stream)


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
    check_rank("token_ids", shape, 1)
    page_size = constant("page_size", page_size, 1)
    layout = layout if isinstance(layout, str) else layouts.parse(layout)
    key = (layout, page_size, dtype, target)
    step = _dequants.get(key)
    if step is None:
        try:
            text = steps.dequant_paged([(layout, page_size, dtype)])
        except (TypeError, ValueError) as error:
            raise renamed(error, _DEQUANT_NAMES) from None
        step = _dequants[key] = get_step("dequant_paged", text, target)
    try:
        step(tokens0=shape[0], cache0=cache, ids0=token_ids, out0=out, stream=stream)
    except (TypeError, ValueError) as error:
        raise renamed(error, _DEQUANT_NAMES) from None


# The names of a step's ports and those of the function's arguments.
_DEQUANT_NAMES = {"cache0": "cache", "ids0": "token_ids", "out0": "out"}
