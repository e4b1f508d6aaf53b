# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's own sequence for the metadata of an eager DSA extend: its attention backend,
unmodified, with a pool and a batch that stand for the engine's.

The backend's module, those of pools and the kernels that they call are the wheel's own; all
else of SGLang is hollow. Extends are those of an fp8 cache and FlashMLA's sparse kernel, so
that the flattened table and the offsets of top-k are there. Left out are schedules, which
nsa's step beside it does not have either.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from dsa_prefill_steps import INDEX_PAGE, PAGE, TOPK, Case
from hollow import Finder

_BACKEND = "sglang.srt.layers.attention.dsa_backend"
_DSA = "sglang.srt.layers.attention.dsa"
REAL = frozenset(
    {
        _BACKEND,
        *(
            f"{_DSA}.{name}"
            for name in (
                "dsa_backend_kpool", "dsa_backend_mtp_precompute", "dsa_topk_backend",
                "dsa_metadata_manager", "kpool_fp8_index", "kpool_plan", "utils",
            )
        ),
        *(
            f"sglang.kernels.ops.attention.dsa.{name}"
            for name in (
                "cp_split", "metadata", "kpool_metadata", "kpool_metadata.decode",
                "kpool_metadata.draft_extend", "kpool_metadata.scan", "kpool_metadata.verify",
            )
        ),
        "sglang.kernels.ops.attention.pad",
        "sglang.srt.environ",
        "sglang.srt.layers.cp.base",
        "sglang.srt.layers.cp.interleave",
        "sglang.srt.layers.cp.interleave_kpool",
    }
)  # fmt: skip

#: Which rank of context parallelism SGLang is on.
PARALLEL = SimpleNamespace(attn_cp_size=1, attn_cp_rank=0, cp_strategy="interleave")
#: The only mode that is asked about.
EXTEND = SimpleNamespace(
    **dict.fromkeys(
        ("is_extend", "is_extend_without_speculative", "is_context_parallel_extend"),
        lambda: True,
    ),
    **dict.fromkeys(
        ("is_decode_or_idle", "is_target_verify", "is_draft_extend_v2"), lambda: False
    ),
)


def _no(*_: Any, **__: Any) -> bool:
    return False


