# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of DSA steps whose index keys are pooled: SGLang's own sequence beside one launch.

    python benchmarks/kpool.py [--sglang DIR] [--check] [--quick] [--json FILE] [--out DIR]

Every field is compared before anything is timed; with --check that is all. Kernels are compiled here, or come from
NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import kpool_peer  # noqa: E402
import reporting  # noqa: E402
import v4  # noqa: E402
from kpool_steps import Case, cases  # noqa: E402

from nsa import ops  # noqa: E402

NOTES = """\
SGLang's sequence is what its attention backend runs before a replay of the captured graph, here captured as well, so that
only its time on the GPU counts; without schedules of indexers and attention. nsa's is one call of nsa.ops.replay_metadata
with the same fields, with "live columns" that with live_only: columns past a request's tokens, which nobody reads, keep what
they hold. "Fused": SGLang with its fused kernels, which are on by default and write live columns alone, in blocks of 128. Else
SGLang without them (SGLANG_EXPERIMENTAL_DSA_KPOOL_METADATA_FUSION=0), which writes all columns."""


def inputs(
    case: Case, bs: int, context: int, device: str = "cuda", seed: int = 0
) -> dict[str, Any]:
    """Valid ones: room for the tokens of the step is left in the context."""
    last = context - (case.next_n if case.mode == "target_verify" else 0)
    rows = 2 * bs + 1
    generator = torch.Generator(device).manual_seed(seed)

    def draw(low: int, high: int, *shape: int, dtype: Any = torch.int64) -> Any:
        return torch.randint(
            low, high, shape, dtype=dtype, device=device, generator=generator
        )

    return {
        "seq_lens": draw(max(context // 8, case.next_n), last + 1, bs),
        "req_pool_indices": 1
        + torch.randperm(rows - 1, device=device, generator=generator)[:bs],
        "req_to_token": draw(0, 1 << 20, rows, context, dtype=torch.int32),
    }


def ways(
    peer: Any, case: Case, bs: int, context: int, device: str = "cuda"
) -> tuple[Any, Any, list[dict[str, Any]]]:
    """SGLang's sequence, nsa's launch and what that writes, after a comparison."""
    a = inputs(case, bs, context, device)
    ours = {
        name: torch.full(shape, -77, dtype=getattr(torch, dtype), device=device)
        for name, (shape, dtype) in case.outputs(bs, context).items()
    }
    theirs = kpool_peer.sequence(peer, case, a)
    # SGLang's arrays are made with contents; what is compared was written by a replay.
    a["seq_lens"].copy_(inputs(case, bs, context, device, seed=1)["seq_lens"])

    def launch() -> None:
        ops.replay_metadata([ours], **a, **case.arguments(context))

    launch()
    metadata = theirs()
    lens = ours["cache_seqlens"].repeat_interleave(case.next_n)[:, None]
    for name, mine in ours.items():
        other = kpool_peer.field(metadata, name)
        same = mine == other if mine.shape == other.shape else torch.tensor(False)
        if case.live_only and name in case.tables():
            columns = torch.arange(mine.shape[1], device=device) * case.tables()[name]
            same |= columns >= lens
        if not bool(same.all()):
            raise AssertionError(f"{case.name}: {name} differs")
    return theirs, launch, [ours]


def written(case: Case, ours: dict[str, Any]) -> int:
    """Bytes that have to be written."""
    tables = case.tables() if case.live_only else {}
    lens = ours["cache_seqlens"].tolist()
    total = sum(array.nbytes for name, array in ours.items() if name not in tables)
    for tokens in tables.values():
        total += 4 * case.next_n * sum(-(-n // tokens) for n in lens)
    return total


def main() -> int:
    parser = reporting.peer_parser(__doc__, "two batches, two contexts")
    parser.set_defaults(rounds=20)
    options = parser.parse_args()
    if not reporting.has_device("kpool"):
        return 1
    peer = kpool_peer.load(options.sglang)
    if options.check:
        for case in cases():
            for bs in v4.CHECKED_BATCHES:
                ways(peer, case, bs, v4.CHECKED_CONTEXT)
            print(f"{case.name}: {len(case.fields)} fields equal to {peer.name}")
        return 0
    rows = []
    for case in cases():
        for context in v4.CONTEXTS[::2] if options.quick else v4.CONTEXTS:
            batches = v4.BATCHES[::4] if options.quick else v4.BATCHES
            for bs in batches:
                count = bs in (batches[0], batches[-1])
                found = ways(peer, case, bs, context)
                size = written(case, found[2][0])
                rows.append(v4.measure(found, case, bs, context, options.rounds, count, size))
        print(f"{case.name}: equal to {peer.name}", file=sys.stderr, flush=True)
    result = {"benchmark": "kpool", "machine": reporting.machine(peer), "rows": rows}
    text = v4.report(result, "Metadata of DSA steps with pooled index keys", NOTES)
    reporting.save(result, text, options.out, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
