# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A formula: the nodes that an element needs, as the body of `nsa.map` or
`nsa.iterate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ._arrays import Array
from ._elements import Element
from ._places import BuildError, Place
from ._sizes import Size
from ._types import write_constant

if TYPE_CHECKING:
    from ._writer import Writer

_CASTS = frozenset(
    "extsi extui trunci index_cast index_castui sitofp uitofp fptosi extf truncf".split()
)


class Formula:
    """The body of a map or a recurrence, checked; written when its step is."""

    def __init__(
        self, step: Writer, indices: list[str], yielded: Element, place: Place
    ) -> None:
        self.step, self.indices, self.yielded, self.place = step, indices, yielded, place
        self.nodes = order(yielded)
        for node in self.nodes:
            if isinstance(node.data, (Array, Size)) and node.data.step is not step:
                raise BuildError(
                    f"expected what step {step.name} has but got something of step"
                    f" {node.data.step.name}",
                    node.place,
                )
            if node.op == "read":
                check_fill(node)

    def sizes(self) -> list[Size]:
        return [node.data for node in self.nodes if node.op == "size"]

    def write(self, is_taken: Callable[[str], bool], located: bool) -> tuple[str, list[str]]:
        """The arguments, and the lines of the body. Each expression stands there once."""
        names = []
        for name in self.indices:
            base, number = name, 0
            while is_taken(name) or f"%{name}" in names:
                name, number = f"{base}.{number}", number + 1
            names.append(f"%{name}")
        lines: list[str] = []
        known: dict[str, str] = {}
        values: dict[int, str] = {}
        for node in self.nodes:
            if node.op in ("index", "before"):
                values[id(node)] = names[node.data]
                continue
            if node.op == "size":
                values[id(node)] = self.step.name_size(node.data)
                continue
            text = write(node, [values[id(operand)] for operand in node.operands])
            if text not in known:
                known[text] = f"%{len(known)}"
                place = f" {node.place.location}" if located else ""
                lines.append(f"{known[text]} = {text}{place}")
            values[id(node)] = known[text]
        end = f"nsa.yield {values[id(self.yielded)]} : {self.yielded.type.text}"
        lines.append(end + (f" {self.yielded.place.location}" if located else ""))
        return ", ".join(names), lines


def write(node: Element, operands: list[str]) -> str:
    """The operation, without its name."""
    op, type = node.op, node.type.text
    words = ", ".join(operands)
    if op == "constant":
        return f"arith.constant {write_constant(node.data, node.type)}"
    if op == "read":
        rank = len(node.data.extents)
        fill = f" else {operands[rank]}" if len(operands) > rank else ""
        return (
            f"nsa.read {node.data.name}[{', '.join(operands[:rank])}]{fill} : {node.data.text}"
        )
    if op == "search":
        row = f"[{operands[0]}]" if len(operands) == 2 else ""
        return f"nsa.search {node.data.name}{row} for {operands[-1]} : {node.data.text}"
    if op in ("cmpi", "cmpf"):
        return f"arith.{op} {node.data}, {words} : {node.operands[0].type.text}"
    if op in _CASTS:
        return f"arith.{op} {words} : {node.operands[0].type.text} to {type}"
    return f"arith.{op} {words} : {type}"


def order(root: Element) -> list[Element]:
    """The nodes, each after its operands. (Formulas may be deeper than Python's stack.)"""
    nodes: list[Element] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            nodes.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
    return nodes


def check_fill(read: Element) -> None:
    """Refuses a read without a fill at an index from an array, which may be anything. Of
    other indices the compiler knows more."""
    rank = len(read.data.extents)
    if len(read.operands) > rank:
        return
    for dim, index in enumerate(read.operands):
        if any(node.op in ("read", "search", "before") for node in order(index)):
            raise BuildError(
                f"expected .otherwise(fill) at this read, because index {dim} depends on"
                " the contents of an array, which may be any; write what the element is"
                f" where {read.data.name[1:]} has none, as in a[i].otherwise(-1)",
                read.place,
            )
