# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A V4 decode: a step of exactly these fields, and one that any fields can be asked of.

    python benchmarks/v4_bundles.py [--rounds N] [--out DIR]

The fields are those that a V4 decode step reads. Kernels are compiled here, or come from
NSA_BUNDLE_PATH. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import harness  # noqa: E402
import reporting  # noqa: E402
from v4_steps import FIELDS, optional_text, text  # noqa: E402

from nsa import _cache  # noqa: E402

BATCHES = (1, 8, 32, 128, 256)
CONTEXTS = (4096, 131072)
PAGE, WINDOW, TOPK = 256, 128, 512


def arrays(bs: int, context: int) -> dict[str, Any]:
    slots, rows = 1 << 20, 2 * bs + 1
    device = "cuda"
    columns = -(-context // PAGE)
    generator = torch.Generator(device).manual_seed(bs)

    def draw(low: int, high: int, *shape: int, dtype: Any = torch.int64) -> Any:
        return torch.randint(
            low, high, shape, dtype=dtype, device=device, generator=generator
        )

    made = {
        "seq_lens": draw(context // 8, context + 1, bs),
        "req_pool_indices": torch.randperm(rows, device=device, generator=generator)[:bs],
        "req_to_token": draw(0, slots, rows, context, dtype=torch.int32),
        "full_to_swa": draw(0, slots, slots),
        "out_cache_loc": draw(0, slots, bs),
    }
    widths = {
        "swa_page_indices": WINDOW, "page_table": columns, "c4_sparse_page_indices": TOPK,
        "c128_page_indices": -(-columns * 2 // 64) * 64,
    }  # fmt: skip
    for name in FIELDS:
        shape = (bs, widths[name]) if name in widths else (bs,)
        dtype = torch.int64 if name.endswith("out_loc") else torch.int32
        made[f"b0_{name}"] = torch.zeros(shape, dtype=dtype, device=device)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    step = _cache.get_step("v4_decode", text(), "cuda")
    for_all = _cache.get_step("v4_decode", optional_text(), "cuda")
    rows = []
    for context in CONTEXTS:
        for bs in BATCHES:
            sizes = {"bs": bs, "max_len": context, "num_locs": bs}
            made = arrays(bs, context)
            ways = {}
            for name, each in (("nsa", step), ("for all", for_all)):
                bound = each.bind(**made, **sizes)

                def launch(_: int, bound: Any = bound, sizes: Any = sizes) -> None:
                    bound.launch(stream=torch.cuda.current_stream().cuda_stream, **sizes)

                ways[name] = launch
            written = sum(a.nbytes for name, a in made.items() if name.startswith("b0_"))
            times = harness.gpu_times(
                {
                    **ways,
                    "copy": harness.copy_operation(2 * written),
                    "empty": harness.empty_operation(),
                },
                options.rounds,
            )
            medians = {name: t.median for name, t in times.items()}
            ratio = medians["for all"] / medians["nsa"]
            rows.append([f"{bs} x {context}", written / 1e6, *medians.values(), ratio])
    header = [
        "bs x context", "MB written", "nsa (1 launch)", "nsa, one bundle for all", "copy kernel",
        "empty kernel", "for all / nsa",
    ]  # fmt: skip
    report = reporting.markdown(f"V4 decode, {len(FIELDS)} fields, us", header, rows)
    print(report)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "v4_bundles.md").write_text(report)


if __name__ == "__main__":
    main()
