#!/usr/bin/env python3
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the workspace of sparse prefill for three requests.

    draw_sparse_prefill.py [PICTURE.svg]     (default: docs/images/sparse_prefill.svg)
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT, TOP, HEIGHT, SCALE = 70, 60, 36, 30
COLOURS = ("#9ecae9", "#a1d99b", "#fdae6b")
PADDING = "#e8e8e8"
# Small enough to count: a window of 4, a ratio of 4, (tokens, queries) of each request.
WINDOW, RATIO = 4, 4
REQUESTS = ((12, 5), (7, 0), (17, 3))


def rect(x: float, y: float, width: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{HEIGHT}" fill="{fill}" '
        'stroke="#444"/>'
    )


def text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{words}</text>'
    )


def arrow(x: float, label: str) -> list[str]:
    """From below to the left edge of a run of rows."""
    y = TOP + HEIGHT
    return [
        f'<path d="M{x:g} {y + 22} V{y + 3} m-3 6 l3 -6 l3 6" fill="none" stroke="#444"/>',
        text(x, y + 36, label, size=11),
    ]


def draw() -> str:
    bs, c_max = len(REQUESTS), max(length for length, _ in REQUESTS) // RATIO
    gathers = [min(length, queries + WINDOW - 1) for length, queries in REQUESTS]
    parts: list[str] = []
    x = float(LEFT)
    for b, (length, _) in enumerate(REQUESTS):
        parts += arrow(x, f"compressed_base[{b}]")
        for j in range(c_max):
            used = j < length // RATIO
            parts.append(rect(x, TOP, SCALE, COLOURS[b] if used else PADDING))
            x += SCALE
    windows = x
    for b, gather in enumerate(gathers):
        parts += arrow(x, f"swa_base[{b}]")
        parts += [rect(x + i * SCALE, TOP, SCALE, COLOURS[b]) for i in range(gather)]
        x += gather * SCALE
    line = f"M{windows:g} {TOP - 34} V{TOP + HEIGHT}"
    parts.append(f'<path d="{line}" stroke="#444" stroke-width="2"/>')
    middle = (LEFT + windows) / 2
    parts.append(text(middle, TOP - 24, "compressed rows, c_max for each request"))
    parts.append(text(middle, TOP - 8, f"bs * c_max = {bs} * {c_max}", size=11))
    middle = (windows + x) / 2
    parts.append(text(middle, TOP - 24, "window rows, min(S, E + W - 1) for each request"))
    sums = " + ".join(map(str, gathers))
    parts.append(text(middle, TOP - 8, f"sum(G) = {sums}", size=11))
    y = TOP + HEIGHT + 66
    for b, (length, queries) in enumerate(REQUESTS):
        at = LEFT + b * 260
        parts.append(f'<rect x="{at}" y="{y - 11}" width="12" height="12" fill="{COLOURS[b]}"/>')
        parts.append(text(at + 18, y, f"request {b}: S = {length}, E = {queries}", "start"))
    note = f"Here W = {WINDOW}, ratio = {RATIO}. Grey rows hold token 0; no index names them."
    parts.append(text(LEFT, y + 22, note, "start", 11))
    size = f'width="{x + LEFT:g}" height="{y + 34:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head + background, *parts, "</svg>", ""])


if __name__ == "__main__":
    default = ROOT / "docs/images/sparse_prefill.svg"
    Path(sys.argv[1] if len(sys.argv) > 1 else default).write_text(draw())
