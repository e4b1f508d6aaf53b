# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps that leave their arrays, for tests of guards.

Kernels stay inside of arrays that a launcher has checked. Here the manifest loses its
checks, so that kernels get arrays that are too short: in front of bytes that are nobody's.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import nsa

#: Lines and columns of operations below are what reports say. Loads go element by element,
#: since the lengths have any stride; `%lens` and rows of `%rows` are stored 16 bytes at a time.
TEXT = """
nsa.step @lengths(in %n : index, in %seq_lens[%n] : tensor<?xi64>,
                  in %table : tensor<?x?xi32>,
                  out %lens : memref<?xi32>, out %rows : memref<?x?xi32>) {
  %len = nsa.seqlens %seq_lens plus 3 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32>
  nsa.copy %table to %rows : tensor<?x?xi32> to memref<?x?xi32>
}
"""
LOAD = ("load", "nsa.seqlens", "<string>:5:10", "seq_lens")
STORE = ("store", "nsa.copy", "<string>:6:3", "lens")
STORE_ROW = ("store", "nsa.copy", "<string>:7:3", "rows")
#: What nobody may write, and nobody may read.
POISON = -7
#: How many records a buffer has.
RECORDS = 64


def unchecked(manifest: str) -> str:
    """A manifest that asks for nothing."""
    described = json.loads(manifest)
    described["requires"] = []
    for argument in described["arguments"]:
        if argument.get("extents"):
            argument["extents"] = [None] * len(argument["extents"])
    return json.dumps(described)


class Lengths:
    """Arrays of `TEXT` for `n` lengths, of which there are `given`, and `room` for theirs;
    `rows` x 8 of a table and `row_room` for them. `upload` puts an array where kernels run,
    `download` gets it back."""

    def __init__(
        self,
        n: int,
        given: int | None = None,
        room: int | None = None,
        rows: int = 0,
        row_room: int | None = None,
        upload: Any = lambda array: array,
        download: Any = lambda array: array,
    ) -> None:
        self.n, self.given = n, n if given is None else given
        self.room = n if room is None else room
        self.rows, self.row_room = rows, rows if row_room is None else row_room
        self.download = download
        self.host_lens = np.full(max(n, self.given), 1000, np.int64)
        self.host_lens[: self.given] = np.arange(self.given) + 10
        self.host_table = np.arange(rows * 8, dtype=np.int32).reshape(rows, 8)
        self.seq_lens = upload(self.host_lens)
        self.table = upload(self.host_table)
        self.lens = upload(np.full(n + 16, POISON, np.int32))
        self.copied = upload(np.full((rows + 2, 8), POISON, np.int32))

    def arguments(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "seq_lens": self.seq_lens[: self.given],
            "table": self.table,
            "lens": self.lens[: self.room],
            "rows": self.copied[: self.row_room],
        }

    def check_outputs(self) -> None:
        """Right where all of an access is inside, 3 more than nothing where there is no
        length, untouched elsewhere."""
        lens, copied = self.download(self.lens), self.download(self.copied)
        want = np.where(np.arange(self.n) < self.given, np.arange(self.n) + 13, 3)
        # A wrong store is skipped as a whole, and 16 bytes are four elements.
        surely = min(self.room, self.n) if self.room >= self.n else self.room // 4 * 4
        np.testing.assert_array_equal(lens[:surely], want[:surely])
        rest = lens[surely : self.room]
        assert np.all((rest == want[surely : self.room]) | (rest == POISON))
        np.testing.assert_array_equal(lens[self.room :], POISON)
        np.testing.assert_array_equal(
            copied[: min(self.rows, self.row_room)],
            self.host_table[: self.row_room],
        )
        np.testing.assert_array_equal(copied[self.row_room :], POISON)

    def check_report(self, error: nsa.AccessError, launches: int = 1) -> None:
        """What is in it is what was wrong."""
        bounds = {LOAD: self.given, STORE: self.room, STORE_ROW: self.row_room}
        counts = {LOAD: self.n, STORE: self.n, STORE_ROW: self.rows}
        wrong = {site for site in bounds if counts[site] > bounds[site]}
        assert len(error.accesses) == min(error.count, RECORDS)
        for access in error.accesses:
            site = access[:4]
            assert site in wrong
            assert access.dimension == 0
            assert access.bound == bounds[site] <= access.index < counts[site]
        # Loads are of one element each.
        loads = [access.index for access in error.accesses if access[:4] == LOAD]
        if error.count <= RECORDS:
            assert {access[:4] for access in error.accesses} == wrong
            expected = list(range(self.given, self.n)) * launches
            assert sorted(loads) == sorted(expected)
        for name in nsa.Access._fields:
            assert getattr(error, name) == getattr(error.accesses[0], name)
