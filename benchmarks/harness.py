# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How the benchmarks take times.

GPU time is that of one operation inside a replayed CUDA graph, which is how
serving engines run it: the graph holds the operation many times over, events
around the replay give its time, and the median of many replays is reported.
All variants are replayed in turn, in an order that rotates, so that whatever
the machine does in the meantime meets all of them.

With a cold cache, each operation comes after a kernel that reads more than the
L2 cache holds; the time of a graph of those reads alone is taken off.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch.profiler import ProfilerActivity, profile

# An operation to measure: called with the number of the repetition, so that it
# can take turns between sets of buffers.
Operation = Callable[[int], object]

_FIRST_REPETITIONS = 20
_MOST_REPETITIONS = 400
_GRAPH_MICROSECONDS = 1000.0
# Keeps the GPU busy until the host has queued the events and the replay.
_HEAD_START_CYCLES = 200_000


@dataclass(frozen=True)
class Timing:
    """Microseconds per operation: the median and the middle half."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(samples: Sequence[float]) -> Timing:
        quarters = statistics.quantiles(samples, n=4)
        return Timing(quarters[1], quarters[0], quarters[2])


@dataclass
class _Graph:
    graph: torch.cuda.CUDAGraph
    repetitions: int

    def replay_microseconds(self) -> float:
        """Time of one repetition in one replay."""
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(_HEAD_START_CYCLES)
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1000.0 / self.repetitions


def _capture(operation: Operation, repetitions: int) -> _Graph:
    operation(0)  # what compiles on first use does so now
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for repetition in range(repetitions):
            operation(repetition)
    return _Graph(graph, repetitions)


def _capture_long(operation: Operation) -> _Graph:
    """A graph that runs long enough for its start not to matter."""
    first = _capture(operation, _FIRST_REPETITIONS)
    first.replay_microseconds()
    each = first.replay_microseconds()
    wanted = min(_MOST_REPETITIONS, int(_GRAPH_MICROSECONDS / max(each, 0.1)))
    if wanted <= _FIRST_REPETITIONS:
        return first
    return _capture(operation, wanted)


class L2Flush:
    """Reads several times what the L2 cache holds."""

    def __init__(self) -> None:
        size = torch.cuda.get_device_properties(0).L2_cache_size
        count = 4 * max(size, 64 << 20) // 4
        self.data = torch.zeros(count, dtype=torch.float32, device="cuda")
        self.result = torch.zeros((), dtype=torch.float32, device="cuda")

    def __call__(self) -> None:
        torch.sum(self.data, dim=0, out=self.result)


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median ratio of two operations, by their samples, one of each
    from every round: between two order statistics, whatever the distribution."""
    ratios = sorted(a / b for a, b in zip(over, under))
    half, spread = len(ratios) / 2, 0.98 * len(ratios) ** 0.5
    low, high = math.floor(half - spread), math.ceil(half + spread) - 1
    return ratios[max(low, 0)], ratios[min(high, len(ratios) - 1)]


def gpu_times(
    operations: dict[str, Operation], rounds: int, cold: bool = False
) -> dict[str, Timing]:
    """Microseconds on the GPU per operation, all measured in turn."""
    samples = gpu_samples(operations, rounds, cold)
    return {name: Timing.of(values) for name, values in samples.items()}


def gpu_samples(
    operations: dict[str, Operation], rounds: int, cold: bool = False
) -> dict[str, list[float]]:
    """The same, each round's."""
    graphs: dict[str, _Graph] = {}
    flush = L2Flush() if cold else None
    if flush is None:
        graphs = {name: _capture_long(op) for name, op in operations.items()}
    else:
        graphs[""] = _capture(lambda repetition: flush(), _FIRST_REPETITIONS)
        for name, operation in operations.items():

            def flushed(repetition: int, operation: Operation = operation) -> None:
                flush()
                operation(repetition)

            graphs[name] = _capture(flushed, _FIRST_REPETITIONS)

    samples: dict[str, list[float]] = {name: [] for name in graphs}
    names = list(graphs)
    for round_number in range(-3, rounds):
        shift = round_number % len(names)
        for name in names[shift:] + names[:shift]:
            microseconds = graphs[name].replay_microseconds()
            if round_number >= 0:
                samples[name].append(microseconds)

    if flush is not None:
        flush_time = statistics.median(samples.pop(""))
        samples = {
            name: [max(value - flush_time, 0.01) for value in values]
            for name, values in samples.items()
        }
    return samples


