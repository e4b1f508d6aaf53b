# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether a lowering with one fault would be noticed, without a GPU.

    python -m nsa.fuzz.mutants [--seed N] [--count N]

Of small steps of each kind, the structured GPU code (what `nsa.prove` reads) gets one fault: a
barrier dropped, a bound off by one, a guard or the test of an alignment dropped, indices
swapped, values of an iteration swapped or not carried on, an array's stride taken for another
one's, another constant or operation. It goes on through the passes after it, and is executed in
the simulator beside the step's reference in NumPy, at a few sizes, with hostile contents; a
mutant that gives the right numbers there is put to the prover.
Some mutants do what the original does, and nothing can notice them. Those of `EQUIVALENT` say
why, and count as such where they survive.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import _compile
from .._module import Step
from ..prove import prove_ir, structured
from ..prove._steps import find_nsa_opt
from ..simt import SimtError, _machine, simulate
from .check import Task, run
from .formulas import ITERATE, MAP, Node
from .programs import Copy, Program, destination

__all__ = ["EQUIVALENT", "KINDS", "Mutant", "judge", "mutants", "subjects", "why_equivalent"]

KINDS = (
    "barrier dropped", "bound off by one", "guard dropped", "alignment not tested",
    "indices swapped", "iteration swapped", "wrong carry", "stride swapped", "constant",
    "operation",
)  # fmt: skip
#: From structured kernels to PTX, what buildLaunchToPTXPipeline does from there on: up to where
#: strides are parameters, and the rest.
FLATTEN = (
    "nsa-narrow-arithmetic,canonicalize,cse,nsa-sink-casts,"
    "nsa-attach-target,gpu.module(nsa-flatten-kernel-args)"
)
LOWER = (
    "gpu.module(expand-strided-metadata,lower-affine,arith-expand,convert-scf-to-cf,"
    "convert-gpu-to-nvvm{has-redux=true},convert-vector-to-llvm,reconcile-unrealized-casts,"
    "nsa-drop-wrap-flags,canonicalize,cse),gpu-module-to-binary{format=isa}"
)
OPPOSITE = {"addi": "subi", "subi": "addi", "minsi": "maxsi", "maxsi": "minsi", "minui": "maxui"}
#: Basic blocks of a wave, after which a mutant has no end.
LIMIT = 20000


@dataclass(frozen=True)
class Mutant:
    kind: str
    #: Number of the line, and what stands there instead.
    line: int
    text: str

    def apply(self, ir: str) -> str:
        lines = ir.split("\n")
        lines[self.line : self.line + 1] = [self.text] if self.text else []
        return "\n".join(lines)


def stride_mutants(flat: str) -> Iterator[Mutant]:
    """Of a module whose kernels have strides as parameters."""
    lines = flat.split("\n")
    stride = re.compile(r'"llvm.insertvalue"\(%\d+, (%arg\d+)\) <\{position = array<i64: 4, \d>')
    found = {n: match[1] for n, line in enumerate(lines) if (match := stride.search(line))}
    parameters = list(dict.fromkeys(found.values()))
    for number, name in found.items():
        other = parameters[(parameters.index(name) + 1) % len(parameters)]
        if other != name:
            changed = lines[number].replace(f", {name})", f", {other})")
            yield Mutant("stride swapped", number, changed)


def carry_mutants(ir: str) -> Iterator[Mutant]:
    """Of loops: a value that stays what it was before; of sums of a warp: one that goes to
    other lanes."""
    carried: list[list[str] | None] = []
    for number, line in enumerate(ir.split("\n")):
        if '"scf.for"' in line:
            carried.append([])
        elif line.endswith("({"):
            carried.append(None)
        elif re.match(r"\s*\}\)", line) and carried:
            carried.pop()
        elif (match := re.match(r"\s*\^bb0\((.*)\):", line)) and carried:
            if carried[-1] == []:
                carried[-1] = re.findall(r"%\w+", match[1])[1:]
        elif (match := re.match(r'\s*"scf.yield"\((.+?)\) :', line)) and carried:
            values = match[1].split(", ")
            for place, old in enumerate(carried[-1] or []):
                if values[place] != old:
                    kept = ", ".join([*values[:place], old, *values[place + 1 :]])
                    yield Mutant("wrong carry", number, line.replace(match[1], kept, 1))
        for mode, other in (("up", "down"), ("xor", "up")):
            if f"shuffle_mode {mode}>" in line:
                changed = line.replace(f"shuffle_mode {mode}>", f"shuffle_mode {other}>")
                yield Mutant("wrong carry", number, changed)
        if "gpu.subgroup_reduce" in line and "all_reduce_op add" in line:
            changed = line.replace("all_reduce_op add", "all_reduce_op maxsi")
            yield Mutant("wrong carry", number, changed)


