# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of TensorRT-LLM's attention on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from v4_trtllm_cases import CASES, run, run_tail


def test_fields(gpu: Any) -> None:
    for case in CASES:
        for seed in range(3):
            run(case, seed, gpu=gpu)


def test_sparse_tail(gpu: Any) -> None:
    for rows in (0, 1, 63, 64, 65):
        run_tail(rows, 512, "int64" if rows % 2 else "int32", gpu=gpu)
