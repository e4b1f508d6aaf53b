# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.copy_metadata by PTX on a GPU, on CuPy's and torch's arrays.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from copy_cases import CopyCase, CopyProblem, gpu_copy_cases, run_copies

import nsa


def test_numerics(gpu: Any) -> None:
    """Every two values of mode, fields, backends, layouts and sizes meet."""
    cases = gpu_copy_cases()
    run_copies(cases, gpu)
    print(f"{len(cases)} cases")


@pytest.mark.parametrize("mode", ["decode", "target_verify", "draft_extend"])
def test_replayed_graph(gpu: Any, mode: str) -> None:
    """A captured copy takes what the source holds when it is replayed."""
    case = CopyCase(mode, "all", 3, seed=3)
    problem = CopyProblem(case, gpu)
    problem.run()  # what is loaded on first use is loaded now
    gpu.synchronize()
    replay = gpu.capture(problem.run)
    rng = np.random.default_rng(5)
    for _ in range(5):
        for array in problem.source.values():
            values = rng.integers(-(2**31), 2**31, array.view.shape, np.int32)
            array.view[...] = gpu.asarray(values)
            array.placement.view(array.image, gpu.margin)[...] = values  # type: ignore
        gpu.synchronize()
        replay()
        gpu.synchronize()
        problem.check()


def test_offsets_above_31_bits(gpu: Any) -> None:
    """Rows that begin 2**31 elements and more after the first one."""
    stride, rows, columns = 2**30 + 4, 3, 1030
    if gpu.free_memory() < 40 * 2**30:
        pytest.skip("needs 40 GiB of free memory on the device")
    tables = [gpu.empty(2 * stride + columns) for _ in range(2)]
    src, dst = (
        gpu.view_of(table, (rows, columns), (stride, 1)) for table in tables
    )
    values = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    src[...] = gpu.asarray(values)
    dst[...] = gpu.asarray(values * 0 - 1)
    fields = {
        name: gpu.asarray(np.arange(9, dtype=np.int32))
        for name in ("cache_seqlens", "cu_seqlens_k", "nsa_cache_seqlens")
    }
    fields["nsa_cu_seqlens_k"] = fields["cu_seqlens_k"]
    out = {name: gpu.asarray(np.zeros(9, np.int32)) for name in fields}
    nsa.ops.copy_metadata(
        {**fields, "page_table_1": src},
        [{**out, "page_table_1": dst}],
        bs=rows,
        max_len=columns,
    )
    gpu.synchronize()
    assert np.array_equal(gpu.asnumpy(dst), values)
    # Just after the end of the last row but one, and before the last one.
    del src, dst, tables


def test_wrong_dtype_writes_nothing(gpu: Any) -> None:
    problem = CopyProblem(CopyCase("decode", "all", 3, seed=3), gpu)
    src, dsts = problem.arguments
    dsts[1]["cache_seqlens"] = gpu.asarray(np.zeros(9, np.int64))
    with pytest.raises(TypeError, match="'b1_cache_seqlens': expected dtype int32"):
        nsa.ops.copy_metadata(src, dsts, bs=7, max_len=129)
    gpu.synchronize()
    for destination in problem.destinations:
        for array in destination.values():
            assert np.array_equal(array.read(), array.image)
