# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints which tensors are gone while a call runs Python; see test_launch.py."""

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
from nsa import _nsa_runtime


def main() -> None:
    module = exchange.load(Path(sys.argv[1]))
    stub = ctypes.CDLL("libcuda.so.1")
    stub.stub_launches.restype = ctypes.c_long
    step = nsa.Step(json.dumps(MANIFEST), ".version 7.0\n.target sm_50\n")
    names = ("lens", "table", "sums", "row")
    caller = _nsa_runtime.Caller(lambda *_: (step, {"width": 16}), names, ("n",))
    sets = _nsa_runtime.SetCaller(lambda *_: (caller, range(4)))
    tensors: dict[str, Any] = {}

    def fill() -> None:
        shapes = ((64, (8,)), (32, (8, 16)), (32, (9,)), (32, (16,)))
        for number, (name, (bits, shape)) in enumerate(zip(names, shapes)):
            tensors[name] = module.HandleTensor(4096 * (number + 1), 2, bits, shape)

    def call(size: Any = 8, stream: Any = None) -> None:
        sets.call((), tensors, (), (size,), stream)

    class Object:
        """An integer, or a stream, that lets go of all arrays."""

        def __init__(self) -> None:
            self.before, self.freed = module.freed(), -1

        def __index__(self) -> int:
            tensors.clear()
            self.freed = module.freed() - self.before
            return 8

        @property
        def cuda_stream(self) -> int:
            return self.__index__()

    def count(launch: Callable[[], None]) -> int:
        launches = stub.stub_launches()
        launch()
        # The step has two kernels.
        return (stub.stub_launches() - launches) // 2

    found: dict[str, Any] = {}
    fill()
    call()
    call()
    asked, read = module.descriptions()
    launches = count(call)
    after = module.descriptions()
    found["plain"] = dict(launches=launches, asked=after[0] - asked, read=after[1] - read)
    for name, argument in (("a size", "size"), ("a stream", "stream")):
        fill()
        call()
        given = Object()
        launches = count(lambda: call(**{argument: given}))
        freed = module.freed() - given.before
        found[name] = {"launches": launches, "freed": given.freed, "freed after": freed}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
