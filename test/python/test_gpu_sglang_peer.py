# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa beside SGLang's own functions, one by one, on a GPU; with TRITON_INTERPRET=1 on the host,
where Triton interprets SGLang's kernels. How many arrays were compared of each is printed.

In a process of its own, whose `sglang` is files of the wheel among hollow modules. Skipped,
with the reason, where there is no CUDA device, no torch with Triton, or no files in
.peers/sglang (scripts/fetch_peers.sh). Whole modes: test_gpu_v4_peer.py,
test_gpu_dsa_prefill_peer.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import device_or_skip
from sglang_peer_check import CASES

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / ".peers/sglang"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def test_functions() -> None:
    if not INTERPRETED:
        device_or_skip()
    pytest.importorskip("triton")
    if not (PEERS / "sglang/kernels/ops/attention/dsa/transform_index.py").exists():
        pytest.skip("no metadata functions of sglang in .peers; see scripts/fetch_peers.sh")
    command = [sys.executable, HERE / "sglang_peer_check.py", PEERS]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    compared = [line.partition(":")[0] for line in found.stdout.splitlines() if "equal" in line]
    left_out = {"CompressorDecodePlan", "CompressorPrefillPlan"} if INTERPRETED else set()
    assert set(compared) == set(CASES) - left_out
