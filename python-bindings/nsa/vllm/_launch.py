# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How a call becomes a launch, and several calls one.

A call is a writer, which adds formulas to a step, and the arrays and sizes that they are
about. A launch is one step with the formulas of all of its calls. The step of calls of one
kind is written and compiled once; what a launch costs after that is finding it.

Within a launch nothing is ordered: blocks of threads do not wait for one another. So what
one call writes and a later one reads is no array between them: the later one's formulas
read the earlier one's value, which each block computes where it needs it.

What several calls read they share: an array has one port for each way in which it is
declared, and a size that is the same by what it is, not by its value of the day, one port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache, reduce
from operator import and_
from typing import Any, NamedTuple

from .. import build as nb
from .._arguments import check_rank, dtype_name
from .._cache import get_step
from .._errors import index_dtype, wrong
from .._nsa_runtime import Caller
from ..build._arrays import to_index

#: A size that the host gives, or leaves to an array: its name, the dimension, what to add.
Source = tuple[str, int, int]
Writer = Callable[..., None]
#: The number of a call, and its name of an array or a size.
Name = tuple[int, str]

INTEGERS = ("int32", "int64")
#: What a flag may be stored as; bool arrays come as views of bytes.
FLAGS = ("int8", "uint8")


class Call(NamedTuple):
    """What a function of this package was called with."""

    write: Writer
    #: Of the writer; they make another step.
    constants: tuple[Any, ...]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    #: name -> (what the caller gave or None, where it comes from then).
    sizes: dict[str, tuple[int | None, Source | None]]


class Shape(NamedTuple):
    """What a step depends on of a call."""

    write: Writer
    constants: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[tuple[str, Source | None], ...]
    #: input -> (number of the call, its output) that it is the value of.
    wired: tuple[tuple[str, Name], ...]
    #: input -> the same array, and size -> the same size, where they first occur: of an array
    #: that this call writes, that output.
    shared: tuple[tuple[str, Name], ...]


class Written:
    """What an earlier call of a launch writes, read as the formula that it is.

    The formula becomes part of the one that reads it, so what both need, such as the request
    of a row, is in it once. Elements that are not written count as outside.
    """

    def __init__(
        self,
        value: nb.Array,
        element: Callable[..., Any],
        when: Callable[..., Any] | None,
    ) -> None:
        self.value, self.element, self.when = value, element, when
        self.extents, self.shape = value.extents, value.shape

    def __getitem__(self, indices: Any) -> WrittenRead:
        indices = indices if isinstance(indices, tuple) else (indices,)
        return WrittenRead(self, tuple(to_index(index) for index in indices))

    def search(self, position: Any, row: Any = None) -> nb.Element:
        if self.when is not None:
            raise ValueError("a later call of one launch cannot search what is written in part")
        return self.value.search(position, row)


class WrittenRead(NamedTuple):
    array: Written
    indices: tuple[nb.Element, ...]

    def otherwise(self, fill: Any) -> nb.Element:
        array, indices = self.array, self.indices
        tests = [] if array.when is None else [array.when(*indices)]
        for index, extent in zip(indices, array.extents):
            tests += [index >= 0, index < extent]
        is_there = reduce(and_, tests)
        value = array.element(*indices).astype(array.value.dtype)
        return nb.where(is_there, value, fill)


class Ports:
    """The ports that calls of a step share."""

    def __init__(self) -> None:
        #: Of arrays in the order of the declarations, and what each is the port of.
        self.declared: list[Name] = []
        self.arrays: dict[tuple[Name, str, tuple[Any, ...]], nb.Array] = {}
        self.sizes: dict[Name, nb.Size] = {}
        #: Arrays that may be of bool.
        self.flags: set[Name] = set()


