# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps written with nsa.build, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import pytest
from build_steps import STEPS, cases
from composed_cases import run

from nsa import _cache


@pytest.mark.parametrize("name", STEPS)
def test_steps(gpu: Any, name: str) -> None:
    for case in cases(name):
        run(case, _cache.get_step(name, case.text, "cuda"), gpu)
