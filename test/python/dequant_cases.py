# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisations with their arrays, on the host or a device, checked byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from dequant_reference import is_nan, reference_dequant
from strided_arrays import Arrays, Placement, limits, pattern

import nsa
from nsa import layouts, steps

# Layouts that only this text knows: interleaved scales; fields in another order,
# groups of four and nothing aligned; three bytes a group; an odd number of vectors,
# in rows that share a tile and in a row of more than one tile.
EXTRA_LAYOUTS = {
    "v41_new": "data_bytes = 528, fields = [e4m3[512] at 0], "
    "scales = ue8m0[16] at 512 per 32 inline, page_multiple = 528",
    "swapped": "data_bytes = 61, fields = [bf16[8] at 1, e4m3[8] at 40, e4m3[16] at 19], "
    "scales = f32[6] at 3 per 4 footer 29, page_multiple = 1",
    "narrow": "data_bytes = 11, fields = [e4m3[3] at 2, bf16[1] at 0, e4m3[6] at 5], "
    "scales = ue8m0[3] at 1 per 3 footer 5, page_multiple = 7",
    "uneven": "data_bytes = 64, fields = [e4m3[48] at 0], "
    "scales = ue8m0[3] at 48 per 16 inline, page_multiple = 1",
    "long": "data_bytes = 8256, fields = [e4m3[8192] at 0, bf16[16] at 8192], "
    "scales = f32[8] at 8224 per 1024 inline, page_multiple = 1",
}
LAYOUTS = {**layouts.NAMED, **EXTRA_LAYOUTS}


@dataclass(frozen=True)
class Case:
    layout: str = "v32"
    page_size: int = 64
    pages: int = 5
    tokens: int = 37
    #: Bytes between pages, beyond what the engine allocates.
    gap: int = 0
    #: Bytes before the cache, elements before the output.
    offset: int = 0
    out_offset: int = 0
    #: Columns of the workspace beyond the row, and rows beyond the tokens.
    columns: int = 0
    rows: int = 0
    ids: str = "random"
    ids_dtype: str = "int64"
    ids_stride: int = 1
    scales: str = "random"
    seed: int = 0

    @property
    def parsed(self) -> layouts.KVLayout:
        return layouts.parse(LAYOUTS[self.layout])

    @property
    def text(self) -> str:
        """What nsa.ops compiles."""
        part = (self.parsed, self.page_size, self.ids_dtype)
        return steps.dequant_paged([part])


def draw_ids(case: Case, random: np.random.Generator) -> np.ndarray:
    total = case.pages * case.page_size
    ids = random.integers(0, max(total, 1), case.tokens)
    if case.ids == "ordered":
        ids = np.arange(case.tokens)
    elif case.ids == "hostile" and case.tokens:
        hostile = np.resize(limits(total), case.tokens)
        random.shuffle(hostile)
        ids = np.where(random.random(case.tokens) < 0.7, hostile, ids)
    return ids.astype(np.int64).astype(case.ids_dtype)


def draw_bytes(case: Case, random: np.random.Generator, nbytes: int) -> np.ndarray:
    """Any bytes, so that NaN, infinities and subnormals are all there; "usual": what
    engines write, scales near 1 and no NaN."""
    data = random.integers(0, 256, nbytes, dtype=np.uint8)
    if case.scales == "usual":
        data[(data & 0x7F) == 0x7F] -= 1
    return data


def set_usual_scales(case: Case, cache: np.ndarray, random: np.random.Generator) -> None:
    layout, run = case.parsed, case.parsed.scales
    for slot in range(case.page_size):
        at = slot * layout.data_bytes
        if layout.footer_bytes:
            at = case.page_size * layout.data_bytes + slot * layout.footer_bytes
        at += run.offset
        if run.type == "ue8m0":
            values = random.integers(100, 150, (case.pages, run.count), dtype=np.uint8)
        else:
            values = random.normal(0, 1, (case.pages, run.count)).astype(np.float32)
            values = np.ascontiguousarray(values).view(np.uint8)
        cache[:, at : at + run.nbytes] = values


