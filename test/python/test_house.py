# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The house keeps its order: who includes whom, who asks for the class of an operation, and what benchmarks draw."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Which rooms a room knows: docs/Rationale.md, "Code generation has its own room".
KNOWS = {
    "IR": (),
    "Codegen": ("IR",),
    "Transforms": ("IR", "Codegen"),
    "Conversion": ("IR", "Codegen"),
    "Target": ("IR", "Codegen", "Transforms", "Conversion"),
    "Runtime": (),
}

#: What steps are made of, and formulas: everybody may know these.
STRUCTURE = {
    *("StepOp", "LaunchOp", "SegmentOp", "CopyOp", "CopyMetadataOp", "ExpansionOp"),
    *("MapOp", "ReadOp", "SearchOp", "YieldOp"),
}

CLASS_TEST = re.compile(
    r"(?:isa|Case|CastTo|isa_and_nonnull|isa_and_present|dyn_cast|dyn_cast_or_null|dyn_cast_if_present|cast"
    r"|getDefiningOp|IsaPred|getOps|getParentOfType)<([^<>]*)>"
)


def files(room: str) -> list[Path]:
    found = [
        path
        for top in ("lib", "include/nsa")
        for path in sorted((ROOT / top / room).rglob("*"))
        if path.suffix in (".h", ".cpp", ".td")
    ]
    assert found
    return found


@pytest.mark.parametrize("room", KNOWS)
def test_rooms(room: str) -> None:
    wrong = []
    for path in files(room):
        for other in re.findall(r'(?:#include|include) "nsa/(\w+)/', path.read_text()):
            if other != room and other not in KNOWS[room]:
                wrong.append(f"{path.relative_to(ROOT)} includes nsa/{other}")
    assert not wrong


def class_tests(text: str) -> set[str]:
    """The operations of the dialect whose class `text` asks for."""
    names = set()
    for arguments in CLASS_TEST.findall(text):
        for name in arguments.split(","):
            name = name.strip().removeprefix("nsa::")
            if re.fullmatch(r"\w+Op", name):
                names.add(name)
    return names | set(re.findall(r"\.Case\(\[.*?\]\((?:nsa::)?(\w+Op)\b", text))


def own_classes(text: str) -> set[str]:
    """The operations whose elements `text` has the code of: it may know its like."""
    return set(re.findall(r"ElementsOf<(\w+Op)>", text))


def test_class_tests_are_found() -> None:
    assert class_tests(
        "isa<nsa::PageTableOp, CopyOp>(op); x.getDefiningOp<arith::AddIOp>();"
        "TypeSwitch<Operation *>(op).Case([&](SeqlensOp op) {}).Case<ClipSeqlensOp>([] {})"
    ) == {"PageTableOp", "CopyOp", "SeqlensOp", "ClipSeqlensOp"}


@pytest.mark.parametrize("room", ["Codegen", "Transforms", "Conversion", "Target"])
def test_no_class_tests(room: str) -> None:
    """An operation says what it is by its interfaces."""
    found = {
        (path.name, name)
        for path in files(room)
        for name in class_tests(path.read_text()) - STRUCTURE - own_classes(path.read_text())
    }
    assert found == set()


def unseeded_draws(text: str) -> list[str]:
    """The calls that draw from a generator which nobody has seeded."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            torchs = re.fullmatch(r"torch\.(rand\w*|normal|bernoulli|multinomial)", name)
            if torchs and all(keyword.arg != "generator" for keyword in node.keywords):
                found.append(name)
            if re.fullmatch(r"(np\.)?random\.[a-z]\w*", name) and not node.args:
                found.append(name)
            elif re.fullmatch(r"np\.random\.(?!default_rng)[a-z]\w*", name):
                found.append(name)
    return found


def test_unseeded_draws_are_found() -> None:
    text = "torch.randint(0, 9, (3,)); np.random.default_rng(); np.random.rand(3); random.random()"
    numpys = ["np.random.default_rng", "np.random.rand"]
    assert unseeded_draws(text) == ["torch.randint", *numpys, "random.random"]
    seeded = "torch.randint(0, 9, (3,), generator=g); np.random.default_rng(0); random.Random(3)"
    assert unseeded_draws(seeded) == []


def test_benchmarks_draw_with_seeds() -> None:
    """Lengths that each run draws for itself are what two runs would differ by."""
    paths = sorted((ROOT / "benchmarks").glob("*.py"))
    assert paths
    assert {path.name: found for path in paths if (found := unseeded_draws(path.read_text()))} == {}
