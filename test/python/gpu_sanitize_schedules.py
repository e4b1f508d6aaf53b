# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs schedules, alone and beside replays, on a GPU, for compute-sanitizer.

Kernels are compiled here, or come from NSA_BUNDLE_PATH.
"""

import cupy
import test_gpu_schedules as tests
from gpu_libraries import CupyArrays
from schedule_mix import MODES, replay, v4
from v4_cases import CASES


def main() -> None:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    gpu = CupyArrays()
    tests.test_runs(gpu)
    tests.test_chunks(gpu)
    tests.test_two_launches(gpu)
    tests.test_topk_plan(gpu)
    for name in ("decode", "verify", "ragged"):
        replay(bs=120, seed=4, more=True, gpu=gpu, **MODES[name])
    for case in CASES[:5]:
        v4(case, 1, gpu)


if __name__ == "__main__":
    main()
