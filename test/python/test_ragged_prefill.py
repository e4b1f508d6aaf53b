# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ragged compressed rows, and indices with given windows, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from ragged_prefill_cases import COMBINES, run_combine, run_rows, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("ratio", [1, 2, 4])
@pytest.mark.parametrize("seed", range(12))
def test_rows(ratio, seed):
    run_rows(ratio, seed)


@pytest.mark.parametrize("case", COMBINES, ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_combine(case, seed):
    run_combine(case, seed)


def test_simulator(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    for seed in (0, 1):
        run_rows(2, seed, small=True)
        run_combine(COMBINES[1], seed, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_errors():
    table, vector = np.zeros((2, 3), np.int32), np.zeros(3, np.int32)
    build = nsa.ops.build_ragged_compressed_ids
    with pytest.raises(ValueError, match="ratio': expected 1, 2 or 4 but got 3"):
        build(table, vector, vector[:2], vector, 3)
    with pytest.raises(ValueError, match="page_size': expected a multiple of 4"):
        build(table, vector, vector[:2], vector, 4, 62)
    with pytest.raises(TypeError, match="extend_seq_lens': missing"):
        build(table, vector, vector[:2], vector, 4, out_swa_base=vector)
    with pytest.raises(TypeError, match="swa_lengths': expected with swa_indices"):
        nsa.ops.combine_topk_swa_indices(
            None, vector, vector[:2], None, vector[:2], vector[:2], 4, 4, 0, table, vector,
            swa_indices=table,
        )  # fmt: skip
