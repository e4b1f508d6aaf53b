# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sparse prefill on a GPU, against the reference and end to end.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from prefill_cases import Problem, guarded_step, problems
from prefill_end_to_end import check_end_to_end
from prefill_reference import combine, swa_token_ids, windows, workspace_bases
from prefill_step_cases import CHUNK, LAYER, chunk_cases

import nsa
from nsa import _cache


def check(gpu: Any, tried: Iterable[Problem], run: Any) -> None:
    failures = []
    for problem in tried:
        try:
            run(problem)
            gpu.synchronize()
            problem.check()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{problem.case}")
            if len(failures) == 5:
                break
    assert not failures, "\n\n".join(failures)


def test_cases(gpu: Any) -> None:
    check(gpu, problems(gpu), lambda problem: problem.run())


def test_guards_hold(gpu: Any) -> None:
    if not nsa.has_compiler():
        pytest.skip("no compiler")

    def run(problem: Problem) -> None:
        step = guarded_step(problem.case, "cuda")
        problem.run_step(step)
        step.check()

    check(gpu, list(problems(gpu))[::5], run)


def test_chunk(gpu: Any) -> None:
    step = _cache.get_step("prefill_chunk", CHUNK, "cuda")
    assert len(step.kernels) == 1
    tried = (case.problem(gpu) for case in chunk_cases())
    check(gpu, tried, lambda problem: problem.run_step(step))


@pytest.mark.parametrize("seed", range(3))
def test_end_to_end(gpu: Any, seed: int) -> None:
    chunk = _cache.get_step("prefill_chunk", CHUNK, "cuda")
    layer = _cache.get_step("prefill_layer", LAYER, "cuda")
    check_end_to_end(gpu, chunk, layer, seed)


def test_graph_replayed_with_new_contents(gpu: Any) -> None:
    """One capture of two operations, the second of which takes what the first leaves;
    everything but sizes changes on the device alone."""
    bs, queries, room, topk, columns = 33, 400, 3000, 64, 90
    rng = np.random.default_rng(0)
    shapes = {
        "seq_lens": bs,
        "extend_seq_lens": bs,
        "query_start_loc": bs + 1,
        "topk_indices": (queries, topk),
        "compressed_base": bs,
        "swa_base": bs,
        "out_ids": room,
        "out_lens": bs,
        "out_indices": (queries, 256),
        "combined_lens": queries,
    }
    arrays = {n: gpu.asarray(np.zeros(shape, np.int32)) for n, shape in shapes.items()}
    pool, full_to_swa = rng.permutation(bs), rng.integers(0, 10**6, 5000)
    table = rng.integers(0, 5000, (bs, 400)).astype(np.int32)
    fixed = {
        "req_pool_indices": gpu.asarray(pool),
        "full_to_swa": gpu.asarray(full_to_swa),
        "req_to_token": gpu.asarray(table),
    }

    def launch() -> None:
        lengths = {n: arrays[n] for n in ("seq_lens", "extend_seq_lens")}
        outputs = {n: arrays[n] for n in ("out_ids", "out_lens")}
        nsa.ops.build_swa_token_ids(**lengths, **fixed, window=128, **outputs)
        names = ("topk_indices", "query_start_loc", "seq_lens", "compressed_base")
        nsa.ops.combine_topk_swa_indices(
            **{n: arrays[n] for n in (*names, "swa_base", "out_indices")},
            gather_lens=arrays["out_lens"],
            window=128,
            compress_ratio=4,
            topk=topk,
            out_lens=arrays["combined_lens"],
        )

    launch()  # loads the kernels
    gpu.synchronize()
    replay = gpu.capture(launch)
    for _ in range(200):
        E = rng.multinomial(queries - 7, rng.dirichlet(np.ones(bs))).astype(np.int32)
        S = E + rng.choice([0, 2, 90, 300], bs).astype(np.int32)
        values = {
            "seq_lens": S,
            "extend_seq_lens": E,
            "query_start_loc": np.concatenate([[0], np.cumsum(E)]) + rng.integers(99),
            "topk_indices": rng.integers(-1, columns, (queries, topk)),
        }
        gathers, _ = windows(S, E, 128)
        values["compressed_base"], values["swa_base"] = workspace_bases(gathers, columns)
        for name, value in values.items():
            values[name] = value.astype(np.int32)
            arrays[name][...] = gpu.asarray(values[name])
        gpu.synchronize()
        replay()
        gpu.synchronize()
        ids = swa_token_ids(S, E, pool, table, full_to_swa, 128, room)["out_ids"]
        assert np.array_equal(gpu.asnumpy(arrays["out_ids"])[: len(ids)], ids)
        indices, lens = combine(
            values["topk_indices"],
            values["query_start_loc"],
            S,
            gathers,
            values["compressed_base"],
            values["swa_base"],
            128,
            4,
            topk,
            queries,
        )
        assert np.array_equal(gpu.asnumpy(arrays["out_indices"]), indices)
        assert np.array_equal(gpu.asnumpy(arrays["combined_lens"]), lens)
