# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""No contents make a value leave its arrays: values_guarded.py, and that it has them all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from values_guarded import EXPANDED, VALUES

import nsa

HERE = Path(__file__).resolve().parent
#: Operations that make no array of their own.
OTHERS = {"copy", "copy_metadata", "expansion", "launch", "segment", "step"}


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_values_stay_inside():
    result = subprocess.run(
        [sys.executable, HERE / "values_guarded.py"],
        check=False,
        capture_output=True,
        text=True,
    )
    last = result.stdout.splitlines()[-1:]
    assert result.returncode == 0, f"{last}: {result.stderr}"
    assert re.fullmatch(r"\d+ runs stayed inside", last[0])


def test_all_values_are_tried():
    page = (HERE.parents[1] / "docs/Dialect.md").read_text()
    operations = set(re.findall(r"^### `nsa\.(\w+)`", page, re.MULTILINE)) - OTHERS
    assert len(operations) > 15
    texts = " ".join(lines for _, lines in [*VALUES.values(), *EXPANDED.values()])
    assert operations <= set(re.findall(r"nsa\.(\w+)", texts))
