# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Captures and updates a step of two kernels with driver_stub.c, which is preloaded; see
test_graph_nodes.py."""

from __future__ import annotations

import ctypes
import gc
import json
import re
from collections.abc import Callable
from typing import Any

import nsa
from conftest import MANIFEST
from launch_counts import CudaArray

EXEC = 0x7000
STUB = ctypes.CDLL("libcuda.so.1")


def seen() -> dict[str, int]:
    """The last update."""
    names = ("updates", "last_grid", "last_node", "last_graph", "is_enabled", "last_value")
    return {name: getattr(STUB, f"stub_{name}")() for name in names}


def refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    before = seen(), STUB.stub_launches()
    try:
        call()
    except error as raised:
        assert re.search(message, str(raised)), raised
    else:
        raise AssertionError(f"not refused: {message}")
    assert (seen(), STUB.stub_launches()) == before


def make(step: nsa.Step, row: int = 1 << 25) -> Any:
    return step.bind(
        lens=CudaArray(4096, 64, 8),
        table=CudaArray(1 << 24, 32, 4, 5000),
        sums=CudaArray(12288, 32, 9),
        row=CudaArray(row, 32, 5000),
        n=8,
    )


class TorchGraph:
    """What torch's CUDAGraph has."""

    def raw_cuda_graph_exec(self) -> int:
        return EXEC + 1


class CupyGraph:
    graphExec = EXEC + 2


def main() -> None:
    step = nsa.Step(json.dumps(MANIFEST), ".version 7.0\n.target sm_50\n")
    bound = make(step)
    refused(ValueError, "argument 'stream': expected a stream that is being captured",
            lambda: bound.capture(stream=7, width=5000))  # fmt: skip
    STUB.stub_capture(1)
    refused(ValueError, "kernel 'row' would have no blocks", lambda: bound.capture(width=0))
    refused(ValueError, "argument 'row'", lambda: bound.capture(width=5001))
    refused(TypeError, "argument 'height'", lambda: bound.capture(height=1))
    launched = STUB.stub_launches()
    node = bound.capture(stream=7, width=5000)
    assert STUB.stub_launches() == launched + 2
    assert node.binding is bound
    STUB.stub_capture(0)

    # The second kernel's node is the last one that is updated.
    for graph, address in ((EXEC, EXEC), (TorchGraph(), EXEC + 1), (CupyGraph(), EXEC + 2)):
        before = seen()
        bound.update(node, graph, width=1025)
        assert seen() == {
            "updates": before["updates"] + 2, "last_grid": 2, "last_node": launched + 2,
            "last_graph": address, "is_enabled": 1, "last_value": 1025,
        }  # fmt: skip
    # A kernel that has nothing to do is off, until it has.
    bound.update(node, EXEC, width=0)
    assert seen()["is_enabled"] == 0
    assert seen()["last_node"] == launched + 1 and seen()["last_value"] == 8
    bound.update(node, EXEC, width=1)
    assert seen()["is_enabled"] == 1 and seen()["last_value"] == 1
    # Another binding of the step, and sizes of bind time.
    other = make(step, 1 << 26)
    other.update(node, EXEC, n=3, width=4)
    assert seen()["last_value"] == 4

    refused(ValueError, "argument 'row'", lambda: bound.update(node, EXEC, width=5001))
    refused(TypeError, "argument 'height'", lambda: bound.update(node, EXEC, height=1))
    refused(ValueError, "graph_exec", lambda: bound.update(node, 0, width=1))
    refused(TypeError, "argument 'graph': expected an int, or an object",
            lambda: bound.update(node, "graph", width=1))  # fmt: skip
    longer = {**MANIFEST, "step": "longer", "kernels": MANIFEST["kernels"][:1]}
    stranger = make(nsa.Step(json.dumps(longer), ".version 7.0\n.target sm_50\n"))
    refused(ValueError, "argument 'node': expected one of step 'longer'",
            lambda: stranger.update(node, EXEC, width=1))  # fmt: skip

    # A node keeps its binding.
    del bound
    gc.collect()
    node.binding.update(node, EXEC, width=2)
    assert seen()["last_value"] == 2 and node.binding.step is step
    print("well")


if __name__ == "__main__":
    main()
