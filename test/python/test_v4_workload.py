# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The V4 steps that are measured beside SGLang's: the bundles made for them are those that
the call asks for, and every element is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import _v4

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from v4_steps import Case, cases  # noqa: E402

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

CONTEXT, BS = 1024, 3


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_call(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get_step(name, text, target):
        asked.append(text)
        return get(name, text, target)

    get = _v4.get_step
    monkeypatch.setattr(_v4, "get_step", get_step)
    _v4._replay.cache_clear()  # the call asks again
    random = np.random.default_rng(0)
    destinations = [
        {
            name: np.full(shape, -77, dtype)
            for name, (shape, dtype) in case.outputs(BS, CONTEXT).items()
        }
        for _ in range(case.steps)
    ]
    nsa.ops.replay_v4(
        destinations,
        seq_lens=np.array([7, 256, 900]),
        req_pool_indices=np.array([3, 1, 5]),
        req_to_token=random.integers(0, 4096, (7, CONTEXT), dtype=np.int32),
        full_to_swa=random.integers(0, 4096, 4096),
        out_cache_loc=random.integers(0, 4096, BS * case.next_n * case.steps),
        **case.arguments(CONTEXT),
    )
    assert asked == [case.text()]
    for destination in destinations:
        for name, array in destination.items():
            assert (array != -77).all(), name
