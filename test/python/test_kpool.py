# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forward steps whose index keys are pooled, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from kpool_cases import CASES, run

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_fields(case, seed):
    run(case, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 3, small=True)


@pytest.mark.parametrize("mode", [
    dict(), dict(row_bound=5), dict(mode="target_verify", next_n=2),
    dict(mode="draft_extend", extend_seq_lens=2),
    dict(mode="draft_extend", extend_seq_lens=np.array([1, 2, 0]), row_bound=5),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_live_only(mode, target, monkeypatch):
    """Nothing is stored past the vectors that have live columns, and all without it."""
    monkeypatch.setenv("NSA_TARGET", target)
    lens, pages = np.array([7, 300, 64]), {1: 1000, 64: 16, 256: 4}
    table = np.arange(5000, dtype=np.int32).reshape(5, 1000)
    requests = np.repeat([0, 1, 2], mode.get("next_n", 1))
    if "extend_seq_lens" in mode:
        requests = np.repeat([0, 1, 2], mode["extend_seq_lens"])
    live = (lens + (mode.get("mode") == "target_verify") * 2)[requests]
    for live_only in (True, False):
        rows = mode.get("row_bound", len(requests))
        made = [np.full((rows, columns), -77, np.int32) for columns in pages.values()]
        nsa.ops.replay_metadata(
            [dict(zip(("page_table_1", "real_page_table", "pooled_real_page_table"), made))],
            seq_lens=lens, req_pool_indices=np.array([3, 1, 4]), req_to_token=table,
            max_len=1000, page_size=64, index_kpool=4, live_only=live_only, **mode,
        )  # fmt: skip
        for tokens, found in zip(pages, made):
            right = table[np.array([3, 1, 4])[requests]][:, ::tokens] // tokens
            is_live = np.arange(found.shape[1]) * tokens < live[:, None]
            found = found[: len(requests)]
            np.testing.assert_array_equal(found[is_live], right[is_live])
            is_kept = np.arange(found.shape[1]) * tokens >= live[:, None] + 8
            expected = -77 if live_only else right[is_kept]
            np.testing.assert_array_equal(found[is_kept], expected)


def test_pages_of_many_tokens():
    """More than named operations take."""
    for mode in (dict(), dict(live_only=True), dict(row_bound=4)):
        table = np.full((4, 1), -77, np.int32)
        nsa.ops.replay_metadata(
            [{"pooled_real_page_table": table[: mode.get("row_bound", 3)]}], seq_lens=np.ones(3, int),
            req_pool_indices=np.array([0, 1, 2]), max_len=9, page_size=2**30, index_kpool=4,
            req_to_token=np.array([[2**31 - 1], [-1], [5]], np.int32), **mode,
        )  # fmt: skip
        assert table.ravel().tolist() == [0, -1, 0, 0 if "row_bound" in mode else -77]


def test_one_launch():
    for case in CASES:
        (step,) = nsa.compile(case.text(), "cuda").values()
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
    with pytest.raises(ValueError, match="index_kpool': expected an integer from 1"):
        replay("cache_seqlens", index_kpool=0)
    good = dict(out=np.zeros((5, 2), np.int32), convention="sm90", num_sms=4)
    flashmla = dict(out_metadata=np.zeros((4, 8), np.int32), out_num_splits=out, parts=4)
    for key, schedule, text in (
        ("pooled_flashmla", flashmla, "attention has no pooled lengths"),
        ("pooled_paged_mqa", dict(good, next_n=2), "expected 'paged_mqa' with next_n 1"),
        ("c4_paged_mqa", good, "is none of paged_mqa, pooled_paged_mqa"),
    ):
        with pytest.raises(ValueError, match=text):
            replay("cache_seqlens", schedules=[{key: schedule}])
    with pytest.raises(ValueError, match="'pooled_paged_mqa' is none of"):
        replay("cache_seqlens", index_kpool=1, schedules=[{"pooled_paged_mqa": good}])
    tables = dict(since=lens, new_columns=4, req_pool_indices=lens, req_to_token=np.ones((2, 9), np.int32))
    table = np.zeros((3, 1), np.int32)
    with pytest.raises(ValueError, match=r"b0_pooled_real_page_table': .*shape\[1\] to be at least 2"):
        nsa.ops.replay_metadata([{"pooled_real_page_table": table}], seq_lens=lens, page_size=2,
                                max_len=9, index_kpool=4, **tables)  # fmt: skip
    with pytest.raises(TypeError, match="since': expected dtype int32"):
        nsa.ops.replay_metadata([{"page_table_1": np.zeros((3, 9), np.int32)}], seq_lens=lens,
                                max_len=9, index_kpool=4, **{**tables, "since": lens.astype(int)})  # fmt: skip
    assert not table.any()
    np.testing.assert_array_equal(out, 0)
