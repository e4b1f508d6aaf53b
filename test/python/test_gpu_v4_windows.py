# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Windows that requests keep, draft blocks and tails on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from v4_window_cases import CASES, draw, run


def test_fields(gpu: Any) -> None:
    for case in CASES:
        for seed in range(4):
            run(case, *draw(case, seed), gpu=gpu)