class Problem:
    """The arrays of a case where `arrays` has them, and what they should become."""

    def __init__(self, case: Case, arrays: Arrays) -> None:
        random = np.random.default_rng(case.seed)
        layout = case.parsed
        self.case = case
        stride = layout.page_stride(case.page_size) + case.gap
        used = layout.page_bytes(case.page_size)
        place = Placement((case.pages, used), (stride, 1), case.offset)
        margin = arrays.margin
        storage = draw_bytes(case, random, 2 * margin + case.offset + case.pages * stride)
        cache = place.view(storage, margin)
        if case.scales == "usual":
            set_usual_scales(case, cache, random)
        self.cache, _ = arrays.upload(storage, place, False)

        ids = draw_ids(case, random)
        id_place = Placement((case.tokens,), (case.ids_stride,), 0)
        id_storage = pattern(2 * margin + case.ids_stride * case.tokens, ids.dtype)
        id_place.view(id_storage, margin)[:] = ids
        self.ids, _ = arrays.upload(id_storage, id_place, False)

        row = layout.row + case.columns
        out_place = Placement(
            (case.tokens + case.rows, row), (row + case.columns, 1), case.out_offset
        )
        self.image = pattern(2 * margin + case.out_offset + out_place.span, np.uint16)
        self.out, self.read = arrays.upload(self.image, out_place, True)
        self.expected = reference_dequant(cache, ids, layout, case.page_size)
        out_place.view(self.image, margin)[: case.tokens, : layout.row] = self.expected

    def run(self, **options: Any) -> None:
        nsa.ops.dequantize_k_cache_paged(
            self.cache,
            self.ids,
            self.out,
            LAYOUTS[self.case.layout],
            page_size=self.case.page_size,
            **options,
        )

    def check(self) -> None:
        got = self.read()
        same = (got == self.image) | (is_nan(got) & (self.image == 0x7FC0))
        if same.all():
            return
        at = int(np.flatnonzero(~same)[0])
        raise AssertionError(
            f"{self.case}: {np.count_nonzero(~same)} elements differ; number {at} of its "
            f"storage: expected {self.image[at]:#06x} but got {got[at]:#06x}"
        )


def run_case(case: Case, arrays: Arrays) -> None:
    problem = Problem(case, arrays)
    problem.run()
    problem.check()


def cases() -> Iterator[Case]:
    """Every layout with every page size, and around them all that may go wrong."""
    seed = 0
    for layout in LAYOUTS:
        for page_size in (1, 64, 256) if layout in layouts.NAMED else (1, 7, 64):
            for place in PLACES:
                seed += 1
                yield Case(layout, page_size, seed=seed, **place)
    for tokens in (0, 1, 2, 9, 10, 11, 12, 13, 100, 1000):
        for layout in ("v32", "v4"):
            yield Case(layout, 64, tokens=tokens, seed=tokens)
    # An empty cache has no token.
    yield Case("v32", 64, pages=0, tokens=20)
    yield Case("v4", 1, pages=1, tokens=20, ids="hostile")


# Where arrays are, and which ids they are asked for.
PLACES: list[dict[str, Any]] = [
    dict(ids="hostile", ids_dtype="int32"),
    dict(ids="hostile", gap=16, columns=8, rows=3),
    dict(ids="random", gap=5, offset=3, ids_stride=3),
    dict(ids="ordered", offset=16, out_offset=8, columns=8, scales="usual"),
    dict(ids="hostile", offset=2, out_offset=3, columns=5, ids_dtype="int32"),
]


def gpu_texts() -> set[str]:
    """Every text that the GPU tests and the benchmark ask for."""
    texts = {case.text for case in cases()}
    texts |= {Case(layout, 1).text for layout in ("v4", "v32", "v41")}
    texts |= {
        steps.dequant_paged([(layout, size, ids)])
        for layout in layouts.NAMED
        for size in (1, 64)
        for ids in ("int32", "int64")
    }
    texts.add(steps.dequant_paged([("v4", 64, "int32"), ("v4", 64, "int64")]))
    return texts
