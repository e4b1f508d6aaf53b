# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's names and argument lists, as of sglang 0.5.23, over nsa's operations.

A caller changes the import and nothing else. Argument names that begin with ``nsa_`` in
older releases and with ``dsa_`` in later ones are accepted either way. A wrong dtype is a
``RuntimeError`` that says "must have dtype int32", as there.
"""

from .. import steps
from .._errors import constant
from ..ops import copy_metadata
from ._dequant import (
    dequantize_k_cache_paged,
    dequantize_k_cache_paged_dsa,
    dequantize_k_cache_paged_dsv4,
)
from ._dsv4 import (
    CompressorDecodePlan,
    CompressorPrefillPlan,
    build_causal_swa_page_indices,
    build_page_table_positions,
)
from ._dsv4_pieces import (
    build_low_ratio_metadata,
    build_page_table_positions_small,
    dsa_cp_interleave_q_seqs,
    expand_index_page_table,
    expand_prefill_causally,
    fill_all_compressed_indices,
    init_compression_metadata,
    pack_sparse_tail,
    prefill_k_slots,
    window_layout,
)
from ._kpool import build_pooled_page_table_64, update_kpool_write_plan_cuda_graph
from ._names import FIELDS, current_name, their_name, translate
from ._prefill import build_swa_token_ids, combine_topk_swa_indices, combined_topk_width
from ._replay import (
    fill_draft_extend_metadata_cuda,
    fused_dsa_decode_metadata,
    fused_dsa_decode_metadata_kpool,
    fused_dsa_draft_extend_metadata,
    fused_dsa_draft_extend_metadata_kpool,
    fused_dsa_target_verify_metadata,
    fused_dsa_target_verify_metadata_kpool,
)
from ._schedules import get_mla_metadata, get_paged_mqa_logits_metadata, plan_topk_v2
from ._transform import (
    transform_index_page_table_dcp,
    transform_index_page_table_decode,
    transform_index_page_table_prefill,
)

#: Also the names that later releases gave up.
fill_draft_extend_metadata_cuda_adaptive = fill_draft_extend_metadata_cuda
fused_nsa_decode_metadata = fused_dsa_decode_metadata
fused_nsa_draft_extend_metadata = fused_dsa_draft_extend_metadata
fused_nsa_target_verify_metadata = fused_dsa_target_verify_metadata

__all__ = [
    "CompressorDecodePlan",
    "CompressorPrefillPlan",
    "build_causal_swa_page_indices",
    "build_low_ratio_metadata",
    "build_page_table_positions",
    "build_page_table_positions_small",
    "build_pooled_page_table_64",
    "build_swa_token_ids",
    "combine_topk_swa_indices",
    "combined_topk_width",
    "dequantize_k_cache_paged",
    "dequantize_k_cache_paged_dsa",
    "dequantize_k_cache_paged_dsv4",
    "dsa_cp_interleave_q_seqs",
    "expand_index_page_table",
    "expand_prefill_causally",
    "fill_all_compressed_indices",
    "fill_draft_extend_metadata_cuda",
    "fill_draft_extend_metadata_cuda_adaptive",
    "fused_dsa_decode_metadata",
    "fused_dsa_decode_metadata_kpool",
    "fused_dsa_draft_extend_metadata",
    "fused_dsa_draft_extend_metadata_kpool",
    "fused_dsa_target_verify_metadata",
    "fused_dsa_target_verify_metadata_kpool",
    "fused_metadata_copy_cuda",
    "fused_metadata_copy_multi_cuda",
    "fused_nsa_decode_metadata",
    "fused_nsa_draft_extend_metadata",
    "fused_nsa_target_verify_metadata",
    "get_mla_metadata",
    "get_paged_mqa_logits_metadata",
    "init_compression_metadata",
    "pack_sparse_tail",
    "plan_topk_v2",
    "prefill_k_slots",
    "transform_index_page_table_dcp",
    "transform_index_page_table_decode",
    "transform_index_page_table_prefill",
    "update_kpool_write_plan_cuda_graph",
    "window_layout",
]

#: SGLang's numbers of forward modes.
_MODES = ("decode", "target_verify", "draft_extend")


def _names(suffixes, with_expanded):
    """The array arguments in SGLang's order."""
    names = []
    for suffix in suffixes:
        for field in FIELDS:
            if field == "seqlens_expanded" and not with_expanded:
                continue
            if field == "page_table_1" and suffix == "_src":
                field = "page_indices"
            names.append(field + suffix)
    return names


_SINGLE = (
    *_names(("_src", "_dst"), True),
    "forward_mode",
    "bs",
    "max_len",
    "max_seqlen_k",
    "seqlens_expanded_size",
)
_MULTI = (
    *_names(("_src", "_dst0", "_dst1", "_dst2"), False),
    "bs",
    "max_len",
    "seqlens_expanded_size",
)


