# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs decode cases on arrays that touch pages without access.

    decode_guarded.py [--provoke before|after read|write]

Each array is exactly as large as its view reaches. Every case runs twice: with
the arrays directly after a page that can neither be read nor written, and
directly before one; arrays that a step only reads cannot be written either. A host kernel
that goes a byte too far ends the process, and the last line of the output says
at which case. --provoke does so on purpose.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from decode_cases import EVERYTHING_TWICE, Case, Problem, host_cases
from strided_arrays import Placement

PAGE = mmap.PAGESIZE
PROT_NONE, PROT_READ = 0, mmap.PROT_READ
SIDES = ("before", "after")

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def protect(address: int, size: int, protection: int) -> None:
    if libc.mprotect(address, size, protection) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


class GuardedArrays:
    target = "cpu"
    margin = 0
    negative_strides = True

    def __init__(self, side: str) -> None:
        self.side = side
        self.mappings: list[mmap.mmap] = []

    def upload(
        self, storage: np.ndarray, placement: Placement, writable: bool
    ) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        size = -(-max(storage.nbytes, 1) // PAGE) * PAGE
        mapping = mmap.mmap(-1, size + 2 * PAGE)
        self.mappings.append(mapping)
        start = PAGE if self.side == "before" else PAGE + size - storage.nbytes
        copy = np.frombuffer(mapping, storage.dtype, storage.size, start)
        copy[:] = storage
        address = np.frombuffer(mapping, np.uint8).ctypes.data
        protect(address, PAGE, PROT_NONE)
        protect(address + PAGE + size, PAGE, PROT_NONE)
        if not writable:
            protect(address + PAGE, size, PROT_READ)
        return placement.view(copy), lambda: copy


def cases() -> list[Case]:
    """Host cases, but for the slowest, and widths around the vector's."""
    chosen = [case for case in host_cases(0) if case.bs * case.max_len <= 200_000]
    for size in ("same", "narrower"):
        for max_len in range(1, 18):
            chosen.append(
                Case(EVERYTHING_TWICE, 5, max_len, size, "hostile", seed=max_len)
            )
    return chosen


def run() -> None:
    count = 0
    for case in cases():
        # The launch gets no array that is larger than it has to be.
        case = replace(case, caller="step")
        for side in SIDES:
            print(f"page {side} every array: {case}", flush=True)
            problem = Problem(case, GuardedArrays(side), tight=True)
            problem.run()
            problem.check()
            count += 1
    print(f"{count} runs stayed inside")


def provoke(side: str, access: str) -> None:
    place = Placement((5,), (1,), 0)
    data = np.arange(5, dtype=np.int32)
    view, _ = GuardedArrays(side).upload(data, place, writable=True)
    outside = view.ctypes.data + (-4 if side == "before" else view.nbytes)
    element = ctypes.c_int32.from_address(outside)
    if access == "read":
        print(element.value)
    else:
        element.value = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--provoke", nargs=2, metavar=("SIDE", "ACCESS"))
    options = parser.parse_args()
    faulthandler.enable()
    if options.provoke:
        provoke(*options.provoke)
    else:
        run()


if __name__ == "__main__":
    main()
