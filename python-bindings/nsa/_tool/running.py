# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running a step from the command line: its arrays, and how long it takes."""

from __future__ import annotations

import os
import re
import statistics
import time
from typing import Any

from .. import DriverError, _compile, device_count
from . import facts
from .finding import Found, UsageError

try:
    import numpy
except ImportError:  # nothing else of the package needs it
    numpy = None  # type: ignore[assignment]

#: What NumPy has no type for: the same bits.
_STAND_INS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


def need_numpy() -> None:
    if numpy is None:
        raise UsageError("this needs NumPy: pip install numpy")


def parse_arguments(pairs: list[str], manifest: facts.Manifest) -> dict[str, str]:
    """--name=value, for the step's own names."""
    known = [argument["name"] for argument in manifest["arguments"]]
    given = {}
    for pair in pairs:
        match = re.fullmatch(r"--([^=]+)=(.*)", pair, re.DOTALL)
        if not match:
            raise UsageError(f"expected --NAME=VALUE but got {pair!r}")
        if match[1] not in known:
            raise UsageError(f"--{match[1]}: no argument of it; there is: {', '.join(known)}")
        given[match[1]] = match[2]
    return given


def parse_size(name: str, value: str) -> int:
    try:
        size = int(value)
    except ValueError:
        raise UsageError(f"--{name}: expected a size but got {value!r}") from None
    if not 0 <= size < 2**63:
        raise UsageError(f"--{name}: expected a size from 0 to 2^63 - 1 but got {value}")
    return size


def parse_shape(name: str, value: str) -> list[int]:
    """"3x70", or "3"."""
    if not re.fullmatch(r"\d+(x\d+)*", value):
        raise UsageError(f"--{name}: expected a shape like 3x70 but got {value!r}")
    return [int(part) for part in value.split("x")]


def load_array(name: str, path: str) -> Any:
    """A file of NumPy's."""
    try:
        return numpy.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        # What NumPy says is about pickles, whatever is in the file.
        raise UsageError(f"--{name}: {path} is no array that numpy.save wrote") from None


def make_array(argument: dict[str, Any], shape: list[int], fill: int = 0) -> Any:
    dtype = _STAND_INS.get(argument["dtype"], argument["dtype"])
    return numpy.full(shape, fill, dtype)


def prepare(found: Found, pairs: list[str], inputs: str) -> tuple[dict[str, int], dict[str, Any]]:
    """(sizes, NumPy arrays): those of --NAME=@FILE.npy, of --NAME=SHAPE, and of nobody, who get
    the least shape that the checks accept. `inputs`: "given" if arrays that are read must be."""
    need_numpy()
    manifest = found.manifest
    given = parse_arguments(pairs, manifest)
    ports = {argument["name"]: argument for argument in facts.array_ports(manifest)}
    arrays, shapes = {}, {}
    for name, value in given.items():
        if name not in ports:
            continue
        if value.startswith("@"):
            arrays[name] = load_array(name, value[1:])
            shapes[name] = list(arrays[name].shape)
        else:
            shapes[name] = parse_shape(name, value)
    missing = [
        n
        for n, p in ports.items()
        if (p["kind"] != "out" or p.get("access") == "inout") and n not in arrays
    ]
    if inputs == "given" and missing:
        raise UsageError(f"arrays that are read are missing: --{missing[0]}=@FILE.npy")
    sizes = {n: parse_size(n, v) for n, v in given.items() if n not in ports}
    complete = facts.complete_sizes(manifest, {**_named(manifest, shapes), **sizes})
    for name, shape in facts.smallest_shapes(manifest, complete, shapes).items():
        if name not in arrays:
            # What is not written shows.
            arrays[name] = make_array(ports[name], shape, 0 if ports[name]["kind"] == "in" else 99)
    return (complete if inputs != "given" else sizes), arrays


