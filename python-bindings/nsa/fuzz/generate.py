# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws steps: ports, values of every operation, and copies to many backends."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from .check import Task
from .formulas import (
    ITERATE,
    MAP,
    draw_counts,
    draw_map,
    draw_places,
    draw_recurrence,
    draw_space,
)
from .operations import FORMS, dims, fits, tensor
from .programs import PORTS, RAW, Copy, Program, destination
from .shrink import without_unused

__all__ = ["draw_formulas", "draw_task"]

#: Where blocks, vectors and tiles end, and beside it.
COUNTS = (0, 1, 2, 3, 7, 63, 64, 127, 128, 129)
#: Values of other dialects that a step may hold.
SIZES = [name for name, raw in RAW.items() if raw.type == "index" and "dim" not in name]
LAYOUTS = {
    1: ("", "", ", strided<[?]>", ", strided<[2]>"),
    2: ("", ", strided<[?, 1]>", ", strided<[?, 1]>", ", strided<[1024, 1]>"),
}
ALIGNED = ("", "", "", " {alignment = 16 : i64}")
#: Reads that an element is computed from, at most: a constraint of the dialect.
MOST_READS = 512
#: Most columns that a stated stride has room for.
WIDE = 1024


def add_value(program: Program, rng: random.Random) -> None:
    if rng.random() < 0.3:
        program.add(MAP.name, *draw_map(program, rng))
        return
    if rng.random() < 0.1:
        if rng.random() < 0.3:
            program.add(ITERATE.name, *draw_recurrence(program, rng))
            return
        # What can be searched.
        counts = program.add(MAP.name, *draw_counts(program))
        program.add("scan", {"source": counts}, name=f"ascending{len(program.body)}")
        return
    form = rng.choice(list(FORMS.values()))
    types = program.types
    operands = {}
    for slot, of in form.slots.items():
        able = [name for name, type in types.items() if fits(of.kind, type)]
        able = [name for name in able if name != "starts" or of.default == "starts"]
        if able and rng.random() < 0.6 and of.default not in ("starts", "topk_indices"):
            operands[slot] = rng.choice(able)
    parameters = {key: rng.choice(values) for key, values in form.parameters.items()}
    program.add(form.name, operands, parameters)


def draw_copies(program: Program, rng: random.Random) -> None:
    number = 0
    program.need("lens")
    types = program.types
    able = [
        name for name, type in types.items()
        if fits("value", type) and (name in program.ports or name.startswith("v"))
    ]  # fmt: skip
    computed = [name for name in able if name not in program.ports]
    chosen = rng.sample(computed, min(len(computed), rng.randint(1, 4)))
    if rng.random() < 0.2 or not chosen:
        chosen.append(rng.choice([name for name in able if name in program.ports]))
    for value in chosen:
        rank = len(dims(types[value])[0])
        most = 20 if rng.random() < 0.1 else 3
        destinations = []
        for _ in range(rng.randint(1, most)):
            # A cache's rows are wider than a stated stride.
            layout = rng.choice(LAYOUTS[rank][: 3 if value == "cache" else 4])
            type = destination(types[value], layout, rng.choice(ALIGNED))
            destinations.append((f"o{number}", type))
            number += 1
        begin = 1 if rank == 1 and rng.random() < 0.1 else 0
        program.copies.append(Copy(value, tuple(destinations), begin))


def draw_task(seed: int, ptx: bool = False, simt: bool = False) -> Task:
    """The step of a seed, with sizes and contents."""
    rng = random.Random(seed)
    program = Program(guards=rng.random() < 0.1)
    program.need("bs")
    for name in rng.sample(list(PORTS), rng.randint(0, 4)):
        program.need(name)
    if rng.random() < 0.3:
        program.add(rng.choice(SIZES))
    for _ in range(rng.randint(1, 6)):
        add_value(program, rng)
    draw_copies(program, rng)
    # The sizes of arrays are checked for what is computed alone.
    program = without_unused(program)
    sizes = []
    for _ in range(3):
        drawn = {name: rng.choice(COUNTS) for name in ("bs", "bound", "columns", "queries")}
        sizes.append({**drawn, "limit": rng.choice((0, 1, 9, 64, 512))})
    return Task(f"seed {seed}", program, (seed,), tuple(sizes), ptx, simt=simt)


