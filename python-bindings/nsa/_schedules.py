# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels, computed from lengths, as formulas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from . import build as nb
from ._arguments import dtype_name
from ._cache import get_step
from ._errors import constant, wrong
from ._nsa_runtime import Caller


@dataclass(frozen=True)
class Convention:
    """How a consumer cuts lengths; see ``paged_mqa_schedule``."""

    split: int
    #: All lengths of a request are items, or its last one is.
    all_lengths: bool
    #: Slots that take one more are the last ones, or the first ones.
    reversed: bool
    #: A row names half rows of a request, of two tokens each.
    halves: bool


CONVENTIONS = {
    "jit": Convention(256, all_lengths=True, reversed=True, halves=False),
    "sm90": Convention(256, all_lengths=False, reversed=True, halves=True),
    "sm120": Convention(128, all_lengths=False, reversed=True, halves=True),
    "vllm_sm90": Convention(256, all_lengths=False, reversed=True, halves=False),
    "gen1": Convention(256, all_lengths=False, reversed=False, halves=False),
}


def write_paged_mqa(convention: str, split: int, next_n: int, dtype: str) -> str:
    """The text of a schedule: sums of what each item weighs, and a search for the first item
    of each slot."""
    how = CONVENTIONS[convention]
    s = nb.Builder("paged_mqa_schedule")
    bs, slots = s.size("bs"), s.size("num_sms")
    lens = s.input("context_lens", dtype, (bs, next_n))
    parts = -(-next_n // 2) if how.halves else 1
    per_request = next_n if how.all_lengths else 1
    items = bs * per_request

    def splits(j: nb.Element) -> nb.Element:
        column = j % next_n if how.all_lengths else next_n - 1
        length = nb.maximum(lens[j // per_request, column].otherwise(0).astype("int64"), 0)
        return (length + (split - 1)) // split

    num_splits = s.map(items, splits, dtype="int64")
    weights = s.map(items, lambda j: num_splits[j] * parts, dtype="int64")
    sums = s.scan(weights)

    def first(i: nb.Element, word: nb.Element) -> nb.Element:
        total = sums[items].otherwise(0)
        each, rest = total // slots, total % slots
        more = nb.maximum(i - (slots - rest), 0) if how.reversed else nb.minimum(i, rest)
        place = i * each + more
        # Items that weigh nothing are stepped over.
        item = sums.search(place) - 1
        offset = place - sums[item].otherwise(0)
        here = num_splits[item].otherwise(1)
        row = item * parts + offset // here
        is_item = place < total
        row = nb.where(is_item, row, items * parts)
        return nb.where(word == 0, row, nb.where(is_item, offset % here, 0))

    s.output("out", s.map((slots + 1, 2), first, dtype="int32"))
    return s.text


@cache
def _paged_mqa(convention: str, split: int, next_n: int) -> Caller:
    def prepare(target: str, described: Any) -> Any:
        (code, bits, shape), _ = described
        text = write_paged_mqa(convention, split, next_n, dtype_name(code, bits))
        return get_step("paged_mqa_schedule", text, target), {"bs": shape[0]}

    return Caller(prepare, ("context_lens", "out"), ("bs", "num_sms"))


def paged_mqa_schedule(
    context_lens: Any,
    out: Any,
    *,
    convention: str,
    num_sms: int,
    split: int | None = None,
    next_n: int = 1,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """Which part of the lengths each slot of a paged MQA logits kernel takes, in one launch.

    `context_lens`: [bs, next_n], int32 or int64; lengths below 0 count as 0. `out`:
    [num_sms + 1, 2] int32; row i says at which item slot i begins, and at which split of it.
    Items weigh ``ceil(length / split)`` each; slots take as many as one another, or one more.
    Past the last item a row is (items, 0).

    =============  =======  ===========================================  ======================
    convention     split    items                                        one more go to
    =============  =======  ===========================================  ======================
    ``jit``        256      all bs * next_n lengths                      the last slots
    ``sm90``       256      requests, by their last length; rows name    the last slots
                            the pairs of a request's tokens
    ``sm120``      128      as ``sm90``                                  the last slots
    ``vllm_sm90``  256      requests, by their last length               the last slots
    ``gen1``       256      requests, by their last length               the first slots
    =============  =======  ===========================================  ======================

    Sums have 64 bits, and there may be any number of requests. Raises ``ValueError`` or
    ``TypeError`` that names the argument, and writes nothing then; ``CompileError`` if the
    step can neither be compiled nor found.
    """
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise wrong(ValueError, "convention", f"expected one of {known} but got {convention!r}")
    if split is None:
        split = CONVENTIONS[convention].split
    split, next_n = constant("split", split, 1), constant("next_n", next_n, 1)
    num_sms = constant("num_sms", num_sms, 1)
    _paged_mqa(convention, split, next_n)([context_lens, out], (bs, num_sms), stream)
