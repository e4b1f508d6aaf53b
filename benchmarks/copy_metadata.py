# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Copying decode metadata to several backends: nsa beside SGLang and torch, in one run.

    python benchmarks/copy_metadata.py [--sglang DIR] [--out DIR]

Three backends with eight fields each, which is the peer's headline case, at every shape;
then 1 to 16 backends at one. Outputs are compared before anything is timed. The step is
compiled here, or comes from NSA_BUNDLE_PATH.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import copy_workload as workload  # noqa: E402
import harness  # noqa: E402
import reporting  # noqa: E402
from copy_workload import CopyBuffers  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402
from plot import label_of, peer_of  # noqa: E402
from replay_workload import SHAPES, Shape  # noqa: E402

#: At which the number of backends is varied.
BACKENDS_SHAPE = Shape(32, 16384)
BACKENDS = (1, 2, 3, 4, 6, 8, 12, 16)
#: How many times as fast as the peer nsa has to be; elsewhere at least 1.
BARS = {Shape(1, 1024): 1.7, Shape(32, 1024): 1.7, Shape(128, 1024): 1.4}
#: Of the copy kernel's bandwidth.
BANDWIDTH_BARS = {Shape(32, 131072): 0.8}


def operations(buffers: CopyBuffers, sglang: SGLang | None) -> dict[str, Any]:
    result = {
        "torch": partial(workload.copy_torch, buffers),
        "nsa": partial(workload.copy_nsa, buffers),
    }
    if sglang is not None and len(buffers.backends) == 3:
        result["peer"] = partial(workload.copy_peer, sglang, buffers)
    for name, operation in result.items():
        buffers.poison()
        operation()
        torch.cuda.synchronize()
        try:
            buffers.check()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    return result


def measure(
    shape: Shape, backends: int, sglang: SGLang | None, rounds: int, cold: bool
) -> dict[str, Any]:
    buffers = CopyBuffers(shape, backends)
    ways = operations(buffers, sglang)
    timed: dict[str, harness.Operation] = {
        name: (lambda repetition, way=way: way()) for name, way in ways.items()
    }
    timed["copy"] = harness.copy_operation(buffers.moved_bytes())
    timed["empty"] = harness.empty_operation()
    if backends != 3:
        del timed["torch"]
    row = {
        "bs": shape.bs,
        "max_len": shape.max_len,
        "backends": backends,
        "moved_bytes": buffers.moved_bytes(),
        "gpu_us": reporting.as_json(harness.gpu_times(timed, rounds)),
        "host_us": reporting.as_json({n: harness.host_time(w) for n, w in ways.items()}),
    }
    if cold:
        row["cold_us"] = reporting.as_json(harness.gpu_times(timed, rounds, cold=True))
    return row


def verdicts(row: dict[str, Any]) -> list[str]:
    """What the row misses of the bars."""
    shape = Shape(row["bs"], row["max_len"])
    times = {name: timing["median"] for name, timing in row["gpu_us"].items()}
    missed = []
    if "peer" in times:
        ratio, bar = times["peer"] / times["nsa"], BARS.get(shape, 1.0)
        if ratio < bar:
            missed.append(f"{shape}: {ratio:.2f} of the peer's speed, below {bar}")
    if shape in BANDWIDTH_BARS:
        ratio, bar = times["copy"] / times["nsa"], BANDWIDTH_BARS[shape]
        if ratio < bar:
            missed.append(f"{shape}: {ratio:.2f} of the copy kernel's, below {bar}")
    return missed


def table(title: str, rows: list[dict[str, Any]], key: str) -> str:
    names = list(rows[0][key])
    lines = [f"**{title}**", "", "| bs x max_len, backends | " + " | ".join(names)]
    if key == "gpu_us":
        lines[-1] += " | peer / nsa | nsa TB/s | copy TB/s"
    lines[-1] += " |"
    lines.append("|---" * lines[-1].count("|", 1) + "|")
    for row in rows:
        times = {name: timing["median"] for name, timing in row[key].items()}
        cells = [f"{times[name]:.2f}" if name in times else "" for name in names]
        if key == "gpu_us":
            peer = times.get("peer")
            cells.append(f"{peer / times['nsa']:.2f}" if peer else "")
            cells += [
                f"{row['moved_bytes'] / times[n] / 1e6:.2f}" for n in ("nsa", "copy")
            ]
        head = f"{row['bs']} x {row['max_len']}, {row['backends']}"
        lines.append(f"| {head} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def report(result: dict[str, Any]) -> str:
    rows, many = result["rows"], result["by_backends"]
    parts = [
        reporting.headline("Metadata copy", result),
        table("GPU time per copy in a replayed graph, us", rows, "gpu_us"),
        table("Host time per copy from Python, us", rows, "host_us"),
    ]
    if "cold_us" in rows[0]:
        parts.append(table("With a cold L2 cache, us", rows, "cold_us"))
    if many:
        parts.append(table("By number of backends, us", many, "gpu_us"))
        parts.append(table("The same, host time, us", many, "host_us"))
    missed = result["missed"]
    parts.append("\n".join(missed) if missed else "Every bar is met.")
    return "\n".join(parts)


def draw(result: dict[str, Any], picture: Path) -> None:
    """Time by number of backends."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        print(f"copy_metadata: {error}; no picture drawn")
        return
    rows = result["by_backends"]
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, colour in (("nsa", "#1f6fb2"), ("copy", "#7fb77e")):
        values = [row["gpu_us"][name]["median"] for row in rows]
        label = label_of(name, result)
        axes.plot([row["backends"] for row in rows], values, "o-", color=colour, label=label)
    three = [row for row in rows if "peer" in row["gpu_us"]]
    if three:
        value = three[0]["gpu_us"]["peer"]["median"]
        axes.plot([3], [value], "s", color="#d9822b", label=peer_of(result))
    axes.set_xticks([row["backends"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("backends, eight fields each")
    axes.set_ylabel("GPU time per copy, µs")
    axes.set_title(f"{BACKENDS_SHAPE}, {result['machine']['device']}")
    axes.legend()
    figure.savefig(picture, dpi=150)
    print(f"copy_metadata: {picture}")


def main() -> int:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument("--cold", action="store_true", help="also with a cold L2 cache")
    options = parser.parse_args()
    if not reporting.has_device("copy_metadata"):
        return 1
    sglang = load_sglang(options.sglang) if options.sglang else None
    rows = [measure(s, 3, sglang, options.rounds, options.cold) for s in SHAPES]
    many = [
        measure(BACKENDS_SHAPE, n, sglang, options.rounds, cold=False) for n in BACKENDS
    ]
    result = {
        "benchmark": "copy_metadata",
        "machine": reporting.machine(sglang),
        "rows": rows,
        "by_backends": many,
        "missed": [line for row in rows for line in verdicts(row)],
    }
    reporting.save(result, report(result), options.out)
    draw(result, options.out / "copy_metadata.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
