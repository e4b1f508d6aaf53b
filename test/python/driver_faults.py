# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints what is said of a CUDA driver whose calls fail, or are not there: driver_stub.c, which
is preloaded; see test_driver_faults.py. The arguments are what is tried, as NAME or
NAME:CALL=CODE."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import nsa
from conftest import MANIFEST
from launch_counts import CudaArray

PTX = ".version 8.5\n.target sm_50\n"
GUARDS = {"buffer": "nsa_guards", "records": 3, "ops": [{"op": "nsa.copy", "location": ""}]}


def step(name: str, image: str = PTX, **more: Any) -> nsa.Step:
    """Of a name of its own: what is loaded once is not loaded again."""
    image = image.replace("\n.target", f" // {name}\n.target")
    return nsa.Step(json.dumps({**MANIFEST, **more}), image)


def bind(name: str, *arguments: Any, **more: Any) -> nsa.Binding:
    return step(name, *arguments, **more).bind(
        lens=CudaArray(4096, 64, 8), table=CudaArray(1 << 24, 32, 4, 5000),
        sums=CudaArray(12288, 32, 9), row=CudaArray(1 << 25, 32, 5000), n=8,
    )  # fmt: skip


ACTIONS: dict[str, Callable[[str], Any]] = {
    "devices": lambda name: nsa.device_count(),
    "launch": lambda name: bind(name).launch(width=10),
    "binary": lambda name: bind(name, "\x7fELF" + name).launch(width=10),
    "newer": lambda name: bind(name, PTX.replace("sm_50", "sm_90a")).launch(width=10),
    "guards": lambda name: bind(name, guards=GUARDS).launch(width=10),
    "capture": lambda name: bind(name).capture(width=10),
}


def main() -> None:
    for tried in sys.argv[1:]:
        action, _, fault = tried.partition(":")
        os.environ["STUB_FAULT"] = fault
        try:
            ACTIONS[action](tried)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
        else:
            print("no error")


if __name__ == "__main__":
    main()
