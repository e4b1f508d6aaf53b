# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What vLLM computes before the graph of a DeepSeek V4 decode, and of a step of its draft
model: its own kernels, nsa's functions one by one, and nsa's in one launch.

    python benchmarks/vllm_steps.py [--rounds N] [--out DIR] [--peers DIR]
                                    [--requests N...] [--contexts N...]

The attention kernels' own schedules are in neither. vLLM's kernels come from its wheel
(scripts/fetch_peers.sh); nsa's are compiled here, or come from NSA_BUNDLE_PATH. Outputs are
compared before anything is measured. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import harness  # noqa: E402
import reporting  # noqa: E402
import torch  # noqa: E402
from vllm_peer import load_vllm  # noqa: E402
from vllm_workload import (  # noqa: E402
    BLOCKS,
    MAX_TOKENS,
    RATIO,
    WINDOW,
    Batch,
    arrays,
    calls,
    draft_calls,
    place,
)

from nsa import vllm  # noqa: E402

REQUESTS = (1, 32, 256)
CONTEXTS = (4096, 32768, 131072)
#: What is measured in a graph; the peer's time over that of one launch is to be as large.
GPU_WAYS = ("peer", "nsa, each", "nsa")
HOST_WAYS = (*GPU_WAYS, "nsa, prepared")
GPU_BAR, HOST_BAR = 6, 8
CALLS = {"decode": calls, "draft step": draft_calls}
#: Of which the host time is taken together.
BATCH_OF_CALLS = 40


def peer_steps(
    v: SimpleNamespace, a: dict[str, Any], batch: Batch
) -> dict[str, Callable[[], None]]:
    """vLLM's own sequences, as its model runner, its speculator and its builders call them."""
    R, device = batch.requests, a["query_start_loc"].device
    tables, indices = a["out_block_tables"], a["idx_mapping"]

    def pointers(of: list[Any]) -> Any:
        return torch.tensor([t.data_ptr() for t in of], dtype=torch.uint64, device=device)

    def numbers(of: list[Any], dtype: Any) -> Any:
        return torch.tensor(of, dtype=dtype, device=device)

    state = SimpleNamespace(
        num_kv_cache_groups=len(BLOCKS),
        block_sizes=list(BLOCKS),
        cp_size=1,
        cp_rank=0,
        cp_interleave=1,
        has_sliding_window_groups=True,
        sliding_window_reach=numbers([WINDOW, 0, 0, 0], torch.int32),
        block_tables=[SimpleNamespace(gpu=t) for t in a["block_tables"]],
        num_blocks=SimpleNamespace(gpu=a["num_blocks"]),
        block_table_ptrs=pointers(a["block_tables"]),
        block_table_strides=numbers([t.stride(0) for t in tables], torch.int64),
        block_sizes_tensor=numbers(list(BLOCKS), torch.int32),
        slot_mapping_enabled=numbers([True] * len(BLOCKS), torch.bool),
        dcp_sharded=numbers([True] * len(BLOCKS), torch.bool),
        input_block_tables=tables,
        input_block_table_ptrs=pointers(tables),
        slot_mappings=a["out_slots"],
        _num_dirty_rows=R,
    )
    draft_buffers = SimpleNamespace(
        input_ids=a["out_input_ids"],
        positions=a["out_draft_positions"],
        query_start_loc=a["out_draft_query_start_loc"],
        seq_lens=a["out_draft_seq_lens"],
    )
    blocks = v.block_table.BlockTables
    inputs = v.input_batch

    def metadata(starts: Any, lens: Any, positions: Any) -> None:
        def compressed(group: int, ratio: int, out: str) -> None:
            v.compressor_utils.get_compressed_slot_mapping(
                R, a["slots"][group], starts, lens, tables[group], BLOCKS[group] // ratio,
                ratio, out=a[out],
            )  # fmt: skip

        blocks.compute_slot_mappings(state, indices, starts, positions, R)
        v.metadata.compute_token_to_req_indices(starts, a["out_token_to_req"], R, R)
        torch.ge(a["slots"][0][:R], 0, out=a["out_valid"])
        v.sparse_swa._COMPUTE_SWA_INDICES_AND_LENS_KERNEL(
            a["out_swa_indices"], a["out_swa_lens"], WINDOW, WINDOW, a["out_swa_lens"],
            a["out_swa_lens"], starts, lens, a["out_token_to_req"], a["out_valid"],
            tables[0], BLOCKS[0], a["replay_start"], num_tokens=R, token_offset=0,
        )  # fmt: skip
        compressed(1, RATIO, "out_c4_slots")
        compressed(2, RATIO, "out_indexer_slots")
        compressed(3, 128, "out_c128_slots")
        v.indexer._PREPARE_UNIFORM_DECODE_KERNEL(
            lens, a["out_decode_seq_lens"], tables[2], a["out_decode_block_table"],
            a["out_decode_lens"], R, 1,
        )  # fmt: skip
        a["out_decode_seq_lens"][R:] = 0
        a["out_decode_seq_lens"][:R] //= RATIO
        v.sparse_mla.build_c128a_topk_metadata(
            positions[:R], 128, R, a["out_token_to_req"], tables[3], BLOCKS[3] // 128,
            a["slots"][3], a["out_c128_indices"], a["out_c128_lens"], a["out_c128_prefill"],
            max_compressed_tokens=batch.c128_width,
        )  # fmt: skip

    def decode() -> None:
        starts, lens = a["query_start_loc"], a["out_seq_lens"]
        inputs.prepare_prefill_inputs(
            a["out_input_ids"], a["out_next_prefill_tokens"], indices, starts,
            a["all_token_ids"], a["prefill_len"], a["num_computed_tokens"],
        )  # fmt: skip
        inputs.prepare_pos_seq_lens(
            indices, starts, a["num_computed_tokens"], a["out_positions"], lens
        )
        a["out_logits_indices"] = inputs.combine_sampled_and_draft_tokens(
            a["out_input_ids"], indices, a["last_sampled_tokens"], starts, lens,
            a["prefill_len"], a["draft_tokens"], a["cu_num_logits"], R,
        )  # fmt: skip
        blocks.gather_block_tables(
            state, indices, R, num_computed_tokens=a["num_computed_tokens"]
        )
        metadata(starts, lens, a["out_positions"])

    def draft() -> None:
        v.speculator.prepare_decode_inputs(
            a["draft_tokens"][:R], a["seq_lens"], a["num_rejected"], draft_buffers,
            a["out_sample_positions"], batch.context, R,
        )  # fmt: skip
        metadata(
            draft_buffers.query_start_loc, draft_buffers.seq_lens, draft_buffers.positions
        )

    return {"decode": decode, "draft step": draft}


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises ``AssertionError`` where an output differs."""
    for name, array in ours.items():
        if not name.startswith("out_") or name == "out_c128_prefill":
            continue
        pairs = zip(array, theirs[name]) if isinstance(array, list) else [(array, theirs[name])]
        for a, b in pairs:
            np.testing.assert_array_equal(a.cpu().numpy(), b.cpu().numpy(), err_msg=name)


def measure(
    v: SimpleNamespace, batch: Batch, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Rows of the result, for each of what is measured."""

    def upload(array: np.ndarray) -> Any:
        return torch.from_numpy(array).cuda()

    ours, theirs = place(arrays(batch), upload), place(arrays(batch), upload)
    for what, peer in peer_steps(v, theirs, batch).items():
        # The draft step's tables are those that the decode has gathered.
        ways = ways_of(CALLS[what], ours, batch) | {"peer": peer}
        ways["nsa"]()
        peer()
        compare(ours, theirs)
        gpu = harness.gpu_times(
            {way: lambda _, call=ways[way]: call() for way in GPU_WAYS}
            | {"empty": harness.empty_operation()},
            options.rounds,
        )
        host = harness.host_times(
            {way: ways[way] for way in HOST_WAYS}, options.rounds, count=BATCH_OF_CALLS
        )
        yield {
            "what": what,
            "requests": batch.requests,
            "context": batch.context,
            "gpu_us": reporting.as_json(gpu),
            "host_us": reporting.as_json(host),
            "launches": {way: harness.count_kernels(ways[way]) for way in GPU_WAYS},
        }


