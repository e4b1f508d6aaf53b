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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache, reduce
from operator import and_
from typing import Any, NamedTuple, NoReturn

from .. import build as nb
from .._arguments import check_rank, dtype_name
from .._arguments import describe as describe_array
from .._cache import get_step
from .._errors import index_dtype, wrong
from .._nsa_runtime import Caller
from ..build._arrays import to_index

#: A size that the host gives, or leaves to an array: its name, the dimension, what to add.
Source = tuple[str, int, int]
Writer = Callable[..., None]

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
    wired: tuple[tuple[str, tuple[int, str]], ...]


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


class Formulas:
    """What a writer has: the step, and the call's arrays in it."""

    def __init__(
        self, step: nb.Builder, prefix: str, shape: Shape, dtypes: Mapping[str, str]
    ) -> None:
        self.s = step
        self._prefix, self._shape, self._dtypes = prefix, shape, dtypes
        self._sizes: dict[str, nb.Size] = {}
        self._inputs: dict[str, Any] = {}
        #: Of outputs; None of those whose elements go to computed places.
        self.values: dict[str, nb.Array | Written | None] = {}

    def has(self, name: str) -> bool:
        """Whether the caller gave this array."""
        return name in self._shape.inputs or name in self._shape.outputs

    def size(self, name: str) -> nb.Size:
        if name not in self._sizes:
            self._sizes[name] = self.s.size(self._prefix + name)
        return self._sizes[name]

    def sizes(self) -> set[str]:
        """The names of the sizes that the step has."""
        return {self._prefix + name for name in self._sizes}

    def wire(self, name: str, value: nb.Array | Written) -> None:
        self._inputs[name] = value

    def input(self, name: str, shape: Sequence[Any], kinds: Sequence[str] = INTEGERS) -> Any:
        """An array that is read, of these dtypes. As it may be an earlier call's value, which
        ends where that ends, reads say ``.otherwise``. Only what is written whole can be
        searched."""
        if name not in self._inputs:
            if name not in self._dtypes:
                raise wrong(TypeError, self._prefix + name, "missing, an output needs it")
            dtype = self._dtypes[name]
            check_dtype(self._prefix + name, dtype, kinds)
            dtype = "int8" if dtype == "uint8" else dtype
            self._inputs[name] = self.s.input(self._prefix + name, dtype, tuple(shape))
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
        self._inputs[name] = self.s.input(self._prefix + name, "int8", (None, None))
        return self._inputs[name]

    def rows(self, name: str, value: nb.Array, when: Callable[..., Any]) -> None:
        """Writes those elements of a value of bfloat16 for which `when` holds."""
        mask = self.s.map(value.extents, when, dtype="int8")
        self.s.output(self._prefix + name, value, when=mask)
        self.values[name] = None

    def whole(self, name: str, value: nb.Array) -> None:
        """Writes a value of int32, all of it."""
        check_dtype(self._prefix + name, self._dtypes[name], ("int32",))
        self.s.output(self._prefix + name, value)
        self.values[name] = value

    def output(
        self,
        name: str,
        sizes: Any,
        element: Callable[..., Any],
        kinds: Sequence[str] = INTEGERS,
        *,
        when: Callable[..., Any] | None = None,
        at: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """Writes an array, if the caller gave it: those elements for which `when` holds, each
        at its own place or at the indices that `at` gives. `sizes` may be names of sizes."""
        if name not in self._shape.outputs:
            return
        sizes = tuple(
            self.size(size) if isinstance(size, str) else size
            for size in (sizes if isinstance(sizes, tuple) else (sizes,))
        )
        dtype = self._dtypes[name]
        check_dtype(self._prefix + name, dtype, kinds)
        dtype = "int8" if dtype == "uint8" else dtype
        value = self.s.map(sizes, element, dtype=dtype)
        mask = None if when is None else self.s.map(sizes, when, dtype="int8")
        places = [self.s.map(sizes, place, dtype="int64") for place in at] or None
        self.s.output(self._prefix + name, value, when=mask, at=places)
        if places is None:
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


def check_dtype(name: str, dtype: str, kinds: Sequence[str]) -> None:
    if dtype in kinds:
        return
    if kinds == INTEGERS:
        index_dtype(name, dtype)
    raise wrong(TypeError, name, f"expected dtype {' or '.join(kinds)} but got {dtype}")


class _Launcher:
    """What runs calls of these shapes."""

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        self.shapes = shapes
        #: (number of the call, its name of the array), in the order of the arrays.
        self.arrays: list[tuple[int, str]] = []
        sizes = []
        for number, shape in enumerate(shapes):
            wired = {name for name, _ in shape.wired}
            for name in (*shape.inputs, *shape.outputs):
                if name not in wired:
                    self.arrays.append((number, name))
            sizes += [self.prefix(number) + name for name, _ in shape.sizes]
        names = tuple(self.prefix(number) + name for number, name in self.arrays)
        self.run = Caller(self.prepare, names, tuple(sizes))

    def prefix(self, number: int) -> str:
        """Before the names of a call's arguments, where there are several calls."""
        return f"call{number}_" if len(self.shapes) > 1 else ""

    def prepare(self, target: str, described: Any) -> Any:
        """The step for arrays like these, and the sizes that they say."""
        known = {
            place: (dtype_name(code, bits), tuple(shape))
            for place, (code, bits, shape) in zip(self.arrays, described)
        }
        text, wanted = self.write(tuple(known[place][0] for place in self.arrays))
        sizes = {}
        for number, shape in enumerate(self.shapes):
            for name, source in shape.sizes:
                if source is None or self.prefix(number) + name not in wanted:
                    continue
                array, dim, add = source
                found = self.find(number, array)
                if found in known:
                    extents = known[found][1]
                    check_rank(self.prefix(number) + array, extents, max(dim + 1, len(extents)))
                    sizes[self.prefix(number) + name] = max(extents[dim] + add, 0)
        return get_step(self.name, text, target), sizes

    def find(self, number: int, array: str) -> tuple[int, str]:
        """The array behind what may be an earlier call's value."""
        wired = dict(self.shapes[number].wired)
        return wired.get(array, (number, array))

    @property
    def name(self) -> str:
        if len(self.shapes) > 1:
            return "vllm_step"
        return "vllm_" + self.shapes[0].write.__name__.removeprefix("write_")

    @lru_cache(maxsize=64)  # noqa: B019, launchers are kept for good
    def write(self, dtypes: tuple[str, ...]) -> tuple[str, frozenset[str]]:
        """The text for arrays of these dtypes, in the order of ``arrays``, and its sizes."""
        step = nb.Builder(self.name)
        by_call: list[dict[str, str]] = [{} for _ in self.shapes]
        for (number, name), dtype in zip(self.arrays, dtypes):
            by_call[number][name] = dtype
        made: list[Formulas] = []
        for number, shape in enumerate(self.shapes):
            formulas = Formulas(step, self.prefix(number), shape, by_call[number])
            for name, (other, output) in shape.wired:
                value = made[other].values.get(output)
                if value is None:
                    raise wrong(
                        ValueError,
                        self.prefix(number) + name,
                        f"call {other} of this launch writes it at places that only the device"
                        " knows, so no later call can read it",
                    )
                formulas.wire(name, value)
            shape.write(formulas, *shape.constants)
            formulas.check_all_used()
            made.append(formulas)
        return step.text, frozenset().union(*(each.sizes() for each in made))


_launcher = lru_cache(maxsize=None)(_Launcher)

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
        launch([call], stream)
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


def describe(calls: Sequence[Call]) -> tuple[tuple[Shape, ...], list[Any], list[int | None]]:
    """What the step of these calls depends on, its arrays, and its sizes."""
    written: dict[int, tuple[int, str]] = {}
    shapes, arrays, sizes = [], [], []
    for number, call in enumerate(calls):
        wired = []
        for name, array in call.inputs.items():
            origin = written.get(id(array))
            if origin is None:
                arrays.append(array)
            else:
                wired.append((name, origin))
        arrays += call.outputs.values()
        for name, array in call.outputs.items():
            written[id(array)] = (number, name)
        sizes += [value for value, _ in call.sizes.values()]
        shapes.append(
            Shape(
                call.write,
                call.constants,
                tuple(call.inputs),
                tuple(call.outputs),
                tuple((name, source) for name, (_, source) in call.sizes.items()),
                tuple(wired),
            )
        )
    return tuple(shapes), arrays, sizes


class Prepared:
    """Calls that are known, to be launched again and again; ``prepare`` makes it."""

    def __init__(self, calls: Sequence[Call]) -> None:
        shapes, self._arrays, sizes = describe(calls)
        self._sizes = tuple(sizes)
        self._run = _launcher(shapes).run

    def __call__(self, *, stream: Any = None) -> None:
        """Launches the calls, with what is in their arrays now."""
        if self._arrays:
            self._run(self._arrays, self._sizes, stream)


def launch(calls: Sequence[Call], stream: Any = None) -> None:
    """Runs calls, in one launch."""
    Prepared(calls)(stream=stream)


def prepare(*functions: Callable[[], Any]) -> Prepared:
    """What ``one_launch`` does for these calls, as a function of the stream, to be called for
    every step: it spends no time on finding out what the calls are. Their arrays and sizes are
    those of now, and are kept; nothing is launched yet. For engines whose buffers and sizes
    stay, as for each batch size of a graph.
    """
    return Prepared(collect(functions)[0])


def step_text(*functions: Callable[[], Any]) -> str:
    """The nsa text of the step that ``one_launch`` runs for these calls, or that the call
    runs, if it is one: for ``nsa.warmup``, bundles, and ``nsa.integrations.vllm.prebuilt``.
    Nothing is launched. It depends on the constants of the calls, on which arrays they have
    and are the same, and on the dtypes of these: on no size and no address.
    """
    calls, _ = collect(functions)
    shapes, arrays, _ = describe(calls)
    dtypes = [describe_array("an array", array)[0] for array in arrays]
    return _launcher(shapes).write(tuple(dtypes))[0]


def one_launch(*functions: Callable[[], Any], stream: Any = None) -> tuple[Any, ...]:
    """Calls of functions of this package as one launch.

    Each of `functions` takes nothing and calls some of them, as a ``functools.partial`` does.
    An array (the same object) that one call writes and a later one reads is read as it was
    written; another array with the same memory is refused, as nothing in a launch is ordered.
    Elements that the former leaves as they are count as outside of the array for the latter.
    The `stream` is that of the launch, whatever the functions say. Returns what they return.
    Errors name the argument with the number of its call, as in ``call1_seq_lens``.

    Examples
    --------
    >>> from functools import partial
    >>> from nsa import vllm
    >>> vllm.one_launch(
    ...     partial(vllm.slot_mappings, states, starts, positions, [table], [slots],
    ...             block_sizes=[64]),
    ...     partial(vllm.compressed_slot_mapping, starts, lens, slots, c4_table, c4_slots,
    ...             block_size=64, ratio=4),
    ... )
    """
    calls, returned = collect(functions)
    launch(calls, stream)
    return tuple(returned)
