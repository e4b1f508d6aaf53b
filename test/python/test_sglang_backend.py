# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's own attention backend of DeepSeek's sparse attention, with nsa in the place of its
kernels and without: what a captured graph sees of every metadata tensor of every backend, in every
mode, is the same. On a GPU, without nsa, the metadata is that of SGLang's kernels, and launches and
host time of a refresh are reported; elsewhere it is that of its operations of torch."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from sglang_cases import CASES, PAGE, columns_of

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / ".peers/sglang"


def devices() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return ["cpu"]
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@functools.cache
def run(device: str, variant: str) -> dict[str, Any] | str:
    """What sglang_backend.py reports, or what went wrong with it."""
    path = os.pathsep.join([str(Path(nsa.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, HERE / "sglang_backend.py", PEERS, device, variant],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    output = f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    if done.returncode != 0:
        return f"sglang_backend.py {device} {variant}:\n{output}"
    # SGLang says so where it goes on without a kernel, and then it is not what it was.
    fallback = "falling back" in done.stdout
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if variant == "ours" and fallback:
        return f"sglang went on without nsa:\n{output}"
    return {**report, "fallback": fallback}


def pair(device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(without nsa, with it); skips the test, and says why, where they cannot run."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    if not (PEERS / "sglang/srt/layers/attention/dsa_backend.py").exists():
        pytest.skip(f"no dsa_backend.py in {PEERS}: scripts/fetch_peers.sh gets it")
    reports = []
    for variant in ("theirs" if device == "cuda" else "torch", "ours"):
        report = run(device, variant)
        assert isinstance(report, dict), report
        reports.append(report)
    return reports[0], reports[1]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", devices())
def test_every_tensor_of_every_backend(device: str, case: str) -> None:
    theirs, ours = (report[case]["steps"] for report in pair(device))
    assert len(theirs) == len(ours) >= 5
    names = {name for step in ours for name in step}
    backends = {name.partition(".")[0] for name in names}
    assert len(backends) == CASES[case]
    for field in ("cu_seqlens_k", "dsa_cache_seqlens_int32", "page_table_1", "real_page_table",
                  "flashmla_metadata.num_splits"):  # fmt: skip
        assert {f"{backend}.{field}" for backend in backends} <= names
    # A refresh changes what the graph sees.
    assert ours[0] != ours[1]
    for number, (left, right) in enumerate(zip(theirs, ours)):
        # Where there is no CUDA, SGLang has no schedule of a GPU's kernel.
        common = left.keys() & right.keys()
        assert device == "cpu" or left.keys() == right.keys()
        for name in sorted(common):
            assert_equal(name, left, right, f"step {number}: {name}")


def assert_equal(name: str, left: dict[str, Any], right: dict[str, Any], where: str) -> None:
    """Columns of a page table from a request's length on may keep what they hold."""
    a, b = np.array(left[name]), np.array(right[name])
    assert a.shape == b.shape, where
    backend, _, field = name.partition(".")
    if field in ("page_table_1", "real_page_table"):
        lens = np.array(left[f"{backend}.cache_seqlens_int32"])
        page = PAGE if field == "real_page_table" else 1
        live = columns_of(lens, a.shape, page)
        a, b = np.where(live, a, 0), np.where(live, b, 0)
        assert live.any(), where
    np.testing.assert_array_equal(b, a, err_msg=where)


def test_every_call_was_ours() -> None:
    _, ours = pair("cpu")
    assert "sglang.srt.layers.attention.dsa.dsa_metadata_manager.fused_dsa_decode_metadata" in (
        ours["places"]
    )


@pytest.mark.skipif("cuda" not in devices(), reason="no CUDA device")
def test_launches_and_host_time(record_property: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """As many launches as SGLang's own, or fewer. Times are reported, not judged."""
    theirs, ours = pair("cuda")
    lines = ["case                 launches: sglang, nsa    host us: sglang, nsa"]
    for case in CASES:
        a, b = theirs[case], ours[case]
        lines.append(
            f"{case:20} {a['nodes']:15} {b['nodes']:5} {a['host']:16.1f} {b['host']:6.1f}"
        )
        record_property(case, (a["nodes"], b["nodes"], a["host"], b["host"]))
    if theirs["fallback"] or not theirs["jit"]:
        lines.append("sglang ran without its compiled copies: it fell back to torch's")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert all(ours[case]["nodes"] <= theirs[case]["nodes"] for case in CASES), "\n".join(lines)
