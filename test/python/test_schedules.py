# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels against their definitions, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from schedule_cases import CONVENTIONS, draw, reference, split_of

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("next_n", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_paged_mqa(convention, next_n, dtype):
    rng = np.random.default_rng(next_n)
    split = split_of(convention)
    for bs in (0, 1, 3, 64, 1500):
        for slots in (1, 78, 132):
            lens = draw(rng, bs, next_n, dtype)
            out = np.full((slots + 1, 2), -7, np.int32)
            nsa.ops.paged_mqa_schedule(
                lens, out, convention=convention, num_sms=slots, next_n=next_n
            )
            np.testing.assert_array_equal(out, reference(lens, convention, slots, split))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_simulator(convention, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    rng = np.random.default_rng(0)
    split = split_of(convention)
    for bs in (0, 3, 200):
        lens = draw(rng, bs, 2, "int32")
        out = np.full((33, 2), -7, np.int32)
        nsa.ops.paged_mqa_schedule(lens, out, convention=convention, num_sms=32, next_n=2)
        np.testing.assert_array_equal(out, reference(lens, convention, 32, split))


@pytest.mark.parametrize("lens", [np.zeros((4, 1)), np.full((4, 1), -(2**31))])
def test_nothing_to_do(lens):
    """A consumer finds the end in every slot."""
    out = np.full((133, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(lens.astype(np.int32), out, convention="sm90", num_sms=132)
    np.testing.assert_array_equal(out, np.tile(np.array([[4, 0]], np.int32), (133, 1)))


def test_huge_lengths():
    """Sums have 64 bits."""
    lens = np.full((70, 1), 2**31 - 1, np.int32)
    out = np.full((3, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(lens, out, convention="gen1", num_sms=2, split=1)
    np.testing.assert_array_equal(out, [[0, 0], [35, 0], [70, 0]])


def test_errors():
    lens, out = np.ones((3, 1), np.int32), np.zeros((5, 2), np.int32)
    with pytest.raises(ValueError, match="convention': expected one of jit, sm90"):
        nsa.ops.paged_mqa_schedule(lens, out, convention="sm80", num_sms=4)
    with pytest.raises(ValueError, match="out"):
        nsa.ops.paged_mqa_schedule(lens, out, convention="jit", num_sms=9)
    np.testing.assert_array_equal(out, 0)
