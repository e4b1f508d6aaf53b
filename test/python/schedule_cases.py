# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels: lengths, and what becomes of them, slot by slot."""

from __future__ import annotations

import numpy as np

from nsa import _schedules

CONVENTIONS = tuple(_schedules.CONVENTIONS)


def split_of(convention: str) -> int:
    return 128 if convention == "sm120" else 256


def reference(lens: np.ndarray, convention: str, slots: int, split: int) -> np.ndarray:
    """Slot by slot."""
    bs, next_n = lens.shape
    given = np.maximum(lens.astype(np.int64), 0)
    items = given.ravel() if convention == "jit" else given[:, -1]
    parts = -(-next_n // 2) if convention in ("sm90", "sm120") else 1
    weights = [-(-int(length) // split) * parts for length in items]
    total = sum(weights)
    each, rest = divmod(total, slots)
    rows = []
    for slot in range(slots + 1):
        more = min(slot, rest) if convention == "gen1" else max(slot - (slots - rest), 0)
        place = slot * each + more
        item, before = 0, 0
        while item < len(weights) and before + weights[item] <= place:
            before += weights[item]
            item += 1
        if item == len(weights):
            rows.append((len(weights) * parts, 0))
            continue
        splits = weights[item] // parts
        rows.append((item * parts + (place - before) // splits, (place - before) % splits))
    return np.array(rows, np.int32)


def draw(rng: np.random.Generator, bs: int, next_n: int, dtype: str) -> np.ndarray:
    edges = [0, 1, 127, 128, 129, 255, 256, 257, 511, 512, 513, -3, 100_000]
    return rng.choice(edges, (bs, next_n)).astype(dtype)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        _schedules.write_paged_mqa(name, split_of(name), 2, "int32") for name in CONVENTIONS
    }
