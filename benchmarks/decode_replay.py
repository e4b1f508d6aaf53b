# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decode replay for three backends: nsa beside SGLang and torch, in one run.

    python benchmarks/decode_replay.py --bundle DIR [--sglang DIR] [--out DIR]

Every way is first checked against the NumPy reference, then timed: on the GPU
inside a replayed CUDA graph, on the host per call. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import decode_workload as workload  # noqa: E402
import harness  # noqa: E402
import nsa  # noqa: E402
from decode_workload import Buffers, Shape  # noqa: E402
from harness import Operation, Timing  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402
from reference import reference_metadata  # noqa: E402

SHAPES = [
    Shape(1, 1024),
    Shape(32, 1024),
    Shape(128, 1024),
    Shape(32, 16384),
    Shape(32, 131072),
    Shape(128, 16384),
]

TITLES = {
    "torch_recomputed": "torch, recomputed",
    "torch_precomputed": "torch, once + copies",
    "peer": "peer (2 launches)",
    "peer_repeated": "peer, Triton x 3 (live only)",
    "nsa": "nsa (1 launch)",
    "copy": "copy kernel",
    "empty": "empty kernel",
    "nsa_no_stream": "nsa, current stream asked for",
    "nsa_unbound": "nsa, unbound call",
    "peer_precompute": "peer, first launch",
    "peer_copy": "peer, second launch",
}
LIVE_ONLY = {"peer", "peer_repeated"}

NOTES = """\
peer: SGLang's Triton kernel into one set, then its CUDA copy into three. The Triton kernel writes only the columns
before each request's length, about 9/16 of the tables here, so its first launch moves less than the others; its
outputs are compared on those columns. nsa and torch write, and are compared on, all max_len columns.
peer, Triton x 3: the same kernel once per backend, live columns only, with no intermediate set.
copy kernel: moves as many bytes as a single launch has to (tables read once, written three times)."""


class Variants:
    """The ways to run one shape, over one or more sets of buffers."""

    def __init__(
        self, shape: Shape, sets: int, step: Any, sglang: SGLang | None, seed: int
    ) -> None:
        self.shape = shape
        self.sets = [Buffers(shape, seed + index) for index in range(sets)]
        sizes = {"bs": shape.bs, "max_len": shape.max_len}
        arrays = [workload.nsa_arrays(buffers) for buffers in self.sets]
        bound = [step.bind(**each, **sizes) for each in arrays]

        def nsa_launch(repetition: int) -> None:
            stream = torch.cuda.current_stream().cuda_stream
            bound[repetition % sets].launch(stream=stream, **sizes)

        def over_sets(run: Any, *first: Any) -> Operation:
            return lambda repetition: run(*first, self.sets[repetition % sets])

        self.operations: dict[str, Operation] = {
            "torch_recomputed": over_sets(workload.torch_recomputed),
            "torch_precomputed": over_sets(workload.torch_precomputed),
            "nsa": nsa_launch,
        }
        if sglang is not None:
            self.operations["peer"] = over_sets(workload.peer, sglang)
            self.operations["peer_repeated"] = over_sets(workload.peer_repeated, sglang)
        self.ceilings: dict[str, Operation] = {
            "copy": harness.copy_operation(shape.fused_bytes),
            "empty": harness.empty_operation(),
        }
        # On the host nsa's launch is measured with a stream given, and without,
        # when it asks torch for the current one; so is the call of the step,
        # which checks every argument.
        stream = torch.cuda.current_stream().cuda_stream
        self.host_calls: dict[str, Callable[[], None]] = {
            name: partial(operation, 0) for name, operation in self.operations.items()
        }
        self.host_calls["nsa"] = partial(bound[0].launch, stream=stream, **sizes)
        self.host_calls["nsa_no_stream"] = partial(bound[0].launch, **sizes)
        self.host_calls["nsa_unbound"] = partial(
            step, stream=stream, **arrays[0], **sizes
        )
        if sglang is not None:
            first = self.sets[0]
            self.host_calls["peer_precompute"] = partial(
                workload.peer_precompute, sglang, first, first.scratch
            )
            self.host_calls["peer_copy"] = partial(workload.peer_copy, sglang, first)

    def check(self) -> None:
        for index, buffers in enumerate(self.sets):
            expected = reference_metadata(
                "decode",
                buffers.host_seq_lens,
                buffers.host_pool,
                buffers.host_table,
                self.shape.max_len,
                workload.TOPK,
                workload.PAGE_SIZE,
            )
            for name, operation in self.operations.items():
                buffers.poison()
                operation(index)
                torch.cuda.synchronize()
                try:
                    workload.check_outputs(buffers, expected, name in LIVE_ONLY)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from None


