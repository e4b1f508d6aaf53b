# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps of a prefill chunk and of a layer on the host, alone and end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from strided_arrays import HostArrays
from prefill_end_to_end import HostLibrary, check_end_to_end
from prefill_step_cases import CHUNK, LAYER, chunk_cases

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

OPTIONS = ({}, {"guards": True}, {"fuse": False})


@pytest.mark.parametrize("options", OPTIONS, ids=["fused", "guarded", "unfused"])
def test_chunk(options: dict) -> None:
    step = nsa.compile(CHUNK, target="cpu", **options)["prefill_chunk"]
    assert len(step.kernels) == (12 if "fuse" in options else 1)
    for case in chunk_cases():
        problem = case.problem(HostArrays())
        problem.run_step(step)
        problem.check()
    if "guards" in options:
        step.check()


@pytest.mark.parametrize("options", OPTIONS, ids=["fused", "guarded", "unfused"])
@pytest.mark.parametrize("seed", range(3))
def test_end_to_end(options: dict, seed: int) -> None:
    chunk = nsa.compile(CHUNK, target="cpu", **options)["prefill_chunk"]
    layer = nsa.compile(LAYER, target="cpu", **options)["prefill_layer"]
    check_end_to_end(HostLibrary(), chunk, layer, seed)
    if "guards" in options:
        chunk.check()
        layer.check()


def test_picture_is_that_of_the_script(tmp_path: Path) -> None:
    root, picture = Path(__file__).parents[2], tmp_path / "picture.svg"
    script = root / "scripts/draw_sparse_prefill.py"
    subprocess.run([sys.executable, script, picture], check=True)
    assert picture.read_text() == (root / "docs/images/sparse_prefill.svg").read_text()
