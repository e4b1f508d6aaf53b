# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Thousands of replays of a captured graph of each schedule, with other lengths in each.

Skipped, with the reason, where there is no CUDA device or no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flashmla_cases
import numpy as np
import pytest
import schedule_random
import topk_plan_cases
from conftest import device_or_skip
from schedule_cases import CONVENTIONS

import nsa

REPLAYS = 10_000
BATCHES = 64
ROWS, SLOTS = 200, 132


def tables(kind: str, name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Lengths of all batches, and what is to become of them, by output."""
    rng = np.random.default_rng(0)
    if kind == "topk_plan":
        lens = np.stack([topk_plan_cases.draw(rng, ROWS) for _ in range(BATCHES)])
        plans = [topk_plan_cases.reference(each, 30, name) for each in lens]
        return lens, [np.stack(plans)]
    if kind == "flashmla":
        lens = np.stack([schedule_random.lengths(rng, (ROWS,)) for _ in range(BATCHES)])
        made = [schedule_random.flashmla(each, SLOTS, name == "sparse") for each in lens]
        return lens, [np.stack(each) for each in zip(*made)]
    lens = np.stack([schedule_random.lengths(rng, (ROWS, 2)) for _ in range(BATCHES)])
    return lens, [np.stack([schedule_random.paged_mqa(each, name, SLOTS) for each in lens])]


def operation(kind: str, name: str, lens: Any, outs: list[Any]) -> Callable[[], None]:
    if kind == "topk_plan":
        return lambda: nsa.ops.plan_topk(lens, *outs, clusters=30, arch=name)
    if kind == "flashmla":
        return lambda: nsa.ops.flashmla_schedule(lens, *outs, sparse=name == "sparse")
    workspace = None
    if kind == "paged_mqa, two launches":
        workspace = lens.new_zeros(-(-2 * ROWS // 32)).long()
    return lambda: nsa.ops.paged_mqa_schedule(
        lens, *outs, convention=name, num_sms=SLOTS, next_n=2, workspace=workspace
    )


@pytest.mark.parametrize(
    "kind, name",
    [*schedule_random.KINDS, *(("paged_mqa, two launches", name) for name in CONVENTIONS)],
)
def test_replays(kind: str, name: str) -> None:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    lens_of, wanted_of = tables(kind, name)
    batches = torch.from_numpy(lens_of).cuda()
    wanted = [torch.from_numpy(each.astype(np.int32)).cuda() for each in wanted_of]
    lens, outs = batches[0].clone(), [each[0].clone() for each in wanted]
    run = operation(kind, name, lens, outs)
    run()  # what is loaded on first use is loaded now
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    differ = torch.zeros((), dtype=torch.int64, device="cuda")
    for number in range(REPLAYS):
        batch = number * 37 % BATCHES
        lens.copy_(batches[batch])
        for out in outs:
            out.fill_(flashmla_cases.UNTOUCHED)
        graph.replay()
        for out, each in zip(outs, wanted):
            differ += (out != each[batch]).sum()
    assert int(differ) == 0
