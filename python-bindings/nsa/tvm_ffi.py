# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps as modules of tvm-ffi, the ABI whose libraries SGLang and FlashInfer load.

    nsa.tvm_ffi.build(text_or_path, directory)          # needs the compiler, and a C compiler
    mod = tvm_ffi.load_module("directory/lengths.ffi.so")
    mod.lengths(None, seq_lens, b0_lens, b0_cu, b1_lens)
    mod.lengths_load(0)                                 # the kernels of a GPU, ahead

A module is linked against nothing: it finds tvm-ffi in the process that loads it, and the
CUDA driver when the first CUDA tensor comes. Arguments stand in the order of the step's
ports (``mod.get_function_doc("lengths")`` shows them); a size that is None is that of the
dimensions that name it. CUDA tensors launch on the current stream of the ABI's environment,
CPU tensors run the host kernels. Failed checks are ``ValueError`` or ``TypeError`` that name
the argument, and nothing is launched then.
"""

from __future__ import annotations

import os
from typing import Any

from . import _compile
from ._files import write_whole

__all__ = ["build"]


def build(
    text_or_path: Any,
    directory: str | os.PathLike[str],
    chip: str | None = None,
    fuse: bool = True,
    guards: bool = False,
    *,
    pdl: bool = False,
) -> list[str]:
    """Writes ``NAME.ffi.so`` for every step of a text into `directory`, which is made if it is
    missing, and returns the paths. Arguments as of ``nsa.compile``.

    Raises ``CompileError`` as ``nsa.compile`` does, ``RuntimeError`` without a C compiler,
    ``OSError`` if a file cannot be written.
    """
    made = _compile.ffi_modules(text_or_path, chip, fuse, guards, pdl)
    directory = os.fsdecode(directory)
    os.makedirs(directory, exist_ok=True)
    paths = []
    for name, library in made:
        write_whole(directory, f"{name}.ffi.so", library)
        paths.append(os.path.join(directory, f"{name}.ffi.so"))
    return paths
