# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of V4's steps, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from v4_rank_cases import CASES, draw, run


def test_fields(gpu: Any) -> None:
    for case in CASES:
        for seed in range(3):
            for ranks, rank in ((2, 0), (3, 2), (8, 5)):
                run(case, *draw(case, seed), ranks, rank, gpu=gpu)
