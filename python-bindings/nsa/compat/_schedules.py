# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions that make schedules, one at a time, for torch tensors and for NumPy arrays.

They allocate what they return. With the metadata of several backends in one launch:
``schedules`` of ``nsa.ops.replay_metadata`` and ``nsa.ops.replay_v4``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import ops
from .._errors import constant, renamed, wrong
from ._allocate import empty

__all__ = ["get_mla_metadata", "get_paged_mqa_logits_metadata", "plan_topk_v2"]

#: Heads of a tile.
_TILE_HEADS = 64


def get_paged_mqa_logits_metadata(seq_lens: Any, page_size: int, num_sm: int) -> Any:
    """The schedule of paged MQA logits over all lengths: SGLang's own
    ``get_paged_mqa_logits_metadata``.

    `seq_lens`: contiguous, in any shape, int32 or int64. `page_size`, 64 or 128, is not
    used. Returns [num_sm + 1, 2] int32, see ``nsa.ops.paged_mqa_schedule`` with ``jit``;
    that operation has DeepGEMM's as well.
    """
    if page_size not in (64, 128):
        raise wrong(ValueError, "page_size", f"expected 64 or 128 but got {page_size!r}")
    num_sm = constant("num_sm", num_sm, 1)
    out = empty((num_sm + 1, 2), seq_lens)
    flat = seq_lens.reshape(-1)
    try:
        ops.paged_mqa_schedule(flat, out, convention="jit", num_sms=num_sm)
    except (TypeError, ValueError) as error:
        raise renamed(error, {"context_lens": "seq_lens"}) from None
    return out


@cache
def _clusters() -> int:
    """SGLang's own number, as its kernels are compiled for it."""
    try:
        from sglang.kernels.jit.utils import occupancy
    except ImportError:
        raise wrong(TypeError, "clusters", "missing, as there is no sglang that tells") from None
    try:
        return int(occupancy.get_max_active_clusters(8, occupancy=2))
    except occupancy.NoSchedulableClustersError:
        return 0


@cache
def _capability(index: int) -> tuple[int, int]:
    import torch

    major, _ = torch.cuda.get_device_capability(index)
    return major, torch.cuda.get_device_properties(index).multi_processor_count


def _device(array: Any) -> tuple[int, int]:
    """(major compute capability, multiprocessors) of the device of a tensor."""
    device = getattr(array, "device", None)
    if getattr(device, "type", None) != "cuda":
        raise wrong(TypeError, "num_sms", "missing, as the array is on no CUDA device")
    return _capability(device.index)


def plan_topk_v2(
    seq_lens: Any,
    static_threshold: int = -1,
    *,
    out: Any = None,
    clusters: int | None = None,
    arch: str | None = None,
) -> Any:
    """Which rows of the top-k go to clusters: SGLang's ``plan_topk_v2``.

    `seq_lens`: [bs], int32 or int64. `out`: [bs + 1, 2] int32, allocated if left out, and
    returned. See ``nsa.ops.plan_topk``, also for `clusters` and `arch`: left out, SGLang is
    asked and the device of the tensor. As there, nothing is written if nobody reads it.
    """
    if out is None:
        out = empty((len(seq_lens) + 1, 2), seq_lens)
    if arch is None:
        major, _ = _device(seq_lens)
        if major < 9:
            return out
        arch = "sm90" if major == 9 else "sm100"
    if clusters is None:
        clusters = _clusters()
    try:
        ops.plan_topk(seq_lens, out, clusters=clusters, arch=arch, static=static_threshold)
    except (TypeError, ValueError) as error:
        raise renamed(error, {"static": "static_threshold"}) from None
    return out


def _parts(num_sms: int, tokens: int, heads_k: int, heads_q: int, sparse: bool, major: int) -> int:
    """How many parts consumers of `tokens` query rows for each head of a key have."""
    if not sparse:
        return max(num_sms // heads_k // -(-tokens // _TILE_HEADS), 1)
    queries = max(tokens * heads_k // heads_q, 1)
    if major >= 10:
        return max(num_sms // queries, 1)
    return max(num_sms // queries // max(heads_q // _TILE_HEADS, 1), 1)


def get_mla_metadata(
    cache_seqlens: Any,
    num_q_tokens_per_head_k: int,
    num_heads_k: int,
    num_heads_q: int | None = None,
    is_fp8_kvcache: bool = False,
    topk: int | None = None,
    *,
    num_sms: int | None = None,
) -> tuple[Any, Any]:
    """FlashMLA's split of a batch as tensors: ``get_mla_metadata`` in its older form, with
    lengths.

    `cache_seqlens`: [bs], int32 or int64. `num_q_tokens_per_head_k`: queries of a request
    times heads of a query, divided by those of a key. With `topk` attention is sparse, needs
    `num_heads_q`, and the result depends on bs alone. Returns int32 (tiles [parts, 8],
    splits [bs + 1]), see ``nsa.ops.flashmla_schedule``; of a dense fp8 cache in its layout.
    `num_sms`: multiprocessors; left out, those of the tensor's device.
    """
    tokens = constant("num_q_tokens_per_head_k", num_q_tokens_per_head_k, 1)
    heads_k = constant("num_heads_k", num_heads_k, 1)
    heads_q = 1
    if topk is not None:
        heads_q = constant("num_heads_q", num_heads_q, 1)
    major = 9
    if num_sms is None:
        major, num_sms = _device(cache_seqlens)
    parts = _parts(num_sms, tokens, heads_k, heads_q, topk is not None, major)
    tiles = empty((parts, 8), cache_seqlens)
    splits = empty((len(cache_seqlens) + 1,), cache_seqlens)
    layout = "fp8" if is_fp8_kvcache and topk is None else "new"
    try:
        ops.flashmla_schedule(cache_seqlens, tiles, splits, topk=topk, layout=layout)
    except (TypeError, ValueError) as error:
        raise renamed(error, {"seq_lens": "cache_seqlens"}) from None
    return tiles, splits
