# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.replay_metadata with pooled index keys beside SGLang's own backend, as it fills the
arrays of a captured decode, verification and draft extend, field for field, on a GPU.

In a process of its own, whose `sglang` is files of the wheel among hollow modules. Skipped,
with the reason, where there is no CUDA device, no torch, or no files in .peers/sglang
(scripts/fetch_peers.sh).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import device_or_skip

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers/sglang"


def test_sequences() -> None:
    device_or_skip()
    pytest.importorskip("torch")
    if not (PEERS / "sglang/srt/layers/attention/dsa/kpool_plan.py").exists():
        pytest.skip("no DSA backend of sglang in .peers; see scripts/fetch_peers.sh")
    command = [sys.executable, ROOT / "benchmarks/kpool.py", "--check", "--sglang", PEERS]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    for mode, fields in (("decode", 12), ("target_verify", 14), ("draft_extend", 13)):
        assert f"pooled keys, {mode}: {fields} fields equal to SGLang" in found.stdout
