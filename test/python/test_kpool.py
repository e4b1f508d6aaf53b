# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forward steps whose index keys are pooled, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from kpool_cases import CASES, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_fields(case, seed):
    run(case, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 3, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_errors():
    lens, out = np.ones(3, np.int32), np.zeros(3, np.int32)

    def replay(field, mode="decode", **given):
        given = {"index_kpool": 4, "seq_lens": lens, **given}
        nsa.ops.replay_metadata([{field: out}], mode, **given)

    with pytest.raises(ValueError, match="'no' is no field of decode with pools"):
        replay("no")
    with pytest.raises(ValueError, match="is no field of ragged draft_extend"):
        replay("kpool_write_start", "draft_extend", extend_seq_lens=lens, row_bound=4)
    with pytest.raises(TypeError, match="row_bound': missing"):
        replay("cache_seqlens", "draft_extend", extend_seq_lens=lens)
    with pytest.raises(TypeError, match="req_pool_indices': missing"):
        replay("kpool_write_loc")
    with pytest.raises(ValueError, match="index_kpool': expected an integer from 2"):
        replay("cache_seqlens", index_kpool=0)
    np.testing.assert_array_equal(out, 0)
