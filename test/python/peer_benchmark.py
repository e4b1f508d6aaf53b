# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a benchmark compares with SGLang, in a process of its own, whose `sglang` is files of
the wheel among hollow modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import device_or_skip

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".peers/sglang"


def compare(benchmark: str, needed: str) -> str:
    """What `benchmark` says with --check. Skips, with the reason, where there is no CUDA device,
    no torch, or no file `needed` of SGLang's in .peers (scripts/fetch_peers.sh)."""
    device_or_skip()
    pytest.importorskip("torch")
    if not (PEERS / "sglang" / needed).exists():
        pytest.skip(f"no {needed} of sglang in .peers; see scripts/fetch_peers.sh")
    command = [sys.executable, ROOT / "benchmarks" / benchmark, "--check", "--sglang", PEERS]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout
