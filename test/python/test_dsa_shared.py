# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of DSA for any fields and any top-k: without a compiler they serve every subset, and
write what the step of exactly these fields writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import _cache, _dsa_prefill, _fields, _kpool_replay, _replay, prebuild

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

BS, MAX_LEN, FILL = 3, 300, -77
LENS, POOL = np.array([7, 299, 130]), np.array([3, 1, 5])
TABLE = np.random.default_rng(0).integers(0, 4096, (7, MAX_LEN), dtype=np.int32)
EXTENDS = np.array([4, 0, 7], np.int32)
LONG = ("kpool_req", "kpool_write_loc", "pool_req", "pool_write_loc", "tail_chunk_src")

#: What is called, with which constants, and fields with their shapes.
Call = tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]
CALLS: list[Call] = [
    ("replay", dict(topk=512, page_size=64), {
        "nsa_cu_seqlens_k": (BS + 1,), "real_page_table": (BS, 5)}),
    ("replay", dict(mode="target_verify", topk=1024, page_size=256, next_n=7, row_bound=24), {
        "nsa_cache_seqlens": (24,), "page_table_1": (24, MAX_LEN), "paged_mqa_ctx_lens": (BS, 7)}),
    ("replay", dict(mode="draft_extend", topk=60, extend_seq_lens=EXTENDS, row_bound=16), {
        "seqlens_expanded": (16,), "nsa_cache_seqlens": (16,)}),
    ("replay", dict(mode="target_verify", topk=2048, page_size=64, next_n=5, index_kpool=4), {
        "kpool_write_loc": (BS, 2), "nsa_cache_seqlens": (15,), "pooled_real_page_table": (15, 2)}),
    ("replay", dict(mode="draft_extend", page_size=64, extend_seq_lens=8, index_kpool=4), {
        "kpool_req": (BS,), "cache_seqlens": (BS,)}),
    ("replay", dict(mode="target_verify", page_size=64, next_n=2, index_kpool=4, live_only=True), {
        "kpool_req": (BS,), "page_table_1": (6, MAX_LEN)}),
    ("prefill", dict(topk=512), {
        "nsa_cache_seqlens": (16,), "page_table_1_flattened": (436,), "ks": (16,)}),
    ("prefill", dict(topk=1024, index_kpool=4), {
        "pool_write_loc": (9,), "tail_chunk_src": (3,), "q_ke": (16,), "num_pool_rows": (1,)}),
]  # fmt: skip


def run(call: Call) -> dict[str, np.ndarray[Any, Any]]:
    kind, constants, shapes = call
    made = {
        name: np.full(shape, FILL, np.int64 if name in LONG else np.int32)
        for name, shape in shapes.items()
    }
    given = dict(
        seq_lens=LENS, req_pool_indices=POOL, req_to_token=TABLE, max_len=MAX_LEN, **constants
    )
    if kind == "replay":
        nsa.ops.replay_metadata([made], **given)
    else:
        nsa.ops.dsa_prefill(made, extend_seq_lens=EXTENDS, num_tokens=11, rows=16, **given)
    return made


def forget() -> None:
    for made in (_dsa_prefill._runner, _kpool_replay._replay, _replay._replay):
        made.cache_clear()
    _replay._sets.forget()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The texts of steps that are asked for."""
    texts: list[str] = []
    get = _cache.get_step

    def get_step(name: str, text: str, target: str) -> Any:
        texts.append(text)
        return get(name, text, target)

    for module in (_fields, _replay):
        monkeypatch.setattr(module, "get_step", get_step)
    forget()
    yield texts
    forget()


def without_compiler(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "bundle_directories", lambda: [str(directory)])
    monkeypatch.setattr(_cache, "_steps", {})
    forget()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: "-".join(call[2]))
def test_asked(
    call: Call, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped step is asked for where that of exactly these fields is missing; it writes the
    same, and is the first to be asked for from then on."""
    expected = run(call)
    asked.clear()
    with monkeypatch.context() as patch:
        without_compiler(patch, tmp_path)
        with pytest.raises(nsa.CompileError, match="a step is missing"):
            run(call)
    shared = asked[-1]
    assert shared in set(prebuild.dsa_steps()) and shared not in asked[:-1]
    assert not set(asked[:-1]) & set(prebuild.texts())
    _cache.save_bundle(shared, str(tmp_path))
    with monkeypatch.context() as patch:
        without_compiler(patch, tmp_path)
        for _ in range(2):
            asked.clear()
            for name, array in run(call).items():
                np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert set(asked) <= {shared}


def test_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules, several destinations, and ragged rows without padding."""
    without_compiler(monkeypatch, tmp_path)
    ragged = dict(mode="draft_extend", extend_seq_lens=EXTENDS)
    plan = dict(out=np.zeros((4, 2), np.int32), clusters=2, arch="sm90")
    for more, count in ((ragged, 1), (dict(schedules=[{"topk_plan": plan}]), 1), ({}, 2)):
        made = [{"cache_seqlens": np.zeros(BS, np.int32)} for _ in range(count)]
        with pytest.raises(nsa.CompileError, match="a step is missing") as error:
            nsa.ops.replay_metadata(made, seq_lens=LENS, topk=2, **more)
        assert "optional" not in str(error.value)
    forget()


def test_missing_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the fields that are given; others ask for nothing but their arrays."""
    mode = dict(mode="decode", topk=3, page_size=64, index_kpool=4)
    (shared,) = [t for t in prebuild.dsa_steps() if "@pooled_decode" in t]
    _cache.save_bundle(shared, str(tmp_path))
    without_compiler(monkeypatch, tmp_path)
    arrays = dict(seq_lens=LENS, req_pool_indices=POOL, req_to_token=TABLE)
    made = {"nsa_cache_seqlens": np.zeros(BS, np.int32)}
    nsa.ops.replay_metadata([made], **arrays, **mode)
    assert made["nsa_cache_seqlens"].tolist() == [3 + 3, 3 + 3, 3 + 2]
    table = {"page_table_1": np.zeros((BS, MAX_LEN), np.int32)}
    with pytest.raises((TypeError, ValueError), match="max_len"):
        nsa.ops.replay_metadata([table], **arrays, **mode)
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        nsa.ops.replay_metadata([made], seq_lens=LENS, **mode)
    forget()
