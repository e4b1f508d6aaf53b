# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs metadata copies on a GPU for compute-sanitizer.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize_copy.py

Each array is an allocation of its own, of exactly its size, so that memcheck sees every
step outside. Results are compared as in the tests.
"""

from __future__ import annotations

import sys

import cupy
from copy_cases import gpu_copy_cases, run_copies
from gpu_libraries import CupyArrays


class ExactArrays(CupyArrays):
    margin = 0


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    cases = gpu_copy_cases()
    run_copies(cases, ExactArrays())
    print(f"{len(cases)} cases equal to the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
