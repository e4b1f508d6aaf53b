# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of DeepSeek V4 and V4.1 steps: SGLang's own sequence beside one launch of nsa.

    python benchmarks/v4.py --sglang DIR [--check] [--quick] [--json FILE] [--out DIR]

Every field is compared before anything is timed; with --check that is all. Kernels are compiled here, or come from
NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import harness  # noqa: E402
import reporting  # noqa: E402
import v4_peer  # noqa: E402
from v4_extend import check_extend, sort_rows  # noqa: E402
from v4_steps import Case, cases  # noqa: E402

from nsa import ops  # noqa: E402

CHECKED_BATCHES, CHECKED_CONTEXT = (1, 7, 130), 4096
BATCHES = (1, 8, 32, 128, 256)
CONTEXTS = (4096, 32768, 131072)
#: How many times as fast as the peer: with few requests, with many, anywhere, drafting.
FEW, FEW_BAR, MANY_BAR, EACH_BAR, DRAFT_BAR = 32, 6.0, 3.0, 1.5, 8.0

NOTES = """\
SGLang's sequence is what its attention backend runs in the captured graph of the mode (for a draft extend, before it),
called with its own code, without schedules of indexers and attention, and without the copies between graphs' buffers.
nsa's is one call of nsa.ops.replay_v4 with the same fields. Plans of prefill are compared as sets of rows, since
SGLang's are in any order."""


def inputs(case: Case, bs: int, context: int, device: str = "cuda") -> dict[str, Any]:
    """Valid ones: room for the tokens of the step is left in the context."""
    slots, rows = 1 << 20, 2 * bs + 1
    generator = torch.Generator(device).manual_seed(bs)
    last = context - (case.next_n if case.mode == "target_verify" else 0)

    def draw(low: int, high: int, *shape: int, dtype: Any = torch.int64) -> Any:
        return torch.randint(
            low, high, shape, dtype=dtype, device=device, generator=generator
        )

    return {
        "seq_lens": draw(max(context // 8, case.next_n), last + 1, bs),
        "req_pool_indices": 1
        + torch.randperm(rows - 1, device=device, generator=generator)[:bs],
        "req_to_token": draw(0, slots, rows, context, dtype=torch.int32),
        "full_to_swa": draw(0, slots, slots),
        "out_cache_loc": draw(0, slots, bs * case.next_n * case.steps),
    }


def outputs(case: Case, bs: int, context: int, device: str = "cuda") -> list[dict[str, Any]]:
    """Destinations full of what no field holds."""
    return [
        {
            name: torch.full(shape, -77, dtype=getattr(torch, dtype), device=device)
            for name, (shape, dtype) in case.outputs(bs, context).items()
        }
        for _ in range(case.steps)
    ]


def compare(case: Case, ours: list[dict[str, Any]], theirs: list[Any]) -> None:
    """Raises ``AssertionError`` where a field differs."""
    for step, (destination, metadata) in enumerate(zip(ours, theirs, strict=True)):
        for name, mine in destination.items():
            other = v4_peer.field(metadata, name)
            if name.endswith(("_plan_c", "_plan_w")):
                mine, other = sort_rows(mine), sort_rows(other)
            same = mine.shape == other.shape and torch.equal(
                mine.to(torch.int64), other.to(torch.int64)
            )
            if not same:
                raise AssertionError(f"{case.name}, step {step}: {name} differs")


def ways(peer: Any, case: Case, bs: int, context: int) -> tuple[Any, Any, list[dict[str, Any]]]:
    """SGLang's sequence, nsa's launch and what that writes, after a comparison."""
    arrays, ours = inputs(case, bs, context), outputs(case, bs, context)
    theirs = v4_peer.sequence(peer, case, arrays)

    def launch() -> None:
        ops.replay_v4(ours, **arrays, **case.arguments(context))

    launch()
    compare(case, ours, theirs())
    return theirs, launch, ours


def measure(
    found: tuple[Any, Any, list[dict[str, Any]]],
    case: Any,
    bs: int,
    context: int,
    rounds: int,
    count: bool,
    written: int | None = None,
) -> dict[str, Any]:
    """`found`: as of ``ways``. `count`: the launches, too, which takes longer than all else.
    `written`: bytes, all of the arrays' if left out."""
    theirs, launch, ours = found
    if written is None:
        written = sum(array.nbytes for each in ours for array in each.values())
    times = harness.gpu_times(
        {
            "peer": lambda _: theirs() and None,
            "nsa": lambda _: launch(),
            "copy": harness.copy_operation(2 * written),
            "empty": harness.empty_operation(),
        },
        rounds,
    )
    return {
        "case": case.name,
        "bs": bs,
        "context": context,
        "fields": len(case.fields),
        "written_bytes": written,
        "launches": {
            name: harness.count_kernels(way)
            for name, way in (("peer", theirs), ("nsa", launch))
            if count
        },
        "gpu_us": reporting.as_json(times),
    }


def ratio(row: dict[str, Any]) -> float:
    times = reporting.medians(row)
    return times["peer"] / times["nsa"]


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for name in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == name]
        drafting = "draft steps" in name
        few = [ratio(row) for row in of_case if row["bs"] <= FEW]
        many = [ratio(row) for row in of_case if row["bs"] == max(BATCHES)]
        bar = DRAFT_BAR if drafting else FEW_BAR
        lines.append(reporting.verdict(f"{name}, up to {FEW} requests, least", min(few), bar))
        if many:
            what = f"{name}, {max(BATCHES)} requests, least"
            lines.append(reporting.verdict(what, min(many), MANY_BAR))
        least = min(map(ratio, of_case))
        lines.append(reporting.verdict(f"{name}, anywhere", least, EACH_BAR))
    return lines


def summary(rows: list[dict[str, Any]]) -> str:
    """Of each mode the launches, and the least ratio of each number of requests."""
    batches = sorted({row["bs"] for row in rows})
    cells: list[list[Any]] = []
    for name in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == name]
        counts = {
            who: sorted({row["launches"][who] for row in of_case if row["launches"]})
            for who in ("peer", "nsa")
        }
        least = [min(ratio(row) for row in of_case if row["bs"] == bs) for bs in batches]
        spans = [f"{c[0]} to {c[-1]}" if len(c) > 1 else c[0] for c in counts.values()]
        cells.append([name, *spans, *least])
    heads = ["mode", "launches, SGLang", "launches, nsa", *map(str, batches)]
    contexts = ", ".join(map(str, sorted({row["context"] for row in rows})))
    title = f"SGLang / nsa by requests, the least of contexts of {contexts}"
    return reporting.markdown(title, heads, cells)


