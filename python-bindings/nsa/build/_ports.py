# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The ports of a step: sizes, arrays that are read, and arrays that are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import _metadata
from ._arrays import Array, InOut, dimensions, tensor
from ._elements import Element
from ._places import BuildError, Place, here
from ._sizes import Extent, Size, Symbol, check_extent, split
from ._types import ELEMENTS, Type, to_type
from ._writer import Writer

__all__ = ["MetadataSet", "Ports"]

SIZE, IN, OUT = range(3)
#: By rank, destinations with any stride, and with rows anywhere.
ANY_LAYOUT = {1: "memref<?x{}, strided<[?]>>", 2: "memref<?x?x{}, strided<[?, 1]>>"}


class MetadataSet:
    """A set of metadata fields that is read."""

    __slots__ = ("mode", "name", "text")

    def __init__(self, name: str, mode: str, text: str) -> None:
        self.name, self.mode, self.text = name, mode, text


class Ports(Writer):
    """The part of ``Builder`` that declares ports."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        #: Groups, as `sort_ports` has them; names with places, and what follows.
        self._ports: list[tuple[int, str, Place, str]] = []

    def _declare(self, group: int, name: str, rest: str) -> str:
        place = here()
        (ssa,) = self._claim(name, place=place)
        self._ports.append((group, f"in {ssa}", place, rest))
        return ssa

    def size(self, name: str, *, expected: int | None = None) -> Size:
        """A size that the host gives at a launch, from 0 to 2**31 - 1.

        Parameters
        ----------
        name : str
            Of the port, and of the argument of the launch.
        expected : int, optional
            How large it is to be expected. Any other is right as well. Sums of more than
            12,288 elements that formulas read take a second launch then: the step has a
            port ``workspace`` of the type of the sums, with one element for each 32 that
            are added up, and ``workspace1`` and so on for more sums.
        """
        rest = " : index"
        if expected is not None:
            number = check_extent(expected, "'expected'")
            if isinstance(number, Size):
                raise BuildError("expected 'expected' to be an integer but got a size")
            rest += f" {{expected = {number}}}"
        return Size(self, Symbol(self._declare(SIZE, name, rest)))

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
        if not isinstance(tree, Symbol) or tree.array or added < 0:
            raise BuildError(
                "expected an extent that is a size port, or one plus a constant, as in"
                " n + 1; write None, and the size where a map or an operation needs it"
            )
        return tree.name + (f" + {added}" if added else "")

    def inout(
        self,
        name: str,
        dtype: Any,
        shape: Sequence[int | None],
        *,
        strides: str | Sequence[int | None] | None = None,
        alignment: int | None = None,
    ) -> Array:
        """An array that the step reads and writes, element by element.

        The formula of one map may read it, at the map's own indices, and that map is
        what ``output`` stores there: ``s.output(counts, s.map(n, lambda r: counts[r] + 1))``.
        Elements past those of the map are left as they are.

        Parameters
        ----------
        name : str
        dtype : str or dtype
        shape : sequence of int or None
            One or two dimensions; integers are part of the type.
        strides, alignment
            As in ``output``.
        """
        place = here()
        element = to_type(dtype, ELEMENTS)
        rank = len(self._check_shape(shape))
        text = self._destination(element, rank, shape, strides)
        (port,) = self._claim(name, place=place)
        rest = f" : {text}{write_attributes(alignment, '')}"
        self._ports.append((OUT, f"inout {port}", place, rest))
        return InOut(self, port, element, rank, text)

    def output(
        self,
        name: str | Array | Sequence[str],
        value: Array,
        *,
        shape: Sequence[int | None] | None = None,
        strides: str | Sequence[int | None] | None = None,
        alignment: int | None = None,
        start: int = 0,
        optional: bool = False,
        when: Array | None = None,
        at: Array | Sequence[Array] | None = None,
    ) -> None:
        """An array that the step writes: element for element what `value` has there.

        The rest of a larger array is left as it is. That it is large enough is checked
        before a launch.

        Parameters
        ----------
        name : str, sequence of str, or Array
            One destination, or several that get the same; or what ``inout`` returned,
            which has its own layout.
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
        optional : bool
            The caller may leave it out, or give None: nothing is written then.
        when : Array of integers, optional
            Elements for which this is 0 are left as they are. As large as `value`.
        at : Array of int32 or int64, or sequence of them, optional
            Where each element goes instead of its own place: an index for each dimension
            of the destination, as large as `value`. One that is outside is dropped. No two
            may go to one place: compiling fails where formulas show that they do, steps
            with guards tell of it, and which one stays is unspecified.
        """
        place = here()
        names = (name,) if isinstance(name, (str, InOut)) else tuple(name)
        if not names:
            raise BuildError("expected at least one destination")
        if isinstance(value, Element):
            raise BuildError(
                "expected an array but got an element; write a map that has it,"
                " s.map((n,), lambda i: ...)"
            )
        self._check_array(value, "a value to write")
        words, word_types, rank = self._placement(value, when, at)
        if isinstance(name, InOut):
            if shape is not None or strides is not None or alignment is not None or optional:
                raise BuildError(
                    f"expected shape, strides and alignment at s.inout, which made {name.name},"
                    " and no optional"
                )
            type, ports = name.text, [name.name]
        else:
            type = self._destination(value.type, rank, shape, strides)
            attributes = write_attributes(alignment, "")
            ports = self._claim(*names, place=place)
            kind = "out optional" if optional else "out"
            self._ports += [
                (OUT, f"{kind} {port}", place, f" : {type}{attributes}") for port in ports
            ]
        first = f" from {start}" if start else ""
        types = ", ".join([type] * len(ports))
        self._add(
            f"nsa.copy {value.name}{words}{first} to {', '.join(ports)} :"
            f" {value.text}{word_types} to {types}",
            place,
        )

    def _placement(self, value: Array, when: Any, at: Any) -> tuple[str, str, int]:
        """What `when` and `at` are in the text and in its types, and the destination's rank."""
        words = types = ""
        rank = len(value.extents)
        if when is not None:
            self._check_array(when, "a condition")
            words, types = f" when {when.name}", f" when {when.text}"
        if at is not None:
            places = (at,) if isinstance(at, Array) else tuple(at)
            for each in places:
                self._check_array(each, "places")
            if len(places) not in (1, 2):
                raise BuildError(f"expected places in one or two dimensions but got {len(places)}")
            words += f" at [{', '.join(each.name for each in places)}]"
            types += f" at {', '.join(each.text for each in places)}"
            rank = len(places)
        return words, types, rank

    def _destination(self, type: Type, rank: int, shape: Any, strides: Any) -> str:
        if shape is None and strides is None:
            return ANY_LAYOUT[rank].format(type.text)
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
        return f"memref<{dimensions(extents)}{type.text}{layout}>"

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
