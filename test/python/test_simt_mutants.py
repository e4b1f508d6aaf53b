# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether tests in the simulator would notice a wrong kernel: decode replay's PTX with one
fault in it, at a few shapes. A mutant is killed by values or by a report; that some do
the same as the original (a bound that no shape reaches, an order that does not matter)
no test can help. The score is printed; its floor is what was measured, less a little."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from decode_cases import FLAGSHIP, Case, Problem
from test_simt_cases import ARRAYS

import nsa
from nsa import simt

pytestmark = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)

#: Mutants of one run, and how many of them have to be killed.
MUTANTS, FLOOR = 60, 0.85
CASES = [
    Case(
        FLAGSHIP, 33, 503, "same", "hostile", tables_layout="odd", caller="step", seed=1
    ),
    Case(
        FLAGSHIP,
        130,
        17,
        "narrower",
        "hostile",
        table_layout="padded",
        caller="step",
        seed=2,
    ),
    Case(
        FLAGSHIP, 5, 64, "same", "ordinary", tables_layout="padded", caller="step", seed=3
    ),
    Case(
        FLAGSHIP,
        3,
        1301,
        "wider",
        "ordinary",
        tables_layout="padded",
        caller="step",
        seed=4,
    ),
]
OPPOSITE = {"ge": "gt", "gt": "ge", "lt": "le", "le": "lt", "eq": "ne", "ne": "eq"}
OPPOSITE |= {
    "add": "sub",
    "sub": "add",
    "min": "max",
    "max": "min",
    "or": "and",
    "and": "or",
}


def mutants(text: str) -> Iterator[tuple[str, int, str]]:
    """(kind, number of the line, what it becomes)."""
    for number, line in enumerate(text.splitlines()):
        if "bar.sync" in line:
            yield "barrier removed", number, ""
        if match := re.match(r"\s*setp\.(\w+)\.", line):
            other = OPPOSITE[match[1]]
            yield "comparison", number, line.replace(f".{match[1]}.", f".{other}.", 1)
        if match := re.match(r"\s*(add|sub|min|max)\.[su]|\s*(or|and)\.pred", line):
            name = match[1] or match[2]
            yield "operation", number, line.replace(name, OPPOSITE[name], 1)
        if match := re.match(r"(\s*(?:shl|shr|and|add|mul)\S*\s.*, )(-?\d+);$", line):
            yield "constant", number, f"{match[1]}{int(match[2]) + 1};"
        if match := re.match(r"(\s*ld\.param\S+\s.*_param_)(\d+)\];", line):
            yield "parameter", number, f"{match[1]}{int(match[2]) ^ 1}];"
        if match := re.match(
            r"(\s*(?:ld|st)\.(?:global|shared)\S*\s.*\[%\w+)(?:\+(\d+))?(\].*)", line
        ):
            yield "offset", number, f"{match[1]}+{int(match[2] or 0) + 4}{match[3]}"
        if match := re.match(r"(\s*@)(%p\d+.*)", line):
            yield "branch", number, f"{match[1]}!{match[2]}"
        if match := re.match(r"(\s*shfl\.sync\.up\S*\s.*, )(\d+)(, 0, -1;)", line):
            yield "shuffle", number, f"{match[1]}{int(match[2]) * 2 % 32}{match[3]}"


def verdict(manifest: str, text: str) -> str:
    """What kills the mutant: "values", a kind of report, or "" if nothing does."""
    for case in CASES:
        problem = Problem(case, ARRAYS, tight=True)
        try:
            simt.simulate(nsa.Step(manifest, text))(**problem.ports)
            problem.check()
        except simt.SimtError as error:
            return error.kind
        except AssertionError:
            return "values"
    return ""


def test_mutants_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    from nsa.simt import _machine

    # Mutants of loops may have no end; the original needs some hundred.
    monkeypatch.setattr(_machine, "LIMIT", 5000)
    step: Any = nsa.compile(FLAGSHIP.text)["decode_replay"]
    assert verdict(step.manifest, step.ptx) == ""
    drawn = sorted(mutants(step.ptx))
    random.Random(0).shuffle(drawn)
    barriers = [mutant for mutant in drawn if mutant[0] == "barrier removed"]
    drawn = (barriers + [mutant for mutant in drawn if mutant not in barriers])[:MUTANTS]
    lines = step.ptx.splitlines()
    verdicts = Counter()
    survivors = []
    for kind, number, line in drawn:
        changed = [*lines[:number], line, *lines[number + 1 :]]
        result = verdict(step.manifest, "\n".join(changed))
        verdicts[result or "survived"] += 1
        if not result:
            survivors.append(
                f"{kind}, line {number + 1}: {lines[number].strip()} -> {line.strip()}"
            )
        if kind == "barrier removed":
            assert result in ("race", "uninitialised shared memory"), result
    killed = 1 - len(survivors) / len(drawn)
    print(f"{len(drawn)} mutants, {killed:.0%} killed: {dict(verdicts)}")
    print("\n".join(survivors))
    assert len(drawn) == MUTANTS
    assert killed >= FLOOR
