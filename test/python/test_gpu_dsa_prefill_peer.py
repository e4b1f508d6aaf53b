# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.dsa_prefill beside SGLang's own backend in an eager extend, field for field, on a
GPU: lengths, tables, ranges of keys, and the plan of pooled index keys; and what ranks of context
parallelism have of them.

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
    command = [
        sys.executable, ROOT / "benchmarks/dsa_prefill.py", "--check", "--sglang", PEERS,
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "V3.2: 13 fields equal to SGLang" in found.stdout
    assert "pools of 4 keys: 27 fields equal to SGLang" in found.stdout
    assert "V3.2, of ranks: 13 fields equal to SGLang" in found.stdout
    assert "pools of 4 keys, of ranks: 19 fields equal to SGLang" in found.stdout
