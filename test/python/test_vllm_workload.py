# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A whole V4 decode of vLLM's, as the benchmark has it: one launch writes what its calls write
one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import _cache, prebuild, vllm
from nsa._tool.finding import remarks_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from vllm_layer_cases import texts as layer_texts  # noqa: E402
from vllm_workload import Batch, arrays, calls, draft_calls, place, texts  # noqa: E402

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("requests", [1, 5])
def test_one_launch(requests):
    """Of a decode, and of the draft step after it."""
    batch = Batch(requests, 4096)
    one, each = place(arrays(batch), np.copy), place(arrays(batch), np.copy)
    vllm.one_launch(*calls(one, batch), num_reqs=requests)
    for call in calls(each, batch):
        call()
    same(one, each)
    assert one["out_swa_indices"].any() and one["out_c4_slots"].any()
    before = one["out_swa_indices"].copy()
    vllm.one_launch(*draft_calls(one, batch), num_reqs=requests)
    for call in draft_calls(each, batch):
        call()
    same(one, each)
    assert (one["out_swa_indices"] != before).any()
    assert (one["out_draft_seq_lens"] == one["seq_lens"] + 1).all()


def same(one, each):
    for name, array in one.items():
        for a, b in (
            zip(array, each[name]) if isinstance(array, list) else [(array, each[name])]
        ):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_one_kernel():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_remarks():
    """How many launches an engine step needs is said, and why there are several."""
    batch = Batch(2, 4096)
    made = calls(place(arrays(batch), np.copy), batch)
    text = vllm.step_text(*made, num_reqs=2)
    assert any("fused 25 launches into 1 with 25" in each for each in remarks_of(text, "step"))
    # Calls that share nothing take more parameters than a kernel has.
    others = [
        call for _ in range(5) for call in calls(place(arrays(batch), np.copy), batch)
    ]
    remarks = remarks_of(vllm.step_text(*others), "step")
    assert any("began another launch" in each and "parameters" in each for each in remarks)


def test_shipped():
    """The benchmarks' steps are among what the package ships."""
    assert texts() | layer_texts() <= set(prebuild.texts())


def test_compiled_ahead(tmp_path, monkeypatch):
    """What was built for one batch serves others, without a compiler."""
    batch = Batch(2, 4096)
    made = calls(place(arrays(batch), np.copy), batch)
    prebuild.build(str(tmp_path), [vllm.step_text(*made, num_reqs=2)])
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(tmp_path))
    for requests, context in ((1, 4096), (7, 8192)):
        batch = Batch(requests, context)
        there = place(arrays(batch), np.copy)
        vllm.one_launch(*calls(there, batch), num_reqs=requests)
        assert there["out_seq_lens"].all()
    # Without its number of requests it is another launch.
    with pytest.raises(nsa.CompileError):
        vllm.one_launch(*calls(there, batch))
