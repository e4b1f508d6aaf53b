# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions of V4's windows and of its compressors' plans, and of nsa's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from sglang_peer_cases import SWA_PAGE, WINDOW, Draw, Fields, PeerCase, replay

from nsa.compat import sglang



def request_windows(d: Draw) -> PeerCase:
    """Windows that requests keep, of an extend, padded, with floors and without."""
    lens, of = d.rows()
    rows, groups, zero_row = d.total + d.some(0, 3), d.bs + d.some(0, 2), 4096
    capacity = d.some(256, 4)
    floors = np.maximum(lens - d.rng.integers(0, 2 * WINDOW, len(lens)), 0)
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req": d.pool[of], "pos": lens - 1,
    }  # fmt: skip
    if d.some(False, True):
        arrays["floors"] = np.pad(floors, (0, rows - d.total)).astype(np.int32)
    history = groups * WINDOW
    shapes: dict[str, Any] = {
        "window_req": ((rows,), "int64"), "window_pos": ((rows,), "int64"),
        "window_write_loc": (rows,), "window_indices": (rows, WINDOW),
        "window_lengths": (rows,), "window_commit_mask": ((rows,), "int8"),
        **{f"window_history_{name}": ((history,), "int64") for name in
           ("req", "pos", "loc", "src")},
        "window_history_valid": ((history,), "int8"),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        window = {"groups": groups, "zero_row": zero_row, "capacity": capacity}
        return replay(
            a, shapes, "extend", rows=rows, num_tokens=d.total, window=WINDOW,
            request_window=window,
        )  # fmt: skip

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        given = {
            "zero_row": zero_row, "window": WINDOW, "capacity": capacity, "num_groups": groups,
            "padded_rows": rows,
            "floor": a.floors[: d.total] if hasattr(a, "floors") else None,
        }  # fmt: skip
        found = vars_of(peer.windows.window_layout(a.req, a.pos, **given))
        # What that launches on a GPU, with what it scans before.
        scans = peer.windows._first_row_offsets(a.req)
        kernel = peer.layouts.build_window_layout(a.req, a.pos, *scans, **given)
        return [
            {name: each[name.removeprefix("window_")] for name in shapes}
            for each in (found, kernel)
        ]

    def vars_of(layout: Any) -> Fields:
        return {name: getattr(layout, name) for name in layout.__struct_fields__}

    return PeerCase(arrays, ours, theirs)


def tails(d: Draw) -> PeerCase:
    """The tail of an extend: its tokens, floors, and windows from those on."""
    whole = d.some(None, d.rng.integers(0, 2, d.bs).astype(bool))
    every = np.zeros(d.bs, bool) if whole is None else whole
    count = np.where(every, d.extends, np.minimum(WINDOW, d.extends))
    rows = int(count.sum())
    of = np.repeat(np.arange(d.bs), count)
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req_to_token": d.table, "full_to_swa": d.full_to_swa, "of_rows": d.pool[of],
        "lens": np.concatenate(
            [np.arange(s - n + 1, s + 1) for s, n in zip(d.lens, count, strict=True)]
        ).astype(np.int32),
    }  # fmt: skip
    if whole is not None:
        arrays["whole"] = whole.astype(np.int8)
    shapes: dict[str, Any] = {
        "tail_token_indices": ((rows,), "int64"), "tail_floors": (rows,),
        "tail_swa_page_indices": (rows, WINDOW),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, shapes, "extend", rows=d.total, tail_rows=rows, window=WINDOW)

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        tokens, lens, floors = peer.rows.late_layer_tail_layout(
            extend_lens_cpu=d.extends.tolist(), seq_lens_cpu=d.lens.tolist(), tail_len=WINDOW,
            device=a.seq_lens.device, whole_extend=None if whole is None else whole.tolist(),
        )  # fmt: skip
        assert lens == count.tolist()
        windows = peer.rows.build_causal_swa_page_indices_triton(
            req_to_token=a.req_to_token, full_to_swa_mapping=a.full_to_swa,
            req_pool_indices_repeated=a.of_rows, seq_lens_casual=a.lens, swa_window=WINDOW,
            page_index_aligned_size=64, swa_replay_start=floors,
        )  # fmt: skip
        return dict(zip(shapes, (tokens, floors, windows), strict=True))

    return PeerCase(arrays, ours, theirs)


