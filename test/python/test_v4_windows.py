# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Windows that requests keep, draft blocks and tails against the reference, on the host and in
the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from v4_window_cases import CASES, draw, run

import nsa
from nsa import _v4

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fields(case):
    for seed in range(6):
        run(case, *draw(case, seed))


@pytest.mark.parametrize("case", [CASES[4], CASES[6], CASES[9]], ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, *draw(case, 9, small=True))


def test_one_launch():
    for case in CASES:
        text, _ = _v4.write(case.options(), (case.fields,), {})
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"request_window": {"groups": 3}}, TypeError, "request_window': missing zero_row"),
        (
            {"request_window": {"groups": 3, "zero_row": 0, "rows": 1}},
            TypeError,
            "request_window': unexpected rows",
        ),
        (
            {"mode": "draft_block", "floors": np.zeros(3, np.int32)},
            ValueError,
            "floors': a draft block has none",
        ),
        ({"mode": "decode", "dsts": [{"tail_floors": None}]}, ValueError, "no field of decode"),
    ],
)
def test_errors(arguments, error, message):
    given = {"dsts": [{"seq_lens_casual": np.zeros(3, np.int32)}], "mode": "decode"}
    given.update(arguments)
    dsts, mode = given.pop("dsts"), given.pop("mode")
    with pytest.raises(error, match=message):
        nsa.ops.replay_v4(dsts, mode, seq_lens=np.ones(3, np.int32), **given)
