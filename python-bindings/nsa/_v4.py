# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of a DeepSeek V4 or V4.1 forward step, as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from . import _arguments, _cache, _schedules, _v4_pages, _v4_schedules, _v4_shared
from ._arguments import check_rank, dtype_name
from ._cache import get_step
from ._errors import INT32_MAX, check_mode, constant, optional_constant, wrong
from ._nsa_runtime import Caller
from ._ranks import RANK
from ._v4_plans import plan_options
from ._v4_ranks import RankStep
from ._v4_rows import Options
from ._v4_trtllm import TRTLLM
from .steps import port_names

MODES = ("decode", "target_verify", "draft_extend", "extend", "draft_block")

INPUTS = (
    "seq_lens", "req_pool_indices", "req_to_token", "full_to_swa", "out_cache_loc",
    "extend_seq_lens", "floors", "whole", "valid_from", "page_table",
)  # fmt: skip
#: Fields of locations.
LOCATIONS = ("swa_out_cache_loc", *(f"c{ratio}_out_loc" for ratio in (1, 2, 4, 128)))
SIZES = (
    "bs", "rows", "num_tokens", "max_len", "num_locs", "c1_num_slots", "c2_num_slots",
    "num_offsets", "tail_rows", "groups", "zero_row", "topk", "ring_4", "ring_128",
    "swa_page_size", "ranks", "rank", "rank_rows", "rank_tail_rows", *_v4_pages.SIZES,
)  # fmt: skip


def write(
    options: Options,
    fields: tuple[tuple[str, ...], ...],
    dtypes: Mapping[str, str],
    schedules: _schedules.Schedules = (),
    optional: bool = False,
) -> tuple[str, tuple[str, ...]]:
    """The text of a step with these fields, any of which may be missing if they are
    `optional`, and schedules in each destination, and its inputs."""
    step = RankStep(options, dtypes)
    ports: dict[tuple[str, int], list[str]] = {}
    for number, names in enumerate(fields):
        for name in names:
            # All else is the same in each draft step.
            draft = number if options.steps > 1 and name in LOCATIONS else 0
            ports.setdefault((name, draft), []).append(f"b{number}_{name}")
    for (name, step.draft), destinations in ports.items():
        value = step.field(name)
        step.s.output(destinations, value, optional=optional, when=step.condition(name))
    _schedules.write(step.s, partial(_v4_schedules.lengths_of, step), schedules)
    return step.s.text, tuple(name for name in INPUTS if name in step.inputs)


class _Replay:
    """A step of these fields and constants: which arrays it takes, and what runs it."""

    def __init__(
        self,
        options: Options,
        fields: tuple[tuple[str, ...], ...],
        schedules: _schedules.Schedules,
        shared: tuple[str, ...] | None = None,
    ) -> None:
        """`shared`: the fields that the step has for each destination, all optional; `fields`
        are those that are given."""
        self.options, self.schedules, self.optional = options, schedules, shared is not None
        self.fields = fields if shared is None else (shared,) * len(fields)
        # Which ports there are depends on no dtype.
        text, self.inputs = write(options, self.fields, {}, schedules, self.optional)
        #: Sizes that only fields which are not given need.
        self.unneeded: set[str] = set()
        if self.optional:
            exact, _ = write(options, fields, {})
            self.unneeded = set(port_names(text)) & set(SIZES) - set(port_names(exact))
        self.arrays = list(self.inputs)
        for number, names in enumerate(fields):
            self.arrays += [f"b{number}_{name}" for name in names]
        self.arrays += _schedules.ports(schedules)
        self.call = Caller(self.prepare, tuple(self.arrays), SIZES)

    def prepare(self, target: str, described: Any) -> Any:
        """The step for arrays like these, and the sizes that they say."""
        dtypes, sizes = {}, dict.fromkeys(self.unneeded, 0)
        for name, (code, bits, shape) in zip(self.arrays, described):
            dtypes[name] = "int8" if name == "whole" and bits == 8 else dtype_name(code, bits)
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
        text, _ = write(self.options, self.fields, dtypes, self.schedules, self.optional)
        return get_step(f"v4_{self.options.mode}", text, target), sizes