def draft_blocks(d: Draw) -> PeerCase:
    """DSpark's: the window and the block, in pages and in a ring of each request."""
    block, ring = d.some(3, 8), d.some(None, 160)
    rows = d.bs * block
    lens = (d.lens[:, None] + 1 + np.arange(block)).reshape(-1)
    arrays = {
        "seq_lens": d.lens, "req_pool_indices": d.pool, "req_to_token": d.table,
        "full_to_swa": d.full_to_swa, "out_cache_loc": d.rng.integers(0, d.slots - 1, rows),
        "rows": lens.astype(np.int32), "of_rows": np.repeat(d.pool, block),
    }  # fmt: skip
    if ring or d.some(False, True):
        arrays["valid_from"] = d.rng.choice([0, 1, 100, 300], 13).astype(np.int64)
    shapes = {
        "swa_page_indices": (rows, -(-(WINDOW + block) // 64) * 64),
        "swa_topk_lengths": (rows,),
    }

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, shapes, "draft_block", next_n=block, window=WINDOW, ring=ring)

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        common = {"swa_window": WINDOW, "page_index_aligned_size": 64, "block_size": block}
        of = {"seq_lens_casual": a.rows, "req_pool_indices_repeated": a.of_rows}
        valid = getattr(a, "valid_from", None)
        if ring:
            every = peer.blocks.BuildDsparkSwaRingIndices
            found = [every.execute(**of, **common, valid_from=valid, ring_size=ring)]
            return [dict(zip(shapes, pair, strict=True)) for pair in found]
        found = []
        for name in ("triton", "torch"):
            gather = getattr(peer.blocks.ComputeDsparkWindowGather, name)(
                **of, block_size=block, swa_window=WINDOW, valid_from=valid
            )
            found.append(
                getattr(peer.blocks.BuildDsparkSwaPageIndices, name)(
                    req_to_token=a.req_to_token, full_to_swa_mapping=a.full_to_swa,
                    req_pool_indices_per_request=gather.req_pool_indices_per_request,
                    offsets=gather.offsets, invalid=gather.invalid, out_loc=a.out_cache_loc,
                    context_lens=gather.context_lens, **common,
                )  # fmt: skip
            )
        return [dict(zip(shapes, pair, strict=True)) for pair in found]

    return PeerCase(arrays, ours, theirs)


def decode_plans(d: Draw) -> PeerCase:
    q = d.some(4, 128)
    arrays = {
        "compress_ratio": q, "req_pool_indices": d.pool, "req_to_token": d.table,
        "full_to_state": d.full_to_swa % (d.slots - SWA_PAGE), "seq_lens": d.lens,
        "swa_page_size": SWA_PAGE, "ring_size": d.some(1, 2) * (8 if q == 4 else 128),
        "use_req_ring": q == 4 and d.some(False, True),
    }  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        return {"plan_d": module.CompressorDecodePlan.generate(**vars(a)).plan_d}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.plans, a), cuda=True)


def prefill_plans(d: Draw) -> PeerCase:
    q = d.some(4, 128)
    arrays = {
        "compress_ratio": q, "req_pool_indices": d.pool, "seq_lens": d.lens,
        "extend_lens": d.extends, "req_to_token": d.table,
        "full_to_state": d.full_to_swa % (d.slots - SWA_PAGE), "swa_page_size": SWA_PAGE,
        "ring_size": d.some(8, 16) if q == 4 else SWA_PAGE, "num_q_tokens": d.total,
        "use_cuda_graph": True, "use_req_ring": q == 4 and d.some(False, True),
    }  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        plan = module.CompressorPrefillPlan.generate(**vars(a))
        return {"plan_c": plan.plan_c, "plan_w": plan.plan_w}

    return PeerCase(
        arrays, lambda a: call(sglang, a), lambda p, a: call(p.plans, a), cuda=True,
        unordered=("plan_c", "plan_w"),
    )  # fmt: skip


def online_decode_plans(d: Draw) -> PeerCase:
    offset = d.some(0, 64)
    arrays = {"seq_lens": d.lens, "req_pool_indices": d.pool, "req_to_token": d.table}

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, {"c128_plan_d": (d.bs, 4)}, online_offset=offset)

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = peer.plans.CompressorDecodePlan.generate_online(
            **vars(a), state_slot_offset=offset
        )
        return {"c128_plan_d": _words(found.plan_d)}

    return PeerCase(arrays, ours, theirs, cuda=True)


def online_prefill_plans(d: Draw) -> PeerCase:
    offset, rows = d.some(0, 64), d.total
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req_to_token": d.table,
    }  # fmt: skip
    shapes = {"c128_plan_c": (rows, 4), "c128_plan_w": (rows, 4)}

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, shapes, "extend", rows=rows, online_offset=offset)

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = peer.plans.CompressorPrefillPlan.generate_online(
            a.seq_lens, a.extend_seq_lens, a.req_pool_indices, a.req_to_token, rows,
            use_cuda_graph=True, state_slot_offset=offset,
        )  # fmt: skip
        return {"c128_plan_c": _words(found.plan_c), "c128_plan_w": _words(found.plan_w)}

    return PeerCase(arrays, ours, theirs, cuda=True)


def _words(plan: Any) -> Any:
    """Bytes of a plan as int32."""
    import torch

    return plan.view(torch.int32)


def block_lengths(d: Draw) -> PeerCase:
    block = d.some(1, 3, 8)

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, {"seq_lens_casual": (d.bs * block,)}, "draft_block", next_n=block)

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        every = peer.blocks.BuildBlockSeqLensCausal
        given = {"seq_lens": a.seq_lens, "block_size": block, "device": a.seq_lens.device}
        return [{"seq_lens_casual": make(**given)} for make in (every.torch, every.triton)]

    return PeerCase({"seq_lens": d.lens}, ours, theirs)


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "window_layout": request_windows,
    "late_layer_tail_layout": tails,
    "get_dspark_swa_page_indices": draft_blocks,
    "CompressorDecodePlan": decode_plans,
    "CompressorPrefillPlan": prefill_plans,
    "CompressorDecodePlan.generate_online": online_decode_plans,
    "CompressorPrefillPlan.generate_online": online_prefill_plans,
    "build_block_seq_lens_causal": block_lengths,
}
