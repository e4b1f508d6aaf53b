# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules that a replay writes beside its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Union

from . import _flashmla, _paged_mqa, _topk_plan
from . import build as nb
from ._errors import constant, wrong


class Schedule(NamedTuple):
    """What a schedule is made for."""

    #: Of lengths that have a name, as in ``c4_``; else empty.
    prefix: str
    kind: str
    options: Any
    #: Slots, or parts.
    count: int


#: The schedules of each destination.
Schedules = tuple[tuple[Schedule, ...], ...]


#: What lengths a step has for a schedule, those of an extra cache, and how many there are.
Lengths = tuple[Union[nb.Array, None], Union[nb.Array, None], Any]
LengthsOf = Callable[[Schedule], Lengths]


def port(backend: int, schedule: Schedule, output: str) -> str:
    """The name of the port that an output of a destination's schedule goes to."""
    return f"b{backend}_{schedule.prefix}{schedule.kind}_{output}"


# ----------------------------------------------------------------------------
# What a caller asks for
# ----------------------------------------------------------------------------


def _paged_mqa_of(
    *, convention: Any, num_sms: Any, split: Any = None, next_n: Any = 1, chunk: Any = None
) -> tuple[Any, int]:
    options = _paged_mqa.options_of(convention, split, next_n, chunk)
    return options, constant("num_sms", num_sms, 1)


def _topk_plan_of(*, clusters: Any, arch: Any, static: Any = -1) -> tuple[Any, int]:
    return _topk_plan.options_of(arch, static), constant("clusters", clusters, 0)


def _flashmla_of(
    *,
    parts: Any,
    topk: Any = None,
    sparse: Any = False,
    block: Any = 64,
    overhead: Any = 5,
    layout: Any = "new",
) -> tuple[Any, int]:
    options = _flashmla.options_of(topk, sparse, None, block, overhead, layout)
    return options, constant("parts", parts, 1)


#: Kind -> what its parameters say, and the parameters that are arrays.
_KINDS: dict[str, tuple[Callable[..., tuple[Any, int]], tuple[str, ...]]] = {
    "paged_mqa": (_paged_mqa_of, ("out",)),
    "topk_plan": (_topk_plan_of, ("out",)),
    "flashmla": (_flashmla_of, ("out_metadata", "out_num_splits")),
}


def outputs_of(schedule: Schedule) -> tuple[str, ...]:
    return _KINDS[schedule.kind][1]


# Typed, as 2.0 and True are no 2 and 1.
@lru_cache(maxsize=256, typed=True)
def _known(name: str, prefixes: tuple[str, ...], keys: tuple[str, ...], *values: Any) -> Schedule:
    kind = next((kind for kind in _KINDS if name.endswith(kind)), "")
    prefix = name[: len(name) - len(kind)]
    if not kind or prefix not in prefixes:
        known = ", ".join(p + k for k in _KINDS for p in prefixes)
        raise wrong(ValueError, "schedules", f"{name!r} is none of {known}")
    make, outputs = _KINDS[kind]
    given = dict(zip(keys, values))
    missing = [output for output in outputs if not given.pop(output, False)]
    if missing:
        raise wrong(TypeError, "schedules", f"{name!r} has no {missing[0]!r}")
    return Schedule(prefix, kind, *make(**given))


def parse(
    given: Sequence[Mapping[str, Any] | None] | None,
    destinations: int,
    rows: Callable[[], int],
    prefixes: tuple[str, ...] = ("",),
) -> tuple[Schedules, list[Any]]:
    """What the argument `schedules` asks for, and the arrays that are written.

    `rows`: how many rows there are, where that has to be known: a plan that nobody reads
    is left out. Raises ``ValueError`` or ``TypeError`` that names ``schedules``, or the
    parameter.
    """
    if given is None:
        return (), []
    if len(given) != destinations:
        raise wrong(
            ValueError,
            "schedules",
            f"expected one dict or None for each of {destinations} destinations but got"
            f" {len(given)}",
        )
    found, arrays = [], []
    for each in given:
        schedules = []
        for name, parameters in (each or {}).items():
            # Of an array, that it is there.
            values = [key.startswith("out") or value for key, value in parameters.items()]
            try:
                schedule = _known(name, prefixes, tuple(parameters), *values)
            except TypeError as error:
                if hasattr(error, "argument"):
                    raise
                what = str(error).partition("() ")[2] or error
                raise wrong(TypeError, "schedules", f"{name!r} {what}") from None
            if schedule.kind == "topk_plan" and not _topk_plan.is_written(
                rows(), schedule.count
            ):
                continue
            schedules.append(schedule)
            arrays += [parameters[output] for output in outputs_of(schedule)]
        found.append(tuple(schedules))
    return tuple(found), arrays


# ----------------------------------------------------------------------------
# What a step writes
# ----------------------------------------------------------------------------


def ports(schedules: Schedules) -> list[str]:
    """The ports of all schedules, in the order of ``parse``."""
    return [
        port(backend, schedule, output)
        for backend, each in enumerate(schedules)
        for schedule in each
        for output in outputs_of(schedule)
    ]


def write(s: nb.Builder, lengths_of: LengthsOf, schedules: Schedules) -> None:
    """Adds the schedules to a step; equal ones are computed once."""
    groups: dict[Schedule, list[int]] = {}
    for backend, each in enumerate(schedules):
        for schedule in each:
            # How many clusters there are says only whether there is a plan.
            key = schedule._replace(count=0) if schedule.kind == "topk_plan" else schedule
            groups.setdefault(key, []).append(backend)
    sums: dict[Any, Any] = {}
    for schedule, backends in groups.items():
        lens, extra, count = lengths_of(schedule)
        mask = None
        if schedule.kind == "flashmla":
            values = _flashmla.write(s, count, schedule.count, schedule.options, lens, extra)
        elif schedule.kind == "topk_plan":
            plan, mask = _topk_plan.write(s, count, lens, schedule.options)
            values = (plan,)
        else:
            options, slots = schedule.options, schedule.count
            values = (_paged_mqa.write(s, lens, options, slots, sums=sums),)
        for output, value in zip(outputs_of(schedule), values):
            names = [port(backend, schedule, output) for backend in backends]
            is_flat = schedule.kind == "paged_mqa" and schedule.options.chunk is not None
            s.output(names, value, when=mask, strides="contiguous" if is_flat else None)
