# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values put together in ways that no ready-made operation does, on a GPU.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

from composed_cases import cases, run

from nsa import _cache


def test_cases(gpu: Any) -> None:
    for case in cases():
        module = _cache.get_module(case.text, "cuda")
        run(case, next(iter(module.values())), gpu)
