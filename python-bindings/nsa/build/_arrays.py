# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays: `in` ports, and values that other values and formulas read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ._elements import Element, Operand, fit
from ._places import BuildError, here
from ._sizes import Extent, Size, Symbol
from ._types import INDEX, Type

if TYPE_CHECKING:
    from ._writer import Writer

__all__ = ["Array", "Expansion"]


class Array(Operand):
    """An array of one or two dimensions: an `in` port, or a value that is stored nowhere
    until ``Builder.output`` says where.

    ``a[i]`` or ``a[i, j]``, in the formula of a map, is an element; indices are integers,
    sizes, or elements with an integer type. ``a[i].otherwise(fill)`` is `fill` where an
    index is negative or past the end. Without it the compiler has to know that all
    indices are inside: the index of a map for a dimension of its own size, perhaps with a
    constant that the dimension has room for, or a constant for a static one.
    """

    __slots__ = ("extents", "name", "step", "text", "type")

    def __init__(
        self, step: Writer, name: str, type: Type, extents: tuple[Extent, ...]
    ) -> None:
        self.step, self.name, self.type, self.extents = step, name, type, extents
        #: MLIR's type.
        self.text = tensor(extents, type)

    @property
    def dtype(self) -> str:
        return self.type.name

    @property
    def shape(self) -> tuple[Any, ...]:
        """An integer or a size for each dimension; None where the host knows none, as the
        rows of an expansion have it."""
        if not self.step.is_port(self):
            return self.extents
        return tuple(
            Size(self.step, Symbol(f"{self.name}.{dim}", self.name, dim, self.text))
            if extent is None
            else extent
            for dim, extent in enumerate(self.extents)
        )

    def __getitem__(self, indices: Any) -> Element:
        if not isinstance(indices, tuple):
            indices = (indices,)
        rank = len(self.extents)
        if len(indices) != rank:
            raise BuildError(
                f"expected {rank} {'index' if rank == 1 else 'indices'} for {self.text}"
                f" but got {len(indices)}"
            )
        for index in indices:
            if isinstance(index, slice) or index is Ellipsis or index is None:
                raise BuildError(
                    "expected an index for each dimension but got a slice; write a map"
                    " over the part, s.map((n,), lambda i: a[start + i].otherwise(fill))"
                )
        places = tuple(to_index(index) for index in indices)
        return Element("read", self.type, places, self)

    def search(self, position: Any, row: Any = None) -> Element:
        """How many elements of an ascending array are `position` or less, as an index.

        With the exclusive sums of what requests have, ``search(i) - 1`` is the request
        that `i` belongs to. Elements that do not ascend give some number from 0 to how
        many there are.

        Parameters
        ----------
        position : Element, size or int
        row : Element, size or int, optional
            Of a table, the row that is searched; outside of the table it has no elements.
        """
        if self.type.kind != "int" or self.type.bits < 32:
            raise BuildError(
                f"expected an array of int32 or int64 to search but got {self.type}"
            )
        if (row is None) != (len(self.extents) == 1):
            raise BuildError(
                "expected a row of the table to search in, as in a.search(i, row=r)"
                if row is None
                else "expected no row of an array of one dimension"
            )
        rows = () if row is None else (to_index(row),)
        return Element("search", INDEX, (*rows, to_index(position, "a position")), self)

    def element(self) -> NoReturn:
        raise BuildError(
            f"expected an element but got an array, {self.text}; read it at indices, as in"
            " a[i], in the formula of a map"
        )

    def __iter__(self) -> NoReturn:
        raise BuildError(
            "expected no iteration over an array, whose contents only a launch knows; write"
            " a map over its indices, s.map(a.shape, lambda i: ...)"
        )

    def __repr__(self) -> str:
        return f"<{self.name} : {self.text}>"


class InOut(Array):
    """An array that is read and written: what `Builder.inout` returns. Its elements are
    read by the formula of the map that is stored there, at the map's own indices."""

    __slots__ = ()

    def __init__(self, step: Writer, name: str, type: Type, rank: int, text: str) -> None:
        super().__init__(step, name, type, (None,) * rank)
        self.text = text

    def search(self, position: Any, row: Any = None) -> NoReturn:
        raise BuildError(
            "expected no search in an array that the step writes; read its elements at the"
            " indices of the map that is stored there"
        )


class Expansion:
    """How requests become rows; see ``Builder.expansion``."""

    __slots__ = ("bound", "by", "name", "step")

    def __init__(self, step: Writer, name: str, by: Any, bound: Size | None) -> None:
        self.step, self.name, self.by, self.bound = step, name, by, bound

    def rows(self, requests: Extent) -> Extent:
        """How many there may be."""
        if self.bound is not None:
            return self.bound
        return None if requests is None else requests * self.by

    def __repr__(self) -> str:
        return f"<{self.name} : !nsa.expansion>"


def tensor(extents: tuple[Extent, ...], type: Type) -> str:
    return f"tensor<{dimensions(extents)}{type.text}>"


def dimensions(extents: tuple[Extent, ...]) -> str:
    text = ""
    for extent in extents:
        text += f"{extent}x" if isinstance(extent, int) else "?x"
    return text


def to_index(value: Any, what: str = "an index") -> Element:
    place = here()
    if isinstance(value, Operand) and not isinstance(value, (Array, Size)):
        element = value.element()
        if element.type.kind != "int":
            raise BuildError(
                f"expected {what} of an integer type but got {element.type}; write"
                " .astype('index')",
                place,
            )
    return fit(value, INDEX, what)
