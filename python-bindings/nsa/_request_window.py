# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Windows that requests keep in rings of their own, as formulas of rows: which rows are one
request's is found by comparing neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from . import build as nb
from ._arguments import check_rank, describe
from ._errors import INT32_MAX, constant, wrong
from ._fields import Fields, Runner

FIELDS = (
    "req", "pos", "write_loc", "indices", "lengths", "history_req", "history_pos",
    "history_loc", "history_valid", "history_src", "commit_mask",
)  # fmt: skip


class WindowLayout(Fields):
    """The fields of a workspace: rows of history, `window` for each group, then the step's.
    A group is a run of rows with the same request."""

    def __init__(
        self, window: int, capacity: int, has_floor: bool, dtypes: Mapping[str, str]
    ) -> None:
        super().__init__("window_layout", dtypes)
        self.window, self.capacity, self.has_floor = window, capacity, has_floor

    @property
    def req(self) -> nb.Array:
        return self.vector("req", "rows")

    @property
    def pos(self) -> nb.Array:
        return self.vector("pos", "rows")

    def position(self, r: nb.Element) -> nb.Element:
        return self.pos[r].otherwise(0).astype("int64")

    def floor(self, r: nb.Element) -> Any:
        """The first position that may be seen."""
        if not self.has_floor:
            return nb.constant(0, "int64")
        given = self.vector("floor", "rows", self.dtypes.get("floor", "int32"))
        return nb.maximum(given[r].otherwise(0), 0).astype("int64")

    # Groups.

    def runs(self) -> nb.Array:
        """How many runs have begun, up to each row."""
        req = self.req

        def begins(r: nb.Element) -> nb.Element:
            return nb.where((r == 0) | (req[r] != req[r - 1].otherwise(0)), 1, 0)

        return self.value(
            "runs",
            lambda: self.s.scan(self.s.map(self.size("rows"), begins), inclusive=True),
        )

    def first(self, group: nb.Element) -> nb.Element:
        """The first row of a group; of one that is not there, how many rows there are."""
        return self.runs().search(group)

    def group(self, r: nb.Element) -> nb.Element:
        return (self.runs()[r].otherwise(1) - 1).astype("index")

    # Rows, and padding.

    def rows(
        self, element: Callable[[nb.Element], Any], padding: int, dtype: str
    ) -> nb.Array:
        n = self.size("rows")
        return self.s.map(
            self.size("padded_rows"),
            lambda r: nb.where(r < n, element(r), padding),
            dtype=dtype,
        )

    @property
    def history_rows(self) -> nb.Size:
        return self.size("groups") * self.window

    def make_req(self) -> nb.Array:
        return self.rows(lambda r: self.req[r].otherwise(0).astype("int64"), 0, "int64")

    def make_pos(self) -> nb.Array:
        return self.rows(self.position, 0, "int64")

    def make_write_loc(self) -> nb.Array:
        return self.s.map(
            self.size("padded_rows"), lambda r: r + self.history_rows, dtype="int32"
        )

    def make_indices(self) -> nb.Array:
        n = self.size("rows")

        def place(r: nb.Element, k: nb.Element) -> nb.Element:
            group = self.group(r)
            first = self.first(group)
            seen = self.position(r) - k.astype("int64")
            # From the first position of the run on.
            i = seen - self.position(r) + (r - first).astype("int64")
            before = (group * self.window).astype("int64") + self.window + i
            chunk = (first + self.history_rows).astype("int64") + i
            found = nb.where(i < 0, before, chunk)
            return nb.where((r < n) & (seen >= self.floor(r)), found, -1)

        return self.s.map((self.size("padded_rows"), self.window), place, dtype="int32")

    def make_lengths(self) -> nb.Array:
        def length(r: nb.Element) -> nb.Element:
            inside = self.position(r) + 1 - self.floor(r)
            return nb.minimum(nb.maximum(inside, 0), self.window)

        return self.rows(length, 0, "int32")

    def make_commit_mask(self) -> nb.Array:
        """The rows that a ring has room for, the newest ones of each run."""

        def is_kept(r: nb.Element) -> nb.Element:
            behind = self.first(self.group(r) + 1) - 1 - r
            return nb.where(behind < self.capacity, 1, 0)

        return self.rows(is_kept, 0, "int8")

    # History.

    def history(
        self, element: Callable[[nb.Element, nb.Element], Any], dtype: str = "int64"
    ) -> nb.Array:
        """``element(h, group)`` of row h."""
        return self.s.map(
            self.history_rows, lambda h: element(h, h // self.window), dtype=dtype
        )

    def is_group(self, g: nb.Element) -> nb.Element:
        return self.first(g) < self.size("rows")

    def last(self, g: nb.Element) -> nb.Element:
        return self.first(g + 1) - 1

    def history_position(self, h: nb.Element, g: nb.Element) -> nb.Element:
        last = self.last(g)
        first = self.position(last) - (last - self.first(g)).astype("int64")
        begin = nb.where(self.is_group(g), first, 0)
        return begin - self.window + (h % self.window).astype("int64")

    def is_valid(self, h: nb.Element, g: nb.Element) -> nb.Element:
        return self.is_group(g) & (self.history_position(h, g) >= self.floor(self.last(g)))

    def request(self, g: nb.Element) -> nb.Element:
        found = self.req[self.last(g)].otherwise(0).astype("int64")
        return nb.where(self.is_group(g), found, 0)

    def make_history_req(self) -> nb.Array:
        return self.history(lambda h, g: self.request(g))

    def make_history_pos(self) -> nb.Array:
        return self.history(self.history_position)

    def make_history_loc(self) -> nb.Array:
        return self.history(lambda h, g: h)

    def make_history_valid(self) -> nb.Array:
        return self.history(lambda h, g: self.is_valid(h, g).astype("int8"), "int8")

    def make_history_src(self) -> nb.Array:
        def row(h: nb.Element, g: nb.Element) -> nb.Element:
            kept = self.request(g) * self.capacity + self.history_position(h, g) % self.capacity
            zero = self.size("zero_row").astype("int64")
            return nb.where(self.is_valid(h, g), kept, zero)

        return self.history(row)


def write(
    fields: tuple[str, ...],
    window: int,
    capacity: int,
    has_floor: bool,
    dtypes: Mapping[str, str],
) -> WindowLayout:
    step = WindowLayout(window, capacity, has_floor, dtypes)
    for name in fields:
        if name not in FIELDS:
            raise wrong(ValueError, "dst", f"{name!r} is no field of window_layout")
        step.s.output(f"dst_{name}", step.field(name))
    return step


@cache
def _runner(fields: tuple[str, ...], window: int, capacity: int, has_floor: bool) -> Runner:
    return Runner(
        lambda dtypes: write(fields, window, capacity, has_floor, dtypes),
        [f"dst_{name}" for name in fields],
        ("rows", "padded_rows", "groups", "zero_row"),
        {"rows": (["req", "pos"], 0)},
    )


def window_layout(
    dst: Any,
    req: Any,
    pos: Any,
    *,
    zero_row: int,
    window: int = 128,
    capacity: int = 256,
    floor: Any = None,
    num_groups: int | None = None,
    padded_rows: int | None = None,
    stream: Any = None,
) -> None:
    """Where rows find windows that requests keep in rings of their own, from rows, in one
    launch: for callers that have no lengths of requests. ``replay_v4`` with `request_window`
    has the same from these.

    `req`, `pos`: int32 or int64 [n], the request and the position of each row; a run of rows
    with the same request is a group, and its positions ascend by 1. `floor`: int32 or int64
    [n], the first position that a row may see. With W = `window`, H = W * `num_groups` (left
    out: n), b the group of row r, o[b] its first row and f[b] that one's position, `dst` is a
    dict of any of

    =======================  =====================  ========================================
    field                    elements               value
    =======================  =====================  ========================================
    req, pos                 [padded_rows] int64    as they are
    write_loc                [padded_rows] int32    H + r
    indices                  [padded_rows, W]       of position s = pos - k, not before
                             int32                  `floor` or 0: b * W + W + s - f[b], or
                                                    H + o[b] + s - f[b] from f[b] on; else -1
    lengths                  [padded_rows] int32    how many there are
    commit_mask              [padded_rows] int8     1 for the newest `capacity` rows of a group
    history_pos              [H] int64              of row b * W + i: f[b] - W + i
    history_req, ..._loc     [H] int64              the group's request; the row's number
    history_valid            [H] int8               1 if the position is not before the floor
                                                    of the group's last row, or 0
    history_src              [H] int64              then req * capacity + position % capacity,
                                                    else `zero_row`
    =======================  =====================  ========================================

    Rows from n to `padded_rows` (left out: n) have 0, and -1 in `indices`; so do groups that
    are not there, with f[b] = 0. Groups past `num_groups` have no history. What is int8 may be
    uint8, as a view of a bool array is.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    window = constant("window", window, 1)
    shape = describe("req", req)[1]
    check_rank("req", shape, 1)
    groups = shape[0] if num_groups is None else num_groups
    run = _runner(
        tuple(dst), window, constant("capacity", capacity, 1), floor is not None
    )
    sizes = (
        None,
        max(shape[0], padded_rows or 0),
        constant("num_groups", groups, 0, INT32_MAX // window),
        constant("zero_row", zero_row, 0),
    )
    run({"req": req, "pos": pos, "floor": floor}, dst.values(), sizes, stream)
