# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the steps of V4 and V4.1, of DSA extends and of pooled keys, with ranks, windows and
tables of TensorRT-LLM, on a GPU over hostile contents, for compute-sanitizer.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize_v4.py

Each array is an allocation of its own that ends where the array does. Kernels are compiled, or
found in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import cupy
import dsa_prefill_cases
import dsa_rank_cases
import kpool_cases
import prefill_v4_cases
import ragged_prefill_cases
import request_window_cases
import transform_cases
import v4_cases
import v4_plan_cases
import v4_rank_cases
import v4_trtllm_cases
import v4_window_cases
from gpu_libraries import CupyArrays

#: Odd ones draw hostile contents.
SEED = 1
RANKS = ((2, 0), (3, 2))


def runs(gpu: Any) -> Iterator[None]:
    for case in v4_cases.CASES:
        yield v4_cases.run(v4_cases.draw(case, SEED), gpu=gpu)
    yield v4_cases.run_drafts(steps=3, gpu=gpu)
    for case in v4_plan_cases.CASES:
        yield v4_plan_cases.run(case, SEED, gpu=gpu)
    for case in v4_window_cases.CASES:
        yield v4_window_cases.run(case, *v4_window_cases.draw(case, SEED), gpu=gpu)
    for case in v4_rank_cases.CASES:
        for ranks, rank in RANKS:
            yield v4_rank_cases.run(case, *v4_rank_cases.draw(case, SEED), ranks, rank, gpu=gpu)
    for case in v4_trtllm_cases.CASES:
        yield v4_trtllm_cases.run(case, SEED, gpu=gpu)
    for rows, dtype in ((1, "int64"), (65, "int32")):
        yield v4_trtllm_cases.run_tail(rows, 512, dtype, gpu=gpu)
    for seed in (SEED, SEED + 2):
        yield request_window_cases.run(request_window_cases.draw(seed, floors=seed == SEED), gpu)
    for seed in (SEED, SEED + 2, SEED + 4):
        batch = dsa_prefill_cases.draw(seed, "int64")
        yield dsa_prefill_cases.run(batch, gpu=gpu)
        for pool in dsa_prefill_cases.POOLS:
            yield dsa_prefill_cases.run_pools(batch, pool, gpu=gpu)
        for ranks, rank in RANKS:
            yield dsa_rank_cases.run(batch, ranks, rank, gpu=gpu, bound=seed == SEED)
    for case in kpool_cases.CASES:
        yield kpool_cases.run(case, SEED, gpu=gpu)
    for options, index in transform_cases.PAIRS:
        yield transform_cases.run(options, SEED, gpu=gpu, index=index)
    for ratio in (1, 2, 4):
        yield ragged_prefill_cases.run_rows(ratio, SEED, gpu=gpu)
    for case in ragged_prefill_cases.COMBINES:
        yield ragged_prefill_cases.run_combine(case, SEED, gpu=gpu)
    for case in prefill_v4_cases.CASES:
        for seed in (SEED, SEED + 2):
            yield prefill_v4_cases.run(case, seed, gpu=gpu)


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    print(f"{sum(1 for _ in runs(CupyArrays()))} cases equal to the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
