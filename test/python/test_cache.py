# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled once: in a process, on disk, ahead of time."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import _cache, _compile, _config, _files, steps

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


def test_the_compiler_is_loaded_when_it_is_needed(cache: Path) -> None:
    """Not by a process that finds what it runs."""
    script = f"""
import sys
from nsa import _cache
_cache.get_step({NAME!r}, {TEXT!r}, "cpu")
print("nsa._nsa_compiler" in sys.modules)
"""
    said = [
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
        for _ in range(2)
    ]
    assert said == [b"True\n", b"False\n"]


def test_a_compiler_that_does_not_load(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Steps are then found as without one."""

    def extension(name: str) -> Any:
        raise ImportError("libMLIR.so: cannot open shared object file")

    _cache.save_bundle(TEXT, tmp_path / "bundles")
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(tmp_path / "bundles"))
    monkeypatch.setattr(_compile, "_nsa_compiler", None)
    monkeypatch.setattr(_compile, "_missing", None)
    monkeypatch.setattr(_compile, "extension", extension)
    assert _cache.may_compile()
    run(_cache.get_step(NAME, TEXT, "cpu"))
    assert not _cache.may_compile()
    with pytest.raises(nsa.CompileError, match="libMLIR.so: cannot open"):
        nsa.compile(TEXT)


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
    for change in ({"nsa": "0.0.9"}, {"machine": "z80"}, {"file": [1, 2]}):
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


def entry(cache: Path) -> Path:
    """The one bundle that is kept."""
    (path,) = [p for p in cache.iterdir() if not p.name.startswith(".")]
    return path


def replace(path: Path, contents: bytes) -> None:
    """Another file of that name: what is loaded stays what it was."""
    path.unlink()
    path.write_bytes(contents)


def cut(path: Path) -> None:
    replace(path, path.read_bytes()[: (path.stat().st_size - 1) // 4096 * 4096])


def zero(path: Path) -> None:
    replace(path, bytes(path.stat().st_size))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replace(path, bytes(data))


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [Path.unlink, cut, zero, flip, become_a_folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("file", [f"{NAME}.so", f"{NAME}.json", f"{NAME}.ptx", "SHA256SUMS"])
def test_damaged_file(
    file: str, damage: Any, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """What is not what was written is made anew, once."""
    target = "cuda" if file.endswith(".ptx") else "cpu"
    caplog.set_level(logging.INFO, "nsa")
    good = _cache.get_step(NAME, TEXT, target)
    damage(entry(cache) / file)
    for _ in range(2):
        forget(monkeypatch)
        step = _cache.get_step(NAME, TEXT, target)
        run(step) if target == "cpu" else None
        assert step.ptx == good.ptx
    assert len(caplog.records) == 2
    # Nothing else is left beside it.
    assert list(cache.iterdir()) == [entry(cache)]


@pytest.mark.parametrize("what", ["file", "link", "empty folder", "another file in it"])
def test_damaged_entry(
    what: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "nsa")
    _cache.get_step(NAME, TEXT, "cpu")
    path = entry(cache)
    if what == "another file in it":
        (path / "x.json").write_text("{")
    else:
        path.rename(tmp_path / "away")
        if what == "file":
            path.write_text("")
        elif what == "link":
            path.symlink_to(tmp_path / "nowhere")
        else:
            path.mkdir()
    for _ in range(2):
        forget(monkeypatch)
        run(_cache.get_step(NAME, TEXT, "cpu"))
    assert len(caplog.records) == 2
    assert list(cache.iterdir()) == [path]


def test_library_that_cannot_be_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that runs nothing: what is kept is whole, and of no use."""
    _cache.get_step(NAME, TEXT, "cpu")
    path = entry(cache)
    replace(path / f"{NAME}.so", b"not a library")
    _files.seal(str(path))
    forget(monkeypatch)
    run(_cache.get_step(NAME, TEXT, "cpu"))


def test_entries_are_on_the_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder is synced before the entry has its name, and its name after."""
    events = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda h: (events.append(os.readlink(f"/proc/self/fd/{h}")), fsync(h))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("renamed"), rename(a, b)))
    _cache.get_step(NAME, TEXT, "cpu")
    at = events.index("renamed")
    synced = {Path(path).name for path in events[: at - 1]}
    assert synced == {f"{NAME}.so", f"{NAME}.json", "SHA256SUMS"}
    assert Path(events[at - 1]).name.startswith(".new.")
    assert events[at + 1 :] == [str(cache)]


def test_damaged_shipped_bundle(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundles" / _cache.bundle_key(TEXT)
    path.mkdir(parents=True)
    (path / "copy_decode.json").write_text("{")
    monkeypatch.setattr(_cache, "SHIPPED", str(tmp_path / "bundles"))
    monkeypatch.setattr(_cache, "_ships_own_bundles", lambda: True)
    assert _cache.get_step(NAME, TEXT, "cuda").ptx


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
    compiled = nsa.compile(TEXT, "cpu")
    with pytest.raises(RuntimeError, match="NSA_LINKER: .* but got 'no-such-linker'"):
        compiled.save(cache / "saved")
    # What is set to nothing is not set.
    monkeypatch.setenv("NSA_LINKER", "")
    compiled.save(cache / "saved")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="needs a C compiler or a linker"):
        compiled.save(cache / "saved")


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
    path = tmp_path / f"{NAME}.so"
    whole = path.read_bytes()
    # The loader would map a file that is cut, and die where it is first touched.
    cuts = [whole[:size] for size in (0, 10, 100, *range(4096, len(whole), 4096), -1)]
    for contents in (b"not a library", bytes(len(whole)), *cuts):
        replace(path, contents)
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
    with pytest.raises(nsa.CompileError, match="expected an 'nsa.step'"):
        nsa.warmup("module {}", target="cpu")


def test_warmup_takes_every_step(cache: Path) -> None:
    """Whatever a text looks like: names are the compiler's to find."""
    one = "nsa.step @%s(in %%a : tensor<?xi32>, out %%x : memref<?xi32>) {\n"
    one += "  nsa.copy %%a to %%x : tensor<?xi32> to memref<?xi32>\n}\n"
    text = "// not nsa.step @none\n" + one % '"first"' + one % "second"
    steps = nsa.warmup(text, TEXT, target="cpu")
    assert [step.name for step in steps] == ["first", "second", NAME]
    assert _cache.get_step("second", text, "cpu") is steps[1]
    with pytest.raises(KeyError, match="no step 'third'; there is: first, second"):
        _cache.get_step("third", text, "cpu")


def test_warmup_without_anything(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver and without the compiler there is no target."""
    monkeypatch.setattr(_config, "has_compiler", lambda: False)
    monkeypatch.setattr(_compile, "_missing", "pretended", raising=False)
    monkeypatch.setattr(_cache, "SHIPPED", str(cache / "none"))

    def no_driver() -> int:
        raise nsa.DriverError("no CUDA driver")

    monkeypatch.setattr(_config._nsa_runtime, "device_count", no_driver)
    with pytest.raises(nsa.DriverError, match="cuda: no CUDA driver; cpu: no compiler"):
        nsa.warmup(TEXT)


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
