# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programmatic dependent launch on a GPU: producer of lengths -> decode replay -> reader of tables.

The producer lets the step begin at once and writes late, so that a step which does not wait
reads the lengths of the replay before; the reader begins as early. Skipped, with the reason,
without a device of sm_90, CuPy or nvrtc. Kernels are compiled here, or come from the bundles in
NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from reference import reference_metadata

import nsa
from nsa import _cache

TEXT = (Path(__file__).resolve().parents[2] / "examples/decode_replay.mlir").read_text()
LENGTHS = """
nsa.step @lens(in %n : index, in %a[%n] : tensor<?xi64>, out %x : memref<?xi32>) {
  %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
}"""
TOPK, PAGE_SIZE, BACKENDS = 2048, 64, 3
MAX_LEN, CAPACITY, REPLAYS, CYCLES = 700, 40, 1000, 20_000
POISON, PARTS = -7, 3


@pytest.fixture(scope="module")
def cupy():
    device_or_skip()
    if not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"):
        pytest.skip("no compiler, and no bundles: NSA_BUNDLE_PATH is not set")
    cupy = pytest.importorskip("cupy")
    if int(cupy.cuda.Device().compute_capability) < 90:
        pytest.skip("the device is older than sm_90")
    cupy.zeros(1)  # makes the context current
    return cupy


@pytest.fixture(scope="module")
def kernels(cupy):
    from dependent_chain import Kernels

    try:
        return Kernels()
    except OSError as error:
        pytest.skip(str(error))


def get_step(fuse: bool = True, pdl: bool = True) -> nsa.Step:
    return _cache.get_step("decode_replay", TEXT, "cuda", "sm_90", fuse, pdl=pdl)


