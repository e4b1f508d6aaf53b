# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""V4's windows beside the paged one, row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from v4_cases import Case, draw
from v4_reference import Batch, reference

import nsa
from nsa import _v4
from nsa._v4_windows import RING_FIELDS, TAIL_FIELDS, WindowOptions

FILL = -77
WINDOW, RING, ZERO_ROW, GROUPS = 128, 64, 12345, 40
TAIL_SET = (
    "seq_lens_casual", "swa_topk_lengths", "swa_page_indices", "swa_out_cache_loc", "c2_out_loc",
    *TAIL_FIELDS,
)  # fmt: skip
BLOCK_SET = ("seq_lens_casual", "swa_topk_lengths", "swa_page_indices", "swa_out_cache_loc")


@dataclass(frozen=True)
class WindowCase:
    step: Case
    windows: WindowOptions = WindowOptions(ring=RING)

    def fields(self) -> tuple[str, ...]:
        if self.step.mode == "draft_block":
            return BLOCK_SET
        return TAIL_SET if self.windows.tail else RING_FIELDS

    def text(self) -> str:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "extend_seq_lens",
                   "out_cache_loc")  # fmt: skip
        dtypes = dict.fromkeys(vectors, self.step.index)
        dtypes |= {"whole": "int8", "valid_from": "int32"}
        options = replace(self.step.options(), windows=self.windows)
        return _v4.write(options, (self.fields(),), dtypes)[0]


CASES = [
    WindowCase(Case("decode")),
    WindowCase(Case("decode", index="int32", floors=True)),
    WindowCase(Case("target_verify", 5)),
    WindowCase(Case("target_verify", ragged=True, floors=True)),
    WindowCase(Case("extend", ragged=True, index="int32")),
    WindowCase(Case("extend", ragged=True), WindowOptions(tail=True, ring=RING)),
    WindowCase(Case("extend", ragged=True), WindowOptions(tail=True, has_whole=True, ring=RING)),
    WindowCase(Case("draft_block", 4)),
    WindowCase(Case("draft_block", 3, index="int32"), WindowOptions(has_valid_from=True, ring=RING)),
    WindowCase(
        Case("draft_block", 7), WindowOptions(has_valid_from=True, ring=RING, block_ring=256)
    ),
]


@dataclass
class Given:
    """A batch, and what windows need beside it."""

    batch: Batch
    #: Tokens of the extend that there is a tail of.
    all_extends: np.ndarray
    whole: np.ndarray
    valid_from: np.ndarray


def draw_windows(case: WindowCase, seed: int, small: bool = False) -> Given:
    """Hostile where `seed` is odd."""
    # A block's rows have the lengths of a verification.
    mode = "target_verify" if case.step.mode == "draft_block" else case.step.mode
    batch = draw(replace(case.step, mode=mode), seed, small)
    rng = np.random.default_rng(seed + 100)
    bs = len(batch.lens)
    all_extends = rng.integers(0, 50 if small else 300, bs)
    whole = (rng.random(bs) < 0.3).astype(np.int8)
    if case.windows.tail:
        if seed % 2 == 0:
            batch.lens = np.maximum(batch.lens, all_extends)
        else:
            all_extends[rng.random(bs) < 0.2] = rng.choice([-3, 10**6])
        total = int(np.maximum(all_extends, 0).sum())
        batch.locs = rng.integers(-1, 901, min(total, 9000)).astype(case.step.index)
        tails = np.minimum(np.maximum(all_extends, 0), WINDOW)
        if case.windows.has_whole:
            tails = np.where(whole, np.maximum(all_extends, 0), tails)
        batch.rows = min(int(tails.sum()), 900) + int(rng.choice([0, 5]))
        batch.num_tokens = max(batch.rows - int(rng.choice([0, 3])), 0)
        batch.extends = tails
    elif case.step.ragged and seed % 2 == 0 and bs:
        batch.extends = rng.integers(0, 90, bs).astype(case.step.index)
        batch.rows = int(batch.extends.sum()) + int(rng.choice([0, 5]))
        batch.num_tokens = batch.rows
        if case.step.floors:
            batch.floors = rng.integers(-3, 600, batch.rows).astype(np.int32)
    valid_from = rng.choice([0, 3, 100, 200, 10**6, -4], 6).astype(np.int32)
    return Given(batch, all_extends.astype(case.step.index), whole, valid_from)


