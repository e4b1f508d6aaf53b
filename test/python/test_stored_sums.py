# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sums of many elements take a second launch, and a port of the step between the two."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from stored_sums_cases import SIZES, build, check

import nsa
import nsa.build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.fixture(scope="module", params=[("int32", False), ("int64", True)], ids="{0[0]}".format)
def case(request: Any) -> Any:
    dtype, inclusive = request.param
    return build(dtype, inclusive).compile("cpu"), dtype, inclusive


def test_host(case: Any) -> None:
    for n in SIZES:
        check(*case, n)


def test_simulator(case: Any) -> None:
    _, dtype, inclusive = case
    step = build(dtype, inclusive).compile("simt")
    for n in (0, 1, 33, 500):
        check(step, dtype, inclusive, n, m=40)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_groups(dtype: str) -> None:
    """One launch, where a thread has an element, or groups of eight."""
    step = build(dtype, expected=None).compile("simt")
    for n in (127, 1024, 1025, 1031, 1033, 3000):
        check(step, dtype, False, n, m=40)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_rows_in_groups(dtype: str) -> None:
    """The same of sums along each row, with its total."""
    s = nb.Builder("rows")
    n, m = s.size("n"), s.size("m")
    x = s.input("x", dtype, (n, m))
    sums = s.scan(s.map((n, m), lambda i, j: nb.maximum(x[i, j], 0)))
    s.output("before", s.map((n, m), lambda i, j: sums[i, j].otherwise(-1)))
    s.output("total", s.map(n, lambda i: sums[i, m].otherwise(-1)))
    step = s.compile("simt")
    for columns in (0, 1, 513, 1024, 1025, 1033, 4097):
        values = np.random.default_rng(columns).integers(-3, 5, (3, columns)).astype(dtype)
        before, total = np.full((3, columns), 77, dtype), np.full(3, 77, dtype)
        step(n=3, m=columns, x=values, before=before, total=total)
        wanted = np.cumsum(np.maximum(values, 0), axis=1, dtype=dtype)
        wanted = np.concatenate([np.zeros((3, 1), dtype), wanted], axis=1)
        np.testing.assert_array_equal(before, wanted[:, :-1])
        np.testing.assert_array_equal(total, wanted[:, -1])


def test_launches_and_ports(case: Any) -> None:
    manifest = json.loads(case[0].manifest)
    # Sums, sums of searches in them, and what reads both.
    assert len(manifest["kernels"]) == 3
    spaces = [a for a in manifest["arguments"] if a["name"].startswith("workspace")]
    assert [(a["name"], a["kind"], a["dtype"]) for a in spaces] == [
        ("workspace", "out", case[1]),
        ("workspace1", "out", case[1]),
    ]
    needs = {r["argument"]: r["at_least"] for r in manifest["requires"]}
    assert needs["workspace"] == needs["workspace1"] == ["ceildiv", "n", 32]


def test_too_small_a_workspace() -> None:
    s = nb.Builder("sums")
    n = s.size("n", expected=100_000)
    sums = s.scan(s.input("lens", "int64", (n,)), inclusive=True)
    s.output("sums", sums)
    lens, out = np.ones(65, np.int64), np.full(65, -7)
    step = s.compile("cpu")
    with pytest.raises(ValueError, match="workspace"):
        step(lens=lens, sums=out, workspace=np.zeros(2, np.int64))
    np.testing.assert_array_equal(out, -7)
    with pytest.raises(TypeError, match="workspace"):
        step(lens=lens, sums=out)
    step(lens=lens, sums=out, workspace=np.zeros(3, np.int64))
    np.testing.assert_array_equal(out, np.arange(1, 66))


@pytest.mark.parametrize("expected", [None, 12_288])
def test_one_launch(expected: int | None) -> None:
    """Of what is expected to be few, or nothing."""
    s = nb.Builder("sums")
    n = s.size("n", expected=expected)
    s.output("sums", s.scan(s.input("lens", "int64", (n,)), inclusive=True))
    manifest = json.loads(s.compile("cpu").manifest)
    assert len(manifest["kernels"]) == 1
    assert "workspace" not in s.compile("cpu").manifest


@pytest.mark.parametrize("expected", [-1, 1.5, "many"])
def test_mistakes(expected: Any) -> None:
    with pytest.raises(nb.BuildError, match="'expected'"):
        nb.Builder("mistakes").size("n", expected=expected)