_replay = cache(_Replay)


@cache
def _shared(known: _Replay, fields: tuple[tuple[str, ...], ...]) -> _Replay | None:
    """The step for any fields of the model, in place of that for these."""
    page_size = known.options.page_size
    if known.schedules or known.options.has_pages or page_size & (page_size - 1):
        return None
    every = _v4_shared.all_fields(known.options, fields)
    if every is None:
        return None
    return _replay(_v4_shared.of_any_constants(known.options), fields, (), every)


def _parse_request_window(given: Any, window: int) -> tuple[int | None, int | None, int | None]:
    """The capacity of rings, the groups of a workspace, and the row that is zeros."""
    if given is None:
        return None, None, None
    unknown = set(given) - {"groups", "zero_row", "capacity"}
    missing = {"groups", "zero_row"} - set(given)
    if unknown or missing:
        words = ", ".join(sorted(unknown or missing))
        text = f"unexpected {words}" if unknown else f"missing {words}"
        text += " in dict(groups=, zero_row=, capacity=256)"
        raise wrong(TypeError, "request_window", text)
    return (
        constant("capacity", given.get("capacity", 256), 1),
        constant("groups", given["groups"], 0, INT32_MAX // window),
        constant("zero_row", given["zero_row"], 0),
    )


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
    schedules: Any = None,
    rings: tuple[int, int] = (8, 128),
    swa_page_size: int = 128,
    request_ring: bool = False,
    plans_in_place: bool = False,
    online_offset: int | None = None,
    steps: int = 1,
    request_window: Any = None,
    ring: int | None = None,
    valid_from: Any = None,
    page_table: Any = None,
    tail_rows: int | None = None,
    whole: Any = None,
    ranks: int = 1,
    rank: int = 0,
    rank_tail_rows: int | None = None,
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
    extend          `rows`                       S[b] - E[b] + 1 + i
    draft_block     bs * next_n                  S[b] + 1 + i
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
    cQ_positions              [n]                    (L - 1) // Q * Q
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
    Names and values are those of SGLang 0.5.23's metadata (``deepseek_v4_backend``).

    What is read, each only where a field needs it; int is int32 or int64:

    ==================  ==========================  ===========================================
    argument            shape, dtype                holds
    ==================  ==========================  ===========================================
    `seq_lens`          [bs] int                    lengths, in tokens
    `extend_seq_lens`   [bs] int                    rows of each request
    `req_pool_indices`  [bs] int                    rows of `req_to_token`
    `req_to_token`      [requests, tokens] int32    slots of a request's tokens
    `full_to_swa`       [slots] int                 slots of the cache of windows
    `out_cache_loc`     [m], [m * steps] int        slots that the step's rows are stored in
    `floors`            [n] int32                   first position that a row's window may have
    `page_table`        [n, columns] int32          in place of the field of that name, for
                                                    those that are computed from it
    ==================  ==========================  ===========================================

    A read outside of its array gives 0 in tables and locations, -1 in windows. 1-D arrays may
    have any stride, 2-D arrays any row stride. Sizes are in tokens (`max_len`, `window`,
    `page_size` and that of the cache of windows, `swa_page_size`), compressed tokens (`topk`,
    `index_page_size`) or rows (`rows`, `num_tokens`, `tail_rows`). `stream` as in
    ``Step.__call__``.

    **Draft steps**: with `steps`, ``dsts[s]`` is that of draft step s, whose locations are
    ``out_cache_loc[b * steps + s]``; m is the length of that divided by `steps`.

    **A draft block** (``draft_block``): all rows of a request attend to the c = min(S, W)
    tokens before the block, at most ``S - valid_from[P]`` with `valid_from` ([requests], int32
    or int64), and to all `next_n` of the block. swa_topk_lengths are c + next_n;
    swa_page_indices [n, up(W + next_n)] full_to_swa[table[P, S - c + k]], the oldest first,
    then full_to_swa[out_cache_loc[b * next_n + k - c]]; with `ring` instead P * ring + (S - c +
    k) % ring.

    **Windows that requests keep.** `request_window`: dict(groups=, zero_row=, capacity=256). A
    request keeps its newest rows in a ring of `capacity`; a step's workspace has W rows of
    history for each of `groups` requests, H = groups * W in all, then its own n rows.
    swa_page_indices, swa_topk_lengths and swa_out_cache_loc are then places in the workspace
    (window_indices padded to up(W), window_lengths and window_write_loc), and with the first
    position f[b] and the first row o[b] of a request there are:

    ===========================  ============  ==============================================
    field                        elements      value
    ===========================  ============  ==============================================
    window_write_loc             [n]           H + r
    window_indices               [n, W]        of position s = L - 1 - k, not before the row's
                                               floor: b * W + W + s - f[b] of the history, or
                                               H + o[b] + s - f[b] from f[b] on; else -1
    window_lengths               [n]           how many there are
    window_req, window_pos       [n] int64     P; L - 1
    window_commit_mask           [n] int8      1 for the newest `capacity` rows of a request
    window_history_pos           [H] int64     of row b * W + i: f[b] - W + i
    window_history_req, ..._loc  [H] int64     P; the row's number
    window_history_valid         [H] int8      1 if the position is not before the floor of
                                               the request's last row
    window_history_src           [H] int64     then P * capacity + position % capacity, else
                                               `zero_row`
    ===========================  ============  ==============================================

    Padding has 0, and -1 in window_indices; a group without rows has P = 0 and f[b] = 0. What
    is int8 may be uint8, as a view of a bool array is.

    **Tails** (in extend): ``tail_<field>``, for any field, is that of an extend of only the
    last min(W, E[b]) rows of each request, all of them where `whole` ([bs], int8, int32 or
    int64) is not 0, with floors max(S - W, 0), or max(S - W - E[b], 0). There are `tail_rows`
    of them, padded; tail_token_indices (int64) says which row of the extend each is, and
    tail_floors its floor. Locations are those of these rows.

    **Tables of TensorRT-LLM's attention** have up(n) rows, and W + ... columns, with W rounded up:

    ===============================  ==============================  ====================
    field                            value                           rows from n on
    ===============================  ==============================  ====================
    trtllm_seq_lens_casual           L                               1
    trtllm_swa_page_indices          swa_page_indices                -1
    trtllm_swa_lens                  W; of a block max(W,            W
                                     swa_topk_lengths)
    trtllm_c4_indices                swa_page_indices, then up(topk) -1
                                     columns of -1, of any ratio
                                     with an indexer
    trtllm_c4_lens                   W                               W
    trtllm_c128_indices              swa_page_indices, then          -1
                                     c128_page_indices
    trtllm_c128_lens                 W + c128_topk_lengths_clamp1    W
    trtllm_cQ_sparse_topk_lengths    [n], Q = 1 and 2:               there are none
                                     cQ_sparse_topk_lengths, at most
                                     L // Q
    ===============================  ==============================  ====================

    With any of them, all lengths of a draft_extend are 1 or more. ``pack_sparse_tail`` fills the
    columns of an indexer in each layer.

    **Context parallelism**: of all rows, `rank` has every `ranks`-th one, ``rank + m * ranks``.
    ``rank_<field>`` is what it has of a field with a row for each row, ``[ceil((n - rank) /
    ranks), ...]``; rank_extend_lens ([bs], ragged modes) how many of each request's. Locations
    and plans are those of all rows. Of a tail, ``rank_tail_<field>`` has the rows that are the
    rank's, one request's after the other's, and then padding, up to `rank_tail_rows`, which the
    host knows: the most that any rank has. rank_tail_token_indices are numbers among the rank's
    rows, rank_tail_extend_lens [bs] counts; tail_gather_indices ([tail rows] int64) is where
    each row of the tail is after the ranks' were gathered, one rank's behind the other's.

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

    `schedules`: one dict, or None, for each destination, as in ``replay_metadata``. Keys are
    ``cQ_paged_mqa`` and ``cQ_topk_plan`` of the indexer's lengths (c4_topk_lengths_raw, or
    cQ_topk_lengths_clamp1 of Q = 1 and 2), and ``flashmla`` and ``cQ_flashmla`` of
    swa_topk_lengths, with the extra cache of layers of ratio Q (cQ_sparse_topk_lengths, or
    c128_topk_lengths_clamp1). Rows are all n; a `paged_mqa` with the `next_n` of the step
    takes the rows of a request as its tokens.

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
    if ragged and rows is None:
        raise wrong(TypeError, "rows", "missing, ragged rows need it")
    window = constant("window", window, 1)
    capacity, groups, zero_row = _parse_request_window(request_window, window)
    if mode == "draft_block" and (floors is not None or capacity is not None):
        name = "floors" if floors is not None else "request_window"
        raise wrong(ValueError, name, "a draft block has none")
    options = Options(
        mode, next_n, ragged, floors is not None,
        constant("topk", topk, 1), constant("page_size", page_size, 1),
        window, constant("index_page_size", index_page_size, 1),
        plan_options(rings, swa_page_size, request_ring, plans_in_place, online_offset),
        constant("steps", steps, 1), capacity, optional_constant("ring", ring, 1),
        valid_from is not None, whole is not None,
        # Its kernels fail at a row of length 0.
        mode == "draft_extend" and any(name.startswith(TRTLLM) for names in dsts for name in names),
        page_table is not None,
    )  # fmt: skip
    if steps != 1 and (mode != "decode" or len(dsts) != steps):
        text = f"expected 1, or in decode that of destinations, {len(dsts)}, but got {steps}"
        raise wrong(ValueError, "steps", text)

    def count() -> int:
        if ragged:
            return rows or 0
        return next_n * (_arguments.length("seq_lens", seq_lens)[1] if bs is None else bs)

    ranks = constant("ranks", ranks, 1, INT32_MAX)
    rank = constant("rank", rank, 0, ranks - 1)
    rank_rows = None
    if any(name.startswith(RANK) for names in dsts for name in names):
        rank_rows = max(count() - rank + ranks - 1, 0) // ranks
    found, written = _v4_schedules.parse(schedules, len(dsts), count, options)
    fields = tuple(map(tuple, dsts))
    known = _replay(options, fields, found)
    given = dict(
        zip(
            INPUTS,
            (seq_lens, req_pool_indices, req_to_token, full_to_swa, out_cache_loc,
             extend_seq_lens, floors, whole, valid_from, page_table),
        )
    )  # fmt: skip
    if num_tokens is None:
        num_tokens = rows
    plans = options.plans
    sizes = (
        bs, rows, num_tokens, max_len, *[None] * 4, tail_rows, groups, zero_row, options.topk,
        *(plans.rings or (None, None)), plans.swa_page_size, ranks, rank, rank_rows,
        rank_tail_rows,
    )  # fmt: skip

    no_pages = (None,) * len(_v4_pages.SIZES)

    def run(step: _Replay, *pages: int) -> None:
        arrays = []
        for name in step.inputs:
            if given[name] is None:
                raise wrong(TypeError, name, "missing, a field needs it")
            arrays.append(given[name])
        for destination in dsts:
            arrays += destination.values()
        arrays += written
        step.call(arrays, (*sizes, *(pages or no_pages)), stream)

    if _cache.run_compiled(lambda: run(known)):
        return
    shared = _shared(known, fields)
    if shared is None or any(given[name] is None for name in shared.inputs):
        run(known)
        return
    longest = 0 if max_len is None else constant("max_len", max_len, 0)
    pages = _v4_pages.sizes_of(options.page_size, options.index_page_size, longest)
    _cache.run_or_shared(lambda: known, lambda: run(known), lambda: run(shared, *pages))
