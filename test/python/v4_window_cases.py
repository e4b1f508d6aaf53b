# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Batches whose windows are kept by requests, blocks of drafts, and tails of extends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import v4_cases
from v4_reference import Batch
from v4_window_reference import Windows, expected

import nsa
from nsa import _v4

FILL = -77
WINDOW = (
    "window_write_loc", "window_indices", "window_lengths", "window_req", "window_pos",
    "window_commit_mask", "window_history_req", "window_history_pos", "window_history_loc",
    "window_history_valid", "window_history_src", "swa_page_indices", "swa_topk_lengths",
    "swa_out_cache_loc", "seq_lens_casual",
)  # fmt: skip
BLOCK = (
    "swa_page_indices", "swa_topk_lengths", "seq_lens_casual", "positions_casual",
    "page_table", "swa_out_cache_loc",
)  # fmt: skip
TAIL = (
    "swa_page_indices", "tail_token_indices", "tail_floors", "tail_seq_lens_casual",
    "tail_swa_page_indices", "tail_swa_topk_lengths", "tail_page_table",
    "tail_swa_out_cache_loc", "tail_c4_out_loc", "tail_c2_sparse_topk_lengths",
    "tail_req_indices",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    of: v4_cases.Case
    fields: tuple[str, ...]
    window: int = 128
    capacity: int | None = None
    ring: int | None = None
    valid_from: bool = False
    whole: bool = False
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.of}-{self.label}"

    def options(self) -> _v4.Options:
        return replace(
            self.of.options(), window=self.window, request_window=self.capacity,
            ring=self.ring, valid_from=self.valid_from, whole=self.whole,
        )  # fmt: skip


def _of(*arguments: Any, **options: Any) -> v4_cases.Case:
    return v4_cases.Case(*arguments, **options)


CASES = [
    Case(_of("decode"), WINDOW, capacity=256, label="ring"),
    Case(_of("target_verify", 4, index="int32"), WINDOW, capacity=3, window=20, label="small"),
    Case(_of("draft_extend", 3), WINDOW, capacity=256, label="ring"),
    Case(_of("target_verify", ragged=True), WINDOW, capacity=4, label="ring"),
    Case(_of("extend", ragged=True, floors=True), WINDOW, capacity=5, label="ring"),
    Case(_of("draft_block", 5), BLOCK, label="paged"),
    Case(_of("draft_block", 3, index="int32"), BLOCK, valid_from=True, label="valid"),
    Case(_of("draft_block", 4), BLOCK, ring=160, valid_from=True, window=20, label="ring"),
    Case(_of("extend", ragged=True), TAIL, window=4, label="tail"),
    Case(_of("extend", ragged=True, index="int32"), TAIL, window=4, whole=True, label="whole"),
    Case(
        _of("extend", ragged=True),
        tuple(f"tail_{name}" for name in WINDOW),
        window=6, capacity=5, label="tail-ring",
    ),
]  # fmt: skip


def texts() -> set[str]:
    """The steps that ``run`` asks for."""
    found = set()
    for case in CASES:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc",
                   "extend_seq_lens", "valid_from")  # fmt: skip
        dtypes = {**dict.fromkeys(vectors, case.of.index), "floors": "int32", "whole": "int8"}
        found.add(_v4.write(case.options(), (case.fields,), dtypes)[0])
    return found


def draw(case: Case, seed: int, small: bool = False) -> tuple[Batch, Windows]:
    batch = replace(v4_cases.draw(case.of, seed, small), window=case.window)
    rng = np.random.default_rng(1000 + seed)
    bs = len(batch.lens)
    windows = Windows(zero_row=int(rng.integers(0, 10**6)), ring=case.ring)
    if case.capacity is not None:
        windows.groups = max(bs + int(rng.integers(-1, 3)), 1)
        windows.capacity = case.capacity
    if case.valid_from:
        valid = rng.choice([0, 1, 100, 300, 639, -5, 2**31 - 1], 7)
        windows.valid_from = valid.astype(case.of.index)
    if case.whole:
        windows.whole = rng.integers(0, 2, bs).astype(np.int8)
    windows.tail_rows = int(rng.choice([0, 2, 30]))
    return batch, windows


def run(case: Case, batch: Batch, windows: Windows, gpu: Any = None) -> None:
    """Compares every field, in arrays that are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    wanted = {name: expected(batch, windows, name) for name in case.fields}
    made = {
        name: place(np.full([size + 1 for size in value.shape], FILL, value.dtype))
        for name, value in wanted.items()
    }
    given = v4_cases.inputs(batch, place)
    if case.capacity is not None:
        given["request_window"] = {
            "groups": windows.groups,
            "zero_row": windows.zero_row,
            "capacity": windows.capacity,
        }
    for name in ("valid_from", "whole"):
        array = getattr(windows, name)
        if array is not None:
            given[name] = place(array)
    given.update(window=case.window, ring=case.ring, tail_rows=windows.tail_rows)
    nsa.ops.replay_v4([made], batch.mode, **given)
    for name, value in wanted.items():
        got = fetch(made[name])
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


__all__ = ["CASES", "draw", "run", "texts"]
