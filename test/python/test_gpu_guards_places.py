# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Guards on a GPU: two elements of a launch that go to one place, in launches and replays.

Skipped, with the reason, where there is no CUDA device or no library. Kernels are compiled
here, or come from the bundles that scripts/make_test_bundles.py saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from places_cases import CLAIMS, ONE_TEXT, TEXT, Places, cases, check

import nsa
from nsa import _cache

CASES = cases()


@pytest.fixture(scope="module")
def step(gpu: Any) -> nsa.Step:
    return _cache.get_step("places", TEXT, "cuda", guards=True)


@pytest.fixture(scope="module")
def one(gpu: Any) -> nsa.Step:
    return _cache.get_step("one_place", ONE_TEXT, "cuda", guards=True)


def make(gpu: Any, name: str) -> Places:
    return Places(*CASES[name], upload=gpu.asarray, download=gpu.asnumpy)


@pytest.mark.parametrize("name", CASES)
def test_places(gpu: Any, step: nsa.Step, name: str) -> None:
    case = make(gpu, name)
    step(**case.arguments())
    case.check_report(check(step))
    case.check_outputs()
    assert check(step) is None


def test_launches_apart(gpu: Any, step: nsa.Step) -> None:
    case = make(gpu, "permuted")
    bound = step.bind(**case.arguments())
    for _ in range(100):
        bound.launch()
    assert check(step) is None
    case = make(gpu, "random")
    bound = step.bind(**case.arguments())
    for _ in range(3):
        bound.launch()
    case.check_report(check(step), launches=3)


def test_replays_of_a_graph(gpu: Any, step: nsa.Step) -> None:
    """Claims end with a launch, though no host is there between two of them."""
    apart, meeting = make(gpu, "permuted"), make(gpu, "two of one place")
    replays = []
    for case in (apart, meeting):
        bound = step.bind(**case.arguments())
        bound.launch()
        case.check_report(check(step))
        replays.append(gpu.capture(lambda bound=bound: [bound.launch() for _ in range(10)]))
    gpu.synchronize()
    assert check(step) is None  # nothing ran while it was captured
    for _ in range(5):
        replays[0]()
    assert check(step) is None
    replays[1]()
    meeting.check_report(check(step), launches=10)
    gpu.synchronize()
    replays[0]()
    assert check(step) is None
    apart.check_outputs()
    meeting.check_outputs()


def test_many_replays(gpu: Any, one: nsa.Step) -> None:
    """More than launches have numbers: what was claimed in the first one is no more."""
    n, count = 3000, 1000
    places = gpu.asarray(np.random.default_rng(0).permutation(n))
    bound = one.bind(n=n, p=places, a=gpu.asarray(np.zeros(n, np.int64)))
    bound.launch()
    assert check(one) is None
    # Others are in use meanwhile, so that those stay where they are.
    other = one.bind(
        n=8, p=gpu.asarray(np.arange(8) + n), a=gpu.asarray(np.zeros(n + 8, np.int64))
    )
    other.launch()
    replay = gpu.capture(lambda: [other.launch() for _ in range(count)])
    for _ in range(-(-32760 // count)):
        replay()
    assert check(one) is None
    for _ in range(count):
        bound.launch()
    assert check(one) is None


def test_launches_at_once(gpu: Any, one: nsa.Step) -> None:
    """On two streams: nothing is made up, and what is not looked at is counted."""
    n = 20_000
    rng = np.random.default_rng(0)
    bounds = [
        one.bind(
            n=n,
            p=gpu.asarray(rng.permutation(n)),
            a=gpu.asarray(np.zeros(n, np.int64)),
        )
        for _ in range(2)
    ]
    gpu.synchronize()
    streams = [gpu.stream() for _ in bounds]
    for _ in range(500):
        for bound, stream in zip(bounds, streams):
            bound.launch(stream=gpu.address(stream))
    assert 0 <= one.check() <= 1000 * n
    # One after the other again.
    for bound in bounds:
        bound.launch()
    assert check(one) is None


def test_more_than_is_remembered(gpu: Any, one: nsa.Step) -> None:
    n = 500_000
    places = np.random.default_rng(0).permutation(n)
    stored = gpu.asarray(np.zeros(n, np.int64))
    one(n=n, p=gpu.asarray(places), a=stored)
    assert n - CLAIMS <= one.check() < n - CLAIMS // 2
    np.testing.assert_array_equal(gpu.asnumpy(stored), np.arange(n))
    places[1::2] = places[::2]
    one(n=n, p=gpu.asarray(places), a=stored)
    with pytest.raises(nsa.AccessError) as caught:
        one.check()
    assert 0 < caught.value.count <= n // 2
    assert {access.index for access in caught.value.accesses} <= set(places.tolist())


def test_dependent_launch(gpu: Any) -> None:
    """A launch that begins before the one before it has ended waits before it counts itself."""
    try:
        step = _cache.get_step("one_place", ONE_TEXT, "cuda", "sm_90", guards=True, pdl=True)
        step.load()
    except nsa.DriverError as error:
        pytest.skip(f"no kernels of sm_90: {error}")
    n = 50_000
    half = np.arange(n) // 2
    for places, late in ((np.arange(CLAIMS // 2), 0), (half, n // 2)):
        bound = step.bind(
            n=len(places),
            p=gpu.asarray(places),
            a=gpu.asarray(np.zeros(n, np.int64)),
        )
        bound.launch()
        # The graph is replayed on a stream of its own.
        gpu.synchronize()
        replay = gpu.capture(lambda bound=bound: [bound.launch() for _ in range(20)])
        replay()
        error = check(step)
        assert (error.count if error else 0) == 21 * late
