# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of paged caches: nsa beside SGLang, in one run.

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
from dequant_reference import canonical, reference_dequant  # noqa: E402
from dequant_workload import Buffers  # noqa: E402
from nsa import _cache, steps  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402

TOKENS = (1024, 8192, 32768, 131072)
LAYOUTS = ("v4", "v32")
PAGE_SIZE = 64
CACHED = 1 << 20
# (layout, tokens) -> the least ratio of the peer's time to ours.
BARS = {
    ("v4", 1024): 1.0,
    ("v4", 8192): 1.0,
    ("v4", 32768): 4.0,
    ("v4", 131072): 3.6,
    ("v32", 1024): 1.0,
    ("v32", 8192): 1.0,
    ("v32", 32768): 5.0,
    ("v32", 131072): 5.0,
}
# Of the copy kernel's bandwidth, at the largest size.
BANDWIDTH_BAR = 0.8


def check(buffers: Buffers, out: torch.Tensor, peer: torch.Tensor | None) -> None:
    if peer is not None:
        assert torch.equal(out.view(torch.int16), peer.view(torch.int16)), "peer"
    rows = min(buffers.tokens, 256)
    ids = buffers.ids[:rows].long()
    pages = buffers.cache[ids // buffers.page_size].cpu().numpy()
    local = torch.arange(rows) * buffers.page_size + (ids % buffers.page_size).cpu()
    want = reference_dequant(pages, local.numpy(), buffers.layout, buffers.page_size)
    got = out[:rows].view(torch.int16).cpu().numpy().view("uint16")
    assert (canonical(got) == canonical(want)).all(), "reference"


def measure(
    layout: str, tokens: int, sglang: SGLang | None, options: argparse.Namespace
) -> dict[str, Any]:
    buffers = Buffers(layout, PAGE_SIZE, options.cached, tokens, options.seed)
    text = steps.dequant_paged([(layout, PAGE_SIZE, "int32")])
    step = _cache.get_step("dequant_paged", text, "cuda", chip=options.chip)
    out = buffers.new_output()
    bound = step.bind(cache0=buffers.cache, ids0=buffers.ids, out0=out)

    def run_nsa(repetition: int) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        bound.launch(stream=stream, tokens0=tokens)

    operations: dict[str, harness.Operation] = {"nsa": run_nsa}
    peer = None
    if sglang is not None:
        other = buffers.new_output()
        peer = buffers.peer(sglang, other)
        operations["peer"] = lambda repetition: _drop(buffers.peer(sglang, other))
    run_nsa(0)
    torch.cuda.synchronize()
    check(buffers, out, peer)
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
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    lines = [
        f"Dequantisation, random ids over {result['options']['cached']} cached tokens, "
        f"page size {PAGE_SIZE}: {about}",
        "",
        "| layout | tokens | peer us | nsa us | peer / nsa | bar | copy us | nsa TB/s "
        "| copy TB/s | nsa / copy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        median = {name: value["median"] for name, value in row["gpu_us"].items()}
        speed = {n: row["moved_bytes"] / median[n] / 1e6 for n in ("nsa", "copy")}
        bar = BARS.get((row["layout"], row["tokens"]), 1.0)
        if "peer" in median:
            ratio = median["peer"] / median["nsa"]
            verdict = f"{ratio:.2f} | {bar:g} {'ok' if ratio >= bar else 'MISSED'}"
            peer = f"{median['peer']:.2f}"
        else:
            verdict, peer = "- | -", "-"
        share = speed["nsa"] / speed["copy"]
        mark = ""
        if row["tokens"] == max(TOKENS):
            mark = " ok" if share >= BANDWIDTH_BAR else " MISSED"
        lines.append(
            f"| {row['layout']} | {row['tokens']} | {peer} | {median['nsa']:.2f} "
            f"| {verdict} | {median['copy']:.2f} | {speed['nsa']:.2f} "
            f"| {speed['copy']:.2f} | {share:.2f}{mark} |"
        )
    return "\n".join(lines) + "\n"


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
    rows = [
        measure(layout, tokens, sglang, options)
        for layout in LAYOUTS
        for tokens in options.tokens
    ]
    result = {
        "benchmark": "dequant",
        "machine": reporting.machine(sglang, options.chip or "sm_80"),
        "options": {"cached": options.cached, "rounds": options.rounds},
        "rows": rows,
    }
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
