# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""V4 steps in a CUDA graph that is captured once and replayed with other contents.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import pytest
from v4_graph_cases import CASES, run


@pytest.mark.parametrize("case", CASES, ids=str)
def test_replays(case: Any, gpu: Any) -> None:
    run(case, 40, gpu=gpu)
