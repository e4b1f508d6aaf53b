# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hand-written PTX on torch arrays: streams, graph capture, errors.

Skipped, with the reason printed, where there is no device or no torch.
"""

import json
import time

import pytest

import nsa
from conftest import device_or_skip

PTX = """
.version 7.0
.target sm_50
.address_size 64
.visible .entry fill(.param .u64 x, .param .u64 y, .param .u64 s, .param .u64 n) {
  .reg .pred %p;
  .reg .b32 %t, %b, %i, %v;
  .reg .b64 %rx, %ry, %rs, %rn, %o, %i64;
  ld.param.u64 %rx, [x];
  ld.param.u64 %ry, [y];
  ld.param.u64 %rs, [s];
  ld.param.u64 %rn, [n];
  mov.u32 %t, %tid.x;
  mov.u32 %b, %ctaid.x;
  mad.lo.u32 %i, %b, 32, %t;
  cvt.u64.u32 %i64, %i;
  setp.ge.s64 %p, %i64, %rn;
  @%p bra DONE;
  shl.b64 %o, %i64, 2;
  add.s64 %o, %rx, %o;
  cvta.to.global.u64 %o, %o;
  ld.global.u32 %v, [%o];
  add.s32 %v, %v, 1;
  mul.lo.s64 %o, %i64, %rs;
  shl.b64 %o, %o, 2;
  add.s64 %o, %ry, %o;
  cvta.to.global.u64 %o, %o;
  st.global.u32 [%o], %v;
DONE:
  ret;
}
"""

MANIFEST = {
    "schema": 1,
    "step": "plus_one",
    "arguments": [
        {"name": "n", "kind": "size"},
        {
            "name": "x",
            "kind": "in",
            "dtype": "int32",
            "shape": [None],
            "strides": [1],
            "extents": ["n"],
        },
        {
            "name": "y",
            "kind": "out",
            "dtype": "int32",
            "shape": [None],
            "strides": [None],
        },
    ],
    "requires": [
        {"argument": "x", "dim": 0, "at_least": "n"},
        {"argument": "y", "dim": 0, "at_least": "n"},
    ],
    "kernels": [
        {
            "name": "fill",
            "threads": 32,
            "parameters": [
                {"field": "pointer", "argument": "x"},
                {"field": "pointer", "argument": "y"},
                {"field": "stride", "argument": "y", "dim": 0},
                {"field": "value", "argument": "n"},
            ],
            "segments": [{"rows": 1, "columns": "n", "tile": [1, 32]}],
        }
    ],
}


@pytest.fixture
def torch():
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch


@pytest.fixture
def step():
    return nsa.Step(json.dumps(MANIFEST), PTX)


def arrays(torch, n=100):
    x = torch.arange(n, dtype=torch.int32, device="cuda")
    return x, torch.zeros(n, dtype=torch.int32, device="cuda")


def test_call(torch, step):
    x, y = arrays(torch)
    step(x=x, y=y)
    assert torch.equal(y, x + 1)
    wide = torch.zeros(100, 3, dtype=torch.int32, device="cuda")
    step(x=x, y=wide[:, 1], n=50)
    assert torch.equal(wide[:50, 1], x[:50] + 1)
    assert int(wide[50:].abs().sum() + wide[:, 0].abs().sum()) == 0


def test_no_elements(torch, step):
    x, y = arrays(torch, 0)
    step(x=x, y=y)
    x, y = arrays(torch)
    step(x=x, y=y, n=0)
    assert int(y.sum()) == 0


def test_streams(torch, step):
    x, y = arrays(torch, 1 << 20)
    stream = torch.cuda.Stream()
    for given in (stream, stream.cuda_stream, None):
        y.zero_()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            # A launch on another stream would not wait for this.
            torch.cuda._sleep(10_000_000)
            x.add_(1)
            step(x=x, y=y, stream=given)
        stream.synchronize()
        assert torch.equal(y, x + 1)


@pytest.mark.parametrize("warm", [True, False])
def test_capture(torch, step, warm):
    """Legal in a capture, even if the kernels are not loaded before."""
    if not warm:
        # Other text, other module.
        step = nsa.Step(json.dumps(MANIFEST), PTX + f"// {time.time()}\n")
    x, y = arrays(torch)
    if warm:
        step.load()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(x=x, y=y)
    assert int(y.sum()) == 0
    for _ in range(3):
        x.add_(7)
        graph.replay()
        assert torch.equal(y, x + 1)


def test_bound_launch_in_capture(torch, step):
    x, y = arrays(torch)
    bound = step.bind(x=x, y=y)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        bound.launch(n=40)
    graph.replay()
    assert torch.equal(y[:40], x[:40] + 1) and int(y[40:].sum()) == 0


def test_mixed_devices(torch, step):
    x, y = arrays(torch)
    with pytest.raises(ValueError, match="argument 'y': .* on cuda:0 like 'x' .* on cpu"):
        step(x=x, y=y.cpu())


def test_no_host_kernel_for_cpu_arrays(torch, step):
    x, y = arrays(torch)
    with pytest.raises(nsa.DriverError, match="has no host kernels"):
        step(x=x.cpu(), y=y.cpu())


def test_overlap(torch, step):
    x, _ = arrays(torch)
    with pytest.raises(ValueError, match="argument 'y': .* it overlaps 'x'"):
        step(x=x[:50], y=x[25:75])


@pytest.mark.parametrize(
    "ptx, message",
    [
        (PTX.replace("sm_50", "sm_999"), "its PTX is for sm_999 but device 0 is sm_"),
        (PTX.replace("7.0", "99.0"), "its PTX version 99.0 is newer than the driver"),
        (PTX.replace("mov.u32 %t", "move.u32 %t"), "refuses its PTX"),
        (PTX.replace("fill", "full"), "no kernel 'fill' in its image"),
    ],
)
def test_bad_ptx(torch, ptx, message):
    with pytest.raises(nsa.DriverError, match=message):
        nsa.Step(json.dumps(MANIFEST), ptx).load()


def test_cupy(step):
    device_or_skip()
    cupy = pytest.importorskip("cupy")
    x = cupy.arange(100, dtype=cupy.int32)
    y = cupy.zeros(100, dtype=cupy.int32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x += 1
        step(x=x, y=y)
        step(x=x, y=y, stream=stream)
    stream.synchronize()
    assert (y == x + 1).all()


def test_jax(step):
    device_or_skip()
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("jax sees no CUDA device")
    x = jax.numpy.arange(100, dtype=jax.numpy.int32).block_until_ready()
    torch = pytest.importorskip("torch")
    y = torch.zeros(100, dtype=torch.int32, device="cuda")
    step(x=x, y=y)
    assert torch.equal(y.cpu(), torch.arange(1, 101, dtype=torch.int32))
