# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs dequantisations on a GPU over hostile ids and places, for compute-sanitizer.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize_dequant.py

Each array is an allocation of its own that ends where the array does. Kernels are
compiled, or found in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import cupy
from dequant_cases import Problem, cases
from gpu_libraries import CupyArrays


class ExactArrays(CupyArrays):
    margin = 0


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    count = 0
    for case in cases():
        if 0 in (case.tokens, case.pages):
            continue
        problem = Problem(replace(case, ids="hostile"), ExactArrays())
        problem.run()
        cupy.cuda.Device().synchronize()
        problem.check()
        count += 1
    print(f"{count} cases equal to the reference")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
