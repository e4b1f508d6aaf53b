# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programmatic dependent launch: producer of lengths -> decode replay -> reader of tables.

    python benchmarks/pdl.py [--shapes 1x1024,...] [--json] [--out DIR]

In a CUDA graph, plainly, with the step alone begun early, and with its neighbours begun early,
too; beside the step alone, and chains without it. The neighbours are CUDA C, compiled by nvrtc, as
short as they can be, so that what is seen is the way from one kernel to the next: a thread for each
length, and one for each live column of a table. Every way is checked against the reference first. Steps are compiled here,
or come from NSA_BUNDLE_PATH. From sm_90 on. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import replay_workload as workload  # noqa: E402
import reporting  # noqa: E402
from dependent_chain import Kernels  # noqa: E402
from harness import Operation  # noqa: E402
from replay_modes import BACKENDS, MODES  # noqa: E402
from replay_workload import Buffers, Shape, add_shapes  # noqa: E402

from nsa import _cache  # noqa: E402

CHIP, THREADS = "sm_90", 128
#: All wait before their first access, and let the next one begin before that.
SOURCE = r"""
__device__ void begin() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

extern "C" __global__ void produce(long long *lengths, const long long *drawn, long long bs) {
  begin();
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < bs)
    lengths[i] = drawn[i];
}

extern "C" __global__ void consume(const int *lengths, const int *sums, const int *table,
                                   long long stride, unsigned *result) {
  begin();
  int row = blockIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned mine = column < lengths[row] ? table[row * stride + column] : 0u;
  if (column == 0)
    mine += 1000003u * (unsigned)sums[row];
  mine = __reduce_add_sync(~0u, mine);
  if (threadIdx.x % 32 == 0 && mine)
    atomicAdd(&result[row], mine);
}
"""
TITLES = {
    "plain": "chain, plain",
    "pdl_step": "chain, step early",
    "pdl": "chain, all early",
    "neighbours": "neighbours, plain",
    "neighbours_pdl": "neighbours, early",
    "step": "step alone, plain",
    "step_pdl": "step alone, early",
}
#: What is divided by what.
RATIOS = [("plain", "pdl"), ("plain", "pdl_step"), ("step", "step_pdl")]


