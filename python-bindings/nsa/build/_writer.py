# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a step is written into: names, values and lines."""

from __future__ import annotations

from typing import Any, Callable

from ._arrays import Array, InOut
from ._places import BuildError, Place, here
from ._sizes import Extent, Size, Symbol, symbols, write
from ._types import Type

__all__ = ["Writer", "check_name"]


class Writer:
    """The names and the lines of a step."""

    def __init__(self, name: str) -> None:
        self.place = here()
        self.name = check_name(name)
        self._inputs: set[str] = set()
        #: What is taken, and where.
        self._names: dict[str, Place] = {}
        #: Texts, and maps, whose text comes when all names are known; with their places.
        self._body: list[tuple[str | Callable[[bool], str], Place]] = []
        #: Values by their text, so that what is said twice stands there once.
        self._values: dict[str, Any] = {}
        self._sizes: dict[Any, str] = {}
        self._counts: dict[str, int] = {}

    def _claim(self, *names: str, place: Place) -> list[str]:
        """The SSA names of ports or values; all of them are free, or none is taken."""
        known = self._names
        for number, name in enumerate(names):
            if name in known or name in names[:number]:
                where = f" at {known[name]}" if name in known else ""
                raise BuildError(
                    f"expected a name that is free but got {name!r}, which is taken{where}"
                )
            check_name(name)
        known.update(dict.fromkeys(names, place))
        return ["%" + name for name in names]

    def _name(self, name: str | None, kind: str, place: Place) -> str:
        """The SSA name of a value called `name`, or of some `kind`."""
        if name is not None:
            return self._claim(name, place=place)[0]
        # No C identifier, so free.
        number = self._counts.get(kind, 0)
        self._counts[kind] = number + 1
        return f"%{kind}.{number}"

    def _add(self, text: str, place: Place) -> None:
        self._body.append((text, place))

    def _define(self, kind: str, text: str, name: str | None) -> str:
        """Writes an operation that makes a value, and returns the value's SSA name."""
        place = here()
        ssa = self._name(name, kind, place)
        self._add(f"{ssa} = {text}", place)
        return ssa

    def _array(
        self,
        kind: str,
        operands: str,
        type: Type,
        extents: tuple[Extent, ...],
        name: str | None,
    ) -> Array:
        text = f"nsa.{kind}{operands}"
        array: Array | None = self._values.get(text)
        if array is None:
            array = Array(self, self._define(kind, text, name), type, extents)
            self._values[text] = array
        return array

    def name_size(self, size: int | Size) -> str:
        """The SSA name of a size, which is computed where it is first needed."""
        tree = size.tree if isinstance(size, Size) else size
        if isinstance(tree, Symbol) and not tree.array:
            return tree.name
        if tree in self._sizes:
            return self._sizes[tree]
        if isinstance(tree, int):
            text = f"arith.constant {tree} : index"
        elif isinstance(tree, Symbol):
            text = f"tensor.dim {tree.array}, {self.name_size(tree.dim)} : {tree.type}"
        else:
            used = list(symbols(tree))
            names = {symbol: f"s{number}" for number, symbol in enumerate(used)}
            operands = ", ".join(self.name_size(Size(self, symbol)) for symbol in used)
            text = (
                f"affine.apply affine_map<()[{', '.join(names.values())}] ->"
                f" ({write(tree, names)})>()[{operands}]"
            )
        self._sizes[tree] = self._define("size", text, None)
        return self._sizes[tree]

    def is_port(self, array: Array) -> bool:
        """Whether the array is an `in` port."""
        return array.name in self._inputs

    def _check_array(self, value: Any, what: str) -> None:
        if not isinstance(value, Array):
            raise BuildError(f"expected {what} that is an array but got {value!r}")
        if isinstance(value, InOut):
            raise BuildError(
                f"expected {what} that is read or computed but got {value.name}, which the"
                " step writes; read it in a formula, at the indices of the map that is"
                " stored there"
            )
        if value.step is not self:
            raise BuildError(
                f"expected an array of step {self.name} but got one of {value.step.name}"
            )


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise BuildError(f"expected a name that is a C identifier but got {name!r}")
    return name
