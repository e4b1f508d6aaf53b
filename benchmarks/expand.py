# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Expansion of sequence lengths alone: nsa beside SGLang, waited for.

    python benchmarks/expand.py --sglang DIR [--out DIR]

Of extend lengths that only the device knows. SGLang's `seqlens_expand_triton` takes the
number of rows and the most rows of a request as numbers, so its callers fetch the lengths
first (`extend_seq_lens.cpu().tolist()` in its forward batch), and clip the result with an
operation of torch. `nsa.ops.expand_seqlens` needs neither. Wall time of a call, until the
GPU is done with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]

import harness  # noqa: E402
import reporting  # noqa: E402
import torch  # noqa: E402
from peers import SGLang, load_sglang  # noqa: E402
from replay_modes import DRAFT_TOKENS, TOPK  # noqa: E402

import nsa  # noqa: E402

BATCHES = (1, 32, 128, 1024)
BAR = 5.0


def measure(bs: int, sglang: SGLang) -> dict[str, float]:
    generator = torch.Generator("cuda").manual_seed(bs)

    def draw(low: int, high: int) -> torch.Tensor:
        sizes = {"size": (bs,), "dtype": torch.int32, "device": "cuda"}
        return torch.randint(low, high, generator=generator, **sizes)

    extend, lens = draw(1, DRAFT_TOKENS + 1), draw(1024, 16384)
    capacity = bs * DRAFT_TOKENS
    expanded, clipped = torch.full((2, capacity), -1, dtype=torch.int32, device="cuda")

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        known = extend.cpu().tolist()
        rows = sglang.seqlens_expand_triton(extend, lens, sum(known), max(known))
        return rows, rows.clamp(max=TOPK)

    def ours() -> None:
        nsa.ops.expand_seqlens(extend, lens, TOPK, expanded, clipped)

    ours()
    rows, clipped_rows = peer()
    total = len(rows)
    assert torch.equal(expanded[:total], rows), f"{bs} requests: lengths differ"
    assert torch.equal(clipped[:total], clipped_rows), f"{bs} requests: clipped differ"
    assert (expanded[total:] == -1).all(), f"{bs} requests: written past the rows"
    times = harness.wall_times({"peer": peer, "nsa": ours, "a wait alone": lambda: None})
    return {name: timing.median for name, timing in times.items()}


def main() -> int:
    options = reporting.argument_parser(__doc__, needs_peer=True).parse_args()
    if not reporting.has_device("expand"):
        return 1
    sglang = load_sglang(options.sglang)
    rows = [{"bs": bs, "wall_us": measure(bs, sglang)} for bs in BATCHES]
    result = {"benchmark": "expand", "machine": reporting.machine(sglang), "rows": rows}
    cells = []
    for row in rows:
        us = row["wall_us"]
        ratio = us["peer"] / us["nsa"]
        met = "met" if ratio >= BAR else "MISSED"
        cells.append([row["bs"], us["peer"], us["nsa"], us["a wait alone"], ratio, met])
    heads = ["requests", "SGLang", "nsa", "a wait alone", "ratio", f"bar {BAR:g}"]
    title = "Wall time of an expansion, the GPU waited for, us"
    text = reporting.headline("Expansion of lengths", result)
    reporting.save(result, text + "\n" + reporting.markdown(title, heads, cells), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
