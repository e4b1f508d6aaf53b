# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs generated steps beside their reference; see nsa.fuzz."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .check import BUILDS, Task, run_all
from .generate import draw_formulas, draw_task
from .shrink import as_test, shrink

#: Of the failures of a run, those that are made small.
SHRUNK = 5


class Drawn(Sequence[Task]):
    """The steps of the seeds from ``options.seed`` on, each drawn where it is needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    def __len__(self) -> int:
        return self.options.count

    def __getitem__(self, number):
        options = self.options
        if not 0 <= number < len(self):
            raise IndexError(number)
        draw = draw_formulas if options.formulas else draw_task
        task = draw(options.seed + number, ptx=options.ptx, simt=options.simt)
        task = replace(task, builds=BUILDS[: options.builds], cuda=options.cuda)
        if not options.quick or number % 256 == 0:
            return task
        # Unfused with guards, which take twice the time, or without.
        second = BUILDS[1] if number % 4 == 1 else BUILDS[3]
        return replace(
            task,
            sizes=task.sizes[:2],
            builds=(BUILDS[0], second)[: options.builds],
            ptx_builds=(number // 4 % 2,),
            optimized=int(number % 16 == 0),
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nsa.fuzz", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first step")
    parser.add_argument("--count", type=int, default=200, help="of steps (default: 200)")
    parser.add_argument("--seconds", type=float, default=0, help="at most so long")
    parser.add_argument("--ptx", action="store_true", help="make PTX as well")
    parser.add_argument(
        "--formulas", action="store_true", help="steps of random formulas, 40 each"
    )
    parser.add_argument("--simt", action="store_true", help="and execute it in the simulator")
    parser.add_argument(
        "--cuda", action="store_true", help="and execute it on the GPUs, with CuPy's arrays"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="more steps a second: but for one of 256, two sets of sizes of three; two builds at"
        " most, the second with"
        " guards in one of four; PTX of one of the builds; LLVM's passes over host kernels, and"
        " a verifier after each pass of the compiler, of the first build of one of 16",
    )
    parser.add_argument(
        "--builds",
        type=int,
        default=4,
        choices=range(1, 5),
        help="of each step: fused, unfused, and both with guards (default: 4)",
    )
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: all cores)")
    options = parser.parse_args()
    # Thousands of kernels that nobody asks for again.
    os.environ.setdefault("CUDA_CACHE_DISABLE", "1")
    begin = time.time()
    until = begin + options.seconds if options.seconds else 0
    tasks = Drawn(options)
    counts: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    shown, shrunk = begin, 0
    for task, outcome in run_all(tasks, options.jobs, until=until):
        counts[outcome.kind] += 1
        ran.update(outcome.ran)
        if outcome.kind in ("fault", "crash"):
            print(f"# {task.name}: {outcome.kind}: {outcome.what[:400]}", flush=True)
            shrunk += 1
            if shrunk <= SHRUNK:
                left = min(20, until - time.time()) if until else 20
                print(as_test(*shrink(task, outcome, left)), flush=True)
        if time.time() - shown > 5:
            shown = time.time()
            print(f"{sum(counts.values())} of {len(tasks)}: {dict(counts)}", file=sys.stderr)
    print(
        f"{sum(counts.values())} steps from seed {options.seed} in"
        f" {time.time() - begin:.0f} s: {dict(counts)}"
    )
    for how, count in sorted(ran.items()):
        print(f"    {how}: {count}")
    return 1 if counts["fault"] or counts["crash"] else 0


if __name__ == "__main__":
    sys.exit(main())
