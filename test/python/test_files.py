# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files: paths of any bytes, texts of any bytes, rights, what compiling leaves behind."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from conftest import MANIFEST
from nsa import _cache, _files, steps

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)
NAME = "copy"
TEXT = """nsa.step @copy(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}
"""


def run(step: Any) -> None:
    a, x = np.arange(4, dtype=np.int32), np.zeros(4, np.int32)
    step(a=a, x=x)
    assert np.array_equal(a, x)


@pytest.fixture
def odd(tmp_path: Path) -> bytes:
    """A folder whose name is no UTF-8."""
    path = os.fsencode(tmp_path) + b"/caf\xe9\xff"
    os.mkdir(path)
    return path


def forms(path: bytes) -> list[Any]:
    return [path, os.fsdecode(path), pathlib.Path(os.fsdecode(path))]


# ----------------------------------------------------------------------------
# Paths
# ----------------------------------------------------------------------------


def test_load_and_save(odd: bytes) -> None:
    for number, path in enumerate(forms(odd + b"/bundle")):
        step = nsa.Step(json.dumps({**MANIFEST, "step": f"s{number}"}), "// ptx")
        nsa.Module([step]).save(path)
    for path in forms(odd + b"/bundle"):
        assert list(nsa.load(path)) == ["s0", "s1", "s2"]
    for path in forms(odd + b"/nowhere"):
        with pytest.raises(OSError, match="nowhere: cannot be read") as info:
            nsa.load(path)
        assert os.fsencode(str(info.value)).startswith(odd)
    # What is wrong may have bytes of its own.
    for contents in (b"{\xff", b'{"schema": 1, "step": "\xff"}', b"\x80"):
        with open(odd + b"/bundle/s0.json", "wb") as stream:
            stream.write(contents)
        with pytest.raises(ValueError, match="s0.json: manifest: malformed JSON") as error:
            nsa.load(odd + b"/bundle")
        assert odd in os.fsencode(str(error.value))


@needs_compiler
def test_compile_a_path(odd: bytes) -> None:
    for path in forms(odd + b"/step.mlir"):
        with open(path, "w") as stream:
            stream.write(TEXT)
        run(nsa.compile(path, target="cpu")[NAME])
        with open(path, "w") as stream:
            stream.write(TEXT.replace("nsa.copy", "nsa.cpoy"))
        with pytest.raises(nsa.CompileError, match="step.mlir:2:3: error") as info:
            nsa.compile(path, target="cpu")
        assert os.fsencode(info.value.diagnostics).startswith(odd)


@needs_compiler
def test_cache_directory(
    odd: bytes, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "nsa")
    monkeypatch.setenv("NSA_CACHE_DIR", os.fsdecode(odd))
    for target in ("cpu", "cuda"):
        for _ in range(2):
            monkeypatch.setattr(_cache, "_steps", {})
            step = _cache.get_step(NAME, TEXT, target)
            if target == "cpu":
                run(step)
    assert len(caplog.records) == len(os.listdir(odd)) == 2


# ----------------------------------------------------------------------------
# Texts
# ----------------------------------------------------------------------------


@needs_compiler
def test_bytes_of_a_text(tmp_path: Path) -> None:
    text = TEXT.encode()
    for before in (b"// caf\xe9\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf// \xff\x00\n"):
        path = tmp_path / "step.mlir"
        path.write_bytes(before + text)
        for source in (path, str(path), before + text, os.fsdecode(before + text)):
            run(nsa.compile(source, target="cpu")[NAME])
    path.write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(nsa.CompileError, match="step.mlir:1:1: error: expected UTF-8 but got"):
        nsa.compile(path)


# ----------------------------------------------------------------------------
# What is written
# ----------------------------------------------------------------------------


