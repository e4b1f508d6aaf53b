# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fields of an eager DSA extend, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import build as nb
from ._kpool import PooledExtend, clip


class DsaPrefill(PooledExtend):
    """The fields of an extend."""

    def __init__(
        self, topk: int | None, page_size: int, pool_size: int, dtypes: Mapping[str, str]
    ) -> None:
        super().__init__("dsa_prefill", dtypes)
        #: None: a launch says it.
        self.topk, self.page_size, self.pool_size = topk, page_size, pool_size

    def length(self, b: nb.Element) -> nb.Element:
        return self.lens[b].otherwise(0).astype("int32")

    def keys(self) -> nb.Array:
        """The keys before each request, in 64 bits: lengths may be anything."""

        def make() -> nb.Array:
            lens = self.lens
            return self.s.scan(
                self.s.map(
                    self.size("bs"),
                    lambda b: nb.maximum(lens[b].astype("int32"), 0),
                    dtype="int64",
                )
            )

        return self.value("keys", make)

    def first_key(self, b: nb.Element) -> nb.Element:
        return self.keys()[b].otherwise(0).astype("int32")

    # Requests.

    def make_cache_seqlens(self) -> nb.Array:
        return self.s.map(self.size("bs"), lambda b: self.lens[b], dtype="int32")

    def make_cu_seqlens_q(self) -> nb.Array:
        return self.offsets()

    def make_cu_seqlens_k(self) -> nb.Array:
        keys = self.keys()
        return self.s.map(self.size("bs") + 1, lambda b: keys[b], dtype="int32")

    def make_page_table_1(self) -> nb.Array:
        tokens, pool = self.tokens, self.pool
        return self.s.map(
            (self.size("bs"), self.size("max_len")),
            lambda b, c: tokens[pool[b], c].otherwise(0),
        )

    def make_real_page_table(self) -> nb.Array:
        tokens, pool, page_size = self.tokens, self.pool, self.page_size
        return self.s.map(
            (self.size("bs"), nb.ceildiv(self.size("max_len"), page_size)),
            lambda b, c: tokens[pool[b], c * page_size].otherwise(0) // page_size,
        )

    # Rows.

    def rows(
        self, element: Callable[[nb.Element, nb.Element], nb.Element]
    ) -> nb.Array:
        """``element(request, number in it)`` of each row, 0 for padding."""

        def of_row(r: nb.Element) -> nb.Element:
            b = self.offsets().search(r) - 1
            i = (r - self.offsets()[b].otherwise(0)).astype("int32")
            return nb.where(self.is_row(r), element(b, i), 0)

        return self.s.map(self.size("rows"), of_row, dtype="int32")

    def expanded(self, b: nb.Element, i: nb.Element) -> nb.Element:
        """The length of a row."""
        return nb.maximum(self.length(b) - self.extends()[b].otherwise(0) + 1 + i, 0)

    def make_seqlens_expanded(self) -> nb.Array:
        return self.rows(self.expanded)

    def make_nsa_cache_seqlens(self) -> nb.Array:
        topk = self.number(self.topk, "topk")
        return self.rows(lambda b, i: clip(self.expanded(b, i), topk, self.pool_size))

    def make_nsa_cu_seqlens_k(self) -> nb.Array:
        return self.s.scan(self.field("nsa_cache_seqlens"))

    def make_ks(self) -> nb.Array:
        return self.rows(lambda b, i: self.first_key(b))

    def make_ke(self) -> nb.Array:
        return self.rows(lambda b, i: self.first_key(b) + self.expanded(b, i))

    def make_topk_indices_offset(self) -> nb.Array:
        return self.field("ks")

    def make_token_to_batch(self) -> nb.Array:
        return self.rows(lambda b, i: b)

    # Keys.

    def make_page_table_1_flattened(self) -> nb.Array:
        def token(k: nb.Element) -> nb.Element:
            b = self.keys().search(k) - 1
            return self.tokens[
                self.pool[b].otherwise(-1), k - self.keys()[b].otherwise(0)
            ].otherwise(0)

        return self.s.map(self.size("num_keys"), token)

    def condition(self, name: str) -> nb.Array | None:
        """Which elements of a field there are, if only the device knows."""
        if name != "page_table_1_flattened":
            return self.pool_condition(name)
        keys, bs = self.keys(), self.size("bs")
        return self.s.map(self.size("num_keys"), lambda k: (k < keys[bs]).astype("int8"))
