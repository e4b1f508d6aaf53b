# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step's text as a picture: what is computed from what, and who reads it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import nsa.build as nb
from nsa import __main__, has_compiler, prebuild
from nsa._tool.graph import Graph, draw_step, parse

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import mode_pages  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
TEXT = """\
// a comment
nsa.step @some(in %n : index, in %a[%n] : tensor<?xi32>, in %b : tensor<?x?xi32>,
    inout %c : memref<?xi32>, out %b0_x : memref<?xi32>, out %b1_w : memref<?xi32>,
    out %b0_y : memref<?xi32>, out %b0_z : memref<?xi32>) {
  %one = arith.constant 1 : index
  %size = tensor.dim %b, %one : tensor<?x?xi32>
  %len = nsa.seqlens %a plus 0 : tensor<?xi32> -> tensor<?xi32>
  %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %each = nsa.map(%i) in (%size) : tensor<?xi32> {
    %0 = nsa.read %sums[%i] : tensor<?xi32>
    %1 = nsa.read %c[%i] : tensor<?xi32>
    nsa.yield %0 : i32
  }
  nsa.copy %len to %b0_x, %b1_w : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %each to %b0_y : tensor<?xi32> to memref<?xi32>
  nsa.copy %sums to %b0_z : tensor<?xi32> to memref<?xi32>
}
nsa.step @other(in %d : tensor<?xi32>) {
}
"""


def test_text() -> None:
    assert parse(TEXT) == Graph(
        inputs=["a", "b", "c"],
        shared={"x": ["a"], "z": ["x"]},
        fields={"x": ["x"], "w": ["x"], "y": ["c", "z"], "z": ["z"]},
    )


def test_builder() -> None:
    s = nb.Builder("some")
    n = s.size("n")
    lens, other = (s.input(name, "int32", (n,)) for name in ("lens", "other"))
    sums = s.scan(s.map(n, lambda i: lens[i] + 1))
    s.output("dst_sums", sums)
    s.output("dst_both", s.map(n, lambda i: sums[i] + other[i]))
    graph = parse(s.text)
    assert graph.fields == {"sums": ["sums"], "both": ["other", "sums"]}
    assert graph.shared == {"sums": ["lens"]}


def test_sums_are_told_apart() -> None:
    s = nb.Builder("some")
    n = s.size("n")
    lens = s.input("lens", "int32", (n,))
    for more in (1, 2):
        sums = s.scan(s.map(n, lambda i, more=more: lens[i] + more))
        s.output(f"dst_of_{more}", s.map(n, lambda i, sums=sums: sums[i]))
    graph = parse(s.text)
    assert graph.shared == {"sums for of_1": ["lens"], "sums for of_2": ["lens"]}
    assert graph.fields == {"of_1": ["sums for of_1"], "of_2": ["sums for of_2"]}


@pytest.mark.parametrize("text", ["", "module {}", "nsa.step @x", "func @x() {\n}\n"])
def test_no_step(text: str) -> None:
    with pytest.raises(ValueError, match="^text: "):
        parse(text)


def test_picture() -> None:
    root = ElementTree.fromstring(draw_step(TEXT, {"x": "attention", "z": "<indexer>"}))
    boxes = [
        (group.get("class"), [line.text for line in group.findall(f"{SVG}text")])
        for group in root.findall(f"{SVG}g")
    ]
    assert boxes == [
        ("in", ["a"]), ("in", ["b"]), ("in", ["c"]), ("kernel", ["x"]), ("kernel", ["z"]),
        ("out", ["x"]), ("out", ["w"]), ("out", ["y"]), ("out", ["z"]), ("reader", ["attention"]),
        ("reader", ["<indexer>"]),
    ]  # fmt: skip
    kinds = [path.get("class") for path in root.findall(f"{SVG}path")]
    # a to x, x to z; x, x, c, z and z to fields; two readers.
    assert sorted(kinds) == ["inner"] * 5 + ["read"] * 2 + ["write"] * 2


def test_modes() -> None:
    """Every output of every step is a field with a reader, of sources that are there."""
    for mode in mode_pages.modes():
        for step in mode.steps:
            graph = parse(step.text)
            outputs = set(re.findall(r"\n    out %(?:b\d+|dst)_(\w+)", step.text))
            assert set(graph.fields) == outputs, step.title
            known = {*graph.inputs, *graph.shared}
            for name, sources in {**graph.shared, **graph.fields}.items():
                assert known.issuperset(sources), name
            used = {s for v in (*graph.fields.values(), *graph.shared.values()) for s in v}
            assert used == known, step.title
            assert all(mode_pages.reader(name) for name in graph.fields)
            ElementTree.fromstring(draw_step(step.text))
    with pytest.raises(LookupError):
        mode_pages.reader("nothing")


def test_usual_steps() -> None:
    """Every array of every step that is shipped is in its picture."""
    count = 0
    for text in prebuild.texts():
        graph = parse(text)
        count += 1
        head = text[: text.index(") {\n")]
        written = re.findall(r"\b(?:out|inout)(?: optional)? %(?:b\d+_|dst_)?(\w+)", head)
        assert set(graph.fields) == set(written), head
        read = re.findall(r"\b(?:in|inout)(?: optional)? %(\w+)(?:\[.*?\])? : (?!index)", head)
        assert graph.inputs == read, head
        for sources in (*graph.shared.values(), *graph.fields.values()):
            assert set(sources) <= {*graph.inputs, *graph.shared}
    assert count > 100


@pytest.mark.skipif(not has_compiler(), reason="built without the compiler")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.svg"
    text = ROOT / "examples/decode_replay.mlir"
    assert __main__.main(["inspect", str(text), "--graph", str(path)]) == 0
    assert "graph.svg" in capsys.readouterr().out
    assert "page_table_1" in path.read_text()
