# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The schedules that are measured, as texts. Needs neither torch nor a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay_modes import BACKENDS, DECODE_FIELDS, PAGE_SIZE, TOPK

from nsa import _flashmla, _paged_mqa, _schedules, _topk_plan, steps

SLOTS = 132
CLUSTERS = 30
BATCHES = (8, 32, 128, 256, 512)
KINDS = ("paged_mqa", "topk_plan")


def schedules(
    kinds: Sequence[str], schedule: Any = None, plan: Any = None
) -> dict[str, dict[str, Any]]:
    """What a backend asks for."""
    every: dict[str, dict[str, Any]] = {
        "paged_mqa": dict(out=schedule, convention="jit", num_sms=SLOTS),
        "topk_plan": dict(out=plan, clusters=CLUSTERS, arch="sm90"),
    }
    return {kind: every[kind] for kind in kinds}


def replay_text(bs: int, kinds: Sequence[str]) -> str:
    given = [schedules(kinds)] * BACKENDS
    found, _ = _schedules.parse(given, BACKENDS, lambda: bs)
    return steps.replay(
        "decode", (DECODE_FIELDS,) * BACKENDS, topk=TOPK, page_size=PAGE_SIZE, schedules=found
    )


def texts() -> set[str]:
    """Every step that the benchmark of schedules runs."""
    result = {replay_text(bs, KINDS[:count]) for bs in BATCHES for count in range(3)}
    jit = _paged_mqa.options_of("jit")
    result.add(_paged_mqa.text(jit, "int32", rank=1))
    result.add(_paged_mqa.text(jit, "int32", rank=1, many=True))
    result.add(_topk_plan.text(_topk_plan.options_of("sm90")))
    result.add(_flashmla.text(_flashmla.options_of()))
    return result
