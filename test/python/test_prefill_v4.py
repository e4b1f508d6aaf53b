# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Chunks of V4's sparse prefill against the reference, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from prefill_v4_cases import CASES, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_fields(case, seed):
    run(case, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 1, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_takes_what_it_needs():
    lens, out = np.array([3, 0, 700]), np.zeros(3, np.int32)
    nsa.ops.prefill_v4({"c2_base": out}, seq_lens=lens)
    np.testing.assert_array_equal(out, [0, 1, 1])
    nsa.ops.prefill_v4({"c128_base": out}, seq_lens=lens, max_len=700)
    np.testing.assert_array_equal(out, [0, 5, 10])


@pytest.mark.parametrize(
    ("field", "more", "error", "message"),
    [
        ("c3_ids", {}, ValueError, "dst': 'c3_ids' is no field"),
        ("swa_lens", {}, TypeError, "extend_seq_lens': missing"),
        ("c128_base", {}, TypeError, "c128_columns"),
        ("c1_base", {"window": 0}, ValueError, "window': expected an integer from 1"),
        ("c1_base", {"swa_lengths": np.zeros(3, np.int32)}, TypeError, "swa_indices': missing"),
        ("c4_base", {"page_size": 6}, ValueError, "page_size': expected a multiple of 4"),
        (
            "swa_lens",
            {"swa_lengths": np.zeros(3, np.int32), "swa_indices": np.zeros((3, 128), np.int32)},
            ValueError,
            "no field where windows are given",
        ),
    ],
)
def test_errors(field, more, error, message):
    with pytest.raises(error, match=message):
        nsa.ops.prefill_v4({field: np.zeros(3, np.int32)}, seq_lens=np.ones(3, np.int32), **more)