def tail_references(case: WindowCase, given: Given) -> dict[str, np.ndarray]:
    batch = given.batch
    lens = [int(np.int64(x).astype(np.int32)) for x in batch.lens]
    everything = [max(int(x), 0) for x in given.all_extends]
    tokens, floors = [], []
    for b, count in enumerate(everything):
        whole = case.windows.has_whole and given.whole[b]
        tail = min(int(batch.extends[b]), batch.rows)
        floor = max(lens[b] - WINDOW - (count if whole else 0), 0)
        tokens += [sum(everything[:b]) + count - tail + i for i in range(tail)]
        floors += [floor] * tail
    used = min(batch.rows, batch.num_tokens, len(tokens))
    padding = [0] * (batch.rows - used)
    tokens, floors = tokens[:used] + [-1] * len(padding), floors[:used] + padding
    locs = [int(batch.locs[t]) if 0 <= t < len(batch.locs) else 0 for t in tokens]
    of_tail = replace(batch, floors=np.array(floors, np.int64), locs=np.array(locs, np.int64))
    wanted = {
        name: reference(of_tail, name) for name in TAIL_SET if name not in TAIL_FIELDS
    }
    wanted["token_indices"] = np.maximum(np.array(tokens, np.int64), 0)
    wanted["tail_floors"] = np.array(floors, np.int64).astype(np.int32)
    wanted["tail_out_cache_loc"] = np.array(locs, np.int64)
    return wanted


