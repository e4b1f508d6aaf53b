# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa in the place of sglang's functions: which, where, loudly, and back. sglang is a stub here
that has the modules and the names of the release."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa.compat import sglang as compat
from nsa.integrations import sglang as integration

BACKEND = """
from sglang.kernels.ops.attention.dsa.metadata import fused_dsa_decode_metadata as decode
from sglang.kernels.ops.attention.dsa.metadata import fused_dsa_draft_extend_metadata

def replay(*args, **kwargs):
    '''As the engine does.'''
    from sglang.kernels.ops.attention.dsa.fused_metadata_copy import fused_metadata_copy_cuda
    try:
        fused_metadata_copy_cuda(*args, **kwargs)
    except Exception as error:
        print(f"Warning: {error}, falling back")
        return "fallback"
"""


def make_stub(folder: Path, version: str = integration.VERSION) -> None:
    for name, functions in integration._FUNCTIONS.items():
        path = folder.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(
            "".join(f"def {f}(*args, **kwargs):\n    return 'theirs'\n" for f in functions)
        )
    # Before one that is installed.
    (folder / "sglang" / "__init__.py").write_text("")
    (folder / "sglang" / "backend.py").write_text(BACKEND)
    information = folder / f"sglang-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: sglang\nVersion: {version}\n"
    )


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    real = {name for name in sys.modules if name.partition(".")[0] == "sglang"}
    for name in real:
        monkeypatch.delitem(sys.modules, name)
    make_stub(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    integration.uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        del sys.modules[name]


def theirs(name: str) -> Any:
    module = importlib.import_module(f"sglang.kernels.ops.attention.{name.rpartition('.')[0]}")
    return getattr(module, name.rpartition(".")[2])


def test_swap_and_back(stub: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = importlib.import_module("sglang.backend")
    assert backend.decode() == "theirs"
    places = integration.install()
    assert places == integration.installed()
    # Where they are defined, and where they were imported to, under any name.
    functions = [f for names in integration._FUNCTIONS.values() for f in names]
    assert len(places) == len(functions) + 2
    assert "sglang.backend.decode" in places
    assert "sglang.kernels.ops.attention.dsv4.sparse_prefill_kernels.build_swa_token_ids" in places
    # Loudly.
    assert len(caplog.records) == len(places)
    assert all(r.levelno == logging.WARNING and "is nsa's now" in r.message for r in caplog.records)

    lens = np.array([3, 5], np.int64)
    out = {name: np.zeros(size, np.int32) for name, size in (
        ("cache_seqlens", 2), ("cu_seqlens_k", 3), ("dsa_cache_seqlens", 2),
        ("dsa_cu_seqlens_k", 3))}
    table = np.arange(40, dtype=np.int32).reshape(2, 20)
    backend.decode(
        **out, page_table_1=np.zeros((2, 5), np.int32), real_page_table=None, seq_lens=lens,
        req_pool_indices=np.array([0, 1]), req_to_token=table, bs=2, max_len=5,
        dsa_index_topk=2048, physical_page_size=1,
    )
    assert out["cu_seqlens_k"].tolist() == [0, 3, 8]

    assert sorted(integration.uninstall()) == sorted(places)
    assert backend.decode() == theirs("dsa.metadata.fused_dsa_decode_metadata")() == "theirs"
    assert integration.installed() == [] and integration.uninstall() == []


def test_every_function_is_ours(stub: Path) -> None:
    integration.install()
    for module, names in integration._FUNCTIONS.items():
        for name in names:
            assert name in compat.__all__
            assert getattr(importlib.import_module(module), name).__wrapped__() == "theirs"


def test_imported_later(stub: Path) -> None:
    """What is imported after has ours, and a second call finds it; both go back."""
    integration.install()
    count = len(integration.installed())
    assert integration.install() and len(integration.installed()) == count
    backend = importlib.import_module("sglang.backend")
    assert backend.decode.__wrapped__() == "theirs"
    integration.uninstall()
    assert backend.decode() == "theirs"


def test_failures_are_not_swallowed(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backend = importlib.import_module("sglang.backend")
    integration.install()
    with pytest.raises(integration.Failure, match="fused_metadata_copy_cuda") as raised:
        backend.replay("nonsense")
    assert isinstance(raised.value.__cause__, TypeError)
    assert "falling back" not in capsys.readouterr().out


def test_wrong_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_stub(other, "0.4.0")
    monkeypatch.syspath_prepend(str(other))
    with pytest.raises(RuntimeError, match="sglang 0.5.23, and this is 0.4.0"):
        integration.install()
    assert integration.install(any_version=True)


def test_missing_function(stub: Path) -> None:
    """None is swapped then."""
    module = importlib.import_module("sglang.kernels.ops.attention.dsv4.sparse_prefill_kernels")
    del module.combine_topk_swa_indices
    with pytest.raises(ImportError, match="no sglang.*combine_topk_swa_indices"):
        integration.install()
    assert integration.installed() == []
    assert theirs("dsa.metadata.fused_dsa_decode_metadata")() == "theirs"


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise integration.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(integration.metadata, "version", version)
    with pytest.raises(ImportError, match="sglang is not installed"):
        integration.install()


def test_release(caplog: pytest.LogCaptureFixture) -> None:
    """The release itself, where it is installed: every function is there, and takes what ours
    takes."""
    pytest.importorskip("torch", reason="torch is not installed")
    try:
        version = integration.metadata.version("sglang")
        for name in integration._FUNCTIONS:
            importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"sglang is not installed: {error}")
    if version != integration.VERSION:
        pytest.skip(f"sglang is {version}")
    try:
        assert len(integration.install()) >= 9
        for module, names in integration._FUNCTIONS.items():
            for name in names:
                swapped = getattr(sys.modules[module], name)
                mine = inspect.signature(getattr(compat, name)).parameters
                if any(p.kind == p.VAR_KEYWORD for p in mine.values()):
                    continue
                assert set(inspect.signature(swapped.__wrapped__).parameters) <= set(mine), name
    finally:
        integration.uninstall()


# ----------------------------------------------------------------------------
# vLLM
# ----------------------------------------------------------------------------

WARMUP = """
from abc import ABC, abstractmethod

class VllmJitKernel(ABC):
    @abstractmethod
    def get_warmup_keys(self, *args, **kwargs): ...
    @abstractmethod
    def compile(self, compile_key): ...
    def warmup(self, *args, **kwargs):
        for key in self.get_warmup_keys(*args, **kwargs):
            self.compile(key)
"""


def test_vllm_warmup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is loaded when it is asked, says that nothing is left to compile, and is called as what
    it wraps. (The stub has vLLM's names and its order of calls.)"""
    from nsa import _cache, steps
    from nsa.integrations import vllm

    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    folder = tmp_path / "vllm" / "model_executor" / "warmup"
    folder.mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").write_text("")
    (folder / "jit_warmup.py").write_text(WARMUP)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("NSA_TARGET", "cpu")
    monkeypatch.setattr(_cache, "_steps", {})

    text = steps.replay("decode", [["cache_seqlens"]])
    kernel = vllm.prebuilt(nsa.ops.replay_metadata, text, device=0)
    caplog.set_level(logging.INFO, "nsa")
    assert kernel.get_warmup_keys() == [] and kernel.warmup() is None
    before = len(caplog.records)
    lens, out = np.array([3, 4], np.int64), np.zeros(2, np.int32)
    kernel([{"cache_seqlens": out}], "decode", seq_lens=lens)
    assert out.tolist() == [3, 4]
    assert len(caplog.records) == before
    with pytest.raises(RuntimeError, match="no compile keys"):
        kernel.compile("a key")
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def test_vllms_own_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's registry of 0.33.0, from its wheel, collects such a kernel while a runner is set up,
    and its warm-up has the steps loaded and nothing compiled. Stubs stand for what else its
    warm-up imports: tqdm, the rank, and the wrapper of Triton kernels."""
    from types import ModuleType

    from nsa import _cache, steps
    from nsa.integrations import vllm

    folder = Path(__file__).resolve().parents[2] / ".peers/vllm/vllm"
    if not (folder / "model_executor/warmup/jit_warmup.py").exists():
        pytest.skip("no vLLM in .peers; scripts/fetch_peers.sh fetches what is needed of it")
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)

    def stub(name: str, path: Path | None = None, **members: object) -> None:
        module = ModuleType(name)
        if path is not None:
            module.__path__ = [str(path)]
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)

    stub("vllm", folder)
    stub("vllm.model_executor", folder / "model_executor")
    stub("vllm.model_executor.warmup", folder / "model_executor/warmup")
    stub("tqdm", tqdm=None)
    stub("vllm.distributed", is_global_first_rank=lambda: True)
    stub(
        "vllm.model_executor.warmup.jit_warmup_triton_helper",
        VllmTritonJitKernel=type("VllmTritonJitKernel", (), {}),
        compile_triton_warmup=None,
    )
    from vllm.model_executor.warmup.jit_warmup import JitWarmupRegistry

    monkeypatch.setenv("NSA_TARGET", "cpu")
    monkeypatch.setattr(_cache, "_steps", {})
    loaded: list[tuple[object, ...]] = []
    warmup = vllm.warmup
    monkeypatch.setattr(
        vllm, "warmup", lambda *texts, device: (loaded.append(texts), warmup(*texts, device=device))
    )
    text = steps.replay("decode", [["cache_seqlens"]])

    class Runner:
        @JitWarmupRegistry.capture
        def __init__(self, vllm_config: object) -> None:
            self.kernel = vllm.prebuilt(nsa.ops.replay_metadata, text, device=0)
            for _ in range(3):  # as every layer does
                self.kernel.register_warmup()

    runner = Runner(object())
    registry = runner.jit_warmup_registry  # type: ignore[attr-defined]
    assert len(registry) == 1 and not loaded
    registry.warmup()
    assert loaded == [(text,)]
    out = np.zeros(2, np.int32)
    runner.kernel([{"cache_seqlens": out}], "decode", seq_lens=np.array([3, 4], np.int64))
    assert out.tolist() == [3, 4]
    for name in [n for n in sys.modules if n.partition(".")[0] == "vllm"]:
        del sys.modules[name]
