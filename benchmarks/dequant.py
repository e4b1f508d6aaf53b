# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of paged caches: nsa beside SGLang, in one run, V4's beside two releases.

    python benchmarks/dequant.py [--sglang DIR] [--out DIR]

Both are first compared bit by bit, then timed inside a replayed CUDA graph. See
benchmarks/README.md. Kernels are compiled here, or found in NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import reporting  # noqa: E402
from dequant_workload import Buffers, check_rows  # noqa: E402
from peers import SGLang, SparsePrefill, load_sglang, load_sparse_prefill  # noqa: E402

from nsa import _cache, steps  # noqa: E402

TOKENS = (1024, 8192, 32768, 131072)
LAYOUTS = ("v4", "v32")
PAGE_SIZE = 64
CACHED = 1 << 20
# (layout, tokens) -> the least ratio of the peer's time to ours; elsewhere 1.
BARS = {
    ("v4", 32768): 4.0,
    ("v4", 131072): 3.6,
    ("v32", 32768): 5.0,
    ("v32", 131072): 5.0,
}
# The releases that these were set beside. V4's kernel is another one since 0.5.23.
BAR_PEERS = {"v4": "SGLang 0.5.20", "v32": "SGLang 0.5.23"}
# Of the copy kernel's bandwidth, at the largest size.
BANDWIDTH_BAR = 0.8


def check(buffers: Buffers, out: torch.Tensor, peers: dict[str, torch.Tensor]) -> None:
    for name, rows in peers.items():
        assert torch.equal(out.view(torch.int16), rows.view(torch.int16)), name
    check_rows(out, buffers.cache, buffers.ids, buffers.layout, buffers.page_size)


def measure(
    layout: str,
    tokens: int,
    sglang: SGLang | None,
    releases: list[SparsePrefill],
    options: argparse.Namespace,
) -> dict[str, Any]:
    buffers = Buffers(layout, PAGE_SIZE, options.cached, tokens, options.seed)
    text = steps.dequant_paged([(layout, PAGE_SIZE, "int32")])
    step = _cache.get_step("dequant_paged", text, "cuda", chip=options.chip)
    out, other = buffers.new_output(), buffers.new_output()
    bound = step.bind(cache0=buffers.cache, ids0=buffers.ids, out0=out)

    def run_nsa(repetition: int) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        bound.launch(stream=stream, tokens0=tokens)

    operations: dict[str, harness.Operation] = {"nsa": run_nsa}
    results = {}
    for name, way in (buffers.peers(sglang, releases) if sglang else {}).items():
        results[name] = way(other).clone()
        operations[name] = lambda repetition, way=way: _drop(way(other))
    run_nsa(0)
    torch.cuda.synchronize()
    check(buffers, out, results)
    print(f"{layout}, {tokens} tokens: equal", file=sys.stderr, flush=True)
    operations["copy"] = harness.copy_operation(buffers.moved_bytes)
    operations["empty"] = harness.empty_operation()
    times = harness.gpu_times(operations, options.rounds)
    return {
        "layout": layout,
        "tokens": tokens,
        "moved_bytes": buffers.moved_bytes,
        "gpu_us": reporting.as_json(times),
    }


def _drop(result: object) -> None:
    del result


def report(result: dict[str, Any]) -> str:
    title = (
        f"Dequantisation, random ids over {result['options']['cached']} cached tokens, "
        f"page size {PAGE_SIZE}"
    )
    releases = result["releases"]
    heads = ["layout", "tokens", *releases, "nsa", "copy"]
    heads += [f"{name} / nsa" for name in releases]
    heads += ["nsa TB/s", "copy TB/s", "nsa / copy"]
    cells, bars = [], []
    for row in result["rows"]:
        layout, tokens, times = row["layout"], row["tokens"], reporting.medians(row)
        what = f"{layout}, {tokens} tokens"
        ratios = {n: times[n] / times["nsa"] for n in releases if n in times}
        speeds = [row["moved_bytes"] / times[n] / 1e6 for n in ("nsa", "copy")]
        share = times["copy"] / times["nsa"]
        columns = [times.get(name) for name in (*releases, "nsa", "copy")]
        columns += [*(ratios.get(name) for name in releases), *speeds, share]
        cells.append([layout, tokens, *columns])
        for name, ratio in ratios.items():
            bar = BARS.get((layout, tokens), 1.0) if name == BAR_PEERS[layout] else 1.0
            bars.append(reporting.verdict(f"{what}, {name} / nsa", ratio, bar))
        if tokens == max(TOKENS):
            bars.append(reporting.verdict(f"{what}, nsa / copy", share, BANDWIDTH_BAR))
    judged = " and ".join(f"{name} for {layout}" for layout, name in BAR_PEERS.items())
    return "\n".join(
        [
            reporting.headline(title, result),
            reporting.markdown("GPU time in a replayed graph, us", heads, cells),
            f"Bars, which were set beside {judged}; beside another release, 1:\n",
            *bars,
            "",
        ]
    )


def parse_arguments() -> argparse.Namespace:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument("--cached", type=int, default=CACHED, help="tokens in the cache")
    parser.add_argument("--chip", help="whose PTX to run, such as sm_90")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tokens",
        type=lambda text: tuple(map(int, text.split(","))),
        default=TOKENS,
        help="such as 1024,131072",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not reporting.has_device("dequant"):
        return 1
    sglang = load_sglang(options.sglang) if options.sglang else None
    releases = load_sparse_prefill(options.sglang) if options.sglang else []
    result = {
        "benchmark": "dequant",
        "machine": reporting.machine(releases, options.chip or "sm_80"),
        "options": {"cached": options.cached, "rounds": options.rounds},
        "releases": [release.name for release in releases],
        "rows": [
            measure(layout, tokens, sglang, releases, options)
            for layout in LAYOUTS
            for tokens in options.tokens
        ],
    }
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
