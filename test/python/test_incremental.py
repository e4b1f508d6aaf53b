# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Incremental page tables on the host and in the simulator, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from incremental_cases import cases, hostile_cases, variants
from replay_cases import Case, arguments

import nsa
from nsa import _cache

pytestmark = pytest.mark.skipif(
    not nsa.has_compiler(), reason="this installation of nsa has no compiler"
)


def run(case: Case, target: str, step: Any = None) -> None:
    step = step or _cache.get_step(f"{case.variant.mode}_replay", case.variant.text, target)
    assert len(step.kernels) == 1
    step(**arguments(case, step))
    case.check(case.outputs)


def test_cases() -> None:
    for case in cases(1, 150, variants(24), max_bs=1024):
        run(case, "cpu")


def test_hostile_contents() -> None:
    for case in hostile_cases(variants(12, seed=5)):
        run(case, "cpu")


def test_guarded() -> None:
    built: dict[Any, Any] = {}
    for case in cases(2, 40, variants(12, seed=3), max_bs=128):
        if case.variant not in built:
            module = nsa.compile(case.variant.text, target="cpu", guards=True)
            built[case.variant] = module[f"{case.variant.mode}_replay"]
        run(case, "cpu", built[case.variant])
        built[case.variant].check()


def test_simulated() -> None:
    for case in cases(3, 20, [v for v in variants(24) if len(v.fields) <= 3], max_bs=33):
        run(case, "simt")


# ----------------------------------------------------------------------------
# nsa.ops
# ----------------------------------------------------------------------------

TABLE = np.arange(4 * 300, dtype=np.int32).reshape(4, 300)


def replay(dsts: list[dict[str, np.ndarray]], since: Any, **options: Any) -> None:
    lens = np.array([70, 130, 5])
    nsa.ops.replay_metadata(
        dsts,
        **{
            "seq_lens": lens,
            "req_pool_indices": np.array([3, 0, 2]),
            "req_to_token": TABLE,
            "max_len": 200,
            "page_size": 64,
            "since": np.asarray(since, np.int32),
            "new_columns": 8,
            **options,
        },
    )


def tables() -> dict[str, np.ndarray]:
    return {
        "cache_seqlens": np.full(3, -1, np.int32),
        "page_table_1": np.full((3, 201), -1, np.int32),
        "real_page_table": np.full((3, 4), -1, np.int32),
    }


