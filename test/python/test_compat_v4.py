# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions for DeepSeek V4 and for transforms of indices, under their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from v4_cases import Case
from v4_plan_cases import PlanCase, draw_batch
from v4_plan_cases import reference as plan_reference
from v4_reference import reference

import nsa
from nsa._v4_plans import PlanOptions
from nsa.compat import sglang

needs_compiler = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def check_transforms(place: Any, fetch: Any) -> None:
    """Arrays through `place` and results through `fetch`."""
    rng = np.random.default_rng(0)
    extends = [3, 0, 5]
    table = rng.integers(0, 9000, (3, 70)).astype(np.int32)
    chosen = rng.integers(-1, 70, (10, 33)).astype(np.int32)
    requests = np.repeat(np.arange(3), extends)

    def slots(rows: np.ndarray, pages: np.ndarray) -> np.ndarray:
        found = pages[rows[:, None], chosen[: len(rows)]]
        return np.where(chosen[: len(rows)] >= 0, found, -1)

    got = sglang.transform_index_page_table_decode(place(table), place(chosen[:3]))
    np.testing.assert_array_equal(fetch(got), slots(np.arange(3), table))
    given = place(np.zeros((3, 33), np.int32))
    arguments = place(table), place(chosen[:3]), given
    assert sglang.transform_index_page_table_decode(*arguments) is given
    np.testing.assert_array_equal(fetch(given), fetch(got))

    wanted = np.full((12, 33), -1)
    wanted[:8] = slots(requests, table)
    prefill = sglang.transform_index_page_table_prefill
    got = prefill(place(table), place(chosen), extends, output_num_tokens=12)
    np.testing.assert_array_equal(fetch(got), wanted)
    sums = place(np.array([0, 3, 3, 8], np.int32))
    got = prefill(place(table), place(chosen), extends, cu_seqlens_q=sums)
    np.testing.assert_array_equal(fetch(got), wanted[:10])
    got = prefill(place(table[requests]), place(chosen), extends, page_table_is_expanded=True)
    np.testing.assert_array_equal(fetch(got), wanted[:10])

    shares, counts = sglang.transform_index_page_table_dcp(place(chosen), 4, 3)
    assert fetch(shares).shape == chosen.shape
    for row, share, count in zip(chosen, fetch(shares), fetch(counts)):
        own = [slot // 4 for slot in row if slot >= 0 and slot % 4 == 3]
        assert count == len(own)
        assert share.tolist() == own + [-1] * (len(row) - len(own))


def check_rows(place: Any, fetch: Any) -> None:
    # Rows are the requests of a decode.
    case = PlanCase(Case("decode", floors=True), PlanOptions((16, 256), 256))
    batch = draw_batch(case, 2)
    assert len(batch.lens)
    rows = {
        "req_to_token": place(batch.table),
        "req_pool_indices_repeated": place(batch.pool),
        "seq_lens_casual": place(batch.lens),
    }
    got = sglang.build_causal_swa_page_indices(
        **rows,
        full_to_swa_mapping=place(batch.full_to_swa),
        swa_window=128,
        page_index_aligned_size=64,
        swa_replay_start=place(batch.floors),
    )
    np.testing.assert_array_equal(fetch(got), reference(batch, "swa_page_indices"))
    batch.floors = None
    found = sglang.build_page_table_positions(
        **rows, max_seq_len=batch.max_len, page_size=256, swa_window=128
    )
    for name, array in found._asdict().items():
        np.testing.assert_array_equal(fetch(array), reference(batch, name), err_msg=name)

    for ratio in (4, 128):
        plan = sglang.CompressorDecodePlan.generate(
            ratio, place(batch.pool), place(batch.table), place(batch.full_to_swa),
            place(batch.lens), 256, case.plans.rings[ratio == 128],
        )  # fmt: skip
        assert plan.is_decode and plan.compress_ratio == ratio
        wanted = plan_reference(case, batch, f"c{ratio}_plan_d").view(np.uint8)
        np.testing.assert_array_equal(fetch(plan.plan_d), wanted)

    case = PlanCase(Case("extend", ragged=True), PlanOptions(request_ring=True))
    batch = draw_batch(case, 8)
    batch.rows = batch.num_tokens = int(batch.extends.sum())
    for ratio in (4, 128):
        plan = sglang.CompressorPrefillPlan.generate(
            ratio, place(batch.pool), place(batch.lens), place(batch.extends),
            place(batch.table), place(batch.full_to_swa), 128, case.plans.rings[ratio == 128],
            batch.rows, use_req_ring=True,
        )  # fmt: skip
        assert not plan.is_decode
        for name in ("plan_c", "plan_w"):
            wanted = plan_reference(case, batch, f"c{ratio}_{name}").view(np.uint8)
            np.testing.assert_array_equal(fetch(getattr(plan, name)), wanted)


def same(array: Any) -> Any:
    return array


@needs_compiler
@pytest.mark.parametrize("check", [check_transforms, check_rows])
def test_numpy(check: Any) -> None:
    check(same, same)


@needs_compiler
@pytest.mark.parametrize("check", [check_transforms, check_rows])
def test_torch_on_the_host(check: Any) -> None:
    torch = pytest.importorskip("torch")
    check(torch.from_numpy, lambda tensor: tensor.numpy())


@pytest.mark.parametrize("check", [check_transforms, check_rows])
def test_torch_on_a_gpu(check: Any) -> None:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    check(lambda a: torch.from_numpy(a).cuda(), lambda tensor: tensor.cpu().numpy())


def test_errors() -> None:
    table = np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match="page_size': expected 1 but got 64"):
        sglang.transform_index_page_table_decode(table, table, page_size=64)
    prefill = sglang.transform_index_page_table_prefill
    with pytest.raises(ValueError, match="extend_lens_cpu': expected a sum of at most 2"):
        prefill(table, table, [3])
    with pytest.raises(ValueError, match="output_num_tokens': expected 2 or more"):
        prefill(table, table, [1], output_num_tokens=1)
    with pytest.raises(ValueError, match="compress_ratio': expected 4 or 128"):
        sglang.CompressorDecodePlan.generate(2, *[None] * 4, 128, 8)
    with pytest.raises(ValueError, match="page_index_aligned_size': expected 64"):
        sglang.build_causal_swa_page_indices(
            req_to_token=table, full_to_swa_mapping=table[0], req_pool_indices_repeated=table[0],
            seq_lens_casual=table[0], swa_window=128, page_index_aligned_size=96,
        )  # fmt: skip
