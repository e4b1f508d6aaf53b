# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loads kernels of other projects, unmodified, from an unpacked wheel.

Importing SGLang as a whole pulls in a serving engine. Its kernels need little
of it, so the packages around them are stubs here: their `__init__` does not
run, but what they contain is found where it lies. Two modules are replaced,
`sglang.srt.utils.common` and `sglang.kernels.ops.quantization.fp8_kernel`, and two
names in `sglang.srt.utils`: the kernels use a one-line function or two of each. The
kernels, their launchers and their JIT compilation are the peer's own files.

Of sparse prefill there may be several releases side by side, each with what it imports.

    python benchmarks/peers.py .peers/sglang     # compiles what the benchmarks use
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The packages whose __init__ is not run.
_STUBBED_PACKAGES = (
    "sglang",
    "sglang.kernels",
    "sglang.kernels.ops",
    "sglang.kernels.ops.attention",
    "sglang.kernels.ops.attention.dsa",
    "sglang.kernels.ops.attention.dsv4",
    "sglang.kernels.ops.quantization",
    "sglang.srt",
    "sglang.srt.layers",
    "sglang.srt.layers.attention",
    "sglang.srt.layers.attention.dsv4",
    "sglang.srt.utils",
)


@dataclass(frozen=True)
class SGLang:
    version: str
    fused_dsa_decode_metadata: Callable[..., None]
    fused_dsa_target_verify_metadata: Callable[..., None]
    fused_dsa_draft_extend_metadata: Callable[..., None]
    fused_metadata_copy_cuda: Callable[..., None]
    fused_metadata_copy_multi_cuda: Callable[..., None]
    # Returns the rows' lengths.
    seqlens_expand_triton: Callable[..., Any]
    # Returns the rows: DeepSeek V3.2's dequantisation of a paged cache.
    dequantize_k_cache_paged_dsa: Callable[..., Any]

    @property
    def name(self) -> str:
        return f"SGLang {self.version}"


@dataclass(frozen=True)
class Schedules:
    """What makes schedules of attention kernels."""

    # Both return the schedule.
    get_paged_mqa_logits_metadata: Callable[..., Any]
    plan_topk_v2: Callable[..., Any]
    flashmla_sched_meta: Callable[..., None]


@dataclass(frozen=True)
class SparsePrefill:
    """What a release has for DeepSeek V4's sparse prefill. Arguments differ."""

    version: str
    dequantize: Callable[..., Any]
    build_swa_token_ids: Callable[..., tuple[Any, ...]]
    # The Triton kernel that the former launches after some operations of torch.
    swa_token_ids_kernel: Any
    combine_topk_swa_indices: Callable[..., tuple[Any, Any]]
    # What it prepares once for a chunk.
    chunk_cache: Any

    @property
    def name(self) -> str:
        return f"SGLang {self.version}"


