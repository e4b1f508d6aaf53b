# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs vLLM's metadata with hostile contents on a GPU, alone and in one launch, for
compute-sanitizer.

Kernels are compiled here, or come from NSA_BUNDLE_PATH.
"""

import cupy
from gpu_libraries import CupyArrays
from vllm_cases import CASES, GPU_DRAWS, run
from vllm_chains import run_chains
from vllm_draw import Draw


def main() -> None:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    gpu = CupyArrays()
    for make in CASES.values():
        for draw in GPU_DRAWS:
            run(make(Draw(**draw)), gpu=gpu)
    for seed in (0, 2):
        run_chains(seed, gpu)


if __name__ == "__main__":
    main()
