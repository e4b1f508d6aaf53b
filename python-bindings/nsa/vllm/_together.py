# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several calls as one launch, and finding its step quickly.

What calls are, each with its dicts of arrays, takes the host longer than to launch them. So
the same functions with the same constants, and arrays and numbers in the same places, are
known to be the same launch but for these (``CallPlans``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._arguments import describe as describe_array
from .._nsa_runtime import CallPlans
from ._launch import Call, as_bytes, collect, describe, launcher_of

__all__ = ["Prepared", "one_launch", "prepare", "step_text"]


class Placeholder:
    """An array or a number that is not looked at."""

    __slots__ = ()


def make_plan(
    functions: Sequence[Any], arrays: Sequence[Any], num_reqs: int | None
) -> tuple[Any, ...] | None:
    """What ``CallPlans`` keeps of these for any arrays and numbers; None where there are
    others than functions of this package, or where they depend on more of their arrays than
    which are the same, so that they fail without."""
    modules = [getattr(function.func, "__module__", None) or "" for function in functions]
    if not all(module.startswith(f"{__package__}.") for module in modules):
        return None
    if not all(hasattr(type(array), "__dlpack__") for array in arrays):
        return None
    at = {id(array): Placeholder() for array in arrays}
    numbers: list[Placeholder] = []

    def hide(value: Any, name: str = "") -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(hide, value))
        if type(value) is int and name.startswith("num_"):
            numbers.append(Placeholder())
            return numbers[-1]
        return at.get(id(value), value)

    hidden = [
        partial(
            function.func,
            *map(hide, function.args),
            **{name: hide(value, name) for name, value in function.keywords.items()},
        )
        for function in functions
    ]
    requests = None if num_reqs is None else Placeholder()
    try:
        shapes, given, sizes = describe(collect(hidden)[0], requests)
        launcher = launcher_of(shapes)
    except Exception:
        # What is wrong with them is said of the arguments themselves.
        return None
    if not launcher.arrays:
        return None
    places = {id(at[id(array)]): place for place, array in enumerate(arrays)}
    counts = {id(each): number for number, each in enumerate([*numbers, requests])}
    return (
        launcher.run,
        tuple(places[id(given[place])] for place in launcher.places),
        tuple(launcher.flags),
        tuple(None if type(size) is Placeholder else size for size in sizes),
        tuple((n, counts[id(size)]) for n, size in enumerate(sizes) if type(size) is Placeholder),
    )


_plans = CallPlans(make_plan, as_bytes)


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
    if _plans.launch(functions, num_reqs, stream):
        return (None,) * len(functions)
    calls, returned = collect(functions)
    Prepared(calls, num_reqs)(stream=stream)
    return tuple(returned)
