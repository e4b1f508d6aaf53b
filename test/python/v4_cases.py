# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Batches of DeepSeek V4 steps, with lengths around all that they are divided by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from v4_reference import MOST_KEYS, MOST_OFFSETS, Batch, reference

import nsa
from nsa import _v4

FIELDS = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc", "c4_topk_lengths_raw", "c4_topk_lengths_clamp1",
    "c128_topk_lengths_clamp1", "c4_sparse_topk_lengths", "c4_sparse_page_indices",
    "c128_page_indices", "c1_topk_lengths_clamp1", "c2_sparse_topk_lengths",
    "c1_index_page_table", "c2_index_page_table", "c2_all_page_indices", "c2_all_raw_indices",
    "c4_out_loc", "c128_out_loc", "c1_out_loc", "c2_out_loc", "req_indices", "pos_i64",
)  # fmt: skip
#: Of an extend.
INDEX_KEYS = tuple(
    f"c{q}_{name}" for q in (1, 2) for name in ("index_k_slots", "request_starts", "compress_lens")
) + ("extend_offsets",)
#: Tokens of a page in which a slot of the field, or a page of the indexer's, has all of its own.
LEAST_PAGE = {"c128_page_indices": 128, "c2_index_page_table": 128}
FILL = -77


def fields_of(mode: str, page: int) -> tuple[str, ...]:
    names = FIELDS + (INDEX_KEYS if mode == "extend" else ())
    return tuple(name for name in names if page >= LEAST_PAGE.get(name, 1))


@dataclass(frozen=True)
class Case:
    mode: str
    next_n: int = 1
    ragged: bool = False
    floors: bool = False
    index: str = "int64"
    page: int = 256

    def __str__(self) -> str:
        words = [self.mode, str(self.next_n), self.index]
        words += ["ragged"] * self.ragged + ["floors"] * self.floors
        words += [f"pages of {self.page}"] * (self.page != 256)
        return "-".join(words)

    def fields(self) -> tuple[str, ...]:
        return fields_of(self.mode, self.page)

    def options(self) -> _v4.Options:
        return _v4.Options(
            self.mode, self.next_n, self.ragged, self.floors, 512, self.page, 128, 64
        )


CASES = [
    Case("decode"),
    Case("decode", index="int32", floors=True),
    Case("target_verify", 4),
    Case("target_verify", ragged=True),
    Case("draft_extend", 3, index="int32"),
    Case("extend", ragged=True),
    Case("extend", ragged=True, floors=True, index="int32"),
    Case("decode", page=64),
    Case("target_verify", 2, index="int32", page=64),
    Case("extend", ragged=True, page=64),
]
#: What lengths are compared with, divided by or rounded to.
EDGES = (0, 1, 2, 4, 63, 64, 127, 128, 129, 255, 256, 257, 511, 512, 640)


def texts() -> set[str]:
    """The steps that ``run`` asks for."""
    found = {draft_text(3)}
    for case in CASES:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc",
                   "extend_seq_lens")  # fmt: skip
        dtypes = {**dict.fromkeys(vectors, case.index), "floors": "int32"}
        found.add(_v4.write(case.options(), (case.fields(),) * 2, dtypes)[0])
    return found


def idle(batch: Batch, first: int = 0) -> Batch:
    """Requests from `first` on are idle, as those that pad a batch in a captured graph."""
    lens, pool, locs = batch.lens.copy(), batch.pool.copy(), batch.locs.copy()
    lens[first:], pool[first:] = 1, 0
    if batch.extends is None:
        locs[first * batch.next_n :] = 0
        return replace(batch, lens=lens, pool=pool, locs=locs)
    extends = batch.extends.copy()
    extends[first:] = 0
    return replace(batch, lens=lens, pool=pool, extends=extends)


