# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's own sequence for the metadata of a forward step whose index keys are pooled: its DSA
backend, unmodified, as it fills the arrays that a captured graph reads.

SGLang has two ways. Since kernels that it calls experimental are on by default
(``SGLANG_EXPERIMENTAL_DSA_KPOOL_METADATA_FUSION``), one of them fills the lengths and both tables,
of these the blocks of 128 columns that a request has tokens in. Without them torch does, every
column. Left out are schedules of indexers and attention, which nsa's step beside it does not
have either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import dsa_prefill_peer
import torch
from dsa_prefill_steps import Case as ExtendCase
from kpool_steps import PAGE, POOL, Case

load = dsa_prefill_peer.load


def sequence(peer: SimpleNamespace, case: Case, a: dict[str, Any]) -> Callable[[], Any]:
    """A function that fills the arrays and returns the metadata that has them."""
    lens, pool, table = a["seq_lens"], a["req_pool_indices"], a["req_to_token"]
    bs, rows, device = len(lens), len(lens) * case.next_n, lens.device

    def nothing(*_: Any, **__: Any) -> None:
        return None

    backend = dsa_prefill_peer._backend(
        peer, ExtendCase("pools", POOL), {**a, "slots": 1 << 20}
    )
    vars(backend).update(
        dsa_decode_impl="fa3",
        speculative_num_draft_tokens=case.next_n,
        dsa_drop_wide_page_table=False,
        decode_cuda_graph_metadata={
            "page_table": torch.zeros(
                (rows, table.shape[1]), dtype=torch.int32, device=device
            ),
            "cu_seqlens_q": torch.arange(bs + 1, dtype=torch.int32, device=device),
        },
        **dict.fromkeys(
            ("_build_paged_mqa_schedule_2d_ctx_lens", "_refresh_paged_mqa_schedule_metadata",
             "_build_kpool_paged_mqa_schedule_metadata", "set_dsa_prefill_impl",
             "_build_topk_v2_plan", "_refresh_topk_v2_plan"),
            nothing,
        ),
    )  # fmt: skip
    # As the engine does; on by default.
    backend._init_kpool_metadata_fusion()
    if not backend.experimental_kpool_metadata_fusion:
        raise RuntimeError("SGLang does not use its fused kernels here")
    backend.experimental_kpool_metadata_fusion = case.fused
    # No schedules of DeepGEMM, no plans of top-k.
    vars(peer.backend)["resolve_paged_mqa_logits_metadata_fn"] = lambda: nothing
    vars(peer.backend)["resolve_num_sms"] = nothing
    plans = sys.modules["sglang.srt.layers.attention.dsa.kpool_plan"]
    vars(plans)["build_kpool_topk_v2_plan"] = nothing
    mode = SimpleNamespace(
        is_decode_or_idle=lambda: case.mode == "decode",
        is_target_verify=lambda: case.mode == "target_verify",
        is_draft_extend_v2=lambda: case.mode == "draft_extend",
    )

    def fill() -> Any:
        backend._apply_cuda_graph_metadata(bs, pool, lens, None, mode, None)
        return backend.forward_metadata

    fill()  # makes the arrays
    return fill


_PATHS = {
    "cache_seqlens": "cache_seqlens_int32",
    "seqlens_expanded": "dsa_seqlens_expanded",
    "nsa_cache_seqlens": "dsa_cache_seqlens_int32",
    "nsa_cu_seqlens_k": "dsa_cu_seqlens_k",
    "pooled_cache_seqlens": "pooled_cache_seqlens_int32",
}


def field(metadata: Any, name: str) -> Any:
    """What the metadata has under nsa's name."""
    if name.startswith("kpool_"):
        return getattr(metadata.kpool_write_plan, name.removeprefix("kpool_"))
    return getattr(metadata, _PATHS.get(name, name))
