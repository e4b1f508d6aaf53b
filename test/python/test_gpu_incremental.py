# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Incremental page tables by PTX on a GPU.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import engine_histories
import numpy as np
import pytest
from incremental_cases import GRAPH_FIELDS, cases, hostile_cases, variants
from replay_cases import Case, arguments

import nsa
from nsa import _cache
from nsa.plan import ReplayTracker

VARIANTS = variants(36)


def run_all(gpu: Any, drawn: Iterable[Case]) -> None:
    for case in drawn:
        step = _cache.get_step(f"{case.variant.mode}_replay", case.variant.text, "cuda")
        placed = arguments(case, step, gpu.asarray)
        step(**placed)
        case.check({name: gpu.asnumpy(placed[name]) for name in case.outputs})


def test_cases(gpu: Any) -> None:
    run_all(gpu, cases(11, 400, VARIANTS, max_bs=4096))


def test_hostile_cases(gpu: Any) -> None:
    run_all(gpu, hostile_cases(VARIANTS))


@pytest.mark.parametrize("mode", engine_histories.MODES)
def test_histories(gpu: Any, mode: str) -> None:
    total, incremental = engine_histories.run(
        mode, range(4), 60, place=gpu.asarray, back=gpu.asnumpy
    )
    assert incremental > 0.15 * total


def test_graph_replayed(gpu: Any) -> None:
    """One capture serves decode step after decode step: lengths, slots and `since` change on
    the device alone."""
    bs, columns, page_size = 32, 4096, 64
    rng = np.random.default_rng(0)
    tokens = gpu.asarray(rng.integers(0, 1 << 20, (bs, columns)).astype(np.int32))
    lens = rng.integers(1, columns - 200, bs)
    pool = rng.permutation(bs)
    on_device = {
        "seq_lens": gpu.asarray(lens),
        "req_pool_indices": gpu.asarray(pool),
        "req_to_token": tokens,
        "max_len": columns,
        "page_size": page_size,
        "topk": 2048,
    }
    since = gpu.asarray(np.zeros(bs, np.int32))
    shapes = ((bs + 1,), (bs,), (bs, columns), (bs, columns // page_size))
    dst = {
        name: gpu.asarray(np.full(shape, -1, np.int32))
        for name, shape in zip(GRAPH_FIELDS, shapes)
    }

    def launch() -> None:
        nsa.ops.replay_metadata([dst], since=since, new_columns=8, **on_device)

    launch()
    gpu.synchronize()
    replay = gpu.capture(launch)
    tracker = ReplayTracker(new_columns=8)
    for number in range(100):
        lens = lens + 1
        on_device["seq_lens"][...] = gpu.asarray(lens)
        changes = tracker.step(range(bs), lens.tolist())
        gpu.synchronize()
        if changes.new_columns is None:
            assert number == 0
            nsa.ops.replay_metadata([dst], **on_device)
        else:
            since[...] = gpu.asarray(np.array(changes.since, np.int32))
            gpu.synchronize()
            replay()
        gpu.synchronize()
        found = {name: gpu.asnumpy(array) for name, array in dst.items()}
        live = np.arange(columns) < lens[:, None]
        expected = gpu.asnumpy(tokens)[pool]
        assert (found["page_table_1"] == expected)[live].all()
        pages = expected[:, ::page_size] // page_size
        assert (found["real_page_table"] == pages)[live[:, ::page_size]].all()
        assert found["cu_seqlens_k"].tolist() == [0, *np.cumsum(lens)]