def _named(manifest: facts.Manifest, shapes: dict[str, list[int]]) -> dict[str, int]:
    """Sizes that dimensions of arrays name."""
    sizes = {}
    for argument in facts.array_ports(manifest):
        for dim, extent in enumerate(argument.get("extents") or []):
            if argument["name"] in shapes and extent is not None:
                plus = extent[2] if isinstance(extent, list) else 0
                name = extent[1] if isinstance(extent, list) else extent
                sizes[name] = shapes[argument["name"]][dim] - plus
    return sizes


def to_device(arrays: dict[str, Any], device: str) -> dict[str, Any]:
    if device == "cpu":
        return arrays
    # Says why, where there is none.
    device_count()
    try:
        import torch
    except ImportError:
        raise UsageError("arrays on the device need torch: pip install torch") from None
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def default_device(found: Found) -> str:
    """Where the step has kernels, or can have them."""
    if found.step.runs_on_host or found.step.simulates:
        return "cpu"
    try:
        device_count()
    except DriverError as error:
        if on_host(found).runs_on_host:
            return "cpu"
        raise UsageError(
            f"{found.where}: it has kernels for cuda alone, and there is {error}; 'python -m nsa"
            " compile --target cuda,cpu' makes some for the host as well"
        ) from None
    return "cuda"


def on_host(found: Found) -> Any:
    """The step for CPU arrays: itself, or its text compiled for them."""
    if found.step.runs_on_host or found.step.simulates or found.text is None:
        return found.step
    if not _compile.has_compiler():
        return found.step
    return _compile.compile(found.text, "cpu")[found.step.name]


def run(found: Found, pairs: list[str], device: str | None, save: str | None) -> str:
    sizes, arrays = prepare(found, pairs, "given")
    device = device or default_device(found)
    step = on_host(found) if device == "cpu" else found.step
    placed = to_device(arrays, device)
    step(**sizes, **placed)
    lines = []
    for argument in facts.array_ports(found.manifest):
        if argument["kind"] == "in":
            continue
        name = argument["name"]
        array = placed[name]
        array = array if device == "cpu" else array.cpu().numpy()
        if save is not None:
            os.makedirs(save, exist_ok=True)
            numpy.save(os.path.join(save, f"{name}.npy"), array)
        shape = "x".join(map(str, array.shape))
        shown = numpy.array2string(array.ravel(), threshold=8, edgeitems=4, separator=" ")
        lines.append([name, f"{array.dtype}[{shape}]", shown])
    return facts.as_table(lines)


def bench(found: Found, pairs: list[str], device: str | None, repeats: int) -> str:
    """Host time of a launch, and on a GPU the time of one among many."""
    sizes, arrays = prepare(found, pairs, "made")
    device = device or default_device(found)
    step = on_host(found) if device == "cpu" else found.step
    placed = to_device(arrays, device)
    bound = step.bind(**sizes, **placed)
    bound.launch()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        bound.launch()
        times.append(time.perf_counter() - begin)
    at = ", ".join(f"{name} {value}" for name, value in sizes.items())
    lines = []
    quartiles = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    label = "a launch, with its kernels" if device == "cpu" else "host time of a launch"
    lines.append([label, f"{1e6 * quartiles[1]:.2f} us (quartiles {1e6 * quartiles[0]:.2f}"
                  f" to {1e6 * quartiles[2]:.2f}; {repeats} launches)"])
    if device != "cpu":
        lines.append(["GPU time, back to back", f"{_gpu_time(bound, repeats):.2f} us"])
    moved = sum(each.bytes for kernel in facts.traffic(found.manifest, sizes) for each in kernel)
    lines.append(["bytes moved, at most", facts.human(moved)])
    return f"{found.step.name} ({at})\n{facts.as_table(lines)}"


def _gpu_time(bound: Any, repeats: int) -> float:
    """Microseconds of a launch in a captured graph of as many."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            bound.launch()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return 1e3 * begin.elapsed_time(end) / repeats