def test_what_is_written() -> None:
    dsts = [tables(), tables()]
    replay(dsts, [69, 100, 5])
    for dst in dsts:
        assert dst["cache_seqlens"].tolist() == [70, 130, 5]
        written = [np.flatnonzero(row != -1).tolist() for row in dst["page_table_1"]]
        # One column; as many as the bound has, though 30 are missing; none.
        assert written == [[69], list(range(100, 108)), []]
        assert dst["page_table_1"][0, 69] == TABLE[3, 69]
        # The pages that these columns are in.
        assert dst["real_page_table"].tolist() == [
            [-1, TABLE[3, 64] // 64, -1, -1],
            [-1, TABLE[0, 64] // 64, -1, -1],
            [-1, -1, -1, -1],
        ]


@pytest.mark.parametrize("new_columns", [0, 1, 63, 64, 511, 512, 513, 2**31 - 1, None])
def test_bounds(new_columns: int | None) -> None:
    """Whatever the bound, and the text that serves it, exactly so many are written."""
    (dst,) = dsts = [tables()]
    replay(dsts, [-(2**31), 2, 2**31 - 1], new_columns=new_columns)
    new_columns = 2**31 if new_columns is None else new_columns
    ends = [min(70, new_columns), min(130, 2 + new_columns)]
    expected = tables()["page_table_1"]
    expected[0, : ends[0]] = TABLE[3, : ends[0]]
    expected[1, 2 : ends[1]] = TABLE[0, 2 : ends[1]]
    np.testing.assert_array_equal(dst["page_table_1"], expected)
    pages = [[p for p in range(4) if p * 64 < ends[0]], [p for p in range(4) if p * 64 < ends[1]]]
    pages[1] = pages[1] if new_columns else []
    written = [np.flatnonzero(row != -1).tolist() for row in dst["real_page_table"]]
    assert written == [*pages, []]


def test_tables_wider_than_constant_grids() -> None:
    tokens = np.arange(2 * 5000, dtype=np.int32).reshape(2, 5000)
    dst = {
        "page_table_1": np.full((2, 5000), -1, np.int32),
        "real_page_table": np.full((2, 72), -1, np.int32),
    }
    nsa.ops.replay_metadata(
        [dst],
        seq_lens=np.array([4990, 4000]),
        req_pool_indices=np.array([1, 0]),
        req_to_token=tokens,
        max_len=5000,
        page_size=70,
        since=np.array([71, 100], np.int32),
        new_columns=3999,
    )
    for row, (pool, first, end) in enumerate([(1, 71, 71 + 3999), (0, 100, 4000)]):
        expected = np.full(5000, -1, np.int32)
        expected[first:end] = tokens[pool, first:end]
        assert (dst["page_table_1"][row] == expected).all()
        pages = np.full(72, -1, np.int32)
        some = np.arange(first // 70, -(-end // 70))
        pages[some] = tokens[pool, some * 70] // 70
        assert (dst["real_page_table"][row] == pages).all()


def test_few_texts_serve_all_bounds() -> None:
    from nsa._incremental import grid

    assert [grid(n) for n in (0, 1, 8, 9, 16, 17, 512, 513, 2**31 - 1)] == [
        8, 8, 8, 16, 16, 32, 512, 0, 0,
    ]  # fmt: skip


def test_one_array_for_both_tables_of_one_token_pages() -> None:
    (dst,) = dsts = [tables()]
    dst["real_page_table"] = dst["page_table_1"]
    replay(dsts, [60, 0, 0], page_size=1)
    assert np.flatnonzero(dst["page_table_1"][0] != -1).tolist() == list(range(60, 68))


def test_pad_rows_of_tables_are_left_alone() -> None:
    dst = {
        "page_table_1": np.full((5, 200), -1, np.int32),
        "seqlens_expanded": np.full(5, -1, np.int32),
    }
    replay([dst], [60, 129, 0], row_bound=5)
    assert dst["seqlens_expanded"].tolist() == [70, 130, 5, 0, 0]
    assert [int((row != -1).sum()) for row in dst["page_table_1"]] == [8, 1, 5, 0, 0]


def test_more_rows_than_int32_counts() -> None:
    """Each of many requests claims all rows there are; the first one has them."""
    requests, rows = 4096, 1_100_000
    dst = {"page_table_1": np.full((rows, 1), -1, np.int32)}
    nsa.ops.replay_metadata(
        [dst],
        "draft_extend",
        seq_lens=np.ones(requests, np.int64),
        extend_seq_lens=np.full(requests, 2**31 - 1, np.int32),
        req_pool_indices=np.arange(requests),
        req_to_token=np.arange(7, requests + 7, dtype=np.int32)[:, None],
        max_len=1,
        since=np.zeros(requests, np.int32),
        new_columns=1,
    )
    assert (dst["page_table_1"] == 7).all()


def test_sets_without_tables() -> None:
    dst = {"cache_seqlens": np.zeros(3, np.int32)}
    replay([dst], [0, 0, 0])
    assert dst["cache_seqlens"].tolist() == [70, 130, 5]


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        (TypeError, {"since": None}, "argument 'since': missing, 'new_columns' needs it"),
        (TypeError, {"new_columns": 1.5}, "argument 'new_columns': expected an integer"),
        (ValueError, {"new_columns": -1}, "argument 'new_columns': expected an integer"),
        (TypeError, {"since": np.zeros(3, np.int64)}, "'since': expected dtype int32"),
        (ValueError, {"since": np.zeros(2, np.int32)}, "'since': expected shape"),
        (ValueError, {"since": np.zeros((3, 1, 1), np.int32)}, "'since': expected 1 dimension"),
        (ValueError, {"max_len": 202}, r"'b0_page_table_1': expected shape\[1\] to be at least 202"),
        (ValueError, {"page_size": 49}, r"'b0_real_page_table': expected shape\[1\] to be at least 5"),
        (ValueError, {"bs": 2, "row_bound": 4}, r"expected shape\[0\] to be at least 4 but got 3"),
        (ValueError, {"mode": "target_verify", "next_n": 2}, r"expected shape\[0\] to be at least 6"),
        (ValueError, {"mode": "draft_extend", "extend_seq_lens": 4}, r"to be at least 12"),
    ],
)  # fmt: skip
def test_bad_arguments(kind: Any, changed: dict[str, Any], message: str) -> None:
    (dst,) = dsts = [tables()]
    given = {"since": np.zeros(3, np.int32), **changed}
    with pytest.raises(kind, match=message):
        nsa.ops.replay_metadata(
            dsts,
            **{
                "seq_lens": np.array([70, 130, 5]),
                "req_pool_indices": np.array([3, 0, 2]),
                "req_to_token": TABLE,
                "max_len": 200,
                "page_size": 64,
                "new_columns": 8,
                **given,
            },
        )
    assert all((array == -1).all() for array in dst.values())
