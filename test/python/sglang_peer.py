# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loads SGLang's own metadata functions, unmodified, from files of its wheel.

The modules named in ``MODULES``, and those that they are made of, are the wheel's; all else of
SGLang is hollow. A process of its own is best: what is imported when a kernel first runs comes
from here, too.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from hollow import Finder  # noqa: E402

MODULES = {
    "rows": "sglang.kernels.ops.attention.dsv4.attn_metadata_kernels",
    "fields": "sglang.kernels.ops.attention.dsv4.metadata_kernel",
    "plans": "sglang.kernels.ops.attention.dsv4.compress",
    "prefill": "sglang.srt.layers.attention.dsv4.sparse_prefill_utils",
    "indexer": "sglang.srt.layers.attention.dsv4.v41_indexer.scoring",
    "metadata": "sglang.srt.layers.attention.dsv4.metadata",
    "windows": "sglang.srt.mem_cache.dsv41_request_window",
    "layouts": "sglang.kernels.ops.kvcache.dsv41_window_layout",
    "blocks": "sglang.kernels.ops.speculative.dspark.dspark_attn_metadata",
    "transform": "sglang.kernels.ops.attention.dsa.transform_index",
    "fused_decode": "sglang.kernels.ops.attention.dsa.kpool_metadata.decode",
    "fused_target_verify": "sglang.kernels.ops.attention.dsa.kpool_metadata.verify",
    "fused_draft_extend": "sglang.kernels.ops.attention.dsa.kpool_metadata.draft_extend",
    "kpool": "sglang.srt.layers.attention.dsa.kpool_fp8_index",
    "kpool_plan": "sglang.srt.layers.attention.dsa.kpool_plan",
    "dsa": "sglang.srt.layers.attention.dsa.utils",
    "backend": "sglang.srt.layers.attention.deepseek_v4_backend",
    "shares": "sglang.kernels.ops.attention.dsa.cp_split",
    "cp": "sglang.srt.layers.cp.interleave",
    "trtllm": "sglang.kernels.ops.attention.dsv4.trtllm_metadata",
}
REAL = frozenset(
    {
        *MODULES.values(),
        "sglang.kernels.ops.attention.dsa.kpool_metadata.scan",
        "sglang.kernels.ops.attention.dsv4.dequant_k_cache",
        "sglang.kernels.ops.attention.dsv4.kv_layout",
        "sglang.kernels.ops.attention.dsv4.sparse_prefill_kernels",
        "sglang.kernels.ops.attention.dsv4.utils",
        "sglang.kernels.ops.speculative.dspark.dispatch",
        "sglang.srt.environ",
        "sglang.srt.layers.cp.base",
    }
)


#: Which rank of context parallelism SGLang is on.
PARALLEL = SimpleNamespace(attn_cp_size=1, attn_cp_rank=0)


def _real(name: str) -> bool:
    return name in REAL or f"{name}.".startswith("sglang.kernels.jit.")


def _no(*_: Any, **__: Any) -> bool:
    return False


def _given(name: str) -> dict[str, Any]:
    """What the functions use of other modules."""
    import torch

    def async_h2d(args: Any, *, dtype: Any, device: Any) -> Any:
        return torch.tensor(args, dtype=dtype, device=device)

    utils = {
        "is_cuda": lambda: torch.version.cuda is not None,
        "get_cuda_version": lambda: tuple(map(int, (torch.version.cuda or "0.0").split("."))),
        "ceil_align": lambda x, y: -(-x // y) * y,
        "ceil_div": lambda x, y: -(-x // y),
        "async_h2d": async_h2d,
        **dict.fromkeys(
            ("is_cpu", "is_gfx95_supported", "is_hip", "is_musa", "is_npu", "is_sm120_supported",
             "is_xpu", "get_bool_env_var"),
            _no,
        ),
    }  # fmt: skip
    return {
        "sglang.srt.utils": utils,
        "sglang.srt.utils.common": utils,
        "sglang.srt.runtime_context": {
            "get_parallel": lambda: PARALLEL,
            "get_platform": lambda: SimpleNamespace(is_sm120=False),
        },
        "sglang.kernels.ops.attention.flash_mla_interface": {
            "get_mla_metadata": lambda: (None, None)
        },
        # Checks that the engine can be told to make.
        "sglang.srt.utils.invariants": {"resolve_level": lambda: 0},
        "sglang.kernels.ops.quantization.fp8_kernel": {"is_fp8_fnuz": _no},
    }.get(name, {})


def load(path: str | Path) -> SimpleNamespace:
    """The modules by the names in ``MODULES``, and their ``version``, from `path`, a folder
    that holds ``sglang/`` (scripts/fetch_peers.sh). Plans need nvcc, ninja, apache-tvm-ffi.

    Raises ``FileNotFoundError`` without the files, ``ImportError`` without torch or Triton.
    """
    root = Path(path).resolve()
    if not (root / "sglang/kernels/ops/attention/dsa/transform_index.py").is_file():
        raise FileNotFoundError(
            f"no metadata functions under {root}; scripts/fetch_peers.sh puts them there"
        )
    if "sglang" in sys.modules:
        raise RuntimeError("another sglang is imported already")
    sys.meta_path.insert(0, Finder(root, {"sglang"}, _real, _given))
    modules = {key: importlib.import_module(name) for key, name in MODULES.items()}
    version = (root / "VERSION").read_text().strip()
    return SimpleNamespace(version=version, parallel=PARALLEL, **modules)
