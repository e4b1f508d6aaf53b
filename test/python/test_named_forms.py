# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Named operations and their formulas: the same elements, and shared where both stand."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import nsa
import nsa.build as nb

#: Of the build tree that the package is from.
OPT = Path(nsa.__file__).parents[2] / "bin/nsa-opt"
pytestmark = [
    pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler"),
    pytest.mark.skipif(not OPT.exists(), reason="nsa-opt is not beside the package"),
]


@nb.step
def named(s):
    n, columns = s.size("n"), s.size("columns")
    seq_lens, pool = s.input("seq_lens", "int64", (n,)), s.input("pool", "int64", (n,))
    r2t = s.input("r2t", "int32", (None, None))
    lens = s.seqlens(seq_lens, plus=3)
    table = s.page_table(r2t, pool, columns)
    s.output("lens", lens)
    s.output("clipped", s.clip_seqlens(lens, 100))
    s.output("cu", s.cu_seqlens(lens))
    s.output("table", table)
    s.output("pages", s.real_page_table(table, 64))
    s.output("odd", s.real_page_table(table, 3))
    s.output("context", s.context_lens(lens, 3))


def expand(text):
    """The text by nsa-expand-named."""
    run = subprocess.run(
        [OPT, "--nsa-expand-named"], input=text, capture_output=True, text=True, check=True
    )
    return run.stdout


def arrays(n, columns, seed):
    draw = np.random.default_rng(seed)
    wide = np.iinfo(np.int64)
    lens = draw.integers(-5, 300, n)
    lens[::3] = draw.integers(wide.min, wide.max, len(lens[::3]))
    pool = draw.integers(-2, 9, n)
    pool[::4] = draw.integers(wide.min, wide.max, len(pool[::4]))
    r2t = draw.integers(-(1 << 31), 1 << 31, (7, 200)).astype(np.int32)
    ceil = lambda by: -(-columns // by)  # noqa: E731
    shapes = dict(
        lens=n, clipped=n, cu=n + 1, table=(n, columns), pages=(n, ceil(64)),
        odd=(n, ceil(3)), context=(n, 3),
    )
    outputs = {name: np.full(shape, -77, np.int32) for name, shape in shapes.items()}
    return dict(seq_lens=lens, pool=pool, r2t=r2t), outputs


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("fuse", [True, False])
def test_elements_are_equal(target, fuse):
    text = expand(named.text)
    for name in ("seqlens", "clip_seqlens", "cu_seqlens", "page_table", "context_lens"):
        assert f"nsa.{name} " in named.text and f"nsa.{name} " not in text
    steps = [nsa.compile(each, target, fuse=fuse)["named"] for each in (named.text, text)]
    # Past the table's columns, and where its rows are no multiple of a page.
    for n, columns in ((0, 5), (1, 1), (5, 64), (6, 199), (9, 257), (3, 0)):
        results = []
        for step in steps:
            inputs, outputs = arrays(n, columns, seed=n)
            step(n=n, columns=columns, **inputs, **outputs)
            results.append(outputs)
        for field in results[0]:
            np.testing.assert_array_equal(results[0][field], results[1][field], field)
        # What semantics say of two of them, whatever the form.
        inputs, _ = arrays(n, columns, seed=n)
        lens = (inputs["seq_lens"].astype(np.int32) + np.int32(3)).astype(np.int32)
        np.testing.assert_array_equal(results[1]["lens"], lens)
        np.testing.assert_array_equal(results[1]["clipped"], np.minimum(lens, 100))


def segments(step):
    return [len(kernel["segments"]) for kernel in json.loads(step.manifest)["kernels"]]


def backends(formulas):
    """Two backends; the second one writes out what the first one names if `formulas`."""
    s = nb.Builder("backends")
    n, columns = s.size("n"), s.size("columns")
    seq_lens, pool = s.input("seq_lens", "int64", (n,)), s.input("pool", "int64", (n,))
    r2t = s.input("r2t", "int32", (None, None))
    for backend, written in enumerate((False, formulas)):
        if written:
            lens = s.map(n, lambda b: seq_lens[b].astype("int32") + 3)
            clipped = s.map(n, lambda b: nb.minimum(lens[b], 100))
            table = s.map((n, columns), lambda b, c: r2t[pool[b], c].otherwise(0))
            pages = s.map(
                (n, nb.ceildiv(columns, 64)), lambda b, c: table[b, c * 64].otherwise(0) // 64
            )
            cu = s.scan(lens)
        else:
            lens = s.seqlens(seq_lens, plus=3)
            clipped, table = s.clip_seqlens(lens, 100), s.page_table(r2t, pool, columns)
            pages, cu = s.real_page_table(table, 64), s.cu_seqlens(lens)
        values = dict(lens=lens, clipped=clipped, table=table, pages=pages, cu=cu)
        for field, value in values.items():
            s.output(f"b{backend}_{field}", value)
    return s


def test_a_formula_is_shared_with_the_operation_that_it_writes_out():
    """The very same kernel as of two backends that name it."""
    steps = [backends(formulas).compile() for formulas in (False, True)]
    assert segments(steps[0]) == segments(steps[1])
    assert steps[0].ptx == steps[1].ptx
    values = [
        {a["name"]: a["value"] for a in json.loads(step.manifest)["arguments"] if "value" in a}
        for step in steps
    ]
    assert values[0] == values[1]
    for field in ("lens", "clipped", "table", "pages", "cu"):
        assert values[1][f"b0_{field}"] == values[1][f"b1_{field}"]


def test_another_formula_is_not_shared():
    s = nb.Builder("backends")
    n = s.size("n")
    seq_lens = s.input("seq_lens", "int64", (n,))
    s.output("named", s.seqlens(seq_lens, plus=3))
    # The sum of 64 bits wraps elsewhere; the low bits are the same, the text is not.
    s.output("written", s.map(n, lambda b: (seq_lens[b] + 4).astype("int32")))
    arguments = json.loads(s.compile("cpu").manifest)["arguments"]
    values = {a["name"]: a["value"] for a in arguments if "value" in a}
    assert values["named"] != values["written"]
