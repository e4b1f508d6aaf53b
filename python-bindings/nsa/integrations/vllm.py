# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa's steps beside vLLM's own kernels, whose warm-up asks each what it has to compile.

    kernel = nsa.integrations.vllm.prebuilt(nsa.ops.replay_metadata, *texts)
    kernel.register_warmup()          # where vLLM's backends register theirs
    kernel(dsts, "decode", ...)       # nsa.ops.replay_metadata

vLLM (0.33.0) registers kernels while a model runner is set up, and before serving has each
name its compile keys and compile them. Such a kernel here answers that there are none: its
steps were compiled ahead, and it loads them onto the device when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._config import warmup

__all__ = ["prebuilt"]


def prebuilt(run: Callable[..., Any], *texts: str | bytes, device: int | None = None) -> Any:
    """A ``VllmJitKernel`` of vLLM that is called as `run` is, and whose warm-up is done: nothing
    is left to compile when the steps of `texts` are loaded.

    `texts`: nsa texts, as ``nsa.steps`` writes them, of the steps that `run` will launch; none for
    those that may be loaded by the first call. `device`: the CUDA device to load on, by default
    torch's current one when the warm-up runs.

    Raises ``ImportError`` if vLLM is not installed or has no such contract; the warm-up raises as
    ``nsa.warmup`` does.
    """
    from vllm.model_executor.warmup.jit_warmup import VllmJitKernel

    class Prebuilt(VllmJitKernel):  # type: ignore[misc]
        def get_warmup_keys(self, *args: Any, **kwargs: Any) -> list[Any]:
            if texts:
                warmup(*texts, device=_current_device() if device is None else device)
            return []

        def compile(self, compile_key: Any) -> None:
            raise RuntimeError(f"nsa's kernels have no compile keys, but got {compile_key!r}")

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return run(*args, **kwargs)

    return Prebuilt()


def _current_device() -> int:
    import torch

    return torch.cuda.current_device() if torch.cuda.is_available() else 0
