# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The windows that requests keep, those of draft blocks, and tails of an extend, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from v4_reference import Batch, reference, up


@dataclass
class Windows:
    """What comes in beside the batch."""

    groups: int = 0
    zero_row: int = 0
    capacity: int = 256
    ring: int | None = None
    valid_from: np.ndarray | None = None
    whole: np.ndarray | None = None
    tail_rows: int = 0


def int32(value: Any) -> int:
    return int(np.int64(value).astype(np.int32))


def list_requests(batch: Batch) -> list[tuple[int, int, int]]:
    """(first row, rows, first position) of each request."""
    found, row = [], 0
    for b in range(len(batch.lens)):
        length, rows = int32(batch.lens[b]), batch.next_n
        if batch.extends is not None:
            rows = min(max(int(batch.extends[b]), 0), batch.rows)
        before = {"decode": 1, "draft_extend": rows, "extend": rows}.get(batch.mode, 0)
        found.append((row, rows, length - before))
        row += rows
    return found


def request_window(batch: Batch, windows: Windows) -> dict[str, np.ndarray]:
    """All fields of the layout of a workspace."""
    W, G, cap = batch.window, windows.groups, windows.capacity
    H, requests = G * W, list_requests(batch)
    rows = batch.list_rows()
    live = len(rows)
    if batch.extends is not None:
        live = min(sum(rows for _, rows, _ in requests), batch.rows, batch.num_tokens)
    n = len(rows)
    out = {
        "write_loc": np.arange(H, H + n, dtype=np.int32),
        "indices": np.full((n, W), -1, np.int32),
        "lengths": np.zeros(n, np.int32),
        "req": np.zeros(n, np.int64),
        "pos": np.zeros(n, np.int64),
        "commit_mask": np.zeros(n, np.int8),
        "history_req": np.zeros(H, np.int64),
        "history_pos": np.tile(np.arange(-W, 0, dtype=np.int64), G),
        "history_loc": np.arange(H, dtype=np.int64),
        "history_valid": np.zeros(H, np.int8),
        "history_src": np.full(H, windows.zero_row, np.int64),
    }
    for r, (b, L) in enumerate(rows[:live]):
        first, count, start = requests[b]
        out["req"][r], out["pos"][r] = batch.pool_of(b), L - 1
        out["commit_mask"][r] = first + count - 1 - r < cap
        for k in range(W):
            s = L - 1 - k
            if s < batch.floor(r):
                break
            place = b * W + s - (start - W) if s < start else H + first + s - start
            out["indices"][r, k] = np.int64(place).astype(np.int32)
            out["lengths"][r] += 1
    for b, (first, count, start) in enumerate(requests[:G]):
        if count == 0:
            continue
        floors = batch.floors
        last = first + count - 1
        floor = batch.floor(last) if floors is None or last < len(floors) else 0
        for i in range(W):
            h, position = b * W + i, start - W + i
            out["history_req"][h], out["history_pos"][h] = batch.pool_of(b), position
            if position >= floor:
                out["history_valid"][h] = 1
                out["history_src"][h] = batch.pool_of(b) * cap + position % cap
    return out


def in_place_of_paged(batch: Batch, windows: Windows, name: str) -> np.ndarray:
    """The core's fields of a step with such windows."""
    fields = request_window(batch, windows)
    if name == "swa_page_indices":
        wide = np.full((len(fields["lengths"]), up(batch.window)), -1, np.int32)
        wide[:, : batch.window] = fields["indices"]
        return wide
    return fields["lengths" if name == "swa_topk_lengths" else "write_loc"]


def draft_block(batch: Batch, windows: Windows) -> dict[str, np.ndarray]:
    """Indices and lengths of a draft block."""
    W, B, bs = batch.window, batch.next_n, len(batch.lens)
    indices = np.full((bs * B, up(W + B)), -1, np.int32)
    lengths = np.zeros(bs * B, np.int32)
    for b in range(bs):
        S, pool = int32(batch.lens[b]), batch.pool_of(b)
        start, valid = max(S - W, 0), windows.valid_from
        if valid is not None and 0 <= pool < len(valid):
            start = max(start, int(valid[pool]))
        context = max(S - start, 0)
        slots = []
        for k in range(context + B):
            if windows.ring is not None:
                place = S - context + k
                slots.append(pool * windows.ring + place % windows.ring)
            elif k < context:
                slots.append(batch.swa(batch.token(b, start + k, -1), -1))
            else:
                at = b * B + k - context
                inside = at < len(batch.locs)
                slots.append(batch.swa(int(batch.locs[at]) if inside else -1, -1))
        lengths[b * B : b * B + B] = context + B
        row = np.array(slots, np.int64).astype(np.int32)
        indices[b * B : b * B + B, : len(slots)] = row
    return {"swa_page_indices": indices, "swa_topk_lengths": lengths}


def tail(batch: Batch, windows: Windows) -> tuple[Batch, dict[str, np.ndarray]]:
    """The extend of the last rows alone, and what says which they are."""
    assert batch.extends is not None
    W, tails, indices, floors, locs, first = batch.window, [], [], [], [], 0
    for b, (extend, length) in enumerate(zip(batch.extends.tolist(), batch.lens)):
        E, S = min(max(int(extend), 0), batch.rows), int32(length)
        whole = windows.whole is not None and windows.whole[b] != 0
        t = min(E if whole else min(W, E), windows.tail_rows)
        for i in range(t):
            indices.append(first + E - t + i)
            floors.append(max(S - W - (E if whole else 0), 0))
        tails.append(t)
        first += E
    pads = max(windows.tail_rows - len(indices), 0)
    indices = (indices + [0] * pads)[: windows.tail_rows]
    floors += [0] * pads  # beside those of rows that there is no room for
    for r, index in enumerate(indices):
        is_row = r < sum(tails) and index < len(batch.locs)
        locs.append(batch.locs[index] if is_row else 0)
    view = replace(
        batch, extends=np.array(tails, np.int64), rows=windows.tail_rows,
        num_tokens=windows.tail_rows, floors=np.array(floors, np.int32),
        locs=np.array(locs, np.int64),
    )  # fmt: skip
    return view, {
        "tail_token_indices": np.array(indices, np.int64),
        "tail_floors": np.array(floors[: windows.tail_rows], np.int32),
    }


def expected(batch: Batch, windows: Windows, name: str) -> np.ndarray:
    """Field `name` of a step with these windows."""
    if batch.mode == "draft_block" and name in ("swa_page_indices", "swa_topk_lengths"):
        return draft_block(batch, windows)[name]
    if name.startswith("tail_"):
        view, own = tail(batch, windows)
        if name in own:
            return own[name]
        return expected(view, windows, name.removeprefix("tail_"))
    if name.startswith("window_"):
        return request_window(batch, windows)[name.removeprefix("window_")]
    if windows.groups and name in ("swa_page_indices", "swa_topk_lengths", "swa_out_cache_loc"):
        return in_place_of_paged(batch, windows, name)
    return reference(batch, name)
