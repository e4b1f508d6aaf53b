# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of a DeepSeek V4 or V4.1 forward step, as formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import _v4_index_keys
from . import build as nb
from ._arguments import check_rank, dtype_name
from ._cache import get_step
from ._errors import check_mode, constant, wrong
from ._fields import Fields
from ._nsa_runtime import Caller
from ._v4_index_keys import IndexKeys
from ._v4_plans import PlanOptions, Plans, plan_options
from ._v4_ratios import Ratios, round_up
from ._v4_windows import WindowOptions, Windows, window_options

MODES = ("decode", "target_verify", "draft_extend", "draft_block", "extend")


@dataclass(frozen=True)
class Options:
    """What a step is made for."""

    mode: str
    next_n: int
    ragged: bool
    #: There are floors of windows.
    floors: bool
    topk: int
    page_size: int
    window: int
    index_page_size: int
    plans: PlanOptions = PlanOptions()
    #: Draft steps, of which each destination belongs to one.
    steps: int = 1
    windows: WindowOptions = WindowOptions()


class Step(Windows, Plans, IndexKeys, Ratios, Fields):
    """A step in the making."""

    def __init__(self, options: Options, dtypes: dict[str, str]) -> None:
        super().__init__(f"v4_{options.mode}", dtypes)
        self.options = options
        #: Whose locations are asked for.
        self.draft = 0

    @property
    def full_to_swa(self) -> nb.Array:
        return self.vector("full_to_swa", None)

    @property
    def out_cache_loc(self) -> nb.Array:
        return self.vector("out_cache_loc", "num_locs")

    # Rows.

    @property
    def num_rows(self) -> nb.Size:
        if self.options.ragged:
            return self.size("rows")
        return self.size("bs") * self.options.next_n

    def request(self, r: nb.Element) -> nb.Element:
        """The request of a row, the last one for padding."""
        bs = self.size("bs")
        if self.options.ragged:
            return nb.where(self.is_row(r), self.offsets().search(r) - 1, bs - 1)
        return r if self.options.next_n == 1 else r // self.options.next_n

    def pool_of(self, r: nb.Element) -> nb.Element:
        return self.pool[self.request(r)].otherwise(0)

    def length(self, r: nb.Element) -> nb.Element:
        """The length of a row, 0 or more."""
        b, n = self.request(r), self.options.next_n
        length = self.lens[b].otherwise(0).astype("int32")
        mode = self.options.mode
        if self.options.ragged:
            i = (r - self.offsets()[b].otherwise(0)).astype("int32")
            if mode == "extend":
                length = length - self.extends()[b].otherwise(0)
            return nb.where(self.is_row(r), nb.maximum(length + 1 + i, 0), 1)
        if mode != "decode":
            j = (r % n).astype("int32")
            length = length + (1 - n if mode == "draft_extend" else 1) + j
        return nb.maximum(length, 0)

    # Fields.

    def field(self, name: str) -> nb.Array:
        """Raises ``ValueError`` for no field of the mode."""
        make = getattr(self, f"make_{name}", None)
        if not self.has_field(name):
            raise wrong(ValueError, "dsts", f"{name!r} is no field of {self.options.mode}")
        if make is not None:
            return self.value(f"{name} {self.draft}", make)
        ratio, _, rest = name.removeprefix("c").partition("_")
        make = getattr(self, f"make_cq_{rest}", None)
        is_known = name.startswith("c") and ratio in ("1", "2", "4", "128")
        if not is_known or make is None or not self.has(rest, int(ratio)):
            raise wrong(ValueError, "dsts", f"{name!r} is no field of {self.options.mode}")
        return self.value(f"{name} {self.draft}", lambda: make(int(ratio)))

    def has(self, field: str, ratio: int) -> bool:
        """Whether the mode and the ratio have a field of a ratio."""
        if field in _v4_index_keys.FIELDS:
            return self.options.mode == "extend" and ratio in _v4_index_keys.RATIOS
        return self.has_plan(field, ratio)

    def condition(self, name: str) -> nb.Array | None:
        """Which elements of a field there are, if only the device knows."""
        if not name.endswith("_index_k_slots"):
            return None
        return self.is_index_key(int(name[1]))

    def rows(self, element: Callable[[nb.Element], nb.Element], dtype: str = "int32") -> nb.Array:
        return self.s.map(self.num_rows, element, dtype=dtype)

    def make_seq_lens_casual(self) -> nb.Array:
        return self.rows(self.length)

    def make_positions_casual(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1)

    def floor(self, r: nb.Element) -> Any:
        if self.options.windows.tail:
            return self.tail_floor(r)
        if not self.options.floors:
            return 0
        return nb.maximum(self.vector("floors", None, "int32")[r].otherwise(0), 0)

    def make_swa_topk_lengths(self) -> nb.Array:
        if self.options.mode == "draft_block":
            return self.block_lengths()

        def length(r: nb.Element) -> nb.Element:
            inside = nb.maximum(self.length(r) - self.floor(r), 0)
            return nb.minimum(inside, self.options.window)

        return self.rows(length)

    def make_swa_page_indices(self) -> nb.Array:
        """The newest first; of a block, the oldest."""
        if self.options.mode == "draft_block":
            return self.block_indices()
        window = self.options.window

        def slot(r: nb.Element, k: nb.Element) -> nb.Element:
            position = self.length(r) - 1 - k
            token = self.tokens[self.pool_of(r), position].otherwise(-1)
            swa = self.full_to_swa[token].otherwise(-1)
            return nb.where((k < window) & (position >= self.floor(r)), swa, -1)

        return self.s.map((self.num_rows, round_up(window)), slot, dtype="int32")

    @property
    def columns(self) -> nb.Size:
        return nb.ceildiv(self.size("max_len"), self.options.page_size)

    def make_page_table(self) -> nb.Array:
        size = self.options.page_size

        def page(r: nb.Element, p: nb.Element) -> nb.Element:
            return self.tokens[self.pool_of(r), p * size].otherwise(0) // size

        return self.s.map((self.num_rows, self.columns), page, dtype="int32")

    def locations(
        self, element: Callable[[nb.Element, nb.Element], nb.Element], dtype: str
    ) -> nb.Array:
        """``element(row, location)`` of each location; those of a draft step are one of each
        request's."""
        if self.options.windows.tail:
            return self.rows(lambda r: element(r, self.tail_location(r)), dtype)
        steps, draft, locs = self.options.steps, self.draft, self.out_cache_loc
        if steps == 1:
            return self.s.map(
                self.size("num_locs"), lambda r: element(r, locs[r]), dtype=dtype
            )

        def of_draft(r: nb.Element) -> nb.Element:
            return element(r, locs[r * steps + draft].otherwise(0))

        return self.s.map(self.size("num_locs") // steps, of_draft, dtype=dtype)

    def make_swa_out_cache_loc(self) -> nb.Array:
        swa = self.full_to_swa
        return self.locations(lambda r, location: swa[location].otherwise(0), "int32")

    def make_req_indices(self) -> nb.Array:
        return self.rows(self.pool_of, "int64")

    def make_pos_i64(self) -> nb.Array:
        return self.rows(lambda r: self.length(r) - 1, "int64")


INPUTS = (
    "seq_lens", "req_pool_indices", "req_to_token", "full_to_swa", "out_cache_loc",
    "extend_seq_lens", "floors", "whole", "valid_from",
)  # fmt: skip
#: Fields of locations.
LOCATIONS = ("swa_out_cache_loc", *(f"c{ratio}_out_loc" for ratio in (1, 2, 4, 128)))
SIZES = (
    "bs", "rows", "num_tokens", "max_len", "num_locs", "c1_num_slots", "c2_num_slots",
    "num_offsets", "window_groups", "zero_row",
)  # fmt: skip


def write(
    options: Options,
    fields: tuple[tuple[str, ...], ...],
    dtypes: dict[str, str],
    optional: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """The text of a step with these fields in each destination, any of which may be missing
    if they are `optional`, and its inputs."""
    step = Step(options, dtypes)
    ports: dict[tuple[str, int], list[str]] = {}
    for number, names in enumerate(fields):
        for name in names:
            # All else is the same in each draft step.
            draft = number if options.steps > 1 and name in LOCATIONS else 0
            ports.setdefault((name, draft), []).append(f"b{number}_{name}")
    for (name, step.draft), destinations in ports.items():
        value = step.field(name)
        step.s.output(destinations, value, optional=optional, when=step.condition(name))
    return step.s.text, tuple(name for name in INPUTS if name in step.inputs)


class _Replay:
    """A step of these fields and constants: which arrays it takes, and what runs it."""

    def __init__(self, options: Options, fields: tuple[tuple[str, ...], ...]) -> None:
        self.options, self.fields = options, fields
        # Which ports there are depends on no dtype.
        _, self.inputs = write(options, fields, {})
        self.arrays = list(self.inputs)
        for number, names in enumerate(fields):
            self.arrays += [f"b{number}_{name}" for name in names]
        self.call = Caller(self.prepare, tuple(self.arrays), SIZES)

    def prepare(self, target: str, described: Any) -> Any:
        """The step for arrays like these, and the sizes that they say."""
        dtypes, sizes = {}, {}
        for name, (code, bits, shape) in zip(self.arrays, described):
            dtypes[name] = dtype_name(code, bits)
            if name in ("seq_lens", "out_cache_loc"):
                check_rank(name, shape, 1)
                sizes["bs" if name == "seq_lens" else "num_locs"] = shape[0]
            elif name.endswith("_extend_offsets"):
                check_rank(name, shape, 2)
                sizes["num_offsets"] = min(sizes.get("num_offsets", shape[1]), shape[1])
            elif name.endswith("_index_k_slots"):
                check_rank(name, shape, 1)
                size = f"{name.split('_')[1]}_num_slots"
                sizes[size] = min(sizes.get(size, shape[0]), shape[0])
        text, _ = write(self.options, self.fields, dtypes)
        return get_step(f"v4_{self.options.mode}", text, target), sizes


_replay = cache(_Replay)


def replay_v4(
    dsts: Any,
    mode: str = "decode",
    *,
    seq_lens: Any,
    req_pool_indices: Any = None,
    req_to_token: Any = None,
    full_to_swa: Any = None,
    out_cache_loc: Any = None,
    extend_seq_lens: Any = None,
    next_n: int = 1,
    rows: int | None = None,
    num_tokens: int | None = None,
    max_len: int | None = None,
    topk: int = 512,
    page_size: int = 256,
    window: int = 128,
    index_page_size: int = 64,
    floors: Any = None,
    tail: bool = False,
    whole: Any = None,
    window_groups: int | None = None,
    window_ring: int = 256,
    zero_row: int = 0,
    valid_from: Any = None,
    block_ring: int | None = None,
    rings: tuple[int, int] = (8, 128),
    swa_page_size: int = 128,
    request_ring: bool = False,
    plans_in_place: bool = False,
    online_offset: int | None = None,
    steps: int = 1,
    bs: int | None = None,
    stream: Any = None,
) -> None:
    """The metadata of a DeepSeek V4 or V4.1 forward step, computed once and written to every
    destination, in one launch.

    `dsts`: a list of dicts, field name -> array, any subset of fields in each. With `bs`
    requests (left out: as many as `seq_lens` has), S = `seq_lens`, and n rows, row r belongs
    to request b, has the number i in it and the length L, 0 or more:

    ==============  ===========================  ==============================
    mode            n                            L
    ==============  ===========================  ==============================
    decode          bs                           S[b]
    target_verify   bs * next_n                  S[b] + 1 + i
    draft_extend    bs * next_n                  S[b] - next_n + 1 + i
    draft_block     bs * next_n                  S[b] + 1 + i
    extend          `rows`                       S[b] - E[b] + 1 + i
    ==============  ===========================  ==============================

    With `extend_seq_lens` (E, [bs]), which extend needs, a target_verify is ragged as well:
    request b has E[b] rows, one after the other, and rows from their sum, or from
    `num_tokens` on, to `rows` are padding: their length is 1, their request the last one.
    With table = `req_to_token`, P = `req_pool_indices`, W = `window`, and up(x) rounding up
    to 64:

    ========================  =====================  =======================================
    field                     elements               value
    ========================  =====================  =======================================
    seq_lens_casual           [n]                    L
    positions_casual          [n]                    L - 1
    swa_topk_lengths          [n]                    min(L, W), at most L - floors[r]
    swa_page_indices          [n, up(W)]             full_to_swa[table[P, L - 1 - k]]: the
                                                     newest first, -1 past the window
    page_table                [n, columns]           table[P, p * page_size] // page_size
    swa_out_cache_loc         [m]                    full_to_swa[out_cache_loc[r]]
    req_indices, pos_i64      [n] int64              P; L - 1
    cQ_out_loc                [m] int64              out_cache_loc[r] // Q where Q divides L,
                                                     else 0 (Q = 4, 128) or -1 (1, 2)
    cQ_topk_lengths_raw       [n]                    L // Q
    cQ_topk_lengths_clamp1    [n]                    max(L // Q, 1)
    cQ_sparse_topk_lengths    [n]                    min(that, topk)
    cQ_sparse_page_indices    [n, up(topk)]          -1
    cQ_page_indices           [n, up(columns * s)]   for j < L // Q, with s = page_size // Q:
                                                     page_table[r, j // s] * s + j % s,
                                                     then -1
    cQ_all_page_indices       [n, topk]              the same for j < cQ_sparse_topk_lengths
    cQ_all_raw_indices        [n, topk]              j, then -1
    cQ_index_page_table       [n, columns * m]       page_table[r, c // m] * m + c % m, with
                                                     m = s // index_page_size
    cQ_index_k_slots          [sum of S // Q] int64  table[P, i * Q] // Q, i < S // Q, one
                                                     request after the other
    extend_offsets            [2, any]               in an extend: its first row, and its rows,
                                                     of each request, then 0
    cQ_request_starts         [n]                    where those of the row's request begin
    cQ_compress_lens          [n]                    L // Q
    ========================  =====================  =======================================

    Q is 1, 2, 4 or 128; index_k_slots and what follows are those of an extend, with Q = 1 or 2, and slots that
    an array has no room for are not written. m is the length of `out_cache_loc`, columns is
    `max_len` divided by `page_size` and rounded up. All are int32 where nothing else is said.
    Lengths, P, `full_to_swa` and `out_cache_loc` are int32 or int64. A read outside of its
    array gives 0 in tables and locations, -1 in windows.

    **Windows.** With `tail`, the rows of an extend are those that are computed again: of
    request b the last t = min(W, E[b]), or all E[b] where ``whole[b]`` (integers, [bs]) is
    not 0. Lengths and fields are as above with t for E; floors are max(S - W - (E if whole),
    0), and locations, n of them, those of these tokens:

    ========================  =====================  =======================================
    field                     elements               value
    ========================  =====================  =======================================
    token_indices             [n] int64              off[b] + E - t + i, off the sums of E
    tail_floors               [n]                    the floors
    tail_out_cache_loc        [n] int64              out_cache_loc[token_indices[r]]
    ========================  =====================  =======================================

    Padding has 0 in these, and the location 0.

    A window may be in a ring of `window_ring` tokens of each request (in decode,
    target_verify and extend). A workspace has W rows for each of `window_groups` groups,
    first those of requests: their history; with H = window_groups * W its rows from H on are
    those of the step. Request b has e rows from q on, the first at position f; lo is
    floors[r] or 0, s = L - 1 - k, and hp = f - W + i:

    ========================  =====================  =======================================
    field                     elements               value
    ========================  =====================  =======================================
    window_write_loc          [n]                    H + r
    window_indices            [n, up(W)]             k < W and s >= lo: b * W + s - f + W
                                                     where s < f, H + q + s - f else; then -1
    window_lengths            [n]                    how many those are
    window_req, window_pos    [n] int64              P; L - 1
    window_commit_mask        [n] int8               q + e - 1 - r < window_ring
    history_req, history_pos  [H] int64              of row b * W + i: P; hp
    history_src               [H] int64              b * W + i
    history_valid             [H] int8               e > 0 and hp >= lo of the last row
    history_loc               [H] int64              P * window_ring + hp % window_ring where
                                                     valid, else `zero_row`
    ========================  =====================  =======================================

    Padding has indices of -1 and else 0; groups of no rows have P = 0 and f = 0.

    In a draft_block all rows of a request see the same: from start = max(S - W, 0), with
    `valid_from` (by pool index) at least that, up to S, and all of the block.
    swa_topk_lengths are S - start + next_n, swa_page_indices ([n, up(W + next_n)]) the slots
    of start, start + 1 and so on: full_to_swa[table[P, start + k]] up to S, then
    full_to_swa[out_cache_loc[b * next_n + j]]; with `block_ring` P * block_ring + (start + k)
    % block_ring. It has the fields of the first table's start, up to swa_out_cache_loc.

    **Draft steps**: with `steps`, ``dsts[s]`` is that of draft step s, whose locations are
    ``out_cache_loc[b * steps + s]``; m is the length of that divided by `steps`.

    **Plans** of the compressors, Q = 4 and 128, are int32 words. A state of position p is in
    slot(p) = P * R + p % R, with R = `rings`[0] for Q = 4 and `rings`[1] for 128; for Q = 4
    without `request_ring`, beside the windows' pages, in s // Z * R + s % R, with s =
    full_to_swa[table[P, p]] and Z = `swa_page_size`. Token k, a row of the step, has the
    position p = L - 1 and the number i in its request, whose last token is at e - 1:

    ===========  ============  ==========================================================
    field        modes         rows
    ===========  ============  ==========================================================
    cQ_plan_d    decode        [bs, 4]: S, slot(S - 1), before(S - 1), slot(S - 1) // Q
    cQ_plan_c    verification, [n, 4], a row for each k with (p + 1) % Q = 0: p + 1, then
                 extend        k in the low and u in the high 16 bits, with u = max(w - 1 -
                               i, 0), w = 8 or 128; before(p), slot(p) // Q, and -1, b
                               instead where u is 0. Unused: -1, 0, -1, -1
    cQ_plan_w    the same      [n, 2], a row k, slot(p) for each k with p >= min(e // Q * Q
                               - (4 if Q is 4), e - (R - w + 2 if R > w)), and without
                               ring for each of the last 4 of a page. Unused: -1, -1
    ===========  ============  ==========================================================

    before(p) is slot(max(p - Q, 0)) // Q. Rows are in the order of k, with unused ones after
    them; with `plans_in_place` row k is that of token k, or unused. S below 1 counts as 1 in
    plan_d, tokens before position 0 have no rows, slots that cannot be read are s = 0 and
    P = 0. With `online_offset`, o, those of Q = 128 are [.., 4] and: plan_d S, P + o, P + o,
    -1; plan_c as to which tokens, and plan_w those that are the last of their request and not
    in plan_c: p + 1, k and the new tokens of the group (u), P + o, P.

    Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
    ``CompileError`` if the step can neither be compiled nor found.
    """
    check_mode(mode, MODES)
    next_n = constant("next_n", next_n, 1)
    if next_n != 1 and (mode in ("decode", "extend") or extend_seq_lens is not None):
        raise wrong(ValueError, "next_n", f"expected 1 in this mode but got {next_n}")
    if mode not in ("target_verify", "extend") and extend_seq_lens is not None:
        raise wrong(ValueError, "extend_seq_lens", f"{mode} takes none")
    ragged = extend_seq_lens is not None
    if mode == "extend" and not ragged:
        raise wrong(ValueError, "extend_seq_lens", "extend needs them")
    if tail and floors is not None:
        raise wrong(ValueError, "floors", "a tail has its own")
    if ragged and rows is None:
        raise wrong(TypeError, "rows", "missing, ragged rows need it")
    options = Options(
        mode, next_n, ragged, floors is not None,
        constant("topk", topk, 1), constant("page_size", page_size, 1),
        constant("window", window, 1), constant("index_page_size", index_page_size, 1),
        plan_options(rings, swa_page_size, request_ring, plans_in_place, online_offset),
        constant("steps", steps, 1),
        window_options(mode, tail, whole, window_ring, valid_from, block_ring),
    )  # fmt: skip
    if steps != 1 and (mode != "decode" or len(dsts) != steps):
        text = f"expected 1, or in decode that of destinations, {len(dsts)}, but got {steps}"
        raise wrong(ValueError, "steps", text)
    known = _replay(options, tuple(map(tuple, dsts)))
    given = dict(
        zip(
            INPUTS,
            (seq_lens, req_pool_indices, req_to_token, full_to_swa, out_cache_loc,
             extend_seq_lens, floors, whole, valid_from),
        )
    )  # fmt: skip
    arrays = []
    for name in known.inputs:
        if given[name] is None:
            raise wrong(TypeError, name, "missing, a field needs it")
        arrays.append(given[name])
    for destination in dsts:
        arrays += destination.values()
    if num_tokens is None:
        num_tokens = rows
    known.call(
        arrays,
        (bs, rows, num_tokens, max_len, *[None] * 4, window_groups, zero_row),
        stream,
    )