def test_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the umask leaves, which nobody changes meanwhile."""

    def refuse(_: int) -> int:
        raise AssertionError("the umask is the whole process's")

    step = nsa.Step(json.dumps(MANIFEST), "// ptx")
    for mask, file, folder in ((0o022, 0o644, 0o755), (0o027, 0o640, 0o750)):
        before = os.umask(mask)
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", refuse)
            path = tmp_path / f"{mask:o}" / "bundle"
            nsa.Module([step]).save(path)
            made = _files.new_directory(str(tmp_path))
            _files.seal(str(path))
        os.umask(before)
        assert {stat.S_IMODE(p.stat().st_mode) for p in path.iterdir()} == {file}
        assert stat.S_IMODE(path.stat().st_mode) == folder
        assert stat.S_IMODE(os.stat(made).st_mode) == folder


def test_written_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _files.write_whole(str(tmp_path), "a", "old")

    def fail(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        _files.write_whole(str(tmp_path), "a", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@needs_compiler
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No dump of what was compiled, for debuggers or for perf, and no word about it."""
    code = (
        "import nsa, numpy\n"
        f"step = nsa.compile({TEXT!r}, target='cpu')['copy']\n"
        "step(a=numpy.zeros(4, 'i4'), x=numpy.zeros(4, 'i4'))\n"
    )
    for temporary in ("there", "forbidden"):
        folder = tmp_path / temporary
        folder.mkdir()
        if temporary == "forbidden":
            # A file where others' folder would be: writing there fails for root as well.
            (folder / ".debug").write_text("")
        environment = {
            **os.environ, "TMPDIR": str(folder), "HOME": str(folder), "NSA_CACHE_DIR": "",
        }
        environment.pop("JITDUMPDIR", None)
        environment["PYTHONPATH"] = str(Path(nsa.__file__).parents[1])
        before = set(os.listdir("/tmp"))
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        assert done.stdout == done.stderr == b""
        assert [p.name for p in folder.rglob("*") if p.name != ".debug"] == []
        assert not [n for n in set(os.listdir("/tmp")) - before if "jit" in n or n == ".debug"]


@needs_compiler
def test_both_forms_in_one_folder(tmp_path: Path) -> None:
    for order in (("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cpu", "cuda", "cpu")):
        folder = tmp_path / "-".join(order)
        for target in order:
            nsa.compile(TEXT, target, chip="sm_90").save(folder)
        assert sorted(os.listdir(folder)) == [f"{NAME}.{e}" for e in ("json", "ptx", "so")]
        step = nsa.load(folder)[NAME]
        assert ".target sm_90" in step.ptx and step.chip == "sm_90"
        run(step)


@needs_compiler
def test_kernels_of_another_program_go(tmp_path: Path) -> None:
    """Equal manifests do not make equal programs."""
    text = """nsa.step @copy(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
      %b = nsa.seqlens %a plus 0 : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %b to %x : tensor<?xi32> to memref<?xi32>
    }"""
    nsa.compile(text, "cuda").save(tmp_path)
    (tmp_path / "other.ptx").write_text("somebody's")
    nsa.compile(text.replace("plus 0", "plus 1"), "cpu").save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["copy.json", "copy.so", "other.ptx"]
    step = nsa.load(tmp_path)[NAME]
    assert step.ptx is None
    x = np.zeros(2, np.int32)
    step(a=np.array([1, 2], np.int32), x=x)
    assert x.tolist() == [2, 3]
    # Nor is what was loaded from here before taken for what is here now.
    nsa.compile(text.replace("plus 0", "plus 5"), "cpu").save(tmp_path)
    for loaded, expected in ((nsa.load(tmp_path)[NAME], [6, 7]), (step, [2, 3])):
        loaded(a=np.array([1, 2], np.int32), x=x)
        assert x.tolist() == expected
    # Nor does a manifest name what was not saved with it.
    nsa.compile(text, "cuda").save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["copy.json", "copy.ptx", "other.ptx"]
    nsa.load(tmp_path)
    moved = {**MANIFEST, "cubin": "prefix.cubin", "host": "prefix.so"}
    nsa.Module([nsa.Step(json.dumps(moved), "// ptx")]).save(tmp_path / "moved")
    assert nsa.load(tmp_path / "moved")["prefix"].ptx == "// ptx"


def test_copies_need_no_size_of_fields_that_they_lack() -> None:
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    for mode, fields in [
        ("decode", ["cache_seqlens"]),
        ("decode", ["cache_seqlens", "nsa_cu_seqlens_k"]),
        ("target_verify", ["cache_seqlens"]),
        ("draft_extend", ["cu_seqlens_k"]),
    ]:
        src = {f: np.arange(5, dtype=np.int32) for f in fields}
        dst = {f: np.full(5, -7, np.int32) for f in fields}
        if "cu_seqlens_k" in fields or "nsa_cu_seqlens_k" in fields:
            src = {f: v[: 5 if "cu" in f else 4] for f, v in src.items()}
        nsa.ops.copy_metadata(src, [dst], mode)
        for field, out in dst.items():
            first = int("cu" in field)
            count = len(src[field])
            assert out[first:count].tolist() == list(range(first, count))
    # With a table its columns are needed, or what the table says.
    table = np.arange(12, dtype=np.int32).reshape(3, 4)
    out = np.full((3, 4), -7, np.int32)
    nsa.ops.copy_metadata({"page_table_1": table}, [{"page_table_1": out}])
    assert np.array_equal(out, table)
    assert "max_len" in steps.copy_metadata("decode", ["page_table_1"], [["page_table_1"]])
