# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Chunks of V4's sparse prefill on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import pytest
from prefill_v4_cases import CASES, run


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fields(case: tuple[bool, bool], gpu: Any) -> None:
    for seed in range(12):
        run(case, seed, gpu=gpu)
