# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of an eager DSA (DeepSeek V3.2) extend: SGLang's own sequence beside one launch.

    python benchmarks/dsa_prefill.py [--sglang DIR] [--check] [--quick] [--json FILE] [--out DIR]

Every field is compared before anything is timed; with --check that is all. Kernels are compiled here, or come from
NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import dsa_prefill_peer  # noqa: E402
import harness  # noqa: E402
import reporting  # noqa: E402
from dsa_prefill_ranks import RANKS, check_rank  # noqa: E402
from dsa_prefill_steps import INPUT_DTYPES, Case, cases  # noqa: E402

from nsa import ops  # noqa: E402

BATCHES, CONTEXTS, CHUNK = (1, 8, 32), (4096, 32768), 512
CHECKED_BATCHES, CHECKED_CONTEXTS = (1, 3, 8, 32), (70, 4096)
#: The bar, and from how many requests on.
BAR, BAR_REQUESTS = 10.0, 8
SLOTS = 1 << 20

NOTES = f"""\
Each request extends by 1 to {CHUNK} tokens, drawn uniformly, and has an eighth of the context or more before them, so that
prefixes are shared and the flattened table is made. SGLang's sequence is its backend's init_forward_metadata, without
schedules; its host has the lengths and pool indices already. nsa's is one call of nsa.ops.dsa_prefill with the same fields,
into arrays that are kept, as SGLang's are not; "allocating" makes each of them anew, as SGLang does. Times are until the
GPU is done. Waits are those that torch tells of, and for nsa none, as the call returns while the GPU is kept busy."""


