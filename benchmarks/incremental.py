# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay with incremental page tables for three backends, beside whole ones, in one run.

    python benchmarks/incremental.py [--out DIR]

Each row lacks one to eight columns, drawn uniformly. Before anything is timed, the tables are
written whole, what is lacking is spoiled, and after an incremental launch every element is
compared with the NumPy reference. See benchmarks/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import numpy as np  # noqa: E402
import replay_workload as workload  # noqa: E402
import reporting  # noqa: E402
import torch  # noqa: E402
from replay_modes import BACKENDS, MODES, NEW_COLUMNS, PAGE_SIZE, Mode  # noqa: E402
from replay_workload import POISON, Buffers, Shape  # noqa: E402

from nsa import _cache  # noqa: E402

SHORT, LONG = Shape(32, 1024), Shape(32, 131072)
SHAPES = (SHORT, Shape(32, 16384), LONG, Shape(128, 16384), Shape(256, 1024))
#: Times as fast as whole tables where rows are long; times the time of short whole tables.
FULL_BAR, SHORT_BAR = 10.0, 1.4
WAYS = {"whole": "whole", "live": "live only", "incremental": "incremental"}


class Ways:
    """The launches of one shape of a mode; `buffers` has everything right."""

    def __init__(self, mode: Mode, shape: Shape) -> None:
        self.buffers = Buffers(shape, mode)
        arrays, sizes = workload.nsa_arrays(self.buffers), workload.nsa_sizes(self.buffers)
        plus = mode.next_n if mode.mode == "target_verify" else 0
        self.live = np.minimum(self.buffers.host_seq_lens + plus, shape.max_len)
        behind = np.random.default_rng(1).integers(1, NEW_COLUMNS, shape.bs, endpoint=True)
        self.since = np.maximum(self.live - behind, 0).astype(np.int32)
        since = torch.from_numpy(self.since).cuda()
        text = mode.text(BACKENDS, grid=NEW_COLUMNS)
        steps = {
            "whole": (workload.nsa_step(mode, BACKENDS), {}),
            "live": (workload.nsa_step(mode, BACKENDS, live_only=True), {}),
            "incremental": (
                _cache.get_step(mode.step_name, text, "cuda"),
                {"since": since, "new_columns": NEW_COLUMNS},
            ),
        }
        self.bound = {
            way: step.bind(**arrays, **sizes, **more) for way, (step, more) in steps.items()
        }
        self.sizes = sizes

    def run(self, way: str) -> None:
        sizes = dict(self.sizes)
        if way == "incremental":
            sizes["new_columns"] = NEW_COLUMNS
        stream = torch.cuda.current_stream().cuda_stream
        self.bound[way].launch(stream=stream, **sizes)

    def spoil(self) -> None:
        """What an incremental launch has to write: of the tables what is lacking, of all
        else everything."""
        for fields in self.buffers.backends:
            for name, tensor in fields.items():
                if "page_table" not in name:
                    tensor.fill_(POISON)
            for row, b in enumerate(self.buffers.request):
                first, end = int(self.since[b]), int(self.live[b])
                fields["page_table_1"][row, first:end] = POISON
                pages = slice(first // PAGE_SIZE, -(-end // PAGE_SIZE))
                fields["real_page_table"][row, pages] = POISON

    def check(self) -> None:
        self.buffers.poison()
        self.run("whole")
        self.spoil()
        self.run("incremental")
        torch.cuda.synchronize()
        self.buffers.check(live_only=False)


def measure(mode: Mode, rounds: int) -> list[dict[str, Any]]:
    """A row for each shape, all of them timed in turn."""
    ways = {shape: Ways(mode, shape) for shape in SHAPES}
    operations: dict[str, harness.Operation] = {"empty": harness.empty_operation()}
    for shape, each in ways.items():
        each.check()
        for way in WAYS:
            operations[f"{shape}, {way}"] = lambda _, each=each, way=way: each.run(way)
    print(f"{mode.name}: equal to the reference", file=sys.stderr, flush=True)
    times = {
        "gpu_us": harness.gpu_times(operations, rounds),
        "cold_us": harness.gpu_times(operations, rounds, cold=True),
    }
    rows = []
    for shape in SHAPES:
        row: dict[str, Any] = {"mode": mode.name, "bs": shape.bs, "max_len": shape.max_len}
        for key, timings in times.items():
            of_shape = {way: timings[f"{shape}, {way}"] for way in WAYS}
            row[key] = reporting.as_json({"empty": timings["empty"], **of_shape})
        rows.append(row)
    return rows


def report(result: dict[str, Any]) -> str:
    parts = [reporting.headline("Incremental page tables, three backends", result)]
    lines = []
    for mode in result["modes"]:
        rows = [row for row in result["rows"] if row["mode"] == mode]
        for key, title in (("gpu_us", "us in a replayed graph"), ("cold_us", "us, L2 flushed")):
            cells = []
            for row in rows:
                times = reporting.medians(row, key)
                ratio = times["whole"] / times["incremental"]
                name = str(Shape(row["bs"], row["max_len"]))
                cells.append([name, *(times[way] for way in WAYS), ratio])
            heads = ["bs x max_len", *WAYS.values(), "whole / incremental"]
            parts.append(reporting.markdown(f"{mode}, {title}", heads, cells))
        times = {Shape(r["bs"], r["max_len"]): reporting.medians(r) for r in rows}
        parts.append(f"empty kernel: {times[LONG]['empty']:.2f} us\n")
        if mode == "decode":
            new = times[LONG]["incremental"]
            what = f"decode, {LONG}: whole / incremental"
            lines.append(reporting.verdict(what, times[LONG]["whole"] / new, FULL_BAR))
            what = f"decode: incremental {LONG} / whole {SHORT}"
            value = new / times[SHORT]["whole"]
            lines.append(reporting.verdict(what, value, SHORT_BAR, least=False))
    return "\n".join([*parts, "## Bars\n", *lines])


def main() -> int:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument(
        "--modes", type=lambda text: text.split(","), default=list(MODES)
    )
    options = parser.parse_args()
    if not reporting.has_device("incremental"):
        return 1
    rows = [row for mode in options.modes for row in measure(MODES[mode], options.rounds)]
    result = {
        "benchmark": "incremental",
        "machine": reporting.machine(None),
        "modes": options.modes,
        "rows": rows,
    }
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
