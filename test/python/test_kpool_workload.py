# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The benchmark of pooled keys: its calls run, of the texts that are carried to a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import _cache

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from kpool_steps import Case, cases  # noqa: E402

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
CONTEXT, BS = 300, 3


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_call(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    get = _cache.get_module

    def recorded(text: str, *arguments: Any) -> Any:
        asked.append(text)
        return get(text, *arguments)

    monkeypatch.setattr(_cache, "get_module", recorded)
    made = {
        name: np.full(shape, -77, dtype)
        for name, (shape, dtype) in case.outputs(BS, CONTEXT).items()
    }
    nsa.ops.replay_metadata(
        [made], seq_lens=np.array([7, 64, 290]), req_pool_indices=np.array([3, 1, 5]),
        req_to_token=np.zeros((7, CONTEXT), np.int32), **case.arguments(CONTEXT),
    )  # fmt: skip
    assert asked == [case.text()]
    for name, array in made.items():
        assert np.all(array[0] != -77) != (case.live_only and name in case.tables()), name
        assert np.all(array.reshape(len(array), -1)[:, 0] != -77), name