def mutants(ir: str) -> Iterator[Mutant]:
    """Of a module in generic form, but for those of its strides."""
    yield from carry_mutants(ir)
    alignments = set(re.findall(r'(%\d+) = "arith.andi"\(.*\) : \(index, index\)', ir))
    for number, line in enumerate(ir.split("\n")):
        if '"gpu.barrier"' in line:
            yield Mutant("barrier dropped", number, "")
        if match := re.search(r'"arith.cmpi"\((%\d+).*predicate = ([26]) ', line):
            more = line.replace(f"predicate = {match[2]} ", f"predicate = {int(match[2]) + 1} ")
            yield Mutant("bound off by one", number, more)
        if match := re.search(r'"arith.cmpi"\((%\d+), .*predicate = 0 ', line):
            if match[1] in alignments:
                # No less than 0, unsigned.
                always = line.replace("predicate = 0 ", "predicate = 9 ")
                yield Mutant("alignment not tested", number, always)
        if match := re.search(r'"scf.if"\((%[\w#]+)\)', line):
            true = f'%yes{number} = "arith.constant"() <{{value = true}}> : () -> i1\n'
            changed = line.replace(f"({match[1]})", f"(%yes{number})", 1)
            yield Mutant("guard dropped", number, true + changed)
        if match := re.search(r'"(?:memref|vector)\.(?:load|store)".*, (%\w+), (%\w+)\) <', line):
            if "workgroup" not in line and match[1] != match[2]:
                changed = line.replace(f"{match[1]}, {match[2]}) <", f"{match[2]}, {match[1]}) <")
                yield Mutant("indices swapped", number, changed)
        if match := re.match(r'\s*"scf.yield"\((%[\w#]+), (%[\w#]+)(.*)\) : \((\w+), (\w+)', line):
            if match[4] == match[5] and match[1] != match[2]:
                changed = line.replace(f"({match[1]}, {match[2]}", f"({match[2]}, {match[1]}")
                yield Mutant("iteration swapped", number, changed)
        if match := re.search(r"value = (-?\d+) : (index|i32)", line):
            more = line.replace(f"value = {match[1]} ", f"value = {int(match[1]) + 1} ")
            yield Mutant("constant", number, more)
        if match := re.search(r'"arith\.(\w+)"', line):
            if match[1] in OPPOSITE:
                other = line.replace(f"arith.{match[1]}", f"arith.{OPPOSITE[match[1]]}")
                # Flags of one are none of the other's.
                yield Mutant("operation", number, re.sub(r" <\{overflow.*?\}>", "", other))


# ----------------------------------------------------------------------------
# Steps
# ----------------------------------------------------------------------------


def _steps() -> dict[str, list[tuple[str, dict[str, str], dict[str, Any]]]]:
    """(form, operands, parameters) of the values that each step copies."""
    row, column = (Node("index", "index", data=n) for n in (0, 1))
    zero = Node("constant", "i32", data=0)
    table = Node("read", "i32", (row, column, Node("constant", "i32", data=-1)), "s0")
    length = Node("read", "i32", (row, zero), "s0")
    low = Node("andi", "i32", (length, Node("constant", "i32", data=15)))
    place = Node("search", "index", (row,), "sums0")
    # Differences change after runs, which each of a round's warps has the end of some of; what
    # is read for them leaves the array.
    after = Node("element", "i32")
    for run_length, stride in ((105, 130), (140, 286)):
        tile = Node("divui", "index", (row, Node("constant", "index", data=run_length)))
        first = Node("muli", "index", (tile, Node("constant", "index", data=stride)))
        after = Node("addi", "i32", (after, Node("read", "i32", (first, zero), "s0")))
    return {
        "decode": [
            ("seqlens", {"source": "wide"}, {"plus": 0}),
            ("cu_seqlens", {"source": "lens"}, {}),
            ("clip_seqlens", {"source": "lens"}, {"limit": 5}),
            ("page_table", {}, {}),
            ("real_page_table", {}, {"page_size": 3}),
        ],
        "expansion": [
            ("expand_seqlens_causal", {}, {}),
            ("page_table", {}, {}),
            ("expand_rows", {"source": "v1"}, {}),
            ("total_rows", {}, {}),
        ],
        "prefill": [
            ("token_ranges", {}, {}),
            ("combine_indices_of", {}, {"ratio": 4, "window": 7}),
            ("lookup", {}, {}),
        ],
        "V4": [
            ("window_lens", {}, {"window": 128}),
            ("window_starts", {}, {"window": 128}),
            ("query_rows_last", {}, {}),
            ("compressed_ids", {}, {"page_size": 64}),
            ("compressed_bases", {}, {}),
        ],
        "dequantisation": [("dequant_paged", {}, {"layout": "v4", "page_size": 4})],
        "formulas": [
            ("map", {"s0": "tokens", "n0": "bs", "n1": "columns"},
             {"formula": table, "sizes": ("n0", "n1")}),
            ("map", {"s0": "lens", "n0": "bs"}, {"formula": low, "sizes": ("n0",)}),
            ("scan", {"source": "v1"}, {}),
            ("reduce_max", {"source": "lens"}, {}),
        ],
        "schedules": [
            ("map", {"s0": "lens", "n0": "bs"}, {"formula": low, "sizes": ("n0",)}),
            ("scan", {"source": "v0"}, {}),
            ("map", {"sums0": "v1", "n0": "bs"},
             {"formula": Node("cast", "i32", (place,), "index_cast"), "sizes": ("n0",)}),
            ("iterate", {"s0": "lens", "n0": "bs"},
             {"formula": after, "size": "n0", "first": -7}),
        ],
    }  # fmt: skip