class Formulas:
    """What a writer has: the step, and the call's arrays in it.

    Without `dtypes` only the ports are of interest."""

    def __init__(
        self,
        step: nb.Builder,
        prefixes: Sequence[str],
        number: int,
        shape: Shape,
        ports: Ports,
        dtypes: Mapping[Name, str] | None,
    ) -> None:
        self.s = step
        self._prefixes, self._number, self._prefix = prefixes, number, prefixes[number]
        self._shape, self._ports, self._dtypes = shape, ports, dtypes
        self._shared = dict(shape.shared)
        self._inputs: dict[str, Any] = {}
        #: Of outputs; None of those that no later call can read, and of those that are only
        #: written out for one, what does so.
        self.values: dict[str, nb.Array | Written | Callable[[], Written] | None] = {}

    def has(self, name: str) -> bool:
        """Whether the caller gave this array."""
        return name in self._shape.inputs or name in self._shape.outputs

    def size(self, name: str) -> nb.Size:
        number, first = self._first(name)
        sizes = self._ports.sizes
        if (number, first) not in sizes:
            sizes[number, first] = self.s.size(self._prefixes[number] + first)
        return sizes[number, first]

    def _first(self, name: str) -> Name:
        return self._shared.get(name, (self._number, name))

    def _dtype(self, name: str, kinds: Sequence[str]) -> str:
        if self._dtypes is None:
            if kinds[0] in FLAGS:
                self._ports.flags.add(self._first(name))
            return kinds[0]
        dtype = self._dtypes[self._first(name)]
        check_dtype(self._prefix + name, dtype, kinds)
        return "int8" if dtype == "uint8" else dtype

    def _declare(
        self, name: str, dtype: str, shape: tuple[Any, ...], columns: int | None = None
    ) -> nb.Array:
        ports = self._ports
        extents = tuple(e.tree if isinstance(e, nb.Size) else e for e in shape)
        key = (self._first(name), dtype, (*extents, columns))
        if key not in ports.arrays:
            ports.declared.append((self._number, name))
            ports.arrays[key] = self.s.input(
                self._prefix + name, dtype, shape, **layout_of(columns, len(shape))
            )
        return ports.arrays[key]

    def wire(self, name: str, value: nb.Array | Written) -> None:
        self._inputs[name] = value

    def input(
        self,
        name: str,
        shape: Sequence[Any],
        kinds: Sequence[str] = INTEGERS,
        columns: int | None = None,
    ) -> Any:
        """An array that is read, of these dtypes. As it may be an earlier call's value, which
        ends where that ends, reads say ``.otherwise``. Only what is written whole can be
        searched. `columns`: of a table whose rows are contiguous and aligned; a vector is
        contiguous beside it."""
        if name not in self._inputs:
            if name not in self._shape.inputs:
                raise wrong(TypeError, self._prefix + name, "missing, an output needs it")
            dtype = self._dtype(name, kinds)
            self._inputs[name] = self._declare(name, dtype, tuple(shape), columns)
        array = self._inputs[name]
        if len(array.extents) != len(shape):
            raise wrong(
                ValueError,
                name,
                f"expected {len(shape)} dimensions but an earlier call of this launch writes"
                f" {len(array.extents)}",
            )
        return array

    def cache(self, name: str) -> nb.Array:
        """The pages of a cache, elements of one byte of any kind."""
        self._inputs[name] = self._declare(name, "int8", (None, None))
        return self._inputs[name]

    def rows(self, name: str, value: nb.Array, when: Callable[..., Any]) -> None:
        """Writes those elements of a value of bfloat16 for which `when` holds."""
        mask = self.s.map(value.extents, when, dtype="int8")
        self._store(name, value, when=mask)
        self.values[name] = None

    def whole(self, name: str, value: nb.Array) -> None:
        """Writes a value of int32, all of it."""
        self._dtype(name, ("int32",))
        self._store(name, value)
        self.values[name] = value

    def _store(self, name: str, value: nb.Array, **how: Any) -> None:
        self._ports.declared.append((self._number, name))
        self.s.output(self._prefix + name, value, **how)

    def output(
        self,
        name: str,
        sizes: Any,
        element: Callable[..., Any],
        kinds: Sequence[str] = INTEGERS,
        *,
        when: Callable[..., Any] | None = None,
        at: Sequence[Callable[..., Any]] = (),
        updates: str | None = None,
        packed: bool = True,
        reads: Callable[..., Any] | None = None,
        columns: int | None = None,
    ) -> None:
        """Writes an array, if the caller gave it: those elements for which `when` holds, each
        at its own place or at the indices that `at` gives. `sizes` may be names of sizes.

        `updates`: an input that may be the same array, as nothing else is computed from it,
        and `element` reads it at its own place only. `packed`: rows may be of tens of elements,
        as those of tables of few requests or short contexts. `reads`: of what `at` puts at all
        places, the elements as later calls read them. `columns`: as an input's."""
        if name not in self._shape.outputs:
            return
        sizes = tuple(
            self.size(size) if isinstance(size, str) else size
            for size in (sizes if isinstance(sizes, tuple) else (sizes,))
        )
        dtype = self._dtype(name, kinds)
        port = None
        if updates is not None and self._first(updates) == (self._number, name):
            port = self.s.inout(self._prefix + name, dtype, (None,) * len(sizes))
            self._inputs[updates] = port
        value = self.s.map(sizes, element, dtype=dtype, packed=packed and len(sizes) == 2)
        mask = None if when is None else self.s.map(sizes, when, dtype="int8")
        places = [self.s.map(sizes, place, dtype="int64") for place in at] or None
        self._ports.declared.append((self._number, name))
        to = self._prefix + name if port is None else port
        layout = layout_of(columns, len(sizes))
        if len(sizes) == 2 and layout:
            layout["shape"] = (None, columns)
        self.s.output(to, value, when=mask, at=places, **layout)
        if reads is not None:
            self.values[name] = lambda: Written(
                self.s.map(sizes, reads, dtype=dtype), reads, None
            )
        elif places is None and port is None:
            self.values[name] = Written(value, element, when)
        else:
            self.values[name] = None

    def check_all_used(self) -> None:
        for names, used in (
            (self._shape.inputs, self._inputs),
            (self._shape.outputs, self.values),
        ):
            for name in names:
                if name not in used:
                    raise wrong(
                        ValueError,
                        self._prefix + name,
                        "expected None, as nothing of what is written here needs it",
                    )


