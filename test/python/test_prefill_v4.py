# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Chunks of V4's sparse prefill against the reference, on the host and in the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prefill_v4_cases import CASES, draw, run, texts

import nsa
from nsa import _cache, _fields, _prefill_v4, prebuild

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_fields(case, seed):
    run(case, seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_simulator(case, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run(case, 1, small=True)


def test_one_launch():
    for text in texts():
        (step,) = nsa.compile(text, "cuda").values()
        assert len(step.kernels) == 1


def test_takes_what_it_needs():
    lens, out = np.array([3, 0, 700]), np.zeros(3, np.int32)
    nsa.ops.prefill_v4({"c2_base": out}, seq_lens=lens)
    np.testing.assert_array_equal(out, [0, 1, 1])
    nsa.ops.prefill_v4({"c128_base": out}, seq_lens=lens, max_len=700)
    np.testing.assert_array_equal(out, [0, 5, 10])


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("fields", [("c4_swa_base", "c128_lens"), ("c2_ids", "c0_indices")])
def test_shipped(fields, windows, monkeypatch, tmp_path: Path):
    """Without a compiler the step of a model's fields is run in place of that of these."""
    asked, get = [], _cache.get_step

    def get_step(name, text, target):
        asked.append(text)
        return get(name, text, target)

    monkeypatch.setattr(_fields, "get_step", get_step)
    batch = draw((True, windows), 0)
    queries = len(batch.positions)
    shapes = {"c128_lens": queries, "c2_ids": 900, "c0_indices": (queries, 128)}

    def call():
        _prefill_v4._runner.cache_clear()
        made = {
            name: np.full(shapes.get(name, len(batch.lens)), -77, np.int32) for name in fields
        }
        given = {"swa_indices": batch.windows, "swa_lengths": batch.window_lens} if windows else {}
        nsa.ops.prefill_v4(
            made, seq_lens=batch.lens.astype(np.int32), query_pos=batch.positions,
            extend_seq_lens=batch.extends.astype(np.int32), req_pool_indices=batch.pool,
            req_to_token=batch.table, full_to_swa=batch.full_to_swa,
            query_start_loc=batch.starts, page_table=batch.page_table,
            c128_page_indices=batch.c128, max_len=128 * batch.columns, **given,
        )  # fmt: skip
        return made

    expected = call()
    # V4 has no windows that requests keep.
    shipped = not windows or "c2_ids" in fields
    asked.clear()
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    monkeypatch.setattr(_cache, "_steps", {})
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        call()
    exact, shared = asked
    assert exact not in prebuild.chunk_steps()
    assert (shared in prebuild.chunk_steps()) == shipped
    monkeypatch.undo()
    _cache.save_bundle(shared, str(tmp_path))
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(tmp_path)])
    monkeypatch.setattr(_cache, "_steps", {})
    for name, array in call().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    _prefill_v4._runner.cache_clear()


@pytest.mark.parametrize(
    ("field", "more", "error", "message"),
    [
        ("c3_ids", {}, ValueError, "dst': 'c3_ids' is no field"),
        ("swa_lens", {}, TypeError, "extend_seq_lens': missing"),
        ("c128_base", {}, TypeError, "max_len': missing, c128_base without c128_ids"),
        ("c1_base", {"window": 0}, ValueError, "window': expected an integer from 1"),
        ("c1_base", {"swa_lengths": np.zeros(3, np.int32)}, TypeError, "swa_indices': missing"),
        ("c4_base", {"page_size": 6}, ValueError, "page_size': expected a multiple of 4"),
        (
            "swa_lens",
            {"swa_lengths": np.zeros(3, np.int32), "swa_indices": np.zeros((3, 128), np.int32)},
            ValueError,
            "no field where windows are given",
        ),
    ],
)
def test_errors(field, more, error, message):
    with pytest.raises(error, match=message):
        nsa.ops.prefill_v4({field: np.zeros(3, np.int32)}, seq_lens=np.ones(3, np.int32), **more)
