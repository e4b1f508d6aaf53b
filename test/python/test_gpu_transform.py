# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Index transforms on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from transform_cases import PAIRS, run


def test_slots(gpu: Any) -> None:
    for options, index in PAIRS:
        for seed in range(12):
            run(options, seed, gpu=gpu, index=index)
