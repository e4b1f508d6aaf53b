# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules beside the metadata of replays, in one launch."""

from __future__ import annotations

import numpy as np
import pytest
from flashmla_cases import Options
from reference import reference_metadata
from schedule_mix import FILL, Writer, count_kernels, for_replay

import nsa
from nsa import _schedules, steps

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

TOPK = 2048
MODES = {
    "decode": dict(mode="decode"),
    "decode-padded": dict(mode="decode", padding=5),
    "verify": dict(mode="target_verify", next_n=4),
    "verify-padded": dict(mode="target_verify", next_n=2, padding=3),
    "draft": dict(mode="draft_extend", extend=3),
    "draft-padded": dict(mode="draft_extend", extend=2, padding=40),
    "draft-empty": dict(mode="draft_extend", extend=0),
    "ragged": dict(mode="draft_extend", extend="array", padding=7),
    "ragged-cut": dict(mode="draft_extend", extend="array", padding=-4),
}


@pytest.fixture
def kernels(monkeypatch):
    return count_kernels(monkeypatch, "nsa._replay")


def draw(rng, bs, dtype):
    lens = np.where(rng.random(bs) < 0.4, rng.integers(0, 200_000, bs), rng.integers(-9, 600, bs))
    return lens.astype(dtype)


def replay(
    mode, bs, seed, *, extend=None, next_n=1, padding=None, dtype="int64", backends=5, more=False
):
    rng = np.random.default_rng(seed)
    lens = draw(rng, bs, dtype)
    given = dict(next_n=next_n, topk=TOPK)
    capacity = None
    if mode == "draft_extend":
        given["extend_seq_lens"] = extend
        if extend == "array":
            extend = rng.integers(-2, 7, bs).astype(np.int32)
            given["extend_seq_lens"] = extend
            capacity = max(int(np.maximum(extend, 0).sum()) + padding, 0)
    values = reference_metadata(
        mode, lens, np.zeros(bs, np.int64), np.zeros((1, 1), np.int32), 0, TOPK, 1, next_n,
        extend, capacity,
    )  # fmt: skip
    rows = values["seqlens_expanded"]
    if padding is not None:
        given["row_bound"] = bound = len(rows) + padding if capacity is None else capacity
        rows = np.concatenate([rows, np.zeros(max(bound - len(rows), 0), np.int32)])[:bound]
    wide = next_n if mode == "target_verify" else 1
    requests = values["cache_seqlens"] if wide > 1 or mode == "decode" else None
    if requests is None or padding is not None:
        # There a schedule of all requests is one of rows.
        mix = for_replay(rows, values["cache_seqlens"], TOPK, None, backends)
    else:
        mix = for_replay(rows, requests, TOPK, wide, backends)
    dsts = [{} for _ in mix.schedules]
    dsts[0]["cache_seqlens"] = np.full(bs + 1, FILL, np.int32)
    for dst in dsts if more else ():
        dst["seqlens_expanded"] = np.full(len(rows), FILL, np.int32)
        dst["nsa_cu_seqlens_k"] = np.full(len(rows) + 1, FILL, np.int32)
    nsa.ops.replay_metadata(dsts, mode, seq_lens=lens, schedules=mix.schedules, **given)
    mix.check()
    np.testing.assert_array_equal(dsts[0]["cache_seqlens"][:bs], values["cache_seqlens"])
    for dst in dsts if more else ():
        np.testing.assert_array_equal(dst["seqlens_expanded"], rows)


@pytest.mark.parametrize("name", MODES)
def test_replay(name, kernels):
    """With few backends of all modes: a plan may be asked for, and read by nobody."""
    for seed, bs in enumerate((0, 1, 40, 600)):
        replay(bs=bs, seed=seed, backends=2, more="padded" in name, **MODES[name])
    assert len(kernels) == 4 and set(kernels) == {1}


