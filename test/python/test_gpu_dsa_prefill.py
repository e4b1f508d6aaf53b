# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""DSA extends on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from dsa_prefill_cases import POOLS, draw, run, run_pools


def test_fields(gpu: Any) -> None:
    for dtype in ("int32", "int64"):
        for seed in range(40):
            run(draw(seed, dtype), gpu=gpu)
            for pool in POOLS:
                run_pools(draw(seed, dtype), pool, gpu=gpu)
