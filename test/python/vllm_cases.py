# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases of each function of ``nsa.vllm``, and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import vllm_batch_cases
import vllm_batch_reference
import vllm_reference
from dequant_reference import canonical
from vllm_draw import Case, Draw

from nsa import vllm


def case_token_to_req_indices(d: Draw) -> Case:
    n = d.total + d.some(0, 3)
    arguments = {"query_start_loc": d.q, "out": d.out(n + d.some(0, 2)), "num_tokens": n}
    if d.some(0, 1):
        arguments["num_mapped_tokens"] = max(d.total - 1, 0)
    return Case("token_to_req_indices", arguments, ("out",))


def case_uniform_decode(d: Draw) -> Case:
    next_n = d.some(1, 2, 3, 5)
    n, columns = d.R * next_n, d.some(1, 7)
    arguments = {
        "seq_lens": d.S, "next_n": next_n, "out_seq_lens": d.out(n + 5),
        "block_table": d.table(d.R, columns), "out_block_table": d.out(n + 1, columns + 2),
        "out_decode_lens": d.out(n), "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    return Case(
        "uniform_decode", arguments, ("out_seq_lens", "out_block_table", "out_decode_lens")
    )


def case_native_decode(d: Draw) -> Case:
    next_n = d.some(1, 2, 4)
    arguments = {
        "seq_lens": d.S, "next_n": next_n, "out_seq_lens": d.out(d.R + 1, next_n),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    return Case("native_decode", arguments, ("out_seq_lens",))


def case_varlen_decode(d: Draw) -> Case:
    n = d.total + d.some(0, 4)
    columns = d.some(1, 6)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "num_tokens": n,
        "out_seq_lens": d.out(n + 3), "block_table": d.table(d.R, columns),
        "out_block_table": d.out(n + 1, columns), "out_decode_lens": d.out(n),
        "out_indices": d.out(n), "out_per_req_lens": d.out(d.R + 1),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("varlen_decode", arguments, outs)


def case_ragged_decode(d: Draw) -> Case:
    n = d.total + d.some(0, 4)
    columns = d.some(1, 6)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "num_tokens": n,
        "out_seq_lens": d.out(n + 3), "block_table": d.table(d.R, columns),
        "out_block_table": d.out(n + 1, columns), "out_decode_lens": d.out(n),
        "context_parallel": d.cp(), "ratio": d.some(1, 4),
    }  # fmt: skip
    outs = tuple(name for name in arguments if name.startswith("out_"))
    return Case("ragged_decode", arguments, outs)


def case_gather_block_tables(d: Draw) -> Case:
    groups, states = d.some(1, 2, 4), 9
    columns = [d.some(1, 8, 130) for _ in range(groups)]
    rows = d.R + d.some(0, 3)
    idx = d.numbers(0, states, d.R, np.int32)
    arguments = {
        "idx_mapping": idx, "block_tables": [d.table(states, c) for c in columns],
        "num_blocks": d.numbers(0, 132, (groups, states), np.int32), "num_rows": rows,
        "outs": [d.out(rows + 1, c) for c in columns],
        "block_sizes": [d.some(16, 64) for _ in columns],
    }  # fmt: skip
    if d.some(0, 1):
        arguments["num_computed_tokens"] = d.numbers(0, 5000, states, np.int32)
        arguments["reach"] = [d.some(0, 128) for _ in columns]
    return Case("gather_block_tables", arguments, ("outs",))


def case_compressed_slot_mapping(d: Draw) -> Case:
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "slot_mapping": d.slots(d.total + 2),
        "block_table": d.table(d.R, 40), "out": d.out(d.total + 5, dtype=np.int64),
        "block_size": d.some(2, 16, 64), "ratio": d.some(1, 4, 128),
        "context_parallel": d.cp(),
    }  # fmt: skip
    return Case("compressed_slot_mapping", arguments, ("out",))


