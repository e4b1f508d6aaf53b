# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes a step that fails small, and prints it as a test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .check import Outcome, Task, draw_inputs, run_all
from .operations import dims
from .programs import RAW, Program

__all__ = ["as_test", "shrink"]


def without_unused(program: Program) -> Program:
    """Less the ports and values that nothing uses."""
    used = {value for copy in program.copies for value in copy.values()}
    body = []
    for op in reversed(program.body):
        if op.name in used:
            body.append(op)
            used |= {value for _, value in op.operands}
            used |= set(RAW[op.form].needs) if op.form in RAW else set()
    for name, port in program.ports.items():
        if name in used or name == "bs":
            used.add(name)
            used |= {extent[0] for extent in port.extents if extent}
    ports = {name: port for name, port in program.ports.items() if name in used}
    stored = {name for copy in program.copies for name, _ in copy.destinations}
    inouts = {name: type for name, type in program.inouts.items() if name in stored}
    return program.clone(ports=ports, body=body[::-1], inouts=inouts)


def smaller(task: Task) -> Iterator[Task]:
    """Steps with one thing less."""
    program = task.program
    if len(task.sizes) > 1:
        for sizes in task.sizes:
            yield replace(task, sizes=(sizes,))
    for n, copy in enumerate(program.copies):
        rest = program.copies[:n] + program.copies[n + 1 :]
        if rest:
            yield replace(task, program=without_unused(program.clone(copies=rest)))
        if copy.mask or copy.places:
            plain = replace(copy, mask="", places=(), shape=())
            if copy.mask:
                plain = replace(copy, mask="")
            if copy.mask or len(copy.places) == len(dims(program.types[copy.value])[0]):
                copies = [*program.copies[:n], plain, *program.copies[n + 1 :]]
                yield replace(task, program=without_unused(program.clone(copies=copies)))
        for d in range(len(copy.destinations)):
            fewer = copy.destinations[:d] + copy.destinations[d + 1 :]
            if fewer:
                less = replace(copy, destinations=fewer)
                copies = program.copies[:n] + [less] + program.copies[n + 1 :]
                yield replace(task, program=program.clone(copies=copies))
    types = program.types
    for n, op in enumerate(program.body):
        # A port in place of a value.
        for name, port in program.ports.items():
            if port.type == types[op.name]:
                body = [
                    replace(
                        other,
                        operands=tuple(
                            (slot, name if value == op.name else value)
                            for slot, value in other.operands
                        ),
                    )
                    for m, other in enumerate(program.body)
                    if m != n
                ]
                if all(copy.value != op.name for copy in program.copies):
                    yield replace(task, program=without_unused(program.clone(body=body)))
    for name in program.ports:
        for number, sizes in enumerate(task.sizes):
            for less in (0, 1, 2):
                if less < sizes.get(name, 0):
                    changed = list(task.sizes)
                    changed[number] = {**sizes, name: less}
                    yield replace(task, sizes=tuple(changed))


def shrink(task: Task, outcome: Outcome, seconds: float = 20) -> tuple[Task, Outcome]:
    """The smallest step found in that time that fails in the same way."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for candidate in smaller(task):
            if time.monotonic() > until:
                return task, outcome
            for _, found in run_all([candidate], jobs=1, timeout=10):
                if found.kind == outcome.kind:
                    task, outcome, progress = candidate, found, True
            if progress:
                break
    return task, outcome


def as_test(task: Task, outcome: Outcome) -> str:
    """A test of the failure, to be put into a file."""
    lines = [f"# {line}" for line in outcome.what.splitlines()[:8]]
    lines += ["def test_step():", f'    text = """\n{task.program.text()}"""']
    if not task.sizes:
        task = replace(task, sizes=({},))
    sizes = {
        name: size for name, size in task.sizes[0].items() if name in task.program.ports
    }
    lines.append('    step = nsa.compile(text, target="cpu")["step"]')
    if outcome.kind == "crash":
        return "\n".join([*lines, f"    # sizes: {sizes}, seed {task.seeds[0]}"])
    try:
        arrays, values = draw_inputs(task, task.sizes[0], task.seeds[0])
    except Exception as error:  # it does not compile, or the reference fails
        return "\n".join([*lines, f"    # no arrays: {type(error).__name__}"])
    with np.printoptions(threshold=1 << 20, linewidth=90):
        for name, array in arrays.items():
            lines.append(f"    {name} = np.array({array.tolist()}, np.{array.dtype})")
        for copy in task.program.copies:
            value = values[copy.value]
            lines.append(f"    # expected of {copy.value}: {value.data.tolist()}"[:2000])
    lines.append(f"    # sizes: {sizes}, seed {task.seeds[0]}")
    return "\n".join(lines)
