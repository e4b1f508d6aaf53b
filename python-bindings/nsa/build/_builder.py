# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step in the making: its ports, its values, and its text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from .. import _metadata
from .._compile import compile
from .._module import Step
from ._arrays import Array, dimensions, tensor
from ._elements import Element, Space, convert, default_type, lift, make_constant, where
from ._formula import Formula
from ._named import NamedOps
from ._places import BuildError, Place, here
from ._sizes import Extent, Size, Symbol, check_extent, split, symbols, write
from ._types import BOOL, ELEMENTS, INDEX, INT32, INT64, Type, to_type

__all__ = ["Builder", "step"]

SIZE, IN, OUT = range(3)
#: By rank, destinations with any stride, and with rows anywhere.
ANY_LAYOUT = {1: "memref<?x{}, strided<[?]>>", 2: "memref<?x?x{}, strided<[?, 1]>>"}


class MetadataSet:
    """A set of metadata fields that is read."""

    __slots__ = ("mode", "name", "text")

    def __init__(self, name: str, mode: str, text: str) -> None:
        self.name, self.mode, self.text = name, mode, text


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
        self.place = here()
        self.name = check_name(name)
        self._sort_ports = sort_ports
        #: Groups, as `sort_ports` has them; names with places, and what follows.
        self._ports: list[tuple[int, str, Place, str]] = []
        self._inputs: set[str] = set()
        #: What is taken, and where.
        self._names: dict[str, Place] = {}
        #: Texts, and maps, whose text comes when all names are known; with their places.
        self._body: list[tuple[str | Callable[[bool], str], Place]] = []
        #: Values by their text, so that what is said twice stands there once.
        self._values: dict[str, Any] = {}
        self._sizes: dict[Any, str] = {}
        self._counts: dict[str, int] = {}

    # ------------------------------------------------------------------------
    # Ports
    # ------------------------------------------------------------------------

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

    def _declare(self, group: int, name: str, rest: str) -> str:
        place = here()
        (ssa,) = self._claim(name, place=place)
        self._ports.append((group, f"in {ssa}", place, rest))
        return ssa

    def is_port(self, array: Array) -> bool:
        """Whether the array is an `in` port."""
        return array.name in self._inputs

    def size(self, name: str) -> Size:
        """A size that the host gives at a launch, from 0 to 2**31 - 1.

        Parameters
        ----------
        name : str
            Of the port, and of the argument of the launch.
        """
        return Size(self, Symbol(self._declare(SIZE, name, " : index")))

    def input(
        self,
        name: str,
        dtype: Any,
        shape: Sequence[Extent],
        *,
        alignment: int | None = None,
        strides: Sequence[int | None] | None = None,
    ) -> Array:
        """An array that the step reads.

        Parameters
        ----------
        name : str
        dtype : str or dtype
            An integer of 8 to 64 bits, or bfloat16.
        shape : sequence of int, Size or None
            One or two dimensions: an integer is part of the type; a size port, perhaps
            plus a constant, says that so many elements from the first are meant; None
            takes the array as it comes.
        alignment : int, optional
            Bytes that divide the address; the host checks it.
        strides : sequence of int or None, optional
            In elements, None for any; the host checks it. Left out: any in a vector, any
            between the rows of a table.
        """
        type = to_type(dtype, ELEMENTS)
        extents = self._check_shape(shape)
        words = []
        for extent in extents:
            words.append(self._write_extent(extent) if isinstance(extent, Size) else "?")
        bounds = "" if all(word == "?" for word in words) else f"[{', '.join(words)}]"
        text = tensor(extents, type)
        layout = "" if strides is None else f"layout = {write_strides(strides, extents)}"
        attributes = write_attributes(alignment, layout)
        ssa = self._declare(IN, name, f"{bounds} : {text}{attributes}")
        self._inputs.add(ssa)
        return Array(self, ssa, type, extents)

    def _check_shape(self, shape: Any) -> tuple[Extent, ...]:
        if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 2):
            raise BuildError(
                "expected a shape of one or two dimensions, as in (n,) or (n, None), but"
                f" got {shape!r}"
            )
        extents = tuple(
            None if extent is None else check_extent(extent, "an extent") for extent in shape
        )
        for extent in extents:
            if isinstance(extent, Size) and extent.step is not self:
                raise BuildError(
                    f"expected sizes of step {self.name} but got one of {extent.step.name}"
                )
        return extents

    @staticmethod
    def _write_extent(extent: Size) -> str:
        tree, added = split(extent.tree)
        if not isinstance(tree, Symbol) or tree.text or added < 0:
            raise BuildError(
                "expected an extent that is a size port, or one plus a constant, as in"
                " n + 1; write None, and the size where a map or an operation needs it"
            )
        return tree.name + (f" + {added}" if added else "")

    def output(
        self,
        name: str | Sequence[str],
        value: Array,
        *,
        shape: Sequence[int | None] | None = None,
        strides: str | Sequence[int | None] | None = None,
        alignment: int | None = None,
        start: int = 0,
    ) -> None:
        """An array that the step writes: element for element what `value` has there.

        The rest of a larger array is left as it is. That it is large enough is checked
        before a launch.

        Parameters
        ----------
        name : str or sequence of str
            One destination, or several that get the same.
        value : Array
            What ``map`` and the others return, or an array that is read.
        shape : sequence of int or None, optional
            The destination's own; integers are part of the type. Left out: any.
        strides : "contiguous", or sequence of int or None, optional
            In elements, None for any; left out: any in a vector, any between the rows of
            a table.
        alignment : int, optional
            Bytes that divide the address; the host checks it.
        start : int
            Of a vector, elements before this one are left as they are.
        """
        place = here()
        names = (name,) if isinstance(name, str) else tuple(name)
        if not names:
            raise BuildError("expected at least one destination")
        if isinstance(value, Element):
            raise BuildError(
                "expected an array but got an element; write a map that has it,"
                " s.map((n,), lambda i: ...)"
            )
        self._check_array(value, "a value to write")
        type = self._destination(value, shape, strides)
        attributes = write_attributes(alignment, "")
        ports = self._claim(*names, place=place)
        self._ports += [(OUT, f"out {port}", place, f" : {type}{attributes}") for port in ports]
        first = f" from {start}" if start else ""
        types = ", ".join([type] * len(ports))
        self._add(
            f"nsa.copy {value.name}{first} to {', '.join(ports)} : {value.text} to {types}",
            place,
        )

    def _destination(self, value: Array, shape: Any, strides: Any) -> str:
        rank = len(value.extents)
        if shape is None and strides is None:
            return ANY_LAYOUT[rank].format(value.type.text)
        extents = (None,) * rank if shape is None else self._check_shape(shape)
        if len(extents) != rank or any(isinstance(x, Size) for x in extents):
            raise BuildError(f"expected a shape of {rank} integers or None but got {shape!r}")
        layout = ""
        if strides is None:
            strides = (None,) if rank == 1 else (None, 1)
        if not isinstance(strides, str):
            layout = f", {write_strides(strides, extents)}"
        elif strides != "contiguous":
            raise BuildError(f"expected 'contiguous' or numbers but got {strides!r}")
        return f"memref<{dimensions(extents)}{value.type.text}{layout}>"

    def _check_array(self, value: Any, what: str) -> None:
        if not isinstance(value, Array):
            raise BuildError(f"expected {what} that is an array but got {value!r}")
        if value.step is not self:
            raise BuildError(
                f"expected an array of step {self.name} but got one of {value.step.name}"
            )

    # ------------------------------------------------------------------------
    # Sets of metadata fields
    # ------------------------------------------------------------------------

    def metadata(
        self, name: str, mode: str, fields: Sequence[str], sizes: Sequence[Size]
    ) -> MetadataSet:
        """A set of metadata fields that is read: the ports ``<name>_<field>``.

        Parameters
        ----------
        name : str
        mode : str
            decode, target_verify or draft_extend.
        fields : sequence of str
        sizes : sequence of Size
            bs and max_len; outside of decode bs, max_seqlen_k and seqlens_expanded_size.
        """
        text = _metadata.set_type("metadata", mode, fields)
        words = ", ".join(self._write_extent(size) for size in sizes)
        return MetadataSet(self._declare(IN, name, f"[{words}] : {text}"), mode, text)

    def copy_metadata(
        self, source: MetadataSet, destinations: Mapping[str, Sequence[str]]
    ) -> None:
        """Copies fields of a set to others.

        Parameters
        ----------
        source : MetadataSet
        destinations : mapping of str to sequence of str
            Name of a set that is written, and the fields that it has.
        """
        place = here()
        types = [
            _metadata.set_type("metadata_ref", source.mode, fields)
            for fields in destinations.values()
        ]
        ports = self._claim(*destinations, place=place)
        self._ports += [
            (OUT, f"out {port}", place, f" : {type}") for port, type in zip(ports, types)
        ]
        self._add(
            f"nsa.copy_metadata {source.name} to {', '.join(ports)}\n      : {source.text}\n"
            f"      to {', '.join(types)}",
            place,
        )

    # ------------------------------------------------------------------------
    # Values
    # ------------------------------------------------------------------------

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
        if isinstance(tree, Symbol) and not tree.text:
            return tree.name
        if tree in self._sizes:
            return self._sizes[tree]
        if isinstance(tree, int):
            text = f"arith.constant {tree} : index"
        elif isinstance(tree, Symbol):
            array, dim_type = tree.text.split(", ", 1)
            dim, type = dim_type.split(" : ", 1)
            text = f"tensor.dim {array}, {self.name_size(int(dim))} : {type}"
        else:
            used = list(symbols(tree))
            names = {symbol: f"s{number}" for number, symbol in enumerate(used)}
            operands = ", ".join(self.name_size(Size(self, symbol)) for symbol in used)
            text = (
                f"affine.apply affine_map<()[{', '.join(names.values())}] ->"
                f" ({write(tree, names)})>()[{operands}]"
            )
        ssa = self._sizes[tree] = self._define("size", text, None)
        return ssa

    def map(
        self,
        sizes: int | Size | Sequence[int | Size],
        formula: Callable[..., Any],
        *,
        dtype: Any = None,
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
        name : str, optional
            In the text.

        Examples
        --------
        >>> ids = s.map((n, 128), lambda r, c: r2t[pool[r], lens[r] - 1 - c].otherwise(-1))
        """
        place = here()
        extents = self._check_sizes(sizes)
        indices = self._check_parameters(formula, len(extents))
        space = Space(place)
        result = formula(
            *(Element("index", INDEX, (), dim, space, place) for dim in range(len(extents)))
        )
        code = getattr(formula, "__code__", None)
        end = Place(code, 0) if code is not None else place
        element = self._check_element(result, space, dtype, end)
        body = Formula(self, indices, element, place)
        words = [
            str(extent) if isinstance(extent, int) else self.name_size(extent)
            for extent in extents
        ]
        for size in body.sizes():
            self.name_size(size)
        array = Array(self, self._name(name, "map", place), element.type, extents)

        def write(located: bool) -> str:
            names, lines = body.write(self._names.__contains__, located)
            inner = "".join(f"    {line}\n" for line in lines)
            head = f"{array.name} = nsa.map({names}) in ({', '.join(words)}) : {array.text}"
            return f"{head} {{\n{inner}  }}"

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

    @staticmethod
    def _check_parameters(formula: Any, count: int) -> list[str]:
        """The names of the indices."""
        if not callable(formula):
            raise BuildError(
                f"expected a formula, as in lambda i: a[i] + 1, but got {formula!r}"
            )
        default = ["r", "c"][:count]
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
        if len(names) != count:
            raise BuildError(
                f"expected a formula of {count} {'index' if count == 1 else 'indices'}, one"
                f" for each size, but got one of {len(names)}"
            )
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
    ) -> Step:
        """The step, to be called. Arguments, and errors, as in ``nsa.compile``;
        diagnostics name the line of Python."""
        return compile(self.print(locations=True), target, chip, fuse, guards)[self.name]

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


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise BuildError(f"expected a name that is a C identifier but got {name!r}")
    return name


def write_strides(strides: Any, extents: tuple[Extent, ...]) -> str:
    if not isinstance(strides, (tuple, list)) or len(strides) != len(extents):
        raise BuildError(f"expected {len(extents)} strides but got {strides!r}")
    for stride in strides:
        if stride is not None and (type(stride) is not int or stride < 1):
            raise BuildError(f"expected strides of 1 or more, or None, but got {stride!r}")
    words = ", ".join("?" if stride is None else str(stride) for stride in strides)
    return f"strided<[{words}]>"


def write_attributes(alignment: int | None, layout: str) -> str:
    if alignment is not None and (
        type(alignment) is not int or alignment < 1 or alignment & alignment - 1
    ):
        raise BuildError(f"expected an alignment that is a power of 2 but got {alignment!r}")
    words = [f"alignment = {alignment}"] if alignment is not None else []
    words += [layout] if layout else []
    return f" {{{', '.join(words)}}}" if words else ""
