# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions for parts of a V4 step, and for ranks, under their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from request_window_cases import draw as draw_windows
from request_window_cases import reference as window_reference
from v4_cases import Case, draw
from v4_reference import reference

import nsa
from nsa.compat import sglang

needs_compiler = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def check_decode(place: Any, fetch: Any) -> None:
    batch = draw(Case("decode"), 2)
    assert len(batch.lens) > 1

    def same_as(found: Any, name: str) -> None:
        np.testing.assert_array_equal(fetch(found), reference(batch, name), err_msg=name)

    low = sglang.build_low_ratio_metadata(
        place(batch.lens), place(batch.locs), batch.topk
    )._asdict()
    names = ("out_loc", "topk_lengths_clamp1", "sparse_topk_lengths", "sparse_page_indices")
    for (theirs, array), name in zip(low.items(), [n for n in names] * 2):
        expected = reference(batch, f"{theirs[:2]}_{name}")
        np.testing.assert_array_equal(fetch(array)[: len(expected)], expected, err_msg=theirs)

    table = place(reference(batch, "page_table"))
    for ratio in (1, 2):
        pages = sglang.expand_index_page_table(
            table, full_page_size=256, compress_ratio=ratio, index_page_size=64
        )
        same_as(pages, f"c{ratio}_index_page_table")
        made = [place(np.zeros((len(batch.lens), batch.topk), np.int32)) for _ in range(2)]
        lens = place(reference(batch, f"c{ratio}_topk_lengths_clamp1"))
        sglang.fill_all_compressed_indices(
            table, lens, made[0], compress_ratio=ratio, page_size=256, raw_indices=made[1]
        )
        same_as(made[0], f"c{ratio}_all_page_indices")
        same_as(made[1], f"c{ratio}_all_raw_indices")
    one = sglang.expand_index_page_table(
        table, full_page_size=256, compress_ratio=4, index_page_size=64
    )
    assert one is table

    found = sglang.init_compression_metadata(
        place(batch.lens), place(reference(batch, "positions_casual")), place(batch.locs), table,
        page_size=256,
    )  # fmt: skip
    positions = reference(batch, "positions_casual")
    for at, ratio in ((0, 4), (4, 128)):
        same_as(found[at], f"c{ratio}_out_loc")
        np.testing.assert_array_equal(fetch(found[at + 1]), positions & -ratio)
        same_as(found[at + 2], f"c{ratio}_topk_lengths_raw")
        same_as(found[at + 3], f"c{ratio}_topk_lengths_clamp1")
    columns = table.shape[1] * 2
    wanted = reference(batch, "c128_page_indices")[:, :columns]
    np.testing.assert_array_equal(fetch(found[8]), wanted)
    without = sglang.init_compression_metadata(
        place(batch.lens), place(positions), place(batch.locs), compute_page_indices=False
    )
    assert without[8] is None
    np.testing.assert_array_equal(fetch(without[7]), fetch(found[7]))


def check_extend(place: Any, fetch: Any) -> None:
    batch = draw(Case("extend", ragged=True), 8)
    total = int(batch.extends.sum())
    batch = replace(batch, rows=total + 5, num_tokens=total)
    assert total > 0
    found = sglang.expand_prefill_causally(
        req_pool_indices=place(batch.pool), seq_lens=place(batch.lens),
        extend_seq_lens=place(batch.extends), num_tokens=total, padded_num_tokens=total + 5,
    )  # fmt: skip
    np.testing.assert_array_equal(
        fetch(found.seq_lens_casual), reference(batch, "seq_lens_casual")
    )
    np.testing.assert_array_equal(
        fetch(found.req_pool_indices_repeated), reference(batch, "req_indices")
    )
    lens = np.maximum(batch.lens, 0)
    for ratio in (1, 2):
        slots = sglang.prefill_k_slots(
            req_to_token=place(batch.table), req_pool_indices=place(batch.pool),
            seq_lens_cpu=lens.tolist(), ratio=ratio,
        )  # fmt: skip
        # The reference has room for so many.
        wanted = reference(batch, f"c{ratio}_index_k_slots")
        np.testing.assert_array_equal(fetch(slots)[: len(wanted)], wanted)