@cache
def subjects() -> dict[str, Task]:
    """A small step of each kind, with sizes to run it at."""
    tasks = {}
    for name, values in _steps().items():
        program = Program()
        program.need("bs")
        for number, (form, operands, parameters) in enumerate(values):
            for operand in operands.values():
                if not operand.startswith("v"):
                    program.need(operand)
            value = program.add(form, operands, parameters, name=f"v{number}")
            type = program.types[value]
            layout = ", strided<[?, 1]>" if type.count("x") == 2 else ""
            program.copies.append(Copy(value, ((f"o{number}", destination(type, layout)),)))
        sizes = [
            {"bs": bs, "columns": columns, "bound": bound, "queries": queries, "limit": limit}
            for bs, columns, bound, queries, limit in (
                (3, 7, 9, 11, 9), (130, 17, 140, 5, 64), (33, 700, 64, 300, 0),
                # More than a tile of sums.
                (1100, 3, 1150, 5, 3),
                # Whole tiles of columns, and more of them than pages have.
                (2, 1024, 4, 3, 9))
        ]  # fmt: skip
        if name == "schedules":
            # Tiles of more elements than a thread has.
            sizes[3] = dict(sizes[3], bs=4290)
        tasks[name] = Task(name, program, (1, 2, 3, 4), tuple(sizes))
    return tasks


# ----------------------------------------------------------------------------
# Mutants that do what the original does
# ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Equivalent:
    """Of steps (a pattern), faults in operations of this role (a pattern of what `role` says)
    that change nothing, and why."""

    name: str
    kinds: tuple[str, ...]
    role: str
    why: str


WHOLE = ("guard dropped", "bound off by one")
EQUIVALENT = (
    Equivalent(
        "prefill", WHOLE, r"(if\()?cmpi 2\((addi\()?arg(, [123]\))?, apply(\(arg\))?\)\)?",
        "rows have a multiple of 128 columns, and threads none past them",
    ),
    Equivalent(
        "prefill", ("bound off by one",), r"cmpi 2\(addi\(arg, muli\), arg\)",
        "the end itself is looked at then; where it counts, the place is cut to the one before"
        " it, which the search comes to anyway",
    ),
    Equivalent(
        "prefill|expansion", ("bound off by one",),
        r"cmpi 6\(index_cast\(addi\), minui\(addi, index_cast\)\)",
        "the row at the end of a round's rows is looked for in the next round again, and is not"
        " stored if there is none",
    ),
    Equivalent(
        "dequantisation", ("bound off by one",), r"cmpi 2\(addi\(subi, \d+\), 512\)",
        "such a column of a thread is no multiple of 32, and 512 is one",
    ),
    Equivalent(
        "dequantisation", ("bound off by one",), r"cmpi 6\(index_castui\(select\), 512\)",
        "a thread past the rows loads what it does not store, inside of the same page",
    ),
    Equivalent(
        "dequantisation", ("constant",), r"-2139062144",
        "what finds bytes that are no number finds others, too, for which it does the same",
    ),
    Equivalent(
        "dequantisation", ("guard dropped",), r"if\(cmpi 1\(andi\(reduction, -2139062144\), 0\)\)",
        "what is for bytes that are no number does the same with numbers, more slowly",
    ),
    Equivalent(
        "formulas", ("bound off by one",), r"cmpi 2\(addi\((muli, muli|addi, 2)\), 1\)",
        "such a column of a thread is even, and 1 is not",
    ),
    Equivalent(
        "schedules", ("operation",), r"subi\(shli\(1, arg\), 1\)",
        "the runs that a thread sums may be longer than they have to be",
    ),
    Equivalent(
        "formulas", ("alignment not tested",),
        r"cmpi 0\(andi\(extract_aligned_pointer_as_index, 15\), 0\)",
        "the test of a destination of one element, which no vector fits",
    ),
    Equivalent(
        "schedules", ("barrier dropped",), r"barrier 3",
        "sums of tiles are read after the barrier of the rows' loop, which all threads run",
    ),
    Equivalent(
        "schedules", ("operation",), r"addi\(arg, muli\(minsi, arg\)\)",
        "what the next round predicts from: wrong, it takes more rounds to the same elements",
    ),
    Equivalent(
        "schedules", ("bound off by one",), r"cmpi 2\(load\(arg, arg, 0, 3\), 32\)",
        "32 of the last warp is 128 of all, as where nothing is found",
    ),
)  # fmt: skip


