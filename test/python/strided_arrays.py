# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays as strided views in storages of their own, wherever these live.

What no formula names of a storage is filled with a pattern that has to survive. Where
arrays live is the business of a small class: `HostArrays` here, others beside the
tests that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided

#: Elements of padding and alignment: (offset of the base, stride).
VECTOR_LAYOUTS: dict[str, tuple[int, int]] = {
    "packed": (0, 1),
    "shifted": (1, 1),
    "every second": (0, 2),
    "every third": (2, 3),
    "reversed": (0, -1),
    "every second, reversed": (3, -2),
}
#: (offset of the base, row stride for so many columns).
TABLE_LAYOUTS: dict[str, tuple[int, Callable[[int], int]]] = {
    "packed": (0, lambda columns: columns),
    "padded": (0, lambda columns: (columns + 7) // 4 * 4),
    "odd": (0, lambda columns: columns + 1 | 1),
    "shifted": (1, lambda columns: (columns + 7) // 4 * 4),
    "shifted, odd": (3, lambda columns: columns + 2 | 1),
    "reversed": (0, lambda columns: -((columns + 7) // 4 * 4)),
}
#: For arrays that are only read.
INPUT_TABLE_LAYOUTS = {**TABLE_LAYOUTS, "repeated": (0, lambda columns: 0)}


class Placement(NamedTuple):
    """A view of `shape` in a storage of its own, in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def span(self) -> int:
        """Elements from the first to the last one that the view reaches."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * abs(s) for n, s in zip(self.shape, self.strides))

    @property
    def first(self) -> int:
        """Where the view's element 0 is: strides may be negative."""
        down = sum((n - 1) * s for n, s in zip(self.shape, self.strides) if s < 0)
        return self.offset - (down if self.span else 0)

    def view(self, storage: np.ndarray, margin: int = 0) -> np.ndarray:
        return as_strided(
            storage[margin + self.first :],
            self.shape,
            tuple(s * storage.itemsize for s in self.strides),
        )

    def without_negative_strides(self) -> Placement:
        return self._replace(strides=tuple(abs(s) for s in self.strides))


def place_vector(count: int, layout: str) -> Placement:
    offset, stride = VECTOR_LAYOUTS[layout]
    return Placement((count,), (stride,), offset)


def place_table(rows: int, columns: int, layout: str) -> Placement:
    offset, stride = INPUT_TABLE_LAYOUTS[layout]
    return Placement((rows, columns), (stride(columns), 1), offset)


class Arrays(Protocol):
    """Where arrays live."""

    target: str
    #: Elements around each array that have to stay as they are.
    margin: int
    negative_strides: bool

    def upload(
        self, storage: np.ndarray, placement: Placement, writable: bool
    ) -> tuple[Any, Callable[[], np.ndarray]]:
        """(the view, what reads the whole storage back)."""


class HostArrays:
    target = "cpu"
    margin = 64
    negative_strides = True

    def upload(
        self, storage: np.ndarray, placement: Placement, writable: bool
    ) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        # Aligned by more than a vector, so that `placement` decides.
        memory = np.empty(storage.nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        copy = memory[start : start + storage.nbytes].view(storage.dtype)
        copy[:] = storage
        view = placement.view(copy, self.margin)
        if not writable:
            view.flags.writeable = False
        return view, lambda: copy


def pattern(count: int, dtype: Any) -> np.ndarray:
    """Other in every element, and unlike what steps write."""
    values = np.arange(count, dtype=np.int64) * 0x9E3779B1 + 0x5EED5EED
    return values.astype(dtype)


@dataclass
class Array:
    """One argument: what it held, what it should hold, and where it is."""

    image: np.ndarray
    view: Any
    read: Callable[[], np.ndarray]


def limits(bound: int) -> np.ndarray:
    """Numbers at which addressing may go wrong, for an array of `bound` rows."""
    numbers = [0, -1, 1, bound, bound - 1, bound + 1, -bound, 2**31 - 1, -(2**31)]
    numbers += [2**31, 2**32, 2**32 + 1, 2**40, -(2**40), 2**62, 2**63 - 1, -(2**63)]
    return np.array(numbers, np.int64)
