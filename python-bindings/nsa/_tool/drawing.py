# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Boxes and lines between columns of them, as SVG."""

from __future__ import annotations

from html import escape


def box(x: int, y: float, width: int, height: float, kind: str, lines: list[str]) -> str:
    """A box of class `kind` with lines of text, narrower where they are long."""
    first = y + height / 2 - 6.5 * (len(lines) - 1)
    text = "".join(
        f'<text x="{x + 7}" y="{first + 13 * i + 4:.1f}"'
        + (
            f' textLength="{width - 14}" lengthAdjust="spacingAndGlyphs"'
            if 6.7 * len(line) > width - 14
            else ""
        )
        + f">{escape(line)}</text>"
        for i, line in enumerate(lines)
    )
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y:.1f}" width="{width}" height="{height:.1f}"'
        f' rx="3"/>{text}</g>'
    )


def edge(x0: int, y0: float, x1: int, y1: float, kind: str) -> str:
    """A line of class `kind` from the right of one box to the left of another."""
    middle = (x0 + x1) / 2
    return (
        f'<path class="{kind}" d="M{x0} {y0:.1f}C{middle} {y0:.1f} {middle} {y1:.1f}'
        f' {x1} {y1:.1f}"/>'
    )


def arc(x: int, y0: float, y1: float, kind: str) -> str:
    """A line of class `kind` from the left of one box to the left of another below or above."""
    out = x - min(12 + abs(y1 - y0) / 8, 45)
    return (
        f'<path class="{kind}" d="M{x} {y0:.1f}C{out:.1f} {y0:.1f} {out:.1f} {y1:.1f}'
        f' {x} {y1:.1f}"/>'
    )


def spread(count: int, height: float) -> list[float]:
    """Middles of rows that share a height."""
    return [height * (i + 0.5) / count for i in range(count)]