def inputs(bs: int, context: int, device: str = "cuda") -> dict[str, Any]:
    """A batch: arrays of the device, and the lists that the host has."""
    rng = random.Random(bs * context)
    chunk = min(CHUNK, context // 2)
    extends = [rng.randint(1, chunk) for _ in range(bs)]
    lens = [rng.randint(max(context // 8, e + 1), context) for e in extends]
    rows = 2 * bs + 1
    generator = torch.Generator(device).manual_seed(bs)

    def put(values: list[int], name: str) -> Any:
        return torch.tensor(values, dtype=getattr(torch, INPUT_DTYPES[name]), device=device)

    return {
        "seq_lens": put(lens, "seq_lens"),
        "extend_seq_lens": put(extends, "extend_seq_lens"),
        "req_pool_indices": put(rng.sample(range(1, rows), bs), "req_pool_indices"),
        "req_to_token": torch.randint(
            0, SLOTS, (rows, context), dtype=torch.int32, device=device, generator=generator
        ),
        "lens": lens,
        "extends": extends,
        "slots": SLOTS,
    }


def outputs(case: Case, a: dict[str, Any]) -> dict[str, Any]:
    """Destinations full of what no field holds."""
    return {
        name: torch.full(shape, -77, dtype=getattr(torch, dtype), device=a["seq_lens"].device)
        for name, (shape, dtype) in case.outputs(a["lens"], a["extends"]).items()
    }


def compare(case: Case, ours: dict[str, Any], theirs: Any) -> None:
    """Raises ``AssertionError`` where a field differs, in its dtype too."""
    for name, mine in ours.items():
        other = dsa_prefill_peer.field(theirs, name)
        if mine.dtype != other.dtype or not torch.equal(mine, other):
            raise AssertionError(f"{case.name}: {name} differs")


def ways(peer: Any, case: Case, bs: int, context: int) -> dict[str, Any]:
    """Both, after a comparison, nsa's into arrays that are kept and into new ones, and how
    much is written."""
    a = inputs(bs, context)
    given = {name: a[name] for name in INPUT_DTYPES}
    arguments = case.arguments(a["lens"], a["extends"])
    ours = outputs(case, a)
    theirs = dsa_prefill_peer.sequence(peer, case, a)
    shapes = [
        (name, shape, getattr(torch, dtype))
        for name, (shape, dtype) in case.outputs(a["lens"], a["extends"]).items()
    ]

    def launch() -> None:
        ops.dsa_prefill(ours, **given, **arguments)

    def allocate() -> None:
        made = {n: torch.empty(s, dtype=d, device="cuda") for n, s, d in shapes}
        ops.dsa_prefill(made, **given, **arguments)

    launch()
    compare(case, ours, theirs())
    return {
        "peer": theirs, "nsa": launch, "nsa, allocating": allocate,
        "bytes": sum(array.nbytes for array in ours.values()),
    }  # fmt: skip


def count_waits(call: Callable[[], Any]) -> int:
    """How often torch waits for the device."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(w.message) for w in caught)


def on_device(call: Callable[[], Any]) -> tuple[int, float]:
    """Kernels, fills and copies of a call, and the microseconds that they take."""
    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    events = [e for e in trace.events() if e.device_type.name == "CUDA"]
    return len(events), float(sum(e.time_range.elapsed_us() for e in events))


def measure(peer: Any, case: Case, bs: int, context: int, calls: int) -> dict[str, Any]:
    of_case = ways(peer, case, bs, context)
    return {
        "case": case.name,
        "bs": bs,
        "context": context,
        "fields": len(case.fields),
        "written_bytes": of_case.pop("bytes"),
        **time_calls(of_case, calls),
    }


def time_calls(of_case: dict[str, Callable[[], Any]], calls: int) -> dict[str, Any]:
    """What each way takes, one of them "peer" and one "nsa", which must not wait."""
    # Raises if it waits.
    harness.queued_times({"nsa": of_case["nsa"]}, batches=3)
    launches, busy = {}, {}
    for name in ("peer", "nsa"):
        launches[name], busy[name] = on_device(of_case[name])
    return {
        "launches": launches,
        "waits": {"peer": count_waits(of_case["peer"]), "nsa": count_waits(of_case["nsa"])},
        "busy_us": busy,
        "wall_us": reporting.as_json(harness.wall_times(of_case, calls)),
        "host_us": reporting.as_json(
            {name: harness.host_time(way, batches=5) for name, way in of_case.items()}
        ),
    }


def ratio(row: dict[str, Any], way: str = "nsa") -> float:
    times = reporting.medians(row, "wall_us")
    return times["peer"] / times[way]


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for name in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == name]
        many = [row for row in of_case if row["bs"] >= BAR_REQUESTS]
        what = f"{name}, {BAR_REQUESTS} requests or more, until the GPU is done, least"
        lines.append(reporting.verdict(what, min(map(ratio, many)), BAR))
        waits = max(row["waits"]["nsa"] for row in of_case)
        lines.append(reporting.verdict(f"{name}, waits of nsa", waits, 0, least=False))
    return lines


def report(result: dict[str, Any], title: str, bars: str, notes: str) -> str:
    parts = [reporting.headline(title, result)]
    heads = [
        "bs x context", "MB written", "launches, SGLang", "nsa", "waits, SGLang", "nsa",
        "until done, SGLang", "nsa", "nsa, allocating", "host, SGLang", "nsa",
        "GPU busy, SGLang", "nsa", "SGLang / nsa", "/ nsa, allocating",
    ]  # fmt: skip
    for name in dict.fromkeys(row["case"] for row in result["rows"]):
        cells = []
        for row in result["rows"]:
            if row["case"] == name:
                wall = reporting.medians(row, "wall_us")
                host = reporting.medians(row, "host_us")
                cells.append([
                    f"{row['bs']} x {row['context']}", row["written_bytes"] / 1e6,
                    *row["launches"].values(), *row["waits"].values(), *wall.values(),
                    host["peer"], host["nsa"], *row["busy_us"].values(), ratio(row),
                    ratio(row, "nsa, allocating"),
                ])  # fmt: skip
        fields = next(row["fields"] for row in result["rows"] if row["case"] == name)
        parts.append(reporting.markdown(f"{name}, {fields} fields, us", heads, cells))
    parts += [bars + "\n", notes]
    return "\n".join(parts)


def main() -> int:
    parser = reporting.peer_parser(__doc__, "8 requests, one context")
    options = parser.parse_args()
    if not reporting.has_device("dsa_prefill"):
        return 1
    peer = dsa_prefill_peer.load(options.sglang)
    if options.check:
        for case in cases():
            for context in CHECKED_CONTEXTS:
                for bs in CHECKED_BATCHES:
                    ways(peer, case, bs, context)
            print(f"{case.name}: {len(case.fields)} fields equal to {peer.name}")
            for context in CHECKED_CONTEXTS:
                for bs in CHECKED_BATCHES:
                    for of_rank in RANKS:
                        count = check_rank(peer, case, inputs(bs, context), *of_rank)
            print(f"{case.name}, of ranks: {count} fields equal to {peer.name}")
        return 0
    rows = []
    for case in cases():
        for context in CONTEXTS[:1] if options.quick else CONTEXTS:
            for bs in (BAR_REQUESTS,) if options.quick else BATCHES:
                rows.append(measure(peer, case, bs, context, 5 * options.rounds))
        print(f"{case.name}: equal to {peer.name}", file=sys.stderr, flush=True)
    result = {"benchmark": "dsa_prefill", "machine": reporting.machine(peer), "rows": rows}
    bars = "\n".join(verdicts(rows))
    text = report(result, "Metadata of an eager DSA extend", bars, NOTES)
    reporting.save(result, text, options.out, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
