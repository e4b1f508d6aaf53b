# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of paged MQA logits against their definitions, on the host and in the simulator."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from schedule_cases import (
    CONVENTIONS,
    FORWARD,
    SPLITS,
    draw,
    draw_indices,
    in_chunks,
    reference,
    units_of,
    walk,
)

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def schedule(lens, convention, slots, **options):
    out = np.full((slots + 1, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(lens, out, convention=convention, num_sms=slots, **options)
    return out


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("next_n", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_paged_mqa(convention, next_n, dtype):
    rng = np.random.default_rng(next_n)
    for bs in (0, 1, 3, 64, 700):
        for slots in (1, 78, 132):
            lens = draw(rng, bs, next_n, dtype)
            out = schedule(lens, convention, slots, next_n=next_n)
            np.testing.assert_array_equal(out, reference(lens, convention, slots))


@pytest.mark.parametrize("convention", ["sm100", "vllm_sm100"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_runs(convention, dtype):
    rng = np.random.default_rng(1)
    for tokens in (0, 1, 2, 60, 2000):
        for slots in (1, 132):
            lens = draw(rng, tokens, 1, "int32")
            indices = draw_indices(rng, tokens)
            wanted = reference(lens, convention, slots, indices=indices)
            for given in (lens, lens[:, 0]):
                out = schedule(given, convention, slots, indices=indices.astype(dtype))
                np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("index", [0, -1, 7, -(2**31)])
def test_one_run(index):
    """Whatever its index is."""
    lens, indices = np.full((40, 1), 600, np.int32), np.full(40, index, np.int32)
    out = schedule(lens, "sm100", 12, indices=indices)
    np.testing.assert_array_equal(out, reference(lens, "sm100", 12, indices=indices))
    np.testing.assert_array_equal(out[[0, 4, 8, 12]], [[0, 0], [0, 1], [0, 2], [40, 0]])


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_chunks(convention):
    """Each chunk is a schedule of its own."""
    rng = np.random.default_rng(2)
    for bs, next_n, slots, chunk in ((0, 1, 4, 3), (7, 1, 4, 3), (300, 2, 132, 132), (8, 3, 5, 8)):
        lens = draw(rng, bs, next_n, "int32")
        out = np.full((-(-bs // chunk), slots + 1, 2), -7, np.int32)
        nsa.ops.paged_mqa_schedule(
            lens, out, convention=convention, num_sms=slots, next_n=next_n, chunk=chunk
        )
        np.testing.assert_array_equal(out, in_chunks(lens, convention, slots, chunk))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_simulator(convention, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    rng = np.random.default_rng(0)
    for bs in (0, 3, 200):
        lens = draw(rng, bs, 2, "int32")
        out = schedule(lens, convention, 32, next_n=2)
        np.testing.assert_array_equal(out, reference(lens, convention, 32))
    if convention in ("sm100", "vllm_sm100"):
        lens, indices = draw(rng, 300, 1, "int32"), draw_indices(rng, 300)
        out = schedule(lens, convention, 32, indices=indices)
        np.testing.assert_array_equal(out, reference(lens, convention, 32, indices=indices))
    lens, out = draw(rng, 50, 2, "int32"), np.full((3, 9, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(
        lens, out, convention=convention, num_sms=8, next_n=2, chunk=20
    )
    np.testing.assert_array_equal(out, in_chunks(lens, convention, 8, 20))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("lens", [np.zeros((4, 1)), np.full((4, 1), -(2**31))])
def test_nothing_to_do(convention, lens):
    """A consumer finds the end in every slot."""
    out = schedule(lens.astype(np.int32), convention, 132)
    np.testing.assert_array_equal(out, np.tile(np.array([[4, 0]], np.int32), (133, 1)))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_fewer_splits_than_slots(convention):
    lens = np.array([[0], [100], [0], [300]], np.int32)
    out = schedule(lens, convention, 40)
    np.testing.assert_array_equal(out, reference(lens, convention, 40))
    # Idle slots are at the first item or at the end.
    np.testing.assert_array_equal(out[20], [4, 0] if convention in FORWARD else [1, 0])


@pytest.mark.parametrize(
    "convention, bs", [*product(CONVENTIONS, [4096]), *product(["jit", "sm100"], [131072])]
)
def test_many_requests(convention, bs):
    rng = np.random.default_rng(3)
    lens = rng.integers(-5, 1500, (bs, 1)).astype(np.int32)
    out = schedule(lens, convention, 132)
    np.testing.assert_array_equal(out, reference(lens, convention, 132))


def test_huge_lengths():
    """Sums have 64 bits."""
    lens = np.full((70, 1), 2**31 - 1, np.int32)
    out = np.full((3, 2), -7, np.int32)
    nsa.ops.paged_mqa_schedule(lens, out, convention="gen1", num_sms=2, split=1)
    np.testing.assert_array_equal(out, [[0, 0], [35, 0], [70, 0]])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("next_n", [1, 3])
def test_consumers_do_all_once(convention, next_n):
    rng = np.random.default_rng(4)
    split = SPLITS[convention]
    for bs, slots in ((1, 132), (5, 7), (40, 132), (90, 16)):
        lens = draw(rng, bs, next_n, "int32")
        done = walk(schedule(lens, convention, slots, next_n=next_n), lens, convention, split)
        # A unit's row and split; runs of several units have one of each.
        units = {tuple(unit) for unit in units_of(lens, convention, split).tolist()}
        assert Counter(done) == Counter(units)


def test_stale_schedules():
    """Of longer requests everything is done still, most of it by one slot; of a request that
    became shorter than where a slot begins, a consumer leaves the rows."""
    short, long = np.ones((8, 1), np.int32), np.full((8, 1), 100_000, np.int32)
    done = walk(schedule(short, "gen1", 16), long, "gen1", 256)
    assert Counter(done) == Counter(map(tuple, units_of(long, "gen1", 256).tolist()))
    with pytest.raises(LookupError):
        walk(schedule(long, "gen1", 16), short, "gen1", 256)


def test_errors():
    lens, out = np.ones((3, 1), np.int32), np.zeros((5, 2), np.int32)

    def call(lens=lens, **options):
        nsa.ops.paged_mqa_schedule(lens, out, **{"convention": "jit", "num_sms": 4, **options})

    with pytest.raises(ValueError, match="convention': expected one of jit, sm90"):
        call(convention="sm80")
    with pytest.raises(ValueError, match="out"):
        call(num_sms=9)
    with pytest.raises(ValueError, match="'indices': expected none but with sm100"):
        call(indices=np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="'indices': expected none"):
        call(convention="sm100", indices=np.zeros(3, np.int32), chunk=2)
    with pytest.raises(ValueError, match=r"'context_lens': expected \[bs, 2\] but got 1 dim"):
        call(lens[:, 0], next_n=2)
    with pytest.raises(TypeError, match="'context_lens': expected dtype int32 or int64"):
        call(lens.astype(np.float32))
    with pytest.raises(ValueError, match="'chunk': expected an integer from 1"):
        call(chunk=0)
    with pytest.raises(ValueError, match="out"):
        call(chunk=2)
    np.testing.assert_array_equal(out, 0)