def _given(name: str) -> dict[str, Any]:
    """What the backend uses of other modules."""
    utils = {
        "is_cuda": lambda: torch.version.cuda is not None,
        "ceil_div": lambda x, y: -(-x // y),
        **dict.fromkeys(
            ("is_gfx95_supported", "is_hip", "is_musa", "is_xpu", "get_bool_env_var"), _no
        ),
    }
    return {
        "sglang.srt.utils": utils,
        "sglang.srt.utils.common": utils,
        "sglang.srt.runtime_context": {
            "get_parallel": lambda: PARALLEL,
            "get_platform": lambda: SimpleNamespace(is_sm100=False),
            "process_model_config": lambda: SimpleNamespace(hf_config=None),
        },
        "sglang.srt.configs.model_config": {"is_deepseek_dsa": lambda config: True},
        "sglang.srt.model_executor.forward_batch_info": {
            "ForwardMode": SimpleNamespace(EXTEND=EXTEND)
        },
    }.get(name, {})


def load(path: str | Path) -> SimpleNamespace:
    """The backend's module and its version, from `path`, a folder that holds ``sglang/``
    (scripts/fetch_peers.sh).

    Modules stay as they are: what is imported when a function runs comes from them, too.
    """
    root = Path(path).resolve()
    if not (root / (_BACKEND.replace(".", "/") + ".py")).is_file():
        raise FileNotFoundError(
            f"no DSA backend under {root}; scripts/fetch_peers.sh puts it there"
        )
    if "sglang" in sys.modules:
        raise RuntimeError("another sglang is imported already")
    sys.meta_path.insert(0, Finder(root, {"sglang"}, REAL.__contains__, _given))
    version = (root / "VERSION").read_text().strip()
    return SimpleNamespace(
        version=version, name=f"SGLang {version}", backend=importlib.import_module(_BACKEND)
    )


def _backend(peer: SimpleNamespace, case: Case, a: dict[str, Any]) -> Any:
    module = peer.backend

    class Backend(module.DeepseekSparseAttnBackend):  # type: ignore[name-defined,misc]
        """With its state set, and no engine asked for it."""

        def __init__(self, **state: Any) -> None:
            vars(self).update(state)

    table = a["req_to_token"]
    return Backend(
        device=a["seq_lens"].device,
        req_to_token=table,
        req_to_token_pool=SimpleNamespace(req_to_token=table),
        token_to_kv_pool=SimpleNamespace(
            dtype=torch.float8_e4m3fn, size=a["slots"], page_size=PAGE,
            index_page_size=INDEX_PAGE,
        ),
        physical_page_size=PAGE,
        dsa_index_topk=TOPK,
        dsa_index_kpool=case.pool,
        dsa_kv_cache_store_fp8=True,
        dsa_prefill_impl="flashmla_sparse",
        dsa_decode_impl="flashmla_kv",
        dsa_topk_backend=module.DSATopKBackend.TORCH,
        enable_auto_select_prefill_impl=False,
        supports_mha_one_shot=False,
        hisparse_coordinator=None,
        speculative_num_draft_tokens=0,
        device_sm_major=9,
        num_q_heads=64,
        _arange_buf=torch.arange(16384, dtype=torch.int32, device=table.device),
        _get_device_sm=lambda: 90,
        _is_blackwell=_no,
        _is_in_breakable_cuda_graph=_no,
        _is_in_tc_piecewise_cuda_graph=_no,
        _kv_shard_pool=None,
    )  # fmt: skip


def sequence(
    peer: SimpleNamespace, case: Case, a: dict[str, Any], ranks: int = 1, rank: int = 0
) -> Callable[[], Any]:
    """A function that runs the sequence and returns the metadata, of a rank of context
    parallelism.

    `a`: arrays of the device, ``slots``, and the host's lists ``lens`` and ``extends``.
    """
    backend = _backend(peer, case, a)
    lens, extends = a["lens"], a["extends"]
    parallel = None
    if ranks > 1:
        cp = importlib.import_module("sglang.srt.layers.cp.interleave")
        strategy = cp.InterleaveCPStrategy(ranks)
        importlib.import_module("sglang.srt.layers.cp.base")._STRATEGY = strategy
        parallel = strategy.build_metadata(sum(extends), lens, extends)
    batch = SimpleNamespace(
        batch_size=len(lens),
        forward_mode=EXTEND,
        seq_lens=a["seq_lens"],
        seq_lens_cpu=torch.tensor(lens),
        seq_lens_sum=sum(lens),
        extend_seq_lens=a["extend_seq_lens"],
        extend_seq_lens_cpu=extends,
        extend_prefix_lens_cpu=[s - e for s, e in zip(lens, extends)],
        extend_num_tokens=sum(extends),
        req_pool_indices=a["req_pool_indices"],
        # As the engine's scheduler has them: the plan of pools does not wait for them.
        req_pool_indices_cpu=a["req_pool_indices"].cpu(),
        get_max_chunk_capacity=lambda: 0,
        global_num_tokens_cpu=None,
        attn_cp_metadata=parallel,
    )

    def extend() -> Any:
        PARALLEL.attn_cp_size, PARALLEL.attn_cp_rank = ranks, rank
        backend.init_forward_metadata(batch)
        return backend.forward_metadata

    return extend


_PATHS = {
    "cache_seqlens": "cache_seqlens_int32",
    "seqlens_expanded": "dsa_seqlens_expanded",
    "nsa_cache_seqlens": "dsa_cache_seqlens_int32",
    "nsa_cu_seqlens_k": "dsa_cu_seqlens_k",
    "token_to_batch": "token_to_batch_idx",
    "pooled_seq_lens_expanded": "kpool_extend_plan.pooled_seq_lens_expanded",
    "concat_page_table": "kpool_extend_plan.ragged_concat_page_table",
    "q_ks": "kpool_extend_plan.ragged_q_ks",
    "q_ke": "kpool_extend_plan.ragged_q_ke",
    "pool_id": "kpool_extend_plan.writes.pool_id",
    "pool_owner_rank": "kpool_extend_plan.cp.owner_rank",
    "pool_local_write_mask": "kpool_extend_plan.cp.local_write_mask",
}


def field(metadata: Any, name: str) -> Any:
    """What the metadata has under nsa's name."""
    if name in ("ks", "ke"):
        return metadata.indexer_k_start_end[name == "ke"]
    path = _PATHS.get(name, name)
    for prefix, rows in (("pool_", "writes"), ("tail_", "tails")):
        if name.startswith(prefix) and name not in _PATHS:
            short = name.removeprefix(prefix)
            path = f"kpool_extend_plan.{rows}.{short}"
    value = metadata
    for part in path.split("."):
        value = getattr(value, part)
    return value
