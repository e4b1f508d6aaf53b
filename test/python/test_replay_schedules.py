# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules beside the metadata of replays, in one launch."""

from __future__ import annotations

import numpy as np
import pytest
from flashmla_cases import Options
from schedule_mix import MODES, Writer, count_kernels, replay

import nsa
from nsa import _schedules, steps

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

@pytest.fixture
def kernels(monkeypatch):
    return count_kernels(monkeypatch, "nsa._replay")


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
    with pytest.raises(TypeError, match="'schedules': 'paged_mqa' has no 'out'"):
        call({"paged_mqa": dict(convention="sm90", num_sms=132)})
    with pytest.raises(TypeError, match="'num_sms': expected an integer"):
        call({"paged_mqa": dict(good, num_sms=132.0)})
    with pytest.raises(TypeError, match="'schedules': 'paged_mqa' .*unhashable"):
        call({"paged_mqa": dict(good, split=[256])})
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
