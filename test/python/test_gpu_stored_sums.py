# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sums that a launch before stores, on a GPU; skipped, with the reason, where there is none."""

from __future__ import annotations

from typing import Any

import pytest
from stored_sums_cases import SIZES, build, check

from nsa import _cache


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("inclusive", [False, True])
def test_stored_sums(gpu: Any, dtype: str, inclusive: bool) -> None:
    module = _cache.get_module(build(dtype, inclusive).text, "cuda")
    step = next(iter(module.values()))
    for n in SIZES:
        check(step, dtype, inclusive, n, 5000, gpu.asarray, gpu.asnumpy)
