# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions of pooled index keys, under their names, request by request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip

import nsa
from nsa.compat import sglang

needs_compiler = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
INDEX_PAGE = 64


def check(place: Any, fetch: Any, seed: int, pool: int, n: int) -> None:
    """Hostile where `seed` is odd."""
    rng = np.random.default_rng(seed)
    bs, columns = int(rng.choice([0, 1, 7])), int(rng.choice([1, 5, 40]))
    start = rng.integers(0, 64 * columns, bs)
    table = rng.integers(0, 5000, (bs * n, columns)).astype(np.int32)
    if seed % 2:
        start[rng.random(bs) < 0.4] = rng.choice([-1, -9, 10**6, 2**31 - 99])
        table[rng.random(table.shape) < 0.2] = rng.choice([-1, -(2**31)])
        table = table[: max(len(table) - n, 0)]
    requests = rng.integers(0, 99, bs)
    pools = -(-n // pool)
    wanted = {
        "req_out": requests,
        "write_start_out": start.astype(np.int32),
        "tail_logical_start_out": np.zeros(bs, np.int32),
        "write_loc_out": np.zeros((bs, pools), np.int64),
        "pool_seqlens_per_q_out": np.zeros(bs * n, np.int32),
        "seqlens_per_q_out": np.zeros(bs * n, np.int32),
    }
    for b in range(bs):
        ws = int(start[b])
        first = max(ws, 0) // pool
        wanted["tail_logical_start_out"][b] = first * pool
        for m in range(pools):
            column = min(max((first + m) // INDEX_PAGE * pool, 0), columns - 1)
            page = int(table[b * n, column]) if b * n < len(table) else 0
            wanted["write_loc_out"][b, m] = page // pool * INDEX_PAGE + (first + m) % INDEX_PAGE
        for k in range(n):
            wanted["seqlens_per_q_out"][b * n + k] = ws + k + 1
            wanted["pool_seqlens_per_q_out"][b * n + k] = max(ws + k + 1, 0) // pool
    made = {name: place(np.full_like(array, -77)) for name, array in wanted.items()}
    options = {"kpool": pool, "num_draft_tokens": n, "index_page_size": INDEX_PAGE}
    given = [place(array) for array in (start, requests, table)]
    sglang.update_kpool_write_plan_cuda_graph(*given, *made.values(), **options)
    for name, array in made.items():
        np.testing.assert_array_equal(fetch(array), wanted[name], err_msg=name)
    few = [place(np.full_like(array, -77)) for array in list(wanted.values())[:4]]
    sglang.update_kpool_write_plan_cuda_graph(*given, *few, None, None, **options)
    np.testing.assert_array_equal(fetch(few[3]), wanted["write_loc_out"])
    pooled = sglang.build_pooled_page_table_64(given[2], pool)
    np.testing.assert_array_equal(fetch(pooled), table[:, ::pool] // pool)


CALLS = [(seed, pool, n) for seed in range(4) for pool, n in ((4, 1), (2, 5))]


@needs_compiler
@pytest.mark.parametrize(("seed", "pool", "n"), CALLS)
def test_numpy(seed: int, pool: int, n: int) -> None:
    check(lambda array: array, lambda array: array, seed, pool, n)


@pytest.mark.parametrize(("seed", "pool", "n"), CALLS)
def test_torch_on_a_gpu(seed: int, pool: int, n: int) -> None:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    check(lambda a: torch.from_numpy(a).cuda(), lambda tensor: tensor.cpu().numpy(), seed, pool, n)


def test_errors() -> None:
    table = np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match="kpool': expected a divisor of 64 but got 3"):
        sglang.build_pooled_page_table_64(table, 3)
    with pytest.raises(TypeError, match="seqlens_per_q_out': missing"):
        sglang.update_kpool_write_plan_cuda_graph(
            *[table[0]] * 3, *[table[0]] * 4, table[0], None, kpool=4, num_draft_tokens=1,
            index_page_size=64,
        )  # fmt: skip
