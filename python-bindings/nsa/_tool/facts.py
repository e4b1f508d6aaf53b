# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a manifest says (docs/Bundle.md), for people: sizes, segments, bytes."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any

#: Where nobody says more.
USUAL_SIZES = {"bs": 32, "page_shift": 8, "num_sms": 132, "parts": 132}
USUAL_SIZE = 1024

Manifest = dict[str, Any]


def show(size: Any) -> str:
    """A size expression in the step's own names."""
    if not isinstance(size, list):
        return str(size)
    op, *operands = size
    if op == "dim":
        return f"{operands[0]}.shape[{operands[1]}]"
    shown = [show(each) for each in operands]
    if op in ("add", "mul"):
        inner = [f"({s})" if isinstance(o, list) and o[0] == "add" and op == "mul" else s
                 for s, o in zip(shown, operands)]
        return f" {'+' if op == 'add' else '*'} ".join(inner)
    return f"{op}({', '.join(shown)})"


def evaluate(size: Any, sizes: dict[str, int], shapes: dict[str, list[int]]) -> int:
    if isinstance(size, int):
        return size
    if isinstance(size, str):
        return sizes[size]
    op, *operands = size
    if op == "dim":
        return shapes[operands[0]][operands[1]]
    a, b = (evaluate(each, sizes, shapes) for each in operands)
    return {
        "add": lambda: a + b,
        "mul": lambda: a * b,
        "floordiv": lambda: a // b,
        "ceildiv": lambda: -(-a // b),
        "mod": lambda: a % b,
    }[op]()


def item_bytes(dtype: str) -> int:
    digits = re.search(r"\d+$", dtype)
    return int(digits[0]) // 8 if digits else 1


def size_names(manifest: Manifest) -> list[str]:
    return [a["name"] for a in manifest["arguments"] if a["kind"] == "size"]


def array_ports(manifest: Manifest) -> list[dict[str, Any]]:
    return [a for a in manifest["arguments"] if a["kind"] != "size"]


def complete_sizes(manifest: Manifest, given: dict[str, int]) -> dict[str, int]:
    """A value for each size argument."""
    return {
        name: given.get(name, USUAL_SIZES.get(name, USUAL_SIZE))
        for name in size_names(manifest)
    }


def least(manifest: Manifest, argument: dict[str, Any]) -> list[Any]:
    """What each dimension of an array is at least: a size expression, or None."""
    needed: list[Any] = list(argument["shape"])
    for dim, extent in enumerate(argument.get("extents") or []):
        if needed[dim] is None:
            needed[dim] = extent
    for check in manifest.get("requires", []):
        if check["argument"] == argument["name"] and needed[check["dim"]] is None:
            needed[check["dim"]] = check["at_least"]
    return needed


def smallest_shapes(
    manifest: Manifest, sizes: dict[str, int], given: dict[str, list[int]]
) -> dict[str, list[int]]:
    """A shape for each array that the checks accept, if the sizes do: those `given`, else the
    least; what nothing asks for is as large as the largest size."""
    free = max([1, *sizes.values()])
    shapes: dict[str, list[int]] = {}
    for argument in array_ports(manifest):
        name = argument["name"]
        if name in given:
            shapes[name] = given[name]
            continue
        shapes[name] = [
            free if each is None else evaluate(each, sizes, {**shapes, **given})
            for each in least(manifest, argument)
        ]
    return shapes


@dataclass
class Traffic:
    """Bytes of one array in one kernel; `is_bound`: at most so many, as what the kernel looks
    up decides."""

    argument: str
    is_written: bool
    bytes: int
    is_bound: bool


def used_arrays(kernel: dict[str, Any]) -> list[str]:
    """The arrays that a kernel reads or writes."""
    return [p["argument"] for p in kernel["parameters"] if p["field"] == "pointer"]


def traffic(
    manifest: Manifest, sizes: dict[str, int], unfused: Manifest | None = None
) -> list[list[Traffic]]:
    """What each kernel moves, had it every element that it names to read or write once; of what
    it looks up no more than the launches of the `unfused` step together."""
    most: dict[str, int] = {}
    if unfused is not None:
        for each in itertools.chain(*traffic(unfused, sizes)):
            most[each.argument] = most.get(each.argument, 0) + each.bytes
    shapes = smallest_shapes(manifest, sizes, {})
    ports = {argument["name"]: argument for argument in array_ports(manifest)}
    moved = []
    for kernel in manifest["kernels"]:
        elements = sum(
            max(evaluate(s["rows"], sizes, shapes), 0)
            * max(evaluate(s["columns"], sizes, shapes), 0)
            for s in kernel["segments"]
        )
        arrays = []
        for name in used_arrays(kernel):
            port = ports[name]
            is_written = port["kind"] != "in"
            # Nothing but the kernel's lookups says how much of it is read.
            is_bound = not is_written and None in least(manifest, port)
            count = elements if is_bound else math.prod(shapes[name])
            moves = count * item_bytes(port["dtype"])
            if is_bound:
                # A segment is not said to read what only another one does.
                moves = min(moves, most.get(name, moves))
            arrays.append(Traffic(name, is_written, moves, is_bound))
        moved.append(arrays)
    return moved


def blocks(kernel: dict[str, Any], sizes: dict[str, int], shapes: dict[str, list[int]]) -> int:
    total = 0
    for segment in kernel["segments"]:
        rows, columns = (
            max(evaluate(segment[each], sizes, shapes), 0) for each in ("rows", "columns")
        )
        tile = segment["tile"]
        total += -(-rows // tile[0]) * -(-columns // tile[1])
    return total


def human(count: int) -> str:
    """Bytes, for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def type_of(argument: dict[str, Any]) -> str:
    """int32[?, 64]"""
    if argument["kind"] == "size":
        return "size"
    shape = ", ".join("?" if size is None else str(size) for size in argument["shape"])
    return f"{argument['dtype']}[{shape}]"


def needs_of(manifest: Manifest, argument: dict[str, Any]) -> str:
    """What its dimensions are at least, as in ``[bs, ceildiv(max_len, 64)]``."""
    if argument["kind"] == "size":
        return ""
    shown = ["any" if each is None else show(each) for each in least(manifest, argument)]
    return f"[{', '.join(shown)}]"


def as_table(rows: list[list[str]]) -> str:
    """Columns of text, padded."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )
