# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules beside the metadata of DeepSeek V4 steps, in one launch."""

from __future__ import annotations

import numpy as np
import pytest
import v4_cases
from schedule_mix import count_kernels, v4

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.fixture
def kernels(monkeypatch):
    return count_kernels(monkeypatch, "nsa._v4")


@pytest.mark.parametrize("case", v4_cases.CASES[:5], ids=str)
def test_v4(case, kernels):
    for seed in (0, 1, 3):
        v4(case, seed)
    assert set(kernels) == {1}


def test_v4_simulator(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    v4(v4_cases.CASES[2], 2)


def test_v4_errors():
    lens, out = np.ones(40, np.int64), np.zeros((133, 2), np.int32)
    rows = dict(out_metadata=np.zeros((4, 8), np.int32), out_num_splits=np.zeros(41, np.int32))

    def call(schedule, **options):
        nsa.ops.replay_v4([{}], seq_lens=lens, schedules=[schedule], **options)

    good = dict(out=out, convention="sm90", num_sms=132)
    with pytest.raises(ValueError, match="'paged_mqa' is none of c1_paged_mqa, c2_paged_mqa"):
        call({"paged_mqa": good})
    with pytest.raises(ValueError, match="'c3_paged_mqa' is none of"):
        call({"c3_paged_mqa": good})
    with pytest.raises(ValueError, match="'topk': expected none"):
        call({"flashmla": dict(rows, parts=4, topk=3)})
    with pytest.raises(ValueError, match="expected 'paged_mqa' with next_n 1, or that"):
        call({"c4_paged_mqa": dict(good, next_n=3)}, mode="target_verify", next_n=2)
    assert not out.any() and not rows["out_metadata"].any()