def with_idle(batch: Batch, seed: int) -> Batch:
    """Half of the requests are idle where `seed` is 2, all where it is 4."""
    first = {2: len(batch.lens) // 2, 4: 0}.get(seed)
    return batch if first is None else idle(batch, first)


def draw(case: Case, seed: int, small: bool = False) -> Batch:
    """Hostile where `seed` is odd; with idle requests at 2 and 4."""
    rng = np.random.default_rng(seed)
    bs = int(rng.choice([1, 2, 3] if small else [0, 1, 2, 5, 33]))
    lens = np.where(
        rng.random(bs) < 0.6,
        rng.choice(EDGES, bs) + rng.integers(-1, 2, bs),
        rng.integers(0, 640, bs),
    )
    hostile = seed % 2 == 1
    if hostile:
        lens = np.where(rng.random(bs) < 0.2, rng.choice([-5, 2**31 - 9, 10**6], bs), lens)
    table = rng.integers(0, 900, (7, 640)).astype(np.int32)
    swa = rng.integers(0, 400, 900)
    pool = rng.integers(0, 7, bs)
    if hostile:
        table[rng.random(table.shape) < 0.1] = rng.choice([-1, 900, -(2**31), 2**31 - 1])
        pool = np.where(rng.random(bs) < 0.2, rng.choice([-1, 7, 2**30], bs), pool)
    batch = Batch(
        case.mode, lens.astype(case.index), pool.astype(case.index), table,
        swa.astype(case.index), np.zeros(0), 300 if small else 640, next_n=case.next_n,
        page_size=case.page,
    )  # fmt: skip
    n = bs * case.next_n
    if case.ragged:
        extends = rng.integers(0, 9, bs)
        if hostile:
            extends = np.where(rng.random(bs) < 0.2, rng.choice([-3, 10**6], bs), extends)
        batch.extends = extends.astype(case.index)
        batch.rows = n = int(rng.choice([0, 3, 40, 150]))
        batch.num_tokens = int(rng.choice([n, max(n - 2, 0)]))
    if case.floors:
        batch.floors = rng.integers(-3, 600, n).astype(np.int32)
    locs = rng.integers(-1, 901, max(n - int(rng.integers(0, 3)), 0))
    batch.locs = locs.astype(case.index)
    return with_idle(batch, seed)


def inputs(batch: Batch, place: Any) -> dict[str, Any]:
    """What ``replay_v4`` takes beside destinations."""
    given = {
        name: place(array)
        for name, array in (
            ("seq_lens", batch.lens), ("req_pool_indices", batch.pool),
            ("req_to_token", batch.table), ("full_to_swa", batch.full_to_swa),
            ("out_cache_loc", batch.locs), ("extend_seq_lens", batch.extends),
            ("floors", batch.floors),
        )
        if array is not None
    }  # fmt: skip
    if batch.extends is not None:
        given.update(rows=batch.rows, num_tokens=batch.num_tokens)
    sizes = {"max_len": batch.max_len, "next_n": batch.next_n, "page_size": batch.page_size}
    return {**given, **sizes}


def run(batch: Batch, backends: int = 2, gpu: Any = None, fields: Any = ()) -> None:
    """Compares every field, in backends whose arrays are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    fields = fields or fields_of(batch.mode, batch.page_size)
    wanted = {name: reference(batch, name) for name in fields}
    dsts = []
    for backend in range(backends):
        dsts.append(
            {
                name: place(
                    np.full(shape_of(name, value, backend), FILL, value.dtype)
                )
                for name, value in wanted.items()
            }
        )
    nsa.ops.replay_v4(dsts, batch.mode, **inputs(batch, place))
    for backend, destination in enumerate(dsts):
        for name, value in wanted.items():
            got = fetch(destination[name])
            image = np.full(got.shape, FILL, got.dtype)
            image[tuple(slice(size) for size in value.shape)] = value
            np.testing.assert_array_equal(got, image, err_msg=f"b{backend}_{name}")


DRAFT_FIELDS = ("seq_lens_casual", "swa_page_indices", "swa_out_cache_loc", "c4_out_loc")


def draft_text(steps: int) -> str:
    options = replace(Case("decode").options(), steps=steps)
    return _v4.write(options, (DRAFT_FIELDS,) * steps, {})[0]


def run_drafts(steps: int, gpu: Any = None) -> None:
    """Draft steps are decodes that differ in their locations."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    batch = draw(Case("decode"), seed=6)
    bs = len(batch.lens)
    assert bs > 1
    locs = np.random.default_rng(1).integers(-1, 901, bs * steps)
    wanted = []
    for step in range(steps):
        batch.locs = locs[step::steps]
        wanted.append({name: reference(batch, name) for name in DRAFT_FIELDS})
    dsts = [
        {name: place(np.full_like(value, FILL)) for name, value in of_step.items()}
        for of_step in wanted
    ]
    nsa.ops.replay_v4(
        dsts, seq_lens=place(batch.lens), req_pool_indices=place(batch.pool),
        req_to_token=place(batch.table), full_to_swa=place(batch.full_to_swa),
        out_cache_loc=place(locs), steps=steps,
    )  # fmt: skip
    for of_step, dst in zip(wanted, dsts):
        for name, value in of_step.items():
            np.testing.assert_array_equal(fetch(dst[name]), value, err_msg=name)


def shape_of(name: str, value: np.ndarray, more: int) -> list[int]:
    if name.endswith("_index_k_slots"):
        return [MOST_KEYS]
    if name == "extend_offsets":
        return [2, MOST_OFFSETS]
    return [size + more for size in value.shape]


__all__ = ["CASES", "FIELDS", "draw", "inputs", "run", "texts"]
