# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the simulator has to say: PTX that it cannot read, and what a kernel did wrong."""

from __future__ import annotations

import linecache
import re


class PTXError(ValueError):
    """PTX that the simulator cannot read or does not know; `line` is its line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"PTX line {line}: {message}")
        self.line = line


def find_operation(location: str | None) -> str | None:
    """The name of the operation at FILE:LINE:COLUMN, as ``nsa.map``, where the file can be
    read; texts of ``nsa.compile(line_info=True)`` can."""
    match = re.fullmatch(r"(.*):(\d+):(\d+)", location or "", re.S)
    if not match:
        return None
    line = linecache.getline(match[1], int(match[2])).encode()[int(match[3]) - 1 :]
    name = re.match(rb'"?(\w+\.[\w.]+)', line)
    return name[1].decode() if name else None


class SimtError(RuntimeError):
    """What a kernel did that no kernel may do.

    `kind` is one of ``KINDS``; `kernel`, `line` and `instruction` say where in the PTX,
    `location` where in the nsa text if the PTX has that (``nsa.compile(line_info=True)``), and
    `operation` what is there; `block` and `thread` who did it,
    `other` with whom, as (block, thread); `argument` and `element` to what; `seed` is that
    of the run's order. What is not known or does not apply is None.
    """

    #: Every kind of report.
    KINDS = (
        "out of bounds",
        "write to input",
        "read of output",
        "race",
        "uninitialised shared memory",
        "uninitialised register",
        "barrier not reached",
        "shuffle not reached",
        "misaligned",
        "non-coherent load",
        "access before wait",
        "atomic access",
        "assertion",
        "trap",
        "branch past its table",
        "endless",
    )

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        kernel: str | None = None,
        line: int | None = None,
        instruction: str | None = None,
        location: str | None = None,
        argument: str | None = None,
        element: tuple[int, ...] | None = None,
        block: int | None = None,
        thread: int | None = None,
        other: tuple[int, int] | None = None,
        seed: int | None = None,
    ) -> None:
        assert kind in self.KINDS, kind
        self.kind, self.detail = kind, detail
        self.kernel, self.line, self.instruction = kernel, line, instruction
        self.location, self.argument, self.element = location, argument, element
        self.block, self.thread, self.other, self.seed = block, thread, other, seed
        self.operation = find_operation(location)
        where = f"kernel '{kernel}', PTX line {line}"
        if location:
            where += f" ({location}{', ' + self.operation if self.operation else ''})"
        message = f"{kind}: {detail}\n  {where}: {instruction}"
        if block is not None:
            message += f"\n  block {block}, thread {thread}"
        if other is not None:
            message += f"; the other one is block {other[0]}, thread {other[1]}"
        if seed is not None:
            message += f"\n  seed {seed}"
        super().__init__(message)
