# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Guards on a GPU: launches and replays that leave their arrays go on, and are told of.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are compiled
here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from guards_cases import RECORDS, TEXT, Lengths, unchecked

import nsa
from nsa import _cache


@pytest.fixture(scope="module")
def step(gpu: Any) -> nsa.Step:
    """With guards, and a launcher that checks no sizes."""
    made = _cache.get_step("lengths", TEXT, "cuda", guards=True)
    return nsa.Step(unchecked(made.manifest), made.ptx)


def make(gpu: Any, *sizes: int) -> Lengths:
    return Lengths(*sizes, upload=gpu.asarray, download=gpu.asnumpy)


def check(step: nsa.Step) -> nsa.AccessError | None:
    try:
        step.check()
    except nsa.AccessError as error:
        return error
    return None


@pytest.mark.parametrize("n", [0, 1, 5, 128, 1000])
def test_right_accesses(gpu: Any, step: nsa.Step, n: int) -> None:
    case = make(gpu, n, n, n, n % 7)
    step(**case.arguments())
    assert check(step) is None
    case.check_outputs()


@pytest.mark.parametrize(
    ("n", "given", "room", "rows", "row_room"),
    [(5, 4, 5, 0, 0), (9, 5, 7, 3, 2), (130, 129, 127, 2, 0), (300, 299, 300, 5, 4)],
)
def test_wrong_accesses(
    gpu: Any, step: nsa.Step, n: int, given: int, room: int, rows: int, row_room: int
) -> None:
    case = make(gpu, n, given, room, rows, row_room)
    step(**case.arguments())
    error = check(step)
    assert error is not None
    case.check_report(error)
    case.check_outputs()
    assert all(access.block is not None for access in error.accesses)
    assert check(step) is None


def test_more_than_there_are_records(gpu: Any, step: nsa.Step) -> None:
    """Many blocks at once."""
    n = 100_000
    case = make(gpu, n, 10)
    step(**case.arguments())
    error = check(step)
    assert error is not None
    assert error.count == n - 10 and len(error.accesses) == RECORDS
    assert len({access.index for access in error.accesses}) == RECORDS
    case.check_report(error)
    case.check_outputs()


def test_replays_of_a_graph(gpu: Any, step: nsa.Step) -> None:
    case = make(gpu, 40, 33)
    bound = step.bind(**case.arguments())
    bound.launch()
    assert check(step).count == 7  # type: ignore[union-attr]
    replay = gpu.capture(bound.launch)
    gpu.synchronize()
    assert check(step) is None  # nothing ran while it was captured
    for _ in range(3):
        replay()
    error = check(step)
    assert error is not None and error.count == 21
    case.check_report(error, launches=3)
    case.check_outputs()
    replay()
    assert check(step).count == 7  # type: ignore[union-attr]


def test_steps_of_the_same_kernels(gpu: Any, step: nsa.Step) -> None:
    """Share what is recorded: it belongs to the module on the device."""
    case = make(gpu, 9, 8)
    step(**case.arguments())
    error = check(nsa.Step(step.manifest, step.ptx))
    assert error is not None and error.count == 1
    assert check(step) is None


def test_before_anything_is_loaded(gpu: Any, step: nsa.Step) -> None:
    """Nothing is there to be waited for."""
    other = nsa.Step(step.manifest, step.ptx + "\n// another module\n")
    assert check(other) is None
    other.load()
    assert check(other) is None


def test_image_without_records(gpu: Any, step: nsa.Step) -> None:
    """A manifest of kernels with guards, beside kernels without."""
    plain = _cache.get_step("lengths", TEXT, "cuda")
    with pytest.raises(nsa.DriverError, match="its manifest has guards, but its image has no"):
        nsa.Step(step.manifest, plain.ptx).load()
    plain.load()


def test_outputs_are_those_without_guards(gpu: Any, step: nsa.Step) -> None:
    plain = _cache.get_step("lengths", TEXT, "cuda")
    results = []
    for each in (plain, step):
        case = make(gpu, 777, 777, 777, 6)
        each(**case.arguments())
        gpu.synchronize()
        results.append((gpu.asnumpy(case.lens), gpu.asnumpy(case.copied)))
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)
