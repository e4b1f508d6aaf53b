# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay of a forward step for three backends: nsa beside SGLang and torch, in one run.

    python benchmarks/replay.py [--sglang DIR] [--modes decode,...] [--out DIR]

Every way is first checked against the NumPy reference, then timed: on the GPU inside a
replayed CUDA graph, on the host per call. Kernels are compiled here, or come from
NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import replay_by_hand  # noqa: E402
import replay_peer as peer  # noqa: E402
import replay_workload as workload  # noqa: E402
import reporting  # noqa: E402
from harness import Operation  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402
from replay_modes import BACKENDS, Mode  # noqa: E402
from replay_workload import Buffers, Shape, add_modes, add_shapes  # noqa: E402
from reporting import verdict  # noqa: E402

#: How many times as fast as the peer nsa has to be in a mode: in the mean, and anywhere.
MEAN_BAR, EACH_BAR = 2.2, 1.8
LIVE_SHAPE, LIVE_BAR = Shape(32, 131072), 4.0
#: More backends may cost no more than their bytes, and this.
MANY_SHAPE, MANY_BACKENDS, MANY_BAR = Shape(128, 16384), 8, 1.15

TITLES = {
    "torch_recomputed": "torch, recomputed",
    "torch_precomputed": "torch, once + copies",
    "peer": "peer, once + copies",
    "peer_repeated": "peer, x 3 (live only)",
    "nsa": "nsa (1 launch)",
    "nsa_live": "nsa, live only",
    "nsa_maps": "nsa, written in formulas",
    "by_hand": "a kernel by hand",
    "copy": "copy kernel",
    "empty": "empty kernel",
    "nsa_no_stream": "nsa, current stream asked for",
    "nsa_unbound": "nsa, unbound call",
    "peer_precompute": "peer, first launch",
    "peer_copy": "peer, the copies",
}
RATIO_TITLES = {**TITLES, "best": "the peer's faster way"}
#: Ways whose tables are defined for live columns alone.
LIVE_ONLY = {"peer", "peer_repeated", "nsa_live"}

NOTES = """\
peer, once + copies: SGLang's Triton kernel of the mode into one set, then its CUDA copies into three: one launch in
decode, one for each backend in the other modes, where it has no more. The Triton kernel writes only the columns before
each request's length, about 9/16 of the tables here; the copies write whole rows.
peer, x 3: the Triton kernel once per backend, live columns only, with no intermediate set.
nsa and torch write, and are compared on, all max_len columns; nsa, live only, those that the peer's kernel has to.
a kernel by hand: CUDA C for this step alone, three backends, contiguous fields, no checks of indices or arguments
(replay_by_hand.py); it shows what a kernel of one launch can reach.
copy kernel: moves as many bytes as a single launch has to (tables read once, written to each backend)."""


