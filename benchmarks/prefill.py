# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sparse prefill: nsa beside two releases of SGLang, in one run.

    python benchmarks/prefill.py [--sglang DIR] [--parts combine,...] [--out DIR]

Every way is first compared with NumPy, bit by bit, then timed. Kernels are compiled here,
or come from NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import reporting  # noqa: E402
from peers import SparsePrefill, load_sparse_prefill  # noqa: E402
from prefill_chunks import MIXES, RATIO, Chunk, Mix  # noqa: E402
from prefill_steps import Caches, ChunkStep, LayerStep, is_ragged  # noqa: E402
from prefill_workload import Combine, Way, WindowIds  # noqa: E402
from reporting import verdict  # noqa: E402

#: Beside this release, whose kernels the bars were set with.
BAR_PEER = "SGLang 0.5.20"
COMBINE_BARS = {Mix(1, 32768, 512): 3.0}
#: By number of requests, beside the peer's kernel alone.
IDS_BARS = {1: 8.0, 64: 2.0}

ALLOCATING, CALL, FETCHING = ", allocating", ", call", ", total fetched"
RAGGED = ", ragged"


def capturable(ways: dict[str, Way], moved: int) -> dict[str, harness.Operation]:
    """What goes into graphs: the ways, and the two ceilings."""
    return {
        **{name: lambda repetition, way=way: way() for name, way in ways.items()},
        "copy": harness.copy_operation(moved),
        "empty": harness.empty_operation(),
    }


def row(
    mix: Mix, moved: int, note: str = "", **times: dict[str, harness.Timing]
) -> dict[str, Any]:
    return {
        **vars(mix),
        "mix": f"{mix}{note}",
        "moved_bytes": moved,
        **{key: reporting.as_json(timings) for key, timings in times.items()},
    }


def measure_combine(
    mix: Mix, releases: list[SparsePrefill], rounds: int
) -> list[dict[str, Any]]:
    chunk = Chunk(mix)
    combine = Combine(chunk)
    ways = {"nsa": combine.nsa()}
    combine.check("nsa", ways["nsa"])
    for release in releases:
        for name, allocates in ((release.name, False), (release.name + ALLOCATING, True)):
            ways[name] = combine.peer(release, allocates)
            combine.check(name, ways[name], fill=-1)
    moved = chunk.combine_bytes()
    return [
        row(
            mix,
            moved,
            gpu_us=harness.gpu_times(capturable(ways, moved), rounds),
            host_us={name: harness.host_time(way) for name, way in ways.items()},
        )
    ]


def measure_ids(
    mix: Mix, releases: list[SparsePrefill], rounds: int
) -> list[dict[str, Any]]:
    chunk = Chunk(mix)
    ids = WindowIds(chunk)
    captured, waited = {"nsa": ids.nsa()}, {"nsa": ids.nsa()}
    for release in releases:
        captured[release.name] = ids.peer_kernel(release)
        call = ids.peer(release)
        captured[release.name + CALL] = waited[release.name + CALL] = call
        waited[release.name + FETCHING] = ids.peer_fetching(release)
    for name, way in {**captured, **waited}.items():
        ids.check(name, way)
    moved = chunk.ids_bytes()
    return [
        row(
            mix,
            moved,
            gpu_us=harness.gpu_times(capturable(captured, moved), rounds),
            wall_us=wall_times(waited),
        )
    ]


def wall_times(ways: dict[str, Way]) -> dict[str, harness.Timing]:
    return harness.wall_times({**ways, "a wait alone": lambda: None})


def measure_chunk(
    mix: Mix, releases: list[SparsePrefill], rounds: int
) -> list[dict[str, Any]]:
    step = ChunkStep(Chunk(mix))
    ways: dict[str, Callable[[], Any]] = {"nsa": step.nsa(), "nsa, bound": step.nsa_bound()}
    for name, way in ways.items():
        step.check(name, way())
    for release in releases:
        ways[release.name] = step.peer(release)
        step.check_peer(release, ways[release.name]())
    moved = step.moved_bytes()
    copy = partial(harness.copy_operation(moved), 0)
    queued = {**ways, "copy": copy, "empty": partial(harness.empty_operation(), 0)}
    return [
        row(
            mix,
            moved,
            queued_us=harness.queued_times(queued),
            wall_us=wall_times(ways),
        )
    ]


