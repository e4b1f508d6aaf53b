# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of paged MQA logits in two launches, by way of a workspace."""

from __future__ import annotations

import numpy as np
import pytest
import schedule_random
from schedule_cases import CONVENTIONS, draw, reference

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

TILE = 32
STALE = np.iinfo(np.int64).min + 5


def schedule(lens, convention, slots, workspace, **options):
    out = np.full((slots + 1, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(
        lens, out, convention=convention, num_sms=slots, workspace=workspace, **options
    )
    return out


def stale(lens):
    """As small as may be, with what another step left there."""
    return np.full(-(-lens.size // TILE), STALE, np.int64)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("next_n", [1, 2, 5])
def test_definition(convention, next_n):
    rng = np.random.default_rng(next_n)
    for bs in (0, 1, 31, 32, 33, 700):
        for slots in (1, 132):
            lens = draw(rng, bs, next_n, "int32")
            out = schedule(lens, convention, slots, stale(lens), next_n=next_n)
            np.testing.assert_array_equal(out, reference(lens, convention, slots))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("bs", [65_536, 131_072, 1_000_000])
def test_many_requests(convention, bs):
    rng = np.random.default_rng(bs)
    lens = rng.integers(-(2**16), 2**17, (bs, 1)).astype(np.int32)
    lens[rng.integers(0, bs, 50)] = 2**31 - 1
    lens[rng.integers(0, bs, 50)] = -(2**31)
    # Tiles that weigh nothing, first, last and in between.
    lens[:70], lens[bs // 2 : bs // 2 + 500], lens[-40:] = 0, -1, 0
    wanted = schedule_random.paged_mqa(lens, convention, 132)
    for given in (lens, lens[:, 0]):
        out = schedule(given, convention, 132, stale(lens))
        np.testing.assert_array_equal(out, wanted)


def test_strided_workspace():
    lens, words = draw(np.random.default_rng(2), 100, 1, "int32"), np.full(8, STALE)
    out = schedule(lens, "gen1", 8, words[::2])
    np.testing.assert_array_equal(out, reference(lens, "gen1", 8))
    np.testing.assert_array_equal(words[1::2], STALE)


@pytest.mark.parametrize("where", [0, 31, 32, 99])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_one_request(convention, where):
    """Only one has a length: all slots are in its tile."""
    lens = np.zeros((100, 1), np.int64)
    lens[where] = 2**40
    out = schedule(lens, convention, 16, stale(lens))
    np.testing.assert_array_equal(out[:-1, 0], where)
    np.testing.assert_array_equal(out[-1], [100, 0])
    np.testing.assert_array_equal(out, schedule(lens, convention, 16, None))


@pytest.mark.parametrize("lens", [0, -(2**31)])
def test_nothing_to_do(lens):
    lens = np.full((100, 1), lens, np.int32)
    np.testing.assert_array_equal(schedule(lens, "jit", 8, stale(lens)), [[100, 0]] * 9)


def test_any_lengths():
    """Sums that wrap name other rows, but nothing is read or written outside of the arrays."""
    rng = np.random.default_rng(5)
    lens = rng.integers(-(2**63), 2**63 - 1, (200_000, 1), dtype=np.int64)
    lens[: 1 << 17] = 2**63 - 1
    guarded = np.full((135, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(
        lens, guarded[1:-1], convention="gen1", num_sms=132, split=1, workspace=stale(lens)
    )
    np.testing.assert_array_equal(guarded[[0, -1]], -7)


def test_fewer_requests_than_the_arrays_have():
    """What is past them does not count, and the rest of the workspace is left alone."""
    rng = np.random.default_rng(1)
    lens, workspace = draw(rng, 400, 1, "int32"), np.full(20, STALE, np.int64)
    out = schedule(lens, "sm90", 78, workspace, bs=77)
    np.testing.assert_array_equal(out, reference(lens[:77], "sm90", 78))
    np.testing.assert_array_equal(workspace[3:], STALE)
    assert (workspace[:3] >= 0).all()


@pytest.mark.parametrize("convention", ["jit", "sm90", "vllm_sm100"])
def test_simulator(convention, monkeypatch):
    """Every access of both launches checked."""
    monkeypatch.setenv("NSA_TARGET", "simt")
    rng = np.random.default_rng(0)
    for bs in (0, 3, 33, 300):
        lens = draw(rng, bs, 2, "int32")
        out = schedule(lens, convention, 32, stale(lens), next_n=2)
        np.testing.assert_array_equal(out, reference(lens, convention, 32))


@pytest.mark.parametrize(
    "workspace, error",
    [
        (np.zeros(3, np.int64), ValueError),
        (np.zeros(4, np.int32), TypeError),
    ],
)
def test_mistakes(workspace, error):
    lens, out = np.ones((100, 1), np.int32), np.full((9, 2), -7, np.int32)
    with pytest.raises(error) as caught:
        nsa.ops.paged_mqa_schedule(
            lens, out, convention="jit", num_sms=8, workspace=workspace
        )
    assert caught.value.argument == "workspace"
    np.testing.assert_array_equal(out, -7)


@pytest.mark.parametrize("option", [{"chunk": 4}, {"indices": np.zeros(100, np.int32)}])
def test_not_with(option):
    lens, out = np.ones((100, 1), np.int32), np.zeros((25, 9, 2), np.int32)
    with pytest.raises(ValueError, match="indices or chunk") as caught:
        nsa.ops.paged_mqa_schedule(
            lens, out, convention="sm100", num_sms=8, workspace=stale(lens), **option
        )
    assert caught.value.argument == "workspace"
