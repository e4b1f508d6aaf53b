# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints on which streams calls with tensors of two libraries launch; see test_launch.py."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import exchange
import nsa
from conftest import MANIFEST
from nsa import _nsa_runtime


def main() -> None:
    module = exchange.load(Path(sys.argv[1]))
    stub = ctypes.CDLL("libcuda.so.1")
    stub.stub_last_stream.restype = ctypes.c_long
    step = nsa.Step(json.dumps(MANIFEST), ".version 7.0\n.target sm_50\n")
    names = ("lens", "table", "sums", "row")

    def arrays(kind: Any, rows: int) -> list[Any]:
        return [
            kind(4096, 2, 64, (rows,)),
            kind(8192, 2, 32, (rows, 16)),
            kind(12288, 2, 32, (rows + 1,)),
            kind(16384, 2, 32, (16,)),
        ]

    def streams(between: bool) -> list[int]:
        call = _nsa_runtime.Caller(lambda *_: (step, {"width": 16}), names, ("n",))
        found = []
        for kind in ("Tensor", "OtherTensor", "OtherTensor", "Tensor", "OtherTensor"):
            call(arrays(getattr(module, kind), 8), (None,))
            found.append(stub.stub_last_stream())
            if between:
                call(arrays(module.Tensor, 4), (None,))
        return found

    print(json.dumps({"the last call's": streams(False), "an earlier call's": streams(True)}))


if __name__ == "__main__":
    main()
