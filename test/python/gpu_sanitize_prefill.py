# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs sparse prefill on a GPU over hostile contents, for compute-sanitizer.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize_prefill.py

Each array is an allocation of its own that ends where the array does. Kernels are
compiled, or found in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import cupy
from gpu_sanitize_dequant import ExactArrays
from prefill_cases import CorruptProblem, cases, corrupt_cases
from prefill_step_cases import CHUNK, chunk_cases

from nsa import _cache


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    arrays = ExactArrays()
    problems = [replace(case, contents="hostile").problem(arrays) for case in cases()]
    problems += [CorruptProblem(case, arrays) for case in corrupt_cases()]
    chunk = _cache.get_step("prefill_chunk", CHUNK, "cuda")
    chunks = [case.problem(arrays) for case in chunk_cases()]
    for problem in problems:
        problem.run()
    for problem in chunks:
        problem.run_step(chunk)
    cupy.cuda.Device().synchronize()
    for problem in problems + chunks:
        problem.check()
    print(f"{len(problems + chunks)} cases equal to the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
