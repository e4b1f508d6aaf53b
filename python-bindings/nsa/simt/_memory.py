# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The memory that a kernel sees: its arguments' elements, and what was done to them.

Each argument has an address space of its own: its addresses are far from those of every
other, so that an access that leaves one never hits another by chance. The low bits are
those of the real address, so that alignment is what it is. `Region.locate` says which
bytes belong to elements: gaps between the rows of a strided array do not.

Races. A `Shadow` has for each granule (an element, or less where less is stored) who
wrote it last and who read it last, as a *stamp*: the thread's number and how many
barriers its block had passed. Two accesses of different threads, one of them a write,
are in order only if they are of one block and a barrier is between them, that is, if the
earlier stamp has fewer barriers. That holds whatever order the simulator runs threads in,
so a race is found without having to happen. Of several readers one is kept, with a flag
that there are more.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from ._semantics import U

#: Addresses of argument n begin at (n + 1) << SPACE; shared memory is below all.
SPACE = 40
SHARED = 1 << 32
CONSTANTS = 1 << 36
#: Variable n of a module is at the address of an argument of this number plus n.
VARIABLES = 1 << 16
#: Room below an argument, where negative offsets lead.
MIDDLE = 1 << 39
BARRIER_BITS = 20
_BARRIERS = np.int64((1 << BARRIER_BITS) - 1)


