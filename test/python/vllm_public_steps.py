# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps that vLLM's public tests of 0.33.0 ask for (run_vllm_tests.py), for machines
without the compiler. Some of those tests have CPU tensors, so host kernels are needed, too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from nsa import vllm
from nsa.vllm._usual import Typed, text_of

INT64 = {"positions", "out_positions", "slot_mapping", "out_slot_mapping"}


def call(function: Any, names: str, /, **constants: Any) -> partial[None]:
    """A call with arrays of these names, of vLLM's dtypes."""
    arrays = {
        name: Typed(name, "int64" if name in INT64 else "int32") for name in names.split()
    }
    return partial(function, **(arrays | constants))


def calls() -> Iterator[partial[None]]:
    slots = Typed("out", "int64")
    rows = "query_start_loc seq_lens "
    convert = partial(call, vllm.req_to_global, "req_id block_table token_indices out")
    for size in (16, 64, 128):
        yield convert(block_size=size)
    workspace = {name: Typed(name, "int32") for name in ("prefill_request_ids", "workspace_starts")}
    yield convert(block_size=16, **workspace)
    counts = {"compact": True, "out_counts": Typed("out_counts", "int32")}
    yield convert(block_size=64, **counts)
    yield convert(block_size=4, block_stride=12, context_parallel=(2, 0, 1), **counts)
    for size, interleaves in ((4, (1, 2, 4)), (8, (1, 2))):
        for interleave in interleaves:
            for rank in (0, 1):
                parallel = (2, rank, interleave)
                yield convert(block_size=size, context_parallel=parallel, **counts)

    for dtype in ("int32", "int64"):
        for kpool in (4, 8):
            yield call(
                vllm.kpool_tail_slot_mapping, "positions slot_mapping block_table",
                query_start_loc=Typed("q", dtype), out=slots, kpool=kpool, num_actual_tokens=1,
            )  # fmt: skip
    for parallel in (None, (2, 0, 4)):
        yield call(
            vllm.compressed_slot_mapping, rows + "slot_mapping block_table", out=slots,
            block_size=4, ratio=2, context_parallel=parallel,
        )  # fmt: skip
    outs = "out_seq_lens out_block_table out_decode_lens out_indices out_per_req_lens"
    yield call(vllm.varlen_decode, rows + "block_table " + outs, num_tokens=1)

    window = rows + "block_table out_indices out_lens replay_start token_to_req"
    visible = " left_visible right_visible"
    for names in (window, window + visible):
        valid = Typed("is_valid", "uint8")
        yield call(vllm.swa_indices, names, is_valid=valid, window=8, block_size=64)
    spans = rows + "span_indptr span_starts span_ends out_left out_right"
    yield call(vllm.image_visible, spans, max_image_tokens=6)
    lists = rows + "gather_lens out_indices out_lens"
    for names, ratio, topk in ((lists, 1, 0), (lists + visible, 1, 0), (lists, 4, 16)):
        yield call(
            vllm.combine_topk_swa_indices, names, window=8, ratio=ratio, topk=topk,
            topk_indices=Typed("topk_indices", "int32") if topk else None,
            workspace_stride=1, window_offset=1, max_image_tokens=6,
        )  # fmt: skip

    for size in (2, 4):
        for interleave in (1, 16):
            parallel = (size, 0, interleave)
            yield call(vllm.dcp_local_seq_lens, "seq_lens out", context_parallel=parallel)
    for sizes, more in (
        ((4,), {}),
        ((8, 1 << 18), {"enabled": (False, True)}),
        *(
            ((128, 128), {"sharded": (True, False), "context_parallel": (4, rank, 128)})
            for rank in range(4)
        ),
    ):
        yield call(
            vllm.slot_mappings, "idx_mapping query_start_loc positions", block_sizes=sizes,
            block_tables=[Typed("table", "int32") for _ in sizes],
            outs=[Typed("out", "int64") for _ in sizes], **more,
        )  # fmt: skip
    for sizes, index, reach in (
        ((16,), "int32", 0),
        ((16, 16), "int32", 0),
        ((16, 16), "int32", 31),
        ((16, 32), "int64", 0),
    ):
        yield call(
            vllm.gather_block_tables, "num_blocks" + " num_computed_tokens" * bool(reach),
            idx_mapping=Typed("idx_mapping", index), block_sizes=sizes, num_rows=1,
            reach=[0, reach] if reach else None,
            block_tables=[Typed("table", "int32") for _ in sizes],
            outs=[Typed("out", "int32") for _ in sizes],
        )  # fmt: skip
    lens = Typed("seq_lens", "int32")
    yield call(
        vllm.eagle_step, "positions block_table out_positions out_slot_mapping",
        seq_lens=lens, out_seq_lens=lens, block_size=16, max_model_len=1,
    )  # fmt: skip


def texts() -> set[str]:
    return {text_of([each]) for each in calls()}
