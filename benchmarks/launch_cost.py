# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Host time of a launch, by every way to launch: the decode replay for three backends.

    python benchmarks/launch_cost.py [--bundle DIR] [--module FILE] [--sglang DIR] [--out DIR]
                                     [--device cpu]

From C (launch_cost.c, where there are a GPU and a C compiler): cuLaunchKernel with ready
parameters, the generated header, the C ABI. From Python: `bound.launch`, a call of the step,
`nsa.ops`, the operator of torch, the step as a node of a graph whose sizes are updated, and
tvm-ffi with its own tensors and with torch's; with the same arguments, what tvm-ffi costs by
itself: a function that does nothing, and one that launches with ready parameters. All take turns
in one process. Beside SGLang's copy of eight fields to three backends, `nsa.ops.copy_metadata`.
The bundle is that of examples/decode_replay.mlir with its header, the module that of
`--emit=tvm-ffi`: those that scripts/pack_for_gpu.sh left in .bundles/, else compiled here. With
`--device cpu` the kernel runs in every call, and is in every time.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
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
PACKED = ROOT / ".bundles"
EXAMPLE = ROOT / "examples" / "decode_replay.mlir"
BACKENDS, TOPK, PAGE_SIZE = 3, 2048, 64
REQUESTS, COLUMNS, LAUNCHES, ROUNDS = 1, 64, 500, 41
#: Microseconds over a raw launch.
OVER_RAW = {"header": 0.5, "tvm_ffi": 1.5}
#: A way, what it is compared with, and the most of their ratio.
RATIOS = (
    ("bound_launch", "raw", 1.5),
    ("bound_launch_other_sizes", "raw", 1.5),
    ("copy_nsa", "copy_peer", 0.8),
)
#: Microseconds.
MOST = {"copy_nsa": 6.0}


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


#: Launches so often, and says how many microseconds each took.
Way = Callable[[int], float]


def repeat(call: Callable[[], Any]) -> Way:
    def run(count: int) -> float:
        call()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        return 1e6 * (time.perf_counter() - begin) / count

    return run


def python_ways(step: Any, arrays: dict[str, Any]) -> dict[str, Way]:
    from nsa import torch as operators

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

    def launch_two() -> None:
        bound.launch(bs=REQUESTS, max_len=COLUMNS)
        bound.launch(bs=REQUESTS, max_len=COLUMNS - 1)

    twice = repeat(launch_two)
    return {
        "bound_launch": repeat(lambda: bound.launch(bs=REQUESTS, max_len=COLUMNS)),
        # What the last launch has checked is not checked again; here it is other sizes each time.
        "bound_launch_other_sizes": lambda count: twice(count // 2) / 2,
        "step_call": repeat(lambda: step(**arrays, max_len=COLUMNS)),
        "nsa_ops": repeat(lambda: nsa.ops.replay_metadata(dsts, "decode", **inputs)),
        "torch_op": repeat(lambda: operators.replay_metadata(dsts, "decode", **inputs)),
    }


def graph_ways(step: Any, arrays: dict[str, Any]) -> dict[str, Way]:
    """The step as a node of a graph: an update of its sizes, a replay of the graph with nothing
    else in it, and both."""
    if not hasattr(torch.cuda.CUDAGraph, "raw_cuda_graph_exec"):
        print("launch_cost: torch's graphs do not show their instance", file=sys.stderr)
        return {}
    bound = step.bind(**arrays, bs=REQUESTS, max_len=COLUMNS)
    graph = torch.cuda.CUDAGraph(keep_graph=True)
    with torch.cuda.graph(graph):
        node = bound.capture(bs=REQUESTS, max_len=COLUMNS)
    graph.instantiate()
    instance = graph.raw_cuda_graph_exec()

    def update() -> None:
        bound.update(node, instance, bs=REQUESTS, max_len=COLUMNS)

    def both() -> None:
        update()
        graph.replay()

    return {
        "graph_update": repeat(update),
        "graph_replay": repeat(graph.replay),
        "graph_update_and_replay": repeat(both),
    }


def ffi_ways(functions: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Way]:
    """Calls of functions of tvm-ffi, each with its own tensors and with torch's."""
    import tvm_ffi

    theirs = [REQUESTS, COLUMNS, *map(tvm_ffi.from_dlpack, arrays.values())]
    torchs = [REQUESTS, COLUMNS, *arrays.values()]
    ways = {}
    for name, function in functions.items():
        ways[name] = repeat(lambda function=function: function(*theirs))
        ways[f"{name}_torch_tensors"] = repeat(lambda function=function: function(*torchs))
    return ways


def measure(ways: dict[str, Way], device: str) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for round_ in range(ROUNDS):
        for i in range(len(names)):
            # Whatever the machine does meanwhile meets all of them.
            name = names[(i + round_) % len(names)]
            times[name].append(ways[name](LAUNCHES))
            if device != "cpu":
                torch.cuda.synchronize()
    return {name: statistics.median(each) for name, each in times.items()}


def copy_ways(folder: Path | None) -> dict[str, Way]:
    """The copy of metadata to three backends: nsa's, and SGLang's if it is there."""
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]
    import copy_workload
    from replay_workload import Shape

    buffers = copy_workload.CopyBuffers(Shape(REQUESTS, COLUMNS), 3)
    ways = {"copy_nsa": repeat(lambda: copy_workload.copy_nsa(buffers))}
    if folder is not None:
        from peers import load_sglang

        sglang = load_sglang(folder)
        ways["copy_peer"] = repeat(lambda: copy_workload.copy_peer(sglang, buffers))
    return ways