def _arguments(function, names, args, kwargs):
    """The values in the order of `names`; raises ``TypeError`` as a call would."""
    if not kwargs and len(args) == len(names):
        return args
    values = dict(zip(names, args))
    if len(args) > len(names):
        raise TypeError(
            f"{function}() takes {len(names)} arguments but {len(args)} were given"
        )
    for name, value in kwargs.items():
        name = current_name(name, names)
        if name not in names:
            raise TypeError(f"{function}() got an unexpected argument {name!r}")
        if name in values:
            raise TypeError(f"{function}() got multiple values for argument {name!r}")
        values[name] = value
    missing = [name for name in names if name not in values]
    if missing:
        raise TypeError(f"{function}() is missing the arguments {', '.join(missing)}")
    return [values[name] for name in names]


def _packed(table, columns):
    """The source's rows as SGLang reads them: one after the other, `columns` wide."""
    if table.dim() == 2 and table.shape[1] == columns:
        return table
    flat = table.contiguous().view(-1)
    rows = table.shape[0] if columns <= table.shape[-1] else flat.numel() // columns
    return flat[: rows * columns].view(rows, columns)


def _copy(sources, sets, mode, bs, columns, expanded, single):
    # Optional fields are there where both sides are.
    names = list(FIELDS.values())
    src = {n: a for n, a in zip(names, sources) if a is not None}
    if mode == "decode":
        src.pop("seqlens_expanded", None)
    if "flashmla_num_splits" not in src:
        src.pop("flashmla_metadata", None)
    table = src.get("page_table_1")
    if table is not None and table.shape[-1] != columns:
        src["page_table_1"] = _packed(table, columns)
    dsts = [
        {n: a for n, a in zip(names, arrays) if a is not None and n in src}
        for arrays in sets
    ]
    try:
        if mode == "decode":
            copy_metadata(src, dsts, "decode", bs=bs, max_len=columns)
        else:
            copy_metadata(
                src,
                dsts,
                mode,
                bs=bs,
                max_seqlen_k=columns,
                seqlens_expanded_size=expanded,
            )
    except (TypeError, ValueError) as error:
        names, int32 = {}, {}
        for field, array in src.items():
            theirs = "page_indices" if field == "page_table_1" else their_name(field)
            names[f"src_{field}"] = f"{theirs}_src"
            int32[f"src_{field}"] = array
        for number, fields in enumerate(dsts):
            for field, array in fields.items():
                port = steps.port(number, field)
                names[port] = f"{their_name(field)}_dst{'' if single else number}"
                int32[port] = array
        raise translate(error, names, int32) from None


def fused_metadata_copy_cuda(*args, **kwargs):
    """Copies one metadata set to one backend: SGLang's ``fused_metadata_copy_cuda``.

    Arguments, in order: cache_seqlens_src, cu_seqlens_k_src, page_indices_src,
    dsa_cache_seqlens_src, seqlens_expanded_src, dsa_cu_seqlens_k_src, real_page_table_src,
    flashmla_num_splits_src, flashmla_metadata_src; the same with ``_dst`` (page_table_1_dst
    for the table); forward_mode (0 decode, 1 target_verify, 2 draft_extend), bs, max_len,
    max_seqlen_k, seqlens_expanded_size. int32 torch tensors; those of seqlens_expanded,
    real_page_table and flashmla may be None. See ``nsa.ops.copy_metadata`` for what is
    copied. Raises ``RuntimeError`` for a wrong dtype, ``ValueError`` or ``TypeError`` for
    what else is wrong, with the argument's name; nothing is written then.
    """
    values = _arguments("fused_metadata_copy_cuda", _SINGLE, args, kwargs)
    forward_mode, bs, max_len, max_seqlen_k, expanded = values[18:]
    forward_mode = constant("forward_mode", forward_mode, 0, len(_MODES) - 1)
    columns = max_len if forward_mode == 0 else max_seqlen_k
    mode = _MODES[forward_mode]
    _copy(values[:9], [values[9:18]], mode, bs, columns, expanded, True)


def _with_expanded(arrays):
    """The arrays of a set that has no place for seqlens_expanded."""
    return (*arrays[:4], None, *arrays[4:])


def fused_metadata_copy_multi_cuda(*args, **kwargs):
    """Copies one decode set to three backends: SGLang's
    ``fused_metadata_copy_multi_cuda``.

    Arguments, in order: the source's arrays as for ``fused_metadata_copy_cuda`` without
    seqlens_expanded, then those of each backend, with ``_dst0``, ``_dst1`` and ``_dst2``,
    then bs, max_len and seqlens_expanded_size. Errors as there. Any other number of
    backends, and any mode: ``nsa.ops.copy_metadata``.
    """
    values = _arguments("fused_metadata_copy_multi_cuda", _MULTI, args, kwargs)
    sets = [_with_expanded(values[at : at + 8]) for at in range(0, 32, 8)]
    bs, max_len, expanded = values[32:]
    _copy(sets[0], sets[1:], "decode", bs, max_len, expanded, False)
