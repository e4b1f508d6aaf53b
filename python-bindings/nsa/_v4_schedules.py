# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which lengths of a DeepSeek V4 step schedules are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _schedules
from . import build as nb
from ._errors import wrong
from ._schedules import Schedule, Schedules

if TYPE_CHECKING:
    from ._v4_rows import Options
    from ._v4_step import Step

#: What the indexer of a ratio reads.
INDEXED = {
    "c1_": "c1_topk_lengths_clamp1",
    "c2_": "c2_topk_lengths_clamp1",
    "c4_": "c4_topk_lengths_raw",
}
#: What attention reads beside the window.
ATTENDED = {
    "": None,
    "c1_": "c1_sparse_topk_lengths",
    "c2_": "c2_sparse_topk_lengths",
    "c4_": "c4_sparse_topk_lengths",
    "c128_": "c128_topk_lengths_clamp1",
}

PREFIXES = tuple({**INDEXED, **ATTENDED})


def parse(
    given: Any, destinations: int, rows: Callable[[], int], options: Options
) -> tuple[Schedules, list[Any]]:
    """As ``_schedules.parse``."""
    found, arrays = _schedules.parse(given, destinations, rows, PREFIXES)
    return tuple(tuple(_complete(s, options) for s in each) for each in found), arrays


def _complete(schedule: Schedule, options: Options) -> Schedule:
    """The schedule with what follows from its prefix and from the step."""
    known, given = ATTENDED if schedule.kind == "flashmla" else INDEXED, schedule.options
    if schedule.prefix not in known:
        words = ", ".join(prefix + schedule.kind for prefix in known)
        name = schedule.prefix + schedule.kind
        raise wrong(ValueError, "schedules", f"{name!r} is none of {words}")
    if schedule.kind == "flashmla":
        if given.topk is not None:
            raise wrong(ValueError, "topk", "expected none, as lengths of windows differ")
        extra = "lengths" if ATTENDED[schedule.prefix] else None
        return schedule._replace(options=given._replace(sparse=True, extra=extra))
    if schedule.kind == "paged_mqa" and given.next_n != 1:
        if options.ragged or given.next_n != options.next_n:
            raise wrong(
                ValueError,
                "schedules",
                "expected 'paged_mqa' with next_n 1, or that of the step, but got"
                f" {given.next_n}",
            )
    return schedule


def lengths_of(step: Step, schedule: Schedule) -> tuple[nb.Array, nb.Array | None, Any]:
    """The lengths, those of an extra cache, and how many there are."""
    if schedule.kind == "flashmla":
        name = ATTENDED[schedule.prefix]
        extra = None if name is None else step.field(name)
        return step.field("swa_topk_lengths"), extra, step.num_rows
    lens = step.field(INDEXED[schedule.prefix])
    n = schedule.options.next_n if schedule.kind == "paged_mqa" else 1
    if n == 1:
        return lens, None, step.num_rows

    def group() -> nb.Array:
        shape = (step.size("bs"), n)
        return step.s.map(shape, lambda b, j: lens[b * n + j].otherwise(0))

    return step.value(f"{lens.name} by {n}", group), None, step.size("bs")