def build(source: str, folder: str, *options: str) -> str | None:
    """A library of a C file beside this one; none without a C compiler, and says so."""
    compiler = os.environ.get("CC", "cc")
    if not shutil.which(compiler):
        print(f"launch_cost: no {compiler} (CC) to build {source} with", file=sys.stderr)
        return None
    library = f"{folder}/{Path(source).stem}.so"
    command = [compiler, "-O2", "-shared", "-fPIC", str(ROOT / "benchmarks" / source)]
    subprocess.run([*command, *options, "-o", library], check=True)
    return library


def build_c(bundle: str, folder: str) -> str | None:
    """launch_cost.c as a library; none without what it needs, and says so."""
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    for missing, path in (
        (f"{cuda}/include/cuda.h (CUDA_HOME)", Path(cuda, "include/cuda.h")),
        (f"the header in {bundle}", Path(bundle, "decode_replay.h")),
    ):
        if not path.exists():
            print(f"launch_cost: {missing} is missing; nothing is timed from C", file=sys.stderr)
            return None
    # The build's: of `build/python/nsa` it is `build/lib`.
    library = Path(nsa.__file__).parents[2] / "lib"
    return build(
        "launch_cost.c", folder, "-I", str(ROOT / "include"), "-I", bundle,
        "-I", f"{cuda}/include", "-L", str(library), f"-Wl,-rpath,{library}", "-lnsa_runtime",
        "-l:libcuda.so.1",
    )  # fmt: skip


def c_ways(path: str, bundle: str) -> dict[str, Way]:
    """Those of launch_cost.c, on torch's stream."""
    library = ctypes.CDLL(path)
    library.launch_cost_name.restype = ctypes.c_char_p
    library.launch_cost_time.restype = ctypes.c_double
    stream = torch.cuda.current_stream().cuda_stream
    library.launch_cost_begin(bundle.encode(), ctypes.c_void_p(stream))
    ways: dict[str, Way] = {}
    while (name := library.launch_cost_name(ctypes.c_size_t(len(ways)))) is not None:
        way = ctypes.c_size_t(len(ways))
        ways[name.decode()] = lambda count, way=way: library.launch_cost_time(way, count)
    return ways


def find_bundle(folder: str) -> str:
    """The flagship's: packed, or compiled into `folder`."""
    if (PACKED / "decode_replay/decode_replay.json").exists():
        return str(PACKED / "decode_replay")
    compiler = ROOT / "build/bin/nsa-compile"
    if not compiler.exists():
        sys.exit(
            "launch_cost: no .bundles/decode_replay and no build/bin/nsa-compile; run "
            "scripts/pack_for_gpu.sh where there is a compiler, or give --bundle"
        )
    subprocess.run([str(compiler), str(EXAMPLE), "-o", folder], check=True)
    return folder


