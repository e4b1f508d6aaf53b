# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sizes of fields that a host asks for before it has arrays: those of the references' arrays,
and those of lists of tokens."""

from __future__ import annotations

import doctest
from dataclasses import replace

import dsa_rank_cases
import numpy as np
import pytest
import v4_cases
import v4_rank_cases
import v4_trtllm_cases
import v4_window_cases
from v4_reference import MOST_KEYS, reference
from v4_window_reference import expected

import nsa
from nsa import _shapes, plan


def same(found, wanted, but=()):
    assert set(found) == set(wanted)
    for name, (shape, dtype) in found.items():
        if name not in but:
            assert (shape, np.dtype(dtype)) == (wanted[name].shape, wanted[name].dtype), name


def test_examples() -> None:
    assert doctest.testmod(_shapes).failed == 0


def arguments(batch):
    rows = {"rows": batch.rows} if batch.extends is not None else {}
    return {
        "bs": len(batch.lens), "next_n": batch.next_n, "max_len": batch.max_len,
        "num_locs": len(batch.locs), "window": batch.window, "page_size": batch.page_size, **rows,
    }  # fmt: skip


@pytest.mark.parametrize("case", v4_cases.CASES, ids=str)
def test_v4(case) -> None:
    batch = v4_cases.draw(case, 2)
    found = plan.v4_shapes(case.fields(), case.mode, **arguments(batch), index_keys=MOST_KEYS)
    wanted = {name: reference(batch, name) for name in case.fields()}
    # Their arrays have room for more than there is.
    room = {name for name in wanted if name.endswith("index_k_slots")} | {"extend_offsets"}
    same(found, wanted, but=room)
    for name in room & set(found):
        assert found[name][0] == ((2, len(batch.lens)) if name == "extend_offsets" else (MOST_KEYS,))


@pytest.mark.parametrize("case", v4_window_cases.CASES, ids=str)
def test_v4_windows(case) -> None:
    batch, windows = v4_window_cases.draw(case, 2)
    kept = None
    if case.capacity is not None:
        kept = {"groups": windows.groups, "zero_row": 0, "capacity": windows.capacity}
    found = plan.v4_shapes(
        case.fields, batch.mode, **arguments(batch), request_window=kept,
        tail_rows=windows.tail_rows,
    )  # fmt: skip
    same(found, {name: expected(batch, windows, name) for name in case.fields})


@pytest.mark.parametrize("case", v4_rank_cases.CASES, ids=str)
def test_v4_ranks(case) -> None:
    batch, windows = v4_rank_cases.draw(case, 2)
    found = plan.v4_shapes(
        case.fields(), batch.mode, **arguments(batch), tail_rows=windows.tail_rows, ranks=3,
        rank=1, rank_tail_rows=5,
    )  # fmt: skip
    same(found, v4_rank_cases.expected(case, batch, windows, 3, 1, 5))


@pytest.mark.parametrize("case", v4_trtllm_cases.CASES, ids=str)
def test_v4_trtllm(case) -> None:
    batch = v4_cases.draw(case.of, 2)
    found = plan.v4_shapes(case.fields(), batch.mode, **arguments(batch))
    same(found, v4_trtllm_cases.tables(batch, case.fields()))


def test_dsa_ranks() -> None:
    batch = dsa_rank_cases.draw(2)
    ranks, rank, rows = 3, 1, len(range(1, batch.rows, 3))
    bs = len(batch.lens)
    wanted = dsa_rank_cases.reference(batch, ranks, rank, bs, rows)
    names = [f"rank_{name}" for name in wanted]
    found = plan.dsa_prefill_shapes(
        names, bs=bs, num_tokens=batch.rows, max_len=batch.max_len, index_kpool=4,
        num_keys=len(wanted["page_table_1_flattened"]),
        num_index_pages=len(wanted["concat_page_table"]), ranks=ranks, rank=rank,
    )  # fmt: skip
    same(found, {f"rank_{name}": value for name, value in wanted.items()})


def test_rows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        lens = rng.choice([0, 1, 3, 4, 5, 9], int(rng.integers(0, 5))).tolist()
        whole = rng.integers(0, 2, len(lens)).tolist()
        kept, row = [], 0
        for length, flag in zip(lens, whole):
            row += length
            kept += range(row - (length if flag else min(length, 4)), row)
        for ranks in (1, 2, 3, 50):
            counts = [sum(row % ranks == rank for row in kept) for rank in range(ranks)]
            assert plan.tail_rows(lens, 4, whole, ranks) == max(counts)
            for rank in range(ranks):
                assert plan.rank_rows(row, ranks, rank) == len(range(rank, row, ranks))


def test_pools() -> None:
    for seed in range(0, 20, 2):
        batch = dsa_rank_cases.draw(seed)
        extends = np.minimum(batch.extends, batch.lens)
        counts = plan.extend_pools(batch.lens, extends, 4)
        batch = replace(batch, extends=extends)
        assert counts.num_pools == dsa_rank_cases.pools(batch)
        left = [
            sum(position >= length // 4 * 4 for position in range(length - extend, length))
            for length, extend in zip(batch.lens.tolist(), extends.tolist())
        ]
        assert counts.num_tails == sum(n > 0 for n in left)
        assert counts.num_index_pages == sum(-(-(n // 4) // 64) for n in batch.lens.tolist())


def test_errors() -> None:
    with pytest.raises(TypeError, match="max_len': missing"):
        plan.v4_shapes(["page_table"], bs=3)
    with pytest.raises(ValueError, match="is no field of decode"):
        plan.v4_shapes(["c3_out_loc"], bs=3)
    with pytest.raises(ValueError, match="is no field of dsa_prefill"):
        plan.dsa_prefill_shapes(["kz"], bs=3)
    with pytest.raises(ValueError, match="whole': expected 2 but got 1"):
        nsa.plan.tail_rows([1, 2], whole=[True])
    with pytest.raises(ValueError, match="rank"):
        plan.rank_rows(3, 2, 2)
