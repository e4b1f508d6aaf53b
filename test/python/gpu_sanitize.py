# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs decode bundles on a GPU over hostile contents, for compute-sanitizer.

    compute-sanitizer --tool memcheck python test/python/gpu_sanitize.py DIR...

Each array is an allocation of its own, of exactly its size, so that memcheck
sees every step outside. What a kernel has no reason to read (rows of the table
that no request has, elements past the batch) is left uninitialised, for
initcheck. Results are compared with the reference, and so is everything around
them, which has to stay as it was.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cupy
import numpy as np

import nsa
from reference import reference_metadata

POISON = -7
# Constants of the bundles' text that their manifests do not show.
TOPK, PAGE_SIZE = 2048, 64


@dataclass(frozen=True)
class Case:
    bs: int
    max_len: int
    columns: int
    contents: str = "ordinary"
    offset: int = 0  # elements by which every array is misaligned
    padding: int = 0  # elements between rows, and unused ones after vectors

    def __str__(self) -> str:
        return (
            f"bs {self.bs}, max_len {self.max_len} of {self.columns}, {self.contents},"
            f" offset {self.offset}, padding {self.padding}"
        )


def cases() -> Iterator[Case]:
    for bs in (0, 1, 2, 31, 32, 33, 128, 129):
        yield Case(bs, 130, 130)
        yield Case(bs, 67, 130, "hostile", offset=1, padding=3)
    for max_len in (0, 1, 3, 4, 5, 63, 64, 65, 1023, 1024, 1025, 4099):
        yield Case(3, max_len, max_len + 4)
        yield Case(2, max_len, max_len, "hostile", offset=3, padding=1)
    # Wider than the table, and a table without anything in it.
    yield Case(5, 200, 70, "hostile")
    yield Case(5, 200, 70, offset=2, padding=5)
    yield Case(3, 100, 0)
    yield Case(1024, 6, 8, "hostile")
    yield Case(4096, 2, 2, padding=1)
    yield Case(3, 70001, 70001)


def hostile_values(random: np.random.Generator, count: int) -> np.ndarray:
    limits = np.array(
        [0, -1, 1, -(2**63), 2**63 - 1, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40],
        np.int64,
    )
    return random.choice(limits, count)


class DeviceArray:
    """A view with chosen offset and strides in an allocation of its own size."""

    def __init__(
        self, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> None:
        self.dtype = np.dtype(dtype)
        last = sum((n - 1) * s for n, s in zip(shape, strides))
        self.size = offset + (last + 1 if 0 not in shape else 0)
        self.allocation = cupy.empty(max(self.size, 1), self.dtype)
        # Indices into the allocation, in the view's shape.
        self.index = np.full(shape, offset, np.int64)
        for axis, stride in enumerate(strides):
            steps = np.arange(shape[axis]) * stride
            self.index += np.expand_dims(
                steps, tuple(a for a in range(len(shape)) if a != axis)
            )
        self.view = cupy.ndarray(
            shape,
            self.dtype,
            self.allocation.data + offset * self.dtype.itemsize,
            strides=tuple(s * self.dtype.itemsize for s in strides),
        )

    def fill(self, value: int) -> None:
        self.allocation.set(np.full(self.allocation.shape, value, self.dtype))

    def write_run(self, start: int, values: np.ndarray) -> None:
        """Initialises consecutive elements of the allocation, and no others."""
        if len(values):
            run = self.allocation[start : start + len(values)]
            run.set(np.ascontiguousarray(values.astype(self.dtype)))


class Inputs:
    def __init__(self, case: Case, ports: dict[str, Any], seed: int) -> None:
        random = np.random.default_rng(seed)
        rows = 2 * case.bs + 3
        self.table = random.integers(
            -(2**31), 2**31, size=(rows, case.columns), dtype=np.int64
        ).astype(np.int32)
        if case.contents == "hostile":
            self.seq_lens = hostile_values(random, case.bs)
            self.pool = random.permutation(rows)[: case.bs]
            swapped = random.random(case.bs) < 0.5
            self.pool[swapped] = hostile_values(random, case.bs)[swapped]
        else:
            self.seq_lens = random.integers(0, case.max_len + 1, case.bs)
            self.pool = random.permutation(rows)[: case.bs]
        # What the device sees is what its types hold.
        self.seq_lens = self.seq_lens.astype(ports["seq_lens"]["dtype"])
        self.pool = self.pool.astype(ports["req_pool_indices"]["dtype"])

        self.arrays: dict[str, cupy.ndarray] = {}
        for name, values in (
            ("seq_lens", self.seq_lens),
            ("req_pool_indices", self.pool),
        ):
            stride = 2 if case.padding > 2 and ports[name]["strides"] == [None] else 1
            array = DeviceArray(
                values.dtype, (case.bs + case.padding,), (stride,), case.offset
            )
            for b, value in enumerate(values):
                array.write_run(int(array.index[b]), np.array([value]))
            self.arrays[name] = array.view
        table = DeviceArray(
            np.int32,
            self.table.shape,
            (case.columns + case.padding, 1),
            case.offset,
        )
        for row in {int(row) for row in self.pool if 0 <= row < rows}:
            if case.columns:
                table.write_run(int(table.index[row, 0]), self.table[row])
        self.arrays["req_to_token"] = table.view


def check(step: Any, ports: dict[str, Any], case: Case, seed: int) -> None:
    inputs = Inputs(case, ports, seed)
    expected = reference_metadata(
        "decode",
        inputs.seq_lens,
        inputs.pool,
        inputs.table,
        case.max_len,
        TOPK,
        PAGE_SIZE,
    )
    outputs: dict[str, tuple[DeviceArray, np.ndarray]] = {}
    for name, port in ports.items():
        if port["kind"] != "out":
            continue
        want = expected[re.sub(r"^b\d+_", "", name)]
        strides = (want.shape[-1] + case.padding, 1)[-want.ndim :]
        array = DeviceArray(np.int32, want.shape, strides, case.offset)
        array.fill(POISON)
        outputs[name] = (array, want)

    step(
        **inputs.arrays,
        **{name: array.view for name, (array, _) in outputs.items()},
        bs=case.bs,
        max_len=case.max_len,
    )
    cupy.cuda.Device().synchronize()
    for name, (array, want) in outputs.items():
        image = np.full(array.allocation.shape, POISON, np.int32)
        image[array.index] = want
        got = array.allocation.get()
        if not np.array_equal(got, image):
            at = int(np.flatnonzero(got != image)[0])
            raise AssertionError(
                f"{case}: {name}: element {at} of its allocation: expected "
                f"{image[at]} but got {got[at]}"
            )


def main() -> int:
    cupy.cuda.set_allocator(None)  # cudaMalloc for each array, no pool
    count = 0
    for directory in map(Path, sys.argv[1:]):
        module = nsa.load(str(directory))
        for manifest_file in sorted(directory.glob("*.json")):
            manifest = json.loads(manifest_file.read_text())
            ports = {port["name"]: port for port in manifest["arguments"]}
            for seed, case in enumerate(cases()):
                check(module[manifest["step"]], ports, case, seed)
                count += 1
    print(f"{count} cases equal to the reference")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
