# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's ways to replay a step for several backends.

Its Triton kernel of the mode fills one set. For several there are two ways: fill a
scratch set and copy it to each, or run the kernel once per backend. Its copy to three
destinations in one launch has decode only; in the other modes, and past the third
backend, each has a launch of its own.
"""

from __future__ import annotations

import torch
from peers import SGLang
from replay_modes import DRAFT_TOKENS, PAGE_SIZE, TOPK
from replay_workload import Buffers, Fields

#: SGLang's numbers of the modes that its copies know.
COPY_MODES = {"decode": 0, "target_verify": 1, "draft_extend": 2}
_LENGTHS = ("cache_seqlens", "cu_seqlens_k", "page_table_1", "nsa_cache_seqlens")


def precompute(sglang: SGLang, buffers: Buffers, fields: Fields) -> None:
    """One launch of SGLang's Triton kernel. It writes live columns only."""
    mode, shape = buffers.mode.mode, buffers.shape
    arguments = {
        "seq_lens": buffers.seq_lens,
        "req_pool_indices": buffers.pool,
        "req_to_token": buffers.table,
        "bs": shape.bs,
        "dsa_index_topk": TOPK,
        "physical_page_size": PAGE_SIZE,
        **{name.replace("nsa_", "dsa_"): tensor for name, tensor in fields.items()},
    }
    if mode == "decode":
        sglang.fused_dsa_decode_metadata(max_len=shape.max_len, **arguments)
    elif mode == "target_verify":
        sglang.fused_dsa_target_verify_metadata(
            max_seqlen_k=shape.max_len, next_n=DRAFT_TOKENS, **arguments
        )
    else:
        sglang.fused_dsa_draft_extend_metadata(
            extend_seq_lens=buffers.extend,
            total_len=buffers.rows,
            max_seqlen_k=shape.max_len,
            max_extend_len=DRAFT_TOKENS,
            max_total_len=buffers.capacity,
            static_extend_len=not buffers.mode.is_ragged,
            **arguments,
        )


def copy(sglang: SGLang, buffers: Buffers) -> None:
    """SGLang's CUDA kernels, from the scratch set to every backend."""
    mode, bs, max_len = COPY_MODES[buffers.mode.mode], buffers.shape.bs, buffers.shape.max_len
    backends = buffers.backends
    if mode == 0 and len(backends) >= 3:
        arguments: list[torch.Tensor | None] = []
        for fields in (buffers.scratch, *backends[:3]):
            arguments += [fields[name] for name in _LENGTHS]
            arguments += [fields["nsa_cu_seqlens_k"], fields["real_page_table"]]
            arguments += [None, None]  # FlashMLA's fields
        sglang.fused_metadata_copy_multi_cuda(*arguments, bs, max_len, bs)
        backends = backends[3:]
    for backend in backends:
        arguments = []
        for fields in (buffers.scratch, backend):
            arguments += [fields[name] for name in _LENGTHS]
            arguments += [fields.get("seqlens_expanded"), fields["nsa_cu_seqlens_k"]]
            arguments += [fields["real_page_table"], None, None]
        sizes = (bs, max_len, max_len, buffers.rows)
        sglang.fused_metadata_copy_cuda(*arguments, mode, *sizes)


def once(sglang: SGLang, buffers: Buffers) -> None:
    """Precompute once, copy to each."""
    precompute(sglang, buffers, buffers.scratch)
    copy(sglang, buffers)


def repeated(sglang: SGLang, buffers: Buffers) -> None:
    """The alternative: the precompute kernel once per backend."""
    for fields in buffers.backends:
        precompute(sglang, buffers, fields)
