# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forward steps whose index keys are pooled, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import flashmla_cases
import numpy as np
from incremental_cases import covered
from schedule_mix import Mix, Writer

import nsa
from nsa import _schedules
from nsa._incremental import grid
from nsa._kpool_replay import PREFIXES, Options, write

FIELDS = (
    "cache_seqlens", "cu_seqlens_k", "seqlens_expanded", "nsa_cache_seqlens",
    "nsa_cu_seqlens_k", "page_table_1", "real_page_table", "pooled_cache_seqlens",
    "pooled_real_page_table",
)  # fmt: skip
PLAN = (
    "kpool_req", "kpool_write_start", "kpool_tail_logical_start", "kpool_write_loc",
    "kpool_seqlens_per_q", "kpool_pool_seqlens_per_q",
)  # fmt: skip
FILL = -77
TOPK, PAGE = 100, 64


@dataclass(frozen=True)
class Case:
    mode: str
    per_request: int = 1
    ragged: bool = False
    padded: bool = False
    pool: int = 4
    dtype: str = "int64"
    #: Tables are incremental, with at most so many new columns.
    new_columns: int | None = None
    schedules: bool = False
    #: Columns past a request's length may keep what they hold.
    live_only: bool = False

    def fields(self) -> tuple[str, ...]:
        fields = FIELDS if self.ragged else FIELDS + PLAN
        return fields if self.mode == "draft_extend" else (*fields, "paged_mqa_ctx_lens")

    def text(self, rows: int = 9) -> str:
        options = Options(self.mode, self.per_request, self.ragged, self.ragged or self.padded,
                          TOPK, PAGE, self.pool,
                          None if self.new_columns is None else grid(self.new_columns),
                          self.live_only)  # fmt: skip
        vectors = ("seq_lens", "extend_seq_lens", "req_pool_indices")
        # Which lengths there are says nothing to a text.
        given, _ = schedules(self, np.zeros(9, int), np.zeros(3, int), Writer())
        found, _ = _schedules.parse(given, 2, lambda: rows, PREFIXES)
        dtypes = dict.fromkeys(vectors, self.dtype)
        return write((self.fields(),) * 2, options, dtypes, found).s.text


CASES = [
    Case("decode"),
    Case("decode", padded=True, dtype="int32", pool=2),
    Case("target_verify", 6),
    Case("target_verify", 3, padded=True, pool=2),
    Case("draft_extend", 5, dtype="int32"),
    Case("draft_extend", ragged=True),
    Case("decode", new_columns=5, schedules=True),
    Case("target_verify", 3, padded=True, pool=2, new_columns=70, schedules=True),
    Case("target_verify", 2, schedules=True, dtype="int32"),
    Case("draft_extend", 4, new_columns=2000, schedules=True),
    Case("draft_extend", ragged=True, new_columns=130, schedules=True),
    Case("decode", live_only=True),
    Case("decode", padded=True, pool=2, live_only=True),
    Case("target_verify", 3, dtype="int32", live_only=True),
    Case("target_verify", 2, padded=True, schedules=True, live_only=True),
    Case("draft_extend", 4, live_only=True),
    Case("draft_extend", ragged=True, live_only=True),
]
#: Page tables -> pages of tokens in a column.
TABLES = {"page_table_1": lambda case: 1, "real_page_table": lambda case: PAGE,
          "pooled_real_page_table": lambda case: PAGE * case.pool}  # fmt: skip


