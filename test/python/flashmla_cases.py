# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""FlashMLA's schedules: lengths, what a serial scheduler makes of them, and their consumer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nsa import _flashmla

UNTOUCHED = -7
EDGES = (0, 1, 63, 64, 65, 127, 128, 129, 640, -9, 5_000, 100_000)


@dataclass(frozen=True)
class Options:
    """As the arguments of ``nsa.ops.flashmla_schedule``."""

    topk: int | None = None
    sparse: bool = False
    extra: Any = None
    block: int = 64
    overhead: int = 5
    layout: str = "new"

    @property
    def arguments(self) -> dict[str, Any]:
        names = ("topk", "sparse", "block", "overhead", "layout")
        return {name: getattr(self, name) for name in names}


OPTIONS = {
    "dense": Options(),
    "dense-old": Options(layout="old"),
    "dense-fp8": Options(layout="fp8"),
    "sparse": Options(sparse=True),
    "sparse-old": Options(sparse=True, layout="old"),
    "sparse-extra": Options(sparse=True, extra="lengths"),
    "sparse-extra-constant": Options(sparse=True, extra=300, overhead=3),
    "topk": Options(topk=2048),
    "topk-0": Options(topk=0, layout="old"),
    "topk-extra-constant": Options(topk=100, extra=70, overhead=3),
    "topk-fp8": Options(topk=300, layout="fp8"),
    "topk-extra": Options(topk=100, extra="lengths"),
    "blocks-of-48": Options(block=48, overhead=1),
}


def entries_of(options: Options, lens: np.ndarray, extra: np.ndarray | None) -> list[int]:
    entries = []
    for j, length in enumerate(lens.tolist()):
        count = max(length, 0) if options.topk is None else options.topk
        if (options.sparse or options.topk is not None) and count == 0:
            count = 1
        if options.extra is not None:
            more = options.extra if extra is None else max(int(extra[j]), 0)
            count = -(-count // options.block) * options.block + more
        entries.append(count)
    return entries


def reference(
    options: Options, lens: np.ndarray, parts: int, extra: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One part after the other, each filled request by request."""
    entries = entries_of(options, lens, extra)
    size, overhead = options.block, options.overhead
    blocks = [-(-count // size) for count in entries]
    if options.layout != "fp8":
        blocks = [max(count, 1) for count in blocks]
    bs = len(entries)
    share = -(-sum(count + overhead for count in blocks) // parts)
    rows = np.full((parts, 8), UNTOUCHED, np.int64)
    splits = np.zeros(bs + 1, np.int64)
    request = block = split = total = 0
    for part in range(parts):
        begin, first_block, first_split = request, block, split
        room = share + overhead
        while request < bs:
            left = blocks[request] - block
            if room >= left + overhead:
                room -= left + overhead
                total += split + 1
                request, block, split = request + 1, 0, 0
                splits[request] = total
                continue
            if room > overhead:
                block += room - overhead
                split += 1
            break
        end = request if block > 0 else request - 1
        has = end >= 0 and entries[end] > 0
        if options.layout == "fp8":
            last = block * size if block > 0 else (entries[end] if end >= 0 else 0)
            rows[part, :5] = begin, first_block * size, end, last, first_split
            continue
        last = block if block > 0 else (blocks[end] if has else 0)
        if options.layout == "old":
            first = begin if begin < bs else -1
            rows[part, :5] = first, first_block, end, last, first_split
            continue
        cuts = [first_block > 0, has and last != blocks[end]]
        if begin == end:
            cuts = [any(cuts)] * 2
        rows[part] = begin, end, first_block, last, first_split, *cuts, 0
    return rows.astype(np.int32), splits.astype(np.int32)


def consume(rows: np.ndarray, splits: np.ndarray, layout: str, block: int) -> list:
    """(request, block, buffer of the result) of everything that the parts attend to. A
    request in one piece needs no buffer."""
    done = []
    bs = len(splits) - 1
    for row in rows.tolist():
        if layout == "new":
            begin, end, first, last, split, cuts_first, cuts_last, _ = row
        else:
            begin, first, end, last, split = row[:5]
            if layout == "fp8":
                first, last = first // block, -(-last // block)
        if begin < 0 or begin >= bs:
            continue
        for request in range(begin, end + 1):
            start = first if request == begin else 0
            stop = last if request == end else None
            number = split if request == begin else 0
            whole = splits[request + 1] - splits[request] == 1
            if layout == "new" and request in (begin, end):
                cut = cuts_first if request == begin else cuts_last
                # A request without entries is one split of no blocks.
                assert bool(cut) == (not whole)
            buffer = None if whole else int(splits[request]) + number
            done.append((request, start, stop, buffer))
    return done


def draw(rng: np.random.Generator, bs: int) -> np.ndarray:
    return rng.choice(EDGES, bs).astype(np.int32)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        _flashmla.text(
            _flashmla.options_of(o.topk, o.sparse, o.extra, o.block, o.overhead, o.layout)
        )
        for o in OPTIONS.values()
    }
