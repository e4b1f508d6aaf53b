# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loads vLLM's metadata kernels, unmodified, from files of its wheel.

Importing vLLM as a whole pulls in a serving engine. Its kernels need little of it: within
``load_vllm`` the modules named in ``REAL`` are the wheel's own, and every other module of
vLLM is hollow: whatever is imported from it is a class that can be a base, a type or a
decorated thing, and does nothing. The kernels, their launchers and what binds the arguments
are vLLM's.
"""

from __future__ import annotations

import importlib
import logging
import sys
import types
from pathlib import Path
from typing import Any

from hollow import Finder

MODULES = {
    "metadata": "vllm.v1.attention.ops.metadata",
    "indexer": "vllm.v1.attention.backends.mla.indexer",
    "compressor_utils": "vllm.v1.attention.backends.mla.compressor_utils",
    "sparse_swa": "vllm.v1.attention.backends.mla.sparse_swa",
    "sparse_utils": "vllm.v1.attention.backends.mla.sparse_utils",
    "sparse_mla": "vllm.models.deepseek_v4.sparse_mla",
    "cache_utils_v4": "vllm.models.deepseek_v4.common.ops.cache_utils",
    "cache_utils_v41": "vllm.models.deepseek_v41.common.ops.cache_utils",
    "input_batch": "vllm.v1.worker.gpu.input_batch",
    "block_table": "vllm.v1.worker.gpu.block_table",
    "cp_utils": "vllm.v1.worker.gpu.cp_utils",
    "spec_decode_utils": "vllm.v1.spec_decode.utils",
    "speculator": "vllm.v1.worker.gpu.spec_decode.target_dependent_ar.speculator",
}
#: Those, and what makes kernels of them.
REAL = frozenset(
    {
        *MODULES.values(),
        "vllm.model_executor.warmup.jit_warmup",
        "vllm.model_executor.warmup.jit_warmup_triton_helper",
        "vllm.utils.math_utils",
        "vllm.v1.worker.gpu.buffer_utils",
    }
)


class _Platform:
    """A GPU of NVIDIA's; what is asked beyond that is answered with no."""

    device_type = "cuda"
    simple_compile_backend = "eager"

    @staticmethod
    def is_cuda() -> bool:
        return True

    is_cuda_alike = is_cuda

    @staticmethod
    def get_device_capability() -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: False


def _given(name: str) -> dict[str, Any]:
    """What kernels use of other modules."""
    import torch
    import triton
    import triton.language as tl

    def async_tensor_h2d(array: Any, device: Any, dtype: Any = None) -> Any:
        return torch.as_tensor(array, dtype=dtype, device=device)

    def device_view(tensor: Any) -> Any:
        """Pinned memory as a GPU sees it; the tensor itself where there is no GPU."""
        if not torch.cuda.is_available():
            return tensor
        interface = dict(tensor.numpy().__array_interface__, version=3, strides=None)
        view = types.SimpleNamespace(__cuda_array_interface__=interface)
        return torch.as_tensor(view, device="cuda")

    return {
        "vllm.triton_utils": {"triton": triton, "tl": tl, "HAS_TRITON": True},
        "vllm.platforms": {"current_platform": _Platform()},
        "vllm.logger": {"init_logger": logging.getLogger},
        "vllm.utils.import_utils": {"has_cutedsl": lambda: False},
        "vllm.utils.torch_utils": {
            "async_tensor_h2d": async_tensor_h2d,
            "get_accelerator_view_from_cpu_tensor": device_view,
        },
        "vllm.v1.attention.backends.utils": {"PAD_SLOT_ID": -1},
    }.get(name, {})


def load_vllm(path: str | Path) -> types.SimpleNamespace:
    """vLLM's kernel modules under `path`, a folder that holds ``vllm/``, by the names in
    ``MODULES``, and its ``version``. scripts/fetch_peers.sh makes such a folder.

    Raises ``FileNotFoundError`` without it, ``ImportError`` without torch and Triton.
    """
    root = Path(path).resolve()
    if not (root / "vllm/v1").is_dir():
        raise FileNotFoundError(
            f"no vllm/v1 under {root}; scripts/fetch_peers.sh puts it there"
        )
    taken = {"vllm", "transformers"}

    def loaded() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in taken]

    before = {name: sys.modules.pop(name) for name in loaded()}
    finder = Finder(root, taken, REAL.__contains__, _given)
    sys.meta_path.insert(0, finder)
    try:
        modules = {key: importlib.import_module(name) for key, name in MODULES.items()}
    finally:
        sys.meta_path.remove(finder)
        for name in loaded():
            # Kernels look their own module up when they are compiled.
            if name not in REAL:
                del sys.modules[name]
        sys.modules.update(before)
    version = (root / "VERSION").read_text().strip()
    return types.SimpleNamespace(version=version, name=f"vLLM {version}", **modules)