def host_time(call: Callable[[], object], batches: int = 25) -> Timing:
    """Microseconds on the host per call, the GPU never waited for."""
    return host_times({"": call}, batches)[""]


def host_times(
    calls: dict[str, Callable[[], object]], batches: int = 25, count: int = 100
) -> dict[str, Timing]:
    """Microseconds on the host per call, the GPU never waited for, all measured in turn.

    A batch is short enough for the queue of launches not to fill up.
    """
    for call in calls.values():
        for _ in range(20):
            call()
        torch.cuda.synchronize()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for batch in range(batches):
        shift = batch % len(names)
        for name in names[shift:] + names[:shift]:
            call = calls[name]
            begin = time.perf_counter_ns()
            for _ in range(count):
                call()
            end = time.perf_counter_ns()
            samples[name].append((end - begin) / 1000.0 / count)
            torch.cuda.synchronize()
    return {name: Timing.of(values) for name, values in samples.items()}


def wall_times(ways: dict[str, Callable[[], object]], calls: int = 400) -> dict[str, Timing]:
    """Microseconds per call until the GPU is done with it, each waited for."""
    return {name: _wall_time(way, calls) for name, way in ways.items()}


def _wall_time(call: Callable[[], object], calls: int) -> Timing:
    samples = []
    for number in range(-20, calls):
        begin = time.perf_counter_ns()
        call()
        torch.cuda.synchronize()
        if number >= 0:
            samples.append((time.perf_counter_ns() - begin) / 1000.0)
    return Timing.of(samples)


def queued_times(
    ways: dict[str, Callable[[], object]], calls: int = 10, batches: int = 30
) -> dict[str, Timing]:
    """Microseconds on the GPU per call, the launches queued while it was kept busy.

    For calls that a graph cannot hold, or that engines run without one: what they take
    where the host is far enough ahead. A call that waits for the GPU is an error.
    """
    return {name: _queued_time(way, calls, batches) for name, way in ways.items()}


def _queued_time(call: Callable[[], object], calls: int, batches: int) -> Timing:
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    begin = time.perf_counter_ns()
    for _ in range(calls):
        call()
    head_start = _HEAD_START_CYCLES + 4 * (time.perf_counter_ns() - begin)
    samples: list[float] = []
    for _ in range(2 * batches):
        torch.cuda.synchronize()
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(head_start)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        # Not if an allocation or so held up the host.
        if not start.query():
            end.synchronize()
            samples.append(start.elapsed_time(end) * 1000.0 / calls)
        if len(samples) == batches:
            return Timing.of(samples)
    raise RuntimeError("the call waits for the GPU")


def count_kernels(step: Callable[[], Any]) -> int:
    """Kernels and fills that a call launches."""
    step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in trace.events())


@triton.jit
def _empty_kernel(pointer):
    return


@triton.jit
def _copy_kernel(source, destination, count, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < count
    tl.store(destination + offsets, tl.load(source + offsets, mask=mask), mask=mask)


def empty_operation() -> Operation:
    """A launch that does nothing: what no kernel can be faster than."""
    pointer = torch.zeros(1, dtype=torch.int32, device="cuda")
    return lambda repetition: _empty_kernel[(1,)](pointer)


def copy_operation(moved_bytes: int) -> Operation:
    """A plain copy that moves `moved_bytes`, half of them read, half written."""
    block = 2048
    count = max(moved_bytes // 8 // 16 * 16, 16)
    source = torch.ones(count, dtype=torch.int32, device="cuda")
    destination = torch.empty_like(source)
    grid = (triton.cdiv(count, block),)

    def copy(repetition: int) -> None:
        _copy_kernel[grid](source, destination, count, BLOCK=block)

    return copy
