# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ranks of context parallelism have of V4's steps: rows of lists that are written out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import v4_cases
from v4_reference import Batch, reference
from v4_window_cases import Case as WindowCase
from v4_window_cases import draw as draw_tail
from v4_window_reference import Windows, int32, tail

import nsa
from nsa import _v4

FILL = -77
#: Fields with a row for each row.
ROWS = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "c4_topk_lengths_raw", "c4_topk_lengths_clamp1", "c128_page_indices",
    "c128_topk_lengths_clamp1", "c4_sparse_topk_lengths", "c4_sparse_page_indices",
    "c1_topk_lengths_clamp1", "c2_sparse_topk_lengths", "c2_index_page_table", "pos_i64",
)  # fmt: skip
WHOLE = ("seq_lens_casual", "swa_out_cache_loc", "c4_out_loc", "c2_out_loc")
TAIL = ("tail_gather_indices", "tail_swa_out_cache_loc", "tail_token_indices")
OF_TAIL = ("token_indices", "extend_lens", "floors", *ROWS[:5], "c4_sparse_topk_lengths",
           "c128_page_indices", "req_indices")  # fmt: skip


@dataclass(frozen=True)
class Case:
    of: v4_cases.Case
    #: Of each request, in the last rows of each request; 0: no tail.
    window: int = 0
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.of}-{self.window}{'-whole' * self.whole}"

    def fields(self) -> tuple[str, ...]:
        if self.window:
            return (*TAIL, *(f"rank_tail_{name}" for name in OF_TAIL))
        more = ("rank_extend_lens",) if self.of.ragged else ()
        return (*WHOLE, *more, *(f"rank_{name}" for name in ROWS))

    def as_window(self) -> WindowCase:
        return WindowCase(self.of, (), self.window or 128, whole=self.whole)


CASES = [
    Case(v4_cases.Case("decode")),
    Case(v4_cases.Case("target_verify", 3, index="int32")),
    Case(v4_cases.Case("target_verify", ragged=True)),
    Case(v4_cases.Case("extend", ragged=True)),
    Case(v4_cases.Case("extend", ragged=True, floors=True, index="int32")),
    Case(v4_cases.Case("extend", ragged=True), window=4),
    Case(v4_cases.Case("extend", ragged=True, index="int32"), window=3, whole=True),
]


def texts() -> set[str]:
    """The steps that ``run`` asks for: the same for every rank."""
    found = set()
    for case in CASES:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc",
                   "extend_seq_lens")  # fmt: skip
        dtypes = {**dict.fromkeys(vectors, case.of.index), "floors": "int32", "whole": "int8"}
        found.add(_v4.write(case.as_window().options(), (case.fields(),), dtypes)[0])
    return found


def draw(case: Case, seed: int, small: bool = False) -> tuple[Batch, Windows]:
    return draw_tail(case.as_window(), seed, small)


def shares_of_extends(batch: Batch, ranks: int, rank: int) -> np.ndarray:
    assert batch.extends is not None
    counts, row = [], 0
    for extend in batch.extends.tolist():
        extend = min(max(extend, 0), batch.rows)
        owners = (row + np.arange(extend)) % ranks
        counts.append(int((owners == rank).sum()))
        row += extend
    return np.array(counts, np.int32)


def tails(batch: Batch, windows: Windows) -> list[tuple[int, int, int, int]]:
    """(request, token, length, floor) of each row of the tails, however many there are."""
    assert batch.extends is not None
    found, first = [], 0
    for b, (extend, length) in enumerate(zip(batch.extends.tolist(), batch.lens)):
        E, S = min(max(int(extend), 0), batch.rows), int32(length)
        whole = windows.whole is not None and windows.whole[b] != 0
        t = min(E if whole else min(batch.window, E), windows.tail_rows)
        floor = max(S - batch.window - (E if whole else 0), 0)
        found += [(b, first + i, max(S - E + 1 + i, 0), floor) for i in range(E - t, E)]
        first += E
    return found


def of_tail(
    batch: Batch, windows: Windows, ranks: int, rank: int, rows: int
) -> dict[str, np.ndarray]:
    mine = [row for row in tails(batch, windows) if row[1] % ranks == rank]
    kept = [
        row
        for b in range(len(batch.lens))
        for row in [each for each in mine if each[0] == b][:rows]
    ]
    counts = [sum(row[0] == b for row in kept) for b in range(len(batch.lens))]
    live = kept[:rows]
    last = len(batch.lens) - 1
    padded = live + [(last, rank, 1, 0)] * (rows - len(live))
    # A decode of requests with these lengths has the same rows.
    view = replace(
        batch, mode="decode", extends=None,
        lens=np.array([row[2] for row in padded], np.int64),
        pool=np.array([batch.pool_of(row[0]) for row in padded], np.int64),
        floors=np.array([row[3] for row in padded], np.int32),
    )  # fmt: skip
    out = {
        "token_indices": np.array([row[1] // ranks for row in padded], np.int64),
        "extend_lens": np.array(counts, np.int32),
        "floors": view.floors,
    }
    return {name: out[name] if name in out else reference(view, name) for name in OF_TAIL}


def gathered(batch: Batch, windows: Windows, ranks: int, rows: int) -> np.ndarray:
    """Row of the tail -> row of what was gathered."""
    used = [0] * ranks
    slots = []
    for _, token, _, _ in tails(batch, windows):
        slots.append(token % ranks * rows + used[token % ranks])
        used[token % ranks] += 1
    slots += [0] * windows.tail_rows
    return np.array(slots[: windows.tail_rows], np.int64)


def expected(
    case: Case, batch: Batch, windows: Windows, ranks: int, rank: int, rows: int
) -> dict[str, np.ndarray]:
    if not case.window:
        found = {name: reference(batch, name) for name in WHOLE}
        found |= {f"rank_{name}": reference(batch, name)[rank::ranks] for name in ROWS}
        if case.of.ragged:
            found["rank_extend_lens"] = shares_of_extends(batch, ranks, rank)
        return found
    view, own = tail(batch, windows)
    found = {
        "tail_gather_indices": gathered(batch, windows, ranks, rows),
        "tail_swa_out_cache_loc": reference(view, "swa_out_cache_loc"),
        "tail_token_indices": own["tail_token_indices"],
    }
    mine = of_tail(batch, windows, ranks, rank, rows)
    return found | {f"rank_tail_{name}": value for name, value in mine.items()}


def run(
    case: Case, batch: Batch, windows: Windows, ranks: int, rank: int, gpu: Any = None
) -> None:
    """Compares every field, in arrays that are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    owners = [row[1] % ranks for row in tails(batch, windows)] if case.window else []
    rows = max((owners.count(each) for each in range(ranks)), default=0)
    rows = rows + 1 if rank % 2 else min(rows, windows.tail_rows)
    wanted = expected(case, batch, windows, ranks, rank, rows)
    made = {
        name: place(np.full([size + 1 for size in wanted[name].shape], FILL, wanted[name].dtype))
        for name in case.fields()
    }
    given = v4_cases.inputs(batch, place)
    if windows.whole is not None:
        given["whole"] = place(windows.whole)
    nsa.ops.replay_v4(
        [made], batch.mode, **given, window=batch.window, tail_rows=windows.tail_rows,
        ranks=ranks, rank=rank, rank_tail_rows=rows,
    )  # fmt: skip
    for name, array in made.items():
        got, value = fetch(array), wanted[name]
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


__all__ = ["CASES", "draw", "run", "texts"]
