# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions that make schedules, under their names; on the host."""

from __future__ import annotations

import inspect
import sys
import types

import flashmla_cases
import numpy as np
import pytest
import schedule_cases
import topk_plan_cases

import nsa
from nsa import _cache, _flashmla, _paged_mqa, _topk_plan, prebuild
from nsa.compat import _schedules, sglang

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("shape", [(60,), (60, 1), (20, 3)])
def test_paged_mqa(shape):
    rng = np.random.default_rng(0)
    lens = schedule_cases.draw(rng, 60, 1, "int32").reshape(shape)
    wanted = schedule_cases.reference(lens.reshape(-1, 1), "jit", 132)
    for dtype in (np.int32, np.int64):
        out = sglang.get_paged_mqa_logits_metadata(lens.astype(dtype), 64, 132)
        assert out.dtype == np.int32
        np.testing.assert_array_equal(out, wanted)


def test_paged_mqa_errors():
    with pytest.raises(ValueError, match="'page_size': expected 64 or 128"):
        sglang.get_paged_mqa_logits_metadata(np.ones(3, np.int32), 32, 132)
    with pytest.raises((TypeError, ValueError), match="'seq_lens'"):
        sglang.get_paged_mqa_logits_metadata(np.ones(3, np.float32), 64, 132)


def test_plan_topk():
    lens = topk_plan_cases.draw(np.random.default_rng(1), 200)
    for static in (-1, 70_000):
        wanted = topk_plan_cases.reference(lens, 30, "sm90", static)
        mine = np.full((201, 2), topk_plan_cases.UNTOUCHED, np.int32)
        out = sglang.plan_topk_v2(lens, static, out=mine, clusters=30, arch="sm90")
        assert out is mine
        np.testing.assert_array_equal(out, wanted)
    listed = wanted[0, 1]
    out = sglang.plan_topk_v2(lens, static_threshold=70_000, clusters=30, arch="sm90")
    np.testing.assert_array_equal(out[: listed + 1], wanted[: listed + 1])


def test_sglang_tells_how_many_clusters(monkeypatch):
    class NoClusters(ValueError):
        pass

    asked = []

    def get_max_active_clusters(size, occupancy):
        asked.append((size, occupancy))
        return 30

    name = "sglang.kernels.jit.utils"
    stub = types.SimpleNamespace(
        get_max_active_clusters=get_max_active_clusters, NoSchedulableClustersError=NoClusters
    )
    for depth in range(1, 5):
        parent = ".".join(name.split(".")[:depth])
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    sys.modules[name].occupancy = stub
    _schedules._clusters.cache_clear()
    lens = np.full(40, 70_000, np.int32)
    out = sglang.plan_topk_v2(lens, arch="sm90")
    assert asked == [(8, 2)] and out[0].tolist() == [98304, 0]
    _schedules._clusters.cache_clear()


def test_without_a_device():
    lens = np.full(40, 70_000, np.int32)
    with pytest.raises(TypeError, match="on no CUDA device"):
        sglang.plan_topk_v2(lens)
    with pytest.raises(TypeError, match="on no CUDA device"):
        sglang.get_mla_metadata(lens, 128, 1)


@pytest.mark.parametrize(
    "arguments, parts, options",
    [
        # Two tokens of 64 heads: two tiles.
        (dict(num_q_tokens_per_head_k=128, num_heads_k=1), 66, {}),
        (dict(num_q_tokens_per_head_k=16, num_heads_k=1), 132, {}),
        (dict(num_q_tokens_per_head_k=16, num_heads_k=200), 1, {}),
        (
            dict(num_q_tokens_per_head_k=16, num_heads_k=1, is_fp8_kvcache=True),
            132,
            {"layout": "fp8"},
        ),
        # Sparse, two queries of 128 heads.
        (
            dict(
                num_q_tokens_per_head_k=256, num_heads_k=1, num_heads_q=128,
                is_fp8_kvcache=True, topk=2048,
            ),
            33,
            {"topk": 2048},
        ),
    ],
)  # fmt: skip
def test_mla_metadata(arguments, parts, options):
    lens = flashmla_cases.draw(np.random.default_rng(2), 50)
    tiles, splits = sglang.get_mla_metadata(lens, **arguments, num_sms=132)
    wanted = flashmla_cases.reference(flashmla_cases.Options(**options), lens, parts)
    written = slice(None, 5) if options.get("layout") == "fp8" else slice(None)
    np.testing.assert_array_equal(tiles[:, written], wanted[0][:, written])
    np.testing.assert_array_equal(splits, wanted[1])


def test_shipped(monkeypatch):
    """What SGLang calls needs no compiler."""
    asked = []

    def get_step(name, text, target):
        asked.append(text)
        return _cache.get_step(name, text, target)

    for module in (_paged_mqa, _flashmla, _topk_plan):
        monkeypatch.setattr(module, "get_step", get_step)
    lens = np.full((41, 1), 70_000, np.int32)
    sglang.get_paged_mqa_logits_metadata(lens, 64, 131)
    sglang.plan_topk_v2(lens[:, 0].copy(), clusters=11, arch="sm100")
    sglang.get_mla_metadata(lens[:, 0].copy(), 16, 1, num_sms=131)
    sglang.get_mla_metadata(lens[:, 0].copy(), 16, 1, 16, True, 2048, num_sms=131)
    assert len(asked) == 4 and set(asked) <= set(prebuild.texts())


def test_signatures():
    """SGLang's parameters come first, by its names."""
    theirs = {
        "get_paged_mqa_logits_metadata": ["seq_lens", "page_size", "num_sm"],
        "plan_topk_v2": ["seq_lens", "static_threshold", "out"],
        "get_mla_metadata": [
            "cache_seqlens", "num_q_tokens_per_head_k", "num_heads_k", "num_heads_q",
            "is_fp8_kvcache", "topk",
        ],
    }  # fmt: skip
    for name, parameters in theirs.items():
        ours = list(inspect.signature(getattr(sglang, name)).parameters)
        assert ours[: len(parameters)] == parameters
