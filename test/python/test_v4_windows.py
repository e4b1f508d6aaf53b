# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""V4's windows beside the paged one, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from v4_cases import Case
from v4_plan_cases import PlanCase
from v4_window_cases import CASES, run, texts

import nsa
from nsa import _v4
from nsa._v4_windows import RING_FIELDS

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_windows(case, seed):
    run(case, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 2, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


@pytest.mark.parametrize("mode", ["decode", "target_verify", "extend"])
def test_all_in_one_launch(mode):
    """Rows, plans and windows are fields of one step."""
    case = Case(mode, ragged=mode == "extend")
    fields = (*case.fields(), *PlanCase(case).fields(), *RING_FIELDS)
    (step,) = nsa.compile(_v4.write(case.options(), (fields,), {})[0], "cuda").values()
    assert len(step.kernels) == 1


@pytest.mark.parametrize(
    ("mode", "given", "error", "message"),
    [
        ("decode", {"tail": True}, ValueError, "tail': decode has none"),
        ("decode", {"whole": np.ones(3, np.int8)}, TypeError, "tail': expected with whole"),
        ("decode", {"valid_from": np.ones(3, np.int32)}, ValueError, "decode takes none"),
        ("target_verify", {"block_ring": 4}, ValueError, "target_verify takes none"),
        ("draft_block", {"dsts": [{"c4_out_loc": None}]}, ValueError, "is no field of draft_b"),
        ("draft_extend", {"dsts": [{"history_src": None}]}, ValueError, "is no field of draft_e"),
        ("decode", {"dsts": [{"token_indices": None}]}, ValueError, "is no field of decode"),
    ],
)
def test_errors(mode, given, error, message):
    lens = np.ones(3, np.int32)
    dsts = given.pop("dsts", [{"seq_lens_casual": np.zeros(3, np.int32)}])
    with pytest.raises(error, match=message):
        nsa.ops.replay_v4(dsts, mode, seq_lens=lens, **given)
