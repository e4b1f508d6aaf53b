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
ROOT = HERE.parents[1]
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
    page = (ROOT / "docs/Dialect.md").read_text()
    operations = set(re.findall(r"^### `nsa\.(\w+)`", page, re.MULTILINE)) - OTHERS
    assert len(operations) > 15
    texts = " ".join(lines for _, lines in [*VALUES.values(), *EXPANDED.values()])
    assert operations <= set(re.findall(r"nsa\.(\w+)", texts))


def test_page_names_what_there_is():
    """The files and functions of docs/Safety.md."""
    names = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs/Safety.md").read_text()))
    paths = {name for name in names if re.fullmatch(r"[\w-]+(/[\w-]+)+(\.\w+)?", name)}
    missing = {path for path in paths if not (ROOT / path).exists()}
    sources = [
        path.read_text() for path in (ROOT / "lib").rglob("*") if path.suffix in (".cpp", ".h")
    ]
    functions = {name for name in names if re.fullmatch(r"(\w+::)?[a-z]+[A-Z]\w+", name)}
    assert len(paths) > 8 and len(functions) > 15

    def is_there(name: str) -> bool:
        """A method stands in its class or behind the class's name: both are in one file."""
        parts = name.split("::")
        return any(all(re.search(rf"\b{part}\b", text) for part in parts) for text in sources)

    missing |= {name for name in functions if not is_there(name)}
    assert not missing
