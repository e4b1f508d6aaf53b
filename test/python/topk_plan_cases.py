# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Plans of SGLang's top-k: lengths, and what is to become of them, row by row."""

from __future__ import annotations

import numpy as np

from nsa import _topk_plan

UNTOUCHED = -7
#: Thresholds with the most rows above them.
TABLES = {
    "sm90": {65536: 30, 98304: 45, 131072: 60, 196608: 80, 262144: 112, 393216: 128},
    "sm100": {
        32768: 48, 131072: 66, 163840: 99, 196608: 132, 262144: 198, 393216: 231, 524288: 264,
    },
}  # fmt: skip
EDGES = (0, -1, 1, 32768, 32769, 65536, 65537, 98305, 131073, 200_000, 262145, 400_000, 524_289)


def reference(lens: np.ndarray, clusters: int, arch: str, static: int = -1) -> np.ndarray:
    rows = len(lens)
    plan = np.full((rows + 1, 2), UNTOUCHED, np.int64)
    if not (clusters > 0 and clusters < rows <= 512):
        return plan.astype(np.int32)
    table = TABLES[arch]
    limits = list(table)
    threshold = limits[0]
    for number, limit in enumerate(limits):
        if sum(int(length) > limit for length in lens) > table[limit]:
            threshold = limits[number + 1] if number + 1 < len(limits) else limits[-1]
    if static >= 0:
        threshold = static
    threshold = max(threshold, 32768)
    listed = 0
    for row, length in enumerate(lens):
        if length > threshold:
            listed += 1
            plan[listed] = row, length
    plan[0] = threshold, listed
    return plan.astype(np.int32)


def draw(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Of some lengths, so that any threshold comes up."""
    return rng.choice(rng.choice(EDGES, rng.integers(1, 5)), rows).astype(np.int32)


def consume(plan: np.ndarray, lens: np.ndarray, clusters: int) -> list[tuple[int, int]]:
    """(row, length) of each selection: by clusters of what is listed, else by the main
    kernel, which takes rows above the threshold for done."""
    rows = len(lens)
    if not (clusters > 0 and clusters < rows <= 512):
        return list(enumerate(lens.tolist()))
    (threshold, listed), *items = plan.tolist()
    done = [tuple(item) for item in items[:listed]]
    return done + [(r, n) for r, n in enumerate(lens.tolist()) if n <= threshold]


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        _topk_plan.text(_topk_plan.options_of(arch, static))
        for arch in TABLES
        for static in (-1, 50_000)
    }