class Shadow:
    """Who accessed what last, by granules of `grain` bytes."""

    def __init__(self, nbytes: int, grain: int, threads: int) -> None:
        self.grain, self.threads = grain, threads
        self.nbytes = nbytes
        count = -(-nbytes // grain)
        self.writer = np.zeros(count, np.int64)
        self.reader: np.ndarray | None = None
        self.many: np.ndarray | None = None
        self.non_coherent: np.ndarray | None = None

    def refine(self, grain: int) -> None:
        """Makes granules as small as an access."""
        ratio = self.grain // grain
        for name in ("writer", "reader", "many", "non_coherent"):
            if (values := getattr(self, name)) is not None:
                setattr(self, name, np.repeat(values, ratio))
        self.grain = grain

    def granules(self, offsets: np.ndarray, size: int) -> list[np.ndarray]:
        """The granules of accesses of `size` bytes, which are aligned to that."""
        if size < self.grain:
            self.refine(size)
        first = offsets // self.grain
        return [first + k if k else first for k in range(max(size // self.grain, 1))]

    def _unordered(self, old: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        """Which of the old accesses neither the same thread nor a barrier puts first."""
        bad = (old != 0) & ((old ^ stamps) >> BARRIER_BITS != 0)
        if bad.any():
            block = ((old >> BARRIER_BITS) - 1) // self.threads
            same = block == ((stamps >> BARRIER_BITS) - 1) // self.threads
            bad &= ~(same & ((old & _BARRIERS) < (stamps & _BARRIERS)))
        return bad

    def _after_writes(
        self, granule: np.ndarray, stamps: np.ndarray
    ) -> tuple[str, int, int] | None:
        old = self.writer[granule]
        if old.any() and (bad := self._unordered(old, stamps)).any():
            at = int(np.argmax(bad))
            return "a write", at, int(old[at])
        return None

    def write(
        self, granule: np.ndarray, stamps: np.ndarray
    ) -> tuple[str, int, int] | None:
        """Notes stores; returns (with what, which one, the other's stamp) of a race."""
        if race := self._after_writes(granule, stamps):
            return race
        if self.reader is not None and self.many is not None:
            old = self.reader[granule]
            bad = self._unordered(old, stamps)
            own = (old != 0) & self.many[granule]
            bad |= own & ((old & _BARRIERS) == (stamps & _BARRIERS))
            if bad.any():
                at = int(np.argmax(bad))
                return "a read", at, int(old[at])
        self.writer[granule] = stamps
        kept = self.writer[granule]
        if (bad := kept != stamps).any():
            at = int(np.argmax(bad))
            return "a write", at, int(kept[at])
        return None

    def read(
        self, granule: np.ndarray, stamps: np.ndarray
    ) -> tuple[str, int, int] | None:
        """Notes loads, as `write` does."""
        if race := self._after_writes(granule, stamps):
            return race
        if self.reader is None or self.many is None:
            self.reader = np.zeros(len(self.writer), np.int64)
            self.many = np.zeros(len(self.writer), bool)
        old = self.reader[granule]
        others = (old != 0) & ((old ^ stamps) >> BARRIER_BITS != 0)
        # Readers of before a barrier of the block are of no concern after it.
        block = ((old >> BARRIER_BITS) - 1) // self.threads
        same = block == ((stamps >> BARRIER_BITS) - 1) // self.threads
        past = same & ((old & _BARRIERS) < (stamps & _BARRIERS))
        self.many[granule] = (self.many[granule] | others) & ~past
        self.reader[granule] = stamps
        self.many[granule] |= self.reader[granule] != stamps
        return None

    def note_non_coherent(self, granule: np.ndarray) -> None:
        if self.non_coherent is None:
            self.non_coherent = np.zeros(len(self.writer), bool)
        self.non_coherent[granule] = True


class Region:
    """An argument's array as a kernel may access it.

    `kind` is "in", "out" or "inout"; `address` that of element 0; strides are in
    elements. The memory is the caller's and has to outlive this.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        address: int,
        itemsize: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        number: int,
    ) -> None:
        self.name, self.kind, self.itemsize = name, kind, itemsize
        self.shape = tuple(shape)
        self.steps = tuple(stride * itemsize for stride in strides)
        self.readable, self.writable = kind != "out", kind != "in"
        empty = 0 in self.shape
        # Bytes from the lowest element to element 0.
        self.lead = 0
        span = itemsize
        for size, step in zip(self.shape, self.steps):
            span += (size - 1) * abs(step) if not empty else 0
            self.lead += (size - 1) * -step if step < 0 and not empty else 0
        self.span = 0 if empty else span
        self.low = address - self.lead
        #: The address of the lowest element as kernels see it.
        self.start = ((number + 1) << SPACE) + MIDDLE + (self.low & 0xFFFF)
        self.pointer = self.start + self.lead
        # Dimensions from the largest step on; rows that touch are one.
        dims = sorted(
            (
                (abs(step), size)
                for size, step in zip(self.shape, self.steps)
                if size > 1 and step
            ),
            reverse=True,
        )
        self.run = itemsize
        while dims and dims[-1][0] == self.run:
            self.run *= dims.pop()[1]
        self.dims = dims
        # Rows that overlap are no nest of steps: a mask says what belongs to elements.
        self.mask: np.ndarray | None = None
        inner = self.run
        for step, size in reversed(dims):
            if step < inner and self.mask is None:
                self.mask = self._mask()
            inner = step * (size - 1) + inner
        self.shadow: Shadow | None = None
        self.shadow_offset = 0
        #: Whether the shadow is of the elements alone, and not of the gaps.
        self.dense = False
        self._views: dict[int, tuple[np.ndarray, int]] = {}

    def _mask(self) -> np.ndarray:
        offsets = np.zeros(1, np.int64)
        for step, size in self.dims:
            offsets = (offsets[:, None] + np.arange(size) * step).reshape(-1)
        mask = np.zeros(self.span, bool)
        mask[(offsets[:, None] + np.arange(self.run)).reshape(-1)] = True
        return mask

    def view(self, size: int) -> tuple[np.ndarray, int]:
        """(the memory in units of `size` bytes, what to add to offsets into it)."""
        if size not in self._views:
            lead = self.low % 16
            nbytes = -(-(lead + self.span) // 16) * 16
            memory = (ctypes.c_char * nbytes).from_address(self.low - lead)
            self._views[size] = np.frombuffer(memory, U[8 * size]), lead
        return self._views[size]

    def locate(
        self, addresses: np.ndarray, size: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(byte offsets, which accesses leave the elements, or None if none does)."""
        offsets = (addresses - np.uint64(self.start)).view(np.int64)
        limit = self.span - size
        if limit < 0:
            return offsets, np.ones(len(offsets), bool)
        # As unsigned, what is below the first byte is above the last one.
        bad = offsets.view(np.uint64) > np.uint64(limit)
        if self.dims:
            inside = np.where(bad, 0, offsets)
            if self.mask is not None:
                for k in range(size):
                    bad |= ~self.mask[inside + k]
            else:
                for step, count in self.dims:
                    row = inside // step
                    bad |= row >= count
                    inside = inside - row * step
                bad |= inside + size > self.run
        return offsets, bad if bad.any() else None

    def shadow_places(self, offsets: np.ndarray) -> np.ndarray:
        """Where elements at byte offsets are in the shadow, in bytes."""
        if not self.dense:
            return offsets + self.shadow_offset
        places = np.zeros_like(offsets)
        for step, count in self.dims:
            row = offsets // step
            offsets = offsets - row * step
            places = places * count + row
        return places * self.run + offsets

    def element(self, offset: int) -> tuple[int, ...]:
        """The indices of the element at a byte offset, which may be past the ends."""
        rest = offset - self.lead
        indices = [0] * len(self.shape)
        order = sorted(range(len(self.shape)), key=lambda d: -abs(self.steps[d]))
        used = [
            d for d in order if self.steps[d] and (self.shape[d] > 1 or d == order[-1])
        ]
        lowest = -self.lead
        rest -= lowest
        for d in used:
            step = abs(self.steps[d])
            count = rest // step
            rest -= count * step
            indices[d] = count if self.steps[d] > 0 else self.shape[d] - 1 - count
        return tuple(int(index) for index in indices)


def attach_shadows(regions: list[Region], threads: int) -> None:
    """New shadows for what may be written; arrays that share memory share one."""
    written = sorted((r for r in regions if r.writable and r.span), key=lambda r: r.low)
    cluster: list[Region] = []
    end = -1
    for region in [*written, None]:
        if region is None or region.low >= end:
            if cluster:
                _share(cluster, threads)
            cluster = []
        if region is not None:
            cluster.append(region)
            end = max(end, region.low + region.span)


def _share(cluster: list[Region], threads: int) -> None:
    low = min(region.low for region in cluster)
    high = max(region.low + region.span for region in cluster)
    grain = math.gcd(*(min(region.itemsize, 8) for region in cluster))
    only = cluster[0]
    if len(cluster) == 1 and only.dims and only.mask is None and low % grain == 0:
        # Rows may be far apart: what lies between them takes no memory.
        nbytes = math.prod(count for _, count in only.dims) * only.run
        only.shadow, only.dense = Shadow(nbytes, grain, threads), True
        return
    # Granules are at multiples of their size.
    first = low // grain * grain
    shadow = Shadow(high - first, grain, threads)
    for region in cluster:
        region.shadow, region.shadow_offset, region.dense = (
            shadow,
            region.low - first,
            False,
        )


class Variable(Region):
    """A variable of a module, which any thread may access at any time: nobody looks for
    races there, as what it is for are atomics. 0 at first."""

    def __init__(self, name: str, nbytes: int, number: int) -> None:
        # At a multiple of what `variable_address` leaves out of the real address.
        self.memory = np.zeros(nbytes + (1 << 16), np.uint8)
        lead = -self.memory.ctypes.data % (1 << 16)
        self.bytes = self.memory[lead : lead + nbytes]
        address = self.bytes.ctypes.data
        super().__init__(name, "inout", address, 1, (nbytes,), (1,), VARIABLES + number)


def variable_address(number: int) -> int:
    """Where the variable with that number begins, as kernels see it."""
    return ((VARIABLES + number + 1) << SPACE) + MIDDLE


class SharedMemory:
    """Shared memory of several blocks: block n's begins at n * `pitch`."""

    def __init__(self, size: int, blocks: int, threads: int) -> None:
        self.size = size
        self.pitch = -(-max(size, 1) // 16) * 16
        self.bytes = np.zeros(self.pitch * blocks, np.uint8)
        self.shadow = Shadow(self.pitch * blocks, 4, threads)

    def view(self, size: int) -> tuple[np.ndarray, int]:
        return self.bytes.view(U[8 * size]), 0

    def locate(
        self, addresses: np.ndarray, size: int, blocks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        offsets = (addresses - np.uint64(SHARED)).view(np.int64)
        limit = self.size - size
        bad = offsets.view(np.uint64) > np.uint64(max(limit, 0))
        if limit < 0:
            bad[:] = True
        return offsets + blocks * self.pitch, bad if bad.any() else None


def whole(value: Any, count: int) -> np.ndarray:
    """A value for each lane: what is the same in all is kept as a scalar."""
    return (
        value if isinstance(value, np.ndarray) and value.ndim else np.full(count, value)
    )
