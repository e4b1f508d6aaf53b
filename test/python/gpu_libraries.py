# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CUDA arrays of CuPy and of torch, for the decode tests: what these need of either."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from strided_arrays import Placement


class _Arrays:
    """strided_arrays.Arrays, on what the libraries have under other names."""

    target = "cuda"
    margin = 64
    negative_strides = True

    def asarray(self, array: np.ndarray) -> Any:
        raise NotImplementedError

    def asnumpy(self, array: Any) -> np.ndarray:
        raise NotImplementedError

    def view(self, storage: Any, placement: Placement) -> Any:
        """The view that `placement` says, after the storage's margin."""
        raise NotImplementedError

    def upload(
        self, storage: np.ndarray, placement: Placement, writable: bool
    ) -> tuple[Any, Callable[[], np.ndarray]]:
        memory = self.asarray(storage)
        return self.view(memory, placement), lambda: self.asnumpy(memory)


class CupyArrays(_Arrays):
    # CuPy 14 divides a stride by an unsigned item size when it exports an array.
    negative_strides = False

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        cupy.cuda.runtime.getDeviceCount()

    def asarray(self, array: np.ndarray) -> Any:
        result = self.cupy.empty(array.shape, array.dtype)
        result.set(np.ascontiguousarray(array))
        return result

    def asnumpy(self, array: Any) -> np.ndarray:
        return array.get()

    def view(self, storage: Any, placement: Placement) -> Any:
        size = storage.dtype.itemsize
        start = storage.data + (self.margin + placement.first) * size
        strides = tuple(stride * size for stride in placement.strides)
        return self.cupy.ndarray(placement.shape, storage.dtype, start, strides=strides)

    def view_of(
        self, array: Any, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> Any:
        size = array.dtype.itemsize
        return self.cupy.ndarray(
            shape, array.dtype, array.data, strides=tuple(s * size for s in strides)
        )

    def empty(self, count: int) -> Any:
        return self.cupy.empty(count, np.int32)

    def arange(self, count: int) -> Any:
        return self.cupy.arange(count, dtype=np.int32)

    def stream(self) -> Any:
        return self.cupy.cuda.Stream(non_blocking=True)

    def current(self, stream: Any) -> AbstractContextManager[Any]:
        return stream

    def address(self, stream: Any) -> int:
        return stream.ptr

    def synchronize(self) -> None:
        self.cupy.cuda.Device().synchronize()

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """A graph of what `function` launches on the current stream."""
        stream = self.stream()
        with stream:
            stream.begin_capture()
            function()
            graph = stream.end_capture()
        return lambda: graph.launch(stream)

    def free_memory(self) -> int:
        self.cupy.get_default_memory_pool().free_all_blocks()
        return self.cupy.cuda.runtime.memGetInfo()[0]


class TorchArrays(_Arrays):
    negative_strides = False

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("torch sees no CUDA device")
        self.torch = torch

    def asarray(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array)).cuda()

    def asnumpy(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()

    def view(self, storage: Any, placement: Placement) -> Any:
        start = self.margin + placement.first
        return storage.as_strided(placement.shape, placement.strides, start)

    def view_of(
        self, array: Any, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> Any:
        return array.as_strided(shape, strides)

    def empty(self, count: int) -> Any:
        return self.torch.empty(count, dtype=self.torch.int32, device="cuda")

    def arange(self, count: int) -> Any:
        return self.torch.arange(count, dtype=self.torch.int32, device="cuda")

    def stream(self) -> Any:
        return self.torch.cuda.Stream()

    def current(self, stream: Any) -> AbstractContextManager[Any]:
        return self.torch.cuda.stream(stream)

    def address(self, stream: Any) -> int:
        return stream.cuda_stream

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            function()
        return graph.replay

    def free_memory(self) -> int:
        self.torch.cuda.empty_cache()
        return self.torch.cuda.mem_get_info()[0]


LIBRARIES = {"cupy": CupyArrays, "torch": TorchArrays}
