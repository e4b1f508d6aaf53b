# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes: numbers that the host knows at a launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from ._elements import Element, Operand, binary
from ._places import BuildError, here
from ._types import INDEX

if TYPE_CHECKING:
    from ._writer import Writer


@dataclass(frozen=True)
class Symbol:
    """What a size starts from: a port, or a dimension of the array behind one."""

    name: str
    #: Of a dimension.
    array: str = ""
    dim: int = 0
    type: str = ""


@dataclass(frozen=True)
class Affine:
    """``lhs op rhs``, as `affine.apply` has it."""

    op: str
    lhs: Affine | Symbol | int
    rhs: Affine | Symbol | int


Tree = Union[Affine, Symbol, int]


class Size(Operand):
    """A size: a size port, a dimension of an array, or an expression of them.

    ``+``, ``-`` and ``*`` of sizes and integers, ``//``, ``%`` and ``nb.ceildiv`` by
    positive integers are sizes, which the host computes. In a formula a size is an index.
    """

    __slots__ = ("step", "tree")

    def __init__(self, step: Writer, tree: Tree) -> None:
        self.step, self.tree = step, tree

    def element(self) -> Element:
        return Element("size", INDEX, data=self)

    def _combine(self, op: str, lhs: Any, rhs: Any) -> Any:
        other = rhs if lhs is self else lhs
        if isinstance(other, Size):
            if other.step is not self.step:
                raise BuildError(
                    f"expected sizes of one step but got one of {self.step.name} and one"
                    f" of {other.step.name}"
                )
        elif type(other) is not int:
            return binary({"+": "add", "-": "sub", "*": "mul"}[op], lhs, rhs)
        trees = [side.tree if isinstance(side, Size) else side for side in (lhs, rhs)]
        return Size(self.step, fold(op, *trees))

    def __add__(self, other: Any) -> Any:
        return self._combine("+", self, other)

    def __radd__(self, other: Any) -> Any:
        # So that constants come last.
        return self._combine("+", self, other)

    def __sub__(self, other: Any) -> Any:
        if type(other) is int:
            return self._combine("+", self, -other)
        return self._combine("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._combine("-", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._combine("*", self, other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self * -1

    def _divide(self, op: str, by: int) -> Size:
        if by <= 0:
            raise BuildError(f"expected a size divided by 1 or more but got {by}")
        return Size(self.step, fold(op, self.tree, by))

    def __floordiv__(self, other: Any) -> Any:
        if type(other) is int:
            return self._divide("floordiv", other)
        return binary("//", self, other)

    def __mod__(self, other: Any) -> Any:
        if type(other) is int:
            return self._divide("mod", other)
        return binary("%", self, other)

    def _ceildiv(self, by: int) -> Size:
        return self._divide("ceildiv", by)

    def __repr__(self) -> str:
        return f"<size {write(self.tree, {})}>"


#: What an array has in a dimension: a constant, a size, or nothing that the host knows.
Extent = Union[int, Size, None]


def fold(op: str, lhs: Tree, rhs: Tree) -> Tree:
    """The expression, without what constants make plain."""
    if op == "+" and isinstance(rhs, int):
        lhs, added = split(lhs)
        rhs += added
        if rhs == 0:
            return lhs
    if isinstance(rhs, int) and rhs == 1 and op in ("*", "floordiv", "ceildiv"):
        return lhs
    return Affine(op, lhs, rhs)


def split(tree: Tree) -> tuple[Tree, int]:
    """An expression, and the constant that is added to it."""
    if isinstance(tree, Affine) and tree.op == "+" and isinstance(tree.rhs, int):
        return tree.lhs, tree.rhs
    return tree, 0


def symbols(tree: Tree) -> dict[Symbol, None]:
    """The symbols of an expression, in order."""
    if isinstance(tree, Symbol):
        return {tree: None}
    if isinstance(tree, int):
        return {}
    return {**symbols(tree.lhs), **symbols(tree.rhs)}


def write(tree: Tree, names: dict[Symbol, str]) -> str:
    if isinstance(tree, int):
        return str(tree)
    if isinstance(tree, Symbol):
        return names.get(tree, tree.name)
    return f"({write(tree.lhs, names)} {tree.op} {write(tree.rhs, names)})"


def check_extent(extent: Any, what: str) -> int | Size:
    """`extent` as an integer of 0 or more, or a size."""
    if isinstance(extent, Size):
        return extent
    if isinstance(extent, Element):
        raise BuildError(
            f"expected {what} that the host knows (a size or an integer) but got an element"
            " of an array; declare a bound by s.size(name), and give what is past the"
            " array's own length a value"
        )
    if isinstance(extent, bool) or not hasattr(extent, "__index__"):
        raise BuildError(
            f"expected {what} that is a size or an integer but got {extent!r}", here()
        )
    number = extent.__index__()
    if not 0 <= number < 1 << 63:
        raise BuildError(f"expected {what} of 0 or more but got {number}")
    return int(number)
