# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layouts of windows that requests keep, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import nsa
from nsa import _request_window

FILL = -77
INT64 = ("req", "pos", "history_req", "history_pos", "history_loc", "history_src")
INT8 = ("history_valid", "commit_mask")
FIELDS = _request_window.FIELDS


@dataclass
class Rows:
    req: np.ndarray
    pos: np.ndarray
    floor: np.ndarray | None
    window: int
    capacity: int
    groups: int
    padded: int
    zero_row: int = 12345


def draw(seed: int, floors: bool, dtype: str = "int64", window: int = 5, capacity: int = 3) -> Rows:
    """Runs of rows; a request may come back later, and where `seed` is odd positions are
    anything."""
    rng = np.random.default_rng(seed)
    req, pos = [], []
    for _ in range(int(rng.integers(0, 6))):
        rows = int(rng.integers(1, 8))
        first = int(rng.choice([0, 1, window - 1, window, window + 1, 700]))
        req += [int(rng.integers(0, 4))] * rows
        pos += range(first, first + rows)
    n = len(req)
    runs = 0 if n == 0 else 1 + sum(a != b for a, b in zip(req, req[1:]))
    if seed % 2:
        pos = list(rng.choice([-5, 0, 3, 2**31 - 1], n))
        req = [x - 2 for x in req]
    groups = max(runs + int(rng.integers(-1, 3)), 0)
    floor = rng.choice([-3, 0, 2, 6, 698, 2**31 - 1], n).astype(np.int32) if floors else None
    return Rows(
        np.array(req, dtype), np.array(pos, dtype), floor, window, capacity, groups,
        n + int(rng.choice([-1, 0, 3])),
    )  # fmt: skip


def reference(rows: Rows) -> dict[str, np.ndarray]:
    req, pos = rows.req.tolist(), rows.pos.tolist()
    n, W, G = len(req), rows.window, rows.groups
    padded, H = max(n, rows.padded), G * W

    def floor(r: int) -> int:
        return 0 if rows.floor is None else max(int(rows.floor[r]), 0)

    out = {
        "req": np.zeros(padded, np.int64),
        "pos": np.zeros(padded, np.int64),
        "write_loc": np.arange(H, H + padded, dtype=np.int32),
        "indices": np.full((padded, W), -1, np.int32),
        "lengths": np.zeros(padded, np.int32),
        "history_req": np.zeros(H, np.int64),
        "history_pos": np.tile(np.arange(-W, 0, dtype=np.int64), G),
        "history_loc": np.arange(H, dtype=np.int64),
        "history_valid": np.zeros(H, np.int8),
        "history_src": np.full(H, rows.zero_row, np.int64),
        "commit_mask": np.zeros(padded, np.int8),
    }
    begins = [r for r in range(n) if r == 0 or req[r] != req[r - 1]]
    for b, (first, end) in enumerate(zip(begins, [*begins[1:], n])):
        for r in range(first, end):
            out["req"][r], out["pos"][r] = req[r], pos[r]
            out["commit_mask"][r] = end - 1 - r < rows.capacity
            begin = pos[r] - (r - first)
            for k in range(W):
                seen = pos[r] - k
                if seen < floor(r):
                    continue
                if seen < begin:
                    place = b * W + seen - (begin - W)
                else:
                    place = H + first + seen - begin
                out["indices"][r, k] = np.int64(place).astype(np.int32)
                out["lengths"][r] += 1
        if b >= G:
            continue
        last = end - 1
        begin = pos[last] - (last - first)
        for i in range(W):
            h, position = b * W + i, begin - W + i
            out["history_req"][h], out["history_pos"][h] = req[last], position
            if position >= floor(last):
                out["history_valid"][h] = 1
                out["history_src"][h] = req[last] * rows.capacity + position % rows.capacity
    return out


def run(rows: Rows, gpu: Any = None, fields: tuple[str, ...] = FIELDS) -> None:
    """Compares every field, in arrays that are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    wanted = reference(rows)
    made = {
        name: place(np.full([size + 1 for size in wanted[name].shape], FILL, wanted[name].dtype))
        for name in fields
    }
    nsa.ops.window_layout(
        made, place(rows.req), place(rows.pos), zero_row=rows.zero_row, window=rows.window,
        capacity=rows.capacity, num_groups=rows.groups, padded_rows=rows.padded,
        floor=None if rows.floor is None else place(rows.floor),
    )  # fmt: skip
    for name, array in made.items():
        got, value = fetch(array), wanted[name]
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    found = set()
    for dtype in ("int32", "int64"):
        for floors in (False, True):
            dtypes = {"req": dtype, "pos": dtype, "floor": "int32"}
            found.add(_request_window.write(FIELDS, 5, 3, floors, dtypes).s.text)
    return found


__all__ = ["FIELDS", "draw", "reference", "run", "texts"]