def layout_of(columns: int | None, rank: int) -> dict[str, Any]:
    """What a port says of a table with so many columns, whose rows are contiguous and begin
    where the widest accesses can, or of a contiguous vector."""
    if columns is None:
        return {}
    return {"strides": (columns, 1), "alignment": 16} if rank == 2 else {"strides": (1,)}


def as_bytes(array: Any) -> Any:
    """A bool array as bytes, which are the same."""
    dtype = getattr(array, "dtype", None)
    if not str(dtype).endswith("bool"):
        return array
    if str(dtype) == "torch.bool":
        import torch

        return array.view(torch.uint8)
    return array.view("uint8")


def check_dtype(name: str, dtype: str, kinds: Sequence[str]) -> None:
    if dtype in kinds:
        return
    if kinds == INTEGERS:
        index_dtype(name, dtype)
    raise wrong(TypeError, name, f"expected dtype {' or '.join(kinds)} but got {dtype}")


class Launcher:
    """What runs calls of these shapes."""

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        self.shapes = shapes
        #: Before the names of a call's arguments, where there are several calls.
        self.prefixes = [f"call{n}_" if len(shapes) > 1 else "" for n in range(len(shapes))]
        given = []
        self.sizes: list[tuple[Name, Source | None]] = []
        for number, shape in enumerate(shapes):
            given += [(number, name) for name in (*shape.inputs, *shape.outputs)]
            shared = dict(shape.shared)
            self.sizes += [
                ((number, name), source) for name, source in shape.sizes if name not in shared
            ]
        ports = self._write(None)[1]
        #: What has a port, in the order of the ports.
        self.arrays = ports.declared
        at = {name: place for place, name in enumerate(given)}
        #: Which of the arrays of the calls these are.
        self.places = [at[name] for name in self.arrays]
        self.flags = [n for n, name in enumerate(self.arrays) if self.first(name) in ports.flags]
        names = tuple(map(self.name_of, self.arrays))
        self.run = Caller(self.prepare, names, tuple(self.name_of(n) for n, _ in self.sizes))

    def arrays_of(self, given: Sequence[Any]) -> list[Any]:
        """Those with ports, of the arrays of the calls."""
        return self.with_bytes([given[place] for place in self.places])

    def with_bytes(self, arrays: list[Any]) -> list[Any]:
        for place in self.flags:
            arrays[place] = as_bytes(arrays[place])
        return arrays

    def launch(self, arrays: list[Any], sizes: Sequence[int | None], stream: Any) -> None:
        if arrays:
            self.run(arrays, tuple(sizes), stream)

    def name_of(self, name: Name) -> str:
        return self.prefixes[name[0]] + name[1]

    def prepare(self, target: str, described: Any) -> Any:
        """The step for arrays like these, and the sizes that they say."""
        dtypes = tuple(dtype_name(code, bits) for code, bits, _ in described)
        text, wanted = self.write(dtypes)
        extents = {
            self.first(name): shape for name, (_, _, shape) in zip(self.arrays, described)
        }
        sizes = {}
        for name, source in self.sizes:
            if source is None or name not in wanted:
                continue
            array, dim, add = source
            shape = extents.get(self.first((name[0], array)))
            if shape is not None:
                what = self.name_of((name[0], array))
                check_rank(what, shape, max(dim + 1, len(shape)))
                sizes[self.name_of(name)] = max(shape[dim] + add, 0)
        return get_step(self.name, text, target), sizes

    def first(self, name: Name) -> Name:
        """Where an array first occurs: as what an earlier call writes, or as its input."""
        shape = self.shapes[name[0]]
        return dict((*shape.wired, *shape.shared)).get(name[1], name)

    @property
    def name(self) -> str:
        if len(self.shapes) != 1:
            return "vllm_step"
        return "vllm_" + self.shapes[0].write.__name__.removeprefix("write_")

    @lru_cache(maxsize=64)  # noqa: B019, launchers are kept for good
    def write(self, dtypes: tuple[str, ...]) -> tuple[str, frozenset[Name]]:
        """The text for arrays of these dtypes, in the order of ``arrays``, and its sizes."""
        step, ports = self._write(dict(zip(map(self.first, self.arrays), dtypes)))
        return step.text, frozenset(ports.sizes)

    def _write(self, dtypes: Mapping[Name, str] | None) -> tuple[nb.Builder, Ports]:
        step, ports = nb.Builder(self.name), Ports()
        made: list[Formulas] = []
        for number, shape in enumerate(self.shapes):
            formulas = Formulas(step, self.prefixes, number, shape, ports, dtypes)
            for name, (other, output) in shape.wired:
                value = made[other].values.get(output)
                if value is None:
                    raise wrong(
                        ValueError,
                        self.name_of((number, name)),
                        f"call {other} of this launch writes it in place, or at places that only"
                        " the device knows, so no later call can read it",
                    )
                if callable(value):
                    value = made[other].values[output] = value()
                formulas.wire(name, value)
            shape.write(formulas, *shape.constants)
            formulas.check_all_used()
            made.append(formulas)
        return step, ports