def measure_layer(
    mix: Mix, releases: list[SparsePrefill], rounds: int
) -> list[dict[str, Any]]:
    """A row for each way to place compressed rows: as many for each request, which is
    what nsa's chunk step does, or as many as it has."""
    chunk = Chunk(mix)
    shared, caches = ChunkStep(chunk), Caches()
    rows = []
    for ragged, note in ((False, ""), (True, RAGGED)):
        having = [release for release in releases if is_ragged(release) == ragged]
        if ragged and not having:
            continue
        gather = chunk.c4_ragged() if ragged else (chunk.c4_ids, *chunk.bases(RATIO))
        step = LayerStep(chunk, caches, gather)
        ways = {"nsa": step.nsa()}
        for release in having:
            ways[release.name] = step.peer(release, shared.peer(release)())
        for name, way in ways.items():
            step.check(name, way)
        moved = step.moved_bytes()
        rows.append(
            row(
                mix,
                moved,
                note,
                gpu_us=harness.gpu_times(capturable(ways, moved), rounds),
                host_us={name: harness.host_time(way) for name, way in ways.items()},
            )
        )
    return rows


#: What is measured -> its measurement.
PARTS = {
    "combine": measure_combine,
    "ids": measure_ids,
    "chunk": measure_chunk,
    "layer": measure_layer,
}


def mixes(part: str) -> list[Mix]:
    """Only what combines top-k indices differs by their number."""
    if part in ("combine", "layer"):
        return list(MIXES)
    return [mix for mix in MIXES if mix.topk == MIXES[0].topk]


# ----------------------------------------------------------------------------
# The report
# ----------------------------------------------------------------------------


def ratio(times: dict[str, float], name: str) -> float | None:
    return times[name] / times["nsa"] if name in times else None


def times_table(title: str, rows: list[dict[str, Any]], key: str) -> str:
    """Times, and how many times as long as nsa's those of the peers are."""
    names = list(dict.fromkeys(name for line in rows for name in line[key]))
    peers = [name for name in names if name.startswith("SGLang")]
    cells = []
    for line in rows:
        times = reporting.medians(line, key)
        moved = line["moved_bytes"]
        speeds = [moved / times[n] / 1e6 for n in ("nsa", "copy") if n in times]
        cells.append(
            [
                line["mix"],
                *(times.get(name) for name in names),
                *(ratio(times, name) for name in peers),
                *(speeds if "copy" in times else ()),
            ]
        )
    heads = ["requests x queries, top-k", *names, *(f"{name} / nsa" for name in peers)]
    if "copy" in names:
        heads += ["nsa TB/s", "copy TB/s"]
    return reporting.markdown(title, heads, cells)


TITLES = {
    "gpu_us": "GPU time in a replayed graph, us",
    "queued_us": "GPU time of a call whose launches are queued, us",
    "host_us": "Host time of a call from Python, us",
    "wall_us": "Wall time of a call, the GPU waited for, us",
}


def verdicts(result: dict[str, Any]) -> list[str]:
    lines = []
    for line in result.get("combine", ()):
        value = ratio(reporting.medians(line), BAR_PEER)
        if value is not None:
            bar = COMBINE_BARS.get(
                Mix(line["requests"], line["queries"], line["topk"]), 1.0
            )
            lines.append(verdict(f"combine {line['mix']}, {BAR_PEER} / nsa", value, bar))
    for line in result.get("ids", ()):
        value = ratio(reporting.medians(line), BAR_PEER)
        if value is not None:
            bar = IDS_BARS.get(line["requests"], 1.0)
            lines.append(verdict(f"ids {line['mix']}, {BAR_PEER}'s kernel / nsa", value, bar))
    return lines


def report(result: dict[str, Any]) -> str:
    parts = [reporting.headline("Sparse prefill", result)]
    for part in PARTS:
        if part in result:
            parts.append(f"## {part}\n")
            for key in TITLES:
                if key in result[part][0]:
                    parts.append(times_table(TITLES[key], result[part], key))
    parts.append("## Bars\n\n" + "\n".join(verdicts(result)) + "\n")
    return "\n".join(parts)


def parse_arguments() -> argparse.Namespace:
    parser = reporting.argument_parser(__doc__)
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        default=list(PARTS),
        help=f"some of {','.join(PARTS)}",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if not reporting.has_device("prefill"):
        return 1
    releases = load_sparse_prefill(options.sglang) if options.sglang else []
    result: dict[str, Any] = {
        "benchmark": "prefill",
        "machine": reporting.machine(releases),
        "releases": [release.name for release in releases],
    }
    for part in options.parts:
        result[part] = []
        for mix in mixes(part):
            result[part] += PARTS[part](mix, releases, options.rounds)
            print(f"{part} {mix}: equal to NumPy", file=sys.stderr, flush=True)
    reporting.save(result, report(result), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
