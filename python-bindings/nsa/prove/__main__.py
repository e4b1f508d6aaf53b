# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shows that kernels stay inside of their arrays; see nsa.prove.

    python -m nsa.prove [--jobs N] [--results FILE] [FILE.mlir ...]

Of the steps that are shipped, without files. With --results, what was found is kept in FILE, a
line of JSON for each step, and kernels that were shown to be safe are not looked at again: a run
that was stopped goes on, and after a change only what changed is shown. Exit status 1: some access was not
shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .. import prebuild
from ._steps import Result, kernels, prove, prove_ir


def prove_all(texts: list[str], jobs: int = 0) -> Iterator[list[Result]]:
    """Each in a process of its own, so that z3 finds the same whatever came before."""
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs or os.cpu_count(), maxtasksperchild=1) as pool:
        yield from pool.imap(prove, texts, chunksize=1)


def describe(result: Result) -> dict[str, Any]:
    """What is printed and kept of it."""
    return {
        "step": result.step,
        "global": result.count(),
        "shared": result.count(shared=True),
        "dead": sum(access.is_dead for access in result.accesses),
        "missing": [
            [access.argument, "; ".join(access.missing), access.text]
            for access in result.accesses
            if access.missing
        ],
    }


def prove_once(text: str, known: Collection[str]) -> tuple[str, list[dict[str, Any]]]:
    """(what the kernels are, what was found), nothing of those that are `known`."""
    ir, manifests = kernels(text)
    data = json.dumps([ir, manifests], sort_keys=True).encode()
    key = hashlib.sha256(data).hexdigest()[:32]
    return key, [] if key in known else [describe(each) for each in prove_ir(ir, manifests)]


def find_all(
    texts: list[str], jobs: int, file: Path | None
) -> Iterator[list[dict[str, Any]]]:
    """Of each text in any order, from `file` if it is there; kept there else."""
    known: dict[str, list[dict[str, Any]]] = {}
    if file is not None and file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not any(step["missing"] for step in row["steps"]):
                known[row["key"]] = row["steps"]
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs or os.cpu_count(), maxtasksperchild=1) as pool:
        once = partial(prove_once, known=frozenset(known))
        for key, found in pool.imap_unordered(once, texts, chunksize=1):
            if key not in known and file is not None:
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"key": key, "steps": found}) + "\n")
            yield known.setdefault(key, found)


def main() -> int:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m nsa.prove", description=summary)
    parser.add_argument("files", nargs="*", metavar="FILE", help="texts of steps")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: all cores)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="what was found before, and is")
    options = parser.parse_args()
    texts = [Path(file).read_text(encoding="utf-8") for file in options.files]
    begin = time.time()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    missing = 0
    # What takes long is last.
    every = texts or sorted(prebuild.texts(), key=len)
    for results in find_all(every, options.jobs, options.results):
        for result in results:
            count = counts[result["step"]]
            count["steps"] += 1
            for kind in ("global", "shared"):
                count[f"{kind} shown"] += result[kind][0]
                count[kind] += result[kind][1]
            count["dead"] += result["dead"]
            for argument, why, text in result["missing"]:
                missing += 1
                print(f"{result['step']}: not shown, of '{argument}': {why}\n    {text}")
    total = sum(counts.values(), Counter())
    print("| step | variants | accesses, shown | of shared memory, shown | never reached |")
    print("|---|---|---|---|---|")
    for name, count in [*sorted(counts.items()), ("all", total)]:
        print(
            f"| {name} | {count['steps']} | {count['global']}, {count['global shown']}"
            f" | {count['shared']}, {count['shared shown']} | {count['dead']} |"
        )
    print(f"{time.time() - begin:.0f} s", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
