# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replays with incremental page tables, and what they have to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import replay_cases
from replay_cases import POISON, TABLES, Case, Variant, requests_of_rows, spoil

from nsa import steps

GRIDS = (8, 8, 16, 64, 0)
#: Of a decode step that is captured once, whose tables are written whole at first.
GRAPH_FIELDS = ("cu_seqlens_k", "nsa_cache_seqlens", *TABLES)


def graph_texts() -> set[str]:
    return {
        steps.replay("decode", (GRAPH_FIELDS,), topk=2048, page_size=64, grid=grid)
        for grid in (None, 8)
    }


def variants(count: int, seed: int = 0) -> list[Variant]:
    """Those of replay_cases, incremental, each with a table at least."""
    return [
        replace(variant, live_only=False, grid=GRIDS[number // 3 % len(GRIDS)])
        for number, variant in enumerate(replay_cases.variants(count, seed))
    ]


def covered(first: int, end: int, columns: int, page_size: int) -> np.ndarray:
    """Which pages have a token from `first` to `end`."""
    pages = -(-columns // page_size)
    tokens = np.zeros((pages, page_size), bool)
    tokens.reshape(-1)[first : max(end, first)] = True
    return tokens.any(axis=1)


def make_incremental(case: Case, rng: Any, hostile: bool) -> Case:
    """The case with `since`, and the columns that it leaves alone as they were."""
    variant, sizes = case.variant, case.sizes
    bs, max_len = sizes["bs"], sizes["max_len"]
    most = variant.grid or 1500
    sizes["new_columns"] = new_columns = int(rng.choice([0, 1, most // 2, most - 1, most]))
    plus = variant.next_n if variant.mode == "target_verify" else 0
    # As the device has it: the low 32 bits.
    live = (case.inputs["seq_lens"].astype(np.int64) + plus).astype(np.int32).astype(np.int64)
    behind = rng.integers(-2, new_columns + 3, bs)
    since = np.where(rng.random(bs) < 0.8, live - behind, rng.integers(0, max_len + 2, bs))
    since = np.clip(since, -(2**31), 2**31 - 1).astype(np.int32)
    if hostile:
        since = spoil(since, rng)
    case.inputs["since"] = since

    request = requests_of_rows(
        variant, sizes, case.inputs.get("extend_seq_lens", variant.extend)
    )
    for port, expected in case.expected.items():
        name = port.partition("_")[2]
        if name not in TABLES:
            continue
        page_size = 1 if name == "page_table_1" else variant.page_size
        written = np.zeros(expected.shape, bool)
        for row, b in enumerate(request[: len(expected)]):
            first = max(int(since[b]), 0)
            end = min(int(live[b]), max_len, first + new_columns)
            written[row] = covered(min(first, max_len), end, max_len, page_size)
        expected[~written] = POISON
    return case


def cases(seed: int, count: int, drawn: list[Variant], max_bs: int) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    for case in replay_cases.cases(seed, count, drawn, max_bs):
        # Lengths that the tables have room for, so that columns are written.
        lens, max_len = case.inputs["seq_lens"], case.sizes["max_len"]
        shorter = rng.random(len(lens)) < 0.7
        lens[shorter] = lens[shorter] % (max_len + 3)
        rebuilt = replay_cases.make_case(case.variant, case.sizes, case.inputs, rng)
        yield make_incremental(rebuilt, rng, hostile=rng.random() < 0.3)


def hostile_cases(drawn: list[Variant]) -> Iterator[Case]:
    rng = np.random.default_rng(31)
    for case in replay_cases.hostile_cases(drawn):
        yield make_incremental(case, rng, hostile=True)
