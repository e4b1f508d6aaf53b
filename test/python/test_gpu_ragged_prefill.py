# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ragged compressed rows, and indices with given windows, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from ragged_prefill_cases import COMBINES, run_combine, run_rows


def test_all(gpu: Any) -> None:
    for seed in range(12):
        for ratio in (1, 2, 4):
            run_rows(ratio, seed, gpu=gpu)
        for case in COMBINES:
            run_combine(case, seed, gpu=gpu)
