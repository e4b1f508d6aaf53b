# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""FlashMLA's split of a batch over parts of a GPU, computed from lengths, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from . import _arguments
from . import build as nb
from ._arguments import check_rank, dtype_name
from ._cache import get_step
from ._errors import constant, index_dtype, optional_constant, wrong
from ._nsa_runtime import Caller

#: Layouts of a part's row -> the words that are written.
LAYOUTS = {"new": 8, "old": 5, "fp8": 5}


class Options(NamedTuple):
    """What a schedule is made for."""

    #: Entries of every request; None: its length says it.
    topk: int | None
    #: Lengths are entries of an index list, and 0 counts as 1.
    sparse: bool
    #: Entries of every request in the extra cache, or "lengths", or None.
    extra: int | str | None
    block: int
    overhead: int
    layout: str


def options_of(
    topk: Any = None,
    sparse: Any = False,
    extra: Any = None,
    block: Any = 64,
    overhead: Any = 5,
    layout: Any = "new",
) -> Options:
    """Raises ``ValueError`` or ``TypeError`` that names the argument."""
    if layout not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise wrong(ValueError, "layout", f"expected one of {known} but got {layout!r}")
    topk = optional_constant("topk", topk, 0)
    sparse = bool(sparse) or topk is not None
    if extra is not None and not sparse:
        raise wrong(ValueError, "extra_topk", "expected none of a dense schedule")
    if extra is not None and extra != "lengths":
        extra = constant("extra_topk", extra, 0)
    block, overhead = constant("block", block, 1), constant("overhead", overhead, 1)
    return Options(topk, sparse, extra, block, overhead, layout)


def _length(
    options: Options, lens: nb.Array | None, extra: nb.Array | None
) -> Callable[[nb.Element], Any]:
    """The entries of a request."""

    def of(array: nb.Array, b: nb.Element, least: int) -> nb.Element:
        return nb.maximum(array[b].otherwise(0).astype("int64"), least)

    def length(b: nb.Element) -> Any:
        least = 1 if options.sparse else 0
        if lens is None:
            entries = nb.constant(max(options.topk or 0, least), "int64")
        else:
            entries = of(lens, b, least)
        if options.extra is None:
            return entries
        more = options.extra if extra is None else of(extra, b, 0)
        return nb.ceildiv(entries, options.block) * options.block + more

    return length


