# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules, saving and loading, and what compile says before it compiles."""

import json
import os
import stat

import pytest

import nsa
from conftest import MANIFEST
from nsa import _cache


def make_step(name="prefix", **changes):
    return nsa.Step(json.dumps({**MANIFEST, "step": name, **changes}), "// " + name)


def test_module_is_a_mapping():
    module = nsa.Module([make_step("a"), make_step("b")])
    assert list(module) == ["a", "b"] and len(module) == 2 and "a" in module
    assert module["b"].name == "b"
    with pytest.raises(KeyError, match="no step 'c'; there is: a, b"):
        module["c"]


def test_save_and_load(tmp_path):
    directory = tmp_path / "deep" / "bundle"
    steps = [make_step("a", ptx="a.ptx"), make_step("b", ptx=None)]
    nsa.Module(steps).save(directory)
    assert sorted(os.listdir(directory)) == ["a.json", "a.ptx", "b.json", "b.ptx"]
    assert stat.S_IMODE(os.stat(directory / "a.ptx").st_mode) & 0o400
    loaded = nsa.load(directory)
    assert list(loaded) == ["a", "b"]
    assert loaded["a"].manifest == steps[0].manifest
    assert loaded["b"].ptx == "// b"
    # Saving again writes over it.
    loaded.save(directory)
    assert sorted(os.listdir(directory)) == ["a.json", "a.ptx", "b.json", "b.ptx"]


def test_save_of_host_kernels(host, tmp_path):
    with pytest.raises(ValueError, match="step 'prefix' has no PTX to save"):
        nsa.Module([host.step]).save(tmp_path / "bundle")
    assert os.listdir(tmp_path) == []


def test_load_errors(tmp_path):
    with pytest.raises(OSError, match="No such file or directory"):
        nsa.load(tmp_path / "nowhere")
    with pytest.raises(OSError, match="expected a bundle but it has no NAME.json"):
        nsa.load(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="x.json: manifest: malformed JSON"):
        nsa.load(tmp_path)


def test_compile_arguments():
    with pytest.raises(ValueError, match="argument 'target': .* but got 'tpu'"):
        nsa.compile("", target="tpu")
    with pytest.raises(TypeError, match="argument 'text_or_path': .* but got int"):
        nsa.compile(3)


def test_without_compiler(monkeypatch):
    if nsa.has_compiler():
        monkeypatch.setattr(nsa._compile, "_nsa_compiler", None)
        monkeypatch.setattr(nsa._compile, "_missing", "pretended", raising=False)
    with pytest.raises(nsa.CompileError, match="has no compiler"):
        nsa.compile("nsa.step @x() {}")


def test_bundle_path(monkeypatch, tmp_path):
    """Without a compiler, a step comes from where its text's hash says."""
    monkeypatch.setattr(_cache, "has_compiler", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    text = "nsa.step @prefix(...)"
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    with pytest.raises(nsa.CompileError, match=f"no bundle .* in {_cache.SHIPPED}\\."):
        _cache.get_step("prefix", text, "cuda")
    with pytest.raises(nsa.CompileError, match="needs the compiler for CPU arrays"):
        _cache.get_step("prefix", text, "cpu")

    other, right = tmp_path / "other", tmp_path / "right"
    monkeypatch.setenv("NSA_BUNDLE_PATH", os.pathsep.join([str(other), str(right)]))
    key = _cache.bundle_key(text)
    with pytest.raises(nsa.CompileError, match=f"no bundle {key} in .*other, .*right"):
        _cache.get_step("prefix", text, "cuda")
    nsa.Module([make_step()]).save(right / key)
    step = _cache.get_step("prefix", text, "cuda")
    assert step.ptx == "// prefix"
    assert _cache.get_step("prefix", text, "cuda") is step
    # Other options are another bundle.
    assert _cache.bundle_key(text, "sm_90") != key
    assert _cache.bundle_key(text, fuse=False) != key
    assert _cache.bundle_key(text, "sm_80") == key
