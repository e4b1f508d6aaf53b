# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several calls as one launch, and finding its step quickly.

What calls are, each with its dicts of arrays, takes the host longer than to launch them. So
what ``one_launch`` is given is compared first: the same functions, the same constants, and
arrays and numbers in the same places are the same launch but for these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from .._arguments import describe as describe_array
from ._launch import Call, Launcher, collect, describe, launcher_of

__all__ = ["Prepared", "one_launch", "prepare", "step_text"]

#: Launches that are remembered; past that, all are forgotten.
MOST_PLANS = 512


class Placeholder:
    """An array or a number that is not looked at."""

    __slots__ = ()


class Head:
    """Functions, names of what they are given, and types, as something that is compared quickly.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.sequences = [n for n, value in enumerate(values) if type(value) in (list, tuple)]


@dataclass(eq=False, frozen=True)
class Layout:
    """Which of the values that functions are given are what, by their types and names.

    All of these take a list of values, those of lists and tuples at its end."""

    arrays: Callable[[list[Any]], tuple[Any, ...]]
    numbers: Callable[[list[Any]], tuple[int, ...]]
    constants: Callable[[list[Any]], tuple[Any, ...]]


class Given(NamedTuple):
    """What functions are given, apart from one another."""

    arrays: tuple[Any, ...]
    numbers: tuple[int, ...]
    #: All else, and which arrays are the same.
    key: tuple[Any, ...]


class Plan(NamedTuple):
    """The launch of calls that are known but for their arrays and numbers."""

    launcher: Launcher
    #: Those of the launch, of the arrays that are given.
    arrays: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    #: Sizes, and which of them are which of the numbers.
    sizes: list[int | None]
    numbers: list[tuple[int, int]]


_heads: dict[tuple[Any, ...], Head] = {}
#: By head, and lengths and types of lists; None where there are values of other types.
_layouts: dict[tuple[Any, ...], Layout | None] = {}
_plans: dict[tuple[Any, ...], Plan | None] = {}
_num_reqs = Placeholder()


def those(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """``itemgetter``, for no places and one as well."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


def remember(known: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(known) >= MOST_PLANS:
        known.clear()
    known[key] = value
    return value


def given_to(functions: Sequence[Callable[[], Any]]) -> Given | None:
    """What partials of functions of this package are given; None if there is anything else.

    A launch is to find its plan in little time, so there is no loop over values here."""
    parts: list[Any] = []
    values: list[Any] = []
    for function in functions:
        if type(function) is not partial:
            return None
        named = function.keywords
        parts += (function.func, len(function.args), *named)
        values += function.args
        values += named.values()
    known = (*parts, *map(type, values))
    head = _heads.get(known) or remember(_heads, known, Head(values))
    parts = [head]
    count = len(values)
    for place in head.sequences:
        parts.append(len(values[place]))
        values += values[place]
    key = (*parts, *map(type, values[count:]))
    layout = _layouts.get(key, ...)
    if layout is ...:
        layout = remember(_layouts, key, layout_of(functions, values))
    if layout is None:
        return None
    arrays = layout.arrays(values)
    addresses = list(map(id, arrays))
    first = dict(zip(reversed(addresses), range(len(addresses) - 1, -1, -1)))
    same = tuple(map(first.__getitem__, addresses))
    return Given(arrays, layout.numbers(values), (layout, layout.constants(values), same))


def layout_of(functions: Sequence[Any], values: Sequence[Any]) -> Layout | None:
    # Of others nobody knows that they do no more than to make calls.
    modules = [getattr(f.func, "__module__", None) or "" for f in functions]
    if not all(module.startswith(f"{__package__}.") for module in modules):
        return None
    names = [name for f in functions for name in (*[""] * len(f.args), *f.keywords)]
    arrays: list[int] = []
    numbers: list[int] = []
    constants: list[int] = []
    for place, value in enumerate(values):
        name = names[place] if place < len(names) else ""
        kind = type(value)
        if hasattr(kind, "__dlpack__"):
            arrays.append(place)
        elif kind is int and name.startswith("num_"):
            numbers.append(place)
        elif kind in (int, bool, str, type(None)):
            constants.append(place)
        elif kind not in (list, tuple) or place >= len(names):
            return None
    return Layout(those(arrays), those(numbers), those(constants))


def make_plan(
    functions: Sequence[Any], given: Given, num_reqs: Placeholder | None
) -> Plan | None:
    """What these are for any arrays and numbers; None where they depend on more of them than
    which are the same, so that they fail without."""
    at = {id(array): Placeholder() for array in given.arrays}
    numbers = [Placeholder() for _ in given.numbers]
    next_number = iter(numbers)

    def hide(value: Any, name: str = "") -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(hide, value))
        if type(value) is int and name.startswith("num_"):
            return next(next_number)
        return at.get(id(value), value)

    try:
        calls, _ = collect(
            [
                partial(
                    function.func,
                    *map(hide, function.args),
                    **{name: hide(value, name) for name, value in function.keywords.items()},
                )
                for function in functions
            ]
        )
        shapes, arrays, sizes = describe(calls, num_reqs)
        launcher = launcher_of(shapes)
    except Exception:
        # What is wrong with them is said of the arguments themselves.
        return None
    places = {id(at[id(array)]): n for n, array in enumerate(given.arrays)}
    counts = {id(each): n for n, each in enumerate([*numbers, num_reqs])}
    return Plan(
        launcher,
        those([places[id(arrays[place])] for place in launcher.places]),
        [None if type(size) is Placeholder else size for size in sizes],
        [(n, counts[id(size)]) for n, size in enumerate(sizes) if type(size) is Placeholder],
    )


