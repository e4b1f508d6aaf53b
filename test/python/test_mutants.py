# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether faults in what the lowering makes would be noticed without a GPU: a sample of
`python -m nsa.fuzz.mutants`, whose table is in docs/Safety.md."""

from __future__ import annotations

from collections import Counter

import pytest

import nsa

pytest.importorskip("z3", reason="needs the package z3-solver")
if not nsa.has_compiler():
    pytest.skip("built without the compiler", allow_module_level=True)

from nsa.fuzz import mutants  # noqa: E402

#: Mutants of one run.
MUTANTS = 24


@pytest.mark.parametrize("name", mutants.subjects())
def test_originals_pass(name: str) -> None:
    """As they are, so that it is the fault that is noticed."""
    assert mutants.judge(name, None) == ""


def test_every_kind_of_fault_is_made() -> None:
    made = Counter(
        mutant.kind
        for name in mutants.subjects()
        for mutant in mutants.all_mutants(name)
    )
    assert set(made) == set(mutants.KINDS)


@pytest.mark.parametrize("kind, most", [("wrong carry", 12), ("stride swapped", 8)])
def test_each_of_a_kind_is_noticed(kind: str, most: int) -> None:
    """Every sum that goes astray is a wrong number or a race, every wrong stride a wrong number
    or an access that leaves its array."""
    found = [
        (name, mutant)
        for name in mutants.subjects()
        for mutant in mutants.all_mutants(name)
        if mutant.kind == kind
    ]
    some = found[:: len(found) // most]
    assert len(some) >= most
    for name, mutant in some:
        assert mutants.judge(name, mutant) not in ("", "refused"), (name, mutant)


def test_faults_are_noticed() -> None:
    """But for those that are none, of which it is said why."""
    verdicts: Counter[str] = Counter()
    for name, mutant in mutants.draw(seed=0, count=MUTANTS):
        verdict = mutants.judge(name, mutant)
        why = "" if verdict else mutants.why_equivalent(name, mutant)
        verdicts[verdict or why] += 1
        assert verdict or why, (name, mutant)
        if mutant.kind == "barrier dropped" and verdict:
            assert verdict in ("race", "uninitialised shared memory"), (name, mutant)
    print(dict(verdicts))
    assert sum(verdicts.values()) == MUTANTS


def test_few_are_said_to_be_equivalent() -> None:
    """Only what is named, and what is compared twice."""
    known = [
        (name, mutant, why)
        for name in mutants.subjects()
        for mutant in mutants.all_mutants(name)
        if (why := mutants.why_equivalent(name, mutant))
    ]
    assert {why for _, _, why in known} >= {each.why for each in mutants.EQUIVALENT}
    assert len(known) < 80
    # The first column past the last one is a multiple of 32.
    ir = mutants.original("dequantisation")[1]
    (first,) = (
        mutant
        for mutant in mutants.mutants(ir)
        if mutants.role(ir, mutant.line) == "cmpi 2(subi(select, select), 512)"
    )
    assert mutants.judge("dequantisation", first) not in ("", "refused")
