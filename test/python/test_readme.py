# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What README.md shows of a step, as it stands there, on NumPy's arrays."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import nsa

ROOT = Path(__file__).resolve().parents[2]
COMPILER = Path(nsa.__file__).parents[2] / "bin/nsa-compile"


def test_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not COMPILER.exists():
        pytest.skip(f"there is no {COMPILER}")
    page = (ROOT / "README.md").read_text()
    text, command, code = re.search(
        r"```mlir\n(.*?)```.*?```sh\n(.*?)```.*?```python\n(.*?)```", page, re.DOTALL
    ).groups()
    monkeypatch.chdir(tmp_path)
    Path("lengths.mlir").write_text(text)
    command = command.replace("build/bin/nsa-compile", str(COMPILER))
    subprocess.run(["bash", "-e", "-c", command], check=True)
    lens = np.arange(1, 21)
    a, b = np.zeros(20, np.int32), np.zeros(20, np.int32)
    c = np.zeros(21, np.int32)
    exec(code, {"lens": lens, "a": a, "b": b, "c": c})
    assert np.array_equal(a, lens) and np.array_equal(b, lens)
    assert np.array_equal(c, [0, *np.cumsum(lens)])


def test_a_bundle_for_gpus_alone(tmp_path: Path) -> None:
    """The message says how host kernels are had."""
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    text = nsa.steps.copy_metadata("decode", ["cache_seqlens"], [["cache_seqlens"]])
    nsa.compile(text).save(tmp_path)
    step = nsa.load(tmp_path)["copy_decode"]
    with pytest.raises(nsa.DriverError, match="nsa-compile --emit=host, or in Python for target"):
        step(
            src_cache_seqlens=np.zeros(4, np.int32),
            b0_cache_seqlens=np.zeros(4, np.int32),
            bs=4,
            max_len=0,
        )
