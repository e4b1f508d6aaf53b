# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One decode replay for three attention backends: what fusion makes of it.

    make demo        or        build/venv/bin/python examples/demo.py

Compiles decode_replay.mlir twice, with fusion and without, runs both on the host, and
on a CUDA device if there is one, and compares every output with the formulas below.
"""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import nsa

SOURCE = Path(__file__).with_name("decode_replay.mlir")
NSA_OPT = SOURCE.parent.parent / "build/bin/nsa-opt"
BS, MAX_LEN, TOPK, PAGE_SIZE = 33, 5000, 2048, 64  # the last two as in the source
UNTOUCHED = -1


def make_inputs():
    """The state of an engine: each request's length, its row, and the rows' tokens."""
    rng = np.random.default_rng(0)
    return dict(
        seq_lens=rng.integers(1, MAX_LEN + 1, BS),
        req_pool_indices=rng.permutation(2 * BS)[:BS],
        req_to_token=rng.integers(0, 2**31, (2 * BS, MAX_LEN), np.int32),
    )


def reference(seq_lens, req_pool_indices, req_to_token):
    """What a backend needs, in NumPy."""
    clipped = np.minimum(seq_lens, TOPK)
    tokens = req_to_token[req_pool_indices]
    return dict(
        cache_seqlens=seq_lens,
        cu_seqlens_k=np.append(0, np.cumsum(seq_lens)),
        nsa_cache_seqlens=clipped,
        nsa_cu_seqlens_k=np.append(0, np.cumsum(clipped)),
        page_table_1=tokens,
        real_page_table=tokens[:, ::PAGE_SIZE] // PAGE_SIZE,
    )


def field_of(name):
    """The field that a destination is for: b0_cache_seqlens is backend 0's."""
    return name.partition("_")[2]


def run(step, inputs, to_device=np.copy, to_host=np.copy):
    """Runs the step and returns its outputs by name. They are a little larger than
    they have to be, and full of UNTOUCHED before."""
    expected = reference(**inputs)
    outputs = {}
    for name in step.signature.parameters:
        if (field := field_of(name)) in expected:
            shape = [size + 3 for size in expected[field].shape]
            outputs[name] = to_device(np.full(shape, UNTOUCHED, np.int32))
    arrays = {name: to_device(array) for name, array in inputs.items()}
    step(**arrays, **outputs, bs=BS, max_len=MAX_LEN)
    return {name: to_host(array) for name, array in outputs.items()}


def count_equal(outputs, inputs):
    """How many outputs are what the reference says, and UNTOUCHED elsewhere."""
    expected, equal = reference(**inputs), 0
    for name, output in outputs.items():
        want = expected[field_of(name)]
        image = np.full_like(output, UNTOUCHED)
        image[tuple(slice(size) for size in want.shape)] = want
        equal += np.array_equal(output, image)
    return equal


def find_device():
    """(to_device, to_host, name), or a sentence that says what is missing."""
    try:
        nsa.device_count()
    except nsa.DriverError as error:
        return str(error)
    try:
        import torch

        if torch.cuda.is_available():
            name = f"{torch.cuda.get_device_name()}, arrays by torch"
            return lambda a: torch.from_numpy(a).cuda(), lambda t: t.cpu().numpy(), name
    except ImportError:
        pass
    try:
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        return cupy.asarray, cupy.asnumpy, f"{name}, arrays by CuPy"
    except ImportError:
        return "there is a CUDA device, but neither torch nor CuPy to hold arrays"


def count_copies(*passes):
    command = [NSA_OPT, SOURCE, *passes]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"^\s*nsa\.copy\b", text, re.MULTILINE))


def compile_for_cuda(fuse):
    """(the module, milliseconds: the median of some)"""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        module = nsa.compile(SOURCE, target="cuda", fuse=fuse)
        times.append(1e3 * (time.perf_counter() - start))
    return module, statistics.median(times)


def main():
    forms = ("unfused", "fused")
    cuda, ms = zip(*(compile_for_cuda(fuse) for fuse in (False, True)))
    cuda = [module["decode_replay"] for module in cuda]
    host = [
        nsa.compile(SOURCE, target="cpu", fuse=fuse)["decode_replay"]
        for fuse in (False, True)
    ]
    copies = count_copies(), count_copies("--cse", "--nsa-merge-copies")

    print(f"{SOURCE.name}: {BS} requests, {MAX_LEN} columns\n")
    print(f"{'':20}{forms[0]:>12}{forms[1]:>12}")
    for label, numbers in (
        ("copies", copies),
        ("kernels", [len(step.kernels) for step in cuda]),
        ("PTX entries", [step.ptx.count(".entry ") for step in cuda]),
        ("PTX bytes", [len(step.ptx) for step in cuda]),
        ("text to PTX, ms", [f"{t:.1f}" for t in ms]),
    ):
        print(f"{label:20}{numbers[0]:>12}{numbers[1]:>12}")
    print()

    inputs = make_inputs()
    places = [("host kernels", host, {})]
    device = find_device()
    if isinstance(device, tuple):
        to_device, to_host, name = device
        functions = dict(to_device=to_device, to_host=to_host)
        places.append((f"PTX on {name}", cuda, functions))

    failed = False
    for place, steps, functions in places:
        print(f"{place}:")
        results = [run(step, inputs, **functions) for step in steps]
        for form, outputs in zip(forms, results):
            equal = count_equal(outputs, inputs)
            failed |= equal != len(outputs) or not outputs
            print(f"  {form:8} {equal} of {len(outputs)} outputs equal the reference")
        same = sum(
            np.array_equal(results[0][name], results[1][name]) for name in results[0]
        )
        failed |= same != len(results[0])
        print(f"  {same} of {len(results[0])} outputs are the same in both forms")
    if isinstance(device, str):
        print(f"PTX: not run: {device}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
