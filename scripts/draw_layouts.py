#!/usr/bin/env python3
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the cache layouts that have names, from their attributes' text.

    draw_layouts.py [PICTURE.svg]     (default: docs/kv-layouts.svg)
"""

from __future__ import annotations

import importlib
import sys
from html import escape
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PAGE_SIZE = 64
WIDTH, LEFT, HEIGHT = 900, 20, 30
COLOURS = {
    "e4m3": "#9ecae9",
    "bf16": "#a1d99b",
    "f32": "#fdae6b",
    "ue8m0": "#fdae6b",
    "data": "#c6dbef",
    "footer": "#fdd0a2",
    "padding": "#e0e0e0",
}


def load_layouts() -> ModuleType:
    """nsa/layouts.py without the rest: the package wants a built extension."""
    package = ModuleType("nsa_sources")
    package.__path__ = [str(ROOT / "python-bindings/nsa")]
    sys.modules[package.__name__] = package
    return importlib.import_module("nsa_sources.layouts")


def text(x: float, y: float, content: str, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
        f'text-anchor="{anchor}">{escape(content)}</text>'
    )


def box(x: float, y: float, width: float, kind: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT}" '
        f'fill="{COLOURS[kind]}" stroke="#444"/>'
    )


def place_labels(y: float, labels: list[tuple[float, str]], size: int) -> tuple[list[str], float]:
    """Centres labels at x in the row at y, or in the first row below it with room, and
    inside of the picture; returns them and the y of the next row."""
    parts: list[str] = []
    ends: list[float] = []
    for x, label in sorted(labels):
        half = 0.31 * size * len(label)
        x = min(max(x, LEFT + half), LEFT + WIDTH - half)
        row = next((r for r, end in enumerate(ends) if x - half >= end), len(ends))
        ends[row : row + 1] = [x + half + 4]
        parts.append(text(x, y + row * (size + 2), label, size, "middle"))
    return parts, y + len(ends) * (size + 2)


def strip(
    y: float, total: int, pieces: list[tuple[int, int, str, str]]
) -> tuple[list[str], float]:
    """Pieces (first byte, bytes, kind, label) of `total` bytes, to scale, with what
    lies between them as padding, and the offsets below; returns the y below."""
    parts: list[str] = []
    narrow: list[tuple[float, str]] = []
    scale = WIDTH / total
    end = 0
    for first, size, kind, label in [*sorted(pieces), (total, 0, "padding", "")]:
        if first > end:
            parts.append(box(LEFT + end * scale, y, (first - end) * scale, "padding"))
        if size:
            left, width = LEFT + first * scale, size * scale
            parts.append(box(left, y, width, kind))
            if width > 6.5 * len(label):
                middle = text(left + width / 2, y + HEIGHT / 2 + 4, label, anchor="middle")
                parts.append(middle)
            else:
                narrow.append((left + width / 2, label))
        end = max(end, first + size)
    offsets = {first for first, *_ in pieces} | {total}
    numbers = [(LEFT + offset * scale, str(offset)) for offset in offsets]
    y += HEIGHT + 12
    for labels, size in ((numbers, 9), (narrow, 10)):
        placed, y = place_labels(y, labels, size)
        parts += placed
    return parts, y


def run_piece(run: object) -> tuple[int, int, str, str]:
    return run.offset, run.nbytes, run.type, f"{run.type}[{run.count}]"


def draw(name: str, layout: object, y: float) -> tuple[list[str], float]:
    parts = [text(LEFT, y + 14, name, 16)]
    parts.append(text(LEFT, y + 30, str(layout), 10))
    y += 40
    pieces = [run_piece(run) for run in layout.fields]
    if not layout.footer_bytes:
        pieces.append(run_piece(layout.scales))
    parts.append(text(LEFT, y + 12, f"data of a token, {layout.data_bytes} bytes"))
    y += 18
    drawn, y = strip(y, layout.data_bytes, pieces)
    parts += drawn
    if layout.footer_bytes:
        title = f"footer entry of a token, {layout.footer_bytes} bytes"
        y += 6
        parts.append(text(LEFT, y + 12, title))
        y += 18
        drawn, y = strip(y, layout.footer_bytes, [run_piece(layout.scales)])
        parts += drawn
    used, stride = layout.page_bytes(PAGE_SIZE), layout.page_stride(PAGE_SIZE)
    title = f"page of {PAGE_SIZE} tokens, {used} bytes"
    if stride > used:
        title += f", padded to {stride}"
    y += 6
    parts.append(text(LEFT, y + 12, title))
    y += 18
    data = PAGE_SIZE * layout.data_bytes
    page = [(0, data, "data", f"{PAGE_SIZE} x data")]
    if layout.footer_bytes:
        page.append((data, used - data, "footer", f"{PAGE_SIZE} x footer"))
    drawn, y = strip(y, stride, page)
    return parts + drawn, y + 30


def main() -> int:
    module = load_layouts()
    parts: list[str] = []
    y = 10.0
    for name in module.NAMED:
        drawn, y = draw(name, module.parse(name), y)
        parts += drawn
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/kv-layouts.svg"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * LEFT}" '
        f'height="{y:.0f}" font-family="sans-serif">'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    picture.write_text("\n".join([head, *parts, "</svg>"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