@cache
def definitions(ir: str) -> dict[str, tuple[str, list[str]]]:
    """(operation and predicate, or constant; operands) of each value."""
    found = {}
    for line in ir.split("\n"):
        if match := re.match(r'\s*(%\w+)(?::\d+)? = "\w+\.([\w.]+)"\((.*?)\) *([<({:].*)', line):
            name, operation, operands, rest = match.groups()
            if value := re.match(r"<\{value = (-?\w+) ", rest):
                operation, operands = value[1], ""
            elif predicate := re.search(r"predicate = (\d+)", rest):
                operation += f" {predicate[1]}"
            found[name] = (operation, re.findall(r"%\w+", operands))
    return found


def role(ir: str, number: int) -> str:
    """What a line computes, of its operands' operations: numbers of values are others with
    every change of the compiler."""
    known = definitions(ir)

    def tell(name: str, depth: int) -> str:
        operation, operands = known.get(name, ("arg", []))
        if not depth or not operands:
            return operation
        return f"{operation}({', '.join(tell(each, depth - 1) for each in operands)})"

    lines = ir.split("\n")
    line = lines[number]
    if "gpu.barrier" in line:
        return f"barrier {sum('gpu.barrier' in each for each in lines[: number + 1])}"
    if match := re.search(r'"scf.if"\((%\w+)\)', line):
        return f"if({tell(match[1], 2)})"
    match = re.match(r"\s*(%\w+)", line)
    return tell(match[1], 2) if match else ""


def is_compared_twice(ir: str, number: int) -> bool:
    """Whether a comparison, `<`, is in a conjunction with the other `<`, signed or unsigned, of
    the same operands: the equal ones are none of that one."""
    known = definitions(ir)
    match = re.match(r"\s*(%\w+) =", ir.split("\n")[number])
    if not match or known.get(match[1], ("",))[0] not in ("cmpi 2", "cmpi 6"):
        return False
    name = match[1]
    operation, operands = known[name]
    uses = [user for user, (_, of) in known.items() if name in of]
    others = re.findall(rf"{name}\b", ir)
    if len(uses) != 1 or len(others) != 2 or known[uses[0]][0] != "andi":
        return False

    def conjuncts(value: str) -> Iterator[str]:
        kind, parts = known.get(value, ("", []))
        if kind == "andi":
            for part in parts:
                yield from conjuncts(part)
        yield value

    other = ("cmpi 6" if operation == "cmpi 2" else "cmpi 2", operands)
    return any(known.get(value) == other for value in conjuncts(uses[0]))


def why_equivalent(name: str, mutant: Mutant) -> str:
    """Why nothing can notice a mutant; empty if that is not known."""
    ir = source(name, mutant)
    if mutant.kind == "bound off by one" and is_compared_twice(ir, mutant.line):
        return "also compared with the other sign, and less there"
    here = role(ir, mutant.line)
    for each in EQUIVALENT:
        if mutant.kind in each.kinds and re.fullmatch(f"({each.name}) {each.role}", f"{name} {here}"):
            return each.why
    return ""


# ----------------------------------------------------------------------------
# Judging
# ----------------------------------------------------------------------------


@cache
def original(name: str) -> tuple[str, str]:
    """(manifest, structured code) of a step."""
    text = subjects()[name].program.text()
    return _compile.compile(text, "cpu")["step"].manifest, structured(text)