def report(result: dict[str, Any], title: str, notes: str) -> str:
    parts = [reporting.headline(title, result), summary(result["rows"])]
    heads = [
        "bs x context", "MB written", "SGLang", "nsa", "copy kernel", "empty kernel",
        "SGLang / nsa",
    ]  # fmt: skip
    for name in dict.fromkeys(row["case"] for row in result["rows"]):
        cells = []
        for row in result["rows"]:
            if row["case"] == name:
                times = reporting.medians(row)
                cells.append([
                    f"{row['bs']} x {row['context']}", row["written_bytes"] / 1e6,
                    times["peer"], times["nsa"], times["copy"], times["empty"], ratio(row),
                ])  # fmt: skip
        parts.append(reporting.markdown(f"{name}, in a replayed graph, us", heads, cells))
    parts += ["\n".join(verdicts(result["rows"])) + "\n", notes]
    return "\n".join(parts)


def main() -> int:
    parser = reporting.peer_parser(__doc__, "two batches, two contexts")
    parser.set_defaults(rounds=20)
    options = parser.parse_args()
    if not reporting.has_device("v4"):
        return 1
    peer = v4_peer.load(options.sglang)
    if options.check:
        for case in cases():
            for bs in CHECKED_BATCHES:
                ways(peer, case, bs, CHECKED_CONTEXT)
            print(f"{case.name}: equal to {peer.name}")
        for model in ("v4", "v41"):
            for bs in CHECKED_BATCHES:
                check_extend(peer, model, bs, CHECKED_CONTEXT)
            print(f"{model} extend: equal to {peer.name}")
        return 0
    batches = BATCHES[::4] if options.quick else BATCHES
    contexts = CONTEXTS[::2] if options.quick else CONTEXTS
    rows = []
    for case in cases():
        begin = time.monotonic()
        for context in contexts:
            for bs in batches:
                count = bs in (batches[0], batches[-1])
                found = ways(peer, case, bs, context)
                rows.append(measure(found, case, bs, context, options.rounds, count))
        seconds = time.monotonic() - begin
        print(
            f"{case.name}: equal to {peer.name}, {seconds:.0f} s", file=sys.stderr, flush=True
        )
    result = {"benchmark": "v4", "machine": reporting.machine(peer), "rows": rows}
    text = report(result, "Metadata of V4 and V4.1 steps", NOTES)
    reporting.save(result, text, options.out, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
