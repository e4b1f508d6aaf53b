# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs scripts with driver_stub.c in the place of the CUDA driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import nsa

HERE = Path(__file__).parent


def run(folder: Path, script: str, *arguments: object, defines: Sequence[str] = ()) -> str:
    """What `script`, beside this file, prints, with a driver that is compiled with `defines`;
    skips the test, and says why, where no driver can be made."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a driver with: cc is not in PATH")
    stub = folder / "libcuda.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-fno-builtin", "-Wl,-soname,libcuda.so.1",
         *(f"-D{define}" for define in defines), HERE / "driver_stub.c", "-o", stub],
        check=True,
    )  # fmt: skip
    path = os.pathsep.join([str(Path(nsa.__file__).parents[1]), str(HERE)])
    # Sanitizers come before everything.
    preloaded = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(stub)]))
    environment = {**os.environ, "LD_PRELOAD": preloaded, "PYTHONPATH": path}
    environment.pop("NSA_TARGET", None)
    done = subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
