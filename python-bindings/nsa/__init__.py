# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Metadata steps of LLM serving engines, compiled to one GPU kernel.

    mod   = nsa.compile(text_or_path, target="cuda")   # needs the compiler
    mod   = nsa.load(directory)                        # needs only the runtime
    step  = mod["decode_replay"]
    step(seq_lens=..., ..., stream=None)               # arrays by name
    bound = step.bind(seq_lens=..., ...)               # checked once
    bound.launch(stream=None, bs=..., max_len=...)     # the cheapest launch
    nsa.warmup(text, ...)                              # compile and load ahead

Arrays are anything with DLPack (torch, CuPy, JAX, NumPy), all of one device: CUDA
arrays launch the step's PTX, CPU arrays run its host kernels. Shapes and strides
are in elements, sizes are counts from 0 to 2**31 - 1.

A failed check raises ``ValueError`` or ``TypeError`` that names the argument, what
was expected and what came, and nothing is launched or written. ``DriverError`` (a
``RuntimeError``) says that the machine lacks a driver, a device or a kernel for the
arrays' device; ``CompileError`` carries the compiler's diagnostics. ``Step.check`` raises
``AccessError`` for what kernels that were compiled with ``guards=True`` have recorded.

CUDA arrays launch on `stream`: an int, or an object with ``cuda_stream``, ``ptr`` or
``__cuda_stream__``; None stands for the current stream of the arrays' producer, or else the
legacy default stream. A launch allocates nothing and waits for nothing, so a stream may be
captured; kernels are loaded when a step is first bound on a device. Steps and modules may be
used by any number of threads at once, a ``Binding`` by one at a time.

``nsa.build`` writes steps as Python expressions. ``nsa.ops`` has ready-made operations,
``nsa.steps`` the texts behind them, ``nsa.torch`` has them as custom operators of torch, and
``nsa.compat.sglang`` under SGLang's names; ``nsa.integrations.sglang`` puts these into an
installed SGLang. ``nsa.plan`` decides sizes on the host, ``nsa.tvm_ffi`` makes modules of
steps that engines load. What was compiled is kept on disk (``NSA_CACHE_DIR``); ``NSA_TARGET``
restricts where steps run, ``nsa.simt`` runs their PTX on the CPU and checks it, and
``nsa.config()`` says what is in use and why, as does ``python -m nsa info``.
"""

from ._extension import extension

# First: whatever is wrong with it is to be said here.
extension("_nsa_runtime")

from . import build, layouts, ops, plan, steps  # noqa: E402
from ._accesses import Access, AccessError  # noqa: E402
from ._compile import CompileError, compile, has_compiler  # noqa: E402
from ._config import config, warmup  # noqa: E402
from ._module import (  # noqa: E402
    Binding,
    DriverError,
    GraphNode,
    Module,
    Step,
    device_count,
    load,
)

__version__ = "0.1.0"

__all__ = [
    "Access",
    "AccessError",
    "Binding",
    "CompileError",
    "DriverError",
    "GraphNode",
    "Module",
    "Step",
    "build",
    "compile",
    "config",
    "device_count",
    "has_compiler",
    "layouts",
    "load",
    "ops",
    "plan",
    "steps",
    "warmup",
]