def find_module(folder: str, is_packed: bool) -> str | None:
    """The flagship as a module of tvm-ffi; none without either way to get one."""
    packed = PACKED / "tvm_ffi/decode_replay.ffi.so"
    if is_packed and packed.exists():
        return str(packed)
    if not nsa.has_compiler():
        print("launch_cost: no module of tvm-ffi; give --module", file=sys.stderr)
        return None
    from nsa import tvm_ffi as modules

    return modules.build(EXAMPLE, folder)[0]


def verdicts(times: dict[str, float]) -> list[str]:
    """Whether the bars are met whose ways were timed."""
    bars = [
        (f"{name} over a raw launch, us", times[name] - times["raw"], most)
        for name, most in OVER_RAW.items()
        if name in times and "raw" in times
    ]
    bars += [
        (f"{name} / {other}", times[name] / times[other], most)
        for name, other, most in RATIOS
        if name in times and other in times
    ]
    bars += [(f"{name}, us", times[name], most) for name, most in MOST.items() if name in times]
    lines = [
        f"- {what}: {value:.2f}, at most {most:g}: {'met' if value <= most else 'MISSED'}"
        for what, value, most in bars
    ]
    for name in ("tvm_ffi", "tvm_ffi_torch_tensors"):
        alone = name.replace("tvm_ffi", "tvm_ffi_raw")
        if alone in times and name in times:
            lines.append(
                f"- {name}, of that the ABI's own, us: {times[alone] - times['raw']:.2f}, and "
                f"the module's checks: {times[name] - times[alone]:.2f}"
            )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", help="the flagship's, with its header")
    parser.add_argument("--module", help="the flagship as a module of tvm-ffi")
    parser.add_argument("--sglang", type=Path, help="folder with the unpacked wheel")
    parser.add_argument("--out", type=Path, help="where launch_cost.json and .md go")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options = parser.parse_args()
    is_cuda = options.device == "cuda"
    ways: dict[str, Way] = {}
    with tempfile.TemporaryDirectory() as folder:
        module = options.module or find_module(folder, is_packed=is_cuda)
        # name -> library, and the function in it
        functions = {"tvm_ffi_noop": (build("noop_ffi.c", folder), "noop")}
        if is_cuda:
            # A launch on the legacy stream waits for all others.
            torch.cuda.set_stream(torch.cuda.Stream())
            bundle = options.bundle or find_bundle(f"{folder}/bundle")
            library = build_c(bundle, folder)
            if library is not None:
                ways |= c_ways(library, bundle)
            functions["tvm_ffi_raw"] = library, "raw"
            step = nsa.load(bundle)["decode_replay"]
        else:
            step = nsa.compile(EXAMPLE, "cpu")["decode_replay"]
        functions["tvm_ffi"] = module, step.name
        arrays = arguments(options.device)
        ways |= python_ways(step, arrays)
        if module is not None:
            import tvm_ffi

            loaded = {
                name: tvm_ffi.load_module(path)[function]
                for name, (path, function) in functions.items()
                if path is not None
            }
            ways |= ffi_ways(loaded, arrays)
        if is_cuda:
            ways |= graph_ways(step, arrays)
            ways |= copy_ways(options.sglang)
        times = measure(ways, options.device)
    raw = times.get("raw")
    lines = ["| way | us a launch | over raw |", "|---|---|---|"]
    for name, value in times.items():
        over = f"{value - raw:+.2f}" if raw is not None else ""
        lines.append(f"| {name} | {value:.2f} | {over} |")
    text = "\n".join([*lines, "", *verdicts(times)])
    if not is_cuda:
        print(text)
        return 0
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import reporting

    result = {
        "benchmark": "launch_cost",
        "machine": reporting.machine(None),
        "rows": [
            {
                "bs": REQUESTS,
                "max_len": COLUMNS,
                "host_us": {name: {"median": value} for name, value in times.items()},
            }
        ],
    }
    reporting.save(result, text, options.out or ROOT / "build/bench")
    return 0


if __name__ == "__main__":
    sys.exit(main())