def case_slot_mappings(d: Draw) -> Case:
    groups = d.some(1, 2, 5)
    states = 9
    idx = d.numbers(0, states, d.R, np.int32)
    idx[d.rng.random(d.R) < 0.2] = -1
    arguments = {
        "idx_mapping": idx, "query_start_loc": d.q, "positions": d.positions(),
        "block_tables": [d.table(states, d.some(3, 33)) for _ in range(groups)],
        "outs": [d.out(d.total + 3 + g, dtype=np.int64) for g in range(groups)],
        "block_sizes": [d.some(1, 16, 64, 100, 256) for _ in range(groups)],
        "context_parallel": d.cp(),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["enabled"] = [bool(d.some(0, 1)) for _ in range(groups)]
        arguments["sharded"] = [bool(d.some(0, 1)) for _ in range(groups)]
    return Case("slot_mappings", arguments, ("outs",))


def case_kernel_block_table(d: Draw) -> Case:
    blocks, columns = d.some(1, 2, 4), d.some(1, 5, 130)
    arguments = {
        "block_table": d.table(d.R, columns), "out": d.out(d.R + 1, columns * blocks + 1),
        "blocks": blocks, "stride": d.some(blocks, blocks + 3),
    }  # fmt: skip
    return Case("kernel_block_table", arguments, ("out",))


def case_dcp_local_seq_lens(d: Draw) -> Case:
    arguments = {"seq_lens": d.S, "out": d.out(d.R + 4), "context_parallel": (4, 1, 2)}
    return Case("dcp_local_seq_lens", arguments, ("out",))


def case_kpool_tail_slot_mapping(d: Draw) -> Case:
    positions = d.positions()
    table = d.table(d.R, 2)
    table[d.rng.random(d.R) < 0.3, 0] = 0
    n = len(positions)
    arguments = {
        "query_start_loc": d.q, "positions": positions, "slot_mapping": d.slots(n),
        "block_table": table, "out": d.out(n + 1, dtype=np.int64), "kpool": d.some(1, 4, 7),
        "num_actual_tokens": max(n - d.some(0, 1, 4), 0),
    }  # fmt: skip
    return Case("kpool_tail_slot_mapping", arguments, ("out",))


def windows(d: Draw, width: int) -> dict[str, Any]:
    first = d.some(0, 0, 2)
    rows = max(d.total - first, 0) + d.some(0, 3)
    made = {
        "query_start_loc": d.q, "seq_lens": d.S, "block_table": d.table(d.R, 20),
        "block_size": d.some(16, 64), "first_token": first,
        "out_indices": d.out(rows, width), "out_lens": d.out(rows + 1),
    }  # fmt: skip
    if d.some(0, 1):
        made["slot_mapping"] = d.slots(d.total + d.some(0, 9))
        made["out_valid"] = np.full(rows, 7, np.uint8)
    elif d.some(0, 1):
        made["is_valid"] = d.rng.random(d.total + 1) < 0.7
    if d.some(0, 1):
        made["width"] = width - 1
    if d.some(0, 1):
        batch = vllm_reference.Batch(d.q, d.S)
        owners = [batch.of(t) for t in range(d.total + 20)]
        made["token_to_req"] = np.array(owners, d.index)
    return made


WINDOW_OUTS = ("out_indices", "out_lens", "out_valid")


def case_swa_indices(d: Draw) -> Case:
    window, image = d.some(1, 8, 130), d.some(0, 0, 24)
    arguments = windows(d, window + image)
    arguments["window"] = window
    if image:
        for name in ("left_visible", "right_visible"):
            arguments[name] = d.numbers(0, image, d.total + 20)
    if d.some(0, 1):
        arguments["replay_start"] = d.numbers(0, 500, d.R)
    return Case("swa_indices", arguments, WINDOW_OUTS)


def case_swa_noncausal_indices(d: Draw) -> Case:
    window = d.some(0, 8, 100)
    arguments = windows(d, -(-(window + 8) // 64) * 64)
    arguments["window"] = window
    return Case("swa_noncausal_indices", arguments, WINDOW_OUTS)


def case_image_visible(d: Draw) -> Case:
    indptr, starts, ends = [0], [], []
    for _ in range(d.R):
        at = 0
        for _ in range(d.some(0, 1, 4)):
            at += d.some(0, 3, 40)
            starts.append(at)
            at += d.some(0, 5, 60)
            ends.append(at)
            at += 1
        indptr.append(len(starts))
    rows = d.total + d.some(0, 2)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "span_indptr": np.array(indptr, d.index),
        "span_starts": np.array(starts, d.index), "span_ends": np.array(ends, d.index),
        "out_left": d.out(rows), "out_right": d.out(rows), "max_image_tokens": d.some(1, 20),
    }  # fmt: skip
    return Case("image_visible", arguments, ("out_left", "out_right"))


def case_prefill_gather_lens(d: Draw) -> Case:
    first = min(d.some(0, 0, 2), d.R)
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "out": d.out(d.R - first + 1),
        "window": d.some(1, 128), "first_req": first,
    }  # fmt: skip
    if d.some(0, 1):
        arguments["replay_start"] = d.numbers(0, 500, d.R)
    return Case("prefill_gather_lens", arguments, ("out",))


def case_req_to_global(d: Draw) -> Case:
    T = d.some(1, 4) if d.small else d.some(0, 1, 7, 70)
    columns = d.some(5, 128, 300) if d.small else d.some(3, 128, 640, 2048)
    stride = d.some(0, 1)
    block_size = d.some(16, 64)
    rows = max(d.R, 1)
    indices = d.numbers(0, 12 * block_size, (T, columns), np.int32)
    indices[d.rng.random(indices.shape) < d.some(0, 1) * 0.6] = -1
    if T:
        indices[T // 2] = -1
    arguments = {
        "req_id": d.numbers(0, rows, T), "block_table": d.table(rows, d.some(3, 10)),
        "token_indices": indices, "out": d.out(T, columns), "block_size": block_size,
        "block_stride": block_size + 5 if stride else None, "compact": bool(d.some(0, 1)),
        "context_parallel": d.cp(),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["out_counts"] = d.out(T)
    if d.some(0, 1):
        arguments["safe_lengths"] = d.out(T + 1)
    if d.some(0, 1):
        arguments["idx_mapping"] = d.numbers(-1, rows, rows, np.int32)
    if d.some(0, 1):
        arguments["prefill_request_ids"] = d.numbers(-1, 3, T)
        arguments["workspace_starts"] = d.numbers(0, 4000, 3)
        arguments["workspace_rank_stride"] = 5000
    return Case("req_to_global", arguments, ("out", "out_counts", "safe_lengths"))


def case_global_topk_indices(d: Draw) -> Case:
    T, columns = d.some(1, 5), d.some(4, 64, 512)
    rows = max(d.R, 1)
    indices = d.numbers(-1, 600, (T, columns), np.int32)
    arguments = {
        "topk_indices": indices, "token_to_req": d.numbers(0, rows, T),
        "block_table": d.table(rows, 10), "out_indices": d.out(T, columns),
        "out_lens": d.out(T), "block_size": d.some(2, 64),
    }  # fmt: skip
    if d.some(0, 1):
        arguments["is_valid"] = d.rng.random(T) < 0.6
    elif d.some(0, 1):
        arguments["slot_mapping"] = d.slots(T)
    return Case("global_topk_indices", arguments, ("out_indices", "out_lens"))


def case_c128a_indices(d: Draw) -> Case:
    positions = d.numbers(0, 3000, d.total + 3, np.int64)
    n, width = len(positions), 128
    decodes = min(d.some(0, 2, 9), n)
    rows = max(d.R, 1)
    arguments = {
        "positions": positions, "num_decode_tokens": decodes, "width": width,
        "block_size": 2, "token_to_req": d.numbers(0, rows, n),
        "block_table": d.table(rows, 20), "slot_mapping": d.slots(n),
        "out_decode_indices": d.out(n, width + 4), "out_decode_lens": d.out(n),
        "out_prefill_indices": d.out(n, width),
    }  # fmt: skip
    outs = ("out_decode_indices", "out_decode_lens", "out_prefill_indices")
    return Case("c128a_indices", arguments, outs)


def case_combine_topk_swa_indices(d: Draw) -> Case:
    ratio = d.some(0, 1, 4, 128)
    window, image, topk = d.some(1, 8, 128), d.some(0, 0, 24), d.some(1, 100, 512)
    base = d.some(0, 7) if d.R else 0
    gathers = np.minimum(d.S, d.rng.integers(0, 300, d.R))
    arguments = {
        "topk_indices": d.numbers(-1, 600, (d.total, topk), np.int32),
        "query_start_loc": (d.q + base).astype(d.index), "seq_lens": d.S,
        "gather_lens": gathers.astype(d.index), "window": window, "ratio": ratio,
        "topk": topk if ratio else 0, "workspace_stride": 1000, "window_offset": d.some(60, 500),
    }  # fmt: skip
    width = -(-(arguments["topk"] + window + image) // 128) * 128
    arguments["out_indices"] = d.out(d.total, width + d.some(0, 3))
    arguments["out_lens"] = d.out(d.total)
    if image:
        arguments["max_image_tokens"] = image
        arguments["left_visible"] = d.numbers(0, image, d.total)
        arguments["right_visible"] = d.numbers(0, image, d.total)
    return Case("combine_topk_swa_indices", arguments, ("out_indices", "out_lens"))


CASES: dict[str, Callable[[Draw], Case]] = {
    name.removeprefix("case_"): make
    for name, make in [*globals().items(), *vars(vllm_batch_cases).items()]
    if name.startswith("case_")
}


def each(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    """The same argument with other arrays in it."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [change(array) for array in value]
    return value


def reference_of(case: Case) -> Callable[..., None]:
    """What writes what the function of that name writes."""
    either = getattr(vllm_reference, case.name, None)
    return either or getattr(vllm_batch_reference, case.name)


def expected(case: Case) -> dict[str, Any]:
    """What the outputs are afterwards."""
    arguments = {
        name: each(value, np.copy) if name in case.outs else value
        for name, value in case.arguments.items()
    }
    reference_of(case)(**arguments)
    return {name: arguments[name] for name in case.outs if name in arguments}


def run(case: Case, gpu: Any = None) -> None:
    """Calls the function, and compares all of its outputs."""
    place = gpu.asarray if gpu else np.copy
    placed = {name: each(value, place) for name, value in case.arguments.items()}
    getattr(vllm, case.name)(**placed)
    for name, wanted in expected(case).items():
        got = placed[name]
        pairs = zip(wanted, got) if isinstance(wanted, list) else [(wanted, got)]
        for number, (a, b) in enumerate(pairs):
            b = gpu.asnumpy(b) if gpu else b
            if a.dtype == np.uint16:
                a, b = canonical(a), canonical(b)
            np.testing.assert_array_equal(b, a, err_msg=f"{case.name} {name} {number}")


#: What is run on a GPU.
GPU_DRAWS: tuple[dict[str, Any], ...] = (
    {"seed": 0},
    {"seed": 1, "hostile": True},
    {"seed": 2},
    {"seed": 3, "hostile": True},
    {"seed": 6, "large": True},
)


def call_of(case: Case) -> Callable[[], Any]:
    return partial(getattr(vllm, case.name), **case.arguments)


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    return {
        vllm.step_text(call_of(make(Draw(**draw))))
        for make in CASES.values()
        for draw in GPU_DRAWS
    }
