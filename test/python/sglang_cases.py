# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What sglang_backend.py runs, and which of a page table's columns are read."""

from __future__ import annotations

import numpy as np

#: Tokens in a page.
PAGE = 64
#: Case -> its backends.
CASES = {"decode": 1, "target_verify": 1, "draft_extend": 1, "decode_of_four": 4}


def columns_of(lens: np.ndarray, shape: tuple[int, ...], page: int) -> np.ndarray:
    """Of a table with as many rows for each request: whether a column has a token."""
    rows = np.repeat(lens, shape[0] // len(lens))
    return page * np.arange(shape[1])[None, :] < rows[:, None]
