# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.compat.sglang under SGLang's names; on the host, so NumPy stands in for torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa.compat import sglang

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

BS, COLUMNS, PAGES = 3, 37, 5
NAMES = (
    "cache_seqlens",
    "cu_seqlens_k",
    "page_table_1",
    "dsa_cache_seqlens",
    "seqlens_expanded",
    "dsa_cu_seqlens_k",
    "real_page_table",
    "flashmla_num_splits",
    "flashmla_metadata",
)


def make(rows: int, fill: Any) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {
        "cache_seqlens": (BS,),
        "cu_seqlens_k": (BS + 1,),
        "page_table_1": (rows, COLUMNS),
        "dsa_cache_seqlens": (rows,),
        "seqlens_expanded": (rows,),
        "dsa_cu_seqlens_k": (rows + 1,),
        "real_page_table": (rows, PAGES),
        "flashmla_num_splits": (rows + 1,),
        "flashmla_metadata": (4, 8),
    }
    return {name: fill(shapes[name]) for name in NAMES}


def source(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return make(rows, lambda shape: rng.integers(1, 1 << 30, shape, np.int32))


def destination(rows: int) -> dict[str, np.ndarray]:
    return make(rows, lambda shape: np.zeros(shape, np.int32))


def check(src: dict[str, np.ndarray], dst: dict[str, np.ndarray], skipped: set[str]) -> None:
    for name in NAMES:
        expected = np.zeros_like(src[name]) if name in skipped else src[name].copy()
        if name.endswith("cu_seqlens_k"):
            expected[0] = 0
        assert np.array_equal(dst[name], expected), name


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("flashmla", [False, True])
def test_single(mode: int, real: bool, flashmla: bool) -> None:
    rows = BS if mode == 0 else 2 * BS
    src, dst = source(rows), destination(rows)
    skipped = {"seqlens_expanded"} if mode == 0 else set()
    if not real:
        skipped.add("real_page_table")
    if not flashmla:
        skipped |= {"flashmla_num_splits", "flashmla_metadata"}
    optional = {"real_page_table", "flashmla_num_splits", "flashmla_metadata"}
    arrays = [
        None if name in skipped & optional else each[name]
        for each in (src, dst)
        for name in NAMES
    ]
    sizes = (BS, COLUMNS, 0, BS) if mode == 0 else (BS, 0, COLUMNS, rows)
    sglang.fused_metadata_copy_cuda(*arrays, mode, *sizes)
    check(src, dst, skipped)


@pytest.mark.parametrize("prefix", ["nsa_", "dsa_"])
def test_multi_by_name(prefix: str) -> None:
    src, dsts = source(BS), [destination(BS) for _ in range(3)]
    arguments: dict[str, Any] = {}
    for suffix, each in [("_src", src), *((f"_dst{n}", d) for n, d in enumerate(dsts))]:
        for name, array in each.items():
            if name == "seqlens_expanded":
                continue
            if name == "page_table_1" and suffix == "_src":
                name = "page_indices"
            if name.startswith("dsa_"):
                name = prefix + name[4:]
            arguments[name + suffix] = array
    sglang.fused_metadata_copy_multi_cuda(
        **arguments, bs=BS, max_len=COLUMNS, seqlens_expanded_size=BS
    )
    for dst in dsts:
        check(src, dst, {"seqlens_expanded"})


@pytest.mark.parametrize(
    ("side", "name", "said"),
    [
        (0, "cache_seqlens", "cache_seqlens_src"),
        (0, "page_table_1", "page_indices_src"),
        (1, "dsa_cu_seqlens_k", "dsa_cu_seqlens_k_dst"),
        (1, "flashmla_metadata", "flashmla_metadata_dst"),
    ],
)
def test_dtype(side: int, name: str, said: str) -> None:
    sets = [source(BS), destination(BS)]
    sets[side][name] = sets[side][name].astype(np.int64)
    arrays = [each[n] for each in sets for n in NAMES]
    with pytest.raises(RuntimeError, match=f"Tensor {said} must have dtype int32"):
        sglang.fused_metadata_copy_cuda(*arrays, 0, BS, COLUMNS, COLUMNS, BS)
    assert not any(array.any() for array in sets[1].values())


def test_too_small() -> None:
    src, dst = source(BS), destination(BS)
    dst["page_table_1"] = dst["page_table_1"][:, :20]
    arrays = [each[n] for each in (src, dst) for n in NAMES]
    with pytest.raises(ValueError, match="'page_table_1_dst': expected shape"):
        sglang.fused_metadata_copy_cuda(*arrays, 0, BS, COLUMNS, COLUMNS, BS)
    assert not any(array.any() for array in dst.values())


def test_calls() -> None:
    with pytest.raises(TypeError, match="missing the arguments .*max_len"):
        sglang.fused_metadata_copy_multi_cuda(bs=1)
    with pytest.raises(TypeError, match="unexpected argument 'nonsense'"):
        sglang.fused_metadata_copy_cuda(nonsense=1)
    with pytest.raises(ValueError, match="'forward_mode': expected an integer from 0 to 2 but got 3"):
        sglang.fused_metadata_copy_cuda(*[None] * 18, 3, 0, 0, 0, 0)


def test_page_has_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs/SGLang.md").read_text()
    assert [name for name in sglang.__all__ if f"`{name}`" not in page] == []