def find_plan(
    functions: Sequence[Callable[[], Any]], given: Given, num_reqs: int | None
) -> Plan | None:
    key = (num_reqs is None, given.key)
    plan = _plans.get(key, ...)
    if plan is ...:
        made = make_plan(functions, given, None if num_reqs is None else _num_reqs)
        plan = remember(_plans, key, made)
    return plan


class Prepared:
    """Calls that are known, to be launched again and again; ``prepare`` makes it."""

    def __init__(self, calls: Sequence[Call], num_reqs: int | None = None) -> None:
        shapes, arrays, sizes = describe(calls, num_reqs)
        launcher = launcher_of(shapes)
        self._arrays = launcher.arrays_of(arrays)
        self._sizes = tuple(sizes)
        self._run = launcher.run

    def __call__(self, *, stream: Any = None) -> None:
        """Launches the calls, with what is in their arrays now."""
        if self._arrays:
            self._run(self._arrays, self._sizes, stream)


def prepare(*functions: Callable[[], Any], num_reqs: int | None = None) -> Prepared:
    """What ``one_launch`` does for these calls, as a function of the stream, to be called for
    every step: it spends no time on finding out what the calls are. Their arrays and sizes are
    those of now, and are kept; nothing is launched yet. For engines whose buffers and sizes
    stay, as for each batch size of a graph.
    """
    return Prepared(collect(functions)[0], num_reqs)


def step_text(*functions: Callable[[], Any], num_reqs: int | None = None) -> str:
    """The nsa text of the step that ``one_launch`` runs for these calls, or that the call
    runs, if it is one: for ``nsa.warmup``, bundles, and ``nsa.integrations.vllm.prebuilt``.
    Nothing is launched. It depends on the constants of the calls, on which arrays they have
    and are the same, on the dtypes of these, and on whether `num_reqs` is given: on no size and no
    address.
    """
    shapes, arrays, _ = describe(collect(functions)[0], num_reqs)
    launcher = launcher_of(shapes)
    given = launcher.arrays_of(arrays)
    return launcher.write(tuple(describe_array("an array", array)[0] for array in given))[0]


def one_launch(
    *functions: Callable[[], Any], num_reqs: int | None = None, stream: Any = None
) -> tuple[Any, ...]:
    """Calls of functions of this package as one launch.

    Each of `functions` takes nothing and calls some of them, as a ``functools.partial`` does.
    An array (the same object) that one call writes and a later one reads is read as it was
    written; another array with the same memory is refused, as nothing in a launch is ordered.
    Elements that the former leaves as they are count as outside of the array for the latter.
    The `stream` is that of the launch, whatever the functions say. Returns what they return.
    Errors name the argument with the number of its call, as in ``call1_seq_lens``; what
    several calls read, with the first one's.

    `num_reqs`: that of all calls that do not say theirs, which makes it one number instead of
    what each takes from its arrays. With it they also share the arrays of requests.

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
    given = given_to(functions)
    plan = None if given is None else find_plan(functions, given, num_reqs)
    if given is None or plan is None:
        calls, returned = collect(functions)
        Prepared(calls, num_reqs)(stream=stream)
        return tuple(returned)
    launcher, arrays, sizes, numbers = plan
    if numbers:
        values = [*given.numbers, num_reqs]
        sizes = sizes.copy()
        for place, number in numbers:
            sizes[place] = values[number]
    launcher.launch(launcher.with_bytes(list(arrays(given.arrays))), sizes, stream)
    return (None,) * len(functions)
