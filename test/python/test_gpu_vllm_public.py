# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's public tests on a GPU, with nsa's functions in place of vLLM's.

Skipped, with the reason, where there is no CUDA device, no torch with Triton, or none of
vLLM's tests in .peers/vllm-tests (scripts/fetch_peers.sh).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import device_or_skip

TESTS = Path(__file__).resolve().parents[2] / ".peers/vllm-tests"


def test_public_tests():
    device_or_skip()
    for name in ("torch", "triton"):
        pytest.importorskip(name)
    if not TESTS.is_dir():
        pytest.skip(f"no {TESTS}; scripts/fetch_peers.sh puts vLLM's tests there")
    run = subprocess.run(
        [sys.executable, Path(__file__).parent / "run_vllm_tests.py", TESTS, "-q", "--tb=short"],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        check=False,
    )
    last = run.stdout.rstrip().rpartition("\n")[2]
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    passed = re.search(r"(\d+) passed", last)
    assert passed is not None and int(passed[1]) >= 101, last