launcher_of = lru_cache(maxsize=None)(Launcher)

#: The calls that ``one_launch`` collects.
_collected: ContextVar[list[Call] | None] = ContextVar("nsa_vllm_calls", default=None)


def run(
    write: Writer,
    constants: tuple[Any, ...],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    sizes: dict[str, tuple[int | None, Source | None]],
    stream: Any = None,
) -> None:
    """Launches a call, or hands it to ``one_launch``. Arrays that are None are left out."""
    call = Call(
        write,
        constants,
        {name: array for name, array in inputs.items() if array is not None},
        {name: array for name, array in outputs.items() if array is not None},
        sizes,
    )
    collected = _collected.get()
    if collected is None:
        shapes, arrays, given = describe([call])
        launcher = launcher_of(shapes)
        launcher.launch(launcher.arrays_of(arrays), given, stream)
    else:
        collected.append(call)


def collect(functions: Sequence[Callable[[], Any]]) -> tuple[list[Call], list[Any]]:
    """The calls that these functions make, and what they return."""
    token = _collected.set([])
    try:
        returned = [function() for function in functions]
        calls = _collected.get()
    finally:
        _collected.reset(token)
    assert calls is not None
    return calls, returned


class Described(NamedTuple):
    """What a launch of calls is: the kinds of calls, their arrays, and their sizes."""

    shapes: tuple[Shape, ...]
    #: All of them, call by call; those that are shared or wired several times.
    arrays: list[Any]
    #: Those that are not shared.
    sizes: list[int | None]


def describe(calls: Sequence[Call], num_reqs: int | None = None) -> Described:
    """The launch of these calls; `num_reqs` is what those have that do not say."""
    read: dict[int, Name] = {}
    written: dict[int, Name] = {}
    said: dict[Any, Name] = {}
    shapes, arrays, sizes = [], [], []
    for number, call in enumerate(calls):
        wired, shared = [], []
        own = {id(array): (number, name) for name, array in call.outputs.items()}
        for name, array in call.inputs.items():
            key = id(array)
            origin = written.get(key)
            if origin is not None:
                wired.append((name, origin))
            elif key in own and key not in read:
                shared.append((name, own[key]))
            elif key in read:
                shared.append((name, read[key]))
            else:
                read[key] = (number, name)
        for name, (value, source) in call.sizes.items():
            # Equal values alone may differ in the next step, which would be another text then.
            common: Any = None
            if value is None and name == "num_reqs" and num_reqs is not None:
                value, common = num_reqs, name
            elif value is None and source is not None:
                array = call.inputs.get(source[0], call.outputs.get(source[0]))
                common = None if array is None else (id(array), *source[1:])
            origin = None if common is None else said.setdefault(common, (number, name))
            if origin is None or origin == (number, name):
                sizes.append(value)
            else:
                shared.append((name, origin))
        for name, array in call.outputs.items():
            written[id(array)] = (number, name)
        arrays += call.inputs.values()
        arrays += call.outputs.values()
        shapes.append(
            Shape(
                call.write,
                call.constants,
                tuple(call.inputs),
                tuple(call.outputs),
                tuple((name, source) for name, (_, source) in call.sizes.items()),
                tuple(wired),
                tuple(shared),
            )
        )
    return Described(tuple(shapes), arrays, sizes)
