# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small kernels for tests of the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nsa import simt

REGISTERS = {"p": "pred", "rs": "b16", "r": "b32", "rd": "b64"}


def ptx(body: str, parameters: int, threads: int = 32, shared: int = 0) -> str:
    """A kernel `k` of that body, whose parameters are in %rd90, %rd91, ... and the
    thread's number in %r90, as 64 bits in %rd80. Its first line is line 1 of the body."""
    head = [".version 7.0 .target sm_80 .address_size 64 .visible .entry k("]
    head.append(", ".join(f".param .u64 k_{n}" for n in range(parameters)))
    head.append(f") .maxntid {threads}, 1, 1 {{")
    head += [f".reg .{kind} %{name}<100>;" for name, kind in REGISTERS.items()]
    if shared:
        head.append(f".shared .align 16 .b8 s[{shared}];")
    head += [f"ld.param.b64 %rd{90 + n}, [k_{n}];" for n in range(parameters)]
    head.append("mov.u32 %r90, %tid.x; cvt.u64.u32 %rd80, %r90;")
    return " ".join(head) + "\n" + body.strip("\n") + "\n}\n"


def region(name: str, kind: str, array: np.ndarray, number: int) -> simt.Region:
    strides = tuple(step // array.itemsize for step in array.strides)
    address = array.__array_interface__["data"][0]
    return simt.Region(name, kind, address, array.itemsize, array.shape, strides, number)


def run(
    body: str,
    arrays: Mapping[str, tuple[str, np.ndarray]] | None = None,
    *values: int,
    blocks: int = 1,
    threads: int = 32,
    shared: int = 0,
    seed: int = 0,
) -> Any:
    """Runs the body; `arrays`: (kind, array) by name, the first parameters, before
    `values`."""
    arrays = arrays or {}
    regions = [
        region(n, *kind_array, k) for k, (n, kind_array) in enumerate(arrays.items())
    ]
    parameters = [r.pointer for r in regions] + list(values)
    text = ptx(body, len(parameters), threads, shared)
    return simt.run_kernel(text, "k", blocks, parameters, regions, seed)
