# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How many instructions a thread of a kernel executes, in the simulator: what would be many times
slower on a GPU fails here, where there is none. Not how long they take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import ops, vllm
from nsa.compat import vllm as compat
from nsa.simt import _launch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import kpool_steps  # noqa: E402
import v4_steps  # noqa: E402
import vllm_layer_cases  # noqa: E402
import vllm_workload  # noqa: E402

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

CONTEXT = 4096


def random_inputs(dtypes: dict[str, str], bs: int, rows: int) -> dict[str, np.ndarray]:
    """Valid ones of a replay."""
    rng = np.random.default_rng(0)
    shapes = {
        "req_to_token": (bs + 1, CONTEXT),
        "full_to_swa": (CONTEXT,),
        "out_cache_loc": (rows,),
    }
    most = {"seq_lens": CONTEXT - 8, "req_pool_indices": bs + 1}
    return {
        name: rng.integers(1, most.get(name, CONTEXT), shapes.get(name, (bs,))).astype(dtype)
        for name, dtype in dtypes.items()
    }


def replay(function: Callable[..., None], steps: object, case: object, bs: int) -> None:
    outs = [
        {
            name: np.zeros(shape, dtype)
            for name, (shape, dtype) in case.outputs(bs, CONTEXT).items()
        }
        for _ in range(getattr(case, "steps", 1))
    ]
    rows = bs * case.next_n * len(outs)
    function(outs, **random_inputs(steps.INPUT_DTYPES, bs, rows), **case.arguments(CONTEXT))


def layer(case: vllm_layer_cases.Layer) -> None:
    getattr(compat, case.function)(**case.arguments())


def engine_step(requests: int) -> None:
    batch = vllm_workload.Batch(requests, CONTEXT)
    arrays = vllm_workload.place(vllm_workload.arrays(batch), np.copy)
    vllm.one_launch(*vllm_workload.calls(arrays, batch), num_reqs=requests)


CALLS: dict[str, Callable[[], None]] = {
    **{case.name: partial(layer, case) for case in vllm_layer_cases.CASES[:11]},
    **{
        case.name: partial(replay, ops.replay_v4, v4_steps, case, 5)
        for case in v4_steps.cases()
    },
    **{
        case.name: partial(replay, ops.replay_metadata, kpool_steps, case, 5)
        for case in kpool_steps.cases()
        if not case.fused
    },
    "vLLM's decode": partial(engine_step, 5),
}
#: Of a thread, in the mean over blocks: a tenth more than when this was written.
MOST = {
    "slots of 2,048 indices, 1 tokens": 105,
    "slots of 2,048 indices, 1 tokens, compacted": 284,
    "slots of 2,048 indices, 32 tokens": 105,
    "slots of 2,048 indices, 32 tokens, compacted": 284,
    "slots of 512 compressed indices, 1 tokens": 138,
    "slots of 512 compressed indices, 32 tokens": 138,
    "combined lists, 1 x 8192 queries": 655,
    "combined lists, 8 x 1024 queries": 692,
    "v4 decode": 167,
    "v4 target_verify": 213,
    "v41 decode": 169,
    "v41 target_verify": 187,
    "mtp draft_extend": 160,
    "mtp decode, 4 draft steps": 217,
    "pooled keys, decode": 123,
    "pooled keys, target_verify": 142,
    "pooled keys, draft_extend": 135,
    "pooled keys, decode, live columns": 121,
    "pooled keys, target_verify, live columns": 144,
    "pooled keys, draft_extend, live columns": 136,
    "vLLM's decode": 315,
}


@pytest.mark.parametrize("name", MOST)
def test_instructions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSA_TARGET", "simt")
    instructions, threads = 0, 0
    run_kernel = _launch.run_kernel

    def counted(ptx: str, kernel: str, blocks: int, *rest: object) -> object:
        nonlocal instructions, threads
        machine = run_kernel(ptx, kernel, blocks, *rest)
        instructions += machine.lane_instructions
        threads += blocks * machine.threads
        return machine

    monkeypatch.setattr(_launch, "run_kernel", counted)
    CALLS[name]()
    assert threads
    assert instructions / threads <= MOST[name]
