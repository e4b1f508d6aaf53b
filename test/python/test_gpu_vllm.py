# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's metadata on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import pytest
from vllm_cases import CASES, GPU_DRAWS, run
from vllm_chains import IN_PLACE, in_place, run_chains, run_together
from vllm_draw import Draw


@pytest.mark.parametrize("name", CASES)
def test_values(gpu: Any, name: str) -> None:
    for draw in GPU_DRAWS:
        run(CASES[name](Draw(**draw)), gpu=gpu)


def test_one_launch(gpu: Any) -> None:
    for seed in (0, 2):
        run_chains(seed, gpu)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(gpu: Any, name: str) -> None:
    for seed in (0, 2):
        run_together([in_place(name, Draw(seed))], gpu)
