# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A decode replay that is captured once on a GPU, and whose sizes and arrays change in the instance
of the graph. Steps are those of test_gpu_pdl.py: fused and not, plain and dependent. Skipped, with
the reason, without a device of sm_90."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from reference import reference_metadata
from test_gpu_pdl import BACKENDS, CAPACITY, MAX_LEN, PAGE_SIZE, POISON, TOPK, get_step

import nsa

UPDATES = 200


class Torch:
    """Captures with torch, which has to keep the graph for the nodes to stay."""

    def __init__(self) -> None:
        self.torch = pytest.importorskip("torch")
        if not self.torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device")
        if not hasattr(self.torch.cuda.CUDAGraph, "raw_cuda_graph_exec"):
            pytest.skip("torch's graphs do not show their instance")
        if self.torch.cuda.get_device_capability() < (9, 0):
            pytest.skip("the device is older than sm_90")

    def put(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array)).cuda()

    def get(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def capture(self, function: Callable[[], Any]) -> tuple[Any, Any, Callable[[], Any]]:
        """What `function` returns, the graph, and what replays it."""
        graph = self.torch.cuda.CUDAGraph(keep_graph=True)
        with self.torch.cuda.graph(graph):
            result = function()
        graph.instantiate()
        return result, graph, graph.replay


class Cupy:
    def __init__(self) -> None:
        self.cupy = pytest.importorskip("cupy")
        if int(self.cupy.cuda.Device().compute_capability) < 90:
            pytest.skip("the device is older than sm_90")
        self.stream = self.cupy.cuda.Stream(non_blocking=True)

    def put(self, array: np.ndarray) -> Any:
        return self.cupy.asarray(array)

    def get(self, array: Any) -> np.ndarray:
        return array.get()

    def synchronize(self) -> None:
        self.cupy.cuda.Device().synchronize()

    def capture(self, function: Callable[[], Any]) -> tuple[Any, Any, Callable[[], Any]]:
        with self.stream:
            self.stream.begin_capture()
            result = function()
            graph = self.stream.end_capture()
        return result, graph, lambda: graph.launch(self.stream)


@pytest.fixture(params=[Torch, Cupy])
def library(request: pytest.FixtureRequest) -> Any:
    device_or_skip()
    return request.param()


class Replay:
    """A step's arrays, with room for CAPACITY requests."""

    def __init__(self, library: Any, step: nsa.Step, seed: int) -> None:
        self.library = library
        rng = np.random.default_rng(seed)
        self.lens = rng.integers(0, MAX_LEN, CAPACITY, np.int64, endpoint=True)
        self.pool = rng.permutation(2 * CAPACITY)[:CAPACITY].astype(np.int64)
        self.tokens = rng.integers(0, 1 << 30, (2 * CAPACITY, MAX_LEN), np.int32)
        shapes = {
            "cache_seqlens": (CAPACITY,),
            "cu_seqlens_k": (CAPACITY + 1,),
            "page_table_1": (CAPACITY, MAX_LEN),
            "nsa_cache_seqlens": (CAPACITY,),
            "nsa_cu_seqlens_k": (CAPACITY + 1,),
            "real_page_table": (CAPACITY, -(-MAX_LEN // PAGE_SIZE)),
        }
        self.fields = {
            f"b{backend}_{name}": library.put(np.full(shape, POISON, np.int32))
            for backend in range(BACKENDS)
            for name, shape in shapes.items()
        }
        self.inputs = [library.put(array) for array in (self.lens, self.pool, self.tokens)]
        names = ("seq_lens", "req_pool_indices", "req_to_token")
        self.bound = step.bind(**dict(zip(names, self.inputs)), **self.fields)

    def check(self, bs: int, max_len: int) -> None:
        """Fields have been written as far as these sizes say; poisons them again."""
        expected = reference_metadata(
            "decode", np.minimum(self.lens, max_len)[:bs], self.pool[:bs],
            self.tokens[:, :max_len], max_len, TOPK, PAGE_SIZE,
        )  # fmt: skip
        self.library.synchronize()
        for name, array in self.fields.items():
            whole = np.full(array.shape, POISON, np.int32)
            part = expected[name[3:]]
            whole[tuple(slice(size) for size in part.shape)] = part
            np.testing.assert_array_equal(self.library.get(array), whole, err_msg=name)
            array[...] = POISON
        self.library.synchronize()

    def set_lens(self, max_len: int) -> None:
        """No request is longer than what is copied of it."""
        self.inputs[0][...] = self.library.put(np.minimum(self.lens, max_len))
        self.library.synchronize()


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "18 launches"])
@pytest.mark.parametrize("pdl", [False, True], ids=["plain", "pdl"])
def test_updates(library: Any, pdl: bool, fuse: bool) -> None:
    """One capture, and an update before each replay: of sizes, and of the arrays."""
    step = get_step(fuse, pdl)
    replays = [Replay(library, step, seed) for seed in range(2)]
    first = replays[0]
    first.bound.launch(bs=CAPACITY, max_len=MAX_LEN)  # loads the kernels
    node, graph, launch = library.capture(
        lambda: first.bound.capture(bs=CAPACITY, max_len=MAX_LEN)
    )
    assert node.binding is first.bound
    first.check(CAPACITY, MAX_LEN)
    launch()
    first.check(CAPACITY, MAX_LEN)

    rng = np.random.default_rng(5)
    for number in range(UPDATES):
        replay = replays[number % 3 == 2]
        bs = int(rng.integers(0, CAPACITY, endpoint=True)) if number % 7 else 0
        max_len = int(rng.integers(0, MAX_LEN, endpoint=True)) if number % 5 else MAX_LEN
        replay.set_lens(max_len)
        replay.bound.update(node, graph, bs=bs, max_len=max_len)
        launch()
        replay.check(bs, max_len)


def test_refused(library: Any) -> None:
    """What is refused leaves the graph as it is."""
    step = get_step(True, False)
    replay = Replay(library, step, 0)
    with pytest.raises(ValueError, match="expected a stream that is being captured"):
        replay.bound.capture(bs=1, max_len=8)
    node, graph, launch = library.capture(lambda: replay.bound.capture(bs=3, max_len=MAX_LEN))
    with pytest.raises(ValueError, match="to be at least"):
        replay.bound.update(node, graph, bs=CAPACITY + 1, max_len=MAX_LEN)
    with pytest.raises(ValueError, match="argument 'node'"):
        Replay(library, get_step(False, False), 1).bound.update(node, graph, bs=1, max_len=1)
    launch()
    replay.check(3, MAX_LEN)
