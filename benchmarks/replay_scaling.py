# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a replay costs by the number of backends, by batch size and by length.

    python benchmarks/replay_scaling.py [--sglang DIR] [--modes decode,...] [--out DIR]

GPU time inside a replayed CUDA graph, as in replay.py, which says what the peer runs;
here it is the faster of its two ways. plot.py draws the result.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import replay_peer as peer  # noqa: E402
import replay_workload as workload  # noqa: E402
import reporting  # noqa: E402
import torch  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402
from replay_modes import BACKEND_COUNTS, BACKENDS, MODES, Mode  # noqa: E402
from replay_workload import Buffers, Shape  # noqa: E402

BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
LENGTHS = tuple(1024 << power for power in range(8))
#: Past it the peer's kernels, one for each batch size, take minutes to compile.
PEER_BATCHES = 256

#: (what varies, its values, value -> (shape, backends))
SWEEPS = (
    ("backends", BACKEND_COUNTS, lambda n: (Shape(32, 16384), n)),
    ("requests", BATCHES, lambda bs: (Shape(bs, 1024), BACKENDS)),
    ("max_len", LENGTHS, lambda length: (Shape(32, length), BACKENDS)),
)


def measure(
    mode: Mode, shape: Shape, backends: int, sglang: SGLang | None, rounds: int
) -> dict[str, float]:
    """Microseconds by way, after a check of nsa's outputs."""
    buffers = Buffers(shape, mode, backends)
    sizes = workload.nsa_sizes(buffers)
    step = workload.nsa_step(mode, backends)
    bound = step.bind(**workload.nsa_arrays(buffers), **sizes)

    def nsa(repetition: int) -> None:
        bound.launch(stream=torch.cuda.current_stream().cuda_stream, **sizes)

    nsa(0)
    torch.cuda.synchronize()
    buffers.check(live_only=False)
    ways: dict[str, harness.Operation] = {
        "nsa": nsa,
        "copy": harness.copy_operation(buffers.moved_bytes),
    }
    if sglang is not None and shape.bs <= PEER_BATCHES:
        ways["once"] = lambda repetition: peer.once(sglang, buffers)
        ways["repeated"] = lambda repetition: peer.repeated(sglang, buffers)
    times = {n: timing.median for n, timing in harness.gpu_times(ways, rounds).items()}
    if "once" in times:
        times["peer"] = min(times.pop("once"), times.pop("repeated"))
    return times


def report(result: dict[str, Any]) -> str:
    parts = [reporting.headline("Replay, by size", result)]
    for varied, _, _ in SWEEPS:
        for mode in result["modes"]:
            rows = [
                [r["value"], *(r["us"].get(way) for way in ("nsa", "peer", "copy"))]
                for r in result["rows"]
                if r["mode"] == mode and r["varied"] == varied
            ]
            heads = [varied, "nsa", "peer", "copy kernel"]
            parts.append(reporting.markdown(f"{mode}, us by {varied}", heads, rows))
    return "\n".join(parts)


def main() -> int:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument(
        "--modes", type=lambda text: text.split(","), default=list(MODES)
    )
    options = parser.parse_args()
    if not reporting.has_device("replay_scaling"):
        return 1
    sglang = load_sglang(options.sglang) if options.sglang else None
    rows = []
    for mode in options.modes:
        for varied, values, case in SWEEPS:
            for value in values:
                us = measure(MODES[mode], *case(value), sglang, options.rounds)
                rows.append({"mode": mode, "varied": varied, "value": value, "us": us})
        print(f"{mode}: done", file=sys.stderr, flush=True)
    result = {
        "benchmark": "replay_scaling",
        "machine": reporting.machine(sglang),
        "modes": options.modes,
        "rows": rows,
    }
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
