# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What several of the package's formulas are made of: requests and their tokens, slots, and
the share that a rank has of a sequence. Indices and lengths are of 64 bits here."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import build as nb
from .._errors import constant, wrong
from ._launch import FLAGS, INTEGERS, Formulas


class ContextParallel(NamedTuple):
    """How the tokens of a sequence are shared out between ranks: groups of `interleave`
    tokens go round the `size` ranks, and this one is `rank`."""

    size: int
    rank: int
    interleave: int = 1


def check_context_parallel(given: Any) -> ContextParallel | None:
    """Constants of a step, or None where there is nothing to share out."""
    if given is None:
        return None
    try:
        size, rank, interleave = ContextParallel(*given)
    except TypeError:
        raise wrong(
            TypeError,
            "context_parallel",
            f"expected (size, rank, interleave) but got {given!r}",
        ) from None
    size = constant("context_parallel", size, 1)
    rank = constant("context_parallel", rank, 0, size - 1)
    interleave = constant("context_parallel", interleave, 1)
    return None if size == 1 else ContextParallel(size, rank, interleave)


def local_length(length: nb.Element, cp: ContextParallel | None) -> nb.Element:
    """How many of the first `length` tokens are the rank's own."""
    if cp is None:
        return length
    round_ = cp.size * cp.interleave
    rest = length % round_ - cp.rank * cp.interleave
    return length // round_ * cp.interleave + clamp(rest, 0, cp.interleave)


def local_place(position: nb.Element, cp: ContextParallel | None) -> nb.Element:
    """Which one a token is of those that its rank has."""
    if cp is None:
        return position
    round_ = cp.size * cp.interleave
    return position // round_ * cp.interleave + position % cp.interleave


def owner(position: nb.Element, cp: ContextParallel) -> nb.Element:
    """The rank that has a token."""
    return position // cp.interleave % cp.size


def clamp(value: Any, least: Any, most: Any) -> Any:
    return nb.maximum(nb.minimum(value, most), least)


def index(element: nb.Element) -> nb.Element:
    return element.astype("index")


def slot(
    table: nb.Array, row: Any, position: nb.Element, block_size: int, stride: int | None = None
) -> nb.Element:
    """The slot of a position by a block table, -1 where the table has none."""
    is_there, inside = find_slot(table, row, position, block_size, stride)
    return nb.where(is_there, inside, -1)


def find_slot(
    table: nb.Array, row: Any, position: nb.Element, block_size: int, stride: int | None = None
) -> tuple[nb.Element, nb.Element]:
    """Whether a block table has a slot for a position, and which. It has none below 0."""
    block = index(table[row, position // block_size].otherwise(-1))
    inside = block * (block_size if stride is None else stride) + position % block_size
    return block >= 0, inside


def is_valid_token(f: Formulas, t: Any, columns: int | None = None) -> nb.Element | None:
    """Whether a token is one, by its flag or by its slot; None where there is neither.
    `columns`: see ``Formulas.input``; there is one for each token then."""
    sizes = (None if columns is None else f.size("num_tokens"),)
    if f.has("is_valid"):
        flags = f.input("is_valid", sizes, (*FLAGS, *INTEGERS), columns)
        return flags[t].otherwise(0) != 0
    if f.has("slot_mapping"):
        return f.input("slot_mapping", sizes, columns=columns)[t].otherwise(-1) >= 0
    return None


class Requests:
    """The requests of a step and their tokens: `query_start_loc` [num_reqs + 1] and
    `seq_lens` [num_reqs]."""

    def __init__(self, f: Formulas, lens: bool = True) -> None:
        self.count = f.size("num_reqs")
        self.starts = f.input("query_start_loc", (self.count + 1,))
        if lens:
            self.lens = f.input("seq_lens", (self.count,))

    def start(self, b: Any) -> nb.Element:
        return index(self.starts[b].otherwise(0))

    @property
    def num_tokens(self) -> nb.Element:
        return self.start(self.count)

    def of(self, token: Any) -> nb.Element:
        """The request of a token; the last one for those past all, 0 if there is none."""
        found = self.starts.search(token) - 1
        return clamp(found, 0, nb.maximum(self.count - 1, 0))

    def query_length(self, b: Any) -> nb.Element:
        return self.start(b + 1) - self.start(b)

    def length(self, b: Any) -> nb.Element:
        return index(self.lens[b].otherwise(0))

    def position(self, token: Any, b: Any) -> nb.Element:
        """Of a token in its sequence: a request's tokens are the last ones."""
        return self.length(b) - self.start(b + 1) + token
