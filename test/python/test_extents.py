# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dimensions that name a size plus a constant; the runtime alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from conftest import MANIFEST, HostStep


def manifest(extent: Any) -> dict[str, Any]:
    changed = copy.deepcopy(MANIFEST)
    changed["arguments"][2]["extents"] = [extent]
    changed["requires"][0]["at_least"] = ["add", "n", 1]
    return changed


def call(step: Any, count: int, **sizes: int) -> np.ndarray:
    sums = np.full(9, -1, np.int32)
    step(
        lens=np.arange(count, dtype=np.int64),
        table=np.zeros((2, 4), np.int32),
        sums=sums,
        row=np.zeros(4, np.int32),
        width=2,
        **sizes,
    )
    return sums


def test_inferred() -> None:
    """Left out, the size is the dimension less the constant."""
    host = HostStep(manifest(["add", "n", 1]))
    assert call(host.step, 5).tolist() == [0, 0, 1, 3, 6, -1, -1, -1, -1]
    assert call(host.step, 5, n=2).tolist() == [0, 0, 1, -1, -1, -1, -1, -1, -1]
    assert call(host.step, 1).tolist() == [0, *[-1] * 8]


def test_too_small() -> None:
    host = HostStep(manifest(["add", "n", 1]))
    with pytest.raises(ValueError, match=r"'lens': expected shape\[0\] to be at least 1"):
        call(host.step, 0)
    with pytest.raises(ValueError, match=r"at least 6 \(n \+ 1\) but got 5"):
        call(host.step, 5, n=5)
    assert host.calls == []


def test_signature() -> None:
    signature = HostStep(manifest(["add", "n", 1])).step.signature
    assert signature.parameters["n"].default is None


@pytest.mark.parametrize(
    "extent", [["sub", "n", 1], ["add", "n"], ["add", "lens", 1], ["add", "n", -1], ["add", 1, "n"]]
)
def test_malformed(extent: Any) -> None:
    with pytest.raises(ValueError, match="extents"):
        HostStep(manifest(extent))
