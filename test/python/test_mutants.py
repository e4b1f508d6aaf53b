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

#: Mutants of one run, and how many of them have to be killed.
MUTANTS, FLOOR = 24, 0.87


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
    verdicts: Counter[str] = Counter()
    for name, mutant in mutants.draw(seed=0, count=MUTANTS):
        verdict = mutants.judge(name, mutant)
        verdicts[verdict] += 1
        # One of the schedules' barriers has another one between what it keeps apart.
        if mutant.kind == "barrier dropped" and (verdict or name != "schedules"):
            assert verdict in ("race", "uninitialised shared memory"), (name, mutant)
    print(dict(verdicts))
    assert sum(verdicts.values()) == MUTANTS
    assert 1 - verdicts[""] / MUTANTS >= FLOOR