def ways_of(
    make: Callable[..., list[Callable[[], None]]], a: dict[str, Any], batch: Batch
) -> dict[str, Callable[[], None]]:
    """nsa's, with all of their arguments made anew, as the peer's functions are called; and
    as an engine has them whose buffers stay."""
    requests = batch.requests

    def each() -> None:
        for function in make(a, batch):
            function()

    def together() -> None:
        vllm.one_launch(*make(a, batch), num_reqs=requests)

    prepared = vllm.prepare(*make(a, batch), num_reqs=requests)
    return {"nsa, each": each, "nsa": together, "nsa, prepared": prepared}


def in_short(row: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    gpu, host = reporting.medians(row), reporting.medians(row, "host_us")
    return [
        f"{row['what']}, {row['requests']} x {row['context']}",
        "/".join(str(row["launches"][way]) for way in GPU_WAYS),
        *(gpu[way] for way in GPU_WAYS),
        gpu["empty"],
        gpu["peer"] / gpu["nsa"],
        *(f"{time:.0f}" for time in host.values()),
        host["peer"] / host["nsa"],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--peers", type=Path, default=ROOT / ".peers/vllm")
    parser.add_argument("--requests", type=int, nargs="+", default=REQUESTS)
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS)
    options = parser.parse_args()
    if not reporting.has_device("vllm_steps"):
        return 1
    v = load_vllm(options.peers)
    rows = [
        row
        for context in options.contexts
        for requests in options.requests
        for row in measure(v, Batch(requests, context), options)
    ]
    rows.sort(key=lambda row: row["what"])
    host = [f"host {way}" for way in rows[0]["host_us"]]
    report = reporting.markdown(
        f"Before the graph of V4, us ({v.name} is the peer; buffers of {MAX_TOKENS} tokens)",
        ["what, requests x context", "launches", *GPU_WAYS, "empty", "ratio", *host, "host ratio"],
        map(in_short, rows),
    )
    for kind, bar in (("gpu_us", GPU_BAR), ("host_us", HOST_BAR)):
        times = [reporting.medians(row, kind) for row in rows]
        least = min(each["peer"] / each["nsa"] for each in times)
        report += reporting.verdict(f"least ratio of {kind}", least, bar) + "\n"
    result = {"benchmark": "vllm_steps", "machine": reporting.machine(None), "rows": rows}
    reporting.save(result, report, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