def check_ranks(place: Any, fetch: Any) -> None:
    extends = np.array([3, 0, 1, 7, 1], np.int32)
    for size in (1, 2, 4, 5):
        for rank in range(size):
            owners = np.split(np.arange(extends.sum()) % size == rank, np.cumsum(extends)[:-1])
            counts = [int(mine.sum()) for mine in owners]
            requests = [b for b, count in enumerate(counts) if count]
            got = sglang.dsa_cp_interleave_q_seqs(place(extends), len(requests), size, rank)
            assert fetch(got[0]).tolist() == [counts[b] for b in requests]
            assert fetch(got[1]).tolist() == requests


def check_windows(place: Any, fetch: Any) -> None:
    for floors in (False, True):
        rows = draw_windows(6, floors)
        wanted = window_reference(rows)
        layout = sglang.window_layout(
            place(rows.req), place(rows.pos), zero_row=rows.zero_row, window=rows.window,
            capacity=rows.capacity, floor=None if rows.floor is None else place(rows.floor),
            num_groups=rows.groups, padded_rows=rows.padded,
        )._asdict()  # fmt: skip
        size = layout.pop("size")
        assert size == len(wanted["history_req"]) + len(wanted["req"])
        assert list(layout) == list(wanted)
        for name, array in layout.items():
            assert fetch(array).dtype == (bool if wanted[name].dtype == np.int8 else wanted[name].dtype)
            np.testing.assert_array_equal(fetch(array), wanted[name], err_msg=name)


def check_tail(place: Any, fetch: Any) -> None:
    rng = np.random.default_rng(0)
    indices = place(rng.integers(-1, 99, (3, 8)).astype(np.int32))
    table, total = place(np.full((3, 136), -5, np.int32)), place(np.zeros(3, np.int32))
    sglang.pack_sparse_tail(indices, place(np.array([8, 0, 3])), table, total)
    np.testing.assert_array_equal(fetch(table)[:, 128:], fetch(indices))
    assert (fetch(table)[:, :128] == -5).all()
    assert fetch(total).tolist() == [136, 128, 131]


CHECKS = [check_decode, check_extend, check_ranks, check_windows, check_tail]


def same(array: Any) -> Any:
    return array


@needs_compiler
@pytest.mark.parametrize("check", CHECKS)
def test_numpy(check: Any) -> None:
    check(same, same)


@needs_compiler
@pytest.mark.parametrize("check", CHECKS)
def test_torch_on_the_host(check: Any) -> None:
    torch = pytest.importorskip("torch")
    check(torch.from_numpy, lambda tensor: tensor.numpy())


@pytest.mark.parametrize("check", CHECKS)
def test_torch_on_a_gpu(check: Any) -> None:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if not nsa.has_compiler():
        pytest.skip("built without the compiler")
    check(lambda a: torch.from_numpy(a).cuda(), lambda tensor: tensor.cpu().numpy())


def test_errors() -> None:
    table, lens = np.zeros((2, 3), np.int32), np.ones(2, np.int32)
    with pytest.raises(ValueError, match="index_page_size': expected what divides 128"):
        sglang.expand_index_page_table(
            table, full_page_size=256, compress_ratio=2, index_page_size=48
        )
    with pytest.raises(ValueError, match="ratio': expected 1 or 2 but got 4"):
        sglang.prefill_k_slots(
            req_to_token=table, req_pool_indices=lens, seq_lens_cpu=[4, 4], ratio=4
        )
    with pytest.raises(ValueError, match="page_table': expected a table"):
        sglang.init_compression_metadata(lens, lens, lens, page_size=256)
    with pytest.raises(ValueError, match="req': expected a row or more"):
        sglang.window_layout(lens[:0], lens[:0], zero_row=0)