def count_reads(
    operands: dict[str, str], parameters: dict[str, Any], reads: dict[str, int]
) -> int:
    """Those of an element, with the reads of what it reads."""
    sources = [
        operands[node.data]
        for node in parameters["formula"].walk()
        if node.op in ("read", "search")
    ]
    # Sums are of a map with a read.
    return sum(1 + reads.get(source, 1) for source in sources)


class Stores:
    """Adds maps and copies of them to a step: to their own places, under a condition, to
    computed places, or in place of what they are computed from."""

    def __init__(self, program: Program, rng: random.Random, distinct: bool):
        self.program, self.rng = program, rng
        #: No two elements go to one place.
        self.distinct = distinct
        #: Of an element of each value.
        self.reads: dict[str, int] = {}

    def add(self, draw: Callable[[], Any], form: str = MAP.name) -> str:
        operands, parameters = draw()
        while count_reads(operands, parameters, self.reads) > MOST_READS:
            operands, parameters = draw()
        value = self.program.add(form, operands, parameters)
        self.reads[value] = count_reads(operands, parameters, self.reads)
        return value

    def store(self, kind: str, port: str) -> Copy:
        program, rng = self.program, self.rng
        space = draw_space(program, rng)
        if kind == "inout":
            element = rng.choice(("i8", "i16", "i32", "i64", "bf16"))
            type = self.destination(len(space[0]), element)
            program.inouts[port] = type
            value = self.add(lambda: draw_map(program, rng, space, (element,), port))
            mask = self.mask(space) if rng.random() < 0.4 else ""
            return Copy(value, ((port, type),), mask=mask)
        value = self.add(lambda: draw_map(program, rng, space))
        if kind == "when":
            type = self.destination(len(space[0]), dims(program.types[value])[1])
            return Copy(value, ((port, type),), mask=self.mask(space))
        shape = rng.choice(((1,), (40,), (300,), (9, 33)))
        rank = len(space[0])
        while True:
            places = tuple(
                self.add(lambda size=size: draw_places(program, rng, space, size, self.distinct))
                for size in shape
            )
            type = self.destination(len(shape), dims(program.types[value])[1])
            mask = self.mask(space) if rng.random() < 0.4 else ""
            # Others are refused: two elements go to one place, whatever the arrays hold.
            if len(self.indices((*places, mask))) == rank:
                break
        return Copy(value, ((port, type),), mask=mask, places=places, shape=shape)

    def indices(self, values: Sequence[str]) -> set[int]:
        """The indices of which formulas of any of `values` are made."""
        return {
            node.data
            for op in self.program.body
            if op.name in values
            for node in dict(op.parameters)["formula"].walk()
            if node.op == "index"
        }

    def destination(self, rank: int, element: str) -> str:
        """One that takes an array without gaps as well."""
        return destination(tensor(["?"] * rank, element), self.rng.choice(LAYOUTS[rank][:3]))

    def mask(self, space: Any) -> str:
        types = ("i8", "i16", "i32", "i64")
        return self.add(lambda: draw_map(self.program, self.rng, space, types))


#: Every so many-th value of a step of formulas is none that is stored to its own places.
KINDS = {2: "inout", 6: "when", 7: "at"}


def draw_formulas(seed: int, count: int = 40, ptx: bool = False, simt: bool = False) -> Task:
    """A step of random formulas, each over the ports and what comes before it, and stored in
    all the ways there are. In the simulator, to which two stores to a place are a race, places
    are distinct."""
    rng = random.Random(seed)
    program = Program()
    stores = Stores(program, rng, distinct=simt)
    for name in ("bs", "columns", "lens", "wide", "tokens", "bytes", "halves", "floats", "four"):
        program.need(name)
    for number in range(count):
        port = f"o{number}"
        if number % 10 in KINDS:
            program.copies.append(stores.store(KINDS[number % 10], port))
            continue
        if number % 10 == 9:
            counts = program.add(MAP.name, *draw_counts(program))
            value = program.add("scan", {"source": counts}, name=f"ascending{number}")
        elif number % 10 == 4:
            value = stores.add(lambda: draw_recurrence(program, rng), ITERATE.name)
        else:
            value = stores.add(lambda: draw_map(program, rng))
        program.copies.append(Copy(value, ((port, destination(program.types[value])),)))
    program = without_unused(program)
    sizes = tuple({"bs": bs, "columns": columns} for bs, columns in ((3, 7), (129, 64)))
    return Task(f"formulas of seed {seed}", program, (seed,), sizes, ptx, simt=simt)
