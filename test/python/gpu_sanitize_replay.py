# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs replays of every mode, whole and incremental, and expansions, on a GPU over hostile contents.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize_replay.py

Each array is an allocation of its own that ends where the array does. What no kernel has
a reason to read (rows of the table that no request has, what lies between elements) is
left uninitialised, for initcheck. Outputs are compared with the reference, and so is what
lies between their elements. Kernels are compiled, or found in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import itertools
import sys

import cupy
import expand_cases
import incremental_cases
import numpy as np
from gpu_sanitize import DeviceArray
from replay_cases import POISON, Case, arguments, hostile_cases, variants

from nsa import _cache


def place(array: np.ndarray) -> DeviceArray:
    """The array on the device, as far from a 16-byte boundary as it is here."""
    base = array if array.base is None else array.base
    offset = (array.ctypes.data - base.ctypes.data) % 16 // array.itemsize
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return DeviceArray(array.dtype, array.shape, strides, offset)


def place_input(array: np.ndarray) -> DeviceArray:
    placed = place(array)
    placed.write_run(0, array.ravel())
    return placed


def place_table(case: Case) -> DeviceArray:
    """The table, with the rows that requests have and no others."""
    table = case.inputs["req_to_token"]
    rows = {int(row) for row in case.inputs["req_pool_indices"]}
    placed = place(table)
    for row in rows & set(range(len(table))):
        placed.write_run(row * table.shape[1], table[row])
    return placed


def run(case: Case) -> None:
    step = _cache.get_step(f"{case.variant.mode}_replay", case.variant.text, "cuda")
    placed = {name: place_input(array) for name, array in case.inputs.items()}
    placed["req_to_token"] = place_table(case)
    for name, array in case.outputs.items():
        placed[name] = place(array)
        placed[name].fill(POISON)
    views = {name: array.view for name, array in placed.items()}
    everything = {**case.sizes, **views}
    step(**{name: everything[name] for name in arguments(case, step)})
    cupy.cuda.Device().synchronize()
    found = {}
    for name in case.outputs:
        image = placed[name].allocation.get()
        found[name] = image[placed[name].index]
        image[placed[name].index] = POISON
        assert (image == POISON).all(), f"{case.variant}: {name}: written between elements"
    case.check(found)


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    count = 0
    drawn = hostile_cases(variants(36))
    incremental = incremental_cases.hostile_cases(incremental_cases.variants(36))
    for case in itertools.chain(drawn, incremental):
        run(case)
        count += 1
    for case in expand_cases.cases(seed=4):
        case.run(cupy.asarray, cupy.asnumpy)
        count += 1
    print(f"{count} cases equal to the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
