# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of paged caches on a GPU, against the reference and SGLang's kernels.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are
compiled here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from dequant_cases import Problem, cases
from dequant_reference import canonical, reference_dequant

import nsa
from nsa import layouts, steps

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def torch() -> Any:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch


def test_cases(gpu: Any) -> None:
    failures = []
    for case in cases():
        problem = Problem(case, gpu)
        try:
            problem.run()
            gpu.synchronize()
            problem.check()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{case}")
            if len(failures) == 5:
                break
    assert not failures, "\n\n".join(failures)


def test_guards_hold(gpu: Any) -> None:
    if not nsa.has_compiler():
        pytest.skip("no compiler")
    for case in list(cases())[::5]:
        problem = Problem(case, gpu)
        step = nsa.compile(case.text, guards=True)["dequant_paged"]
        step(tokens0=case.tokens, cache0=problem.cache, ids0=problem.ids, out0=problem.out)
        step.check()
        problem.check()


# Every number, as pages of one token: scale byte s and e4m3 bytes of one group.
@pytest.mark.parametrize("layout", ["v4", "v32"])
def test_every_number_with_every_scale(gpu: Any, layout: str) -> None:
    from test_dequant import all_numbers

    parsed = layouts.parse(layout)
    scales = np.arange(256, dtype=np.uint8)
    if layout == "v32":
        random = np.random.default_rng(2)
        bits = random.integers(0, 2**32, 2000, dtype=np.uint64).astype(np.uint32)
        scales = bits.view(np.float32)
    cache = all_numbers(parsed, scales)
    ids = np.arange(len(cache))
    out = gpu.asarray(np.empty((len(cache), parsed.row), np.uint16))
    nsa.ops.dequantize_k_cache_paged(
        gpu.asarray(cache), gpu.asarray(ids), out, layout, page_size=1
    )
    gpu.synchronize()
    got = canonical(gpu.asnumpy(out))
    assert np.array_equal(got, canonical(reference_dequant(cache, ids, parsed, 1)))