class Variants:
    """The ways to run one shape of a mode, as operations to time."""

    def __init__(
        self,
        mode: Mode,
        shape: Shape,
        backends: int,
        sglang: SGLang | None,
        sets: int = 1,
        seed: int = 0,
    ) -> None:
        self.sets = [Buffers(shape, mode, backends, seed + n) for n in range(sets)]
        self.sizes = workload.nsa_sizes(self.sets[0])
        self.arrays = [workload.nsa_arrays(buffers) for buffers in self.sets]
        self.step = workload.nsa_step(mode, backends)
        self.bound = [self.step.bind(**each, **self.sizes) for each in self.arrays]
        self.operations: dict[str, Operation] = {}
        if mode.name == "decode" and backends == BACKENDS:
            for way in ("torch_recomputed", "torch_precomputed"):
                self.operations[way] = self.over_sets(getattr(workload, way))
        self.operations["nsa"] = self.launches(self.bound)
        if mode.name == "decode" and backends == BACKENDS:
            maps = [workload.maps_step().bind(**each, **self.sizes) for each in self.arrays]
            self.operations["nsa_maps"] = self.launches(maps)
            if replay_by_hand.is_available():
                self.operations["by_hand"] = self.over_sets(replay_by_hand.launch)
        if backends == BACKENDS:
            live = workload.nsa_step(mode, backends, live_only=True)
            bound = [live.bind(**each, **self.sizes) for each in self.arrays]
            self.operations["nsa_live"] = self.launches(bound)
        if sglang is not None:
            self.operations["peer"] = self.over_sets(partial(peer.once, sglang))
            self.operations["peer_repeated"] = self.over_sets(
                partial(peer.repeated, sglang)
            )
        self.sglang = sglang

    def over_sets(self, run: Callable[[Buffers], None]) -> Operation:
        return lambda repetition: run(self.sets[repetition % len(self.sets)])

    def launches(self, bound: list[Any]) -> Operation:
        def launch(repetition: int) -> None:
            stream = torch.cuda.current_stream().cuda_stream
            bound[repetition % len(bound)].launch(stream=stream, **self.sizes)

        return launch

    def host_calls(self) -> dict[str, Callable[[], None]]:
        """On the host nsa's launch is measured with a stream given, and without, when it
        asks torch for the current one; so is the call of the step, which checks every
        argument."""
        stream = torch.cuda.current_stream().cuda_stream
        calls = {name: partial(run, 0) for name, run in self.operations.items()}
        for way in ("nsa_live", "nsa_maps", "by_hand"):
            calls.pop(way, None)
        calls["nsa"] = partial(self.bound[0].launch, stream=stream, **self.sizes)
        calls["nsa_no_stream"] = partial(self.bound[0].launch, **self.sizes)
        calls["nsa_unbound"] = partial(
            self.step, stream=stream, **self.arrays[0], **self.sizes
        )
        if self.sglang is not None:
            first = self.sets[0]
            calls["peer_precompute"] = partial(
                peer.precompute, self.sglang, first, first.scratch
            )
            calls["peer_copy"] = partial(peer.copy, self.sglang, first)
        return calls

    def check(self) -> None:
        for index, buffers in enumerate(self.sets):
            for name, operation in self.operations.items():
                buffers.poison()
                operation(index)
                torch.cuda.synchronize()
                try:
                    buffers.check(name in LIVE_ONLY)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from None


def measure(
    mode: Mode,
    shape: Shape,
    backends: int,
    sglang: SGLang | None,
    options: argparse.Namespace,
    *,
    host: bool = True,
) -> dict[str, Any]:
    variants = Variants(mode, shape, backends, sglang, options.sets, options.seed)
    variants.check()
    print(f"{mode.name}, {shape}: equal to the reference", file=sys.stderr, flush=True)
    moved = variants.sets[0].moved_bytes
    timed = {
        **variants.operations,
        "copy": harness.copy_operation(moved),
        "empty": harness.empty_operation(),
    }
    row: dict[str, Any] = {
        "mode": mode.name,
        "bs": shape.bs,
        "max_len": shape.max_len,
        "backends": backends,
        "moved_bytes": moved,
        "gpu_us": reporting.as_json(harness.gpu_times(timed, options.rounds)),
    }
    if host:
        row["host_us"] = reporting.as_json(
            {name: harness.host_time(run) for name, run in variants.host_calls().items()}
        )
    if options.cold and host:
        cold = harness.gpu_times(timed, options.rounds, cold=True)
        row["cold_us"] = reporting.as_json(cold)
    return row


def table(title: str, rows: list[dict[str, Any]], key: str) -> str:
    names = [name for name in TITLES if name in rows[0][key]]
    return reporting.markdown(
        title,
        ["bs x max_len", *(TITLES[name] for name in names)],
        [
            [f"{row['bs']} x {row['max_len']}", *(reporting.medians(row, key)[n] for n in names)]
            for row in rows
        ],
    )


def ratios(rows: list[dict[str, Any]], key: str) -> str:
    """The peer's times over nsa's: like with like, and its faster way in each row."""
    times = [reporting.medians(row, key) for row in rows]
    if "peer" not in times[0]:
        return ""
    for row in times:
        row["best"] = min(row["peer"], row["peer_repeated"])
    lines = []
    for above, below in (
        ("peer", "nsa"),
        ("peer", "nsa_live"),
        ("peer_repeated", "nsa_live"),
        ("best", "nsa"),
        ("best", "nsa_live"),
    ):
        values = [row[above] / row[below] for row in times]
        each = ", ".join(f"{value:.2f}" for value in values)
        lines.append(
            f"- {RATIO_TITLES[above]} / {TITLES[below]}: {each}; geometric mean "
            f"{statistics.geometric_mean(values):.2f}, least {min(values):.2f}"
        )
    return "\n".join(lines) + "\n"


