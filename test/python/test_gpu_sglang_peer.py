# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa beside SGLang's own functions, one by one, on a GPU; with TRITON_INTERPRET=1 on the host,
where Triton interprets SGLang's kernels. How many arrays were compared of each is printed.

In processes of their own, whose `sglang` is files of the wheel among hollow modules; most of
their time is Triton's and nvcc's, so there are as many at once as cores, up to eight. Skipped,
with the reason, where there is no CUDA device, no torch with Triton, or no files in
.peers/sglang (scripts/fetch_peers.sh). Whole modes: test_gpu_v4_peer.py,
test_gpu_dsa_prefill_peer.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import device_or_skip
from sglang_peer_check import CASES

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / ".peers/sglang"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: What has to be compiled by nvcc.
COMPILED = [name for name in CASES if name.startswith("Compressor")]
#: What asks for arrays of a GPU.
FUSED = [name for name in CASES if name.endswith("_metadata_kpool")]

Found = subprocess.CompletedProcess[str]


def compare(names: list[str]) -> Found:
    command = [sys.executable, HERE / "sglang_peer_check.py", PEERS, *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Future[Found]]]:
    """What the process of each function found."""
    if not INTERPRETED:
        device_or_skip()
    pytest.importorskip("triton")
    if not (PEERS / "sglang/kernels/ops/attention/dsa/kpool_metadata/decode.py").exists():
        pytest.skip("no metadata functions of sglang in .peers; see scripts/fetch_peers.sh")
    # Those that take longest begin first; nvcc's builds are shared.
    others = [name for name in CASES if name not in COMPILED]
    count = max(1, min(8, os.cpu_count() or 1) - 1)
    groups = [COMPILED, *(others[i::count] for i in range(count))]
    with ThreadPoolExecutor(len(groups)) as pool:
        yield {
            name: future
            for group in groups
            for future in [pool.submit(compare, group)]
            for name in group
        }


@pytest.mark.parametrize("name", CASES)
def test_functions(name: str, found: dict[str, Future[Found]]) -> None:
    result = found[name].result()
    lines = [line for line in result.stdout.splitlines() if line.startswith(f"{name}: ")]
    print(*lines, sep="\n")
    if INTERPRETED and name in COMPILED + FUSED:
        pytest.skip("needs a GPU")
    assert any("arrays equal to SGLang" in line for line in lines), (
        result.stdout + result.stderr
    )
