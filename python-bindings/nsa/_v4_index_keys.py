# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The keys that a V4.1 extend's indexer gathers, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import build as nb
from ._fields import Fields

if TYPE_CHECKING:
    from ._v4_rows import Options

FIELDS = ("index_k_slots", "request_starts", "compress_lens")
RATIOS = (1, 2)


class IndexKeys(Fields):
    """The keys, request after request, and where those of a row begin."""

    options: Options
    rows: Callable[[Callable[[nb.Element], nb.Element]], nb.Array]
    request: Callable[[nb.Element], nb.Element]
    length: Callable[[nb.Element], nb.Element]

    def key_starts(self, ratio: int) -> nb.Array:
        lens = self.lens

        def count(b: nb.Element) -> nb.Element:
            return nb.maximum(lens[b].astype("int32"), 0) // ratio

        return self.value(
            f"c{ratio}_key_starts",
            lambda: self.s.scan(self.s.map(self.size("bs"), count, dtype="int64")),
        )

    def key_room(self, ratio: int) -> nb.Size:
        """Slots that there is room for; only the device knows how many there are."""
        return self.size(f"c{ratio}_num_slots")

    def make_cq_index_k_slots(self, ratio: int) -> nb.Array:
        starts = self.key_starts(ratio)

        def slot(k: nb.Element) -> nb.Element:
            b = starts.search(k) - 1
            position = (k - starts[b].otherwise(0)) * ratio
            return self.tokens[self.pool[b].otherwise(-1), position].otherwise(0) // ratio

        return self.s.map(self.key_room(ratio), slot, dtype="int64")

    def is_index_key(self, ratio: int) -> nb.Array:
        starts, bs = self.key_starts(ratio), self.size("bs")
        return self.s.map(self.key_room(ratio), lambda k: (k < starts[bs]).astype("int8"))

    def make_cq_request_starts(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.key_starts(ratio)[self.request(r)].otherwise(0))

    def make_cq_compress_lens(self, ratio: int) -> nb.Array:
        return self.rows(lambda r: self.length(r) // ratio)

    def make_extend_offsets(self) -> nb.Array:
        """The first row of each request, and its rows."""
        bs, offsets, extends = self.size("bs"), self.offsets(), self.extends()

        def word(w: nb.Element, b: nb.Element) -> nb.Element:
            found = nb.where(w == 0, offsets[b].otherwise(0), extends[b].otherwise(0))
            return nb.where(b < bs, found, 0)

        return self.s.map((2, self.size("num_offsets")), word, dtype="int32")
