# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that are described by their handles, as torch's are, and where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exchange
import numpy as np
import pytest
from conftest import HostStep
from nsa import _nsa_runtime
from test_arrays import ARRAYS, arguments

CPU = 1


class Tensors:
    """`host` called with tensors over NumPy's memory."""

    def __init__(self, host: HostStep, folder: Path) -> None:
        self.stub = exchange.load(exchange.build(folder))
        self.memory: list[np.ndarray] = []
        self.call = _nsa_runtime.Caller(lambda *_: (host.step, {}), ARRAYS, ("n", "width"))

    def make(self, kind: str, factor: int = 1) -> dict[str, Any]:
        values = arguments(factor)
        self.memory += values.values()
        return {
            name: getattr(self.stub, kind)(a.ctypes.data, CPU, 8 * a.itemsize, a.shape)
            for name, a in values.items()
        }

    def __call__(self, tensors: dict[str, Any]) -> tuple[int, int]:
        """How many were described by the API meanwhile, and how many by their handles."""
        before = self.stub.descriptions()
        self.call([tensors[name] for name in ARRAYS], (None, 4))
        asked, read = (b - a for a, b in zip(before, self.stub.descriptions()))
        return asked, read

    def out(self, at: int = 0) -> list[int]:
        """Of the arguments made `at`-th, the sums, which are forgotten."""
        sums = self.memory[4 * at + ARRAYS.index("sums")]
        values = sums.tolist()
        sums[:] = -7
        return values


@pytest.fixture
def tensors(host: HostStep, tmp_path: Path) -> Tensors:
    return Tensors(host, tmp_path)


def test_known_arrays_are_described_by_their_handles(tensors: Tensors) -> None:
    first, second = (tensors.make("HandleTensor", factor) for factor in (1, 10))
    tensors(first)
    assert tensors(first) == (0, 4)
    assert tensors.out() == [0, 3, 4, 6]
    # Others, until one differs; then all, to find what is known of them.
    asked, _ = tensors(second)
    assert tensors.out(1) == [0, 30, 40, 60]
    assert asked == 1  # what is bound compares both
    for given in (first, second):
        assert tensors(given) == (0, 5)
        assert tensors(given) == (0, 4)


def test_what_is_behind_a_handle_may_change(tensors: Tensors) -> None:
    given, other = (tensors.make("HandleTensor", factor) for factor in (1, 10))
    for _ in range(2):
        tensors(given)
    tensors.out()
    given["lens"].move(tensors.memory[4].ctypes.data)
    for _ in range(2):
        tensors(given)
        assert tensors.out() == [0, 30, 40, 60]
    given["sums"].swap(other["sums"])
    for _ in range(2):
        tensors(given)
        assert (tensors.out(0), tensors.out(1)) == ([-7] * 4, [0, 30, 40, 60])


def test_other_types_among_them(tensors: Tensors) -> None:
    given = tensors.make("HandleTensor")
    mixed = {**given, "sums": tensors.make("Tensor")["sums"]}
    for _ in range(2):
        tensors(mixed)
    # After one of another type, the next one's type is looked at anew.
    assert tensors(mixed) == (2, 2)
    assert tensors.out(1) == [0, 3, 4, 6]


def test_no_handle(tensors: Tensors) -> None:
    given = tensors.make("Tensor")
    for _ in range(2):
        tensors(given)
    assert tensors(given) == (4, 0)


def test_a_handle_in_two_places(tensors: Tensors) -> None:
    """Which of the two another tensor has, nobody knows."""
    given = tensors.make("HandleTensor")
    given["lens"].repeat_handle()
    for _ in range(2):
        tensors(given)
    assert tensors(given) == (4, 0)
    assert tensors.out() == [0, 3, 4, 6]


def test_handles_that_say_something_else(tensors: Tensors) -> None:
    given = tensors.make("HandleTensor")
    tensors.stub.lie(True)
    tensors(given)
    tensors.stub.lie(False)
    assert tensors(given) == (4, 0)
    assert tensors.out() == [0, 3, 4, 6]