def _stub_package(name: str, directory: Path) -> None:
    module = types.ModuleType(name, "A stub: see benchmarks/peers.py.")
    module.__path__ = [str(directory)]
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _stub_common_utilities() -> None:
    import torch

    common = types.ModuleType("sglang.srt.utils.common", "A stub.")
    common.is_cuda = lambda: torch.version.cuda is not None  # type: ignore[attr-defined]
    common.get_cuda_version = lambda: tuple(  # type: ignore[attr-defined]
        map(int, (torch.version.cuda or "0.0").split("."))
    )

    def async_h2d(args: list[Any], *, dtype: Any, device: Any) -> Any:
        """Does not wait: from pinned memory."""
        host = torch.tensor(args, dtype=dtype, pin_memory=torch.cuda.is_available())
        return host.to(device, non_blocking=True)

    common.async_h2d = async_h2d  # type: ignore[attr-defined]
    sys.modules[common.__name__] = common
    fp8 = types.ModuleType("sglang.kernels.ops.quantization.fp8_kernel", "A stub.")
    fp8.is_fp8_fnuz = lambda: False  # type: ignore[attr-defined]
    sys.modules[fp8.__name__] = fp8
    utils = sys.modules["sglang.srt.utils"]
    utils.is_gfx95_supported = lambda: False  # type: ignore[attr-defined]
    utils.is_xpu = lambda: False  # type: ignore[attr-defined]
    utils.ceil_align = lambda x, y: -(-x // y) * y  # type: ignore[attr-defined]


def _stub(root: Path) -> None:
    """Lets `sglang` mean the release under `root`."""
    for name in _STUBBED_PACKAGES:
        _stub_package(name, root / name.replace(".", "/"))
    _stub_common_utilities()


def _forget() -> dict[str, types.ModuleType]:
    """Takes `sglang` out of the modules, and returns what it was."""
    names = [name for name in sys.modules if name.partition(".")[0] == "sglang"]
    return {name: sys.modules.pop(name) for name in names}


@contextmanager
def _release(root: Path) -> Iterator[str]:
    """Within, `sglang` means the release under `root`, whose version is given."""
    before = _forget()
    try:
        _stub(root)
        yield _version(root)
    finally:
        _forget()
        sys.modules.update(before)


def _version(root: Path) -> str:
    return (root / "VERSION").read_text().strip()


def _root(path: str | Path) -> Path:
    root = Path(path).resolve()
    if not (root / "sglang/kernels").is_dir():
        raise FileNotFoundError(
            f"no sglang/kernels under {root}; scripts/fetch_peers.sh puts it there"
        )
    return root


def load_sglang(path: str | Path) -> SGLang:
    """The SGLang kernels under `path`, a folder that holds `sglang/`.

    scripts/fetch_peers.sh makes one. Their CUDA part needs nvcc, ninja, and
    the packages apache-tvm-ffi and msgspec.
    """
    root = _root(path)
    if "sglang" in sys.modules:
        raise RuntimeError("another sglang is imported already")
    _stub(root)
    triton_kernels = importlib.import_module(
        "sglang.kernels.ops.attention.dsa.metadata"
    )
    cuda_kernels = importlib.import_module(
        "sglang.kernels.ops.attention.dsa.fused_metadata_copy"
    )
    pad = importlib.import_module("sglang.kernels.ops.attention.pad")
    dequant = importlib.import_module(
        "sglang.kernels.ops.attention.dsa.dequant_k_cache"
    )
    return SGLang(
        version=_version(root),
        **{
            f"fused_dsa_{mode}_metadata": getattr(
                triton_kernels, f"fused_dsa_{mode}_metadata"
            )
            for mode in ("decode", "target_verify", "draft_extend")
        },
        fused_metadata_copy_cuda=cuda_kernels.fused_metadata_copy_cuda,
        fused_metadata_copy_multi_cuda=cuda_kernels.fused_metadata_copy_multi_cuda,
        seqlens_expand_triton=pad.seqlens_expand_triton,
        dequantize_k_cache_paged_dsa=dequant.dequantize_k_cache_paged_dsa,
    )


def load_schedules() -> Schedules:
    """The kernels of schedules, after ``load_sglang``, of the same release. Their JIT needs what
    that says."""
    package = "sglang.kernels.ops.attention.dsv4"
    return Schedules(
        importlib.import_module(f"{package}.attn").get_paged_mqa_logits_metadata,
        importlib.import_module(f"{package}.topk").plan_topk_v2,
        importlib.import_module(f"{package}.flashmla_sched_meta").flashmla_sched_meta,
    )


def load_sparse_prefill(path: str | Path) -> list[SparsePrefill]:
    """Sparse prefill of the release under `path` and of those in the folders beside it
    that are named `path`-VERSION."""
    newest = _root(path)
    return [
        _load_sparse_prefill(root)
        for root in [newest, *sorted(newest.parent.glob(f"{newest.name}-*"))]
    ]


def _load_sparse_prefill(root: Path) -> SparsePrefill:
    with _release(root) as version:
        kernels = "sglang.kernels.ops.attention.dsv4"
        dequant = importlib.import_module(f"{kernels}.dequant_k_cache")
        prefill = importlib.import_module(f"{kernels}.sparse_prefill_kernels")
        chunk = importlib.import_module(
            "sglang.srt.layers.attention.dsv4.sparse_prefill_utils"
        )
        return SparsePrefill(
            version=version,
            dequantize=getattr(dequant, "dequantize_k_cache_paged_dsv4", None)
            or dequant.dequantize_k_cache_paged,  # as older releases call it
            build_swa_token_ids=chunk.build_swa_token_ids,
            swa_token_ids_kernel=prefill._build_swa_token_ids_kernel,
            combine_topk_swa_indices=chunk.combine_topk_swa_indices,
            chunk_cache=chunk.SparsePrefillChunkCache,
        )


def compile_sglang(path: str | Path) -> None:
    """Compiles the CUDA kernels that the benchmarks use into its JIT cache."""
    load_sglang(path)
    module = sys.modules["sglang.kernels.ops.attention.dsa.fused_metadata_copy"]
    # Each is a run of nvcc.
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(module._jit_fused_metadata_copy_multi_module, True, False)]
        for mode in range(3):
            jobs.append(
                pool.submit(module._jit_fused_metadata_copy_module, mode, True, False)
            )
        for job in jobs:
            job.result()


if __name__ == "__main__":
    compile_sglang(sys.argv[1])
    print("compiled")
