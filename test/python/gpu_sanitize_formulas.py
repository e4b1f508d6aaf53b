# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs random formulas and stores on a GPU, for compute-sanitizer.

Kernels are compiled here, or come from NSA_BUNDLE_PATH.
"""

import cupy
import numpy as np
from formula_cases import run as run_formulas
from formula_cases import tasks
from gpu_libraries import CupyArrays
from stores_cases import FIELDS, build, make_case

from nsa import _cache


def main() -> None:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    gpu = CupyArrays()
    for task in tasks(range(4)):
        module = _cache.get_module(task.program.text(), "cuda")
        run_formulas(task, next(iter(module.values())), gpu)
    step = _cache.get_step("stores", build().text, "cuda")
    for seed, fields in enumerate([FIELDS, (), FIELDS[:3], FIELDS[4:]]):
        case = make_case(np.random.default_rng(seed), hostile=True)
        case.check(step, fields, gpu.asarray, gpu.asnumpy)


if __name__ == "__main__":
    main()