@pytest.mark.parametrize("name", ["decode", "verify", "ragged"])
def test_backends(name, kernels):
    """Each with parameters of its own."""
    replay(bs=120, seed=4, more=True, **MODES[name])
    assert kernels == [1]


def test_int32_and_large_batches():
    replay("decode", 4096, 0, dtype="int32", backends=2)
    replay("target_verify", 1500, 1, next_n=3, dtype="int32", backends=2)


@pytest.mark.parametrize("name", ["decode", "ragged"])
def test_simulator(name, kernels, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    replay(bs=40, seed=1, backends=1, **MODES[name])
    assert kernels == [1]


def test_no_fields_and_no_lengths(kernels):
    """A schedule of a constant list reads nothing."""
    w = Writer()
    schedule = w.flashmla(Options(topk=512), np.zeros(12, np.int32), 33)
    lens = np.zeros(12, np.int64)
    nsa.ops.replay_metadata([{}], seq_lens=lens, schedules=[{"flashmla": schedule}])
    for name, array, wanted in w.outputs:
        np.testing.assert_array_equal(array[: len(wanted)], wanted, err_msg=name)
    assert kernels == [1]


def test_equal_schedules_are_computed_once():
    lens = np.array([5, 9000], np.int64)
    w, column = Writer(), lens.astype(np.int32).reshape(-1, 1)
    same = [{"paged_mqa": w.paged_mqa(column, "sm90", 8)} for _ in range(3)]
    texts = []
    for schedules in (same, [same[0], None, None]):
        found, _ = _schedules.parse(schedules, 3, lambda: 2)
        texts.append(steps.replay("decode", [("cache_seqlens",)] * 3, schedules=found))
    assert texts[0].count("nsa.scan") == texts[1].count("nsa.scan") == 1
    assert texts[0].count("nsa.map") == texts[1].count("nsa.map")


def test_errors():
    lens = np.ones(40, np.int64)
    out = np.zeros((133, 2), np.int32)
    good = dict(out=out, convention="sm90", num_sms=132)

    def call(*schedules, mode="decode", **options):
        dsts = [{"cache_seqlens": np.zeros(40, np.int32)}]
        nsa.ops.replay_metadata(dsts, mode, seq_lens=lens, schedules=schedules, **options)

    with pytest.raises(ValueError, match="'schedules': expected one dict or None for each of 1"):
        call(None, None)
    with pytest.raises(ValueError, match="'schedules': 'mqa' is none of paged_mqa, topk_plan"):
        call({"mqa": good})
    with pytest.raises(ValueError, match="'schedules': 'c4_paged_mqa' is none of"):
        call({"c4_paged_mqa": good})
    with pytest.raises(TypeError, match="'schedules': 'paged_mqa' missing .*'num_sms'"):
        call({"paged_mqa": dict(out=out, convention="sm90")})
    with pytest.raises(TypeError, match="'schedules': 'paged_mqa' got an unexpected.*'sms'"):
        call({"paged_mqa": dict(good, sms=3)})
    with pytest.raises(ValueError, match="'convention': expected one of"):
        call({"paged_mqa": dict(good, convention="sm80")})
    with pytest.raises(ValueError, match="b0_paged_mqa_out"):
        call({"paged_mqa": dict(good, num_sms=133)})
    with pytest.raises(ValueError, match="'schedules': expected 'paged_mqa' with next_n 1"):
        call({"paged_mqa": dict(good, next_n=2)})
    with pytest.raises(TypeError, match="'row_bound': missing, schedules of ragged rows"):
        call({"paged_mqa": good}, mode="draft_extend", extend_seq_lens=np.ones(40, np.int32))
    sparse = dict(out_metadata=np.zeros((4, 8), np.int32), out_num_splits=np.zeros(41, np.int32))
    with pytest.raises(ValueError, match="'topk': expected an integer for a sparse"):
        call({"flashmla": dict(sparse, parts=4, sparse=True)})
    assert not out.any() and not sparse["out_metadata"].any()
