# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's own sequence for the metadata of a V4 or V4.1 step: its attention backend, unmodified,
with a pool, a batch and constants that stand for the engine's.

The backend's module and those of its metadata kernels are the wheel's own; all else of SGLang is
hollow. Left out are what nsa's step beside it does not have either: schedules of indexers and
of attention. Of a draft extend, the copy into the buffers of a captured graph is left out.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hollow import Finder
from v4_steps import PAGE, SWA_PAGE, TOPK, Case

_KERNELS = "sglang.kernels.ops.attention.dsv4"
_PREFILL = "sglang.srt.layers.attention.dsv4.sparse_prefill_utils"
_BACKEND = "sglang.srt.layers.attention.deepseek_v4_backend"
REAL = frozenset(
    {
        *(
            f"{_KERNELS}.{name}"
            for name in (
                "attn_metadata_kernels", "metadata_kernel", "compress", "kv_layout", "utils",
                "dequant_k_cache", "sparse_prefill_kernels",
            )
        ),
        _BACKEND,
        "sglang.srt.environ",
        "sglang.srt.layers.attention.dsv4.compressor_v2",
        "sglang.srt.layers.attention.dsv4.dsv41_sparse",
        "sglang.srt.layers.attention.dsv4.metadata",
        _PREFILL,
        "sglang.srt.speculative.eagle_utils",
    }
)  # fmt: skip


def _real(name: str) -> bool:
    return name in REAL or f"{name}.".startswith("sglang.kernels.jit.")


def _no(*_: Any, **__: Any) -> bool:
    return False


def _copy(values: Any, *, dtype: Any, device: Any) -> Any:
    """As the engine copies a list: from pinned memory, without a wait."""
    made = torch.tensor(values, dtype=dtype, pin_memory=torch.cuda.is_available())
    return made.to(device, non_blocking=True)


