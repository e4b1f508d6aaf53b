# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels, alone and beside the metadata of three backends.

    python benchmarks/schedules.py [--sglang DIR] [--rounds N] [--out DIR]

With `--sglang`, a folder with the unpacked wheel, beside SGLang's JIT kernels, whose results
have to be the same. Kernels are compiled here, or come from NSA_BUNDLE_PATH. See
benchmarks/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import peers  # noqa: E402
import replay_peer  # noqa: E402
import reporting  # noqa: E402
from replay_modes import DECODE_FIELDS, MODES, PAGE_SIZE  # noqa: E402
from replay_workload import Buffers, Shape  # noqa: E402
from schedule_steps import (  # noqa: E402
    BATCHES,
    CLUSTERS,
    KINDS,
    SLOTS,
    replay_text,
    schedules,
)

import nsa  # noqa: E402
from nsa import _cache  # noqa: E402

CONTEXT = 16384
#: Requests of schedules alone.
REQUESTS = (1, 32, 128, 512, 2048, 8192, 65536, 131072)
FLASHMLA_REQUESTS = (1, 32, 128, 512, 2048)


def lengths(bs: int, longest: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(bs)
    lens = torch.randint(longest // 8, longest + 1, (bs,), generator=generator)
    return lens.to("cuda", torch.int32)


def table(rows: int, columns: int) -> torch.Tensor:
    return torch.zeros((rows, columns), dtype=torch.int32, device="cuda")


def same(mine: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    torch.cuda.synchronize()
    if not torch.equal(mine, theirs):
        raise AssertionError(f"{what}: nsa and the peer differ")


# ----------------------------------------------------------------------------
# Beside the metadata
# ----------------------------------------------------------------------------


def replay_row(bs: int, sglang: Any, kernels: Any, rounds: int) -> dict[str, harness.Timing]:
    """Three backends: metadata alone, with schedules, with schedules and plans."""
    buffers = Buffers(Shape(bs, CONTEXT), MODES["decode"])
    backends = len(buffers.backends)
    outs = [table(SLOTS + 1, 2) for _ in range(backends)]
    plans = [table(bs + 1, 2) for _ in range(backends)]
    inputs = dict(seq_lens=buffers.seq_lens, req_pool_indices=buffers.pool)
    inputs["req_to_token"] = buffers.table

    def bound(kinds: tuple[str, ...]) -> Callable[[int], None]:
        step = _cache.get_step("decode_replay", replay_text(bs, kinds), "cuda")
        arrays = dict(inputs)
        for number, fields in enumerate(buffers.backends):
            arrays |= {f"b{number}_{name}": fields[name] for name in DECODE_FIELDS}
            asked = schedules(kinds, outs[number], plans[number])
            arrays |= {f"b{number}_{kind}_out": value["out"] for kind, value in asked.items()}
        known = step.signature.parameters
        made = {name: array for name, array in arrays.items() if name in known}
        binding = step.bind(**made, bs=bs, max_len=CONTEXT)

        def launch(_: int) -> None:
            stream = torch.cuda.current_stream().cuda_stream
            binding.launch(bs=bs, max_len=CONTEXT, stream=stream)

        return launch

    lens = buffers.backends[0]["cache_seqlens"][:bs]

    def alone() -> None:
        for out, plan in zip(outs, plans):
            nsa.ops.paged_mqa_schedule(lens, out, convention="jit", num_sms=SLOTS)
            nsa.ops.plan_topk(lens, plan, clusters=CLUSTERS, arch="sm90")

    metadata = bound(())

    def separate(number: int) -> None:
        metadata(number)
        alone()

    operations: dict[str, Callable[[int], object]] = {
        "metadata": metadata,
        "+ schedules": bound(KINDS[:1]),
        "+ schedules, plans": bound(KINDS),
        "each alone": separate,
    }
    if sglang is not None:

        def theirs(_: int) -> None:
            replay_peer.once(sglang, buffers)
            for fields, out, plan in zip(buffers.backends, outs, plans):
                made = fields["cache_seqlens"][:bs]
                out.copy_(kernels.get_paged_mqa_logits_metadata(made, PAGE_SIZE, SLOTS))
                plan.copy_(kernels.plan_topk_v2(made))

        operations["SGLang"] = theirs
        operations["SGLang, metadata"] = lambda _: replay_peer.once(sglang, buffers)
    operations["empty"] = harness.empty_operation()
    return harness.gpu_times(operations, rounds)


# ----------------------------------------------------------------------------
# Alone
# ----------------------------------------------------------------------------


def paged_mqa_row(bs: int, kernels: Any, rounds: int) -> dict[str, harness.Timing]:
    lens, out = lengths(bs, 131072), table(SLOTS + 1, 2)

    def ours(_: int) -> None:
        nsa.ops.paged_mqa_schedule(lens, out, convention="jit", num_sms=SLOTS)

    workspace = torch.empty(-(-bs // 32), dtype=torch.int64, device="cuda")

    def two_launches(_: int) -> None:
        nsa.ops.paged_mqa_schedule(
            lens, out, convention="jit", num_sms=SLOTS, workspace=workspace
        )

    ours(0)
    wanted = out.clone()
    two_launches(0)
    same(out, wanted, f"paged MQA in two launches, {bs} requests")
    operations: dict[str, Callable[[int], object]] = {
        "nsa": ours,
        "nsa, two launches": two_launches,
    }
    if kernels is not None:

        def theirs(_: int) -> Any:
            return kernels.get_paged_mqa_logits_metadata(lens, PAGE_SIZE, SLOTS)

        ours(0)
        same(out, theirs(0), f"paged MQA, {bs} requests")
        operations["SGLang"] = theirs
    return harness.gpu_times(operations, rounds)


def topk_plan_row(bs: int, kernels: Any, rounds: int) -> dict[str, harness.Timing]:
    lens, out = lengths(bs, 1 << 19), table(bs + 1, 2)

    def ours(_: int) -> None:
        nsa.ops.plan_topk(lens, out, clusters=CLUSTERS, arch="sm90")

    operations: dict[str, Callable[[int], object]] = {"nsa": ours}
    if kernels is not None:
        theirs_out = torch.zeros_like(out)

        def theirs(_: int) -> None:
            kernels.plan_topk_v2(lens, out=theirs_out)

        ours(0)
        theirs(0)
        # Theirs are in any order.
        listed = int(out[0, 1]) + 1
        order = theirs_out[1:listed, 0].argsort()
        ordered = torch.cat([theirs_out[:1], theirs_out[1:listed][order]])
        same(out[:listed], ordered, f"plan, {bs} rows")
        operations["SGLang"] = theirs
    return harness.gpu_times(operations, rounds)


def flashmla_row(bs: int, kernels: Any, rounds: int) -> dict[str, harness.Timing]:
    lens, rows = lengths(bs, 131072), table(SLOTS, 8)
    splits = torch.zeros(bs + 1, dtype=torch.int32, device="cuda")

    def ours(_: int) -> None:
        nsa.ops.flashmla_schedule(lens, rows, splits)

    operations: dict[str, Callable[[int], object]] = {"nsa": ours}
    if kernels is not None:
        their_rows, their_splits = torch.zeros_like(rows), torch.zeros_like(splits)

        def theirs(_: int) -> None:
            kernels.flashmla_sched_meta(
                their_rows, their_splits, seqlens_k=lens, block_size_n=64,
                fixed_overhead_num_blocks=5, topk=-1,
            )  # fmt: skip

        ours(0)
        theirs(0)
        same(rows, their_rows, f"FlashMLA's tiles, {bs} requests")
        same(splits, their_splits, f"FlashMLA's splits, {bs} requests")
        operations["SGLang"] = theirs
    return harness.gpu_times(operations, rounds)


def main() -> None:
    parser = reporting.argument_parser(__doc__)
    options = parser.parse_args()
    if not reporting.has_device("schedules"):
        return
    sglang = kernels = None
    if options.sglang:
        sglang = peers.load_sglang(options.sglang)
        kernels = peers.load_schedules()
    parts = (
        ("Decode metadata of three backends", BATCHES,
         lambda bs: replay_row(bs, sglang, kernels, options.rounds)),
        ("Paged MQA schedule", REQUESTS, lambda bs: paged_mqa_row(bs, kernels, options.rounds)),
        ("Top-k plan", (64, 128, 512), lambda bs: topk_plan_row(bs, kernels, options.rounds)),
        (f"FlashMLA's schedule, {SLOTS} parts", FLASHMLA_REQUESTS,
         lambda bs: flashmla_row(bs, kernels, options.rounds)),
    )  # fmt: skip
    result: dict[str, Any] = {"benchmark": "schedules", "machine": reporting.machine(sglang)}
    report = reporting.headline("Schedules", result)
    for title, batches, measure in parts:
        rows = {bs: measure(bs) for bs in batches}
        result[title] = [
            {"bs": bs, "gpu_us": reporting.as_json(row)} for bs, row in rows.items()
        ]
        heads = ["requests", *next(iter(rows.values()))]
        cells = ([bs, *(t.median for t in row.values())] for bs, row in rows.items())
        report += "\n" + reporting.markdown(f"{title}, us", heads, cells)
    reporting.save(result, report, options.out)


if __name__ == "__main__":
    main()