def bandwidths(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        times, moved = reporting.medians(row), row["moved_bytes"]
        speeds = [moved / times[name] / 1e6 for name in ("nsa", "copy")]
        cells.append([f"{row['bs']} x {row['max_len']}", moved / 1e6, *speeds])
    heads = ["bs x max_len", "MB", "nsa TB/s", "copy kernel TB/s"]
    return reporting.markdown("What one launch has to move", heads, cells)


def verdicts(result: dict[str, Any]) -> list[str]:
    lines = []
    for name in result["modes"]:
        rows = [row for row in result["rows"] if row["mode"] == name]
        times = {Shape(r["bs"], r["max_len"]): reporting.medians(r) for r in rows}
        if "peer" in next(iter(times.values())):
            for row in times.values():
                row["best"] = min(row["peer"], row["peer_repeated"])
            for way, nsa in (("peer", "nsa"), ("best", "nsa"), ("best", "nsa_live")):
                values = [row[way] / row[nsa] for row in times.values()]
                what = f"{name}, {RATIO_TITLES[way]} / {TITLES[nsa]}"
                mean = statistics.geometric_mean(values)
                lines.append(verdict(f"{what}, geometric mean", mean, MEAN_BAR))
                lines.append(verdict(f"{what}, least", min(values), EACH_BAR))
            if live := times.get(LIVE_SHAPE):
                value = live["peer"] / live["nsa_live"]
                lines.append(verdict(f"{name}, live only, {LIVE_SHAPE}", value, LIVE_BAR))
        many = [row for row in result["many"] if row["mode"] == name]
        few = [r for r in rows if Shape(r["bs"], r["max_len"]) == MANY_SHAPE]
        if many and few:
            grown = many[0]["moved_bytes"] / few[0]["moved_bytes"]
            value = (
                reporting.medians(many[0])["nsa"] / reporting.medians(few[0])["nsa"] / grown
            )
            what = f"{name}, {MANY_BACKENDS} backends, {MANY_SHAPE}, time over bytes"
            lines.append(verdict(what, value, MANY_BAR, least=False))
    return lines


def report(result: dict[str, Any]) -> str:
    parts = [reporting.headline("Replay, three backends", result)]
    for name in result["modes"]:
        rows = [row for row in result["rows"] if row["mode"] == name]
        parts.append(f"## {name}\n")
        parts.append(table("GPU time per step in a replayed graph, us", rows, "gpu_us"))
        parts.append(ratios(rows, "gpu_us"))
        if "cold_us" in rows[0]:
            parts.append(table("The same after the L2 cache was flushed, us", rows, "cold_us"))
            parts.append(ratios(rows, "cold_us"))
        parts.append(bandwidths(rows))
        parts.append(table("Host time per step from Python, us", rows, "host_us"))
    if result["many"]:
        parts.append("## More backends\n")
        parts.append(
            reporting.markdown(
                f"{MANY_BACKENDS} backends, {MANY_SHAPE}, us",
                ["mode", "nsa", "copy kernel", "MB"],
                [
                    [
                        row["mode"],
                        *(reporting.medians(row)[n] for n in ("nsa", "copy")),
                        row["moved_bytes"] / 1e6,
                    ]
                    for row in result["many"]
                ],
            )
        )
    parts += ["## Bars\n", "\n".join(verdicts(result)) + "\n", NOTES]
    return "\n".join(parts)


def parse_arguments() -> argparse.Namespace:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument("--sets", type=int, default=1, help="buffer sets to take turns")
    parser.add_argument("--cold", action="store_true", help="also with a cold L2 cache")
    add_modes(parser)
    add_shapes(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not reporting.has_device("replay"):
        return 1
    sglang = load_sglang(options.sglang) if options.sglang else None
    rows, many = [], []
    for mode in options.modes:
        for shape in options.shapes:
            rows.append(measure(mode, shape, BACKENDS, sglang, options))
        if MANY_SHAPE in options.shapes:
            many.append(
                measure(mode, MANY_SHAPE, MANY_BACKENDS, None, options, host=False)
            )
    result = {
        "benchmark": "replay",
        "machine": reporting.machine(sglang),
        "options": {"sets": options.sets, "rounds": options.rounds},
        "modes": [mode.name for mode in options.modes],
        "rows": rows,
        "many": many,
    }
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