@dataclass
class Chain:
    """The three kernels with their arrays, for `bs` requests."""

    cupy: Any
    kernels: Any
    bs: int
    seed: int = 0

    def __post_init__(self) -> None:
        cupy, rng = self.cupy, np.random.default_rng(self.seed)
        self.drawn = rng.integers(0, MAX_LEN, (REPLAYS, self.bs), np.int64, endpoint=True)
        self.drawn[1::7] = 0
        self.drawn[2::7] = MAX_LEN
        self.pool = rng.permutation(2 * self.bs + 1)[: self.bs].astype(np.int64)
        self.tokens = rng.integers(0, 1 << 30, (2 * self.bs + 1, MAX_LEN), np.int32)
        self.lengths = cupy.zeros(self.bs, np.int64)
        self.round = cupy.full(1, -1, np.int64)
        self.device_drawn = cupy.asarray(self.drawn)
        self.device_pool = cupy.asarray(self.pool)
        self.device_tokens = cupy.asarray(self.tokens)
        self.results = cupy.zeros((REPLAYS, self.bs), np.uint64)
        sizes = {
            "cache_seqlens": (self.bs,),
            "cu_seqlens_k": (self.bs + 1,),
            "page_table_1": (self.bs, MAX_LEN),
            "nsa_cache_seqlens": (self.bs,),
            "nsa_cu_seqlens_k": (self.bs + 1,),
            "real_page_table": (self.bs, -(-MAX_LEN // PAGE_SIZE)),
        }
        self.fields = {
            f"b{backend}_{name}": cupy.full(size, POISON, np.int32)
            for backend in range(BACKENDS)
            for name, size in sizes.items()
        }
        self.stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.Device().synchronize()

    def bind(self, step: nsa.Step) -> Any:
        return step.bind(
            bs=self.bs,
            max_len=MAX_LEN,
            seq_lens=self.lengths,
            req_pool_indices=self.device_pool,
            req_to_token=self.device_tokens,
            **self.fields,
        )

    def run(self, bound: Any, pdl: bool) -> None:
        """One replay. Both neighbours are launched as early as they may be with `pdl`."""
        stream, backend = self.stream.ptr, "b1_"
        round_, drawn = self.round.data.ptr, self.device_drawn.data.ptr
        self.kernels.launch("advance", 1, 1, [round_], stream, False)
        # On every multiprocessor, several times.
        produce = [self.lengths.data.ptr, drawn, round_, self.bs, REPLAYS, CYCLES]
        self.kernels.launch("produce", 264, 64, produce, stream, pdl)
        bound.launch(stream=stream)
        table = self.fields[backend + "page_table_1"]
        consume = [
            self.fields[backend + "cache_seqlens"].data.ptr,
            self.fields[backend + "cu_seqlens_k"].data.ptr,
            table.data.ptr,
            table.shape[1],
            self.results.data.ptr,
            round_,
            self.bs,
            REPLAYS,
            PARTS,
        ]
        self.kernels.launch("consume", self.bs * PARTS, 128, consume, stream, pdl)

    def check(self) -> None:
        """Every replay by what the reader made of it, the last one in all fields."""
        self.stream.synchronize()
        rows = self.tokens[self.pool].astype(np.uint64)
        weighted = np.cumsum(rows * np.arange(1, MAX_LEN + 1, dtype=np.uint64), axis=1)
        weighted = np.concatenate([np.zeros((self.bs, 1), np.uint64), weighted], axis=1)
        before = np.cumsum(self.drawn, axis=1) - self.drawn
        expected = (
            weighted[np.arange(self.bs), self.drawn]
            + np.uint64(1000003) * self.drawn.astype(np.uint64)
            + np.uint64(7919) * before.astype(np.uint64)
        )
        np.testing.assert_array_equal(self.results.get(), expected)
        last = reference_metadata(
            "decode", self.drawn[-1], self.pool, self.tokens, MAX_LEN, TOPK, PAGE_SIZE
        )
        for name, array in self.fields.items():
            np.testing.assert_array_equal(array.get(), last[name[3:]], err_msg=name)


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "18 launches"])
@pytest.mark.parametrize("pdl", [False, True], ids=["plain", "pdl"])
@pytest.mark.parametrize("bs", [1, CAPACITY])
def test_replays_with_changing_lengths(cupy, kernels, bs, pdl, fuse) -> None:
    """1,000 replays of one graph, never waited for."""
    step = get_step(fuse, pdl)
    chain = Chain(cupy, kernels, bs)
    bound = chain.bind(step)
    graph = kernels.capture(chain.stream.ptr, lambda: chain.run(bound, pdl))
    for _ in range(REPLAYS):
        graph.launch(chain.stream.ptr)
    chain.check()
    try:
        count, programmatic = graph.edges()
    except AttributeError:
        return  # a driver before CUDA 12.3
    launches = len(step.kernels) + 3
    assert count == launches - 1
    # The producer's, the step's and the reader's.
    assert programmatic == (launches - 1 if pdl else 0)


def test_launched_on_a_stream(cupy, kernels) -> None:
    """The same without a graph."""
    step = get_step()
    chain = Chain(cupy, kernels, CAPACITY, seed=1)
    bound = chain.bind(step)
    for _ in range(REPLAYS):
        chain.run(bound, True)
    chain.check()


def test_between_plain_kernels(cupy, kernels) -> None:
    """Neighbours that know nothing of it: the step waits, and the reader for the step."""
    step = get_step()
    chain = Chain(cupy, kernels, 7, seed=2)
    bound = chain.bind(step)
    graph = kernels.capture(chain.stream.ptr, lambda: chain.run(bound, False))
    for _ in range(REPLAYS):
        graph.launch(chain.stream.ptr)
    chain.check()


def test_an_empty_step_between(cupy, kernels) -> None:
    """A launch of no blocks is none: the reader then follows the producer."""
    step = _cache.get_step("lens", LENGTHS, "cuda", pdl=True)
    out = cupy.full(4, POISON, np.int32)
    stream = cupy.cuda.Stream(non_blocking=True)
    lengths = cupy.arange(4)
    cupy.cuda.Device().synchronize()
    bound = step.bind(n=0, a=lengths, x=out)
    bound.launch(stream=stream.ptr)
    bound.launch(stream=stream.ptr, n=3)
    stream.synchronize()
    assert out.get().tolist() == [0, 1, 2, POISON]


def test_operations_by_the_environment(cupy, monkeypatch) -> None:
    monkeypatch.setenv("NSA_PDL", "1")
    step = _cache.get_step("decode_replay", TEXT, "cuda")
    assert "griddepcontrol.wait" in step.ptx