@pytest.mark.parametrize(
    ("layout", "page_size", "pages", "tokens"),
    [("v32", 64, 60_000, 1000), ("v4", 64, 70_000, 1000), ("v4", 64, 8, 4_300_000)],
    ids=["v32 cache of 2.5 GB", "v4 cache of 2.6 GB", "output of 2.2e9 elements"],
)
def test_beyond_32_bits(
    torch: Any, layout: str, page_size: int, pages: int, tokens: int
) -> None:
    """Offsets into the cache, or into the output, that 32 bits do not hold."""
    parsed = layouts.parse(layout)
    stride = parsed.page_stride(page_size)
    need = pages * stride + 2 * tokens * parsed.row + 8 * tokens
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < need + (1 << 30):
        pytest.skip(f"{need} bytes of device memory are not free")
    torch.manual_seed(0)
    cache = torch.randint(0, 256, (pages, stride), dtype=torch.uint8, device="cuda")
    ids = torch.randint(0, pages * page_size, (tokens,), device="cuda")
    ids[-3:] = torch.tensor([pages * page_size - 1, -1, pages * page_size])
    out = torch.full((tokens, parsed.row), 7.0, dtype=torch.bfloat16, device="cuda")
    nsa.ops.dequantize_k_cache_paged(cache, ids, out, layout, page_size=page_size)
    # The first and last rows, and some between.
    rows = torch.cat([torch.arange(50), torch.linspace(0, tokens - 1, 200).long()])
    rows = torch.cat([rows, torch.arange(tokens - 50, tokens)]).cuda()
    got = out[rows].view(torch.int16).cpu().numpy().view(np.uint16)
    used = ids[rows].cpu().numpy()
    # The reference wants the few pages that are used, by other numbers.
    valid = (used >= 0) & (used < pages * page_size)
    numbers, place = np.unique(np.where(valid, used // page_size, 0), return_inverse=True)
    few = cache[torch.from_numpy(numbers).cuda()].cpu().numpy()
    renamed = np.where(valid, place * page_size + used % page_size, -1)
    expected = reference_dequant(few, renamed, parsed, page_size)
    assert np.array_equal(canonical(got), canonical(expected))


def test_two_into_one_workspace(torch: Any) -> None:
    """Compressed rows and window rows of one workspace, by one launch, in a graph."""
    text = steps.dequant_paged([("v4", 64, "int32"), ("v4", 64, "int64")])
    step = nsa._cache.get_step("dequant_paged", text, "cuda")
    assert len(step.kernels) == 1
    layout = layouts.parse("v4")
    torch.manual_seed(1)
    stride = layout.page_stride(64)
    cache = torch.randint(0, 256, (40, stride), dtype=torch.uint8, device="cuda")
    ids0 = torch.randint(-2, 2600, (333,), dtype=torch.int32, device="cuda")
    ids1 = torch.randint(0, 2560, (77,), device="cuda")
    workspace = torch.zeros(500, 512, dtype=torch.bfloat16, device="cuda")
    bound = step.bind(
        cache0=cache, ids0=ids0, out0=workspace[:333],
        cache1=cache, ids1=ids1, out1=workspace[333:410],
    )  # fmt: skip
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        stream = torch.cuda.current_stream().cuda_stream
        bound.launch(stream=stream, tokens0=333, tokens1=77)
    for _ in range(3):
        ids0.random_(-2, 2600)
        graph.replay()
        torch.cuda.synchronize()
        ids = np.concatenate([ids0.cpu().numpy(), ids1.cpu().numpy()])
        want = reference_dequant(cache.cpu().numpy(), ids, layout, 64)
        got = workspace[:410].view(torch.int16).cpu().numpy().view(np.uint16)
        assert np.array_equal(canonical(got), canonical(want))


@pytest.fixture(scope="module")
def sglang() -> tuple[Any, list[Any]]:
    peers = ROOT / ".peers/sglang"
    if not (peers / "sglang/kernels").is_dir():
        pytest.skip(f"no {peers}: scripts/fetch_peers.sh makes it")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from peers import load_sglang, load_sparse_prefill

    return load_sglang(peers), load_sparse_prefill(peers)


@pytest.mark.parametrize("layout", ["v32", "v4"])
@pytest.mark.parametrize("scales", ["usual", "all"])
def test_equal_to_sglang(
    torch: Any, sglang: tuple[Any, list[Any]], layout: str, scales: str
) -> None:
    """Bit by bit, on what engines write, and with NaN and with scales 1..254."""
    from dequant_workload import Buffers

    buffers = Buffers(layout, 64, cached=1 << 14, tokens=5000, seed=3)
    if scales == "all":
        random = torch.randint_like(buffers.cache, 1, 255)
        if layout == "v4":
            buffers.cache.copy_(random)
        else:
            buffers.cache[:, : 512 * 64].copy_(random[:, : 512 * 64])
    out = buffers.new_output()
    nsa.ops.dequantize_k_cache_paged(
        buffers.cache, buffers.ids, out, layout, page_size=64
    )
    for name, dequantize in buffers.peers(*sglang).items():
        peer = dequantize(buffers.new_output())
        same = (out == peer) | (out.isnan() & peer.isnan())
        assert same.all(), name


def test_compat(torch: Any) -> None:
    from nsa.compat import sglang

    torch.manual_seed(0)
    cache = torch.randint(0, 256, (640, 1, 656), dtype=torch.uint8, device="cuda")
    ids = torch.randint(-1, 641, (100,), dtype=torch.int32, device="cuda")
    expected = reference_dequant(
        cache.view(640, 656).cpu().numpy(), ids.cpu().numpy(), layouts.parse("v32"), 1
    )
    for call in (sglang.dequantize_k_cache_paged, sglang.dequantize_k_cache_paged_dsa):
        out = call(cache.view(torch.float8_e4m3fn), ids)
        assert out.shape == (100, 1, 576) and out.dtype == torch.bfloat16
        got = out[:, 0].view(torch.int16).cpu().numpy().view(np.uint16)
        assert np.array_equal(canonical(got), canonical(expected))

    stride = layouts.parse("v4").page_stride(64)
    cache = torch.randint(0, 256, (9, stride), dtype=torch.uint8, device="cuda")
    expected = reference_dequant(
        cache.cpu().numpy(), ids.cpu().numpy(), layouts.parse("v4"), 64
    )
    workspace = torch.zeros(300, 1, 512, dtype=torch.bfloat16, device="cuda")
    for call in (sglang.dequantize_k_cache_paged, sglang.dequantize_k_cache_paged_dsv4):
        out = call(cache.view(torch.bfloat16), ids, page_size=64, out=workspace[100:200])
        got = out[:, 0].view(torch.int16).cpu().numpy().view(np.uint16)
        assert np.array_equal(canonical(got), canonical(expected))
        assert not workspace[:100].any() and not workspace[200:].any()
