# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Wrong accesses, which kernels with guards skip and record: what ``Step.check`` raises."""

from __future__ import annotations

from typing import NamedTuple


class Access(NamedTuple):
    """A wrong access, which a kernel with guards has skipped.

    Attributes
    ----------
    kind : str
        Outside of its array: ``"load"``, which gave 0, or ``"store"``, which did nothing.
        ``"duplicate"``: a store to a computed place where another element of the launch
        had gone, which stayed there.
    op : str
        The operation that it is of, as in ``"nsa.copy"``.
    location : str
        Where that stands in the text, ``"FILE:LINE:COLUMN"``; empty if that is unknown.
    argument : str
        The step's argument whose array was left, or has the place.
    dimension, index, bound : int
        The dimension in which it was, the index there, and the size of that dimension. Of
        a duplicate the last dimension.
    kernel : str
        The kernel's name in the manifest.
    block, thread : int or None
        The number of the block in the grid, and of the thread in it. None on the host.
    row : int or None
        The index in dimension 0, of a duplicate in an array of two dimensions.
    """

    kind: str
    op: str
    location: str
    argument: str
    dimension: int
    index: int
    bound: int
    kernel: str
    block: int | None
    thread: int | None
    row: int | None = None


class AccessError(RuntimeError):
    """Kernels that were compiled with guards left their arrays, or stored two elements to
    one place; see ``Step.check``.

    The message tells of the first access that was recorded, and so do the attributes of
    an ``Access``, which this has as well: ``argument``, ``op``, ``location``, ``index``...

    Attributes
    ----------
    accesses : tuple of Access
        Those that were recorded: at most 64 of each device since the last check, in the
        order in which threads happened to get there.
    count : int
        How many there were.
    unclaimed : int
        How many elements went to computed places that were not looked at: what
        ``Step.check`` returns if there is no error.
    """

    def __init__(
        self, message: str, accesses: tuple[Access, ...], count: int, unclaimed: int = 0
    ) -> None:
        super().__init__(message, accesses, count, unclaimed)
        self.accesses, self.count, self.unclaimed = accesses, count, unclaimed
        first = accesses[0]
        self.kind, self.op, self.location, self.argument = first[:4]
        self.dimension, self.index, self.bound, self.kernel = first[4:8]
        self.block, self.thread, self.row = first[8:]

    def __str__(self) -> str:
        return str(self.args[0])
