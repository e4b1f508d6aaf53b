# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every value in every operand of every operation whose type fits.

    pairs.py [--only REGEX] [--list]

What the producers and the slots are is nsa.fuzz's data about operations. A pair is a step
that copies what the operation makes of the value; the operation's other operands are ports
with the extents that it wants, or, the second time, the same value.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter

from nsa.fuzz.check import BUILDS, Outcome, Task, run_all
from nsa.fuzz.operations import FORMS, Form, fits
from nsa.fuzz.programs import PORTS, RAW, Copy, Program, destination

SIZES = (
    {"bs": 3, "bound": 7, "columns": 13, "queries": 6, "limit": 9},
    {"bs": 0, "bound": 0, "columns": 0, "queries": 0, "limit": 0},
    {"bs": 130, "bound": 129, "columns": 1, "queries": 64, "limit": 1},
)
LAYOUTS = {1: ("", ", strided<[?]>"), 2: ("", ", strided<[?, 1]>")}


#: Forms and ports that make what another one makes.
ALIKE = re.compile(
    r"(combine_indices|combine_lens)_(?!of_positions).*|expand_seqlens_(causal|following)"
    r"|page_table_constant_live|query_rows_last|expansion_constant_padded"
    r"|more|extend|rows_of|queries|limit|bound|constant_0|addi|muli|apply_ceildiv|minsi"
    r"|whole|window_starts|page_table_constant"
)
#: Consumers whose operands other forms have as well.
COVERED = re.compile(
    r"combine_indices_(positions|constant|of|constant_of|constant_positions)"
    r"|combine_lens_constant_positions|expand_seqlens_(causal|following)"
    r"|page_table_constant|query_rows_last"
)


def producers() -> list[str]:
    return [name for name in (*PORTS, *RAW, *FORMS) if not ALIKE.fullmatch(name)]


def consumers() -> list[Form]:
    return [form for name, form in FORMS.items() if not COVERED.fullmatch(name)]


def produce(program: Program, producer: str) -> str:
    return program.need(producer) if producer in PORTS else program.add(producer, name="p")


def finish(program: Program, value: str, number: int) -> Program:
    """Copies the value, or what a value without elements makes."""
    type = program.types[value]
    if type == "index":
        value = program.add("compressed_bases", {"requests": value}, name="c")
    elif fits("expansion", type):
        value = program.add("expand_seqlens_following", {"expansion": value}, name="c")
    type = program.types[value]
    layout = LAYOUTS[type.count("x", 0, type.rfind("x") + 1)][number % 2]
    program.copies.append(Copy(value, (("out", destination(type, layout)),)))
    return program


def pairs() -> list[Task]:
    tasks: list[Task] = []

    def task(name: str, program: Program, value: str) -> None:
        finished = finish(program, value, len(tasks))
        tasks.append(Task(name, finished, (len(tasks),), SIZES, builds=BUILDS[:2]))

    for producer in producers():
        program = Program()
        program.need("bs")
        value = produce(program, producer)
        type = program.types[value]
        if type not in ("index", "!nsa.expansion"):
            task(f"copy of {producer}", program, value)
        for form in consumers():
            able = [slot for slot, of in form.slots.items() if fits(of.kind, type)]
            for slot in able:
                one = Program()
                one.need("bs")
                given = {slot: produce(one, producer)}
                made = one.add(form.name, given, name="v")
                task(f"{producer} as {slot} of {form.name}", one, made)
            if len(able) > 1:
                every = Program()
                every.need("bs")
                of = produce(every, producer)
                made = every.add(form.name, dict.fromkeys(able, of), name="v")
                task(f"{producer} as {', '.join(able)} of {form.name}", every, made)
    return tasks


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="REGEX", help="pairs whose name has it")
    parser.add_argument("--list", action="store_true", help="print the texts alone")
    options = parser.parse_args()
    tasks = [task for task in pairs() if re.search(options.only, task.name)]
    if options.list:
        for task in tasks:
            print(f"// {task.name}\n{task.program.text()}")
        return 0
    start = time.monotonic()
    counts: Counter[str] = Counter()
    for task, outcome in run_all(tasks, timeout=20):
        counts[outcome.kind] += 1
        if outcome.kind in ("fault", "crash"):
            print(report(task, outcome), flush=True)
    print(f"{len(tasks)} pairs in {time.monotonic() - start:.0f} s: {dict(counts)}")
    return 1 if counts["fault"] or counts["crash"] else 0


def report(task: Task, outcome: Outcome) -> str:
    return f"{outcome.kind}: {task.name}: {outcome.what}\n{task.program.text()}"


if __name__ == "__main__":
    sys.exit(main())
