# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps that were compiled ahead: what engines ask for is among them, whatever the batch
size and the lengths are, and is found without the compiler."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import _cache, _prefill, _replay, ops, prebuild, steps
from nsa.compat import sglang

TOPK = 2048
SHIPPED = Path(_cache.SHIPPED)

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)
needs_bundles = pytest.mark.skipif(
    not SHIPPED.is_dir(), reason="built without the target nsa-bundles"
)


class Engine:
    """Calls what SGLang calls, with all its optional arrays and without."""

    def __init__(self, bs: int, length: int, empty: Any, lens_dtype: Any) -> None:
        self.bs, self.length, self.empty = bs, length, empty
        self.lens = empty(bs, lens_dtype)
        self.pool = empty(bs, "int64")
        self.table = empty((bs, length), "int32")

    def vector(self, size: int) -> Any:
        return self.empty(size, "int32")

    def outputs(self, rows: int, page_size: int, wide: bool) -> dict[str, Any]:
        pages = -(-self.length // page_size)
        return {
            "cache_seqlens": self.vector(self.bs),
            "cu_seqlens_k": self.vector(self.bs + 1),
            "dsa_cache_seqlens": self.vector(rows),
            "dsa_cu_seqlens_k": self.vector(rows + 1),
            "page_table_1": self.empty((rows, self.length), "int32") if wide else None,
            "real_page_table": self.empty((rows, pages), "int32"),
            "seq_lens": self.lens,
            "req_pool_indices": self.pool,
            "req_to_token": self.table,
            "bs": self.bs,
            "dsa_index_topk": TOPK,
            "physical_page_size": page_size,
        }

    def replays(self) -> None:
        for page_size, wide in ((64, False), (64, True), (1, True)):
            outputs = self.outputs(self.bs, page_size, wide)
            sglang.fused_dsa_decode_metadata(**outputs, max_len=self.length)
            for next_n in (1, 2, 3, 4):
                rows = self.bs * next_n
                outputs = self.outputs(rows, page_size, wide)
                outputs["seqlens_expanded"] = self.vector(rows)
                outputs["max_seqlen_k"] = self.length
                for context in (None, self.empty((self.bs, next_n), "int32")):
                    sglang.fused_dsa_target_verify_metadata(
                        **outputs, next_n=next_n, paged_mqa_ctx_lens_2d=context
                    )
                for static in (True, False):
                    sglang.fused_dsa_draft_extend_metadata(
                        **outputs,
                        extend_seq_lens=self.vector(self.bs),
                        total_len=rows,
                        max_extend_len=next_n,
                        max_total_len=rows,
                        static_extend_len=static,
                    )
        rows = 4 * self.bs
        sglang.fill_draft_extend_metadata_cuda(
            self.vector(self.bs), self.lens, TOPK, self.vector(rows), self.vector(rows)
        )

    def copies(self) -> None:
        rows = self.bs

        def arrays(real: bool, flashmla: bool) -> list[Any]:
            table = self.empty((rows, self.length), "int32")
            return [
                self.vector(self.bs),
                self.vector(self.bs + 1),
                table,
                self.vector(rows),
                self.vector(rows),
                self.vector(rows + 1),
                self.empty((rows, 2), "int32") if real else None,
                self.vector(rows + 1) if flashmla else None,
                self.vector(64) if flashmla else None,
            ]

        for real in (False, True):
            for flashmla in (False, True):
                for mode in (0, 1, 2):
                    sglang.fused_metadata_copy_cuda(
                        *arrays(real, flashmla), *arrays(real, flashmla),
                        mode, self.bs, self.length, self.length, rows,
                    )
                sets = [arrays(real, flashmla) for _ in range(4)]
                for each in sets:
                    del each[4]  # seqlens_expanded
                sglang.fused_metadata_copy_multi_cuda(
                    *sum(sets, []), self.bs, self.length, rows
                )

    def prefills(self) -> None:
        queries = 2 * self.bs
        for pool in (self.pool, self.vector(self.bs)):
            sglang.build_swa_token_ids(
                self.lens, self.vector(self.bs), pool, self.table,
                self.empty(8, "int64"), 128, total_swa=queries,
            )
        starts = self.vector(self.bs + 1)
        by_request = [self.lens, *(self.vector(self.bs) for _ in range(3))]
        for topk, ratio in ((512, 4), (512, 128), (0, 1)):
            indices = self.empty((queries, topk), "int32")
            for positions in ([], [self.vector(queries)]):
                sglang.combine_topk_swa_indices(
                    indices, starts, *positions, *by_request, 128, ratio, topk
                )
        out = self.empty((queries, 640), "int32"), self.vector(queries)
        ops.combine_topk_swa_indices(None, starts, *by_request, 128, 128, 512, *out)
        for ratio in (4, 128):
            ids = self.empty((self.bs, 64), "int32")
            ops.build_compressed_token_ids(self.table, starts, ids, ratio)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in an installation without one, and with nothing remembered."""
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    monkeypatch.delenv("NSA_TARGET", raising=False)
    yield


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """No operation remembers its bindings."""
    monkeypatch.setattr(_prefill, "_steps", {})
    for caller in (ops._copy_sets, ops._flat_copies, _replay._sets, _replay._flat):
        caller.forget()
    for remembered in (_replay._replay, _replay._expansion):
        remembered.cache_clear()


@needs_compiler
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_engines_ask_for_shipped_steps(
    dtype: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the host, whose kernels are compiled once for each text; the texts are the same
    for a GPU."""
    asked = {}

    def get_step(name: str, text: str, target: str) -> Any:
        asked[text] = name
        return _cache.get_step(name, text, target)

    forget(monkeypatch)
    monkeypatch.setattr(_replay, "get_step", get_step)
    monkeypatch.setattr(ops, "get_step", get_step)
    monkeypatch.setattr(_prefill, "get_step", get_step)
    caplog.set_level(logging.INFO, "nsa")
    Engine(2, 70, np.zeros, dtype).replays()
    Engine(2, 70, np.zeros, dtype).copies()
    Engine(2, 70, np.zeros, dtype).prefills()
    assert set(asked) <= set(prebuild.texts())
    compiled, texts = len(caplog.records), len(asked)
    for bs in (1, 3, 64):
        engine = Engine(bs, 64 * bs + 7, np.zeros, dtype)
        engine.replays()
        engine.copies()
        engine.prefills()
    assert len(asked) == texts and len(caplog.records) == compiled
    forget(monkeypatch)


@needs_bundles
@pytest.mark.parametrize("target", ["cuda", "cpu"])
def test_all_are_shipped(
    target: str, no_compiler: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder has what the list says; finding and loading it compiles nothing."""
    caplog.set_level(logging.INFO, "nsa")
    texts = prebuild.texts()
    for text in texts:
        name = text.split("@")[1].split("(")[0]
        step = _cache.get_step(name, text, target)
        # Many requests are expected of a schedule, whose sums are stored before.
        launches = 2 if "expected" in text else 1
        assert step.ptx and step.runs_on_host and len(step.kernels) == launches, text
    assert not caplog.records
    folders = {path.name for path in SHIPPED.iterdir() if path.is_dir()}
    assert folders == {_cache.bundle_key(text) for text in texts}


@needs_bundles
@needs_compiler
def test_the_compiler_that_made_them_is_spared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_cache, "_steps", {})
    caplog.set_level(logging.INFO, "nsa")
    text = next(prebuild.expansions([TOPK]))
    _cache.get_step("expand_seqlens", text, "cuda")
    assert not caplog.records
    # Another compiler might make something else of the text.
    other = {**_cache.compiler_fingerprint(), "file": [1, 2]}
    monkeypatch.setattr(_cache, "_fingerprint", other)
    monkeypatch.setattr(_cache, "_steps", {})
    _cache._ships_own_bundles.cache_clear()
    _cache.get_step("expand_seqlens", text, "cuda")
    assert len(caplog.records) == 1
    _cache._ships_own_bundles.cache_clear()


@needs_compiler
def test_kernels_for_one_target(
    no_compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle without kernels for the arrays is passed over; one whose library is broken says
    so, and not that it is missing."""
    text = steps.replay("decode", [["cache_seqlens"]])
    ptx, both = tmp_path / "ptx", tmp_path / "both"
    _cache.save_bundle(text, str(ptx), host=False)
    path = Path(_cache.save_bundle(text, str(both)))
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(ptx))
    assert _cache.get_step("decode_replay", text, "cuda").ptx
    with pytest.raises(nsa.CompileError, match="no bundle .* with kernels for CPU arrays"):
        _cache.get_step("decode_replay", text, "cpu")
    monkeypatch.setenv("NSA_BUNDLE_PATH", f"{ptx}:{both}")
    lens, out = np.array([3, 4], np.int64), np.zeros(2, np.int32)
    arguments = {"seq_lens": lens, "b0_cache_seqlens": out}
    _cache.get_step("decode_replay", text, "cpu")(**arguments)
    assert out.tolist() == [3, 4]

    # In another folder: the file of a library that is loaded stays whole.
    broken = tmp_path / "broken"
    shutil.copytree(path, broken / path.name)
    (library,) = (broken / path.name).glob("*.so")
    library.write_bytes(library.read_bytes()[:1000])
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(broken))
    monkeypatch.setattr(_cache, "_steps", {})
    with pytest.raises(nsa.DriverError, match="a part of the file is missing"):
        _cache.get_step("decode_replay", text, "cpu")(**arguments)


