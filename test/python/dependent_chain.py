# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels before and after a step, and CUDA graphs of all of them, by the driver alone.

For programmatic dependent launch: a producer of lengths and a reader of tables, in CUDA C, that wait and
let the next kernel begin as such kernels do. Compiled by nvrtc, which CUDA and torch bring;
nothing else of theirs is used.
"""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

SOURCE = r"""
__device__ void wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
__device__ void let_next_begin() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// The number of the replay. Launched plainly: it begins when all before it has ended.
extern "C" __global__ void advance(long long *round) { *round += 1; }

// Writes the lengths of this replay, late: first every multiprocessor reads what was there
// before, through its cache, and lets time pass.
extern "C" __global__ void produce(long long *lengths, const long long *drawn,
                                   const long long *round, long long bs,
                                   long long rounds, long long cycles) {
  let_next_begin();
  wait();
  long long seen = 0, value;
  for (long long i = threadIdx.x; i < bs; i += blockDim.x) {
    asm volatile("ld.global.ca.s64 %0, [%1];" : "=l"(value) : "l"(lengths + i));
    seen += value;
  }
  long long begin = clock64();
  while (clock64() - begin < cycles + (seen == -1))
    ;
  long long step = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < bs; i += step)
    lengths[i] = drawn[*round % rounds * bs + i];
}

// For each row, a sum over the live columns of a table, with the row's length and the sum of
// the lengths before it: what the blocks of an attention kernel read of metadata. As there, a
// row is cut into `parts`, a block each; they add to what `result` holds.
extern "C" __global__ void consume(const int *lengths, const int *sums,
                                   const int *table, long long stride,
                                   unsigned long long *result,
                                   const long long *round, long long bs,
                                   long long rounds, long long parts) {
  let_next_begin();
  wait();
  __shared__ unsigned long long total;
  int row = blockIdx.x / parts, part = blockIdx.x % parts, length = lengths[row];
  int columns = (length + parts - 1) / parts, begin = part * columns;
  int end = min(begin + columns, length);
  if (threadIdx.x == 0)
    total = 0;
  __syncthreads();
  unsigned long long mine = 0;
  for (int column = begin + threadIdx.x; column < end; column += blockDim.x)
    mine += (unsigned long long)(unsigned)table[row * stride + column] * (column + 1);
  atomicAdd(&total, mine);
  __syncthreads();
  if (threadIdx.x == 0) {
    if (part == 0)
      total += 1000003ull * (unsigned)length + 7919ull * (unsigned)sums[row];
    atomicAdd(&result[*round % rounds * bs + row], total);
  }
}
"""

#: CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
_PROGRAMMATIC_SERIALIZATION = 6
#: CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC
_PROGRAMMATIC_EDGE = 1


class _Attribute(ctypes.Structure):
    _fields_ = [
        ("id", ctypes.c_int),
        ("padding", ctypes.c_char * 4),
        ("value", ctypes.c_int),
        ("rest", ctypes.c_char * 60),
    ]


class _Config(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    ]


class _Edge(ctypes.Structure):
    _fields_ = [
        ("from_port", ctypes.c_ubyte),
        ("to_port", ctypes.c_ubyte),
        ("type", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte * 5),
    ]


def _nvrtc() -> Any:
    folders = [os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64")]
    folders += glob.glob(os.path.join(sys.prefix, "lib/python*/site-packages/nvidia/*/lib"))
    folders += [f for path in sys.path for f in glob.glob(os.path.join(path, "nvidia/*/lib"))]
    names = ["libnvrtc.so.13", "libnvrtc.so.12"]
    for name in [os.path.join(f, n) for f in folders for n in names] + names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError(f"no libnvrtc in {', '.join(folders)}")


def compile_ptx(source: str = SOURCE, chip: str = "90") -> bytes:
    """CUDA C as PTX. Raises ``OSError`` without nvrtc, ``RuntimeError`` with its log."""
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"source.cu", 0, None, None)
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture=compute_{chip}".encode())
    failed = nvrtc.nvrtcCompileProgram(program, 1, options)
    what = "ProgramLog" if failed else "PTX"
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(text.value.decode())
    return text.value


class Kernels:
    """Kernels of CUDA C in the current context, by name, and graphs. By default `advance`,
    `produce` and `consume`.

    Raises ``OSError`` without nvrtc or a driver, ``RuntimeError`` where a call of the driver
    fails, as for a device older than `chip`.
    """

    def __init__(
        self,
        source: str = SOURCE,
        names: Sequence[str] = ("advance", "produce", "consume"),
        chip: str = "90",
    ) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), compile_ptx(source, chip))
        self.functions: dict[str, ctypes.c_void_p] = {}
        for name in names:
            self.functions[name] = ctypes.c_void_p()
            self._call(
                "cuModuleGetFunction",
                ctypes.byref(self.functions[name]),
                module,
                name.encode(),
            )

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self.cuda, name)(*arguments):
            raise RuntimeError(f"{name} failed with error {status}")

    def launch(
        self,
        name: str,
        blocks: int | tuple[int, int],
        threads: int,
        arguments: Sequence[int],
        stream: int,
        pdl: bool,
    ) -> None:
        """`blocks` along x, or x and y; `arguments`: addresses and integers, 8 bytes each."""
        x, y = blocks if isinstance(blocks, tuple) else (blocks, 1)
        values = [ctypes.c_int64(value) for value in arguments]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        attribute = _Attribute(_PROGRAMMATIC_SERIALIZATION, b"", 1)
        config = _Config(
            (x, y, 1), (threads, 1, 1), 0, stream, ctypes.pointer(attribute), int(pdl)
        )
        self._call(
            "cuLaunchKernelEx", ctypes.byref(config), self.functions[name], pointers, None
        )

    def capture(self, stream: int, run: Callable[[], None]) -> Graph:
        """A graph of what `run` launches on `stream`, which is not the default one."""
        graph, handle = ctypes.c_void_p(), ctypes.c_void_p(stream)
        self._call("cuStreamBeginCapture_v2", handle, 1)  # of this thread alone
        try:
            run()
        finally:
            self._call("cuStreamEndCapture", handle, ctypes.byref(graph))
        return Graph(self, graph)


class Graph:
    """A captured graph, instantiated."""

    def __init__(self, kernels: Kernels, graph: ctypes.c_void_p) -> None:
        self.kernels, self.graph = kernels, graph
        self.instance = ctypes.c_void_p()
        kernels._call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(self.instance),
            graph,
            ctypes.c_ulonglong(0),
        )

    def launch(self, stream: int) -> None:
        self.kernels._call("cuGraphLaunch", self.instance, ctypes.c_void_p(stream))

    def edges(self) -> tuple[int, int]:
        """(edges, those of them that are programmatic). Raises ``AttributeError`` with a
        driver before CUDA 12.3, which says nothing of edges."""
        get = self.kernels.cuda.cuGraphGetEdges_v2
        count = ctypes.c_size_t()
        get(self.graph, None, None, None, ctypes.byref(count))
        nodes = (ctypes.c_void_p * count.value)()
        others = (ctypes.c_void_p * count.value)()
        data = (_Edge * count.value)()
        if status := get(self.graph, nodes, others, data, ctypes.byref(count)):
            raise RuntimeError(f"cuGraphGetEdges_v2 failed with error {status}")
        return count.value, sum(edge.type == _PROGRAMMATIC_EDGE for edge in data)
