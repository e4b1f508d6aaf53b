# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where in the user's Python something was written."""

from __future__ import annotations

import dis
import sys
from itertools import islice
from types import CodeType

from .._compile import CompileError


class Place:
    """A line and a column of Python, which are looked for when they are asked."""

    __slots__ = ("_code", "_instruction")

    def __init__(self, code: CodeType, instruction: int) -> None:
        self._code, self._instruction = code, instruction

    @property
    def file(self) -> str:
        return self._code.co_filename

    @property
    def line(self) -> int:
        line = self._code.co_firstlineno
        for start, number in dis.findlinestarts(self._code):
            if start > self._instruction:
                break
            line = number or line
        return line

    @property
    def column(self) -> int:
        """From 1; 0 where Python does not know (before 3.11)."""
        positions = getattr(self._code, "co_positions", None)
        if positions is None:
            return 0
        start = self._instruction // 2
        column = next(islice(positions(), start, start + 1), (None,) * 4)[2]
        return 0 if column is None else column + 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def location(self) -> str:
        """As MLIR writes it."""
        name = "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}"
            for byte in self.file.encode("utf-8", "surrogateescape")
        )
        return f'loc("{name}":{self.line}:{self.column})'


def here() -> Place:
    """The innermost line that is outside of this package."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__package__") == __package__ and frame.f_back is not None:
        frame = frame.f_back
    return Place(frame.f_code, frame.f_lasti)


class BuildError(CompileError):
    """A step that cannot be written down; its diagnostic is of the compiler's form, with
    the file, the line and the column of the Python that is wrong.

    Attributes
    ----------
    place : Place
        The line; ``file``, ``line`` and ``column``.
    diagnostics : str
        The message with its place.
    """

    def __init__(self, message: str, place: Place | None = None) -> None:
        self.place = place or here()
        text = f"{self.place}: error: {message}"
        super().__init__(text, text + "\n")
