# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays that a step reads and writes, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import pytest
from inout_cases import SIZES, check, updated

from nsa import _cache


@pytest.mark.parametrize("sizes", [*SIZES, (70001, 300, 4097)])
def test_updates(gpu: Any, sizes: tuple[int, int, int]) -> None:
    step = _cache.get_step("updated", updated.text, "cuda")
    check(step, *sizes, gpu.asarray, gpu.asnumpy, launches=3)
