# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules, saving and loading, and what compile says before it compiles."""

import importlib.machinery
import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

import nsa
from conftest import MANIFEST, HostStep
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
        monkeypatch.setattr(nsa._compile, "_missing", "pretended")
    with pytest.raises(nsa.CompileError, match="has no compiler"):
        nsa.compile("nsa.step @x() {}")


def test_bundle_path(monkeypatch, tmp_path):
    """Without a compiler, a step comes from where its text's hash says."""
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setattr(_cache, "_steps", {})
    text = "nsa.step @prefix(...)"
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    with pytest.raises(nsa.CompileError, match=f"no bundle .* in {_cache.SHIPPED}\\."):
        _cache.get_step("prefix", text, "cuda")
    with pytest.raises(nsa.CompileError, match="no bundle .* for CPU arrays"):
        _cache.get_step("prefix", text, "cpu")

    other, right = tmp_path / "other", tmp_path / "right"
    monkeypatch.setenv("NSA_BUNDLE_PATH", os.pathsep.join([str(other), str(right)]))
    key = _cache.bundle_key(text)
    with pytest.raises(nsa.CompileError, match=f"no bundle {key} .*other, .*right"):
        _cache.get_step("prefix", text, "cuda")
    nsa.Module([make_step()]).save(right / key)
    step = _cache.get_step("prefix", text, "cuda")
    assert step.ptx == "// prefix"
    assert _cache.get_step("prefix", text, "cuda") is step
    # Other options are another bundle.
    assert _cache.bundle_key(text, "sm_90") != key
    assert _cache.bundle_key(text, fuse=False) != key
    assert _cache.bundle_key(text, "sm_80") == key


def test_extension_of_another_python(tmp_path):
    """The message says what it was built for, and not that imports are circular."""
    package = tmp_path / "nsa"
    shutil.copytree(
        os.path.dirname(nsa.__file__),
        package,
        ignore=shutil.ignore_patterns("bundles", "__pycache__", "*.so"),
    )

    def message():
        code = "import nsa"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            # -S: without what the environment's own nsa is found by.
            [sys.executable, "-S", "-c", code],
            env=environment, capture_output=True, text=True,
        )
        assert done.returncode == 1 and "circular" not in done.stderr
        return done.stderr

    assert "ImportError: nsa._nsa_runtime is missing" in message()
    (package / "_nsa_runtime.cpython-37m-x86_64-linux-gnu.so").write_text("")
    text = message()
    assert "was built for another Python: there is _nsa_runtime.cpython-37m-" in text
    assert sys.implementation.cache_tag in text
    # One of this Python that cannot be loaded says why itself.
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (package / f"_nsa_runtime{suffix}").write_text("no library")
    assert "another Python" not in message() and "_nsa_runtime" in message()


# ----------------------------------------------------------------------------
# Ports of any name
# ----------------------------------------------------------------------------


def step_with_port(name, kind):
    """The step of MANIFEST with another name for its size n or its array lens, made by a
    compiler that let every name pass."""
    old = "n" if kind == "size" else "lens"
    text = json.dumps(MANIFEST).replace(f'"{old}"', json.dumps(name))
    made = HostStep(json.loads(text))
    arguments = dict(
        lens=np.array([3, 1, 2], np.int64),
        table=np.zeros((1, 1), np.int32),
        sums=np.full(4, -7, np.int32),
        row=np.zeros(1, np.int32),
        width=1,
    )
    if kind == "size":
        arguments[name] = 2
    else:
        arguments[name] = arguments.pop("lens")
    return made, arguments


NAMES = [
    "self", "arguments", "sizes", "kwargs", "args", "step", "others", "cls", "class", "None",
    "lambda", "match", "a-b", "1st", "with space", "\u00e9", "\u65e5", "*", "manifest",
]


@pytest.mark.parametrize("kind", ["size", "array"])
@pytest.mark.parametrize("name", [*NAMES, "stream"])
def test_ports_of_any_name(name, kind):
    made, arguments = step_with_port(name, kind)
    signature = made.step.signature
    assert name in str(signature)
    expected = [0, 3, 4, -7] if kind == "size" else [0, 3, 4, 6]
    if name == "stream":
        # Every call has one of its own.
        with pytest.raises(TypeError, match="argument 'stream': the step has a port of that"):
            made.step(**arguments)
        assert made.calls == []
    else:
        signature.bind(**arguments)
        made.step(**arguments)
        assert arguments["sums"].tolist() == expected
    arguments["sums"][:] = -7
    bound = made.step.bind(**arguments)
    bound.launch()
    assert arguments["sums"].tolist() == expected
    if kind == "size" and name == "stream":
        with pytest.raises(TypeError, match="argument 'stream': the step has a port of that"):
            bound.launch(stream=1)
    elif kind == "size":
        arguments["sums"][:] = -7
        bound.launch(**{name: 1}, stream=None)
        assert arguments["sums"].tolist() == [0, 3, -7, -7]


def test_ports_that_are_all_odd():
    text = json.dumps(MANIFEST)
    for old, new in zip(("n", "width", "lens", "table", "sums", "row"), NAMES[7:]):
        text = text.replace(f'"{old}"', json.dumps(new))
    parameters = nsa.Step(text, "ptx").signature.parameters
    assert [p.kind.name for p in parameters.values()][-1] == "VAR_KEYWORD"
    assert "class" in parameters["others"].annotation
