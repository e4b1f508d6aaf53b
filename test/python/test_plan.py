# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.plan against formulations of its own, in integers without a width."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from nsa import plan


def test_workspace() -> None:
    rng = random.Random(1)
    for _ in range(200):
        requests, ratio = rng.randrange(0, 40), rng.choice([1, 4, 128])
        longest, window = rng.randrange(0, 1 << rng.randrange(1, 30)), rng.randrange(9000)
        made = plan.workspace(requests, longest, ratio, window)
        if longest < 10_000:
            compressed = [i for i in range(longest) if i % ratio == ratio - 1]
            assert made.c_max == max(len(compressed), 1)
        assert made.rows == requests * made.c_max + window
        c_max, rows, swa_begin = made
        offsets = np.array([0, 128, 200])
        assert made.swa_base(offsets).tolist() == [rows - window + o for o in (0, 128, 200)]
        assert made.compressed_base(np.arange(3)).tolist() == [0, c_max, 2 * c_max]
        assert made.compressed_base(2) == 2 * c_max and made.swa_base(7) == swa_begin + 7
    # Past 2^32 rows.
    assert plan.workspace(1 << 20, 1 << 22, 4, 1).rows == (1 << 40) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 1, 1, 1), "'num_reqs': expected 0 or more but got -1"),
        ((1, -1, 1, 1), "'max_seq_len': expected 0 or more but got -1"),
        ((1, 1, 0, 1), "'ratio': expected 1 or more but got 0"),
        ((1, 1, 1, -5), "'total_window': expected 0 or more but got -5"),
        ((1 << 40, 1 << 40, 1, 0), "expected a number of 64 bits but got the product of"),
        ((1, 1, 1, (1 << 63) - 1), "expected a number of 64 bits but got the sum of"),
        ((1 << 70, 1, 1, 1), f"'num_reqs': expected an integer of 64 bits but got {1 << 70}"),
    ],
)
def test_workspace_errors(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan.workspace(*arguments)


def test_no_integer() -> None:
    with pytest.raises(TypeError, match="'ratio': expected an integer but got float"):
        plan.workspace(1, 1, 4.0, 1)
    with pytest.raises(TypeError, match="'mode': expected a str but got int"):
        plan.implementation(1)
    with pytest.raises(TypeError, match="'extend_lens': expected integers but got int"):
        plan.sparse_prefill_usable(3, 3)
    with pytest.raises(TypeError, match="'candidates': expected an integer but got str"):
        plan.capture_batch_sizes(["1"])


def test_modes() -> None:
    decode = ("decode", "idle", "target_verify", "draft_extend")
    assert [plan.implementation(m) for m in decode] == ["decode"] * 4
    assert plan.implementation("extend") == "prefill"
    assert [plan.row_bound(m, 5, 3) for m in decode] == [5, 5, 15, 15]
    assert plan.row_bound("decode", np.int64(5)) == 5
    for function in (plan.implementation, lambda m: plan.row_bound(m, 1)):
        with pytest.raises(ValueError, match="'mode': expected one of 'decode', .* 'prefill'"):
            function("prefill")
    with pytest.raises(ValueError, match="'mode': .* but got 'extend'"):
        plan.row_bound("extend", 1, 1)
    with pytest.raises(ValueError, match="'bs': expected 0 or more but got -1"):
        plan.row_bound("decode", -1)
    with pytest.raises(ValueError, match="'next_n': expected 1 or more but got 0"):
        plan.row_bound("target_verify", 1, 0)
    with pytest.raises(ValueError, match="64 bits"):
        plan.row_bound("target_verify", 1 << 62, 4)


def test_sparse_prefill() -> None:
    usable = plan.sparse_prefill_usable
    assert usable([3, 5], 8) and not usable([3, 5], 7) and not usable(None, 0)
    assert usable(np.array([3, 5]), 8) and usable([], 0)
    assert usable([8], 2, cp_size=4, cp_rows=2)
    # Two requests, other rows, unknown rows, a length that does not divide.
    assert not usable([4, 4], 2, 4, 2) and not usable([8], 8, 4, 2)
    assert not usable([8], 2, 4) and not usable([9], 2, 4, 2)
    with pytest.raises(ValueError, match="'extend_lens': expected 0 or more but got -1"):
        usable([2, -1], 1)
    with pytest.raises(ValueError, match="'cp_rows': expected 0 or more, or None, but got -1"):
        usable([2], 1, 2, -1)


def expected_sizes(
    candidates: list[int], tokens: int, tp: int, cp: int, gathered: bool, tbo: bool,
    most: int | None,
) -> list[int]:
    """Rule by rule: what has to divide, then who satisfies it."""
    divisor = (tp if gathered else 1) * (2 if tbo else 1)
    divisor *= 1 if divisor % cp == 0 else cp
    per_request = 1 if tbo else tokens
    kept = {bs for bs in candidates if (bs * per_request) % divisor == 0}
    if most is not None:
        limit = -(-most // divisor) * divisor
        if any(bs > limit for bs in candidates):
            kept.add(limit)
        kept = {bs for bs in kept if bs <= limit}
    return sorted(kept)


def test_capture_batch_sizes() -> None:
    rng = random.Random(2)
    for _ in range(1000):
        candidates = [rng.randrange(1, 200) for _ in range(rng.randrange(0, 30))]
        tokens, tp, cp = rng.randrange(1, 7), rng.randrange(1, 9), rng.randrange(1, 5)
        gathered, tbo = rng.random() < 0.5, rng.random() < 0.5
        most = rng.choice([None, rng.randrange(1, 250)])
        expected = expected_sizes(candidates, tokens, tp, cp, gathered, tbo, most)
        found = plan.capture_batch_sizes(
            iter(candidates), tokens, tp, cp, gathered, tbo, most
        )
        assert found == expected
    sizes = plan.capture_batch_sizes(
        range(1, 17), tokens_per_bs=4, attn_tp_size=8, gathered_buffer=True
    )
    assert sizes == [2, 4, 6, 8, 10, 12, 14, 16]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0],), "'candidates': expected 1 or more but got 0"),
        (([1], 0), "'tokens_per_bs': expected 1 or more but got 0"),
        (([1], 1, 0), "'attn_tp_size': expected 1 or more but got 0"),
        (([1], 1, 1, -2), "'attn_cp_size': expected 1 or more but got -2"),
        (([1], 1, 1, 1, False, False, 0), "'max_requests': expected 1 or more but got 0"),
        (([1 << 62], 4), "the tokens of a batch: expected a number of 64 bits"),
        (([1], 1, 1 << 62, 1, True, True), "the alignment of batch sizes: expected"),
    ],
)
def test_capture_errors(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan.capture_batch_sizes(*arguments)


def test_schedule_refresh():
    refresh = plan.schedule_refresh
    assert refresh("paged_mqa") == refresh("flashmla") == refresh("topk_plan") == "step"
    assert refresh("flashmla", topk=0) == refresh("flashmla", topk=2048) == "batch_size"
    assert refresh("flashmla", topk=2048, extra_lens=True) == "step"
    plans = [(30, 30), (31, 30), (512, 30), (513, 30), (5, 0)]
    said = [refresh("topk_plan", rows=rows, clusters=clusters) for rows, clusters in plans]
    assert said == ["never", "step", "step", "never", "never"]
    with pytest.raises(ValueError, match="'kind': expected one of paged_mqa"):
        refresh("fa3")
    with pytest.raises(TypeError, match="'topk'"):
        refresh("flashmla", topk=1.0)
