# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hand-written steps with host kernels made by ctypes: the runtime and its bindings are
tested without the compiler."""

import ctypes
import json
import os
from collections import Counter

import pytest
from gpu_libraries import LIBRARIES

import nsa

# Tests leave the user's cache alone; those of the cache have one of their own.
os.environ["NSA_CACHE_DIR"] = ""

#: What tests do that are skipped where the extensions have sanitizers.
SIMULATOR = "executes PTX in Python for minutes; how the compiler gets there, other files do"
PROVER = "gives formulas to z3 for minutes; how the compiler gets there, other files do"
NOT_SANITIZED = {
    "test_mutants.py": SIMULATOR,
    "test_prove.py": PROVER,
    "test_simt_mutants.py": SIMULATOR,
}


#: Of few tests that take long: last, they would leave one worker at work alone.
LONG = (
    "test_prove.py", "test_mutants.py", "test_simt_mutants.py", "test_simt_cases.py", "test_pairs.py",
    "test_formulas.py", "test_fuzz.py", "test_safety.py", "test_prebuild.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    counts = Counter(item.path.name for item in items)

    def place(item: pytest.Item) -> tuple[int, int, str]:
        name = item.path.name
        return LONG.index(name) if name in LONG else len(LONG), -counts[name], name

    # With --no-loadscope-reorder workers take files in this order.
    items.sort(key=place)
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        return
    for item in items:
        if why := NOT_SANITIZED.get(item.path.name):
            item.add_marker(pytest.mark.skip(reason=f"with sanitizers: {why}"))


MANIFEST = {
    "schema": 1,
    "step": "prefix",
    "chip": "sm_80",
    "ptx": "prefix.ptx",
    "arguments": [
        {"name": "n", "kind": "size"},
        {"name": "width", "kind": "size"},
        {
            "name": "lens",
            "kind": "in",
            "dtype": "int64",
            "shape": [None],
            "strides": [None],
            "extents": ["n"],
        },
        {
            "name": "table",
            "kind": "in",
            "dtype": "int32",
            "shape": [None, None],
            "strides": [None, 1],
            "extents": [None, None],
        },
        {
            "name": "sums",
            "kind": "out",
            "dtype": "int32",
            "shape": [None],
            "strides": [None],
        },
        {
            "name": "row",
            "kind": "out",
            "dtype": "int32",
            "shape": [None],
            "strides": [None],
        },
    ],
    "requires": [
        {"argument": "lens", "dim": 0, "at_least": "n"},
        {"argument": "sums", "dim": 0, "at_least": ["add", "n", 1]},
        {"argument": "row", "dim": 0, "at_least": "width"},
        {"argument": "table", "dim": 1, "at_least": "width"},
    ],
    "kernels": [
        {
            "name": "prefix",
            "threads": 256,
            "parameters": [
                {"field": "value", "argument": "n"},
                {"field": "pointer", "argument": "lens"},
                {"field": "stride", "argument": "lens", "dim": 0},
                {"field": "pointer", "argument": "sums"},
                {"field": "stride", "argument": "sums", "dim": 0},
            ],
            "segments": [{"rows": 1, "columns": 1, "tile": [1, 1]}],
        },
        {
            "name": "row",
            "threads": 256,
            "parameters": [
                {"field": "value", "argument": "width"},
                {"field": "pointer", "argument": "table"},
                {"field": "pointer", "argument": "row"},
                {"field": "stride", "argument": "row", "dim": 0},
            ],
            "segments": [{"rows": 1, "columns": "width", "tile": [1, 1024]}],
        },
    ],
}


def _values(parameters, count):
    return [ctypes.c_int64.from_address(parameters[i]).value for i in range(count)]


class HostStep:
    """The step of MANIFEST; `calls` has the names of the kernels that were called."""

    def __init__(self, manifest=MANIFEST):
        self.calls = []
        signature = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_void_p))

        @signature
        def prefix(parameters):
            self.calls.append("prefix")
            n, lens, lens_stride, sums, sums_stride = _values(parameters, 5)
            total = 0
            ctypes.c_int32.from_address(sums).value = 0
            for i in range(n):
                total += ctypes.c_int64.from_address(lens + 8 * lens_stride * i).value
                at = sums + 4 * sums_stride * (i + 1)
                ctypes.c_int32.from_address(at).value = total

        @signature
        def row(parameters):
            self.calls.append("row")
            width, table, out, stride = _values(parameters, 4)
            for i in range(width):
                value = ctypes.c_int32.from_address(table + 4 * i).value
                ctypes.c_int32.from_address(out + 4 * stride * i).value = value

        kernels = [
            (name, ctypes.cast(function, ctypes.c_void_p).value)
            for name, function in (("prefix", prefix), ("row", row))
        ]
        self.step = nsa.Step(json.dumps(manifest), None, kernels, keep=(prefix, row))


@pytest.fixture
def host():
    return HostStep()


def device_or_skip():
    """Skips the test, and says why, where no CUDA device can be used."""
    try:
        nsa.device_count()
    except nsa.DriverError as error:
        pytest.skip(f"no CUDA device: {error}")


@pytest.fixture(scope="module", params=list(LIBRARIES))
def gpu(request):
    """A library whose arrays are on a GPU, where kernels can be had for it."""
    device_or_skip()
    if not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"):
        pytest.skip("no compiler, and no bundles: NSA_BUNDLE_PATH is not set")
    try:
        library = LIBRARIES[request.param]()
    except Exception as error:
        pytest.skip(f"{request.param}: {error}")
    yield library
    library.free_memory()
