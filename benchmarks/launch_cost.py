# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Host time of a launch, by every way to launch: the decode replay for three backends.

    python benchmarks/launch_cost.py [--bundle DIR] [--module FILE] [--out DIR] [--device cpu]

From C (launch_cost.c, where there are a GPU and a C compiler): cuLaunchKernel with ready
parameters, the generated header, the C ABI. From Python: `bound.launch`, a call of the step,
`nsa.ops`, the operator of torch, and tvm-ffi with its own tensors and with torch's. The bundle is
that of examples/decode_replay.mlir with its header, the module that of `--emit=tvm-ffi`; both are
compiled here, or come from scripts/pack_for_gpu.sh. With `--device cpu` the kernel runs in every
call, and is in every time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nsa

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "decode_replay.mlir"
BACKENDS, TOPK, PAGE_SIZE = 3, 2048, 64
REQUESTS, COLUMNS, LAUNCHES, ROUNDS = 1, 64, 500, 41
#: Microseconds over a raw launch.
BARS = {"header": 0.5, "tvm_ffi": 1.5}


def arguments(device: str) -> dict[str, Any]:
    """The step's arrays, by port."""

    def zeros(*shape: int, dtype: Any = torch.int32) -> Any:
        return torch.zeros(shape, dtype=dtype, device=device)

    arrays = {
        "seq_lens": zeros(REQUESTS, dtype=torch.int64),
        "req_pool_indices": zeros(REQUESTS, dtype=torch.int64),
        "req_to_token": zeros(REQUESTS, COLUMNS),
    }
    for backend in range(BACKENDS):
        for field, shape in (
            ("cache_seqlens", (REQUESTS,)),
            ("cu_seqlens_k", (REQUESTS + 1,)),
            ("nsa_cache_seqlens", (REQUESTS,)),
            ("nsa_cu_seqlens_k", (REQUESTS + 1,)),
            ("page_table_1", (REQUESTS, COLUMNS)),
            ("real_page_table", (REQUESTS, -(-COLUMNS // PAGE_SIZE))),
        ):
            arrays[f"b{backend}_{field}"] = zeros(*shape)
    return arrays


def python_ways(step: Any, module: str | None, device: str) -> dict[str, Callable[[], Any]]:
    from nsa import torch as operators

    arrays = arguments(device)
    bound = step.bind(**arrays, bs=REQUESTS, max_len=COLUMNS)
    dsts = [
        {k.removeprefix(f"b{b}_"): v for k, v in arrays.items() if k.startswith(f"b{b}_")}
        for b in range(BACKENDS)
    ]
    inputs = {
        **{k: v for k, v in arrays.items() if not k.startswith("b")},
        "max_len": COLUMNS,
        "topk": TOPK,
        "page_size": PAGE_SIZE,
    }
    ways = {
        "bound_launch": lambda: bound.launch(bs=REQUESTS, max_len=COLUMNS),
        "step_call": lambda: step(**arrays, max_len=COLUMNS),
        "nsa_ops": lambda: nsa.ops.replay_metadata(dsts, "decode", **inputs),
        "torch_op": lambda: operators.replay_metadata(dsts, "decode", **inputs),
    }
    if module is not None:
        import tvm_ffi

        function = tvm_ffi.load_module(module)[step.name]
        theirs = [REQUESTS, COLUMNS, *map(tvm_ffi.from_dlpack, arrays.values())]
        torchs = [REQUESTS, COLUMNS, *arrays.values()]
        ways["tvm_ffi"] = lambda: function(*theirs)
        ways["tvm_ffi_torch_tensors"] = lambda: function(*torchs)
    return ways


def measure(ways: dict[str, Callable[[], Any]], device: str) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for round_ in range(ROUNDS):
        for i in range(len(names)):
            name = names[(i + round_) % len(names)]
            call = ways[name]
            call()
            begin = time.perf_counter()
            for _ in range(LAUNCHES):
                call()
            times[name].append(1e6 * (time.perf_counter() - begin) / LAUNCHES)
            if device != "cpu":
                torch.cuda.synchronize()
    return {name: statistics.median(each) for name, each in times.items()}


def c_ways(bundle: str) -> dict[str, float]:
    """What launch_cost.c prints."""
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    # The build's: of `build/python/nsa` it is `build/lib`.
    library = Path(nsa.__file__).parents[2] / "lib"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/launch_cost"
        subprocess.run(
            [
                os.environ.get("CC", "cc"), "-O2", str(ROOT / "benchmarks/launch_cost.c"),
                "-I", str(ROOT / "include"), "-I", bundle, "-I", f"{cuda}/include",
                "-L", str(library), f"-Wl,-rpath,{library}", "-lnsa_runtime", "-l:libcuda.so.1",
                "-o", program,
            ],
            check=True,
        )  # fmt: skip
        lines = subprocess.run([program, bundle], check=True, capture_output=True, text=True)
    return {name: float(value) for name, value in map(str.split, lines.stdout.splitlines())}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", help="the flagship's, with its header")
    parser.add_argument("--module", help="the flagship as a module of tvm-ffi")
    parser.add_argument("--out", help="where launch_cost.json and .md go")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        module = options.module
        if module is None and nsa.has_compiler():
            from nsa import tvm_ffi as modules

            (module,) = modules.build(EXAMPLE, folder)
        times = {}
        if options.device == "cuda":
            if options.bundle is None:
                options.bundle = f"{folder}/bundle"
                subprocess.run(
                    [str(ROOT / "build/bin/nsa-compile"), EXAMPLE, "-o", options.bundle], check=True
                )
            times = c_ways(options.bundle)
            step = nsa.load(options.bundle)["decode_replay"]
        else:
            step = nsa.compile(EXAMPLE, "cpu")["decode_replay"]
        times |= measure(python_ways(step, module, options.device), options.device)
    raw = times.get("raw")
    lines = ["| way | us a launch | over raw |", "|---|---|---|"]
    for name, value in times.items():
        over = f"{value - raw:+.2f}" if raw is not None else ""
        lines.append(f"| {name} | {value:.2f} | {over} |")
    if raw is not None:
        for name, bar in BARS.items():
            if name in times:
                met = "met" if times[name] - raw <= bar else "MISSED"
                lines.append(f"\n{name} within {bar} us of a raw launch: {met}")
    text = "\n".join(lines)
    print(text)
    if options.out:
        Path(options.out, "launch_cost.md").write_text(f"{text}\n")
        Path(options.out, "launch_cost.json").write_text(json.dumps(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
