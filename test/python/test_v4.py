# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of DeepSeek V4 steps against the reference, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
import v4_graph_cases
from v4_cases import CASES, draft_text, draw, run, run_drafts

import nsa
from nsa import _v4

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_fields(case, seed):
    run(draw(case, seed))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(draw(case, seed=9, small=True), backends=1)


def test_one_launch():
    for case in CASES:
        options = case.options()
        text, _ = _v4.write(options, (case.fields(),) * 3, {})
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_draft_steps(target, monkeypatch):
    """Step s has its own locations, all else is shared; in one launch."""
    monkeypatch.setenv("NSA_TARGET", target)
    run_drafts(steps=3)
    (step,) = nsa.compile(draft_text(3), "cuda").values()
    assert len(step.kernels) == 1


@pytest.mark.parametrize("case", v4_graph_cases.CASES, ids=str)
def test_changed_contents(case):
    """Idle requests, then others, in the arrays of one call: what a graph does on a GPU."""
    v4_graph_cases.run(case, 6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_idle_batch(case):
    batch = v4_graph_cases.idle(draw(case, seed=0))
    run(batch)
    run(v4_graph_cases.replace(batch, lens=batch.lens * 0))


def test_subsets_take_what_they_need():
    lens = np.array([3, 0, 700], np.int32)
    out = np.zeros(3, np.int32)
    nsa.ops.replay_v4([{"c4_topk_lengths_clamp1": out}], seq_lens=lens)
    np.testing.assert_array_equal(out, [1, 1, 175])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "prefill"}, ValueError, "mode"),
        ({"next_n": 2}, ValueError, "next_n': expected 1 in this mode but got 2"),
        ({"mode": "extend"}, ValueError, "extend_seq_lens': extend needs them"),
        ({"extend_seq_lens": np.ones(3, np.int32)}, ValueError, "decode takes none"),
        (
            {"mode": "extend", "extend_seq_lens": np.ones(3, np.int32)},
            TypeError,
            "rows': missing",
        ),
        ({"steps": 2}, ValueError, "steps': expected 1, or in decode"),
        ({"dsts": [{"c3_topk_lengths_raw": None}]}, ValueError, "is no field of decode"),
        ({"dsts": [{"c1_index_k_slots": None}]}, ValueError, "is no field of decode"),
        ({"dsts": [{"page_table": None}]}, TypeError, "req_pool_indices': missing"),
    ],
)
def test_errors(arguments, error, message):
    given = {"dsts": [{"seq_lens_casual": np.zeros(3, np.int32)}], "mode": "decode"}
    given.update(arguments)
    with pytest.raises(error, match=message):
        nsa.ops.replay_v4(given.pop("dsts"), given.pop("mode"), seq_lens=np.ones(3, np.int32), **given)
