# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of TensorRT-LLM's attention on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from v4_trtllm_cases import CASES, run, run_tail, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fields(case):
    for seed in range(4):
        run(case, seed)


@pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, seed=9, small=True)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_sparse_tail(target, dtype, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", target)
    for rows in (0, 1, 3):
        run_tail(rows, 8, dtype)
    if target == "cpu":
        run_tail(65, 512, dtype)


def test_one_launch():
    for text in sorted(texts(), key=len)[::4]:
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_errors():
    lens = np.ones(3, np.int32)
    with pytest.raises(ValueError, match="a draft block has no compressed rows"):
        nsa.ops.replay_v4([{"trtllm_c4_indices": None}], "draft_block", seq_lens=lens)
    indices, tail = np.zeros((3, 8), np.int32), np.zeros((3, 8), np.int32)
    with pytest.raises(ValueError, match="tail"):
        nsa.ops.pack_sparse_tail(indices, lens, tail[:, 1:], np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="indices"):
        nsa.ops.pack_sparse_tail(lens, lens, tail, np.zeros(3, np.int32))
    np.testing.assert_array_equal(tail, 0)
