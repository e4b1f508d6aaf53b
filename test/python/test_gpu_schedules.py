# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import flashmla_cases
import numpy as np
import schedule_mix
import schedule_random
import topk_plan_cases
from schedule_cases import CONVENTIONS, draw, draw_indices, in_chunks, reference

import nsa


def test_paged_mqa(gpu: Any) -> None:
    rng = np.random.default_rng(0)
    for convention in CONVENTIONS:
        for bs in (0, 1, 3, 64, 1500, 4096):
            for slots in (1, 78, 132):
                lens = draw(rng, bs, 2, "int32")
                out = gpu.asarray(np.full((slots + 1, 2), -7, np.int32))
                nsa.ops.paged_mqa_schedule(
                    gpu.asarray(lens), out, convention=convention, num_sms=slots, next_n=2
                )
                wanted = reference(lens, convention, slots)
                np.testing.assert_array_equal(gpu.asnumpy(out), wanted)


def test_two_launches(gpu: Any) -> None:
    """Many requests, with a workspace that holds anything."""
    for convention in CONVENTIONS:
        for bs in (0, 1, 33, 4096, 65_536, 131_072, 1_000_000):
            rng = np.random.default_rng(bs)
            lens = rng.integers(-(2**16), 2**17, (bs, 1)).astype(np.int32)
            out = gpu.asarray(np.full((133, 2), -7, np.int32))
            workspace = gpu.asarray(np.full(-(-bs // 32), -(2**60), np.int64))
            nsa.ops.paged_mqa_schedule(
                gpu.asarray(lens), out, convention=convention, num_sms=132, workspace=workspace
            )
            wanted = schedule_random.paged_mqa(lens, convention, 132)
            np.testing.assert_array_equal(gpu.asnumpy(out), wanted)


def test_runs(gpu: Any) -> None:
    rng = np.random.default_rng(1)
    for convention in ("sm100", "vllm_sm100"):
        for tokens in (0, 1, 60, 2000, 40_000):
            lens, indices = draw(rng, tokens, 1, "int32"), draw_indices(rng, tokens)
            out = gpu.asarray(np.full((149, 2), -7, np.int32))
            nsa.ops.paged_mqa_schedule(
                gpu.asarray(lens), out, convention=convention, num_sms=148,
                indices=gpu.asarray(indices),
            )  # fmt: skip
            wanted = reference(lens, convention, 148, indices=indices)
            np.testing.assert_array_equal(gpu.asnumpy(out), wanted)


def test_chunks(gpu: Any) -> None:
    rng = np.random.default_rng(2)
    for convention in CONVENTIONS:
        for bs in (0, 131, 132, 133, 1500):
            lens = draw(rng, bs, 2, "int32")
            out = gpu.asarray(np.full((-(-bs // 132), 133, 2), -7, np.int32))
            nsa.ops.paged_mqa_schedule(
                gpu.asarray(lens), out, convention=convention, num_sms=132, next_n=2, chunk=132
            )
            wanted = in_chunks(lens, convention, 132, 132)
            np.testing.assert_array_equal(gpu.asnumpy(out), wanted)


def test_flashmla(gpu: Any) -> None:
    rng = np.random.default_rng(3)
    for options in flashmla_cases.OPTIONS.values():
        for bs in (0, 1, 40, 132, 1500, 4096):
            for parts in (1, 16, 132):
                lens = flashmla_cases.draw(rng, bs)
                extra = flashmla_cases.draw(rng, bs) if options.extra == "lengths" else None
                rows = gpu.asarray(np.full((parts, 8), flashmla_cases.UNTOUCHED, np.int32))
                splits = gpu.asarray(np.full(bs + 1, flashmla_cases.UNTOUCHED, np.int32))
                given: dict[str, Any] = {"extra_topk": options.extra}
                if extra is not None:
                    given = {"extra_lens": gpu.asarray(extra)}
                nsa.ops.flashmla_schedule(
                    gpu.asarray(lens), rows, splits, **given, **options.arguments
                )
                wanted = flashmla_cases.reference(options, lens, parts, extra)
                np.testing.assert_array_equal(gpu.asnumpy(rows), wanted[0])
                np.testing.assert_array_equal(gpu.asnumpy(splits), wanted[1])


def test_topk_plan(gpu: Any) -> None:
    rng = np.random.default_rng(4)
    for arch in topk_plan_cases.TABLES:
        for rows in (0, 30, 31, 200, 512, 513):
            for static in (-1, 50_000):
                lens = topk_plan_cases.draw(rng, rows)
                out = gpu.asarray(np.full((rows + 1, 2), topk_plan_cases.UNTOUCHED, np.int32))
                nsa.ops.plan_topk(
                    gpu.asarray(lens), out, clusters=30, arch=arch, static=static
                )
                wanted = topk_plan_cases.reference(lens, 30, arch, static)
                np.testing.assert_array_equal(gpu.asnumpy(out), wanted)


def test_replays(gpu: Any) -> None:
    for case in schedule_mix.gpu_cases():
        case(gpu)
