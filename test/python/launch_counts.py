# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints what launches ask of driver_stub.c, which is preloaded; see test_launch.py."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exchange
import nsa
from conftest import MANIFEST

LAUNCHES = 100


class Tensor(ctypes.Structure):
    """DLPack's, with what owns it."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 2),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


class CudaArray:
    """What looks like an array on a device, and is not read."""

    def __init__(self, address: int, bits: int, *shape: int) -> None:
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.tensor = Tensor(
            address, (2, 0), len(shape), (0, bits), 1,
            ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64)),
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, stream: Any = None) -> Any:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


def counts(launch: Callable[[], Any]) -> dict[str, float]:
    """Of each kind, how many a launch."""
    stub = ctypes.CDLL("libcuda.so.1")
    names = ("launches", "other_calls", "allocations")
    kinds = {name: getattr(stub, f"stub_{name}") for name in names}
    for function in kinds.values():
        function.restype = ctypes.c_long
    for _ in range(LAUNCHES):
        launch()
    before = [function() for function in kinds.values()]
    for _ in range(LAUNCHES):
        launch()
    after = [function() for function in kinds.values()]
    return {name: (b - a) / LAUNCHES for name, a, b in zip(kinds, before, after)}


def operations(kind: Any) -> dict[str, Callable[[], Any]]:
    """Calls of ``nsa.ops`` with tensors as torch has them, of that type."""
    addresses = iter(range(1 << 20, 1 << 30, 1 << 16))

    def tensor(*shape: int, bits: int = 32) -> Any:
        return kind(next(addresses), 2, bits, shape)

    def fields() -> dict[str, Any]:
        return {
            "cache_seqlens": tensor(8),
            "cu_seqlens_k": tensor(9),
            "nsa_cache_seqlens": tensor(8),
            "nsa_cu_seqlens_k": tensor(9),
            "page_table_1": tensor(8, 64),
            "real_page_table": tensor(8, 1),
        }

    source, dsts = fields(), [fields() for _ in range(3)]
    inputs = {
        "seq_lens": tensor(8, bits=64),
        "req_pool_indices": tensor(8, bits=64),
        "req_to_token": tensor(9, 64),
    }
    constants = {"max_len": 64, "topk": 2048, "page_size": 64}
    return {
        "replay_metadata": lambda: nsa.ops.replay_metadata(dsts, "decode", **inputs, **constants),
        "copy_metadata": lambda: nsa.ops.copy_metadata(source, dsts, "decode", bs=8, max_len=64),
    }


def main() -> None:
    step = nsa.Step(json.dumps(MANIFEST), ".version 7.0\n.target sm_50\n")
    arguments = dict(
        lens=CudaArray(4096, 64, 8),
        table=CudaArray(8192, 32, 4, 16),
        sums=CudaArray(12288, 32, 9),
        row=CudaArray(16384, 32, 16),
        width=16,
    )
    bound = step.bind(**arguments)
    ways = {
        "as bound": lambda: bound.launch(),
        "on a stream": lambda: bound.launch(stream=7),
        "other sizes": lambda: bound.launch(stream=7, n=3, width=5),
        "bound anew": lambda: step.bind(**arguments).launch(),
        "nothing to do": lambda: bound.launch(stream=7, width=0),
    }
    if nsa.has_compiler():
        stub = exchange.load(Path(sys.argv[1]))
        for kind in (stub.Tensor, stub.HandleTensor):
            ways |= {f"{name}, {kind.__name__}": way for name, way in operations(kind).items()}
    print(json.dumps({name: counts(launch) for name, launch in ways.items()}))


if __name__ == "__main__":
    main()