def test_unusual_step(no_compiler: None) -> None:
    """What to do is in the message."""
    text = steps.replay("decode", [["nsa_cache_seqlens"]], topk=77)
    key = _cache.bundle_key(text)
    with pytest.raises(nsa.CompileError) as raised:
        _cache.get_step("decode_replay", text, "cuda")
    message = str(raised.value)
    for part in ("no compiler", key, _cache.SHIPPED, "nsa.prebuild", "NSA_BUNDLE_PATH", text):
        assert part in message


@needs_compiler
def test_other_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "nsa.prebuild", str(tmp_path)]
    options = ["--topk", "77", "--page-size", "1", "--next-n", "6"]
    result = subprocess.run(command + options, capture_output=True, text=True, check=True)
    count = len(prebuild.texts([77], [1], [6]))
    assert result.stdout == f"{count} steps in {tmp_path}\n"
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(tmp_path))
    for text in prebuild.replays([77], [1], [6]):
        name = text.split("@")[1].split("(")[0]
        assert _cache.get_step(name, text, "cuda").ptx


@needs_bundles
def test_on_a_gpu(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Batch sizes and lengths from 1 to 64 compile nothing, with nothing but what is
    shipped."""
    forget(monkeypatch)
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    caplog.set_level(logging.INFO, "nsa")

    def empty(shape: Any, dtype: str) -> Any:
        return gpu.asarray(np.zeros(shape, dtype))

    for bs in range(1, 65):
        engine = Engine(bs, bs, empty, "int64")
        engine.replays()
        engine.copies()
    assert not caplog.records
    forget(monkeypatch)
