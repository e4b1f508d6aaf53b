# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values put together in ways that no ready-made operation does, for compute-sanitizer.

    compute-sanitizer --tool memcheck python gpu_sanitize_composed.py
"""

from __future__ import annotations

import cupy
from composed_cases import cases, run
from gpu_libraries import CupyArrays

from nsa import _cache


def main() -> None:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    gpu, count = CupyArrays(), 0
    for case in cases():
        module = _cache.get_module(case.text, "cuda")
        run(case, next(iter(module.values())), gpu)
        count += 1
    print(f"{count} composed cases equal the reference")


if __name__ == "__main__":
    main()
