# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layouts of paged, quantised caches, as the text of ``#nsa.kv_layout`` attributes.

A layout is data: ``NAMED`` has those that have names, and any other is written down::

    layout = nsa.layouts.parse(
        "data_bytes = 528, fields = [e4m3[512] at 0], "
        "scales = ue8m0[16] at 512 per 32 inline, page_multiple = 528"
    )

docs/KVLayouts.md explains the grammar and has pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._errors import constant, wrong

__all__ = ["NAMED", "KVLayout", "Run", "parse"]

#: Name -> text. The compiler has the same.
NAMED = {
    "v32": "data_bytes = 656, fields = [e4m3[512] at 0, bf16[64] at 528], "
    "scales = f32[4] at 512 per 128 inline, page_multiple = 1",
    "v4": "data_bytes = 576, fields = [e4m3[448] at 0, bf16[64] at 448], "
    "scales = ue8m0[7] at 0 per 64 footer 8, page_multiple = 576",
    "v41": "data_bytes = 512, fields = [e4m3[512] at 0], "
    "scales = ue8m0[16] at 0 per 32 footer 16, page_multiple = 512",
    "indexer": "data_bytes = 128, fields = [e4m3[128] at 0], "
    "scales = f32[1] at 0 per 128 footer 4, page_multiple = 1",
}

#: Bytes of a number of each type.
TYPES = {"e4m3": 1, "bf16": 2, "f32": 4, "ue8m0": 1}

_RUN = r"(\w+)\s*\[\s*(\d+)\s*\]\s*at\s+(\d+)"
_LAYOUT = re.compile(
    rf"\s*data_bytes\s*=\s*(?P<data>\d+)\s*,"
    rf"\s*fields\s*=\s*\[(?P<fields>\s*{_RUN}(?:\s*,\s*{_RUN})*\s*)\]\s*,"
    rf"\s*scales\s*=\s*(?P<scales>{_RUN})\s+per\s+(?P<group>\d+)"
    r"\s+(?:inline|footer\s+(?P<footer>\d+))"
    r"(?:\s*,\s*page_multiple\s*=\s*(?P<multiple>\d+))?\s*"
)


def _make_constants(layout: Run | KVLayout, **least: int) -> None:
    """Makes ints of the numbers of a layout, each of which has a least value."""
    for name, bound in least.items():
        object.__setattr__(layout, name, constant(name, getattr(layout, name), bound))


@dataclass(frozen=True)
class Run:
    """`count` numbers of one type side by side, the first at byte `offset`."""

    type: str
    count: int
    offset: int

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise wrong(
                ValueError, "type", f"expected one of {', '.join(TYPES)} but got {self.type!r}"
            )
        _make_constants(self, count=1, offset=0)

    @property
    def nbytes(self) -> int:
        return self.count * TYPES[self.type]

    def __str__(self) -> str:
        return f"{self.type}[{self.count}] at {self.offset}"


@dataclass(frozen=True)
class KVLayout:
    """A layout, taken apart. ``str(layout)`` is the attribute's text."""

    data_bytes: int
    fields: tuple[Run, ...]
    scales: Run
    group: int
    #: Bytes of a token's footer entry; 0 where scales are inline.
    footer_bytes: int = 0
    page_multiple: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        _make_constants(self, data_bytes=1, group=1, footer_bytes=0, page_multiple=1)

    @property
    def row(self) -> int:
        """Elements of a token's row."""
        return sum(field.count for field in self.fields)

    @property
    def token_bytes(self) -> int:
        return self.data_bytes + self.footer_bytes

    def page_bytes(self, page_size: int) -> int:
        """Bytes that a page of `page_size` tokens uses."""
        return page_size * self.token_bytes

    def page_stride(self, page_size: int) -> int:
        """Bytes that its engine allocates for a page: those, padded."""
        return -(-self.page_bytes(page_size) // self.page_multiple) * self.page_multiple

    def __str__(self) -> str:
        fields = ", ".join(map(str, self.fields))
        place = f"footer {self.footer_bytes}" if self.footer_bytes else "inline"
        return (
            f"#nsa.kv_layout<data_bytes = {self.data_bytes}, fields = [{fields}], "
            f"scales = {self.scales} per {self.group} {place}, "
            f"page_multiple = {self.page_multiple}>"
        )


def _run(match: tuple[str, str, str]) -> Run:
    kind, count, offset = match
    return Run(kind, int(count), int(offset))


def parse(layout: str | KVLayout) -> KVLayout:
    """The layout of that name or text, with or without ``#nsa.kv_layout<...>`` around it.

    Raises ``ValueError`` for what is neither, ``TypeError`` for what is no text. Whether fields overlap and groups divide is
    for the compiler to check.
    """
    if isinstance(layout, KVLayout):
        return layout
    if not isinstance(layout, str):
        raise wrong(
            TypeError, "layout", f"expected a name, a text or a KVLayout but got {layout!r}"
        )
    text = layout.strip()
    if text.startswith("#nsa.kv_layout<") and text.endswith(">"):
        text = text[len("#nsa.kv_layout<") : -1]
    text = NAMED.get(text.strip(), text)
    match = _LAYOUT.fullmatch(text)
    if match is None:
        raise wrong(
            ValueError,
            "layout",
            f"expected one of {', '.join(NAMED)}, or a text like {NAMED['v4']!r}, but got "
            f"{layout!r}",
        )
    fields = tuple(map(_run, re.findall(_RUN, match["fields"])))
    scales = _run(re.findall(_RUN, match["scales"])[0])
    return KVLayout(
        int(match["data"]),
        fields,
        scales,
        int(match["group"]),
        int(match["footer"] or 0),
        int(match["multiple"] or 1),
    )
