# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Guards: two elements of a launch that go to one place, of which `Step.check` tells."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest
from places_cases import CLAIMS, ONE_TEXT, TEXT, Places, cases, check

import nsa
import nsa.build as nb

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

CASES = cases()


def make(target: str, text: str = TEXT, **options: bool) -> nsa.Step:
    (step,) = nsa.compile(text, target=target, guards=True, **options).values()
    return step


@pytest.fixture(scope="module", params=["cpu", "simt"])
def step(request):
    return make(request.param)


@pytest.mark.parametrize("name", CASES)
def test_places(step, name):
    case = Places(*CASES[name])
    step(**case.arguments())
    case.check_report(check(step))
    case.check_outputs()
    # Told of once.
    assert check(step) is None


def test_message(step):
    step(**Places(*CASES["two backends"]).arguments())
    error = check(step)
    where = ", block 0, thread 4" if step.simulates else " on the host"
    if not step.simulates:
        assert error.args[0] == (
            "step 'places': nsa.copy at <string>:6:3: two elements go to one place of argument "
            f"'a', index 2, in kernel 'places'{where}; the later one was not stored; 1 more "
            "access was wrong"
        )
    assert "two elements go to one place of argument" in str(error)
    step(**Places([4, 4, 1], [2, 2, 1], [1, 0, 1]).arguments())
    # Nothing of `d` is there: 4 is outside.
    assert check(step) is None
    step(**Places([2, 2, 1], [2, 2, 1], [1, 0, 1]).arguments())
    told = {access.argument: access for access in check(step).accesses}
    assert set(told) == set("abd") and (told["d"].row, told["d"].index) == (2, 2)


def test_launches_apart(step):
    """The same places in launch after launch, and others of the same arrays."""
    case = Places(*CASES["permuted"])
    bound = step.bind(**case.arguments())
    for _ in range(5):
        bound.launch()
    assert check(step) is None
    for name in ("permuted", "outside", "kept apart", "permuted"):
        step(**Places(*CASES[name]).arguments())
    assert check(step) is None
    case = Places(*CASES["two of one place"])
    bound = step.bind(**case.arguments())
    bound.launch()
    bound.launch()
    case.check_report(check(step), launches=2)


def test_one_array_of_two_backends(step):
    """Each element goes there twice, but no two of them."""
    case = Places(*CASES["permuted"])
    arguments = case.arguments()
    arguments["b"] = arguments["a"]
    step(**arguments)
    assert check(step) is None


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_launch_for_each_array(target):
    """Kernels of one step share the count of launches."""
    step = make(target, fuse=False)
    assert len(step.kernels) > 1
    for name in ("permuted", "permuted", "random", "permuted"):
        case = Places(*CASES[name])
        step(**case.arguments())
        case.check_report(check(step))


def test_dependent_launch():
    """Nothing is claimed or counted before the launch before it has ended: the simulator
    would say so."""
    step = make("simt", pdl=True, chip="sm_90")
    case = Places(*CASES["random"])
    for _ in range(2):
        step(**case.arguments())
        case.check_report(check(step))


def test_order_of_threads():
    """Whoever comes first, as many come too late."""
    made = make("cuda")
    for seed in range(4):
        step = nsa.simt.simulate(nsa.Step(made.manifest, made.ptx), seed)
        case = Places(*CASES["random"])
        step(**case.arguments())
        case.check_report(check(step))
        case.check_outputs()


def one_place(step: nsa.Step, places: np.ndarray) -> np.ndarray:
    """What is stored of these places at themselves, which all are inside."""
    stored = np.full(len(places), -1, np.int64)
    step(n=len(places), p=places, a=stored)
    return stored


