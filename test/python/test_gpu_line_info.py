# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PTX with line information on a GPU: its driver and its ptxas take it.

Skipped, with the reason, where there is no CUDA device. Kernels are compiled here, or come
from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from line_info_cases import assemble, compile_all, find_ptxas

import nsa


@pytest.fixture(scope="module")
def steps() -> list[nsa.Step]:
    if nsa.has_compiler():
        modules = list(compile_all())
    else:
        folders = [Path(f, "line_info") for f in os.environ["NSA_BUNDLE_PATH"].split(os.pathsep)]
        found = sorted(bundle for folder in folders for bundle in folder.glob("*"))
        modules = [nsa.load(bundle) for bundle in found]
    steps = [step for module in modules for step in module.values()]
    if not steps:
        pytest.skip("no compiler, and no line_info in NSA_BUNDLE_PATH")
    return steps


def test_driver(gpu: Any, steps: list[nsa.Step]) -> None:
    for step in steps:
        step.load()


def test_ptxas(gpu: Any, steps: list[nsa.Step], tmp_path: Path) -> None:
    ptxas = find_ptxas()
    if not ptxas:
        pytest.skip("no ptxas")
    for step in steps:
        assemble(ptxas, step.ptx, "sm_90", tmp_path)
