# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables whose rows share a block of threads, some threads each."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nsa
import nsa.build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

FILL = -7
#: Rows and columns: rows shorter than a vector, than a tile, as long as one, and longer.
SHAPES = (
    (0, 5), (5, 0), (1, 1), (3, 1), (9, 3), (40, 4), (7, 5), (130, 6), (5, 63), (33, 64),
    (4, 129), (9, 255), (8, 256), (3, 257), (2, 513), (2, 1100),
)  # fmt: skip


@nb.step
def tables(s):
    """A gather, one with a condition, and one whose elements go elsewhere."""
    rows, columns = s.size("rows"), s.size("columns")
    ids = s.input("ids", "int32", (rows,))
    table = s.input("table", "int32", (None, None))
    shape = (rows, columns)

    def gathered(r, c):
        return table[ids[r], c].otherwise(-1)

    value = s.map(shape, gathered, packed=True)
    s.output("whole", value)
    wide = s.map(shape, lambda r, c: gathered(r, c) * 3 + r, dtype="int64", packed=True)
    s.output("some", wide, when=s.map(shape, lambda r, c: ((r + c) % 3 == 0).astype("int8")))
    turned = s.map(shape, lambda r, c: r * 1000 + c, dtype="int32", packed=True)
    places = [s.map(shape, lambda r, c: rows - 1 - r), s.map(shape, lambda r, c: c)]
    s.output("turned", turned, at=places)


def check(step, rows, columns, pad):
    rng = np.random.default_rng(rows * 1000 + columns)
    ids = rng.choice([-1, 0, 1, 2, 3, 2**31 - 1], rows).astype(np.int32)
    table = rng.integers(0, 99, (3, max(columns - 1, 0)), np.int32)
    made = {
        name: np.full((rows + 1, columns + pad), FILL, dtype)[:, :columns]
        for name, dtype in (("whole", np.int32), ("some", np.int64), ("turned", np.int32))
    }
    step(rows=rows, columns=columns, ids=ids, table=table, **made)
    wanted = {name: np.full_like(array, FILL) for name, array in made.items()}
    for r in range(rows):
        inside = 0 <= ids[r] < 3
        for c in range(columns):
            element = table[ids[r], c] if inside and c < table.shape[1] else -1
            wanted["whole"][r, c] = element
            if (r + c) % 3 == 0:
                wanted["some"][r, c] = int(element) * 3 + r
            wanted["turned"][rows - 1 - r, c] = r * 1000 + c
    for name, array in made.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
        beside = array.base[:, columns:]
        np.testing.assert_array_equal(beside, FILL, err_msg=f"beside {name}")


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_values(target):
    step = tables.compile(target)
    for rows, columns in SHAPES:
        # Rows that are aligned, and rows that are not.
        for pad in (0, 3, -columns % 4):
            check(step, rows, columns, pad)


def test_guarded():
    step = nsa.compile(tables.text, "cpu", guards=True)["tables"]
    for rows, columns in SHAPES:
        check(step, rows, columns, 1)


def test_blocks(tmp_path):
    """A block has several rows, and as many elements as its threads take in turns."""
    nsa.compile(tables.text, "cuda").save(tmp_path)
    (kernel,) = json.loads((tmp_path / "tables.json").read_text())["kernels"]
    segment = kernel["segments"][0]
    assert (segment["rows"], segment["columns"]) == ("rows", "columns")
    rows, columns = segment["tile"]
    assert rows > 1 and columns % (kernel["threads"] // rows) == 0


def test_what_is_packed():
    def vector(s):
        s.output("a", s.map(s.size("n"), lambda i: i, packed=True))

    with pytest.raises(nb.BuildError, match="two sizes"):
        nb.step(vector)
