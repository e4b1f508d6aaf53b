# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of TensorRT-LLM's attention, from the fields that they are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import v4_cases
from v4_cases import FILL
from v4_reference import Batch, reference, up
from v4_window_reference import Windows, expected

import nsa
from nsa import _v4

CORE = ("trtllm_seq_lens_casual", "trtllm_swa_page_indices", "trtllm_swa_lens")
COMPRESSED = (
    "trtllm_c4_indices", "trtllm_c4_lens", "trtllm_c128_indices", "trtllm_c128_lens",
    "trtllm_c1_sparse_topk_lengths", "trtllm_c2_sparse_topk_lengths",
)  # fmt: skip
#: Beside them, of rows that are never empty.
BESIDE = ("seq_lens_casual", "positions_casual", "swa_topk_lengths")


@dataclass(frozen=True)
class Case:
    of: v4_cases.Case

    def __str__(self) -> str:
        return str(self.of)

    def fields(self) -> tuple[str, ...]:
        has_compressed = self.of.mode not in ("draft_extend", "draft_block")
        return (*BESIDE, *CORE, *(COMPRESSED if has_compressed else ()))

    def options(self) -> _v4.Options:
        return replace(self.of.options(), never_empty=self.of.mode == "draft_extend")


CASES = [
    Case(v4_cases.Case("decode", index="int32")),
    Case(v4_cases.Case("target_verify", 4)),
    Case(v4_cases.Case("target_verify", ragged=True)),
    Case(v4_cases.Case("draft_extend", 3)),
    Case(v4_cases.Case("draft_block", 5)),
    Case(v4_cases.Case("extend", ragged=True, floors=True)),
]


def texts() -> set[str]:
    """The steps that ``run`` and ``run_tail`` ask for."""
    found = set()
    for case in CASES:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc",
                   "extend_seq_lens")  # fmt: skip
        dtypes = {**dict.fromkeys(vectors, case.of.index), "floors": "int32"}
        found.add(_v4.write(case.options(), (case.fields(),), dtypes)[0])
    from nsa._v4_trtllm import SparseTail

    return found | {SparseTail(128, {"lengths": dtype}).s.text for dtype in ("int32", "int64")}


def tables(batch: Batch, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """As they are put together from what is there without them."""
    if batch.mode == "draft_extend":
        # Rows as those of a decode, none of them empty.
        rows = batch.list_rows()
        batch = replace(
            batch, mode="decode", next_n=1,
            lens=np.array([max(L, 1) for _, L in rows], np.int64),
            pool=np.array([batch.pool_of(b) for b, _ in rows], np.int64),
        )  # fmt: skip
    found = {name: expected(batch, Windows(), name) for name in (*BESIDE, "swa_page_indices")}
    slots, window = found.pop("swa_page_indices"), 128
    n = len(slots)

    def tiled(live: np.ndarray, fill: int) -> np.ndarray:
        made = np.full((up(n), *live.shape[1:]), fill, np.int32)
        made[:n] = live
        return made

    found["trtllm_seq_lens_casual"] = tiled(found["seq_lens_casual"], 1)
    found["trtllm_swa_page_indices"] = tiled(slots, -1)
    lens = np.maximum(found["swa_topk_lengths"], window)
    found["trtllm_swa_lens"] = tiled(lens, window)
    if "trtllm_c4_indices" not in fields:
        return found
    nothing = np.full((n, up(batch.topk)), -1, np.int32)
    found["trtllm_c4_indices"] = tiled(np.hstack([slots, nothing]), -1)
    found["trtllm_c4_lens"] = np.full(up(n), window, np.int32)
    pages = reference(batch, "c128_page_indices")
    found["trtllm_c128_indices"] = tiled(np.hstack([slots, pages]), -1)
    clamped = reference(batch, "c128_topk_lengths_clamp1")
    found["trtllm_c128_lens"] = tiled(clamped + window, window)
    for ratio in (1, 2):
        sparse = reference(batch, f"c{ratio}_sparse_topk_lengths")
        there = found["seq_lens_casual"] // ratio
        found[f"trtllm_c{ratio}_sparse_topk_lengths"] = np.minimum(sparse, there)
    return found


def run(case: Case, seed: int, small: bool = False, gpu: Any = None) -> None:
    """Compares every field, in arrays that are larger than has to be."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    batch = v4_cases.draw(case.of, seed, small)
    wanted = tables(batch, case.fields())
    made = {
        name: place(np.full([size + 1 for size in wanted[name].shape], FILL, np.int32))
        for name in case.fields()
    }
    nsa.ops.replay_v4([made], batch.mode, **v4_cases.inputs(batch, place))
    for name, array in made.items():
        got, value = fetch(array), wanted[name]
        image = np.full(got.shape, FILL, got.dtype)
        image[tuple(slice(size) for size in value.shape)] = value
        np.testing.assert_array_equal(got, image, err_msg=name)


def run_tail(rows: int, columns: int, dtype: str, gpu: Any = None) -> None:
    """Live rows of a table change behind the window, and nothing else does."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(rows)
    indices = rng.integers(-1, 9000, (rows, columns)).astype(np.int32)
    lengths = rng.integers(-1, columns + 1, rows).astype(dtype)
    table = rng.integers(0, 99, (up(rows), 128 + columns)).astype(np.int32)
    total = np.full(up(rows), 128, np.int32)
    wanted, sums = table.copy(), total.copy()
    wanted[:rows, 128:] = indices
    sums[:rows] = 128 + lengths
    table, total = place(table), place(total)
    nsa.ops.pack_sparse_tail(
        place(indices), place(lengths), table[:rows, 128:], total[:rows]
    )
    np.testing.assert_array_equal(fetch(table), wanted)
    np.testing.assert_array_equal(fetch(total), sums)


__all__ = ["CASES", "run", "run_tail", "texts"]