@pytest.mark.parametrize(("target", "n"), [("cpu", 500_000), ("simt", 68_000)])
def test_more_than_is_remembered(target, n):
    """What there is no room for is stored and counted, and nothing is made up."""
    step = make(target, ONE_TEXT)
    places = np.random.default_rng(0).permutation(n)
    assert np.array_equal(one_place(step, places), np.arange(n))
    assert n - CLAIMS <= step.check() < n - CLAIMS // 2
    if target == "simt":
        return
    places[1::2] = places[::2]
    stored = one_place(step, places)
    with pytest.raises(nsa.AccessError) as caught:
        step.check()
    error = caught.value
    assert 0 < error.count <= n // 2 - error.unclaimed // 2
    assert np.array_equal(np.unique(stored[stored >= 0]), np.sort(places[::2]))
    assert {access.index for access in error.accesses} <= set(places.tolist())
    # Few enough again.
    one_place(step, np.arange(CLAIMS // 2))
    assert check(step) is None


def test_half_a_table():
    """32,768 places of an array are remembered, in whatever order and distance."""
    step = make("cpu", ONE_TEXT)
    n = CLAIMS // 2
    for places in (np.arange(n)[::-1], np.random.default_rng(1).permutation(n)):
        one_place(step, np.ascontiguousarray(places))
        assert check(step) is None
    for distance in (2, 3, 64, 1000):
        stored = np.full(n * distance, -1, np.int64)
        places = np.arange(n) * distance
        step(n=n, p=places, a=stored)
        assert check(step) is None and np.array_equal(stored[places], places)


class Claims:
    """A step of host kernels, and how many launches of it have begun and ended."""

    def __init__(self, folder: Path) -> None:
        nsa.compile(ONE_TEXT, target="cpu", guards=True).save(folder)
        self.step = nsa.load(folder)["one_place"]
        (path,) = (p for p in folder.iterdir() if ".so" in p.suffixes)
        library = ctypes.CDLL(str(path))
        self.words = (ctypes.c_int64 * 2).in_dll(library, "one_place.nsa_claims")

    def count(self, launches: int) -> None:
        """As after so many launches."""
        self.words[:] = launches, launches << 32


@pytest.mark.parametrize("skipped", [False, True])
def test_many_launches(tmp_path, skipped):
    """After 32,768 launches numbers begin anew; the last one of the old ones clears what was
    claimed in the first one."""
    claims, stored = Claims(tmp_path), np.zeros(501, np.int64)

    def launch(places: np.ndarray) -> int:
        claims.step(n=len(places), p=places, a=stored)
        error = check(claims.step)
        return error.count if error else 0

    places = np.arange(100)
    assert launch(places) == 0
    assert tuple(claims.words) == (1, 1 << 32)
    claims.count((1 << 15) - 1)
    if skipped:
        # As it would be if nobody cleared them.
        claims.count(1 << 15)
        assert launch(places) == 100
        return
    assert launch(np.full(1, 500)) == 0
    assert tuple(claims.words) == (1 << 15, 1 << 47)
    assert launch(places) == 0
    # No end of counting: the upper half of a word is as long as it is.
    claims.words[:] = (1 << 32) - 1, -(1 << 32)
    for _ in range(3):
        assert launch(places) == 0
    assert launch(places // 2) == 50


def test_launches_at_once(tmp_path):
    """Who sees that another launch runs claims nothing, and says so."""
    claims, same = Claims(tmp_path), np.zeros(10, np.int64)
    claims.words[0] += 1  # one that has begun
    one_place(claims.step, same)
    assert claims.step.check() == 10
    claims.words[1] += 1 << 32
    one_place(claims.step, same)
    assert check(claims.step).count == 9
    # Of one number by mistake, but of other arrays: they do not meet.
    places, arrays = np.arange(10), [np.zeros(10, np.int64) for _ in range(2)]
    for array in arrays:
        claims.count(100)
        claims.step(n=10, p=places, a=array)
        assert check(claims.step) is None
    claims.count(100)
    claims.step(n=10, p=places, a=arrays[0])
    assert check(claims.step).count == 10


def test_threads():
    """Launches of one step by several threads: no report of what is apart."""
    step = make("cpu", ONE_TEXT)
    n = 3000

    def run() -> None:
        stored, places = np.empty(n, np.int64), np.random.permutation(n)
        bound = step.bind(n=n, p=places, a=stored)
        for _ in range(40):
            bound.launch()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 <= step.check() <= 3 * 40 * n
    # None of them is left behind.
    one_place(step, np.arange(n))
    assert check(step) is None


def test_what_claims_are_for():
    """Steps without guards have none, and no kernel that stores to its own places."""
    assert "nsa_claims" in make("cuda").ptx
    assert "nsa_claims" not in nsa.compile(TEXT, target="cuda")["places"].ptx
    plain = TEXT[: TEXT.index("  nsa.copy")] + "  nsa.copy %v to %a, %b, %c"
    plain += " : tensor<?xi32> to memref<?xi32>, memref<?xi32>, memref<?xi32>\n}\n"
    plain = plain.replace(", out %d : memref<?x?xi32>", "")
    assert "nsa_claims" not in make("cuda", plain).ptx


@pytest.mark.parametrize("when", [False, True])
def test_refused_where_formulas_show_it(when):
    """In the line that says where elements go, unless a condition keeps them apart."""

    @nb.step
    def last(s):
        n = s.size("n")
        lens = s.input("lens", "int32", (n,))
        first = s.map(n, lambda r: nb.constant(0, "int64"))
        is_last = s.map(n, lambda r: (r + 1 == n).astype("int8")) if when else None
        s.output("x", lens, when=is_last, at=first)

    if when:
        step = last.compile(target="cpu", guards=True)
        lens, x = np.arange(5, dtype=np.int32) + 10, np.zeros(3, np.int32)
        step(n=5, lens=lens, x=x)
        assert check(step) is None and x.tolist() == [14, 0, 0]
        return
    with pytest.raises(nsa.CompileError, match="stores two elements to one place") as caught:
        last.compile(target="cpu")
    lines = Path(__file__).read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "when=is_last, at=first" in line)
    assert f"test_guards_places.py:{number}:" in str(caught.value)