def machine(step_dir: Path, sglang: SGLang | None) -> dict[str, Any]:
    manifest = json.loads((step_dir / "decode_replay.json").read_text())
    return {
        "device": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "sglang": sglang.version if sglang else None,
        "nsa": manifest["compiler"]["nsa"],
        "llvm": manifest["compiler"]["llvm"],
        "chip": manifest["chip"],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def table(title: str, rows: list[dict[str, Any]], key: str, names: list[str]) -> str:
    lines = [f"**{title}**", ""]
    lines.append(
        "| bs x max_len | " + " | ".join(TITLES.get(n, n) for n in names) + " |"
    )
    lines.append("|---" * (len(names) + 1) + "|")
    for row in rows:
        cells = [f"{row[key][name]['median']:.2f}" for name in names]
        lines.append(f"| {row['bs']} x {row['max_len']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def ratios(rows: list[dict[str, Any]], key: str) -> str:
    lines = []
    for name in ("peer", "peer_repeated"):
        if name not in rows[0][key]:
            continue
        values = [row[key][name]["median"] / row[key]["nsa"]["median"] for row in rows]
        each = ", ".join(f"{value:.2f}" for value in values)
        mean = statistics.geometric_mean(values)
        lines.append(
            f"- {TITLES[name]} / nsa: {each}; geometric mean {mean:.2f}, "
            f"least {min(values):.2f}"
        )
    return "\n".join(lines) + "\n"


def report(result: dict[str, Any]) -> str:
    rows = result["rows"]
    names = [name for name in TITLES if name in rows[0]["gpu_us"]]
    about = result["machine"]
    parts = [
        "Decode replay, three backends: "
        + ", ".join(f"{name} {value}" for name, value in about.items())
        + "\n",
        table("GPU time per step in a replayed graph, us", rows, "gpu_us", names),
    ]
    parts.append(ratios(rows, "gpu_us"))
    if "cold_us" in rows[0]:
        parts.append(
            table("The same after the L2 cache was flushed, us", rows, "cold_us", names)
        )
        parts.append(ratios(rows, "cold_us"))
    bandwidths = [
        "| bs x max_len | MB | nsa TB/s | copy kernel TB/s |",
        "|---|---|---|---|",
    ]
    for row in rows:
        moved = row["fused_bytes"]
        speeds = [moved / row["gpu_us"][n]["median"] / 1e6 for n in ("nsa", "copy")]
        bandwidths.append(
            f"| {row['bs']} x {row['max_len']} | {moved / 1e6:.2f} | "
            + " | ".join(f"{speed:.2f}" for speed in speeds)
            + " |"
        )
    parts.append("\n".join(bandwidths) + "\n")
    calls = list(rows[0]["host_us"])
    parts.append(table("Host time per step from Python, us", rows, "host_us", calls))
    parts.append(NOTES)
    return "\n".join(parts)


def as_json(timings: dict[str, Timing]) -> dict[str, dict[str, float]]:
    return {name: vars(timing) for name, timing in timings.items()}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="of decode_replay")
    parser.add_argument("--sglang", type=Path, help="folder with the unpacked wheel")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", ROOT / "build/bench"))
    )
    parser.add_argument("--rounds", type=int, default=40, help="replays of each graph")
    parser.add_argument("--sets", type=int, default=1, help="buffer sets to take turns")
    parser.add_argument("--cold", action="store_true", help="also with a cold L2 cache")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--shapes",
        help="such as 1x1024,32x16384",
        type=lambda text: [
            Shape(*map(int, shape.split("x"))) for shape in text.split(",")
        ],
        default=SHAPES,
    )
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not torch.cuda.is_available():
        print("decode_replay: no CUDA device; the benchmarks need one", file=sys.stderr)
        return 1
    # One stream for everything outside of graphs: a launch on the legacy
    # default stream would wait for all others.
    torch.cuda.set_stream(torch.cuda.Stream())
    sglang = load_sglang(options.sglang) if options.sglang else None
    step = nsa.load(str(options.bundle))["decode_replay"]

    rows = []
    for shape in options.shapes:
        variants = Variants(shape, options.sets, step, sglang, options.seed)
        variants.check()
        print(f"{shape}: outputs equal to the reference", file=sys.stderr, flush=True)
        timed = {**variants.operations, **variants.ceilings}
        row: dict[str, Any] = {
            "bs": shape.bs,
            "max_len": shape.max_len,
            "fused_bytes": shape.fused_bytes,
            "gpu_us": as_json(harness.gpu_times(timed, options.rounds)),
            "host_us": as_json(
                {n: harness.host_time(c) for n, c in variants.host_calls.items()}
            ),
        }
        if options.cold:
            cold = harness.gpu_times(timed, options.rounds, cold=True)
            row["cold_us"] = as_json(cold)
        rows.append(row)
        del variants, timed

    result = {
        "benchmark": "decode_replay",
        "machine": machine(options.bundle, sglang),
        "options": {"sets": options.sets, "rounds": options.rounds},
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "decode_replay.json").write_text(json.dumps(result, indent=1))
    text = report(result)
    (options.out / "decode_replay.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
