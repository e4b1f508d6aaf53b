# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Plans of V4's compressors against the reference, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from v4_plan_cases import CASES, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_plans(case):
    assert sum(run(case, seed) for seed in range(12)) > 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 2, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


@pytest.mark.parametrize(
    ("mode", "field"),
    [("target_verify", "c4_plan_d"), ("decode", "c4_plan_c"), ("decode", "c2_plan_d"),
     ("draft_extend", "c128_plan_w")],
)  # fmt: skip
def test_no_plan(mode, field):
    with pytest.raises(ValueError, match=f"{field}' is no field of {mode}"):
        nsa.ops.replay_v4([{field: None}], mode, seq_lens=np.ones(3, np.int32))


def test_pages_smaller_than_what_is_kept():
    with pytest.raises(ValueError, match="swa_page_size': expected an integer from 4"):
        nsa.ops.replay_v4([], seq_lens=np.ones(3, np.int32), swa_page_size=3)
