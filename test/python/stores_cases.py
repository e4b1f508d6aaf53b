# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step that stores in every way there is, and what it has to write."""

import itertools

import numpy as np

import nsa.build as nb

#: Destinations, all of them optional.
FIELDS = ("scattered", "in_table", "masked", "drafts", "sums", "lens_copy", "table")
WIDTH = 5


def build() -> nb.Builder:
    s = nb.Builder("stores")
    n, columns = s.size("n"), s.size("columns")
    value = s.input("value", "int32", (n, WIDTH))
    mask = s.input("mask", "int8", (n, WIDTH))
    rows = s.input("rows", "int64", (n, WIDTH))
    cols = s.input("cols", "int32", (n, WIDTH))
    lens = s.input("lens", "int32", (n,))
    s.output("scattered", value, when=mask, at=rows, optional=True)
    s.output("in_table", value, at=(rows, cols), optional=True)
    s.output("masked", value, when=mask, optional=True)
    # The ends of ragged rows, by sums that blocks make themselves.
    ends = s.scan(lens)
    at = s.map((n,), lambda r: ends[r + 1].otherwise(-1).astype("int64") - 1)
    some = s.map((n,), lambda r: (lens[r] > 0).astype("int8"))
    last = s.map((n,), lambda r: value[r, WIDTH - 1])
    s.output("drafts", last, when=some, at=at, optional=True)
    s.output("sums", ends, optional=True)
    s.output("lens_copy", lens, optional=True)
    table = s.map((n, columns), lambda r, c: lens[r] + c.astype("int32"))
    s.output("table", table, optional=True)
    return s


class Stores:
    def __init__(self, target, **options):
        self.step = build().compile(target, **options)


def subsets(fields):
    for size in range(len(fields) + 1):
        yield from itertools.combinations(fields, size)


class Case:
    def __init__(self, rng, rows, hostile):
        self.n = n = int(rng.integers(0, 90)) if rows is None else rows
        self.columns = int(rng.integers(0, 700))
        count = n * WIDTH
        # Each place once, as which of two stays is unspecified; some outside.
        places = rng.permutation(count + 6)[:count] - 3
        if hostile and count:
            far = rng.choice(
                [2**63 - 1, -(2**63), 2**32, -(2**32), 2**32 + 1, -1, 2**31], count
            )
            places = np.where(rng.random(count) < 0.5, far, places)
        self.inputs = {
            "value": rng.integers(-(2**31), 2**31, (n, WIDTH)).astype(np.int32),
            "mask": rng.choice([0, 1, -1, 127, 0], (n, WIDTH)).astype(np.int8),
            "rows": places.reshape(n, WIDTH).astype(np.int64),
            "cols": rng.choice([-1, 0, 1, 2, 3, 2**31 - 1, -(2**31)], (n, WIDTH)).astype(np.int32),
            "lens": rng.integers(0, 9, n).astype(np.int32),
        }

    def outputs(self):
        n = self.n
        total = max(int(self.inputs["lens"].sum()), 0)
        shapes = {
            "scattered": (4 * n,),
            "in_table": (3 * n, 3),
            "masked": (n, WIDTH + 1),
            "drafts": (total + 1,),
            "sums": (n + 2,),
            "lens_copy": (n,),
            "table": (n, self.columns),
        }
        return {name: np.full(shape, 77, np.int32) for name, shape in shapes.items()}

    def expected(self):
        out, given, n = self.outputs(), self.inputs, self.n
        value, mask = given["value"], given["mask"]
        for r, c in itertools.product(range(n), range(WIDTH)):
            row, col = int(given["rows"][r, c]), int(given["cols"][r, c])
            if mask[r, c]:
                out["masked"][r, c] = value[r, c]
                if 0 <= row < 4 * n:
                    out["scattered"][row] = value[r, c]
            if 0 <= row < 3 * n and 0 <= col < 3:
                out["in_table"][row, col] = value[r, c]
        sums = np.concatenate([[0], np.cumsum(given["lens"].astype(np.int64))])
        for r in range(n):
            place = int(sums[r + 1]) - 1
            if given["lens"][r] > 0 and 0 <= place < len(out["drafts"]):
                out["drafts"][place] = value[r, WIDTH - 1]
        out["sums"][: n + 1] = sums
        out["lens_copy"][:] = given["lens"]
        out["table"][:] = given["lens"][:, None] + np.arange(self.columns, dtype=np.int32)
        return out

    def compare(self, arrays, fields):
        expected = self.expected()
        for name, array in arrays.items():
            wanted = expected[name] if name in fields else np.full_like(array, 77)
            np.testing.assert_array_equal(array, wanted, err_msg=name)

    def check(self, step, fields, convert=lambda array: array, back=lambda array: array):
        """`convert` takes arrays to where the step runs, `back` from there."""
        arrays = {name: convert(array) for name, array in self.outputs().items()}
        inputs = {name: convert(array) for name, array in self.inputs.items()}
        given = {name: arrays[name] if name in fields else None for name in arrays}
        step(n=self.n, columns=self.columns, **inputs, **given)
        self.compare({name: back(array) for name, array in arrays.items()}, fields)


def make_case(rng, rows=None, hostile=False):
    return Case(rng, rows, hostile)
