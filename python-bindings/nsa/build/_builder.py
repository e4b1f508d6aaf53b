# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step in the making: its values, and its text."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Callable

from .._compile import compile
from .._module import Step
from ._arrays import Array, tensor
from ._elements import Element, Space, convert, default_type, lift, make_constant, where
from ._formula import Formula
from ._named import NamedOps
from ._places import BuildError, Place, here
from ._sizes import Size, check_extent
from ._types import BOOL, ELEMENTS, INDEX, INT32, INT64, check_fits, to_type

__all__ = ["Builder", "step"]


class Builder(NamedOps):
    """A step that is being written.

    Each method adds to the step and returns what it made; ``text`` is the step so far, in
    the nsa dialect. Whatever is wrong raises ``BuildError``, with the line of Python.

    Parameters
    ----------
    name : str
        A C identifier.
    sort_ports : bool
        Sizes, arrays that are read, arrays that are written, whatever the order in which
        they were declared; else that order.

    Examples
    --------
    >>> import nsa.build as nb
    >>> s = nb.Builder("positions")
    >>> n = s.size("n")
    >>> lens = s.input("lens", "int32", (n,))
    >>> s.output("last", s.map((n,), lambda b: lens[b] - 1))
    >>> print(s.text)
    nsa.step @positions(
        in %n : index,
        in %lens[%n] : tensor<?xi32>,
        out %last : memref<?xi32, strided<[?]>>) {
      %map.0 = nsa.map(%b) in (%n) : tensor<?xi32> {
        %0 = nsa.read %lens[%b] : tensor<?xi32>
        %1 = arith.constant 1 : i32
        %2 = arith.subi %0, %1 : i32
        nsa.yield %2 : i32
      }
      nsa.copy %map.0 to %last : tensor<?xi32> to memref<?xi32, strided<[?]>>
    }
    <BLANKLINE>
    """

    def __init__(self, name: str, *, sort_ports: bool = False) -> None:
        super().__init__(name)
        self._sort_ports = sort_ports

    def map(
        self,
        sizes: int | Size | Sequence[int | Size],
        formula: Callable[..., Any],
        *,
        dtype: Any = None,
        packed: bool = False,
        name: str | None = None,
    ) -> Array:
        """An array whose elements are given by a formula.

        Parameters
        ----------
        sizes : size, int, or sequence of them
            One or two.
        formula : callable
            Called once, with an index (an ``Element``) for each size; returns the
            element.
        dtype : str or dtype, optional
            What the element is converted to, as by ``astype``; else its own type. An
            index is kept as int64.
        packed : bool
            Of two sizes: a block of threads takes several rows, as is faster where they are
            often shorter than the hundreds of elements that it takes, or share much.
        name : str, optional
            In the text.

        Examples
        --------
        >>> ids = s.map((n, 128), lambda r, c: r2t[pool[r], lens[r] - 1 - c].otherwise(-1))
        """
        extents = self._check_sizes(sizes)
        names = self._check_parameters(formula, len(extents))
        if packed and len(extents) != 2:
            raise BuildError("expected two sizes of what is packed", here())
        attributes = " attributes {packed}" if packed else ""
        return self._formula("map", extents, formula, names, dtype, name, attributes=attributes)

    def iterate(
        self,
        steps: int | Size,
        formula: Callable[[Element, Element], Any],
        *,
        first: int = 0,
        dtype: Any = "int64",
        name: str | None = None,
    ) -> Array:
        """A recurrence: each element is computed from the one before it.

        There is an element more than there are steps: element 0 is `first`, and element
        ``i + 1`` is ``formula(i, x)``, where ``x`` is element ``i``. Whoever reads one makes
        the steps one after the other, so this is for as many as a GPU has multiprocessors.

        Parameters
        ----------
        steps : size or int
        formula : callable
            Called once, with the number of the step and the element before, which has the
            type `dtype`; returns the next one, which is converted to it.
        first : int
        dtype : str or dtype
            int32 or int64.
        name : str, optional
            In the text.

        Examples
        --------
        >>> begins = s.iterate(parts, lambda i, x: ends[ends.search(x + size)].otherwise(total))
        """
        if isinstance(steps, (tuple, list)):
            raise BuildError(f"expected one size, the number of steps, but got {steps!r}")
        sizes = self._check_sizes(steps)
        names = self._parameters(formula, ["i", "x"])
        if len(names) != 2:
            raise BuildError(
                "expected a formula of a step and the element before, as in lambda i, x: x +"
                f" 1, but got one of {len(names)}"
            )
        if type(first) is not int:
            raise BuildError(f"expected a first element that is an int but got {first!r}")
        element = to_type(dtype, ("int32", "int64"))
        check_fits(first, element, here())
        return self._formula("iterate", sizes, formula, names, element, name, first)

    def _formula(
        self,
        kind: str,
        sizes: tuple[int | Size, ...],
        formula: Callable[..., Any],
        names: list[str],
        dtype: Any,
        name: str | None,
        first: int | None = None,
        attributes: str = "",
    ) -> Array:
        """A map, or with `first` a recurrence."""
        place = here()
        space = Space(place)
        extents, start = sizes, ""
        arguments = [Element("index", INDEX, (), i, space, place) for i in range(len(sizes))]
        if first is not None:
            arguments.append(Element("before", dtype, (), len(sizes), space, place))
            extents, start = (sizes[0] + 1,), f" from {first}"
        result = formula(*arguments)
        code = getattr(formula, "__code__", None)
        end = Place(code, 0) if code is not None else place
        element = self._check_element(result, space, dtype, end)
        body = Formula(self, names, element, place)
        words = [
            str(size) if isinstance(size, int) else self.name_size(size) for size in sizes
        ]
        for size in body.sizes():
            self.name_size(size)
        array = Array(self, self._name(name, kind, place), element.type, extents)

        def write(located: bool) -> str:
            names, lines = body.write(self._names.__contains__, located)
            inner = "".join(f"    {line}\n" for line in lines)
            head = f"{array.name} = nsa.{kind}({names}) in ({', '.join(words)}){start}"
            return f"{head} : {array.text}{attributes} {{\n{inner}  }}"

        self._body.append((write, place))
        return array

    def _check_sizes(self, sizes: Any) -> tuple[int | Size, ...]:
        if not isinstance(sizes, (tuple, list)):
            sizes = (sizes,)
        if len(sizes) not in (1, 2):
            raise BuildError(f"expected one or two sizes of a map but got {len(sizes)}")
        for size in sizes:
            if size is None:
                raise BuildError(
                    "expected sizes that the host knows but got None; the rows of an"
                    " expansion have none, so write a bound, s.size(name)"
                )
        checked = tuple(check_extent(size, "a size of a map") for size in sizes)
        self._check_shape(checked)
        return checked

    def _check_parameters(self, formula: Any, count: int) -> list[str]:
        """The names of the indices."""
        names = self._parameters(formula, ["r", "c"][:count])
        if len(names) != count:
            raise BuildError(
                f"expected a formula of {count} {'index' if count == 1 else 'indices'}, one"
                f" for each size, but got one of {len(names)}"
            )
        return names

    @staticmethod
    def _parameters(formula: Any, default: list[str]) -> list[str]:
        """The names of a formula's arguments."""
        if not callable(formula):
            raise BuildError(
                f"expected a formula, as in lambda i: a[i] + 1, but got {formula!r}"
            )
        try:
            parameters = list(inspect.signature(formula).parameters.values())
        except (TypeError, ValueError):
            return default
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            return default
        # Those with a default are how a lambda in a loop keeps its variables.
        names = [
            p.name
            for p in parameters
            if p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD
        ]
        if len(names) != len(default):
            return names
        return [name if name.isascii() else index for name, index in zip(names, default)]

    @staticmethod
    def _check_element(result: Any, space: Space, dtype: Any, place: Place) -> Element:
        lifted = lift(result, "a formula's result", place)
        if not isinstance(lifted, Element):
            lifted = make_constant(lifted, default_type(lifted), place)
        if lifted.space is not None and lifted.space is not space:
            raise BuildError(
                f"expected an element of the indices of this map, but it has those of the"
                f" map at {lifted.space.place}; make an array of that by s.map, and read"
                " it here",
                lifted.place,
            )
        if dtype is not None:
            return convert(lifted, to_type(dtype, ELEMENTS))
        if lifted.type is BOOL:
            raise BuildError(
                "expected an element that arrays have but got a bool; write .astype('int8')"
                " or .astype('int32')",
                lifted.place,
            )
        return convert(lifted, INT64) if lifted.type is INDEX else lifted

    def _check_integers(self, array: Any, what: str) -> None:
        self._check_array(array, what)
        if array.type not in (INT32, INT64):
            raise BuildError(f"expected {what} of int32 or int64 but got {array.type}")

    def pad(
        self,
        array: Array,
        width: int | Size,
        fill: Any,
        *,
        name: str | None = None,
    ) -> Array:
        """An array, or each row of a table, filled to a width: for a destination that is
        wider than what is computed. What is past the width is left out.

        Parameters
        ----------
        array : Array
        width : size or int
            Elements of the array, or columns of the table.
        fill : number or Element
            Of the elements that `array` does not have.

        Examples
        --------
        >>> s.output("ids", s.pad(ids, s.size("width"), -1))
        """
        self._check_array(array, "an array to fill up")
        if len(array.extents) == 1:
            return self.map(width, lambda i: array[i].otherwise(fill), name=name)
        rows = array.shape[0]
        if rows is None:
            raise BuildError(
                "expected a table whose rows the host knows, but those of an expansion"
                " have no number; fill the table up before it is expanded"
            )
        return self.map((rows, width), lambda r, c: array[r, c].otherwise(fill), name=name)

    def scan(self, array: Array, *, inclusive: bool = False, name: str | None = None) -> Array:
        """Sums of the elements before each place, of an array or of each row of a table.

        They wrap. Formulas may read them at any index, and search them.

        Parameters
        ----------
        array : Array
            Of int32 or int64.
        inclusive : bool
            Element ``i`` is the sum of elements 0 to ``i``, and there are as many as in
            `array`; else the sum of those before ``i``, and there is one more: the total.
        """
        self._check_integers(array, "an array to add up")
        *rows, last = array.extents
        if not inclusive and last is not None:
            last = last + 1
        word = "inclusive " if inclusive else ""
        extents = (*rows, last)
        return self._array(
            "scan",
            f" {word}{array.name} : {array.text} -> {tensor(extents, array.type)}",
            array.type,
            extents,
            name,
        )

    def _reduce(self, kind: str, array: Array, name: str | None) -> Array:
        self._check_integers(array, "an array to reduce")
        extents = array.extents[:-1] or (1,)
        return self._array(
            "reduce",
            f" {kind} {array.name} : {array.text} -> {tensor(extents, array.type)}",
            array.type,
            extents,
            name,
        )

    def sum(self, array: Array, *, name: str | None = None) -> Array:
        """The sum of each row of a table, or of an array as one element; it wraps.

        Parameters
        ----------
        array : Array
            Of int32 or int64.
        """
        return self._reduce("add", array, name)

    def max(self, array: Array, *, name: str | None = None) -> Array:
        """The largest element of each row of a table, or of an array; the smallest number
        of no elements. `array` as in ``sum``."""
        return self._reduce("max", array, name)

    def min(self, array: Array, *, name: str | None = None) -> Array:
        """The smallest element of each row of a table, or of an array; the largest number
        of no elements. `array` as in ``sum``."""
        return self._reduce("min", array, name)

    def count(
        self,
        sizes: int | Size | Sequence[int | Size],
        condition: Callable[..., Any],
        *,
        name: str | None = None,
    ) -> Array:
        """How often a condition holds, in each row or in all: the sum of a map of 1 or 0,
        int32.

        Parameters
        ----------
        sizes, condition
            As in ``map``, of bools.

        Examples
        --------
        >>> valid = s.count(table.shape, lambda r, c: table[r, c] >= 0)
        """
        count = len(self._check_sizes(sizes))
        self._check_parameters(condition, count)

        def flag_1(i: Element) -> Element:
            return where(condition(i), 1, 0)

        def flag_2(r: Element, c: Element) -> Element:
            return where(condition(r, c), 1, 0)

        return self.sum(self.map(sizes, flag_1 if count == 1 else flag_2), name=name)

    # ------------------------------------------------------------------------
    # The text
    # ------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The step in the nsa dialect."""
        return self.print()

    def print(self, *, locations: bool = False) -> str:
        """The step in the nsa dialect.

        Parameters
        ----------
        locations : bool
            With the line of Python of each operation, as diagnostics show it.
        """
        ports = self._ports
        if self._sort_ports:
            ports = sorted(ports, key=lambda port: port[0])

        def at(place: Place) -> str:
            return f" {place.location}" if locations else ""

        head = ",\n    ".join(name + at(place) + rest for _, name, place, rest in ports)
        head = f"(\n    {head})" if ports else "()"
        lines = [f"nsa.step @{self.name}{head} {{\n"]
        for item, place in self._body:
            text = item if isinstance(item, str) else item(locations)
            lines.append(f"  {text}{at(place)}\n")
        return f"{''.join(lines)}}}{at(self.place)}\n"

    def compile(
        self,
        target: str = "cuda",
        chip: str | None = None,
        fuse: bool = True,
        guards: bool = False,
        *,
        large_parameters: bool = False,
        pdl: bool = False,
    ) -> Step:
        """The step, to be called. Arguments, and errors, as in ``nsa.compile``;
        diagnostics name the line of Python."""
        text = self.print(locations=True)
        options = {"large_parameters": large_parameters, "pdl": pdl}
        return compile(text, target, chip, fuse, guards, **options)[self.name]

    def __repr__(self) -> str:
        return f"<nsa.build.Builder {self.name!r}>"


def step(function: Callable[[Builder], Any]) -> Builder:
    """Makes a step of a function, whose name it has, that writes it.

    Parameters
    ----------
    function : callable
        Called at once, with the ``Builder``.

    Examples
    --------
    >>> @nb.step
    ... def positions(s):
    ...     n = s.size("n")
    ...     lens = s.input("lens", "int32", (n,))
    ...     s.output("last", s.map((n,), lambda b: lens[b] - 1))
    """
    if not callable(function) or not hasattr(function, "__name__"):
        raise BuildError(f"expected a function that takes a Builder but got {function!r}")
    builder = Builder(function.__name__)
    result = function(builder)
    if result is not None:
        raise BuildError(
            "expected a function that returns nothing; write s.output(name, value) for what"
            " the step writes",
            builder.place,
        )
    return builder
