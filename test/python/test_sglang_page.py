# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/SGLang.md has every function of nsa.compat.sglang, says where SGLang has it, what runs and
what differs, and names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nsa
from nsa.compat import sglang
from nsa.integrations import sglang as integration

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/SGLang.md").read_text()
WHEEL = ROOT / ".peers/sglang/sglang"
HEAD = "| function | module in sglang 0.5.23 | runs | what differs |\n"
NAME = re.compile(r"`([\w.]+)`")


def rows() -> list[list[str]]:
    """Cells of the table of functions."""
    table = PAGE[PAGE.index(HEAD) + len(HEAD) :].split("\n\n", 1)[0]
    lines = table.splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def functions() -> dict[str, list[str]]:
    """The other cells of a function's row."""
    named = [(name, cells[1:]) for cells in rows() for name in NAME.findall(cells[0])]
    assert len(named) == len(dict(named)), "a function stands in two rows"
    return dict(named)


def test_complete() -> None:
    assert set(functions()) == set(sglang.__all__)


def test_cells() -> None:
    for name, cells in functions().items():
        assert len(cells) == 3 and all(cells), name
        for operation in re.findall(r"`nsa\.ops\.(\w+)`", cells[1]):
            assert callable(getattr(nsa.ops, operation)), operation


def test_modules() -> None:
    """Those that are swapped are swapped where the page says."""
    found = functions()
    for module, names in integration._FUNCTIONS.items():
        for name in names:
            assert NAME.findall(found[name][0]) == [module.removeprefix("sglang.")], name


def test_release() -> None:
    assert integration.VERSION in HEAD


def test_wheel() -> None:
    """Where there are files of the wheel, the functions are in them."""
    if not WHEEL.is_dir():
        pytest.skip("no files of sglang in .peers; see scripts/fetch_peers.sh")
    seen = 0
    for name, cells in functions().items():
        for module in NAME.findall(cells[0]):
            path = WHEEL / (module.replace(".", "/") + ".py")
            if path.exists():
                assert re.search(rf"^(def|class) {name}\b", path.read_text(), re.M), name
                seen += 1
    assert seen
