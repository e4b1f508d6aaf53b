# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules that a replay writes beside its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
LengthsOf = Callable[[Schedule], tuple[Union[nb.Array, None], Union[nb.Array, None], Any]]


def port(backend: int, schedule: Schedule, output: str) -> str:
    """The name of the port that an output of a destination's schedule goes to."""
    return f"b{backend}_{schedule.prefix}{schedule.kind}_{output}"


# ----------------------------------------------------------------------------
# What a caller asks for
# ----------------------------------------------------------------------------


def _parse_paged_mqa(
    prefix: str,
    *,
    out: Any,
    convention: Any,
    num_sms: Any,
    split: Any = None,
    next_n: Any = 1,
    chunk: Any = None,
) -> tuple[Schedule, dict[str, Any]]:
    options = _paged_mqa.options_of(convention, split, next_n, chunk)
    count = constant("num_sms", num_sms, 1)
    return Schedule(prefix, "paged_mqa", options, count), {"out": out}


def _parse_topk_plan(
    prefix: str, *, out: Any, clusters: Any, arch: Any, static: Any = -1
) -> tuple[Schedule, dict[str, Any]]:
    options = _topk_plan.options_of(arch, static)
    count = constant("clusters", clusters, 0)
    return Schedule(prefix, "topk_plan", options, count), {"out": out}


def _parse_flashmla(
    prefix: str,
    *,
    out_metadata: Any,
    out_num_splits: Any,
    parts: Any,
    topk: Any = None,
    sparse: Any = False,
    block: Any = 64,
    overhead: Any = 5,
    layout: Any = "new",
) -> tuple[Schedule, dict[str, Any]]:
    options = _flashmla.options_of(topk, sparse, None, block, overhead, layout)
    count = constant("parts", parts, 1)
    outputs = {"out_metadata": out_metadata, "out_num_splits": out_num_splits}
    return Schedule(prefix, "flashmla", options, count), outputs


_PARSERS: dict[str, Callable[..., tuple[Schedule, dict[str, Any]]]] = {
    "paged_mqa": _parse_paged_mqa,
    "topk_plan": _parse_topk_plan,
    "flashmla": _parse_flashmla,
}


def parse(
    given: Sequence[Mapping[str, Any] | None] | None,
    destinations: int,
    rows: Callable[[], int],
    prefixes: Iterable[str] = ("",),
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
            kind = next((k for k in _PARSERS if name.endswith(k)), "")
            prefix = name[: len(name) - len(kind)]
            if not kind or prefix not in prefixes:
                known = ", ".join(p + k for k in _PARSERS for p in prefixes)
                raise wrong(ValueError, "schedules", f"{name!r} is none of {known}")
            try:
                schedule, outputs = _PARSERS[kind](prefix, **parameters)
            except TypeError as error:
                if hasattr(error, "argument"):
                    raise
                what = str(error).partition("() ")[2]
                raise wrong(TypeError, "schedules", f"{name!r} {what}") from None
            if kind == "topk_plan" and not _topk_plan.is_written(rows(), schedule.count):
                continue
            schedules.append(schedule)
            arrays += outputs.values()
        found.append(tuple(schedules))
    return tuple(found), arrays


# ----------------------------------------------------------------------------
# What a step writes
# ----------------------------------------------------------------------------


def outputs_of(schedule: Schedule) -> tuple[str, ...]:
    if schedule.kind == "flashmla":
        return ("out_metadata", "out_num_splits")
    return ("out",)


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