def _given(name: str) -> dict[str, Any]:
    """What the backend and the kernels use of other modules."""
    platform = {
        "is_cuda": lambda: torch.version.cuda is not None,
        "get_cuda_version": lambda: tuple(
            map(int, (torch.version.cuda or "0.0").split("."))
        ),
        "ceil_align": lambda x, y: -(-x // y) * y,
        "ceil_div": lambda x, y: -(-x // y),
        "async_h2d": _copy,
        **dict.fromkeys(
            ("is_xpu", "is_hip", "is_npu", "is_cpu", "is_musa", "is_gfx95_supported",
             "is_sm120_supported"), _no,
        ),
    }  # fmt: skip
    return {
        "sglang.srt.utils": platform,
        "sglang.srt.utils.common": platform,
        "sglang.srt.runtime_context": {
            "get_parallel": lambda: SimpleNamespace(attn_cp_size=1, attn_cp_rank=0),
            "get_platform": lambda: SimpleNamespace(is_sm120=False),
        },
        "sglang.srt.model_executor.runner_utils.capture_mode": {
            "skip_low_ratio_indexer": _no
        },
        "sglang.kernels.ops.attention.flash_mla_interface": {
            "get_mla_metadata": lambda: (None, None)
        },
        "sglang.kernels.ops.quantization.fp8_kernel": {"is_fp8_fnuz": _no},
    }.get(name, {})


def load(path: str | Path) -> SimpleNamespace:
    """The backend's module and its version, from `path`, a folder that holds ``sglang/``
    (scripts/fetch_peers.sh). Compiling its plans needs nvcc, ninja and apache-tvm-ffi.

    Modules stay as they are: what is imported when a kernel first runs comes from them, too.
    """
    root = Path(path).resolve()
    if not (root / (_BACKEND.replace(".", "/") + ".py")).is_file():
        raise FileNotFoundError(
            f"no V4 backend under {root}; scripts/fetch_peers.sh puts it there"
        )
    if "sglang" in sys.modules:
        raise RuntimeError("another sglang is imported already")
    sys.meta_path.insert(0, Finder(root, {"sglang"}, _real, _given))
    compress = importlib.import_module(f"{_KERNELS}.compress")
    package = sys.modules[_KERNELS]
    for name in ("CompressorDecodePlan", "CompressorPrefillPlan"):
        setattr(package, name, getattr(compress, name))
    version = (root / "VERSION").read_text().strip()
    return SimpleNamespace(
        version=version,
        name=f"SGLang {version}",
        backend=importlib.import_module(_BACKEND),
        prefill=importlib.import_module(_PREFILL),
    )


class _Pool(SimpleNamespace):
    """What the backend asks of the pool of keys and values."""

    def translate_loc_from_full_to_swa(self, locations: Any) -> Any:
        return self.full_to_swa_index_mapping[locations]

    def get_ring_size(self, compress_ratio: int) -> int:
        return self.rings[compress_ratio == 128]


def _backend(peer: SimpleNamespace, case: Case, a: dict[str, Any], step: int) -> Any:
    module = peer.backend

    class Backend(module.DeepseekV4AttnBackend):  # type: ignore[name-defined,misc]
        """With its state set, and no engine asked for it."""

        low_ratio_prefill_graph = any(q < 4 for q in case.ratios)

        def __init__(self, **state: Any) -> None:
            vars(self).update(state)

        def init_forward_metadata_indexer(
            self, core: Any, *, compress_ratio: int = 4, **_: Any
        ) -> Any:
            """Its tables without its schedules."""
            table = core.page_table
            if compress_ratio < 4:
                table = module.expand_index_page_table(
                    table, full_page_size=self.page_size, compress_ratio=compress_ratio,
                    index_page_size=64,
                )  # fmt: skip
            return SimpleNamespace(page_table=table)

    pool = _Pool(
        request_window=None,
        swa_req_ring_size=None,
        full_to_swa_index_mapping=a["full_to_swa"],
        swa_page_size=SWA_PAGE,
        rings=case.rings,
        _unified_kv=False,
    )
    device = a["seq_lens"].device
    return Backend(
        page_size=PAGE,
        index_topk=TOPK,
        device=device,
        cuda_int32_kwargs={"device": device, "dtype": torch.int32},
        req_to_token=a["req_to_token"],
        token_to_kv_pool=pool,
        present_ratios=case.ratios,
        low_ratios=tuple(q for q in case.ratios if q < 4),
        has_c4=4 in case.ratios,
        has_c128=128 in case.ratios,
        MAX_SEQ_LEN_FOR_CAPTURE=a["req_to_token"].shape[1],
        encoder_replay=False,
        encoder_row_floor=None,
        is_dspark_draft=False,
        trtllm_attn=False,
        topk=1 if case.steps > 1 else 0,
        speculative_num_steps=case.steps,
        speculative_num_draft_tokens=case.next_n,
        speculative_step_id=step,
        online_c128_mtp=SimpleNamespace(state_slot_offset=lambda: 0),
        cuda_graph_swa_out_cache_loc=torch.zeros_like(
            a["out_cache_loc"], dtype=torch.int32
        ),
        _early_verify_metadata_ids=set(),
    )


def sequence(peer: SimpleNamespace, case: Case, a: dict[str, Any]) -> Any:
    """A function that runs the sequence and returns the metadata of each step."""
    backends = [_backend(peer, case, a, step) for step in range(case.steps)]
    lens, pool, locations = a["seq_lens"], a["req_pool_indices"], a["out_cache_loc"]
    bs, module = len(lens), peer.backend
    if case.mode == "draft_extend":

        def extend() -> list[Any]:
            return [
                backends[0].init_forward_metadata_draft_extend(
                    pool, lens, case.next_n, locations
                )
            ]

        return extend
    decode = case.mode == "decode"
    batch = SimpleNamespace(
        batch_size=bs,
        seq_lens=lens,
        req_pool_indices=pool,
        out_cache_loc=locations,
        positions=lens - 1,
        forward_mode=SimpleNamespace(
            is_decode=lambda: decode,
            is_decode_or_idle=lambda: decode,
            is_target_verify=lambda: not decode,
        ),
    )
    step_locations = locations.view(bs, case.steps).t().contiguous() if decode else [locations]
    if decode:
        raws = [
            module.DSV4RawDecodeMetadata(pool, lens, of_step) for of_step in step_locations
        ]
    else:
        rows = torch.full((bs,), case.next_n, dtype=torch.int32, device=lens.device)
        raws = [
            module.DSV4RawVerifyMetadata(
                pool, lens, locations, rows, total_verify_tokens=bs * case.next_n
            )
        ]

    def in_graph() -> list[Any]:
        for backend, raw in zip(backends, raws):
            backend.forward_metadata = raw
            backend.init_forward_metadata_in_graph(batch)
        return [backend.forward_metadata for backend in backends]

    return in_graph


def extend(peer: SimpleNamespace, case: Case, a: dict[str, Any], rows: int) -> Any:
    """A function that makes the metadata of an extend as for a captured graph, of so many rows
    with padding; `a` has ``extend_seq_lens`` as well, and the host's lists of both lengths."""
    extends = a["extends"]
    starts = torch.tensor(
        [sum(extends[:b]) for b in range(len(extends))], dtype=torch.int32
    ).to(a["seq_lens"].device)
    backend = _backend(peer, case, a, 0)

    def prefill() -> Any:
        return backend.init_forward_metadata_prefill(
            a["req_to_token"].shape[1], a["req_pool_indices"], a["seq_lens"], a["lens"],
            a["out_cache_loc"][:rows], sum(extends), a["extend_seq_lens"], extends, starts,
            use_prefill_cuda_graph=True,
        )  # fmt: skip

    return prefill


def field(metadata: Any, name: str) -> Any:
    """What the metadata has under nsa's name."""
    core = metadata.core_attn_metadata
    if name in ("req_indices", "pos_i64", "extend_offsets"):
        return getattr(metadata, f"low_ratio_{name}")
    if name.endswith("_index_page_table"):
        return getattr(metadata, f"{name.split('_')[0]}_indexer_metadata").page_table
    ratio, _, plan = name.partition("_")
    if plan.startswith("plan_"):
        plans = getattr(metadata, f"{ratio}_compress_metadata")
        return getattr(plans, plan).view(torch.int32)
    return getattr(core, name)
