# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Pages of DeepSeek V4's caches: of a constant number of slots, or of a power of two whose
logarithm a launch says."""

from __future__ import annotations

from typing import Any

from . import build as nb
from ._errors import wrong
from ._fields import Fields


SIZES = ("page_shift", "page_columns", "c128_columns", "c1_columns", "c2_columns")


class Pages:
    """Pages of so many slots.

    Parameters
    ----------
    size : int, optional
        Slots of a page.
    shift : Size, optional
        Without `size`: the power of two that it is. Below 0, all slots are of page 0.
    """

    def __init__(self, size: int | None, shift: Any = None) -> None:
        self.size, self.shift = size, shift

    def _shift_for(self, number: nb.Element) -> Any:
        """In the type of the number."""
        return self.shift if number.type.name == "index" else self.shift.astype(number.type.name)

    def first_slot(self, page: nb.Element) -> nb.Element:
        if self.size is not None:
            return page * self.size
        return page << self._shift_for(page)

    def page_of(self, slot: nb.Element) -> nb.Element:
        """Rounded down."""
        if self.size is not None:
            return slot // self.size
        return slot >> self._shift_for(slot)

    def place_in(self, slot: nb.Element) -> nb.Element:
        """The number of a slot in its page."""
        if self.size is not None:
            return slot % self.size
        return slot - self.first_slot(self.page_of(slot))


class Paged(Fields):
    """The sizes of pages, among the fields of a step."""

    options: Any

    def paging(self, ratio: int = 1, per: int = 1) -> Pages:
        """Of `per` compressed tokens in each slot. Raises ``ValueError`` where a page has not
        as many tokens."""
        size = self.options.page_size
        if size is None:
            return Pages(None, self.size("page_shift") - (ratio * per - 1).bit_length())
        if size < ratio * per:
            text = f"expected {ratio * per} or more for a field of ratio {ratio} but got {size}"
            raise wrong(ValueError, "page_size", text)
        return Pages(size // ratio // per)

    def paged_columns(self, columns: nb.Size, ratio: int = 1, per: int = 1) -> nb.Size:
        """How many slots the pages of a table have."""
        size = self.paging(ratio, per).size
        if size is None:
            return self.size(f"c{ratio}_columns")
        return columns * size


def sizes_of(page_size: int, index_page_size: int, max_len: int) -> tuple[int, ...]:
    """What a launch says of pages that are a power of two, as ``SIZES``."""
    columns = -(-max_len // page_size)
    slots = page_size // 128, *(page_size // ratio // index_page_size for ratio in (1, 2))
    return page_size.bit_length() - 1, columns, *(columns * each for each in slots)