class Chain:
    """The three kernels over one set of buffers."""

    def __init__(self, kernels: Kernels, shape: Shape, seed: int) -> None:
        self.kernels, self.shape = kernels, shape
        mode = MODES["decode"]
        self.buffers = Buffers(shape, mode, BACKENDS, seed)
        text = mode.text(BACKENDS, False)
        arrays, sizes = workload.nsa_arrays(self.buffers), workload.nsa_sizes(self.buffers)
        self.bound = {
            pdl: _cache.get_step(mode.step_name, text, "cuda", CHIP, pdl=pdl).bind(
                **arrays, **sizes
            )
            for pdl in (False, True)
        }
        self.drawn = self.buffers.seq_lens.clone()
        self.result = torch.zeros(shape.bs, dtype=torch.int32, device="cuda")

    def produce(self, pdl: bool) -> None:
        pointers = [self.buffers.seq_lens, self.drawn]
        arguments = [*(tensor.data_ptr() for tensor in pointers), self.shape.bs]
        blocks = -(-self.shape.bs // THREADS)
        stream = torch.cuda.current_stream().cuda_stream
        self.kernels.launch("produce", blocks, THREADS, arguments, stream, pdl)

    def step(self, pdl: bool) -> None:
        self.bound[pdl].launch(stream=torch.cuda.current_stream().cuda_stream)

    def consume(self, pdl: bool) -> None:
        fields, shape = self.buffers.backends[0], self.shape
        table = fields["page_table_1"]
        arguments = [
            fields["cache_seqlens"].data_ptr(),
            fields["cu_seqlens_k"].data_ptr(),
            table.data_ptr(),
            table.stride(0),
            self.result.data_ptr(),
        ]
        blocks = (-(-shape.max_len // THREADS), shape.bs)
        stream = torch.cuda.current_stream().cuda_stream
        self.kernels.launch("consume", blocks, THREADS, arguments, stream, pdl)

    def operations(self) -> dict[str, Operation]:
        def chain(neighbours: bool, step: bool | None) -> Operation:
            def run(repetition: int) -> None:
                self.produce(neighbours)
                if step is not None:
                    self.step(step)
                self.consume(neighbours)

            return run

        return {
            "plain": chain(False, False),
            "pdl_step": chain(False, True),
            "pdl": chain(True, True),
            "neighbours": chain(False, None),
            "neighbours_pdl": chain(True, None),
            "step": lambda repetition: self.step(False),
            "step_pdl": lambda repetition: self.step(True),
        }

    def check(self, operations: dict[str, Operation]) -> None:
        """Fields against the reference, the reader's sums against the plain chain's."""
        expected = None
        for name in ("plain", "pdl_step", "pdl"):
            self.buffers.poison()
            self.buffers.seq_lens.fill_(self.shape.max_len)
            self.result.zero_()
            operations[name](0)
            torch.cuda.synchronize()
            self.buffers.check(live_only=False)
            expected = self.result.clone() if expected is None else expected
            assert torch.equal(self.result, expected), f"{name}: the reader's sums differ"


def measure(kernels: Kernels, shape: Shape, options: argparse.Namespace) -> dict[str, Any]:
    chain = Chain(kernels, shape, options.seed)
    operations = chain.operations()
    chain.check(operations)
    print(f"{shape}: equal to the reference", file=sys.stderr, flush=True)
    times = harness.gpu_times(operations, options.rounds)
    row = {"bs": shape.bs, "max_len": shape.max_len, "gpu_us": reporting.as_json(times)}
    medians = reporting.medians(row)
    row["ratios"] = {f"{a}/{b}": medians[a] / medians[b] for a, b in RATIOS}
    row["ratios"]["added"] = (medians["plain"] - medians["neighbours"]) / (
        medians["pdl"] - medians["neighbours_pdl"]
    )
    return row


def report(result: dict[str, Any]) -> str:
    rows = result["rows"]
    heads = ["bs x max_len", *TITLES.values(), *(f"{a} / {b}" for a, b in RATIOS)]
    cells = [
        [
            f"{row['bs']} x {row['max_len']}",
            *(reporting.medians(row)[name] for name in TITLES),
            *(row["ratios"][f"{a}/{b}"] for a, b in RATIOS),
        ]
        for row in rows
    ]
    lines = []
    for above, below in RATIOS:
        values = [row["ratios"][f"{above}/{below}"] for row in rows]
        lines.append(
            f"- {TITLES[above]} / {TITLES[below]}: geometric mean "
            f"{statistics.geometric_mean(values):.2f}, least {min(values):.2f}"
        )
    added = ", ".join(f"{row['ratios']['added']:.2f}" for row in rows)
    lines.append(f"- what the step adds to its neighbours, plainly over early: {added}")
    return "\n".join(
        [
            reporting.headline("Programmatic dependent launch", result),
            reporting.markdown("GPU time per chain in a replayed graph, us", heads, cells),
            *lines,
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print the results alone")
    add_shapes(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not reporting.has_device("pdl"):
        return 1
    if torch.cuda.get_device_capability() < (9, 0):
        print("pdl: the device is older than sm_90", file=sys.stderr)
        return 1
    torch.zeros(1, device="cuda")  # makes the context current
    kernels = Kernels(SOURCE, ("produce", "consume"))
    result = {
        "benchmark": "pdl",
        "machine": reporting.machine(None, CHIP),
        "options": {"rounds": options.rounds, "threads": THREADS},
        "rows": [measure(kernels, shape, options) for shape in options.shapes],
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
