# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps in a CUDA graph that is captured while arrays hold anything, and replayed with other
contents: plans, windows, tails, ranks, tables of TensorRT-LLM, pooled keys, chunks, transforms.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import pytest
from graph_replays import CASES, run


@pytest.mark.parametrize("name", CASES)
def test_replays(name: str, gpu: Any) -> None:
    run(name, range(6), gpu=gpu)
