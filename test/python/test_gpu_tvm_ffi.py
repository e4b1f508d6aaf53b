# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules of tvm-ffi on a GPU: what the step computes, on the stream of the environment, captured,
from several threads; errors before a launch.

Skipped, with the reason, where there is no CUDA device, no torch or no tvm-ffi. The module is
compiled here, or comes from the bundles that scripts/pack_for_gpu.sh makes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import nsa
from nsa import tvm_ffi as modules

torch = pytest.importorskip("torch", reason="torch is not installed")
tvm_ffi = pytest.importorskip("tvm_ffi", reason="apache-tvm-ffi is not installed")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/decode_replay.mlir"
BS, COLUMNS = 9, 700


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "pdl"])
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param and torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("the device is older than sm_90")
    if nsa.has_compiler():
        folder = tmp_path_factory.mktemp("modules")
        (path,) = modules.build(EXAMPLE, folder, pdl=request.param)
    else:
        folder = Path(os.environ.get("NSA_TEST_BUNDLES", ""), "tvm_ffi" + "_pdl" * request.param)
        path = str(folder / "decode_replay.ffi.so")
        if not Path(path).exists():
            pytest.skip("no compiler, and no module in NSA_TEST_BUNDLES")
    return tvm_ffi.load_module(path)


class Call:
    """Arrays of the flagship, and what has to be in them."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(high: int, *shape: int, dtype: Any = torch.int64) -> Any:
            return torch.randint(1, high, shape, generator=generator, dtype=dtype).cuda()

        self.lens, self.pool = draw(COLUMNS, BS), draw(20, BS)
        self.table = draw(1 << 20, 20, COLUMNS, dtype=torch.int32)
        shapes = [(BS,), (BS + 1,), (BS,), (BS + 1,), (BS, COLUMNS), (BS, -(-COLUMNS // 64))]
        self.out = [
            torch.full(shape, -1, dtype=torch.int32, device="cuda")
            for _ in range(3) for shape in shapes
        ]  # fmt: skip

    def __call__(self, step: Any) -> None:
        step.decode_replay(None, COLUMNS, self.lens, self.pool, self.table, *self.out)

    def check(self) -> None:
        lens = self.lens.int()
        zero = lens.new_zeros(1)
        clipped = lens.clamp(max=2048)
        rows = self.table[self.pool]
        expected = [
            lens, torch.cat([zero, lens.cumsum(0, dtype=torch.int32)]),
            clipped, torch.cat([zero, clipped.cumsum(0, dtype=torch.int32)]),
            rows, rows[:, ::64] // 64,
        ]  # fmt: skip
        for place, array in enumerate(self.out):
            assert torch.equal(array, expected[place % 6]), place


def test_call(step: Any) -> None:
    call = Call()
    step.decode_replay_load(0)
    call(step)
    call.check()


def test_streams(step: Any) -> None:
    """The current stream of torch is that of the environment: behind a long kernel of the same
    stream nothing is read too early."""
    call = Call(1)
    wanted = call.lens.clone()
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        call.lens.zero_()
        torch.cuda._sleep(20_000_000)
        call.lens.copy_(wanted)
        call(step)
    torch.cuda.synchronize()
    call.check()


def test_captured(step: Any) -> None:
    call = Call(2)
    call(step)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(step)
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        call.lens.copy_(torch.randint(1, COLUMNS, (BS,), generator=generator))
        graph.replay()
        call.check()


def test_threads(step: Any) -> None:
    """Eight threads with streams of their own launch one module 100,000 times."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            call = Call(seed)
            torch.cuda.synchronize()
            with torch.cuda.stream(torch.cuda.Stream()) as _:
                for _ in range(12_500):
                    call(step)
                torch.cuda.current_stream().synchronize()
            call.check()
        except BaseException as error:  # noqa: BLE001 - of another thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


@pytest.mark.skipif("torch.cuda.device_count() < 2", reason="one CUDA device")
def test_two_devices(step: Any) -> None:
    call, other = Call(3), Call(4)
    for name in ("lens", "pool", "table"):
        setattr(other, name, getattr(other, name).to("cuda:1"))
    other.out = [array.to("cuda:1") for array in other.out]
    for _ in range(5):
        call(step)
        other(step)
    torch.cuda.synchronize(0)
    torch.cuda.synchronize(1)
    call.check()
    other.check()
    other.out[3] = call.out[3]
    with pytest.raises(ValueError, match="argument 'b0_nsa_cu_seqlens_k': expected a tensor on"):
        other(step)


def test_errors(step: Any) -> None:
    call = Call(5)
    call.out[4] = call.out[4][:, :-1]
    with pytest.raises(ValueError, match="argument 'b0_page_table_1'"):
        call(step)
    call = Call(5)
    call.lens = call.lens.cpu()
    with pytest.raises(ValueError, match="expected a tensor on cpu:0 but got one on cuda:0"):
        call(step)
    torch.cuda.synchronize()
    assert (call.out[0] == -1).all()
