# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where elements go, on a GPU: computed places, conditions, missing arrays.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stores_cases import FIELDS, build, make_case, subsets

from nsa import _cache


@pytest.fixture(scope="module")
def step(gpu: Any) -> Any:
    return _cache.get_step("stores", build().text, "cuda")


@pytest.mark.parametrize("hostile", [False, True])
def test_stores(gpu: Any, step: Any, hostile: bool) -> None:
    for seed in range(20):
        make_case(np.random.default_rng(seed), hostile=hostile).check(
            step, FIELDS, gpu.asarray, gpu.asnumpy
        )


def test_every_subset_of_fields(gpu: Any, step: Any) -> None:
    case = make_case(np.random.default_rng(7), rows=300)
    for fields in subsets(FIELDS):
        case.check(step, fields, gpu.asarray, gpu.asnumpy)
