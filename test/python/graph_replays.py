# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the cases of other files from captured graphs whose contents change.

A case makes its arrays with a library, calls an operation once, and compares. Here the library
notes what each array holds, and the operation is captured while all of them hold something
else; then it is replayed with zeros, with bits at random, and at last with the case's own
contents, which the case compares. On the host a replay is a call with the same arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dsa_prefill_cases
import dsa_rank_cases
import kpool_cases
import numpy as np
import pytest
import prefill_v4_cases
import ragged_prefill_cases
import request_window_cases
import transform_cases
import v4_plan_cases
import v4_rank_cases
import v4_trtllm_cases
import v4_window_cases

import nsa

OPERATIONS = (
    "replay_v4", "replay_metadata", "dsa_prefill", "prefill_v4", "transform_index",
    "window_layout", "build_ragged_compressed_ids", "combine_topk_swa_indices",
    "pack_sparse_tail",
)  # fmt: skip


class _Host:
    """What is needed of a library, of NumPy's arrays."""

    def asarray(self, array: np.ndarray) -> Any:
        return np.array(array)

    def asnumpy(self, array: Any) -> np.ndarray:
        return np.array(array)

    def synchronize(self) -> None:
        pass

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        function()
        return function


class Replayed:
    """A library whose arrays change between a capture and its replays."""

    def __init__(self, library: Any, seed: int) -> None:
        self.library = library
        self.rng = np.random.default_rng(seed)
        self.made: list[tuple[Any, np.ndarray]] = []
        self.replays = 0

    def asarray(self, array: np.ndarray) -> Any:
        made = self.library.asarray(array)
        self.made.append((made, np.array(array)))
        return made

    def asnumpy(self, array: Any) -> np.ndarray:
        return np.array(self.library.asnumpy(array))

    def fill(self, content: Callable[[np.ndarray], np.ndarray]) -> None:
        for made, own in self.made:
            if own.size:
                made[...] = self.library.asarray(content(own))
        self.library.synchronize()

    def bits(self, own: np.ndarray) -> np.ndarray:
        return self.rng.integers(0, 256, own.nbytes, np.uint8).view(own.dtype).reshape(own.shape)

    def run(self, operation: Callable[..., None], *arguments: Any, **options: Any) -> None:
        def launch() -> None:
            operation(*arguments, **options)

        self.fill(np.zeros_like)
        launch()  # what is loaded on first use is loaded now
        self.fill(self.bits)
        replay = self.library.capture(launch)
        for content in (np.zeros_like, self.bits, lambda own: own):
            self.fill(content)
            replay()
            self.library.synchronize()
        self.replays += 1
        self.made.clear()

    @contextmanager
    def operations(self) -> Iterator[None]:
        """All operations run so."""
        with pytest.MonkeyPatch.context() as patch:
            for name in OPERATIONS:
                of_name = getattr(nsa.ops, name)

                def run(*arguments: Any, of_name: Any = of_name, **options: Any) -> None:
                    self.run(of_name, *arguments, **options)

                patch.setattr(nsa.ops, name, run)
            yield


Run = Callable[[int, Any], None]


def _cases() -> Iterator[tuple[str, Run]]:
    """Names, and what runs a case of a seed with a library."""
    for number, plan in enumerate(v4_plan_cases.CASES):
        yield f"plans {number}", lambda seed, gpu, c=plan: v4_plan_cases.run(c, seed, gpu=gpu)
    for case in v4_window_cases.CASES:
        yield (
            f"windows {case}",
            lambda seed, gpu, c=case: v4_window_cases.run(
                c, *v4_window_cases.draw(c, seed), gpu=gpu
            ),
        )
    for case in v4_rank_cases.CASES:
        yield (
            f"ranks {case}",
            lambda seed, gpu, c=case: v4_rank_cases.run(
                c, *v4_rank_cases.draw(c, seed), 3, seed % 3, gpu=gpu
            ),
        )
    for case in v4_trtllm_cases.CASES:
        yield f"trtllm {case}", lambda seed, gpu, c=case: v4_trtllm_cases.run(c, seed, gpu=gpu)
    for case in kpool_cases.CASES:
        # A schedule of lengths at random has as many items as there are bits.
        if not case.schedules:
            name = f"kpool {case.mode}-{case.per_request}-{case.pool}{'-ragged' * case.ragged}"
            yield name, lambda seed, gpu, c=case: kpool_cases.run(c, seed, gpu=gpu)
    for case in prefill_v4_cases.CASES:
        yield f"chunk {case}", lambda seed, gpu, c=case: prefill_v4_cases.run(c, seed, gpu=gpu)
    for number, (options, index) in enumerate(transform_cases.PAIRS):
        yield (
            f"transform {number}",
            lambda seed, gpu, o=options, i=index: transform_cases.run(o, seed, gpu=gpu, index=i),
        )
    for ratio in (1, 2, 4):
        yield (
            f"ragged rows {ratio}",
            lambda seed, gpu, q=ratio: ragged_prefill_cases.run_rows(q, seed, gpu=gpu),
        )
    for case in ragged_prefill_cases.COMBINES:
        yield (
            f"combine {case}",
            lambda seed, gpu, c=case: ragged_prefill_cases.run_combine(c, seed, gpu=gpu),
        )
    yield (
        "window layout",
        lambda seed, gpu: request_window_cases.run(
            request_window_cases.draw(seed, floors=seed % 3 == 0), gpu=gpu
        ),
    )
    yield (
        "sparse tail",
        lambda seed, gpu: v4_trtllm_cases.run_tail(seed + 62, 512, "int32", gpu=gpu),
    )
    yield (
        "DSA extend",
        lambda seed, gpu: dsa_prefill_cases.run(dsa_prefill_cases.draw(seed, "int64"), gpu=gpu),
    )
    for pool in dsa_prefill_cases.POOLS:
        yield (
            f"DSA extend, pools of {pool}",
            lambda seed, gpu, p=pool: dsa_prefill_cases.run_pools(
                dsa_prefill_cases.draw(seed, "int64"), p, gpu=gpu
            ),
        )
    yield (
        "DSA extend, ranks",
        lambda seed, gpu: dsa_rank_cases.run(
            dsa_rank_cases.draw(seed, "int64"), 3, seed % 3, gpu=gpu
        ),
    )


CASES = dict(_cases())


def run(name: str, seeds: range, gpu: Any = None) -> None:
    for seed in seeds:
        library = Replayed(gpu or _Host(), seed)
        with library.operations():
            CASES[name](seed, library)
        assert library.replays, "no operation ran"