@cache
def flattened(name: str) -> str:
    """The code of a step whose strides are parameters."""
    pipeline = f"--pass-pipeline=builtin.module({FLATTEN})"
    command = [find_nsa_opt(), "-", "--mlir-print-op-generic", pipeline]
    run = subprocess.run(command, input=original(name)[1], capture_output=True, text=True, check=True)
    return run.stdout


def all_mutants(name: str) -> Iterator[Mutant]:
    """Of a step."""
    yield from mutants(original(name)[1])
    yield from stride_mutants(flattened(name))


def source(name: str, mutant: Mutant) -> str:
    """The code that a mutant is one of."""
    return flattened(name) if mutant.kind == "stride swapped" else original(name)[1]


def to_ptx(ir: str, passes: str) -> str | None:
    """None of what the passes refuse."""
    command = [find_nsa_opt(), "-", f"--pass-pipeline=builtin.module({passes})"]
    made = subprocess.run(command, input=ir, capture_output=True, text=True)
    found = re.search(r'assembly = "((?:[^"\\]|\\.)*)"', made.stdout)
    if made.returncode or not found:
        return None
    return re.sub(r"\\([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), found[1]).rstrip("\0")


def simulated(task: Task, manifest: str, ptx: str) -> str:
    """What is noticed when it runs: "values", a kind of report, or nothing."""
    steps = [("mutant", simulate(Step(manifest, ptx)))]
    was, _machine.LIMIT = _machine.LIMIT, LIMIT
    try:
        for sizes in task.sizes:
            for seed in task.seeds:
                if run(task, sizes, seed, steps):
                    return "values"
    except SimtError as error:
        return error.kind
    finally:
        _machine.LIMIT = was
    return ""


def judge(name: str, mutant: Mutant | None) -> str:
    """What kills a mutant of a step: "refused" by the passes, "values" or a kind of report in
    the simulator, "not shown" by the prover, which reads no parameters; empty if nothing does.
    Of None, what is wrong with the step itself."""
    manifest, ir = original(name)
    changed = mutant.apply(source(name, mutant)) if mutant else ir
    flat = mutant is not None and mutant.kind == "stride swapped"
    ptx = to_ptx(changed, LOWER if flat else f"{FLATTEN},{LOWER}")
    if ptx is None:
        return "refused"
    if noticed := simulated(subjects()[name], manifest, ptx):
        return noticed
    if flat or not mutant:
        return ""
    return "not shown" if count_missing(changed, manifest) > missing_before(name) else ""


def count_missing(ir: str, manifest: str) -> int:
    """Accesses that are not shown to be inside."""
    (result,) = prove_ir(ir, {"step": json.loads(manifest)})
    return sum(bool(access.missing) for access in result.accesses)


@cache
def missing_before(name: str) -> int:
    manifest, ir = original(name)
    return count_missing(ir, manifest)


def draw(seed: int, count: int) -> list[tuple[str, Mutant]]:
    """As many of each kind and step as can be."""
    rng = random.Random(seed)
    groups: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for name in subjects():
        for mutant in all_mutants(name):
            groups[mutant.kind, name].append(mutant)
    for group in groups.values():
        rng.shuffle(group)
    drawn = []
    while len(drawn) < count and any(groups.values()):
        for (_, name), group in sorted(groups.items()):
            if group:
                drawn.append((name, group.pop()))
    rng.shuffle(drawn)
    return drawn[:count]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nsa.fuzz.mutants", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="of mutants (default: 200)")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, mutant in draw(options.seed, options.count):
        verdict = judge(name, mutant)
        if not verdict:
            why = why_equivalent(name, mutant)
            verdict = "equivalent" if why else "survived"
            line = source(name, mutant).split("\n")[mutant.line].strip()
            what = f"{name}, {mutant.kind}, line {mutant.line + 1}"
            print(f"{verdict}: {what}: {line}\n    {mutant.text.strip()}", flush=True)
            print(f"    {why or role(source(name, mutant), mutant.line)}", flush=True)
        known = verdict in ("values", "not shown", "refused", "equivalent", "survived")
        counts[mutant.kind][verdict if known else "report"] += 1
    columns = ("values", "report", "not shown", "refused", "equivalent", "survived")
    print(f"| fault | mutants | {' | '.join(columns)} |\n|{'---|' * 8}")
    total = sum(counts.values(), Counter())
    for kind, count in [*((kind, counts[kind]) for kind in KINDS), ("all", total)]:
        row = " | ".join(str(count[column]) for column in columns)
        print(f"| {kind} | {sum(count.values())} | {row} |")
    killed = total["values"] + total["report"] + total["not shown"]
    print(f"killed: {killed} of the {killed + total['survived']} that run and do something else")
    return 0


if __name__ == "__main__":
    sys.exit(main())