def _places(options: Options) -> int:
    """Of each request, where all have as many entries."""
    entries = max(options.topk or 0, 1)
    if isinstance(options.extra, int):
        entries = -(-entries // options.block) * options.block + options.extra
    least = 0 if options.layout == "fp8" else 1
    return max(-(-entries // options.block), least) + options.overhead


def _pick(word: nb.Element, values: list[Any]) -> Any:
    *first, picked = values
    for number, value in reversed(list(enumerate(first))):
        picked = nb.where(word == number, value, picked)
    return picked


def write(
    s: nb.Builder,
    requests: Any,
    parts: Any,
    options: Options,
    lens: nb.Array | None = None,
    extra: nb.Array | None = None,
) -> tuple[nb.Array, nb.Array]:
    """The rows of the parts, and the splits before each request.

    Requests lie on a line, of as many places as they have blocks and the overhead. A part
    takes its share of the places; a request that ends within the next overhead it takes
    whole. Where a part begins follows from where the one before does; all else are
    searches."""
    length = _length(options, lens, extra)
    overhead = options.overhead
    is_fp8 = options.layout == "fp8"

    def blocks(b: nb.Element) -> nb.Element:
        return nb.maximum(nb.ceildiv(length(b), options.block), 0 if is_fp8 else 1)

    if options.topk is not None and options.extra != "lengths":
        # All are alike.
        size = _places(options)

        def start(b: Any) -> nb.Element:
            return b * size

        def owner(place: nb.Element) -> nb.Element:
            return nb.minimum(place // size, requests)

    else:
        starts = s.scan(s.map(requests, lambda b: blocks(b) + overhead, dtype="int64"))

        def start(b: Any) -> nb.Element:
            return starts[b].otherwise(0)

        def owner(place: nb.Element) -> nb.Element:
            return nb.minimum(starts.search(place) - 1, requests)

    # A reduction is kept, where a map would be computed again in each step.
    totals = s.max(s.map(1, lambda _: start(requests), dtype="int64"))
    shares = s.max(s.map(1, lambda _: nb.ceildiv(start(requests), parts), dtype="int64"))

    def after(i: nb.Element, begin: nb.Element) -> nb.Element:
        total, even = totals[0], begin + shares[0]
        reach = even + overhead
        return nb.where(reach >= total, total, nb.maximum(even, start(owner(reach))))

    begins = s.iterate(parts, after, dtype="int64")

    def request(i: nb.Element) -> nb.Element:
        return owner(begins[i].otherwise(0))

    def block(i: nb.Element) -> nb.Element:
        return begins[i].otherwise(0) - start(request(i))

    # Parts that begin inside of a request make one more split of it.
    inside = s.scan(s.map(parts + 1, lambda i: nb.where(block(i) > 0, 1, 0)))

    def splits_before(b: nb.Element) -> nb.Element:
        return b + inside[begins.search(start(b) - 1)].otherwise(0)

    def word(i: nb.Element, word: nb.Element) -> nb.Element:
        b, k, next_b, next_k = request(i), block(i), request(i + 1), block(i + 1)
        # The next part begins inside of the request that this one ends in, or after it.
        is_cut = next_k > 0
        end = nb.where(is_cut, next_b, next_b - 1)
        entries = nb.where(end >= 0, length(end), 0)
        split = nb.where(k > 0, i + 1 - begins.search(start(b)), 0)
        if is_fp8:
            size = options.block
            end_entry = nb.where(is_cut, next_k * size, entries)
            return _pick(word, [b, k * size, end, end_entry, split])
        end_block = nb.where(is_cut, next_k, nb.where(entries == 0, 0, blocks(end)))
        if options.layout == "old":
            first = nb.where(b == requests, -1, b)
            return _pick(word, [first, k, end, end_block, split])
        one = b == end
        cuts_first, cuts_last = k > 0, (end_block != blocks(end)) & (entries != 0)
        either = one & (cuts_first | cuts_last)
        flags = [(flag | either).astype("int64") for flag in (cuts_first, cuts_last)]
        return _pick(word, [b, end, k, end_block, split, *flags, 0])

    rows = s.map((parts, LAYOUTS[options.layout]), word, dtype="int32")
    return rows, s.map(requests + 1, splits_before, dtype="int32")


def text(options: Options, dtype: str = "int32", extra_dtype: str = "int32") -> str:
    """The step of one schedule."""
    s = nb.Builder("flashmla_schedule")
    bs, parts = s.size("bs"), s.size("parts")
    lens = s.input("seq_lens", dtype, (bs,)) if options.topk is None else None
    extra = s.input("extra_lens", extra_dtype, (bs,)) if options.extra == "lengths" else None
    rows, splits = write(s, bs, parts, options, lens, extra)
    s.output("out_metadata", rows)
    s.output("out_num_splits", splits)
    return s.text


@cache
def _schedule(options: Options) -> Caller:
    inputs = []
    if options.topk is None:
        inputs.append("seq_lens")
    if options.extra == "lengths":
        inputs.append("extra_lens")

    def prepare(target: str, described: Any) -> Any:
        sizes, dtypes = {"parts": described[-2][2][0]}, {}
        for name, (code, bits, shape) in zip(inputs, described):
            check_rank(name, shape, 1)
            dtypes[name] = index_dtype(name, dtype_name(code, bits))
            sizes.setdefault("bs", shape[0])
        written = text(
            options, dtypes.get("seq_lens", "int32"), dtypes.get("extra_lens", "int32")
        )
        return get_step("flashmla_schedule", written, target), sizes

    return Caller(prepare, (*inputs, "out_metadata", "out_num_splits"), ("bs", "parts"))


def flashmla_schedule(
    seq_lens: Any,
    out_metadata: Any,
    out_num_splits: Any,
    *,
    parts: int | None = None,
    topk: int | None = None,
    sparse: bool = False,
    extra_lens: Any = None,
    extra_topk: int | None = None,
    block: int = 64,
    overhead: int = 5,
    layout: str = "new",
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """Which blocks of which requests each part of a FlashMLA decode attends to, and how many
    splits there are before each request, in one launch.

    Requests have ``ceil(length / block)`` blocks, 1 or more, and `overhead` for each. Parts
    take as many of both as one another, and what is left of a request whose end is within
    another overhead.

    `seq_lens`: [bs], int32 or int64; below 0 counts as 0. With `sparse` they are lengths of
    index lists, and 0 counts as 1. With `topk` all lists have that length: `seq_lens` may be
    None where `bs` says how many there are, and the schedule depends on their number alone.
    A sparse schedule may have an extra cache, which begins at a block: `extra_lens` [bs], or
    `extra_topk` for all.

    `out_metadata`: [parts, 8] int32, any row stride; `parts` is its rows if left out.
    `out_num_splits`: [bs + 1] int32. `layout` says what a row holds:

    =======  =========================================================================
    ``new``  first request, last request, first block, end block, split of the first
             request, whether the first and the last request are cut, 0
    ``old``  first request or -1, first block, last request, end block, split; words 5
             to 7 are not written
    ``fp8``  first request, first entry, last request, end entry, split; words 5 to 7
             are not written; requests may have 0 blocks
    =======  =========================================================================

    A part without work begins at request bs. `overhead` is 5 blocks, and 3 on SM100 with 128
    heads of size 512.

    Sums have 64 bits. Raises ``ValueError`` or ``TypeError`` that names the argument, and
    writes nothing then; ``CompileError`` if the step can neither be compiled nor found.
    """
    if extra_lens is not None and extra_topk is not None:
        raise wrong(ValueError, "extra_topk", "expected no more than one of both extras")
    extra = extra_topk if extra_lens is None else "lengths"
    options = options_of(topk, sparse, extra, block, overhead, layout)
    parts = optional_constant("parts", parts, 1)
    arrays = [out_metadata, out_num_splits]
    if extra_lens is not None:
        arrays.insert(0, extra_lens)
    if topk is None:
        if seq_lens is None:
            raise wrong(TypeError, "seq_lens", "missing without topk")
        arrays.insert(0, seq_lens)
    elif bs is None and extra_lens is None:
        if seq_lens is None:
            raise wrong(TypeError, "bs", "missing without seq_lens")
        bs = _arguments.length("seq_lens", seq_lens)[1]
    _schedule(options)(arrays, (bs, parts), stream)
