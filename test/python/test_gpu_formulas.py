# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random formulas on a GPU.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from formula_cases import SHORT_REST, run, tasks

from nsa import _cache


def test_formulas(gpu: Any) -> None:
    compared = 0
    for task in tasks():
        module = _cache.get_module(task.program.text(), "cuda")
        compared += run(task, next(iter(module.values())), gpu)
    assert compared > 100_000


def test_bounds_of_16_bits(gpu: Any) -> None:
    (step,) = _cache.get_module(SHORT_REST, "cuda").values()
    rest = gpu.asarray(np.full(1000, 7, np.int16))
    step(n=1000, o=rest)
    assert gpu.asnumpy(rest).tolist() == [int(i > 1) for i in range(1000)]
