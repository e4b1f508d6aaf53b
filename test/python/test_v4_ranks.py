# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of V4's steps, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from v4_rank_cases import CASES, draw, run, texts

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fields(case):
    for seed in range(4):
        for ranks, rank in ((1, 0), (2, 1), (3, 0), (8, 7)):
            run(case, *draw(case, seed), ranks, rank)


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, *draw(case, 9, small=True), ranks=2, rank=1)


def test_one_launch():
    """Of any rank of any number of them."""
    for text in sorted(texts(), key=len)[::3]:
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_ranks_have_all_rows():
    """Each row is some rank's, however rows and ranks divide."""
    lens = np.arange(1, 12, dtype=np.int32)
    for ranks in (1, 2, 5, 11, 20):
        got = np.zeros(11, np.int32)
        for rank in range(ranks):
            mine = np.zeros(len(range(rank, 11, ranks)), np.int32)
            nsa.ops.replay_v4(
                [{"rank_seq_lens_casual": mine}], seq_lens=lens, ranks=ranks, rank=rank
            )
            got[rank::ranks] = mine
        np.testing.assert_array_equal(got, lens)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ranks": 0}, ValueError, "ranks"),
        ({"ranks": 2, "rank": 2}, ValueError, "rank"),
        ({"dsts": [{"rank_swa_out_cache_loc": None}]}, ValueError, "no row for each row"),
        ({"dsts": [{"rank_c4_plan_d": None}]}, ValueError, "no row for each row"),
        ({"dsts": [{"rank_extend_lens": None}]}, ValueError, "no field of decode"),
        ({"dsts": [{"rank_tail_floors": None}]}, ValueError, "no field of decode"),
        ({"dsts": [{"tail_gather_indices": None}]}, ValueError, "no field of decode"),
    ],
)
def test_errors(arguments, error, message):
    given = {"dsts": [{"seq_lens_casual": np.zeros(3, np.int32)}], **arguments}
    with pytest.raises(error, match=message):
        nsa.ops.replay_v4(given.pop("dsts"), seq_lens=np.ones(3, np.int32), **given)


def test_a_rank_has_no_locations_of_a_tail():
    for name in ("rank_tail_c4_out_loc", "rank_tail_swa_out_cache_loc"):
        with pytest.raises(ValueError, match="is no field of"):
            nsa.ops.replay_v4(
                [{name: None}], "extend", seq_lens=np.ones(3, np.int32),
                extend_seq_lens=np.ones(3, np.int32), rows=3,
            )  # fmt: skip
