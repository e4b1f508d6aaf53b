# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled once: in a process, on disk, ahead of time."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import _cache, steps

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

NAME = "copy_decode"
TEXT = steps.copy_metadata("decode", ["cache_seqlens"], [["cache_seqlens"]])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a process that has compiled nothing."""
    monkeypatch.setenv("NSA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("NSA_TARGET", raising=False)
    monkeypatch.setattr(_cache, "_steps", {})
    return tmp_path / "cache"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "_steps", {})


def run(step: Any) -> None:
    src, dst = np.arange(4, dtype=np.int32), np.zeros(4, np.int32)
    step(bs=4, max_len=0, src_cache_seqlens=src, b0_cache_seqlens=dst)
    assert np.array_equal(src, dst)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_second_process(
    target: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "nsa")
    first = _cache.get_step(NAME, TEXT, target)
    assert _cache.get_step(NAME, TEXT, target) is first
    forget(monkeypatch)
    second = _cache.get_step(NAME, TEXT, target)
    assert second is not first
    # One line for one compilation.
    assert [r.levelname for r in caplog.records] == ["INFO"]
    assert "compiled copy_decode for" in caplog.text
    if target == "cpu":
        run(first)
        run(second)
    else:
        assert first.ptx == second.ptx


def test_keys(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a bundle depends on makes another one of it."""
    keys = {
        _cache.cache_key(*arguments)
        for arguments in [
            (TEXT, "cuda", "sm_80", True, False),
            (TEXT + "\n", "cuda", "sm_80", True, False),
            (TEXT, "cpu", "sm_80", True, False),
            (TEXT, "cuda", "sm_90", True, False),
            (TEXT, "cuda", "sm_80", False, False),
            (TEXT, "cuda", "sm_80", True, True),
        ]
    }
    for change in ({"nsa": "0.0.9"}, {"llvm": "21"}, {"file": [1, 2]}):
        other = {**_cache.compiler_fingerprint(), **change}
        monkeypatch.setattr(_cache, "_fingerprint", other)
        keys.add(_cache.cache_key(TEXT, "cuda", "sm_80", True, False))
    assert len(keys) == 9


def test_broken_bundle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cache.get_step(NAME, TEXT, "cpu")
    (manifest,) = cache.glob("*/*.json")
    manifest.write_text("{")
    forget(monkeypatch)
    run(_cache.get_step(NAME, TEXT, "cpu"))


def test_unusable_directory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that cannot be written costs the time of a compilation, no more."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    run(_cache.get_step(NAME, TEXT, "cpu"))


@pytest.mark.skipif(os.geteuid() == 0, reason="a read-only folder does not stop root")
def test_read_only_directory(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    cache.chmod(0o555)
    run(_cache.get_step(NAME, TEXT, "cpu"))
    assert not list(cache.iterdir())


def test_no_linker(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSA_LINKER", "no-such-linker")
    run(_cache.get_step(NAME, TEXT, "cpu"))
    assert not list(cache.iterdir())
    with pytest.raises(RuntimeError, match="needs a C compiler or a linker"):
        nsa.compile(TEXT, "cpu").save(cache / "saved")


def test_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSA_CACHE_DIR", "")
    run(_cache.get_step(NAME, TEXT, "cpu"))
    assert nsa.config()["cache"] is None
    assert not cache.exists()


def test_many_threads(cache: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "nsa")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(_cache.get_step(NAME, TEXT, "cpu")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert len(caplog.records) == 1


def test_saved_host_bundle(tmp_path: Path) -> None:
    nsa.compile(TEXT, "cpu").save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{NAME}.json", f"{NAME}.so"]
    step = nsa.load(tmp_path)[NAME]
    assert step.runs_on_host and step.ptx is None
    run(step)


def test_broken_host_library(tmp_path: Path) -> None:
    nsa.compile(TEXT, "cpu").save(tmp_path)
    (tmp_path / f"{NAME}.so").write_bytes(b"not a library")
    with pytest.raises(nsa.DriverError, match="its host kernels cannot be loaded"):
        run(nsa.load(tmp_path)[NAME])


def test_warmup(cache: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "nsa")
    (step,) = nsa.warmup(TEXT, target="cpu")
    src, dst = np.arange(4, dtype=np.int32), np.zeros(4, np.int32)
    nsa.ops.copy_metadata(
        {"cache_seqlens": src}, [{"cache_seqlens": dst}], bs=4, max_len=0
    )
    assert np.array_equal(src, dst)
    assert _cache.get_step(NAME, TEXT, "cpu") is step
    assert len(caplog.records) == 1
    with pytest.raises(ValueError, match="expected text with an nsa.step"):
        nsa.warmup("module {}", target="cpu")


def test_restricted_target(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nsa.config()["targets"]["cpu"][0]
    monkeypatch.setenv("NSA_TARGET", "cuda")
    usable, why = nsa.config()["targets"]["cpu"]
    assert not usable and why == "NSA_TARGET=cuda excludes target 'cpu'"
    dst = np.zeros(4, np.int32)
    with pytest.raises(nsa.DriverError, match="NSA_TARGET=cuda excludes"):
        _cache.get_step(NAME, TEXT, "cpu")
    assert not dst.any()
    # Nor does a step that was made in another way run there.
    step = nsa.compile(TEXT, "cpu")[NAME]
    with pytest.raises(nsa.DriverError, match="NSA_TARGET=cuda excludes"):
        run(step)
    monkeypatch.setenv("NSA_TARGET", "cpu")
    run(step)
    monkeypatch.setenv("NSA_TARGET", "gpu")
    with pytest.raises(ValueError, match="NSA_TARGET: expected 'cuda', 'cpu' or 'simt'"):
        run(step)
    with pytest.raises(ValueError, match="NSA_TARGET: expected 'cuda', 'cpu' or 'simt'"):
        nsa.config()
