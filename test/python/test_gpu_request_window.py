# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layouts of windows that requests keep, from rows, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

from request_window_cases import draw, run


def test_fields(gpu: Any) -> None:
    for dtype in ("int32", "int64"):
        for seed in range(12):
            run(draw(seed, floors=seed % 3 == 0, dtype=dtype), gpu=gpu)
