# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An extend of V4 and V4.1 outside of graphs, and what its layers have in common: SGLang's own
sequences beside one launch each.

    python benchmarks/v4_eager.py [--sglang DIR] [--quick] [--json FILE] [--out DIR]

Every field is compared before anything is timed. Kernels are compiled here, or come from NSA_BUNDLE_PATH. See
benchmarks/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import reporting  # noqa: E402
import v4_extend  # noqa: E402
import v4_peer  # noqa: E402
from dsa_prefill import ratio, report, time_calls  # noqa: E402
from v4_steps import PAGE, WINDOW, chunk_fields  # noqa: E402

from nsa import ops  # noqa: E402
from nsa._prefill_v4 import MODELS  # noqa: E402
from nsa.compat.sglang import combined_topk_width  # noqa: E402

BATCHES, CONTEXTS, CHUNK = (1, 8, 32), (4096, 32768), 512
#: Everywhere, until the GPU is done.
BAR = 6.0

NOTES = f"""\
Each request extends by 1 to {CHUNK} tokens. SGLang's sequences are its backend's init_forward_metadata_prefill as
for a graph, without schedules, and SparsePrefillChunkCache with all ratios of the model; its host has the lengths already. nsa's are one call of
nsa.ops.replay_v4 and one of nsa.ops.prefill_v4 with the same fields, into arrays that are kept, as SGLang's are not;
"allocating" makes each of them anew. Times are until the GPU is done."""


def chunk_ways(peer: Any, model: str, a: dict[str, Any]) -> dict[str, Any]:
    """What the layers of a chunk have in common."""
    device = a["seq_lens"].device
    lens, extends = a["lens"], a["extends"]
    rows, bs, of = sum(extends), len(lens), dict(v4=MODELS[0], v41=MODELS[1])[model]

    def put(values: Any) -> Any:
        return torch.tensor(values, dtype=torch.int32, device=device)

    ends = [0]
    for extend in extends:
        ends.append(ends[-1] + extend)
    positions = [p for s, e in zip(lens, extends) for p in range(s - e, s)]
    pages = a["req_to_token"][a["req_pool_indices"]][:, ::PAGE] // PAGE
    of_rows = torch.arange(bs, device=device).repeat_interleave(put(extends))
    most = max(max(lens) // 128, 1)
    columns = -(-pages.shape[1] * (PAGE // 128) // 64) * 64
    given = {
        "seq_lens": a["seq_lens"].int(), "extend_seq_lens": put(extends),
        "req_pool_indices": a["req_pool_indices"], "req_to_token": a["req_to_token"],
        "full_to_swa": a["full_to_swa"], "query_start_loc": put(ends),
        "query_pos": put(positions), "page_table": pages[of_rows].contiguous(),
        "c128_page_indices": torch.randint(
            -1, 500, (rows, columns), dtype=torch.int32, device=device,
            generator=torch.Generator(device).manual_seed(bs),
        ),
    }  # fmt: skip
    # Of this type its kernels take them.
    pool = a["req_pool_indices"].int()
    gathered = sum(min(s, e + WINDOW - 1) for s, e in zip(lens, extends))
    shapes: dict[str, tuple[int, ...]] = {
        "swa_ids": (gathered,), "swa_offsets": (bs + 1,), "c0_indices": (rows, WINDOW),
        "c0_lens": (rows,), "c128_ids": (bs, most), "c128_lens": (rows,),
        "c128_indices": (rows, combined_topk_width(most, WINDOW)),
        **{f"c{q}_ids": (sum(s // q for s in lens),) for q in (1, 2, 4)},
    }  # fmt: skip
    fields = chunk_fields(model)

    def make(fill: int | None = None) -> dict[str, Any]:
        made = {}
        for name in fields:
            made[name] = torch.empty(
                shapes.get(name, (bs,)), dtype=torch.int32, device=device
            )
            if fill is not None:
                made[name].fill_(fill)
        return made

    ours = make(-77)

    def call(made: dict[str, Any]) -> None:
        ops.prefill_v4(made, **given, page_size=PAGE, window=WINDOW, max_len=max(lens))

    def theirs() -> dict[str, Any]:
        chunk = peer.prefill.SparsePrefillChunkCache.build(
            seq_lens=given["seq_lens"], extend_seq_lens=given["extend_seq_lens"],
            query_lens=given["extend_seq_lens"], query_pos=given["query_pos"],
            req_pool_indices=pool, req_to_token=a["req_to_token"],
            full_to_swa=a["full_to_swa"], swa_window_size=WINDOW, swa_page_size=PAGE,
            num_qo_tokens=rows, max_seq_len=max(lens), total_swa=gathered, seq_lens_cpu=lens,
            request_window_layout=None,
        )  # fmt: skip
        found = {
            "swa_ids": chunk.swa_token_ids, "swa_first": chunk.swa_first_pos,
            "swa_lens": chunk.swa_gather_lens, "swa_offsets": chunk.swa_offsets,
            "c0_indices": chunk.c0_combined_indices, "c0_lens": chunk.c0_combined_lens,
        }  # fmt: skip
        for q in of:
            if q == 128:
                gather = chunk.ensure_c128(given["c128_page_indices"])
                found["c128_indices"] = gather.combined_indices
                found["c128_lens"] = gather.combined_lens
            else:
                gather = chunk.ensure_compressed(q, given["page_table"], PAGE // q)
            found[f"c{q}_ids"] = gather.flat_token_ids
            found[f"c{q}_base"] = gather.compressed_base
            found[f"c{q}_swa_base"] = gather.swa_base
        return found

    call(ours)
    other = theirs()
    for name, mine in ours.items():
        if not torch.equal(mine.flatten(), other[name].flatten()):
            raise AssertionError(f"{model} chunk: {name} differs")
    return {
        "peer": theirs, "nsa": lambda: call(ours), "nsa, allocating": lambda: call(make()),
        "bytes": sum(array.nbytes for array in ours.values()), "fields": len(fields),
    }  # fmt: skip


def main() -> int:
    parser = reporting.argument_parser(__doc__)
    parser.set_defaults(rounds=20, sglang=ROOT / ".peers/sglang")
    parser.add_argument("--quick", action="store_true", help="8 requests, one context")
    parser.add_argument("--json", type=Path, help="where results go, besides --out")
    options = parser.parse_args()
    if not reporting.has_device("v4_eager"):
        return 1
    peer = v4_peer.load(options.sglang)
    rows = []
    for context in CONTEXTS[:1] if options.quick else CONTEXTS:
        for bs in BATCHES[1:2] if options.quick else BATCHES:
            a = v4_extend.inputs(bs, context, "cuda", min(CHUNK, context // 2))
            for model in ("v4", "v41"):
                for what, ways in (("extend", v4_extend.ways), ("chunk", chunk_ways)):
                    of_case = ways(peer, model, a)
                    about = {
                        "case": f"{model} {what}", "bs": bs, "context": context,
                        "fields": of_case.pop("fields"),
                        "written_bytes": of_case.pop("bytes"),
                    }  # fmt: skip
                    rows.append(about | time_calls(of_case, 5 * options.rounds))
    rows.sort(key=lambda row: row["case"])
    result = {"benchmark": "v4_eager", "machine": reporting.machine(peer), "rows": rows}
    lines = []
    for name in dict.fromkeys(row["case"] for row in rows):
        least = min(ratio(row) for row in rows if row["case"] == name)
        lines.append(reporting.verdict(f"{name}, until the GPU is done, least", least, BAR))
    text = report(result, "An eager extend of V4 and V4.1", "\n".join(lines), NOTES)
    reporting.save(result, text, options.out, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
