# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Plans of V4's compressors, token by token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from v4_cases import Case, draw, with_idle
from v4_reference import Batch

import nsa
from nsa import _v4
from nsa._v4_plans import PlanOptions

FILL = -77


@dataclass(frozen=True)
class PlanCase:
    step: Case
    plans: PlanOptions = PlanOptions()

    def fields(self) -> tuple[str, ...]:
        kinds = ("plan_d",) if self.step.mode == "decode" else ("plan_c", "plan_w")
        return tuple(f"c{q}_{kind}" for q in (4, 128) for kind in kinds)

    def text(self) -> str:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "extend_seq_lens")
        options = replace(self.step.options(), plans=self.plans)
        dtypes = dict.fromkeys(vectors, self.step.index)
        return _v4.write(options, (self.fields(),), dtypes)[0]


SPECULATIVE = (16, 256)
CASES = [
    PlanCase(Case("decode")),
    PlanCase(Case("decode", index="int32"), PlanOptions(SPECULATIVE, 256, True)),
    PlanCase(Case("target_verify", 4), PlanOptions(SPECULATIVE)),
    PlanCase(Case("target_verify", 4, index="int32"), PlanOptions(SPECULATIVE, 128, True)),
    PlanCase(Case("target_verify", 3), PlanOptions(SPECULATIVE, 256, in_place=True)),
    PlanCase(Case("target_verify", ragged=True), PlanOptions(SPECULATIVE, 256)),
    PlanCase(Case("extend", ragged=True)),
    PlanCase(Case("extend", ragged=True, index="int32"), PlanOptions(request_ring=True)),
    PlanCase(Case("extend", ragged=True), PlanOptions(SPECULATIVE, 256, in_place=True)),
    PlanCase(Case("decode"), PlanOptions(online=7)),
    PlanCase(Case("target_verify", 4), PlanOptions(online=0)),
    PlanCase(Case("extend", ragged=True), PlanOptions(online=7)),
    PlanCase(Case("extend", ragged=True), PlanOptions(online=7, in_place=True)),
]


def draw_batch(case: PlanCase, seed: int, small: bool = False) -> Batch:
    """As of ``v4_cases.draw``; extends are long enough for several groups."""
    batch = draw(case.step, seed, small)
    rng = np.random.default_rng(seed)
    if case.step.ragged and seed % 2 == 0 and len(batch.lens):
        most = 40 if small else 400
        batch.extends = rng.integers(0, most, len(batch.lens)).astype(case.step.index)
        if case.step.mode == "extend":
            batch.lens = np.maximum(batch.lens, batch.extends)
        total = int(batch.extends.sum())
        batch.rows = total + int(rng.choice([0, 9, -total // 3]))
        batch.num_tokens = batch.rows - int(rng.choice([0, min(batch.rows, 5)]))
    if seed % 2:
        swa = batch.full_to_swa
        swa[rng.random(len(swa)) < 0.1] = -4
    return with_idle(batch, seed)


def reference(case: PlanCase, batch: Batch, field: str) -> np.ndarray:
    ratio, _, kind = field[1:].partition("_")
    q, plans = int(ratio), case.plans
    ring = plans.rings[q == 128]
    win = {4: 8, 128: 128}[q]
    padw = ring - win + 2 if ring > win else 0
    size = plans.swa_page_size
    of_pages = q == 4 and not plans.request_ring

    def slot(b: int, position: int) -> int:
        rid = batch.pool_of(b)
        if not of_pages:
            return (rid if 0 <= rid < len(batch.table) else 0) * ring + position % ring
        s = max(batch.swa(batch.token(b, position, -1), 0), 0)
        return s // size * ring + s % ring

    lens = [int(x) for x in batch.lens]
    online = plans.online if q == 128 else None
    if kind == "plan_d" and online is not None:
        states = [batch.pool_of(b) + online for b in range(len(lens))]
        rows = [[max(length, 1), state, state, -1] for length, state in zip(lens, states)]
        return wrap(rows, 4)
    if kind == "plan_d":
        rows = []
        for b, length in enumerate(lens):
            last = max(length, 1) - 1
            pages = slot(b, max(last - q, 0)) // q, slot(b, last) // q
            rows.append([last + 1, slot(b, last), *pages])
        return wrap(rows, 4)

    counts = [batch.next_n] * len(lens)
    if batch.extends is not None:
        counts = [min(max(int(x), 0), batch.rows) for x in batch.extends]
    n = batch.rows if batch.extends is not None else sum(counts)
    tokens = min(n, batch.num_tokens) if batch.extends is not None else n
    rows, places = [], []
    k = 0
    for b, (length, count) in enumerate(zip(lens, counts)):
        start = length - count if case.step.mode == "extend" else length
        end = start + count
        for j in range(count):
            pos = start + j
            if pos < 0 or k + j >= tokens:
                continue
            ends = (pos + 1) % q == 0
            if online is not None:
                if ends if kind == "plan_c" else not ends and j == count - 1:
                    new = pos + 1 - max(start, pos - pos % q)
                    pool = batch.pool_of(b)
                    row = [pos + 1, (k + j) % 65536 + new * 65536, pool + online, pool]
                    rows.append(row)
                    places.append(k + j)
                continue
            if kind == "plan_c" and ends:
                buf = win - min(j + 1, win)
                pages = [slot(b, max(pos - q, 0)) // q, slot(b, pos) // q] if buf else [-1, b]
                rows.append([pos + 1, (k + j) % 65536 + buf * 65536, *pages])
                places.append(k + j)
            is_kept = pos >= min(end // q * q - (4 if q == 4 else 0), end - padw)
            if kind == "plan_w" and (is_kept or (of_pages and pos % size >= size - 4)):
                rows.append([k + j, slot(b, pos)])
                places.append(k + j)
        k += count
    unused = [-1, 0, -1, -1] if kind == "plan_c" or online is not None else [-1, -1]
    made = [unused] * n
    for row, place in zip(rows, places if plans.in_place else range(n)):
        made[place] = row
    return wrap(made, len(unused))


def wrap(rows: Any, words: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, words).astype(np.int32)


def run(case: PlanCase, seed: int, small: bool = False, gpu: Any = None) -> int:
    """Compares all plans; returns how many rows were used."""
    batch = draw_batch(case, seed, small)
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    wanted = {field: reference(case, batch, field) for field in case.fields()}
    dst = {
        field: place(np.full((len(rows) + 1, rows.shape[1]), FILL, np.int32))
        for field, rows in wanted.items()
    }
    given: dict[str, Any] = {}
    if batch.extends is not None:
        given = {"extend_seq_lens": place(batch.extends), "rows": batch.rows,
                 "num_tokens": batch.num_tokens}  # fmt: skip
    nsa.ops.replay_v4(
        [dst], batch.mode, seq_lens=place(batch.lens), req_pool_indices=place(batch.pool),
        req_to_token=place(batch.table), full_to_swa=place(batch.full_to_swa),
        next_n=batch.next_n, rings=case.plans.rings, swa_page_size=case.plans.swa_page_size,
        request_ring=case.plans.request_ring, plans_in_place=case.plans.in_place,
        online_offset=case.plans.online, **given,
    )  # fmt: skip
    used = 0
    for field, rows in wanted.items():
        got = fetch(dst[field])
        np.testing.assert_array_equal(got[:-1], rows, err_msg=field)
        np.testing.assert_array_equal(got[-1], FILL)
        used += int(np.any(rows[:, :1] >= 0)) and len(rows)
    return used


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {case.text() for case in CASES}
