# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Page tables of which only the columns that changed are written, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import build as nb
from ._arguments import check_rank, describe
from ._errors import wrong

#: Up to it, the columns of the grid are a constant of the text; past it a size, and a row
#: has blocks of its own.
MOST_CONSTANT = 512


def grid(new_columns: int) -> int:
    """The columns of the grid that has `new_columns`: a power of two from 8 to
    ``MOST_CONSTANT``, so that few texts serve all, or 0, which is any number."""
    if new_columns > MOST_CONSTANT:
        return 0
    return max(8, 1 << max(new_columns - 1, 0).bit_length())


def check_room(
    names: Sequence[str],
    arrays: Sequence[Any],
    tables: Mapping[str, int],
    rows: int,
    max_len: int,
) -> None:
    """Raises ``ValueError`` for a table without all rows and columns: its step stores at
    places, and drops what is outside. `tables`: their names -> tokens of a column."""
    for name, array in zip(names, arrays):
        if name not in tables:
            continue
        # An export costs microseconds.
        shape = getattr(array, "shape", None)
        if shape is None:
            shape = describe(name, array)[1]
        check_rank(name, shape, 2)
        for dim, least in enumerate((rows, -(-max_len // tables[name]))):
            if shape[dim] < least:
                text = f"expected shape[{dim}] to be at least {least} but got {shape[dim]}"
                raise wrong(ValueError, name, text)


@dataclass(frozen=True)
class Changes:
    """Columns ``[since[b], min(lens[b], max_len))`` of the rows of request b, at most
    `new_columns` of them."""

    step: nb.Builder
    rows: nb.Size
    #: The request of a row; one that there is not for rows of nobody.
    request: Callable[[nb.Element], nb.Element]
    #: What ``grid`` returns, for `new_columns` or more.
    grid: int
    new_columns: nb.Size
    max_len: nb.Size
    since: nb.Array
    lens: nb.Array
    pool: nb.Array
    tokens: nb.Array

    def _first(self, r: nb.Element) -> nb.Element:
        return nb.maximum(self.since[self.request(r)].otherwise(0), 0)

    def _end(self, r: nb.Element) -> nb.Element:
        live = nb.minimum(self.lens[self.request(r)].otherwise(0), self.max_len)
        return nb.minimum(live, self._first(r) + self.new_columns)

    def table(self, page_size: int, name: str) -> tuple[nb.Array, tuple[nb.Array, nb.Array]]:
        """The pages, of `page_size` tokens, that have such columns, and their places."""
        columns = self.grid or self.new_columns
        if page_size > 1:
            # As many pages as that many columns touch wherever they begin.
            columns = (columns + (page_size - 2)) // page_size + 1
        sizes = (self.rows, columns)

        def page(r: nb.Element, c: nb.Element) -> nb.Element:
            return self._first(r) // page_size + c if page_size > 1 else self._first(r) + c

        def token(r: nb.Element, c: nb.Element) -> nb.Element:
            return page(r, c) * page_size if page_size > 1 else page(r, c)

        def value(r: nb.Element, c: nb.Element) -> nb.Element:
            row = self.pool[self.request(r)].otherwise(-1)
            slot = self.tokens[row, token(r, c)].otherwise(0)
            return slot // page_size if page_size > 1 else slot

        def column(r: nb.Element, c: nb.Element) -> nb.Element:
            is_new = token(r, c) < self._end(r)
            if page_size > 1:
                # Where no column is new, a page may begin before `since` all the same.
                is_new &= self._first(r) < self._end(r)
            # Outside of every table, so that nothing is stored.
            return nb.where(is_new, page(r, c), -1)

        places = (
            self.step.map(sizes, lambda r, c: r, name=f"{name}_row"),
            self.step.map(sizes, column, name=f"{name}_column"),
        )
        return self.step.map(sizes, value, name=name), places