def ring_references(given: Given) -> dict[str, np.ndarray]:
    batch = given.batch
    lens = [int(np.int64(x).astype(np.int32)) for x in batch.lens]
    counts = [batch.next_n] * len(lens)
    if batch.extends is not None:
        counts = [min(max(int(x), 0), batch.rows) for x in batch.extends]
    starts = [
        length - (0 if batch.mode == "target_verify" else count)
        for length, count in zip(lens, counts)
    ]
    first = [sum(counts[:b]) for b in range(len(lens))]
    rows = batch.list_rows()
    owned = sum(counts)
    if batch.extends is not None:
        owned = min(owned, batch.rows, batch.num_tokens)
    H = GROUPS * WINDOW

    def oldest(r: int) -> int:
        inside = batch.floors is not None and r < len(batch.floors)
        return batch.floor(r) if inside else 0

    indices = np.full((len(rows), -(-WINDOW // 64) * 64), -1, np.int64)
    made: dict[str, list[int]] = {name: [] for name in RING_FIELDS}
    for r, (b, L) in enumerate(rows):
        made["window_write_loc"].append(H + r)
        is_row = r < owned
        count = 0
        for k in range(WINDOW if is_row else 0):
            s = L - 1 - k
            if s >= oldest(r):
                count += 1
                own = H + first[b] + s - starts[b]
                indices[r, k] = b * WINDOW + s - (starts[b] - WINDOW) if s < starts[b] else own
        made["window_lengths"].append(count)
        made["window_req"].append(batch.pool_of(b) if is_row else 0)
        made["window_pos"].append(L - 1 if is_row else 0)
        made["window_commit_mask"].append(
            int(is_row and first[b] + counts[b] - 1 - r < RING)
        )
    for h in range(H):
        b, i = divmod(h, WINDOW)
        has_rows = b < len(lens) and counts[b] > 0
        position = (starts[b] if has_rows else 0) - WINDOW + i
        pool = batch.pool_of(b) if has_rows else 0
        valid = has_rows and position >= oldest(first[b] + counts[b] - 1)
        made["history_req"].append(pool)
        made["history_pos"].append(position)
        made["history_src"].append(h)
        made["history_valid"].append(int(valid))
        made["history_loc"].append(pool * RING + position % RING if valid else ZERO_ROW)
    wanted = {}
    for name, value in made.items():
        dtype: Any = np.int64
        if name in ("window_commit_mask", "history_valid"):
            dtype = np.int8
        elif name in ("window_write_loc", "window_lengths"):
            dtype = np.int32
        wanted[name] = np.array(value, np.int64).astype(dtype)
    return wanted | {"window_indices": indices.astype(np.int32)}


def block_references(case: WindowCase, given: Given) -> dict[str, np.ndarray]:
    batch, block = given.batch, case.step.next_n
    width = -(-(WINDOW + block) // 64) * 64
    lengths, lists = [], []
    for b, length in enumerate(int(np.int64(x).astype(np.int32)) for x in batch.lens):
        S, pool = max(length, 0), batch.pool_of(b)
        context = min(S, WINDOW)
        if case.windows.has_valid_from:
            inside = 0 <= pool < len(given.valid_from)
            context = min(context, max(S - (int(given.valid_from[pool]) if inside else 0), 0))
        slots = []
        for k in range(context + block):
            position = S - context + k
            if case.windows.block_ring:
                slots.append(pool * case.windows.block_ring + position % case.windows.block_ring)
            elif k < context:
                slots.append(batch.swa(batch.token(b, position, -1), -1))
            else:
                own = b * block + k - context
                loc = int(batch.locs[own]) if own < len(batch.locs) else -1
                slots.append(batch.swa(loc, -1))
        lengths += [context + block] * block
        lists += [slots + [-1] * (width - len(slots))] * block
    return {
        "seq_lens_casual": reference(batch, "seq_lens_casual"),
        "swa_topk_lengths": np.array(lengths, np.int64).astype(np.int32),
        "swa_page_indices": np.array(lists, np.int64).reshape(-1, width).astype(np.int32),
        "swa_out_cache_loc": reference(batch, "swa_out_cache_loc"),
    }


def run(case: WindowCase, seed: int, small: bool = False, gpu: Any = None) -> None:
    """Compares all fields of a case."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    given = draw_windows(case, seed, small)
    batch = given.batch
    more: dict[str, Any] = {}
    if case.step.mode == "draft_block":
        wanted = block_references(case, given)
        if case.windows.has_valid_from:
            more["valid_from"] = place(given.valid_from)
        more["block_ring"] = case.windows.block_ring
    elif case.windows.tail:
        wanted = tail_references(case, given)
        more["tail"] = True
        if case.windows.has_whole:
            more["whole"] = place(given.whole)
    else:
        wanted = ring_references(given)
        more |= {"window_groups": GROUPS, "zero_row": ZERO_ROW}
    if batch.extends is not None:
        extends = given.all_extends if case.windows.tail else batch.extends
        more |= {"extend_seq_lens": place(extends), "rows": batch.rows,
                 "num_tokens": batch.num_tokens}  # fmt: skip
    if batch.floors is not None:
        more["floors"] = place(batch.floors)
    dst = {
        name: place(np.full([size + 1 for size in value.shape], FILL, value.dtype))
        for name, value in wanted.items()
    }
    nsa.ops.replay_v4(
        [dst], case.step.mode, seq_lens=place(batch.lens), req_pool_indices=place(batch.pool),
        req_to_token=place(batch.table), full_to_swa=place(batch.full_to_swa),
        out_cache_loc=place(batch.locs), next_n=case.step.next_n, window=WINDOW,
        window_ring=RING, **more,
    )  # fmt: skip
    for name, value in wanted.items():
        got = fetch(dst[name])
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(map(slice, value.shape))] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {case.text() for case in CASES}
