# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of DSA extends, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from dsa_rank_cases import draw, run


def test_fields(gpu: Any) -> None:
    for seed in range(12):
        for ranks, rank in ((2, 0), (3, 2), (8, 5)):
            run(draw(seed, "int64"), ranks, rank, gpu=gpu, bound=seed % 3 == 0)
