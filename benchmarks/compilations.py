# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Counts compilations while the batch size runs from 1 to 64, with empty caches.

    python benchmarks/compilations.py --sglang DIR [--mode decode] [--out DIR]

Triton's are counted by its hook after a compilation, nsa's by the records of its logger.
nsa runs the ahead-of-time bundles of NSA_BUNDLE_PATH, or compiles once where it has a
compiler.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test/python")]
# Read when the libraries are imported.
_cache = tempfile.TemporaryDirectory()
os.environ["TRITON_CACHE_DIR"] = os.environ["NSA_CACHE_DIR"] = _cache.name

import replay_peer as peer  # noqa: E402
import replay_workload as workload  # noqa: E402
import reporting  # noqa: E402
import torch  # noqa: E402
import triton  # noqa: E402
from peers import load_sglang  # noqa: E402
from replay_modes import MODES, Mode  # noqa: E402
from replay_workload import Buffers, Shape  # noqa: E402

BATCHES = range(1, 65)
MAX_LEN = 1024


class Counter(logging.Handler):
    """Counts compilations, of Triton's and of nsa's compiler."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.getMessage().startswith("compiled")

    def after_compilation(self, **_: object) -> None:
        self.count += 1


def run(mode: Mode, counter: Counter, step: Callable[[Buffers], None]) -> dict[str, float]:
    begin_count, seconds = counter.count, 0.0
    for bs in BATCHES:
        buffers = Buffers(Shape(bs, MAX_LEN), mode, backends=1)
        torch.cuda.synchronize()
        begin = time.perf_counter()
        step(buffers)
        torch.cuda.synchronize()
        seconds += time.perf_counter() - begin
    return {"compilations": counter.count - begin_count, "seconds": seconds}


def run_nsa(buffers: Buffers) -> None:
    step = workload.nsa_step(buffers.mode, 1)
    step(**workload.nsa_arrays(buffers), **workload.nsa_sizes(buffers))


def main() -> int:
    parser = reporting.argument_parser(__doc__, needs_peer=True)
    parser.add_argument("--mode", choices=list(MODES), default="decode")
    options = parser.parse_args()
    if not reporting.has_device("compilations"):
        return 1
    sglang = load_sglang(options.sglang)
    mode = MODES[options.mode]
    counter = Counter()
    triton.knobs.runtime.jit_post_compile_hook = counter.after_compilation
    logger = logging.getLogger("nsa")
    logger.setLevel(logging.INFO)
    logger.addHandler(counter)
    ways = {
        "SGLang": lambda buffers: peer.precompute(sglang, buffers, buffers.backends[0]),
        "nsa": run_nsa,
    }
    counts = {name: run(mode, counter, way) for name, way in ways.items()}
    result = {
        "benchmark": "compilations",
        "machine": reporting.machine(sglang),
        "mode": mode.name,
        "batches": len(BATCHES),
        "ways": counts,
    }
    table = reporting.markdown(
        f"{mode.name}, batch sizes {BATCHES[0]} to {BATCHES[-1]}",
        ["", "compilations", "seconds in all"],
        [[name, *count.values()] for name, count in counts.items()],
    )
    text = reporting.headline("Compilations", result) + "\n" + table
    reporting.save(result, text, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
