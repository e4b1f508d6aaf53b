# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a bound launch costs, in calls: times are for the benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exchange
import nsa

HERE = Path(__file__).parent


def test_a_launch_asks_for_nothing_but_launches(tmp_path: Path) -> None:
    """Two kernels are two calls of the driver beside the context's, and no allocation."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a driver with: cc is not in PATH")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("LD_PRELOAD is set, as sanitizers need it")
    stub = tmp_path / "libcuda.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-fno-builtin", "-Wl,-soname,libcuda.so.1",
         HERE / "driver_stub.c", "-o", stub],
        check=True,
    )  # fmt: skip
    path = os.pathsep.join([str(Path(nsa.__file__).parents[1]), str(HERE)])
    environment = {**os.environ, "LD_PRELOAD": str(stub), "PYTHONPATH": path}
    environment.pop("NSA_TARGET", None)
    done = subprocess.run(
        [sys.executable, HERE / "launch_counts.py", exchange.build(tmp_path)],
        env=environment, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    # What allocates is seen.
    assert counted.pop("bound anew")["allocations"] > 0
    operations = dict.fromkeys(("replay_metadata", "copy_metadata"), 1)
    assert {name: c["launches"] for name, c in counted.items()} == {
        "as bound": 2, "on a stream": 2, "other sizes": 2, "nothing to do": 1,
        **(operations if nsa.has_compiler() else {}),
    }
    for each in counted.values():
        assert each["allocations"] == 0
        # The context of the arrays is made current, and the one before again.
        assert each["other_calls"] <= 2
