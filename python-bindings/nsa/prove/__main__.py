# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shows that kernels stay inside of their arrays; see nsa.prove.

    python -m nsa.prove [FILE.mlir ...]

Of the steps that are shipped, without files. Exit status 1: some access was not shown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from .. import prebuild
from ._steps import Result, prove


def prove_all(texts: list[str], jobs: int = 0) -> Iterator[list[Result]]:
    """Each in a process of its own, so that z3 finds the same whatever came before."""
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs or os.cpu_count(), maxtasksperchild=1) as pool:
        yield from pool.imap(prove, texts, chunksize=1)


def main() -> int:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m nsa.prove", description=summary)
    parser.add_argument("files", nargs="*", metavar="FILE", help="texts of steps")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: all cores)")
    options = parser.parse_args()
    texts = [Path(file).read_text(encoding="utf-8") for file in options.files]
    begin = time.time()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    missing = 0
    for results in prove_all(texts or prebuild.texts(), options.jobs):
        for result in results:
            count = counts[result.step]
            count["steps"] += 1
            for kind, shared in (("global", False), ("shared", True)):
                shown, every = result.count(shared)
                count[f"{kind} shown"] += shown
                count[kind] += every
            count["dead"] += sum(access.is_dead for access in result.accesses)
            for access in result.accesses:
                if access.missing:
                    missing += 1
                    print(f"{result.step}: not shown, of '{access.argument}':", end=" ")
                    print(f"{'; '.join(access.missing)}\n    {access.text}")
    total = sum(counts.values(), Counter())
    print("| step | variants | accesses, shown | of shared memory, shown | never reached |")
    print("|---|---|---|---|---|")
    for name, count in [*counts.items(), ("all", total)]:
        print(
            f"| {name} | {count['steps']} | {count['global']}, {count['global shown']}"
            f" | {count['shared']}, {count['shared shown']} | {count['dead']} |"
        )
    print(f"{time.time() - begin:.0f} s", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
