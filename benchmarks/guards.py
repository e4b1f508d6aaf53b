# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What guards cost: replays for three backends with `guards=True`, beside those without.

    python benchmarks/guards.py [--shapes 1x1024,...] [--modes decode,...] [--json] [--out DIR]

GPU time in a replayed graph, and the time of `step.check()` on the host, after work that has
ended. Both steps' outputs are compared with the reference first, and nothing may have been
recorded. Steps are compiled here, or come from NSA_BUNDLE_PATH. See benchmarks/README.md.
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
from replay_modes import BACKENDS, Mode  # noqa: E402
from replay_workload import Buffers, Shape, add_modes, add_shapes  # noqa: E402

from nsa import _cache  # noqa: E402

CHIP = "sm_80"


def measure(mode: Mode, shape: Shape, options: argparse.Namespace) -> dict[str, Any]:
    buffers = Buffers(shape, mode, BACKENDS, options.seed)
    arrays, sizes = workload.nsa_arrays(buffers), workload.nsa_sizes(buffers)
    text = mode.text(BACKENDS)
    steps = {
        name: _cache.get_step(mode.step_name, text, "cuda", CHIP, guards=guards)
        for name, guards in (("plain", False), ("guards", True))
    }
    operations = {}
    for name, step in steps.items():
        bound = step.bind(**arrays, **sizes)
        buffers.poison()
        bound.launch()
        torch.cuda.synchronize()
        buffers.check(live_only=False)
        operations[name] = lambda repetition, bound=bound: bound.launch(
            stream=torch.cuda.current_stream().cuda_stream
        )
    times = harness.gpu_times(operations, options.rounds)
    torch.cuda.synchronize()
    steps["guards"].check()
    row = {
        "mode": mode.name,
        "bs": shape.bs,
        "max_len": shape.max_len,
        "gpu_us": reporting.as_json(times),
        "host_us": reporting.as_json({"check": harness.host_time(steps["guards"].check)}),
    }
    medians = reporting.medians(row)
    row["ratio"] = medians["guards"] / medians["plain"]
    print(f"{mode.name}, {shape}: {row['ratio']:.2f}", file=sys.stderr, flush=True)
    return row


def report(result: dict[str, Any]) -> str:
    rows = result["rows"]
    cells = [
        [
            row["mode"],
            f"{row['bs']} x {row['max_len']}",
            *(reporting.medians(row)[name] for name in ("plain", "guards")),
            row["ratio"],
            reporting.medians(row, "host_us")["check"],
        ]
        for row in rows
    ]
    ratios = [row["ratio"] for row in rows]
    heads = ["mode", "bs x max_len", "plain, us", "guards, us", "guards / plain", "check(), us"]
    return "\n".join(
        [
            reporting.headline("Guards", result),
            reporting.markdown("GPU time per replay; check() on the host", heads, cells),
            f"- guards / plain: geometric mean {statistics.geometric_mean(ratios):.2f}, "
            f"most {max(ratios):.2f}",
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print the results alone")
    add_modes(parser)
    add_shapes(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not reporting.has_device("guards"):
        return 1
    result = {
        "benchmark": "guards",
        "machine": reporting.machine(None, CHIP),
        "options": {"rounds": options.rounds},
        "rows": [
            measure(mode, shape, options) for mode in options.modes for shape in options.shapes
        ],
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
