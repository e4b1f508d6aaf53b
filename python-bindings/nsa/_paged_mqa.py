# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of paged MQA logits, computed from lengths, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from . import build as nb
from ._arguments import dtype_name
from ._cache import get_step
from ._errors import constant, index_dtype, optional_constant, wrong
from ._nsa_runtime import Caller


@dataclass(frozen=True)
class Convention:
    """How a consumer cuts lengths; see ``paged_mqa_schedule``."""

    split: int
    #: "lengths": all lengths of a request. "requests": its last one. "runs": the same, or
    #: neighbours of equal indices.
    items: str
    #: Slots that take one more are the last ones, or the first ones.
    reversed: bool
    #: What a split costs, by the tokens of its item.
    cost: Callable[[Any], Any]
    #: A row names half rows of a request, of two tokens each.
    halves: bool = False


def _one(tokens: Any) -> Any:
    return 1


def _pairs(tokens: int) -> int:
    return -(-tokens // 2)


def _tokens(tokens: Any) -> Any:
    return tokens


def _padded_tokens(tokens: Any) -> Any:
    return (tokens + 3) // 4 * 8 + tokens


CONVENTIONS = {
    "jit": Convention(256, "lengths", True, _one),
    "sm90": Convention(256, "requests", True, _pairs, halves=True),
    "sm100": Convention(256, "runs", False, _tokens),
    "sm120": Convention(128, "requests", True, _pairs, halves=True),
    "vllm_sm90": Convention(256, "requests", True, _one),
    "vllm_sm100": Convention(384, "runs", False, _padded_tokens),
    "gen1": Convention(256, "requests", False, _one),
}


class Options(NamedTuple):
    """What a schedule is made for."""

    convention: str
    split: int
    next_n: int
    #: Rows that have a schedule of their own.
    chunk: int | None = None


def options_of(
    convention: Any, split: Any = None, next_n: Any = 1, chunk: Any = None
) -> Options:
    """Raises ``ValueError`` or ``TypeError`` that names the argument."""
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        raise wrong(ValueError, "convention", f"expected one of {known} but got {convention!r}")
    if split is None:
        split = CONVENTIONS[convention].split
    return Options(
        convention,
        constant("split", split, 1),
        constant("next_n", next_n, 1),
        optional_constant("chunk", chunk, 1),
    )


class _Items:
    """What slots take, with the tokens of each. `lens`: [requests, next_n], or [requests] for
    lengths that all tokens of a request share."""

    def __init__(
        self, s: nb.Builder, lens: nb.Array, options: Options, indices: nb.Array | None
    ) -> None:
        how = CONVENTIONS[options.convention]
        self.lens, self.indices, self.next_n = lens, indices, options.next_n
        self.per_request = options.next_n if how.items == "lengths" else 1
        self.per_item = options.next_n if how.items == "runs" else 1
        self.count = lens.shape[0] * self.per_request
        if indices is not None:

            def begins(t: nb.Element) -> nb.Element:
                before = indices[t - 1].otherwise(0)
                return nb.where((t == 0) | (indices[t] != before), 1, 0)

            self.runs = s.scan(s.map(self.count, begins), inclusive=True)

    def splits(self, j: nb.Element, split: int) -> nb.Element:
        request = j // self.per_request
        if len(self.lens.shape) == 1:
            length = self.lens[request].otherwise(0)
        else:
            column = j % self.next_n if self.per_request > 1 else self.next_n - 1
            length = self.lens[request, column].otherwise(0)
        return (nb.maximum(length.astype("int64"), 0) + (split - 1)) // split

    def start(self, j: nb.Element) -> nb.Element:
        """The first token of an item."""
        if self.indices is None:
            return j * self.per_item
        return self.runs.search(self.runs[j].otherwise(0).astype("int64") - 1)

    def tokens(self, j: nb.Element) -> Any:
        """A run is its last token, and the others are none."""
        if self.indices is None:
            return self.next_n
        return j + 1 - self.start(j)

    def is_item(self, j: nb.Element) -> nb.Element:
        assert self.indices is not None
        next_one = self.indices[j + 1].otherwise(0)
        return (j + 1 == self.count) | (self.indices[j].otherwise(0) != next_one)

    def weight(self, j: nb.Element, options: Options) -> nb.Element:
        cost = CONVENTIONS[options.convention].cost
        weight = self.splits(j, options.split) * cost(self.tokens(j))
        return weight if self.indices is None else nb.where(self.is_item(j), weight, 0)


class _Sums:
    """What items before each one weigh."""

    def __init__(self, s: nb.Builder, items: _Items, options: Options) -> None:
        weights = s.map(items.count, lambda j: items.weight(j, options), dtype="int64")
        self.before = s.scan(weights)

    def __getitem__(self, item: Any) -> nb.Element:
        return self.before[item].otherwise(0)

    def all_of(self, first: Any, end: Any) -> tuple[nb.Element, nb.Element]:
        """What those before `first` weigh, and those from there to `end`."""
        start = self[first]
        return start, self[end] - start

    def find(self, place: nb.Element) -> tuple[nb.Element, nb.Element]:
        """The item that has a place, and what those before it weigh."""
        item = self.before.search(place) - 1
        return item, self[item]


#: Requests that are expected where a caller has a workspace: more than blocks add up by
#: themselves.
MANY = 65_536


def write(
    s: nb.Builder,
    lens: nb.Array,
    options: Options,
    slots: Any,
    indices: nb.Array | None = None,
    sums: dict[Any, Any] | None = None,
) -> nb.Array:
    """The schedule of lengths, [slots + 1, 2]: sums of what each item weighs, and a search
    for the first item of each slot. In chunks a vector, their schedules one after the other.
    `sums`: what schedules of one step share."""
    how, split = CONVENTIONS[options.convention], options.split
    known: dict[Any, Any] = {} if sums is None else sums
    # Conventions differ in little where there is one token a request.
    kind = "" if options.next_n == 1 else how.items
    key = (lens.name, split, options.next_n, kind, how.cost(options.next_n))
    if key not in known:
        items = _Items(s, lens, options, indices)
        known[key] = items, _Sums(s, items, options)
    items, weights = known[key]
    halves = how.cost(options.next_n) if how.halves else 1

    def begin(chunk: Any, slot: nb.Element, word: nb.Element) -> nb.Element:
        first, end = 0, items.count
        if options.chunk is not None:
            most = options.chunk * items.per_request
            first = chunk * most
            end = nb.minimum(first + most, items.count)
        start, total = weights.all_of(first, end)
        each, rest = total // slots, total % slots
        more = nb.maximum(slot - (slots - rest), 0) if how.reversed else nb.minimum(slot, rest)
        place = start + slot * each + more
        # Items that weigh nothing are stepped over.
        item, before = weights.find(place)
        offset = place - before
        if how.halves:
            here = items.splits(item, split)
            row, offset = (item - first) * halves + offset // here, offset % here
        else:
            row = items.start(item) - first * items.per_item
            offset = offset // how.cost(items.tokens(item))
        ends = (end - first) * (halves * items.per_item)
        is_item = place - start < total
        return nb.where(is_item, nb.where(word == 0, row, offset), nb.where(word == 0, ends, 0))

    if options.chunk is None:
        return s.map((slots + 1, 2), lambda i, word: begin(0, i, word), dtype="int32")
    rows = nb.ceildiv(lens.shape[0], options.chunk) * (slots + 1)

    def flat(e: nb.Element) -> nb.Element:
        return begin(e // 2 // (slots + 1), e // 2 % (slots + 1), e % 2)

    return s.map(rows * 2, flat, dtype="int32")


def text(
    options: Options, dtype: str, rank: int = 2, indices: str | None = None, many: bool = False
) -> str:
    """The step of one schedule; `indices`: their dtype. With `many` it is made for tens of
    thousands of requests: two launches with a port ``workspace`` between them."""
    s = nb.Builder("paged_mqa_schedule")
    bs = s.size("bs", expected=MANY if many else None)
    slots = s.size("num_sms")
    shape = (bs,) if rank == 1 else (bs, options.next_n)
    lens = s.input("context_lens", dtype, shape)
    runs = None if indices is None else s.input("indices", indices, (bs,))
    strides = None if options.chunk is None else "contiguous"
    s.output("out", write(s, lens, options, slots, runs), strides=strides)
    return s.text


@cache
def _schedule(options: Options, with_indices: bool) -> Caller:
    arrays = ("context_lens", "indices", "out") if with_indices else ("context_lens", "out")

    def prepare(target: str, described: Any) -> Any:
        dtype, shape = _checked_lens(described[0], options)
        indices = None
        if with_indices:
            code, bits, _ = described[1]
            indices = index_dtype("indices", dtype_name(code, bits))
        written = text(options, dtype, len(shape), indices)
        return get_step("paged_mqa_schedule", written, target), {"bs": shape[0]}

    return Caller(prepare, arrays, ("bs", "num_sms"))


def _checked_lens(described: Any, options: Options) -> tuple[str, tuple[int, ...]]:
    """The dtype and the shape of lengths that fit."""
    code, bits, shape = described
    if len(shape) not in (1, 2) or (len(shape) == 1 and options.next_n != 1):
        raise wrong(
            ValueError,
            "context_lens",
            f"expected [bs, {options.next_n}] but got {len(shape)} dimensions",
        )
    return index_dtype("context_lens", dtype_name(code, bits)), shape


@cache
def _two_launches(options: Options) -> Caller:
    def prepare(target: str, described: Any) -> Any:
        dtype, shape = _checked_lens(described[0], options)
        written = text(options, dtype, len(shape), many=True)
        return get_step("paged_mqa_schedule", written, target), {"bs": shape[0]}

    return Caller(prepare, ("context_lens", "out", "workspace"), ("bs", "num_sms"))


def paged_mqa_schedule(
    context_lens: Any,
    out: Any,
    *,
    convention: str,
    num_sms: int,
    split: int | None = None,
    next_n: int = 1,
    indices: Any = None,
    chunk: int | None = None,
    workspace: Any = None,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """Which part of the lengths each slot of a paged MQA logits kernel takes, in one launch.

    `context_lens`: [bs, next_n] or, with `next_n` 1, [bs], int32 or int64; lengths below 0
    count as 0. `out`: [num_sms + 1, 2] int32; row i says at which item slot i begins, and at
    which split of it. Items weigh ``ceil(length / split)`` times the cost; slots take as
    many as one another, or one more. Past the last item a row is (end, 0).

    ==============  =====  ========  =======================  =============================
    convention      split  items     cost                     one more go to; rows
    ==============  =====  ========  =======================  =============================
    ``jit``         256    lengths   1                        the last slots
    ``sm90``        256    requests  ceil(next_n / 2)         the last slots; name the
                                                              pairs of a request's tokens
    ``sm100``       256    runs      n                        the first slots; name the
                                                              first token of an item
    ``sm120``       128    requests  as ``sm90``              as ``sm90``
    ``vllm_sm90``   256    requests  1                        the last slots
    ``vllm_sm100``  384    runs      8 * ceil(n / 4) + n      as ``sm100``
    ``gen1``        256    requests  1                        the first slots
    ==============  =====  ========  =======================  =============================

    Lengths are all bs * next_n of them; requests count by their last one. Runs are requests
    of n = next_n tokens or, with `indices` ([bs], int32 or int64, `next_n` 1), neighbours
    of equal indices, n of them, by the length of the last one. end is the number of
    lengths, of requests, of pairs or of tokens. `num_sms` is the number of slots, which
    vLLM's consumer of ``vllm_sm90`` halves for 4 tokens.

    With `chunk`, every so many requests have a schedule of their own, as if they were all:
    `out` is [ceil(bs / chunk), num_sms + 1, 2], contiguous, in any number of dimensions.

    One launch adds up all lengths in each of few blocks. For tens of thousands of lengths
    a `workspace` has two launches instead, of which the first adds up tiles of 32 in many
    blocks: int64 [ceil(bs * next_n / 32)] or longer, which nothing else uses until the
    second is done. What it holds before does not matter, and afterwards is unspecified. The
    schedule is the same if the sums fit 64 bits. There is none with `indices` or `chunk`.

    Sums have 64 bits, and there may be any number of requests. Raises ``ValueError`` or
    ``TypeError`` that names the argument, and writes nothing then; ``CompileError`` if the
    step can neither be compiled nor found.
    """
    options = options_of(convention, split, next_n, chunk)
    num_sms = constant("num_sms", num_sms, 1)
    if workspace is not None:
        if indices is not None or chunk is not None:
            raise wrong(ValueError, "workspace", "expected none with indices or chunk")
        _two_launches(options)([context_lens, out, workspace], (bs, num_sms), stream)
        return
    arrays = [context_lens, out]
    if indices is not None:
        if CONVENTIONS[convention].items != "runs" or next_n != 1 or chunk is not None:
            raise wrong(
                ValueError,
                "indices",
                "expected none but with sm100 or vllm_sm100, next_n 1 and no chunk",
            )
        arrays.insert(1, indices)
    _schedule(options, indices is not None)(arrays, (bs, num_sms), stream)