def schedules(case: Case, rows: np.ndarray, requests: np.ndarray, w: Writer) -> Any:
    """The argument of that name, and the writer. `rows`: lengths with padding; `requests`:
    with the tokens of the step."""
    if not case.schedules:
        return None, w
    p = case.pool
    pools = np.maximum(rows, 0) // p
    attended = np.array([min(s // p * p, TOPK) + s % p for s in rows.tolist()])
    first = {
        "pooled_paged_mqa": w.paged_mqa(np.maximum(pools, 1).reshape(-1, 1), "sm90", 11),
        "pooled_topk_plan": w.topk_plan(pools, 2, "sm90"),
        "flashmla": w.flashmla(flashmla_cases.Options(sparse=True), attended, 7),
    }
    second = {
        "topk_plan": w.topk_plan(rows, 3, "sm100", static=40_000),
        "flashmla": w.flashmla(flashmla_cases.Options(), requests, 3),
    }
    if case.mode == "target_verify":
        lens = np.repeat(requests[:, None], case.per_request, axis=1)
        n = case.per_request
        second["paged_mqa"] = w.paged_mqa(lens, "sm100", 5, next_n=n)
    else:
        second["paged_mqa"] = w.paged_mqa(rows.reshape(-1, 1), "jit", 5)
    return [first, second], w


def run(case: Case, seed: int, small: bool = False, gpu: Any = None) -> None:
    """Compares every field in two destinations; hostile where `seed` is odd, with idle
    requests at 2 and 4."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(seed)
    p, N = case.pool, case.per_request
    bs = int(rng.choice([1, 3] if small else [0, 1, 2, 30]))
    lens = np.where(rng.random(bs) < 0.5, rng.choice([0, 1, 3, 4, 5, 99, 100, 101, 255, 256], bs),
                    rng.integers(0, 400, bs))  # fmt: skip
    pool = rng.integers(0, 5, bs)
    table = rng.integers(0, 50000, (5, 420)).astype(np.int32)
    extends = rng.integers(0, 6, bs)
    if seed % 2:
        # The reference of a schedule lists its items.
        huge = 300_000 if case.schedules else 2**31 - 20
        lens[rng.random(bs) < 0.2] = rng.choice([-5, -1, huge, 4000])
        pool[rng.random(bs) < 0.2] = rng.choice([-1, 5, 2**31 - 1])
        extends[rng.random(bs) < 0.2] = rng.choice([-5, 2**31 - 1])
        table[rng.random(table.shape) < 0.1] = -7
    first = {2: bs // 2, 4: 0}.get(seed, bs)
    lens[first:], pool[first:], extends[first:] = 1, 0, 0
    max_len = int(rng.choice([0, 1, 64, 65, 420, 500]))
    bound = int(rng.choice([5, 60])) if case.ragged else bs * N + int(rng.choice([0, 4]))
    bound = bound if case.ragged or case.padded else bs * N

    def token(b: int, c: int) -> int:
        inside = 0 <= pool[b] < len(table) and 0 <= c < table.shape[1]
        return int(table[pool[b], c]) if inside else 0

    rows: list[tuple[int, int, int]] = []
    for b in range(bs):
        extend = min(max(int(extends[b]), 0), bound) if case.ragged else N
        for i in range(extend):
            s = int(lens[b])
            s += {"decode": 0, "target_verify": 1 + i}.get(case.mode, 1 - extend + i)
            rows.append((b, i, max(s, 0) if case.mode == "draft_extend" else s))
    rows = rows[:bound]
    after = [int(x) + (N if case.mode == "target_verify" else 0) for x in lens]
    starts = [int(x) - {"decode": 1, "target_verify": 0}.get(case.mode, N) for x in lens]
    pages = range(0, max_len, PAGE)
    clipped = [min(s // p * p, TOPK) + s % p for _, _, s in rows] + [0] * (bound - len(rows))
    locations = []
    for b in range(bs):
        locations.append([])
        for m in range(-(-N // p)):
            group = max(starts[b], 0) // p + m
            column = max(min(group // 64 * p, len(pages) - 1), 0)
            page = token(b, column * PAGE) // PAGE
            locations[-1].append(page // p * 64 + group % 64)
    wanted: dict[str, Any] = {
        "cache_seqlens": after,
        "cu_seqlens_k": [sum(after[:b]) for b in range(bs + 1)],
        "paged_mqa_ctx_lens": [[x] * N for x in after],
        "pooled_cache_seqlens": [max(x, 0) // p for x in after],
        "seqlens_expanded": [s for _, _, s in rows],
        "nsa_cache_seqlens": clipped,
        "nsa_cu_seqlens_k": [sum(clipped[:r]) for r in range(bound + 1)],
        "page_table_1": [[token(b, c) for c in range(max_len)] for b, _, _ in rows],
        "real_page_table": [[token(b, c) // PAGE for c in pages] for b, _, _ in rows],
        "pooled_real_page_table": [
            [token(b, c) // PAGE // p for c in pages[::p]] for b, _, _ in rows
        ],
        "kpool_req": pool.tolist(),
        "kpool_write_start": starts,
        "kpool_tail_logical_start": [max(w, 0) // p * p for w in starts],
        "kpool_write_loc": locations,
        "kpool_seqlens_per_q": [starts[b] + 1 + i for b, i, _ in rows],
        "kpool_pool_seqlens_per_q": [max(starts[b] + 1 + i, 0) // p for b, i, _ in rows],
    }
    widths = {"paged_mqa_ctx_lens": N, "page_table_1": max_len, "real_page_table": len(pages),
              "pooled_real_page_table": len(pages[::p]), "kpool_write_loc": -(-N // p)}  # fmt: skip
    of_requests = ("cache_seqlens", "cu_seqlens_k", "paged_mqa_ctx_lens", "pooled_cache_seqlens",
                   "kpool_req", "kpool_write_start", "kpool_tail_logical_start",
                   "kpool_write_loc", "nsa_cu_seqlens_k")  # fmt: skip
    images, dsts = [], []
    for backend in range(2):
        of_backend = {}
        for name in case.fields():
            dtype = np.int64 if name in ("kpool_req", "kpool_write_loc") else np.int32
            value = np.array(wanted[name], np.int64)
            if name in widths:
                value = value.reshape(-1, widths[name]) if widths[name] else np.zeros((0, 0), int)
            if name not in of_requests:
                padding = [(0, bound - len(value)), (0, 0)][: value.ndim]
                value = np.pad(value, padding)
            image = np.full([size + backend for size in value.shape], FILL, dtype)
            image[tuple(map(slice, value.shape))] = value.astype(dtype)
            of_backend[name] = image
        images.append(of_backend)
        dsts.append({name: place(np.full_like(x, FILL)) for name, x in of_backend.items()})
    every = np.array([s for _, _, s in rows] + [0] * (bound - len(rows)), np.int64)
    wanted_schedules, writer = schedules(case, every, np.array(after, np.int64), Writer(place))
    given: dict[str, Any] = {"schedules": wanted_schedules}
    if case.new_columns is not None:
        given["new_columns"] = case.new_columns
        since = np.array([s - int(rng.integers(-1, 9)) for s in after], np.int64)
        since[rng.random(bs) < 0.3] = rng.choice([0, -5, 2**31 - 1])
        given["since"] = place(np.clip(since, -(2**31), 2**31 - 1).astype(np.int32))
        leave_alone(case, images, rows, after, since, max_len)
    given["live_only"] = case.live_only
    if case.mode == "draft_extend":
        given["extend_seq_lens"] = place(extends.astype(case.dtype)) if case.ragged else N
    if case.ragged or case.padded:
        given["row_bound"] = bound
    nsa.ops.replay_metadata(
        dsts, case.mode, seq_lens=place(lens.astype(case.dtype)),
        req_pool_indices=place(pool.astype(case.dtype)), req_to_token=place(table),
        max_len=max_len, topk=TOPK, page_size=PAGE, index_kpool=p,
        next_n=N if case.mode == "target_verify" else 1, **given,
    )  # fmt: skip
    for of_backend, dst in zip(images, dsts):
        for name, image in of_backend.items():
            found = fetch(dst[name])
            if case.live_only and name in TABLES:
                dead = dead_columns(image.shape, rows, after, TABLES[name](case))
                # The end of a vector is written, too.
                assert np.all((found == image) | (found == FILL) | ~dead), name
                found = np.where(dead, image, found)
            np.testing.assert_array_equal(found, image, err_msg=name)
    Mix([], writer.outputs).check(fetch)


def dead_columns(shape: Any, rows: Any, after: list[int], tokens: int) -> Any:
    """Which elements of a table nobody reads."""
    live = np.full(shape[0], 2**31)  # rows of nobody are written, or are none
    live[: len(rows)] = [after[b] for b, _, _ in rows]
    return np.arange(shape[1]) * tokens >= live[:, None]


def leave_alone(
    case: Case, images: list[dict[str, Any]], rows: Any, after: Any, since: Any, max_len: int
) -> None:
    """Puts back what an incremental launch does not write."""
    for image in images:
        for name, tokens_of in TABLES.items():
            tokens = tokens_of(case)
            columns = -(-max_len // tokens)
            image[name][len(rows) :] = FILL
            for r, (b, _, _) in enumerate(rows):
                first = min(max(int(since[b]), 0), max_len)
                end = min(after[b], max_len, first + (case.new_columns or 0))
                kept = ~covered(first, end, max_len, tokens)
                image[name][r, :columns][kept] = FILL


def texts() -> set[str]:
    """The steps that the GPU test asks for: of tables that are short, fewer new columns, and
    of few rows, no plans, which nobody would read."""
    fewer = [
        replace(case, new_columns=n)
        for case in CASES
        for n in (1, *(2**k + 1 for k in range(3, 11)))
        if case.new_columns is not None and n < case.new_columns
    ]
    return {case.text(rows) for case in CASES + fewer for rows in (0, 2, 3, 9)}
