# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""V4's windows beside the paged one, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from v4_window_cases import CASES, run


def test_windows(gpu: Any) -> None:
    for case in CASES:
        for seed in range(6):
            run(case, seed, gpu=gpu)
