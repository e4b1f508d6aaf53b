# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programmatic dependent launch where there is no GPU: options, keys, and the simulator.

What a device makes of it: ``test_gpu_pdl.py``; the compiler's own check: ``test/Target``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from reference import reference_metadata

import nsa
from nsa import _cache, prebuild, simt

if not nsa.has_compiler():
    pytest.skip("no compiler", allow_module_level=True)

TEXT = (Path(__file__).resolve().parents[2] / "examples/decode_replay.mlir").read_text()
LENGTHS = """
nsa.step @lens(in %n : index, in %a[%n] : tensor<?xi64>, out %x : memref<?xi32>) {
  %len = nsa.seqlens %a plus 1 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
}"""


def test_off_where_nobody_asked() -> None:
    plain = nsa.compile(LENGTHS)["lens"]
    assert "griddepcontrol" not in plain.ptx and "pdl" not in json.loads(plain.manifest)
    step = nsa.compile(LENGTHS, pdl=True)["lens"]
    manifest = json.loads(step.manifest)
    assert manifest["pdl"] is True and manifest["chip"] == "sm_90"
    assert step.ptx.count("griddepcontrol.wait;") == len(step.kernels) == 1
    # An unknown member to an older launcher, which launches plainly: the schema is the same.
    assert manifest["schema"] == json.loads(plain.manifest)["schema"]


def test_targets_without() -> None:
    with pytest.raises(nsa.CompileError, match="'pdl'.*needs sm_90 or later.*'sm_86'"):
        nsa.compile(LENGTHS, chip="sm_86", pdl=True)
    with pytest.raises(nsa.CompileError, match="no 'pdl' where nothing is compiled for a GPU"):
        nsa.compile(LENGTHS, "cpu", pdl=True)


def test_shipped_steps() -> None:
    """Of each kind the longest: every kernel waits, by the compiler's check of its PTX."""
    kinds: dict[str, str] = {}
    for text in prebuild.texts():
        kind = text[: text.index("(")]
        kinds[kind] = max(kinds.get(kind, ""), text, key=len)
    for text in kinds.values():
        for step in nsa.compile(text, pdl=True).values():
            assert step.ptx.count("griddepcontrol.wait;") == len(step.kernels)
            assert "ld.global.nc" not in step.ptx


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("bs", [0, 1, 5])
def test_simulated(fuse: bool, bs: int) -> None:
    """The simulator refuses an access before the wait, and gives the reference's values."""
    step = nsa.compile(TEXT, "simt", fuse=fuse, pdl=True)["decode_replay"]
    rng = np.random.default_rng(bs)
    max_len, rows = 130, 2 * bs + 1
    lengths = rng.integers(0, max_len, bs, np.int64, endpoint=True)
    pool = rng.permutation(rows)[:bs].astype(np.int64)
    tokens = rng.integers(0, 1 << 20, (rows, max_len), np.int32)
    expected = reference_metadata("decode", lengths, pool, tokens, max_len, 2048, 64)
    fields = {
        f"b{backend}_{name}": np.full(want.shape, -7, np.int32)
        for backend in range(3)
        for name, want in expected.items()
        if f"b{backend}_{name}" in step.signature.parameters
    }
    step(
        bs=bs,
        max_len=max_len,
        seq_lens=lengths,
        req_pool_indices=pool,
        req_to_token=tokens,
        **fields,
    )
    assert len(fields) == 18
    for name, array in fields.items():
        np.testing.assert_array_equal(array, expected[name[3:]], err_msg=name)


def test_simulator_reports_what_does_not_wait() -> None:
    """The same kernel with its wait behind its first load."""
    step = nsa.compile(LENGTHS, pdl=True)["lens"]
    wait = "griddepcontrol.wait;"
    before, load, behind = step.ptx.replace(wait, "", 1).partition("ld.global")
    end = behind.index(";") + 1
    broken = before + load + behind[:end] + wait + behind[end:]
    late = simt.simulate(nsa.Step(step.manifest, broken))
    with pytest.raises(simt.SimtError) as info:
        late(n=3, a=np.arange(3), x=np.zeros(3, np.int32))
    assert info.value.kind == "access before wait"


def test_environment(monkeypatch) -> None:
    monkeypatch.delenv("NSA_PDL", raising=False)
    keys = {_cache.bundle_key(LENGTHS)}
    assert _cache.bundle_key(LENGTHS, "sm_80", pdl=False) in keys
    keys |= {_cache.bundle_key(LENGTHS, pdl=True), _cache.bundle_key(LENGTHS, "sm_90")}
    assert len(keys) == 3
    assert _cache.bundle_key(LENGTHS, "sm_90", pdl=True) in keys
    for value, is_dependent in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("NSA_PDL", value)
        ptx = _cache.get_step("lens", LENGTHS, "cuda").ptx
        assert ("griddepcontrol.wait" in ptx) == is_dependent
        # There is nothing of it on the host.
        assert _cache.get_step("lens", LENGTHS, "cpu").runs_on_host
    monkeypatch.setenv("NSA_PDL", "yes")
    with pytest.raises(ValueError, match="NSA_PDL: expected 0 or 1 but got 'yes'"):
        _cache.get_step("lens", LENGTHS, "cuda")


def test_made_ahead(monkeypatch, tmp_path) -> None:
    """Where there is no compiler, ``NSA_PDL`` finds what ``prebuild --pdl`` made."""
    text = LENGTHS.replace("plus 1", "plus 5")
    prebuild.build(str(tmp_path), [text], pdl=True)
    monkeypatch.setattr(_cache, "may_compile", lambda: False)
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(tmp_path))
    monkeypatch.setenv("NSA_PDL", "1")
    assert "griddepcontrol.wait" in _cache.get_step("lens", text, "cuda").ptx
    monkeypatch.setenv("NSA_PDL", "0")
    with pytest.raises(nsa.CompileError, match="a step is missing"):
        _cache.get_step("lens", text, "cuda")
    monkeypatch.setenv("NSA_PDL", "1")
    with pytest.raises(nsa.CompileError, match=r"nsa.compile\(text, 'cuda', pdl=True\)"):
        _cache.get_step("lens", text + "\n", "cuda")


def test_kept_on_disk(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NSA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NSA_PDL", "1")
    text = LENGTHS.replace("plus 1", "plus 3")
    _cache.get_step("lens", text, "cuda")
    [entry] = tmp_path.iterdir()
    assert json.loads((entry / "lens.json").read_text())["pdl"] is True


def test_saved_and_loaded(tmp_path) -> None:
    nsa.compile(LENGTHS, pdl=True).save(tmp_path)
    step = nsa.load(tmp_path)["lens"]
    assert json.loads(step.manifest)["pdl"] is True
    # Kernels without are another program: what is there goes.
    nsa.compile(LENGTHS).save(tmp_path)
    assert "pdl" not in json.loads(nsa.load(tmp_path)["lens"].manifest)
