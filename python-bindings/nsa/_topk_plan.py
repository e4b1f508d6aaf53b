# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The plan of SGLang's top-k: which rows a pool of clusters selects for, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from . import _arguments
from . import build as nb
from ._arguments import check_rank, dtype_name
from ._cache import get_step
from ._errors import INT32_MAX, constant, index_dtype, wrong
from ._nsa_runtime import Caller

#: Architecture -> (threshold, the most rows that may be longer), ascending.
CANDIDATES = {
    "sm90": (
        (65536, 30), (98304, 45), (131072, 60), (196608, 80), (262144, 112), (393216, 128),
    ),
    "sm100": (
        (32768, 48), (131072, 66), (163840, 99), (196608, 132), (262144, 198), (393216, 231),
        (524288, 264),
    ),
}  # fmt: skip
LEAST_THRESHOLD = 32768
MOST_ROWS = 512


class Options(NamedTuple):
    """What a plan is made for."""

    arch: str
    #: Negative: the lengths decide.
    static: int


def options_of(arch: Any, static: Any = -1) -> Options:
    """Raises ``ValueError`` or ``TypeError`` that names the argument."""
    if arch not in CANDIDATES:
        known = ", ".join(CANDIDATES)
        raise wrong(ValueError, "arch", f"expected one of {known} but got {arch!r}")
    return Options(arch, max(constant("static", static, -INT32_MAX - 1), -1))


def is_written(rows: int, clusters: int) -> bool:
    """Whether consumers of so many rows read a plan."""
    return 0 < clusters < rows <= MOST_ROWS


def write(
    s: nb.Builder, rows: Any, lens: nb.Array, options: Options
) -> tuple[nb.Array, nb.Array]:
    """The plan of lengths, [rows], and which of its rows are written."""

    def length(b: nb.Element) -> nb.Element:
        return lens[b].otherwise(0).astype("int64")

    if options.static >= 0:
        limit: Any = nb.constant(max(options.static, LEAST_THRESHOLD), "int64")
    else:
        limit = _threshold(s, rows, length, CANDIDATES[options.arch])[0]
    above = s.scan(s.map(rows, lambda b: nb.where(length(b) > limit, 1, 0)))

    def word(r: nb.Element, word: nb.Element) -> nb.Element:
        b = above.search(r - 1) - 1
        first = nb.where(word == 0, limit, above[rows].otherwise(0).astype("int64"))
        return nb.where(r == 0, first, nb.where(word == 0, b, length(b)))

    def is_row(r: nb.Element, word: nb.Element) -> nb.Element:
        return (r <= above[rows].otherwise(0)).astype("int8")

    return s.map((rows + 1, 2), word, dtype="int32"), s.map((rows + 1, 2), is_row)


def _threshold(
    s: nb.Builder,
    rows: Any,
    length: Callable[[nb.Element], nb.Element],
    candidates: tuple[tuple[int, int], ...],
) -> nb.Array:
    """Above the last candidate with more rows than it may have, [1]."""
    limits = [limit for limit, _ in candidates]

    def is_longer(j: nb.Element, b: nb.Element) -> nb.Element:
        limit: Any = nb.constant(limits[-1], "int64")
        for number, each in enumerate(limits[:-1]):
            limit = nb.where(j == number, each, limit)
        return length(b) > limit

    counts = s.count((len(candidates), rows), is_longer)

    def threshold(_: nb.Element) -> nb.Element:
        chosen: Any = nb.constant(limits[0], "int64")
        for number, (_, most) in enumerate(candidates):
            after = limits[min(number + 1, len(limits) - 1)]
            chosen = nb.where(counts[number] > most, after, chosen)
        return nb.maximum(chosen, LEAST_THRESHOLD)

    # A reduction is kept, where a map would be computed again by each reader.
    return s.max(s.map(1, threshold))


def text(options: Options, dtype: str = "int32") -> str:
    """The step of one plan."""
    s = nb.Builder("plan_topk")
    rows = s.size("bs")
    lens = s.input("seq_lens", dtype, (rows,))
    plan, mask = write(s, rows, lens, options)
    s.output("out", plan, when=mask)
    return s.text


@cache
def _plan(options: Options) -> Caller:
    def prepare(target: str, described: Any) -> Any:
        code, bits, shape = described[0]
        check_rank("seq_lens", shape, 1)
        written = text(options, index_dtype("seq_lens", dtype_name(code, bits)))
        return get_step("plan_topk", written, target), {"bs": shape[0]}

    return Caller(prepare, ("seq_lens", "out"), ("bs",))


def plan_topk(
    seq_lens: Any,
    out: Any,
    *,
    clusters: int,
    arch: str,
    static: int = -1,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """Which rows of SGLang's top-k a pool of clusters selects for, in one launch.

    `seq_lens`: [bs], int32 or int64: the lengths that the top-k gets. `out`: [bs + 1, 2]
    int32. Row 0 becomes (threshold, n), rows 1 to n the (row, length) of those that are
    longer than the threshold, in ascending order; later rows are not written. `clusters`:
    clusters of 8 that the device has room for. Unless ``0 < clusters < bs <= 512`` nothing
    is written and nothing launched; consumers read nothing then.

    `arch`, ``"sm90"`` or ``"sm100"``, has ascending thresholds, each with the most rows that
    may be longer; the threshold is the one after the last that has more, or the first, or
    `static` if that is 0 or more; and 32768 at least.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    options = options_of(arch, static)
    clusters = constant("clusters", clusters, 0)
    rows = constant("bs", bs, 0) if bs is not None else _arguments.length("seq_lens", seq_lens)[1]
    if is_written(rows, clusters):
        _plan(options)([seq_lens, out], (bs,), stream)
